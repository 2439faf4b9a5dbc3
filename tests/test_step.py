# SPDX-License-Identifier: Apache-2.0
"""Step functions against brute force: fractions for uniform steps, mpmath for activations, over whole domains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from hwgen.layers import Activation
from hwgen.quantizer import IntArray, IntegerType, Quantizer, RoundingMode
from hwgen.step import Linear, StepFunction, activation_step, compose, linear_step

MODES = list(RoundingMode)


def sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


# The definition of QONNX in rational arithmetic, by other means than RoundingMode.boundary.
ROUND: dict[RoundingMode, Callable[[Fraction], int]] = {
    RoundingMode.ROUND: round,
    RoundingMode.CEIL: math.ceil,
    RoundingMode.FLOOR: math.floor,
    RoundingMode.UP: lambda v: sign(v) * math.ceil(abs(v)),
    RoundingMode.DOWN: math.trunc,
    RoundingMode.HALF_UP: lambda v: sign(v) * math.floor(abs(v) + Fraction(1, 2)),
    RoundingMode.HALF_DOWN: lambda v: sign(v) * math.ceil(abs(v) - Fraction(1, 2)),
}


def quantized(value: Fraction, mode: RoundingMode, codes: IntegerType) -> int:
    return min(max(ROUND[mode](value), codes.lo), codes.hi)


def activated(activation: Activation, argument: Fraction, digits: int = 60) -> Fraction:
    """mpmath's value; near the limits of the function as many more digits as it takes to stay inside."""
    with mpmath.workdps(digits + int(abs(argument))):
        x = mpmath.mpf(argument.numerator) / argument.denominator
        value = mpmath.tanh(x) if activation is Activation.TANH else 1 / (1 + mpmath.exp(-x))
        return Fraction(*mpmath.libmp.to_rational(value._mpf_))


def activation_code(source: Quantizer, activation: Activation, target: Quantizer, code: int, channel: int = 0) -> int:
    argument = (code - source.exact_zero_point(channel)) * source.exact_scale(channel)
    scaled = activated(activation, argument) / target.exact_scale(channel) + target.exact_zero_point(channel)
    return quantized(scaled, target.rounding, target.codes)


def counted(step: StepFunction, channel: int, a: int) -> int:
    """The definition in the docstring of StepFunction, word for word."""
    return step.first + sum(int(t) <= a for t in step.thresholds[channel % step.channels])


def on_domain(step: StepFunction, channels: int) -> IntArray:
    domain = np.arange(step.lo, step.hi + 1)[:, np.newaxis]
    return step.evaluate(np.broadcast_to(domain, (step.size, channels)))


def random_codes(rng: np.random.Generator, least: int = 1, most: int = 8) -> IntegerType:
    signed = bool(rng.integers(2))
    return IntegerType(int(rng.integers(least + signed, most + 1)), signed, bool(rng.integers(2)) and most > 2)


def random_linear(rng: np.random.Generator, mode: RoundingMode, channels: int) -> Linear:
    """Slopes as three float32 scales make them, or powers of two; intercepts with a zero point and a float bias."""
    codes = random_codes(rng)
    slopes, intercepts = [], []
    for _ in range(channels):
        if rng.integers(2):
            slopes.append(Fraction(2) ** int(rng.integers(-7, 2)))
            intercepts.append(Fraction(int(rng.integers(-24, 25)), 8))
        else:
            a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.05, 1, 3))
            slopes.append(a * b / c)
            intercepts.append(int(rng.integers(codes.lo, codes.hi + 1)) + Fraction(float(np.float32(rng.normal()))))
    return Linear(tuple(slopes), tuple(intercepts), mode, codes)


@pytest.mark.parametrize("mode", MODES)
def test_linear_step_equals_fractions_on_the_whole_domain(mode: RoundingMode) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        channels = int(rng.choice([1, 3]))
        linear = random_linear(rng, mode, channels)
        lo, hi = sorted(int(v) for v in rng.integers(-250, 250, 2))
        step = linear_step("step", lo, hi, linear)
        step.verify()
        wanted = [
            [quantized(linear.slope[c] * a + linear.intercept[c], mode, linear.codes) for c in range(channels)]
            for a in range(lo, hi + 1)
        ]
        np.testing.assert_array_equal(on_domain(step, channels), wanted, f"seed {seed}")
        assert [counted(step, 0, a) for a in range(lo, hi + 1)] == [row[0] for row in wanted], f"seed {seed}"


