# SPDX-License-Identifier: Apache-2.0
"""Sequences that share a recurrent layer: every code of each of them, in the predicted cycles, whichever end early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arrival_orders import at_random
from recurrent_networks import HIDDEN, X, check, constant_state, gru, network, rnn

import hwgen
from benchmarks import interleave
from hwgen.dataflow import CellNode, Dataflow, Design
from hwgen.errors import ConfigError
from hwgen.folding import Folding
from hwgen.interleaving import Order, interval
from hwgen.layers import GruLayer, InitialState, RnnLayer, Wire
from hwgen.network import Network
from hwgen.project import Project
from hwgen.rtl_cycles import predict
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import Schedule
from hwgen.verify import verify

GIVEN = InitialState(X, source="h0")


def alone(layer: RnnLayer | GruLayer, outputs: int = 2) -> Network:
    """A layer that shows its sequence and its last hidden state, or the first of both."""
    given = [Wire("h0", HIDDEN, False, X)] if layer.initial_hidden.source else []
    return network([layer], list(layer.wires[:outputs]), given)


def folded(name: str, pe: int, simd: int, hidden_pe: int, hidden_simd: int) -> dict[str, Any]:
    """A folding file for the one layer of a model."""
    return {name: {"input": {"pe": pe, "simd": simd}, "hidden": {"pe": hidden_pe, "simd": hidden_simd}}}


def timeline_of(design: Design) -> Timeline:
    """That of the one layer of a network."""
    assert isinstance(design, Dataflow)
    (node,) = design.nodes
    assert isinstance(node, CellNode)
    return timeline(node.design)


QUICK: dict[str, tuple[Network, dict[str, Any], int]] = {
    "RNN, unrolled, given states": (alone(rnn(initial=GIVEN)), folded("rnn", 8, 6, 8, 8), 3),
    "GRU, a unit at a time, given states": (alone(gru(initial=GIVEN)), folded("gru", 12, 3, 3, 8), 4),
}
MORE: dict[str, tuple[Network, dict[str, Any], int]] = {
    "RNN, two units at a time": (alone(rnn(channels=HIDDEN)), folded("rnn", 4, 3, 2, 4), 2),
    "RNN, constant states": (alone(rnn(initial=constant_state(X)), 1), folded("rnn", 8, 6, 4, 8), 16),
    "GRU, unrolled": (alone(gru(channels=HIDDEN)), folded("gru", 24, 6, 24, 8), 5),
    "GRU, rows one after the other": (alone(gru(initial=GIVEN)), folded("gru", 2, 6, 1, 8), 2),
    "GRU, constant states": (alone(gru(initial=constant_state(X)), 1), folded("gru", 24, 6, 6, 4), 9),
}


def verified(name: str, folder: Path) -> None:
    model, folding, contexts = (QUICK | MORE)[name]
    project = check(model, folder, folding=folding, interleave=contexts)
    text = next((project.path / "rtl" / "src").glob("by_hand.sv")).read_text()
    bits = (contexts - 1).bit_length()
    assert f"input  logic [{bits - 1}:0] s_axis_x_tid" in text
    for port in project.design.outputs:
        assert f"output logic [{bits - 1}:0] m_axis_{port.name}_tid" in text


@pytest.mark.parametrize("name", QUICK)
def test_sequences_share_a_layer(name: str, tmp_path: Path) -> None:
    verified(name, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_sequences_share_layers_of_all_foldings(name: str, tmp_path: Path) -> None:
    verified(name, tmp_path)


@pytest.mark.parametrize("name", QUICK)
def test_cells_of_all_kinds_fill_the_depth_of_their_loop(name: str) -> None:
    model, folding, _ = QUICK[name]
    times = timeline_of(hwgen.schedule(model, folding=folding))
    assert times.depth > 4
    for contexts in (1, 2, 5):
        design = hwgen.schedule(model, folding=folding, interleave=contexts)
        short, long = (predict(design, [steps] * contexts).last for steps in (20, 60))
        assert (long - short) / (40 * contexts) == pytest.approx(max(times.tiles, times.period / contexts), abs=0.1)


# An LSTM of 8 units on 4 inputs: 8 tiles of both products a time step.
SMALL = Folding(8, 2, 8, 4)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small LSTM, of four sequences; built once for what is measured of it."""
    return interleave.project_of(interleave.lstm(4, 8), SMALL, 4, tmp_path_factory.mktemp("shared") / "project")


