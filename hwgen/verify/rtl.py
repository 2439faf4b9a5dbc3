# SPDX-License-Identifier: Apache-2.0
"""RTL simulation: the generated SystemVerilog under Verilator, in codes and in cycles."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from hwgen import toolchain
from hwgen.dataflow import Design
from hwgen.errors import ToolError
from hwgen.project import Project
from hwgen.vectors import Results, Sequences
from hwgen.verify import verilated
from hwgen.verify.simulation import Comparison, run_testbench

Cycles = dict[str, tuple[int, int]]


# Cycles times multipliers from which on a compiler that optimises costs less time than it saves.
_WORTH_OPTIMIZING = 5e7


def optimization(design: Design, cycles: int) -> str:
    """The C++ compiler's option for simulating so many cycles: a large design compiles much faster without."""
    multipliers = sum(product.pe * product.simd for product in design.products)
    return "-O1" if multipliers * cycles > _WORTH_OPTIMIZING else "-O0"


def compile_simulation(project: Project, optimize: str = "-O1", trace: bool = False) -> Path:
    """The Verilator model of a project with its harness, built once for each state of its sources and options."""
    rtl = project.path / "rtl"
    if not (rtl / "sources.f").is_file():
        raise ToolError(f"{rtl}: no RTL; build the project again with --backend rtl or all")
    verilator = toolchain.verilator()
    digest = hashlib.sha256(repr((str(verilator), optimize, trace)).encode())
    for path in sorted(path for folder in ("lib", "src", "rom", "tb") for path in (rtl / folder).rglob("*.*")):
        digest.update(path.name.encode() + path.read_bytes())
    binary = rtl / f"build-{digest.hexdigest()[:16]}" / "Vtop"
    if binary.is_file():
        return binary
    # The project's own Makefile knows how; it builds in a folder of its own and is then put in place.
    partial = rtl / f"build-{os.getpid()}"
    variables = [f"BUILD={partial.name}", f"VERILATOR={verilator}", f"OPTIMIZE={optimize}"]
    variables.append(f"PYTHON={sys.executable}")
    variables += ["TRACE=1"] if trace else []
    command = ["make", "-C", str(rtl), *variables, f"{partial.name}/Vtop"]
    how = f"harness {optimize}{' traced' if trace else ''}"
    try:
        partial.mkdir()
        verilated.put(partial, how)
        toolchain.run(command, "compiling the RTL simulation")
        verilated.keep(partial, how)
        partial.rename(binary.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return binary


def simulate(
    project: Project,
    binary: Path,
    sequences: Sequences,
    expected: Results,
    stall: int,
    seed: int,
    waveform: Path | None = None,
) -> tuple[Comparison, Cycles]:
    """Run the sequences through the model that ``compile_simulation`` made, each side stalled ``stall`` % of the time.

    Also returns, for each output port, the cycles of its first and last beat, from the first beat that x accepts.
    A model with traces writes ``waveform``.
    """
    # Memories are read from rom/, relative to the folder of the sources.
    options = ["--stall", str(stall), "--seed", str(seed)]
    if waveform is not None:
        options += ["--trace", str(waveform.resolve())]
    comparison = run_testbench(binary, project.path / "rtl", "RTL simulation", project, sequences, expected, options)
    found = re.findall(r"^(\w+): first beat in cycle (-?\d+), last beat in cycle (-?\d+)$", comparison.printed, re.M)
    return comparison, {name: (int(first), int(last)) for name, first, last in found}
