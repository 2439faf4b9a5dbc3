# SPDX-License-Identifier: Apache-2.0
"""Predicted cycles of the RTL: each unit as processes that say when its beats move, exactly as its registers do.

The units are those of templates/rtl/lib; what a process does is what the handshakes of its unit do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hwgen.cell_cycles import cell_processes
from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    DenseNode,
    Design,
    ForkNode,
    MapNode,
    NarrowNode,
    Node,
    SelectNode,
    WidenNode,
)
from hwgen.events import Channel, Process, Series, run
from hwgen.interleaving import Order, interval
from hwgen.registers import Registers, registers_for
from hwgen.rtl_timing import timeline
from hwgen.schedule import Port, Schedule


@dataclass(frozen=True)
class Prediction:
    """Cycles of the first and of the last beat of each output, counted from the first beat that x accepts."""

    ports: dict[str, tuple[int, int]]

    @property
    def first(self) -> int:
        """The first output beat of all."""
        return min(first for first, _ in self.ports.values())

    @property
    def last(self) -> int:
        """The last output beat of all."""
        return max(last for _, last in self.ports.values())


def predict(design: Design, lengths: Sequence[int], registers: Registers | None = None) -> Prediction:
    """Cycles of sequences of so many steps back to back, with no stalls at the edges."""
    registers = registers or registers_for(design.options.clock_mhz)
    if isinstance(design, Schedule):
        edges = {port.name: Channel() for port in (*design.inputs, *design.outputs)}
        order = Order(tuple(lengths), design.options.interleave)
        processes = list(cell_processes(timeline(design, registers), edges, order))
    else:
        channels = {stream.name: Channel() for stream in design.streams}
        edges = {edge.port.name: channels[edge.stream.name] for edge in (*design.input_edges, *design.output_edges)}
        processes = [process for node in design.nodes for process in _node(node, channels, registers)]
        order = Order(tuple(lengths))
    processes += [_source(edges[port.name], port, order) for port in design.inputs]
    processes += [_sink(edges[port.name]) for port in design.outputs]
    run(processes)
    moved = {port: edges[port.name].moved.cycles for port in design.outputs}
    for port, cycles in moved.items():
        expected = port.beats * (sum(lengths) if port.per_step else len(lengths))
        assert len(cycles) == expected, f"{port.name}: {len(cycles)} of {expected} beats leave the design"
    # A wide beat in front of narrower ones moves with the last of its parts.
    begin = edges["x"].moved.cycles[0]
    return Prediction({port.name: (cycles[0] - begin, cycles[-1] - begin) for port, cycles in moved.items()})


def period(design: Design) -> int:
    """Cycles from one time step to the next: of several nodes those of the slowest, of sequences in turns of all."""
    if isinstance(design, Schedule):
        times = timeline(design)
        return max(interval(times.tiles, times.period, design.options.interleave), design.input_product.cycles)
    return max(period(node.design) if isinstance(node, CellNode) else node.cycles for node in design.nodes)


def _source(channel: Channel, port: Port, order: Order) -> Process:
    """All sequences, a beat as soon as the one before it has moved."""
    beat = cycle = 0
    for last in [arrival.last for arrival in order.arrivals] if port.per_step else [True] * len(order.lengths):
        for number in range(port.beats):
            channel.offer(cycle, last and number == port.beats - 1)
            cycle = 1 + (yield channel.moved, beat)
            beat += 1


def _sink(channel: Channel) -> Process:
    beat = 0
    while True:
        channel.accept(0)
        yield channel.moved, beat
        beat += 1


def _node(node: Node, channels: Mapping[str, Channel], registers: Registers) -> Iterator[Process]:
    inputs = [channels[stream.name] for stream in node.inputs]
    outputs = [channels[stream.name] for stream in node.outputs]
    if isinstance(node, CellNode):
        ports = (*node.design.inputs, *node.design.outputs)
        edges = {port.name: channel for port, channel in zip(ports, (*inputs, *outputs), strict=True)}
        yield from cell_processes(timeline(node.design, registers), edges)
    elif isinstance(node, DenseNode):
        yield from _dense(node, inputs[0], outputs[0])
    elif isinstance(node, MapNode):
        yield from _map(node, inputs[0], outputs[0])
    elif isinstance(node, ForkNode):
        yield _fork(inputs[0], outputs)
    elif isinstance(node, NarrowNode):
        yield _narrow(node.factor, inputs[0], outputs[0])
    elif isinstance(node, WidenNode):
        yield _widen(node.factor, inputs[0], outputs[0])
    elif isinstance(node, BufferNode):
        issues, written = Series(), Series()
        yield _buffer_writer(node.depth, inputs[0], issues, written)
        yield _buffer_reader(inputs[0], outputs[0], issues, written)
    elif isinstance(node, ConcatNode):
        yield _concat([stream.beats for stream in node.inputs], inputs, outputs[0])
    elif isinstance(node, SelectNode):
        kind = _select_from_first if node.stage.index >= 0 else _select_from_last
        yield kind(node, inputs[0], outputs[0])
    else:
        assert isinstance(node, ArgmaxNode), node
        yield _argmax(node.inputs[0].beats, inputs[0], outputs[0])


# What stands around recurrent layers.


def _dense(node: DenseNode, x: Channel, y: Channel) -> Iterator[Process]:
    product, left, begun, last = node.product, Series(), Series(), list[bool]()
    behind = node.design.product_latency + node.design.step_latency

    def multiply() -> Process:
        beat = vector = 0
        end = -1
        while True:
            ready = end + 1
            if vector >= node.design.vectors:
                ready = max(ready, 1 + (yield left, vector - node.design.vectors))
            for _ in range(product.column_tiles):
                x.accept(ready)
                end = yield x.moved, beat
                ready, beat = end + 1, beat + 1
            last.append(x.last[beat - 1])
            begun.append(end)
            end += (product.folds - 1) * product.column_tiles
            vector += 1

    def put_out() -> Process:
        beat = vector = 0
        moved = -1
        while True:
            first = yield begun, vector
            for fold in range(product.folds):
                written = first + fold * product.column_tiles + behind
                y.offer(max(written, moved) + 1, last[vector] and fold == product.folds - 1)
                moved = yield y.moved, beat
                beat += 1
            left.append(moved)
            vector += 1

    yield multiply()
    yield put_out()


def _map(node: MapNode, x: Channel, y: Channel) -> Iterator[Process]:
    stages, depth = node.design.step_latency, node.design.depth

    def enter() -> Process:
        beat = 0
        moved = -1
        while True:
            ready = moved + 1
            if beat >= depth:
                ready = max(ready, 1 + (yield y.moved, beat - depth))
            x.accept(ready)
            moved = yield x.moved, beat
            beat += 1

    def leave() -> Process:
        beat = 0
        moved = -1
        while True:
            entered = yield x.moved, beat
            y.offer(max(entered + stages, moved) + 1, x.last[beat])
            moved = yield y.moved, beat
            beat += 1

    yield enter()
    yield leave()


def _fork(x: Channel, outputs: list[Channel]) -> Process:
    beat = 0
    while True:
        offered = yield x.offered, beat
        for output in outputs:
            output.offer(offered, x.last[beat])
        taken = 0
        for output in outputs:
            taken = max(taken, (yield output.moved, beat))
        x.accept(taken)
        beat += 1


def _narrow(factor: int, x: Channel, y: Channel) -> Process:
    beat = part = 0
    while True:
        cycle = yield x.offered, beat
        for number in range(factor):
            y.offer(cycle, x.last[beat] and number == factor - 1)
            moved = yield y.moved, part
            cycle, part = moved + 1, part + 1
        x.accept(moved)
        beat += 1


def _widen(factor: int, x: Channel, y: Channel) -> Process:
    beat = 0
    while True:
        for _ in range(factor - 1):
            x.accept(0)
            beat += 1
        y.offer((yield x.offered, beat), x.last[beat])
        x.accept((yield y.moved, beat // factor))
        beat += 1


def _buffer_writer(depth: int, x: Channel, issues: Series, written: Series) -> Process:
    beat = 0
    while True:
        x.accept(0 if beat < depth else 1 + (yield issues, beat - depth))
        written.append((yield x.moved, beat))
        beat += 1


def _buffer_reader(x: Channel, y: Channel, issues: Series, written: Series) -> Process:
    beat = 0
    issued = moved = -1
    while True:
        issued = max(1 + (yield written, beat), issued + 1, moved)
        issues.append(issued)
        y.offer(issued + 1, x.last[beat])
        moved = yield y.moved, beat
        beat += 1


def _concat(beats: list[int], inputs: list[Channel], y: Channel) -> Process:
    vector = beat = 0
    cycle = 0
    while True:
        for count, x in zip(beats, inputs, strict=True):
            for number in range(count):
                place = vector * count + number
                cycle = max(cycle, (yield x.offered, place))
                y.offer(cycle, x is inputs[-1] and x.last[place])
                moved = yield y.moved, beat
                x.accept(moved)
                cycle, beat = moved + 1, beat + 1
        vector += 1


def _select_from_first(node: SelectNode, x: Channel, y: Channel) -> Process:
    beats, index = node.inputs[0].beats, node.stage.index
    beat = part = vector = 0
    while True:
        for number in range(beats):
            if vector == index:
                y.offer((yield x.offered, beat), number == beats - 1)
                x.accept((yield y.moved, part))
                part += 1
            else:
                x.accept(0)
                yield x.moved, beat
            beat += 1
        vector = 0 if x.last[beat - 1] else vector + 1


def _select_from_last(node: SelectNode, x: Channel, y: Channel) -> Process:
    beats = node.inputs[0].beats
    beat = part = 0
    cycle = 0
    while True:
        x.accept(cycle)
        cycle = 1 + (yield x.moved, beat)
        if x.last[beat]:
            for number in range(beats):
                y.offer(cycle, number == beats - 1)
                cycle = 1 + (yield y.moved, part)
                part += 1
        beat += 1


def _argmax(beats: int, x: Channel, y: Channel) -> Process:
    beat = vector = 0
    while True:
        for _ in range(beats - 1):
            x.accept(0)
            yield x.moved, beat
            beat += 1
        # The register of the result before must be empty, or be emptied in the same cycle.
        x.accept((yield y.moved, vector - 1) if vector else 0)
        y.offer(1 + (yield x.moved, beat), x.last[beat])
        beat, vector = beat + 1, vector + 1
