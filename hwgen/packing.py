# SPDX-License-Identifier: Apache-2.0
"""How many products of a matrix-vector product share a DSP: rows whose weights stand side by side in one operand.

With several the products of rows stand ``field_bits`` apart in what the DSP gives.  With none products are sums in
LUTs: weights are taken by digits of two bits.  With one they are multiplied one by one, as ``mapping`` says where.
"""

from __future__ import annotations

from hwgen.devices import Device
from hwgen.errors import ConfigError, printable
from hwgen.integer import Interval
from hwgen.quantizer import IntArray, IntegerType

# What a DSP of 7 series multiplies, signed, and gives: the hwgen_packed_products of the RTL has the first number.
WIDE_BITS, NARROW_BITS, RESULT_BITS = 25, 18, 48
AUTO = "auto"
# What an option may ask for: how many rows at most, or all that are worth a try.
Asked = int | str


def check_asked(asked: Asked, target: Device | None = None, option: str = "--products-per-dsp") -> Asked:
    """A number of rows as an option gives it, for a ``target``; raises ConfigError for anything else."""
    if asked == AUTO:
        return asked
    text = str(asked)
    if isinstance(asked, bool) or not (text.isascii() and text.isdigit() and int(text) <= WIDE_BITS):
        raise ConfigError(f"{option} must be {AUTO} or a number from 0 to {WIDE_BITS}, not {printable(text)}")
    if target is not None:
        check_target(option, int(text), target)
    return int(text)


def check_target(label: str, rows: int, target: Device) -> None:
    """Raise ConfigError if no multiplier of a device has room for so many products."""
    if rows > 1 and not target.is_amd:
        raise ConfigError(
            f"{label} must be 0 or 1 for {target.name}, not {rows}: its multipliers take 18 x 18 bits, too few for "
            f"several products"
        )


def range_of(codes: IntegerType) -> Interval:
    """The numbers that codes are stored as."""
    return Interval(codes.storage.lo, codes.storage.hi)


def stored_bits(weight: IntegerType) -> int:
    """Bits of a weight that is no sign, as it is stored: ``mapping.weight_bits``."""
    return max(2, IntegerType.holding(min(weight.lo, -1), weight.hi).bits)


def field_bits(weights: IntArray, weight_bits: int, codes: IntegerType) -> int:
    """Bits in which every product of these weights, stored in so many bits, and any codes fits, signed."""
    found = range_of(codes)
    ends = [end * code for end in (int(weights.min()), int(weights.max())) for code in (found.lo, found.hi)]
    return max(IntegerType.holding(min(*ends, -1), max(ends)).bits, weight_bits)


def most_rows(weights: IntArray, weight_bits: int, codes: IntegerType) -> int:
    """How many rows of weights may share a DSP: what they are together, side by side, fits its operand."""
    span, bits = range_of(codes), field_bits(weights, weight_bits, codes)
    if IntegerType.holding(min(span.lo, -1), span.hi).bits > NARROW_BITS:
        return 1
    least, greatest, rows = int(weights.min()), int(weights.max()), 1
    while True:
        ones = sum(1 << (bits * row) for row in range(rows + 1))
        fits = least * ones >= -(1 << (WIDE_BITS - 1)) and greatest * ones < 1 << (WIDE_BITS - 1)
        if not fits or rows * bits + weight_bits > WIDE_BITS or (rows + 1) * bits > RESULT_BITS:
            return rows
        rows += 1


def legal(weights: IntArray, weight: IntegerType, codes: IntegerType, pe: int, tiles: int) -> tuple[int, ...]:
    """What a product of ``pe`` rows a cycle may be built with, in ascending order.

    Signs are no operands of a multiplier, and what has one tile has constants for weights: both are multiplied one by
    one.
    """
    if weight.bipolar or tiles == 1:
        return (1,)
    return tuple(range(min(pe, most_rows(weights, stored_bits(weight), codes)) + 1))


def check_packing(label: str, value: int, possible: tuple[int, ...]) -> None:
    """Raise ConfigError, with the nearest legal value, if a product cannot be built so."""
    if value not in possible:
        raise ConfigError(
            f"{label} must be from {possible[0]} to {possible[-1]}, not {value}; nearest legal: {possible[-1]}"
            if len(possible) > 1
            else f"{label} must be 1 of signs, and where all weights are constants, not {value}"
        )


def choices(asked: Asked, possible: tuple[int, ...], target: Device) -> tuple[int, ...]:
    """Of what is possible for a product, what an option and a target leave to choose from."""
    if not target.is_amd:
        possible = tuple(value for value in possible if value <= 1)
    if asked == AUTO:
        return tuple(dict.fromkeys((1, possible[0], possible[-1])))
    assert isinstance(asked, int)
    return (max((value for value in possible if value <= asked), default=1),)
