# SPDX-License-Identifier: Apache-2.0
"""Register stages of the RTL's units by clock, and the cycles that they make of step functions and products."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm
from hwgen.schedule import FoldedProduct


@dataclass(frozen=True)
class Registers:
    """Register stages of each unit: few for a slow clock, more for a fast one.

    ``adders`` and ``levels`` count what lies between two registers: levels of an adder tree (the accumulator is one of
    them), and levels of a threshold search.  ``multiply`` is (input, product, sum, output), ``shift`` is (sum, output)
    of a shift form that rounds; one that only adds and clamps has ``clamp`` at its output.
    """

    weight: int = 2
    sums: int = 2
    operand: int = 1
    product: int = 1
    adders: int = 2
    multiply: tuple[int, int, int, int] = (0, 1, 0, 1)
    shift: tuple[int, int] = (0, 1)
    clamp: int = 1
    table: int = 1
    levels: int = 2
    elementwise: int = 1
    # Levels of adders of the hidden product, where they are others.
    hidden_adders: int | None = None

    @property
    def in_loop(self) -> Registers:
        """Those of the hidden product."""
        return self if self.hidden_adders is None else replace(self, adders=self.hidden_adders)

    def of_one_tile(self) -> Registers:
        """Those of a recurrence whose product takes one tile: only what its clock needs is in the loop.

        Nothing chooses among columns of h, so their registers are the operands of the product; and three levels of its
        adders take less time than a multiplication of a step function does.  A fast clock needs all registers.
        """
        if self.adders == 1:
            return self
        return replace(self, operand=0, hidden_adders=max(self.adders, 3))


SLOW = Registers(weight=1, sums=1, adders=4, clamp=0, levels=4)
MEDIUM = Registers()
FAST = Registers(adders=1, multiply=(0, 1, 1, 1), shift=(1, 1), levels=1)


def registers_for(clock_mhz: float) -> Registers:
    """The register stages for a clock."""
    if clock_mhz <= 50:
        return SLOW
    return MEDIUM if clock_mhz <= 125 else FAST


def search_stages(form: SearchForm, registers: Registers) -> int:
    """Registers among the levels of a search, the one behind the last level included."""
    return -(-form.levels // registers.levels)


def latency(certified: Certified, registers: Registers) -> int:
    """Cycles from the argument of a step function to its code."""
    form = certified.form
    if isinstance(form, MultiplyForm):
        return sum(registers.multiply)
    if isinstance(form, ShiftForm):
        return sum(registers.shift) if form.shift > 0 else registers.clamp
    if isinstance(form, SearchForm):
        return search_stages(form, registers) if form.levels else 0
    return registers.table


def output_register(certified: Certified, registers: Registers) -> int:
    """Whether a register stands behind the step function, for which the register of the state can take its place."""
    form = certified.form
    if isinstance(form, MultiplyForm):
        return registers.multiply[3]
    if isinstance(form, ShiftForm):
        return registers.shift[1] if form.shift > 0 else registers.clamp
    if isinstance(form, SearchForm):
        return 1 if form.levels else 0
    return min(registers.table, 1)


def tree_stages(simd: int, registers: Registers) -> int:
    """Registers within the adder tree of a row; the accumulator behind it is the last of its adders."""
    return -(-(math.ceil(math.log2(simd)) + 1) // registers.adders) - 1


def product_stages(product: FoldedProduct, registers: Registers) -> tuple[int, int]:
    """Registers behind the multipliers of a product, and among its adders in front of the last one."""
    if product.graph is not None:
        return 0, -(-(product.graph.depth + 1) // registers.adders) - 1
    return registers.product, tree_stages(product.simd, registers)


def operand_stages(product: FoldedProduct, registers: Registers) -> int:
    """Cycles until the operands of a product that runs ahead stand at it: weights are read, constants are there."""
    return registers.weight if product.graph is None else 1


def product_latency(product: FoldedProduct, registers: Registers) -> int:
    """Cycles from a tile of a product that runs ahead of others to its sums."""
    return operand_stages(product, registers) + sum(product_stages(product, registers)) + 1


def dense_vectors(product: FoldedProduct, step: Certified | None, registers: Registers) -> int:
    """Vectors that a dense layer buffers: as many as are on their way at full rate, at least two."""
    behind = product_latency(product, registers) + (0 if step is None else latency(step, registers))
    return max(2, -(-(product.cycles + behind + 2) // product.cycles))
