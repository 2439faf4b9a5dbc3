# SPDX-License-Identifier: Apache-2.0
"""Stacks of recurrent layers by hand, two of which share one engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from directions_models import COARSE, FINE, GIVEN, folding, part
from recurrent_networks import X, constant_state, dense, gru, rnn
from recurrent_networks import network as network_of

import hwgen
from hwgen.dataflow import Dataflow
from hwgen.layers import ConcatLayer, GruLayer, InitialState, Layer, LstmLayer, RnnLayer, Wire
from hwgen.network import Network, NetworkInput, NetworkOutput

# Steps of the longest sequence that is sent, where one is stored.
MAX_LENGTH = 24


def stack(
    make: Callable[..., RnnLayer | GruLayer],
    inputs: int,
    hidden: int,
    layers: int = 2,
    shown: tuple[str, ...] = (),
    options: tuple[dict[str, Any], ...] = ({},),
) -> Network:
    """``layers`` layers l0, l1 .. one behind the other; ``options`` of the first, the second .. again and again.

    ``shown`` are wires that leave, by default the sequence of the last one.
    """
    found, states, source, width = list[Layer](), list[Wire](), "x", inputs
    for number in range(layers):
        name = f"l{number}"
        chosen = options[number % len(options)]
        layer = make(name, source=source, inputs=width, hidden=hidden, seed=number + 1, **chosen)
        if layer.initial_hidden.source is not None:
            wire = Wire(f"{name}_h0", hidden, False, layer.initial_hidden.quantizer)
            layer = replace(layer, initial_hidden=replace(layer.initial_hidden, source=wire.name))
            states.append(wire)
        found.append(layer)
        source, width = f"{name}.sequence", hidden
    wires = {wire.name: wire for layer in found for wire in layer.wires}
    return network_of(found, [wires[name] for name in shown or (source,)], states)


def lstms(first: str, second: str, inputs: int, units: int) -> Network:
    """Two layers of files of tests/models, of so many units each, with all states as outputs."""
    one, other = part(first, units, inputs), part(second, units, units, begin=4)
    one = replace(one, name="l0")
    other = replace(other, name="l1", source="l0.sequence", input=one.output, output=one.output)
    layers = list[LstmLayer]()
    for layer in (one, other):
        for name in ("initial_hidden", "initial_cell"):
            state: InitialState = getattr(layer, name)
            if state.source is not None:
                constant: dict[str, Any] = {name: constant_state(state.quantizer, units)}
                layer = replace(layer, **constant)
        layers.append(layer)
    wires = [layers[1].wires[0], *(wire for layer in layers for wire in layer.wires[1:])]
    given = NetworkInput("x", ("T", "N", "F"), (Wire("x", inputs, True, one.input),))
    outputs = [
        NetworkOutput(wire.name.replace(".", "_"), ("T", "N", "F") if wire.per_step else ("N", "F"), (wire,))
        for wire in wires
    ]
    return Network(f"{first} and {second}", tuple(layers), (given,), tuple(outputs))


def beside_its_input() -> Network:
    """Two layers, a dense one on every step of theirs and of their input side by side."""
    layers = stack(rnn, 4, 8).layers
    last = layers[-1].wires[0]
    whole = ConcatLayer("both", (Wire("x", 4, True, X), last))
    head = dense("head", whole.wires[0], 6, seed=5)
    return network_of([*layers, whole, head], [head.wires[0]])


@dataclass(frozen=True)
class Stack:
    """A model, a folding of its engine l0, a clock, further options."""

    model: Callable[[], Network]
    folds: tuple[int, int, int, int] | None
    clock_mhz: float = 100
    options: dict[str, Any] = field(default_factory=dict)

    def design(self, **more: Any) -> Dataflow:
        """With one engine for each two layers."""
        model = self.model()
        built: dict[str, Any] = {
            "folding": None if self.folds is None else {"l0": folding(*self.folds)},
            "clock_mhz": self.clock_mhz,
            "share_engine": "layers",
            "outputs": tuple(output.name for output in model.outputs),
        }
        design = hwgen.schedule(model, **built | self.options | more)
        assert isinstance(design, Dataflow)
        return design


LAST = ("l0.last_hidden", "l1.sequence", "l1.last_hidden")
STACKS: dict[str, Stack] = {
    # Fewer inputs than units, and states that are given.
    "RNN": Stack(
        lambda: stack(rnn, 4, 8, shown=LAST, options=({"accumulator": FINE, "initial": GIVEN}, {"initial": GIVEN})),
        (4, 2, 2, 2),
        options={"memory": {"l0.input_weights": "block", "l0.hidden_weights": "block"}},
    ),
    # More inputs than units; rows one after the other.
    "GRU": Stack(lambda: stack(gru, 12, 4, options=({"part": FINE}, {"accumulator": COARSE})), (3, 2, 1, 2)),
    "LSTM": Stack(lambda: lstms("default", "wide_range", 3, 6), (8, 3, 4, 3), 50),
}
LONG_STACKS: dict[str, Stack] = {
    "RNN, unrolled": Stack(lambda: stack(rnn, 8, 8), (8, 8, 8, 8), 200),
    "RNN, little look-ahead": Stack(lambda: stack(rnn, 8, 8), (2, 2, 8, 4), 100, {"look_ahead": 1}),
    "RNN, states alone": Stack(lambda: stack(rnn, 4, 8, shown=("l0.last_hidden", "l1.last_hidden")), (8, 4, 8, 8)),
    "RNN, slow input product": Stack(lambda: stack(rnn, 6, 8), (1, 1, 8, 8), 50),
    "RNN, four layers": Stack(lambda: stack(rnn, 4, 8, layers=4), None),
    "GRU, three layers": Stack(lambda: stack(gru, 6, 6, layers=3, shown=("l2.last_hidden",)), None),
    "GRU, states of each layer": Stack(
        lambda: stack(gru, 4, 8, options=({"initial": constant_state(X)}, {"channels": 8})), (24, 4, 12, 4), 200
    ),
    "LSTM, wide states": Stack(lambda: lstms("states", "states", 8, 6), (2, 1, 24, 6), 200),
    "LSTM, unrolled": Stack(lambda: lstms("constant_states", "constant_states", 6, 6), (18, 6, 18, 6)),
    "beside its input": Stack(beside_its_input, None),
}
