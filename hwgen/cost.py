# SPDX-License-Identifier: Apache-2.0
"""What a design costs on an FPGA, without synthesis: LUTs, flip-flops, DSPs and block RAM, unit by unit.

DSPs and block RAM are exact.  LUTs and flip-flops are the structures that ``structure`` counts, each with a coefficient
that is fitted to syntheses: cost.json, which benchmarks/synthesis/fit.py writes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwgen.arrays import Value
from hwgen.counting import Unit
from hwgen.dataflow import Design
from hwgen.fabric import FABRICS
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import Schedule
from hwgen.structure import structure
from hwgen.structure_network import network_structure

FLOWS = tuple(FABRICS)
KINDS = ("lut", "ff", "dsp", "bram")
# Those of UltraScale(+) are those of 7 series.
COEFFICIENTS = {flow: Path(__file__).with_name("cost_ecp5.json" if flow == "ecp5" else "cost.json") for flow in FLOWS}


@dataclass(frozen=True)
class Resources:
    """LUTs, flip-flops, DSPs, block RAMs of 36 kbit: numbers, or arrays of them."""

    lut: Value
    ff: Value
    dsp: Value
    bram: Value

    def to_dict(self) -> dict[str, float]:
        """As plain data; LUTs and flip-flops are whole ones."""
        return {"lut": round(self.lut), "ff": round(self.ff), "dsp": self.dsp, "bram": self.bram}


@dataclass(frozen=True)
class Cost:
    """The predicted resources of a design, and those of each of its units.

    Units of a network are its nodes by name; ``inside`` has the units of those that are recurrent layers.
    """

    whole: Resources
    units: Mapping[str, Resources]
    inside: Mapping[str, Cost] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for schedule.json and synth.json."""
        units = {name: {**unit.to_dict(), **self._inside(name)} for name, unit in self.units.items()}
        return {**self.whole.to_dict(), "units": units}

    def _inside(self, name: str) -> dict[str, Any]:
        return {"units": self.inside[name].to_dict()["units"]} if name in self.inside else {}


def predict(design: Design, flow: str | None = None, times: Timeline | None = None) -> Cost:
    """The resources of a design, for a flow of ``FLOWS``, by default that of its target.

    ``times`` are those of a layer, if they are known.
    """
    flow = flow or design.options.target.flow
    if isinstance(design, Schedule):
        return _of(structure(times or timeline(design), flow))
    nodes = {name: _of(units) for name, units in network_structure(design, flow).items()}
    units = {name: cost.whole for name, cost in nodes.items()}
    inside = {name: cost for name, cost in nodes.items() if len(cost.units) > 1}
    return Cost(total(units.values()), units, inside)


def _of(units: Iterable[Unit]) -> Cost:
    found = {unit.name: priced(unit) for unit in units}
    return Cost(total(found.values()), found)


def total(parts: Iterable[Resources]) -> Resources:
    """Resources of several units together."""
    lut, ff, dsp, bram = (sum(values) for values in zip(*((p.lut, p.ff, p.dsp, p.bram) for p in parts), strict=True))
    return Resources(lut, ff, dsp, bram)


@functools.cache
def coefficients(flow: str = "xc7") -> dict[str, dict[str, float]]:
    """LUTs and flip-flops of each structure, as benchmarks/synthesis/fit.py found them."""
    data: dict[str, dict[str, float]] = json.loads(COEFFICIENTS[flow].read_text())
    return {kind: data[kind] for kind in ("lut", "ff")}


def priced(unit: Unit) -> Resources:
    """Resources of what was counted."""
    prices = coefficients(unit.flow)
    lut = sum(prices["lut"][what] * number for what, number in unit.lut.items())
    ff = sum(prices["ff"][what] * number for what, number in unit.ff.items())
    return Resources(lut, ff, unit.dsp, unit.halves / 2)
