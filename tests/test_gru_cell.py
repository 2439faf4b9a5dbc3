# SPDX-License-Identifier: Apache-2.0
"""QuantGRUCell, the node of docs/quant_gru_cell.md, written by hand: what it computes, and what is refused.

Needs neither torch nor Brevitas.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from lowered import assert_lowered, random_inputs
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from hwgen import host
from hwgen.errors import HwgenError, ModelError, UnsupportedError
from hwgen.frontend import load
from hwgen.inspection import describe
from hwgen.integer_network import GruStage
from hwgen.layers import GruLayer
from hwgen.lowering import lower
from hwgen.quantizer import RoundingMode

INPUTS, H, T, N = 5, 7, 9, 6
Array = NDArray[np.float64]
Edit = Callable[[onnx.ModelProto], None]
# scale, zero point, bits, signed; powers of two, so that float64 is exact
QUANTIZERS = {
    "output": (2.0**-7, 0, 8, 1),
    "reset_acc": (2.0**-4, 0, 8, 1),
    "update_acc": (2.0**-5, 4, 8, 1),
    "new_acc": (2.0**-5, 0, 8, 1),
    "hidden_acc": (2.0**-6, -6, 8, 1),
    "reset_sigmoid": (2.0**-8, 0, 8, 0),
    "update_sigmoid": (2.0**-7, 2, 8, 0),
    "new_tanh": (2.0**-6, 0, 8, 1),
}
X_SCALE, WEIGHT_SCALE, BIAS_SCALE = 2.0**-6, 2.0**-7, 2.0**-13
GATES = ("reset", "update", "new")


def constants(seed: int = 3) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    found = {}
    for gate in GATES:
        found[f"w_{gate}"] = random.integers(-127, 128, (H, INPUTS)) * WEIGHT_SCALE
        found[f"u_{gate}"] = random.integers(-127, 128, (H, H)) * WEIGHT_SCALE
        found[f"b_{gate}"] = random.integers(-2000, 2000, H) * BIAS_SCALE
    found["b_hidden"] = random.integers(-2000, 2000, H) * BIAS_SCALE
    found["h0"] = random.integers(-100, 100, (1, H)) * QUANTIZERS["output"][0]
    return {name: values.astype(np.float32) for name, values in found.items()}


def gru(rounding: str = "ROUND", **attributes: object) -> onnx.ModelProto:
    """A model of one QuantGRUCell with 8-bit quantizers."""
    stored: dict[str, ArrayLike] = dict(constants())
    stored |= {"x_scale": X_SCALE, "w_scale": WEIGHT_SCALE, "b_scale": BIAS_SCALE}
    stored |= {"zero": 0.0, "eight": 8.0, "sixteen": 16.0}
    nodes = []

    def quant(tensor: str, scale: str, bits: str = "eight") -> str:
        node = helper.make_node(
            "Quant", [tensor, scale, "zero", bits], [f"{tensor}_q"], f"quant_{tensor}",
            domain="qonnx.custom_op.general", signed=1, narrow=0,
        )  # fmt: skip
        nodes.append(node)
        return f"{tensor}_q"

    inputs = [quant("x", "x_scale"), "h0"]
    for part, grid, bits in (("w", "w_scale", "eight"), ("u", "w_scale", "eight"), ("b", "b_scale", "sixteen")):
        inputs += [quant(f"{part}_{gate}", grid, bits) for gate in GATES]
    inputs.append(quant("b_hidden", "b_scale", "sixteen"))
    options: dict[str, object] = {"batch_first": 0, "reverse_input": 0}
    for name, (scale, zero, width, signed) in QUANTIZERS.items():
        stored |= {f"{name}.scale": scale, f"{name}.zero": float(zero), f"{name}.bits": float(width)}
        inputs += [f"{name}.scale", f"{name}.zero", f"{name}.bits"]
        options |= {f"{name}_signed": signed, f"{name}_narrow": 0, f"{name}_rounding_mode": rounding}
    cell = helper.make_node(
        "QuantGRUCell", inputs, ["y", "h_n"], "gru", domain="hwgen.custom_op", **(options | attributes)
    )
    graph = helper.make_graph(
        [*nodes, cell],
        "gru",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, INPUTS])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "h_n")],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in stored.items()],
    )
    imports = [("", 17), ("qonnx.custom_op.general", 2), ("hwgen.custom_op", 1)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*entry) for entry in imports])


def node(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "QuantGRUCell")


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "gru.onnx"
    onnx.save(model, path)
    return path


def put(model: onnx.ModelProto, index: int, value: ArrayLike) -> None:
    """Give one input of the cell a constant of its own."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), f"edited_{index}"))
    node(model).input[index] = f"edited_{index}"


