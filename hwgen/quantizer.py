# SPDX-License-Identifier: Apache-2.0
"""Rounding modes, integer types and quantizers: the vocabulary that every stage shares."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwgen.errors import ModelError, printable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class RoundingMode(enum.Enum):
    """How a real number becomes an integer; the names are those of QONNX.

    ``ROUND`` is half to even.  ``UP`` and ``DOWN`` are away from and towards zero, ``HALF_UP`` and ``HALF_DOWN``
    resolve only ties that way.  Brevitas' ``ROUND_TO_ZERO`` is ``DOWN``, QONNX's ``HALF_EVEN`` is ``ROUND``.
    """

    ROUND = "ROUND"
    CEIL = "CEIL"
    FLOOR = "FLOOR"
    UP = "UP"
    DOWN = "DOWN"
    HALF_UP = "HALF_UP"
    HALF_DOWN = "HALF_DOWN"

    @classmethod
    def parse(cls, name: str, node: str) -> RoundingMode:
        """The mode called ``name``; raises ModelError, naming ``node``, when there is none."""
        canonical = {"ROUND_TO_ZERO": "DOWN", "HALF_EVEN": "ROUND"}.get(name.upper(), name.upper())
        if canonical in cls.__members__:
            return cls[canonical]
        known = ", ".join([*cls.__members__, "HALF_EVEN", "ROUND_TO_ZERO"])
        raise ModelError(f"{node}: rounding mode must be one of {known}, not {printable(name)}")

    def apply(self, values: FloatArray) -> FloatArray:
        """Round every element of ``values`` (any shape) to an integral float64."""
        if self is RoundingMode.ROUND:
            return np.rint(values)
        if self is RoundingMode.CEIL:
            return np.ceil(values)
        if self is RoundingMode.FLOOR:
            return np.floor(values)
        magnitude, sign = np.abs(values), np.sign(values)
        if self is RoundingMode.UP:
            return sign * np.ceil(magnitude)
        if self is RoundingMode.DOWN:
            return sign * np.floor(magnitude)
        if self is RoundingMode.HALF_UP:
            # floor(m + 0.5) would lift 0.49999999999999994 to 1: compare the fraction instead.
            whole = np.floor(magnitude)
            return sign * (whole + (magnitude - whole >= 0.5))
        whole = np.floor(magnitude)
        return sign * (whole + (magnitude - whole > 0.5))

    def boundary(self, code: IntArray) -> tuple[IntArray, BoolArray]:
        """Where real numbers start to round to ``code`` or above.

        Returns (doubled, inclusive): a real v rounds to at least ``code`` exactly if v > doubled / 2, or if
        v == doubled / 2 and ``inclusive``.  Doubling keeps half integers integral.
        """
        positive = code >= 1
        if self is RoundingMode.ROUND:
            return 2 * code - 1, code % 2 == 0
        if self is RoundingMode.CEIL:
            return 2 * code - 2, np.zeros(code.shape, bool)
        if self is RoundingMode.FLOOR:
            return 2 * code, np.ones(code.shape, bool)
        if self is RoundingMode.UP:
            return np.where(positive, 2 * code - 2, 2 * code), ~positive
        if self is RoundingMode.DOWN:
            return np.where(positive, 2 * code, 2 * code - 2), positive
        if self is RoundingMode.HALF_UP:
            return 2 * code - 1, positive
        return 2 * code - 1, ~positive

    def apply_exact(self, value: Fraction) -> int:
        """Round one rational number."""
        floor = value.numerator // value.denominator
        doubled, inclusive = self.boundary(np.array([floor + 1], dtype=object))
        edge = Fraction(int(doubled[0]), 2)
        return floor + 1 if value > edge or (value == edge and bool(inclusive[0])) else floor


@dataclass(frozen=True)
class IntegerType:
    """The set of codes of a quantizer: ``bits`` wide, ``signed`` or not, ``narrow`` without its outermost code.

    ``bipolar`` is the binary set {-1, +1} of QONNX's BipolarQuant.
    """

    bits: int
    signed: bool
    narrow: bool = False
    bipolar: bool = False

    @property
    def lo(self) -> int:
        """The least code."""
        if self.bipolar:
            return -1
        return -(1 << (self.bits - 1)) + self.narrow if self.signed else 0

    @property
    def hi(self) -> int:
        """The greatest code."""
        if self.bipolar:
            return 1
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1 - self.narrow

    @property
    def storage(self) -> IntegerType:
        """The plain machine type that holds a code: bipolar codes need a sign and so two bits."""
        return IntegerType(2 if self.bipolar else self.bits, self.signed or self.bipolar)

    @staticmethod
    def holding(lo: int, hi: int) -> IntegerType:
        """The smallest plain type with lo..hi in range; signed exactly if ``lo`` is negative."""
        if lo < 0:
            return IntegerType(max((-lo - 1).bit_length(), hi.bit_length() if hi > 0 else 0) + 1, True)
        return IntegerType(max(1, hi.bit_length()), False)

    def __str__(self) -> str:
        if self.bipolar:
            return "bipolar"
        return f"{'' if self.signed else 'u'}int{self.bits}{' narrow' if self.narrow else ''}"


@dataclass(frozen=True)
class Quantizer:
    """A uniform quantizer: code = clip(round(value / scale + zero_point)), value = (code - zero_point) * scale.

    ``scale`` and ``zero_point`` hold one entry, or one per channel.  A scale is exactly the float that stands in
    the file, so every one of them is a rational number.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    codes: IntegerType
    rounding: RoundingMode = RoundingMode.ROUND

    @property
    def channels(self) -> int:
        """1 for a per-tensor quantizer, otherwise the number of channels."""
        return max(len(self.scale), len(self.zero_point))

    def exact_scale(self, channel: int) -> Fraction:
        """The scale of ``channel`` as a rational number."""
        return Fraction(self.scale[channel if len(self.scale) > 1 else 0])

    def exact_zero_point(self, channel: int) -> int:
        """The zero point of ``channel``."""
        return self.zero_point[channel if len(self.zero_point) > 1 else 0]

    def quantize(self, values: FloatArray) -> FloatArray:
        """Real values, channels last, to codes (as integral float64, same shape).

        Exact for float32 values: their quotient by a float32 scale, correctly rounded to float64, falls on a
        rounding boundary only if the real quotient does.
        """
        if self.codes.bipolar:
            return np.where(values >= 0, 1.0, -1.0)
        scaled, zero = values / np.asarray(self.scale), np.asarray(self.zero_point, np.float64)
        return np.clip(self._rounded(scaled, zero), self.codes.lo, self.codes.hi)

    def _rounded(self, scaled: FloatArray, zero: FloatArray) -> FloatArray:
        """Round scaled + zero.  Modes that turn at integers round first: the sum would swallow what is tiny."""
        mode = self.rounding
        if mode in (RoundingMode.UP, RoundingMode.DOWN):
            upward = (scaled > -zero) == (mode is RoundingMode.UP)
            return np.where(upward, np.ceil(scaled), np.floor(scaled)) + zero
        if mode in (RoundingMode.CEIL, RoundingMode.FLOOR):
            return mode.apply(scaled) + zero
        return mode.apply(scaled + zero)

    def dequantize(self, codes: FloatArray | IntArray) -> FloatArray:
        """Codes, channels last, to real values (float64; exact while code and scale fit 53 bits together)."""
        return (codes - np.asarray(self.zero_point, np.float64)) * np.asarray(self.scale)

    def quantize_exact(self, value: float, channel: int = 0) -> int:
        """One float to its code in rational arithmetic: decides what float64 cannot (32-bit bias codes)."""
        if self.codes.bipolar:
            return 1 if value >= 0 else -1
        scaled = Fraction(value) / self.exact_scale(channel) + self.exact_zero_point(channel)
        return min(max(self.rounding.apply_exact(scaled), self.codes.lo), self.codes.hi)

    def __str__(self) -> str:
        scale = f"scale {self.scale[0]:.6g}" if len(self.scale) == 1 else f"{len(self.scale)} scales"
        zero = f", zero point {self.zero_point[0]}" if any(self.zero_point) else ""
        mode = "" if self.rounding is RoundingMode.ROUND else f", {self.rounding.value}"
        return f"{self.codes}, {scale}{zero}{mode}"
