# SPDX-License-Identifier: Apache-2.0
"""C simulation: the generated HLS code compiled as it is, with Xilinx's ap_types and hwgen's stand-in headers."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hwgen import resources, toolchain
from hwgen.backends.hls import top_name
from hwgen.errors import ToolError
from hwgen.project import Project, port_files
from hwgen.vectors import Results, Sequences, from_text

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


@dataclass(frozen=True)
class Comparison:
    """Codes compared, and how many of them differ."""

    codes: int
    mismatches: int


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
    """Run the sequences through the compiled design back to back, each side stalled ``stall`` % of the time.

    The codes that come out are compared here with ``expected``; the test bench's own count must agree.
    """
    binary = compile_testbench(project)
    with tempfile.TemporaryDirectory(prefix="hwgen-csim-") as folder:
        for name, text in port_files(project.design, sequences, expected).items():
            (Path(folder) / f"{name}.txt").write_text(text)
        out = Path(folder) / "out"
        out.mkdir()
        arguments = ["--vectors", folder, "--write", str(out), "--stall", str(stall), "--seed", str(seed)]
        status, printed = _run(binary, arguments)
        compared = mismatches = 0
        for port in project.design.outputs:
            got, lengths = from_text((out / f"{port.name}.txt").read_text(), port.width)
            wanted = expected.port(port.name)
            wanted_lengths = sequences.lengths if port.name == "y" else (1,) * len(sequences.lengths)
            compared += wanted.size
            if got.shape != wanted.shape or lengths != wanted_lengths:
                mismatches += max(wanted.size, 1)
            else:
                mismatches += int((got != wanted).sum())
    if (status == 0) != (mismatches == 0):
        raise ToolError(f"C simulation: the test bench and the comparison disagree: {printed.strip()}", printed)
    return Comparison(compared, mismatches)


def _run(binary: Path, arguments: list[str]) -> tuple[int, str]:
    """Exit status 0 and 1 are results (equal, different); anything else, deadlock included, is an error."""
    result = subprocess.run([str(binary), *arguments], capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        text = (result.stderr or result.stdout).strip()
        raise ToolError(
            f"C simulation stopped (exit status {result.returncode}):\n{text}", result.stdout + result.stderr
        )
    return result.returncode, result.stdout