def test_interleaving_raises_the_rate_by_the_predicted_factor(shared: Project, tmp_path: Path) -> None:
    alone = interleave.project_of(interleave.lstm(4, 8), SMALL, 1, tmp_path / "project")
    assert_factor(interleave.measure(alone), interleave.measure(shared))


@pytest.mark.long
def test_interleaving_raises_the_rate_of_a_large_layer_by_the_predicted_factor(tmp_path: Path) -> None:
    large, folding = interleave.lstm(), interleave.FOLDINGS[0]
    one, four = (
        interleave.measure(interleave.project_of(large, folding, contexts, tmp_path / f"{contexts}"))
        for contexts in (1, 4)
    )
    assert (four.tiles, four.simulated) == (32, 32)
    assert_factor(one, four)


def assert_factor(one: interleave.Measured, four: interleave.Measured) -> None:
    """Exactly as predicted, under stalls as well equal, and a product that hardly waits."""
    for found in (one, four):
        assert found.simulated == found.predicted
        assert found.codes > 0
        assert found.mismatches == 0
    assert one.simulated / four.simulated == one.predicted / four.predicted > 1.3
    assert four.busy >= 0.9 > one.busy


def test_a_sequence_that_ends_leaves_its_turns_to_the_others(shared: Project) -> None:
    design = shared.design
    assert isinstance(design, Schedule)
    times = timeline(design)
    # All four keep the product busy, two of them alone do not: each of these gets on faster than among four.
    assert interval(times.tiles, times.period, 4) == times.tiles
    assert times.period < 4 * times.tiles

    def cycles(few: tuple[int, ...], many: tuple[int, ...]) -> int:
        simulated = {lengths: interleave.last_beat(shared, lengths) for lengths in (few, many)}
        assert simulated == {lengths: predict(design, lengths).last for lengths in (few, many)}
        return simulated[many] - simulated[few]

    # Ten steps more of each of all four, of two when the others have ended, and of one.
    assert cycles((12, 12, 12, 12), (22, 22, 22, 22)) == 40 * times.tiles
    assert cycles((3, 12, 2, 12), (3, 22, 2, 22)) == 10 * max(2 * times.tiles, times.period)
    assert cycles((3, 12, 2, 5), (3, 22, 2, 5)) == 10 * times.period
    # Who is done takes the next sequence: no turn is lost while there is one.
    assert cycles((12, 4, 4, 12, 4, 4), (12, 4, 4, 12, 4, 4, 4, 4)) < 12 * times.tiles + times.period


def test_steps_come_in_any_order(shared: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some contexts wait long, others have several steps one after the other.
    monkeypatch.setattr(Order, "_arrivals", at_random)
    report = verify(shared, level="rtl", sequences=30)
    assert report["levels"]["rtl"]["predicted_cycles"] == report["levels"]["rtl"]["simulated_cycles"]
    assert report["passed"]


@pytest.mark.parametrize(
    ("layer", "contexts", "said"),
    [
        (rnn(), 65, "--interleave must be from 1 to 64 sequences, not 65"),
        (gru(reverse=True), 2, "--interleave takes steps as they come; a reversed layer needs the end of a sequence"),
    ],
)
def test_what_cannot_be_interleaved_is_refused(layer: RnnLayer | GruLayer, contexts: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hwgen.schedule(alone(layer), interleave=contexts)


def test_several_layers_are_not_interleaved() -> None:
    first = rnn("first")
    second = gru("second", first.wires[0].name, HIDDEN)
    with pytest.raises(
        ConfigError, match=r"^--interleave 2 shares one recurrent layer among sequences, not 'first', 'second'$"
    ):
        hwgen.schedule(network([first, second], [second.wires[0]]), interleave=2)
