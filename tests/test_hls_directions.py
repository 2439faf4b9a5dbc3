# SPDX-License-Identifier: Apache-2.0
"""Both directions of a layer on one engine in HLS: every code of each, and what notices a constant of the other one."""

from __future__ import annotations

from pathlib import Path

import pytest
from directions_models import CASES, CHOICES, KINDS, LONG, LONG_KINDS, Case, bidirectional, engine, folding
from test_networks import export

import hwgen
from hwgen.backends import hls

SEQUENCES = 20
ALL = CASES | LONG


def build(case: Case, folder: Path, **options: object) -> hwgen.Project:
    forward, backward, folds, clock_mhz, shown = case
    design = engine(bidirectional(forward, backward, shown=shown), folding(*folds), clock_mhz=clock_mhz, **options)
    return hwgen.build(design, folder / "project", backend="hls")


def check(project: hwgen.Project) -> None:
    """Equal with and without stalls."""
    report = project.verify(level="csim", sequences=SEQUENCES)
    assert report["passed"], report
    assert report["levels"]["csim"]["codes"] > 0
    assert report["levels"]["csim"]["mismatches"] == 0


def test_codes_and_constants_of_the_wrong_direction(tmp_path: Path) -> None:
    project = build(CASES["last states"], tmp_path, look_ahead=5)
    check(project)
    path = project.path / "hls" / "lib" / "interleaved.hpp"
    right, before = "const int set = SETS > 1 ? int(context) : 0;", path.read_text()
    assert before.count(right) == 1
    path.write_text(before.replace(right, "const int set = SETS > 1 ? 1 - int(context) : 0;"))
    assert project.verify(level="csim", sequences=4)["levels"]["csim"]["mismatches"] > 0


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in ALL if name != "last states"])
def test_codes_of_others(name: str, tmp_path: Path) -> None:
    check(build(ALL[name], tmp_path, **CHOICES.get(name, {})))


@pytest.mark.parametrize(
    "name",
    [
        "GRU, scales that differ",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in KINDS | LONG_KINDS
            if name != "GRU, scales that differ"
        ),
    ],
)
def test_codes_of_rnns_and_grus(name: str, tmp_path: Path) -> None:
    check(hwgen.build((KINDS | LONG_KINDS)[name].design(), tmp_path / "project", backend="hls"))


@pytest.mark.long
@pytest.mark.parametrize("name", ["two bidirectional layers", "classifier", "bidirectional"])
def test_codes_in_a_network(name: str, tmp_path: Path) -> None:
    export(name, tmp_path / "model.onnx")
    design = hwgen.schedule(hwgen.load(tmp_path / "model.onnx"), max_length=24, share_engine="directions")
    check(hwgen.build(design, tmp_path / "project", backend="hls"))


def test_constants_lie_behind_each_other() -> None:
    design, again = (engine(bidirectional("default", "wide_range"), folding(6, 1, 8, 3)) for _ in range(2))
    files = hls.generate(design, "origin")
    assert files == hls.generate(again, "origin")
    (parameters,) = (text for name, text in files.items() if name.endswith("forward_parameters.hpp"))
    # A unit of the second direction is counted on from those of the first.
    assert "return values[channel >= 6];" in parameters
    assert "one for each of 2 directions" in parameters
    (top,) = (text for name, text in files.items() if name.endswith(".cpp") and name.startswith("src/"))
    for unit in ("sequence_turns<21, ", "stream_split<", "sequence_reverse<21, ", "HiddenMatrix, 2>"):
        assert unit in top, unit
