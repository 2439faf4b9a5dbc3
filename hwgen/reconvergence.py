# SPDX-License-Identifier: Apache-2.0
"""Buffers where paths from one source meet again: each path must hold what the longest has on its way.

A fork gives no beat before every reader has taken the one before it.  Where a node waits for a path of several layers,
or for one that stores whole sequences, the other paths to it go on taking vectors meanwhile, or hold up the fork that
feeds the path they wait for: for ever, or at least below the full rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    DenseNode,
    MapNode,
    MeetNode,
    NarrowNode,
    Node,
    ReverseNode,
    SelectNode,
    StackNode,
    Stream,
    TurnsNode,
    WidenNode,
)
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import Port

# Cycles between a word that is written to a buffer and the word that leaves.
_BUFFER_CYCLES = 2


@dataclass(frozen=True, order=True)
class _Lag:
    """How far a path is behind its source: ``sequences`` that are stored whole, and cycles beyond them."""

    sequences: int = 0
    cycles: int = 0

    def __add__(self, other: _Lag) -> _Lag:
        return _Lag(self.sequences + other.sequences, self.cycles + other.cycles)


@dataclass(frozen=True, order=True)
class _Hold:
    """What a path takes before it holds up its source: whole ``sequences``, and vectors beyond them."""

    sequences: int = 0
    vectors: int = 0

    def __add__(self, other: _Hold) -> _Hold:
        return _Hold(self.sequences + other.sequences, self.vectors + other.vectors)


@dataclass(frozen=True)
class _Path:
    """All paths from one stream to another: the lag of the longest, what the one that holds least does."""

    lag: _Lag
    hold: _Hold

    def then(self, lag: _Lag, hold: _Hold) -> _Path:
        """With something behind it."""
        return _Path(self.lag + lag, self.hold + hold)

    def beside(self, other: _Path) -> _Path:
        """Both of them."""
        return _Path(max(self.lag, other.lag), min(self.hold, other.hold))


_NOTHING = _Path(_Lag(), _Hold())
# A reversal: a sequence is stored, then read from its end; there are two halves.
_STORED, _HALVES = _Lag(1, 4), _Hold(2)


def hold_paths(design: Dataflow) -> Dataflow:
    """The design with a buffer on each path that is too short where it meets a longer one from the same source."""
    balance = _Balance(design)
    for node in design.nodes:
        balance.add(node)
    return replace(design, nodes=tuple(balance.nodes))


class _Balance:
    def __init__(self, design: Dataflow) -> None:
        self.max_length = design.options.max_length
        self.nodes: list[Node] = []
        self._interval = max((_interval(node) for node in design.nodes), default=1)
        self._names = {"x", *(node.name for node in design.nodes), *(stream.name for stream in design.streams)}
        self._names |= {port.name for port in (*design.inputs, *design.outputs)}

    def add(self, node: Node) -> None:
        """A node, with what must stand in front of it."""
        inputs = list(node.inputs)
        if len(inputs) > 1:
            needs = self._needs(node)
            for index, (sequences, vectors) in enumerate(needs):
                if sequences or vectors:
                    inputs[index] = self._insert(inputs[index], sequences, vectors)
        self.nodes.append(replace(node, inputs=tuple(inputs)))

    def _needs(self, join: Node) -> list[tuple[int, int]]:
        """Whole sequences and vectors to hold in front of each input of a node."""
        needs = [(0, 0) for _ in join.inputs]
        for source in self.nodes:
            if len(source.outputs) < 2:
                continue
            reach = [self._paths(source, output) for output in source.outputs]
            ends = [
                [
                    path.get(stream.name) and path[stream.name].then(*self._entry(join, index))
                    for index, stream in enumerate(join.inputs)
                ]
                for path in reach
            ]
            for short, from_short in enumerate(ends):
                for long, from_long in enumerate(ends):
                    if short != long:
                        self._compare(join, from_short, from_long, needs)
        return needs

    def _compare(
        self, join: Node, short: list[_Path | None], long: list[_Path | None], needs: list[tuple[int, int]]
    ) -> None:
        """Paths that leave a source by different streams: what each input must hold while it waits for another."""
        for index, here in enumerate(short):
            for other, there in enumerate(long):
                if here is None or there is None or other == index:
                    continue
                lag, hold = there.lag, here.hold
                # What is on its way at full rate, and one that has come in part.
                vectors = max(0, -(-lag.cycles // self._interval) + 1 - hold.vectors)
                sequences = lag.sequences - hold.sequences
                if not join.inputs[index].per_step:
                    # One vector is a sequence; beside whole sequences a few cycles are less than one.
                    need = 0, max(0, sequences + (vectors > 0 and hold.sequences == 0))
                elif sequences > 0:
                    need = sequences, vectors
                else:
                    need = 0, vectors if sequences == 0 else 0
                needs[index] = max(needs[index][0], need[0]), max(needs[index][1], need[1])

    def _paths(self, source: Node, start: Stream) -> dict[str, _Path]:
        """From a stream that leaves ``source`` to all streams that it reaches, by name."""
        found = {start.name: _NOTHING.then(*_exit(source, start))}
        for node in self.nodes[self.nodes.index(source) + 1 :]:
            for index, given in enumerate(node.inputs):
                if given.name not in found:
                    continue
                inside = found[given.name].then(*self._inside(node, index))
                for output in node.outputs:
                    path = inside.then(*_exit(node, output))
                    found[output.name] = found[output.name].beside(path) if output.name in found else path
        return found

    def _entry(self, join: Node, index: int) -> tuple[_Lag, _Hold]:
        """What stands in a node in front of the place where its inputs meet."""
        if isinstance(join, MeetNode) and index == join.count_place:
            # What only counts is never in the way.
            return _Lag(1), _Hold(join.sequences)
        if not isinstance(join, CellNode):
            return _Lag(), _Hold()
        lag, hold = self._inside(join, index)
        # Both backends hold the sums of a step, whatever the folding; the HLS C++ need not hold more.
        return lag, replace(hold, vectors=min(hold.vectors, 1))

    def _inside(self, node: Node, index: int) -> tuple[_Lag, _Hold]:
        """What the path from an input of a node goes through: in a cell up to the place where its inputs meet."""
        given = node.inputs[index]
        if isinstance(node, CellNode):
            return _cell_input(timeline(node.design), node.design.inputs[index])
        if isinstance(node, BufferNode):
            vectors = node.depth // given.beats
            beyond = vectors - node.sequences * self.max_length
            return _Lag(0, _BUFFER_CYCLES), _Hold(node.sequences, beyond) if given.per_step else _held(given, vectors)
        if isinstance(node, DenseNode):
            product, behind = node.product, node.design.product_latency + node.design.step_latency
            return _Lag(0, (product.folds - 1) * product.column_tiles + behind + 1), _held(given, node.design.vectors)
        if isinstance(node, MapNode):
            return _Lag(0, node.design.step_latency + 1), _held(given, node.design.depth // given.beats)
        if isinstance(node, SelectNode):
            if node.stage.index < 0:
                return _Lag(1, given.beats), _Hold(1)
            return _Lag(0, node.stage.index * self._interval), _Hold(0, node.stage.index)
        if isinstance(node, StackNode):
            # What leaves is of the second layer: it comes around once, behind a step of the first.
            return _Lag(0, 2 * self._interval + node.outputs[0].beats), _Hold()
        if isinstance(node, MeetNode):
            return _Lag(1, 2 * given.beats + 4), _Hold(node.sequences if index == node.count_place else 1)
        if isinstance(node, TurnsNode | ReverseNode):
            return _STORED, _HALVES
        if isinstance(node, NarrowNode):
            return _Lag(0, node.factor - 1), _Hold()
        if isinstance(node, ConcatNode):
            return _Lag(0, node.outputs[0].beats), _Hold()
        return _Lag(0, int(isinstance(node, ArgmaxNode))), _Hold()

    def _insert(self, stream: Stream, sequences: int, vectors: int) -> Stream:
        """A buffer at the end of a path, in front of changes of beat width; returns what the path then ends with."""
        producers = {output.name: node for node in self.nodes for output in node.outputs}
        held, reader = stream, None
        while isinstance(node := producers.get(held.name), NarrowNode | WidenNode):
            held, reader = node.inputs[0], node
        more = (sequences * self.max_length + vectors) * held.beats
        if isinstance(node, BufferNode):
            larger = replace(node, depth=node.depth + more, sequences=node.sequences + sequences)
            self.nodes[self.nodes.index(node)] = larger
            return stream
        name = self._unique(f"buffer_{held.name}")
        after = replace(held, name=self._unique(f"{name}_out"))
        buffer = BufferNode(name, (held,), (after,), more, sequences)
        if reader is None:
            self.nodes.append(buffer)
            return after
        place = self.nodes.index(reader)
        self.nodes[place : place + 1] = [buffer, replace(reader, inputs=(after,))]
        return stream

    def _unique(self, name: str) -> str:
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found


def _interval(node: Node) -> int:
    """The least cycles between two time steps in a node: at this rate it has most of them on their way."""
    if isinstance(node, CellNode):
        return node.design.turns * timeline(node.design).interval
    return node.cycles if node.inputs[0].per_step else 1


def _held(stream: Stream, vectors: int) -> _Hold:
    """Vectors of a stream: where there is one for each sequence they hold sequences."""
    return _Hold(0, vectors) if stream.per_step else _Hold(vectors)


def _cell_input(times: Timeline, port: Port) -> tuple[_Lag, _Hold]:
    """From an input of a cell to the recurrence."""
    if port.name != "x":
        return _Lag(0, 1), _Hold(2 // times.design.turns)
    product = times.design.input_product
    cycles = (product.folds - 1) * product.column_tiles + times.input_latency + 1
    lag, hold = _Lag(0, cycles), _Hold(0, (1 + times.sums_steps) // times.design.turns)
    return (lag + _STORED, hold + _HALVES) if times.design.cell.reverse else (lag, hold)


def _exit(node: Node, output: Stream) -> tuple[_Lag, _Hold]:
    """From the recurrence of a cell to one of its outputs; other nodes hold the same for all of them."""
    if not isinstance(node, CellNode):
        return _Lag(), _Hold()
    times, port = timeline(node.design), node.design.outputs[node.outputs.index(output)]
    lag = _Lag(int(port.name != "y"), times.written(times.groups - 1, times.outputs[port.name]) + 1)
    # Of a sequence whose result finds no place all but the last step goes on.
    vectors = times.output_vectors // node.design.turns
    hold = _Hold(0, vectors) if output.per_step else _Hold(vectors + 1, -1)
    return (lag + _STORED, hold + _HALVES) if port.name == "y" and "y" in times.design.turned else (lag, hold)
