# SPDX-License-Identifier: Apache-2.0
"""GRU layers in RTL: reference = integer model = RTL in every code, in exactly the predicted cycles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recurrent_networks import (
    HIDDEN,
    INPUTS,
    UINT8,
    X,
    check,
    constant_state,
    dense,
    gru,
    network,
    project_of,
    rnn,
    side_by_side,
)
from test_gru_cell import gru as onnx_model
from test_gru_cell import saved

import hwgen
from hwgen import lowering, mapping, rtl_cycles
from hwgen.dataflow import CellNode, Dataflow
from hwgen.errors import ConfigError
from hwgen.forms import FITTERS, Certified, choose
from hwgen.integer_cells import IntegerGru
from hwgen.layers import GruLayer, InitialState, Wire
from hwgen.network import Network
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.rtl_timing import GruTimeline, timeline
from hwgen.step import StepFunction
from hwgen.synth import synthesise
from hwgen.verify import verify

ACCUMULATOR = Quantizer((0.0317,), (0,), IntegerType(10, True))
COARSE = Quantizer((2.0**-3,), (0,), IntegerType(4, True))
# Codes with zero points, for gates and for the hidden sum.
GATE = Quantizer((2.0**-6,), (5,), UINT8)
PART = Quantizer((2.0**-5,), (131,), UINT8)


def folded(pe: int, simd: int, hidden_pe: int, hidden_simd: int) -> dict[str, Any]:
    """A folding file for the one layer of a model."""
    return {"gru": {"input": {"pe": pe, "simd": simd}, "hidden": {"pe": hidden_pe, "simd": hidden_simd}}}


def alone(layer: GruLayer, outputs: int = 1) -> Network:
    """A layer that shows its sequence, and its last hidden state as well if two ``outputs`` are asked for."""
    return network([layer], list(layer.wires[:outputs]))


def given_state(name: str = "h0") -> Wire:
    return Wire(name, HIDDEN, False, X)


def with_given_state(reverse: bool) -> Network:
    layer = gru(initial=InitialState(X, source="h0"), reverse=reverse)
    return network([layer], list(layer.wires), [given_state()])


# Quantizers, states, directions and outputs, each with a folding (None is derived) and a clock.  The three rows of a
# unit come side by side, of several units at once, or with PE 1 one after the other.
CASES: dict[str, tuple[Network, tuple[int, int, int, int] | None, float]] = {
    "derived": (alone(gru()), None, 100),
    "unrolled, slow": (alone(gru()), (24, 6, 24, 8), 50),
    "unrolled, fast": (alone(gru(channels=HIDDEN)), (24, 6, 24, 8), 200),
    "one multiplier": (alone(gru(), 2), (1, 1, 1, 1), 200),
    "a unit at a time, last hidden state": (network([layer := gru()], list(layer.wires[1:])), (6, 3, 3, 8), 100),
    "two units at a time": (alone(gru(accumulator=ACCUMULATOR)), (4, 2, 6, 2), 100),
    "scales by channel": (alone(gru(channels=HIDDEN, accumulator=ACCUMULATOR)), (12, 2, 12, 4), 50),
    "rows one after the other, scales by channel": (alone(gru(channels=HIDDEN)), (2, 6, 1, 8), 100),
    "zero points": (alone(gru(sigmoid=GATE, part=PART)), (8, 3, 3, 4), 100),
    "4 bits, reversed": (
        alone(gru(accumulator=COARSE, part=COARSE, output=COARSE, bits=4, reverse=True), 2),
        (2, 2, 1, 2),
        50,
    ),
    "constant initial state": (alone(gru(initial=constant_state(X))), (8, 3, 6, 2), 200),
    "given initial state": (with_given_state(reverse=False), (3, 6, 3, 2), 100),
    "given initial state, reversed, unrolled": (with_given_state(reverse=True), (24, 6, 24, 8), 100),
    "no hidden bias": (alone(gru(bias=0.0)), (6, 6, 6, 4), 100),
    "one unit": (alone(gru(inputs=1, hidden=1, seed=3)), (1, 1, 3, 1), 100),
}


@pytest.mark.parametrize("name", CASES)
def test_codes_and_cycles(name: str, tmp_path: Path) -> None:
    model, folding, clock = CASES[name]
    options: dict[str, Any] = {"clock_mhz": clock, "folding": None if folding is None else folded(*folding)}
    if any(isinstance(layer, GruLayer) and layer.reverse for layer in model.layers):
        options["max_length"] = 21
    times = of_cell(check(model, tmp_path, **options).design)
    assert sum(times.breakdown.values()) == times.depth


def of_cell(design: Any) -> GruTimeline:
    """The timeline of the one GRU of a design."""
    assert isinstance(design, Dataflow)
    (cell,) = (node for node in design.nodes if isinstance(node, CellNode))
    times = timeline(cell.design)
    assert isinstance(times, GruTimeline)
    return times


@pytest.mark.parametrize("kind", FITTERS)
def test_every_form_gives_the_hidden_state(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last register is that of the state memory, whatever the form."""

    def forced(step: StepFunction, kinds: tuple[str, ...] = tuple(FITTERS)) -> Certified:
        return choose(step, (kind,) if step.name == "hidden_sum" else kinds)

    monkeypatch.setattr(lowering.gru, "choose", forced)
    times = of_cell(check(alone(gru()), tmp_path, folding=folded(12, 6, 6, 8)).design)
    assert times.cell.hidden_sum.form.kind == kind


