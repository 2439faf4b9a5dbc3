# SPDX-License-Identifier: Apache-2.0
"""Both directions of a layer on one engine: codes with and without stalls, cycles, DSPs and block RAMs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from directions_models import bidirectional, engine, folding
from hardware import Record, assert_exact
from test_networks import export

import hwgen
from hwgen import cost
from hwgen.dataflow import CellNode, Dataflow, KeepNode, SplitNode
from hwgen.synth import yosys
from hwgen.verify import verify

SEQUENCES = 8
STATES = ("forward.last_hidden", "backward.last_hidden", "forward.last_cell", "backward.last_cell")
# Files, folding, clock, outputs.  Between them: constants by direction, and by unit of each direction, of all forms;
# gates in parts and side by side; one tile; initial states that are given, or differ by direction.
CASES: dict[str, tuple[str, str, tuple[int, int, int, int], float, tuple[str, ...]]] = {
    "scales that differ": ("default", "wide_range", (3, 4, 1, 3), 50, ("both",)),
    "powers of two, unrolled": ("floor_power_of_two", "power_of_two", (24, 4, 24, 6), 200, ("both",)),
    "states given": ("states", "states", (4, 2, 2, 2), 100, ("both", *STATES)),
    "states of each direction": ("constant_states", "constant_states", (6, 1, 9, 3), 100, ("both",)),
    "last states": ("round_floor", "default", (8, 2, 4, 1), 100, ("forward.last_hidden", "backward.sequence")),
}
LONG: dict[str, tuple[str, str, tuple[int, int, int, int], float, tuple[str, ...]]] = {
    "scales of channels": ("per_channel4_float_bias", "per_channel", (1, 1, 8, 2), 200, ("both", *STATES)),
    "zero points": ("shifted", "shifted", (12, 2, 8, 6), 100, ("both",)),
    "binary weights": ("binary", "binary", (2, 4, 4, 3), 100, ("both",)),
    "two bits": ("two_bits", "two_bits", (24, 1, 24, 1), 50, ("both",)),
    "wide states": ("wide_state", "wide_state", (4, 4, 2, 6), 200, ("backward.last_cell", "forward.sequence")),
    "4 bits": ("narrow4", "narrow4", (3, 1, 1, 1), 100, ("both",)),
    "shared gate quantizer beside others": ("shared_gate_acc_quant", "default", (8, 4, 12, 3), 100, ("both",)),
    "coupled beside constant states": ("constant_states", "coupled", (18, 1, 18, 2), 50, ("both", *STATES)),
}


# Of some cases: where memories are, and how far the input product runs ahead.
CHOICES: dict[str, dict[str, Any]] = {
    "states of each direction": {"look_ahead": 1, "memory": {"forward.hidden_weights": "block"}},
    "last states": {"look_ahead": 5},
}


def check(
    case: tuple[str, str, tuple[int, int, int, int], float, tuple[str, ...]],
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
