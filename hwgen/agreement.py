# SPDX-License-Identifier: Apache-2.0
"""Does a network compute what its producer computes?  Compares them step by step, from the producer's own states.

One flip of a code next to a rounding boundary changes all that follows it, so whole runs cannot be compared.  Every
time step of every recurrent layer is: from the input and the states that the producer had there.  What it gave must lie
within the bounds of ``hwgen.bounds``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hwgen import bounds, host
from hwgen.bounds import Bounds, exactly
from hwgen.errors import ModelError, listing, printable
from hwgen.integer_network import IntegerNetwork
from hwgen.layers import Gate, GruLayer, InitialState, LstmLayer, QuantizedTensor, RnnLayer
from hwgen.network import Network
from hwgen.quantizer import FloatArray, Quantizer


@dataclass(frozen=True)
class Trace:
    """What a producer computed in one recurrent layer: [steps, batch, features] in the order in which it took them.

    ``parameters`` are its quantized weights and biases by gate and kind (the fields of ``Gate``), a bias that it lacks
    as a scalar 0.  ``c`` and ``next_c`` are those of an LSTM.
    """

    parameters: Mapping[tuple[str, str], FloatArray]
    x: FloatArray
    h: FloatArray
    next_h: FloatArray
    c: FloatArray | None = None
    next_c: FloatArray | None = None


@dataclass(frozen=True)
class Place:
    """What the comparison of one tensor gave.

    Of ``values`` numbers, ``moved`` differ from the reference and ``wrong`` of these more than a value next to a
    rounding boundary explains, by up to ``worst`` LSB.
    """

    name: str
    values: int
    moved: int
    wrong: int
    worst: float

    def __str__(self) -> str:
        return f"{self.name}: {self.wrong:,} of {self.values:,} values, by up to {self.worst:.4g} LSB"


@dataclass(frozen=True)
class Agreement:
    """What the comparison of a whole network gave."""

    places: tuple[Place, ...] = ()

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.places + other.places)

    @property
    def values(self) -> int:
        """How many numbers were compared."""
        return sum(place.values for place in self.places)

    @property
    def moved(self) -> int:
        """How many differ from the reference, next to a rounding boundary of their own or of what they come from."""
        return sum(place.moved for place in self.places) - self.wrong

    @property
    def wrong(self) -> int:
        """How many differ by more than that explains."""
        return sum(place.wrong for place in self.places)

    def __str__(self) -> str:
        merged: dict[str, Place] = {}
        for place in (place for place in self.places if place.wrong):
            known = merged.get(place.name, Place(place.name, 0, 0, 0, 0.0))
            merged[place.name] = Place(
                place.name,
                known.values + place.values,
                known.moved + place.moved,
                known.wrong + place.wrong,
                max(known.worst, place.worst),
            )
        return listing(merged.values(), limit=4).replace("LSB,", "LSB;")


def compare(
    network: Network,
    inputs: Mapping[str, ArrayLike],
    traces: Mapping[str, Trace],
    outputs: Sequence[FloatArray],
) -> Agreement:
    """Compare a run of the producer with ``network``: ``traces`` by layer, ``outputs`` in the order of the graph's.

    Raises ModelError where they differ in shape.
    """
    return Agreement(tuple(_Comparison(network, traces).places(inputs, outputs)))


def compare_parameters(network: Network, traces: Mapping[str, Trace]) -> Agreement:
    """Compare weights and biases of recurrent layers with those that the producer used, code by code."""
    places: list[Place] = []
    for layer in network.layers:
        if isinstance(layer, LstmLayer | RnnLayer):
            parameters = _trace(layer, traces).parameters
            for gate in layer.gates if isinstance(layer, LstmLayer) else (layer.gate,):
                places += _parameters(f"layer {printable(layer.name)}, {gate.name} gate", gate, parameters)
    return Agreement(tuple(places))


def _trace(layer: LstmLayer | RnnLayer, traces: Mapping[str, Trace]) -> Trace:
    if layer.name not in traces:
        raise ModelError(f"layer {printable(layer.name)}: its producer has no layer of this name")
    return traces[layer.name]


def check_integer_model(network: Network, model: IntegerNetwork, inputs: Mapping[str, ArrayLike]) -> None:
    """Raise ModelError unless the integer model gives the reference's value everywhere."""
    reference, codes = network.run(inputs), host.run(network, model, inputs)
    for name, values in reference.items():
        wrong = int((values != codes[name]).sum())
        if wrong:
            raise ModelError(
                f"graph output {printable(name)}: the integer model differs from the reference in {wrong:,} of "
                f"{values.size:,} values; please report this model"
            )


