# SPDX-License-Identifier: Apache-2.0
"""What a design costs on an FPGA, from its schedule alone: LUTs, flip-flops, DSPs and block RAM, unit by unit.

DSPs and block RAM are exact.  LUTs and flip-flops are the structures that ``structure`` counts, each with a coefficient
that is fitted to syntheses: cost.json, which benchmarks/synthesis/fit.py writes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.counting import Unit
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import Schedule
from hwgen.structure import structure

FLOWS = ("xc7", "xcup")
KINDS = ("lut", "ff", "dsp", "bram")
COEFFICIENTS = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Resources:
    """LUTs, flip-flops, DSPs, block RAMs of 36 kbit."""

    lut: float
    ff: float
    dsp: int
    bram: float

    def to_dict(self) -> dict[str, float]:
        """As plain data; LUTs and flip-flops are whole ones."""
        return {"lut": round(self.lut), "ff": round(self.ff), "dsp": self.dsp, "bram": self.bram}


@dataclass(frozen=True)
class Cost:
    """The predicted resources of a design, and those of each of its units."""

    whole: Resources
    units: Mapping[str, Resources]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for schedule.json and synth.json."""
        return {**self.whole.to_dict(), "units": {name: unit.to_dict() for name, unit in self.units.items()}}


def predict(design: Schedule, flow: str = "xc7", times: Timeline | None = None) -> Cost:
    """The resources of a design, for a flow of ``FLOWS``."""
    units = {unit.name: _priced(unit) for unit in structure(times or timeline(design), flow)}
    lut, ff, dsp, bram = (sum(getattr(unit, kind) for unit in units.values()) for kind in KINDS)
    return Cost(Resources(lut, ff, dsp, bram), units)


@functools.cache
def coefficients() -> dict[str, dict[str, float]]:
    """LUTs and flip-flops of each structure, as benchmarks/synthesis/fit.py found them."""
    data: dict[str, dict[str, float]] = json.loads(COEFFICIENTS.read_text())
    return {kind: data[kind] for kind in ("lut", "ff")}


def _priced(unit: Unit) -> Resources:
    prices = coefficients()
    lut = sum(prices["lut"][what] * number for what, number in unit.lut.items())
    ff = sum(prices["ff"][what] * number for what, number in unit.ff.items())
    return Resources(lut, ff, unit.dsp, unit.halves / 2)
