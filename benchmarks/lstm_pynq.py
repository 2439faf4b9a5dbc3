# SPDX-License-Identifier: Apache-2.0
"""The network of LSTM-PYNQ on its device: cycles of a sequence and resources beside those that were published.

A bidirectional LSTM, 32 inputs and 128 units, and a dense layer 256 -> 82 on every one of 520 steps; 4 bits of weights
and activations; xc7z020 at 100 MHz.  ``python benchmarks/lstm_pynq.py`` exports it with seeded weights, searches the
fastest folding that takes no more LUTs and block RAM than the published design and the DSPs of the device, and prints
what is predicted of it.  Cycles depend on no weights.  ``--save`` keeps what was found, simulated and measured in
lstm_pynq.json.  Needs the train extra.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas import nn as qnn
from brevitas.quant import Int8ActPerTensorFixedPoint, Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import hwgen
from hwgen import cost, planning
from hwgen.dataflow import CellNode, Dataflow
from hwgen.devices import Device, device
from hwgen.explore.fit import limits, shares
from hwgen.explore.front import pareto
from hwgen.explore.space import Rows, Space, space
from hwgen.explore.tables import KINDS
from hwgen.explore.tables import Table as Foldings
from hwgen.packing import AUTO, check_asked
from hwgen.rtl_cycles import period, predict
from hwgen.synth import synthesise

INPUTS, HIDDEN, OUTPUTS, LENGTH = 32, 128, 82, 520
CLOCK_MHZ = 100.0
# W4A4 of "FINN-L: Library Extensions and Design Trade-off Analysis for Variable Precision LSTM Networks on FPGAs".
PUBLISHED = {"cycles": 296_000, "lut": 38_300, "ff": 26_600, "dsp": 7, "bram": 103.5}
# The device has 220 DSPs, which the published design hardly uses.
LIMITS = replace(device("xc7z020"), lut=38_300, bram36=103)
# Of the published LUTs so much is to be kept: predictions are that far off.
MARGIN = 0.04
# Foldings of each layer that are tried with each other, at most: those that nothing beats in speed and resources.
TRIED = 400
# Slower layers than this, in cycles of a sequence, are not tried; than the next one if none of these fits.
TOO_SLOW = (100_000, 150_000)
# Block RAM is read 72 bits wide at most, and these words are few: they need not take blocks.
MEMORIES = {f"lstm_layers_0_{direction}.input_weights": "distributed" for direction in (0, 1)}
# So are those of the halves of the dense layer, but for them there is room.
HALVES = {f"head_matmul_{direction}.weights": "block" for direction in ("forward", "backward")}
RESULTS = Path(__file__).with_suffix(".json")
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


class Reader(torch.nn.Module):
    """Both directions side by side, and the characters' scores of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = qnn.QuantLSTM(
            INPUTS,
            HIDDEN,
            bidirectional=True,
            weight_quant=Int8WeightPerTensorFixedPoint,
            weight_bit_width=4,
            io_quant=Int8ActPerTensorFixedPoint,
            io_bit_width=4,
            gate_acc_quant=Int8ActPerTensorFixedPoint,
            gate_acc_bit_width=8,
            sigmoid_quant=Uint8ActPerTensorFixedPoint,
            sigmoid_bit_width=4,
            tanh_quant=Int8ActPerTensorFixedPoint,
            tanh_bit_width=4,
            cell_state_quant=Int8ActPerTensorFixedPoint,
            cell_state_bit_width=8,
        )
        self.head = qnn.QuantLinear(
            2 * HIDDEN, OUTPUTS, bias=True, weight_quant=Int8WeightPerTensorFixedPoint, weight_bit_width=4
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T, batch, inputs] to [T, batch, outputs]."""
        scores: torch.Tensor = self.head(self.lstm(x)[0])
        return scores


def export(path: Path) -> None:
    """Write the untrained network; its ranges come from a few random inputs."""
    torch.manual_seed(0)
    model = Reader().train()
    for _ in range(3):
        model(torch.randn(30, 2, INPUTS))
    hwgen.export_qonnx(model.eval(), torch.randn(20, 1, INPUTS), path)


def fastest(where: Space, has: Device, length: int) -> dict[str, Any]:
    """The folding file of the least latency of a sequence within what a device has."""
    # A dense layer that waits for both directions leaves its time to slower ones.
    halves = sum(table.name.startswith("head") for table in where.tables) > 1
    for slow in TOO_SLOW if halves else TOO_SLOW[-1:]:
        found = _fastest(where, has, length, slow)
        if found is not None:
            return where.folding(found)
    raise SystemExit("no folding that was tried keeps to the limits")


def _fastest(where: Space, has: Device, length: int, slow: int) -> tuple[int, ...] | None:
    """A row of each table, of layers that are fast enough; None if nothing fits."""
    layers = [_unbeaten(table, has, slow) for table in where.tables if not table.name.startswith("head")]
    heads = [_unbeaten(table, has, slow) for table in where.tables if table.name.startswith("head")]
    grid = np.meshgrid(*layers, indexing="ij")
    best: tuple[float, ...] = (np.inf,)
    found: tuple[int, ...] | None = None
    for chosen in itertools.product(*heads):
        rows: Rows = (*(axis.ravel() for axis in grid), *(np.full(grid[0].size, head) for head in chosen))
        predicted = where.predict(rows, length)
        used = shares(predicted.resources, has)
        fits = np.flatnonzero((used <= 1).all(axis=0))
        if not len(fits):
            continue
        place = int(fits[np.lexsort([used.sum(axis=0)[fits], predicted.latency[fits]])[0]])
        key = (float(predicted.latency[place]), float(used[:, place].sum()))
        if key < best:
            best, found = key, tuple(int(row[place]) for row in rows)
    return found


def _unbeaten(table: Foldings, has: Device, slow: int) -> NDArray[np.int64]:
    """Rows of a layer that nothing beats, of those that are fast enough and leave room for others."""
    resources = table.resources
    small = (shares(resources, has) <= 1).all(axis=0)
    near = np.flatnonzero((table.interval * LENGTH < slow) & small)
    # A sequence comes in, and leaves, as fast as the beats are wide.
    kinds = [table.interval, resources.lut, resources.dsp, resources.bram, -table.lanes_in, -table.lanes_out]
    objectives = np.stack(kinds, axis=1).astype(float)[near]
    front = near[pareto(objectives)]
    front = front[np.lexsort([resources.lut[front], table.interval[front]])]
    places = np.linspace(0, len(front) - 1, min(TRIED, len(front))).round().astype(int)
    return np.unique(front[places])


def numbers(cycles: int, resources: Any) -> list[str]:
    """A row of the table."""
    kinds = [f"{resources[kind]:,.0f}" if kind != "bram" else f"{resources[kind]:g}" for kind in KINDS]
    return [f"{cycles:,}", f"{cycles / CLOCK_MHZ / 1000:.2f}", *kinds]


def main() -> None:
    """Search, print; simulate and synthesise where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", action="store_true", help="simulate one sequence in Verilator")
    parser.add_argument("--synthesise", action="store_true", help="run Yosys: an hour, several GB of memory")
    parser.add_argument("--save", action="store_true", help=f"keep the results in {RESULTS.name}")
    parser.add_argument("--length", type=int, default=LENGTH, help="steps of the sequence")
    parser.add_argument("--products-per-dsp", default=AUTO, metavar="N", help="at most so many (auto)")
    parser.add_argument(
        "--whole-device", action="store_true", help="not only the LUTs and block RAM that were published"
    )
    parser.add_argument("--whole-dense", action="store_true", help="one dense layer, which waits for both directions")
    parser.add_argument("--folding", type=Path, help="PE and SIMD of a file, instead of the fastest")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="hwgen-lstm-pynq-") as folder:
        run(arguments, Path(folder))


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Everything, with files in a folder."""
    export(folder / "model.onnx")
    network = hwgen.load(folder / "model.onnx")
    options: dict[str, Any] = {
        "target": "xc7z020",
        "clock_mhz": CLOCK_MHZ,
        "max_length": LENGTH,
        "memory": MEMORIES if arguments.whole_dense else MEMORIES | HALVES,
        "split_dense": not arguments.whole_dense,
    }
    has = device("xc7z020") if arguments.whole_device else LIMITS
    given = arguments.folding
    if given:
        folding = json.loads(given.read_text())
    else:
        asked = check_asked(arguments.products_per_dsp)
        has_less = replace(has, lut=int(has.lut * (1 - MARGIN)))
        folding = fastest(space(planning.schedule(network, final=False, **options), asked=asked), has_less, LENGTH)
    design = hwgen.schedule(network, folding=folding, **options)
    assert isinstance(design, Dataflow)
    resources = cost.predict(design).whole
    predicted = predict(design, [arguments.length]).last
    table = Table("", *(Column(name, justify="right") for name in ("cycles", "ms", "LUT", "FF", "DSP", "BRAM36")))
    table.add_row("LSTM-PYNQ, W4A4, 520 steps", *numbers(PUBLISHED["cycles"], PUBLISHED))  # type: ignore[arg-type]
    table.add_row(f"hwgen, predicted, {arguments.length} steps", *numbers(predicted, resources.to_dict()))
    for name, fold in design.foldings().items():
        _out.print(f"{name}: {json.dumps(fold)}")
    explain(design, folding, has)
    results: dict[str, Any] = {"published": PUBLISHED, "folding": folding, "memory": options["memory"]}
    results["predicted"] = {"steps": arguments.length, "cycles": predicted, **resources.to_dict()}
    if arguments.simulate or arguments.synthesise:
        project = hwgen.build(design, folder / "project", backend="rtl")
    if arguments.simulate:
        x = np.random.default_rng(0).standard_normal((arguments.length, 1, INPUTS))
        report = project.verify(x, level="rtl")["levels"]["rtl"]
        last = max(cycles["last"] for cycles in report["simulated_cycles"].values())
        table.add_row(f"hwgen, simulated, {arguments.length} steps", f"{last:,}", f"{last / CLOCK_MHZ / 1000:.2f}")
        _out.print(f"simulated: {report['codes']:,} codes compared, {report['mismatches']} differ")
        results["simulated"] = {"steps": arguments.length, "cycles": last}
        results["simulated"] |= {name: report[name] for name in ("codes", "mismatches")}
    if arguments.synthesise:
        measured = synthesise(project, "xc7", units=False)["measured"]
        table.add_row("hwgen, Yosys", *numbers(predicted, measured))
        results["yosys"] = measured
    _out.print(table)
    if arguments.save:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def explain(design: Dataflow, folding: dict[str, Any], available: Device) -> None:
    """Where the cycles go, and what is used up."""
    layers = [node for node in design.nodes if isinstance(node, CellNode)]
    read = max(stream.beats for node in layers for stream in node.inputs[:1])
    loops = {node.name: period(node.design) for node in layers}
    dense = max(node.cycles for node in design.nodes if node.name in folding and node.name not in loops)
    given = max(edge.stream.beats for edge in design.output_edges)
    what = "each half of the dense layer meanwhile" if design.options.split_dense else "the dense layer behind them"
    _out.print(
        f"a time step: {read} cycles to come in, {max(loops.values())} in the recurrences, {dense} in {what}, "
        f"{given} to leave"
    )
    used = shares(cost.predict(design).whole, available)
    has = limits(available)
    _out.print("used: " + ", ".join(f"{s:.0%} of {has[k]:,} {k}" for k, s in zip(KINDS, used.tolist(), strict=True)))


if __name__ == "__main__":
    main()
