# SPDX-License-Identifier: Apache-2.0
"""What stands around recurrent layers to integers: dense layers, requantization, argmax; and the plain RNN."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.forms import Certified, choose
from hwgen.integer import Interval, accumulate_range
from hwgen.integer_cells import IntegerRnn
from hwgen.integer_network import ArgmaxStage, DenseStage, RnnStage, StepStage
from hwgen.layers import Activation, ArgmaxLayer, DenseLayer, QuantizeLayer, RnnLayer
from hwgen.lowering.cell import (
    accumulator_line,
    centred,
    code_step,
    lower_gate,
    split_bias,
    weight_type,
)
from hwgen.lowering.scales import MAX_ACCUMULATOR_BITS
from hwgen.quantizer import IntArray
from hwgen.step import linear_step


def lower_rnn(layer: RnnLayer) -> RnnStage:
    """A plain RNN: one gate, whose code is the hidden state."""
    cell = IntegerRnn(
        name=layer.name,
        input_size=layer.input_size,
        hidden_size=layer.hidden_size,
        gate=lower_gate(layer, layer.gate),
        input=layer.input.codes,
        hidden=layer.output.codes,
        initial_hidden=layer.initial_hidden.codes,
        reverse=layer.reverse,
    )
    cell.verify()
    sequence, hidden = (wire.name for wire in layer.wires)
    return RnnStage(cell, layer.source, layer.initial_hidden.source, (sequence, hidden))


def dense_units(layer: DenseLayer) -> list[Fraction]:
    """The real value of one unit of each sum."""
    scale, weight = layer.source.quantizer.exact_scale(0), layer.weight.quantizer
    return [weight.exact_scale(row) * scale for row in range(len(layer.weight.codes))]


def lower_dense(layer: DenseLayer) -> DenseStage:
    """Sums of raw codes, then one step function for each output that differs."""
    source, units = layer.source.quantizer, dense_units(layer)
    weights = centred(layer.weight)
    whole, rest = split_bias(layer.name, layer.bias, units)
    bias = whole - weights.sum(axis=1) * source.exact_zero_point(0)
    low, high = accumulate_range(weights, source.codes)
    total = Interval(int((low + bias).min()), int((high + bias).max()))
    if total.type.bits > MAX_ACCUMULATOR_BITS:
        raise UnsupportedError(
            f"{layer.name}: its accumulator needs {total.type.bits} bits, at most {MAX_ACCUMULATOR_BITS} are supported"
        )
    return DenseStage(
        name=layer.name,
        source=layer.source.name,
        weights=weights,
        bias=bias,
        weight=weight_type((layer.weight,), weights),
        total=total,
        step=_dense_step(layer, units, rest, total),
        wire=layer.wire.name,
    )


def _dense_step(layer: DenseLayer, units: list[Fraction], rest: list[Fraction], total: Interval) -> Certified | None:
    if layer.step is None:
        return None
    activation, target = layer.step.activation, layer.step.quantizer
    assert activation in (Activation.IDENTITY, Activation.RELU), f"{layer.name}: {activation} of an accumulator"
    least = target.exact_zero_point(0) if activation is Activation.RELU else None
    line = accumulator_line(units, rest, target, least)
    return choose(linear_step(f"{layer.name}_accumulator", total.lo, total.hi, line))


def lower_quantize(layer: QuantizeLayer) -> StepStage:
    """A step function from codes to codes."""
    codes = layer.source.quantizer.codes
    step = code_step(
        layer.name, codes.lo, codes.hi, layer.source.quantizer, layer.step.activation, layer.step.quantizer
    )
    return StepStage(layer.name, layer.source.name, choose(step), layer.name)


def lower_argmax(layer: ArgmaxLayer) -> ArgmaxStage:
    """Codes of one scale are compared as they are, with the rank of their offsets below."""
    offsets = layer.source.offset or (0.0,) * layer.source.features
    order = sorted(set(map(Fraction, offsets)))
    rank: IntArray = np.array([order.index(Fraction(offset)) for offset in offsets], np.int64)
    return ArgmaxStage(layer.name, layer.source.name, rank, layer.name)
