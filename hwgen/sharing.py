# SPDX-License-Identifier: Apache-2.0
"""Input weights that both directions of a layer have in common, in one block RAM with two ports.

Brevitas' shared_input_hidden_weights gives both directions the same input weights, of which the second one swaps those
of its input and forget gate.  A port of two is half as wide as the only one, so this pays where words are few bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen import mapping
from hwgen.dataflow import BufferNode, CellNode, Dataflow, ForkNode, NarrowNode, WidenNode
from hwgen.mapping import Memory
from hwgen.schedule import FoldedProduct


@dataclass(frozen=True)
class SharedWeights:
    """The input weights of two recurrent layers, stored once and as the first one has them.

    ``order`` says of each gate of the second which gate of the first has its rows.  ``varying`` are the bits of a word
    that are stored, ``halves`` the halves of block RAM that they take.
    """

    first: CellNode
    second: CellNode
    order: tuple[int, ...]
    varying: int
    halves: int

    @property
    def name(self) -> str:
        """What it is called among the nodes: no identifier, as their names are."""
        return f"weights of {self.first.name} and {self.second.name}"

    @property
    def product(self) -> FoldedProduct:
        """The product whose weights are stored."""
        return self.first.design.input_product

    @property
    def memory(self) -> Memory:
        """Words and bits of it."""
        return mapping.weight_memory(self.product)

    def order_of(self, node: CellNode) -> tuple[int, ...]:
        """Of each gate of a node, the gate whose rows it reads; of a single one, where none change places."""
        changed = node is self.second and self.order != tuple(range(len(self.order)))
        return self.order if changed else (0,)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in schedule.json."""
        gates = [row.name for row in self.first.design.cell.rows]
        return {
            "nodes": [self.first.name, self.second.name],
            "rows_of_gates": {
                row.name: gates[place] for row, place in zip(self.second.design.cell.rows, self.order, strict=True)
            },
            "words": self.memory.words,
            "word_bits": self.memory.bits,
            "block_rams": self.halves / 2,
        }


def shared_weights(design: Dataflow) -> tuple[SharedWeights, ...]:
    """What is shared in a design as it is folded."""
    pairs = (pair_of(first, second) for first, second in alike(design))
    return tuple(pair for pair in pairs if pair is not None)


def alike(design: Dataflow) -> tuple[tuple[CellNode, CellNode], ...]:
    """Pairs of layers that read the same stream with the same weights, each layer in one of them at most."""
    makers = {stream.name: node for node in design.nodes for stream in node.outputs}

    def source(node: CellNode) -> str:
        stream = node.inputs[0]
        while isinstance(maker := makers.get(stream.name), ForkNode | NarrowNode | WidenNode | BufferNode):
            (stream,) = maker.inputs
        return stream.name

    waiting: dict[str, list[CellNode]] = {}
    found = []
    for node in design.nodes:
        if not isinstance(node, CellNode) or node.design.directions:
            continue
        others = waiting.setdefault(source(node), [])
        first = next((other for other in others if _order(other, node) is not None), None)
        if first is None:
            others.append(node)
        else:
            others.remove(first)
            found.append((first, node))
    return tuple(found)


def pair_of(first: CellNode, second: CellNode) -> SharedWeights | None:
    """The weights of two layers in one memory, if they are folded alike and that takes less block RAM than two."""
    one, other = first.design.input_product, second.design.input_product
    memory = mapping.weight_memory(one)
    if (one.pe, one.simd) != (other.pe, other.simd) or not memory.block or not mapping.weight_memory(other).block:
        return None
    order = _order(first, second)
    if order is None or not _reachable(order, one.pe):
        return None
    varying = mapping.varying_columns(mapping.stored_weights(one), mapping.weight_bits(one)).shape[1]
    alone = mapping.block_ram_halves(memory.words, varying, written=False)
    halves = mapping.shared_rom_halves(memory.words, varying)
    return SharedWeights(first, second, order, varying, halves) if halves < 2 * alone else None


def _order(first: CellNode, second: CellNode) -> tuple[int, ...] | None:
    """Of each gate of the second layer the gate of the first with its rows, each of them once; None if there is none.

    Numbers that are equal are stored alike only if they are of the same type.
    """
    if first.design.input_product.weight != second.design.input_product.weight:
        return None
    gates = [row.input_weights for row in first.design.cell.rows]
    left, order = list(range(len(gates))), list[int]()
    for row in second.design.cell.rows:
        # Where gates are alike the one in the same place, so that nothing changes places without need.
        places = sorted(left, key=lambda place: place != len(order))
        place = next((place for place in places if np.array_equal(gates[place], row.input_weights)), None)
        if place is None:
            return None
        left.remove(place)
        order.append(place)
    return tuple(order) if not left else None


def _reachable(order: tuple[int, ...], pe: int) -> bool:
    """Whether rows change places within a tile, or as whole tiles: hwgen_tile_product does nothing else."""
    return order == tuple(range(len(order))) or pe == 1 or pe % len(order) == 0
