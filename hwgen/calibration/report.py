# SPDX-License-Identifier: Apache-2.0
"""What calibration cost: each quantizer with what it had to hold, each layer's signal beside its noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hwgen.calibration.rewrite import Rewritten
from hwgen.calibration.scales import Observed
from hwgen.errors import printable
from hwgen.layers import (
    ArgmaxLayer,
    ConcatLayer,
    DenseLayer,
    GruLayer,
    Layer,
    LstmLayer,
    RnnLayer,
    SelectLayer,
    Values,
)
from hwgen.network import FEATURES, Network, NetworkOutput
from hwgen.quantizer import FloatArray, Quantizer


@dataclass(frozen=True)
class Measured:
    """A network with what it gave: real values of every wire, in float and quantized, and what its places saw."""

    network: Network
    rewritten: Rewritten
    chosen: Mapping[str, Quantizer]
    seen: Mapping[str, Observed]
    exact: Values
    quantized: Values

    def layers(self) -> list[dict[str, Any]]:
        """Inputs and layers that compute, each with its quantizers and the quality of what it gives."""
        found = []
        for port in self.network.inputs:
            for wire in port.wires:
                place = self.rewritten.inputs.get(port.name)
                if place is not None:
                    quality = quality_of(self.exact[wire.name], self.quantized[wire.name])
                    found.append(
                        {"name": port.name, "kind": "input", "places": [self._place(place)], "weights": []}
                        | {"sqnr_db": quality, "sqnr_alone_db": quality}
                    )
        for layer in self.network.layers:
            if isinstance(layer, ConcatLayer | SelectLayer | ArgmaxLayer):
                continue
            shown = layer.wires[0].name
            alone = layer.evaluate({name: self._requantized(name) for name in layer.sources})[shown]
            places = [
                place for place in self.rewritten.places.values() if layer.name == place.layer or place.name == shown
            ]
            found.append(
                {
                    "name": layer.name,
                    "kind": _kind(layer),
                    "places": [self._place(place.name) for place in places],
                    "weights": self._weights(layer.name),
                    "sqnr_db": quality_of(self.exact[shown], self.quantized[shown]),
                    "sqnr_alone_db": quality_of(self.exact[shown], alone),
                }
            )
        return found

    def outputs(self) -> list[dict[str, Any]]:
        """The graph's outputs: quality, greatest error, and how often the greatest feature is the same."""
        exact, found = self.network.present(self.exact), self.network.present(self.quantized)
        return [self._output(output, exact[output.name], found[output.name]) for output in self.network.outputs]

    def _output(self, output: NetworkOutput, exact: FloatArray, found: FloatArray) -> dict[str, Any]:
        agreement = None
        if output.integer:
            agreement = float((exact == found).mean())
        elif output.axes[-1] == FEATURES and exact.shape[-1] > 1 and self._is_dense(output):
            agreement = float((exact.argmax(axis=-1) == found.argmax(axis=-1)).mean())
        return {
            "name": output.name,
            "sqnr_db": None if output.integer else quality_of(exact, found),
            "greatest_error": float(np.abs(exact - found).max()),
            "argmax_agreement": agreement,
        }

    def _is_dense(self, output: NetworkOutput) -> bool:
        makers = {wire.name: layer for layer in self.network.layers for wire in layer.wires}
        layer = makers.get(output.wires[0].name)
        while isinstance(layer, SelectLayer):
            layer = makers.get(layer.source.name)
        return isinstance(layer, DenseLayer)

    def _requantized(self, wire: str) -> FloatArray:
        """The float network's values of a wire, as its quantizer has them."""
        known = self.network.wires[wire]
        return known.decode(known.encode(self.exact[wire]))

    def _place(self, name: str) -> dict[str, Any]:
        quantizer, seen = self.chosen[name], self.seen.get(name, Observed(0.0, 0.0))
        scale, codes, sample = quantizer.scale[0], quantizer.codes, seen.sample
        outside = (sample > (codes.hi + 0.5) * scale) | (sample < (codes.lo - 0.5) * scale)
        return {
            "name": name,
            "what": self.rewritten.places[name].what,
            "codes": str(codes),
            "scale": scale,
            "seen": [seen.low, seen.high],
            "values": seen.count,
            "clipped": float(outside.mean()) if sample.size else 0.0,
        }

    def _weights(self, layer: str) -> list[dict[str, Any]]:
        """The weights of a layer, by gate."""
        tensors = {}
        if layer in self.rewritten.cells:
            for gate, parts in self.rewritten.cells[layer].cell.gates.items():
                tensors[f"{gate}/input_weight"] = parts.input
                tensors[f"{gate}/hidden_weight"] = parts.hidden
        elif layer in self.rewritten.dense:
            tensors["weight"] = self.rewritten.dense[layer].weight
        found = []
        for name, weights in tensors.items():
            quantizer, values = self.chosen[f"{layer}/{name}"], weights.values
            held = quantizer.dequantize(quantizer.quantize(values.T)).T
            found.append(
                {
                    "what": name.replace("/", " gate, ").replace("_", " "),
                    "codes": str(quantizer.codes),
                    "scale": list(quantizer.scale) if len(quantizer.scale) > 1 else quantizer.scale[0],
                    "seen": [float(values.min()), float(values.max())],
                    "sqnr_db": quality_of(values, held),
                    "from_file": bool(weights.kind.flat[0] >= 0),
                }
            )
        return found


