# SPDX-License-Identifier: Apache-2.0
"""The Scan form: hand-built LSTMs of QuantizeLinear, Clip and DequantizeLinear, against onnxruntime and Brevitas."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import scan_graphs
from float32 import codes_of, explanations
from onnx import helper
from scan_graphs import GATES, Parameters, Scales, body_of, copied_scales, random_parameters, random_scales, scan_model

import hwgen
from hwgen import host, integer
from hwgen.errors import ConfigError, UnsupportedError
from hwgen.inspection import describe
from hwgen.integer_network import CellStage
from hwgen.layers import LstmLayer, QuantizeLayer
from hwgen.lowering import lower, lower_cell
from hwgen.lowering.scales import GREATEST_BOUND, MAX_ACCUMULATOR_BITS, WANTED_BOUND, common_unit
from hwgen.quantizer import FloatArray

INPUTS, HIDDEN, STEPS = 10, 20, 25
ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")


def load(model: onnx.ModelProto, folder: Path) -> hwgen.Network:
    path = folder / "model.onnx"
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return hwgen.load(path)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # What the file says, node by node: with its optimisations onnxruntime may compute something else.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def zeros(network: hwgen.Network) -> dict[str, FloatArray]:
    """Initial states of a graph input, for one sequence."""
    return {port.name: np.zeros([port.features, 1]) for port in network.inputs if not port.wires[0].per_step}


def codes_and_reference(network: hwgen.Network, inputs: dict[str, Any]) -> dict[str, FloatArray]:
    """What the integer model gives; the reference must give the same."""
    reference, codes = network.run(inputs), host.run(network, lower(network), inputs)
    for name, values in reference.items():
        np.testing.assert_array_equal(codes[name], values, name)
    return codes


def assert_same_layer(left: LstmLayer, right: LstmLayer) -> None:
    """Equal weights and quantizers; names and wires may differ."""
    for gate in left.gates:
        other = right.gate(gate.name)
        np.testing.assert_array_equal(gate.input_weight.codes, other.input_weight.codes)
        np.testing.assert_array_equal(gate.hidden_weight.codes, other.hidden_weight.codes)
        np.testing.assert_array_equal(gate.bias_values(), other.bias_values())
        assert gate.input_weight.quantizer == other.input_weight.quantizer
        assert gate.hidden_weight.quantizer == other.hidden_weight.quantizer
        assert (gate.accumulator, gate.activation, gate.activation_quantizer) == (
            other.accumulator,
            other.activation,
            other.activation_quantizer,
        )
    for field in (
        "input",
        "cell",
        "cell_tanh",
        "output",
        "forget_product",
        "input_product",
        "tanh_argument",
        "reverse",
    ):
        assert getattr(left, field) == getattr(right, field), field


# Against onnxruntime, step by step from its own states.


@dataclass
class Steps:
    """States before and after each step as onnxruntime has them, [steps, features]."""

    x: FloatArray
    h: FloatArray
    c: FloatArray
    h_after: FloatArray
    c_after: FloatArray


def execute(model: onnx.ModelProto, layer: LstmLayer, steps: int, seed: int) -> Steps:
    """Take one step at a time; inputs lie well within their codes, so that float32 quantizes them as anybody does."""
    session, generator = session_of(model), np.random.default_rng(seed)
    codes = generator.integers(layer.input.codes.lo, layer.input.codes.hi, (steps, layer.input_size), endpoint=True)
    x = layer.input.dequantize(codes)
    given = x + generator.uniform(-0.4, 0.4, x.shape) * layer.input.scale[0]
    h, c = (np.zeros((layer.hidden_size, 1), np.float32) for _ in range(2))
    rows: list[tuple[Any, ...]] = []
    for step in given.astype(np.float32):
        h_after, c_after, _ = session.run(None, {"h0": h, "c0": c, "sequence": step[np.newaxis, :, np.newaxis]})
        rows.append((h[:, 0], c[:, 0], h_after[:, 0], c_after[:, 0]))
        h, c = h_after, c_after
    return Steps(x, *(np.stack(column) for column in zip(*rows, strict=True)))


def differing(layer: LstmLayer, steps: Steps) -> tuple[int, list[float]]:
    """Codes compared, and the distance of each differing one to a boundary; every one must have one."""
    h_codes, c_codes = codes_of(steps.h, layer.output), codes_of(steps.c, layer.cell)
    h, c = layer.output.dequantize(h_codes), layer.cell.dequantize(c_codes)
    ours = [codes_of(v, q) for v, q in zip(layer.step(steps.x, h, c), (layer.output, layer.cell), strict=True)]
    theirs = [codes_of(steps.h_after, layer.output), codes_of(steps.c_after, layer.cell)]
    distances: list[float] = []
    for row, unit in np.argwhere((ours[0] != theirs[0]) | (ours[1] != theirs[1])):
        wanted = theirs[0][row, unit], theirs[1][row, unit]
        ways = explanations(layer, steps.x[row], h[row], float(c[row, unit]), int(unit), wanted)
        assert ways, f"step {row}, unit {unit}: onnxruntime has {wanted}"
        distances.append(min(ways))
    return 2 * ours[0].size, distances


def copied(parameters: Parameters) -> Scales:
    weight = {gate: float(np.float32(np.abs(parameters.input_weight[gate]).max() / 127)) for gate in GATES}
    return copied_scales(weight, 2.0**-7, 2.0**-8)


CASES: dict[str, Callable[[Parameters], Scales]] = {
    "copied": copied,
    "own": lambda parameters: random_scales(parameters, 1),
    "own, state not quantized": lambda parameters: scan_graphs.with_state_sum(random_scales(parameters, 2)),
    "state and argument": lambda parameters: replace(random_scales(parameters, 3), argument=2.0**-6),
    "products of other scales": lambda parameters: replace(
        random_scales(parameters, 4), hidden_weight=random_scales(parameters, 5).input_weight, output=0.0117
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_differs_only_within_float32_error_of_a_boundary(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    parameters = random_parameters(INPUTS, HIDDEN, 7)
    model = scan_model(parameters, CASES[name](parameters))
    network = load(model, tmp_path)
    steps = execute(model, network.layer, 400, 1)
    compared, distances = differing(network.layer, steps)
    record_property("onnxruntime codes", compared)
    record_property("onnxruntime differ", len(distances))
    assert compared == 2 * 400 * HIDDEN
    assert max(distances, default=0) <= 1e-3
    assert len(distances) <= 1e-3 * compared
    assert len(np.unique(steps.h_after)) > 50, "the hidden state hardly moves"


def test_weights_get_the_codes_that_onnxruntime_gives_them(tmp_path: Path) -> None:
    """Division in float32 may leave a code at a boundary; with these seeds none is near enough."""
    parameters = random_parameters(INPUTS, HIDDEN, 7)
    scales = random_scales(parameters, 1)
    network = load(scan_model(parameters, scales), tmp_path)
    for gate in network.layer.gates:
        quotient = parameters.input_weight[gate.name] / np.float32(scales.input_weight[gate.name])
        codes = np.clip(np.rint(quotient), -127, 127)
        np.testing.assert_array_equal(gate.input_weight.codes, codes)
        assert str(gate.input_weight.quantizer.codes) == "int8 narrow"


ZERO_POINTS = {"x": 10, "kept": 4, "added": -6, "state": 2, "hidden": -20, "input_acc": 8, "tanh": 6, "cell": -2}


def set_zero_points(model: onnx.ModelProto) -> None:
    """Even ones, of every kind of activation; in the file a constant each, of type int8."""
    body = body_of(model)
    for node in body.node:
        place = node.name.rpartition("_")[0]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and place in ZERO_POINTS:
            node.input[2] = f"{place}_zero"
    for place, value in ZERO_POINTS.items():
        body.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, np.int8), f"{place}_zero"))


@pytest.mark.parametrize("name", ["own", "own, state not quantized"])
def test_zero_points(name: str, tmp_path: Path) -> None:
    parameters = random_parameters(INPUTS, HIDDEN, 8)
    model = scan_model(parameters, CASES[name](parameters))
    set_zero_points(model)
    network = load(model, tmp_path)
    layer = network.layer
    terms = (layer.forget_product or layer.cell).zero_point, (layer.input_product or layer.cell).zero_point
    assert (layer.input.zero_point, layer.output.zero_point, *terms) == ((10,), (-20,), (4,), (-6,))
    compared, distances = differing(layer, execute(model, layer, 400, 2))
    assert compared == 2 * 400 * HIDDEN and len(distances) <= 1e-3 * compared
    codes_and_reference(network, random_run(network, 30, 20, seed=8))


def test_onnxruntime_rounds_before_it_adds_the_zero_point() -> None:
    """Why odd zero points are refused: a half then goes to an odd code."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["v", "scale", "zero"], ["codes"])],
        "one",
        [scan_graphs.value_info("v", [3])],
        [helper.make_tensor_value_info("codes", onnx.TensorProto.INT8, [3])],
        [onnx.numpy_helper.from_array(np.float32(1), "scale"), onnx.numpy_helper.from_array(np.int8(1), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    (codes,) = session_of(model).run(None, {"v": np.array([0.5, 1.5, 2.5], np.float32)})
    assert codes.tolist() == [1, 3, 3]


# Against Brevitas, whose module the notebook takes its weights from.


def need_brevitas() -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("brevitas")


def brevitas_module(**options: Any) -> Any:
    """The notebook's module: seed 0, every scale at its initial value."""
    need_brevitas()
    import torch
    from brevitas.nn import QuantLSTM

    torch.manual_seed(0)
    return QuantLSTM(INPUTS, HIDDEN, bias_quant=None, **options).eval()


def calibrated(module: Any, seed: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(seed)
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module(1.5 * torch.randn(12, 8, INPUTS, generator=generator))
    return module.eval()


# What the notebook printed: hidden and cell state after the first step, the hidden state after step 25, in 1/128.
FIRST_HIDDEN = [19, -1, 5, 18, 2, 0, 13, -13, 5, -8, 2, -16, 13, 4, 21, -2, -3, -2, -6, 1]
FIRST_CELL = [31, -1, 8, 31, 4, 1, 29, -30, 11, -17, 5, -31, 24, 7, 38, -4, -7, -4, -14, 3]
LAST_HIDDEN = [32, -6, 2, 35, 7, -5, 32, -25, 7, -18, 2, -26, 26, 18, 35, 4, -4, -6, -9, 1]


def test_the_notebooks_graph_gives_what_the_notebook_printed(tmp_path: Path) -> None:
    module = brevitas_module()
    scales = copied_scales(scan_graphs.brevitas_scales(module).input_weight, 2.0**-7, 2.0**-8)
    model = scan_model(scan_graphs.brevitas_parameters(module), scales)
    network = load(model, tmp_path)
    inputs = {**zeros(network), "sequence": np.full((STEPS, INPUTS, 1), 0.8)}
    whole = codes_and_reference(network, inputs)
    first = codes_and_reference(network, inputs | {"sequence": inputs["sequence"][:1]})
    np.testing.assert_array_equal(128 * first["h_n"][:, 0], FIRST_HIDDEN)
    np.testing.assert_array_equal(128 * first["c_n"][:, 0], FIRST_CELL)
    np.testing.assert_array_equal(128 * whole["h_n"][:, 0], LAST_HIDDEN)
    single = {name: array.astype(np.float32) for name, array in inputs.items()}
    for name, values in zip(("h_n", "c_n", "hidden"), session_of(model).run(None, single), strict=True):
        np.testing.assert_array_equal(whole[name], values, name)


def test_with_the_right_scales_nothing_drifts_from_brevitas(tmp_path: Path) -> None:
    module = brevitas_module()
    import torch

    model = scan_model(scan_graphs.brevitas_parameters(module), scan_graphs.brevitas_scales(module))
    network = load(model, tmp_path)
    generator = np.random.default_rng(3)
    for x in (np.full((STEPS, 4, INPUTS), 0.8, np.float32), generator.normal(0, 0.7, (STEPS, 64, INPUTS))):
        inputs = {"sequence": x.astype(np.float32).transpose(0, 2, 1)}
        inputs |= {name: np.zeros((HIDDEN, x.shape[1]), np.float32) for name in ("h0", "c0")}
        with torch.no_grad():
            y, (h, c) = module(torch.from_numpy(x.astype(np.float32)))
        ours = codes_and_reference(network, inputs)
        np.testing.assert_array_equal(ours["hidden"].transpose(0, 2, 1), y.numpy())
        np.testing.assert_array_equal(ours["h_n"].T, h[0].numpy())
        np.testing.assert_array_equal(ours["c_n"].T, c[0].numpy())


@pytest.mark.parametrize("power_of_two", [True, False])
def test_a_scan_reads_as_the_same_layer_as_brevitas_own_export(power_of_two: bool, tmp_path: Path) -> None:
    """With power-of-two scales from data nothing differs; test_brevitas explains what does with others."""
    need_brevitas()
    import torch
    from brevitas.export import export_qonnx
    from brevitas.quant import fixed_point
    from option_sets import quiet

    chosen: dict[str, Any] = {}
    if power_of_two:
        signed = fixed_point.Int8ActPerTensorFixedPoint
        chosen = {f"{name}_quant": signed for name in ("io", "gate_acc", "tanh", "cell_state")}
        chosen |= {"weight_quant": fixed_point.Int8WeightPerTensorFixedPoint}
        chosen |= {"sigmoid_quant": fixed_point.Uint8ActPerTensorFixedPoint}
    module = calibrated(brevitas_module(**chosen), 5)
    scales = scan_graphs.brevitas_scales(module)
    network = load(scan_model(scan_graphs.brevitas_parameters(module), scales), tmp_path)
    with quiet():
        export_qonnx(module, args=(torch.zeros(3, 2, INPUTS),), export_path=str(tmp_path / "cell.onnx"), dynamo=False)
    assert_same_layer(network.layer, hwgen.load(tmp_path / "cell.onnx").layer)
    if power_of_two:
        x = np.random.default_rng(6).normal(0, 1.5, (STEPS, 64, INPUTS)).astype(np.float32)
        with torch.no_grad():
            y = module(torch.from_numpy(x))[0].numpy()
        states = {name: np.zeros((HIDDEN, 64), np.float32) for name in ("h0", "c0")}
        ours = codes_and_reference(network, {"sequence": x.transpose(0, 2, 1), **states})
        np.testing.assert_array_equal(ours["hidden"].transpose(0, 2, 1), y)


# Products of different scales.


def mixed(parameters: Parameters, kind: str) -> Scales:
    scales = random_scales(parameters, 1)
    if kind == "power of two":
        return replace(scales, output=scales.input / 4)
    if kind == "small integers":
        return replace(
            scales,
            input_weight=dict.fromkeys(GATES, 5 / 1024),
            hidden_weight={gate: (3 + index) / 1024 for index, gate in enumerate(GATES)},
        )
    if kind == "real":
        return replace(scales, output=float(np.float32(0.0117)))
    assert kind == "nearly small"  # float32 rounds 3/4 of a scale: 4/3 is the ratio but for 2^-25
    return replace(scales, hidden_weight={gate: 0.75 * scale for gate, scale in scales.input_weight.items()})


def random_run(network: hwgen.Network, steps: int, batch: int, seed: int) -> dict[str, Any]:
    layer, generator = network.layer, np.random.default_rng(seed)
    codes = generator.integers(layer.input.codes.lo, layer.input.codes.hi, (steps, layer.input_size, batch))
    states = {name: np.zeros((layer.hidden_size, batch)) for name in ("h0", "c0")}
    return {"sequence": codes * layer.input.scale[0], **states}


@pytest.mark.parametrize(
    ("kind", "exact"), [("power of two", True), ("small integers", True), ("real", False), ("nearly small", False)]
)
def test_products_of_different_scales(kind: str, exact: bool, tmp_path: Path) -> None:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    network = load(scan_model(parameters, mixed(parameters, kind)), tmp_path)
    cell = lower_cell(network.layer)
    for gate in cell.gates:
        assert gate.exactness == ("exact" if exact else "bounded")
        assert gate.total.type.bits <= MAX_ACCUMULATOR_BITS
        assert_within_bound(network.layer, gate)
    assert max(gate.bound for gate in cell.gates) <= (WANTED_BOUND if kind == "real" else GREATEST_BOUND)
    certificate = integer.certificate(cell)
    assert certificate["all_proven"] is exact
    assert json.loads(integer.to_json(cell))["gates"][0]["exactness"] == ("exact" if exact else "bounded")
    (layer,) = describe(network, None)["layers"]
    assert [entry["bound"] for entry in layer["accumulators"]] == [gate.bound for gate in cell.gates]
    # Bounded sums are off by so little that no code of so few is.
    codes_and_reference(network, random_run(network, 50, 40, seed=8))


def assert_within_bound(layer: LstmLayer, gate: integer.IntegerGate) -> None:
    """At the codes where the hidden product is greatest or least, the sum is off by the bound in the worst row."""
    real, worst = layer.gate(gate.name), Fraction(0)
    lsb = real.accumulator.exact_scale(0)
    for row in range(layer.hidden_size):
        x_unit = real.input_weight.quantizer.exact_scale(row) * layer.input.exact_scale(0)
        h_unit = real.hidden_weight.quantizer.exact_scale(row) * layer.output.exact_scale(0)
        weights, scaled = real.hidden_weight.codes[row], gate.hidden_weights[row]
        # One input of weight 1 or more tells the unit of the integer sum.
        place = int(np.abs(real.input_weight.codes[row]).argmax())
        unit = x_unit * int(real.input_weight.codes[row, place]) / int(gate.input_weights[row, place])
        for ends in ((layer.output.codes.lo, layer.output.codes.hi), (layer.output.codes.hi, layer.output.codes.lo)):
            codes = np.where(weights >= 0, *ends)
            worst = max(worst, abs(h_unit * int(weights @ codes) - unit * int(scaled @ codes)) / lsb)
    assert float(worst) == pytest.approx(gate.bound, rel=1e-12, abs=0)


def test_the_common_unit_is_exact_where_it_fits_and_the_nearest_where_not() -> None:
    generator = np.random.default_rng(11)
    found_exact = found_bounded = 0
    for _ in range(300):
        x_unit, h_unit, lsb, bias = (Fraction(float(np.float32(v))) for v in generator.uniform(0.001, 0.1, 4))
        if generator.random() < 0.3:
            h_unit = x_unit * Fraction(*map(int, generator.integers(1, 2**18, 2)))
        x_reach, h_reach = map(int, generator.integers(1, 2**20, 2))
        unit = common_unit(x_unit, h_unit, x_reach, h_reach, bias, lsb)
        exact = x_unit / h_unit
        width = exact.numerator * x_reach + exact.denominator * h_reach + bias / (x_unit / exact.numerator)
        if width < 2**39 - 1:
            assert unit is not None and unit.bound == 0
            found_exact += 1
        if unit is None:
            continue
        p, q = unit.input_factor, unit.hidden_factor
        assert unit.unit * p == x_unit and unit.bound == h_reach * abs(h_unit - q * unit.unit)
        assert p * x_reach + q * h_reach + bias / unit.unit < 2**39
        if unit.bound:
            found_bounded += 1
            assert unit.bound <= GREATEST_BOUND * lsb
            # No smaller numbers come nearer to the ratio, but for those next to p / q.
            for smaller in generator.integers(1, max(2, q), 20):
                other = round(exact * int(smaller))
                assert abs(Fraction(other, int(smaller)) - exact) >= abs(Fraction(p, q) - exact)
    assert found_exact > 50 and found_bounded > 50


def test_a_ratio_that_no_accumulator_holds_is_refused(tmp_path: Path) -> None:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    scales = mixed(parameters, "real")
    network = load(scan_model(parameters, replace(scales, accumulator=dict.fromkeys(GATES, 1e-9))), tmp_path)
    message = (
        r"^lstm, input gate, row 0: the input product has scale \S+ and the hidden product \S+; no accumulator of 40 "
        r"bits holds their sum to within 0.0001 LSB; use scales whose ratio is a power of two, or narrower codes$"
    )
    with pytest.raises(UnsupportedError, match=message):
        lower(network)


# Forms of one and the same cell.


def plain_model() -> onnx.ModelProto:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    return scan_model(parameters, random_scales(parameters, 1))


@pytest.fixture
def plain(tmp_path: Path) -> LstmLayer:
    return load(plain_model(), tmp_path).layer


@pytest.mark.parametrize(
    "options",
    [
        {"bias_first": True},
        {"columns": False},
        {"outside": ("forget_w", "forget_u", "signed", "min", "max")},
        {"outside": ("signed", "unsigned", "cell_b", "x_scale")},
        {"opset": 9 + 4},
        {"opset": 21},
        {"axis": 1},
        {"axis": 2, "columns": False},
    ],
    ids=str,
)
def test_the_same_cell_in_another_form(options: dict[str, Any], plain: LstmLayer, tmp_path: Path) -> None:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    model = scan_model(parameters, random_scales(parameters, 1), **options)
    network = load(model, tmp_path)
    assert_same_layer(network.layer, plain)
    lengths = {"T": 7, "N": 1}
    shapes = {port.name: [lengths.get(axis, port.features) for axis in port.axes] for port in network.inputs}
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    codes = np.random.default_rng(2).integers(-128, 127, shapes["sequence"])
    inputs["sequence"] = (codes * plain.input.scale[0]).astype(np.float32)
    ours = codes_and_reference(network, inputs)
    for name, values in zip(("h_n", "c_n", "hidden"), session_of(model).run(None, inputs), strict=True):
        assert ours[name].shape == values.shape, name
        np.testing.assert_array_equal(ours[name].astype(np.float32), values, name)


def test_operands_in_any_order_and_nodes_without_names(plain: LstmLayer, tmp_path: Path) -> None:
    model = plain_model()
    body = body_of(model)
    written = [name for node in body.node for name in node.output if name.endswith("_out")]
    renamed = {name: f"tensor{index}" for index, name in enumerate(written)}
    for node in body.node:
        node.name = ""
        if node.op_type in ("Add", "Mul"):
            node.input.reverse()
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    assert_same_layer(load(model, tmp_path).layer, plain)


def test_states_in_the_other_order(plain: LstmLayer, tmp_path: Path) -> None:
    model = plain_model()
    body, (scan,) = body_of(model), model.graph.node
    for entries in (body.input, body.output):
        first, second = list(entries)[:2]
        rest = list(entries)[2:]
        del entries[:]
        entries.extend([second, first, *rest])
    scan.input[:2], scan.output[:2] = ["c0", "h0"], ["c_n", "h_n"]
    assert_same_layer(load(model, tmp_path).layer, plain)


def test_a_reversed_scan_gives_its_sequence_in_the_order_of_the_input(tmp_path: Path) -> None:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    model = scan_model(parameters, random_scales(parameters, 1), reverse=True)
    network = load(model, tmp_path)
    assert network.layer.reverse
    inputs = {name: np.asarray(array, np.float32) for name, array in random_run(network, 9, 1, seed=4).items()}
    ours = codes_and_reference(network, inputs)
    for name, values in zip(("h_n", "c_n", "hidden"), session_of(model).run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours[name].astype(np.float32), values, name)


def test_weights_that_are_integers_in_the_file(plain: LstmLayer, tmp_path: Path) -> None:
    model = plain_model()
    body = body_of(model)
    codes = plain.gate("input").input_weight.codes.astype(np.int8)
    quantize, clip = (next(n for n in body.node if n.name == f"input_w_{end}") for end in ("q", "clip"))
    body.node.remove(quantize)
    body.initializer.append(onnx.numpy_helper.from_array(codes, "input_w_codes"))
    clip.input[0] = "input_w_codes"
    assert_same_layer(load(model, tmp_path).layer, plain)


def test_biases_behind_quantizers_of_32_bits(plain: LstmLayer, tmp_path: Path) -> None:
    model = plain_model()
    body, generator = body_of(model), np.random.default_rng(4)
    codes = generator.integers(-20000, 20000, (HIDDEN, 1)).astype(np.int32)
    scale = np.float32(3.1e-5)
    for name, value in (("codes", codes), ("code_scale", scale)):
        body.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    body.node.insert(0, helper.make_node("DequantizeLinear", ["codes", "code_scale"], ["real_bias"], name="bias_dq"))
    node = next(node for node in body.node if node.name == "cell_biased")
    node.input[1] = "real_bias"
    bias = load(model, tmp_path).layer.gate("cell").bias_values()
    np.testing.assert_array_equal(bias, codes[:, 0] * float(scale))


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(-8, 7, "int4"), (-7, 7, "int4 narrow"), (0, 127, "uint7"), (0, 126, "uint7 narrow"), (-1, 1, "int2 narrow")],
)
def test_clip_makes_codes_narrower(low: int, high: int, kind: str, tmp_path: Path) -> None:
    model = plain_model()
    body = body_of(model)
    for name, value in (("min", low), ("max", high)):
        tensor = next(tensor for tensor in body.initializer if tensor.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, np.int8), name))
    network = load(model, tmp_path)
    weight = network.layer.gate("output").hidden_weight
    assert str(weight.quantizer.codes) == kind
    assert (weight.codes.min(), weight.codes.max()) == (low, high)
    inputs = {name: np.asarray(array, np.float32) for name, array in random_run(network, 9, 1, seed=4).items()}
    ours = codes_and_reference(network, inputs)
    np.testing.assert_array_equal(ours["hidden"].astype(np.float32), session_of(model).run(None, inputs)[2])


