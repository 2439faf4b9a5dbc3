# SPDX-License-Identifier: Apache-2.0
"""report.json: all that is known about a project as plain data, from which its page is made."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import hwgen
from hwgen.dataflow import Dataflow, Design, certificate
from hwgen.inspection import describe_layer
from hwgen.integer import IntegerCell
from hwgen.integer_network import CellStage, Stage
from hwgen.report import timelines, units, words
from hwgen.schedule import Schedule

Data = dict[str, Any]
FORMAT = 1


def describe(
    design: Design, backends: tuple[str, ...], facts: Data, verification: Data | None, synthesis: Data | None
) -> Data:
    """What report.json holds; ``facts`` is what schedule.json says, the others are verify.json and synth.json if any.

    Keys keep their names and meaning as long as ``format`` stays.
    """
    exact = "rtl" in backends
    timings = units.timings(design, exact)
    sequence = timelines.sequence(design) if exact else None
    resources = _resources(design, facts, synthesis)
    bottleneck = words.bottleneck(design, timings, resources["usage"], exact)
    proofs = _proofs(design)
    return {
        "format": FORMAT,
        "project": _project(design, backends),
        "summary": _summary(design, bottleneck, sequence, verification, proofs, exact),
        "bottleneck": bottleneck,
        "resources": resources,
        "dataflow": units.graph(design, exact),
        "units": [
            {
                "name": timing.name,
                "kind": timing.kind,
                "cycles": timing.cycles,
                "per_step": timing.per_step,
                "busy": round(timing.cycles / bottleneck["cycles"], 4) if timing.per_step else None,
            }
            for timing in timings
        ],
        "time_steps": [timelines.time_step(timing) for timing in timings if timing.times is not None],
        "sequence": sequence,
        "verification": verification,
        "synthesis": synthesis,
        "layers": _layers(design),
        "proofs": proofs,
        "memories": units.memories(design, exact),
        "ports": [port.to_dict() | {"per_step": port.per_step} for port in (*design.inputs, *design.outputs)],
    }


def _project(design: Design, backends: tuple[str, ...]) -> Data:
    options = design.options
    return {
        "name": design.network.name,
        "generator": f"hwgen {hwgen.__version__}",
        "model_sha256": hashlib.sha256(design.network.source).hexdigest(),
        "target": asdict(options.target),
        "clock_mhz": options.clock_mhz,
        "backends": list(backends),
        "streaming": options.streaming,
        "max_length": options.max_length if any(cell.reverse for cell in design.cells) else None,
        "outputs": [port.name for port in design.outputs],
        "warnings": list(design.network.warnings),
    }


def _summary(
    design: Design, bottleneck: Data, sequence: Data | None, verification: Data | None, proofs: Data, exact: bool
) -> Data:
    cycles, clock = bottleneck["cycles"], design.options.clock_mhz
    first = None
    if sequence is not None:
        port, found = min(sequence["outputs"].items(), key=lambda entry: (entry[1]["first"], entry[0]))
        first = {
            "port": port,
            "cycles": found["first"],
            "microseconds": round(found["first"] / clock, 3),
            "sequence_steps": sequence["lengths"][0],
        }
    return {
        "exact": exact,
        "step_cycles": cycles,
        "steps_per_second": round(clock * 1e6 / cycles, 1),
        "first_output": first,
        "verified": _verdict(verification),
        "weights": sum(product.rows * product.columns for product in design.products),
        "multipliers": sum(product.multipliers for product in design.products),
        "step_functions": len(proofs["steps"]),
        "points_proven": sum(step["thresholds_checked"] for step in proofs["steps"]),
    }


def _verdict(verification: Data | None) -> Data:
    if verification is None:
        return {"state": "not verified", "mismatches": None, "codes": 0, "levels": []}
    levels = verification["levels"]
    return {
        "state": "passed" if verification["passed"] else "failed",
        "mismatches": sum(level["mismatches"] for level in levels.values()),
        "codes": sum(level["codes"] for level in levels.values()),
        "levels": list(levels),
    }


def _resources(design: Design, facts: Data, synthesis: Data | None) -> Data:
    """What is predicted and measured, and the share of the device, the greatest first."""
    target = design.options.target
    limits = {"lut": target.lut, "ff": target.ff, "dsp": target.dsp, "bram": target.bram36}
    predicted = facts.get("rtl", {}).get("predicted_resources")
    found = {flow: result["measured"] for flow, result in (synthesis or {}).items()}
    measured = next(({"flow": flow} | found[flow] for flow in target.flows if flow in found), None)
    known = predicted or measured
    usage = [
        {"kind": kind, "used": known[kind], "limit": limit, "share": round(known[kind] / limit, 4)}
        for kind, limit in limits.items()
        if known is not None and kind in known
    ]
    usage.sort(key=lambda entry: (-entry["share"], entry["kind"]))
    return {
        "limits": limits,
        "predicted": predicted,
        "measured": measured,
        "basis": "predicted" if predicted else "measured" if measured else None,
        "usage": usage,
    }


def _layers(design: Design) -> list[Data]:
    """What ``hwgen inspect`` says of each layer."""
    stages: list[Stage]
    if isinstance(design, Dataflow):
        stages = list(design.integer.stages)
    else:
        assert isinstance(design, Schedule) and isinstance(design.cell, IntegerCell)
        stages = [CellStage(design.cell, "x", None, None, ("y", "h_n", "c_n"))]
    return [describe_layer(layer, stage) for layer, stage in zip(design.network.layers, stages, strict=True)]


def _proofs(design: Design) -> Data:
    """certificate.json without the constants of the forms."""
    whole: Data = dict(certificate(design))
    steps = [{key: value for key, value in step.items() if key != "parameters"} for step in whole["steps"]]
    return whole | {"steps": steps}
