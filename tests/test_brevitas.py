# SPDX-License-Identifier: Apache-2.0
"""hwgen against Brevitas itself, step by step from Brevitas' own previous state, for every option set.

hwgen reads a model in real arithmetic, Brevitas evaluates it in float32: a code may differ where a quantizer on the
way to it lies within float32 error of a rounding boundary.  Every differing code must be reached by letting only
quantizers within 1e-3 LSB of a boundary fall on the other side.  Beyond 14 bits float32 itself is coarser than that:
there one ulp of the largest code is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from hwgen.errors import ModelError
from hwgen.frontend import load
from hwgen.layers import LstmLayer, QuantizedTensor
from hwgen.network import Network
from hwgen.quantizer import FloatArray, RoundingMode

if TYPE_CHECKING or os.environ.get("CI"):
    import torch
else:
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")

import option_sets
from brevitas.export import export_qonnx
from float32 import boundary_distance, codes_of, explanations, tolerance
from option_sets import OPTION_SETS

torch.set_num_threads(1)  # twice as fast for matrices this small

STEPS, BATCH, SEED = 12, 32, 1
# Brevitas 0.13.4 exports unrounded weights with rounding_mode ROUND, whatever mode it rounds them with itself.
WEIGHT_ROUNDING_LOST = {"round_floor", "round_ceil", "round_round_to_zero"}
# Brevitas rounds a bias in float32, whose 24 bits do not hold a code of up to 32.
BIASES_BEYOND_FLOAT32 = {"wide_everything"}


@dataclass
class States:
    """Real states before, and Brevitas' codes after each step, [steps * batch, features]."""

    x: FloatArray
    h: FloatArray
    c: FloatArray
    h_after: FloatArray
    c_after: FloatArray


@dataclass
class Comparison:
    """What one option set gave.  ``network`` has the weights that Brevitas computes with.

    ``distances`` has one entry for every code that differs, ``unexplained`` a line for those too far from a boundary.
    """

    module: Any
    network: Network
    exported: Path
    inputs: int
    input_distances: list[float]
    weights_differ: int
    bias_differs: int
    states: States
    codes: int
    distances: list[float]
    unexplained: list[str]


def plain(tensor: Any) -> FloatArray:
    """A Brevitas tensor, quantized or not, as float64."""
    return np.asarray(getattr(tensor, "value", tensor).detach().numpy(), np.float64)


def brevitas_weights(module: Any, layer: LstmLayer, x: Any) -> tuple[LstmLayer, int, int]:
    """``layer`` with the weight codes that Brevitas computes with, and how many weights and biases differ."""
    gates, weights_differ, bias_differs = [], 0, 0
    for gate in layer.gates:
        input_weight, hidden_weight, bias = module.gate_params_fwd(getattr(module, f"{gate.name}_gate_params"), x)
        changed: dict[str, Any] = {}
        for field, tensor in (("input_weight", input_weight), ("hidden_weight", hidden_weight)):
            ours: QuantizedTensor = getattr(gate, field)
            codes = codes_of(plain(tensor).T, ours.quantizer).T.astype(np.int64)
            weights_differ += int((codes != ours.codes).sum())
            changed[field] = replace(ours, codes=codes)
        if isinstance(gate.bias, QuantizedTensor):
            bias_codes = np.rint(plain(bias).reshape(-1) / np.asarray(gate.bias.quantizer.scale))
            bias_differs += int((bias_codes != gate.bias.codes).sum())
        gates.append(replace(gate, **changed))
    return replace(layer, gates=tuple(gates)), weights_differ, bias_differs


def enable_coupled(module: Any) -> None:
    """Brevitas' own cell cannot run coupled gates: it looks for the sigmoid's quantizer one level too high."""
    quantizer = module.cell.input_sigmoid_quant
    quantizer.tensor_quant = quantizer.fused_activation_quant_proxy.tensor_quant