@pytest.mark.parametrize("mode", MODES)
def test_linear_step_of_a_single_integer_has_no_threshold(mode: RoundingMode) -> None:
    step = linear_step("step", 5, 5, Linear((Fraction(1, 3),), (Fraction(0),), mode, IntegerType(8, True)))
    assert step.thresholds.shape == (1, 0)
    assert step.first == step.last == quantized(Fraction(5, 3), mode, IntegerType(8, True))


def assert_thresholds_exact(step: StepFunction, linear: Linear) -> None:
    """Every threshold reaches its code, and the integer below it does not."""
    for c in range(step.channels):
        for code, threshold in enumerate((int(t) for t in step.thresholds[c]), step.first + 1):
            at, below = (
                quantized(linear.slope[c] * a + linear.intercept[c], linear.rounding, linear.codes)
                for a in (threshold, threshold - 1)
            )
            assert threshold > step.hi or at >= code, f"channel {c}, code {code}: {threshold} gives {at}"
            assert threshold == step.lo or below < code, f"channel {c}, code {code}: {threshold - 1} gives {below}"


@pytest.mark.parametrize("bits", [24, 32])
@pytest.mark.parametrize("mode", [RoundingMode.ROUND, RoundingMode.FLOOR, RoundingMode.UP])
def test_thresholds_of_wide_accumulators_are_exact(bits: int, mode: RoundingMode) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.5, 1, 3))
        slope, half = a * b / c * Fraction(2) ** (13 - bits), 1 << (bits - 1)
        linear = Linear((slope,), (Fraction(float(rng.normal())),), mode, IntegerType(14, True))
        step = linear_step(f"seed {seed}", -half, half - 1, linear)
        assert step.thresholds.size > 5000
        assert_thresholds_exact(step, linear)


@pytest.mark.parametrize("seed", [8, 9, 174])
def test_thresholds_of_40_bit_accumulators_are_exact(seed: int) -> None:
    # Seeds at which a float64 estimate with a fixed margin of 2^-16 errs.
    rng = np.random.default_rng(seed)
    a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.5, 1, 3))
    linear = Linear((a * b / c / 2**24,), (Fraction(float(rng.normal())),), RoundingMode.ROUND, IntegerType(16, True))
    step = linear_step(f"seed {seed}", -(2**39), 2**39 - 1, linear)
    assert step.thresholds.size > 2**14
    assert_thresholds_exact(step, linear)


@pytest.mark.parametrize("mode", MODES)
def test_ties_of_40_bit_accumulators_go_the_way_of_the_mode(mode: RoundingMode) -> None:
    # A third of the boundaries is met exactly, by rationals too long for 64 bits.
    linear = Linear((Fraction(3, 2**30),), (Fraction(5, 2**29),), mode, IntegerType(12, True))
    step = linear_step("step", -(2**39), 2**39 - 1, linear)
    assert_thresholds_exact(step, linear)
    edges = np.concatenate([step.thresholds[0], step.thresholds[0] - 1])
    doubled = [2 * (linear.slope[0] * int(edge) + linear.intercept[0]) for edge in edges]
    assert sum(value.denominator == 1 for value in doubled) > 500


def test_thresholds_are_exact_where_the_zero_point_dwarfs_the_slope() -> None:
    # Boundary and zero point each lie 2^52 accumulator units away, their difference within the domain.
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scale = Fraction(float(np.float32(rng.uniform(0.5, 1)))) / Fraction(float(np.float32(rng.uniform(0.5, 1))))
        intercept = 65000 + Fraction(float(np.float32(rng.uniform(-0.5, 0.5))))
        linear = Linear((scale / 2**36,), (intercept,), RoundingMode.ROUND, IntegerType(16, False))
        step = linear_step(f"seed {seed}", -(2**39), 2**39 - 1, linear)
        assert step.thresholds.size >= 4
        assert_thresholds_exact(step, linear)


def test_a_channel_whose_scale_is_next_to_nothing_never_leaves_its_code() -> None:
    slopes = (Fraction(1, 100), Fraction(float(np.float32(1e-38))) * Fraction(float(np.float32(1e-20))))
    linear = Linear(slopes, (Fraction(0), Fraction(1, 4)), RoundingMode.ROUND, IntegerType(8, True))
    step = linear_step("step", -50000, 50000, linear)
    assert_thresholds_exact(step, linear)
    ends = np.array([[-50000, -50000], [50000, 50000]])
    np.testing.assert_array_equal(step.evaluate(ends), [[-128, 0], [127, 0]])


