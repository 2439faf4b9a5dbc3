# SPDX-License-Identifier: Apache-2.0
"""What the trained classifiers of this folder achieve: hwgen's integers beside what float network and Brevitas gave.

Needs no torch and no data set: everything is in this folder.  ``python evaluate.py`` prints the table;
``--hardware DIR`` also builds HLS C++ and SystemVerilog of every network and simulates both on test sequences.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from experiments import EXPERIMENTS, HERE, Experiment
from rich.console import Console
from rich.table import Table
from samples import Integers, Samples, held_out

import hwgen
from hwgen import host, vectors
from hwgen.lowering import lower
from hwgen.network import Network
from hwgen.quantizer import FloatArray
from hwgen.rtl_cycles import predict
from hwgen.verify import verify

# Buffers of reversed layers hold this many steps; the longest sequence of a network with such layers has 29.
MAX_LENGTH = 32
ACCURACY = (
    "network",
    "test sequences",
    "float",
    "float, 8-bit weights",
    "hwgen calibrate",
    "Brevitas",
    "hwgen",
    "hwgen and Brevitas differ in",
)
HARDWARE = ("file", "simulated", "codes", "mismatches", "cycles, as predicted", "cycles of one sequence")


def run(path: Path, test: Samples) -> tuple[FloatArray, Integers]:
    """Logits [n, classes] and classes [n] that the integer model of a file gives."""
    network = hwgen.load(path)
    model = lower(network)
    logits, labels = None, np.zeros(len(test), np.int64)
    for chosen, x in test.by_length():
        found = host.run(network, model, {"x": x})
        if logits is None:
            logits = np.zeros((len(test), found["logits"].shape[1]))
        logits[chosen], labels[chosen] = found["logits"], found["label"]
    assert logits is not None
    return logits, labels


def logit_scale(network: Network) -> FloatArray:
    """The real value of one unit of each logit."""
    output = next(output for output in network.outputs if output.name == "logits")
    return np.asarray(output.wires[0].quantizer.scale)


def evaluate(experiment: Experiment, folder: Path = HERE) -> dict[str, Any]:
    """How many test sequences each network classifies rightly, and how many hwgen and Brevitas see differently."""
    test = held_out(experiment.data, folder)
    recorded = dict(np.load(folder / experiment.recording_file))
    correct = {
        name: int((recorded[f"{name}_labels"] == test.labels).sum())
        for name in ("float", "weights", "brevitas")
        if f"{name}_labels" in recorded
    }
    result: dict[str, Any] = {"sequences": len(test), "correct": correct}
    if experiment.quantized is not None:
        path = folder / experiment.brevitas_file
        logits, labels = run(path, test)
        correct["hwgen"] = int((labels == test.labels).sum())
        # Brevitas' float32 sums are no exact multiples: those within half a unit are the same.
        moved = np.abs(logits - recorded["brevitas_logits"]) > 0.5 * logit_scale(hwgen.load(path))
        result["differing"] = {
            "labels": int((labels != recorded["brevitas_labels"]).sum()),
            "logits": int(moved.any(axis=1).sum()),
        }
    _, labels = run(folder / experiment.calibrated_file, test)
    correct["calibrated"] = int((labels == test.labels).sum())
    return result


def chosen_sequences(network: Network, test: Samples, count: int) -> vectors.Sequences:
    """Codes of ``count`` test sequences, evenly spread, back to back."""
    places = np.linspace(0, len(test) - 1, count).round().astype(int)
    sequences = [test.sequences[place] for place in places]
    codes = host.encode(network, {"x": np.concatenate(sequences)[:, np.newaxis]})["x"][:, 0]
    return vectors.Sequences(tuple(len(sequence) for sequence in sequences), {"x": codes})


def simulate(experiment: Experiment, file: str, project: Path, count: int, level: str = "all") -> dict[str, Any]:
    """Build the hardware of one file of this folder and compare its simulation with the integer model."""
    network, test = hwgen.load(HERE / file), held_out(experiment.data)
    design = hwgen.schedule(network, max_length=MAX_LENGTH if experiment.bidirectional else None)
    built = hwgen.build(design, project, backend="rtl" if level == "rtl" else "all")
    data = chosen_sequences(network, test, count)
    levels: dict[str, Any] = {}
    for name in ("csim", "rtl") if level == "all" else (level,):
        levels |= verify(built, level=name, given=data)["levels"]
    median = int(np.median(test.lengths))
    return {
        "sequences": count,
        "steps": data.steps,
        "mismatches": {name: entry["mismatches"] for name, entry in levels.items()},
        "codes": {name: entry["codes"] for name, entry in levels.items()},
        "predicted_cycles": levels["rtl"]["predicted_cycles"],
        "simulated_cycles": levels["rtl"]["simulated_cycles"],
        "median_steps": median,
        "cycles_of_one_sequence": predict(design, [median]).last + 1,
    }


def simulate_all(names: list[str], projects: Path, count: int) -> dict[str, Any]:
    """``simulate`` for every file of some experiments."""
    results: dict[str, Any] = {}
    for experiment in EXPERIMENTS:
        for file in experiment.files if experiment.name in names else ():
            print(f"  {file}: building and simulating ...", file=sys.stderr, flush=True)
            results[file] = simulate(experiment, file, projects / Path(file).stem, count)
    return results


def write_hardware(path: Path, found: dict[str, Any]) -> None:
    """Put what simulation found into results.json, file by file in the order of the experiments."""
    results = json.loads(path.read_text(encoding="utf-8"))
    known = results.get("hardware", {}) | found
    order = [file for experiment in EXPERIMENTS for file in experiment.files if file in known]
    results["hardware"] = {file: known[file] for file in order}
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def accuracy_rows(results: dict[str, Any]) -> list[list[str]]:
    """Shares of test sequences that each network classifies rightly, under ``ACCURACY``."""
    rows = []
    for known in EXPERIMENTS:
        entry = results.get(known.name)
        if entry is None:
            continue
        counts = [entry["correct"].get(name) for name in ("float", "weights", "calibrated", "brevitas", "hwgen")]
        shares = ["-" if count is None else f"{count / entry['sequences']:.1%} ({count})" for count in counts]
        differing = entry.get("differing")
        text = f"{differing['labels']} classes, logits of {differing['logits']}" if differing else "-"
        rows.append([known.title, f"{entry['sequences']}", *shares, text])
    return rows


def hardware_rows(hardware: dict[str, Any]) -> list[list[str]]:
    """What simulation of each network found, under ``HARDWARE``."""
    rows = []
    for file, entry in hardware.items():
        last = max(port["last"] for port in entry["simulated_cycles"].values())
        as_predicted = entry["simulated_cycles"] == entry["predicted_cycles"]
        cells = f"{entry['sequences']}, {entry['steps']} steps", f"{sum(entry['codes'].values()):,}"
        wrong = f"{sum(entry['mismatches'].values())}"
        cycles = f"{last + 1:,}{'' if as_predicted else ', NOT as predicted'}"
        rows.append(
            [file, *cells, wrong, cycles, f"{entry['cycles_of_one_sequence']:,} for {entry['median_steps']} steps"]
        )
    return rows


def printed(headings: tuple[str, ...], rows: list[list[str]]) -> Table:
    """Rows as a table for the console."""
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def main() -> int:
    """Print what the files give; exit status 1 if anything is not as results.json says, or any code differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (all)")
    parser.add_argument("--hardware", type=Path, metavar="DIR", help="build and simulate; projects go to DIR")
    parser.add_argument("--sequences", type=int, default=20, help="test sequences to simulate (20)")
    parser.add_argument("--write", action="store_true", help="write what simulation found to results.json")
    arguments = parser.parse_args()
    known = [experiment.name for experiment in EXPERIMENTS]
    if unknown := set(arguments.names) - set(known):
        parser.error(f"experiments are {', '.join(known)}, not {', '.join(sorted(unknown))}")
    names = arguments.names or known
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
    stated = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    found = {entry.name: evaluate(entry) for entry in EXPERIMENTS if entry.name in names}
    console.print(printed(ACCURACY, accuracy_rows(found)))
    as_stated = all(stated[name].items() >= entry.items() for name, entry in found.items())
    console.print("as results.json states" if as_stated else "NOT as results.json states")
    if arguments.hardware is None:
        return 0 if as_stated else 1
    arguments.hardware.mkdir(parents=True, exist_ok=True)
    hardware = simulate_all(names, arguments.hardware, arguments.sequences)
    console.print(printed(HARDWARE, hardware_rows(hardware)))
    if arguments.write:
        write_hardware(HERE / "results.json", hardware)
    right = all(
        "unsupported" in entry
        or (not any(entry["mismatches"].values()) and entry["simulated_cycles"] == entry["predicted_cycles"])
        for entry in hardware.values()
    )
    return 0 if as_stated and right else 1


if __name__ == "__main__":
    sys.exit(main())
