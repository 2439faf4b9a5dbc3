# SPDX-License-Identifier: Apache-2.0
"""Pieces of SystemVerilog: literals, packed constants, instances, memory contents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hwgen.forms import Certified
from hwgen.quantizer import IntArray

LINE = 98


@dataclass(frozen=True)
class Instance:
    """An instance of a unit as it is printed: parameters and connections, one a line."""

    module: str
    name: str
    parameters: tuple[tuple[str, object], ...]
    ports: tuple[tuple[str, str], ...]
    # What it computes, where it is a step function.
    certified: Certified | None = None
    # What it stores, where it is a memory of constants.
    contents: IntArray | None = None


@dataclass(frozen=True)
class Constant:
    """A packed array of signed constants: a localparam, entry 0 last as the language has it."""

    name: str
    bits: int
    rows: tuple[str, ...]
    count: int


def index_bits(count: int) -> int:
    """Bits that count 0..count - 1, at least one."""
    return max(1, (count - 1).bit_length())


def literal(value: int, bits: int) -> str:
    """A signed literal of SystemVerilog."""
    if value == -(1 << (bits - 1)) or bits == 1:
        # Its magnitude does not fit.
        return f"{bits}'sh{value & ((1 << bits) - 1):x}"
    return f"-{bits}'sd{-value}" if value < 0 else f"{bits}'sd{value}"


def constant(name: str, values: IntArray, bits: int) -> Constant:
    """Entries as hexadecimal two's complement, the last one first."""
    digits = -(-bits // 4)
    words = [f"{bits}'h{int(value) & ((1 << bits) - 1):0{digits}x}" for value in values[::-1]]
    per_row = max(1, (LINE - 4) // (len(words[0]) + 2))
    rows = [", ".join(words[i : i + per_row]) for i in range(0, len(words), per_row)]
    return Constant(name, bits, tuple(",\n".join(rows).split("\n")), len(words))


def hex_file(what: str, words: Iterable[int], bits: int) -> str:
    """A file for $readmemh: a comment, then a word a line."""
    digits = -(-bits // 4)
    return f"// {what}\n" + "".join(f"{word:0{digits}x}\n" for word in words)
