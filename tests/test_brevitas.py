# SPDX-License-Identifier: Apache-2.0
"""hwgen against Brevitas itself, step by step from Brevitas' own previous state, for every option set.

hwgen reads a model in real arithmetic, Brevitas evaluates it in float32: a code may differ where a quantizer on the
way to it lies within float32 error of a rounding boundary.  Every differing code must be reached by letting only
quantizers within 1e-3 LSB of a boundary fall on the other side.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from hwgen.frontend import load
from hwgen.network import Activation, LstmLayer, Network, QuantizedTensor
from hwgen.quantizer import FloatArray, Quantizer, RoundingMode

if TYPE_CHECKING or os.environ.get("CI"):
    import torch
else:
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")

import option_sets
from option_sets import OPTION_SETS

TOLERANCE = 1e-3  # LSB
STEPS, BATCH, SEED = 12, 8, 1
NAMES = list(OPTION_SETS)
# Brevitas 0.13.4 writes rounding_mode ROUND beside the unrounded weights, whatever mode rounded them in training.
WEIGHT_ROUNDING_LOST = {"round_floor", "round_ceil", "round_round_to_zero"}
# Brevitas rounds a bias in float32, whose 24 bits do not hold a code of up to 32.
BIASES_BEYOND_FLOAT32 = {"wide_everything"}


@dataclass
class Comparison:
    """What one option set gave."""

    network: Network
    exported: Path
    inputs: int
    inputs_differ: int
    weights_differ: int
    bias_differs: int
    codes: int
    unexplained: list[str]
    distances: list[float]


def codes_of(values: Any, quantizer: Quantizer) -> FloatArray:
    """Float32 values that are on the grid of a quantizer, channels last, as codes."""
    scaled = np.asarray(values, np.float64) / np.asarray(quantizer.scale) + np.asarray(quantizer.zero_point)
    codes = np.rint(scaled)
    assert np.abs(scaled - codes).max() < 0.01, "Brevitas' values are off its own grid"
    return codes


def plain(tensor: Any) -> FloatArray:
    """A Brevitas tensor, quantized or not, as float64."""
    return np.asarray(getattr(tensor, "value", tensor).detach().numpy(), np.float64)


def brevitas_weights(module: Any, layer: LstmLayer, x: Any) -> tuple[LstmLayer, int, int]:
    """``layer`` with the weight codes that Brevitas computes with, and how many weights and biases differ."""
    gates, weights_differ, bias_differs = [], 0, 0
    for gate in layer.gates:
        input_weight, hidden_weight, bias = module.gate_params_fwd(getattr(module, f"{gate.name}_gate_params"), x)
        changed = {}
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


def boundary_distance(scaled: float, mode: RoundingMode) -> float:
    """How far ``scaled`` is from the nearest number where rounding changes its result, in LSB."""
    if mode in (RoundingMode.ROUND, RoundingMode.HALF_UP, RoundingMode.HALF_DOWN):
        scaled += 0.5
    return abs(scaled - round(scaled))


Outcomes = dict[float, float]  # real value -> distance that must be bridged to get it


def outcomes(quantizer: Quantizer, values: Outcomes, channel: int) -> Outcomes:
    """What a quantizer may give: its own result, and its neighbour across a boundary within the tolerance."""
    scale, zero = float(quantizer.exact_scale(channel)), quantizer.exact_zero_point(channel)
    found: Outcomes = {}
    for value, bridged in values.items():
        scaled = value / scale + zero
        distance = boundary_distance(scaled, quantizer.rounding)
        candidates = [(scaled, bridged)]
        if distance <= TOLERANCE:
            candidates += [(scaled + side * 2 * TOLERANCE, max(bridged, distance)) for side in (-1, 1)]
        for candidate, needed in candidates:
            code = np.clip(quantizer.rounding.apply(np.array([candidate]))[0], quantizer.codes.lo, quantizer.codes.hi)
            result = float((code - zero) * scale)
            found[result] = min(found.get(result, np.inf), needed)
    return found


def combined(left: Outcomes, right: Outcomes, product: bool) -> Outcomes:
    found: Outcomes = {}
    for (a, first), (b, second) in itertools.product(left.items(), right.items()):
        value = a * b if product else a + b
        found[value] = min(found.get(value, np.inf), max(first, second))
    return found


def reachable(
    layer: LstmLayer, x: FloatArray, h: FloatArray, c: float, unit: int
) -> Iterator[tuple[float, float, float]]:
    """Every (h, c) that one unit may reach from x [I], h [H] and its own c, with the distance that it takes."""

    def activate(name: str) -> Outcomes:
        gate = layer.gate(name)
        bias = gate.bias_values()
        total = gate.input_weight.values()[unit] @ x + gate.hidden_weight.values()[unit] @ h
        total += bias if isinstance(bias, float) else bias[unit]
        codes = outcomes(gate.accumulator, {float(total): 0.0}, unit)
        activated = {float(gate.activation(np.array(value))): distance for value, distance in codes.items()}
        return outcomes(gate.activation_quantizer, activated, unit)

    i, g, o = activate("input"), activate("cell"), activate("output")
    if layer.coupled:
        quantizer = layer.gate("input").activation_quantizer
        one = float(quantizer.dequantize(quantizer.quantize(np.ones(1)))[0])
        f = {one - value: distance for value, distance in i.items()}
    else:
        f = activate("forget")
    kept = outcomes(layer.cell, combined(f, {c: 0.0}, product=True), unit)
    added = outcomes(layer.cell, combined(i, g, product=True), unit)
    for cell, reached in outcomes(layer.cell, combined(kept, added, product=False), unit).items():
        tanh = outcomes(layer.cell_tanh, {float(Activation.TANH(np.array(cell))): reached}, unit)
        for hidden, needed in outcomes(layer.output, combined(o, tanh, product=True), unit).items():
            yield hidden, cell, needed


@functools.cache
def compared(name: str, folder: Path) -> Comparison:
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
    inputs_differ = int((x_codes != layer.input.quantize(np.asarray(data["x_used"], np.float64))).sum())

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
        wanted = h_theirs[row, unit], c_theirs[row, unit]
        ways = [
            needed
            for h, c, needed in reachable(layer, x_real[row], h_real[row], float(c_real[row, unit]), int(unit))
            if (
                codes_of([h], replace(layer.output))[0],
                np.rint(c / float(layer.cell.exact_scale(unit)) + layer.cell.exact_zero_point(unit)),
            )
            == wanted
        ]
        differing = int(h_ours[row, unit] != wanted[0]) + int(c_ours[row, unit] != wanted[1])
        if ways:
            distances += [min(ways)] * differing
        else:
            unexplained.append(f"step {row // BATCH}, sequence {row % BATCH}, unit {unit}: Brevitas has {wanted}")
    return Comparison(
        network,
        exported,
        x_codes.size,
        inputs_differ,
        weights_differ,
        bias_differs,
        2 * h_ours.size,
        unexplained,
        distances,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")
