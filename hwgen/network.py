# SPDX-License-Identifier: Apache-2.0
"""What a model means: layers and quantizers in real-valued terms.

``Network.run`` evaluates the graph in float64 with the formulas of Brevitas' QuantLSTM.  It shares no code with the
integer model below it: it is the reference that everything else is compared with.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwgen.errors import ConfigError, listing, printable
from hwgen.quantizer import FloatArray, IntArray, Quantizer


class Activation(enum.Enum):
    """The nonlinearities of a recurrent cell."""

    SIGMOID = "sigmoid"
    TANH = "tanh"

    def __call__(self, values: FloatArray) -> FloatArray:
        """Apply elementwise.

        Neither function reaches its limits for a finite argument, float64 does: results stay just inside, so that
        CEIL and FLOOR see what they would see in real arithmetic.
        """
        inside, above_zero = 1.0 - 2.0**-53, 2.0**-900
        if self is Activation.TANH:
            return np.clip(np.tanh(values), -inside, inside)
        decay = np.exp(-np.abs(values))
        return np.clip(np.where(values >= 0, 1.0, decay) / (1.0 + decay), above_zero, inside)


@dataclass(frozen=True)
class QuantizedTensor:
    """A constant tensor as integer ``codes``, channels first, with the quantizer that gives their real values."""

    codes: IntArray
    quantizer: Quantizer

    def values(self) -> FloatArray:
        """The real values, same shape as ``codes``."""
        return self.quantizer.dequantize(self.codes.T).T


@dataclass(frozen=True)
class Gate:
    """One gate: activation_quantizer(activation(accumulator(W x + U h + b))).

    ``input_weight`` is [H, I], ``hidden_weight`` [H, H]; ``bias`` is [H]: quantized, plain float, or absent.
    """

    name: str
    input_weight: QuantizedTensor
    hidden_weight: QuantizedTensor
    bias: QuantizedTensor | FloatArray | None
    accumulator: Quantizer
    activation: Activation
    activation_quantizer: Quantizer

    def bias_values(self) -> FloatArray | float:
        """The bias as real values [H], or 0."""
        if isinstance(self.bias, QuantizedTensor):
            return self.bias.values()
        return 0.0 if self.bias is None else self.bias


@dataclass(frozen=True)
class InitialState:
    """An initial state: constant codes [H], or the graph input called ``graph_input`` quantized to codes."""

    quantizer: Quantizer
    codes: IntArray | None = None
    graph_input: str | None = None


@dataclass(frozen=True)
class LstmLayer:
    """One LSTM layer in one direction; ``gates`` in the order input, forget, cell, output (no forget in CIFG)."""

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

    def gate(self, name: str) -> Gate:
        """The gate called ``name``."""
        return next(gate for gate in self.gates if gate.name == name)

    def step(self, x: FloatArray, h: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
        """One time step on real values: x [batch, I], h and c [batch, H]; returns the next h and c."""

        def activate(name: str) -> FloatArray:
            gate = self.gate(name)
            total = x @ gate.input_weight.values().T + h @ gate.hidden_weight.values().T + gate.bias_values()
            return _requantize(gate.activation_quantizer, gate.activation(_requantize(gate.accumulator, total)))

        i, g, o = activate("input"), activate("cell"), activate("output")
        if self.coupled:
            f = _requantize(self.gate("input").activation_quantizer, np.ones_like(i)) - i
        else:
            f = activate("forget")
        c = _requantize(self.cell, _requantize(self.cell, f * c) + _requantize(self.cell, i * g))
        h = _requantize(self.output, o * _requantize(self.cell_tanh, Activation.TANH(c)))
        return h, c


def _requantize(quantizer: Quantizer, values: FloatArray) -> FloatArray:
    return quantizer.dequantize(quantizer.quantize(values))


class Source(enum.Enum):
    """What a graph output shows of a layer."""

    SEQUENCE = "sequence"
    LAST_HIDDEN = "last_hidden"
    LAST_CELL = "last_cell"


@dataclass(frozen=True)
class NetworkInput:
    """A graph input.  ``axes`` are the leading axes of length 1 that a state carries around [batch, H]."""

    name: str
    role: str  # "x", "h0" or "c0"
    features: int
    axes: int = 0


@dataclass(frozen=True)
class NetworkOutput:
    """A graph output: its ONNX name, what it shows, and the axes that the graph inserts (Unsqueeze) in order."""

    name: str
    source: Source
    unsqueeze: tuple[int, ...] = ()


@dataclass(frozen=True)
class Network:
    """A whole model: named inputs and outputs around one layer.  ``source`` is the file that it was read from."""

    name: str
    layer: LstmLayer
    inputs: tuple[NetworkInput, ...]
    outputs: tuple[NetworkOutput, ...]
    batch_first: bool = False
    warnings: tuple[str, ...] = ()
    source: bytes = field(default=b"", repr=False, compare=False)

    def bind(self, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Check user arrays against the graph inputs and lay them out by role.

        Returns x [T, batch, I] and, where they are graph inputs, h0 and c0 [batch, H], as float64 values of the
        float32 numbers that the graph would receive.  Raises ConfigError on names, shapes or values that do not fit.
        """
        names = [port.name for port in self.inputs]
        unknown = [name for name in inputs if name not in names]
        missing = [name for name in names if name not in inputs]
        if unknown or missing:
            found = listing(map(printable, inputs)) or "none"
            raise ConfigError(f"--input: the model needs {listing(map(printable, names))}, given {found}")
        bound: dict[str, FloatArray] = {}
        for port in self.inputs:
            array = _finite(inputs[port.name], port.name)
            if port.role != "x" and array.ndim == 2 and port.axes:
                array = array[np.newaxis]
            rank = 3 if port.role == "x" else 2 + port.axes
            layers = array.shape[: port.axes]  # of one-layer states: all 1
            if array.ndim != rank or array.shape[-1] != port.features or any(length != 1 for length in layers):
                layout = {"x": "[batch, T, {}]" if self.batch_first else "[T, batch, {}]"}
                want = layout.get(port.role, "[1, batch, {}]" if port.axes else "[batch, {}]").format(port.features)
                raise ConfigError(f"--input {printable(port.name)}: shape must be {want}, not {list(array.shape)}")
            bound[port.role] = array
        x = bound["x"].swapaxes(0, 1) if self.batch_first else bound["x"]
        if 0 in x.shape:
            raise ConfigError(f"--input: at least one step of one sequence is needed, not shape {list(x.shape)}")
        for role in ("h0", "c0"):
            if role in bound:
                bound[role] = bound[role].reshape(-1, self.layer.hidden_size)
                if len(bound[role]) != x.shape[1]:
                    raise ConfigError(f"--input: {role} holds {len(bound[role])} sequences, x holds {x.shape[1]}")
        return bound | {"x": x}

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Evaluate the graph in float64; returns each graph output under its ONNX name.

        ``inputs`` maps graph input names to arrays as the graph takes them, for x [T, batch, I], or [batch, T, I]
        in a batch-first model, for any T and batch.
        """
        bound = self.bind(inputs)
        sequence, h, c = self.evaluate(bound["x"], bound.get("h0"), bound.get("c0"))
        return self.present(sequence, h, c)

    def evaluate(
        self, x: FloatArray, h0: FloatArray | None = None, c0: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Real outputs of the layer for real inputs: (sequence [T, batch, H], last h, last c [batch, H])."""
        layer = self.layer
        x = _requantize(layer.input, x)
        h = _initial(layer.initial_hidden, h0, x.shape[1])
        c = _initial(layer.initial_cell, c0, x.shape[1])
        sequence = np.empty((*x.shape[:2], layer.hidden_size))
        for t in reversed(range(len(x))) if layer.reverse else range(len(x)):
            h, c = layer.step(x[t], h, c)
            sequence[t] = h
        return sequence, h, c

    def present(self, sequence: FloatArray, h: FloatArray, c: FloatArray) -> dict[str, FloatArray]:
        """Lay real results out as the graph's outputs: batch first where the model is, axes inserted."""
        shown = {
            Source.SEQUENCE: sequence.swapaxes(0, 1) if self.batch_first else sequence,
            Source.LAST_HIDDEN: h,
            Source.LAST_CELL: c,
        }
        results = {}
        for output in self.outputs:
            value = shown[output.source]
            for axis in output.unsqueeze:
                value = np.expand_dims(value, axis)
            results[output.name] = value
        return results


def _initial(state: InitialState, given: FloatArray | None, batch: int) -> FloatArray:
    if given is not None:
        return _requantize(state.quantizer, given)
    if state.codes is None:
        raise ConfigError(f"--input: the initial state {printable(state.graph_input or '')} is needed")
    return np.broadcast_to(state.quantizer.dequantize(state.codes), (batch, len(state.codes)))


def _finite(values: ArrayLike, name: str) -> FloatArray:
    try:
        array: NDArray[np.generic] = np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"--input {printable(name)}: an array of numbers is needed, not {error}") from error
    if array.dtype.kind not in "fiub":
        raise ConfigError(f"--input {printable(name)}: numbers are needed, not {array.dtype}")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        raise ConfigError(f"--input {printable(name)}: every value must be a finite float32")
    return single.astype(np.float64)
