# SPDX-License-Identifier: Apache-2.0
"""The integer model of a whole network: stages that turn codes into codes, and nothing else.

Each stage stands for one layer of the network and gives the codes of the same wires.  Arrays are [T, batch, features]
per step and [batch, features] per sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from hwgen.forms import Certified
from hwgen.integer import IntegerCell, Interval, dot
from hwgen.integer_cells import IntegerGru, IntegerRnn
from hwgen.quantizer import IntArray, IntegerType

Codes = Mapping[str, IntArray]
_Cell = TypeVar("_Cell", IntegerRnn, IntegerGru)
# x [T, batch, I], h0, c0 [batch, H] or None for those of the model -> sequence [T, batch, H], last h, last c
RunCell = Callable[[IntegerCell, IntArray, IntArray | None, IntArray | None], tuple[IntArray, IntArray, IntArray]]


def _specified(
    cell: IntegerCell, x: IntArray, h0: IntArray | None, c0: IntArray | None
) -> tuple[IntArray, IntArray, IntArray]:
    return cell.run(x, h0, c0)


@dataclass(frozen=True)
class CellStage:
    """An LSTM layer in one direction; ``wires`` are its sequence, last hidden and last cell state."""

    cell: IntegerCell
    source: str
    initial_hidden: str | None
    initial_cell: str | None
    wires: tuple[str, str, str]

    @property
    def fed(self) -> dict[str, str | None]:
        """The wires behind its input ports: None where the model has the state."""
        return {"x": self.source, "h0": self.initial_hidden, "c0": self.initial_cell}

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return tuple(name for name in self.fed.values() if name is not None)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return self.wires

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.cell.name

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step functions."""
        return self.cell.steps()

    def run(self, codes: Codes, run_cell: RunCell = _specified) -> dict[str, IntArray]:
        """Codes of its wires."""
        h0, c0 = (None if name is None else codes[name] for name in (self.initial_hidden, self.initial_cell))
        return dict(zip(self.wires, run_cell(self.cell, codes[self.source], h0, c0), strict=True))


@dataclass(frozen=True)
class _HiddenStage(Generic[_Cell]):
    """A layer that has hidden states alone, in one direction; ``wires`` are its sequence and last hidden state."""

    cell: _Cell
    source: str
    initial_hidden: str | None
    wires: tuple[str, str]

    @property
    def fed(self) -> dict[str, str | None]:
        """The wires behind its input ports: None where the model has the state."""
        return {"x": self.source, "h0": self.initial_hidden}

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return tuple(name for name in self.fed.values() if name is not None)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return self.wires

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.cell.name

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step functions."""
        return self.cell.steps()

    def run(self, codes: Codes) -> dict[str, IntArray]:
        """Codes of its wires."""
        h0 = None if self.initial_hidden is None else codes[self.initial_hidden]
        return dict(zip(self.wires, self.cell.run(codes[self.source], h0), strict=True))


class RnnStage(_HiddenStage[IntegerRnn]):
    """A plain RNN."""


class GruStage(_HiddenStage[IntegerGru]):
    """A GRU."""


@dataclass(frozen=True)
class DenseStage:
    """step(weights a + bias) for raw codes a, or the sums themselves.

    ``weights`` [outputs, inputs] have their zero points subtracted; ``total`` is the exact range of the sums.
    """

    name: str
    source: str
    weights: IntArray
    bias: IntArray
    weight: IntegerType
    total: Interval
    step: Certified | None
    wire: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source,)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return (self.wire,)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step functions."""
        return iter(() if self.step is None else ((self.step.step.name, self.step),))

    def run(self, codes: Codes) -> dict[str, IntArray]:
        """Codes of its wire."""
        total = dot(codes[self.source], self.weights) + self.bias
        return {self.wire: total if self.step is None else self.step.form.evaluate(total)}


@dataclass(frozen=True)
class StepStage:
    """A step function on every code."""

    name: str
    source: str
    step: Certified
    wire: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source,)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return (self.wire,)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step function."""
        return iter(((self.step.step.name, self.step),))

    def run(self, codes: Codes) -> dict[str, IntArray]:
        """Codes of its wire."""
        return {self.wire: self.step.form.evaluate(codes[self.source])}


@dataclass(frozen=True)
class ConcatStage:
    """Features side by side."""

    name: str
    sources: tuple[str, ...]
    wire: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return self.sources

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return (self.wire,)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """It has no step function."""
        return iter(())

    def run(self, codes: Codes) -> dict[str, IntArray]:
        """Codes of its wire."""
        return {self.wire: np.concatenate([codes[name] for name in self.sources], axis=-1)}


@dataclass(frozen=True)
class SelectStage:
    """One time step, from the first (0, 1, ...) or from the last (-1, -2, ...)."""

    name: str
    source: str
    index: int
    wire: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source,)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return (self.wire,)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """It has no step function."""
        return iter(())

    def run(self, codes: Codes) -> dict[str, IntArray]:
        """Codes of its wire."""
        return {self.wire: codes[self.source][self.index]}


@dataclass(frozen=True)
class ArgmaxStage:
    """The index of the greatest of its inputs, the first of equals.

    Inputs of equal scale are compared as ``a * len(rank) + rank``: ``rank`` orders what float biases add to them.
    """

    name: str
    source: str
    rank: IntArray
    wire: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.source,)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return (self.wire,)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """It has no step function."""
        return iter(())

    def run(self, codes: Codes) -> dict[str, IntArray]:
        """Codes of its wire: [..., 1]."""
        keys = codes[self.source] * len(self.rank) + self.rank
        return {self.wire: keys.argmax(axis=-1, keepdims=True).astype(np.int64)}


RecurrentStage = CellStage | RnnStage | GruStage
Stage = RecurrentStage | DenseStage | StepStage | ConcatStage | SelectStage | ArgmaxStage


@dataclass(frozen=True)
class IntegerNetwork:
    """Stages in an order in which each comes after what it reads."""

    name: str
    stages: tuple[Stage, ...]

    def run(self, given: Codes, run_cell: RunCell = _specified) -> dict[str, IntArray]:
        """Codes of every wire from those of the inputs; ``run_cell`` may execute cells faster than they do."""
        codes = dict(given)
        for stage in self.stages:
            codes |= stage.run(codes, run_cell) if isinstance(stage, CellStage) else stage.run(codes)
        return codes

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function, with its place."""
        return ((f"{stage.name}: {name}", certified) for stage in self.stages for name, certified in stage.steps())
