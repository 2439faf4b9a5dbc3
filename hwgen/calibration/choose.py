# SPDX-License-Identifier: Apache-2.0
"""From what was seen to quantizers: activations by the method, weights by their range, biases on their sum's grid.

A recurrent layer adds the products of its input and of its hidden state.  Both get scales, and so do its two weights,
whose ratios are powers of two: the sum is then exact in integers of moderate width.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwgen.calibration.cells import Role
from hwgen.calibration.options import Method, Options
from hwgen.calibration.rewrite import Rewritten
from hwgen.calibration.scales import Observed, choose_scale, least_squares, onto, reach, related, tidy
from hwgen.calibration.weights import Weights
from hwgen.calibration.writer import Place
from hwgen.layers import ConcatLayer, DenseLayer, GruLayer, Layer, LstmLayer, QuantizeLayer, RnnLayer, SelectLayer
from hwgen.network import Network
from hwgen.quantizer import FloatArray, IntegerType, Quantizer

_BIAS = IntegerType(32, True)


class Chooser:
    """Picks all quantizers of a network by name of their place."""

    def __init__(self, network: Network, rewritten: Rewritten, seen: Mapping[str, Observed], options: Options) -> None:
        self.network, self.rewritten, self.options = network, rewritten, options
        self._makers = {wire.name: layer for layer in network.layers for wire in layer.wires}
        self._fed = {wire.name: port.name for port in network.inputs for wire in port.wires}
        # The first place of those that must share a quantizer stands for them.
        self._leader = {name: name for name in rewritten.places}
        for layer in network.layers:
            if isinstance(layer, ConcatLayer):
                self._unite([self.place_of(part.name) for part in layer.parts])
        self.seen: dict[str, Observed] = {}
        for name in rewritten.places:
            leader = self._leader[name]
            found = seen.get(name, Observed(0.0, 0.0))
            self.seen[leader] = self.seen[leader].merge(found) if leader in self.seen else found

    def choose(self) -> dict[str, Quantizer]:
        """The quantizers of activations, weights and biases."""
        scales = {name: self._own_scale(name) for name in self.seen}
        self._relate(scales)
        chosen = {
            name: Quantizer((scales[leader],), (0,), self._codes(leader)) for name, leader in self._leader.items()
        }
        for layer in self.network.layers:
            if isinstance(layer, LstmLayer | GruLayer | RnnLayer) and layer.name in self.rewritten.cells:
                chosen |= self._weights_of(layer, chosen)
            elif isinstance(layer, DenseLayer) and layer.name in self.rewritten.dense:
                chosen |= self._dense(layer, chosen)
        return chosen

    # Places.

    def place_of(self, wire: str) -> str | None:
        """The place whose quantizer a wire has; None if the file gives it one."""
        if wire in self._fed:
            return self.rewritten.inputs.get(self._fed[wire])
        layer: Layer = self._makers[wire]
        found: str | None
        if isinstance(layer, LstmLayer | GruLayer | RnnLayer):
            found = f"{layer.name}/{'cell_state' if wire.endswith('.last_cell') else 'output'}"
        elif isinstance(layer, ConcatLayer):
            found = self.place_of(layer.parts[0].name)
        elif isinstance(layer, SelectLayer):
            found = self.place_of(layer.source.name)
        elif (
            isinstance(layer, QuantizeLayer) and wire not in self.rewritten.places and wire not in self.rewritten.given
        ):
            # A ReLU with the quantizer of what it reads.
            found = self.place_of(layer.source.name)
        else:
            found = wire
        return found if found in self.rewritten.places else None

    def _unite(self, names: list[str | None]) -> None:
        known = [self._leader[name] for name in names if name is not None]
        for name, leader in self._leader.items():
            if leader in known:
                self._leader[name] = known[0]

    def _input_quantizer(self, wire: str, chosen: Mapping[str, Quantizer]) -> Quantizer:
        place = self.place_of(wire)
        return self.network.wires[wire].quantizer if place is None else chosen[place]

    def _codes(self, leader: str) -> IntegerType:
        """The codes of all places that share a quantizer: signed if one of them is, or if the data say so."""
        places = [self.rewritten.places[name] for name, first in self._leader.items() if first == leader]
        known = [place.signed for place in places if place.signed is not None]
        signed = any(known) or (len(known) < len(places) and self.seen[leader].low < 0)
        return IntegerType(max(map(self._bits, places)), signed)

    def _bits(self, place: Place) -> int:
        options = self.options
        if place.role is Role.ACCUMULATOR:
            return options.of_accumulators
        if place.role is Role.CELL:
            return options.of_cells
        return options.output_bits or options.bits if place.role is Role.OUTPUT else options.bits

    # Scales.

    def _own_scale(self, leader: str) -> float:
        """The scale of a place for itself."""
        codes = self._codes(leader)
        if self.rewritten.places[leader].reaches_one:
            return tidy(1.0 / codes.hi, self.options.power_of_two)
        return choose_scale(self.seen[leader], codes, self.options)

    def _relate(self, scales: dict[str, float]) -> None:
        """Make the scales of each recurrent layer's input and hidden state powers of two of each other."""
        joined: dict[str, set[str]] = {name: {name} for name in scales}
        fixed: dict[str, float] = {}
        for layer in self.network.layers:
            if not isinstance(layer, LstmLayer | GruLayer | RnnLayer) or layer.name not in self.rewritten.cells:
                continue
            own = self._leader[f"{layer.name}/output"]
            place = self.place_of(layer.source)
            if place is None:
                fixed[own] = self.network.wires[layer.source].quantizer.scale[0]
                continue
            group = joined[own] | joined[self._leader[place]]
            joined |= dict.fromkeys(group, group)
        done: set[str] = set()
        for name in scales:
            group = set(joined[name])
            if len(group) > 1 or name in fixed:
                if name in done:
                    continue
                done.update(group)
                members = sorted(group)
                given = next((fixed[member] for member in members if member in fixed), None)
                scales |= dict(zip(members, related([scales[member] for member in members], given), strict=True))

    # Weights and biases.

    def _weights_of(
        self, layer: LstmLayer | GruLayer | RnnLayer, chosen: Mapping[str, Quantizer]
    ) -> dict[str, Quantizer]:
        """Those of a recurrent layer: both weights of a gate on scales of one ratio, its bias on the finer grid."""
        found: dict[str, Quantizer] = {}
        x, h = self._input_quantizer(layer.source, chosen), chosen[f"{layer.name}/output"]
        for gate, parts in self.rewritten.cells[layer.name].cell.gates.items():
            key = f"{layer.name}/{gate}"
            own = [
                self._weight(weights, f"{key}, {what}") for weights, what in ((parts.input, "W"), (parts.hidden, "R"))
            ]
            if all(weights.kind.flat[0] < 0 for weights in (parts.input, parts.hidden)):
                own = _on_one_grid(*own)
            found |= {f"{key}/input_weight": own[0], f"{key}/hidden_weight": own[1]}
            units = _units(own[0], x), _units(own[1], h)
            if parts.hidden_bias is not None:
                found |= _bias(f"{key}/hidden_bias", parts.hidden_bias, units[1])
            separate = isinstance(layer, GruLayer) and gate == "new"
            if parts.bias is not None:
                found |= _bias(f"{key}/bias", parts.bias, units[0] if separate else np.minimum(*units))
        return found

    def _dense(self, layer: DenseLayer, chosen: Mapping[str, Quantizer]) -> dict[str, Quantizer]:
        dense = self.rewritten.dense[layer.name]
        weight = self._weight(dense.weight, layer.name)
        found = {f"{layer.name}/weight": weight}
        if dense.bias is not None:
            units = _units(weight, self._input_quantizer(layer.source.name, chosen))
            found |= _bias(f"{layer.name}/bias", dense.bias, units)
        return found

    def _weight(self, weights: Weights, label: str) -> Quantizer:
        """The quantizer of a weight [rows, n]: the file's, or a symmetric one for its range."""
        given = weights.quantizer(label)
        if given is not None:
            return given
        codes = IntegerType(self.options.weight_bits, True, narrow=True)
        rows = weights.values if self.options.per_channel else weights.values.reshape(1, -1)
        return Quantizer(tuple(self._weight_scale(row, codes) for row in rows), (0,), codes)

    def _weight_scale(self, values: FloatArray, codes: IntegerType) -> float:
        power = self.options.power_of_two
        whole = tidy(reach(float(values.min()), float(values.max()), codes), power)
        return least_squares(values, codes, whole, power) if self.options.method is Method.MSE else whole


def _on_one_grid(first: Quantizer, second: Quantizer) -> list[Quantizer]:
    """Two quantizers whose scales, row by row, have a power of two as their ratio: the smaller one gives way."""
    pairs = [(onto(a, b), b) if a < b else (a, onto(b, a)) for a, b in zip(first.scale, second.scale, strict=True)]
    return [
        Quantizer(tuple(pair[place] for pair in pairs), (0,), quantizer.codes)
        for place, quantizer in enumerate((first, second))
    ]


def _units(weight: Quantizer, source: Quantizer) -> FloatArray:
    """The real value of one unit of each row's product."""
    return np.asarray(weight.scale) * source.scale[0]


def _bias(name: str, bias: FloatArray, units: FloatArray) -> dict[str, Quantizer]:
    """A bias on the grid of its sum, if its codes and the grid's scale allow; otherwise it stays a float."""
    scale = units.astype(np.float32).astype(np.float64)
    if np.abs(bias / scale).max() >= _BIAS.hi or (scale == 0).any():
        return {}
    return {name: Quantizer(tuple(map(float, scale)), (0,), _BIAS)}
