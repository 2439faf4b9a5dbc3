# SPDX-License-Identifier: Apache-2.0
"""One point of an exploration, measured: built, simulated and synthesised.  This is what a worker runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hwgen
from hwgen import frontend, planning
from hwgen.errors import ConfigError, HwgenError
from hwgen.explore.automatic import schedule
from hwgen.project import build
from hwgen.synth import synthesise
from hwgen.verify import verify

# Sequences through the simulation: few, since compiling it takes longer than running it.
SEQUENCES = 6
SEED = 1


def measure_point(
    model: bytes, name: str, point: Mapping[str, Any], flow: str, version: str, scratch: str | None = None
) -> dict[str, Any]:
    """What a design takes and how fast it is, predicted and measured; or ``{"error": text}``, whatever went wrong.

    ``model`` is an ONNX file that is called ``name``; ``point`` are keyword arguments of ``schedule`` as JSON has
    them; ``version`` is that of the hwgen that asks; ``scratch`` a folder for what is thrown away afterwards.  Cycles
    are those of the first and last beat of each output port, of ``SEQUENCES`` random sequences back to back.
    """
    try:
        _check_version(version)
        with tempfile.TemporaryDirectory(prefix="hwgen-measure-", dir=scratch) as folder:
            return _measure(model, name, point, flow, Path(folder))
    except HwgenError as error:
        return {"error": str(error)}
    except Exception as error:
        # Errors travel as text: one point must not stop the others, and not every exception can be pickled.
        return {"error": f"{type(error).__name__}: {error}"}


def _check_version(version: str) -> None:
    if hwgen.__version__ != version:
        raise ConfigError(
            f"the worker has hwgen {hwgen.__version__}, the exploration {version}: install the same on both"
        )


def _measure(model: bytes, name: str, point: Mapping[str, Any], flow: str, folder: Path) -> dict[str, Any]:
    source = folder / "model.onnx"
    source.write_bytes(model)
    clock = [time.monotonic()]
    # A folding of a design space is taken as it is, whether an option concerns it or not.
    make = planning.schedule if "folding" in point else schedule
    project = build(make(frontend.load(source, name), **_arguments(point)), folder / "project", "rtl")
    clock.append(time.monotonic())
    verification = verify(project, level="rtl", sequences=SEQUENCES, seed=SEED)
    clock.append(time.monotonic())
    synthesis = synthesise(project, flow, units=False)
    clock.append(time.monotonic())
    levels = verification["levels"]
    stages = zip(("build", "verify", "synth"), clock, clock[1:], strict=False)
    return {
        "predicted": synthesis.get("predicted"),
        "measured": synthesis["measured"],
        "relative_error": synthesis.get("relative_error"),
        **{key: synthesis[key] for key in ("device", "fmax_mhz") if key in synthesis},
        "cycles": {"predicted": levels["rtl"]["predicted_cycles"], "simulated": levels["rtl"]["simulated_cycles"]},
        "sequences": levels["rtl"]["sequences"],
        "steps": levels["rtl"]["steps"],
        "codes": sum(level["codes"] for level in levels.values()),
        "mismatches": sum(level["mismatches"] for level in levels.values()),
        "passed": verification["passed"],
        "seconds": {stage: round(end - begin, 2) for stage, begin, end in stages},
    }


def _arguments(point: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``schedule``: JSON has lists where it takes tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in point.items()}
