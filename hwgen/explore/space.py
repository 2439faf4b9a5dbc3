# SPDX-License-Identifier: Apache-2.0
"""The design space of a network: a table for each node that can be folded, and what lies between their choices.

A point is a row of each table.  What stands between nodes (forks, beats made narrower or wider, buffers, maps) follows
from the lanes of their streams, for many points at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from hwgen import structure_network as laws
from hwgen.arrays import Value
from hwgen.cost import Resources, priced
from hwgen.counting import Count
from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    DenseNode,
    Design,
    ForkNode,
    KeepNode,
    MapNode,
    MeetNode,
    NarrowNode,
    Node,
    ReverseNode,
    SelectNode,
    SplitNode,
    StackNode,
    Stream,
    TurnsNode,
    WidenNode,
)
from hwgen.explore.tables import KINDS, Table, cell_table, node_table, sharing_changes
from hwgen.packing import Asked
from hwgen.quantizer import IntArray
from hwgen.schedule import Schedule
from hwgen.sharing import alike

# A row of each table for every point.
Rows = tuple[IntArray, ...]


@dataclass(frozen=True)
class Predicted:
    """Points of a space: arrays with an entry for each.

    ``interval`` are the cycles from one time step to the next, ``latency`` those from the first input beat to the last
    output beat of a sequence: exact of one forward layer, close of networks.
    """

    interval: IntArray
    latency: IntArray
    resources: Resources

    def __len__(self) -> int:
        return len(self.interval)

    def at(self, rows: Value) -> Predicted:
        """Some of the points."""
        resources = Resources(*(getattr(self.resources, kind)[rows] for kind in KINDS))
        return Predicted(self.interval[rows], self.latency[rows], resources)


@dataclass(frozen=True)
class Space:
    """Everything that a design could be by its foldings; ``base`` is one of them, which says what is wired to what."""

    base: Design
    tables: tuple[Table, ...]
    flow: str

    @property
    def size(self) -> int:
        """Points in all."""
        size = 1
        for table in self.tables:
            size *= len(table)
        return size

    def rows(self, points: IntArray) -> Rows:
        """The row of each table of points that are numbered from 0 to below ``size``; the last table counts fastest."""
        found = []
        for table in reversed(self.tables):
            points, row = np.divmod(points, len(table))
            found.append(row)
        return tuple(reversed(found))

    def folding(self, rows: tuple[int, ...]) -> dict[str, Any]:
        """The folding file of a point."""
        chosen = {table.name: table.foldings[row] for table, row in zip(self.tables, rows, strict=True)}
        return chosen[self.tables[0].name] if isinstance(self.base, Schedule) else chosen

    def predict(self, rows: Rows, length: int = 1) -> Predicted:
        """Cycles and resources of points, a row of each table; latency is that of a sequence of ``length`` steps."""
        chosen = {table.name: table.at(row) for table, row in zip(self.tables, rows, strict=True)}
        if isinstance(self.base, Schedule):
            (one,) = chosen.values()
            # From the first start to the last: step by step, or, with little look-ahead, by as many as that.
            rounds, rest = np.divmod(length - 1, one.ahead)
            latency = one.last + np.maximum((length - 1) * one.loop, rounds * one.held + rest * one.loop)
            if self.base.cell.reverse:
                # The sequence is stored before the first step, and again before the first result.
                beats = self.base.cell.input_size // one.lanes_in + self.base.cell.hidden_size // one.lanes_out
                latency = latency + length * beats
            return Predicted(one.interval, latency, one.resources)
        walk = _Walk(self, chosen, len(rows[0]), length)
        for node in self.base.nodes:
            walk.trace(node)
        for node in self.base.nodes:
            walk.visit(node)
        walk.share()
        return walk.predicted()

    @cached_property
    def alike(self) -> tuple[tuple[CellNode, CellNode], ...]:
        """Layers that share their input weights where it pays."""
        return alike(self.base) if isinstance(self.base, Dataflow) else ()

    @cached_property
    def shared(self) -> dict[tuple[str, int, int], Resources]:
        """What sharing changes by the first layer and the folding of the input product, as far as it was asked for."""
        return {}

    @cached_property
    def maps(self) -> dict[str, dict[int, Resources]]:
        """What maps of each name cost by their lanes, as far as it was asked for."""
        return {}


def space(base: Design, flow: str = "xc7", asked: Asked = 1) -> Space:
    """The space of a design; ``asked`` is how many products may share a DSP, ``AUTO`` whatever is best of each."""
    if isinstance(base, Schedule):
        return Space(base, (cell_table("layer", base, flow, asked=asked),), flow)
    nodes = [node for node in base.nodes if isinstance(node, CellNode | DenseNode)]
    return Space(base, tuple(node_table(node, flow, base.options.target, asked) for node in nodes), flow)


_ONE = np.ones(1, np.int64)
# Time steps that a layer takes before it holds up who else reads its input: two in its buffer of sums, one in work.
_AHEAD = 3


@dataclass(frozen=True)
class _Pace:
    """Of a stream the cycle of its first beat, those from there to the last of a vector, and those between vectors."""

    first: Any
    span: Any
    apart: Any


@dataclass
class _Walk:
    """Nodes in their order, with the lanes of every stream for all points."""

    space: Space
    chosen: Mapping[str, Table]
    points: int
    length: int
    lanes: dict[str, IntArray] = field(default_factory=dict)
    pace: dict[str, _Pace] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    readers: dict[str, Any] = field(default_factory=dict)
    wanted: dict[str, IntArray] = field(default_factory=dict)
    # What comes back to the layers of a stack, by name: the stream that it is joined to.
    returned: dict[str, str] = field(default_factory=dict)
    sums: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    slowest: Any = 1

    def predicted(self) -> Predicted:
        """All points together."""
        assert isinstance(self.space.base, Dataflow)
        latency: Any = 0
        for edge in self.space.base.output_edges:
            pace = self._pace(edge.stream)
            end = pace.first + pace.span
            latency = np.maximum(latency, end + (self.length - 1) * pace.apart if edge.stream.per_step else end)
        full = np.zeros(self.points, np.int64)
        resources = Resources(*(self.sums[kind] + np.zeros(self.points) for kind in KINDS))
        return Predicted(self.slowest + full, latency + full, resources)

    def trace(self, node: Node) -> None:
        """What the streams of a node are, and how fast it lets others read what it reads."""
        if isinstance(node, NarrowNode | WidenNode | ForkNode):
            for output in node.outputs:
                self.origin[output.name] = self._source(node.inputs[0])
        elif isinstance(node, StackNode):
            self.returned[node.inputs[1].name] = node.outputs[0].name
        elif isinstance(node, CellNode | DenseNode):
            source = self._source(node.inputs[0])
            self.wanted.setdefault(source, self.chosen[node.name].lanes_in)
            if isinstance(node, CellNode) and (node.design.cell.reverse or node.design.directions):
                return
            self.readers[source] = np.maximum(self.readers.get(source, 1), self.chosen[node.name].interval)

    def visit(self, node: Node) -> None:
        """What a node takes, and what it does to its streams."""
        if isinstance(node, NarrowNode | WidenNode):
            # Whether there is one depends on the lanes: what reads it says so.
            return
        if isinstance(node, ForkNode):
            self._add(lambda count: laws.fork(count, len(node.outputs)))
        elif isinstance(node, CellNode):
            table = self.chosen[node.name]
            pace = self._take(node.inputs[0], table.lanes_in)
            for stream in node.inputs[1:]:
                self._take(stream, table.lanes_out)
            self._cell(node, table, pace)
        elif isinstance(node, DenseNode):
            table = self.chosen[node.name]
            pace = self._take(node.inputs[0], table.lanes_in)
            apart = np.maximum(pace.apart, table.interval + self._gathered(node.inputs[0], table.lanes_in))
            self._give(
                node.outputs[0], table.lanes_out, _Pace(pace.first + table.first, table.last - table.first, apart)
            )
            self._sum(table.resources)
            self.slowest = np.maximum(self.slowest, table.interval)
        else:
            self._between(node)

    def _cell(self, node: CellNode, table: Table, pace: _Pace) -> None:
        self._sum(table.resources)
        self.slowest = np.maximum(self.slowest, table.interval)
        reverse, rest = node.design.cell.reverse, self.length - 1
        # A reversed layer takes the sequence as fast as it comes, works on it, and gives it as fast as it goes.
        # Another reader of the same stream holds it up, once it is as far behind as its buffer allows.
        held = max(self.length - _AHEAD, 0) * self.readers.get(self._source(node.inputs[0]), 0)
        begin = pace.first + (np.maximum(self.length * pace.apart, held) if reverse else 0)
        # Steps of one sequence, however many others are interleaved with it.
        apart = table.loop if reverse else np.maximum(pace.apart, table.loop)
        first, span = begin + table.first, table.last - table.first
        for output in node.outputs:
            beats = output.width // table.lanes_out
            if not output.per_step:
                given = _Pace(first + rest * apart, span, 0)
            elif "y" in node.design.turned:
                given = _Pace(first + span + rest * apart + 3, beats - 1, beats)
            else:
                given = _Pace(first, span, apart)
            self._give(output, table.lanes_out, given)

    def _between(self, node: Node) -> None:
        """Nodes whose lanes are those of their streams."""
        if isinstance(node, ArgmaxNode):
            pace = self._take(node.inputs[0], _ONE)
            stream = node.inputs[0]
            rank_bits = int(node.stage.rank.max()).bit_length()
            self._add(lambda count: laws.argmax(count, stream.code_bits, stream.width, rank_bits))
            self._give(node.outputs[0], _ONE, _Pace(pace.first + stream.width, 0, np.maximum(pace.apart, stream.width)))
            return
        if isinstance(node, ConcatNode):
            lanes = self._lanes(node.inputs[0])
            for stream in node.inputs[1:]:
                lanes = np.gcd(lanes, self._lanes(stream))
            paces = [self._take(stream, lanes) for stream in node.inputs]
            beats = np.max(np.stack([np.broadcast_to(s.width // lanes, lanes.shape) for s in node.inputs]), axis=0)
            bits = lanes * node.inputs[0].code_bits
            self._add(lambda count: laws.concat(count, bits, len(node.inputs), beats))
            # One vector after the other: the first waits for nobody, the last may still have to come.
            whole = node.outputs[0].width // lanes
            # A path that is ahead of another loses nothing by waiting: what counts is when its last vector comes.
            rest = self.length - 1
            end = paces[0].first + whole - 1
            final = end + rest * whole
            for pace in paces:
                end = np.maximum(end, pace.first + pace.span)
                final = np.maximum(final, pace.first + pace.span + rest * pace.apart)
            apart = np.maximum(whole, (final - end) // max(rest, 1))
            self._give(node.outputs[0], lanes, _Pace(end - whole + 1, whole - 1, apart))
            return
        if isinstance(node, MeetNode):
            self._meet(node)
            return
        stream = node.inputs[0]
        if isinstance(node, StackNode):
            lanes = self.wanted[node.outputs[0].name]
            first, second = (given.width // lanes for given in node.inputs)
            bits = lanes * stream.code_bits
            pace = self._take(stream, lanes)
            self._add(lambda count: laws.stack(count, bits, first, second))
            self._give(node.outputs[0], lanes, pace)
            return
        if node.outputs[0].name in self.returned:
            assert isinstance(node, BufferNode), f"{node.name}: not in the design space"
            lanes, vectors = self.wanted[self.returned[node.outputs[0].name]], node.depth // stream.beats
            self._take(stream, lanes)
            bits, depth = lanes * stream.code_bits, vectors * (stream.width // lanes)
            self._add(lambda count: laws.buffer(count, bits, depth, node.style))
            return
        if isinstance(node, BufferNode | TurnsNode) and node.outputs[0].name in self.wanted:
            # A graph input has the lanes that the reader behind the buffer asks for.
            self.lanes.setdefault(self._source(stream), self.wanted[node.outputs[0].name])
        lanes = self._lanes(stream)
        beats, bits = stream.width // lanes, lanes * stream.code_bits
        pace = self._pace(stream)
        given = replace(pace, first=pace.first + 1)
        if isinstance(node, TurnsNode | ReverseNode):
            # Whole sequences, as fast as their beats then leave.
            self._add(lambda count: laws.turned(count, bits, beats, node.max_length))
            rest = self.length - (not isinstance(node, TurnsNode))
            stored = pace.first + rest * pace.apart + (0 if isinstance(node, TurnsNode) else pace.span)
            given = _Pace(stored + 3, beats - 1, beats * (2 if isinstance(node, TurnsNode) else 1))
        elif isinstance(node, SplitNode | KeepNode):
            stacked = node.stacked
            self._add(lambda count: laws.split(count, beats, stacked))
            given = pace
        elif isinstance(node, BufferNode):
            given = replace(pace, first=pace.first + 2)
            vectors = node.depth // stream.beats
            self._add(lambda count: laws.buffer(count, bits, vectors * beats, node.style))
        elif isinstance(node, SelectNode):
            self._add(lambda count: laws.select(count, bits, beats, node.stage.index))
            place = node.stage.index if node.stage.index >= 0 else self.length + node.stage.index
            given = replace(pace, first=pace.first + max(place, 0) * pace.apart, apart=0)
            if node.stage.index < 0:
                # It is kept, and sent once it is known to be the one.
                given = replace(given, first=given.first + pace.span + 1, span=beats - 1)
        else:
            assert isinstance(node, MapNode), f"{node.name}: not in the design space"
            self._map(node, lanes)
            given = replace(pace, first=pace.first + node.design.step_latency + 1)
        for output in node.outputs:
            self._give(output, lanes, given)

    def _meet(self, node: MeetNode) -> None:
        """Both directions side by side, a vector of each in turns; then the whole sequence."""
        *sides, steps = node.inputs
        sums, counted = node.outputs[0], steps.width // self._lanes(steps)
        lanes = np.gcd(*(self._lanes(stream) for stream in sides))
        paces = [self._take(stream, lanes) for stream in sides]
        beats = sums.width // lanes
        self._add(lambda count: laws.meet(count, lanes, beats, counted, node))
        turn = 2 * (beats + 1)
        end: Any = 0
        for pace in paces:
            # The slower side sets the rate, or the unit itself.
            end = np.maximum(end, pace.first + pace.span + (self.length - 1) * np.maximum(pace.apart, turn))
        self.slowest = np.maximum(self.slowest, turn)
        self._give(sums, lanes, _Pace(end + beats + 3, beats - 1, beats))

    def share(self) -> None:
        """Input weights that two layers have in common are stored once, where both products are folded alike."""
        for first, second in self.space.alike:
            folds, others = self._input_folds(first), self._input_folds(second)
            same = (folds == others).all(axis=1)
            for pe, simd in np.unique(folds[same], axis=0).tolist():
                known, key = self.space.shared, (first.name, pe, simd)
                if key not in known:
                    known[key] = sharing_changes(first, second, pe, simd, self.space.flow)
                self._sum(known[key], same & (folds == (pe, simd)).all(axis=1))

    def _input_folds(self, node: CellNode) -> IntArray:
        """PE and SIMD of the input product of a layer, [points, 2]."""
        inputs = (folding["input"] for folding in self.chosen[node.name].foldings)
        return np.array([(fold["pe"], fold["simd"]) for fold in inputs], np.int64)

    def _map(self, node: MapNode, lanes: IntArray) -> None:
        """Maps are built for each number of lanes once."""
        known = self.space.maps.setdefault(node.name, {})
        values, places = np.unique(lanes, return_inverse=True)
        for value in values.tolist():
            if value not in known:
                known[value] = priced(laws.map_structure(replace(node.design, lanes=value), self.space.flow))
        for kind in KINDS:
            found = np.array([getattr(known[value], kind) for value in values.tolist()], float)
            self.sums[kind] = self.sums[kind] + found[places.reshape(np.shape(lanes))]

    # Streams.

    def _source(self, stream: Stream) -> str:
        return self.origin.get(stream.name, stream.name)

    def _lanes(self, stream: Stream) -> IntArray:
        """Those of a stream; a graph input whose reader asks for nothing has one."""
        return self.lanes.setdefault(self._source(stream), np.ones(1, np.int64))

    def _pace(self, stream: Stream) -> _Pace:
        """That of a stream; graph inputs come as fast as their beats do."""
        beats = stream.width // self._lanes(stream)
        return self.pace.setdefault(self._source(stream), _Pace(np.int64(0), beats - 1, beats))

    def _give(self, stream: Stream, lanes: IntArray, pace: _Pace) -> None:
        lanes = np.atleast_1d(lanes)
        self.lanes[stream.name], self.pace[stream.name] = lanes, pace
        self.slowest = np.maximum(self.slowest, stream.width // lanes)

    def _take(self, stream: Stream, lanes: IntArray) -> _Pace:
        """A reader wants so many lanes: beats are made narrower to what both have in common, then wider.

        The first reader of a graph input gets what it wants.  Returns the pace as a reader sees it that takes a vector
        without a pause: the last beat is there when it is needed.
        """
        given = self.lanes.setdefault(self._source(stream), lanes)
        common = np.gcd(given, lanes)
        moved, beats = stream.width // common, stream.width // lanes
        self.slowest = np.maximum(self.slowest, moved)
        bits = common * stream.code_bits
        self._add(lambda count: laws.narrow(count, bits, given // common), given > common)
        self._add(lambda count: laws.widen(count, bits, lanes // common), lanes > common)
        pace = self._pace(stream)
        span = np.maximum(pace.span, moved - 1)
        return _Pace(pace.first + np.maximum(span - (beats - 1), 0), beats - 1, np.maximum(pace.apart, moved))

    def _gathered(self, stream: Stream, lanes: IntArray) -> IntArray:
        """Cycles that the first tiles of a product wait for beats to become wide: one is made ready ahead, not more."""
        common = np.gcd(self._lanes(stream), lanes)
        return (stream.width // lanes - 1) * (lanes // common - 1)

    def _add(self, law: Any, where: Any = None) -> None:
        """What a law counts, where a condition holds."""
        if where is not None and not np.any(where):
            return
        count = Count("between", self.space.flow)
        law(count)
        self._sum(priced(count.unit()), 1 if where is None else where)

    def _sum(self, resources: Resources, where: Any = 1) -> None:
        for kind in KINDS:
            self.sums[kind] = self.sums[kind] + where * getattr(resources, kind)
