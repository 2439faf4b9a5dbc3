# SPDX-License-Identifier: Apache-2.0
"""Sequences that share a recurrent layer in HLS: every code of each of them, in whatever order their steps come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arrival_orders import at_random
from conftest import MODELS
from recurrent_networks import HIDDEN, X, constant_state, gru, network, rnn

import hwgen
from hwgen.errors import ToolError
from hwgen.folding import Folding
from hwgen.interleaving import Order
from hwgen.layers import GruLayer, InitialState, RnnLayer, Wire
from hwgen.network import Network

ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")
GIVEN = InitialState(X, source="h0")


@pytest.fixture(autouse=True)
def any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts do not take turns."""
    monkeypatch.setattr(Order, "_arrivals", at_random)


def lstm(model: str, folding: tuple[int, int, int, int], contexts: int, folder: Path, **options: Any) -> hwgen.Project:
    chosen = hwgen.load(MODELS / f"{model}.onnx")
    design = hwgen.schedule(chosen, folding=Folding(*folding), interleave=contexts, outputs=ALL_OUTPUTS, **options)
    return hwgen.build(design, folder / "project")


def alone(layer: RnnLayer | GruLayer) -> Network:
    """A layer that shows its sequence and its last hidden state."""
    given = [Wire("h0", HIDDEN, False, X)] if layer.initial_hidden.source else []
    return network([layer], list(layer.wires), given)


def folded(name: str, pe: int, simd: int, hidden_pe: int, hidden_simd: int) -> dict[str, Any]:
    """A folding file for the one layer of a model."""
    return {name: {"input": {"pe": pe, "simd": simd}, "hidden": {"pe": hidden_pe, "simd": hidden_simd}}}


def check(project: hwgen.Project, sequences: int = 40) -> None:
    """Equal with and without stalls."""
    report = project.verify(level="csim", sequences=sequences)
    assert report["passed"], report
    assert report["levels"]["csim"]["codes"] > 0
    assert report["levels"]["csim"]["mismatches"] == 0


def change(project: hwgen.Project, name: str, before: str, after: str) -> None:
    """Plant an error in the project."""
    path = project.path / "hls" / name
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def test_steps_of_an_lstm_come_in_any_order(tmp_path: Path) -> None:
    project = lstm("states", (8, 2, 8, 10), 3, tmp_path)
    check(project)
    # A state of another context than that of the step.
    change(project, "lib/interleaved.hpp", "h[2 * int(context) + phase[context]][unit];", "h[phase[context]][unit];")
    report = project.verify(level="csim", sequences=8)
    assert report["levels"]["csim"]["mismatches"] > 0


def test_steps_of_a_gru_come_in_any_order(tmp_path: Path) -> None:
    design = hwgen.schedule(alone(gru(initial=GIVEN)), folding=folded("gru", 12, 3, 6, 8), interleave=4)
    project = hwgen.build(design, tmp_path / "project")
    check(project)
    # What the pragmas promise is checked: a step that does not wait for its state ends the simulation.
    change(project, "lib/interleaved.hpp", "if (tile == 0 && wait[context] > 0) continue;", "")
    with pytest.raises(ToolError, match="a step begins before the state that it reads"):
        project.verify(level="csim", sequences=8)


MORE: dict[str, tuple[Network, dict[str, Any], int]] = {
    "RNN, unrolled": (alone(rnn(initial=GIVEN)), folded("rnn", 8, 6, 8, 8), 3),
    "RNN, two units at a time": (alone(rnn(channels=HIDDEN)), folded("rnn", 4, 3, 2, 4), 2),
    "RNN, constant states": (alone(rnn(initial=constant_state(X))), folded("rnn", 8, 6, 4, 8), 16),
    "GRU, unrolled": (alone(gru(channels=HIDDEN)), folded("gru", 24, 6, 24, 8), 5),
    "GRU, rows one after the other": (alone(gru(initial=GIVEN)), folded("gru", 2, 6, 1, 8), 2),
    "GRU, constant states": (alone(gru(initial=constant_state(X))), folded("gru", 24, 6, 6, 4), 9),
}


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_cells_of_all_kinds(name: str, tmp_path: Path) -> None:
    model, folding, contexts = MORE[name]
    check(hwgen.build(hwgen.schedule(model, folding=folding, interleave=contexts), tmp_path / "project"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "folding", "contexts", "options"),
    [
        ("default", (80, 10, 80, 20), 7, {}),
        ("coupled", (10, 1, 1, 5), 3, {"streaming": True}),
        ("constant_states", (12, 5, 6, 4), 16, {}),
        ("mixed_widths", (2, 5, 80, 1), 5, {"streaming": True}),
        ("states", (5, 2, 2, 20), 2, {}),
    ],
)
def test_lstms_of_all_kinds(
    model: str, folding: tuple[int, int, int, int], contexts: int, options: dict[str, Any], tmp_path: Path
) -> None:
    check(lstm(model, folding, contexts, tmp_path, **options))
