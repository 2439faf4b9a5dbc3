# SPDX-License-Identifier: Apache-2.0
"""Cycles of the units around recurrent layers, as processes that say when their beats move: see ``rtl_cycles``."""

from __future__ import annotations

from collections.abc import Iterator

from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    ConcatNode,
    DenseNode,
    ForkNode,
    MapNode,
    NarrowNode,
    Node,
    SelectNode,
    WidenNode,
)
from hwgen.events import Channel, Process, Series


def processes(node: Node, inputs: list[Channel], outputs: list[Channel]) -> Iterator[Process]:
    """The processes of any node that is no recurrent layer."""
    if isinstance(node, DenseNode):
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
