# SPDX-License-Identifier: Apache-2.0
"""Plain RNN layers in RTL: reference = integer model = RTL in every code, in exactly the predicted cycles."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyslang.driver
import pytest
from recurrent_networks import (
    HIDDEN,
    INPUTS,
    UINT8,
    X,
    check,
    constant_state,
    dense,
    network,
    project_of,
    rnn,
    side_by_side,
)

import hwgen
from hwgen import lowering, rtl_cycles
from hwgen.backends.naming import top_name
from hwgen.dataflow import CellNode, Dataflow
from hwgen.errors import ConfigError
from hwgen.forms import FITTERS, Certified, choose
from hwgen.layers import Activation, InitialState, RnnLayer, Wire
from hwgen.network import Network
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.registers import FAST, MEDIUM, SLOW
from hwgen.rtl_timing import Timeline, timeline
from hwgen.step import StepFunction
from hwgen.synth import synthesise
from hwgen.verify import verify

ACCUMULATOR = Quantizer((0.0317,), (0,), IntegerType(10, True))
COARSE = Quantizer((2.0**-3,), (0,), IntegerType(4, True))
POSITIVE = Quantizer((0.0213,), (3,), UINT8)


def folded(pe: int, simd: int, hidden_pe: int, hidden_simd: int) -> dict[str, Any]:
    """A folding file for the one layer of a model."""
    return {"rnn": {"input": {"pe": pe, "simd": simd}, "hidden": {"pe": hidden_pe, "simd": hidden_simd}}}


def alone(layer: RnnLayer, outputs: int = 1) -> Network:
    """A layer that shows its sequence, and its last hidden state as well if two ``outputs`` are asked for."""
    return network([layer], list(layer.wires[:outputs]))


def given_state(name: str = "h0", hidden: int = HIDDEN) -> Wire:
    return Wire(name, hidden, False, X)


def with_given_state() -> Network:
    layer = rnn(initial=InitialState(X, source="h0"), reverse=True)
    return network([layer], list(layer.wires), [given_state()])


# Activations, quantizers, states, directions and outputs, each with a folding (None is derived) and a clock.
CASES: dict[str, tuple[Network, tuple[int, int, int, int] | None, float]] = {
    "tanh": (alone(rnn()), None, 100),
    "tanh, unrolled, slow": (alone(rnn()), (8, 6, 8, 8), 50),
    "tanh, one multiplier, fast": (alone(rnn(), 2), (1, 1, 1, 1), 200),
    "relu, last hidden state": (
        network([layer := rnn(activation=Activation.RELU)], list(layer.wires[1:])),
        (4, 3, 2, 4),
        100,
    ),
    "relu, unrolled, slow": (alone(rnn(activation=Activation.RELU)), (8, 1, 8, 8), 50),
    "relu of unsigned codes with zero point, fast": (
        alone(rnn(activation=Activation.RELU, accumulator=ACCUMULATOR, output=POSITIVE)),
        (2, 6, 4, 2),
        200,
    ),
    "scales by channel": (alone(rnn(channels=HIDDEN, accumulator=ACCUMULATOR)), (8, 2, 2, 8), 100),
    "scales by channel, unrolled": (alone(rnn(channels=HIDDEN)), (8, 6, 8, 8), 200),
    "sigmoid, 4 bits, reversed": (
        alone(rnn(activation=Activation.SIGMOID, output=COARSE, accumulator=COARSE, reverse=True, bits=4), 2),
        (2, 2, 4, 1),
        50,
    ),
    "16 bits": (
        alone(
            rnn(
                accumulator=Quantizer((2.0**-12,), (0,), IntegerType(16, True)),
                output=Quantizer((2.0**-15,), (0,), IntegerType(16, True)),
            )
        ),
        (4, 6, 1, 8),
        100,
    ),
    "constant initial state": (alone(rnn(initial=constant_state(X))), (8, 3, 2, 2), 200),
    "given initial state, reversed": (with_given_state(), (4, 6, 4, 4), 100),
    "one unit": (alone(rnn(inputs=1, hidden=1)), (1, 1, 1, 1), 100),
}


SHORT = (
    *("tanh", "relu, last hidden state", "relu of unsigned codes with zero point, fast", "scales by channel"),
    *("sigmoid, 4 bits, reversed", "given initial state, reversed"),
)
NAMES = [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_cycles(name: str, tmp_path: Path) -> None:
    model, folding, clock = CASES[name]
    options: dict[str, Any] = {"clock_mhz": clock, "folding": None if folding is None else folded(*folding)}
    if any(isinstance(layer, RnnLayer) and layer.reverse for layer in model.layers):
        options["max_length"] = 21
    project = check(model, tmp_path, **options)
    times = of_cell(project.design)
    registers = {50: SLOW, 100: MEDIUM, 200: FAST}[int(clock)]
    # A product of one cycle has its own in the loop.
    assert times.registers == (registers.of_one_tile() if times.tiles == 1 else registers)
    assert sum(times.breakdown.values()) == times.depth


def of_cell(design: Any) -> Timeline:
    """The timeline of the one cell of a design."""
    assert isinstance(design, Dataflow)
    (cell,) = (node for node in design.nodes if isinstance(node, CellNode))
    return timeline(cell.design)


# One shift serves all channels, which differ in their scales.
@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        pytest.param(kind, channels, marks=pytest.mark.long if channels == 1 and kind != "shift" else ())
        for kind, channels in itertools.product(FITTERS, (1, HIDDEN))
        if (kind, channels) != ("shift", HIDDEN)
    ],
)
def test_every_form_gives_the_hidden_state(
    kind: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last register is that of the state memory, whatever the form; steps may differ by channel."""

    def forced(step: StepFunction, kinds: tuple[str, ...] = tuple(FITTERS)) -> Certified:
        # Two step functions one after the other, the second of the kind.
        if kinds != tuple(FITTERS):
            return choose(step, kinds)
        return choose(step, (kind,)) if step.name.startswith("hidden_re") else choose(step)

    monkeypatch.setattr(lowering.cell, "choose", forced)
    monkeypatch.setattr(lowering.cell, "cost", lambda form, step: float(step.name == "hidden_gate"))
    scale = 2.0**-6 if kind == "shift" else 0.0317
    accumulator = Quantizer(tuple(scale * (1 + c / 8) for c in range(channels)), (0,), IntegerType(9, True))
    layer = rnn(activation=Activation.RELU, accumulator=accumulator)
    project = check(alone(layer), tmp_path, folding=folded(8, 6, 4, 4))
    step = of_cell(project.design).design.cell.gates[0].steps[-1]
    assert (step.form.kind, step.step.channels) == (kind, channels)


