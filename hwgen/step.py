# SPDX-License-Identifier: Apache-2.0
"""Step functions: monotone maps from a bounded integer domain to integer codes, by exact thresholds.

Everything between two integer codes of a quantized cell, other than sums and products of integers, is one of these.
A step function *is* its thresholds; how hardware computes it (``hwgen.forms``) is a separate choice with a proof.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwgen.layers import Activation
from hwgen.quantizer import BoolArray, FloatArray, IntArray, IntegerType, Quantizer, RoundingMode

# Thresholds are clipped to their domain in the end; further out than this none is told from another.
_FAR = 2**62
# Values this near to a rounding boundary, in LSB, are decided in higher precision.
_ACTIVATION_MARGIN = 1e-9


@dataclass(frozen=True)
class Linear:
    """The real function behind a uniform step: value = slope * a + intercept, in output LSB, one entry per channel."""

    slope: tuple[Fraction, ...]
    intercept: tuple[Fraction, ...]
    rounding: RoundingMode
    codes: IntegerType
    least: int | None = None  # codes below never come out: what a ReLU leaves

    @property
    def lo(self) -> int:
        """The least code that comes out."""
        return self.codes.lo if self.least is None else max(self.codes.lo, self.least)


@dataclass(frozen=True)
class StepFunction:
    """code(a) = first + number of thresholds <= a, for lo <= a <= hi.

    ``thresholds`` is [channels, n], each row sorted and clipped to lo..hi + 1 (hi + 1: never reached); one row serves
    all channels where they agree.  ``linear`` is kept where the step is a uniform quantizer.
    """

    name: str
    lo: int
    hi: int
    first: int
    thresholds: IntArray
    linear: Linear | None = None

    @property
    def channels(self) -> int:
        """1 if all channels share the function."""
        return len(self.thresholds)

    @property
    def last(self) -> int:
        """The greatest code that any channel can give."""
        return self.first + self.thresholds.shape[1]

    @property
    def size(self) -> int:
        """Number of integers in the domain."""
        return self.hi - self.lo + 1

    def evaluate(self, values: IntArray) -> IntArray:
        """The definition, for integers of the domain with channels last (any leading shape)."""
        if self.channels == 1:
            return self.first + np.searchsorted(self.thresholds[0], values, side="right").astype(np.int64)
        columns = [np.searchsorted(row, values[..., c], side="right") for c, row in enumerate(self.thresholds)]
        return self.first + np.stack(columns, axis=-1).astype(np.int64)

    def verify(self) -> None:
        """Check the invariants of the class; raises AssertionError."""
        assert self.lo <= self.hi, f"{self.name}: empty domain {self.lo}..{self.hi}"
        assert self.thresholds.ndim == 2, f"{self.name}: thresholds must be [channels, n]"
        assert (np.diff(self.thresholds, axis=1) >= 0).all(), f"{self.name}: thresholds must be sorted"
        if self.thresholds.size:
            assert self.thresholds.min() >= self.lo, f"{self.name}: a threshold lies below the domain"
            assert self.thresholds.max() <= self.hi + 1, f"{self.name}: a threshold lies above the domain"


def linear_step(name: str, lo: int, hi: int, linear: Linear) -> StepFunction:
    """Uniform quantization of slope * a + intercept on lo..hi, its thresholds in exact rational arithmetic."""

    def code(channel: int, a: int) -> int:
        value = linear.slope[channel] * a + linear.intercept[channel]
        return min(max(linear.rounding.apply_exact(value), linear.lo), linear.codes.hi)

    channels = range(len(linear.slope))
    if linear.codes.bipolar:
        # The sign; a ReLU leaves nothing below 0.  There is no code between -1 and 1: both of its sides are one.
        zero, inclusive = np.zeros(2, np.int64), np.ones(2, np.bool_)
        rows = [_linear_thresholds(linear.slope[c], linear.intercept[c], zero, inclusive) for c in channels]
        thresholds = np.clip(np.stack(rows), lo, lo if linear.lo >= 0 else hi + 1)
        return StepFunction(name, lo, hi, -1, _merge(thresholds))
    first = min(code(channel, lo) for channel in channels)
    last = max(code(channel, hi) for channel in channels)
    doubled, inclusive = linear.rounding.boundary(np.arange(first + 1, last + 1))
    rows = [_linear_thresholds(linear.slope[c], linear.intercept[c], doubled, inclusive) for c in channels]
    thresholds = np.clip(np.stack(rows), lo, hi + 1)
    return StepFunction(name, lo, hi, first, _merge(thresholds), linear)


def _linear_thresholds(slope: Fraction, intercept: Fraction, doubled: IntArray, inclusive: BoolArray) -> IntArray:
    """The least integer a with slope * a + intercept beyond each boundary doubled / 2.

    From slope * a + intercept >= d / 2 follows a >= (d * A + B) / D with the integers below, where > takes the place
    of >= at boundaries that are not inclusive; hence a = (d * A + B - inclusive) // D + 1.
    """
    a = intercept.denominator * slope.denominator
    b = -2 * intercept.numerator * slope.denominator
    d = 2 * intercept.denominator * slope.numerator
    largest = int(np.abs(doubled).max(initial=1))
    if a * largest + abs(b) < 2**62 and d < 2**62:
        return (doubled * a + b - inclusive) // d + 1
    # Too long for int64: estimate in float64, and decide exactly what lies within the estimate's error of an integer.
    per_half, origin = float(1 / (2 * slope)), float(intercept / slope)
    estimate = np.clip(doubled * per_half - origin, -_FAR, _FAR)
    error = (np.abs(doubled) * per_half + abs(origin)) * 2.0**-51
    result = np.floor(estimate).astype(np.int64) + 1
    for index in np.flatnonzero(np.abs(estimate - np.rint(estimate)) <= error):
        exact = (int(doubled[index]) * a + b - int(inclusive[index])) // d + 1
        result[index] = min(max(exact, -_FAR), _FAR)
    return result


def activation_step(
    name: str, lo: int, hi: int, source: Quantizer, activation: Activation, target: Quantizer
) -> StepFunction:
    """target(activation(source value)) for the codes lo..hi of ``source``, evaluated at every one of them."""
    channels = max(source.channels, target.channels)
    rows = [_activation_codes(lo, hi, source, activation, target, channel) for channel in range(channels)]
    first, last = min(int(row[0]) for row in rows), max(int(row[-1]) for row in rows)
    wanted = np.arange(first + 1, last + 1)
    thresholds = np.stack([lo + np.searchsorted(row, wanted) for row in rows]).astype(np.int64)
    return StepFunction(name, lo, hi, first, _merge(thresholds))


def _activation_codes(
    lo: int, hi: int, source: Quantizer, activation: Activation, target: Quantizer, channel: int
) -> IntArray:
    zero, scale = source.exact_zero_point(channel), source.exact_scale(channel)
    target_zero, target_scale = target.exact_zero_point(channel), target.exact_scale(channel)
    codes = np.arange(lo, hi + 1)
    if target.codes.bipolar:
        # The sign, which is that of the argument or, of a sigmoid, always +.
        return np.where((codes >= zero) | (activation is Activation.SIGMOID), 1, -1)
    scaled = activation((codes - zero).astype(np.float64) * float(scale)) / float(target_scale) + target_zero
    # One code beyond the range says as much as a thousand, and a tiny scale could lift a value out of int64.
    scaled = np.clip(scaled, target.codes.lo - 1.25, target.codes.hi + 1.25)
    result = target.rounding.apply(scaled).astype(np.int64)
    for index in np.flatnonzero(_near_boundary(scaled, target.rounding)):
        argument = (int(codes[index]) - zero) * scale
        result[index] = _exact_activation_code(argument, activation, target_scale, target_zero, target.rounding)
    return np.clip(result, target.codes.lo, target.codes.hi)


def _near_boundary(scaled: FloatArray, rounding: RoundingMode) -> BoolArray:
    to_nearest = rounding in (RoundingMode.ROUND, RoundingMode.HALF_UP, RoundingMode.HALF_DOWN)
    shifted = scaled + 0.5 if to_nearest else scaled
    return np.abs(shifted - np.rint(shifted)) < _ACTIVATION_MARGIN


def _exact_activation_code(
    argument: Fraction, activation: Activation, scale: Fraction, zero: int, rounding: RoundingMode
) -> int:
    """Round activation(argument) / scale + zero, with as many digits as the decision needs.

    At argument 0 the value is rational; elsewhere it is transcendental (Lindemann), so it is never a tie and some
    precision decides it.
    """
    if argument == 0:
        centre = Fraction(1, 2) if activation is Activation.SIGMOID else Fraction(0)
        return rounding.apply_exact(centre / scale + zero)
    # Boundaries are multiples of 1 / (2 * denominator), so none lies nearer than that to a limit of the function, but
    # the limit itself.  From this argument on the value does, e^-x < 2^(1-x): further out nothing changes.
    saturated = Fraction(scale.denominator.bit_length() + 1)
    argument = min(max(argument, -saturated), saturated)
    digits = 40
    while True:
        with decimal.localcontext() as context:
            context.prec = digits
            x = decimal.Decimal(argument.numerator) / decimal.Decimal(argument.denominator)
            decay = (-2 * abs(x) if activation is Activation.TANH else -abs(x)).exp()
            if activation is Activation.TANH:
                value = ((1 - decay) / (1 + decay)).copy_sign(x)
            else:
                value = 1 / (1 + decay) if x > 0 else decay / (1 + decay)
            # Each operation above is within 1e-digits of a number below 2; the margin is generous.
            middle, error = Fraction(value), Fraction(1, 10 ** (digits - 6))
        below = rounding.apply_exact((middle - error) / scale + zero)
        above = rounding.apply_exact((middle + error) / scale + zero)
        if below == above:
            return below
        digits *= 2


def compose(name: str, inner: StepFunction, outer: StepFunction) -> StepFunction:
    """outer(inner(a)) as one step function on the domain of ``inner``."""
    channels = max(inner.channels, outer.channels)
    reached = inner.evaluate(np.full(inner.channels, inner.lo)), inner.evaluate(np.full(inner.channels, inner.hi))
    low, high = outer.evaluate(_spread(reached[0], channels)), outer.evaluate(_spread(reached[1], channels))
    first, last = int(low.min()), int(high.max())
    rows = []
    for channel in range(channels):
        # The outer threshold of a code is the inner code to reach; that code's inner threshold is where it happens.
        needed = outer.thresholds[channel % outer.channels][first - outer.first : last - outer.first] - inner.first
        edges = np.concatenate(([inner.lo], inner.thresholds[channel % inner.channels], [inner.hi + 1]))
        rows.append(edges[np.clip(needed, 0, len(edges) - 1)])
    return StepFunction(name, inner.lo, inner.hi, first, _merge(np.stack(rows).reshape(channels, last - first)))


def _spread(values: IntArray, channels: int) -> IntArray:
    return np.broadcast_to(values, (channels,))


def _merge(thresholds: IntArray) -> IntArray:
    """One row where all channels agree."""
    return thresholds[:1] if (thresholds == thresholds[0]).all() else thresholds
