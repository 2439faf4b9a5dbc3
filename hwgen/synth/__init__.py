# SPDX-License-Identifier: Apache-2.0
"""Synthesis with open tools: resources from Yosys, placed clock frequency from nextpnr.  Writes synth.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwgen.errors import ConfigError, printable
from hwgen.project import Project
from hwgen.synth import nextpnr, yosys

FLOWS = ("xc7", "xcup", "ecp5")
Progress = Callable[[str], None]


def synthesise(
    project: Project, flow: str, progress: Progress = lambda message: None, device: str = nextpnr.DEFAULT_DEVICE
) -> dict[str, Any]:
    """Synthesise the RTL of a project and return what is written to synth.json under the name of the flow.

    xc7 and xcup count LUTs, flip-flops, DSP slices and 36 kbit block RAMs as Yosys maps them, for the whole and by
    unit; ecp5 also places and routes on ``device`` and gives the highest clock in MHz with the critical path.
    """
    if flow not in FLOWS:
        raise ConfigError(f"--flow must be one of {', '.join(FLOWS)}, not {printable(flow)}")
    if "rtl" not in project.backends:
        raise ConfigError("synth needs RTL; build the project with --backend rtl or all")
    with tempfile.TemporaryDirectory(prefix="hwgen-synth-") as folder:
        progress(f"Yosys for {flow}, flattened")
        result: dict[str, Any] = yosys.resources(project, flow, Path(folder), flatten=True)
        progress(f"Yosys for {flow}, unit by unit")
        result["units"] = yosys.resources(project, flow, Path(folder), flatten=False)["units"]
        if flow == "ecp5":
            progress(f"placing and routing on {device}")
            result |= nextpnr.place(project, device, Path(folder))
    path = project.path / "synth.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(found | {flow: result}, indent=2) + "\n")
    return result
