# SPDX-License-Identifier: Apache-2.0
"""Train the classifiers of experiments.py, export and calibrate them, and record what they give for the test sequences.

``python train_classifiers.py`` writes the files beside itself; names of experiments choose some of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import classifiers
import fitting
import numpy as np
import torch
from brevitas.export import export_qonnx
from classifiers import Classifier
from evaluate import evaluate
from experiments import EXPERIMENTS, HERE, Experiment
from samples import Samples, keep, load

import hwgen
from hwgen.export import check_qonnx

SEED = 0
METHOD = "mse"
NAMES = ["logits", "label"]
PACKAGES = ("torch", "brevitas", "onnx", "onnxoptimizer", "numpy")


def train(experiment: Experiment, out: Path) -> dict[str, Any]:
    """All of one experiment; returns its entry in results.json."""
    torch.manual_seed(SEED)
    given, test = load(experiment.data)
    keep(experiment.data, test, out)
    floating = classifiers.floating(experiment)
    fitting.fit(floating, experiment, experiment.floating, given)
    recorded = _recorded("float", floating, test)
    entry: dict[str, Any] = {}
    to_calibrate = floating
    if experiment.weights_alone:
        to_calibrate = classifiers.weights_alone(experiment, floating)
        recorded |= _recorded("weights", to_calibrate, test)
    entry["calibration"] = calibrate(to_calibrate, experiment, given, out)
    if experiment.quantized is not None:
        quantized = classifiers.quantized(experiment, floating)
        fitting.fit(quantized, experiment, experiment.quantized, given)
        recorded |= _recorded("brevitas", quantized, test)
        entry["agreement"] = export(quantized, test, out / experiment.brevitas_file)
    np.savez_compressed(out / experiment.recording_file, **recorded)
    return evaluate(experiment, out) | entry


def _recorded(name: str, classifier: Classifier, test: Samples) -> dict[str, Any]:
    logits, labels = fitting.run(classifier, test)
    return {f"{name}_logits": logits, f"{name}_labels": labels.astype(np.int8)}


def export(classifier: Classifier, test: Samples, path: Path) -> dict[str, int]:
    """Write the quantized network, and compare it with Brevitas on every test sequence, step by step.

    Raises ModelError if anything differs by more than float32 next to a rounding boundary explains.  What differs
    within that is counted.
    """
    batches = [torch.from_numpy(x) for _, x in test.by_length()]
    # Initial states in the file have the example's batch size: a small one keeps it small.
    hwgen.export_qonnx(classifier, batches[0][:, :2], path, output_names=NAMES)
    places = [place for x in batches for place in check_qonnx(classifier, x, path, random_inputs=False).places]
    computed = [place for place in places if place.name.endswith("state") or place.name.startswith("graph output")]
    return {"values": sum(place.values for place in computed), "moved": sum(place.moved for place in computed)}


def calibrate(classifier: Classifier, experiment: Experiment, given: Samples, out: Path) -> dict[str, Any]:
    """Write a float or weight-only network, and what `hwgen calibrate` makes of it and training sequences."""
    path = out / experiment.float_file
    data = given.first_steps(experiment.calibration_steps)
    options: dict[str, Any] = {
        "dynamo": False,
        "input_names": ["x"],
        "output_names": NAMES,
        "dynamic_axes": {"x": {0: "time", 1: "batch"}},
    }
    # While Brevitas 0.13 traces an LSTM without other quantizers, it takes the batch size for the hidden size.
    example = torch.from_numpy(data[:, : experiment.hidden].copy())
    classifier.eval()
    if experiment.weights_alone:
        export_qonnx(classifier, example, export_path=str(path), **options)
    else:
        torch.onnx.export(classifier, (example,), path, opset_version=17, **options)
    hwgen.calibrate(path, data, out / experiment.calibrated_file, method=METHOD)
    return {"method": METHOD, "sequences": data.shape[1], "steps": data.shape[0]}


def main() -> None:
    """Train, export, calibrate, record, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (all)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the files")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    known = [experiment.name for experiment in EXPERIMENTS]
    if unknown := set(arguments.names) - set(known):
        parser.error(f"experiments are {', '.join(known)}, not {', '.join(sorted(unknown))}")
    warnings.filterwarnings("ignore", module="brevitas|torch")
    # One thread: how sums are split among threads changes their float32 rounding.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    for experiment in EXPERIMENTS:
        if arguments.names and experiment.name not in arguments.names:
            continue
        started = time.perf_counter()
        entry = train(experiment, out)
        print(f"{experiment.name}: {time.perf_counter() - started:.0f} s, {json.dumps(entry)}", flush=True)
        update(out / "results.json", experiment.name, entry)


def update(path: Path, name: str, entry: dict[str, Any]) -> None:
    """Put one experiment into results.json, with the versions of what trained it."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    results |= {name: entry, "seed": SEED}
    results["versions"] = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    # In the order of the table, whichever was trained last.
    order = [known.name for known in EXPERIMENTS if known.name in results]
    results = {key: results[key] for key in [*order, *sorted(results.keys() - set(order))]}
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
