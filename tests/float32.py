# SPDX-License-Identifier: Apache-2.0
"""Why a code that was computed in float32 may differ: quantizers within float32 error of a rounding boundary.

A differing code is explained if it is reached by letting only quantizers within ``tolerance`` of a boundary fall on
the other side of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.layers import Activation, LstmLayer
from hwgen.quantizer import FloatArray, Quantizer, RoundingMode


def codes_of(values: Any, quantizer: Quantizer) -> FloatArray:
    """Float32 values that are on the grid of a quantizer, channels last, as codes."""
    scaled = np.asarray(values, np.float64) / np.asarray(quantizer.scale) + np.asarray(quantizer.zero_point)
    codes = np.rint(scaled)
    assert np.abs(scaled - codes).max() < 0.01, "values are off the grid of their quantizer"
    return codes


def tolerance(quantizer: Quantizer) -> float:
    """How near to a boundary, in LSB, float32 may fall on the other side."""
    largest = max(abs(quantizer.codes.lo), abs(quantizer.codes.hi))
    return max(1e-3, float(np.spacing(np.float32(largest))))


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
        if distance <= tolerance(quantizer):
            candidates += [(scaled + side * 2 * distance + side * 1e-9, max(bridged, distance)) for side in (-1, 1)]
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
    kept = outcomes(layer.forget_product or layer.cell, combined(f, {c: 0.0}, product=True), unit)
    added = outcomes(layer.input_product or layer.cell, combined(i, g, product=True), unit)
    for cell, reached in outcomes(layer.cell, combined(kept, added, product=False), unit).items():
        arguments = {cell: reached}
        if layer.tanh_argument is not None:
            arguments = outcomes(layer.tanh_argument, arguments, unit)
        activated = {float(Activation.TANH(np.array(value))): needed for value, needed in arguments.items()}
        tanh = outcomes(layer.cell_tanh, activated, unit)
        for hidden, needed in outcomes(layer.output, combined(o, tanh, product=True), unit).items():
            yield hidden, cell, needed


def explanations(
    layer: LstmLayer, x: FloatArray, h: FloatArray, c: float, unit: int, wanted: tuple[float, float]
) -> list[float]:
    """The distances of all ways to get to the codes ``wanted`` of hidden and cell state."""
    channel = unit if layer.cell.channels > 1 else 0
    output, cell = layer.output, replace(layer.cell, scale=(layer.cell.scale[channel],))
    return [
        needed
        for hidden, state, needed in reachable(layer, x, h, c, unit)
        if (codes_of(hidden, output).item(), codes_of(state, cell).item()) == wanted
    ]