def test_accumulators_with_a_scale_for_each_unit(plain: LstmLayer, tmp_path: Path) -> None:
    model = plain_model()
    body, scale = body_of(model), np.random.default_rng(5).uniform(0.02, 0.05, HIDDEN).astype(np.float32)
    extra = {"acc_scales": scale, "acc_zeros": np.zeros(HIDDEN, np.int8)}
    body.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in extra.items())
    for node in body.node:
        if node.name in ("input_acc_q", "input_acc_dq"):
            node.input[1:] = list(extra)
            node.attribute.append(helper.make_attribute("axis", 0))
    network = load(model, tmp_path)
    assert network.layer.gate("input").accumulator.scale == tuple(map(float, scale))
    inputs = {name: np.asarray(array, np.float32) for name, array in random_run(network, 9, 1, seed=4).items()}
    ours = codes_and_reference(network, inputs)
    np.testing.assert_array_equal(ours["hidden"].astype(np.float32), session_of(model).run(None, inputs)[2])


# What stands around.


def around(model: onnx.ModelProto, before: list[onnx.NodeProto], after: list[onnx.NodeProto], **changes: Any) -> None:
    """Put nodes around the Scan; ``changes`` gives inputs and outputs new shapes."""
    (scan,) = model.graph.node
    del model.graph.node[:]
    model.graph.node.extend([*before, scan, *after])
    for values in (model.graph.input, model.graph.output):
        for value in list(values):
            if value.name in changes:
                values.remove(value)
                values.append(scan_graphs.value_info(value.name, changes[value.name]))


