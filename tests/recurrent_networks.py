# SPDX-License-Identifier: Apache-2.0
"""Networks with recurrent layers other than LSTMs, made by hand with random weights, and their RTL against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import hwgen
from hwgen import vectors
from hwgen.layers import (
    Activation,
    ConcatLayer,
    DenseLayer,
    Gate,
    GruLayer,
    InitialState,
    Layer,
    NewGate,
    QuantizedTensor,
    Requantization,
    RnnLayer,
    Wire,
)
from hwgen.network import Network, NetworkInput, NetworkOutput
from hwgen.quantizer import IntArray, IntegerType, Quantizer
from hwgen.verify import verify

INPUTS, HIDDEN = 6, 8
INT8, UINT8 = IntegerType(8, True), IntegerType(8, False)
X = Quantizer((2.0**-5,), (0,), INT8)
# Sequences of inputs without and with stalls.
SEQUENCES = 30


def weights(
    generator: np.random.Generator, rows: int, columns: int, channels: int = 1, bits: int = 8
) -> QuantizedTensor:
    """Weights with which most sums stay within 8 bits.

    ``channels`` is 1, or the number of rows and a power of two, so that float64 multiplies with each scale exactly.
    """
    scale = tuple(2.0 ** -(bits - 1) * (0.5 + channel / channels) for channel in range(channels))
    limit = 2 ** (bits - 1)
    codes: IntArray = generator.integers(-limit, limit, (rows, columns))
    return QuantizedTensor(codes, Quantizer(scale, (0,), IntegerType(bits, True)))


def rnn(
    name: str = "rnn",
    source: str = "x",
    inputs: int = INPUTS,
    hidden: int = HIDDEN,
    seed: int = 1,
    activation: Activation = Activation.TANH,
    accumulator: Quantizer = X,
    output: Quantizer = X,
    channels: int = 1,
    bits: int = 8,
    **options: Any,
) -> RnnLayer:
    """A plain RNN whose input has the quantizer of its ``output`` unless it is given."""
    generator = np.random.default_rng(seed)
    gate = Gate(
        name="hidden",
        input_weight=weights(generator, hidden, inputs, channels, bits),
        hidden_weight=weights(generator, hidden, hidden, channels, bits),
        bias=np.round(0.3 * 2**14 * generator.standard_normal(hidden)) / 2**14,
        accumulator=accumulator,
        activation=activation,
        activation_quantizer=output,
    )
    initial = options.pop("initial", InitialState(output, np.zeros(hidden, np.int64)))
    quantizer = options.pop("input", output)
    return RnnLayer(name, inputs, hidden, gate, quantizer, initial, source=source, **options)


UNIT = Quantizer((2.0**-7,), (0,), UINT8)


def gru(
    name: str = "gru",
    source: str = "x",
    inputs: int = INPUTS,
    hidden: int = HIDDEN,
    seed: int = 1,
    accumulator: Quantizer = X,
    part: Quantizer = X,
    sigmoid: Quantizer = UNIT,
    output: Quantizer = X,
    channels: int = 1,
    bits: int = 8,
    bias: float = 0.3,
    **options: Any,
) -> GruLayer:
    """A GRU whose input has the quantizer of its ``output`` unless it is given; ``part`` is that of U h of n."""
    generator = np.random.default_rng(seed)

    def biases() -> Any:
        return np.round(bias * 2**14 * generator.standard_normal(hidden)) / 2**14

    def matrix(columns: int) -> QuantizedTensor:
        return weights(generator, hidden, columns, channels, bits)

    reset, update = (
        Gate(gate, matrix(inputs), matrix(hidden), biases(), accumulator, Activation.SIGMOID, sigmoid)
        for gate in ("reset", "update")
    )
    tanh = Quantizer((2.0**-7,), (0,), INT8)
    new = NewGate(matrix(inputs), matrix(hidden), biases(), biases(), accumulator, part, tanh)
    initial = options.pop("initial", InitialState(output, np.zeros(hidden, np.int64)))
    quantizer = options.pop("input", output)
    return GruLayer(name, inputs, hidden, reset, update, new, quantizer, output, initial, source=source, **options)


def constant_state(quantizer: Quantizer, hidden: int = HIDDEN, seed: int = 1) -> InitialState:
    """Different codes for each unit."""
    codes = np.random.default_rng(seed).integers(quantizer.codes.lo, quantizer.codes.hi, hidden, endpoint=True)
    return InitialState(quantizer, codes)


def dense(name: str, source: Wire, outputs: int, seed: int, activation: Activation = Activation.IDENTITY) -> DenseLayer:
    """A dense layer with codes of the quantizer ``X``."""
    generator = np.random.default_rng(seed)
    bias = np.round(2**12 * generator.standard_normal(outputs)) / 2**12
    wire = Wire(name, outputs, source.per_step, X)
    return DenseLayer(
        name, source, weights(generator, outputs, source.features), bias, Requantization(activation, X), wire
    )


def side_by_side(name: str, *layers: Layer) -> ConcatLayer:
    """The sequences of several layers."""
    return ConcatLayer(name, tuple(layer.wires[0] for layer in layers))


def network(layers: list[Layer], shown: list[Wire], states: list[Wire] | None = None) -> Network:
    """A network with the input x, initial states as further inputs, and the wires in ``shown`` as outputs."""
    first = next(layer for layer in layers if layer.sources[0] == "x")
    assert isinstance(first, RnnLayer | GruLayer)
    inputs = [NetworkInput("x", ("T", "N", "F"), (Wire("x", first.input_size, True, first.input),))]
    inputs += [NetworkInput(wire.name, ("N", "F"), (wire,)) for wire in states or []]
    axes = {True: ("T", "N", "F"), False: ("N", "F")}
    outputs = [NetworkOutput(wire.name.replace(".", "_"), axes[wire.per_step], (wire,)) for wire in shown]
    return Network("by hand", tuple(layers), tuple(inputs), tuple(outputs))


def project_of(model: Network, folder: Path, **options: Any) -> hwgen.Project:
    """The RTL project of a model."""
    return hwgen.build(hwgen.schedule(model, **options), folder / "project", backend="rtl")


def check(model: Network, folder: Path, **options: Any) -> hwgen.Project:
    """Reference = integer model = RTL in every code, with and without stalls, in the predicted cycles; outputs move."""
    project = project_of(model, folder, **options)
    for name, codes in vectors.integer_results(
        project.design, vectors.random_sequences(project.design, SEQUENCES, seed=1)
    ).codes.items():
        assert len(np.unique(codes)) > 3, f"{name} hardly moves"
    report = verify(project, level="rtl", sequences=SEQUENCES)
    for name, level in report["levels"].items():
        assert level["codes"] > 0, name
        assert level["mismatches"] == 0, name
    simulated = report["levels"]["rtl"]
    assert simulated["simulated_cycles"] == simulated["predicted_cycles"]
    assert set(simulated["simulated_cycles"]) == {port.name for port in project.design.outputs}
    assert report["passed"]
    return project
