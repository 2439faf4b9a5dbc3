# SPDX-License-Identifier: Apache-2.0
"""Models of the units that wait for one another: FIFOs, edges of streams, the reversal, initial states."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from units import meeting
from units.bench import Bench, Signals, index_bits, pack, unpack


class StreamFifo(Bench):
    unit = "hwgen_stream_fifo"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self["Width"], "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"valid_o": 1, "data_o": self["Width"]}

    def restart(self) -> None:
        self.words: deque[int] = deque()

    def drive(self) -> Signals:
        ready = not self.chance(self.stall)
        # A full one may be written while it is read.
        room = len(self.words) < self["Depth"] or ready
        return {"valid_i": int(room and self.busy()), "data_i": self.word(self["Width"]), "ready_i": int(ready)}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("valid_o", outputs["valid_o"], int(bool(self.words)))
        if self.words:
            self.same("data_o", outputs["data_o"], self.words[0])
            if inputs["ready_i"]:
                self.words.popleft()
        if inputs["valid_i"]:
            self.words.append(inputs["data_i"])

    def finished(self) -> bool:
        return not self.words


class AxisOutput(Bench):
    unit = "hwgen_axis_output"

    @property
    def inputs(self) -> Mapping[str, int]:
        lanes = self["Lanes"] * self["ValueBits"]
        return {"reserve_i": 1, "valid_i": 1, "values_i": lanes, "last_i": 1, "tready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"room_o": 1, "tvalid_o": 1, "tdata_o": self["Lanes"] * self["LaneBits"], "tlast_o": 1}

    def restart(self) -> None:
        self.reserved, self.beat, self.last = 0, 0, 0
        self.vectors = 0  # begun, not yet sent whole
        self.beats: deque[tuple[int, int, bool]] = deque()  # data, tlast, and whether it ends a vector

    def drive(self) -> Signals:
        inputs = {port: self.word(bits) for port, bits in self.inputs.items()}
        inputs["reserve_i"] = int(self.vectors < self["Vectors"] and self.busy())
        # Beats come in order, some cycles after their vector was begun; all of them say whether it is the last.
        inputs["valid_i"] = int(self.reserved > 0 and not self.chance(self.idle))
        if self.beat == 0:
            self.last = self.rng.getrandbits(1)
        inputs["last_i"] = self.last
        inputs["tready_i"] = int(not self.chance(self.stall))
        return inputs

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("room_o", outputs["room_o"], int(self.vectors < self["Vectors"]))
        self.same("tvalid_o", outputs["tvalid_o"], int(bool(self.beats)))
        self.vectors += inputs["reserve_i"]
        if self.beats:
            data, last, ends = self.beats[0]
            self.same("tdata_o", outputs["tdata_o"], data)
            self.same("tlast_o", outputs["tlast_o"], last)
            if inputs["tready_i"]:
                self.beats.popleft()
                self.vectors -= ends
        if inputs["valid_i"]:
            values = unpack(inputs["values_i"], self["ValueBits"], self["Lanes"])
            ends = self.beat == self["Beats"] - 1
            self.beats.append((pack(values, self["LaneBits"]), int(ends and bool(inputs["last_i"])), ends))
            self.beat = 0 if ends else self.beat + 1
        self.reserved += inputs["reserve_i"] * self["Beats"] - inputs["valid_i"]

    def finished(self) -> bool:
        return self.reserved == 0 and not self.beats


class SequenceReverse(Bench):
    """Handshakes on both sides: nothing is said about cycles, but that valid and data stay until they are taken."""

    unit = "hwgen_sequence_reverse"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self["Width"], "last_i": 1, "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": 1, "data_o": self["Width"], "last_o": 1}

    def restart(self) -> None:
        self.sequence: list[list[int]] = []  # the steps that arrived of this one
        self.step: list[int] = []
        self.expected: deque[tuple[int, int]] = deque()
        self.left = 0
        self.offered: Signals | None = None  # an input that was not taken stays
        self.waiting: tuple[int, int] | None = None

    def drive(self) -> Signals:
        if self.offered is None:
            if self.left == 0 and self.busy():
                # Now and then longer than what is stored at once.
                steps = self.rng.choice([1, 1, 2, 3, self["Length"], self["Length"] + 1, 2 * self["Length"]])
                self.left = steps * self["Beats"]
            if self.left and not self.chance(self.idle):
                self.left -= 1
                # TLAST is looked at on the last beat of a step alone.
                within = len(self.step) < self["Beats"] - 1
                last = self.rng.getrandbits(1) if within else int(self.left == 0)
                self.offered = {"valid_i": 1, "data_i": self.word(self["Width"]), "last_i": last}
        nothing = {"valid_i": 0, "data_i": self.word(self["Width"]), "last_i": self.rng.getrandbits(1)}
        return (self.offered or nothing) | {"ready_i": int(not self.chance(self.stall))}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        if outputs["valid_o"]:
            beat = (outputs["data_o"], outputs["last_o"])
            assert self.expected, f"{self.unit} {self.parameters}: a beat nobody sent, or too early"
            self.same("data_o", beat[0], self.expected[0][0])
            self.same("last_o", beat[1], self.expected[0][1])
            self.waiting = None if inputs["ready_i"] else beat
            if inputs["ready_i"]:
                self.expected.popleft()
        else:
            assert self.waiting is None, f"{self.unit} {self.parameters}: valid_o fell before the beat was taken"
        if inputs["valid_i"] and outputs["ready_o"]:
            self.offered = None
            self.step.append(inputs["data_i"])
            if len(self.step) == self["Beats"]:
                self.sequence.append(self.step)
                self.step = []
                if inputs["last_i"] or len(self.sequence) == self["Length"]:
                    self.expected += self.leaving(self.sequence)
                    self.sequence = []

    def leaving(self, sequence: list[list[int]]) -> list[tuple[int, int]]:
        """The beats that a sequence of steps leaves as, with TLAST."""
        words = [word for step in reversed(sequence) for word in step]
        return [(word, int(place == len(words) - 1)) for place, word in enumerate(words)]

    def finished(self) -> bool:
        return not self.left and self.offered is None and not self.expected


class SequenceTurns(SequenceReverse):
    unit = "hwgen_sequence_turns"

    def leaving(self, sequence: list[list[int]]) -> list[tuple[int, int]]:
        found = []
        for place, both in enumerate(zip(sequence, reversed(sequence), strict=True)):
            for step in both:
                ends = place == len(sequence) - 1
                found += [(word, int(ends and number == len(step) - 1)) for number, word in enumerate(step)]
        return found


class InitialState(Bench):
    unit = "hwgen_initial_state"

    @property
    def reads(self) -> int:
        return self["Lanes"] * self["Beats"] // self["ReadLanes"]

    @property
    def inputs(self) -> Mapping[str, int]:
        lanes = self["Lanes"] * self["ValueBits"]
        return {"valid_i": 1, "values_i": lanes, "take_i": 1, "read_i": index_bits(self.reads), "release_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "available_o": 1, "values_o": self["ReadLanes"] * self["ValueBits"]}

    def restart(self) -> None:
        self.loading: list[int] = []
        self.loaded: deque[list[int]] = deque()  # whole vectors, the one in use included
        self.used = 0
        self.waiting = False

    def drive(self) -> Signals:
        # A beat that was not taken stays.
        valid = self.waiting or self.busy() or (self.loading and not self.chance(self.idle))
        return {
            "valid_i": int(bool(valid)),
            "values_i": self.word(self["Lanes"] * self["ValueBits"]),
            "take_i": int(self.used < len(self.loaded) and not self.chance(self.stall)),
            "read_i": self.rng.randrange(self.reads),
            "release_i": int(self.used > 0 and not self.chance(max(self.stall, 0.6))),
        }

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("ready_o", outputs["ready_o"], int(len(self.loaded) < 2))
        self.same("available_o", outputs["available_o"], int(self.used < len(self.loaded)))
        if self.used:
            first = inputs["read_i"] * self["ReadLanes"]
            values = self.loaded[0][first : first + self["ReadLanes"]]
            self.same("values_o", outputs["values_o"], pack(values, self["ValueBits"]))
        self.waiting = bool(inputs["valid_i"] and not outputs["ready_o"])
        if inputs["take_i"]:
            self.used += 1
        if inputs["release_i"]:
            self.loaded.popleft()
            self.used -= 1
        if inputs["valid_i"] and outputs["ready_o"]:
            self.loading += unpack(inputs["values_i"], self["ValueBits"], self["Lanes"])
            if len(self.loading) == self["Lanes"] * self["Beats"]:
                self.loaded.append(self.loading)
                self.loading = []

    def finished(self) -> bool:
        return not self.loading and not self.loaded


def benches() -> list[Bench]:
    """Parameter sets, corners included."""
    fifos: list[Bench] = [
        StreamFifo(Width=width, Depth=depth) for width, depth in ((1, 1), (8, 2), (7, 3), (70, 4), (9, 13))
    ]
    outputs = [
        AxisOutput(Lanes=lanes, ValueBits=value, LaneBits=lane, Beats=beats, Vectors=vectors)
        for lanes, value, lane, beats, vectors in (
            (1, 8, 8, 1, 1),
            (1, 9, 8, 1, 2),  # unsigned codes: their sign is not sent
            (3, 5, 8, 4, 2),
            (2, 12, 16, 3, 5),
            (4, 2, 8, 1, 3),
        )
    ]
    reversals = [
        SequenceReverse(Width=width, Beats=beats, Length=length)
        for width, beats, length in ((8, 1, 1), (1, 3, 1), (16, 1, 4), (9, 2, 5), (8, 5, 3), (4, 4, 8))
    ]
    turns = [
        SequenceTurns(Width=width, Beats=beats, Length=length)
        for width, beats, length in ((8, 1, 1), (1, 3, 1), (16, 1, 7), (9, 2, 5), (8, 4, 3))
    ]
    states = [
        InitialState(Lanes=lanes, Beats=beats, ReadLanes=reads, ValueBits=bits)
        for lanes, beats, reads, bits in (
            (1, 1, 1, 1),
            (4, 1, 1, 8),
            (4, 1, 4, 8),
            (1, 20, 4, 8),
            (2, 3, 6, 5),
            (6, 2, 4, 9),
        )
    ]
    return [*fifos, *outputs, *reversals, *turns, *states, *meeting.benches()]