def without_batch_axis() -> onnx.ModelProto:
    """A graph whose sequence is [time, features] before and behind the Scan."""
    model = plain_model()
    (scan,) = model.graph.node
    scan.input[2], scan.output[2] = "columns", "hidden_columns"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "place"))
    around(
        model,
        [helper.make_node("Unsqueeze", ["sequence", "place"], ["columns"], name="to_columns")],
        [helper.make_node("Squeeze", ["hidden_columns", "place"], ["hidden"], name="to_vectors")],
        sequence=[None, INPUTS],
        hidden=[None, HIDDEN],
    )
    return model


def test_a_graph_without_a_batch_axis(plain: LstmLayer, tmp_path: Path) -> None:
    model = without_batch_axis()
    network = load(model, tmp_path)
    assert [port.layout for port in network.inputs if port.wires[0].per_step] == [f"[T, {INPUTS}]"]
    assert_same_layer(network.layer, plain)
    inputs = random_run(network, 9, 1, seed=4)
    inputs = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
    inputs["sequence"] = inputs["sequence"][:, :, 0]
    ours = codes_and_reference(network, inputs)
    for output, values in zip(model.graph.output, session_of(model).run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours[output.name].astype(np.float32), values, output.name)


@pytest.mark.parametrize("kind", ["Squeeze", "Reshape", "Transpose"])
def test_columns_become_rows(kind: str, tmp_path: Path) -> None:
    model = plain_model()
    (scan,) = model.graph.node
    scan.output[2] = "columns"
    shapes = {"Squeeze": [2], "Reshape": [-1, HIDDEN]}
    for name, value in shapes.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    node = {
        "Squeeze": helper.make_node("Squeeze", ["columns", "Squeeze"], ["hidden"]),
        "Reshape": helper.make_node("Reshape", ["columns", "Reshape"], ["hidden"]),
        "Transpose": helper.make_node("Transpose", ["columns"], ["hidden"], perm=[0, 2, 1]),
    }[kind]
    around(model, [], [node], hidden=[None, 1, HIDDEN] if kind == "Transpose" else [None, HIDDEN])
    network = load(model, tmp_path)
    inputs = {name: np.asarray(array, np.float32) for name, array in random_run(network, 9, 1, seed=4).items()}
    ours = codes_and_reference(network, inputs)
    for output, values in zip(model.graph.output, session_of(model).run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours[output.name].astype(np.float32), values, output.name)
    several = random_run(network, 9, 3, seed=4)
    if kind == "Transpose":
        assert codes_and_reference(network, several)["hidden"].shape == (9, 3, HIDDEN)
    else:
        with pytest.raises(ConfigError, match=r"^--input: 'hidden' shows one sequence, 'h0' has 3$"):
            network.run(several)


