# SPDX-License-Identifier: Apache-2.0
"""Bidirectional layers by hand: of two files of tests/models each, whose scales and weights differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from recurrent_networks import HIDDEN, X, constant_state, gru, rnn, side_by_side
from recurrent_networks import network as network_of

import hwgen
from hwgen.dataflow import Dataflow
from hwgen.layers import GruLayer, InitialState, Layer, LstmLayer, RnnLayer, Wire
from hwgen.network import Network, NetworkInput, NetworkOutput
from hwgen.quantizer import IntArray, IntegerType, Quantizer

MODELS = Path(__file__).parent / "models"
MAX_LENGTH = 21
# Hidden units of each file.
SIZE = 20

STATES = ("forward.last_hidden", "backward.last_hidden", "forward.last_cell", "backward.last_cell")
# Files, folding, clock, outputs.
Case = tuple[str, str, tuple[int, int, int, int], float, tuple[str, ...]]
# Between them: constants by direction, and by unit of each direction, of all forms; gates in parts and side by side;
# one tile; initial states that are given, or differ by direction.
CASES: dict[str, Case] = {
    "scales that differ": ("default", "wide_range", (3, 4, 1, 3), 50, ("both",)),
    "powers of two, unrolled": ("floor_power_of_two", "power_of_two", (24, 4, 24, 6), 200, ("both",)),
    "states given": ("states", "states", (4, 2, 2, 2), 100, ("both", *STATES)),
    "states of each direction": ("constant_states", "constant_states", (6, 1, 9, 3), 100, ("both",)),
    "last states": ("round_floor", "default", (8, 2, 4, 1), 100, ("forward.last_hidden", "backward.sequence")),
}
LONG: dict[str, Case] = {
    "scales of channels": ("per_channel4_float_bias", "per_channel", (1, 1, 8, 2), 200, ("both", *STATES)),
    "zero points": ("shifted", "shifted", (12, 2, 8, 6), 100, ("both",)),
    "binary weights": ("binary", "binary", (2, 4, 4, 3), 100, ("both",)),
    "two bits": ("two_bits", "two_bits", (24, 1, 24, 1), 50, ("both",)),
    "wide states": ("wide_state", "wide_state", (4, 4, 2, 6), 200, ("backward.last_cell", "forward.sequence")),
    "4 bits": ("narrow4", "narrow4", (3, 1, 1, 1), 100, ("both",)),
    "shared gate quantizer beside others": ("shared_gate_acc_quant", "default", (8, 4, 12, 3), 100, ("both",)),
    "coupled beside constant states": ("constant_states", "coupled", (18, 1, 18, 2), 50, ("both", *STATES)),
}
# Of some cases: where memories are, and how far the input product runs ahead.
CHOICES: dict[str, dict[str, Any]] = {
    "states of each direction": {"look_ahead": 1, "memory": {"forward.hidden_weights": "block"}},
    "last states": {"look_ahead": 5},
}


def part(name: str, units: int, inputs: int, begin: int = 0) -> LstmLayer:
    """So many units of the layer of a file, from the unit ``begin`` on, and the first of its inputs."""
    own = slice(begin, begin + units)

    def rows(quantizer: Quantizer) -> Quantizer:
        scales, zeros = quantizer.scale, quantizer.zero_point
        scales, zeros = scales if len(scales) == 1 else scales[own], zeros if len(zeros) == 1 else zeros[own]
        return replace(quantizer, scale=scales, zero_point=zeros)

    def cut(tensor: Any, columns: slice) -> Any:
        return replace(tensor, codes=tensor.codes[own, columns], quantizer=rows(tensor.quantizer))

    def state(given: InitialState) -> InitialState:
        return given if given.codes is None else replace(given, codes=given.codes[own])

    layer = hwgen.load(MODELS / f"{name}.onnx").layer
    gates = []
    for gate in layer.gates:
        bias = gate.bias
        if isinstance(bias, np.ndarray):
            bias = bias[own]
        elif bias is not None:
            bias = replace(bias, codes=bias.codes[own], quantizer=rows(bias.quantizer))
        gates.append(
            replace(
                gate,
                input_weight=cut(gate.input_weight, slice(inputs)),
                hidden_weight=cut(gate.hidden_weight, own),
                bias=bias,
            )
        )
    return replace(
        layer,
        input_size=inputs,
        hidden_size=units,
        gates=tuple(gates),
        source="x",
        initial_hidden=state(layer.initial_hidden),
        initial_cell=state(layer.initial_cell),
    )


def bidirectional(
    forward: str, backward: str, units: int = 6, inputs: int = 4, shown: tuple[str, ...] = ("both",), **changes: Any
) -> Network:
    """A network of one bidirectional layer: the directions of two files, the codes of ``x`` and ``y`` of the first.

    ``shown`` are its outputs: both sequences side by side, or wires as forward.last_hidden.  ``changes`` are made to
    the backward layer; its units are the last ones of its file, so that weights differ though the files are one.
    """
    one, other = part(forward, units, inputs), part(backward, units, inputs, begin=SIZE - units)
    one = replace(one, name="forward")
    other = replace(other, name="backward", reverse=True, input=one.input, output=one.output, **changes)
    states, layers = list[Wire](), list[Layer]()
    for layer in (one, other):
        fields = {"h0": "initial_hidden", "c0": "initial_cell"}
        for state, place in fields.items():
            if getattr(layer, place).source is not None:
                wire = Wire(f"{layer.name}_{state}", units, False, getattr(layer, place).quantizer)
                states.append(wire)
                layer = replace(layer, **{place: replace(getattr(layer, place), source=wire.name)})
        layers.append(layer)
    both = side_by_side("both", *layers)
    wires = {wire.name: wire for each in (*layers, both) for wire in each.wires}
    given = [NetworkInput("x", ("T", "N", "F"), (Wire("x", inputs, True, one.input),))]
    given += [NetworkInput(wire.name, ("N", "F"), (wire,)) for wire in states]
    axes = {True: ("T", "N", "F"), False: ("N", "F")}
    outputs = [NetworkOutput(name.replace(".", "_"), axes[wires[name].per_step], (wires[name],)) for name in shown]
    return Network(f"{forward} and {backward}", (*layers, both), tuple(given), tuple(outputs))


def of_one_kind(
    make: Callable[..., RnnLayer | GruLayer],
    forward: dict[str, Any],
    backward: dict[str, Any],
    shown: tuple[str, ...] = ("both",),
) -> Network:
    """A network of both directions of a plain RNN or GRU, each with options of its own; ``shown`` as above."""
    layers, states = list[RnnLayer | GruLayer](), list[Wire]()
    for seed, (name, options) in enumerate((("forward", forward), ("backward", backward)), 1):
        layer = make(name, seed=seed, reverse=name == "backward", **options)
        state = layer.initial_hidden
        if state.source is not None:
            wire = Wire(f"{name}_h0", layer.hidden_size, False, state.quantizer)
            layer = replace(layer, initial_hidden=replace(state, source=wire.name))
            states.append(wire)
        layers.append(layer)
    both = side_by_side("both", *layers)
    wires = {wire.name: wire for each in (*layers, both) for wire in each.wires}
    return network_of([*layers, both], [wires[name] for name in shown], states)


def engine(network: Network, folding: dict[str, Any] | None = None, **options: Any) -> Dataflow:
    """Its design with one engine for both directions."""
    given = None if folding is None else {"forward": folding}
    built: dict[str, Any] = {
        "max_length": MAX_LENGTH,
        "outputs": tuple(output.name for output in network.outputs),
    } | options
    design = hwgen.schedule(network, folding=given, share_engine="directions", **built)
    assert isinstance(design, Dataflow)
    return design


def folding(input_pe: int, input_simd: int, hidden_pe: int, hidden_simd: int) -> dict[str, Any]:
    """As a folding file has it."""
    return {"input": {"pe": input_pe, "simd": input_simd}, "hidden": {"pe": hidden_pe, "simd": hidden_simd}}


def constant(quantizer: Quantizer, units: int, seed: int) -> IntArray:
    """Different codes for each unit."""
    return np.random.default_rng(seed).integers(quantizer.codes.lo, quantizer.codes.hi, units, endpoint=True)


LAST = ("forward.last_hidden", "backward.last_hidden")
INT8 = IntegerType(8, True)
# Scales of accumulators that are no powers of two: their steps multiply, or search.
FINE, COARSE = Quantizer((0.0217,), (0,), INT8), Quantizer((0.0431,), (0,), INT8)
GIVEN = InitialState(X, source="h0")


@dataclass(frozen=True)
class Kind:
    """Both directions of a plain RNN or GRU of 6 inputs and 8 units, a folding, a clock, outputs, further options."""

    make: Callable[..., RnnLayer | GruLayer]
    forward: dict[str, Any]
    backward: dict[str, Any]
    folds: tuple[int, int, int, int]
    clock_mhz: float = 100
    shown: tuple[str, ...] = ("both",)
    options: dict[str, Any] = field(default_factory=dict)

    def model(self) -> Network:
        """The network of both."""
        return of_one_kind(self.make, self.forward, self.backward, self.shown)

    def design(self) -> Dataflow:
        """With one engine for both."""
        return engine(self.model(), folding(*self.folds), clock_mhz=self.clock_mhz, **self.options)


KINDS: dict[str, Kind] = {
    "RNN, scales that differ": Kind(
        rnn,
        {"accumulator": FINE},
        {"accumulator": COARSE},
        (4, 3, 2, 4),
        options={"memory": {"forward.input_weights": "block", "forward.hidden_weights": "block"}},
    ),
    "RNN, channels beside none, states given": Kind(
        rnn, {"initial": GIVEN, "channels": HIDDEN}, {"initial": GIVEN}, (8, 6, 8, 8), 200, ("both", *LAST)
    ),
    "GRU, scales that differ": Kind(gru, {"accumulator": FINE, "part": COARSE}, {"part": FINE}, (6, 2, 6, 4)),
    "GRU, states of each direction": Kind(
        gru,
        {"initial": constant_state(X)},
        {"initial": constant_state(X, seed=2), "channels": HIDDEN},
        (2, 6, 1, 8),
        shown=("forward.last_hidden", "backward.sequence"),
        options={"look_ahead": 2},
    ),
}
LONG_KINDS: dict[str, Kind] = {
    "RNN, constant states, unrolled": Kind(
        rnn, {"initial": constant_state(X)}, {"initial": constant_state(X, seed=3), "bits": 4}, (8, 6, 4, 8), 50
    ),
    "RNN, one row after the other": Kind(rnn, {"channels": HIDDEN}, {"channels": HIDDEN}, (1, 1, 1, 1), 200),
    "GRU, unrolled": Kind(gru, {}, {"accumulator": COARSE}, (24, 6, 24, 8), 50),
    "GRU, unrolled at a high clock": Kind(gru, {"part": FINE}, {"channels": HIDDEN}, (24, 6, 24, 8), 250),
    "GRU, states given": Kind(
        gru,
        {"initial": GIVEN},
        {"initial": GIVEN, "bits": 5},
        (12, 3, 6, 4),
        100,
        ("both", *LAST),
        {"memory": {"forward.input_weights": "block", "forward.hidden_weights": "block"}},
    ),
    "GRU, one row after the other": Kind(gru, {"channels": HIDDEN}, {"channels": HIDDEN}, (1, 1, 1, 1), 200),
    "GRU, wide": Kind(gru, {"accumulator": FINE}, {"accumulator": COARSE, "part": FINE}, (8, 2, 24, 2), 100),
}
