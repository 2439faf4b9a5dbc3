# SPDX-License-Identifier: Apache-2.0
"""A bench: an instance of a unit in a wrapper of many, random inputs that keep its contract, and a model of it.

A model says what the header of the unit says, in Python and cycle by cycle; it does not repeat the unit's registers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

Signals = dict[str, int]


def mask(value: int, bits: int) -> int:
    """The low bits of two's complement."""
    return value & ((1 << bits) - 1)


def signed(word: int, bits: int) -> int:
    """The low bits of a word as a signed number."""
    word = mask(word, bits)
    return word - (1 << bits) if word >> (bits - 1) else word


def pack(values: Iterable[int], bits: int) -> int:
    """Numbers side by side, the first one in the low bits."""
    word = 0
    for place, value in enumerate(values):
        word |= mask(value, bits) << (place * bits)
    return word


def unpack(word: int, bits: int, count: int) -> list[int]:
    """Signed numbers from side by side."""
    return [signed(word >> (place * bits), bits) for place in range(count)]


def index_bits(count: int) -> int:
    """Bits of an index below ``count``, at least one."""
    return max(1, (count - 1).bit_length())


def hex_words(words: Iterable[int], bits: int) -> str:
    """The text of a memory file."""
    return "".join(f"{mask(word, bits):x}\n" for word in words)


class Bench:
    """One instance.  ``parameters`` go to the unit, numbers as they are.

    A run begins with ``restart``.  In each cycle ``drive`` gives the inputs, and ``observe`` gets the outputs that
    stand with them before the clock edge.  Inputs pause with probability ``idle``, the other side with ``stall``.
    """

    unit: str
    clocks: ClassVar[tuple[str, ...]] = ("clk_i", "rst_ni")

    def __init__(self, **parameters: int) -> None:
        self.parameters = parameters
        self.module = self.unit  # or a copy of it under another name
        self.name = ""
        self.stopping = False
        self.rng, self.idle, self.stall = random.Random(0), 0.0, 0.0

    def __getitem__(self, parameter: str) -> int:
        return self.parameters[parameter]

    @property
    def inputs(self) -> Mapping[str, int]:
        """Input ports and their widths."""
        raise NotImplementedError

    @property
    def outputs(self) -> Mapping[str, int]:
        """Output ports and their widths."""
        raise NotImplementedError

    def texts(self) -> dict[str, str]:
        """Parameters that are no plain numbers."""
        return {}

    def files(self) -> dict[str, str]:
        """Contents of memories."""
        return {}

    def restart(self) -> None:
        """The unit has been reset."""

    def drive(self) -> Signals:
        """The inputs of this cycle."""
        raise NotImplementedError

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        """Compare the outputs of this cycle, and take the clock edge at its end."""
        raise NotImplementedError

    def finished(self) -> bool:
        """Nothing that went in is missing at the output."""
        return True

    # What benches are written with.

    def seeded(self) -> random.Random:
        """The same random numbers each time: what memories hold."""
        return random.Random(f"{self.unit} {sorted(self.parameters.items())}")

    def word(self, bits: int) -> int:
        """Random bits; now and then all zeros, all ones, or the most negative number."""
        if self.rng.random() < 0.2:
            return self.rng.choice([0, (1 << bits) - 1, 1 << (bits - 1)])
        return self.rng.getrandbits(bits)

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.rng.random() < probability

    def busy(self) -> bool:
        """Whether something new begins in this cycle."""
        return not self.stopping and not self.chance(self.idle)

    def same(self, port: str, got: int, wanted: int) -> None:
        """Equal, or an error that says where."""
        assert got == wanted, f"{self.unit} {self.parameters}: {port} is {got:#x}, not {wanted:#x}"

    def instance(self, name: str) -> str:
        """The instance in a wrapper."""
        self.name = name
        parameters = {key: str(value) for key, value in self.parameters.items()} | self.texts()
        ports = {"clk_i": "clk", "rst_ni": "rst_n"}
        ports = {port: ports[port] for port in self.clocks}
        ports |= {port: f"{name}_{port}" for port in (*self.inputs, *self.outputs)}
        lines = [f"  {self.module} #("]
        lines += [",\n".join(f"    .{key}({value})" for key, value in parameters.items()), f"  ) {name} ("]
        return "\n".join([*lines, ",\n".join(f"    .{port}({value})" for port, value in ports.items()), "  );", ""])


class Function(Bench):
    """A unit whose outputs follow from its inputs, ``latency`` cycles ago."""

    clocks: ClassVar[tuple[str, ...]] = ("clk_i",)

    @property
    def latency(self) -> int:
        """Cycles from inputs to outputs."""
        return 0

    def restart(self) -> None:
        self.past: deque[Signals] = deque(maxlen=self.latency + 1)

    def drive(self) -> Signals:
        return {port: self.word(bits) for port, bits in self.inputs.items()}

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        self.past.append(inputs)
        if len(self.past) > self.latency:
            for port, wanted in self.wanted(self.past[0]).items():
                self.same(port, outputs[port], mask(wanted, self.outputs[port]))

    def wanted(self, inputs: Signals) -> Signals:
        """The outputs that belong to the inputs."""
        raise NotImplementedError


def wrapper(name: str, benches: Sequence[Bench]) -> str:
    """A module with all instances; each port of each is one of its own."""
    instances = [bench.instance(f"u{number}") for number, bench in enumerate(benches)]
    ports = ["  input  logic clk", "  input  logic rst_n"]
    for bench in benches:
        for direction, widths in (("input ", bench.inputs), ("output", bench.outputs)):
            ports += [f"  {direction} logic [{bits - 1}:0] {bench.name}_{port}" for port, bits in widths.items()]
    return "\n".join([f"module {name} (", ",\n".join(ports), ");", *instances, "endmodule", ""])
