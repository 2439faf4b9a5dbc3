# SPDX-License-Identifier: Apache-2.0
"""What families of FPGAs are made of, as Yosys maps to them: multipliers, block RAM, and how much a LUT holds.

What becomes a DSP or block RAM is the same for all of them: ``mapping`` decides, and the RTL says it.  Here stands how
many of its own a family takes for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwgen import mapping
from hwgen.arrays import Value, choose

# Products of fewer bits stay in LUTs, whatever the RTL says.
_LEAST_OPERAND = 2
# What Yosys counts a block of 18 kbit as on ECP5, in the unit in which four bits of 16 words of LUTs are 4.
_BLOCK_PRICE = 128


@dataclass(frozen=True)
class Fabric:
    """7 series and UltraScale(+): ``operands`` are what a multiplier takes, signed.

    The numbers that its laws take and give may be arrays, but for those of multipliers.
    """

    operands: tuple[int, int] = (25, 18)
    # Whether DSPs have registers and adders that take in those around a product.
    absorbs: bool = True
    # Delays of so many stages become shift registers in LUTs, of 32 stages each; none do with 0.
    shift_register: int = 3
    # Words of a read-only memory that a LUT holds.
    lut_words: int = 64
    # Whether a block RAM gives the old word where it is written in the cycle of the read.
    reads_first: bool = True
    # Whether LUTs have four inputs: choosing between memories of 16 words that are one counts, and what each holds.
    small_luts: bool = False

    def dsp_slices(self, left: int, right: int) -> int:
        """DSPs of a product of signed numbers of so many bits, once it is given to DSPs."""
        wide, narrow = max(left, right), min(left, right)
        if narrow < _LEAST_OPERAND or wide + narrow < mapping.DSP_PRODUCT_BITS:
            return 0
        return math.prod(self._parts(bits, limit) for bits, limit in zip((wide, narrow), self.operands, strict=True))

    def _parts(self, bits: int, limit: int) -> int:
        """Operands that a wider one is taken in; those of the lower ones have a sign beside them."""
        return 1 + max(0, -(-(bits - limit) // mapping.LIMB_BITS))

    def block_ram_halves(self, words: Value, bits: Value, written: bool) -> Value:
        """Blocks of 18 kbit that a memory takes."""
        return mapping.block_ram_halves(words, bits, written)

    def shared_rom_halves(self, words: Value, bits: Value) -> Value:
        """Blocks of 18 kbit that a read-only memory with two ports takes."""
        return mapping.shared_rom_halves(words, bits)

    def rom_luts(self, words: Value, bits: Value) -> Value:
        """LUTs of a read-only memory."""
        return bits * -(-words // self.lut_words)

    def ram_luts(self, words: Value, bits: Value) -> Value:
        """LUTs of a memory that is written."""
        return mapping.ram_luts(words, bits)

    def ram_choices(self, words: Value, bits: Value) -> Value:
        """Choices of two between memories of LUTs that are one, where there are such."""
        return 0

    def queue_in_block(self, words: Value, bits: Value) -> Value:
        """Whether a memory that is read at once, whose place the RTL does not say, becomes block RAM all the same."""
        return False

    def mux_luts(self, words: Value) -> Value:
        """LUTs that choose a bit of so many words."""
        return mapping.mux_luts(words)

    def select_luts(self, words: int) -> float:
        """LUTs that choose one bit of so many: as Yosys builds them, more than a tree of six-input LUTs needs."""
        return 1 if words <= 4 else 0.625 * words - 1.5


@dataclass(frozen=True)
class Ecp5(Fabric):
    """ECP5: LUTs of four inputs, which multiplexers of the slices join up to seven, and plain multipliers."""

    operands: tuple[int, int] = (18, 18)
    absorbs: bool = False
    shift_register: int = 0
    lut_words: int = 16
    reads_first: bool = False
    small_luts: bool = True

    def _parts(self, bits: int, limit: int) -> int:
        # Lower operands have no sign beside them; a single bit is left to LUTs.
        whole, rest = divmod(bits, limit)
        return whole + (rest >= _LEAST_OPERAND)

    def block_ram_halves(self, words: Value, bits: Value, written: bool) -> Value:
        """Blocks of 18 kbit that a memory takes."""
        return mapping.plain_halves(words, bits, written)

    def shared_rom_halves(self, words: Value, bits: Value) -> Value:
        """Those of a read-only memory with two ports."""
        return mapping.plain_halves(words, bits, False, ports=2)

    def ram_luts(self, words: Value, bits: Value) -> Value:
        """LUTs of a memory that is written: four bits of 16 words take four, and two more to write them."""
        return 6 * self._memories(words, bits)

    def _memories(self, words: Value, bits: Value) -> Value:
        return -(-bits // 4) * -(-words // self.lut_words)

    def ram_choices(self, words: Value, bits: Value) -> Value:
        """Each further bank of words is chosen from, and written by itself."""
        banks = -(-words // self.lut_words)
        return (banks - 1) * (bits + 1)

    def queue_in_block(self, words: Value, bits: Value) -> Value:
        """Whether Yosys counts less for block RAM than for LUTs."""
        # The register of the address becomes that of the block.
        luts = 4 * self._memories(words, bits) + self.ram_choices(words, bits) / 2
        return luts > _BLOCK_PRICE * self.block_ram_halves(words, bits, True)

    def mux_luts(self, words: Value) -> Value:
        """LUTs that choose a bit of so many words: two a LUT."""
        return choose(words > 1, -(-words // 2), 0)

    def select_luts(self, words: int) -> float:
        """Those of one bit of so many."""
        # Beyond eight words, which the multiplexers of the slices join, LUTs choose again.
        return words / 2 + (words / 16 if words > 8 else 0)


FABRICS: dict[str, Fabric] = {"xc7": Fabric(), "xcup": Fabric((27, 18)), "ecp5": Ecp5()}
