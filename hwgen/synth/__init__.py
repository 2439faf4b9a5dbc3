# SPDX-License-Identifier: Apache-2.0
"""Synthesis with open tools: resources from Yosys, placed clock frequency from nextpnr.  Writes synth.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwgen import cost
from hwgen.errors import ConfigError, printable
from hwgen.project import Project, write_report
from hwgen.schedule import Schedule
from hwgen.synth import nextpnr, yosys

FLOWS = ("xc7", "xcup", "ecp5")
Progress = Callable[[str], None]


def synthesise(
    project: Project,
    flow: str,
    progress: Progress = lambda message: None,
    device: str = nextpnr.DEFAULT_DEVICE,
    units: bool = True,
) -> dict[str, Any]:
    """Synthesise the RTL of a project and return what is written to synth.json under the name of the flow.

    xc7 and xcup count LUTs, flip-flops, DSP slices and 36 kbit block RAMs as Yosys maps them, for the whole and by
    unit, and say what was predicted; ecp5 also places and routes on ``device`` and gives the highest clock in MHz with
    the critical path.  Without ``units`` only the whole is counted, which takes half the time.
    """
    if flow not in FLOWS:
        raise ConfigError(f"--flow must be one of {', '.join(FLOWS)}, not {printable(flow)}")
    if "rtl" not in project.backends:
        raise ConfigError("synth needs RTL; build the project with --backend rtl or all")
    with tempfile.TemporaryDirectory(prefix="hwgen-synth-") as folder:
        progress(f"Yosys for {flow}, flattened")
        measured = yosys.resources(project, flow, Path(folder))
        result: dict[str, Any] = {"measured": measured}
        if flow in cost.FLOWS and isinstance(project.design, Schedule):
            predicted = cost.predict(project.design, flow).whole.to_dict()
            errors = {kind: _relative(predicted[kind], measured[kind]) for kind in cost.KINDS}
            result |= {"predicted": predicted, "relative_error": errors}
        result["units"] = {}
        if units:
            progress(f"Yosys for {flow}, unit by unit")
            result["units"] = yosys.unit_resources(project, flow, Path(folder))
        if flow == "ecp5":
            progress(f"placing and routing on {device}")
            result |= nextpnr.place(project, device, Path(folder))
    path = project.path / "synth.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(found | {flow: result}, indent=2) + "\n")
    write_report(project)
    return result


def _relative(predicted: float, measured: float) -> float | None:
    """The error of a prediction in parts of what was measured; None where nothing was and something was predicted."""
    if measured:
        return round(predicted / measured - 1, 4)
    return None if predicted else 0.0