@pytest.mark.parametrize("clock", [50, 100])
def test_a_layer_that_never_moves(clock: int, tmp_path: Path) -> None:
    """Biases that drown everything: the gate is a constant, and nothing of its sums is used."""
    layer = rnn(activation=Activation.RELU)
    gate = dataclasses.replace(layer.gate, bias=np.full(HIDDEN, -1000.0))
    model = alone(dataclasses.replace(layer, gate=gate))
    project = project_of(model, tmp_path, folding=folded(8, 6, 4, 4), clock_mhz=clock)
    step = of_cell(project.design).design.cell.rows[0].steps[-1]
    assert step.step.first == step.step.last == 0
    report = verify(project, level="rtl", sequences=5)
    assert report["passed"] and report["levels"]["rtl"]["codes"] > 0


def test_two_layers_and_a_head(tmp_path: Path) -> None:
    first = rnn("first", seed=3)
    second = rnn("second", "first.sequence", HIDDEN, 4, seed=4, activation=Activation.RELU)
    head = dense("head", second.wires[1], 3, seed=5)
    project = check(network([first, second, head], [head.wire]), tmp_path)
    assert isinstance(project.design, Dataflow)
    assert set(project.design.foldings()) == {"first", "second", "head"}


def test_both_directions_with_given_states(tmp_path: Path) -> None:
    states = [given_state("h0"), given_state("h0_back")]
    there, back = (
        rnn(name, seed=6 + index, initial=InitialState(X, source=states[index].name), reverse=bool(index))
        for index, name in enumerate(("there", "back"))
    )
    both = side_by_side("both", there, back)
    head = dense("head", both.wires[0], 5, seed=8, activation=Activation.RELU)
    model = network([there, back, both, head], [head.wire, there.wires[1], back.wires[1]], states)
    project = check(model, tmp_path, max_length=21)
    assert {port.name for port in project.design.inputs} == {"x", "h0", "h0_back"}


def test_step_time_of_unrolled_layers() -> None:
    # 8 bits at 100 MHz: from h to h through a product, an adder tree of 8, and a gate of 7 levels of search.
    for activation in (Activation.RELU, Activation.TANH):
        design = hwgen.schedule(alone(rnn(activation=activation)), folding=folded(8, 6, 8, 8))
        assert of_cell(design).period == rtl_cycles.period(design) <= 8