SCALES = [(0.0625, 2.0**-8), (0.03125, 2.0**-7), (0.0413, 0.00392156), (0.2, 0.0078), (1.5, 0.3), (0.7, 1e-3)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", [Activation.SIGMOID, Activation.TANH])
def test_activation_step_equals_mpmath_on_the_whole_domain(activation: Activation, mode: RoundingMode) -> None:
    for seed, (source_scale, target_scale) in enumerate(SCALES):
        rng = np.random.default_rng(seed)
        sources, targets = (IntegerType(7, bool(signed)) for signed in rng.integers(0, 2, 2))
        channels = 1 + seed % 2
        spread = tuple(float(np.float32(source_scale * factor)) for factor in (1, 0.37)[:channels])
        source = Quantizer(spread, (int(rng.integers(sources.lo, sources.hi + 1)),), sources)
        zero = int(rng.integers(targets.lo, targets.hi + 1)) if seed % 3 else 0
        target = Quantizer((float(np.float32(target_scale)),), (zero,), targets, mode)
        step = activation_step("step", sources.lo, sources.hi, source, activation, target)
        step.verify()
        wanted = [
            [activation_code(source, activation, target, a, c) for c in range(channels)]
            for a in range(sources.lo, sources.hi + 1)
        ]
        np.testing.assert_array_equal(on_domain(step, channels), wanted, f"seed {seed}: {source} to {target}")


@pytest.mark.parametrize("activation", [Activation.SIGMOID, Activation.TANH])
def test_per_channel_targets_give_one_row_per_channel(activation: Activation) -> None:
    codes = IntegerType(6, True)
    source = Quantizer((0.11,), (2,), codes)
    target = Quantizer((0.05, 0.021, 0.4), (0, -3, 5), codes)
    step = activation_step("step", codes.lo, codes.hi, source, activation, target)
    wanted = [[activation_code(source, activation, target, a, c) for c in range(3)] for a in range(-32, 32)]
    assert step.channels == 3
    np.testing.assert_array_equal(on_domain(step, 3), wanted)


@pytest.mark.parametrize("activation", [Activation.SIGMOID, Activation.TANH])
def test_a_value_within_1e_12_lsb_of_a_boundary_is_decided_as_by_mpmath(activation: Activation) -> None:
    codes = IntegerType(8, False)
    misjudged = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        a, k = int(rng.integers(1, 120)), int(rng.integers(1, 250))
        source = Quantizer((float(np.float32(rng.uniform(0.005, 0.1))),), (0,), codes)
        value = activated(activation, a * source.exact_scale(0))
        # The float64 scale that puts the value of code a next to k + 1/2.
        target = Quantizer((float(value / (k + Fraction(1, 2))),), (0,), codes)
        distance = value / target.exact_scale(0) - k - Fraction(1, 2)
        assert 0 < abs(distance) < Fraction(1, 10**12)
        step = activation_step("step", 0, 255, source, activation, target)
        wanted = k + (distance > 0)
        assert counted(step, 0, a) == wanted, f"seed {seed}: distance {float(distance):.3g} LSB"
        float64 = np.rint(activation(np.array([a * source.scale[0]])) / target.scale[0])
        misjudged += int(float64[0]) != wanted
    assert misjudged > 30, "float64 alone would have decided these; the test is not near enough to the boundary"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", [Activation.SIGMOID, Activation.TANH])
@pytest.mark.parametrize("reach", [1.0, 20.0, 64.0])
def test_saturated_activations_never_reach_limits(activation: Activation, mode: RoundingMode, reach: float) -> None:
    # 1 / scale is an integer: only tanh < 1, strictly, tells FLOOR and DOWN what to do; sigmoid > 0 tells CEIL and UP.
    codes = IntegerType(5, True)
    source = Quantizer((reach,), (0,), codes)
    target = Quantizer((2.0**-5,), (3,), IntegerType(8, True), mode)
    step = activation_step("step", codes.lo, codes.hi, source, activation, target)
    wanted = [activation_code(source, activation, target, a) for a in range(codes.lo, codes.hi + 1)]
    assert [counted(step, 0, a) for a in range(codes.lo, codes.hi + 1)] == wanted


@pytest.mark.parametrize("activation", [Activation.SIGMOID, Activation.TANH])
def test_saturation_is_decided_at_once_however_large_the_argument(activation: Activation) -> None:
    # e^-1e38 has more leading zeros than decimal can count: the limit decides without them.
    codes = IntegerType(3, True)
    source = Quantizer((1e38,), (0,), codes)
    down, up = (
        activation_step("step", -4, 3, source, activation, Quantizer((0.25,), (0,), IntegerType(4, True), mode))
        for mode in (RoundingMode.FLOOR, RoundingMode.CEIL)
    )
    low = -4 if activation is Activation.TANH else 0
    centre = 0 if activation is Activation.TANH else 2
    assert [counted(down, 0, a) for a in range(-4, 4)] == [low] * 4 + [centre] + [3] * 3
    assert [counted(up, 0, a) for a in range(-4, 4)] == [low + 1] * 4 + [centre] + [4] * 3


def test_a_target_finer_than_any_integer_saturates_instead_of_wrapping() -> None:
    codes = IntegerType(4, True)
    source, target = Quantizer((0.5,), (0,), codes), Quantizer((1e-25,), (0,), codes)
    step = activation_step("step", -8, 7, source, Activation.TANH, target)
    assert [counted(step, 0, a) for a in range(-8, 8)] == [-8] * 8 + [0] + [7] * 7


def random_step(rng: np.random.Generator, lo: int, hi: int, first: int, channels: int) -> StepFunction:
    thresholds = np.sort(rng.integers(lo, hi + 2, (channels, int(rng.integers(0, 7)))), axis=1)
    return StepFunction("random", lo, hi, first, thresholds)


@pytest.mark.parametrize(("inner_channels", "outer_channels"), [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_compose_equals_one_step_after_the_other(inner_channels: int, outer_channels: int) -> None:
    channels = max(inner_channels, outer_channels)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        inner = random_step(rng, -30, int(rng.integers(-30, 31)), int(rng.integers(-9, 9)), inner_channels)
        before, after = rng.integers(0, 3, 2)  # the outer domain may be wider than what the inner step reaches
        outer = random_step(rng, inner.first - int(before), inner.last + int(after), -2, outer_channels)
        composed = compose("composed", inner, outer)
        composed.verify()
        wanted = [
            [counted(outer, c, counted(inner, c, a)) for c in range(channels)] for a in range(inner.lo, inner.hi + 1)
        ]
        np.testing.assert_array_equal(on_domain(composed, channels), wanted, f"seed {seed}")


def test_composed_gate_equals_fractions_then_mpmath() -> None:
    accumulator = Quantizer((0.11,), (1,), IntegerType(5, True))
    target = Quantizer((0.0625,), (0,), IntegerType(4, False))
    linear = Linear((Fraction(3, 70),), (Fraction(7, 5),), accumulator.rounding, accumulator.codes)
    inner = linear_step("inner", -500, 500, linear)
    outer = activation_step("outer", inner.first, inner.last, accumulator, Activation.SIGMOID, target)
    wanted = [
        activation_code(
            accumulator,
            Activation.SIGMOID,
            target,
            quantized(Fraction(3, 70) * a + Fraction(7, 5), RoundingMode.ROUND, accumulator.codes),
        )
        for a in range(-500, 501)
    ]
    assert on_domain(compose("gate", inner, outer), 1)[:, 0].tolist() == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lo": 4}, "^s: empty domain 4..3$"),
        ({"thresholds": np.array([1, 2])}, r"^s: thresholds must be \[channels, n\]$"),
        ({"thresholds": np.array([[2, 1]])}, "^s: thresholds must be sorted$"),
        ({"thresholds": np.array([[-1, 2]])}, "^s: a threshold lies below the domain$"),
        ({"thresholds": np.array([[1, 5]])}, "^s: a threshold lies above the domain$"),
    ],
)
def test_verify_names_the_broken_invariant(change: dict[str, object], message: str) -> None:
    step = StepFunction("s", 0, 3, 0, np.array([[1, 4]]))
    step.verify()
    with pytest.raises(AssertionError, match=message):
        replace(step, **change).verify()  # type: ignore[arg-type]
