# SPDX-License-Identifier: Apache-2.0
"""What stands between the layers of a network, as processes that say when its beats move."""

from __future__ import annotations

from hwgen.dataflow import SelectNode
from hwgen.events import Channel, Process, Series
from hwgen.interleaving import StackTurns


def fork(x: Channel, outputs: list[Channel]) -> Process:
    """The beat moves at the input when the last reader takes it."""
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


def narrow(factor: int, x: Channel, y: Channel) -> Process:
    """Each beat in ``factor`` parts."""
    beat = part = 0
    while True:
        cycle = yield x.offered, beat
        for number in range(factor):
            y.offer(cycle, x.last[beat] and number == factor - 1)
            moved = yield y.moved, part
            cycle, part = moved + 1, part + 1
        x.accept(moved)
        beat += 1


def widen(factor: int, x: Channel, y: Channel) -> Process:
    """``factor`` beats as one."""
    beat = 0
    while True:
        for _ in range(factor - 1):
            x.accept(0)
            beat += 1
        y.offer((yield x.offered, beat), x.last[beat])
        x.accept((yield y.moved, beat // factor))
        beat += 1


def buffer_writer(depth: int, x: Channel, issues: Series, written: Series) -> Process:
    """Words enter a memory of ``depth`` words; ``issues`` are their reads."""
    beat = 0
    while True:
        x.accept(0 if beat < depth else 1 + (yield issues, beat - depth))
        written.append((yield x.moved, beat))
        beat += 1


def buffer_reader(x: Channel, y: Channel, issues: Series, written: Series) -> Process:
    """Words leave it: read a cycle after they were written at the earliest."""
    beat = 0
    issued = moved = -1
    while True:
        issued = max(1 + (yield written, beat), issued + 1, moved)
        issues.append(issued)
        y.offer(issued + 1, x.last[beat])
        moved = yield y.moved, beat
        beat += 1


def concat(beats: list[int], inputs: list[Channel], y: Channel) -> Process:
    """So many ``beats`` of each input behind each other."""
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


def count_steps(beats: int, sequences: int, x: Channel, left: Series, known: Series, steps: list[int]) -> Process:
    """How many steps of so many ``beats`` each sequence has, of so many ``sequences`` that have not left yet."""
    beat = sequence = 0
    moved = -1
    while True:
        ready = moved + 1
        if sequence >= sequences:
            ready = max(ready, 1 + (yield left, sequence - sequences))
        begin = beat
        while beat == begin or not x.last[beat - 1]:
            x.accept(ready)
            moved = yield x.moved, beat
            ready, beat = moved + 1, beat + 1
        steps.append((beat - begin) // beats)
        known.append(moved)
        sequence += 1


def meet(beats: int, sides: list[Channel], y: Channel, left: Series, known: Series, steps: list[int]) -> Process:
    """A vector of each side in turns, and a cycle between them; the sums of the whole sequence leave behind them."""
    vector = beat = sequence = 0
    moved = -1
    while True:
        ready = 1 + max((yield known, sequence), moved)
        for _ in range(steps[sequence]):
            for side in sides:
                for number in range(beats):
                    side.accept(ready)
                    moved = yield side.moved, vector * beats + number
                    ready = moved + 1
                ready += 1
            vector += 1
        issued = ready - 1
        count = steps[sequence] * beats
        for number in range(count):
            issued = max(issued + 1, moved)
            y.offer(issued + 1, number == count - 1)
            moved = yield y.moved, beat
            beat += 1
        left.append(moved)
        sequence += 1


def split(beats: int, x: Channel, outputs: list[Channel], stacked: bool = False) -> Process:
    """So many ``beats`` to each output in turns, or as layers that are ``stacked`` take turns."""
    beat = turn = 0
    given = [0 for _ in outputs]
    turns = StackTurns()
    while True:
        for _ in range(beats):
            outputs[turn].offer((yield x.offered, beat), x.last[beat])
            x.accept((yield outputs[turn].moved, given[turn]))
            given[turn] += 1
            beat += 1
        turns.step(x.last[beat - 1])
        turn = turns.turn if stacked else (turn + 1) % len(outputs)


def stack(beats: tuple[int, int], inputs: list[Channel], y: Channel) -> Process:
    """So many ``beats`` of each input as two layers take turns; what the shorter one lacks is filled up."""
    whole, taken, beat, cycle = max(beats), [0, 0], 0, 0
    turns = StackTurns()
    while True:
        turn, last = turns.turn, False
        x = inputs[turn]
        for number in range(whole):
            given = number < beats[turn]
            if given:
                cycle = max(cycle, (yield x.offered, taken[turn]))
                last = x.last[taken[turn]]
            y.offer(cycle, last and number == whole - 1)
            moved = yield y.moved, beat
            if given:
                x.accept(moved)
                taken[turn] += 1
            cycle, beat = moved + 1, beat + 1
        turns.step(last)


def keep(beats: int, kept: int, x: Channel, y: Channel, stacked: bool = False) -> Process:
    """Of two vectors in turns one passes, the other is dropped."""
    beat = part = turn = 0
    turns = StackTurns()
    while True:
        for _ in range(beats):
            if turn == kept:
                y.offer((yield x.offered, beat), x.last[beat])
                x.accept((yield y.moved, part))
                part += 1
            else:
                x.accept(0)
                yield x.moved, beat
            beat += 1
        turns.step(x.last[beat - 1])
        turn = turns.turn if stacked else 1 - turn


def select_from_first(node: SelectNode, x: Channel, y: Channel) -> Process:
    """The vector with the index of the stage passes, the others are dropped."""
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


def select_from_last(node: SelectNode, x: Channel, y: Channel) -> Process:
    """One vector is kept until the sequence ends."""
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


def argmax(beats: int, x: Channel, y: Channel) -> Process:
    """One code a cycle; the index stands in a register."""
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
