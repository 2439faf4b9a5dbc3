# SPDX-License-Identifier: Apache-2.0
"""C simulation: the generated HLS code compiled as it is, with Xilinx's ap_types and hwgen's stand-in headers."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from hwgen import resources, toolchain
from hwgen.backends.naming import top_name
from hwgen.errors import ToolError
from hwgen.project import Project
from hwgen.vectors import Results, Sequences
from hwgen.verify.simulation import Comparison, run_testbench

CXX_FLAGS = (
    "-std=c++14",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    # The pragmas are for Vitis; the uninitialized warnings come from inside ap_int.h.
    "-Wno-unknown-pragmas",
    "-Wno-uninitialized",
)
# Understood by g++ alone.
_GCC_FLAGS = ("-Wno-maybe-uninitialized",)


def compile_testbench(project: Project, flags: tuple[str, ...] = CXX_FLAGS, compiler: str | None = None) -> Path:
    """The test bench of a project as an executable, compiled once for each state of its sources."""
    compiler = compiler or toolchain.cxx_compiler()
    if "clang" not in Path(compiler).name:
        flags = (*flags, *_GCC_FLAGS)
    hls = project.path / "hls"
    sources = [hls / "src" / f"{top_name(project.design)}.cpp", hls / "tb" / "testbench.cpp"]
    headers = sorted([*hls.glob("src/*.hpp"), *hls.glob("lib/*.hpp"), *hls.glob("tb/*.hpp")])
    stand_ins = resources.sim() / "csim" / "include"
    digest = hashlib.sha256(repr((compiler, flags)).encode())
    for path in [*sources, *headers, *sorted(stand_ins.glob("*.h"))]:
        if not path.is_file():
            raise ToolError(f"{path}: missing; build the project again with --backend hls")
        digest.update(path.read_bytes())
    binary = hls / "build" / f"testbench-{digest.hexdigest()[:16]}"
    if binary.is_file():
        return binary
    binary.parent.mkdir(exist_ok=True)
    partial = binary.with_suffix(f".{os.getpid()}")
    includes = [f"-I{hls / 'lib'}", f"-I{hls / 'src'}", f"-I{stand_ins}", "-isystem", str(toolchain.ap_types())]
    command = [compiler, *flags, "-DHWGEN_CSIM", *includes, "-o", str(partial), *map(str, sources)]
    toolchain.run(command, "compiling the C simulation")
    os.replace(partial, binary)
    return binary


def simulate(project: Project, sequences: Sequences, expected: Results, stall: int, seed: int) -> Comparison:
    """Run the sequences through the compiled design, each side stalled ``stall`` % of the time."""
    binary = compile_testbench(project)
    options = ["--stall", str(stall), "--seed", str(seed)]
    return run_testbench(binary, project.path, "C simulation", project, sequences, expected, options)
