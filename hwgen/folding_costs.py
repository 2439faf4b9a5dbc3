# SPDX-License-Identifier: Apache-2.0
"""Resources of one layer under many foldings at once, in arrays: what an exploration of designs asks for.

Weights and step functions are looked at once for each folding of one product; what depends on both products of a
recurrent layer, its buffers, is left to laws that take arrays.  The numbers are those of ``cost.predict``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwgen.arrays import greater
from hwgen.cost import Resources, priced, total
from hwgen.counting import Unit
from hwgen.errors import ConfigError
from hwgen.folding import Folding, divisors, legal_hidden_pe, nearest
from hwgen.head_design import DenseDesign
from hwgen.quantizer import IntArray
from hwgen.registers import dense_vectors
from hwgen.rtl_timing import Timeline, buffered, timeline
from hwgen.schedule import Schedule, design_cell
from hwgen.structure import Junction, between, hidden_side, input_side, junction
from hwgen.structure_network import dense_structure

FloatArray = NDArray[np.float64]
_KINDS = 4


@dataclass
class Table:
    """Numbers of each pair of PE and SIMD of a product, each looked at when it is first asked for.

    ``look`` gives the units, and what else is to be known, of a pair.
    """

    name: str
    rows: list[int]
    columns: list[int]
    facts: int
    look: Callable[[int, int], tuple[list[Unit], tuple[int, ...]]]
    _entries: FloatArray = field(init=False)
    _known: NDArray[np.bool_] = field(init=False)
    _places: tuple[IntArray, IntArray] = field(init=False)

    def __post_init__(self) -> None:
        pairs = len(self.rows) * len(self.columns)
        self._entries, self._known = np.zeros((pairs, _KINDS + self.facts)), np.zeros(pairs, bool)
        self._places = _places(self.rows), _places(self.columns)

    def read(self, pe: IntArray, simd: IntArray) -> tuple[Resources, list[IntArray]]:
        """Resources and facts of arrays of foldings; raises ConfigError for one that is not legal."""
        row, column = (
            self._place(name, values, legal, places)
            for name, values, legal, places in zip(
                ("pe", "simd"), (pe, simd), (self.rows, self.columns), self._places, strict=True
            )
        )
        index = row * len(self.columns) + column
        for missing in np.unique(index[~self._known[index]]).tolist():
            units, facts = self.look(self.rows[missing // len(self.columns)], self.columns[missing % len(self.columns)])
            whole = total(map(priced, units))
            self._entries[missing] = (whole.lut, whole.ff, whole.dsp, whole.bram, *facts)
            self._known[missing] = True
        found = self._entries[index].T
        whole = Resources(found[0], found[1], found[2].astype(np.int64), found[3])
        return whole, list(found[_KINDS:].astype(np.int64))

    def _place(self, what: str, values: IntArray, legal: list[int], places: IntArray) -> IntArray:
        inside = (values >= 1) & (values < len(places))
        found = np.where(inside, places[np.where(inside, values, 0)], -1)
        if (found < 0).any():
            value = int(values[found < 0][0])
            raise ConfigError(f"folding {self.name}{what} must not be {value}; nearest legal: {nearest(value, legal)}")
        return found


def _places(legal: list[int]) -> IntArray:
    """The place of each legal number among them, by number; -1 of any other."""
    places = np.full(max(legal) + 1, -1)
    places[legal] = np.arange(len(legal))
    return places


class FoldingCosts(ABC):
    """Resources of a layer under arrays of foldings."""

    @abstractmethod
    def predict(self, foldings: IntArray) -> Resources:
        """Arrays of resources for foldings [n, numbers], as they follow each other in a folding."""


class DenseCosts(FoldingCosts):
    """Those of a dense layer: a folding is PE and SIMD."""

    def __init__(self, design: DenseDesign, flow: str = "xc7") -> None:
        self._design, self._flow = design, flow
        rows, columns = design.stage.weights.shape
        self._table = Table("", divisors(rows), divisors(columns), 0, self._look)

    def _look(self, pe: int, simd: int) -> tuple[list[Unit], tuple[int, ...]]:
        design, (rows, columns) = self._design, self._design.stage.weights.shape
        cycles = rows // pe * (columns // simd)
        vectors = dense_vectors(cycles, simd, design.stage.step, design.registers)
        return [dense_structure(replace(design, pe=pe, simd=simd, vectors=vectors), self._flow)], ()

    def predict(self, foldings: IntArray) -> Resources:
        """For foldings [n, 2]."""
        return self._table.read(*foldings.T)[0]


class LayerCosts(FoldingCosts):
    """Those of a recurrent layer: a folding is PE and SIMD of the input product, then of the hidden one."""

    def __init__(self, design: Schedule, flow: str = "xc7") -> None:
        self._design, self._flow = design, flow
        gates, hidden, inputs = len(design.cell.rows), design.cell.hidden_size, design.cell.input_size
        self._inputs = Table("input.", divisors(gates * hidden), divisors(inputs), 2, self._look_input)
        legal = legal_hidden_pe(gates, hidden)
        self._hidden = Table("hidden.", legal, divisors(hidden), 4, self._look_hidden)

    def _times(self, folding: Folding) -> Timeline:
        design = self._design
        packed = design.inputs[0].packed
        return timeline(design_cell(design.network, design.cell, design.options, folding, design.module, packed))

    def _look_input(self, pe: int, simd: int) -> tuple[list[Unit], tuple[int, ...]]:
        times = self._times(replace(self._design.folding, input_pe=pe, input_simd=simd))
        return input_side(times, self._flow), (times.design.input_product.cycles, times.input_latency)

    def _look_hidden(self, pe: int, simd: int) -> tuple[list[Unit], tuple[int, ...]]:
        times = self._times(replace(self._design.folding, hidden_pe=pe, hidden_simd=simd))
        written = times.written(times.groups - 1, times.hidden)
        return hidden_side(times, self._flow), (times.tiles, times.freed, written, times.design.units)

    def predict(self, foldings: IntArray) -> Resources:
        """For foldings [n, 4]."""
        input_pe, input_simd, hidden_pe, hidden_simd = foldings.T
        inputs, (cycles, latency) = self._inputs.read(input_pe, input_simd)
        hidden, (tiles, freed, written, units) = self._hidden.read(hidden_pe, hidden_simd)
        interval = greater(cycles, tiles)
        known, size = junction(timeline(self._design)), self._design.cell.hidden_size
        where = Junction(
            known.rows,
            known.sum_bits,
            input_pe,
            hidden_pe,
            buffered(cycles + latency + freed + 1, interval),
            known.stages,
            tuple((bits // self._design.units * units, size // units) for bits, _ in known.ports),
            buffered(written + 2, interval),
        )
        return total([inputs, hidden, *map(priced, between(where, self._flow))])
