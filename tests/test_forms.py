# SPDX-License-Identifier: Apache-2.0
"""Forms of step functions: equal to the definition on whole domains, proven honestly, and as small as claimed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from test_step import MODES, counted, quantized, random_linear

from hwgen.forms import (
    FITTERS,
    MAX_MULTIPLIER_BITS,
    Certified,
    Form,
    MultiplyForm,
    SearchForm,
    ShiftForm,
    TableForm,
    choose,
    fit_multiply,
    fit_search,
    fit_shift,
    fit_table,
    prove,
)
from hwgen.quantizer import IntArray, IntegerType, RoundingMode
from hwgen.step import Linear, StepFunction, linear_step

UINT16 = IntegerType(16, False)


def domain(step: StepFunction) -> IntArray:
    column = np.arange(step.lo, step.hi + 1)[:, np.newaxis]
    return np.ascontiguousarray(np.broadcast_to(column, (step.size, step.channels)))


def real_code(linear: Linear, a: int, channel: int = 0) -> int:
    return quantized(linear.slope[channel] * a + linear.intercept[channel], linear.rounding, linear.codes)


def real_codes(step: StepFunction) -> IntArray:
    """The definition of a uniform step on its whole domain, from fractions alone: [domain, channels]."""
    linear = step.linear
    assert linear is not None
    arguments = range(step.lo, step.hi + 1)
    return np.array([[real_code(linear, a, c) for c in range(step.channels)] for a in arguments])


def uniform(slope: Fraction, lo: int, hi: int, codes: IntegerType, intercept: Fraction = Fraction(0)) -> StepFunction:
    return linear_step("step", lo, hi, Linear((slope,), (intercept,), RoundingMode.ROUND, codes))


@pytest.mark.parametrize("mode", MODES)
def test_every_form_that_fits_equals_the_definition_on_the_whole_domain(mode: RoundingMode) -> None:
    fitted: Counter[str] = Counter()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        linear = random_linear(rng, mode, int(rng.choice([1, 1, 3])))
        lo, hi = (int(v) for v in np.sort(rng.integers(-300, 300, 2)))
        step = linear_step(f"seed {seed}", lo, hi, linear)
        wanted = real_codes(step)
        for kind, fit in FITTERS.items():
            form = fit(step)
            if form is None:
                continue
            fitted[kind] += 1
            np.testing.assert_array_equal(form.evaluate(domain(step)), wanted, f"seed {seed}: {kind}")
            assert prove(form, step).holds, f"seed {seed}: {kind}"
    least = {"table": 150, "search": 150, "shift": 20, "multiply": 30}
    assert all(fitted[kind] >= count for kind, count in least.items()), fitted


def test_search_and_table_equal_any_monotone_function() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        lo, channels = int(rng.integers(-50, 50)), int(rng.choice([1, 4]))
        hi = lo + int(rng.integers(0, 90))
        # Often more thresholds than integers: codes are skipped, and some are never reached.
        thresholds = np.sort(rng.integers(lo, hi + 2, (channels, int(rng.integers(0, 70)))), axis=1)
        step = StepFunction(f"seed {seed}", lo, hi, int(rng.integers(-9, 9)), thresholds)
        wanted = [[counted(step, c, a) for c in range(channels)] for a in range(lo, hi + 1)]
        for form in (fit_search(step), fit_table(step)):
            assert form is not None
            np.testing.assert_array_equal(form.evaluate(domain(step)), wanted, f"seed {seed}: {form.kind}")
            assert prove(form, step).holds, f"seed {seed}: {form.kind}"


def test_search_compares_once_for_each_bit_of_the_result() -> None:
    for count, levels in ((0, 0), (1, 1), (3, 2), (4, 3), (255, 8)):
        assert fit_search(StepFunction("s", 0, 999, 0, np.arange(1, count + 1)[np.newaxis])).levels == levels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_multipliers_beyond_32_bits_equal_python_integers(seed: int, channels: int) -> None:
    # Slopes of 34 bits, as two short scales make them, exact at shift 45.
    rng = np.random.default_rng(seed)
    slopes = tuple(Fraction(int(m) | 1, 2**45) for m in rng.integers(2**33, 2**34, channels))
    intercepts = tuple(Fraction(int(k), 4) for k in rng.integers(-9, 10, channels))
    linear = Linear(slopes, intercepts, RoundingMode.FLOOR, IntegerType(16, True))
    step = linear_step("step", -(2**27), 2**27, linear)
    form = fit_multiply(step)
    assert form is not None
    assert int(form.multiplier.max()).bit_length() > MAX_MULTIPLIER_BITS, "not the wide path"
    assert prove(form, step).holds
    values = rng.integers(step.lo, step.hi + 1, (20000, channels))
    values[:4] = np.array([step.lo, -1, 0, step.hi])[:, np.newaxis]
    got = form.evaluate(values)
    for c in range(channels):
        m, offset = (int(constants[c % len(constants)]) for constants in (form.multiplier, form.offset))
        exact = [min(max((int(v) * m + offset) >> form.shift, form.lo), form.hi) for v in values[:, c]]
        np.testing.assert_array_equal(got[:, c], exact, f"channel {c}")
        wanted = [real_code(linear, int(v), c) for v in values[:2000, c]]
        np.testing.assert_array_equal(got[:2000, c], wanted, f"channel {c}")


def test_multiply_form_splits_long_products_as_python_multiplies() -> None:
    rng = np.random.default_rng(3)
    for bits in range(33, 53):
        m, offset, shift = (int(rng.integers(2 ** (bits - 1), 2**bits)), int(rng.integers(-(2**60), 2**60)), 46)
        form = MultiplyForm(np.array([m]), np.array([offset]), shift, -(2**62), 2**62)
        values = rng.integers(-(2**31), 2**31, (500, 1))
        wanted = [(int(v) * m + offset) >> shift for v in values[:, 0]]
        np.testing.assert_array_equal(form.evaluate(values)[:, 0], wanted, f"{bits} bits")


def test_shift_form_refuses_what_would_overflow_64_bits() -> None:
    # (2^31 + 1) << 40 wraps to 1 << 40: both ends of the domain look right, 2^24 does not.
    step = uniform(Fraction(2**40), 0, 2**31 + 1, IntegerType(8, True))
    certified = choose(step)
    values = np.array([0, 1, 2, 2**23, 2**24, 2**31 - 1, 2**31, 2**31 + 1])[:, np.newaxis]
    np.testing.assert_array_equal(certified.form.evaluate(values)[:, 0], [0] + [127] * 7)


# Planted errors.  One step function for each form that it fits, with every way to spoil the form by the least amount.


def steps_to_spoil(seed: int) -> StepFunction:
    rng = np.random.default_rng(seed)
    a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.3, 1, 3))
    return uniform(a * b / c / 16, -900, 900, IntegerType(5, True), Fraction(float(rng.normal())))


def assert_caught(step: StepFunction, form: Form, spoiled: Form, what: str) -> None:
    assert prove(form, step).holds, f"{what}: the untouched form must hold"
    proof = prove(spoiled, step)
    assert not proof.holds, f"{what}: not caught"
    assert proof.mismatches > 0, what


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by", [-1, 1])
def test_prove_catches_every_threshold_moved_by_one(seed: int, by: int) -> None:
    step = steps_to_spoil(seed)
    form = fit_search(step)
    for index in range(step.thresholds.shape[1]):
        moved = step.thresholds.copy()
        moved[0, index] += by
        assert_caught(step, form, SearchForm(moved, form.first), f"threshold {index}")
    assert step.thresholds.shape[1] > 20


@pytest.mark.parametrize("by", [-1, 1])
def test_prove_catches_a_threshold_moved_in_one_channel_of_many(by: int) -> None:
    rng = np.random.default_rng(0)
    thresholds = rng.choice(np.arange(1, 2500) * 2, (20, 15), replace=False)
    step = StepFunction("step", 0, 5000, -4, np.sort(thresholds, axis=1))
    form = fit_search(step)
    for channel in range(20):
        moved = step.thresholds.copy()
        moved[channel, channel % 15] += by
        assert_caught(step, form, SearchForm(moved, form.first), f"channel {channel}")


@pytest.mark.parametrize("seed", range(5))
def test_prove_catches_every_single_table_entry_changed(seed: int) -> None:
    step = steps_to_spoil(seed)
    form = fit_table(step)
    assert form is not None
    for index in range(0, step.size, 7):
        table = form.table.copy()
        table[0, index] += 1 - 2 * (index % 2)
        assert_caught(step, form, TableForm(table, form.lo), f"entry {index}")


def legal_offsets(step: StepFunction, multiplier: int, shift: int) -> tuple[int, int]:
    """By trial on the whole domain: the least and the greatest offset that give the right codes."""
    values, wanted = domain(step), step.evaluate(domain(step))

    def right(offset: int) -> bool:
        form = MultiplyForm(np.array([multiplier]), np.array([offset]), shift, step.first, step.last)
        return bool((form.evaluate(values) == wanted).all())

    found = fit_multiply(step)
    assert found is not None
    assert right(int(found.offset[0]))
    low = high = int(found.offset[0])
    while right(low - 1):
        low -= 1
    while right(high + 1):
        high += 1
    return low, high


@pytest.mark.parametrize("seed", range(5))
def test_prove_catches_an_offset_just_outside_its_legal_interval_and_no_other(seed: int) -> None:
    step = steps_to_spoil(seed)
    form = fit_multiply(step)
    assert form is not None
    low, high = legal_offsets(step, int(form.multiplier[0]), form.shift)
    for offset in (low, high):
        assert prove(replace(form, offset=np.array([offset])), step).holds, offset
    for offset in (low - 1, high + 1):
        assert_caught(step, form, replace(form, offset=np.array([offset])), f"offset {offset}")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by", [-1, 1])
def test_prove_catches_a_multiplier_that_is_one_off(seed: int, by: int) -> None:
    # Over many codes and a wide domain a multiplier next to the right one drifts away from it.
    rng = np.random.default_rng(seed)
    a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.5, 1, 3))
    step = uniform(a * b / c / 500, -80000, 80000, IntegerType(8, True))
    form = fit_multiply(step)
    assert form is not None
    spoiled = replace(form, multiplier=form.multiplier + by)
    different = bool((spoiled.evaluate(domain(step)) != step.evaluate(domain(step))).any())
    assert different, "this multiplier is as good: choose another seed"
    assert_caught(step, form, spoiled, f"multiplier {by:+d}")


@pytest.mark.parametrize("mode", MODES)
def test_prove_catches_every_other_rounding_of_a_shift(mode: RoundingMode) -> None:
    linear = Linear((Fraction(1, 8),), (Fraction(0),), mode, IntegerType(6, True))
    step = linear_step("step", -300, 300, linear)
    form = fit_shift(step)
    assert form is not None
    for other in MODES:
        if other is not mode:
            assert_caught(step, form, replace(form, rounding=other), f"{mode} built as {other}")
    for by in (-1, 1):
        assert_caught(step, form, replace(form, offset=form.offset + by), f"offset {by:+d}")
        assert_caught(step, form, replace(form, shift=form.shift + by), f"shift {by:+d}")
        assert_caught(step, form, replace(form, hi=form.hi + by), f"upper clamp {by:+d}")
        assert_caught(step, form, replace(form, lo=form.lo + by), f"lower clamp {by:+d}")


def test_prove_counts_what_it_compares() -> None:
    step = StepFunction("step", 0, 9, 0, np.array([[2, 5, 5], [0, 3, 10]]))
    proof = prove(fit_search(step), step)
    # Both ends, then both sides of each of three ranks, in two channels.
    assert (proof.thresholds, proof.comparisons, proof.mismatches) == (6, 16, 0)
    table = fit_table(step)
    assert table is not None
    assert prove(table, step).comparisons == 20


def works(step: StepFunction, multiplier: int, shift: int) -> bool:
    """Brute force: whether any offset at all makes (a * multiplier + offset) >> shift right on the whole domain."""
    values, wanted = domain(step), step.evaluate(domain(step))
    largest = (max(abs(step.first), abs(step.last)) + 2 << shift) + multiplier * max(abs(step.lo), abs(step.hi))
    offsets = np.arange(-largest, largest + 1)
    codes = np.clip((values * multiplier + offsets) >> shift, step.first, step.last)
    return bool((codes == wanted).all(axis=0).any())


def test_fit_multiply_finds_the_smallest_shift_and_for_it_the_smallest_multiplier() -> None:
    shifts = Counter[int]()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        slope = Fraction(float(np.float32(rng.uniform(0.05, 0.45))))
        mode = [RoundingMode.ROUND, RoundingMode.FLOOR, RoundingMode.HALF_UP][seed % 3]
        linear = Linear((slope,), (Fraction(float(rng.uniform(-0.4, 0.4))),), mode, IntegerType(3, True))
        step = linear_step(f"seed {seed}", -int(rng.integers(1, 30)), int(rng.integers(1, 30)), linear)
        form = fit_multiply(step)
        if form is None:
            continue
        shifts[form.shift] += 1
        # Slopes stay below 1/2: a multiplier of 2^shift would skip codes within their two or more integers.
        for shift in range(form.shift):
            assert not any(works(step, m, shift) for m in range(1, (1 << shift) + 1)), f"seed {seed}: shift {shift}"
        smaller = [m for m in range(1, int(form.multiplier[0])) if works(step, m, form.shift)]
        assert not smaller, f"seed {seed}: multiplier {smaller} instead of {form.multiplier[0]}"
        assert works(step, int(form.multiplier[0]), form.shift), f"seed {seed}"
    assert sum(shifts.values()) >= 45, shifts
    assert sum(count for shift, count in shifts.items() if shift >= 4) >= 10, shifts


@pytest.mark.parametrize(("seed", "bits"), [(1, 25), (12, 25), (12, 26), (12, 27)])
def test_fit_multiply_never_returns_what_overflows_64_bits(seed: int, bits: int) -> None:
    # Codes near 2^16 that need a shift of 47: the offset is near 2^63, and one end of the domain wraps.
    rng = np.random.default_rng(seed)
    a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.5, 1, 3))
    linear = Linear((a * b / c / 2**17,), (65535 + Fraction(float(rng.uniform(-0.5, 0.5))),), MODES[seed % 7], UINT16)
    step = linear_step("step", -(2**bits), 2**bits, linear)
    form = fit_multiply(step)
    assert form is None or prove(form, step).holds


def test_no_multiplier_is_claimed_where_the_code_of_zero_is_twice_as_wide() -> None:
    # Rounding towards zero has one long step in the middle of equal ones: no line cuts that.
    linear = Linear((Fraction(1, 37),), (Fraction(0),), RoundingMode.DOWN, IntegerType(8, True))
    step = linear_step("step", -4000, 4000, linear)
    assert fit_multiply(step) is None
    certified = choose(step)
    assert isinstance(certified.form, SearchForm | TableForm)
    np.testing.assert_array_equal(certified.form.evaluate(domain(step)), real_codes(step))


@pytest.mark.parametrize(
    ("slopes", "intercepts"),
    [
        ((Fraction(3, 8),), (Fraction(0),)),  # not a power of two
        ((Fraction(1, 8),), (Fraction(1, 16),)),  # offset off the grid
        ((Fraction(2),), (Fraction(1, 2),)),  # offset off the grid
        ((Fraction(1, 8), Fraction(1, 4)), (Fraction(0), Fraction(0))),  # two shifts
    ],
)
def test_fit_shift_refuses_what_no_shift_can_do(slopes: tuple[Fraction], intercepts: tuple[Fraction]) -> None:
    linear = Linear(slopes, intercepts, RoundingMode.ROUND, IntegerType(4, True))
    assert fit_shift(linear_step("step", -50, 50, linear)) is None


def test_a_step_without_linear_origin_is_never_a_shift_or_a_multiply() -> None:
    step = StepFunction("step", 0, 99, 0, np.array([[10, 20, 30]]))
    assert fit_shift(step) is None
    assert fit_multiply(step) is None


def test_choose_returns_a_proven_form_among_the_kinds_asked_for() -> None:
    kinds = Counter[str]()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        linear = random_linear(rng, MODES[seed % 7], 1)
        step = linear_step(f"seed {seed}", -int(rng.integers(1, 40000)), int(rng.integers(1, 40000)), linear)
        certified = choose(step)
        kinds[certified.form.kind] += 1
        assert isinstance(certified, Certified)
        assert certified.proof.holds
        some = rng.integers(step.lo, step.hi + 1, 300)
        wanted = [real_code(linear, int(a)) for a in some]
        np.testing.assert_array_equal(certified.form.evaluate(some[:, np.newaxis])[:, 0], wanted, f"seed {seed}")
        assert isinstance(choose(step, ("search",)).form, SearchForm)
    assert min(kinds[kind] for kind in ("shift", "multiply", "search")) >= 3, kinds


def test_choose_refuses_when_no_kind_asked_for_fits() -> None:
    step = StepFunction("odd", 0, 99, 0, np.array([[10, 20, 30]]))
    with pytest.raises(AssertionError, match="^odd: no form among shift, multiply equals the step function$"):
        choose(step, ("shift", "multiply"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shift", [-2, 0, 1, 2, 5])
def test_shift_form_rounds_as_fractions_do(mode: RoundingMode, shift: int) -> None:
    offset = 3
    form = ShiftForm(np.array([offset]), shift, mode, -9, 8)
    values = np.arange(-300, 301)
    if shift > 0:
        wanted = [quantized(Fraction(int(a) + offset, 1 << shift), mode, IntegerType(8, True)) for a in values]
    else:
        wanted = [(int(a) << -shift) + offset for a in values]
    np.testing.assert_array_equal(form.evaluate(values[:, np.newaxis])[:, 0], np.clip(wanted, -9, 8))