def test_sequences_follow_without_bubbles() -> None:
    # The first step of a sequence does not wait for the last of the one before it: it takes its tiles alone.
    design = hwgen.schedule(alone(rnn()), folding=folded(8, 6, 4, 4))
    times = of_cell(design)
    one, two = (rtl_cycles.predict(design, [1] * count).last for count in (20, 21))
    assert two - one == times.tiles
    one, two = (rtl_cycles.predict(design, [count]).last for count in (20, 21))
    assert two - one == times.period > times.tiles


def test_derived_folding_keeps_the_rate() -> None:
    model = alone(rnn())
    rates = (1e6, 4e6, 6e6)
    designs = [hwgen.schedule(model, steps_per_second=rate) for rate in rates]
    multipliers = [sum(p.pe * p.simd for p in of_cell(design).design.products) for design in designs]
    assert multipliers == sorted(multipliers) and multipliers[0] < multipliers[-1]
    for rate, design in zip(rates, designs, strict=True):
        assert 100e6 / of_cell(design).period >= rate
    with pytest.raises(ConfigError, match="the recurrence needs at least"):
        hwgen.schedule(model, steps_per_second=2e7)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> hwgen.Project:
    """One build serves all: memories are read when the simulation starts."""
    return project_of(alone(rnn()), tmp_path_factory.mktemp("planted"), folding=folded(8, 6, 4, 4))


@pytest.mark.parametrize(
    ("name", "line", "flipped"),
    [("hidden_weights.hex", 3, 0x20), ("input_weights.hex", 1, 0x20), ("bias.hex", 1, 0x4000)],
)
def test_planted_error_is_found(name: str, line: int, flipped: int, planted: hwgen.Project) -> None:
    path = planted.path / "rtl" / "rom" / "by_hand_rnn" / name
    whole = path.read_text()
    lines = whole.split("\n")
    lines[line] = f"{int(lines[line], 16) ^ flipped:0{len(lines[line])}x}"
    path.write_text("\n".join(lines))
    report = verify(planted, level="rtl", sequences=10)
    path.write_text(whole)
    assert report["levels"]["integer"]["mismatches"] == 0
    assert report["levels"]["rtl"]["mismatches"] > 0
    assert not report["passed"]


def test_project_says_what_it_computes(planted: hwgen.Project) -> None:
    design = planted.design
    cell = of_cell(design).design.cell
    model = json.loads((planted.path / "integer_model.json").read_text())
    (stage,) = model["stages"]
    assert (stage["kind"], stage["input_size"], stage["hidden_size"]) == ("rnn", INPUTS, HIDDEN)
    (gate,) = stage["gates"]
    np.testing.assert_array_equal(gate["hidden_weights"], cell.gates[0].hidden_weights)
    np.testing.assert_array_equal(stage["initial_hidden"], np.zeros(HIDDEN))
    certificate = json.loads((planted.path / "certificate.json").read_text())
    assert certificate["all_proven"] and len(certificate["steps"]) == len(list(cell.steps()))
    facts = json.loads((planted.path / "schedule.json").read_text())["rtl"]["cells"]["rnn"]
    assert facts["step_cycles"] == of_cell(design).period
    assert "c_n" not in (planted.path / "rtl" / "src" / "by_hand_rnn.sv").read_text()


def test_pyslang_agrees_that_it_is_systemverilog(planted: hwgen.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = planted.path / "rtl"
    monkeypatch.chdir(folder)
    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    sources = (folder / "sources.f").read_text().split()
    assert driver.parseCommandLine(f"slang -Werror --top {top_name(planted.design)} {' '.join(sources)}")
    assert driver.processOptions()
    assert driver.parseAllSources()
    driver.reportCompilation(driver.createCompilation(), True)
    assert driver.reportDiagnostics(True)


# The same of a GRU, which has all of these units and more, is a part of make test.
@pytest.mark.long
def test_yosys_maps_products_to_dsps_and_leaves_nothing_undriven(planted: hwgen.Project) -> None:
    result = synthesise(planted, "xc7")
    macs = sum(product.pe * product.simd for product in of_cell(planted.design).design.products)
    assert result["units"]["hwgen_matvec"]["dsp"] == macs
    assert result["units"]["hwgen_hidden_memory"]["ff"] == 2 * 8 * HIDDEN
    assert (result["relative_error"]["dsp"], result["relative_error"]["bram"]) == (0, 0)
    assert abs(result["relative_error"]["lut"]) < 0.25


def test_illegal_foldings_name_the_legal_ones() -> None:
    layer = dataclasses.replace(rnn(), name="rnn")
    with pytest.raises(
        ConfigError, match="folding hidden.pe must divide the 8 gate rows .* not 3; nearest legal: 2 and 4"
    ):
        hwgen.schedule(alone(layer), folding=folded(8, 6, 3, 8))
