# SPDX-License-Identifier: Apache-2.0
"""What ``hwgen inspect`` shows of a model: plain data for programs, tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from hwgen import cost
from hwgen.console import cost_line, print_schedule
from hwgen.dataflow import Design
from hwgen.errors import printable
from hwgen.integer import Interval
from hwgen.integer_network import DenseStage, GruStage, IntegerNetwork, RecurrentStage, Stage
from hwgen.layers import (
    ArgmaxLayer,
    ConcatLayer,
    DenseLayer,
    Gate,
    GruLayer,
    Layer,
    LstmLayer,
    NewGate,
    QuantizedTensor,
    QuantizeLayer,
    RnnLayer,
    SelectLayer,
)
from hwgen.lowering import lower
from hwgen.network import Network
from hwgen.quantizer import Quantizer


def describe(network: Network, design: Design | None, refusal: str | None = None) -> dict[str, Any]:
    """A model layer by layer, and ``design``, what would be generated without further options, or why nothing is."""
    model: IntegerNetwork = lower(network)
    return {
        "model": network.name,
        "inputs": [
            {"name": port.name, "layout": port.layout, "features": port.features, "codes": str(port.wires[0].quantizer)}
            for port in network.inputs
        ],
        "outputs": [
            {"name": output.name, "axes": list(output.axes), "shows": [wire.name for wire in output.wires]}
            for output in network.outputs
        ],
        "layers": [describe_layer(layer, stage) for layer, stage in zip(network.layers, model.stages, strict=True)],
        "default_schedule": None if design is None else design.to_dict(),
        "predicted_resources": None if design is None else cost.predict(design).to_dict(),
        "no_hardware": refusal,
        "warnings": list(network.warnings),
    }


def describe_layer(layer: Layer, stage: Stage) -> dict[str, Any]:
    """A layer and what was made of it: sizes, quantizers, ranges of accumulators, step functions."""
    return {
        "name": layer.name,
        "kind": _kind(layer),
        "reads": list(layer.sources),
        "gives": [wire.name for wire in layer.wires],
        "sizes": _sizes(layer),
        **_weights(stage),
        "quantizers": {name: _quantizer(quantizer) for name, quantizer in _quantizers(layer)},
        "accumulators": _accumulators(stage),
        "step_functions": [
            {
                "name": name,
                "form": certified.form.kind,
                "channels": certified.step.channels,
                "domain": [certified.step.lo, certified.step.hi],
                "thresholds": certified.proof.thresholds,
                "proven": certified.proof.holds,
            }
            for name, certified in stage.steps()
        ],
    }


def _kind(layer: Layer) -> str:
    if isinstance(layer, LstmLayer | GruLayer | RnnLayer):
        kind = "LSTM" if isinstance(layer, LstmLayer) else "GRU"
        if isinstance(layer, RnnLayer):
            kind = f"RNN, {layer.gate.activation.value}"
        coupled = ", coupled input and forget gates" if isinstance(layer, LstmLayer) and layer.coupled else ""
        return f"{kind}{coupled}{', reversed' if layer.reverse else ''}"
    if isinstance(layer, SelectLayer):
        return f"time step {layer.index}"
    if isinstance(layer, DenseLayer | QuantizeLayer):
        activation = "" if layer.step is None else layer.step.activation.value
        kind = "dense" if isinstance(layer, DenseLayer) else "quantizer"
        return kind if activation in ("", "identity") else f"{kind}, {activation}"
    assert isinstance(layer, ConcatLayer | ArgmaxLayer)
    return "features side by side" if isinstance(layer, ConcatLayer) else "argmax"


def _sizes(layer: Layer) -> dict[str, int]:
    if isinstance(layer, LstmLayer | GruLayer | RnnLayer):
        return {"inputs": layer.input_size, "units": layer.hidden_size}
    sizes = {"outputs": layer.wires[0].features}
    return {"inputs": layer.weight.codes.shape[1]} | sizes if isinstance(layer, DenseLayer) else sizes


def _weights(stage: Stage) -> dict[str, int]:
    if isinstance(stage, DenseStage):
        return {"weights": stage.weights.size, "weight_bits": stage.weights.size * stage.weight.bits}
    gates = stage.cell.gates if isinstance(stage, RecurrentStage) else ()
    sizes = [(gate.input_weights.size + gate.hidden_weights.size, gate.weight.bits) for gate in gates]
    if isinstance(stage, GruStage):
        sizes += [(part.weights.size, part.weight.bits) for part in (stage.cell.new_input, stage.cell.new_hidden)]
    return {"weights": sum(size for size, _ in sizes), "weight_bits": sum(size * bits for size, bits in sizes)}


def _quantizers(layer: Layer) -> list[tuple[str, Quantizer]]:
    if isinstance(layer, LstmLayer):
        shared = [("input", layer.input), ("cell state", layer.cell), ("tanh of cell state", layer.cell_tanh)]
        own = (
            ("f * c", layer.forget_product),
            ("i * g", layer.input_product),
            ("argument of tanh", layer.tanh_argument),
        )
        special = [(name, quantizer) for name, quantizer in own if quantizer is not None]
        gates = (entry for gate in layer.gates for entry in _of_gate(gate))
        return [*shared, *special, ("output", layer.output), *gates]
    if isinstance(layer, RnnLayer):
        return [("input", layer.input), *_of_gate(layer.gate)]
    if isinstance(layer, GruLayer):
        gates = (entry for gate in (layer.reset, layer.update) for entry in _of_gate(gate))
        return [("input", layer.input), ("output", layer.output), *gates, *_of_new_gate(layer.new)]
    if isinstance(layer, DenseLayer):
        bias = [("bias", layer.bias.quantizer)] if isinstance(layer.bias, QuantizedTensor) else []
        output = [] if layer.step is None else [("output", layer.step.quantizer)]
        return [("input", layer.source.quantizer), ("weight", layer.weight.quantizer), *bias, *output]
    return [("output", layer.step.quantizer)] if isinstance(layer, QuantizeLayer) else []


def _of_gate(gate: Gate) -> list[tuple[str, Quantizer]]:
    bias = [("bias", gate.bias.quantizer)] if isinstance(gate.bias, QuantizedTensor) else []
    found = [
        ("input weight", gate.input_weight.quantizer),
        ("hidden weight", gate.hidden_weight.quantizer),
        *bias,
        ("accumulator", gate.accumulator),
        (gate.activation.value, gate.activation_quantizer),
    ]
    return [(f"{gate.name} gate, {what}", quantizer) for what, quantizer in found]


def _of_new_gate(gate: NewGate) -> list[tuple[str, Quantizer]]:
    biases = [("bias", gate.bias), ("hidden bias", gate.hidden_bias)]
    found = [
        ("input weight", gate.input_weight.quantizer),
        ("hidden weight", gate.hidden_weight.quantizer),
        *((name, bias.quantizer) for name, bias in biases if isinstance(bias, QuantizedTensor)),
        ("accumulator", gate.accumulator),
        ("hidden accumulator", gate.hidden_accumulator),
        ("tanh", gate.activation_quantizer),
    ]
    return [(f"new gate, {what}", quantizer) for what, quantizer in found]


def _quantizer(quantizer: Quantizer) -> dict[str, Any]:
    return {
        "codes": str(quantizer.codes),
        "range": [quantizer.codes.lo, quantizer.codes.hi],
        "scale": list(quantizer.scale) if len(quantizer.scale) > 1 else quantizer.scale[0],
        "zero_point": list(quantizer.zero_point) if len(quantizer.zero_point) > 1 else quantizer.zero_point[0],
        "rounding": quantizer.rounding.value,
    }


def _accumulators(stage: Stage) -> list[dict[str, Any]]:
    if isinstance(stage, DenseStage):
        return [_sum("sum", stage.total)]
    sums = []
    if isinstance(stage, GruStage):
        parts = ("new gate, input", stage.cell.new_input), ("new gate, hidden", stage.cell.new_hidden)
        sums = [_sum(name, part.total) for name, part in parts]
    return [
        {
            "name": f"{gate.name} gate",
            "input_sum": [gate.input_sum.lo, gate.input_sum.hi],
            "total": [gate.total.lo, gate.total.hi],
            "bits": gate.total.type.bits,
            "bound": gate.bound,
        }
        for gate in (stage.cell.gates if isinstance(stage, RecurrentStage) else ())
    ] + sums


def _sum(name: str, total: Interval) -> dict[str, Any]:
    return {"name": name, "input_sum": None, "total": [total.lo, total.hi], "bits": total.type.bits, "bound": 0.0}


def print_description(description: dict[str, Any], out: Console) -> None:
    """Show ``describe`` as tables."""
    layers = description["layers"]
    inputs = ", ".join(f"{escape(printable(port['name']))} {escape(port['layout'])}" for port in description["inputs"])
    outputs = ", ".join(escape(printable(port["name"])) for port in description["outputs"])
    out.print(
        f"[bold]{escape(printable(description['model']))}[/]: {len(layers)} layer{'s' if len(layers) > 1 else ''}, "
        f"{sum(layer['weights'] for layer in layers):,} weights in "
        f"{sum(layer['weight_bits'] for layer in layers):,} bits"
    )
    out.print(f"inputs {inputs}; outputs {outputs}\n", soft_wrap=True)
    for layer in layers:
        _print_layer(layer, out)
    if description["default_schedule"] is None:
        out.print(f"[yellow]no hardware[/]: {escape(str(description['no_hardware']))}", soft_wrap=True)
    else:
        out.print("without further options, [bold]hwgen build[/] would generate:")
        print_schedule(description["default_schedule"], out)
        target = description["default_schedule"]["target"]
        out.print(cost_line(description["predicted_resources"], target), soft_wrap=True)
    for warning in description["warnings"]:
        out.print(f"[yellow]warning[/]: {escape(warning)}")


def _print_layer(layer: dict[str, Any], out: Console) -> None:
    sizes = ", ".join(f"{count} {what}" for what, count in layer["sizes"].items())
    weights = f", {layer['weights']:,} weights" if layer["weights"] else ""
    reads = ", ".join(escape(printable(name)) for name in layer["reads"])
    out.print(f"[bold]{escape(printable(layer['name']))}[/]: {layer['kind']}, {sizes}{weights}; reads {reads}")
    table = Table("quantizer", "codes", "scale", "zero point", "rounding", box=None, pad_edge=False)
    for name, entry in layer["quantizers"].items():
        table.add_row(name, entry["codes"], _several(entry["scale"]), _several(entry["zero_point"]), entry["rounding"])
    _print_table(table, out)
    table = Table("accumulator", "input product + bias", "whole", "bits", "", box=None, pad_edge=False)
    for entry in layer["accumulators"]:
        part = "" if entry["input_sum"] is None else _range(entry["input_sum"])
        table.add_row(entry["name"], part, _range(entry["total"]), str(entry["bits"]), _exactness(entry["bound"]))
    _print_table(table, out)
    name = Column("step function", overflow="fold")
    table = Table(name, "form", "functions", "domain", "thresholds", "", box=None, pad_edge=False)
    for entry in layer["step_functions"]:
        table.add_row(
            escape(entry["name"]),
            entry["form"],
            str(entry["channels"]),
            _range(entry["domain"]),
            f"{entry['thresholds']:,}",
            "proven" if entry["proven"] else "[red]refuted[/]",
        )
    _print_table(table, out)


def _print_table(table: Table, out: Console) -> None:
    if table.row_count:
        out.print(table)
        out.print()


def _exactness(bound: float) -> str:
    return f"[yellow]bounded[/]: within {bound:.2g} LSB" if bound else "exact"


def _several(values: Any) -> str:
    if isinstance(values, list):
        return f"{min(values):.6g} .. {max(values):.6g} ({len(values)})"
    return f"{values:.9g}"


def _range(interval: list[int]) -> str:
    return f"{interval[0]:,} .. {interval[1]:,}"
