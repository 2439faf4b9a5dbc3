# SPDX-License-Identifier: Apache-2.0
"""What LUTs and flip-flops are used for, and DSPs and block RAM, as the cost model counts them in a unit."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwgen.arrays import Value, choose, counter_bits
from hwgen.fabric import FABRICS
from hwgen.mapping import Memory, varying_columns
from hwgen.quantizer import IntArray

# LUTs and flip-flops of each structure as its logic suggests; the fit finds what Yosys makes of it.
EXPECTED: dict[str, dict[str, float]] = {
    "lut": {
        "accumulator": 1.0,  # bits of accumulators, with the choice of where they start
        "adder": 1.0,  # bits of adder trees, without those that DSPs add
        "chain": 1.1,  # bits of adders that are kept apart, and of products by digits: LSTM-PYNQ alone tells
        "clamp": 1.0,  # bits of codes that are limited, and a third of the bits above
        "compare": 1.0,  # bits of comparisons of threshold searches
        "constant adder": 1.0,  # bits of carry chains of products by shifts and additions
        "constants": 1.0,  # LUTs of the constants of channels
        "constant multiplier": 1.0,  # bits of adders of a product with a constant
        "counter": 1.0,  # bits of counters
        "design": 0.0,  # one for each design: what is counted nowhere else
        "digit": 1.0,  # bits of products with a number of two bits
        "glue": 1.0,  # LUTs of handshakes between nodes
        "multiplier": 1.7,  # bits of adders of a product in LUTs
        "limit": 0.3,  # bits of comparisons with limits of codes that are not those of their bits
        "mux": 1.0,  # LUTs that choose a word of a beat, or a stream
        "ram": 1.0,  # LUTs of memories that are written: exact
        "rom": 1.0,  # LUTs of different columns of read-only memories of up to 64 words
        "deep rom": 1.3,  # and of more, which multiplexers join, or more LUTs
        "rounding": 0.4,  # bits of adders of shift forms
        "select": 1.0,  # bits of choices of two
        "shift register": 1.0,  # LUTs of delays
        "sign": 1.0,  # bits of products with +1 or -1
        "state select": 1.0,  # LUTs that choose the codes of h for the tile
        "state write": 1.0,  # groups of units, for each copy of the state
        "step adder": 1.0,  # bits of other adders of step functions and products
        "table": 1.0,  # LUTs of tables of step functions of up to 64 words
        "deep table": 1.3,  # and of more
        "threshold": 1.0,  # LUTs of threshold memories beyond 16 words
    },
    "ff": {
        "absorbed": 0.0,  # bits of registers that DSPs have
        "accumulator": 1.0,
        "adder": 1.0,
        "code": 1.0,  # bits behind step functions
        "constant adder": 1.0,
        "constants": 1.0,
        "counter": 1.0,
        "delay": 1.0,  # bits of delays too short for shift registers
        "design": 0.0,
        "flag": 1.0,
        "operand": 1.0,
        "product": 1.0,  # bits behind products in LUTs
        "read": 1.0,  # bits of words that were read
        "state": 1.0,  # bits of h, twice
        "step": 1.0,  # bits within step functions
        "word": 1.0,  # bits kept between nodes
    },
}
# The same by flow.  A LUT of four inputs adds two bits and nothing else: what chooses or masks them is another one.
EXPECTED_OF = {
    "xc7": EXPECTED,
    "ecp5": {
        "lut": EXPECTED["lut"]
        | {
            "accumulator": 2.0,
            "carry save": 1.0,  # bits of adders whose sums are added up at once
            "collision": 1.0,  # bits of block RAM that is written and read alike, and of its address
            "compare": 1.5,
            "constant adder": 1.25,  # of three products, in designs that the fit does not see
            "counter": 2.0,
            "multiplier": 2.4,
            "partial product": 0.7,  # bits of sums of what several multipliers give of one product
            "ram choice": 1.0,  # bits of choices between memories of 16 words that are one
            "rom": 1.3,
            "table": 1.3,
        },
        "ff": EXPECTED["ff"] | {"absorbed": 1.0, "collision": 1.0},
    },
}

# Words that a LUT of four inputs holds.
_SMALL = 16


@dataclass(frozen=True)
class Unit:
    """A unit of a design: DSPs and halves of block RAM, and counts of what its LUTs and flip-flops are made of.

    All of them are numbers, or arrays that have an entry for each of several designs.
    """

    name: str
    dsp: Value
    halves: Value
    lut: Mapping[str, Value]
    ff: Mapping[str, Value]
    # Whose prices these have.
    flow: str = "xc7"


class Count:
    """Collects the structures of one unit."""

    def __init__(self, name: str, flow: str) -> None:
        self.name, self.flow = name, flow
        self.fabric = FABRICS[flow]
        self.dsp: Value = 0
        self.halves: Value = 0
        self.products: set[object] = set()
        self.lut: defaultdict[str, Value] = defaultdict(float)
        self.ff: defaultdict[str, Value] = defaultdict(float)

    def unit(self) -> Unit:
        """What was counted."""
        return Unit(self.name, self.dsp, self.halves, dict(self.lut), dict(self.ff), self.flow)

    def delay(self, bits: Value, stages: Value) -> None:
        """hwgen_delay: registers, or shift registers of LUTs."""
        least = self.fabric.shift_register
        if not least:
            self.ff["delay"] += bits * stages
            return
        shifted = stages >= least
        self.lut["shift register"] += choose(shifted, bits * -(-stages // 32), 0)
        self.ff["delay"] += choose(shifted, 0, bits * stages)

    def flag(self, stages: Value) -> None:
        """hwgen_flag_delay: each stage is reset, which shift registers cannot be."""
        self.ff["flag"] += stages

    def counter(self, *counts: Value) -> None:
        """Counters from 0 to below each count."""
        bits = sum(counter_bits(count) for count in counts)
        self.lut["counter"] += bits
        self.ff["counter"] += bits

    def seen(self, product: object) -> bool:
        """Whether the same product of a signal and a constant was counted before: synthesis merges them."""
        known = product in self.products
        self.products.add(product)
        return known

    def multiplier(self, left: int, right: int, times: int = 1) -> None:
        """hwgen_multiply in LUTs: by two bits in one adder, by more in one for each bit but the highest."""
        self.lut["digit" if right == 2 else "multiplier"] += times * (left + 1) * (right - 1)

    def multiplied(self, left: int, right: int, stages: int) -> None:
        """What stands behind a product of DSPs that have neither registers nor adders of their own."""
        if not self.fabric.absorbs:
            self.ff["product"] += (left + right) * stages
            self.lut["partial product"] += (left + right) * (dsp_slices(left, right, self.flow) - 1)

    def ram(self, memory: Memory, banks: Value = 1) -> None:
        """Memories that are written, with a registered read."""
        words, bits, block = memory.words, memory.bits, memory.block
        self.halves += choose(block, banks * self.fabric.block_ram_halves(words, bits, True), 0)
        self.lut_ram(words, choose(block | (words <= 1), 0, bits), banks)
        self.ff["read"] += choose(block, 0, banks * bits * choose(words > 1, 1, 2))
        if not self.fabric.reads_first:
            # The word and its address are kept for a cycle, and what was read in that cycle is chosen.
            address = counter_bits(words)
            self.ff["collision"] += choose(block, banks * (2 * bits + address + 2), 0)
            self.lut["collision"] += choose(block, banks * (bits + address), 0)

    def lut_ram(self, words: Value, bits: Value, times: Value = 1) -> None:
        """Memories of LUTs that are written."""
        self.lut["ram"] += times * self.fabric.ram_luts(words, bits)
        if self.fabric.small_luts:
            self.lut["ram choice"] += choose(bits > 0, times * self.fabric.ram_choices(words, bits), 0)

    def queue(self, words: Value, bits: Value) -> None:
        """Memories that are read at once, and have no say about their place."""
        block = self.fabric.queue_in_block(words, bits)
        self.lut_ram(words, choose(block, 0, bits))
        self.halves += choose(block, self.fabric.block_ram_halves(words, bits, True), 0)
        if not self.fabric.reads_first:
            self.ff["collision"] += choose(block, bits + 1, 0)
            self.lut["collision"] += choose(block, bits + counter_bits(words), 0)

    def rom(
        self, memory: Memory, words: IntArray, bits: int, stages: int, absorbed: bool = False, what: str = "rom"
    ) -> None:
        """hwgen_rom with contents [words, lanes] of ``bits`` a lane; ``absorbed`` registers stand in DSPs."""
        words = np.ascontiguousarray(words, np.int64)
        varying, different, luts = _columns(words.tobytes(), words.shape, bits, self.fabric.lut_words)
        if memory.block:
            self.halves += self.fabric.block_ram_halves(memory.words, varying, False)
        else:
            self.lut[what if memory.words <= 64 else f"deep {what}"] += luts
        kept = varying if memory.block else different
        self.ff["absorbed" if absorbed else "read"] += (stages - memory.block) * kept


# The lanes of a design have the same tables many times over.
@functools.lru_cache(maxsize=256)
def _columns(data: bytes, shape: tuple[int, ...], bits: int, lut_words: int) -> tuple[int, int, int]:
    """Of a memory: its bits that are not the same in all words, those that differ from each other, and their LUTs."""
    columns = varying_columns(np.frombuffer(data, np.int64).reshape(shape), bits)
    return columns.shape[1], distinct_columns(columns).shape[1], rom_luts(columns, lut_words)


def dsp_slices(left: int, right: int, flow: str = "xc7") -> int:
    """DSPs of a product of signed numbers of so many bits, once it is given to DSPs."""
    return FABRICS[flow].dsp_slices(left, right)


def distinct_columns(columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Each of the columns of a memory once: those that are equal are stored once."""
    packed = np.packbits(columns, axis=0)
    first = {column.tobytes(): place for place, column in reversed(list(enumerate(packed.T)))}
    return columns[:, sorted(first.values())]


def rom_luts(columns: NDArray[np.bool_], lut_words: int = 64) -> int:
    """LUTs of a read-only memory: one for each ``lut_words`` words of a column, unless they are all the same.

    An inverted column is the same one, and that of two words is the address.
    """
    if len(columns) <= 2:
        return 0
    if lut_words == _SMALL:
        return _functions(columns)
    columns = distinct_columns(columns ^ columns[0])
    blocks = [columns[i : i + lut_words] for i in range(0, len(columns), lut_words)]
    return sum(int((block != block[0]).any(axis=0).sum()) for block in blocks)


def _functions(columns: NDArray[np.bool_]) -> int:
    """Different functions of four bits of address that columns are made of: a LUT of four inputs for each."""
    words, bits = columns.shape
    filled = np.zeros((-(-words // _SMALL) * _SMALL, bits), bool)
    filled[:words] = columns
    blocks = filled.reshape(len(filled) // _SMALL, _SMALL, bits)
    blocks = blocks ^ blocks[:, :1]
    found = np.packbits(blocks.transpose(0, 2, 1).reshape(len(blocks) * bits, _SMALL), axis=1)
    return len({function.tobytes() for function in found} - {bytes(_SMALL // 8)})
