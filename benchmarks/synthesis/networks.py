# SPDX-License-Identifier: Apache-2.0
"""Networks that the cost model is fitted to and measured on: drawn at random, a seed each, with folding and clock.

Stacks of one or two LSTM, RNN or GRU layers, in one direction or both, 4 to 16 units wide, of 2 to 8 bits, with and
without what may stand around them.  Weights are random: what they compute does not matter here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from hwgen.dataflow import CellNode, Dataflow, DenseNode
from hwgen.folding import divisors, legal_hidden_pe, legal_input_simd
from hwgen.layers import (
    Activation,
    ArgmaxLayer,
    ConcatLayer,
    DenseLayer,
    Gate,
    GruLayer,
    InitialState,
    Layer,
    LstmLayer,
    NewGate,
    QuantizedTensor,
    QuantizeLayer,
    Requantization,
    RnnLayer,
    SelectLayer,
    Wire,
)
from hwgen.network import Network, NetworkInput, NetworkOutput
from hwgen.planning import schedule
from hwgen.quantizer import IntArray, IntegerType, Quantizer

# Seeds of the designs that the fit sees, and of those that it does not: of all draws mostly those that were predicted
# to take at most 1050 LUTs, for Yosys takes minutes for the others; without 138, in which it loses a driver.
FITTED = (0, 1, 5, 10, 13, 17, 19, 28, 24, 31, 3, 40, 16, 44, 18)
HELD_OUT = (
    *(100, 101, 102, 103, 107, 108, 109, 113, 114, 117, 121, 122, 125, 126, 127, 128, 129, 132, 133, 136, 137),
    *(139, 141, 142, 144, 146, 147, 148, 150, 152, 153, 157, 163, 165, 166, 167, 170, 171, 172, 177, 178, 179, 185),
)
# Of those with LSTM layers in both directions some on one engine for both; the fit does not see them.
ENGINES = (7, 180, 235)
# And of those with a dense layer on every step of both directions some in which it is in halves.
HALVES = (407, 579, 688)
# And of those with two layers of one kind and size, one behind the other, some on one engine for both.
STACKS = (448, 1773, 2010)
HEADS = ("none", "none", "every step", "last step", "deep", "argmax", "sums", "select")
KINDS = ("LSTM", "RNN", "GRU")
# What a folding drawn at random may take: Yosys should come to an end soon.
MULTIPLIERS = 16


@dataclass(frozen=True)
class NetworkPoint:
    """A network and how it is folded; all of it follows from the seed.

    With an ``engine`` both directions of a layer share one; with ``halves`` the dense layer behind them is in two; of a
    ``stack`` two layers share an engine.
    """

    seed: int
    engine: bool = False
    halves: bool = False
    stack: bool = False

    @staticmethod
    def from_dict(data: dict[str, Any]) -> NetworkPoint:
        """What ``to_dict`` gave."""
        return NetworkPoint(data["network"], **{name: True for name in data if name != "network"})

    @property
    def name(self) -> str:
        """What tells the point from all others."""
        return "-".join([f"network-{self.seed:03d}", *self._options])

    @property
    def _options(self) -> list[str]:
        return [name for name in ("engine", "halves", "stack") if getattr(self, name)]

    @property
    def held_out(self) -> bool:
        """Whether the fit does not see it."""
        return bool(self._options) or self.seed in HELD_OUT

    def schedule(self) -> Dataflow:
        """The design."""
        draw = _Draw(self.seed)
        network, choose = draw.network(), draw.choose
        clock = choose.choice((50.0, 100.0, 100.0, 200.0))
        reverse = any(getattr(layer, "reverse", False) for layer in network.layers)
        length = choose.choice((8, 24, 100)) if reverse else None
        options: dict[str, Any] = {"split_dense": self.halves}
        if self.engine or self.stack:
            options["share_engine"] = "directions" if self.engine else "layers"
        design = schedule(network, clock_mhz=clock, max_length=length, **options)
        assert isinstance(design, Dataflow)
        if choose.random() < 0.4:
            return design
        folding = foldings(design, choose)
        design = schedule(network, clock_mhz=clock, max_length=length, folding=folding, **options)
        assert isinstance(design, Dataflow)
        return design

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"network": self.seed} | dict.fromkeys(self._options, True)


def network_points() -> list[NetworkPoint]:
    """All networks, those of both sets in turn, so that a part of the sweep is a sample of both; then the others."""
    fitted, held_out = iter(FITTED), iter(HELD_OUT)
    seeds: list[int] = []
    while len(seeds) < len(FITTED) + len(HELD_OUT):
        seeds += [*islice(fitted, 1), *islice(held_out, 3)]
    found = [*(NetworkPoint(seed) for seed in seeds), *(NetworkPoint(seed, engine=True) for seed in ENGINES)]
    found += [NetworkPoint(seed, halves=True) for seed in HALVES]
    return [*found, *(NetworkPoint(seed, stack=True) for seed in STACKS)]


def foldings(design: Dataflow, choose: random.Random) -> dict[str, Any]:
    """Any legal folding of every node that is not too large."""
    found: dict[str, Any] = {}
    for node in design.nodes:
        if isinstance(node, CellNode):
            cell = node.design.cell
            rows = len(cell.rows) * cell.hidden_size
            hidden = _fold(choose, legal_hidden_pe(len(cell.rows), cell.hidden_size), divisors(cell.hidden_size))
            inputs = _fold(choose, divisors(rows), legal_input_simd(cell.input_size, node.design.stack))
            found[node.name] = {"input": inputs, "hidden": hidden}
        elif isinstance(node, DenseNode):
            rows, columns = node.stage.weights.shape
            found[node.name] = _fold(choose, divisors(rows), divisors(columns))
    return found


def _fold(choose: random.Random, rows: list[int], columns: list[int]) -> dict[str, int]:
    legal = [(pe, simd) for pe in rows for simd in columns if pe * simd <= MULTIPLIERS]
    pe, simd = choose.choice(legal)
    return {"pe": pe, "simd": simd}


@dataclass
class _Draw:
    seed: int
    choose: random.Random = field(init=False)
    values: np.random.Generator = field(init=False)
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.choose, self.values = random.Random(self.seed), np.random.default_rng(self.seed)
        choose = self.choose
        # Of the whole network: scales are powers of two or any float32, of each row or not.
        self.exact = choose.random() < 0.4
        self.channels = choose.random() < 0.3
        self.weight_bits = choose.choice((2, 3, 4, 4, 6, 8, 8, 8))
        self.bits = choose.choice((4, 6, 8, 8, 8))
        self.biased = choose.random() < 0.8

    def network(self) -> Network:
        """Layers from the input to the outputs."""
        choose = self.choose
        codes = IntegerType(self.bits, True)
        codes_in = self._quantizer(2.0, codes)
        x = wire = Wire("x", choose.choice((1, 2, 3, 4, 6, 8, 12)), True, codes_in)
        if choose.random() < 0.2:
            wire = self._map("front", wire, Activation.IDENTITY, self._quantizer(2.0, codes))
        for number in range(choose.choice((1, 1, 1, 2))):
            wire = self._recurrent(f"layer{number}", wire)
            if choose.random() < 0.2:
                quantizer = self._quantizer(1.0, IntegerType(choose.choice((4, self.bits)), True))
                wire = self._map(f"between{number}", wire, Activation.IDENTITY, quantizer)
        shown = self._head(choose.choice(HEADS), wire)
        axes = {True: ("T", "N", "F"), False: ("N", "F")}
        output = NetworkOutput("result", axes[shown.per_step], (shown,), isinstance(self.layers[-1], ArgmaxLayer))
        # One LSTM layer alone is another design than a network.
        if len(self.layers) == 1 and isinstance(self.layers[0], LstmLayer):
            return _Draw(self.seed + 1000).network()
        name = f"network_{self.seed:03d}"
        return Network(name, tuple(self.layers), (NetworkInput("x", axes[True], (x,)),), (output,))

    def _quantizer(self, top: float, codes: IntegerType) -> Quantizer:
        scale = top / codes.hi
        if self.exact:
            return Quantizer((2.0 ** round(float(np.log2(scale))),), (0,), codes)
        return Quantizer((float(np.float32(scale * self.choose.uniform(0.7, 1.4))),), (0,), codes)

    def _weights(self, rows: int, columns: int) -> QuantizedTensor:
        codes = IntegerType(self.weight_bits, True)
        base = self._quantizer(2.0 / columns**0.5, codes).scale[0]
        ramp = [2.0 ** self.choose.randrange(-1, 1) if self.exact else self.choose.uniform(0.5, 1) for _ in range(rows)]
        scale = tuple(float(np.float32(base * part)) for part in ramp) if self.channels and rows > 1 else (base,)
        values: IntArray = np.clip(
            np.rint(self.values.normal(0, codes.hi / 2, (rows, columns))), codes.lo + 1, codes.hi
        ).astype(np.int64)
        return QuantizedTensor(values, Quantizer(scale, (0,) * len(scale), codes))

    def _pair(self, hidden: int, inputs: int) -> tuple[QuantizedTensor, QuantizedTensor]:
        """Both matrices of a gate, with the same scales."""
        both = self._weights(hidden, inputs + hidden)
        return (
            QuantizedTensor(both.codes[:, :inputs], both.quantizer),
            QuantizedTensor(both.codes[:, inputs:], both.quantizer),
        )

    def _bias(self, rows: int) -> Any:
        values = self.values.normal(0, 0.3, rows).astype(np.float32).astype(np.float64)
        return values if self.biased else None

    def _gate(
        self, name: str, hidden: int, inputs: int, activation: Activation, given: Quantizer | None = None
    ) -> Gate:
        codes = IntegerType(max(4, self.bits), activation is not Activation.SIGMOID)
        accumulator = self._quantizer(3.0, IntegerType(max(6, self.bits), True))
        quantizer = given or self._quantizer(1.0, codes)
        weights = self._pair(hidden, inputs)
        return Gate(name, *weights, self._bias(hidden), accumulator, activation, quantizer)

    def _recurrent(self, name: str, wire: Wire) -> Wire:
        choose, hidden = self.choose, self.choose.choice((4, 4, 6, 8, 8, 10, 12, 16))
        kind, both = choose.choice(KINDS), choose.random() < 0.15
        state = choose.choice((6, 8, 12)) if self.bits < 8 else choose.choice((8, 8, 12))
        cell = self._quantizer(2.0, IntegerType(state, True))
        coupled, zero = choose.random() < 0.2, choose.random() < 0.8
        made: list[Layer] = []
        for direction in range(1 + both):
            label = f"{name}_{direction}" if both else name
            made.append(self._cell(label, kind, wire, hidden, cell, coupled, zero, reverse=bool(direction)))
        self.layers += made
        if not both:
            return made[0].wires[0]
        self.layers.append(ConcatLayer(f"{name}_both", tuple(layer.wires[0] for layer in made)))
        return self.layers[-1].wires[0]

    def _cell(
        self, name: str, kind: str, wire: Wire, hidden: int, cell: Quantizer, coupled: bool, zero: bool, reverse: bool
    ) -> Layer:
        inputs, io = wire.features, wire.quantizer
        sigmoid, tanh = Activation.SIGMOID, Activation.TANH

        def initial(quantizer: Quantizer) -> InitialState:
            limit = 1 if zero else quantizer.codes.hi // 2
            return InitialState(quantizer, self.values.integers(0, limit, hidden))

        if kind == "RNN":
            gate = self._gate("hidden", hidden, inputs, tanh, io)
            return RnnLayer(name, inputs, hidden, gate, io, initial(io), reverse, wire.name)
        if kind == "GRU":
            reset, update = (self._gate(gate, hidden, inputs, sigmoid) for gate in ("reset", "update"))
            codes = IntegerType(max(6, self.bits), True)
            sums, part, code = (self._quantizer(top, codes) for top in (3.0, 3.0, 1.0))
            pair = self._pair(hidden, inputs)
            new = NewGate(*pair, self._bias(hidden), self._bias(hidden), sums, part, code)
            return GruLayer(
                name, inputs, hidden, reset, update, new, io, io, initial(io), reverse=reverse, source=wire.name
            )
        names = [gate for gate in ("input", "forget", "cell", "output") if gate != "forget" or not coupled]
        gates = tuple(self._gate(gate, hidden, inputs, tanh if gate == "cell" else sigmoid) for gate in names)
        squashed = self._quantizer(1.0, IntegerType(self.bits, True))
        return LstmLayer(
            name=name,
            input_size=inputs,
            hidden_size=hidden,
            gates=gates,
            input=io,
            cell=cell,
            cell_tanh=squashed,
            output=io,
            initial_hidden=initial(io),
            initial_cell=initial(cell),
            coupled=coupled,
            reverse=reverse,
            source=wire.name,
        )

    def _map(self, name: str, wire: Wire, activation: Activation, quantizer: Quantizer) -> Wire:
        self.layers.append(QuantizeLayer(name, wire, Requantization(activation, quantizer)))
        return self.layers[-1].wires[0]

    def _dense(self, name: str, wire: Wire, outputs: int, activation: Activation, summed: bool = False) -> Wire:
        weight = self._weights(outputs, wire.features)
        bias = self._bias(outputs) if not summed else None
        codes = IntegerType(self.bits, activation is not Activation.RELU)
        if summed:
            one = QuantizedTensor(weight.codes, Quantizer(weight.quantizer.scale[:1], (0,), weight.quantizer.codes))
            scale = one.quantizer.scale[0] * wire.quantizer.scale[0]
            after = Wire(name, outputs, wire.per_step, Quantizer((scale,), (0,), IntegerType(32, True)))
            self.layers.append(DenseLayer(name, wire, one, bias, None, after))
            return after
        quantizer = self._quantizer(4.0, codes)
        after = Wire(name, outputs, wire.per_step, quantizer)
        self.layers.append(DenseLayer(name, wire, weight, bias, Requantization(activation, quantizer), after))
        return after

    def _head(self, kind: str, wire: Wire) -> Wire:
        choose, classes = self.choose, self.choose.randrange(2, 11)
        if kind == "none":
            return wire
        if kind != "every step":
            wire = self._last(wire, choose.randrange(1, 4) if kind == "select" else -1)
        if kind == "deep":
            wide = classes * choose.choice((1, 2, 3))
            hidden = self._dense("hidden", wire, wide, choose.choice((Activation.RELU, Activation.IDENTITY)))
            if choose.random() < 0.5:
                codes = IntegerType(self.bits, False)
                hidden = self._map("relu", hidden, Activation.RELU, self._quantizer(4.0, codes))
            wire = hidden
        out = self._dense("out", wire, classes, Activation.IDENTITY, summed=kind in ("sums", "argmax"))
        if kind == "argmax":
            self.layers.append(ArgmaxLayer("best", out))
            return self.layers[-1].wires[0]
        return out

    def _last(self, wire: Wire, index: int) -> Wire:
        self.layers.append(SelectLayer("chosen", wire, index))
        return self.layers[-1].wires[0]
