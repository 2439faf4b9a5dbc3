# SPDX-License-Identifier: Apache-2.0
"""The coefficients of hwgen/cost.py from measured.json, and the errors of its predictions.

``python benchmarks/synthesis/fit.py`` writes hwgen/cost.json and shows the errors; with ``--flow ecp5`` it does so for
ECP5, from measured_ecp5.json, to cost_ecp5.json.  The errors of the designs that the fit does not see are those that
count.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.synthesis.designs import Point, held_out
from benchmarks.synthesis.networks import NetworkPoint
from benchmarks.synthesis.sweep import FLOWS, LAYERS, NETWORKS, of_flow
from hwgen import cost, counting, structure, structure_network
from hwgen.rtl_timing import timeline
from hwgen.synth import yosys

FITTED = ("lut", "ff")
# Memories of LUTs are counted exactly.
KNOWN: dict[str, dict[str, float]] = {"lut": {"ram": 1.0, "shift register": 1.0}, "ff": {}}
# A coefficient that is off by 1 costs the fit as much as so large an error of one design.
STRENGTH = 0.15


@dataclass(frozen=True)
class Sample:
    """A design as predicted from its structure and as measured."""

    name: str
    is_network: bool
    held_out: bool
    units: tuple[counting.Unit, ...]
    measured: Mapping[str, float]

    def structure(self, kind: str) -> dict[str, float]:
        """Counts of the whole design that LUTs or flip-flops are made of."""
        found: dict[str, float] = {}
        for unit in self.units:
            for what, number in (unit.lut if kind == "lut" else unit.ff).items():
                found[what] = found.get(what, 0) + number
        return found

    def predicted(self, kind: str, coefficients: Mapping[str, float]) -> float:
        """LUTs or flip-flops by the model."""
        return sum(coefficients[what] * number for what, number in self.structure(kind).items())

    @property
    def dsp(self) -> int:
        """DSPs by the model."""
        return sum(unit.dsp for unit in self.units)

    @property
    def bram(self) -> float:
        """Block RAMs by the model."""
        return sum(unit.halves for unit in self.units) / 2


def load(flow: str = "xc7") -> list[Sample]:
    """Every design that was measured for a flow: layers alone, then networks."""
    layers = json.loads(of_flow(LAYERS, flow).read_text())["designs"]
    # One draw for all flows.
    out = held_out([entry["name"] for entry in json.loads(LAYERS.read_text())["designs"]])
    found = []
    for entry in layers:
        times = timeline(Point.from_dict(entry["point"]).schedule())
        found.append(_sample(entry, False, entry["name"] in out, structure.structure(times, flow)))
    for entry in json.loads(of_flow(NETWORKS, flow).read_text())["designs"]:
        point = NetworkPoint.from_dict(entry["point"])
        nodes = structure_network.network_structure(point.schedule(), flow)
        found.append(_sample(entry, True, point.held_out, [unit for units in nodes.values() for unit in units]))
    return found


def _sample(entry: Mapping[str, Any], network: bool, out: bool, units: Iterable[counting.Unit]) -> Sample:
    return Sample(entry["name"], network, out, tuple(units), yosys.count(entry["cells"]))


def fit(samples: list[Sample], kind: str, flow: str = "xc7") -> dict[str, float]:
    """Coefficients of the least squares of relative errors, none of them negative."""
    fitted = [sample for sample in samples if not sample.held_out]
    expected = {name: value for name, value in counting.EXPECTED_OF[flow][kind].items() if name not in KNOWN[kind]}
    names = list(expected)
    rows, targets = [], []
    for sample in fitted:
        counts, whole = sample.structure(kind), sample.measured[kind]
        known = sum(value * counts.get(what, 0) for what, value in KNOWN[kind].items())
        rows.append([counts.get(name, 0) / whole for name in names])
        targets.append((whole - known) / whole)
    rows += (np.eye(len(names)) * STRENGTH).tolist()
    targets += [STRENGTH * value for value in expected.values()]
    solution = nonnegative(np.array(rows), np.array(targets))
    found = {name: round(float(value), 3) for name, value in zip(names, solution, strict=True)}
    return dict(sorted({**found, **KNOWN[kind]}.items()))


def nonnegative(matrix: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nonnegative least squares of matrix @ x = targets: one coordinate after the other until none moves."""
    gram, right = matrix.T @ matrix, matrix.T @ targets
    found = np.zeros(len(right))
    for _ in range(100_000):
        moved = 0.0
        for i in range(len(found)):
            better = max(0.0, found[i] + (right[i] - gram[i] @ found) / gram[i, i])
            moved, found[i] = max(moved, abs(better - found[i])), better
        if moved < 1e-9:
            break
    return found


def errors(samples: list[Sample], kind: str, coefficients: Mapping[str, float], out: bool) -> NDArray[np.float64]:
    """Relative errors, signed, of the designs that are held out, or of the others."""
    chosen = [sample for sample in samples if sample.held_out == out]
    return np.array([sample.predicted(kind, coefficients) / sample.measured[kind] - 1 for sample in chosen])


def main() -> None:
    """Fit, write, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", choices=FLOWS, default=FLOWS[0])
    flow = parser.parse_args().flow
    samples = load(flow)
    coefficients = {kind: fit(samples, kind, flow) for kind in FITTED}
    cost.COEFFICIENTS[flow].write_text(json.dumps(coefficients, indent=2) + "\n")
    show(samples, coefficients, Console(highlight=False, width=120))


def show(samples: list[Sample], coefficients: dict[str, dict[str, float]], out: Console) -> None:
    """Errors and what is not exact."""
    columns = "", "designs", "median", "90 %", "largest"
    table = Table(*columns, title="absolute relative error", title_justify="left", box=None)
    layers, networks = ([s for s in samples if s.is_network == network] for network in (False, True))
    groups = {
        "fitted": (samples, False),
        "held out": (samples, True),
        "held out, layers": (layers, True),
        "held out, networks": (networks, True),
    }
    for kind in FITTED:
        for name, (chosen, hidden) in groups.items():
            found = np.abs(errors(chosen, kind, coefficients[kind], hidden))
            spread = (f"{value:.1%}" for value in (np.median(found), np.quantile(found, 0.9), found.max()))
            table.add_row(f"{kind.upper()}, {name}", str(len(found)), *spread)
    out.print(table)
    wrong = [s.name for s in samples if (s.dsp, s.bram) != (s.measured["dsp"], s.measured["bram"])]
    out.print(f"DSP and block RAM exact on {len(samples) - len(wrong)} of {len(samples)} designs {' '.join(wrong)}")


if __name__ == "__main__":
    main()
