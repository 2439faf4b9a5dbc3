# SPDX-License-Identifier: Apache-2.0
"""Synthesis with open tools: resources from Yosys, placed clock frequency from nextpnr.  Writes synth.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwgen import cost
from hwgen.backends.naming import top_name
from hwgen.backends.rtl_network import SHARED_ROM, instance_module
from hwgen.dataflow import Dataflow
from hwgen.errors import ConfigError, printable
from hwgen.project import Project, write_report
from hwgen.sharing import shared_weights
from hwgen.synth import nextpnr, yosys

FLOWS = cost.FLOWS
Progress = Callable[[str], None]


def synthesise(
    project: Project,
    flow: str,
    progress: Progress = lambda message: None,
    device: str | None = None,
    units: bool = True,
) -> dict[str, Any]:
    """Synthesise the RTL of a project and return what is written to synth.json under the name of the flow.

    Each flow counts LUTs, flip-flops, DSP slices and 36 kbit block RAMs as Yosys maps them, for the whole, by unit
    and, of a network, by node, and says what was predicted; ecp5 also places and routes on ``device``, by default that
    of the project, and gives the highest clock in MHz with the critical path.  Without ``units`` only the whole is
    counted, in half the time.
    """
    if flow not in FLOWS:
        raise ConfigError(f"--flow must be one of {', '.join(FLOWS)}, not {printable(flow)}")
    if "rtl" not in project.backends:
        raise ConfigError("synth needs RTL; build the project with --backend rtl or all")
    with tempfile.TemporaryDirectory(prefix="hwgen-synth-") as folder:
        progress(f"Yosys for {flow}, flattened")
        measured = yosys.resources(project, flow, Path(folder))
        result: dict[str, Any] = {"measured": measured}
        predicted = cost.predict(project.design, flow)
        result |= _beside(predicted.whole.to_dict(), measured)
        result["units"] = {}
        if units:
            progress(f"Yosys for {flow}, unit by unit")
            top, modules = top_name(project.design), yosys.cells(project, flow, Path(folder), by_unit=True)
            result["units"] = yosys.unit_resources(modules, top)
            if isinstance(project.design, Dataflow):
                result["nodes"] = _nodes(project.design, yosys.instance_resources(modules, top), predicted)
        if flow == "ecp5":
            placed = device or nextpnr.device_of(project.design.options.target)
            progress(f"placing and routing on {placed}")
            result |= nextpnr.place(project, placed, Path(folder))
    path = project.path / "synth.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(found | {flow: result}, indent=2) + "\n")
    write_report(project)
    return result


def _nodes(
    design: Dataflow, measured: Mapping[str, Mapping[str, float]], predicted: cost.Cost
) -> dict[str, dict[str, Any]]:
    """What stands in the top level: layers by name, and what is between them by the name of its module."""
    modules: dict[str, list[str]] = {}
    for node in design.nodes:
        modules.setdefault(instance_module(design, node), []).append(node.name)
    for pair in shared_weights(design):
        modules.setdefault(SHARED_ROM, []).append(pair.name)
    found = {}
    for module, names in modules.items():
        own = dict(measured.get(module, dict.fromkeys(cost.KINDS, 0.0)))
        entry: dict[str, Any] = {"nodes": names, "measured": own}
        entry |= _beside(cost.total(predicted.units[name] for name in names).to_dict(), own)
        found[names[0] if module.startswith(top_name(design)) else module] = entry
    return found


def _beside(predicted: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, Any]:
    errors = {kind: _relative(predicted[kind], measured[kind]) for kind in cost.KINDS}
    return {"predicted": dict(predicted), "relative_error": errors}


def _relative(predicted: float, measured: float) -> float | None:
    """The error of a prediction in parts of what was measured; None where nothing was and something was predicted."""
    if measured:
        return round(predicted / measured - 1, 4)
    return None if predicted else 0.0
