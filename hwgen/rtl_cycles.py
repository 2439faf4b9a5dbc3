# SPDX-License-Identifier: Apache-2.0
"""Predicted cycles of the RTL: each unit as processes that say when its beats move, exactly as its registers do.

The units are those of templates/rtl/lib; what a process does is what the handshakes of its unit do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hwgen import stream_cycles
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
from hwgen.registers import Registers, registers_for
from hwgen.rtl_timing import Timeline, timeline
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
    """A design that has run: channels by port and, of several nodes, by stream; who owns each process that waits."""

    ports: dict[str, Channel]
    streams: dict[str, Channel]
    owners: dict[Process, str]


def simulate(design: Design, lengths: Sequence[int], registers: Registers | None = None) -> Simulation:
    """Run sequences of so many steps back to back, with no stalls at the edges, until nothing moves any more."""
    registers = registers or registers_for(design.options.clock_mhz)
    if isinstance(design, Schedule):
        channels: dict[str, Channel] = {}
        edges = {port.name: Channel() for port in (*design.inputs, *design.outputs)}
        owners = dict.fromkeys(_cell(timeline(design, registers), edges), design.cell.name)
    else:
        channels = {stream.name: Channel() for stream in design.streams}
        edges = {edge.port.name: channels[edge.stream.name] for edge in (*design.input_edges, *design.output_edges)}
        owners = {process: node.name for node in design.nodes for process in _node(node, channels, registers)}
    owners |= {_source(edges[port.name], port, lengths): port.name for port in design.inputs}
    owners |= {_sink(edges[port.name]): port.name for port in design.outputs}
    run(owners)
    return Simulation(edges, channels, owners)


def beats_of(port: Port, lengths: Sequence[int]) -> int:
    """Beats of a port in sequences of so many steps."""
    return port.beats * (sum(lengths) if port.per_step else len(lengths))


def predict(design: Design, lengths: Sequence[int], registers: Registers | None = None) -> Prediction:
    """Cycles of sequences of so many steps back to back, with no stalls at the edges."""
    edges = simulate(design, lengths, registers).ports
    moved = {port: edges[port.name].moved.cycles for port in design.outputs}
    for port, cycles in moved.items():
        expected = beats_of(port, lengths)
        assert len(cycles) == expected, f"{port.name}: {len(cycles)} of {expected} beats leave the design"
    # A wide beat in front of narrower ones moves with the last of its parts.
    begin = edges["x"].moved.cycles[0]
    return Prediction({port.name: (cycles[0] - begin, cycles[-1] - begin) for port, cycles in moved.items()})


def period(design: Design) -> int:
    """Cycles from one time step to the next within a sequence: of several nodes those of the slowest."""
    if isinstance(design, Schedule):
        return timeline(design).period
    return max(period(node.design) if isinstance(node, CellNode) else node.cycles for node in design.nodes)


def _source(channel: Channel, port: Port, lengths: Sequence[int]) -> Process:
    """All sequences, a beat as soon as the one before it has moved."""
    beat = cycle = 0
    for length in lengths:
        count = port.beats * (length if port.per_step else 1)
        for number in range(count):
            channel.offer(cycle, number == count - 1)
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
        yield from _cell(timeline(node.design, registers), edges)
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
    elif isinstance(node, ConcatNode):
        yield stream_cycles.concat([stream.beats for stream in node.inputs], inputs, outputs[0])
    elif isinstance(node, SelectNode):
        kind = stream_cycles.select_from_first if node.stage.index >= 0 else stream_cycles.select_from_last
        yield kind(node, inputs[0], outputs[0])
    else:
        assert isinstance(node, ArgmaxNode), node
        yield stream_cycles.argmax(node.inputs[0].beats, inputs[0], outputs[0])


# A recurrent layer.


def _cell(times: Timeline, edges: Mapping[str, Channel]) -> Iterator[Process]:
    design = times.design
    x, y = edges["x"], edges.get("y")
    if design.cell.reverse:
        turned = Channel()
        yield from _reverse(x, turned)
        x = turned
        if y is not None:
            backward = Channel()
            yield from _reverse(backward, y)
            y = backward
    frees, projected, sums_last = Series(), Series(), list[bool]()
    yield _input_product(times, x, frees, projected, sums_last)
    loads = []
    for port in design.inputs:
        if port.name != "x":
            loads.append(_Load(Series(), Series(), times.uses[port.name]))
            yield _initial_state(port.beats, edges[port.name], loads[-1])
    outputs = []
    for port in design.outputs:
        written = [times.written(group, times.outputs[port.name]) for group in range(times.groups)]
        outputs.append(_Output(port.name == "y", written))
        channel = y if port.name == "y" else edges[port.name]
        assert channel is not None
        yield _output(outputs[-1], channel)
    yield _recurrence(times, projected, sums_last, frees, loads, outputs)


@dataclass(frozen=True)
class _Load:
    """Initial states: when one can be used, when its place is free again, cycles from a start to its last use."""

    available: Series
    releases: Series
    used: int


class _Output:
    """An output of a cell: steps that write a vector to it, cycles from their start to each beat, and when all left."""

    def __init__(self, every_step: bool, written: list[int]) -> None:
        self.every_step, self.written = every_step, written
        self.starts, self.sent = Series(), Series()
        self.last: list[bool] = []


def _input_product(times: Timeline, x: Channel, frees: Series, projected: Series, last: list[bool]) -> Process:
    """Steps as their last tile is issued; so many are ahead of the recurrence at most as their buffer holds."""
    product = times.design.input_product
    beat = step = 0
    end = -1
    while True:
        ready = end + 1
        if step >= times.sums_steps:
            ready = max(ready, 1 + (yield frees, step - times.sums_steps))
        for _ in range(product.column_tiles):
            x.accept(ready)
            end = yield x.moved, beat
            ready, beat = end + 1, beat + 1
        end += (product.folds - 1) * product.column_tiles
        last.append(x.last[beat - 1])
        projected.append(end)
        step += 1


def _initial_state(beats: int, channel: Channel, load: _Load) -> Process:
    """Two are kept: one is used, the next one arrives."""
    beat = vector = 0
    end = -1
    while True:
        ready = end + 1
        if vector >= 2:
            ready = max(ready, 1 + (yield load.releases, vector - 2))
        for _ in range(beats):
            channel.accept(ready)
            end = yield channel.moved, beat
            ready, beat = end + 1, beat + 1
        load.available.append(end + 1)
        vector += 1


def _recurrence(
    times: Timeline, projected: Series, sums_last: list[bool], frees: Series, loads: list[_Load], outputs: list[_Output]
) -> Process:
    """Starts of time steps: everything within a step has its fixed cycle from there."""
    step = sequence = start = 0
    first = True
    while True:
        ready = 1 + times.input_latency + (yield projected, step)
        last = sums_last[step]
        if step:
            ready = max(ready, start + (times.tiles if first else times.period))
        writes = [output for output in outputs if output.every_step or last]
        for output in writes:
            if len(output.last) >= times.output_vectors:
                ready = max(ready, 1 + (yield output.sent, len(output.last) - times.output_vectors))
        if first:
            for load in loads:
                ready = max(ready, (yield load.available, sequence))
        start = ready
        if first:
            for load in loads:
                load.releases.append(start + load.used)
            sequence += 1
        frees.append(start + times.freed)
        for output in writes:
            output.last.append(last)
            output.starts.append(start)
        first = last and not times.design.options.streaming
        step += 1


def _output(output: _Output, channel: Channel) -> Process:
    """Beats are offered the cycle after they are written."""
    beat = vector = 0
    moved = -1
    while True:
        start = yield output.starts, vector
        for group, written in enumerate(output.written):
            last = output.last[vector] and group == len(output.written) - 1
            channel.offer(max(start + written, moved) + 1, last)
            moved = yield channel.moved, beat
            beat += 1
        output.sent.append(moved)
        vector += 1


def _reverse(before: Channel, after: Channel) -> Iterator[Process]:
    """Two halves: one is filled while the other is emptied."""
    stored, emptied, counts = Series(), Series(), list[int]()

    def fill() -> Process:
        beat = sequence = 0
        moved = -1
        while True:
            ready = moved + 1
            if sequence >= 2:
                ready = max(ready, 1 + (yield emptied, sequence - 2))
            begin = beat
            while beat == begin or not before.last[beat - 1]:
                before.accept(ready)
                moved = yield before.moved, beat
                ready, beat = moved + 1, beat + 1
            counts.append(beat - begin)
            stored.append(moved)
            sequence += 1

    def drain() -> Process:
        beat = sequence = 0
        issued = moved = -1
        while True:
            # A half is seen to be filled, then its first address is loaded, then read.
            ready = 2 + max((yield stored, sequence), issued)
            for number in range(counts[sequence]):
                issued = max(ready, issued + 1, moved)
                last = number == counts[sequence] - 1
                if last:
                    emptied.append(issued)
                after.offer(issued + 1, last)
                moved = yield after.moved, beat
                beat += 1
            sequence += 1

    yield fill()
    yield drain()


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
