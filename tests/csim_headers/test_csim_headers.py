# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for Vitis headers in sim/csim/include, each test a small C++ program.

CSIM_CXXFLAGS in the environment adds compiler options, e.g. -fsanitize=undefined.
"""

import functools
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hwgen import toolchain

Build = Callable[[tuple[str, ...], tuple[str, ...]], Path]
Run = Callable[..., subprocess.CompletedProcess[str]]
HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "sim" / "csim" / "include"
# Pragmas are for Vitis; ap_types reads the bits that it then clears.
IGNORED = ["-Wno-unknown-pragmas", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]
WARNINGS = [*["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"], *IGNORED]


@pytest.fixture(scope="module")
def compiler() -> list[str]:
    ap_types = toolchain.ap_types()
    extra = os.environ.get("CSIM_CXXFLAGS", "").split()
    return [toolchain.cxx_compiler(), "-std=c++14", "-O2", *WARNINGS, *extra, f"-I{INCLUDE}", "-isystem", str(ap_types)]


@pytest.fixture(scope="module")
def build(compiler: list[str], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles sources into a program, once for all tests that want the same one."""

    @functools.cache
    def compile_program(sources: tuple[str, ...], defines: tuple[str, ...]) -> Path:
        program = tmp_path_factory.mktemp("csim") / "program"
        command = [*compiler, *(f"-D{d}" for d in defines), *(str(HERE / s) for s in sources)]
        built = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        return program

    return compile_program


@pytest.fixture
def run(build: Build) -> Run:
    """Compiles and runs, and returns what came of it."""

    def compile_and_run(
        *sources: str, defines: Sequence[str] = (), args: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        program = build(sources, tuple(defines))
        return subprocess.run([program, *args], capture_output=True, text=True, timeout=30)

    return compile_and_run


@pytest.mark.parametrize("depth", [1, 2, 5, 32])
def test_pipeline_keeps_every_element_in_order(run: Run, depth: int) -> None:
    result = run("pipeline.cpp", defines=[f"FIFO_DEPTH={depth}"])
    assert (result.returncode, result.stdout) == (0, "100000 elements in order\n"), result
    assert result.stderr == ""


def test_cycle_runs_with_enough_depth(run: Run) -> None:
    result = run("deadlock.cpp", defines=["FIFO_DEPTH=2"])
    assert (result.returncode, result.stdout, result.stderr) == (0, "no deadlock\n", "")


def test_cycle_deadlocks_with_too_little_depth(run: Run) -> None:
    # One element in each FIFO, one in the second task's hands, and the fourth does not fit.
    result = run("deadlock.cpp", defines=["FIFO_DEPTH=1"])
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        "DEADLOCK: the test bench waits, and no task can go on",
        "  test bench waits to read stream 'sum', which is empty (0 of 2)",
        "  task 0 waits to write stream 'there', which is full (1 of 1)",
        "  task 1 waits to write stream 'back', which is full (1 of 1)",
    ]


def test_test_bench_that_reads_nothing_deadlocks(run: Run) -> None:
    result = run("deadlock.cpp", defines=["FIFO_DEPTH=2", "WRITE_ONLY"])
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        "DEADLOCK: the test bench waits, and no task can go on",
        "  test bench waits to write stream 'in', which is full (2 of 2)",
        "  task 0 waits to write stream 'sum', which is full (2 of 2)",
        "  task 1 waits to read stream 'there', which is empty (0 of 2)",
    ]


def test_leftover_elements_are_reported(run: Run) -> None:
    result = run("leftover.cpp")
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "WARNING: hls::stream 'unnamed#2' destroyed with 1 element(s) left in it",
        "WARNING: hls::stream 'kept' destroyed with 3 element(s) left in it",
    ]


def test_polling(run: Run) -> None:
    result = run("nonblocking.cpp")
    assert (result.returncode, result.stdout, result.stderr) == (0, "all well\n", "")


def test_polling_in_vain_is_a_deadlock(run: Run) -> None:
    result = run("nonblocking.cpp", args=["stuck"])
    assert (result.returncode, result.stdout) == (3, "all well\n")
    report = result.stderr.splitlines()
    assert report[1] == "  test bench waits to read stream 'out', which is empty (0 of 2)"
    assert re.fullmatch(r"  task \d+ polls to read stream '(never|nor_this)', which is empty \(0 of 2\)", report[2])
    assert len(report) == 3


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("two_readers", "ERROR: hls::stream 'in' has two readers: task 0 and task 1\n"),
        ("two_writers", "ERROR: hls::stream 'out' has two writers: task 0 and test bench\n"),
    ],
)
def test_second_reader_or_writer_is_an_error(run: Run, which: str, message: str) -> None:
    result = run("misuse.cpp", args=[which])
    assert (result.returncode, result.stderr) == (4, message)


def test_stack_overflow_ends_the_run(run: Run) -> None:
    assert run("misuse.cpp", args=["large_local_array"]).returncode < 0  # by a signal
    larger = run("misuse.cpp", args=["large_local_array"], defines=["HLS_SIM_STACK_BYTES=1048576"])
    assert larger.returncode == 0


def test_exit_within_a_task(run: Run) -> None:
    result = run("misuse.cpp", args=["exit_in_task"])
    assert (result.returncode, result.stderr) == (5, "")


def test_report_survives_a_destroyed_stream(run: Run) -> None:
    result = run("misuse.cpp", args=["stream_gone"])
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        "DEADLOCK: as asked for",
        "  test bench waits for no stream",
        "  task 0 waits for a stream that was destroyed",
    ]


def test_tasks_come_and_go(run: Run) -> None:
    result = run("lifetime.cpp")
    assert (result.returncode, result.stderr) == (0, "")


def test_axis_beats(run: Run) -> None:
    result = run("axis.cpp", "axis_top.cpp")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_throughput_is_measured(run: Run) -> None:
    result = run("throughput.cpp", args=["1000"])
    assert result.returncode == 0
    assert len(re.findall(r"^depth +\d+: \d+ elements/s$", result.stdout, re.MULTILINE)) == 3
