# SPDX-License-Identifier: Apache-2.0
"""Models of the units that streams between layers are wired with: when each beat moves, and what it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from units.bench import Bench, Signals, index_bits, pack, unpack

Beat = tuple[int, int]  # data, last


class Source:
    """Sequences of vectors of ``beats`` beats on one stream; a beat that was not taken stays."""

    def __init__(self, bench: Bench, bits: int, beats: int, least: int = 1, most: int = 4) -> None:
        self.bench, self.bits, self.beats, self.least, self.most = bench, bits, beats, least, most
        self.left = 0  # beats of this sequence that were not offered yet
        self.beat: Beat | None = None

    def drive(self) -> Beat | None:
        """What stands at the input, if anything."""
        bench = self.bench
        if self.beat is None:
            if self.left == 0 and bench.busy():
                self.left = self.beats * bench.rng.randint(self.least, self.most)
            if self.left and not bench.chance(bench.idle):
                self.left -= 1
                self.beat = bench.word(self.bits), int(self.left == 0)
        return self.beat

    def inputs(self) -> Signals:
        """The signals of a beat, random ones where there is none."""
        beat = self.drive()
        data, last = beat or (self.bench.word(self.bits), self.bench.rng.getrandbits(1))
        return {"valid_i": int(beat is not None), "data_i": data, "last_i": last}

    @property
    def empty(self) -> bool:
        """Every beat that was begun has been taken."""
        return not self.left and self.beat is None


class Stream(Bench):
    """One stream in, one out.  A model says what is offered and what is taken, from what has moved before."""

    beats = 1

    @property
    def widths(self) -> tuple[int, int]:
        """Bits of the data that enters and that leaves."""
        return self["Width"], self["Width"]

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self.widths[0], "last_i": 1, "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": 1, "data_o": self.widths[1], "last_o": 1}

    def restart(self) -> None:
        self.now = 0
        self.source = Source(self, self.widths[0], self.beats)

    def drive(self) -> Signals:
        return self.source.inputs() | {"ready_i": int(not self.chance(self.stall))}

    def offer(self, entering: Beat | None) -> Beat | None:
        """What stands at the output while ``entering`` stands at the input."""
        raise NotImplementedError

    def ready(self, ready: bool) -> bool:
        """Whether a beat would be taken, if the other side is ``ready``."""
        raise NotImplementedError

    def entered(self, beat: Beat) -> None:
        """A beat moves at the input in this cycle."""

    def left(self) -> None:
        """What is offered moves in this cycle."""

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        ready = bool(inputs["ready_i"])
        entering = (inputs["data_i"], inputs["last_i"]) if inputs["valid_i"] else None
        offered, taken = self.offer(entering), self.ready(ready)
        self.same("ready_o", outputs["ready_o"], int(taken))
        self.same("valid_o", outputs["valid_o"], int(offered is not None))
        if offered is not None:
            self.same("data_o", outputs["data_o"], offered[0])
            self.same("last_o", outputs["last_o"], offered[1])
            if ready:
                self.left()
        if entering is not None and taken:
            self.source.beat = None
            self.entered(entering)
        self.now += 1

    def finished(self) -> bool:
        return self.source.empty


class StreamNarrow(Stream):
    unit = "hwgen_stream_narrow"

    @property
    def widths(self) -> tuple[int, int]:
        return self["Factor"] * self["Width"], self["Width"]

    def restart(self) -> None:
        super().restart()
        self.sent = 0  # words of the beat at the input

    def offer(self, entering: Beat | None) -> Beat | None:
        if entering is None:
            return None
        word = entering[0] >> (self.sent * self["Width"]) & ((1 << self["Width"]) - 1)
        return word, entering[1] if self.sent == self["Factor"] - 1 else 0

    def ready(self, ready: bool) -> bool:
        return ready and self.sent == self["Factor"] - 1

    def left(self) -> None:
        self.sent = (self.sent + 1) % self["Factor"]


class StreamWiden(Stream):
    unit = "hwgen_stream_widen"

    @property
    def beats(self) -> int:  # type: ignore[override]
        return self["Factor"]

    @property
    def widths(self) -> tuple[int, int]:
        return self["Width"], self["Factor"] * self["Width"]

    def restart(self) -> None:
        super().restart()
        self.kept: list[int] = []

    def offer(self, entering: Beat | None) -> Beat | None:
        if entering is None or len(self.kept) < self["Factor"] - 1:
            return None
        return pack([*self.kept, entering[0]], self["Width"]), entering[1]

    def ready(self, ready: bool) -> bool:
        return ready or len(self.kept) < self["Factor"] - 1

    def entered(self, beat: Beat) -> None:
        self.kept = [] if len(self.kept) == self["Factor"] - 1 else [*self.kept, beat[0]]


class StreamBuffer(Stream):
    """Cycles of each word as the unit's contract has them: entered, read, left."""

    unit = "hwgen_stream_buffer"

    def restart(self) -> None:
        super().restart()
        self.words: list[Beat] = []
        self.entries: list[int] = []
        self.reads: list[int] = []
        self.exits: list[int] = []

    def schedule(self) -> None:
        """The reads of words whose cycle is known: all before them have left."""
        while len(self.reads) < len(self.words) and len(self.exits) >= len(self.reads):
            n = len(self.reads)
            before = max(self.reads[n - 1] + 1, self.exits[n - 1]) if n else 0
            self.reads.append(max(self.entries[n] + 1, before))

    def offer(self, entering: Beat | None) -> Beat | None:
        self.schedule()
        n = len(self.exits)
        return self.words[n] if n < len(self.reads) and self.reads[n] < self.now else None

    def ready(self, ready: bool) -> bool:
        # A word is read in the cycle in which the one before it leaves, at the earliest.
        n = len(self.words) - self["Depth"]
        return n < 0 or (n < len(self.reads) and self.reads[n] < self.now)

    def entered(self, beat: Beat) -> None:
        self.words.append(beat)
        self.entries.append(self.now)

    def left(self) -> None:
        self.exits.append(self.now)

    def finished(self) -> bool:
        return super().finished() and len(self.exits) == len(self.words)


