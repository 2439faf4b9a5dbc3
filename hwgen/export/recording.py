# SPDX-License-Identifier: Apache-2.0
"""Inputs to try, and what a module computes inside its recurrent layers while it takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwgen.agreement import Trace
from hwgen.export.libraries import libraries
from hwgen.export.modules import as_array, call_name, recurrent_layers
from hwgen.layers import SelectLayer
from hwgen.network import BATCH, FEATURES, ONE, PARTS, TIME, Network, NetworkInput

_SEED = 1
# Sequences of a batch differ in size: some that saturate the input's codes and some within their middle.
_SIZES = (1.0, 0.3, 0.1)


def trials(network: Network, example: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The example, then seeded random inputs of its and other lengths and batch sizes."""
    yield example
    torch, generator = libraries().torch, np.random.default_rng(_SEED)
    lengths = dict.fromkeys((TIME, BATCH), 1)
    for port, tensor in zip(network.inputs, example, strict=True):
        lengths |= {axis: length for axis, length in zip(port.axes, tensor.shape, strict=True) if axis in lengths}
    steps, batch = lengths[TIME], lengths[BATCH]
    for wanted in ((steps, batch), (least_steps(network), 1), (steps + 3, batch + 1)):
        arrays = (_random(port, *wanted, generator) for port in network.inputs)
        yield tuple(torch.from_numpy(array).to(tensor.device) for array, tensor in zip(arrays, example, strict=True))


def least_steps(network: Network) -> int:
    """The length of the shortest sequence that has every time step that the network picks."""
    picked = [layer.index for layer in network.layers if isinstance(layer, SelectLayer)]
    return max([1, *(index + 1 if index >= 0 else -index for index in picked)])


def _random(port: NetworkInput, steps: int, batch: int, generator: np.random.Generator) -> Any:
    """Real values that reach every code of the input's quantizer, and both of its limits."""
    sizes = {TIME: steps, BATCH: batch, FEATURES: port.features, PARTS: port.count, ONE: 1}
    quantizer = port.wires[0].quantizer
    codes = generator.uniform(quantizer.codes.lo - 2, quantizer.codes.hi + 2, [sizes[axis] for axis in port.axes])
    along = [1] * len(port.axes)
    along[port.axes.index(BATCH)] = batch
    scale = quantizer.scale[0] * np.resize(_SIZES, batch).reshape(along)
    return ((codes - quantizer.zero_point[0]) * scale).astype(np.float32)


# What follows the states among the arguments of a cell's step: parameters by gate and kind.
_RNN_PARAMETERS = [("hidden", kind) for kind in ("input_weight", "hidden_weight", "bias")]
_LSTM_PARAMETERS = [
    (gate, kind) for kind in ("input_weight", "hidden_weight", "bias") for gate in ("input", "forget", "cell", "output")
]


@dataclass
class _Steps:
    """The steps of one call of a layer: what went in and what came out, state by state."""

    parameters: tuple[Any, ...] = ()
    x: list[Any] = field(default_factory=list)
    before: list[tuple[Any, ...]] = field(default_factory=list)
    after: list[tuple[Any, ...]] = field(default_factory=list)

    def trace(self) -> Trace:
        before, after = (
            [np.stack([as_array(state) for state in states]) for states in zip(*steps, strict=True)]
            for steps in (self.before, self.after)
        )
        x = np.stack([as_array(x) for x in self.x])
        names = _RNN_PARAMETERS if len(before) == 1 else _LSTM_PARAMETERS
        parameters = dict(zip(names, map(as_array, self.parameters), strict=True))
        return Trace(parameters, x, before[0], after[0], *((before[1], after[1]) if len(before) > 1 else ()))


@contextlib.contextmanager
def recording(module: Any, traces: dict[str, Trace]) -> Iterator[None]:
    """Fill ``traces`` with every step that recurrent layers take; to be used within ``left_as_it_was``."""
    found: dict[str, _Steps] = {}
    hooks, cells = [], []
    for name, layer in recurrent_layers(module).items():
        calls: list[_Steps] = []
        hooks.append(layer.register_forward_pre_hook(_started(name, calls, found)))
        cells.append(layer.fast_cell if layer.fast_mode else layer.cell)
        cells[-1].forward_iter = _recorded(cells[-1].forward_iter, calls, _states(layer))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for cell in cells:
            del cell.forward_iter  # its class has the original
    traces |= {name: steps.trace() for name, steps in found.items()}


def _states(layer: Any) -> int:
    return 2 if isinstance(layer, libraries().LstmLayer) else 1


def _started(name: str, calls: list[_Steps], found: dict[str, _Steps]) -> Any:
    def hook(*_: Any) -> None:
        calls.append(_Steps())
        found[call_name(name, len(calls))] = calls[-1]

    return hook


def _recorded(original: Any, calls: list[_Steps], states: int) -> Any:
    def forward_iter(x: Any, *rest: Any) -> Any:
        result = original(x, *rest)
        steps = calls[-1]
        steps.x.append(x)
        steps.before.append(rest[:states])
        steps.parameters = rest[states:]
        # Each state comes with its scale, zero point and bit width.
        steps.after.append(tuple(state[0] for state in (result if states > 1 else (result,))))
        return result

    return forward_iter