# What it computes.

ROUNDINGS: dict[str, Callable[[Array], Array]] = {"ROUND": np.rint, "FLOOR": np.floor, "CEIL": np.ceil}


def by_hand(x: Array, rounding: str, reverse: bool) -> Array:
    """The equations of the specification, written down once more: x [T, N, I] -> h [T, N, H] in time order."""
    c = {name: value.astype(np.float64) for name, value in constants().items()}

    def q(name: str, values: Array) -> Array:
        scale, zero, bits, signed = QUANTIZERS[name]
        low = -(2 ** (bits - 1)) if signed else 0
        return (np.clip(ROUNDINGS[rounding](values / scale + zero), low, low + 2**bits - 1) - zero) * scale

    def gate(name: str, x: Array, h: Array) -> Array:
        total = q(f"{name}_acc", x @ c[f"w_{name}"].T + h @ c[f"u_{name}"].T + c[f"b_{name}"])
        return q(f"{name}_sigmoid", 1 / (1 + np.exp(-total)))

    one = q("update_sigmoid", np.ones(()))
    h, result = np.repeat(c["h0"], x.shape[1], axis=0), np.zeros((*x.shape[:2], H))
    for t in range(len(x))[:: -1 if reverse else 1]:
        v = np.clip(np.rint(x[t] / X_SCALE), -128, 127) * X_SCALE
        r, z = gate("reset", v, h), gate("update", v, h)
        part = q("hidden_acc", h @ c["u_new"].T + c["b_hidden"])
        n = q("new_acc", q("new_acc", v @ c["w_new"].T + c["b_new"]) + q("new_acc", r * part))
        n = q("new_tanh", np.tanh(n))
        h = result[t] = q("output", q("output", (one - z) * n) + q("output", z * h))
    return result


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("batch_first", "reverse"), [(0, 0), (0, 1), (1, 0)])
def test_reference_and_integer_model_are_the_equations(
    rounding: str, batch_first: int, reverse: int, tmp_path: Path
) -> None:
    network = load(saved(gru(rounding, batch_first=batch_first, reverse_input=reverse), tmp_path))
    x = np.random.default_rng(11).normal(0, 0.8, (T, N, INPUTS)).astype(np.float32)
    wanted = by_hand(x.astype(np.float64), rounding, bool(reverse))
    given = {"x": x.swapaxes(0, 1) if batch_first else x}
    for found in (network.run(given), host.run(network, lower(network), given)):
        y = found["y"].swapaxes(0, 1) if batch_first else found["y"]
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(found["h_n"], wanted[0 if reverse else -1])
    assert len(np.unique(wanted)) > 60, "codes hardly move"


@pytest.mark.parametrize("reverse", [0, 1])
def test_every_random_code_is_the_same_in_reference_integers_and_onnxruntime(reverse: int, tmp_path: Path) -> None:
    network = load(saved(gru(reverse_input=reverse), tmp_path))
    codes = np.random.default_rng(2).integers(-128, 128, (40, 64, INPUTS))
    compared = assert_lowered(
        network, lower(network), {"x": (codes * X_SCALE).astype(np.float32)}, random_inputs(network, 1, 1, 5)
    )
    assert compared == 2 * (40 * 64 * H + 64 * H + 2 * H)