def test_layers_of_different_kinds_and_a_head(tmp_path: Path) -> None:
    first = gru("first", seed=3)
    second = rnn("second", "first.sequence", HIDDEN, 4, seed=4)
    third = gru("third", "second.sequence", 4, 6, seed=5)
    head = dense("head", third.wires[1], 3, seed=6)
    project = check(network([first, second, third, head], [head.wire]), tmp_path)
    assert isinstance(project.design, Dataflow)
    assert set(project.design.foldings()) == {"first", "second", "third", "head"}


def test_both_directions_with_given_states(tmp_path: Path) -> None:
    states = [given_state("h0"), given_state("h0_back")]
    there, back = (
        gru(name, seed=6 + index, initial=InitialState(X, source=states[index].name), reverse=bool(index))
        for index, name in enumerate(("there", "back"))
    )
    both = side_by_side("both", there, back)
    model = network([there, back, both], [both.wires[0], there.wires[1], back.wires[1]], states)
    project = check(model, tmp_path, max_length=21)
    assert {port.name for port in project.design.inputs} == {"x", "h0", "h0_back"}


def test_project_of_a_file_is_read_back(tmp_path: Path) -> None:
    """A node as `hwgen calibrate` writes it, with zero points throughout: the project knows its design again."""
    design = hwgen.schedule(hwgen.load(saved(onnx_model(), tmp_path)), clock_mhz=150)
    hwgen.build(design, tmp_path / "project", backend="rtl")
    project = hwgen.open_project(tmp_path / "project")
    assert project.design.to_dict() == design.to_dict()
    report = project.verify(level="rtl", sequences=10)
    assert report["passed"] and report["levels"]["rtl"]["codes"] > 0


def test_sequences_follow_without_bubbles() -> None:
    # The first step of a sequence does not wait for the last of the one before it: it takes its tiles alone.
    design = hwgen.schedule(alone(gru()), folding=folded(24, 6, 6, 4))
    times = of_cell(design)
    one, two = (rtl_cycles.predict(design, [1] * count).last for count in (20, 21))
    assert two - one == times.tiles
    one, two = (rtl_cycles.predict(design, [count]).last for count in (20, 21))
    assert two - one == times.period > times.tiles


def test_illegal_foldings_name_the_legal_ones() -> None:
    wanted = "folding hidden.pe must divide the 24 gate rows and be a divisor or a multiple of the 3 gates, not 4; "
    with pytest.raises(ConfigError, match=f"{wanted}nearest legal: 3 and 6"):
        hwgen.schedule(alone(gru()), folding=folded(24, 6, 4, 8))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> hwgen.Project:
    """One build serves all: memories are read when the simulation starts."""
    return project_of(alone(gru()), tmp_path_factory.mktemp("planted"), folding=folded(24, 6, 6, 4))


# Rows come unit by unit: reset, update, candidate.  Line 1 is that of the first two units.
@pytest.mark.parametrize(
    ("name", "word", "bit"),
    [
        *((f"hidden_weights, row {row}", row * 4, 6) for row in range(3)),
        *((f"input_weights, row {row}", row * 6, 6) for row in range(3)),
        *((f"bias, row {row}", row, 12) for row in range(3)),
    ],
)
def test_planted_error_is_found(name: str, word: int, bit: int, planted: hwgen.Project) -> None:
    path = planted.path / "rtl" / "rom" / "by_hand_gru" / f"{name.partition(',')[0]}.hex"
    bits = 8 if "weights" in name else mapping.sum_bits(of_cell(planted.design).design)
    whole = path.read_text()
    lines = whole.split("\n")
    lines[1] = f"{int(lines[1], 16) ^ 1 << (word * bits + bit):0{len(lines[1])}x}"
    path.write_text("\n".join(lines))
    report = verify(planted, level="rtl", sequences=10)
    path.write_text(whole)
    assert report["levels"]["integer"]["mismatches"] == 0
    assert report["levels"]["rtl"]["mismatches"] > 0
    assert not report["passed"]


def test_project_says_what_it_computes(planted: hwgen.Project) -> None:
    times = of_cell(planted.design)
    cell = times.design.cell
    assert isinstance(cell, IntegerGru)
    (stage,) = json.loads((planted.path / "integer_model.json").read_text())["stages"]
    assert (stage["kind"], stage["input_size"], stage["hidden_size"]) == ("gru", INPUTS, HIDDEN)
    assert [gate["name"] for gate in stage["gates"]] == ["reset", "update"]
    np.testing.assert_array_equal(stage["sums"]["new_hidden"]["bias"], cell.new_hidden.bias)
    assert (stage["one"], set(stage["products"])) == (cell.one, {"reset", "update", "new"})
    certificate = json.loads((planted.path / "certificate.json").read_text())
    assert certificate["all_proven"] and len(certificate["steps"]) == len(list(cell.steps()))
    facts = json.loads((planted.path / "schedule.json").read_text())["rtl"]["cells"]["gru"]
    assert facts["step_cycles"] == times.period


def test_yosys_maps_products_to_dsps_and_leaves_nothing_undriven(planted: hwgen.Project) -> None:
    result = synthesise(planted, "xc7", units=False)
    macs = sum(product.pe * product.simd for product in of_cell(planted.design).design.products)
    # Three products of codes in each of two units come on top.
    assert result["measured"]["dsp"] >= macs + 6
    assert (result["relative_error"]["dsp"], result["relative_error"]["bram"]) == (0, 0)
    assert abs(result["relative_error"]["lut"]) < 0.35
