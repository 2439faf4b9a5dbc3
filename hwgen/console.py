# SPDX-License-Identifier: Apache-2.0
"""What build, verify and synth show, as tables for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from hwgen import cost
from hwgen.dataflow import Design

# Columns for the names of units beside what else is shown of them.
_NAME_WIDTH = 24


def print_schedule(data: dict[str, Any], out: Console) -> None:
    """Show what ``to_dict`` of a design says."""
    if "nodes" in data:
        _print_nodes(data, out)
        return
    cycles, folding = data["cycles"], data["folding"]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row(
        "time step",
        f"about {cycles['step_estimate']} cycles ({cycles['hidden_product']} + pipeline {cycles['depth_estimate']}): "
        f"{cycles['steps_per_second_estimate']:,.0f} steps/s",
    )
    table.add_row("device", f"{data['target']['part']} at {data['clock_mhz']:g} MHz")
    for name in ("input", "hidden"):
        fold = folding[name]
        table.add_row(f"{name} product", f"PE {fold['pe']} x SIMD {fold['simd']}, {cycles[f'{name}_product']} cycles")
    for name, graph in data.get("constant_products", {}).items():
        table.add_row(f"{name} adders", f"{graph['adders']}, {graph['levels']} levels, found by {graph['found_by']}")
    for memory in data["memories"]:
        table.add_row(
            memory["name"].replace("_", " "),
            f"{memory['banks']} banks x {memory['words']} words x {memory['word_bits']} bits",
        )
    for port in data["ports"]:
        table.add_row(
            f"{port['name']} ({port['direction']})",
            f"{port['what']}: {port['beats']} beats of {port['lanes']} x {port['codes']}, {port['tdata_bits']} bits",
        )
    out.print(table)


def _print_nodes(data: dict[str, Any], out: Console) -> None:
    """The units of a design of several, with the streams between them."""
    cycles = data["cycles"]
    out.print(
        f"time step: about {cycles['step_estimate']} cycles, those of {escape(cycles['bottleneck'])}: "
        f"{cycles['steps_per_second_estimate']:,.0f} steps/s; {data['target']['part']} at {data['clock_mhz']:g} MHz"
    )
    # Names are shown whole, long ones on two or three lines.
    longest = max(len("unit"), *(len(node["name"]) for node in data["nodes"]))
    unit = Column("unit", overflow="fold", width=min(longest, _NAME_WIDTH))
    columns = unit, "kind", "folding", Column("cycles", no_wrap=True), "reads -> gives"
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for node in data["nodes"]:
        fold = data["folding"].get(node["name"], {})
        products = fold if all(isinstance(value, dict) for value in fold.values()) else {"": fold}
        table.add_row(
            node["name"],
            node["kind"],
            ", ".join(f"{name} {entry['pe']} x {entry['simd']}".strip() for name, entry in products.items()),
            str(node["cycles_estimate"]),
            f"{_streams(node['inputs'])} -> {_streams(node['outputs'])}",
        )
    out.print(table)
    for port in data["ports"]:
        out.print(
            f"{port['name']} ({port['direction']}): {escape(port['what'])}: "
            f"{port['beats']} beats of {port['lanes']} x {port['codes']}, {port['tdata_bits']} bits",
            soft_wrap=True,
        )


def _streams(streams: list[dict[str, Any]]) -> str:
    return ", ".join(f"{stream['beats']} x {stream['lanes']} {stream['codes']}" for stream in streams)


def print_build(path: Path, design: Design, backends: tuple[str, ...], out: Console) -> None:
    """Show what was written and what to do next."""
    steps = [certified for _, certified in design.steps()]
    thresholds = sum(certified.proof.thresholds for certified in steps)
    out.print(
        f"[bold]{escape(str(path))}[/]: {' and '.join(backends).upper()} project, "
        f"{len(steps)} step functions proven on all {thresholds:,} thresholds"
    )
    bounded = [gate for cell in design.cells for gate in cell.gates if gate.bound]
    if bounded:
        names = ", ".join(gate.name for gate in bounded)
        out.print(
            f"[yellow]bounded, not proven[/]: the sums of the {names} gates, whose two products have scales without "
            f"a small ratio, lie within {max(gate.bound for gate in bounded):.2g} LSB of the real ones"
        )
    print_schedule(design.to_dict(), out)
    if "rtl" in backends:
        out.print(cost_line(cost.predict(design).whole.to_dict(), asdict(design.options.target)), soft_wrap=True)
    out.print(f"next: hwgen verify {escape(str(path))}", soft_wrap=True)


def cost_line(predicted: dict[str, float], target: dict[str, Any]) -> str:
    """What the RTL is predicted to take of the target, and how much of it there is."""
    limits = {"lut": "lut", "ff": "ff", "dsp": "dsp", "bram": "bram36"}
    names = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "block RAM"}
    parts = []
    for kind, name in names.items():
        value, limit = predicted[kind], target[limits[kind]]
        style = "[red]" if value > limit else "[default]"
        parts.append(f"{style}{value:,.10g} of {limit:,} {name}[/]")
    return f"RTL predicted to take {', '.join(parts)}"


def print_verification(report: dict[str, Any], out: Console) -> None:
    """Show verify.json."""
    names = {
        "integer": "float64 reference = integer model",
        "csim": "integer model = HLS C simulation",
        "rtl": "integer model = RTL simulation",
        "cocotb": "integer model = cocotb bench",
    }
    table = Table(f"{report['input']} input", "sequences", "steps", "codes", "mismatches", box=None, pad_edge=False)
    for level, entry in report["levels"].items():
        wrong = entry["mismatches"]
        table.add_row(
            names[level],
            f"{entry['sequences']:,}",
            f"{entry['steps']:,}",
            f"{entry['codes']:,}",
            f"[{'red' if wrong else 'green'}]{wrong:,}[/]",
        )
    out.print(table)
    for level, entry in report["levels"].items():
        if entry["simulated_cycles"]:
            _print_cycles(level, entry, out)
        for name, pattern in entry.get("patterns", {}).items():
            for problem in pattern["problems"]:
                out.print(f"{level}, [red]{name}[/]: {escape(problem)}", soft_wrap=True)
        if "waveform" in entry:
            out.print(f"{level}: waveform in {escape(entry['waveform'])}", soft_wrap=True)
    out.print("[green]every code equal[/]" if report["passed"] else "[bold red]NOT equal[/]")


def _print_cycles(level: str, entry: dict[str, Any], out: Console) -> None:
    predicted, simulated = entry["predicted_cycles"], entry["simulated_cycles"]
    for port, cycles in simulated.items():
        if predicted is None:
            verdict = ""
        elif cycles == predicted.get(port):
            verdict = ": as predicted"
        else:
            verdict = f": [red]predicted {predicted.get(port)}[/]"
        out.print(f"{level}, {port}: first beat in cycle {cycles['first']:,}, last in {cycles['last']:,}{verdict}")


def print_synthesis(flow: str, result: dict[str, Any], out: Console) -> None:
    """Show the result of one flow of synth.json."""
    table = Table(f"{flow}, Yosys", "LUT", "FF", "DSP", "block RAM", box=None, pad_edge=False)
    for name, entry in result["units"].items():
        table.add_row(f"  {name}", *_resources(entry), style="dim")
    for name, entry in result.get("nodes", {}).items():
        table.add_row(f" {name}", *_resources(entry["measured"]))
        if "predicted" in entry:
            table.add_row("  predicted", *_resources(entry["predicted"]), style="dim")
    table.add_row("whole, flattened", *_resources(result["measured"]))
    if "predicted" in result:
        errors = result["relative_error"].values()
        table.add_row("predicted", *_resources(result["predicted"]))
        table.add_row("error", *("-" if error is None else f"{error:+.1%}" if error else "exact" for error in errors))
    out.print(table)
    if "fmax_mhz" in result:
        out.print(f"placed on {result['device']}: {result['fmax_mhz']} MHz")
        out.print(f"critical path: {escape(_path(result['critical_path']))}", soft_wrap=True)


def _path(hops: list[str]) -> str:
    """The units that a path goes through, without the cells within."""
    cells = [hop.split(" -> ")[0] for hop in hops[:1]] + [hop.split(" -> ")[1] for hop in hops]
    units = [cell.rpartition(".")[0].removeprefix("u_design.") for cell in cells]
    return " -> ".join(unit for place, unit in enumerate(units) if place == 0 or unit != units[place - 1])


def _resources(entry: dict[str, float]) -> list[str]:
    return [f"{entry[kind]:,.10g}" for kind in ("lut", "ff", "dsp", "bram")]
