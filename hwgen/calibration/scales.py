# SPDX-License-Identifier: Apache-2.0
"""From values that were seen to a scale: min-max, percentile, least squared error; and scales that fit together.

Scales have ``SIGNIFICANT`` bits: the product of two is then a float32 number, so that a bias lies exactly on the grid
of its accumulator.  They are rounded up, which never clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwgen.calibration.options import Method, Options
from hwgen.quantizer import FloatArray, IntegerType

SIGNIFICANT = 12
# Values of one place that are kept for percentiles and squared errors; least and greatest count them all.
KEPT = 2**18
# What is tried for the least squared error: fractions 2^(-i / STEPS) of the min-max scale, down to 2^-OCTAVES.
STEPS, OCTAVES = 16, 5
# Scales of values that never move: any will do.
_LEAST = 2.0**-40


@dataclass
class Observed:
    """What was seen at one place: least and greatest value, how many, and values of a fair sample in ``parts``."""

    low: float = math.inf
    high: float = -math.inf
    count: int = 0
    parts: list[FloatArray] = field(default_factory=list)

    def add(self, values: FloatArray, kept: FloatArray) -> None:
        """Take in ``values``, of which ``kept`` are a sample."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.count += values.size
        self.parts.append(kept.reshape(-1))

    def merge(self, other: Observed) -> Observed:
        """Both together."""
        return Observed(
            min(self.low, other.low),
            max(self.high, other.high),
            self.count + other.count,
            self.parts + other.parts,
        )

    @property
    def sample(self) -> FloatArray:
        """Values of the sample [n]."""
        return np.concatenate(self.parts) if self.parts else np.zeros(0)


def choose_scale(seen: Observed, codes: IntegerType, options: Options) -> float:
    """The scale of a quantizer with ``codes`` for what was seen, by the method of the options."""
    whole = reach(seen.low, seen.high, codes)
    if options.method is Method.PERCENTILE:
        limit = float(np.percentile(np.abs(seen.sample), options.percentile))
        return tidy(reach(max(seen.low, -limit), min(seen.high, limit), codes), options.power_of_two)
    if options.method is Method.MSE:
        return least_squares(seen.sample, codes, tidy(whole, options.power_of_two), options.power_of_two)
    return tidy(whole, options.power_of_two)


def reach(low: float, high: float, codes: IntegerType) -> float:
    """The least scale that clips nothing of low..high."""
    return max(high / codes.hi, low / codes.lo if codes.lo else 0.0, _LEAST)


def least_squares(values: FloatArray, codes: IntegerType, whole: float, power_of_two: bool) -> float:
    """Of fractions of the scale ``whole`` the one with the least squared error; the greatest of equals."""
    exponents = range(OCTAVES + 1) if power_of_two else range(OCTAVES * STEPS + 1)
    per_octave = 1 if power_of_two else STEPS
    scales = sorted({tidy(whole * 2.0 ** (-i / per_octave), power_of_two) for i in exponents}, reverse=True)
    return min(scales, key=lambda scale: squared_error(values, scale, codes))


def squared_error(values: FloatArray, scale: float, codes: IntegerType) -> float:
    """The squared error of ``values`` quantized with ``scale``, summed."""
    return float(np.square(np.clip(np.rint(values / scale), codes.lo, codes.hi) * scale - values).sum())


def tidy(scale: float, power_of_two: bool) -> float:
    """The next scale from ``scale`` on of ``SIGNIFICANT`` bits, or the next power of two."""
    mantissa, exponent = math.frexp(scale)
    if power_of_two:
        return math.ldexp(1.0, exponent - (mantissa == 0.5))
    return math.ldexp(math.ceil(math.ldexp(mantissa, SIGNIFICANT)), exponent - SIGNIFICANT)


def onto(scale: float, reference: float) -> float:
    """The least scale from ``scale`` on that is ``reference`` times a power of two."""
    mantissa, exponent = math.frexp(scale / reference)
    return math.ldexp(reference, exponent - (mantissa == 0.5))


def related(scales: Sequence[float], fixed: float | None = None) -> list[float]:
    """Scales whose ratios are powers of two: each from its own in ``scales`` on, by as little as possible.

    ``fixed`` is one that they must be related to; without it one of them stays as it is.
    """
    references = sorted(set(scales)) if fixed is None else [fixed]

    def loss(reference: float) -> float:
        return sum(math.log2(onto(scale, reference) / scale) for scale in scales)

    best = min(references, key=loss)
    return [onto(scale, best) for scale in scales]