class _Comparison:
    """Walks the layers with what each wire may be, and with what the reference makes of the producer's states."""

    def __init__(self, network: Network, traces: Mapping[str, Trace]) -> None:
        self.network = network
        self.traces = traces
        self.wires = network.wires
        self.allowed: dict[str, Bounds] = {}
        self.expected: dict[str, FloatArray] = {}

    def places(self, inputs: Mapping[str, ArrayLike], outputs: Sequence[FloatArray]) -> Iterator[Place]:
        """Every tensor that is compared: those of recurrent layers, then the outputs."""
        for name, real in self.network.bind(inputs).items():
            wire = self.wires[name]
            self.allowed[name] = bounds.quantized(wire.quantizer, exactly(real))
            self.expected[name] = wire.decode(wire.encode(real))
        for layer in self.network.layers:
            if isinstance(layer, LstmLayer | RnnLayer):
                yield from self._recurrent(layer)
            else:
                assert not isinstance(layer, GruLayer), "no producer writes a quantized GRU"
                self.allowed |= bounds.of_layer(layer, self.allowed)
                self.expected |= layer.evaluate(self.expected)
        yield from self._outputs(outputs)

    def _recurrent(self, layer: LstmLayer | RnnLayer) -> Iterator[Place]:
        label = f"layer {printable(layer.name)}"
        trace = _trace(layer, self.traces)
        order = slice(None, None, -1) if layer.reverse else slice(None)
        yield self._on_wire(f"{label}, input", trace.x[order], layer.source)
        yield self._initial(f"{label}, initial hidden state", layer.initial_hidden, trace.h[0])
        yield _carried(f"{label}, hidden state", trace.h, trace.next_h, layer.output)
        x, h = _rows(trace.x, layer.input), _rows(trace.h, layer.output)
        found = [trace.next_h[order], trace.next_h[-1]]
        if isinstance(layer, LstmLayer):
            assert trace.c is not None and trace.next_c is not None
            yield self._initial(f"{label}, initial cell state", layer.initial_cell, trace.c[0])
            yield _carried(f"{label}, cell state", trace.c, trace.next_c, layer.cell)
            c, next_c = _rows(trace.c, layer.cell), _rows(trace.next_c, layer.cell)
            expected, expected_cell = layer.step(x, h, c)
            allowed = bounds.next_cell(layer, x, h, c)
            yield _judged(f"{label}, cell state", _flat(trace.next_c), expected_cell, allowed, layer.cell)
            allowed = bounds.next_hidden(layer, x, h, next_c)
            found.append(trace.next_c[-1])
        else:
            expected, allowed = layer.gate(x, h), bounds.gate(layer.gate, x, h)
        yield _judged(f"{label}, hidden state", _flat(trace.next_h), expected, allowed, layer.output)
        # What follows is compared from the states that the producer has.
        for wire, values in zip(layer.wires, found, strict=True):
            self.expected[wire.name] = _on_grid(values, wire.quantizer)
            self.allowed[wire.name] = exactly(self.expected[wire.name])

    def _initial(self, label: str, state: InitialState, values: FloatArray) -> Place:
        if state.source is not None:
            return self._on_wire(label, values, state.source)
        constant = state.values({}, len(values))
        return _judged(label, values, constant, exactly(constant), state.quantizer)

    def _on_wire(self, label: str, values: FloatArray, wire: str) -> Place:
        return _judged(label, values, self.expected[wire], self.allowed[wire], self.wires[wire].quantizer)

    def _outputs(self, outputs: Sequence[FloatArray]) -> Iterator[Place]:
        if len(outputs) != len(self.network.outputs):
            raise ModelError(f"the file has {len(self.network.outputs)} outputs, its producer gives {len(outputs)}")
        for output, values in zip(self.network.outputs, outputs, strict=True):
            # What belongs to each value, laid out as the output is.
            by_wire: dict[str, dict[str, FloatArray]] = {"expected": {}, "low": {}, "high": {}, "lsb": {}, "near": {}}
            for wire in output.wires:
                expected, allowed = self.expected[wire.name], self.allowed[wire.name]
                lsb = np.broadcast_to(np.asarray(wire.quantizer.scale), expected.shape)
                near = np.broadcast_to(bounds.slack(wire.quantizer), expected.shape)
                entries = (expected, allowed.low, allowed.high, lsb, near)
                for kind, entry in zip(by_wire.values(), entries, strict=True):
                    kind[wire.name] = entry
            expected, low, high, lsb, near = (output.show(kind) for kind in by_wire.values())
            yield _place(f"graph output {printable(output.name)}", values, expected, Bounds(low, high), lsb, near)


