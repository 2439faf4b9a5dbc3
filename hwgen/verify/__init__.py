# SPDX-License-Identifier: Apache-2.0
"""Verification: reference = integer model = every level of simulation, in every code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from hwgen import host, vectors
from hwgen.errors import ConfigError, printable
from hwgen.project import Project
from hwgen.rtl_timing import timeline
from hwgen.verify import csim, rtl

LEVELS = ("csim", "rtl")
BACKEND_OF = {"csim": "hls", "rtl": "rtl"}
# Without stalls, and with both sides stalled a third of the time.
_STALLS = (0, 33)
Progress = Callable[[str], None]
_Cycles = dict[str, dict[str, int]]


def verify(
    project: Project,
    inputs: Mapping[str, ArrayLike] | None = None,
    level: str = "all",
    sequences: int = 64,
    seed: int = 1,
    progress: Progress = lambda message: None,
    given: vectors.Sequences | None = None,
) -> dict[str, Any]:
    """Compare the float64 reference, the integer model and the simulations of a project; writes verify.json.

    ``inputs`` are real graph inputs by ONNX name, ``given`` sequences of codes of unequal lengths; without either,
    ``sequences`` random ones of random lengths are taken.
    The result says for each level how many codes were compared and how many differ; ``passed`` is the verdict.
    """
    if level not in (*LEVELS, "all"):
        raise ConfigError(f"--level must be one of {', '.join(LEVELS)}, all, not {printable(level)}")
    if sequences < 1:
        raise ConfigError(f"--sequences must be at least 1, not {sequences}")
    if not 0 <= seed < 2**31:
        raise ConfigError(f"--seed must be from 0 to 2^31 - 1, not {seed}")
    design = project.design
    if given is not None:
        data = given
    elif inputs is not None:
        data = vectors.from_user(design, host.encode(design.network, inputs))
    else:
        data = vectors.random_sequences(design, sequences, seed)
    progress("evaluating the float64 reference and the integer model")
    expected, reference = vectors.integer_results(design, data), vectors.reference_results(design, data)
    compared = sum(expected.port(name).size for name in ("y", "h_n", "c_n"))
    differing = sum(int((expected.port(name) != reference.port(name)).sum()) for name in ("y", "h_n", "c_n"))
    report: dict[str, Any] = {
        "input": "random" if inputs is None and given is None else "given",
        "seed": seed,
        "levels": {"integer": _level(data, compared, differing)},
    }
    for name, simulate in (("csim", _csim), ("rtl", _rtl)):
        if level not in (name, "all"):
            continue
        if BACKEND_OF[name] not in project.backends:
            if level == name:
                raise ConfigError(
                    f"--level {name}: the project has no {BACKEND_OF[name]} backend; "
                    f"build it with --backend {BACKEND_OF[name]} or all"
                )
            continue
        report["levels"][name] = _level(data, *simulate(project, data, expected, seed, progress))
    report["passed"] = all(
        entry["mismatches"] == 0 and entry["predicted_cycles"] == entry["simulated_cycles"]
        for entry in report["levels"].values()
    )
    (project.path / "verify.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _csim(
    project: Project, data: vectors.Sequences, expected: vectors.Results, seed: int, progress: Progress
) -> tuple[int, int]:
    progress("compiling the C simulation")
    csim.compile_testbench(project)
    results = []
    for stall in _STALLS:
        progress(f"C simulation, {_stalled(stall)}")
        results.append(csim.simulate(project, data, expected, stall, seed))
    return sum(result.codes for result in results), sum(result.mismatches for result in results)


def _rtl(
    project: Project, data: vectors.Sequences, expected: vectors.Results, seed: int, progress: Progress
) -> tuple[int, int, _Cycles, _Cycles]:
    progress("compiling the RTL simulation")
    prediction = timeline(project.design).predict(data.lengths)
    binary = rtl.compile_simulation(project, rtl.optimization(project.design, prediction.last * len(_STALLS)))
    predicted = prediction.ports
    codes = mismatches = 0
    simulated: rtl.Cycles = {}
    for stall in _STALLS:
        progress(f"RTL simulation, {_stalled(stall)}")
        comparison, cycles = rtl.simulate(project, binary, data, expected, stall, seed)
        codes, mismatches = codes + comparison.codes, mismatches + comparison.mismatches
        if stall == 0:
            simulated = cycles
    return codes, mismatches, _listed(predicted), _listed(simulated)


def _stalled(percent: int) -> str:
    return "no stalls" if percent == 0 else f"both sides stalled {percent} % of the time"


def _listed(cycles: rtl.Cycles) -> _Cycles:
    return {name: {"first": first, "last": last} for name, (first, last) in cycles.items()}


def _level(
    data: vectors.Sequences,
    codes: int,
    mismatches: int,
    predicted: _Cycles | None = None,
    simulated: _Cycles | None = None,
) -> dict[str, Any]:
    """One entry of verify.json.  Cycles are those of the first and last beat of each output, from the first of x; only
    RTL has a clock.
    """
    return {
        "sequences": len(data.lengths),
        "steps": data.steps,
        "codes": codes,
        "mismatches": mismatches,
        "predicted_cycles": predicted,
        "simulated_cycles": simulated,
    }