def compare(name: str, folder: Path) -> Comparison:
    """Export one option set, and let hwgen and Brevitas take each step from Brevitas' own states."""
    option_set = OPTION_SETS[name]
    module = option_sets.make_module(option_set)
    exported = folder / f"{name}.onnx"
    option_sets.export(option_set, module, exported)
    network, brevitas = load(exported), module.layers[0][0]
    layer = network.layer
    if layer.coupled:
        enable_coupled(brevitas)
    data = option_sets.golden(option_set, module, STEPS, BATCH, SEED)
    with torch.no_grad():
        x = brevitas.maybe_quantize_input(torch.from_numpy(data["x_used"].copy()))
        layer, weights_differ, bias_differs = brevitas_weights(brevitas, layer, x)
        # A state that is passed in goes through its quantizer again, which may move it where that rounds down.
        before_h, before_c = (
            plain(quant(torch.from_numpy(data[state].copy())))
            for quant, state in ((brevitas.cell.output_quant, "h_before"), (brevitas.cell.cell_state_quant, "c_before"))
        )
    x_codes = codes_of(plain(x), layer.input)
    x_used = np.asarray(data["x_used"], np.float64)
    input_distances = [
        boundary_distance(float(value) / layer.input.scale[0] + layer.input.zero_point[0], layer.input.rounding)
        for value in x_used[x_codes != layer.input.quantize(x_used)]
    ]

    def rows(array: FloatArray) -> FloatArray:
        return array.reshape(STEPS * BATCH, -1)

    x_real = rows(layer.input.dequantize(x_codes))
    h_real = rows(layer.output.dequantize(codes_of(before_h, layer.output)))
    c_real = rows(layer.cell.dequantize(codes_of(before_c, layer.cell)))
    ours = layer.step(x_real, h_real, c_real)
    quantizers = (layer.output, layer.cell)
    h_ours, c_ours = (codes_of(value, q) for value, q in zip(ours, quantizers, strict=True))
    h_theirs, c_theirs = (
        rows(codes_of(data[key], q)) for key, q in zip(("h_after", "c_after"), quantizers, strict=True)
    )
    unexplained, distances = [], []
    for row, unit in np.argwhere((h_ours != h_theirs) | (c_ours != c_theirs)):
        wanted = (h_theirs[row, unit], c_theirs[row, unit])
        ways = explanations(layer, x_real[row], h_real[row], float(c_real[row, unit]), int(unit), wanted)
        if ways:
            differing = int(h_ours[row, unit] != wanted[0]) + int(c_ours[row, unit] != wanted[1])
            distances += [min(ways)] * differing
        else:
            unexplained.append(f"step {row // BATCH}, sequence {row % BATCH}, unit {unit}: Brevitas has {wanted}")
    states = States(x_real, h_real, c_real, h_theirs, c_theirs)
    return Comparison(
        module=brevitas,
        network=replace(network, layers=(layer,)),
        exported=exported,
        inputs=x_codes.size,
        input_distances=input_distances,
        weights_differ=weights_differ,
        bias_differs=bias_differs,
        states=states,
        codes=2 * h_ours.size,
        distances=distances,
        unexplained=unexplained,
    )


def table(results: dict[str, Comparison]) -> str:
    lines = ["option set                codes  differ  max distance  inputs  differ  weights  biases that differ"]
    for name, found in results.items():
        lines.append(
            f"{name:24}{found.codes:7}{len(found.distances):8}{max(found.distances, default=0):14.2g}"
            f"{found.inputs:8}{len(found.input_distances):8}{found.weights_differ:9}{found.bias_differs:8}"
        )
    return "\n".join(lines)


