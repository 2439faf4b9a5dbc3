# SPDX-License-Identifier: Apache-2.0
"""Timed dataflow: processes that know when their beats are offered and taken, and nothing of a clock.

A beat moves in the first cycle in which it is offered and taken.  What a process does next follows from cycles that are
known or will be: it waits for one by yielding it.  The order in which processes run does not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable


class Series:
    """The cycles of the events of one kind, in order.  ``yield series, n`` in a process gives the cycle of event n."""

    def __init__(self) -> None:
        self.cycles: list[int] = []
        self._waiting: dict[int, list[Process]] = {}
        self._woken: deque[tuple[Process, int]] | None = None

    @property
    def waiting(self) -> list[Process]:
        """Processes that wait for an event that was not yet."""
        return [process for processes in self._waiting.values() for process in processes]

    def append(self, cycle: int) -> None:
        """The next event is in ``cycle``."""
        waiting = self._waiting.pop(len(self.cycles), None)
        self.cycles.append(cycle)
        if waiting:
            assert self._woken is not None
            self._woken.extend((process, cycle) for process in waiting)

    def wait(self, index: int, process: Process, woken: deque[tuple[Process, int]]) -> None:
        """Go on with ``process`` once the event is known."""
        self._woken = woken
        self._waiting.setdefault(index, []).append(process)


Process = Generator[tuple[Series, int], int, None]


class Channel:
    """The beats of a stream: the first cycle in which each is offered, the one in which it moves, and its TLAST."""

    def __init__(self) -> None:
        self.offered, self.moved = Series(), Series()
        self.last: list[bool] = []
        self._ready: list[int] = []

    def offer(self, cycle: int, last: bool) -> None:
        """The next beat is offered from ``cycle`` on; the one before it has moved by then."""
        self.last.append(last)
        self.offered.append(cycle)
        self._move()

    def accept(self, cycle: int) -> None:
        """The next beat is taken from ``cycle`` on."""
        self._ready.append(cycle)
        self._move()

    def _move(self) -> None:
        beat = len(self.moved.cycles)
        if beat < len(self._ready) and beat < len(self.last):
            self.moved.append(max(self.offered.cycles[beat], self._ready[beat]))


def run(processes: Iterable[Process]) -> None:
    """Run processes until all of them wait for what never comes, or end."""
    woken: deque[tuple[Process, int]] = deque()
    for process in processes:
        _advance(process, None, woken)
    while woken:
        process, cycle = woken.popleft()
        _advance(process, cycle, woken)


def _advance(process: Process, cycle: int | None, woken: deque[tuple[Process, int]]) -> None:
    try:
        series, index = next(process) if cycle is None else process.send(cycle)
        while index < len(series.cycles):
            series, index = process.send(series.cycles[index])
    except StopIteration:
        return
    series.wait(index, process, woken)
