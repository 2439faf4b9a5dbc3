# SPDX-License-Identifier: Apache-2.0
"""A model of the unit where sums of both directions meet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from units.bench import Bench, Signals, pack, unpack

# A beat and its TLAST.
Beat = tuple[int, int]
SIDES = ("count", "forward", "backward")


class SequenceMeet(Bench):
    """Handshakes on all sides: nothing is said about cycles, but that valid and data stay until they are taken."""

    unit = "hwgen_sequence_meet"

    def width(self, side: str) -> int:
        return self["CountWidth"] if side == "count" else self["Lanes"] * self[f"{side.capitalize()}Bits"]

    @property
    def inputs(self) -> Mapping[str, int]:
        ports = {"ready_i": 1}
        for side in SIDES:
            ports |= {f"{side}_valid_i": 1, f"{side}_data_i": self.width(side), f"{side}_last_i": 1}
        return ports

    @property
    def outputs(self) -> Mapping[str, int]:
        return {f"{side}_ready_o": 1 for side in SIDES} | {
            "valid_o": 1,
            "data_o": self["Lanes"] * self["SumBits"],
            "last_o": 1,
        }

    def restart(self) -> None:
        self.coming: dict[str, deque[Beat]] = {side: deque() for side in SIDES}
        self.offered: dict[str, Beat | None] = dict.fromkeys(SIDES)  # an input that was not taken stays
        self.expected: deque[Beat] = deque()
        self.waiting: Beat | None = None

    def beats(self, words: list[list[int]], last: bool) -> Iterator[Beat]:
        """Steps of several words; TLAST is looked at on the last beat of a step alone."""
        for number, step in enumerate(words):
            ends = int(last and number == len(words) - 1)
            yield from ((word, self.rng.getrandbits(1)) for word in step[:-1])
            yield step[-1], ends

    def begin(self) -> None:
        """A sequence, now and then longer than what is stored at once."""
        length = self["Length"]
        steps = self.rng.choice([1, 1, 2, 3, length, length + 1, 2 * length])
        counted = [[self.word(self["CountWidth"]) for _ in range(self["CountBeats"])] for _ in range(steps)]
        self.coming["count"] += self.beats(counted, True)
        for piece in range(0, steps, length):
            sums = {}
            for side in ("forward", "backward"):
                count = min(length, steps - piece)
                sums[side] = [[self.word(self.width(side)) for _ in range(self["Beats"])] for _ in range(count)]
            self.coming["forward"] += self.beats(sums["forward"], piece + length >= steps)
            self.coming["backward"] += self.beats(sums["backward"][::-1], True)
            words = [word for step in zip(*sums.values(), strict=True) for word in map(self.sum, *step)]
            self.expected += [(word, int(place == len(words) - 1)) for place, word in enumerate(words)]

    def sum(self, forward: int, backward: int) -> int:
        """Of both words, lane by lane."""
        lanes, found = self["Lanes"], []
        for one, other in zip(
            unpack(forward, self["ForwardBits"], lanes), unpack(backward, self["BackwardBits"], lanes), strict=True
        ):
            found.append((one + other) % (1 << self["SumBits"]))
        return pack(found, self["SumBits"])

    def drive(self) -> Signals:
        if not self.coming["count"] and len(self.coming["forward"]) < 40 and self.busy():
            self.begin()
        signals = {"ready_i": int(not self.chance(self.stall))}
        for side in SIDES:
            if self.offered[side] is None and self.coming[side] and not self.chance(self.idle):
                self.offered[side] = self.coming[side].popleft()
            beat = self.offered[side]
            data, last = beat or (self.word(self.width(side)), self.rng.getrandbits(1))
            signals |= {f"{side}_valid_i": int(beat is not None), f"{side}_data_i": data, f"{side}_last_i": last}
        return signals

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        if outputs["valid_o"]:
            beat = (outputs["data_o"], outputs["last_o"])
            assert self.expected, f"{self.unit} {self.parameters}: a beat nobody sent"
            self.same("data_o", beat[0], self.expected[0][0])
            self.same("last_o", beat[1], self.expected[0][1])
            self.waiting = None if inputs["ready_i"] else beat
            if inputs["ready_i"]:
                self.expected.popleft()
        else:
            assert self.waiting is None, f"{self.unit} {self.parameters}: valid_o fell before the beat was taken"
        for side in SIDES:
            if inputs[f"{side}_valid_i"] and outputs[f"{side}_ready_o"]:
                self.offered[side] = None

    def finished(self) -> bool:
        return not any(self.coming.values()) and not any(self.offered.values()) and not self.expected


def benches() -> list[Bench]:
    """Parameter sets, corners included."""
    names = [
        "Lanes",
        "ForwardBits",
        "BackwardBits",
        "SumBits",
        "Beats",
        "CountBeats",
        "CountWidth",
        "Length",
        "Sequences",
    ]
    return [
        SequenceMeet(**dict(zip(names, values, strict=True)))
        for values in (
            (1, 4, 4, 5, 1, 1, 1, 1, 1),
            (1, 8, 6, 9, 1, 1, 4, 5, 2),
            (2, 5, 7, 8, 3, 2, 8, 4, 1),
            (3, 6, 6, 6, 2, 3, 5, 7, 4),
            (1, 3, 9, 10, 4, 1, 9, 1, 3),
        )
    ]
