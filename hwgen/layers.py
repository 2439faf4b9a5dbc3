# SPDX-License-Identifier: Apache-2.0
"""What a model is made of: layers that turn quantized values into quantized values, in real-valued terms.

Each layer evaluates itself in float64 with the formulas of its producer.  Nothing here knows how hardware computes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.gates import (
    Activation,
    Bias,
    Gate,
    InitialState,
    NewGate,
    QuantizedTensor,
    Values,
    Wire,
    bias_values,
    exact_bias,
    requantize,
    sources_of,
)
from hwgen.quantizer import FloatArray, IntegerType, Quantizer

__all__ = [
    "RECURRENT",
    "Activation",
    "ArgmaxLayer",
    "Bias",
    "ConcatLayer",
    "DenseLayer",
    "Gate",
    "GruLayer",
    "InitialState",
    "Layer",
    "LstmLayer",
    "NewGate",
    "QuantizeLayer",
    "QuantizedTensor",
    "Requantization",
    "RnnLayer",
    "SelectLayer",
    "Values",
    "Wire",
    "bias_values",
    "exact_bias",
    "requantize",
    "state_roles",
]


@dataclass(frozen=True)
class LstmLayer:
    """One LSTM layer in one direction; ``gates`` in the order input, forget, cell, output (no forget in CIFG).

    ``source`` is the wire of its input, with codes of ``input``.  It gives ``<name>.sequence``, the hidden states in
    time order also where ``reverse`` takes the steps from the last to the first, ``<name>.last_hidden`` and
    ``<name>.last_cell``, the states after the last step taken.

    The products f * c and i * g have the quantizer of the cell state, unless ``forget_product`` or ``input_product``
    says otherwise.  With ``tanh_argument`` the cell state is quantized once more before its tanh, which the next step
    does not see.
    """

    name: str
    input_size: int
    hidden_size: int
    gates: tuple[Gate, ...]
    input: Quantizer
    cell: Quantizer
    cell_tanh: Quantizer
    output: Quantizer
    initial_hidden: InitialState
    initial_cell: InitialState
    coupled: bool = False
    reverse: bool = False
    source: str = "x"
    forget_product: Quantizer | None = None
    input_product: Quantizer | None = None
    tanh_argument: Quantizer | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return sources_of(self.source, self.initial_hidden.source, self.initial_cell.source)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        return (
            Wire(f"{self.name}.sequence", self.hidden_size, True, self.output),
            Wire(f"{self.name}.last_hidden", self.hidden_size, False, self.output),
            Wire(f"{self.name}.last_cell", self.hidden_size, False, self.cell),
        )

    def gate(self, name: str) -> Gate:
        """The gate called ``name``."""
        return next(gate for gate in self.gates if gate.name == name)

    def step(self, x: FloatArray, h: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
        """One time step on real values: x [batch, I], h and c [batch, H]; returns the next h and c."""
        i, g, o = (self.gate(name)(x, h) for name in ("input", "cell", "output"))
        if self.coupled:
            f = requantize(self.gate("input").activation_quantizer, np.ones_like(i)) - i
        else:
            f = self.gate("forget")(x, h)
        kept, added = (
            requantize(self.forget_product or self.cell, f * c),
            requantize(self.input_product or self.cell, i * g),
        )
        c = requantize(self.cell, kept + added)
        argument = c if self.tanh_argument is None else requantize(self.tanh_argument, c)
        h = requantize(self.output, o * requantize(self.cell_tanh, Activation.TANH(argument)))
        return h, c

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wires from those that it reads."""
        x = given[self.source]
        h = self.initial_hidden.values(given, x.shape[1])
        c = self.initial_cell.values(given, x.shape[1])
        sequence = np.empty((*x.shape[:2], self.hidden_size))
        for t in reversed(range(len(x))) if self.reverse else range(len(x)):
            h, c = self.step(x[t], h, c)
            sequence[t] = h
        return {wire.name: value for wire, value in zip(self.wires, (sequence, h, c), strict=True)}


def state_roles(layer: LstmLayer) -> dict[str, str]:
    """What the wires that a layer reads are to it: x, h0 or c0."""
    roles = {layer.source: "x"}
    for state, role in ((layer.initial_hidden, "h0"), (layer.initial_cell, "c0")):
        if state.source is not None:
            roles[state.source] = role
    return roles


