# SPDX-License-Identifier: Apache-2.0
"""What the commands show: plain data for programs, tables for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hwgen import cost
from hwgen.errors import printable
from hwgen.integer import IntegerGate
from hwgen.network import Gate, LstmLayer, QuantizedTensor
from hwgen.quantizer import Quantizer
from hwgen.schedule import Schedule


def describe(design: Schedule) -> dict[str, Any]:
    """What ``hwgen inspect`` says about a model, as plain data."""
    network, cell = design.network, design.cell
    layer = network.layer
    return {
        "model": network.name,
        "inputs": [{"name": port.name, "role": port.role, "features": port.features} for port in network.inputs],
        "outputs": [{"name": output.name, "shows": output.source.value} for output in network.outputs],
        "batch_first": network.batch_first,
        "layer": {
            "name": layer.name,
            "kind": "LSTM, coupled input and forget gates" if layer.coupled else "LSTM",
            "input_size": layer.input_size,
            "hidden_size": layer.hidden_size,
            "reverse": layer.reverse,
            "weights": sum(gate.input_weights.size + gate.hidden_weights.size for gate in cell.gates),
            "weight_bits": design.input_product.memory_bits + design.hidden_product.memory_bits,
        },
        "quantizers": {name: _quantizer(quantizer) for name, quantizer in _quantizers(layer)},
        "accumulators": [_accumulator(gate) for gate in cell.gates],
        "step_functions": [
            {
                "name": name,
                "form": certified.form.kind,
                "channels": certified.step.channels,
                "domain": [certified.step.lo, certified.step.hi],
                "thresholds": certified.proof.thresholds,
                "proven": certified.proof.holds,
            }
            for name, certified in cell.steps()
        ],
        "default_schedule": design.to_dict(),
        "warnings": list(network.warnings),
    }


def _quantizers(layer: LstmLayer) -> list[tuple[str, Quantizer]]:
    def of_gate(gate: Gate) -> list[tuple[str, Quantizer]]:
        bias = [("bias", gate.bias.quantizer)] if isinstance(gate.bias, QuantizedTensor) else []
        found = [
            ("input weight", gate.input_weight.quantizer),
            ("hidden weight", gate.hidden_weight.quantizer),
            *bias,
            ("accumulator", gate.accumulator),
            (gate.activation.value, gate.activation_quantizer),
        ]
        return [(f"{gate.name} gate, {what}", quantizer) for what, quantizer in found]

    shared = [("input", layer.input), ("cell state", layer.cell), ("tanh of cell state", layer.cell_tanh)]
    return [*shared, ("output", layer.output), *(entry for gate in layer.gates for entry in of_gate(gate))]


def _quantizer(quantizer: Quantizer) -> dict[str, Any]:
    return {
        "codes": str(quantizer.codes),
        "range": [quantizer.codes.lo, quantizer.codes.hi],
        "scale": list(quantizer.scale) if len(quantizer.scale) > 1 else quantizer.scale[0],
        "zero_point": list(quantizer.zero_point) if len(quantizer.zero_point) > 1 else quantizer.zero_point[0],
        "rounding": quantizer.rounding.value,
    }


def _accumulator(gate: IntegerGate) -> dict[str, Any]:
    return {
        "gate": gate.name,
        "input_sum": [gate.input_sum.lo, gate.input_sum.hi],
        "total": [gate.total.lo, gate.total.hi],
        "bits": gate.total.type.bits,
    }


def print_description(description: dict[str, Any], out: Console) -> None:
    """Show ``describe`` as tables."""
    layer = description["layer"]
    out.print(
        f"[bold]{escape(printable(description['model']))}[/]: {layer['kind']}, {layer['input_size']} inputs, "
        f"{layer['hidden_size']} units{', reversed' if layer['reverse'] else ''}, {layer['weights']:,} weights "
        f"in {layer['weight_bits']:,} bits"
    )
    names = ", ".join(f"{escape(printable(port['name']))} ({port['role']})" for port in description["inputs"])
    shows = ", ".join(f"{escape(printable(port['name']))} ({port['shows']})" for port in description["outputs"])
    out.print(f"inputs {names}; outputs {shows}{'; batch first' if description['batch_first'] else ''}\n")

    table = Table("quantizer", "codes", "scale", "zero point", "rounding", box=None, pad_edge=False)
    for name, entry in description["quantizers"].items():
        table.add_row(name, entry["codes"], _several(entry["scale"]), _several(entry["zero_point"]), entry["rounding"])
    out.print(table)
    out.print()
    table = Table("accumulator", "input product + bias", "whole", "bits", box=None, pad_edge=False)
    for entry in description["accumulators"]:
        table.add_row(f"{entry['gate']} gate", _range(entry["input_sum"]), _range(entry["total"]), str(entry["bits"]))
    out.print(table)
    out.print()
    table = Table("step function", "form", "functions", "domain", "thresholds", "", box=None, pad_edge=False)
    for entry in description["step_functions"]:
        table.add_row(
            entry["name"],
            entry["form"],
            str(entry["channels"]),
            _range(entry["domain"]),
            f"{entry['thresholds']:,}",
            "proven" if entry["proven"] else "[red]refuted[/]",
        )
    out.print(table)
    out.print("\nwithout further options, [bold]hwgen build[/] would generate:")
    _print_schedule(description["default_schedule"], out)
    for warning in description["warnings"]:
        out.print(f"[yellow]warning[/]: {escape(warning)}")


def _several(values: Any) -> str:
    if isinstance(values, list):
        return f"{min(values):.6g} .. {max(values):.6g} ({len(values)})"
    return f"{values:.9g}"


def _range(interval: list[int]) -> str:
    return f"{interval[0]:,} .. {interval[1]:,}"


def _print_schedule(data: dict[str, Any], out: Console) -> None:
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


def print_build(path: Path, design: Schedule, backends: tuple[str, ...], out: Console) -> None:
    """Show what was written and what to do next."""
    cell = design.cell
    thresholds = sum(certified.proof.thresholds for _, certified in cell.steps())
    out.print(
        f"[bold]{escape(str(path))}[/]: {' and '.join(backends).upper()} project, "
        f"{len(list(cell.steps()))} step functions proven on all {thresholds:,} thresholds"
    )
    _print_schedule(design.to_dict(), out)
    if "rtl" in backends:
        _print_cost(cost.predict(design).whole, design, out)
    out.print(f"next: hwgen verify {escape(str(path))}", soft_wrap=True)


def _print_cost(whole: cost.Resources, design: Schedule, out: Console) -> None:
    """What the RTL is predicted to take of the target, and how much of it there is."""
    device = design.options.target
    limits = {"lut": device.lut, "ff": device.ff, "dsp": device.dsp, "bram": device.bram36}
    names = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "block RAM"}
    parts = []
    for kind, value in whole.to_dict().items():
        style = "[red]" if value > limits[kind] else "[default]"
        parts.append(f"{style}{value:,.10g} of {limits[kind]:,} {names[kind]}[/]")
    out.print(f"RTL predicted to take {', '.join(parts)}")


def print_verification(report: dict[str, Any], out: Console) -> None:
    """Show verify.json."""
    names = {
        "integer": "float64 reference = integer model",
        "csim": "integer model = HLS C simulation",
        "rtl": "integer model = RTL simulation",
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
    out.print("[green]every code equal[/]" if report["passed"] else "[bold red]NOT equal[/]")


def _print_cycles(level: str, entry: dict[str, Any], out: Console) -> None:
    predicted, simulated = entry["predicted_cycles"], entry["simulated_cycles"]
    for port, cycles in simulated.items():
        equal = cycles == predicted.get(port)
        verdict = "as predicted" if equal else f"[red]predicted {predicted.get(port)}[/]"
        out.print(f"{level}, {port}: first beat in cycle {cycles['first']:,}, last in {cycles['last']:,}: {verdict}")


def print_synthesis(flow: str, result: dict[str, Any], out: Console) -> None:
    """Show the result of one flow of synth.json."""
    table = Table(f"{flow}, Yosys", "LUT", "FF", "DSP", "block RAM", box=None, pad_edge=False)
    for name, entry in result["units"].items():
        table.add_row(f"  {name}", *_resources(entry), style="dim")
    table.add_row("whole, flattened", *_resources(result["measured"]))
    if "predicted" in result:
        errors = result["relative_error"].values()
        table.add_row("predicted", *_resources(result["predicted"]))
        table.add_row("error", *("-" if error is None else f"{error:+.1%}" if error else "exact" for error in errors))
    out.print(table)
    if "fmax_mhz" in result:
        out.print(f"placed on {result['device']}: {result['fmax_mhz']} MHz; critical path:")
        for hop in result["critical_path"]:
            out.print(f"  {escape(hop)}", soft_wrap=True)


def _resources(entry: dict[str, float]) -> list[str]:
    return [f"{entry[kind]:,.10g}" for kind in ("lut", "ff", "dsp", "bram")]
