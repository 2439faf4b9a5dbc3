# SPDX-License-Identifier: Apache-2.0
"""A hand-built Scan LSTM against the Brevitas module that its weights come from: with copied scales, and with its own.

Run `python drift.py`; it prints the differences step by step, and writes drift.png and drift.json beside itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from brevitas.nn import QuantLSTM
from matplotlib import pyplot
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import hwgen
from hwgen import host
from hwgen.lowering import lower

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # where the graph is built

import scan_graphs  # noqa: E402

INPUTS, HIDDEN, STEPS, VALUE = 10, 20, 25, 0.8
# The two scales that the notebook uses for everything but the weights.
COMMON, OUTPUT_GATE = 2.0**-7, 2.0**-8


@dataclass(frozen=True)
class Drift:
    """Hidden states that differ from Brevitas' at each step, and by how much, in LSB of the hidden state."""

    differing: list[int]
    greatest: list[int]

    @classmethod
    def between(cls, found: NDArray[np.floating], wanted: NDArray[np.floating]) -> Drift:
        """Compare [steps, units]."""
        lsb = np.rint(np.abs(found - wanted) / COMMON).astype(int)
        return cls([int(n) for n in (lsb > 0).sum(axis=1)], [int(n) for n in lsb.max(axis=1)])


def run_onnxruntime(model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.floating]:
    """The graph as onnxruntime executes it: hidden states [steps, units]."""
    return np.asarray(onnxruntime.InferenceSession(model.SerializeToString()).run(["hidden"], inputs)[0])[:, :, 0]


def run_hwgen(model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.floating]:
    """The integer model of the graph, which the generated hardware equals: hidden states [steps, units]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.onnx"
        onnx.save(model, path)
        network = hwgen.load(path)
    return host.run(network, lower(network), inputs)["hidden"][:, :, 0]


def compare() -> dict[str, Drift]:
    """Drift from Brevitas of each graph in each executor."""
    torch.manual_seed(0)
    module = QuantLSTM(INPUTS, HIDDEN, bias_quant=None).eval()
    sequence = np.full((STEPS, INPUTS, 1), VALUE, np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(sequence.transpose(0, 2, 1)))[0].numpy()[:, 0]
    parameters, own = scan_graphs.brevitas_parameters(module), scan_graphs.brevitas_scales(module)
    copied = scan_graphs.copied_scales(own.input_weight, COMMON, OUTPUT_GATE)
    states = {name: np.zeros((HIDDEN, 1), np.float32) for name in ("h0", "c0")}
    inputs = {**states, "sequence": sequence}
    drifts = {}
    for scales, name in ((copied, "copied scales"), (own, "own scales")):
        model = scan_graphs.scan_model(parameters, scales)
        for run, executor in ((run_onnxruntime, "onnxruntime"), (run_hwgen, "hwgen")):
            drifts[f"{name}, {executor}"] = Drift.between(run(model, inputs), wanted)
    return drifts


def show(drifts: dict[str, Drift]) -> None:
    """One row for each step."""
    table = Table("step", *drifts, title=f"hidden states of {HIDDEN} that differ from Brevitas (greatest, in LSB)")
    for step in range(STEPS):
        cells = (f"{drift.differing[step]} ({drift.greatest[step]})" for drift in drifts.values())
        table.add_row(str(step + 1), *cells)
    table.add_row("all", *(str(sum(drift.differing)) for drift in drifts.values()), style="bold")
    Console(highlight=False).print(table)


def plot(drifts: dict[str, Drift], path: Path) -> None:
    """The greatest difference at each step."""
    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    steps = range(1, STEPS + 1)
    copied, own = drifts["copied scales, onnxruntime"], drifts["own scales, hwgen"]
    axes.plot(steps, copied.greatest, color="#b3424a", marker="o", markersize=4)
    axes.plot(steps, own.greatest, color="#2b6a99", marker="o", markersize=4)
    axes.annotate("one scale copied nearly everywhere", (14, copied.greatest[13] - 1.3), color="#b3424a")
    axes.annotate("each quantizer's own scale, hwgen", (14, own.greatest[13] + 0.6), color="#2b6a99")
    axes.set(xlabel="time step", ylabel="greatest difference, LSB", xlim=(0.5, STEPS + 0.5), ylim=(-0.6, None))
    axes.set_title("Hidden state of a Scan LSTM against the Brevitas module of its weights", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Compare, print, plot."""
    drifts = compare()
    show(drifts)
    plot(drifts, HERE / "drift.png")
    found = {name: {"differing": drift.differing, "greatest_lsb": drift.greatest} for name, drift in drifts.items()}
    report = {
        "versions": {name: version(name) for name in ("torch", "brevitas", "onnxruntime", "numpy")},
        "codes": STEPS * HIDDEN,
        "drift": found,
    }
    (HERE / "drift.json").write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
