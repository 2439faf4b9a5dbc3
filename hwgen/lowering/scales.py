# SPDX-License-Identifier: Apache-2.0
"""One unit for two integer products of different scales: exact where it can be, else bounded.

A x + B y with integers x, y and real A, B becomes unit * (p x + q y): the weights behind x are multiplied by p, those
behind y by q.  Scales are rational, so A / B = p / q always has a solution; where it makes the accumulator too wide, a
convergent of the continued fraction of A / B takes its place, which is the best p / q of its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

# Accumulators beyond this width would leave int64 in the fits; a model needs millions of inputs to get there.
MAX_ACCUMULATOR_BITS = 40
# Distances of a sum to the real one, in LSB of its quantizer: what a convergent has to reach, and what is accepted
# where the accumulator has no room for more.  Executions in float32 are off by up to 1e-3.
WANTED_BOUND = Fraction(1, 10**9)
GREATEST_BOUND = Fraction(1, 10**4)


@dataclass(frozen=True)
class CommonUnit:
    """``unit`` is the real value of one unit of the sum of ``input_factor`` x and ``hidden_factor`` y.

    ``bound`` is the greatest distance of that sum to the real one, as a real value; 0 where they are equal.
    """

    unit: Fraction
    input_factor: int
    hidden_factor: int
    bound: Fraction


def common_unit(
    input_unit: Fraction, hidden_unit: Fraction, input_reach: int, hidden_reach: int, bias: Fraction, lsb: Fraction
) -> CommonUnit | None:
    """The unit for products of scales ``input_unit`` and ``hidden_unit`` and magnitudes up to the reaches.

    ``bias`` and ``lsb``, that of the quantizer behind the sum, are real values.  None if nothing within the width of
    an accumulator comes as near as ``GREATEST_BOUND``.
    """
    near: CommonUnit | None = None
    for p, q in _convergents(input_unit / hidden_unit):
        unit = input_unit / p
        if p * input_reach + q * hidden_reach + abs(bias / unit) >= 2 ** (MAX_ACCUMULATOR_BITS - 1) - 1:
            break
        found = CommonUnit(unit, p, q, hidden_reach * abs(hidden_unit - unit * q))
        if found.bound == 0:
            return found
        # The first that is near enough has the smallest weights.
        if near is None or near.bound > WANTED_BOUND * lsb:
            near = found
    return near if near is not None and near.bound <= GREATEST_BOUND * lsb else None


def _convergents(ratio: Fraction) -> Iterator[tuple[int, int]]:
    """The best approximations p / q of a positive ratio with p, q >= 1, ever larger and nearer; the last is exact."""
    before, current, rest = (0, 1), (1, 0), ratio
    while True:
        whole = rest.numerator // rest.denominator
        before, current = current, (whole * current[0] + before[0], whole * current[1] + before[1])
        if current[0]:
            yield current
        if rest == whole:
            return
        rest = 1 / (rest - whole)