class StepSelect(Stream):
    unit = "hwgen_step_select"

    @property
    def beats(self) -> int:  # type: ignore[override]
        return self["Beats"]

    def restart(self) -> None:
        super().restart()
        # Long enough to have the step, most of them longer.
        least = self["Index"] + 1
        self.source = Source(self, self["Width"], self.beats, least, 2 * least + 2)
        self.sequence: list[int] = []  # beats of this one that have entered
        self.leaving: deque[int] = deque()

    def _end(self, beat: int) -> int:
        return int(beat % self["Beats"] == self["Beats"] - 1)

    def offer(self, entering: Beat | None) -> Beat | None:
        if self["Back"]:
            return (self.leaving[0], int(len(self.leaving) == 1)) if self.leaving else None
        if entering is None or len(self.sequence) // self["Beats"] != self["Index"]:
            return None
        return entering[0], self._end(len(self.sequence))

    def ready(self, ready: bool) -> bool:
        if self["Back"]:
            return not self.leaving
        return ready or len(self.sequence) // self["Beats"] != self["Index"]

    def left(self) -> None:
        if self["Back"]:
            self.leaving.popleft()

    def entered(self, beat: Beat) -> None:
        self.sequence.append(beat[0])
        if beat[1]:
            if self["Back"]:
                first = len(self.sequence) - (self["Index"] + 1) * self["Beats"]
                self.leaving.extend(self.sequence[first : first + self["Beats"]])
            self.sequence = []

    def finished(self) -> bool:
        return super().finished() and not self.leaving


class Argmax(Stream):
    """Ranks are at random; values are few, so that many of them are equal."""

    unit = "hwgen_argmax"

    @property
    def beats(self) -> int:  # type: ignore[override]
        return self["Count"]

    @property
    def widths(self) -> tuple[int, int]:
        return self["ValueBits"], index_bits(self["Count"])

    @property
    def ranks(self) -> list[int]:
        rng = self.seeded()
        return [rng.getrandbits(self["RankBits"]) for _ in range(self["Count"])]

    def texts(self) -> dict[str, str]:
        bits = self["Count"] * self["RankBits"]
        return {"Ranks": f"{bits}'h{pack(self.ranks, self['RankBits']):x}"}

    def restart(self) -> None:
        super().restart()
        self.values: list[int] = []
        self.result: Beat | None = None

    def word(self, bits: int) -> int:
        word = super().word(bits)
        return word & 3 if self.chance(0.5) else word

    def offer(self, entering: Beat | None) -> Beat | None:
        return self.result

    def ready(self, ready: bool) -> bool:
        return ready or self.result is None or len(self.values) < self["Count"] - 1

    def left(self) -> None:
        self.result = None

    def entered(self, beat: Beat) -> None:
        self.values += unpack(beat[0], self["ValueBits"], 1)
        if len(self.values) == self["Count"]:
            keys = list(zip(self.values, self.ranks, strict=True))
            self.result, self.values = (keys.index(max(keys)), beat[1]), []

    def finished(self) -> bool:
        return super().finished() and self.result is None