@dataclass(frozen=True)
class RnnLayer:
    """One layer of a plain RNN in one direction: h = output(activation(accumulator(W x + U h + b))).

    ``gate`` holds all of it; its ``activation_quantizer`` is the output's.  Wires as those of ``LstmLayer``, without
    a cell.
    """

    name: str
    input_size: int
    hidden_size: int
    gate: Gate
    input: Quantizer
    initial_hidden: InitialState
    reverse: bool = False
    source: str = "x"

    @property
    def output(self) -> Quantizer:
        """The quantizer of the hidden state."""
        return self.gate.activation_quantizer

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return sources_of(self.source, self.initial_hidden.source)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        return (
            Wire(f"{self.name}.sequence", self.hidden_size, True, self.output),
            Wire(f"{self.name}.last_hidden", self.hidden_size, False, self.output),
        )

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wires from those that it reads."""
        x = given[self.source]
        h = self.initial_hidden.values(given, x.shape[1])
        sequence = np.empty((*x.shape[:2], self.hidden_size))
        for t in reversed(range(len(x))) if self.reverse else range(len(x)):
            h = sequence[t] = self.gate(x[t], h)
        return {wire.name: value for wire, value in zip(self.wires, (sequence, h), strict=True)}


@dataclass(frozen=True)
class GruLayer:
    """One GRU layer in one direction: h = output(output((1 - z) * n) + output(z * h)), n being the candidate ``new``.

    1 is what the quantizer of the update gate z makes of it.  Wires as those of ``RnnLayer``.
    """

    name: str
    input_size: int
    hidden_size: int
    reset: Gate
    update: Gate
    new: NewGate
    input: Quantizer
    output: Quantizer
    initial_hidden: InitialState
    reverse: bool = False
    source: str = "x"

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return sources_of(self.source, self.initial_hidden.source)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        return (
            Wire(f"{self.name}.sequence", self.hidden_size, True, self.output),
            Wire(f"{self.name}.last_hidden", self.hidden_size, False, self.output),
        )

    def step(self, x: FloatArray, h: FloatArray) -> FloatArray:
        """One time step on real values: x [batch, I], h [batch, H]; returns the next h."""
        z = self.update(x, h)
        n = self.new(x, h, self.reset(x, h))
        rest = requantize(self.update.activation_quantizer, np.ones_like(z)) - z
        return requantize(self.output, requantize(self.output, rest * n) + requantize(self.output, z * h))

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wires from those that it reads."""
        x = given[self.source]
        h = self.initial_hidden.values(given, x.shape[1])
        sequence = np.empty((*x.shape[:2], self.hidden_size))
        for t in reversed(range(len(x))) if self.reverse else range(len(x)):
            h = sequence[t] = self.step(x[t], h)
        return {wire.name: value for wire, value in zip(self.wires, (sequence, h), strict=True)}


@dataclass(frozen=True)
class Requantization:
    """What a step of a head does to a real value: an activation, then a quantizer."""

    activation: Activation
    quantizer: Quantizer

    def __call__(self, values: FloatArray) -> FloatArray:
        """Apply elementwise."""
        return requantize(self.quantizer, self.activation(values))


@dataclass(frozen=True)
class DenseLayer:
    """W x + b on each vector of ``source``, then an activation and a quantizer if ``step`` is given.

    ``weight`` is [outputs, inputs].  Without a step the codes of ``wire`` are the sums themselves.
    """

    name: str
    source: Wire
    weight: QuantizedTensor
    bias: Bias
    step: Requantization | None
    wire: Wire

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source.name,)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        return (self.wire,)

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wire from those that it reads."""
        total = given[self.source.name] @ self.weight.values().T + bias_values(self.bias)
        if self.step is not None:
            return {self.wire.name: self.step(total)}
        # Sums as the real numbers that they are, not as float64 adds them up.
        return {self.wire.name: self.wire.decode(self.wire.encode(total))}


@dataclass(frozen=True)
class QuantizeLayer:
    """An activation and a quantizer on every code of ``source``: QuantIdentity, QuantReLU and others between layers."""

    name: str
    source: Wire
    step: Requantization

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source.name,)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        return (Wire(self.name, self.source.features, self.source.per_step, self.step.quantizer),)

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wire from those that it reads."""
        return {self.name: self.step(given[self.source.name])}


@dataclass(frozen=True)
class ConcatLayer:
    """Features of several wires side by side: the directions of a bidirectional layer."""

    name: str
    parts: tuple[Wire, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return tuple(part.name for part in self.parts)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        first = self.parts[0]
        return (Wire(self.name, sum(part.features for part in self.parts), first.per_step, first.quantizer),)

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wire from those that it reads."""
        return {self.name: np.concatenate([given[part.name] for part in self.parts], axis=-1)}


@dataclass(frozen=True)
class SelectLayer:
    """One time step of a sequence: ``index`` counts from the first step, or from the last if it is negative."""

    name: str
    source: Wire
    index: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source.name,)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out."""
        return (Wire(self.name, self.source.features, False, self.source.quantizer, self.source.offset),)

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wire from those that it reads."""
        return {self.name: given[self.source.name][self.index]}


@dataclass(frozen=True)
class ArgmaxLayer:
    """The index of the greatest feature of ``source``, the first of equals.

    Features are compared as real numbers: by code where the scales agree, then by what a float bias adds.
    """

    name: str
    source: Wire

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source.name,)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """What it puts out: one code, the index."""
        codes = IntegerType.holding(0, max(1, self.source.features - 1))
        return (Wire(self.name, 1, self.source.per_step, Quantizer((1.0,), (0,), codes)),)

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of its wire from those that it reads."""
        # Values on their own grid: what float64 made of two equal ones may differ in the last bit.
        codes = self.source.encode(given[self.source.name])
        rest = np.asarray(self.source.offset or (0.0,)) / self.source.quantizer.scale[0]
        return {self.name: (codes + rest).argmax(axis=-1, keepdims=True).astype(np.float64)}


Layer = LstmLayer | GruLayer | RnnLayer | DenseLayer | QuantizeLayer | ConcatLayer | SelectLayer | ArgmaxLayer
RECURRENT = (LstmLayer, GruLayer, RnnLayer)
