# SPDX-License-Identifier: Apache-2.0
"""Lowered models: onnxruntime, an executor by somebody else, gives hwgen's codes and real values, every one of them.

The networks that Brevitas exports are compared in test_networks.py.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from conftest import EXAMPLE, MODELS
from lowered import LEVELS, assert_equal, assert_lowered, checked, execute, random_inputs, sessions
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import hwgen
from hwgen import host
from hwgen.backends import onnx_graph
from hwgen.backends.onnx_graph import to_onnx
from hwgen.backends.onnx_graph.builder import GraphBuilder, Names
from hwgen.backends.onnx_graph.stages import lower_stage
from hwgen.backends.onnx_graph.steps import quantize, step, threshold_tree
from hwgen.cli import main
from hwgen.errors import ConfigError, UnsupportedError
from hwgen.forms import MAX_MULTIPLIER_BITS, MultiplyForm, ShiftForm, TableForm, choose
from hwgen.integer_network import ArgmaxStage, IntegerNetwork
from hwgen.layers import (
    Activation,
    ArgmaxLayer,
    ConcatLayer,
    DenseLayer,
    Gate,
    InitialState,
    Layer,
    QuantizedTensor,
    QuantizeLayer,
    Requantization,
    RnnLayer,
    SelectLayer,
    Wire,
)
from hwgen.lowering import lower
from hwgen.network import Network, NetworkInput, NetworkOutput
from hwgen.quantizer import FloatArray, IntArray, IntegerType, Quantizer, RoundingMode
from hwgen.step import Linear, StepFunction, linear_step

NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))
# Time steps and sequences: one of each, a few, a stream.
SIZES = ((1, 1), (9, 21), (200, 2))
INT8, UINT8 = IntegerType(8, True), IntegerType(8, False)


@functools.cache
def loaded(name: str) -> tuple[Network, IntegerNetwork]:
    network = hwgen.load(MODELS / f"{name}.onnx")
    return network, lower(network)


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_gives_the_codes_of_every_model(name: str) -> None:
    network, model = loaded(name)
    inputs = [random_inputs(network, *size, seed=seed) for seed, size in enumerate(SIZES)]
    sizes = sum(steps * batch for steps, batch in SIZES), sum(batch for _, batch in SIZES)
    expected = 20 * (sizes[0] + 2 * sizes[1])
    assert assert_lowered(network, model, *inputs) == len(LEVELS) * expected


@pytest.mark.skipif(
    tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 22),
    reason="the evaluator of onnx before 1.22 keeps outer tensors from the body of a Scan",
)
@pytest.mark.parametrize("name", [name for name in NAMES if "reversed" not in name])
def test_so_does_the_evaluator_of_onnx(name: str) -> None:
    """It knows no reversed Scan."""
    network, model = loaded(name)
    given = random_inputs(network, 4, 3, seed=3)
    wanted = host.run(network, model, given)
    assert_equal(
        dict(zip(wanted, ReferenceEvaluator(to_onnx(network, model)).run(None, given), strict=True)), wanted, ""
    )


def test_a_stream_in_pieces_is_the_stream() -> None:
    network, model = loaded("states")
    whole = random_inputs(network, 200, 3, seed=4)
    wanted = host.run(network, model, whole)
    for session in sessions(checked(network, model)):
        state, pieces = {name: whole[name] for name in ("h0", "c0")}, []
        for begin in range(0, 200, 40):
            got = execute(session, {"x": whole["x"][begin : begin + 40], **state})
            pieces.append(got["y"])
            state = {"h0": got["h_n"].astype(np.float32), "c0": got["c_n"].astype(np.float32)}
        np.testing.assert_array_equal(np.concatenate(pieces), wanted["y"])


def test_onnxruntime_gives_what_brevitas_recorded() -> None:
    """370 held-out utterances through the trained model of the demo."""
    network = hwgen.load(EXAMPLE / "japanese_vowels.onnx")
    data = np.load(EXAMPLE / "held_out.npz")
    y_scale, c_scale = data["y_scale"].astype(np.float64), data["c_scale"].astype(np.float64)
    for session in sessions(checked(network, lower(network))):
        compared, begin = 0, 0
        for utterance, length in enumerate(data["lengths"]):
            steps = slice(begin, begin := begin + int(length))
            got = execute(session, {"x": data["x"][steps, np.newaxis]})
            np.testing.assert_array_equal(got["y"][:, 0], data["y_codes"][steps] * y_scale, f"utterance {utterance}")
            np.testing.assert_array_equal(got["c_n"][0, 0], data["c_n_codes"][utterance] * c_scale)
            compared += got["y"].size + got["c_n"].size
        assert compared == data["y_codes"].size + data["c_n_codes"].size == 181_984 + 11_840


# Networks made by hand.

X = Quantizer((2.0**-5,), (0,), INT8)
HIDDEN = 7


def dense_weights(generator: np.random.Generator, *shape: int, channels: int = 1) -> QuantizedTensor:
    scale = tuple(2.0 ** -(7 + channel % 2) for channel in range(channels))
    return QuantizedTensor(generator.integers(-127, 128, shape), Quantizer(scale, (0,), IntegerType(8, True, True)))


def rnn(name: str, source: str, inputs: int, gate: dict[str, Any], seed: int, **options: Any) -> RnnLayer:
    """A plain RNN with random weights whose input has the quantizer ``X``, as its output has."""
    generator = np.random.default_rng(seed)
    channels = gate.get("channels", 1)
    output = gate.get("output", X)
    bias: FloatArray = np.round(0.3 * 2**14 * generator.standard_normal(HIDDEN)) / 2**14
    layer_gate = Gate(
        name="hidden",
        input_weight=dense_weights(generator, HIDDEN, inputs, channels=channels),
        hidden_weight=dense_weights(generator, HIDDEN, HIDDEN, channels=channels),
        bias=bias,
        accumulator=gate.get("accumulator", Quantizer((2.0**-5,), (0,), INT8)),
        activation=gate.get("activation", Activation.TANH),
        activation_quantizer=output,
    )
    initial = options.pop("initial", InitialState(output, generator.integers(-20, 20, HIDDEN)))
    return RnnLayer(name, inputs, HIDDEN, layer_gate, options.pop("input", X), initial, source=source, **options)


def network_of(layers: list[Layer], inputs: list[NetworkInput], outputs: list[NetworkOutput]) -> Network:
    return Network("by hand", tuple(layers), tuple(inputs), tuple(outputs))


def shown(layer: Layer) -> list[NetworkOutput]:
    """The wires of a layer as they are."""
    return [
        NetworkOutput(f"{wire.name} out", ("T", "N", "F") if wire.per_step else ("N", "F"), (wire,))
        for wire in layer.wires
    ]


def sequence_input(quantizer: Quantizer = X, features: int = 4) -> NetworkInput:
    return NetworkInput("x", ("T", "N", "F"), (Wire("x", features, True, quantizer),))


def moves(network: Network, inputs: dict[str, np.ndarray]) -> bool:
    return all(len(np.unique(values)) > 1 for values in network.run(inputs).values())


RNNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tanh": ({}, {}),
    "relu": ({"activation": Activation.RELU}, {}),
    "sigmoid, scales per channel": ({"activation": Activation.SIGMOID, "channels": HIDDEN}, {}),
    "identity": ({"activation": Activation.IDENTITY}, {}),
    "reversed": ({}, {"reverse": True}),
    "accumulator of 16 bits": ({"accumulator": Quantizer((2.0**-12,), (0,), IntegerType(16, True))}, {}),
    "state with a zero point": ({"output": Quantizer((2.0**-5,), (100,), UINT8)}, {}),
    "relu, scales that are no powers of two": (
        {"activation": Activation.RELU, "accumulator": Quantizer((0.0317,), (0,), IntegerType(10, True))},
        {},
    ),
}


@pytest.mark.parametrize("name", RNNS)
def test_plain_rnns(name: str) -> None:
    gate, options = RNNS[name]
    layer = rnn("rnn", "x", 4, gate, len(name), **options)
    network = network_of([layer], [sequence_input()], shown(layer))
    inputs = [random_inputs(network, *size, seed=5) for size in SIZES]
    assert_lowered(network, lower(network), *inputs)
    assert moves(network, inputs[1])


@pytest.mark.parametrize("mode", RoundingMode, ids=lambda mode: mode.value)
def test_rounding_modes_of_every_quantizer(mode: RoundingMode) -> None:
    source = dataclasses.replace(X, zero_point=(-3,), rounding=mode)
    output = dataclasses.replace(X, zero_point=(5,), rounding=mode)
    accumulator = Quantizer((2.0**-4,), (2,), INT8, mode)
    layer = rnn("rnn", "x", 4, {"output": output, "accumulator": accumulator}, 6, input=source)
    network = network_of([layer], [sequence_input(source)], shown(layer))
    inputs = random_inputs(network, 50, 9, seed=6)
    # Halves and whole codes of the input, where modes differ.
    inputs["x"][::2] = np.round(inputs["x"][::2] * 64) / 64
    assert_lowered(network, lower(network), inputs)


def test_two_directions_stacks_given_states_and_heads() -> None:
    generator = np.random.default_rng(3)
    state = [Wire(f"state {index}", HIDDEN, False, X) for index in range(2)]
    given = [InitialState(X, source=wire.name) for wire in state]
    first, back = (rnn(f"rnn {r}", "x", 4, {}, 8 + r, reverse=bool(r), initial=given[r]) for r in range(2))
    both = ConcatLayer("both", (first.wires[0], back.wires[0]))
    second = rnn("rnn 2", "both", 2 * HIDDEN, {"activation": Activation.SIGMOID}, 10)
    finer = Quantizer((2.0**-7,), (7,), UINT8, RoundingMode.HALF_UP)
    between = QuantizeLayer("between", second.wires[0], Requantization(Activation.RELU, finer))
    last = SelectLayer("last", between.wires[0], -2)
    sums = Quantizer((2.0**-14,), (0,), IntegerType(40, True))
    # Biases off the grid of the sums, two of them apart by less than one unit.
    offset = (0.25 * 2**-14, 0.0, 0.0, 0.375 * 2**-14, 0.0)
    scores = DenseLayer(
        "scores",
        last.wires[0],
        dense_weights(generator, 5, HIDDEN),
        np.array(offset),
        None,
        Wire("scores", 5, False, sums, offset),
    )
    step_scores = DenseLayer(
        "step scores",
        between.wires[0],
        dense_weights(generator, 3, HIDDEN),
        np.array([0.0, 0.125, 0.25]),
        Requantization(Activation.RELU, X),
        Wire("step scores", 3, True, X),
    )
    best = ArgmaxLayer("best", scores.wire)
    best_steps = ArgmaxLayer("best steps", step_scores.wire)
    network = network_of(
        [first, back, both, second, between, last, scores, step_scores, best, best_steps],
        [
            NetworkInput("x", ("N", "1", "T", "F"), (Wire("x", 4, True, X),)),
            NetworkInput("h0", ("S", "N", "F"), (state[1], state[0]), (0, 2), 3),
        ],
        [
            NetworkOutput("y", ("N", "T", "F"), (between.wires[0],)),
            NetworkOutput("states", ("S", "N", "F"), (first.wires[1], back.wires[1], second.wires[1])),
            NetworkOutput("sequences", ("N", "S", "T", "F"), (first.wires[0], back.wires[0])),
            NetworkOutput("scores", ("N", "F"), (scores.wire,)),
            NetworkOutput("best", ("N",), best.wires, True),
            NetworkOutput("best of each step", ("1", "N", "T", "1"), best_steps.wires, True),
        ],
    )
    model = lower(network)
    inputs = [random_inputs(network, *size, seed=11) for size in ((2, 1), (30, 40))]
    assert_lowered(network, model, *inputs)
    assert moves(network, inputs[1])
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in to_onnx(network, model).graph.input
    ]
    assert shapes == [["batch", 1, "time", 4], [3, "batch", HIDDEN]]


def test_argmax_takes_the_first_of_equals() -> None:
    wire = Wire("x", 4, True, X)
    # Of two equal codes the greater offset wins, of two equal sums the first.
    for offset in (None, (0.0, 0.25 * X.scale[0], 0.25 * X.scale[0], 0.0)):
        source = dataclasses.replace(wire, offset=offset)
        dense = DenseLayer(
            "dense",
            wire,
            QuantizedTensor(np.eye(4, dtype=np.int64), Quantizer((1.0,), (0,), INT8)),
            None if offset is None else np.array(offset),
            None,
            dataclasses.replace(source, name="dense"),
        )
        best = ArgmaxLayer("best", dense.wire)
        network = network_of([dense, best], [sequence_input()], [NetworkOutput("best", ("T", "N"), best.wires, True)])
        codes = np.random.default_rng(12).integers(-1, 2, (40, 5, 4))
        inputs = {"x": (codes * X.scale[0]).astype(np.float32)}
        assert_lowered(network, lower(network), inputs)
        tied = codes.max(axis=-1, keepdims=True) == codes
        assert (tied.sum(axis=-1) > 1).any(), "no ties"


@pytest.mark.parametrize(("classes", "operators"), [(3, ["Cast"]), (2**14, [])], ids=["as float64", "as int64"])
def test_argmax_of_sums_of_40_bits(classes: int, operators: list[str]) -> None:
    generator = np.random.default_rng(22)
    stage = ArgmaxStage("best", "sums", generator.permutation(classes), "best")
    # The last bit of long sums decides, then the rank.
    sums = 2**39 - 1 - generator.integers(0, 2, (50, classes))
    graph, codes = GraphBuilder(Names(["a"])), {"sums": "a"}
    lower_stage(graph, stage, codes, {"sums": IntegerType(40, True)})
    assert [node.op_type for node in graph.nodes] == ["Mul", "Add", *operators, "ArgMax"]
    for got in evaluate(graph, codes["best"], sums):
        np.testing.assert_array_equal(got, stage.run({"sums": sums})["best"])


# Single quantizers and step functions.


def evaluate(graph: GraphBuilder, result: str, a: np.ndarray) -> Iterator[np.ndarray]:
    """A graph of one input called a, in every executor."""
    kind = TensorProto.INT64 if a.dtype == np.int64 else TensorProto.DOUBLE
    shape = [None] * a.ndim
    ports = [
        [helper.make_tensor_value_info(name, element, shape)]
        for name, element in (("a", kind), (result, TensorProto.INT64))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "graph", *ports, graph.initializers),
        opset_imports=[helper.make_opsetid("", onnx_graph.OPSET)],
        ir_version=onnx_graph.IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    for session in sessions(model):
        yield session.run(None, {"a": a})[0]
    yield ReferenceEvaluator(model).run(None, {"a": a})[0]


@pytest.mark.parametrize("mode", RoundingMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("scale", [0.125, float(np.float32(0.0123))])
@pytest.mark.parametrize(
    ("zero", "codes"),
    [(0, INT8), (37, UINT8), (-5, IntegerType(4, True, True)), (0, IntegerType(16, True)), (0, IntegerType(32, True))],
    ids=str,
)
def test_quantizers(mode: RoundingMode, scale: float, zero: int, codes: IntegerType) -> None:
    quantizer = Quantizer((scale,), (zero,), codes, mode)
    generator = np.random.default_rng(13)
    halves = np.arange(2 * codes.lo - 6, 2 * codes.hi + 6, max(1, codes.hi // 500)) - 2 * zero
    extreme = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-30, -1e-30, 3e38, -3e38, 0.49999999999999994 * scale])
    values = np.concatenate([halves * scale / 2, extreme, 100 * generator.standard_normal(500)])
    graph = GraphBuilder(Names(["a"]))
    for got in evaluate(graph, quantize(graph.at("q"), "a", quantizer), values):
        np.testing.assert_array_equal(got, quantizer.quantize(values))


def test_bipolar_quantizers() -> None:
    quantizer = Quantizer((0.1,), (0,), IntegerType(1, True, bipolar=True))
    values, graph = np.array([-3e38, -1e-45, -0.0, 0.0, 1e-45, 7.0]), GraphBuilder(Names(["a"]))
    for got in evaluate(graph, quantize(graph.at("q"), "a", quantizer), values):
        np.testing.assert_array_equal(got, [-1, -1, 1, 1, 1, 1])


def uniform(
    slopes: tuple[Fraction, ...],
    reach: int,
    bits: int,
    mode: RoundingMode = RoundingMode.ROUND,
    intercepts: tuple[Fraction, ...] = (Fraction(0),),
) -> StepFunction:
    spread = tuple(intercepts[c % len(intercepts)] for c in range(len(slopes)))
    return linear_step("step", -reach, reach, Linear(slopes, spread, mode, IntegerType(bits, True)))


THIRD, SHIFTED = Fraction(1, 3 * 2**9), (Fraction(-3), Fraction(5, 2), Fraction(7, 8))
RATIOS = (Fraction(12345, 2**24), Fraction(12347, 2**24), Fraction(9999, 2**23))
LONG = tuple(Fraction(2**33 + odd, 2**45) for odd in (1, 77, 12345))
# A step function, the form that it is built in, and the operator that tells how the graph computes it.
STEPS: dict[str, tuple[StepFunction, str, str]] = {
    **{
        f"shift, {mode.value}": (uniform((Fraction(1, 64),) * 3, 20000, 8, mode, SHIFTED), "shift", "Div")
        for mode in RoundingMode
    },
    "shift by nothing": (uniform((Fraction(1),), 500, 8), "shift", "Clip"),
    "shift to the left": (uniform((Fraction(8),), 100, 8, intercepts=(Fraction(3),)), "shift", "Mul"),
    "shift beyond float64": (
        uniform((Fraction(1, 2),), 2**20, 8, intercepts=(Fraction(2**56),)),
        "shift",
        "ReduceSum",
    ),
    "multiply": (uniform((Fraction(1, 12347),), 2**21, 8), "multiply", "BitwiseAnd"),
    "multiply, 16 bits": (uniform((Fraction(1, 3),), 2**18, 16, RoundingMode.FLOOR), "multiply", "BitwiseAnd"),
    "multiply per channel": (uniform(RATIOS, 2**20, 8, intercepts=SHIFTED), "multiply", "BitwiseAnd"),
    "multiply beyond int64": (uniform(LONG, 2**27, 12, RoundingMode.FLOOR), "multiply", "ReduceSum"),
    "table": (uniform((THIRD * 64,), 1000, 8), "table", "Gather"),
    "table per channel": (uniform(RATIOS, 3000, 8, intercepts=SHIFTED), "table", "Gather"),
    "search, few in a small domain": (uniform((THIRD * 16,), 1000, 8), "search", "Gather"),
    "search, 1": (uniform((THIRD,), 2**24, 1), "search", "ReduceSum"),
    "search, 15": (uniform((THIRD,), 2**24, 4), "search", "ReduceSum"),
    "search, 255": (uniform((THIRD,), 2**24, 8), "search", "ReduceSum"),
    "search, 255 per channel": (uniform(RATIOS, 2**24, 8, intercepts=SHIFTED), "search", "ReduceSum"),
    "search, 4095 per channel": (uniform(RATIOS, 2**24, 12), "search", "ReduceSum"),
    "search, 65535": (uniform((THIRD,), 2**36, 16), "search", "ReduceSum"),
    "search, none": (uniform((THIRD,), 2**20, 8, intercepts=(Fraction(9999),)), "search", "ReduceSum"),
}


def witnesses(function: StepFunction) -> IntArray:
    """Arguments [n, channels]: both ends, both sides of thresholds, and random ones."""
    rows = function.thresholds.T
    spread = np.random.default_rng(14).integers(function.lo, function.hi + 1, (2000, function.channels))
    ends = np.array([function.lo, -1, 0, 1, function.hi])[:, np.newaxis] + np.zeros(function.channels, np.int64)
    return np.clip(np.concatenate([ends, rows, rows - 1, rows + 1, spread]), function.lo, function.hi)


@pytest.mark.parametrize("name", STEPS)
def test_step_functions_are_their_thresholds(name: str) -> None:
    function, kind, operator = STEPS[name]
    certified = choose(function, (kind,))
    graph, a = GraphBuilder(Names(["a"])), witnesses(function)
    result = step(graph.at("step"), certified, "a")
    assert operator in {node.op_type for node in graph.nodes}, [node.op_type for node in graph.nodes]
    for got in evaluate(graph, result, a):
        np.testing.assert_array_equal(got, function.evaluate(a))


TABULATED = [
    name for name, (function, kind, _) in STEPS.items() if kind in ("search", "table") and len(function.thresholds.T)
]


@pytest.mark.parametrize("name", TABULATED)
def test_a_constant_that_is_one_off_is_seen(name: str) -> None:
    function, kind, _ = STEPS[name]
    graph, a = GraphBuilder(Names(["a"])), witnesses(function)
    result = step(graph.at("step"), choose(function, (kind,)), "a")
    tried = [tensor for tensor in graph.initializers if tensor.name.endswith(("table", "thresholds"))]
    assert tried
    for tensor in tried:
        right = numpy_helper.to_array(tensor)
        wrong = right.copy()
        wrong.reshape(-1)[right.size // 2] += 1
        tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
        for got in evaluate(graph, result, a):
            assert (got != function.evaluate(a)).any(), tensor.name
        tensor.CopyFrom(numpy_helper.from_array(right, tensor.name))


def test_the_steps_tried_reach_every_way_to_compute_one() -> None:
    forms = {name: choose(function, (kind,)).form for name, (function, kind, _) in STEPS.items()}
    long, far = forms["multiply beyond int64"], forms["shift beyond float64"]
    assert isinstance(long, MultiplyForm) and int(long.multiplier.max()).bit_length() > MAX_MULTIPLIER_BITS
    assert isinstance(far, ShiftForm) and abs(int(far.offset[0])) > 2**53
    assert isinstance(forms["table per channel"], TableForm) and len(forms["table per channel"].table) == 3
    levels = {len(threshold_tree(function)) for function, kind, _ in STEPS.values() if kind == "search"}
    assert levels == {1, 2, 3, 4}


# A fault must be seen.


def constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from constants(attribute.g)


CELL = "layers.0.0/export_handler/QuantLSTMCell"
FAULTS = (
    ("default", "x/quantize/scale"),
    ("default", "y/dequantize/scale"),
    ("default", f"{CELL}/initial_h/codes"),
    ("default", f"{CELL}/input_gate/bias"),
    ("default", f"{CELL}/forget_gate/input_weights"),
    ("default", f"{CELL}/output_gate/hidden_weights"),
    ("default", f"{CELL}/cell_gate/tanh/table"),
    ("default", f"{CELL}/hidden_state_tanh/table"),
    ("default", f"{CELL}/output_product/offset"),
    ("default", f"{CELL}/forget_gate/accumulator/multiplier"),
    ("shifted", f"{CELL}/forget_product/right_zero_point"),
    ("coupled", f"{CELL}/forget_gate/one"),
    ("power_of_two", f"{CELL}/output_product/divisor"),
    ("wide_state", f"{CELL}/input_gate/accumulator_and_activation/digit_0/thresholds"),
    ("wide_state", f"{CELL}/output_gate/accumulator_and_activation/digit_1/thresholds"),
)


@pytest.mark.parametrize(("name", "tensor"), FAULTS, ids=lambda value: value.removeprefix(f"{CELL}/"))
def test_a_planted_fault_is_seen(name: str, tensor: str) -> None:
    network, model = loaded(name)
    graph = checked(network, model)
    found = next(constant for constant in constants(graph.graph) if constant.name == tensor)
    values = numpy_helper.to_array(found).copy()
    # The entry in the middle, which is used often.  What an accumulator is compared with changes by more than one:
    # few sums fall between.
    places = values.reshape(-1)
    middle = places.size // 2
    if values.dtype.kind == "f":
        places[middle] = np.nextafter(places[middle], np.inf) if "dequantize" in tensor else 1.01 * places[middle]
    else:
        places[middle] += max(1, abs(int(places[middle])) // 4)
    found.CopyFrom(numpy_helper.from_array(values, tensor))
    inputs = random_inputs(network, 200, 64, seed=15)
    wanted = host.run(network, model, inputs)
    for session in sessions(graph):
        got = execute(session, inputs)
        assert sum(int((got[key] != wanted[key]).sum()) for key in wanted) > 0


# The file.


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def test_operators_are_standard_and_a_layer_is_one_scan() -> None:
    network, model = loaded("wide_state")
    graph = checked(network, model)
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 21)]
    assert {node.domain for node in nodes(graph.graph)} == {""}
    assert [node.op_type for node in nodes(graph.graph)].count("Scan") == 1
    outputs = {name for node in nodes(graph.graph) for name in node.output}
    gates = {
        "input": ["accumulator_and_activation"],
        "forget": ["accumulator", "sigmoid"],
        "cell": ["accumulator_and_activation"],
        "output": ["accumulator_and_activation"],
    }
    wanted = {f"{CELL}/{gate}_gate/{place}" for gate, places in gates.items() for place in places}
    others = ("forget_product", "input_product", "cell_sum", "hidden_state_tanh", "output_product")
    wanted |= {f"{CELL}/{name}" for name in others}
    assert wanted <= outputs and len(wanted) == len(list(model.steps()))


def test_float32_rounds_outputs_once() -> None:
    network, model = loaded("default")
    inputs = random_inputs(network, 20, 5, seed=16)
    exact = host.run(network, model, inputs)
    single = {name: values.astype(np.float32) for name, values in exact.items()}
    assert any((single[name] != exact[name]).any() for name in exact), "float32 holds them all"
    for session in sessions(checked(network, model, float32=True)):
        assert_equal(execute(session, inputs), single, "float32")


@pytest.mark.parametrize(
    ("given", "layer", "result"),
    [
        ("a/quantize", "a", "a/forget_gate"),
        ("layer", "/", "layer/h"),
        ("x", "x", "x.sequence"),
        ("x\n\0\N{SNOWMAN}", "\ud83e\n'\"", "out\tput"),
        ("n" * 5000, "n" * 5000, "n" * 100),
    ],
    ids=["internal", "empty", "same", "unprintable", "long"],
)
def test_names_of_the_model_stay_and_never_collide(given: str, layer: str, result: str) -> None:
    first = rnn(layer, "wire", 4, {}, 17)
    second = rnn(f"/{layer}", first.wires[0].name, HIDDEN, {}, 18)
    port = NetworkInput(given, ("T", "N", "F"), (Wire("wire", 4, True, X),))
    network = network_of([first, second], [port], [NetworkOutput(result, ("T", "N", "F"), second.wires[:1])])
    assert_lowered(network, lower(network), random_inputs(network, 5, 3, seed=19))


def test_the_same_model_gives_the_same_bytes() -> None:
    code = (
        "import sys, hashlib, hwgen; from hwgen.lowering import lower; from hwgen.backends.onnx_graph import to_onnx;"
        "n = hwgen.load(sys.argv[1]); data = to_onnx(n, lower(n)).SerializeToString(deterministic=True);"
        "print(hashlib.sha256(data).hexdigest())"
    )
    path = str(MODELS / "mixed_widths.onnx")
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout


def test_a_file_that_onnx_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "MAX_BYTES", 2000)
    with pytest.raises(
        UnsupportedError, match=r"'default': its weights and thresholds are \d+ bytes, more than an ONNX"
    ):
        to_onnx(*loaded("default"))


# The command.


def call(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["lower", *map(str, arguments)])


def test_the_command_writes_what_onnxruntime_runs(default_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "lowered.onnx"
    result = call(default_model, "-o", out)
    assert result.exit_code == 0, result.output
    assert "lowered.onnx: 1 layers" in result.output.replace("\n", "")
    network, model = loaded("default")
    given = random_inputs(network, 6, 2, seed=20)
    for session in sessions(onnx.load(out)):
        assert_equal(execute(session, given), host.run(network, model, given), "file")
    result = call(default_model, "-o", out, "--float32", "--json")
    assert json.loads(result.stdout) == {"output": str(out), "bytes": out.stat().st_size, "layers": 1}
    assert {output.type.tensor_type.elem_type for output in onnx.load(out).graph.output} == {TensorProto.FLOAT}
    assert sorted(tmp_path.iterdir()) == [out]


def test_the_command_refuses(default_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.onnx"
    copy.write_bytes(default_model.read_bytes())
    result = call(copy, "-o", copy)
    assert result.exit_code == 1
    assert "is the model itself, which would be lost; choose another file" in " ".join(result.stderr.split())
    assert copy.read_bytes() == default_model.read_bytes()
    result = call(default_model, "-o", tmp_path / "missing" / "out.onnx")
    assert result.exit_code == 1
    assert "cannot be written (No such file or directory)" in " ".join(result.stderr.split())
    assert call(tmp_path / "nothing.onnx", "-o", tmp_path / "out.onnx").exit_code == 1
    assert sorted(tmp_path.iterdir()) == [copy]


def test_from_python(default_model: Path, tmp_path: Path) -> None:
    network = hwgen.load(default_model)
    path = hwgen.lower(network, tmp_path / "lowered.onnx")
    assert onnx.load(path) == to_onnx(*loaded("default"))
    with pytest.raises(ConfigError, match="is the model itself"):
        hwgen.lower(network, default_model)
