# SPDX-License-Identifier: Apache-2.0
"""Layers as nodes on codes: recurrent ones as one Scan each, the others as they stand.

Codes are int64 throughout.  Products with matrices are taken in float64, where every partial sum is an integer below
2^53 and so exact in any order: onnxruntime is slow on int64, and its 8-bit product is not exact on processors
without VNNI, where pairs of products saturate at 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from hwgen.backends.onnx_graph.builder import GraphBuilder, Scope
from hwgen.backends.onnx_graph.steps import EXACT, step
from hwgen.integer import IntegerCell, IntegerGate, IntegerSum, Product, accumulate_range
from hwgen.integer_cells import IntegerGru
from hwgen.integer_network import (
    ArgmaxStage,
    CellStage,
    ConcatStage,
    DenseStage,
    GruStage,
    RnnStage,
    SelectStage,
    Stage,
    StepStage,
)
from hwgen.quantizer import IntArray, IntegerType

BATCH_LENGTH = "batch"
FORWARD, BACKWARD = 0, 1


def _matmul(at: Scope, real: str, weights: IntArray, codes: IntegerType, name: str) -> str:
    """The product of ``weights`` [outputs, inputs] and codes of type ``codes``, channels last, both in float64."""
    low, high = accumulate_range(weights, IntegerType.holding(min(codes.lo, 0), max(codes.hi, 0)))
    assert max(-int(low.min()), int(high.max())) < EXACT, f"{at.path}: sums beyond what float64 holds exactly"
    stored = at.stored(np.ascontiguousarray(weights.T), f"{name}_weights", TensorProto.DOUBLE)
    return at.op("MatMul", real, stored, name=f"{name}_product")


def lower_stage(graph: GraphBuilder, stage: Stage, codes: dict[str, str], types: dict[str, IntegerType]) -> None:
    """Add a stage and note the tensors of its wires in ``codes``; ``types`` are those of the wires."""
    at = graph.at(stage.name.strip("/") or "layer")
    if isinstance(stage, CellStage):
        codes |= _cell(at, stage, codes)
    elif isinstance(stage, GruStage):
        codes |= _gru(at, stage, codes)
    elif isinstance(stage, RnnStage):
        codes |= _rnn(at, stage, codes)
    elif isinstance(stage, DenseStage):
        codes[stage.wire] = _dense(at, stage, codes[stage.source], types[stage.source])
    elif isinstance(stage, StepStage):
        codes[stage.wire] = step(at, stage.step, codes[stage.source])
    elif isinstance(stage, ConcatStage):
        codes[stage.wire] = at.op("Concat", *(codes[source] for source in stage.sources), axis=-1)
    elif isinstance(stage, SelectStage):
        index = at.integers(stage.index, "step")
        codes[stage.wire] = at.op("Gather", codes[stage.source], index, axis=0)
    else:
        codes[stage.wire] = _argmax(at, stage, codes[stage.source], types[stage.source])


def _dense(at: Scope, stage: DenseStage, source: str, codes: IntegerType) -> str:
    total = _biased(at, _matmul(at, at.real(source, "input"), stage.weights, codes, "input"), stage.bias)
    if stage.step is None:
        return total
    return step(at.under("accumulator"), stage.step, total)


def _biased(at: Scope, product: str, bias: IntArray) -> str:
    """Sums of products as integers, and the bias."""
    total = at.op("Cast", product, name="products_int64", to=TensorProto.INT64)
    return at.op("Add", total, at.integers(bias, "bias"), name="total")


def _argmax(at: Scope, stage: ArgmaxStage, source: str, codes: IntegerType) -> str:
    keys = source
    if stage.rank.any():
        scaled = at.op("Mul", source, at.integers(len(stage.rank), "ranks"), name="scaled")
        keys = at.op("Add", scaled, at.integers(stage.rank, "rank"), name="keys")
    # onnxruntime compares int64 in recent releases only.
    if (max(-codes.lo, codes.hi) + 1) * len(stage.rank) < EXACT:
        keys = at.real(keys, "real")
    return at.op("ArgMax", keys, axis=-1, keepdims=1, select_last_index=0)


# Recurrent layers.


def _gate(at: Scope, gate: IntegerGate, x_type: IntegerType, h_type: IntegerType, x: str, h: str) -> str:
    """Activation codes of a gate from x and h in float64."""
    at = at.under(f"{gate.name}_gate")
    from_x = _matmul(at, x, gate.input_weights, x_type, "input")
    from_h = _matmul(at, h, gate.hidden_weights, h_type, "hidden")
    code = _biased(at, at.op("Add", from_x, from_h, name="products"), gate.bias)
    for certified in gate.steps:
        name = certified.step.name.removeprefix(f"{gate.name}_")
        code = step(at.under("accumulator_and_activation" if name == "gate" else name), certified, code)
    return code


def _product(at: Scope, product: Product, left: str, right: str) -> str:
    if product.left_zero:
        left = at.op("Sub", left, at.integers(product.left_zero, "left_zero_point"), name="left")
    if product.right_zero:
        right = at.op("Sub", right, at.integers(product.right_zero, "right_zero_point"), name="right")
    return step(at, product.requantize, at.op("Mul", left, right, name="product"))


def _initial(at: Scope, name: str, given: str | None, constant: IntArray | None, x: str) -> str:
    """An initial state [batch, H]: the codes that are given, or constant ones for every sequence of ``x``."""
    if given is not None:
        return given
    assert constant is not None, f"{at.path}: no initial state"
    here = at.under(f"initial_{name}")
    batch = here.op("Shape", x, name="batch", start=1, end=2)
    shape = here.op("Concat", batch, here.constant(np.array([len(constant)]), "units"), name="shape", axis=0)
    return here.op("Expand", here.constant(constant.astype(np.int64), "codes"), shape)


# From the body's scope, x and the states to the next states.
Body = Callable[[Scope, str, dict[str, str]], dict[str, str]]


def _scan(
    at: Scope, x: str, input_size: int, units: int, initial: dict[str, str], reverse: bool, body: Body
) -> list[str]:
    """One Scan over x [time, batch, input_size]; returns the first state at every step, and the last states.

    ``initial`` maps the names of the states to their codes.  The names of the body continue those outside.
    """
    inner = GraphBuilder(at.graph.names, at.graph).at(at.path)
    entries = {name: inner.name(name) for name in (*initial, "x")}
    following = body(inner, entries["x"], {name: entries[name] for name in initial})
    results = [following[name] for name in initial]
    results.append(inner.op("Identity", results[0], name="sequence_step"))

    def port(tensor: str, features: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(tensor, TensorProto.INT64, [BATCH_LENGTH, features])

    graph = helper.make_graph(
        inner.graph.nodes,
        inner.name("step"),
        [port(tensor, input_size if name == "x" else units) for name, tensor in entries.items()],
        [port(tensor, units) for tensor in results],
        inner.graph.initializers,
    )
    outputs = [*(at.name(f"last_{name}") for name in initial), at.name("sequence")]
    direction = BACKWARD if reverse else FORWARD
    at.graph.nodes.append(
        helper.make_node(
            "Scan",
            [*initial.values(), x],
            outputs,
            name=at.name(),
            doc_string=f"{input_size} inputs, {units} units{', from the last step to the first' if reverse else ''}",
            num_scan_inputs=1,
            scan_input_directions=[direction],
            scan_output_directions=[direction],
            body=graph,
        )
    )
    return [outputs[-1], *outputs[:-1]]


def _cell(at: Scope, stage: CellStage, codes: dict[str, str]) -> dict[str, str]:
    cell, x = stage.cell, codes[stage.source]
    given = [None if name is None else codes[name] for name in (stage.initial_hidden, stage.initial_cell)]
    initial = {
        "h": _initial(at, "h", given[0], cell.initial_hidden, x),
        "c": _initial(at, "c", given[1], cell.initial_cell, x),
    }

    def body(inner: Scope, x: str, state: dict[str, str]) -> dict[str, str]:
        h, c = _cell_step(inner, cell, x, state["h"], state["c"])
        return {"h": h, "c": c}

    results = _scan(at, x, cell.input_size, cell.hidden_size, initial, cell.reverse, body)
    return dict(zip(stage.wires, results, strict=True))


def _cell_step(at: Scope, cell: IntegerCell, x: str, h: str, c: str) -> tuple[str, str]:
    """One time step, as ``IntegerCell.step`` has it."""
    real = at.real(x, "x_real"), at.real(h, "h_real")
    gates = {gate.name: _gate(at, gate, cell.input, cell.hidden, *real) for gate in cell.gates}
    if cell.coupled_one is None:
        forget = gates["forget"]
    else:
        one = at.under("forget_gate").integers(cell.coupled_one, "one")
        forget = at.op("Sub", one, gates["input"], name="forget_gate")
    kept = _product(at.under("forget_product"), cell.forget_product, forget, c)
    added = _product(at.under("input_product"), cell.input_product, gates["input"], gates["cell"])
    c = step(at.under("cell_sum"), cell.cell_sum, at.op("Add", kept, added, name="cell_sum/sum_of_products"))
    squashed = step(at.under("hidden_state_tanh"), cell.cell_tanh, c)
    return _product(at.under("output_product"), cell.output_product, gates["output"], squashed), c


def _rnn(at: Scope, stage: RnnStage, codes: dict[str, str]) -> dict[str, str]:
    cell, x = stage.cell, codes[stage.source]
    given = None if stage.initial_hidden is None else codes[stage.initial_hidden]
    initial = {"h": _initial(at, "h", given, cell.initial_hidden, x)}

    def body(inner: Scope, x: str, state: dict[str, str]) -> dict[str, str]:
        real = inner.real(x, "x_real"), inner.real(state["h"], "h_real")
        return {"h": _gate(inner, cell.gate, cell.input, cell.hidden, *real)}

    results = _scan(at, x, cell.input_size, cell.hidden_size, initial, cell.reverse, body)
    return dict(zip(stage.wires, results, strict=True))


def _gru(at: Scope, stage: GruStage, codes: dict[str, str]) -> dict[str, str]:
    cell, x = stage.cell, codes[stage.source]
    given = None if stage.initial_hidden is None else codes[stage.initial_hidden]
    initial = {"h": _initial(at, "h", given, cell.initial_hidden, x)}

    def body(inner: Scope, x: str, state: dict[str, str]) -> dict[str, str]:
        return {"h": _gru_step(inner, cell, x, state["h"])}

    results = _scan(at, x, cell.input_size, cell.hidden_size, initial, cell.reverse, body)
    return dict(zip(stage.wires, results, strict=True))


def _gru_step(at: Scope, cell: IntegerGru, x: str, h: str) -> str:
    """One time step, as ``IntegerGru.step`` has it."""
    real = at.real(x, "x_real"), at.real(h, "h_real")
    reset, update = (_gate(at, gate, cell.input, cell.hidden, *real) for gate in cell.gates)
    new = at.under("new_gate")
    whole = _requantized_sum(new, cell.new_input, real[0], cell.input, "input")
    part = _requantized_sum(new, cell.new_hidden, real[1], cell.hidden, "hidden")
    product = _product(new.under("reset_product"), cell.reset_product, reset, part)
    total = step(new.under("sum"), cell.new_sum, new.op("Add", whole, product, name="sum/terms"))
    candidate = step(new.under("tanh"), cell.tanh, total)
    kept = _product(at.under("update_product"), cell.update_product, update, h)
    rest = at.op("Sub", at.integers(cell.one, "one"), update, name="rest_of_one")
    added = _product(at.under("new_product"), cell.new_product, rest, candidate)
    return step(at.under("hidden_sum"), cell.hidden_sum, at.op("Add", kept, added, name="hidden_sum/terms"))


def _requantized_sum(at: Scope, part: IntegerSum, real: str, codes: IntegerType, name: str) -> str:
    here = at.under(f"{name}_sum")
    return step(
        here.under("accumulator"), part.step, _biased(here, _matmul(here, real, part.weights, codes, name), part.bias)
    )
