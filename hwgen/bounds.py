# SPDX-License-Identifier: Apache-2.0
"""What a float32 run of a model may give: bounds of every value, where real arithmetic gives one number.

A producer evaluates its model in float32.  Next to a rounding boundary it may fall on the other side, and nowhere else:
each quantizer here gives the code of its argument moved down by ``slack``, and moved up.  All that a model computes is
monotone in each argument or a product of two, so both ends follow from interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwgen.layers import (
    Activation,
    ArgmaxLayer,
    Bias,
    ConcatLayer,
    DenseLayer,
    Gate,
    LstmLayer,
    QuantizeLayer,
    Requantization,
    SelectLayer,
    bias_values,
    requantize,
)
from hwgen.quantizer import FloatArray, Quantizer

# How near to a boundary, in LSB, float32 may fall on the other side; one ulp of the largest code if that is more.
NEAREST = 1e-3
_WIDEST_CODE = 2.0**16
_FLOAT32_HALF_ULP = 2.0**-24


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest that each value may be."""

    low: FloatArray
    high: FloatArray

    def map(self, monotone: Requantization | Activation) -> Bounds:
        """Both ends through a function that never decreases."""
        return Bounds(monotone(self.low), monotone(self.high))

    def widened(self, by: FloatArray | float) -> Bounds:
        """Moved apart."""
        return Bounds(self.low - by, self.high + by)

    def __add__(self, other: Bounds) -> Bounds:
        return Bounds(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Bounds) -> Bounds:
        corners = np.stack([a * b for a in (self.low, self.high) for b in (other.low, other.high)])
        return Bounds(corners.min(axis=0), corners.max(axis=0))


def exactly(values: FloatArray) -> Bounds:
    """Bounds of what is known."""
    return Bounds(values, values)


def slack(quantizer: Quantizer) -> FloatArray:
    """How near to a boundary, as a real value by channel, float32 may fall on the other side of it."""
    largest = max(abs(quantizer.codes.lo), abs(quantizer.codes.hi))
    # Sums that have no quantizer are read as codes of 40 bits; their float32 error is that of ``product``.
    lsb = NEAREST if largest > _WIDEST_CODE else max(NEAREST, float(np.spacing(np.float32(largest))))
    return lsb * np.asarray(quantizer.scale)


def quantized(quantizer: Quantizer, values: Bounds) -> Bounds:
    """Values that a float32 quantizer may give."""
    near = values.widened(slack(quantizer))
    return Bounds(requantize(quantizer, near.low), requantize(quantizer, near.high))


def product(values: Bounds, weight: FloatArray, bias: Bias = None) -> Bounds:
    """W x + b for weight [outputs, inputs], summed up in float32."""
    positive, negative = np.maximum(weight, 0.0).T, np.minimum(weight, 0.0).T
    real_bias = bias_values(bias)
    low = values.low @ positive + values.high @ negative + real_bias
    high = values.high @ positive + values.low @ negative + real_bias
    size = np.maximum(np.abs(values.low), np.abs(values.high)) @ np.abs(weight).T + np.abs(real_bias)
    # Roundings of n terms add up as errors of either sign do; each factor and the bias were rounded before.
    return Bounds(low, high).widened(size * (np.sqrt(len(weight.T)) + 3.0) * _FLOAT32_HALF_ULP)


def gate(cell: Gate, x: FloatArray, h: FloatArray) -> Bounds:
    """What a gate may give for known x [rows, I] and h [rows, H]."""
    total = product(exactly(x), cell.input_weight.values(), cell.bias)
    total += product(exactly(h), cell.hidden_weight.values())
    return quantized(cell.activation_quantizer, quantized(cell.accumulator, total).map(cell.activation))


def next_cell(layer: LstmLayer, x: FloatArray, h: FloatArray, c: FloatArray) -> Bounds:
    """What the next cell state may be for known x [rows, I], h and c [rows, H]."""
    i, g = gate(layer.gate("input"), x, h), gate(layer.gate("cell"), x, h)
    if layer.coupled:
        one = requantize(layer.gate("input").activation_quantizer, np.ones_like(c))
        f = Bounds(one - i.high, one - i.low)
    else:
        f = gate(layer.gate("forget"), x, h)
    kept = quantized(layer.forget_product or layer.cell, f * exactly(c))
    added = quantized(layer.input_product or layer.cell, i * g)
    return quantized(layer.cell, kept + added)


def next_hidden(layer: LstmLayer, x: FloatArray, h: FloatArray, c: FloatArray) -> Bounds:
    """What the next hidden state may be for known x and h and the next cell state ``c``."""
    argument = exactly(c) if layer.tanh_argument is None else quantized(layer.tanh_argument, exactly(c))
    tanh = quantized(layer.cell_tanh, argument.map(Activation.TANH))
    return quantized(layer.output, gate(layer.gate("output"), x, h) * tanh)


def of_layer(
    layer: DenseLayer | QuantizeLayer | ConcatLayer | SelectLayer | ArgmaxLayer, given: Mapping[str, Bounds]
) -> dict[str, Bounds]:
    """Bounds of the wire of a layer that has no state, from bounds of those that it reads."""
    name = layer.wires[0].name
    if isinstance(layer, DenseLayer):
        total = product(given[layer.source.name], layer.weight.values(), layer.bias)
        return {name: total if layer.step is None else _stepped(layer.step, total)}
    if isinstance(layer, QuantizeLayer):
        return {name: _stepped(layer.step, given[layer.source.name])}
    if isinstance(layer, ArgmaxLayer):
        return {name: _argmax(given[layer.source.name])}
    ends = (
        layer.evaluate({source: getattr(given[source], end) for source in layer.sources}) for end in ("low", "high")
    )
    return {name: Bounds(*(values[name] for values in ends))}


def _stepped(step: Requantization, values: Bounds) -> Bounds:
    return quantized(step.quantizer, values.map(step.activation))


def _argmax(values: Bounds) -> Bounds:
    """The first and the last index that may be that of the greatest: the first of equals wins."""
    beaten = np.full((*values.low.shape[:-1], 1), -np.inf)
    before = np.concatenate([beaten, np.maximum.accumulate(values.low, axis=-1)[..., :-1]], axis=-1)
    after = np.concatenate([np.maximum.accumulate(values.low[..., ::-1], axis=-1)[..., -2::-1], beaten], axis=-1)
    # Where a value is known, equality with an earlier one loses; a bound that is only reached may tie and win.
    wins = (values.high > before) | ((values.low < values.high) & (values.high >= before))
    possible = wins & (values.high >= after)
    last = possible.shape[-1] - 1 - possible[..., ::-1].argmax(axis=-1)
    return Bounds(possible.argmax(axis=-1)[..., np.newaxis] * 1.0, last[..., np.newaxis] * 1.0)
