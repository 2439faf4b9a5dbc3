# SPDX-License-Identifier: Apache-2.0
"""What the simulators share: vector files in, a compiled test bench run on them, codes compared as they come out."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import ToolError
from hwgen.interleaving import Order
from hwgen.project import Project, port_files
from hwgen.vectors import Results, Sequences, from_text


@dataclass(frozen=True)
class Comparison:
    """Codes compared, how many of them differ, and what the test bench printed."""

    codes: int
    mismatches: int
    printed: str


def run_testbench(
    binary: Path, cwd: Path, what: str, project: Project, sequences: Sequences, expected: Results, options: list[str]
) -> Comparison:
    """Run sequences back to back through a compiled test bench and compare its outputs with ``expected``.

    The test bench compares as well; that the two agree is checked.  Raises ToolError if it ends in any other way than
    equal or different, a deadlock included.
    """
    with tempfile.TemporaryDirectory(prefix="hwgen-") as folder:
        for name, text in port_files(project.design, sequences, expected).items():
            (Path(folder) / f"{name}.txt").write_text(text)
        out = Path(folder) / "out"
        out.mkdir()
        command = [str(binary.resolve()), "--vectors", folder, "--write", str(out), *options]
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        if result.returncode not in (0, 1):
            log = result.stdout + result.stderr
            raise ToolError(f"{what} stopped (exit status {result.returncode}):\n{log.strip()}", log)
        codes = mismatches = 0
        order = Order(sequences.lengths, project.design.options.interleave)
        for port in project.design.outputs:
            got = from_text(port, (out / f"{port.name}.txt").read_text(), order)
            wanted = expected.port(port.name)
            codes += wanted.size
            mismatches += max(wanted.size, 1) if got is None else int((got != wanted).sum())
    if (result.returncode == 0) != (mismatches == 0):
        raise ToolError(f"{what}: the test bench and the comparison disagree:\n{result.stdout.strip()}", result.stdout)
    return Comparison(codes, mismatches, result.stdout)