class StreamFork(Bench):
    unit = "hwgen_stream_fork"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self["Width"], "last_i": 1, "ready_i": self["Outputs"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": self["Outputs"], "data_o": self["Width"], "last_o": 1}

    def restart(self) -> None:
        self.source = Source(self, self["Width"], 1)
        self.missing = set(range(self["Outputs"]))  # readers of the beat that stands at the input

    def drive(self) -> Signals:
        ready = [int(not self.chance(self.stall)) for _ in range(self["Outputs"])]
        return self.source.inputs() | {"ready_i": pack(ready, 1)}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        takers = {reader for reader in self.missing if inputs["ready_i"] >> reader & 1}
        self.same("ready_o", outputs["ready_o"], int(takers == self.missing))
        offered = self.missing if inputs["valid_i"] else set()
        self.same("valid_o", outputs["valid_o"], sum(1 << reader for reader in offered))
        if inputs["valid_i"]:
            self.same("data_o", outputs["data_o"], inputs["data_i"])
            self.same("last_o", outputs["last_o"], inputs["last_i"])
            self.missing -= takers
            if not self.missing:
                self.missing = set(range(self["Outputs"]))
                self.source.beat = None

    def finished(self) -> bool:
        return self.source.empty


class StreamConcat(Bench):
    """``_beats`` of each part are no plain number."""

    unit = "hwgen_stream_concat"

    def __init__(self, width: int, beats: tuple[int, ...]) -> None:
        super().__init__(Width=width, Parts=len(beats))
        self.beats = beats

    @property
    def inputs(self) -> Mapping[str, int]:
        parts = self["Parts"]
        return {"valid_i": parts, "data_i": parts * self["Width"], "last_i": parts, "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": self["Parts"], "valid_o": 1, "data_o": self["Width"], "last_o": 1}

    def texts(self) -> dict[str, str]:
        return {"Beats": f"{32 * len(self.beats)}'h{pack(self.beats, 32):x}"}

    def restart(self) -> None:
        self.sources = [Source(self, self["Width"], beats) for beats in self.beats]
        # Part of each beat of a vector, and whether it is the last of all.
        self.order = [part for part, beats in enumerate(self.beats) for _ in range(beats)]
        self.place = 0

    def drive(self) -> Signals:
        driven = [source.inputs() for source in self.sources]
        found = {
            port: pack([signals[port] for signals in driven], self["Width"] if port == "data_i" else 1)
            for port in ("valid_i", "data_i", "last_i")
        }
        return found | {"ready_i": int(not self.chance(self.stall))}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        part = self.order[self.place]
        self.same("ready_o", outputs["ready_o"], inputs["ready_i"] << part)
        beat = self.sources[part].beat
        self.same("valid_o", outputs["valid_o"], int(beat is not None))
        if beat is not None:
            end = self.place == len(self.order) - 1
            self.same("data_o", outputs["data_o"], beat[0])
            self.same("last_o", outputs["last_o"], beat[1] if end else 0)
            if inputs["ready_i"]:
                self.sources[part].beat = None
                self.place = 0 if end else self.place + 1

    def finished(self) -> bool:
        # Sequences of the parts are of any length here: what one of them lacks, the others wait for.
        return any(source.empty for source in self.sources)


class StreamSplit(Bench):
    unit = "hwgen_stream_split"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self["Width"], "last_i": 1, "ready_i": 2}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": 2, "data_o": self["Width"], "last_o": 1}

    def restart(self) -> None:
        self.source: Source = Source(self, self["Width"], 2 * self["Beats"])
        self.moved = 0

    @property
    def turn(self) -> int:
        """Whose vector the next beat is of."""
        return self.moved // self["Beats"] % 2

    def drive(self) -> Signals:
        ready = [int(not self.chance(self.stall)) for _ in range(2)]
        return self.source.inputs() | {"ready_i": pack(ready, 1)}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        turn, beat = self.turn, self.source.beat
        ready = inputs["ready_i"] >> turn & 1
        self.same("ready_o", outputs["ready_o"], ready)
        self.same("valid_o", outputs["valid_o"], int(beat is not None) << turn)
        if beat is not None:
            self.same("data_o", outputs["data_o"], beat[0])
            self.same("last_o", outputs["last_o"], beat[1])
            if ready:
                self.source.beat = None
                self.moved += 1

    def finished(self) -> bool:
        return self.source.empty


