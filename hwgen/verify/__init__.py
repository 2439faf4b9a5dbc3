# SPDX-License-Identifier: Apache-2.0
"""Verification: reference = integer model = every level of simulation, in every code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from hwgen import host, vectors
from hwgen.errors import ConfigError, printable
from hwgen.project import Project, write_report
from hwgen.rtl_cycles import predict
from hwgen.verify import csim, protocol, rtl

LEVELS = ("csim", "rtl", "cocotb")
BACKEND_OF = {"csim": "hls", "rtl": "rtl", "cocotb": "rtl"}
_TRACED = ("rtl", "cocotb")
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
    verilog: Sequence[Path] = (),
    top: str | None = None,
    trace: bool = False,
) -> dict[str, Any]:
    """Compare the float64 reference, the integer model and the simulations; writes verify.json and the report.

    ``inputs`` are real graph inputs by ONNX name, ``given`` sequences of codes of unequal lengths; without either,
    ``sequences`` random ones of random lengths are taken.  Level cocotb takes as many of them as it has time for.
    ``verilog`` and ``top`` put that level on a design from elsewhere.  ``trace`` writes waveforms, of few sequences.
    The result says for each level how many codes were compared and how many differ; ``passed`` is the verdict.
    """
    levels = _levels(project, level, bool(verilog), trace)
    foreign = protocol.foreign(verilog, top) if verilog or top is not None else None
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
    if trace:
        data = protocol.bounded(design, data, trace)
    progress("evaluating the float64 reference and the integer model")
    expected, reference = vectors.integer_results(design, data), vectors.reference_results(design, data)
    compared = sum(codes.size for codes in expected.codes.values())
    differing = sum(int((codes != reference.port(name)).sum()) for name, codes in expected.codes.items())
    report: dict[str, Any] = {
        "input": "random" if inputs is None and given is None else "given",
        "seed": seed,
        "levels": {"integer": _level(data, compared, differing)},
    }
    for name in levels:
        if name == "csim":
            entry = _level(data, *_csim(project, data, expected, seed, progress))
        elif name == "rtl":
            entry = _level(data, *_rtl(project, data, expected, seed, progress, trace))
        else:
            entry = _cocotb(project, data, seed, progress, foreign, trace)
        if trace and name in _TRACED:
            entry["waveform"] = str(_waveform(project, name))
        report["levels"][name] = entry
    report["passed"] = all(map(_passed, report["levels"].values()))
    (project.path / "verify.json").write_text(json.dumps(report, indent=2) + "\n")
    write_report(project)
    return report


def _levels(project: Project, level: str, foreign: bool, trace: bool) -> list[str]:
    """The levels to run: the one that was asked for, or all that the project has a backend for."""
    if level not in (*LEVELS, "all"):
        raise ConfigError(f"--level must be one of {', '.join(LEVELS)}, all, not {printable(level)}")
    if foreign and level != "cocotb":
        raise ConfigError(f"--verilog needs --level cocotb, not {level}")
    levels = [name for name in LEVELS if level in (name, "all")]
    if not foreign:
        levels = [name for name in levels if BACKEND_OF[name] in project.backends]
    if level != "all" and not levels:
        backend = BACKEND_OF[level]
        raise ConfigError(
            f"--level {level}: the project has no {backend} backend; build it with --backend {backend} or all"
        )
    if trace and not set(levels) & set(_TRACED):
        raise ConfigError(f"--trace needs level {' or '.join(_TRACED)}, of a project with the rtl backend")
    return levels


def _passed(entry: dict[str, Any]) -> bool:
    """No code differs, cycles are as predicted where there is a prediction, and no pattern found anything else."""
    patterns = entry.get("patterns", {}).values()
    timed = entry["predicted_cycles"] in (None, entry["simulated_cycles"])
    return entry["mismatches"] == 0 and timed and all(pattern["passed"] for pattern in patterns)


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
    project: Project,
    data: vectors.Sequences,
    expected: vectors.Results,
    seed: int,
    progress: Progress,
    trace: bool,
) -> tuple[int, int, _Cycles, _Cycles]:
    progress("compiling the RTL simulation")
    prediction = predict(project.design, data.lengths)
    optimize = rtl.optimization(project.design, prediction.last * len(_STALLS))
    binary = rtl.compile_simulation(project, optimize, trace)
    predicted = prediction.ports
    codes = mismatches = 0
    simulated: rtl.Cycles = {}
    for stall in _STALLS:
        progress(f"RTL simulation, {_stalled(stall)}")
        # The waveform is that of the last run, with stalls.
        waveform = _waveform(project, "rtl") if trace else None
        comparison, cycles = rtl.simulate(project, binary, data, expected, stall, seed, waveform)
        codes, mismatches = codes + comparison.codes, mismatches + comparison.mismatches
        if stall == 0:
            simulated = cycles
    return codes, mismatches, _listed(predicted), _listed(simulated)


def _cocotb(
    project: Project,
    data: vectors.Sequences,
    seed: int,
    progress: Progress,
    foreign: protocol.Verilog | None,
    trace: bool,
) -> dict[str, Any]:
    verilog = foreign or protocol.generated(project)
    progress("building the cocotb bench")
    model = protocol.build(verilog, project.path if foreign else project.path / "rtl", trace)
    some = protocol.bounded(project.design, data)
    progress(f"cocotb bench, {len(some.lengths)} sequences through each pattern")
    run = protocol.run(project.design, verilog, model, some, seed, _waveform(project, "cocotb") if trace else None)
    codes, mismatches = (sum(getattr(pattern, what) for pattern in run.patterns) for what in ("codes", "mismatches"))
    patterns = {
        pattern.name: {
            "passed": pattern.passed,
            "codes": pattern.codes,
            "mismatches": pattern.mismatches,
            "clock_cycles": pattern.clock_cycles,
            "problems": list(pattern.problems),
        }
        for pattern in run.patterns
    }
    entry = _level(some, codes, mismatches, run.predicted, run.simulated) | {"patterns": patterns}
    if foreign:
        entry |= {"verilog": [str(path) for path in foreign.sources], "top": foreign.top}
    return entry


def _waveform(project: Project, level: str) -> Path:
    return project.path / f"{level}.vcd"


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
