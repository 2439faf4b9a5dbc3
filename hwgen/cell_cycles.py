# SPDX-License-Identifier: Apache-2.0
"""Predicted cycles of a recurrent layer in RTL: its processes, as ``rtl_cycles`` puts them together with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hwgen.events import Channel, Process, Series
from hwgen.interleaving import Order, StackTurns
from hwgen.rtl_timing import Timeline


@dataclass(frozen=True)
class Loop:
    """What a recurrent layer does by itself: the last input tile of each time step, and the starts of its loop."""

    times: Timeline
    projected: Series = field(default_factory=Series)
    frees: Series = field(default_factory=Series)

    @property
    def starts(self) -> list[int]:
        """Cycles in which the first tile of each time step is shown."""
        return [cycle - self.times.freed for cycle in self.frees.cycles]


def cell_processes(loop: Loop, edges: Mapping[str, Channel], order: Order | None = None) -> Iterator[Process]:
    """A recurrent layer; ``order`` tells the contexts of interleaved sequences."""
    times, design = loop.times, loop.times.design
    x, y = edges["x"], edges.get("y")
    if design.cell.reverse:
        turned = Channel()
        yield from reverse(x, turned)
        x = turned
        if y is not None and "y" in design.turned:
            backward = Channel()
            yield from reverse(backward, y)
            y = backward
    frees, projected, sums_last = loop.frees, loop.projected, list[bool]()
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
    contexts = [arrival.context for arrival in order.arrivals] if order else None
    if design.directions and not design.stack:
        contexts = list(range(design.contexts))
    yield _recurrence(times, projected, sums_last, frees, loads, outputs, contexts)


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
    times: Timeline,
    projected: Series,
    sums_last: list[bool],
    frees: Series,
    loads: list[_Load],
    outputs: list[_Output],
    contexts: Sequence[int] | None,
) -> Process:
    """Starts of time steps: everything within a step has its fixed cycle from there.

    A step waits for the tiles of the one before, and for the state of its own sequence.
    """
    step = sequence = start = 0
    turns = StackTurns()
    # When the state of a context is there, if its sequence goes on.
    states: dict[int, int] = {}
    while True:
        ready = 1 + times.input_latency + (yield projected, step)
        last = sums_last[step]
        context = contexts[step % len(contexts)] if contexts else turns.turn if times.design.stack else 0
        turns.step(last)
        first = context not in states
        if step:
            ready = max(ready, start + times.tiles, states.get(context, 0))
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
        states[context] = start + times.period
        if last and not times.design.options.streaming:
            del states[context]
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


def reverse(before: Channel, after: Channel, turns: int = 0) -> Iterator[Process]:
    """Two halves: one is filled while the other is emptied.

    With ``turns`` beats a step both directions leave step by step; TLAST is on the last beat of each.
    """
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
            beats = counts[sequence] * (2 if turns else 1)
            for number in range(beats):
                issued = max(ready, issued + 1, moved)
                last = number == beats - 1
                if last:
                    emptied.append(issued)
                after.offer(issued + 1, last or (turns > 0 and number == beats - 1 - turns))
                moved = yield after.moved, beat
                beat += 1
            sequence += 1

    yield fill()
    yield drain()