def quality_of(exact: FloatArray, found: FloatArray) -> float | None:
    """The signal-to-quantization-noise ratio in dB; None where there is no noise, or no signal."""
    signal, noise = float(np.square(exact).sum()), float(np.square(found - exact).sum())
    return None if not noise or not signal else 10 * math.log10(signal / noise)


def _kind(layer: Layer) -> str:
    if isinstance(layer, LstmLayer | GruLayer | RnnLayer):
        return type(layer).__name__.removesuffix("Layer").upper() + (", reversed" if layer.reverse else "")
    return "dense" if isinstance(layer, DenseLayer) else "quantizer"


def print_report(report: Mapping[str, Any], out: Console) -> None:
    """Show a report as tables."""
    for layer in report["layers"]:
        alone = "" if layer["kind"] == "input" else f", {_decibels(layer['sqnr_alone_db'])} by itself"
        out.print(
            f"[bold]{escape(printable(layer['name']))}[/]: {layer['kind']}; SQNR {_decibels(layer['sqnr_db'])}{alone}"
        )
        table = Table("quantizer", "codes", "scale", "seen", "clipped", box=None, pad_edge=False)
        for place in layer["places"]:
            share = f"{100 * place['clipped']:.3g} %" if place["clipped"] else ""
            table.add_row(place["what"], place["codes"], f"{place['scale']:.6g}", _range(place["seen"]), share)
        for weights in layer["weights"]:
            origin = "as the file has it" if weights["from_file"] else ""
            table.add_row(weights["what"], weights["codes"], _scale(weights["scale"]), _range(weights["seen"]), origin)
        if table.row_count:
            out.print(table)
        out.print()
    table = Table("output", "SQNR", "greatest error", "same argmax", box=None, pad_edge=False)
    for output in report["outputs"]:
        agreement = output["argmax_agreement"]
        table.add_row(
            escape(printable(output["name"])),
            _decibels(output["sqnr_db"]),
            f"{output['greatest_error']:.4g}",
            "" if agreement is None else f"{100 * agreement:.2f} %",
        )
    out.print(table)
    for warning in report["warnings"]:
        out.print(f"[yellow]warning[/]: {escape(warning)}", soft_wrap=True)


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"


def _range(seen: list[float]) -> str:
    return f"{seen[0]:.4g} .. {seen[1]:.4g}"


def _scale(scale: Any) -> str:
    if isinstance(scale, list):
        return f"{min(scale):.4g} .. {max(scale):.4g} ({len(scale)})"
    return f"{scale:.6g}"
