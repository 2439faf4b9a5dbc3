# SPDX-License-Identifier: Apache-2.0
"""Resources of a whole network under many foldings at once, with what its streams need between foldings that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwgen.arrays import Value, choose, common_divisor
from hwgen.cost import Resources, priced, total
from hwgen.counting import Count, Unit
from hwgen.dataflow import (
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    DenseNode,
    ForkNode,
    MapNode,
    NarrowNode,
    Node,
    SelectNode,
    Stream,
    WidenNode,
)
from hwgen.folding import divisors
from hwgen.folding_costs import DenseCosts, LayerCosts, Table
from hwgen.quantizer import IntArray
from hwgen.structure_network import buffer, concat, map_structure, narrow, node_structure, select, widen

Foldings = Mapping[str, IntArray]


class NetworkCosts:
    """Resources of a network for arrays of foldings of its nodes.

    ``design`` is the network under any folding: narrowing and widening are found anew, all else stays as it is.  That
    holds for buffers of a few vectors where paths meet, too: how many another folding needs is known once it is wired.
    """

    def __init__(self, design: Dataflow, flow: str = "xc7") -> None:
        self._design, self._flow = design, flow
        self._layers: dict[str, LayerCosts | DenseCosts] = {}
        self._maps: dict[str, Table] = {}
        # The streams that another one is made of, by changes of width alone.
        self._origins: dict[str, Stream] = {}
        for node in design.nodes:
            if isinstance(node, CellNode):
                self._layers[node.name] = LayerCosts(node.design, flow)
            elif isinstance(node, DenseNode):
                self._layers[node.name] = DenseCosts(node.design, flow)
            elif isinstance(node, MapNode):
                self._maps[node.name] = self._map_table(node)
            elif isinstance(node, NarrowNode | WidenNode):
                self._origins[node.outputs[0].name] = self._origin(node.inputs[0])

    def _map_table(self, node: MapNode) -> Table:
        def look(lanes: int, _: int) -> tuple[list[Unit], tuple[int, ...]]:
            return [map_structure(replace(node.design, lanes=lanes), self._flow)], ()

        features = node.design.features
        return Table("lanes ", divisors(features), [1], 0, look)

    def _origin(self, stream: Stream) -> Stream:
        return self._origins.get(stream.name, stream)

    def predict(self, foldings: Foldings) -> Resources:
        """Arrays of resources; ``foldings`` are those of each node that has one, [n, 4] of a layer, [n, 2] of others.

        Nodes that are left out keep the folding of the design.  Raises ConfigError for an illegal folding.
        """
        count = len(next(iter(foldings.values())))
        chosen = {name: foldings.get(name, np.tile(self._own(name), (count, 1))) for name in self._layers}
        parts = [self._layers[name].predict(values) for name, values in chosen.items()]
        lanes, glue = self._input_lanes(chosen, count), Count("between", self._flow)
        for node in self._design.nodes:
            if not isinstance(node, NarrowNode | WidenNode):
                parts += self._place(node, chosen.get(node.name), lanes, glue)
        return total([*parts, priced(glue.unit())])

    def _own(self, name: str) -> IntArray:
        node = next(node for node in self._design.nodes if node.name == name)
        assert isinstance(node, CellNode | DenseNode)
        numbers = node.folding.values()
        flat = [n for value in numbers for n in (value.values() if isinstance(value, dict) else (value,))]
        return np.array(flat)

    def _wanted(self, node: Node, index: int, values: IntArray | None) -> Value | None:
        """Codes a beat that a node takes at an input; None if it takes them as they come."""
        if isinstance(node, CellNode):
            assert values is not None
            # Initial states come in beats of all units that work side by side.
            return values[:, 1] if index == 0 else np.maximum(1, values[:, 2] // len(node.design.cell.rows))
        if isinstance(node, DenseNode):
            assert values is not None
            return values[:, 1]
        free = isinstance(node, MapNode | ForkNode | BufferNode | SelectNode | ConcatNode)
        return None if free else np.array(1)

    def _input_lanes(self, chosen: Foldings, count: int) -> dict[str, IntArray]:
        """Codes a beat of the ports in: as the first node that reads one wants them."""
        lanes: dict[str, IntArray] = {}
        edges = {edge.stream.name for edge in self._design.input_edges}
        ends = {stream: stream for stream in edges}
        for node in self._design.nodes:
            for index, stream in enumerate(node.inputs):
                source = ends.get(self._origin(stream).name)
                if source is None:
                    continue
                if isinstance(node, ForkNode):
                    ends |= {after.name: source for after in node.outputs}
                elif source not in lanes and not isinstance(node, NarrowNode | WidenNode):
                    wanted = self._wanted(node, index, chosen.get(node.name))
                    lanes[source] = np.broadcast_to(1 if wanted is None else wanted, count)
        return lanes

    def _place(self, node: Node, values: IntArray | None, lanes: dict[str, IntArray], glue: Count) -> list[Resources]:
        """Count a node and what its inputs need; the lanes of its outputs are known then."""
        given = [lanes[self._origin(stream).name] for stream in node.inputs]
        own = {stream.name: stream.lanes for stream in node.outputs}
        if isinstance(node, ConcatNode):
            common = given[0]
            for other in given[1:]:
                common = common_divisor(common, other)
            wanted: list[Value | None] = [common] * len(given)
        else:
            wanted = [self._wanted(node, index, values) for index in range(len(given))]
        for stream, before, after in zip(node.inputs, given, wanted, strict=True):
            if after is not None:
                _resize(glue, stream.code_bits, before, after)
        first, bits = given[0], node.inputs[0].code_bits
        if isinstance(node, CellNode):
            assert values is not None
            units = np.maximum(1, values[:, 2] // len(node.design.cell.rows))
            lanes |= dict.fromkeys(own, units)
            return []
        if isinstance(node, DenseNode):
            assert values is not None
            lanes |= dict.fromkeys(own, values[:, 0])
            return []
        lanes |= dict.fromkeys(own, first if wanted[0] is None else np.broadcast_to(wanted[0], first.shape))
        if isinstance(node, MapNode):
            return [self._maps[node.name].read(first, np.ones_like(first))[0]]
        if isinstance(node, BufferNode):
            buffer(glue, first * bits, node.depth // node.inputs[0].beats * (node.inputs[0].width // first))
        elif isinstance(node, SelectNode):
            select(glue, first * bits, node.inputs[0].width // first, node.stage.index)
        elif isinstance(node, ConcatNode):
            longest = max(stream.width for stream in node.inputs)
            concat(glue, common * bits, len(given), longest // common)
        else:
            return [priced(node_structure(node, self._flow))]
        return []


def _resize(count: Count, bits: int, before: Value, after: Value) -> None:
    """Beats of so many codes of ``bits`` bits to beats of others: narrow ones first, then wide ones."""
    common = common_divisor(before, after)
    for law, wide, word in ((narrow, before, common), (widen, after, common)):
        scratch = Count("resize", count.flow)
        law(scratch, word * bits, wide // word)
        for whole, part in ((count.lut, scratch.lut), (count.ff, scratch.ff)):
            for what, number in part.items():
                whole[what] += choose(wide > word, number, 0)
