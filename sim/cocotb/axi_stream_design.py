# SPDX-License-Identifier: Apache-2.0
"""What the bench knows of a design: a file that names its ports, and what goes in and must come out, code by code.

- ports: name, direction (in or out), lanes, lane_bits, code_bits, signed, beats of a vector, id_bits of TID, or 0, and
  whether there is a vector for each time step (per_step), or for each sequence
- sets: sequences to send: their lengths, how many have begun when the first of them has ended, the second, ..., and the
  predicted cycles of first and last beat of each output, or null
- vectors: a folder with SET/PORT.txt: for each sequence the number of vectors, then a line of codes for each; of a port
  with TID the vectors in the order in which they pass, with TID and end of sequence behind their number
- step_cycles: about how many cycles a time step takes; sets the scale of stalls and of patience
- seed: of all stalls
- results: the file that takes a line of JSON for each pattern
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DESCRIPTION = "HWGEN_BENCH"
Frame = list[int]  # beats up to TLAST: of a sequence, or of its state; TID stands above TDATA
Cycles = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Port:
    """An AXI4-Stream: ``lanes`` codes a beat, lane 0 lowest, each ``lane_bits`` wide; ``beats`` make a vector."""

    name: str
    direction: str
    lanes: int
    lane_bits: int
    code_bits: int
    signed: bool
    beats: int
    id_bits: int
    per_step: bool

    @property
    def width(self) -> int:
        """TDATA width."""
        return self.lanes * self.lane_bits

    def pack(self, codes: list[int]) -> int:
        """A beat: two's complement in each lane extends the sign of signed codes, and zeros of others."""
        mask = (1 << self.lane_bits) - 1
        return sum((code & mask) << (lane * self.lane_bits) for lane, code in enumerate(codes))

    def unpack(self, beat: int) -> list[int]:
        """The lanes of a beat as numbers, all of their bits counted: padding that is wrong shows.  TID is none."""
        lanes = [beat >> (lane * self.lane_bits) & ((1 << self.lane_bits) - 1) for lane in range(self.lanes)]
        return [lane - (lane >> (self.lane_bits - 1) << self.lane_bits) if self.signed else lane for lane in lanes]

    def frames(self, text: str) -> list[Frame]:
        """The vectors of a file as beats up to each TLAST: sequences, or of interleaved ones what lies between ends."""
        lines = iter(text.splitlines())
        frames = []
        frame: Frame = []
        for head in lines:
            count, tid, ends = map(int, head.split()) if self.id_bits else (int(head), 0, 1)
            for _ in range(count):
                codes = [int(code) for code in next(lines).split()]
                if len(codes) != self.lanes * self.beats:
                    raise ValueError(f"{self.name}: a vector of {len(codes)} codes, not {self.lanes * self.beats}")
                beats = (self.pack(codes[i : i + self.lanes]) for i in range(0, len(codes), self.lanes))
                frame += [tid << self.width | beat for beat in beats]
            if ends:
                frames.append(frame)
                frame = []
        return frames


@dataclass(frozen=True)
class Traffic:
    """Sequences: their lengths, the frames of every port, and predicted cycles where there are any.

    Several may be under way at once: so many have ``begun`` when the first ends, the second, ...
    """

    lengths: list[int]
    begun: list[int]
    frames: dict[str, list[Frame]]
    cycles: Cycles | None

    def part(self, port: Port, begin: int = 0, end: int | None = None) -> list[Frame]:
        """The frames of a port that belong to the sequences that end as number ``begin`` to ``end``."""
        frames = self.frames[port.name]
        if port.direction == "out" or port.per_step:
            return frames[begin:end]
        # States of all sequences that have begun by then.
        return frames[([0, *self.begun])[begin] : None if end is None else self.begun[end - 1]]


@dataclass(frozen=True)
class Description:
    """The description of a design, read from its file."""

    inputs: list[Port]
    outputs: list[Port]
    traffic: dict[str, Traffic]
    step_cycles: int
    seed: int
    results: Path

    @property
    def patience(self) -> int:
        """Cycles without a beat after which the design is said to hang."""
        return 50 * self.step_cycles + 5000

    @property
    def quiet(self) -> int:
        """Cycles without a beat that show that nothing more comes."""
        return 2 * self.step_cycles + 100


def read_description() -> Description:
    """The description that the environment names."""
    data: dict[str, Any] = json.loads(Path(os.environ[DESCRIPTION]).read_text())
    ports = [Port(**port) for port in data["ports"]]
    folder = Path(data["vectors"])
    traffic = {
        name: Traffic(
            given["lengths"],
            given["begun"],
            {port.name: port.frames((folder / name / f"{port.name}.txt").read_text()) for port in ports},
            given["cycles"],
        )
        for name, given in data["sets"].items()
    }
    return Description(
        [port for port in ports if port.direction == "in"],
        [port for port in ports if port.direction == "out"],
        traffic,
        data["step_cycles"],
        data["seed"],
        Path(data["results"]),
    )
