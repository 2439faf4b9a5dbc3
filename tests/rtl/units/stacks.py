# SPDX-License-Identifier: Apache-2.0
"""Models of the units with which two layers of a stack, or two directions, take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from random import Random

from units.bench import Bench, Signals, pack
from units.wiring import Beat, Source, StreamKeep, StreamSplit


class Order:
    """Whose step is next: of the first layer until it is two steps ahead, or has ended; then of the second one."""

    def __init__(self) -> None:
        self.steps, self.ended = [0, 0], False

    @property
    def turn(self) -> int:
        return int(self.ended or self.steps[0] - self.steps[1] == 2)

    def last(self, rng: Random) -> int:
        """Whether the next step may be the last of its sequence: of the second layer that is known."""
        if self.turn:
            return int(self.ended and self.steps[1] == self.steps[0] - 1)
        return int(rng.random() < 0.3)

    def step(self, last: int) -> None:
        if self.turn and last:
            self.__init__()  # type: ignore[misc]
            return
        self.steps[self.turn], self.ended = self.steps[self.turn] + 1, self.ended or bool(last)


class InOrder(Source):
    """Vectors of two layers as they take turns; TLAST is random within a vector."""

    def __init__(self, bench: Bench, bits: int, beats: int) -> None:
        super().__init__(bench, bits, beats)
        self.order, self._turn = Order(), 0

    @property
    def turn(self) -> int:
        """Whose vector is the one that has begun, or else the next one."""
        return self._turn if self.left or self.beat is not None else self.order.turn

    def drive(self) -> Beat | None:
        bench = self.bench
        if self.beat is None:
            if self.left == 0 and bench.busy():
                self.left, self._turn = self.beats, self.order.turn
            if self.left and not bench.chance(bench.idle):
                self.left -= 1
                last = self.order.last(bench.rng) if self.left == 0 else bench.rng.getrandbits(1)
                self.beat = bench.word(self.bits), last
                if self.left == 0:
                    self.order.step(last)
        return self.beat


class Turns(Bench):
    unit = "hwgen_turns"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"step_i": 1, "last_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"turn_o": 1}

    def restart(self) -> None:
        self.order, self.steps = Order(), 0

    def drive(self) -> Signals:
        last = self.order.last(self.rng) if self["Stacked"] else self.rng.getrandbits(1)
        return {"step_i": int(self.busy()), "last_i": last}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("turn_o", outputs["turn_o"], self.order.turn if self["Stacked"] else self.steps % 2)
        if inputs["step_i"]:
            self.order.step(inputs["last_i"])
            self.steps += 1


class SplitStack(StreamSplit):
    def restart(self) -> None:
        super().restart()
        self.source = self.ordered = InOrder(self, self["Width"], self["Beats"])

    @property
    def turn(self) -> int:
        return self.ordered.turn


class KeepStack(StreamKeep):
    def restart(self) -> None:
        super().restart()
        self.source = self.ordered = InOrder(self, self["Width"], self["Beats"])

    @property
    def turn(self) -> int:
        return self.ordered.turn


class StackJoin(Bench):
    unit = "hwgen_stack_join"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 2, "data_i": 2 * self["Width"], "last_i": 2, "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 2, "valid_o": 1, "data_o": self["Width"], "last_o": 1}

    @property
    def beats(self) -> tuple[int, int]:
        return self["FirstBeats"], self["SecondBeats"]

    def restart(self) -> None:
        self.order, self.place, self.last = Order(), 0, 0
        self.open = False  # a sequence that comes in has begun, and not ended
        # What stands at each input, beats that are left of its vector, and the ends of vectors that may come back.
        self.standing: list[Beat | None] = [None, None]
        self.left = [0, 0]
        self.back: deque[int] = deque()

    def _offer(self, which: int) -> Beat | None:
        if self.standing[which] is None and not self.chance(self.idle):
            may_begin = bool(self.back) if which else not self.stopping or self.open
            if self.left[which] or may_begin:
                self.left[which] = (self.left[which] or self.beats[which]) - 1
                last = self.rng.getrandbits(1)
                if not self.left[which]:
                    last = self.back.popleft() if which else int(self.stopping or self.chance(0.3))
                    self.open = self.open if which else not last
                self.standing[which] = self.word(self["Width"]), last
        return self.standing[which]

    def drive(self) -> Signals:
        beats = [self._offer(which) or (self.word(self["Width"]), self.rng.getrandbits(1)) for which in (0, 1)]
        return {
            "valid_i": pack([beat is not None for beat in self.standing], 1),
            "data_i": pack([data for data, _ in beats], self["Width"]),
            "last_i": pack([last for _, last in beats], 1),
            "ready_i": int(not self.chance(self.stall)),
        }

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        turn, whole = self.order.turn, max(self.beats)
        given = self.place < self.beats[turn]
        beat: Beat | None = self.standing[turn] if given else (0, self.last)
        self.same("ready_o", outputs["ready_o"], (inputs["ready_i"] << turn) * given)
        self.same("valid_o", outputs["valid_o"], int(beat is not None))
        if beat is None:
            return
        ends = self.place == whole - 1
        self.same("data_o", outputs["data_o"], beat[0])
        self.same("last_o", outputs["last_o"], beat[1] if ends else 0)
        if inputs["ready_i"]:
            self.last, self.place = beat[1], 0 if ends else self.place + 1
            if given:
                self.standing[turn] = None
            if ends:
                self.order.step(self.last)
                if not turn:
                    self.back.append(self.last)

    def finished(self) -> bool:
        return self.order.steps == [0, 0] and not self.place and not self.left[0] and self.standing[0] is None


def benches() -> list[Bench]:
    """All instances."""
    sizes = ((1, 1), (8, 2), (5, 5))
    found: list[Bench] = [Turns(Stacked=stacked) for stacked in (0, 1)]
    found += [SplitStack(Width=width, Beats=beats, Stacked=1) for width, beats in sizes]
    found += [KeepStack(Width=width, Beats=beats, Turn=turn, Stacked=1) for turn in (0, 1) for width, beats in sizes]
    found += [
        StackJoin(Width=width, FirstBeats=first, SecondBeats=second)
        for width, first, second in ((1, 1, 1), (8, 2, 5), (3, 4, 1), (6, 3, 3))
    ]
    return found
