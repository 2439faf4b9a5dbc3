# SPDX-License-Identifier: Apache-2.0
"""Yosys, as the pyosys package brings it, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from hwgen import toolchain
from hwgen.backends.naming import top_name
from hwgen.errors import ConfigError, ToolError, printable
from hwgen.project import Project

_RUNNER = """
import sys
try:
    from pyosys import libyosys
except ImportError:
    sys.exit("Yosys was not found; install it with: pip install 'hwgen[synth]'")
design = libyosys.Design()
for command in sys.stdin.read().splitlines():
    libyosys.run_pass(command, design)
"""
FRONTENDS = ("verilog", "slang")
_SYNTHESIS = {
    "xc7": "synth_xilinx -family xc7 -noiopad -noclkbuf -flatten -top {top}",
    "xcup": "synth_xilinx -family xcup -noiopad -noclkbuf -flatten -top {top}",
    "ecp5": "synth_ecp5 -top {top}",
}
_UNITS = (
    *("hwgen_input_product", "hwgen_matvec", "hwgen_rom", "hwgen_sums_buffer", "hwgen_recurrence_control"),
    *(
        "hwgen_state_memory",
        "hwgen_hidden_memory",
        "hwgen_initial_state",
        "hwgen_axis_output",
        "hwgen_sequence_reverse",
    ),
    # Between the layers of a network.
    *("hwgen_stream_fork", "hwgen_stream_narrow", "hwgen_stream_widen", "hwgen_stream_buffer", "hwgen_stream_concat"),
    *("hwgen_step_select", "hwgen_argmax", "hwgen_shared_rom"),
    *("hwgen_sequence_turns", "hwgen_stream_split", "hwgen_stream_keep", "hwgen_sequence_meet"),
)
# LUTs that a cell takes: on 7 series and UltraScale(+) memories of LUTs count as many as they occupy.
_LUTS = {
    **{f"LUT{n}": 1 for n in range(1, 7)},
    **{"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4},
    **{"RAM256X1D": 8, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8},
    **{"SRL16E": 1, "SRLC32E": 1, "TRELLIS_DPR16X4": 4, "CCU2C": 2},
}
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE", "TRELLIS_FF")
_DSPS = {"DSP48E1": 1, "DSP48E2": 1, "MULT18X18D": 1}
# In blocks of 36 kbit on Xilinx parts, of 18 kbit on ECP5.
_BLOCK_RAMS = {"RAMB36E1": 1.0, "RAMB36E2": 1.0, "RAMB18E1": 0.5, "RAMB18E2": 0.5, "DP16KD": 1.0}


def run_script(commands: list[str], cwd: Path, what: str) -> str:
    """Run Yosys commands in the folder ``cwd``; raises ToolError with the log if one fails."""
    return toolchain.run([sys.executable, "-c", _RUNNER], what, cwd=cwd, stdin="\n".join(commands))


def read_commands(project: Project, frontend: str = "verilog") -> list[str]:
    """Read the sources of a project, from its folder rtl/, memories included, with one of ``FRONTENDS``."""
    sources = (project.path / "rtl" / "sources.f").read_text().split()
    # Modules are elaborated with the parameters of their instances only: defaults name no memory contents.
    reader = {"verilog": "read_verilog -sv -defer", "slang": f"read_slang --top {top_name(project.design)}"}[frontend]
    return [f"{reader} -DSYNTHESIS {' '.join(sources)}"]


def version() -> str:
    """What Yosys says of itself: name, number and commit."""
    found = re.search(r'"creator": "(Yosys [^,"]*)', run_script(["stat -json"], Path(), "Yosys"))
    return found[1].rstrip(") ") + ")" if found else "Yosys"


def cells(
    project: Project, flow: str, folder: Path, by_unit: bool = False, frontend: str = "verilog"
) -> dict[str, dict[str, int]]:
    """The cells after synthesis by type: of the one flattened module, or of each unit with walls between the units."""
    if frontend not in FRONTENDS:
        raise ConfigError(f"frontend must be one of {', '.join(FRONTENDS)}, not {printable(frontend)}")
    top, report = top_name(project.design), folder / f"{flow}-{by_unit}-{frontend}.json"
    synthesise = _SYNTHESIS[flow].format(top=top)
    commands = [
        *read_commands(project, frontend),
        *(_walls(top) if by_unit else []),
        *_checked(synthesise, flow),
        f"tee -q -o {report} stat -json",
    ]
    run_script(commands, project.path / "rtl", f"Yosys for {flow}")
    modules = json.loads(report.read_text())["modules"]
    return {name: module["num_cells_by_type"] for name, module in modules.items()}


def write_netlist(project: Project, flow: str, path: Path) -> None:
    """The flattened netlist as Verilog, in cells of the FPGA: for simulation with ``cell_models``."""
    synthesise = _SYNTHESIS[flow].format(top=top_name(project.design))
    commands = [*read_commands(project), *_checked(synthesise, flow), f"write_verilog -noattr {path}"]
    run_script(commands, project.path / "rtl", f"Yosys for {flow}")


def cell_models(flow: str) -> Path:
    """Yosys' simulation models of the cells of an FPGA; raises ToolError if pyosys is missing."""
    found = importlib.util.find_spec("pyosys")
    for root in (found.submodule_search_locations or ()) if found else ():
        path = Path(root) / "share" / {"ecp5": "ecp5"}.get(flow, "xilinx") / "cells_sim.v"
        if path.is_file():
            return path
    raise ToolError("Yosys was not found; install it with: pip install 'hwgen[synth]'")


