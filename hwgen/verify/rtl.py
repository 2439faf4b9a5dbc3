# SPDX-License-Identifier: Apache-2.0
"""RTL simulation: the generated SystemVerilog under Verilator, in codes and in cycles."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from hwgen import toolchain
from hwgen.errors import ToolError
from hwgen.project import Project
from hwgen.vectors import Results, Sequences
from hwgen.verify.simulation import Comparison, run_testbench

Cycles = dict[str, tuple[int, int]]


def compile_simulation(project: Project, trace: bool = False) -> Path:
    """The Verilator model of a project with its harness, built once for each state of its sources."""
    rtl = project.path / "rtl"
    if not (rtl / "sources.f").is_file():
        raise ToolError(f"{rtl}: no RTL; build the project again with --backend rtl or all")
    verilator = toolchain.verilator()
    digest = hashlib.sha256(repr((str(verilator), trace)).encode())
    for path in sorted(path for folder in ("lib", "src", "rom", "tb") for path in (rtl / folder).glob("*")):
        digest.update(path.name.encode() + path.read_bytes())
    binary = rtl / f"build-{digest.hexdigest()[:16]}" / "Vtop"
    if binary.is_file():
        return binary
    # The project's own Makefile knows how; it builds in a folder of its own and is then put in place.
    partial = rtl / f"build-{os.getpid()}"
    variables = [f"BUILD={partial.name}", f"VERILATOR={verilator}", *(["TRACE=1"] if trace else [])]
    command = ["make", "-C", str(rtl), *variables, f"{partial.name}/Vtop"]
    try:
        toolchain.run(command, "compiling the RTL simulation")
        partial.rename(binary.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return binary


def simulate(
    project: Project, sequences: Sequences, expected: Results, stall: int, seed: int, trace: Path | None = None
) -> tuple[Comparison, Cycles]:
    """Run the sequences through the design, each side stalled ``stall`` % of the time, with a waveform on request.

    Also returns, for each output port, the cycles of its first and last beat, from the first beat that x accepts.
    """
    binary = compile_simulation(project, trace is not None)
    # Memories are read from rom/, relative to the folder of the sources.
    options = ["--stall", str(stall), "--seed", str(seed)]
    if trace is not None:
        options += ["--trace", str(trace.resolve())]
    comparison = run_testbench(binary, project.path / "rtl", "RTL simulation", project, sequences, expected, options)
    found = re.findall(r"^(\w+): first beat in cycle (-?\d+), last beat in cycle (-?\d+)$", comparison.printed, re.M)
    return comparison, {name: (int(first), int(last)) for name, first, last in found}
