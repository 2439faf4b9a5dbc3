# SPDX-License-Identifier: Apache-2.0
"""The cost model against the syntheses that are checked in, and against one that is made here."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import hwgen
from benchmarks.synthesis import fit
from benchmarks.synthesis.designs import Point
from hwgen import cost, counting, mapping
from hwgen.folding import Folding
from hwgen.schedule import schedule

MODELS = Path(__file__).parent / "models"
SAMPLES = fit.load()


def test_the_data_is_a_fair_sample() -> None:
    out = [sample for sample in SAMPLES if sample.held_out]
    assert len(SAMPLES) >= 60
    assert len(out) == len(SAMPLES) // 3


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_dsp_and_block_ram_are_exact(sample: fit.Sample) -> None:
    assert (sample.dsp, sample.bram) == (sample.measured["dsp"], sample.measured["bram"])


@pytest.mark.parametrize("kind", fit.FITTED)
def test_designs_that_the_fit_did_not_see_are_predicted(kind: str) -> None:
    errors = np.abs(fit.errors(SAMPLES, kind, cost.coefficients()[kind], out=True))
    assert np.median(errors) <= 0.10
    assert np.quantile(errors, 0.9) <= 0.20


@pytest.mark.parametrize("kind", fit.FITTED)
def test_coefficients_are_those_of_the_data(kind: str) -> None:
    # Not to the last digit: sums of floating-point numbers differ between machines.
    assert fit.fit(SAMPLES, kind) == pytest.approx(cost.coefficients()[kind], abs=0.002)


def test_a_shuffled_measurement_is_noticed() -> None:
    # The errors above are those of a model that knows the design, not of one that any number would satisfy.
    kind, coefficients = "lut", cost.coefficients()["lut"]
    out = [sample for sample in SAMPLES if sample.held_out]
    shifted = [sample.measured[kind] for sample in out[1:] + out[:1]]
    predicted = [sample.predicted(kind, coefficients) for sample in out]
    assert np.median(np.abs(np.array(predicted) / np.array(shifted) - 1)) > 0.15


def test_a_prediction_is_the_sum_of_its_units_and_cheap() -> None:
    design = schedule(hwgen.load(MODELS / "default.onnx"))
    begin = time.perf_counter()
    found = cost.predict(design)
    assert time.perf_counter() - begin < 1
    for kind in cost.KINDS:
        whole = sum(getattr(unit, kind) for unit in found.units.values())
        assert getattr(found.whole, kind) == pytest.approx(whole)
    assert found.units["hidden product"].dsp == design.hidden_product.pe * design.hidden_product.simd


def test_every_structure_has_a_coefficient() -> None:
    assert {kind: set(names) for kind, names in counting.EXPECTED.items()} == {
        kind: set(names) for kind, names in cost.coefficients().items()
    }


@pytest.mark.parametrize(
    ("left", "right", "slices"),
    [(8, 8, 1), (25, 18, 1), (18, 25, 1), (26, 18, 2), (25, 19, 2), (42, 18, 2), (43, 18, 3), (26, 19, 4), (4, 4, 0)],
)
def test_wide_products_take_several_dsps(left: int, right: int, slices: int) -> None:
    assert counting.dsp_slices(left, right) == slices


# As Yosys 0.70 maps them: of read-only memories, and of those that are written.
@pytest.mark.parametrize(
    ("words", "bits", "read_only", "written"),
    [
        (512, 36, 1, 1),
        (512, 72, 2, 2),
        (512, 73, 3, 3),
        (100, 128, 4, 4),
        (100, 100, 3, 3),
        (1024, 18, 1, 1),
        (2048, 9, 1, 1),
        (1024, 36, 2, 2),
        (1296, 12, 1, 2),
        (1296, 94, 8, 9),
        (1025, 90, 8, 8),
        (1483, 24, 2, 3),
        (4132, 21, 6, 7),
        (16, 0, 0, 0),
    ],
)
def test_block_ram_of_a_memory(words: int, bits: int, read_only: int, written: int) -> None:
    assert mapping.block_ram_halves(words, bits, written=False) == read_only
    assert mapping.block_ram_halves(words, bits, written=True) == written


@pytest.mark.parametrize(
    ("constant", "bits"), [(0, 0), (1, 0), (64, 0), (3, 3), (6, 3), (96, 3), (5, 4), (127, 8), (-3, 3), (-8, 0)]
)
def test_bits_of_a_constant_that_multiplies(constant: int, bits: int) -> None:
    assert mapping.odd_bits(constant) == bits


def test_bits_that_never_change_are_not_stored() -> None:
    words = np.array([[0b0101, 1], [0b0111, 1], [0b0101, 1]])
    assert counting.varying_columns(words, 4).shape == (3, 1)


def test_unrolling_is_paid_in_dsps_and_saves_block_ram() -> None:
    network = hwgen.load(MODELS / "default.onnx")
    serial, wide = (
        cost.predict(schedule(network, folding=Folding(*folding))).whole for folding in ((1, 1, 1, 1), (80, 10, 80, 20))
    )
    assert wide.dsp > 2400 > serial.dsp
    assert wide.bram == 0 < serial.bram


def test_the_data_says_how_it_was_measured() -> None:
    data = json.loads(fit.MEASURED.read_text())
    assert data["yosys"].startswith("Yosys ")
    assert [Point.from_dict(entry["point"]).name for entry in data["designs"]] == [s.name for s in SAMPLES]