def _parameters(label: str, gate: Gate, given: Mapping[tuple[str, str], FloatArray]) -> Iterator[Place]:
    """Weights and bias code by code."""
    for kind, weight in (("input_weight", gate.input_weight), ("hidden_weight", gate.hidden_weight)):
        scale, near = (
            np.broadcast_to(entry, len(weight.codes))[:, np.newaxis]
            for entry in (np.asarray(weight.quantizer.scale), bounds.slack(weight.quantizer))
        )
        ours = weight.values()
        yield _place(f"{label}, {kind.replace('_', ' ')}", given[gate.name, kind], ours, exactly(ours), scale, near)
    ours = np.broadcast_to(gate.bias_values(), len(gate.input_weight.codes))
    theirs = np.broadcast_to(given[gate.name, "bias"], ours.shape)
    lsb, near = np.ones(1), np.zeros(1)
    if isinstance(gate.bias, QuantizedTensor):
        # float32 does not hold a code of more than 24 bits: the nearest one stands for it.
        lsb = np.asarray(gate.bias.quantizer.scale)
        near = 0.5 * lsb
    yield _place(f"{label}, bias", theirs, ours, exactly(ours), lsb, near)


def _carried(label: str, state: FloatArray, after: FloatArray, quantizer: Quantizer) -> Place:
    """Each step starts from what the one before has left."""
    left = after[:-1]
    return _judged(f"{label} carried on", state[1:], left, exactly(left), quantizer)


def _flat(values: FloatArray) -> FloatArray:
    return values.reshape(-1, values.shape[-1])


def _on_grid(values: FloatArray, quantizer: Quantizer) -> FloatArray:
    """The nearest values that a quantizer has: float32 does not hold all of them exactly."""
    if quantizer.codes.bipolar:
        return quantizer.dequantize(quantizer.quantize(values))
    codes = np.rint(values / np.asarray(quantizer.scale) + np.asarray(quantizer.zero_point))
    return quantizer.dequantize(np.clip(codes, quantizer.codes.lo, quantizer.codes.hi))


def _rows(values: FloatArray, quantizer: Quantizer) -> FloatArray:
    return _on_grid(_flat(values), quantizer)


def _judged(label: str, values: FloatArray, expected: FloatArray, allowed: Bounds, quantizer: Quantizer) -> Place:
    return _place(label, values, expected, allowed, np.asarray(quantizer.scale), bounds.slack(quantizer))


def _place(
    label: str, values: FloatArray, expected: FloatArray, allowed: Bounds, lsb: FloatArray, near: FloatArray
) -> Place:
    """Compare real values; those within ``near`` of a bound are equal to it."""
    if values.shape != expected.shape:
        raise ModelError(f"{label}: has shape {list(expected.shape)}, its producer gives {list(values.shape)}")
    beyond = np.maximum(allowed.low - values, values - allowed.high)
    wrong = ~(beyond <= near)  # so that NaN is
    moved = wrong | (np.abs(values - expected) > 0.5 * lsb)
    worst = np.where(wrong, np.nan_to_num(beyond / lsb, nan=np.inf), 0.0).max(initial=0.0)
    return Place(label, values.size, int(moved.sum()), int(wrong.sum()), float(worst))
