# SPDX-License-Identifier: Apache-2.0
"""The float network: the layers of a quantized one, evaluated without quantizers, and what is seen at their places.

Weights that the file has quantized keep the values that it gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hwgen.calibration.floats import FloatCell, FloatGate
from hwgen.calibration.rewrite import Rewritten
from hwgen.calibration.scales import KEPT, Observed
from hwgen.calibration.writer import WrittenCell
from hwgen.layers import (
    Activation,
    DenseLayer,
    GruLayer,
    InitialState,
    Layer,
    LstmLayer,
    QuantizeLayer,
    RnnLayer,
    Values,
)
from hwgen.network import Network
from hwgen.quantizer import FloatArray

_SIGMOID, _TANH = Activation.SIGMOID, Activation.TANH
# Name of a place, values
Record = Callable[[str, FloatArray], None]


class Observer:
    """Keeps what is seen at each place: all of it counts for the range, a fair sample is kept."""

    def __init__(self, seed: int = 0) -> None:
        self.seen: dict[str, Observed] = {}
        self._random = np.random.default_rng(seed)

    def record(self, name: str, values: FloatArray, share: float = 1.0) -> None:
        """Note values at a place, of which a ``share`` is kept."""
        kept = values
        if share < 1:
            count = max(1, round(values.size * share))
            kept = values.reshape(-1)[self._random.integers(0, values.size, count)]
        self.seen.setdefault(name, Observed()).add(values, np.array(kept, copy=True))


def evaluate(
    network: Network,
    rewritten: Rewritten,
    given: Values,
    observer: Observer | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, FloatArray]:
    """Real values of every wire, from real values of those of the inputs: as ``Network.evaluate``, in float64."""
    wires = network.wires
    values = dict(given)
    for port in network.inputs:
        for wire in port.wires:
            if port.name in rewritten.inputs and observer is not None:
                real = values[wire.name]
                observer.record(rewritten.inputs[port.name], real, KEPT / max(KEPT, real.size))
    for layer in network.layers:
        progress(layer.name)
        values |= _Layer(layer, rewritten, observer).evaluate(values)
    assert values.keys() == wires.keys()
    return values


class _Layer:
    """One layer: what its places are called, and its evaluation."""

    def __init__(self, layer: Layer, rewritten: Rewritten, observer: Observer | None) -> None:
        self.layer, self.rewritten, self.observer = layer, rewritten, observer
        self._share = 1.0

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wires."""
        layer = self.layer
        if isinstance(layer, LstmLayer | GruLayer | RnnLayer) and layer.name in self.rewritten.cells:
            return self._recurrent(layer, self.rewritten.cells[layer.name], given)
        if isinstance(layer, DenseLayer) and layer.name in self.rewritten.dense:
            dense = self.rewritten.dense[layer.name]
            total = given[layer.source.name] @ dense.weight.values.T
            total = total if dense.bias is None else total + dense.bias
            return {layer.wire.name: self._step(layer, layer.wire.name, total)}
        if isinstance(layer, QuantizeLayer):
            return {layer.name: self._step(layer, layer.name, given[layer.source.name])}
        return layer.evaluate(given)

    def _step(self, layer: DenseLayer | QuantizeLayer, wire: str, values: FloatArray) -> FloatArray:
        """The activation of a layer; its quantizer only if the file has it."""
        if layer.step is None:
            return values
        if wire in self.rewritten.given:
            return layer.step(values)
        values = layer.step.activation(values)
        if wire in self.rewritten.places:
            self._share = KEPT / max(KEPT, values.size)
            self._note(wire, values)
        return values

    def _note(self, place: str, values: FloatArray) -> None:
        if self.observer is not None:
            self.observer.record(place, values, self._share)

    def _recurrent(
        self, layer: LstmLayer | GruLayer | RnnLayer, written: WrittenCell, given: Values
    ) -> dict[str, FloatArray]:
        x, cell = given[layer.source], written.cell
        self._share = KEPT / max(KEPT, len(x) * x.shape[1] * cell.hidden_size)
        initial = [layer.initial_hidden]
        if isinstance(layer, LstmLayer):
            initial.append(layer.initial_cell)
        states = [
            self._initial(state, quantizer, written, given, x.shape[1])
            for state, quantizer in zip(initial, ("output", "cell_state"), strict=False)
        ]
        steps: dict[str, Callable[..., list[FloatArray]]] = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}
        step = steps[cell.kind]
        projected = {name: x @ gate.input.values.T + _bias(gate.bias) for name, gate in cell.gates.items()}
        sequence = np.empty((*x.shape[:2], cell.hidden_size))
        for t in reversed(range(len(x))) if layer.reverse else range(len(x)):
            states = step(cell, {name: part[t] for name, part in projected.items()}, *states)
            sequence[t] = states[0]
        return {wire.name: value for wire, value in zip(layer.wires, (sequence, *states), strict=True)}

    def _initial(
        self, state: InitialState, quantizer: str, written: WrittenCell, given: Values, batch: int
    ) -> FloatArray:
        """A state [batch, H] before the first step."""
        if state.source is not None:
            values = given[state.source]
        else:
            values = np.broadcast_to(written.states[quantizer], (batch, written.cell.hidden_size))
        self._note(f"{self.layer.name}/{quantizer}", values)
        return values

    def _at(self, quantizer: str, values: FloatArray) -> FloatArray:
        """Values at a place of the cell."""
        self._note(f"{self.layer.name}/{quantizer}", values)
        return values

    def _gate(self, gate: FloatGate, projected: FloatArray, h: FloatArray) -> FloatArray:
        return projected + h @ gate.hidden.values.T

    def _lstm(
        self, cell: FloatCell, projected: Mapping[str, FloatArray], h: FloatArray, c: FloatArray
    ) -> list[FloatArray]:
        gates = {}
        for name, gate in cell.gates.items():
            kind = _TANH if name == "cell" else _SIGMOID
            total = self._at(f"{name}_acc", self._gate(gate, projected[name], h))
            gates[name] = self._at(f"{name}_{kind.value}", kind(total))
        i = gates["input"]
        f = 1.0 - i if cell.coupled else gates["forget"]
        # The products have the quantizer of the cell state.
        kept, added = self._at("cell_state", f * c), self._at("cell_state", i * gates["cell"])
        c = self._at("cell_state", kept + added)
        h = self._at("output", gates["output"] * self._at("hidden_state_tanh", _TANH(c)))
        return [h, c]

    def _gru(self, cell: FloatCell, projected: Mapping[str, FloatArray], h: FloatArray) -> list[FloatArray]:
        r, z = (
            self._at(
                f"{name}_sigmoid", _SIGMOID(self._at(f"{name}_acc", self._gate(cell.gates[name], projected[name], h)))
            )
            for name in ("reset", "update")
        )
        new = cell.gates["new"]
        part = self._at("hidden_acc", h @ new.hidden.values.T + _bias(new.hidden_bias))
        product, whole = r * part, self._at("new_acc", projected["new"])
        n = self._at("new_tanh", _TANH(self._at("new_acc", whole + self._at("new_acc", product))))
        return [self._at("output", self._at("output", (1.0 - z) * n) + self._at("output", z * h))]

    def _rnn(self, cell: FloatCell, projected: Mapping[str, FloatArray], h: FloatArray) -> list[FloatArray]:
        total = self._at("gate_acc", self._gate(cell.gates["hidden"], projected["hidden"], h))
        return [self._at("output", cell.activation(total))]


def _bias(bias: FloatArray | None) -> FloatArray | float:
    return 0.0 if bias is None else bias