class StreamKeep(Bench):
    unit = "hwgen_stream_keep"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid_i": 1, "data_i": self["Width"], "last_i": 1, "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": 1, "data_o": self["Width"], "last_o": 1}

    def restart(self) -> None:
        self.source: Source = Source(self, self["Width"], 2 * self["Beats"])
        self.moved = 0

    @property
    def turn(self) -> int:
        """Whose vector the next beat is of."""
        return self.moved // self["Beats"] % 2

    def drive(self) -> Signals:
        return self.source.inputs() | {"ready_i": int(not self.chance(self.stall))}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        kept, beat = self.turn == self["Turn"], self.source.beat
        ready = inputs["ready_i"] or not kept
        self.same("ready_o", outputs["ready_o"], int(ready))
        self.same("valid_o", outputs["valid_o"], int(kept and beat is not None))
        if beat is not None:
            if kept:
                self.same("data_o", outputs["data_o"], beat[0])
                self.same("last_o", outputs["last_o"], beat[1])
            if ready:
                self.source.beat = None
                self.moved += 1

    def finished(self) -> bool:
        return self.source.empty


class StreamCredit(Bench):
    unit = "hwgen_stream_credit"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"enter_i": 1, "leave_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"room_o": 1}

    def restart(self) -> None:
        self.now = 0
        self.entries: list[int] = []
        self.exits: list[int] = []

    @property
    def room(self) -> bool:
        n = len(self.entries) - self["Depth"]
        return n < 0 or (n < len(self.exits) and self.exits[n] < self.now)

    def drive(self) -> Signals:
        inside = len(self.entries) - len(self.exits)
        return {
            "enter_i": int(self.room and self.busy()),
            "leave_i": int(inside > 0 and not self.chance(self.stall)),
        }

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.same("room_o", outputs["room_o"], int(self.room))
        self.entries += [self.now] * inputs["enter_i"]
        self.exits += [self.now] * inputs["leave_i"]
        self.now += 1

    def finished(self) -> bool:
        return len(self.entries) == len(self.exits)


class StreamIndex(Bench):
    unit = "hwgen_stream_index"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"move_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"index_o": index_bits(self["Count"])}

    def restart(self) -> None:
        self.moved = 0

    def drive(self) -> Signals:
        return {"move_i": int(self.busy())}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.moved += inputs["move_i"]
        self.same("index_o", outputs["index_o"], self.moved % self["Count"])


def benches() -> list[Bench]:
    """Parameter sets of each unit."""
    words = ((1, 1), (8, 2), (5, 3), (16, 4), (3, 7))
    found: list[Bench] = [StreamFork(Width=width, Outputs=outputs) for width, outputs in words]
    found += [StreamNarrow(Width=width, Factor=factor) for width, factor in words]
    found += [StreamWiden(Width=width, Factor=factor) for width, factor in words]
    found += [
        StreamBuffer(Width=width, Depth=depth, Block=block)
        for width, depth, block in ((1, 1, 0), (8, 1, 1), (9, 2, 0), (7, 3, 1), (70, 5, 0), (8, 16, 1))
    ]
    found += [
        StreamConcat(width, beats)
        for width, beats in ((8, (1,)), (3, (4,)), (8, (1, 1)), (9, (3, 1)), (4, (1, 2, 5)), (16, (2, 1, 4, 3)))
    ]
    found += [
        StepSelect(Width=width, Beats=beats, Index=index, Back=back)
        for back in (0, 1)
        for width, beats, index in ((1, 1, 0), (8, 1, 1), (8, 3, 0), (9, 4, 2), (5, 2, 3))
    ]
    found += [
        Argmax(ValueBits=bits, Count=count, RankBits=ranks)
        for bits, count, ranks in ((8, 1, 1), (1, 2, 1), (2, 3, 2), (8, 10, 4), (21, 16, 1), (5, 7, 3))
    ]
    found += [StreamSplit(Width=width, Beats=beats) for width, beats in ((1, 1), (8, 2), (5, 5))]
    found += [
        StreamKeep(Width=width, Beats=beats, Turn=turn) for turn in (0, 1) for width, beats in ((1, 1), (8, 2), (5, 5))
    ]
    found += [StreamIndex(Count=count) for count in (1, 2, 3, 8)]
    found += [StreamCredit(Depth=depth) for depth in (1, 2, 3, 8)]
    return found
