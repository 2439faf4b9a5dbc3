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
from hwgen.verify import csim

LEVELS = ("csim",)
# Without stalls, and with both sides stalled a third of the time.
_STALLS = (0, 33)
Progress = Callable[[str], None]


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
    if level in ("csim", "all") and "hls" in project.backends:
        progress("compiling the C simulation")
        csim.compile_testbench(project)
        results = []
        for stall in _STALLS:
            progress(f"C simulation, {'no stalls' if stall == 0 else f'both sides stalled {stall} % of the time'}")
            results.append(csim.simulate(project, data, expected, stall, seed))
        codes, wrong = sum(r.codes for r in results), sum(r.mismatches for r in results)
        report["levels"]["csim"] = _level(data, codes, wrong)
    if level == "csim" and "csim" not in report["levels"]:
        raise ConfigError("--level csim: the project has no HLS backend; build it with --backend hls")
    report["passed"] = all(entry["mismatches"] == 0 for entry in report["levels"].values())
    (project.path / "verify.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _level(data: vectors.Sequences, codes: int, mismatches: int) -> dict[str, Any]:
    return {
        "sequences": len(data.lengths),
        "steps": data.steps,
        "codes": codes,
        "mismatches": mismatches,
        # C simulation has no clock; cycles come with RTL.
        "predicted_cycles": None,
        "simulated_cycles": None,
    }
