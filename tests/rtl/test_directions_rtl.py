# SPDX-License-Identifier: Apache-2.0
"""Both directions of a layer on one engine: codes with and without stalls, cycles, DSPs and block RAMs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from directions_models import CASES, CHOICES, KINDS, LONG, LONG_KINDS, Case, bidirectional, engine, folding
from hardware import Record, assert_exact
from test_networks import export

import hwgen
from hwgen import cost
from hwgen.dataflow import CellNode, Dataflow, KeepNode, SplitNode
from hwgen.synth import yosys
from hwgen.verify import verify

SEQUENCES = 8


def check(
    case: Case,
    folder: Path,
    record: Record,
    **options: Any,
) -> None:
    forward, backward, folds, clock_mhz, shown = case
    design = engine(bidirectional(forward, backward, shown=shown), folding(*folds), clock_mhz=clock_mhz, **options)
    assert_exact(design, folder, SEQUENCES, record, "rtl", backend="rtl")


@pytest.mark.parametrize("name", CASES)
def test_codes_and_cycles(name: str, tmp_path: Path, record_property: Record) -> None:
    check(CASES[name], tmp_path, record_property, **CHOICES.get(name, {}))


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_codes_and_cycles_of_others(name: str, tmp_path: Path, record_property: Record) -> None:
    check(LONG[name], tmp_path, record_property)


@pytest.mark.parametrize(
    "name",
    [
        "RNN, channels beside none, states given",
        "GRU, scales that differ",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("RNN, scales that differ", "GRU, states of each direction", *LONG_KINDS)
        ),
    ],
)
def test_codes_and_cycles_of_rnns_and_grus(name: str, tmp_path: Path, record_property: Record) -> None:
    design = (KINDS | LONG_KINDS)[name].design()
    assert_exact(design, tmp_path, SEQUENCES, record_property, "rtl", backend="rtl")


@pytest.mark.parametrize(
    "name",
    [
        "RNN, scales that differ",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("GRU, states of each direction", *LONG_KINDS)),
    ],
)
def test_dsps_and_block_rams_of_rnns_and_grus(name: str, tmp_path: Path) -> None:
    design = (KINDS | LONG_KINDS)[name].design()
    found = yosys.resources(hwgen.build(design, tmp_path / "project", backend="rtl"), "xc7", tmp_path)
    predicted = cost.predict(design).whole
    assert (found["dsp"], found["bram"]) == (predicted.dsp, predicted.bram)
    assert predicted.dsp > 0
    assert predicted.bram > 0 or "memory" not in (KINDS | LONG_KINDS)[name].options


# Two of them, one behind the other; a head; states that the graph is given.
@pytest.mark.long
@pytest.mark.parametrize("name", ["two bidirectional layers", "classifier", "states given", "bidirectional"])
def test_codes_and_cycles_in_a_network(name: str, tmp_path: Path, record_property: Record) -> None:
    export(name, tmp_path / "model.onnx")
    model = hwgen.load(tmp_path / "model.onnx")
    design = hwgen.schedule(model, max_length=24, share_engine="directions")
    assert isinstance(design, Dataflow)
    engines = [node for node in design.nodes if isinstance(node, CellNode)]
    assert all(node.design.directions for node in engines)
    assert 2 * len(engines) == len(design.cells)
    assert_exact(design, tmp_path, 20, record_property, "rtl", backend="rtl")
    # What the project's files say of it makes the same design again.
    assert hwgen.open_project(tmp_path / "project").design.to_dict() == design.to_dict()


def test_constants_of_the_wrong_direction_are_noticed(tmp_path: Path) -> None:
    design = engine(bidirectional("default", "default", units=4), folding(2, 4, 2, 1))
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    (node,) = (node for node in design.nodes if isinstance(node, CellNode))
    source = project.path / "rtl" / "src" / f"{node.design.module}.sv"
    weights = project.path / "rtl" / "rom" / node.design.module / "input_weights.hex"
    right = "+ (issue_context[0] ? 6'd32 : '0)"
    whole, (title, *words) = source.read_text(), weights.read_text().splitlines()
    assert title.startswith("//") and len(words) == 2 * node.design.input_product.cycles
    assert whole.count(right) == 1
    half = len(words) // 2
    for path, text in (
        (source, whole.replace(right, right.replace("6'd32", "6'd31"))),
        (weights, "\n".join([title, *words[half:], *words[:half], ""])),
    ):
        before = path.read_text()
        path.write_text(text)
        found = verify(project, level="rtl", sequences=2, seed=1)["levels"]["rtl"]
        assert found["mismatches"] > 0
        assert found["predicted_cycles"] == found["simulated_cycles"]
        path.write_text(before)


def test_what_nobody_reads_of_a_direction_is_dropped(tmp_path: Path) -> None:
    design = engine(bidirectional("default", "default", shown=("forward.last_hidden", "backward.sequence")))
    assert [node.turn for node in design.nodes if isinstance(node, KeepNode)] == [1, 0]
    assert not any(isinstance(node, SplitNode) for node in design.nodes)


# Constants that differ by direction are chosen by LUTs: of a small layer that is more than the other engine takes.
@pytest.mark.parametrize(
    ("forward", "backward", "size", "folds", "fewer_luts"),
    [
        ("power_of_two", "power_of_two", (6, 4), folding(4, 2, 4, 2), True),
        pytest.param("default", "wide_range", (6, 4), folding(4, 2, 4, 2), False, marks=pytest.mark.long),
        pytest.param("default", "wide_range", (20, 10), folding(8, 2, 8, 4), True, marks=pytest.mark.long),
    ],
)
def test_dsps_are_half_of_those_of_two_engines(
    forward: str, backward: str, size: tuple[int, int], folds: dict[str, Any], fewer_luts: bool, tmp_path: Path
) -> None:
    model = bidirectional(forward, backward, *size)
    alone = hwgen.schedule(model, folding={"forward": folds, "backward": folds}, max_length=21)
    shared = engine(model, folds)
    found: dict[str, Any] = {}
    for name, design in (("alone", alone), ("shared", shared)):
        project = hwgen.build(design, tmp_path / name, backend="rtl")
        found[name] = yosys.resources(project, "xc7", tmp_path)
        predicted = cost.predict(design).whole
        assert (found[name]["dsp"], found[name]["bram"]) == (predicted.dsp, predicted.bram)
    assert 0 < found["shared"]["dsp"] <= found["alone"]["dsp"] / 2 * 1.1
    assert (found["shared"]["lut"] < 0.9 * found["alone"]["lut"]) == fewer_luts
