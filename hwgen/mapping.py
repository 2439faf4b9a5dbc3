# SPDX-License-Identifier: Apache-2.0
"""Which multiplications become DSPs and which memories block RAM: decided here and said in the RTL, not left to a tool.

The widths that these decisions rest on are here as well: backends print them, the cost model counts with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwgen.arrays import Value, choose, common_divisor
from hwgen.integer import IntegerCell, Interval
from hwgen.integer_cells import IntegerRnn
from hwgen.quantizer import IntArray, IntegerType
from hwgen.rtl_timing import Timeline
from hwgen.schedule import FoldedProduct, Port, Schedule, signed
from hwgen.storage import AUTO, BLOCK, CONSTANT, MOST_CONSTANTS

# A multiplication takes a DSP if its narrower operand has at least so many bits, and its product so many.
DSP_OPERAND_BITS = 4
DSP_PRODUCT_BITS = 9
# A multiplier of more bits is taken in two limbs, the lower one of so many bits and a sign.
LIMB_BITS = 17
# So is a weight of more bits than this: the hwgen_multiply of the RTL has the same number.
DSP_WEIGHT_BITS = 25
# Weights of one PE beyond so many bits go to block RAM.
BLOCK_RAM_BITS = 1024
# Any other memory does where it would take more than so many LUTs for each 18 kbit of block RAM.
BLOCK_RAM_LUTS = 150
# Words times bits of block RAM in halves of 18 kbit: (words, bits, halves) of each shape.
_SHAPES = tuple(
    (512 << step, bits, halves)
    for halves, widths in ((1, (36, 18, 9, 4, 2, 1)), (2, (72, 36, 18, 9, 4, 2, 1)))
    for step, bits in enumerate(widths)
)
# With two ports that read by themselves the widest shapes are those of half as many bits: they use both for a word.
_TWO_PORTS = tuple((words, bits, halves) for words, bits, halves in _SHAPES if words > 512)
# What synthesis counts a half and a whole block as: two halves are a little dearer than one whole.
_PRICES = {1: 129, 2: 257}


def code_bits(codes: IntegerType) -> int:
    """Bits of codes as signed numbers."""
    return signed(Interval(codes.storage.lo, codes.storage.hi)).bits


def weight_bits(product: FoldedProduct) -> int:
    """Bits of a weight as it is stored: a signed number, or the sign of a bipolar one."""
    return 1 if product.weight.bipolar else max(2, signed(Interval(product.weight.lo, product.weight.hi)).bits)


def sum_bits(design: Schedule) -> int:
    """Bits of a projected sum."""
    return signed(design.input_product.sums).bits


def total_bits(design: Schedule) -> int:
    """Bits of an accumulator of the hidden product, which starts from a projected sum."""
    return max(signed(design.hidden_product.sums).bits, sum_bits(design))


def in_dsp(left: int, right: int, used: int) -> bool:
    """Whether a multiplication of signed numbers of so many bits is worth a DSP, of its product ``used`` bits."""
    return min(left, right) >= DSP_OPERAND_BITS and min(left + right, used) >= DSP_PRODUCT_BITS


def odd_bits(constant: int) -> int:
    """Bits of a constant as a signed number without the zeros at its end; 0 if there is nothing to multiply."""
    odd = constant >> max((constant & -constant).bit_length() - 1, 0)
    return 0 if odd in (-1, 0, 1) else signed(Interval(min(odd, 0), max(odd, 0))).bits


def limbs(multiplier: int, bits: int) -> list[int]:
    """A constant multiplier of so many bits as the hardware takes it: whole, or in two limbs."""
    if bits <= LIMB_BITS + 1:
        return [multiplier]
    return [multiplier & ((1 << LIMB_BITS) - 1), multiplier >> LIMB_BITS]


def product_in_dsp(product: FoldedProduct, codes: int, sums: int) -> bool:
    """Whether a matrix-vector product of codes and sums of so many bits multiplies in DSPs, one by one.

    Where rows share a DSP this is said of one that is left alone.
    """
    if product.graph is not None:
        return False
    return product.packing != 0 and not product.weight.bipolar and in_dsp(codes, weight_bits(product), sums)


# What follows takes numbers or arrays of them, of any shapes that fit each other.


def block_ram_halves(words: Value, bits: Value, written: bool) -> Value:
    """Halves of block RAM that a memory takes: blocks of one shape, with banks of words side by side in them.

    What is written has enables for each 9 bits, so that banks share blocks by such bytes only.
    """
    return _cheapest(_SHAPES, words, bits, written)


def shared_rom_halves(words: Value, bits: Value) -> Value:
    """Halves of block RAM that a read-only memory with two ports takes."""
    return _cheapest(_TWO_PORTS, words, bits, False)


def _cheapest(shapes: tuple[tuple[int, int, int], ...], words: Value, bits: Value, written: bool) -> Value:
    best, found = math.inf, 0
    for deep, wide, halves in shapes:
        banks, byte = -(-words // deep), min(9, wide) if written else 1
        count = -(-banks * -(-bits // byte) * byte // wide)
        # Choosing among banks costs half a LUT a bit.
        price, taken = count * _PRICES[halves] + (banks - 1) * bits / 2, count * halves
        better = (price < best) | ((price == best) & (taken < found))
        best, found = choose(better, price, best), choose(better, taken, found)
    return choose(bits > 0, found, 0)


def rom_luts(words: Value, bits: Value) -> Value:
    """LUTs of a read-only memory: 64 words a LUT."""
    return bits * -(-words // 64)


def ram_luts(words: Value, bits: Value) -> Value:
    """LUTs of a memory that is written: four hold 3 bits of 64 words, or 6 bits of 32."""
    return choose(words <= 32, 4 * -(-bits // 6), 4 * -(-bits // 3) * -(-words // 64))


def mux_luts(words: Value) -> Value:
    """LUTs that choose a bit of so many words: four a LUT, which multiplexers of the slices join."""
    return choose(words > 1, -(-words // 4), 0)


@dataclass(frozen=True)
class Memory:
    """A memory with a registered read, and where it is: ``block`` RAM, or LUTs."""

    words: Value
    bits: Value
    written: bool
    block: Value


def memory(words: Value, bits: Value, written: bool) -> Memory:
    """A memory where it is cheaper."""
    luts = ram_luts(words, bits) if written else rom_luts(words, bits)
    return Memory(words, bits, written, luts > BLOCK_RAM_LUTS * block_ram_halves(words, bits, written))


def styled(found: Memory, style: str) -> Memory:
    """A memory where a user wants it."""
    return found if style == AUTO else replace(found, block=style == BLOCK)


def refusal(found: Memory, style: str) -> str | None:
    """Why a memory cannot be of a style; None if it can."""
    if style == BLOCK and found.words < 2:
        return "has one word, and no address that a block RAM could be read with"
    if style == CONSTANT and found.written:
        return "is written as the design runs"
    if style == CONSTANT and found.words > MOST_CONSTANTS:
        return f"has {found.words} words, more than the {MOST_CONSTANTS} that one LUT a bit can choose among"
    return None


def weight_memory(product: FoldedProduct) -> Memory:
    """The weights of a product: all PE side by side."""
    bits = product.simd * weight_bits(product)
    block = product.tiles > 1 and product.tiles * bits > BLOCK_RAM_BITS
    return styled(Memory(product.tiles, product.pe * bits, False, block), product.style)


def stored_weights(product: FoldedProduct) -> IntArray:
    """The weights of a product as they are stored: a row for each tile, SIMD lanes of a PE side by side."""
    stored = (product.weights > 0).astype(np.int64) if product.weight.bipolar else product.weights
    return stored.transpose(1, 0, 2).reshape(product.tiles, -1)


def varying_columns(words: IntArray, bits: int) -> NDArray[np.bool_]:
    """The bits of a memory [words, lanes] that are not the same in all words, [words, bits]: others are not stored."""
    found = (words[:, :, np.newaxis] >> np.arange(bits) & 1).astype(bool).reshape(len(words), -1)
    return found[:, (found != found[0]).any(axis=0)]


def sums_memory(rows: int, bits: int, input_pe: Value, hidden_pe: Value, steps: Value) -> Memory:
    """A bank of the buffer of projected sums of so many time steps: both of its sides touch a bank once a cycle."""
    common = common_divisor(input_pe, hidden_pe)
    banks = (input_pe // common) * (hidden_pe // common)
    return memory(steps * rows // (banks * common), common * bits, written=True)


def reverse_memory(port: Port, length: int) -> Memory:
    """Both halves of the reversal of a stream."""
    return stored_halves(port.bits, port.beats, length)


def stored_halves(bits: Value, beats: Value, length: int) -> Memory:
    """Two sequences of a stream: one comes in while the other leaves."""
    return memory(2 * length * beats, bits, True)


def meeting_memory(bits: Value, beats: Value, length: int, style: str) -> Memory:
    """The sums of a sequence, until those of both directions are there."""
    return styled(memory(length * beats, bits, True), style)


def buffer_memory(depth: Value, bits: Value, style: str) -> Memory:
    """A buffer between nodes: so many beats of so many bits, and of each whether it is the last of its sequence."""
    return styled(memory(depth, bits + 1, written=True), style)


def memories(times: Timeline) -> dict[str, Memory]:
    """The memories of the top level that have a choice, by the name of the parameter that says it."""
    design = times.design
    inputs, cell = design.input_product, design.cell
    found = {
        "input_weights": weight_memory(inputs),
        "hidden_weights": weight_memory(design.hidden_product),
        "bias": memory(inputs.sets * inputs.folds, inputs.pe * sum_bits(design), False),
        "sums": sums_memory(inputs.rows, sum_bits(design), inputs.pe, design.hidden_product.pe, times.sums_steps),
    }
    # Products by shifts and additions store nothing.
    if inputs.graph is not None:
        del found["input_weights"], found["bias"]
    if design.hidden_product.graph is not None:
        del found["hidden_weights"]
    if not isinstance(cell, IntegerRnn):
        state = cell.cell if isinstance(cell, IntegerCell) else cell.hidden
        words = times.groups
        if design.contexts > 1:
            # A context is a power of two of groups.
            words = 1 << design.context_bits + (words - 1).bit_length()
        found["cell_state"] = memory(words, design.units * code_bits(state), True)
    turned = [port for port in (*design.inputs, *design.outputs) if port.name in design.turned]
    found |= {port.name: reverse_memory(port, design.options.max_length) for port in turned}
    # Those of weights are where their products want them.
    return {name: styled(memory, design.options.style(name)) for name, memory in found.items()}
