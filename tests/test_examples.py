# SPDX-License-Identifier: Apache-2.0
"""The trained classifiers of examples/classifiers: what their README states is what the files there give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from experiments import EXPERIMENTS, HERE, Experiment, experiment
from samples import held_out

import hwgen
from hwgen import host
from hwgen.layers import DenseLayer
from hwgen.lowering import lower

STATED: dict[str, Any] = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
# Real sequences through the simulation of SystemVerilog.
SIMULATED = 12


@pytest.mark.parametrize("entry", EXPERIMENTS, ids=lambda entry: entry.name)
def test_files_give_the_stated_accuracies_and_differences(entry: Experiment) -> None:
    found = evaluate.evaluate(entry)
    stated = STATED[entry.name]
    assert found == {key: stated[key] for key in found}
    # Within two points of float, or quantization has cost what no rounding should.
    correct = found["correct"]
    assert min(correct.values()) >= correct["float"] - 0.02 * found["sequences"]


@pytest.mark.parametrize("entry", [entry for entry in EXPERIMENTS if entry.quantized], ids=lambda entry: entry.name)
def test_what_differs_from_brevitas_is_a_rounding_boundary(entry: Experiment) -> None:
    """Training compared all states with Brevitas, step by step, and would have stopped at anything else."""
    stated = STATED[entry.name]
    steps = int(held_out(entry.data).lengths.sum())
    assert stated["agreement"]["values"] > steps * entry.hidden
    # Where a sequence differs as a whole some state of it has moved.
    assert stated["differing"]["logits"] <= stated["agreement"]["moved"]
    assert stated["differing"]["labels"] <= stated["differing"]["logits"]


def test_another_weight_is_noticed() -> None:
    """The logits of a network that differs in one weight are not those that Brevitas gave."""
    entry = experiment("digits_rnn")
    network = hwgen.load(HERE / entry.brevitas_file)
    head = next(layer for layer in network.layers if isinstance(layer, DenseLayer))
    head.weight.codes[0, 0] += 1 if head.weight.codes[0, 0] < 0 else -1
    test = held_out(entry.data)
    (chosen, x), *_ = test.by_length()
    logits = host.run(network, lower(network), {"x": x})["logits"]
    recorded = np.load(HERE / entry.recording_file)["brevitas_logits"][chosen]
    assert (np.abs(logits - recorded) > 0.5 * evaluate.logit_scale(network)).any()


def test_real_digits_through_the_simulation_of_systemverilog(tmp_path: Path) -> None:
    entry = experiment("digits_rnn")
    found = evaluate.simulate(entry, entry.brevitas_file, tmp_path / "project", SIMULATED, level="rtl")
    assert found["mismatches"] == {"integer": 0, "rtl": 0}
    assert found["steps"] == 8 * SIMULATED
    # Logits and a class of each sequence, without and with stalls.
    assert found["codes"]["rtl"] == 2 * SIMULATED * (entry.classes + 1)
    assert found["simulated_cycles"] == found["predicted_cycles"]
    stated = STATED["hardware"][entry.brevitas_file]
    assert found["cycles_of_one_sequence"] == stated["cycles_of_one_sequence"]


def test_simulation_of_every_network_was_right() -> None:
    """What ``evaluate.py --hardware DIR --write`` has found."""
    hardware = STATED["hardware"]
    assert list(hardware) == [file for entry in EXPERIMENTS for file in entry.files]
    for file, entry in hardware.items():
        assert not any(entry["mismatches"].values()), file
        assert entry["simulated_cycles"] == entry["predicted_cycles"], file


def test_the_readme_has_these_figures() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    for row in (*evaluate.accuracy_rows(STATED), *evaluate.hardware_rows(STATED["hardware"])):
        assert " | ".join(row) in text