RESULTS: dict[str, Comparison] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where the exports go; prints the table of all comparisons in the end."""
    yield tmp_path_factory.mktemp("exports")
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    if reporter is not None and capture is not None and RESULTS:  # xdist's workers have no terminal
        with capture.global_and_fixture_disabled():
            reporter.write_line("\n" + table(RESULTS))


@pytest.fixture(params=OPTION_SETS)
def compared(request: pytest.FixtureRequest, folder: Path) -> Comparison:
    """The comparison of one option set, made once."""
    if request.param not in RESULTS:
        RESULTS[request.param] = compare(request.param, folder)
    return RESULTS[request.param]


def test_every_differing_code_lies_within_float32_error_of_a_boundary(compared: Comparison) -> None:
    assert not compared.unexplained, f"{len(compared.unexplained)} codes, first {compared.unexplained[0]}"
    assert compared.codes == 2 * STEPS * BATCH * 20


def test_every_differing_input_code_lies_within_float32_error_of_a_boundary(compared: Comparison) -> None:
    assert max(compared.input_distances, default=0) <= tolerance(compared.network.layer.input)


def test_codes_hardly_differ_unless_sums_of_codes_lie_on_the_boundaries_themselves(compared: Comparison) -> None:
    # FLOOR, CEIL and ROUND_TO_ZERO turn at integers, where every sum of two cell codes lies: in float32, with a scale
    # that is no power of two, Brevitas falls to either side there, at a distance of 0.
    rounding = compared.network.layer.cell.rounding
    if rounding is RoundingMode.ROUND:
        assert len(compared.distances) <= 0.005 * compared.codes
    else:
        assert max(compared.distances, default=0) < 1e-5


@pytest.mark.parametrize("name", [name for name in OPTION_SETS if OPTION_SETS[name].power_of_two])
def test_with_power_of_two_scales_no_code_differs(name: str, folder: Path) -> None:
    found = RESULTS.get(name) or compare(name, folder)
    assert (found.distances, found.unexplained, found.input_distances) == ([], [], [])
    assert found.weights_differ == found.bias_differs == 0


def test_exported_weights_are_those_that_brevitas_computes_with(compared: Comparison) -> None:
    name = compared.exported.stem
    assert (compared.weights_differ > 0) == (name in WEIGHT_ROUNDING_LOST), compared.weights_differ
    assert (compared.bias_differs > 0) == (name in BIASES_BEYOND_FLOAT32), compared.bias_differs


def test_every_quantizer_is_read_as_brevitas_has_it(compared: Comparison) -> None:
    layer, cell = compared.network.layer, compared.module.cell
    pairs = [
        (layer.input, cell.output_quant),
        (layer.output, cell.output_quant),
        (layer.cell, cell.cell_state_quant),
        (layer.cell_tanh, cell.hidden_state_tanh_quant),
    ]
    for gate in layer.gates:
        activation = "tanh" if gate.name == "cell" else "sigmoid"
        pairs.append((gate.accumulator, getattr(cell, f"{gate.name}_acc_quant")))
        pairs.append((gate.activation_quantizer, getattr(cell, f"{gate.name}_{activation}_quant")))
    for ours, theirs in pairs:
        scale, zero_point, bits = (
            float(value() if callable(value) else value)
            for value in (theirs.scale, theirs.zero_point, theirs.bit_width)
        )
        assert (ours.scale, ours.zero_point, ours.codes.bits) == ((scale,), (zero_point,), bits)
        assert (ours.codes.signed, ours.codes.narrow) == (theirs.is_signed, theirs.is_narrow_range)
        assert ours.rounding is RoundingMode.parse(theirs.rounding_mode, "Brevitas")


def test_a_code_that_is_one_off_has_no_explanation(compared: Comparison) -> None:
    """The explanations prove something: they do not reach the codes next to Brevitas' own."""
    layer, states, rng = compared.network.layer, compared.states, np.random.default_rng(SEED)
    explained = 0
    for _ in range(15):
        row, unit = int(rng.integers(len(states.h_after))), int(rng.integers(layer.hidden_size))
        h, c = states.h_after[row, unit], states.c_after[row, unit]
        for wanted in ((h + 1, c), (h - 1, c), (h, c + 1), (h, c - 1)):
            explained += bool(
                explanations(layer, states.x[row], states.h[row], float(states.c[row, unit]), unit, wanted)
            )
    # At integer boundaries the sum of two cell codes may always fall to one side: one of the four, every time.
    on_boundaries = layer.cell.rounding is not RoundingMode.ROUND
    assert explained <= (30 if on_boundaries else 3), f"{explained} of 60"


def test_the_checked_in_model_is_what_brevitas_exports_now(compared: Comparison) -> None:
    checked_in = option_sets.MODELS / compared.exported.name
    if checked_in.read_bytes() == compared.exported.read_bytes():
        return
    old, new = onnx.load(checked_in).graph, onnx.load(compared.exported).graph
    assert [node.op_type for node in old.node] == [node.op_type for node in new.node]
    for ours, theirs in zip(old.node, new.node, strict=True):
        assert list(ours.attribute) == list(theirs.attribute), ours.name
        assert [_data(old, name) for name in ours.input] == [_data(new, name) for name in theirs.input], ours.name


def test_what_brevitas_exports_without_dynamo_false_is_refused_by_that_name(tmp_path: Path) -> None:
    module = option_sets.make_module(OPTION_SETS["default"], size=(3, 4))
    with option_sets.quiet():
        export_qonnx(module, torch.zeros(5, 2, 3), export_path=str(tmp_path / "dynamo.onnx"))
    with pytest.raises(ModelError, match=r"^no output depends on an input .* export_qonnx\(\.\.\., dynamo=False\)$"):
        load(tmp_path / "dynamo.onnx")


def _data(graph: onnx.GraphProto, name: str) -> tuple[tuple[int, ...], bytes] | None:
    """Shape and bytes of an initializer, whatever it is called."""
    for tensor in graph.initializer:
        if tensor.name == name:
            array = onnx.numpy_helper.to_array(tensor)
            return array.shape, array.tobytes()
    return None
