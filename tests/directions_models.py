# SPDX-License-Identifier: Apache-2.0
"""Bidirectional layers by hand: of two files of tests/models each, whose scales and weights differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recurrent_networks import side_by_side

import hwgen
from hwgen.dataflow import Dataflow
from hwgen.layers import InitialState, Layer, LstmLayer, Wire
from hwgen.network import Network, NetworkInput, NetworkOutput
from hwgen.quantizer import IntArray, Quantizer

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
        for state, field in fields.items():
            if getattr(layer, field).source is not None:
                wire = Wire(f"{layer.name}_{state}", units, False, getattr(layer, field).quantizer)
                states.append(wire)
                layer = replace(layer, **{field: replace(getattr(layer, field), source=wire.name)})
        layers.append(layer)
    both = side_by_side("both", *layers)
    wires = {wire.name: wire for each in (*layers, both) for wire in each.wires}
    given = [NetworkInput("x", ("T", "N", "F"), (Wire("x", inputs, True, one.input),))]
    given += [NetworkInput(wire.name, ("N", "F"), (wire,)) for wire in states]
    axes = {True: ("T", "N", "F"), False: ("N", "F")}
    outputs = [NetworkOutput(name.replace(".", "_"), axes[wires[name].per_step], (wires[name],)) for name in shown]
    return Network(f"{forward} and {backward}", (*layers, both), tuple(given), tuple(outputs))


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
