# SPDX-License-Identifier: Apache-2.0
"""QuantRNNCell, the node of docs/quant_rnn_cell.md, written by hand: what it computes, and what is refused.

Needs neither torch nor Brevitas.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from hwgen import host
from hwgen.errors import HwgenError, ModelError, UnsupportedError
from hwgen.frontend import load
from hwgen.integer_network import RnnStage
from hwgen.layers import Activation, RnnLayer
from hwgen.lowering import lower
from hwgen.quantizer import RoundingMode

INPUTS, H, T, N = 5, 7, 9, 4
IO_SCALE, ACC_SCALE, WEIGHT_SCALE, BIAS_SCALE = 0.03125, 0.0625, 0.0078125, 0.000244140625
ATTRIBUTES: dict[str, object] = {
    "nonlinearity": "tanh",
    "batch_first": 0,
    "reverse_input": 0,
    "output_narrow": 0,
    "output_signed": 1,
    "output_rounding_mode": "ROUND",
    "gate_acc_narrow": 0,
    "gate_acc_signed": 1,
    "gate_acc_rounding_mode": "ROUND",
}
Edit = Callable[[onnx.ModelProto], None]


def constants(seed: int = 3) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return {
        "w": (random.integers(-127, 128, (H, INPUTS)) * WEIGHT_SCALE).astype(np.float32),
        "u": (random.integers(-127, 128, (H, H)) * WEIGHT_SCALE).astype(np.float32),
        "b": (random.integers(-2000, 2000, H) * BIAS_SCALE).astype(np.float32),
    }


def rnn(**attributes: object) -> onnx.ModelProto:
    """A model of one QuantRNNCell with 8-bit quantizers."""
    scalars = {"io_scale": IO_SCALE, "acc_scale": ACC_SCALE, "w_scale": WEIGHT_SCALE, "b_scale": BIAS_SCALE}
    scalars |= {"zero": 0.0, "eight": 8.0, "sixteen": 16.0}
    stored = {name: np.float32(value) for name, value in scalars.items()} | constants()
    stored["h0"] = np.zeros((1, H), np.float32)

    def quant(tensor: str, scale: str, bits: str = "eight") -> onnx.NodeProto:
        inputs = [tensor, scale, "zero", bits]
        domain = "qonnx.custom_op.general"
        return helper.make_node("Quant", inputs, [f"{tensor}_q"], f"quant_{tensor}", domain=domain, signed=1, narrow=0)

    cell = helper.make_node(
        "QuantRNNCell",
        ["x_q", "h0", "w_q", "u_q", "b_q", "io_scale", "zero", "eight", "acc_scale", "zero", "eight"],
        ["y", "h_n"],
        "rnn",
        domain="hwgen.custom_op",
        **(ATTRIBUTES | attributes),
    )
    nodes = [
        quant("x", "io_scale"),
        quant("w", "w_scale"),
        quant("u", "w_scale"),
        quant("b", "b_scale", "sixteen"),
        cell,
    ]
    graph = helper.make_graph(
        nodes,
        "rnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, INPUTS])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "h_n")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    imports = [("", 17), ("qonnx.custom_op.general", 2), ("hwgen.custom_op", 1)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*entry) for entry in imports])


def node(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "QuantRNNCell")


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "rnn.onnx"
    onnx.save(model, path)
    return path


def put(model: onnx.ModelProto, index: int, value: ArrayLike) -> None:
    """Give one input of the cell a constant of its own."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), f"edited_{index}"))
    node(model).input[index] = f"edited_{index}"


def set_attribute(name: str, value: object) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        drop_attribute(name)(model)
        node(model).attribute.append(helper.make_attribute(name, value))

    return edit


def drop_attribute(name: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        cell = node(model)
        kept = [attribute for attribute in cell.attribute if attribute.name != name]
        del cell.attribute[:]
        cell.attribute.extend(kept)

    return edit


# What it computes.

ROUNDINGS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "ROUND": np.rint,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND_TO_ZERO": np.trunc,
}


def act(values: NDArray[np.float64], nonlinearity: str) -> NDArray[np.float64]:
    return np.tanh(values) if nonlinearity == "tanh" else np.maximum(values, 0.0)


