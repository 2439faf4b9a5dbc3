# SPDX-License-Identifier: Apache-2.0
"""Products with a constant matrix as graphs of shifts and additions, and where their registers stand.

Node n of a graph is column n of the argument for n below ``columns``, then come the adders in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hwgen.quantizer import IntArray


@dataclass(frozen=True)
class Adder:
    """(left << left_shift) + (right << right_shift), or minus; one of both shifts is 0."""

    left: int
    left_shift: int
    right: int
    right_shift: int
    minus: bool


@dataclass(frozen=True)
class Term:
    """A node in a row: (node << shift), added or subtracted."""

    node: int
    shift: int
    minus: bool


def signed_bits(lo: int, hi: int) -> int:
    """Bits of a signed number of so much range."""
    return max((-lo - 1).bit_length() if lo < 0 else 0, hi.bit_length() if hi > 0 else 0) + 1


@dataclass(frozen=True)
class AdderGraph:
    """matrix @ x of a constant matrix [rows, columns] for codes x of lo..hi.

    ``rows`` has the term of each row, None where it is zero; ``maker`` names what found the graph.
    """

    columns: int
    lo: int
    hi: int
    adders: tuple[Adder, ...]
    rows: tuple[Term | None, ...]
    maker: str

    @cached_property
    def coefficients(self) -> IntArray:
        """What each node has of each column, [nodes, columns]."""
        found = np.zeros((self.columns + len(self.adders), self.columns), np.int64)
        found[: self.columns] = np.eye(self.columns, dtype=np.int64)
        for node, adder in enumerate(self.adders, self.columns):
            right = found[adder.right] << adder.right_shift
            found[node] = (found[adder.left] << adder.left_shift) + (-right if adder.minus else right)
        return found

    @property
    def matrix(self) -> IntArray:
        """The matrix that it multiplies with."""
        found = np.zeros((len(self.rows), self.columns), np.int64)
        for row, term in enumerate(self.rows):
            if term is not None:
                found[row] = (self.coefficients[term.node] << term.shift) * (-1 if term.minus else 1)
        return found

    def evaluate(self, codes: IntArray) -> IntArray:
        """The products of codes [n, columns] as the hardware adds them up, [n, rows]."""
        values = list(codes.T)
        for adder in self.adders:
            right = values[adder.right] << adder.right_shift
            values.append((values[adder.left] << adder.left_shift) + (-right if adder.minus else right))
        zero = np.zeros(len(codes), np.int64)
        return np.stack(
            [
                zero if term is None else (values[term.node] << term.shift) * (-1 if term.minus else 1)
                for term in self.rows
            ],
            axis=1,
        )

    @property
    def ranges(self) -> IntArray:
        """The least and the greatest value of each node, [nodes, 2]."""
        lo, hi = self.lo, self.hi
        up, down = np.maximum(self.coefficients, 0).sum(axis=1), np.minimum(self.coefficients, 0).sum(axis=1)
        return np.stack([up * lo + down * hi, up * hi + down * lo], axis=1)

    @cached_property
    def bits(self) -> tuple[int, ...]:
        """Bits of each node: its own range, and no less than the operands of its adder."""
        ranges = self.ranges.tolist()
        found = [signed_bits(lo, hi) for lo, hi in ranges[: self.columns]]
        for adder, (lo, hi) in zip(self.adders, ranges[self.columns :], strict=True):
            operands = found[adder.left] + adder.left_shift, found[adder.right] + adder.right_shift
            found.append(max(signed_bits(lo, hi), *operands))
        return tuple(found)

    @cached_property
    def digits(self) -> int:
        """Signed digits of the matrix: what adds up without sharing anything."""
        values, found = np.abs(self.matrix), 0
        while values.any():
            odd = values & 1
            found += int(odd.sum())
            values = (values - odd * np.where(values & 3 == 3, -1, 1)) >> 1
        return found

    def without_unused(self) -> AdderGraph:
        """The same without adders that lead nowhere."""
        wanted = {term.node for term in self.rows if term is not None}
        for node in reversed(range(self.columns, self.columns + len(self.adders))):
            adder = self.adders[node - self.columns]
            wanted |= {adder.left, adder.right} if node in wanted else set()
        place = {node: node for node in range(self.columns)}
        kept = [node for node in range(self.columns, self.columns + len(self.adders)) if node in wanted]
        place |= {node: number for number, node in enumerate(kept, self.columns)}
        adders = (self.adders[node - self.columns] for node in kept)
        return replace(
            self,
            adders=tuple(replace(adder, left=place[adder.left], right=place[adder.right]) for adder in adders),
            rows=tuple(None if term is None else replace(term, node=place[term.node]) for term in self.rows),
        )

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Adders one after the other up to each node."""
        found = [0] * self.columns
        for adder in self.adders:
            found.append(1 + max(found[adder.left], found[adder.right]))
        return tuple(found)

    @cached_property
    def depth(self) -> int:
        """Adders one after the other, without the one that adds where a sum starts."""
        return max((self.levels[term.node] for term in self.rows if term is not None), default=0)

    @cached_property
    def latest(self) -> tuple[int, ...]:
        """The last level in which each adder can be, columns as they are."""
        found = [self.depth] * len(self.levels)
        for node in reversed(range(self.columns, len(found))):
            adder = self.adders[node - self.columns]
            for source in (adder.left, adder.right):
                found[source] = min(found[source], found[node] - 1)
        return (*[0] * self.columns, *found[self.columns :])


@dataclass(frozen=True)
class Pipeline:
    """A graph with ``stages`` registers between its columns and the sums of its rows.

    What starts a row is added behind them, ``sum_bits`` wide, in front of one register more.
    """

    graph: AdderGraph
    sum_bits: int
    stages: int

    @cached_property
    def place(self) -> tuple[int, ...]:
        """Registers in front of each node: adders as early or as late as their order allows, what takes fewer bits."""
        return min((self._places(levels) for levels in (self.graph.levels, self.graph.latest)), key=self._register_bits)

    @property
    def register_bits(self) -> int:
        """Bits of registers between columns and sums."""
        return self._register_bits(self.place)

    @cached_property
    def held(self) -> tuple[int, ...]:
        """Registers behind each node, one after the other."""
        return self._held(self.place)

    @property
    def adder_bits(self) -> int:
        """Bits of carry chains: of a sum those below the shift of its right operand are those of the left."""
        bits = self.graph.bits
        inner = sum(
            bits[node] - (adder.right_shift or (0 if adder.minus else adder.left_shift))
            for node, adder in enumerate(self.graph.adders, self.graph.columns)
        )
        starts = sum(max(self.sum_bits - term.shift, 1) for term in self.graph.rows if term is not None)
        return inner + starts

    def _places(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        # Registers are spread over all levels, that of the start included, whose register is the last.  Codes may have
        # to be chosen in front of the first levels, so these are not more than others between two registers.
        parts, whole = self.stages + 1, self.graph.depth + 1
        return tuple(max(level * parts - 1, 0) // whole for level in levels)

    def _held(self, place: tuple[int, ...]) -> tuple[int, ...]:
        held = [0] * len(place)
        for node, adder in enumerate(self.graph.adders, self.graph.columns):
            for source in (adder.left, adder.right):
                held[source] = max(held[source], place[node] - place[source])
        for term in self.graph.rows:
            if term is not None:
                held[term.node] = max(held[term.node], self.stages - place[term.node])
        return tuple(held)

    def _register_bits(self, place: tuple[int, ...]) -> int:
        return sum(bits * held for bits, held in zip(self.graph.bits, self._held(place), strict=True))
