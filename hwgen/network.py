# SPDX-License-Identifier: Apache-2.0
"""A whole model: layers joined by wires, between named graph inputs and outputs.

``Network.run`` evaluates the graph in float64.  It shares no code with the integer model below it: it is the
reference that everything else is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwgen.errors import ConfigError, UnsupportedError, listing, printable
from hwgen.layers import Layer, LstmLayer, Values, Wire
from hwgen.quantizer import FloatArray

# Axes of a graph's tensors: time, batch, features, the states of several layers, and axes of length 1.
TIME, BATCH, FEATURES, PARTS, ONE = "T", "N", "F", "S", "1"


@dataclass(frozen=True)
class NetworkInput:
    """A graph input: what its ``axes`` are, and the wires that it feeds.

    Each wire takes an entry of the axis of PARTS, which has ``count`` of them, or everything where there is none.
    """

    name: str
    axes: tuple[str, ...]
    wires: tuple[Wire, ...]
    parts: tuple[int, ...] = (0,)
    count: int = 1

    @property
    def features(self) -> int:
        """Length of the axis of features."""
        return self.wires[0].features

    @property
    def layout(self) -> str:
        """The shape that it needs, for people."""
        names = {TIME: "T", BATCH: "batch", FEATURES: str(self.features), PARTS: str(self.count), ONE: "1"}
        return f"[{', '.join(names[axis] for axis in self.axes)}]"

    def read(self, given: ArrayLike) -> dict[str, FloatArray]:
        """An array as the graph takes it to real values by wire; raises ConfigError if it does not fit."""
        array = _finite(given, self.name)
        if array.ndim == len(self.axes) - 1 and (self.axes[0] == ONE or (self.axes[0] == PARTS and self.count == 1)):
            array = array[np.newaxis]
        lengths = {FEATURES: self.features, PARTS: self.count, ONE: 1}
        if array.ndim != len(self.axes) or any(
            lengths.get(axis, length) != length for axis, length in zip(self.axes, array.shape, strict=True)
        ):
            raise ConfigError(f"--input {printable(self.name)}: shape must be {self.layout}, not {list(array.shape)}")
        order = [axis for axis in (PARTS, TIME, BATCH, FEATURES) if axis in self.axes]
        kept = [axis for axis in self.axes if axis != ONE]
        array = array.reshape([length for axis, length in zip(self.axes, array.shape, strict=True) if axis != ONE])
        array = array.transpose([kept.index(axis) for axis in order])
        if BATCH not in self.axes:
            array = np.expand_dims(array, -2)  # before the features
        parts = array if PARTS in self.axes else array[np.newaxis]
        return {wire.name: np.ascontiguousarray(parts[part]) for wire, part in zip(self.wires, self.parts, strict=True)}


@dataclass(frozen=True)
class NetworkOutput:
    """A graph output: the wires that it shows, along an axis of PARTS if there are several, and its axes in order.

    One without FEATURES or BATCH shows the only one.  ``integer`` outputs are indices.
    """

    name: str
    axes: tuple[str, ...]
    wires: tuple[Wire, ...]
    integer: bool = False

    def show(self, values: Values) -> FloatArray:
        """Real values by wire laid out as the graph has them."""
        result: FloatArray = np.stack([values[wire.name] for wire in self.wires])
        present = [PARTS, TIME, BATCH, FEATURES] if self.wires[0].per_step else [PARTS, BATCH, FEATURES]
        for axis in (PARTS, BATCH, FEATURES):
            if axis not in self.axes:
                result = np.take(result, 0, axis=present.index(axis))
                present.remove(axis)
        result = result.transpose([present.index(axis) for axis in self.axes if axis != ONE])
        for place, axis in enumerate(self.axes):
            if axis == ONE:
                result = np.expand_dims(result, place)
        return result.astype(np.int64) if self.integer else result


@dataclass(frozen=True)
class Network:
    """A whole model: ``layers`` in an order in which each comes after what it reads.

    ``source`` is the file that it was read from.
    """

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[NetworkInput, ...]
    outputs: tuple[NetworkOutput, ...]
    warnings: tuple[str, ...] = ()
    source: bytes = field(default=b"", repr=False, compare=False)

    @property
    def is_single_lstm(self) -> bool:
        """Whether the model is one LSTM layer in one direction and nothing else."""
        return len(self.layers) == 1 and isinstance(self.layers[0], LstmLayer)

    @property
    def layer(self) -> LstmLayer:
        """The LSTM layer of a model that is nothing else; raises UnsupportedError for any other model."""
        first = self.layers[0]
        if self.is_single_lstm and isinstance(first, LstmLayer):
            return first
        kinds = listing(type(layer).__name__.removesuffix("Layer") for layer in self.layers)
        raise UnsupportedError(
            f"{printable(self.name)} has {len(self.layers)} layers ({kinds}): hwgen runs it (hwgen run), but "
            "generates hardware for one LSTM layer in one direction alone so far"
        )

    @property
    def wires(self) -> dict[str, Wire]:
        """All wires by name."""
        fed = (wire for port in self.inputs for wire in port.wires)
        return {wire.name: wire for wire in (*fed, *(wire for layer in self.layers for wire in layer.wires))}

    def bind(self, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Check user arrays against the graph inputs and lay them out by wire.

        Returns float64 values of the float32 numbers that the graph would receive: [T, batch, features] or, of
        states, [batch, features].  Raises ConfigError on names, shapes or values that do not fit.
        """
        names = [port.name for port in self.inputs]
        unknown = [name for name in inputs if name not in names]
        missing = [name for name in names if name not in inputs]
        if unknown or missing:
            found = listing(map(printable, inputs)) or "none"
            raise ConfigError(f"--input: the model needs {listing(map(printable, names))}, given {found}")
        bound: dict[str, FloatArray] = {}
        steps: tuple[str, int] | None = None
        batch: tuple[str, int] | None = None
        for port in self.inputs:
            bound |= port.read(inputs[port.name])
            array = bound[port.wires[0].name]
            if 0 in array.shape:
                shape = list(np.shape(inputs[port.name]))
                raise ConfigError(f"--input: at least one step of one sequence is needed, not shape {shape}")
            if port.wires[0].per_step:
                if steps is not None and steps[1] != len(array):
                    raise ConfigError(
                        f"--input: {printable(port.name)} has {len(array)} steps, {printable(steps[0])} has {steps[1]}"
                    )
                steps = port.name, len(array)
            if batch is not None and batch[1] != array.shape[-2]:
                raise ConfigError(
                    f"--input: the batch of {printable(port.name)} is {array.shape[-2]}, "
                    f"that of {printable(batch[0])} is {batch[1]}"
                )
            batch = batch or (port.name, array.shape[-2])
            _check_on_grid(port, bound)
        single = next((output.name for output in self.outputs if BATCH not in output.axes), None)
        if single is not None and batch is not None and batch[1] != 1:
            raise ConfigError(f"--input: {printable(single)} shows one sequence, {printable(batch[0])} has {batch[1]}")
        return bound

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Evaluate the graph in float64; returns each graph output under its ONNX name.

        ``inputs`` maps graph input names to arrays as the graph takes them, for any number of steps and sequences.
        """
        return self.present(self.evaluate(self.bind(inputs)))

    def evaluate(self, given: Values) -> dict[str, FloatArray]:
        """Real values of every wire, from real values of the wires of the inputs, which are quantized first."""
        wires = self.wires
        values = {name: wires[name].decode(wires[name].encode(real)) for name, real in given.items()}
        for layer in self.layers:
            values |= layer.evaluate(values)
        return values

    def present(self, values: Values) -> dict[str, FloatArray]:
        """Lay real values out as the graph's outputs."""
        return {output.name: output.show(values) for output in self.outputs}


def _check_on_grid(port: NetworkInput, bound: Values) -> None:
    """Values that the graph does not quantize must be those of the quantizer that it takes them for."""
    for wire in port.wires:
        values = bound[wire.name].astype(np.float32)
        off = wire.on_grid and values != wire.decode(wire.encode(bound[wire.name])).astype(np.float32)
        if np.any(off):
            raise ConfigError(
                f"--input {printable(port.name)}: the graph does not quantize it, so every value must be one of "
                f"{wire.quantizer}, not {values[off][0]:.9g}"
            )


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
