# SPDX-License-Identifier: Apache-2.0
"""The generated HLS code: state, constants, deadlocks, planted errors, compilers.

Every option set: test_exactness.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import MODELS

import hwgen
from hwgen import resources, toolchain
from hwgen.backends.hls import generate
from hwgen.backends.naming import camel
from hwgen.errors import ToolError
from hwgen.schedule import schedule
from hwgen.verify import csim

NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))
ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")


def test_streaming_keeps_the_state_across_sequences(default_model: Path, tmp_path: Path) -> None:
    network = hwgen.load(default_model)
    project = hwgen.build(schedule(network, streaming=True, outputs=ALL_OUTPUTS), tmp_path / "project")
    assert project.verify(sequences=30, seed=3)["passed"]
    # The same vectors do not fit a design that returns to the initial state.
    forgetful = hwgen.build(schedule(network, outputs=ALL_OUTPUTS), tmp_path / "forgetful")
    shutil.copytree(project.path / "hls" / "vectors", forgetful.path / "hls" / "vectors", dirs_exist_ok=True)
    assert run_shipped_vectors(forgetful, stall=0).returncode == 1


def test_a_gate_that_never_moves_is_a_constant(tmp_path: Path, default_model: Path) -> None:
    """With an accumulator scale beyond all sums the gate code is always 0: a step function without thresholds."""
    network = hwgen.load(default_model)
    gate = network.layer.gate("input")
    still = replace(gate, accumulator=replace(gate.accumulator, scale=(1e9,)))
    network = replace(network, layers=(replace(network.layer, gates=(still, *network.layer.gates[1:])),))
    assert hwgen.build(schedule(network), tmp_path / "project").verify(sequences=20)["passed"]


def test_thresholds_that_are_never_reached_fit_their_type() -> None:
    """They lie one above the domain, which may be one too many for the type of the domain."""
    found = 0
    for name in NAMES:
        design = schedule(hwgen.load(MODELS / f"{name}.onnx"))
        text = generate(design, "origin")["src/parameters.hpp"]
        for step_name, certified in design.cell.steps():
            if certified.form.kind == "search":
                struct = text[text.index(f"struct {camel(step_name)} {{") :]
                match = re.search(r"typedef ap_int<(\d+)> value_t", struct)
                assert match is not None
                assert certified.step.hi + 1 < 2 ** (int(match[1]) - 1), f"{name}, {step_name}"
                found += 1
    assert found > 5


def run_shipped_vectors(project: hwgen.Project, stall: int) -> subprocess.CompletedProcess[str]:
    binary = csim.compile_testbench(project)
    command = [str(binary), "--vectors", str(project.path / "hls" / "vectors"), "--stall", str(stall)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("file", "pattern", "replacement"),
    [
        ("weights.hpp", r"(hidden_weights\S+ =\n\{+)(-?\d+)", lambda m: f"{m[1]}{-int(m[2]) or 1}"),
        (
            "parameters.hpp",
            r"(struct InputAccumulator.*?multiplier\(int\) \{ return )(\d+)",
            lambda m: f"{m[1]}{int(m[2]) * 2}",
        ),
        (
            "parameters.hpp",
            r"(struct ForgetProduct.*?offset\(int\) \{ return )(\d+)",
            lambda m: f"{m[1]}{int(m[2]) * 3}",
        ),
        ("parameters.hpp", r"(struct HiddenStateTanh.*?(?:-?\d+,\s+){140})(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}"),
    ],
    ids=["weight", "multiplier", "rounding constant", "table entry"],
)
def test_an_error_planted_in_the_generated_code_is_caught(
    file: str, pattern: str, replacement: Callable[[re.Match[str]], str], default_model: Path, tmp_path: Path
) -> None:
    project = hwgen.build(schedule(hwgen.load(default_model)), tmp_path / "project")
    source = project.path / "hls" / "src" / file
    text, count = re.subn(pattern, replacement, source.read_text(), count=1, flags=re.DOTALL)
    assert count == 1, f"{pattern} does not occur in {file}"
    source.write_text(text)
    report = project.verify(sequences=64)
    assert report["levels"]["integer"]["mismatches"] == 0
    assert report["levels"]["csim"]["mismatches"] > 0
    assert not report["passed"]


def test_a_design_that_hangs_is_reported_as_a_deadlock(tmp_path: Path) -> None:
    """A task that never forwards the last cell state leaves the test bench waiting."""
    design = schedule(hwgen.load(MODELS / "default.onnx"), outputs=ALL_OUTPUTS)
    project = hwgen.build(design, tmp_path / "project")
    source = project.path / "hls" / "src" / "default_top.cpp"
    source.write_text(source.read_text().replace("if (state.last) c_n_codes", "if (group < 0) c_n_codes"))
    with pytest.raises(ToolError, match=r"(?s)DEADLOCK.*'c_n_codes', which is empty") as error:
        project.verify(sequences=4)
    assert "exit status 3" in str(error.value)


def test_shipped_vectors_pass_with_the_projects_own_makefile(default_model: Path, tmp_path: Path) -> None:
    project = hwgen.build(schedule(hwgen.load(default_model)), tmp_path / "project")
    stand_ins = resources.sim() / "csim" / "include"
    command = [
        "make",
        "-C",
        str(project.path / "hls"),
        "csim",
        f"AP_TYPES={toolchain.ap_types()}",
        f"HWGEN_SIM={stand_ins}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert " 0 mismatches" in result.stdout


@pytest.mark.parametrize("name", ["default", "coupled", "binary", "states_reversed"])
def test_clang_accepts_the_generated_code_without_a_warning(name: str, tmp_path: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        assert not os.environ.get("CI"), "CI must install clang++"
        pytest.skip("clang++ is not installed; CI installs it")
    network = hwgen.load(MODELS / f"{name}.onnx")
    project = hwgen.build(schedule(network, outputs=ALL_OUTPUTS), tmp_path / "project")
    binary = csim.compile_testbench(project, compiler=compiler)
    command = [str(binary), "--vectors", str(project.path / "hls" / "vectors"), "--stall", "30"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_generated_code_uses_nothing_that_only_simulates(tmp_path: Path) -> None:
    for name in NAMES:
        design = schedule(hwgen.load(MODELS / f"{name}.onnx"), outputs=ALL_OUTPUTS)
        for path, text in generate(design, "origin").items():
            if path.startswith(("src/", "lib/")):
                code = re.sub(r"//.*", "", text)
                found = re.findall(r"\b(?:float|double|new|malloc|while|goto|std::vector|throw)\b", code)
                assert not found, f"{name}, {path}: {found}"
