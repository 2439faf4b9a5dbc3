# SPDX-License-Identifier: Apache-2.0
"""Predictions corrected by measured points: a ratio that outliers do not move, an error of points it has not seen."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from hwgen.explore.correction import correction, of_results


def resources(lut: float, ff: float = 100, dsp: float = 4, bram: float = 1.5) -> dict[str, float]:
    return {"lut": lut, "ff": ff, "dsp": dsp, "bram": bram}


def test_an_offset_of_a_model_is_taken_away() -> None:
    found = correction([(resources(100 * n, 50 * n), resources(120 * n, 45 * n)) for n in range(1, 8)])
    assert found.factors == {"lut": pytest.approx(1.2), "ff": pytest.approx(0.9)}
    for kind, before in (("lut", 1 - 100 / 120), ("ff", 50 / 45 - 1)):
        left, was = found.spread[kind], found.before[kind]
        assert left is not None and was is not None
        assert left.median == left.p90 == pytest.approx(0) and was.median == was.p90 == pytest.approx(before)
    applied = found.apply(resources(1000, 1000, 7, 2.5))
    assert applied == {"lut": 1200, "ff": 900, "dsp": 7, "bram": 2.5, "error": pytest.approx({"lut": 0, "ff": 0})}


def test_one_point_that_went_astray_moves_nothing() -> None:
    pairs = [(resources(100), resources(110)) for _ in range(9)] + [(resources(100), resources(900))]
    found = correction(pairs)
    assert found.factors["lut"] == pytest.approx(1.1)
    spread = found.spread["lut"]
    assert spread is not None and spread.median == pytest.approx(0) and spread.p90 == pytest.approx(0)
    # It is one of ten; as one of nine it is beyond what 90 % may exceed.
    fewer = correction(pairs[1:]).spread["lut"]
    assert fewer is not None and fewer.p90 == pytest.approx(1 - 110 / 900)


def test_the_error_is_that_of_points_the_ratio_has_not_seen() -> None:
    """With two points, each is predicted with the ratio of the other."""
    spread = correction([(resources(100), resources(100)), (resources(100), resources(125))]).spread["lut"]
    assert spread is not None
    assert spread.median == pytest.approx((0.25 + 0.2) / 2) and spread.p90 == pytest.approx(0.25)
    single = correction([(resources(100), resources(125))])
    assert single.factors["lut"] == 1.25 and single.spread["lut"] == single.before["lut"] != None  # noqa: E711


def test_the_error_that_is_reported_holds_for_new_points() -> None:
    """Of points drawn like the measured ones, about 90 % stay within what is promised."""
    generator = random.Random(1)

    def pair() -> tuple[dict[str, float], dict[str, float]]:
        lut = generator.uniform(500, 5000)
        return resources(lut), resources(lut * 1.15 * generator.gauss(1, 0.03))

    found = correction([pair() for _ in range(40)])
    held = 0
    for predicted, measured in [pair() for _ in range(1000)]:
        applied = found.apply(predicted)
        held += abs(applied["lut"] / measured["lut"] - 1) <= applied["error"]["lut"]
    assert 820 <= held <= 970


def test_nothing_measured_changes_nothing_and_promises_nothing() -> None:
    found = correction([])
    assert found.points == 0 and found.factors == {"lut": 1.0, "ff": 1.0} and found.miscounted == ()
    assert found.apply(resources(321)) == resources(321) | {"error": {"lut": None, "ff": None}}
    assert correction([(resources(0), resources(50)), (resources(50), resources(0))]).factors["lut"] == 1.0


def test_dsp_and_block_ram_are_checked_not_corrected() -> None:
    pairs = [
        (resources(10), resources(10)),
        (resources(10, dsp=3), resources(10, dsp=4)),
        (resources(10, bram=1), resources(10, bram=2)),
    ]
    found = correction(pairs)
    assert found.miscounted == (1, 2)
    assert found.apply(resources(10, dsp=3, bram=1))["dsp"] == 3
    assert json.loads(json.dumps(found.to_dict()))["miscounted"] == [1, 2]


def test_results_that_say_nothing_do_not_count() -> None:
    results: list[dict[str, Any]] = [
        {"error": "no"},
        {"predicted": None, "measured": resources(7)},
        {"predicted": resources(100), "measured": resources(150)},
    ]
    found = of_results(results)
    assert found.points == 1 and found.factors["lut"] == 1.5
