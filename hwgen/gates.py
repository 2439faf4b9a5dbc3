# SPDX-License-Identifier: Apache-2.0
"""What layers are made of: wires between them, quantized constants, gates, and initial states, in real-valued terms."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwgen.quantizer import FloatArray, IntArray, Quantizer


class Activation(enum.Enum):
    """The nonlinearities of recurrent cells and heads."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"
    IDENTITY = "identity"

    def __call__(self, values: FloatArray) -> FloatArray:
        """Apply elementwise.

        Neither sigmoid nor tanh reaches its limits for a finite argument, float64 does: results stay just inside, so
        that CEIL and FLOOR see what they would see in real arithmetic.
        """
        if self is Activation.IDENTITY:
            return values
        if self is Activation.RELU:
            return np.maximum(values, 0.0)
        inside, above_zero = 1.0 - 2.0**-53, 2.0**-900
        if self is Activation.TANH:
            return np.clip(np.tanh(values), -inside, inside)
        decay = np.exp(-np.abs(values))
        return np.clip(np.where(values >= 0, 1.0, decay) / (1.0 + decay), above_zero, inside)


@dataclass(frozen=True)
class Wire:
    """A value between layers: ``features`` codes of ``quantizer``, per time step or once per sequence.

    As arrays, real values and codes alike are [T, batch, features] per step and [batch, features] per sequence.
    ``offset`` [features] is what a real value has beyond its code's: the rest of a float bias that stays off the grid
    of an accumulator.  The graph quantizes what enters a wire; ``on_grid`` says that it takes it for quantized already.
    """

    name: str
    features: int
    per_step: bool
    quantizer: Quantizer
    offset: tuple[float, ...] | None = None
    on_grid: bool = False

    def encode(self, values: FloatArray) -> FloatArray:
        """Real values to codes."""
        return self.quantizer.quantize(values if self.offset is None else values - np.asarray(self.offset))

    def decode(self, codes: FloatArray | IntArray) -> FloatArray:
        """Codes to real values."""
        values = self.quantizer.dequantize(codes)
        return values if self.offset is None else values + np.asarray(self.offset)


Values = Mapping[str, FloatArray]


@dataclass(frozen=True)
class QuantizedTensor:
    """A constant tensor as integer ``codes``, channels first, with the quantizer that gives their real values."""

    codes: IntArray
    quantizer: Quantizer

    def values(self) -> FloatArray:
        """The real values, same shape as ``codes``."""
        return self.quantizer.dequantize(self.codes.T).T


Bias = QuantizedTensor | FloatArray | None


def bias_values(bias: Bias) -> FloatArray | float:
    """A bias as real values [channels], or 0."""
    if isinstance(bias, QuantizedTensor):
        return bias.values()
    return 0.0 if bias is None else bias


def exact_bias(bias: Bias, row: int) -> Fraction:
    """The bias of one row as a rational number."""
    if bias is None:
        return Fraction(0)
    if isinstance(bias, QuantizedTensor):
        quantizer = bias.quantizer
        return (int(bias.codes[row]) - quantizer.exact_zero_point(row)) * quantizer.exact_scale(row)
    return Fraction(float(bias[row]))


def requantize(quantizer: Quantizer, values: FloatArray) -> FloatArray:
    """The nearest values that ``quantizer`` has."""
    return quantizer.dequantize(quantizer.quantize(values))


@dataclass(frozen=True)
class Gate:
    """One gate: activation_quantizer(activation(accumulator(W x + U h + b))).

    ``input_weight`` is [H, I], ``hidden_weight`` [H, H]; ``bias`` is [H]: quantized, plain float, or absent.
    """

    name: str
    input_weight: QuantizedTensor
    hidden_weight: QuantizedTensor
    bias: Bias
    accumulator: Quantizer
    activation: Activation
    activation_quantizer: Quantizer

    def bias_values(self) -> FloatArray | float:
        """The bias as real values [H], or 0."""
        return bias_values(self.bias)

    def accumulate(self, x: FloatArray, h: FloatArray) -> FloatArray:
        """Its sum on the accumulator's grid, for x [batch, I] and h [batch, H]."""
        total = x @ self.input_weight.values().T + h @ self.hidden_weight.values().T + self.bias_values()
        return requantize(self.accumulator, total)

    def __call__(self, x: FloatArray, h: FloatArray) -> FloatArray:
        """The gate for x [batch, I] and h [batch, H]."""
        return requantize(self.activation_quantizer, self.activation(self.accumulate(x, h)))


@dataclass(frozen=True)
class InitialState:
    """An initial state: constant codes [H], or the wire called ``source``, whose codes are those of ``quantizer``."""

    quantizer: Quantizer
    codes: IntArray | None = None
    source: str | None = None

    def values(self, given: Values, batch: int) -> FloatArray:
        """Real values [batch, H]."""
        if self.source is not None:
            return given[self.source]
        assert self.codes is not None
        return np.broadcast_to(self.quantizer.dequantize(self.codes), (batch, len(self.codes)))


def sources_of(*names: str | None) -> tuple[str, ...]:
    """The names that are given."""
    return tuple(name for name in names if name is not None)


@dataclass(frozen=True)
class NewGate:
    """The candidate state of a GRU: tanh(accumulator(accumulator(W x + b) + accumulator(r * hidden(U h + c)))).

    ``input_weight`` W is [H, I], ``hidden_weight`` U [H, H]; ``bias`` b and ``hidden_bias`` c are [H].  The reset gate
    r multiplies the hidden product alone, which has the quantizer ``hidden_accumulator``.
    """

    input_weight: QuantizedTensor
    hidden_weight: QuantizedTensor
    bias: Bias
    hidden_bias: Bias
    accumulator: Quantizer
    hidden_accumulator: Quantizer
    activation_quantizer: Quantizer

    def __call__(self, x: FloatArray, h: FloatArray, reset: FloatArray) -> FloatArray:
        """The candidate for x [batch, I], h and the reset gate [batch, H]."""
        part = requantize(self.hidden_accumulator, h @ self.hidden_weight.values().T + bias_values(self.hidden_bias))
        whole = requantize(self.accumulator, x @ self.input_weight.values().T + bias_values(self.bias))
        total = requantize(self.accumulator, whole + requantize(self.accumulator, reset * part))
        return requantize(self.activation_quantizer, Activation.TANH(total))
