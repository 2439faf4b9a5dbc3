# SPDX-License-Identifier: Apache-2.0
"""From values to scales: each method against its formula on constructed data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hwgen.calibration.observe import Observer
from hwgen.calibration.options import Method, Options
from hwgen.calibration.scales import (
    KEPT,
    Observed,
    choose_scale,
    least_squares,
    onto,
    reach,
    related,
    squared_error,
    tidy,
)
from hwgen.errors import ConfigError
from hwgen.quantizer import FloatArray, IntegerType

INT8, UINT8 = IntegerType(8, True), IntegerType(8, False)
# Rounding up to 12 significant bits moves a scale by less than this.
FINE = 2.0**-11


def seen(values: FloatArray) -> Observed:
    found = Observed()
    found.add(values, values)
    return found


def heavy_tailed(count: int = 20_000) -> FloatArray:
    values = np.random.default_rng(5).normal(0, 1, count)
    values[:3] = 40.0, -60.0, 55.0
    return values


def near(found: float, wanted: float) -> bool:
    """Rounded up, and by no more than 12 bits do."""
    return wanted <= found <= wanted * (1 + FINE)


def test_min_max_reaches_the_farthest_value_and_no_further() -> None:
    values = heavy_tailed()
    scale = choose_scale(seen(values), INT8, Options())
    assert near(scale, 60.0 / 128)
    assert np.abs(np.clip(np.rint(values / scale), -128, 127) * scale - values).max() <= scale / 2
    assert near(choose_scale(seen(np.array([0.0, 3.0])), INT8, Options()), 3 / 127)
    assert near(choose_scale(seen(np.array([0.5, 3.0])), UINT8, Options()), 3 / 255)


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 100.0])
def test_percentile_clips_the_share_that_it_says(percentile: float) -> None:
    values = heavy_tailed()
    options = Options(method=Method.PERCENTILE, percentile=percentile)
    scale = choose_scale(seen(values), INT8, options)
    limit = np.percentile(np.abs(values), percentile)
    assert near(scale, min(limit, 55.0) / 127 if percentile < 100 else 60 / 128)
    outside = (values > limit) | (values < -limit)
    assert abs(outside.mean() - (1 - percentile / 100)) <= 1 / len(values)


def test_least_squares_is_the_best_of_all_candidates() -> None:
    values, codes = heavy_tailed(), IntegerType(4, True)
    options = Options(method=Method.MSE)
    whole = tidy(55.0 / 7, False)
    scale = choose_scale(seen(values), codes, options)
    candidates = [tidy(whole * 2 ** (-i / 16), False) for i in range(81)]

    def error(scale: float) -> float:
        quantized = np.clip(np.round(values / scale), -8, 7) * scale
        return float(np.mean((quantized - values) ** 2))

    assert scale in candidates
    assert error(scale) == min(map(error, candidates))
    assert error(scale) < 0.7 * error(whole), "three outliers should not decide"
    assert squared_error(values, scale, codes) / len(values) == pytest.approx(error(scale))


def test_least_squares_of_a_uniform_range_is_near_min_max() -> None:
    values = np.linspace(-1, 1, 10_001)
    whole = choose_scale(seen(values), INT8, Options())
    assert choose_scale(seen(values), INT8, Options(method=Method.MSE)) >= 0.9 * whole


@pytest.mark.parametrize("method", list(Method))
def test_powers_of_two_are_powers_of_two(method: Method) -> None:
    for width in (0.3, 1.0, 2.0, 117.0):
        options = Options(method=method, power_of_two=True)
        scale = choose_scale(seen(heavy_tailed() * width), INT8, options)
        assert math.frexp(scale)[0] == 0.5
    assert choose_scale(seen(np.array([-1.0, 0.0])), INT8, Options(power_of_two=True)) == 2.0**-7
    assert choose_scale(seen(np.array([0.0, 1.0])), INT8, Options(power_of_two=True)) == 2.0**-6


def test_min_max_powers_of_two_clip_nothing() -> None:
    values = heavy_tailed()
    scale = choose_scale(seen(values), INT8, Options(power_of_two=True))
    assert values.max() <= 127.5 * scale and values.min() >= -128.5 * scale and scale < 2 * 60 / 127


def test_products_of_two_scales_are_float32_numbers() -> None:
    random = np.random.default_rng(3)
    scales = [tidy(float(value), False) for value in np.exp(random.normal(0, 4, 200))]
    for left, right in itertools.pairwise(scales):
        assert float(np.float32(left * right)) == left * right


def test_related_scales_differ_by_powers_of_two_and_move_up_by_less_than_two() -> None:
    scales = [tidy(value, False) for value in (0.03, 0.0071, 0.5, 0.0078)]
    found = related(scales)
    for before, after in zip(scales, found, strict=True):
        assert before <= after < 2 * before
        assert math.frexp(after / found[0])[0] == 0.5
    assert any(before == after for before, after in zip(scales, found, strict=True)), "one need not move"
    for reference in scales:
        moved = [onto(scale, reference) for scale in scales]
        assert math.prod(found) <= math.prod(moved) * (1 + 1e-12), "another reference would cost less"
    assert related(scales, 0.01) == [onto(scale, 0.01) for scale in scales]
    assert related([0.25, 0.5]) == [0.25, 0.5]


def test_values_that_never_move_get_some_scale() -> None:
    scale = choose_scale(seen(np.zeros(5)), INT8, Options(method=Method.MSE))
    assert 0 < scale < 1 and reach(0.0, 0.0, INT8) > 0


def test_least_squares_keeps_the_greatest_of_equals() -> None:
    assert least_squares(np.zeros(4), INT8, 0.5, True) == 0.5


def test_an_observer_keeps_a_fair_and_repeatable_sample_and_the_whole_range() -> None:
    values = np.random.default_rng(1).normal(0, 1, (50, 4 * KEPT // 50))
    found = []
    for _ in range(2):
        observer = Observer()
        for part in values:
            observer.record("place", part, KEPT / values.size)
        found.append(observer.seen["place"])
    first, again = found
    assert (first.low, first.high, first.count) == (values.min(), values.max(), values.size)
    assert abs(len(first.sample) - KEPT) < 100
    np.testing.assert_array_equal(first.sample, again.sample)
    assert first.sample.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "--bits must be from 2 to 16, not 1"),
        ({"weight_bits": 17}, "--weight-bits must be from 2 to 16, not 17"),
        ({"cell_bits": 0}, "--cell-bits must be from 2 to 16, not 0"),
        ({"accumulator_bits": 32}, "--accumulator-bits must be from 2 to 16, not 32"),
        ({"output_bits": -1}, "--output-bits must be from 2 to 16, not -1"),
        ({"percentile": 101.0}, "--percentile must be from 50 to 100, not 101"),
        ({"percentile": math.nan}, "--percentile must be from 50 to 100, not nan"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Options(**options)  # type: ignore[arg-type]


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--method must be one of minmax, percentile, mse, not 'entropy'$"):
        Method.parse("entropy")