def two_scans(between: bool) -> onnx.ModelProto:
    """Two Scans, one after the other; with a quantizer ``between`` them, and constant states of the second."""
    first = plain_model()
    parameters = random_parameters(HIDDEN, HIDDEN, 9)
    scales = replace(random_scales(parameters, 2), input=2.0**-6 if between else random_scales(parameters, 1).output)
    second = scan_model(parameters, scales)
    (node,) = second.graph.node
    node.name, node.input[:], node.output[:] = "second", ["zero", "zero", "hidden"], ["h2", "c2", "hidden2"]
    first.graph.node.append(node)
    first.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((HIDDEN, 1), np.float32), "zero"))
    first.graph.output.append(scan_graphs.value_info("hidden2", [None, HIDDEN, 1]))
    return first


@pytest.mark.parametrize("between", [False, True])
def test_scans_one_after_the_other(between: bool, tmp_path: Path) -> None:
    model = two_scans(between)
    network = load(model, tmp_path)
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [LstmLayer, *([QuantizeLayer] if between else []), LstmLayer]
    inputs = {"sequence": np.random.default_rng(1).normal(0, 0.7, (9, INPUTS, 1)).astype(np.float32)}
    inputs |= {name: np.zeros((HIDDEN, 1), np.float32) for name in ("h0", "c0")}
    ours = codes_and_reference(network, inputs)
    for output, values in zip(model.graph.output, session_of(model).run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours[output.name].astype(np.float32), values, output.name)


