# SPDX-License-Identifier: Apache-2.0
"""Predicted cycles of the RTL: each unit as processes that say when its beats move, exactly as its registers do.

The units are those of templates/rtl/lib; what a process does is what the handshakes of its unit do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hwgen import stream_cycles
from hwgen.cell_cycles import Loop, cell_processes, reverse
from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
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
    TurnsNode,
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


@dataclass(frozen=True)
class Simulation:
    """A design that has run: channels by port and, of several nodes, by stream; who owns each process that waits.

    ``loops`` are those of recurrent layers by node; that of a design of one layer is called "".
    """

    ports: dict[str, Channel]
    streams: dict[str, Channel]
    owners: dict[Process, str]
    loops: dict[str, Loop]

    @property
    def begin(self) -> int:
        """Cycle of the first beat that x accepts: a wide one in front of narrower ones moves with its last part."""
        return self.ports["x"].moved.cycles[0]


def simulate(design: Design, lengths: Sequence[int], registers: Registers | None = None) -> Simulation:
    """Run sequences of so many steps back to back, with no stalls at the edges, until nothing moves any more."""
    registers = registers or registers_for(design.options.clock_mhz)
    loops: dict[str, Loop] = {}
    order = Order(tuple(lengths), design.options.interleave)
    if isinstance(design, Schedule):
        channels: dict[str, Channel] = {}
        loops[""] = Loop(timeline(design, registers))
        edges = {port.name: Channel() for port in (*design.inputs, *design.outputs)}
        owners = dict.fromkeys(cell_processes(loops[""], edges, order), design.cell.name)
    else:
        channels = {stream.name: Channel() for stream in design.streams}
        edges = {edge.port.name: channels[edge.stream.name] for edge in (*design.input_edges, *design.output_edges)}
        owners = {
            process: node.name for node in design.nodes for process in _node(node, channels, registers, loops, order)
        }
    owners |= {_source(edges[port.name], port, order): port.name for port in design.inputs}
    owners |= {_sink(edges[port.name]): port.name for port in design.outputs}
    run(owners)
    return Simulation(edges, channels, owners, loops)


def beats_of(port: Port, lengths: Sequence[int]) -> int:
    """Beats of a port in sequences of so many steps."""
    return port.beats * (sum(lengths) if port.per_step else len(lengths))


def predict(design: Design, lengths: Sequence[int], registers: Registers | None = None) -> Prediction:
    """Cycles of sequences of so many steps back to back, with no stalls at the edges."""
    simulation = simulate(design, lengths, registers)
    edges, begin = simulation.ports, simulation.begin
    moved = {port: edges[port.name].moved.cycles for port in design.outputs}
    for port, cycles in moved.items():
        expected = beats_of(port, lengths)
        assert len(cycles) == expected, f"{port.name}: {len(cycles)} of {expected} beats leave the design"
    return Prediction({port.name: (cycles[0] - begin, cycles[-1] - begin) for port, cycles in moved.items()})


def period(design: Design) -> int:
    """Cycles from one time step to the next: of several nodes those of the slowest, of sequences in turns of all."""
    if isinstance(design, Schedule):
        times = timeline(design)
        loop = interval(design.turns * times.tiles, times.period, design.options.interleave)
        return max(loop, design.turns * design.input_product.cycles, times.refill, times.back)
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


def _node(
    node: Node, channels: Mapping[str, Channel], registers: Registers, loops: dict[str, Loop], order: Order
) -> Iterator[Process]:
    inputs = [channels[stream.name] for stream in node.inputs]
    outputs = [channels[stream.name] for stream in node.outputs]
    if isinstance(node, CellNode):
        ports = (*node.design.inputs, *node.design.outputs)
        edges = {port.name: channel for port, channel in zip(ports, (*inputs, *outputs), strict=True)}
        loops[node.name] = Loop(timeline(node.design, registers))
        yield from cell_processes(loops[node.name], edges, order if node.design.options.interleave > 1 else None)
    elif isinstance(node, DenseNode):
        yield from _dense(node, inputs[0], outputs[0])
    elif isinstance(node, MapNode):
        yield from _map(node, inputs[0], outputs[0])
    elif isinstance(node, ForkNode):
        yield stream_cycles.fork(inputs[0], outputs)
    elif isinstance(node, NarrowNode):
        yield stream_cycles.narrow(node.factor, inputs[0], outputs[0])
    elif isinstance(node, WidenNode):
        yield stream_cycles.widen(node.factor, inputs[0], outputs[0])
    elif isinstance(node, BufferNode):
        issues, written = Series(), Series()
        yield stream_cycles.buffer_writer(node.depth, inputs[0], issues, written)
        yield stream_cycles.buffer_reader(inputs[0], outputs[0], issues, written)
    elif isinstance(node, TurnsNode | ReverseNode):
        yield from reverse(inputs[0], outputs[0], node.inputs[0].beats if isinstance(node, TurnsNode) else 0)
    elif isinstance(node, KeepNode):
        yield stream_cycles.keep(node.inputs[0].beats, node.turn, inputs[0], outputs[0], node.stacked)
    elif isinstance(node, SplitNode):
        yield stream_cycles.split(node.outputs[0].beats, inputs[0], outputs, node.stacked)
    elif isinstance(node, StackNode):
        first, second = node.inputs
        yield stream_cycles.stack((first.beats, second.beats), inputs, outputs[0])
    elif isinstance(node, ConcatNode):
        yield stream_cycles.concat([stream.beats for stream in node.inputs], inputs, outputs[0])
    elif isinstance(node, MeetNode):
        left, known, steps = Series(), Series(), list[int]()
        *sides, count = inputs
        beats = node.inputs[node.count_place].beats
        yield stream_cycles.count_steps(beats, node.sequences, count, left, known, steps)
        yield stream_cycles.meet(node.inputs[0].beats, sides, outputs[0], left, known, steps)
    elif isinstance(node, SelectNode):
        kind = stream_cycles.select_from_first if node.stage.index >= 0 else stream_cycles.select_from_last
        yield kind(node, inputs[0], outputs[0])
    else:
        assert isinstance(node, ArgmaxNode), node
        yield stream_cycles.argmax(node.inputs[0].beats, inputs[0], outputs[0])


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
