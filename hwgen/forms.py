# SPDX-License-Identifier: Apache-2.0
"""Four ways to build a step function in hardware, each fitted or refused, and proven on every threshold.

All forms are monotone in their argument, so equality on both sides of every threshold is equality everywhere; a table
is compared entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwgen.quantizer import IntArray, IntegerType, RoundingMode
from hwgen.step import StepFunction

# Limits within which a form is worth building, and within which int64 evaluates it exactly.
MAX_TABLE_ENTRIES = 2**16
MAX_MULTIPLIER_BITS = 32
MAX_PRODUCT_BITS = 60
MAX_SHIFT = 48
# Beyond them, multipliers are looked for by rounding the slope; evaluation splits them into limbs of this many bits.
MAX_WIDE_MULTIPLIER_BITS = 52
_LIMB_BITS = 24
# Thresholds of one channel on which a multiplier is sought first, before all of them.
_SAMPLE = 256


@dataclass(frozen=True)
class ShiftForm:
    """clamp(round((a + offset) / 2^shift)) in any rounding mode; a negative shift multiplies: (a << -shift) + offset.

    ``offset`` is [1] or [channels].
    """

    offset: IntArray
    shift: int
    rounding: RoundingMode
    lo: int
    hi: int
    kind = "shift"

    def evaluate(self, values: IntArray) -> IntArray:
        """Codes of ``values``, channels last."""
        if self.shift <= 0:
            return np.clip((values << -self.shift) + self.offset, self.lo, self.hi)
        total = values + self.offset
        increment_negative, increment = self.increments
        increments = np.where(total < 0, increment_negative, increment)
        if self.rounding is RoundingMode.ROUND:
            increments = increments + ((total >> self.shift) & 1)
        return np.clip((total + increments) >> self.shift, self.lo, self.hi)

    @property
    def increments(self) -> tuple[int, int]:
        """What to add before the arithmetic shift, for negative and for other numbers.

        ROUND adds the bit above the cut as well: halves then go to the even neighbour.
        """
        half, last = (1 << self.shift >> 1), (1 << max(self.shift, 0)) - 1
        return {
            RoundingMode.ROUND: (half - 1, half - 1),
            RoundingMode.CEIL: (last, last),
            RoundingMode.FLOOR: (0, 0),
            RoundingMode.UP: (0, last),
            RoundingMode.DOWN: (last, 0),
            RoundingMode.HALF_UP: (half - 1, half),
            RoundingMode.HALF_DOWN: (half, half - 1),
        }[self.rounding]


@dataclass(frozen=True)
class MultiplyForm:
    """clamp((a * multiplier + offset) >> shift); ``multiplier`` and ``offset`` are [1] or [channels]."""

    multiplier: IntArray
    offset: IntArray
    shift: int
    lo: int
    hi: int
    kind = "multiply"

    def evaluate(self, values: IntArray) -> IntArray:
        """Codes of ``values``, channels last; products beyond int64 are taken in two limbs."""
        if int(self.multiplier.max()).bit_length() <= MAX_MULTIPLIER_BITS:
            return np.clip((values * self.multiplier + self.offset) >> self.shift, self.lo, self.hi)
        mask = (1 << _LIMB_BITS) - 1
        low = values * (self.multiplier & mask) + (self.offset & mask)
        high = values * (self.multiplier >> _LIMB_BITS) + (self.offset >> _LIMB_BITS) + (low >> _LIMB_BITS)
        return np.clip(high >> (self.shift - _LIMB_BITS), self.lo, self.hi)


@dataclass(frozen=True)
class SearchForm:
    """first + number of thresholds <= a, by binary search; ``thresholds`` is [1 or channels, n]."""

    thresholds: IntArray
    first: int
    kind = "search"

    @property
    def levels(self) -> int:
        """Comparisons one after another: one for each bit of the result."""
        return self.thresholds.shape[1].bit_length()

    def evaluate(self, values: IntArray) -> IntArray:
        """Codes of ``values``, channels last: the comparisons of the hardware, level by level."""
        nodes = self.nodes()
        channel = np.arange(len(nodes)) if len(nodes) > 1 else 0
        place = np.ones(np.shape(values), np.int64)
        for _ in range(self.levels):
            place = 2 * place + (values >= nodes[channel, place])
        return self.first + np.minimum(place - (1 << self.levels), self.thresholds.shape[1])

    def nodes(self) -> IntArray:
        """The thresholds as a complete tree in heap order: [channels, 2^levels], the root at 1, place 0 unused.

        Places beyond the last threshold repeat the greatest one of the row, which changes nothing: the result is
        limited to n.
        """
        channels, count = self.thresholds.shape
        if count == 0:
            return np.zeros((channels, 1), np.int64)
        padded = np.pad(self.thresholds, ((0, 0), (0, (1 << self.levels) - 1 - count)), mode="edge")
        heap = np.zeros((channels, 1 << self.levels), np.int64)
        for level in range(self.levels):
            step = 1 << (self.levels - level)
            heap[:, 1 << level : 2 << level] = padded[:, step // 2 - 1 :: step]
        return heap


@dataclass(frozen=True)
class TableForm:
    """table[a - lo], with one row, or one row per channel."""

    table: IntArray
    lo: int
    kind = "table"

    def evaluate(self, values: IntArray) -> IntArray:
        """Codes of ``values``, channels last."""
        channel = np.arange(len(self.table)) if len(self.table) > 1 else 0
        return self.table[channel, values - self.lo]


Form = ShiftForm | MultiplyForm | SearchForm | TableForm


@dataclass(frozen=True)
class Proof:
    """The outcome of comparing a form with its step function: thresholds (table: entries) checked, and mismatches."""

    thresholds: int
    comparisons: int
    mismatches: int

    @property
    def holds(self) -> bool:
        """Whether the form equals the step function."""
        return self.mismatches == 0


def prove(form: Form, step: StepFunction) -> Proof:
    """Compare ``form`` with ``step`` on both sides of every threshold of every channel and at both ends.

    The expected code of a threshold is its rank, not a result of the form.
    """
    if isinstance(form, TableForm):
        domain = np.arange(step.lo, step.hi + 1)[:, np.newaxis]
        wanted = step.evaluate(np.broadcast_to(domain, (step.size, step.channels)))
        got = form.evaluate(np.broadcast_to(domain, (step.size, step.channels)))
        return Proof(step.thresholds.size, wanted.size, int((wanted != got).sum()))
    compared = wrong = 0
    for index, wanted in _witnesses(step):
        got = form.evaluate(index)
        compared, wrong = compared + got.size, wrong + int((got != wanted).sum())
    return Proof(step.thresholds.size, compared, wrong)


def _witnesses(step: StepFunction) -> Iterator[tuple[IntArray, IntArray]]:
    """Arguments [n, channels] with their codes: both ends, every threshold, and the integer below each."""
    thresholds = step.thresholds.T
    for end in (step.lo, step.hi):
        argument = np.full((1, step.channels), end)
        yield argument, step.first + (thresholds <= end).sum(axis=0, keepdims=True)
    if not thresholds.size:
        return
    # Equal thresholds skip codes: at the last of them the code is its rank, just below the first it is the rank - 1.
    rank = np.broadcast_to(np.arange(1, len(thresholds) + 1)[:, np.newaxis], thresholds.shape)
    reached = thresholds <= step.hi
    below = thresholds > step.lo
    last_of_run = np.vstack([thresholds[1:] != thresholds[:-1], np.ones((1, step.channels), bool)])
    first_of_run = np.vstack([np.ones((1, step.channels), bool), thresholds[1:] != thresholds[:-1]])
    for mask, argument, code in (
        (reached & last_of_run, thresholds, rank),
        (below & first_of_run, thresholds - 1, rank - 1),
    ):
        # Where the mask is off, the lower end of the domain stands in, so that rows keep their channels.
        start = step.first + (thresholds <= step.lo).sum(axis=0, keepdims=True)
        yield np.where(mask, argument, step.lo), np.where(mask, step.first + code, start)


def fit_shift(step: StepFunction) -> ShiftForm | None:
    """The shift form, where the ratio is a power of two and every offset falls on the grid."""
    linear = step.linear
    if linear is None or any(slope != linear.slope[0] for slope in linear.slope):
        return None
    numerator, denominator = linear.slope[0].numerator, linear.slope[0].denominator
    if numerator & (numerator - 1) or denominator & (denominator - 1):
        return None
    shift = denominator.bit_length() - numerator.bit_length()
    reach = max(abs(step.lo), abs(step.hi)).bit_length()
    if abs(shift) > MAX_SHIFT or reach - shift > MAX_PRODUCT_BITS:
        return None
    scaled = [intercept * (1 << max(shift, 0)) for intercept in linear.intercept]
    if any(offset.denominator != 1 or abs(offset) >= 2**MAX_PRODUCT_BITS for offset in scaled):
        return None
    offset = _shared(np.array([int(offset) for offset in scaled], np.int64))
    return ShiftForm(offset, shift, linear.rounding, step.first, step.last)


def fit_multiply(step: StepFunction) -> MultiplyForm | None:
    """The multiply form with the smallest shift for which integers M and B satisfy both sides of every threshold.

    With thresholds T_k of codes k, (T_k * M + B) >> S >= k and ((T_k - 1) * M + B) >> S < k bound B from below by
    k * 2^S - T_k * M and from above by k * 2^S - 1 - (T_k - 1) * M.  For one M such a B exists if the greatest lower
    bound does not exceed the least upper bound.  A violated pair of bounds is a linear inequality in M: it is kept as
    a cut, so few M are ever tried.  Channels of equal slope share M; they may differ in B.
    """
    if step.linear is None or step.thresholds.shape[1] == 0:
        return None
    slopes = step.linear.slope if step.channels > 1 else step.linear.slope[:1]
    groups = [list(range(step.channels))] if len(set(slopes)) == 1 else [[c] for c in range(step.channels)]
    problems = [_MultiplyProblem(step, group) for group in groups]
    for shift in range(MAX_SHIFT):
        solutions = []
        for problem in problems:
            multiplier = problem.solve(shift)
            if multiplier is None:
                break
            solutions.append((multiplier, problem.offsets(multiplier, shift)))
        else:
            multipliers = np.array([multiplier for multiplier, _ in solutions])
            offsets = np.concatenate([offset for _, offset in solutions])
            return MultiplyForm(_shared(multipliers), _shared(offsets), shift, step.first, step.last)
    return _fit_wide_multiply(step)


def _fit_wide_multiply(step: StepFunction) -> MultiplyForm | None:
    """A multiplier too long for exact fits in int64: the rounded slope, with an offset half a code up.

    Nothing is claimed here: the first candidate that the proof accepts is taken.
    """
    linear, reach = step.linear, max(abs(step.lo), abs(step.hi)).bit_length()
    if linear is None:
        return None
    channels = range(step.channels)
    to_nearest = linear.rounding in (RoundingMode.ROUND, RoundingMode.HALF_UP, RoundingMode.HALF_DOWN)
    rise = Fraction(1, 2) if to_nearest else Fraction(int(linear.rounding is RoundingMode.CEIL))
    start = _LIMB_BITS + max(0, -int(np.log2(float(max(linear.slope)))))
    for shift in range(start, 63 - max(abs(step.first), abs(step.last)).bit_length()):
        multipliers = np.array([round(linear.slope[c] * 2**shift) for c in channels])
        if int(multipliers.max()).bit_length() > MAX_WIDE_MULTIPLIER_BITS:
            break
        if reach + int(multipliers.max()).bit_length() - _LIMB_BITS > MAX_PRODUCT_BITS:
            break
        offsets = np.array([round((linear.intercept[c] + rise) * 2**shift) for c in channels])
        form = MultiplyForm(_shared(multipliers), _shared(offsets), shift, step.first, step.last)
        if prove(form, step).holds:
            return form
    return None


class _MultiplyProblem:
    """The inequalities of some channels that share a multiplier."""

    def __init__(self, step: StepFunction, channels: list[int], stride: int = 1) -> None:
        self.thresholds = step.thresholds[channels][:, ::stride]
        self.ranks = step.first + 1 + np.arange(step.thresholds.shape[1])[::stride]
        # A threshold at the edge of the domain binds on one side only.
        self.binds_below = self.thresholds <= step.hi
        self.binds_above = self.thresholds > step.lo
        self.reach = max(abs(step.lo), abs(step.hi)) + 1
        # Cuts (d, w): d * 2^S + 1 <= M * w.
        self.cuts: set[tuple[int, int]] = set()
        # Most hopeless shifts fail on a sample already; its cuts hold for the whole as well.
        few = stride > 1 or self.thresholds.shape[1] <= 2 * _SAMPLE
        self.sample = None if few else _MultiplyProblem(step, channels, self.thresholds.shape[1] // _SAMPLE)

    def bounds(self, multiplier: int, shift: int) -> tuple[IntArray, IntArray]:
        """Lower and upper bounds of B, [channels, thresholds]; absent ones are infinite in effect."""
        target = self.ranks << shift
        infinite = 2**62
        lower = np.where(self.binds_below, target - self.thresholds * multiplier, -infinite)
        upper = np.where(self.binds_above, target - 1 - (self.thresholds - 1) * multiplier, infinite)
        return lower, upper

    def solve(self, shift: int) -> int | None:
        """The smallest multiplier for this shift, or None."""
        if self.sample is not None and self.sample.solve(shift) is None:
            return None
        while True:
            multiplier = self._smallest(shift)
            if multiplier is None or multiplier.bit_length() > MAX_MULTIPLIER_BITS:
                return None
            if (multiplier * self.reach).bit_length() + 2 > MAX_PRODUCT_BITS:
                return None
            if int(np.abs(self.ranks).max()).bit_length() + shift > MAX_PRODUCT_BITS:
                return None
            lower, upper = self.bounds(multiplier, shift)
            j, k = lower.argmax(axis=1), upper.argmin(axis=1)
            rows = np.arange(len(lower))
            violated = np.flatnonzero(lower[rows, j] > upper[rows, k])
            if not len(violated):
                return multiplier
            for row in violated:
                above, below = int(j[row]), int(k[row])
                width = int(self.thresholds[row, above] - self.thresholds[row, below]) + 1
                self.cuts.add((int(self.ranks[above] - self.ranks[below]), width))

    def _smallest(self, shift: int) -> int | None:
        low, high = 1, 1 << MAX_MULTIPLIER_BITS
        for distance, width in self.cuts | (self.sample.cuts if self.sample else set()):
            need = (distance << shift) + 1
            if width > 0:
                low = max(low, -(-need // width))
            elif width < 0:
                high = min(high, -need // -width)
            elif need > 0:
                return None
        return low if low <= high else None

    def offsets(self, multiplier: int, shift: int) -> IntArray:
        """One B per channel: a common one if there is one, else each with as many trailing zeros as possible."""
        lower, upper = self.bounds(multiplier, shift)
        least, greatest = lower.max(axis=1), upper.min(axis=1)
        if least.max() <= greatest.min():
            return np.full(len(least), _roundest(int(least.max()), int(greatest.min())))
        return np.array([_roundest(int(a), int(b)) for a, b in zip(least, greatest, strict=True)])


def _roundest(low: int, high: int) -> int:
    """The integer in low..high with the most trailing zeros."""
    if low <= 0 <= high:
        return 0
    bits = 0
    while -(-low >> (bits + 1)) << (bits + 1) <= high and bits < 62:
        bits += 1
    return -(-low >> bits) << bits


def fit_table(step: StepFunction) -> TableForm | None:
    """The table form, where the whole domain fits."""
    if step.size * step.channels > MAX_TABLE_ENTRIES:
        return None
    domain = np.broadcast_to(np.arange(step.lo, step.hi + 1)[:, np.newaxis], (step.size, step.channels))
    return TableForm(np.ascontiguousarray(step.evaluate(domain).T), step.lo)


def fit_search(step: StepFunction) -> SearchForm:
    """The search form, which always exists."""
    return SearchForm(step.thresholds, step.first)


FITTERS: dict[str, Callable[[StepFunction], Form | None]] = {
    "shift": fit_shift,
    "multiply": fit_multiply,
    "table": fit_table,
    "search": fit_search,
}


def _shared(values: IntArray) -> IntArray:
    return values[:1] if (values == values[0]).all() else values


# Every form stands in the recurrent loop, where a cycle of latency is paid at each time step.
_CYCLE_PRICE = 20.0


def latency(form: Form) -> int:
    """Cycles from argument to result at a comfortable clock: what the recurrent loop pays for the form."""
    if isinstance(form, MultiplyForm):
        return 3
    return form.levels if isinstance(form, SearchForm) else 1


def cost(form: Form, step: StepFunction) -> float:
    """A rough price of one lane of the form in LUTs, to choose among the exact forms.

    A DSP counts as 60 LUTs, a LUT as 64 bits of ROM, a cycle of latency as 20; constants per channel are ROM.
    """
    width = IntegerType.holding(step.lo, step.hi).bits
    out = IntegerType.holding(step.first, step.last).bits
    price = _CYCLE_PRICE * latency(form)
    if isinstance(form, ShiftForm):
        return price + width + 2 * out + _rom_bits(form.offset) / 64
    if isinstance(form, MultiplyForm):
        m_bits = _bits(form.multiplier)
        dsps = -(-width // 24) * -(-m_bits // 17)
        product = width + m_bits
        multiplier = 0.0 if m_bits == 1 else min(60.0 * dsps, width * m_bits / 1.5)
        return price + multiplier + product + 2 * out + (_rom_bits(form.offset) + _rom_bits(form.multiplier)) / 64
    if isinstance(form, SearchForm):
        return price + form.levels * (width / 2 + 4) + form.thresholds.size * width / 64
    return price + form.table.size * out / 64


def _bits(values: IntArray) -> int:
    return IntegerType.holding(int(values.min()), int(values.max())).bits


def _rom_bits(values: IntArray) -> int:
    return _bits(values) * values.size if values.size > 1 else 0


@dataclass(frozen=True)
class Certified:
    """A step function with the form chosen for it and the proof that they are equal."""

    step: StepFunction
    form: Form
    proof: Proof


def choose(step: StepFunction, kinds: tuple[str, ...] = tuple(FITTERS)) -> Certified:
    """The cheapest form among ``kinds`` that is proven equal to ``step``; the search form always is."""
    step.verify()
    candidates = [form for form in (FITTERS[kind](step) for kind in kinds) if form is not None]
    for form in sorted(candidates, key=lambda form: cost(form, step)):
        proof = prove(form, step)
        if proof.holds:
            return Certified(step, form, proof)
    raise AssertionError(f"{step.name}: no form among {', '.join(kinds)} equals the step function")