def by_hand(
    x: NDArray[np.float64], nonlinearity: str, rounding: str, reverse: bool, output: float = IO_SCALE
) -> NDArray[np.float64]:
    """The equation of the specification, written down once more: x [T, N, I] -> h [T, N, H] in time order."""

    def quantized(values: NDArray[np.float64], scale: float, mode: str = rounding) -> NDArray[np.float64]:
        return np.clip(ROUNDINGS[mode](values / scale), -128, 127) * scale

    stored = {name: value.astype(np.float64) for name, value in constants().items()}
    h, result = np.zeros((x.shape[1], H)), np.zeros((*x.shape[:2], H))
    for t in range(len(x))[:: -1 if reverse else 1]:
        total = quantized(x[t], IO_SCALE, "ROUND") @ stored["w"].T + h @ stored["u"].T + stored["b"]
        h = result[t] = quantized(act(quantized(total, ACC_SCALE), nonlinearity), output)
    return result


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("batch_first", "reverse"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_reference_and_integer_model_are_the_equation(
    nonlinearity: str, rounding: str, batch_first: int, reverse: int, tmp_path: Path
) -> None:
    model = rnn(
        nonlinearity=nonlinearity,
        batch_first=batch_first,
        reverse_input=reverse,
        output_rounding_mode=rounding,
        gate_acc_rounding_mode=rounding,
    )
    network = load(saved(model, tmp_path))
    x = np.random.default_rng(11).normal(0, 2, (T, N, INPUTS)).astype(np.float32)
    wanted = by_hand(x.astype(np.float64), nonlinearity, rounding, bool(reverse))
    given = {"x": x.swapaxes(0, 1) if batch_first else x}
    for found in (network.run(given), host.run(network, lower(network), given)):
        y = found["y"].swapaxes(0, 1) if batch_first else found["y"]
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(found["h_n"], wanted[0 if reverse else -1])
    assert len(np.unique(wanted)) > 30, "codes hardly move"


def test_the_layer_is_what_the_node_says(tmp_path: Path) -> None:
    model = rnn(nonlinearity="relu", output_narrow=1, gate_acc_rounding_mode="FLOOR", reverse_input=1)
    layer = load(saved(model, tmp_path)).layers[0]
    assert isinstance(layer, RnnLayer)
    assert (layer.name, layer.input_size, layer.hidden_size, layer.reverse) == ("rnn", INPUTS, H, True)
    assert layer.gate.activation is Activation.RELU
    assert layer.output.codes.narrow and not layer.gate.accumulator.codes.narrow
    assert layer.gate.accumulator.rounding is RoundingMode.FLOOR and layer.output.rounding is RoundingMode.ROUND


def test_a_bias_is_optional_and_scales_may_differ_by_unit(tmp_path: Path) -> None:
    model = rnn()
    put(model, 4, 0.0)
    put(model, 8, np.linspace(0.02, 0.08, H))
    network = load(saved(model, tmp_path))
    layer = network.layers[0]
    assert isinstance(layer, RnnLayer) and layer.gate.bias is None and layer.gate.accumulator.channels == H
    x = {"x": np.random.default_rng(5).normal(0, 2, (T, N, INPUTS)).astype(np.float32)}
    np.testing.assert_array_equal(network.run(x)["y"], host.run(network, lower(network), x)["y"])


def test_only_the_last_state_may_be_wanted(tmp_path: Path) -> None:
    model = rnn()
    node(model).output[0] = ""
    del model.graph.output[0]
    network = load(saved(model, tmp_path))
    assert list(network.run({"x": np.ones((2, 1, INPUTS), np.float32)})) == ["h_n"]


@pytest.mark.parametrize(("scale", "exact"), [(0.0625, True), (0.0390625, True), (0.05, False)])
def test_the_state_may_have_another_scale_than_the_input(scale: float, exact: bool, tmp_path: Path) -> None:
    """Products of different scales: exact where their ratio is one of small integers, else within 1e-4 LSB."""
    model = rnn()
    put(model, 5, scale)
    network = load(saved(model, tmp_path))
    (stage,) = lower(network).stages
    assert isinstance(stage, RnnStage)
    assert stage.cell.gates[0].exactness == ("exact" if exact else "bounded") and stage.cell.gates[0].bound <= 1e-4
    x = np.random.default_rng(12).normal(0, 2, (40, 16, INPUTS)).astype(np.float32)
    wanted = by_hand(x.astype(np.float64), "tanh", "ROUND", False, float(np.float32(scale)))
    for found in (network.run({"x": x}), host.run(network, lower(network), {"x": x})):
        np.testing.assert_array_equal(found["y"], wanted)


# What is refused.


def different_scales(model: onnx.ModelProto) -> None:
    put(model, 5, 0.05)
    put(model, 8, 1e-9)


CELL = "QuantRNNCell 'rnn'"
REFUSED: dict[str, tuple[Edit, type[HwgenError], str]] = {
    "an input too few": (
        lambda model: node(model).input.__delitem__(10),
        ModelError,
        f"{CELL}: must have 11 inputs, not 10",
    ),
    "no outputs": (
        lambda model: node(model).output.extend(["other"]),
        ModelError,
        f"{CELL}: must have 1 to 2 outputs, not 3",
    ),
    "nonlinearity unknown": (
        set_attribute("nonlinearity", "sigmoid"),
        ModelError,
        f"{CELL}: nonlinearity must be tanh or relu, not 'sigmoid'",
    ),
    "nonlinearity a number": (
        set_attribute("nonlinearity", 3),
        ModelError,
        f"{CELL}: nonlinearity must be tanh or relu, not '3'",
    ),
    "nonlinearity missing": (
        drop_attribute("nonlinearity"),
        ModelError,
        f"{CELL}: attribute 'nonlinearity' is missing",
    ),
    "batch_first missing": (drop_attribute("batch_first"), ModelError, f"{CELL}: attribute 'batch_first' is missing"),
    "batch_first 2": (
        set_attribute("batch_first", 2),
        ModelError,
        f"{CELL}: attribute 'batch_first' must be 0 or 1, not 2",
    ),
    "reverse_input a name": (
        set_attribute("reverse_input", "yes"),
        ModelError,
        f"{CELL}: attribute 'reverse_input' must be 0 or 1, not 'yes'",
    ),
    "reverse_input missing": (
        drop_attribute("reverse_input"),
        ModelError,
        f"{CELL}: attribute 'reverse_input' is missing",
    ),
    "signed missing": (
        drop_attribute("gate_acc_signed"),
        ModelError,
        f"{CELL}: attribute 'gate_acc_signed' is missing",
    ),
    "rounding mode unknown": (
        set_attribute("output_rounding_mode", "NEAREST"),
        ModelError,
        f"{CELL}, quantizer 'output': rounding mode must be one of ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP, HALF_DOWN, "
        "HALF_EVEN, ROUND_TO_ZERO, not 'NEAREST'",
    ),
    "scale 0": (
        lambda model: put(model, 5, 0.0),
        ModelError,
        f"{CELL}, quantizer 'output': scale must be positive, not 0",
    ),
    "scale NaN": (
        lambda model: put(model, 8, np.nan),
        ModelError,
        f"{CELL}, quantizer 'gate_acc': its scale must be finite, not nan",
    ),
    "bit width 40": (
        lambda model: put(model, 10, 40.0),
        ModelError,
        f"{CELL}, quantizer 'gate_acc': bit width must be an integer from 1 to 16, not 40",
    ),
    "output scale by channel": (
        lambda model: put(model, 5, np.full(H, IO_SCALE)),
        UnsupportedError,
        f"{CELL}: output needs one scale per tensor, not {H}",
    ),
    "accumulator scales too few": (
        lambda model: put(model, 8, np.full(3, ACC_SCALE)),
        ModelError,
        f"{CELL}, quantizer 'gate_acc': scale must have 1 or {H} entries, not 3",
    ),
    "weight not quantized": (
        lambda model: node(model).input.__setitem__(3, "u"),
        UnsupportedError,
        f"{CELL}: hidden weight ('u') is not quantized; set weight_quant, or calibrate the model",
    ),
    "weight not constant": (
        lambda model: node(model).input.__setitem__(2, "x_q"),
        UnsupportedError,
        f"{CELL}: its input weight ('x') must be a constant of the file",
    ),
    "hidden weight of the wrong shape": (
        lambda model: node(model).input.__setitem__(3, "w_q"),
        ModelError,
        f"Quant 'quant_w': hidden weight must have shape [{H}, {H}], not [{H}, {INPUTS}]",
    ),
    "bias of the wrong shape": (
        lambda model: put(model, 4, np.ones(3)),
        ModelError,
        f"{CELL}: bias must have shape [{H}], not [3]",
    ),
    "initial state off the grid": (
        lambda model: put(model, 1, np.full((1, H), 0.01)),
        UnsupportedError,
        f"{CELL}, initial hidden state: 0.01 is not a value of the state's quantizer (int8, scale 0.03125)",
    ),
    "initial state of the wrong shape": (
        lambda model: put(model, 1, np.zeros((1, H + 1))),
        ModelError,
        f"{CELL}, initial hidden state: shape must be [batch, {H}], not [1, {H + 1}]",
    ),
    "initial states that differ": (
        lambda model: put(model, 1, np.eye(2, H) * IO_SCALE),
        UnsupportedError,
        f"{CELL}, initial hidden state: it differs between the sequences of a batch; make it a graph input by passing "
        "states to export_qonnx",
    ),
    "input not quantized": (
        lambda model: node(model).input.__setitem__(0, "x"),
        UnsupportedError,
        f"{CELL}: its input ('x') must come from a Quant node, but nothing quantizes it; set every quantizer of the "
        "layer",
    ),
    "products whose scales have no small ratio, before a fine accumulator": (
        different_scales,
        UnsupportedError,
        "rnn, hidden gate, row 0: the input product has scale 0.000244140625 and the hidden product 0.000390625006; "
        "no accumulator of 40 bits holds their sum to within 0.0001 LSB; use scales whose ratio is a power of two, or "
        "narrower codes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_nodes_are_refused_by_name(name: str, tmp_path: Path) -> None:
    edit, kind, message = REFUSED[name]
    model = rnn()
    edit(model)
    with pytest.raises(kind, match=f"^{re.escape(message)}$") as caught:
        lower(load(saved(model, tmp_path)))
    assert type(caught.value) is kind