def test_a_sequence_that_is_quantized_before_the_scan(plain: LstmLayer, tmp_path: Path) -> None:
    model = plain_model()
    body, (scan,) = body_of(model), model.graph.node
    chain = [node for node in body.node if node.name in ("x_q", "x_dq")]
    for node in chain:
        body.node.remove(node)
        node.name = f"outer_{node.name}"
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = {"x": "sequence", "x_dq_out": "outer_x"}.get(name, f"outer_{name}")
    for node in body.node:
        for place, name in enumerate(node.input):
            if name == "x_dq_out":
                node.input[place] = "x"
    scan.input[2] = "outer_x"
    for tensor in body.initializer:
        if tensor.name in ("signed", "x_scale"):
            copy = model.graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = f"outer_{tensor.name}"
    around(model, chain, [])
    network = load(model, tmp_path)
    assert_same_layer(network.layer, plain)


# States that nothing quantizes.


def test_states_off_the_grid_are_refused(tmp_path: Path) -> None:
    network = load(plain_model(), tmp_path)
    inputs = random_run(network, 3, 2, seed=1)
    scale = network.layer.output.scale[0]
    inputs["h0"][5, 1] = np.float32(7 * scale)
    network.run(inputs)
    inputs["h0"][5, 1] = 7.3 * scale
    message = (
        rf"^--input 'h0': the graph does not quantize it, so every value must be one of int8, scale \S+, "
        rf"not {np.float32(7.3 * scale):.9g}$"
    )
    with pytest.raises(ConfigError, match=message):
        network.run(inputs)
    assert network.warnings == tuple(
        f"nothing quantizes graph input '{name}': its values must be those of the state that it starts"
        for name in ("h0", "c0")
    )