def _walls(top: str) -> list[str]:
    """Keep the units of the top level apart, whatever their parameters; what they consist of is flattened."""
    # With the top level's own modules: units, and layers where there are several.
    names = [f"*{name}" for unit in (*_UNITS, f"{top}_*") for name in (unit, unit + r"\\*")]
    return [f"hierarchy -check -top {top}", *(f"setattr -mod -set keep_hierarchy 1 {name}" for name in names)]


def _checked(synthesise: str, flow: str) -> list[str]:
    """Synthesis, halted behind the packing of DSPs to see that it left nothing without a driver.

    Yosys 0.70 may do so (an adder in front of a register that has two readers), and then goes on with zeros.
    """
    if flow not in ("xc7", "xcup"):
        return [synthesise]
    return [f"{synthesise} -run :coarse", "opt_clean", "check -assert", f"{synthesise} -run coarse:"]


def resources(project: Project, flow: str, folder: Path, frontend: str = "verilog") -> dict[str, float]:
    """LUTs, flip-flops, DSPs and block RAMs of the whole, flattened."""
    (found,) = cells(project, flow, folder, frontend=frontend).values()
    return count(found)


Modules = Mapping[str, Mapping[str, int]]


def unit_resources(modules: Modules, top: str) -> dict[str, dict[str, float]]:
    """The same of each unit of ``cells`` by unit: more than the whole, where units share nothing."""
    units: dict[str, dict[str, float]] = {}
    for name, inside in modules.items():
        _add(units.setdefault(_unit(name), _nothing()), count(inside), _instances(name, top, modules))
    return {name: counts for name, counts in sorted(units.items()) if any(counts.values())}


def instance_resources(modules: Modules, top: str) -> dict[str, dict[str, float]]:
    """What stands in the top level, each module with all that is inside it; several of one module are added up."""
    found: dict[str, dict[str, float]] = {}
    places = {name.removeprefix("\\"): name for name in modules}
    for kind, number in modules[places[top]].items():
        name = places.get(kind.removeprefix("\\"))
        if name is not None:
            _add(found.setdefault(_unit(name), _nothing()), _within(name, modules, places), number)
    return found


def _within(name: str, modules: Modules, places: Mapping[str, str]) -> dict[str, float]:
    """Resources of a module with those of the modules inside."""
    counts = count(modules[name])
    for kind, number in modules[name].items():
        inner = places.get(kind.removeprefix("\\"))
        if inner is not None:
            _add(counts, _within(inner, modules, places), number)
    return counts


def _nothing() -> dict[str, float]:
    return dict.fromkeys(("lut", "ff", "dsp", "bram"), 0.0)


def _add(counts: dict[str, float], more: Mapping[str, float], times: int) -> None:
    for kind, number in more.items():
        counts[kind] += number * times


def _instances(name: str, top: str, modules: Modules) -> int:
    """How often a module stands in the whole design: once for each place in each module around it."""
    if _unit(name) == top:
        return 1
    # A module without parameters has a backslash in front of its name, but not as the type of a cell.
    around = ((outer, inside.get(name.removeprefix("\\"), inside.get(name, 0))) for outer, inside in modules.items())
    return sum(number * _instances(outer, top, modules) for outer, number in around if number)


def _unit(name: str) -> str:
    r"""A parametrised module under the name of its source: Yosys writes $paramod$hash\name or $paramod\name\A=1."""
    parts = [part for part in name.split("\\") if part and not part.startswith("$paramod") and "=" not in part]
    return parts[0] if parts else name


def count(cells: Mapping[str, int]) -> dict[str, float]:
    """Cells of a netlist as resources."""
    block_rams = sum(_BLOCK_RAMS.get(kind, 0) * number for kind, number in cells.items())
    return {
        "lut": sum(_LUTS.get(kind, 0) * number for kind, number in cells.items()),
        "ff": sum(number for kind, number in cells.items() if kind in _FLIP_FLOPS),
        "dsp": sum(_DSPS.get(kind, 0) * number for kind, number in cells.items()),
        "bram": block_rams,
    }