def test_scales_of_any_ratio_are_exact_behind_the_gates(tmp_path: Path) -> None:
    """Only reset and update gates add products of two scales; everything else is requantized to one grid."""
    model = gru()
    place = {name: 12 + 3 * index for index, name in enumerate(QUANTIZERS)}
    for name, scale in (("new_acc", 0.0317), ("hidden_acc", 0.0123), ("new_tanh", 0.0079), ("update_sigmoid", 1 / 255)):
        put(model, place[name], scale)
    network = load(saved(model, tmp_path))
    (stage,) = lower(network).stages
    assert isinstance(stage, GruStage) and not any(gate.bound for gate in stage.cell.gates)
    assert stage.cell.one == 255, "1 is the greatest code of the update gate, less its zero point, or the next to it"
    assert_lowered(network, lower(network), random_inputs(network, 30, 16, 3))


def test_the_layer_is_what_the_node_says(tmp_path: Path) -> None:
    layer = load(saved(gru("FLOOR", reverse_input=1, output_narrow=1), tmp_path)).layers[0]
    assert isinstance(layer, GruLayer)
    assert (layer.name, layer.input_size, layer.hidden_size, layer.reverse) == ("gru", INPUTS, H, True)
    assert layer.output.codes.narrow and layer.new.accumulator.rounding is RoundingMode.FLOOR
    assert layer.update.activation_quantizer.zero_point == (2,) and not layer.update.activation_quantizer.codes.signed


def test_inspect_shows_it(tmp_path: Path) -> None:
    network = load(saved(gru(), tmp_path))
    (layer,) = describe(network, None)["layers"]
    assert layer["kind"] == "GRU" and layer["sizes"] == {"inputs": INPUTS, "units": H}
    assert layer["weights"] == 3 * H * (INPUTS + H)
    assert [entry["name"] for entry in layer["accumulators"]] == [
        "reset gate", "update gate", "new gate, input", "new gate, hidden",
    ]  # fmt: skip
    assert {"new gate, hidden accumulator", "new gate, hidden bias"} <= set(layer["quantizers"])
    assert len(layer["step_functions"]) >= 10 and all(step["proven"] for step in layer["step_functions"])


# What is refused.

CELL = "QuantGRUCell 'gru'"
REFUSED: dict[str, tuple[Edit, type[HwgenError], str]] = {
    "an input too few": (
        lambda model: node(model).input.__delitem__(35),
        ModelError,
        f"{CELL}: must have 36 inputs, not 35",
    ),
    "an output too many": (
        lambda model: node(model).output.extend(["other"]),
        ModelError,
        f"{CELL}: must have 1 to 2 outputs, not 3",
    ),
    "update gate by channel": (
        lambda model: put(model, 30, np.full(H, 2.0**-7)),
        UnsupportedError,
        f"{CELL}: update_sigmoid needs one scale per tensor, not {H}",
    ),
    "weight not quantized": (
        lambda model: node(model).input.__setitem__(6, "u_update"),
        UnsupportedError,
        f"{CELL}: hidden weight of the update gate ('u_update') is not quantized; set weight_quant, or calibrate the "
        "model",
    ),
    "hidden bias of the wrong shape": (
        lambda model: put(model, 11, np.ones(3)),
        ModelError,
        f"{CELL}: hidden bias must have shape [{H}], not [3]",
    ),
    "scale NaN": (
        lambda model: put(model, 24, np.nan),
        ModelError,
        f"{CELL}, quantizer 'hidden_acc': its scale must be finite, not nan",
    ),
    "a huge bias": (
        lambda model: put(model, 11, np.full(H, 1e12)),
        UnsupportedError,
        "gru, new_hidden, row 0: its bias is 1.64e+16 accumulator units, at most 2^40 are supported",
    ),
    "a large bias": (
        lambda model: put(model, 11, np.full(H, -6e7)),
        UnsupportedError,
        "gru, new_hidden: its accumulator needs 41 bits, at most 40 are supported; the bias is huge beside the "
        "products",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_nodes_are_refused_by_name(name: str, tmp_path: Path) -> None:
    edit, kind, message = REFUSED[name]
    model = gru()
    edit(model)
    with pytest.raises(kind, match=f"^{re.escape(message)}$") as caught:
        lower(load(saved(model, tmp_path)))
    assert type(caught.value) is kind
