# SPDX-License-Identifier: Apache-2.0
"""Work for tests of measuring: points without simulation and synthesis.  Worker processes import this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwgen import cost
from hwgen.explore import point as real
from hwgen.project import Project

# Every call is a line of this file, which also says what to do with some points.
LOG = "HWGEN_TEST_LOG"
measure_point = real.measure_point


def log() -> Path:
    return Path(os.environ[LOG])


def calls() -> list[str]:
    """The points that were worked on, in the order in which that began."""
    return log().read_text().split() if log().exists() else []


def simulated(project: Project, level: str, sequences: int, seed: int) -> dict[str, Any]:
    cycles = {"y": {"first": 10, "last": 20}}
    entry = {"predicted_cycles": cycles, "simulated_cycles": cycles, "sequences": sequences, "steps": 12}
    levels = {name: {"codes": 7, "mismatches": 0} | entry for name in ("integer", level)}
    return {"levels": levels, "passed": True}


def synthesised(project: Project, flow: str, units: bool) -> dict[str, Any]:
    predicted = cost.predict(project.design, flow).whole.to_dict()
    measured = predicted | {"lut": predicted["lut"] + 8}
    return {"predicted": predicted, "measured": measured, "relative_error": dict.fromkeys(predicted, 0.0)}


def quick(model: bytes, name: str, point: Mapping[str, Any], *rest: Any) -> dict[str, Any]:
    """A point as it is measured, but for the simulation and the synthesis; clocks say what else happens.

    50 MHz: the worker is killed, once.  51 MHz: it is killed every time.  52 MHz: waits for a file called "go".
    53 MHz: takes a second.
    """
    clock = point.get("clock_mhz", 100)
    before = calls().count(f"{clock}")
    with log().open("a") as file:
        file.write(f"{clock}\n")
    if clock == 51 or (clock == 50 and not before):
        os.kill(os.getpid(), signal.SIGKILL)
    while clock == 52 and not log().with_name("go").exists():
        time.sleep(0.05)
    time.sleep(clock == 53)
    vars(real).update(verify=simulated, synthesise=synthesised)
    return measure_point(model, name, point, *rest)
