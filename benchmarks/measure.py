# SPDX-License-Identifier: Apache-2.0
"""The measurements: building, running, simulating; each returns plain data."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hwgen
from hwgen import kernel, toolchain, vectors
from hwgen.project import open_project, port_files
from hwgen.verify import csim

Size = tuple[int, int]
_HERE = Path(__file__).parent
_TESTS = _HERE.parent / "tests"
_VERSIONS = ("numpy", "torch", "brevitas", "onnxruntime", "onnx")
_BUILD = ("-c", "from hwgen.cli import main; main()", "build")


@dataclass(frozen=True)
class Effort:
    """How long to measure: builds of each size, steps by batch, seconds of each contender and of each simulation."""

    builds: int
    steps: dict[int, int]
    seconds: float
    csim_seconds: float


FULL = Effort(3, {1: 100, 1000: 50}, 5.0, 3.0)
QUICK = Effort(1, {1: 20, 1000: 10}, 0.2, 0.3)


def machine() -> dict[str, Any]:
    """What the numbers depend on, without paths or names."""
    compiler = toolchain.run([toolchain.cxx_compiler(), "--version"], "asking the compiler's version")
    return {
        "processor": _processor(),
        "cores": kernel.processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": compiler.splitlines()[0],
        "hwgen": hwgen.__version__,
        **{name: importlib.metadata.version(name) for name in _VERSIONS},
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def export(size: Size, path: Path) -> None:
    """Write a QuantLSTM with Brevitas' default quantizers and seeded weights; contenders make the same module again.

    In a process of its own: a child's peak memory is never less than what this process holds, and torch holds much.
    """
    code = f"import pathlib, contenders; contenders.export({size}, pathlib.Path({str(path)!r}))"
    _python("-c", code)


def _python(*arguments: object, **environment: str) -> str:
    """What a Python process prints that finds this folder and tests; its own complaints show only if it fails."""
    path = os.pathsep.join(filter(None, [str(_HERE), str(_TESTS), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )
    if result.returncode:
        raise SystemExit(f"a measurement failed:\n{result.stderr}")
    return result.stdout


def compile_engine() -> float:
    """Seconds that the first run on a machine spends on compiling the engine."""
    code = "import time; from hwgen.kernel import load_library; t = time.time(); load_library(); print(time.time() - t)"
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as cache:
        first, second = (float(_python("-c", code, XDG_CACHE_HOME=cache)) for _ in range(2))
    return first - second


def build(model: Path, size: Size, effort: Effort, out: Path) -> dict[str, Any]:
    """``hwgen build`` as a whole process: median seconds, and the most memory that it held."""
    command = [sys.executable, *_BUILD, str(model), "-o", str(out)]
    times, memory = [], 0
    for _ in range(effort.builds):
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        times.append(time.perf_counter() - begin)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        # Kilobytes, but bytes on macOS.
        memory = max(memory, usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1))
    return {
        "size": size,
        "seconds": statistics.median(times),
        "seconds_each": times,
        "peak_memory_mb": memory / 1024,
    }


def run(name: str, model: Path, size: Size, batch: int, effort: Effort) -> dict[str, Any]:
    """Time steps of sequences per second of a contender, in a process of its own."""
    steps = effort.steps[batch]
    printed = _python(_HERE / "contenders.py", name, model, *size, steps, batch, effort.seconds)
    times = json.loads(printed.splitlines()[-1])["seconds"]
    return {
        "name": name,
        "size": size,
        "batch": batch,
        "steps": steps,
        "repetitions": len(times),
        "steps_per_second": steps * batch / min(times),
        "median_steps_per_second": steps * batch / statistics.median(times),
        "ms_per_step": min(times) / steps * 1e3,
    }


def simulate(project: Path, size: Size, effort: Effort) -> dict[str, Any]:
    """Time steps per second of the compiled test bench, files and comparison included; compiled beforehand."""
    opened = open_project(project)
    begin = time.perf_counter()
    binary = csim.compile_testbench(opened)
    compiled = time.perf_counter() - begin
    count, seconds, steps = 4, 0.0, 0
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as folder:
        while True:
            sequences = vectors.random_sequences(opened.design, count, seed=1)
            expected = vectors.integer_results(opened.design, sequences)
            for name, text in port_files(opened.design, sequences, expected).items():
                (Path(folder) / f"{name}.txt").write_text(text)
            begin = time.perf_counter()
            subprocess.run([str(binary), "--vectors", folder], check=True, stdout=subprocess.DEVNULL)
            seconds, steps = time.perf_counter() - begin, sequences.steps
            if seconds > effort.csim_seconds / 2:
                break
            count = min(16 * count, int(count * effort.csim_seconds / seconds) + 1)
    return {
        "size": size,
        "steps": steps,
        "steps_per_second": steps / seconds,
        "compile_seconds": compiled,
        "folding": json.loads((opened.path / "folding.json").read_text()),
    }