def test_final_states_start_the_next_sequence(tmp_path: Path) -> None:
    """The cell state of the copied scales is a sum of two codes, which no quantizer cuts."""
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    network = load(scan_model(parameters, copied(parameters)), tmp_path)
    assert str(network.layer.cell.codes) == "int9"
    inputs = random_run(network, 20, 2, seed=1)
    whole = codes_and_reference(network, inputs)
    first = codes_and_reference(network, inputs | {"sequence": inputs["sequence"][:9]})
    states = {"h0": first["h_n"].astype(np.float32), "c0": first["c_n"].astype(np.float32)}
    second = codes_and_reference(network, states | {"sequence": inputs["sequence"][9:]})
    np.testing.assert_array_equal(second["hidden"], whole["hidden"][9:])
    np.testing.assert_array_equal(second["c_n"], whole["c_n"])


def with_zero_points(parameters: Parameters) -> onnx.ModelProto:
    model = scan_model(parameters, CASES["own, state not quantized"](parameters))
    set_zero_points(model)
    return model


HARDWARE: dict[str, Callable[[Parameters], onnx.ModelProto]] = {
    "copied": lambda parameters: scan_model(parameters, copied(parameters)),
    "state and argument": lambda parameters: scan_model(parameters, CASES["state and argument"](parameters)),
    "zero points, a state that is a sum": with_zero_points,
    "reversed": lambda parameters: scan_model(parameters, CASES["state and argument"](parameters), reverse=True),
    "products of small ratios": lambda parameters: scan_model(parameters, mixed(parameters, "small integers")),
    "products of a real ratio": lambda parameters: scan_model(parameters, mixed(parameters, "real")),
}


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Both backends: initial states over all their codes, more than those of int8 where a sum is the state."""
    network = load(HARDWARE[name](random_parameters(INPUTS, HIDDEN, 3)), tmp_path)
    design = hwgen.schedule(network, outputs=ALL_OUTPUTS)
    assert [port.name for port in design.inputs] == ["x", "h0", "c0"]
    project = hwgen.build(design, tmp_path / "project", backend="all")
    for level in ("csim", "rtl"):
        report = project.verify(level=level, sequences=24)
        entry = report["levels"][level]
        assert report["passed"] and entry["codes"] > 0
        record_property(f"{level} codes", entry["codes"])
        record_property(f"{level} mismatches", entry["mismatches"])


def test_constant_states_make_a_design_without_ports_for_them(tmp_path: Path) -> None:
    model = plain_model()
    generator = np.random.default_rng(2)
    network = load(model, tmp_path)
    for name, quantizer in (("h0", network.layer.output), ("c0", network.layer.cell)):
        codes = generator.integers(quantizer.codes.lo, quantizer.codes.hi, (HIDDEN, 1), endpoint=True)
        value = (codes * quantizer.scale[0]).astype(np.float32)
        model.graph.input.remove(next(port for port in model.graph.input if port.name == name))
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    network = load(model, tmp_path)
    assert [port.name for port in hwgen.schedule(network).inputs] == ["x"]
    inputs = {"sequence": np.random.default_rng(1).normal(0, 0.7, (9, INPUTS, 1)).astype(np.float32)}
    (stage,) = lower(network).stages
    assert isinstance(stage, CellStage) and stage.initial_hidden is None
    ours = codes_and_reference(network, inputs)
    np.testing.assert_array_equal(ours["hidden"].astype(np.float32), session_of(model).run(None, inputs)[2])
