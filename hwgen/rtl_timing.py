# SPDX-License-Identifier: Apache-2.0
"""When everything happens in the RTL of a cell: pipeline registers, and the depth of the recurrent loop.

The loop is scheduled statically: from the tile of a time step to its new state every value has a fixed cycle.  Times of
the elementwise part count from the cycle in which the accumulators hold the totals of the last gates of a unit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm
from hwgen.integer_cells import IntegerRnn
from hwgen.schedule import Schedule


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


def product_latency(simd: int, registers: Registers) -> int:
    """Cycles from a tile of a product that runs ahead of others to its sums."""
    return registers.weight + registers.product + tree_stages(simd, registers) + 1


def dense_vectors(cycles: int, simd: int, step: Certified | None, registers: Registers) -> int:
    """Vectors that a dense layer of so many cycles buffers: as many as are on their way at full rate, at least two."""
    behind = product_latency(simd, registers) + (0 if step is None else latency(step, registers))
    return max(2, -(-(cycles + behind + 2) // cycles))


@dataclass(frozen=True)
class GateTime:
    """One gate of a unit: which part of its rows, which lane of the product, and when its code is there (inclusive)."""

    part: int
    lane: int
    latency: int
    begin: int
    end: int


@dataclass(frozen=True)
class Timeline(ABC):
    """The static schedule of a design in hardware; cells differ in the elementwise part."""

    design: Schedule
    registers: Registers

    # The hidden product, counted from the cycle in which the sequencer shows a tile.

    @property
    def column_tiles(self) -> int:
        """Tiles of one row."""
        return self.design.hidden_product.column_tiles

    @cached_property
    def parts(self) -> int:
        """Rows of PE gates that make one unit, where PE is less than its gates."""
        return max(1, len(self.design.cell.rows) // self.design.hidden_product.pe)

    @property
    def groups(self) -> int:
        """Groups of units that are finished side by side."""
        return self.design.cell.hidden_size // self.design.units

    @property
    def tiles(self) -> int:
        """Tiles of a time step."""
        return self.design.hidden_product.cycles

    @property
    def operand(self) -> int:
        """Weights and codes stand at the multipliers."""
        return self.registers.weight

    @property
    def read(self) -> int:
        """The codes of h are selected."""
        return self.operand - self.registers.operand

    @cached_property
    def hidden_tree(self) -> int:
        """Registers in the adder trees of the hidden product."""
        return tree_stages(self.design.hidden_product.simd, self.registers)

    @property
    def total(self) -> int:
        """The accumulators hold the total of a row whose last tile was shown at 0."""
        return self.operand + self.registers.product + self.hidden_tree + 1

    @property
    def sums_read(self) -> int:
        """The projected sums of a row are read, to reach its accumulators with its first products."""
        return self.total - 1 - self.registers.sums

    # The elementwise part, counted from the totals of the last gates of a unit.

    @cached_property
    def gates(self) -> dict[str, GateTime]:
        """Gate codes; those of earlier parts are held until the same part of the next group."""
        cell, pe = self.design.cell, self.design.hidden_product.pe
        times = {}
        for index, gate in enumerate(cell.rows):
            part, lane = (index // pe, index % pe) if self.parts > 1 else (0, index)
            cycles = sum(latency(certified, self.registers) for certified in gate.steps)
            earlier = (self.parts - 1 - part) * self.column_tiles
            held = earlier > 0
            begin = cycles + held - earlier
            end = begin + self.parts * self.column_tiles - 1 if held else begin
            times[gate.name] = GateTime(part, lane, cycles, begin, end)
        return times

    @property
    @abstractmethod
    def hidden(self) -> int:
        """The new hidden state is there; its register in the state memory is that of the last step function."""

    @property
    @abstractmethod
    def places(self) -> dict[str, int]:
        """Where the group of the unit or the flags of its step are needed, by what needs them."""

    @property
    @abstractmethod
    def _stages(self) -> dict[str, int]:
        """What the elementwise part is made of; the entries add up to ``hidden``."""

    @property
    def outputs(self) -> dict[str, int]:
        """When a code is there for each output port, and written."""
        return {"y": self.hidden, "h_n": self.hidden}

    @property
    def uses(self) -> dict[str, int]:
        """From the start of a step to the last use of the initial state of each input port."""
        return {"h0": self.tiles + self.read}

    # The loop.

    @property
    def loop(self) -> int:
        """Cycles from the one that reads h for the last tile of a unit to the first that can read the unit's new h."""
        return self.total - self.read + self.hidden + 1

    @cached_property
    def period(self) -> int:
        """Cycles from one time step to the next, where neither input nor output hold it up.

        A step begins so early that each column of h is there in the cycle in which its first row reads it.
        """
        simd, units = self.design.hidden_product.simd, self.design.units
        per_group = self.parts * self.column_tiles
        needed = [
            (((column + 1) * simd - 1) // units + 1) * per_group - 1 + self.loop - column
            for column in range(self.column_tiles)
        ]
        return max(self.tiles, *needed)

    @property
    def depth(self) -> int:
        """D: cycles of a time step beyond its tiles."""
        return self.period - self.tiles

    @property
    def breakdown(self) -> dict[str, int]:
        """What D is made of; the entries add up to it."""
        entries = {
            "read h": self.registers.operand,
            "products": self.registers.product,
            "adder tree": self.hidden_tree,
            "accumulator": 1,
        }
        entries |= self._stages
        entries["overlap with the next step"] = self.depth - sum(entries.values())
        return entries

    # Around the loop.

    @cached_property
    def input_tree(self) -> int:
        """Registers in the adder trees of the input product."""
        return tree_stages(self.design.input_product.simd, self.registers)

    @property
    def input_latency(self) -> int:
        """Cycles from an input tile to its sums."""
        return product_latency(self.design.input_product.simd, self.registers)

    @property
    def interval(self) -> int:
        """The least cycles between time steps: those of sequences of one step, which need no state of another."""
        return max(self.design.input_product.cycles, self.tiles)

    @cached_property
    def common(self) -> int:
        """Rows in each bank of the buffer of projected sums: both of its sides touch a bank once a cycle."""
        return math.gcd(self.design.input_product.pe, self.design.hidden_product.pe)

    @property
    def freed(self) -> int:
        """From the start of a step to the read of its last projected sums."""
        return 1 + self.tiles - self.column_tiles + self.sums_read

    @property
    def sums_steps(self) -> int:
        """Time steps that the buffer of projected sums holds: at least two, and what is on its way at full rate."""
        return max(2, -(-(self.design.input_product.cycles + self.input_latency + self.freed + 1) // self.interval))

    @property
    def output_vectors(self) -> int:
        """Vectors that an output buffers: as many as are on their way at full rate, at least two."""
        return max(2, -(-(self.written(self.groups - 1, self.hidden) + 2) // self.interval))

    def written(self, group: int, time: int) -> int:
        """From the start of a step to the cycle in which a code of ``group``, there at ``time``, is written."""
        return (group + 1) * self.parts * self.column_tiles + self.total + time

    def at(self, registers: Registers) -> Timeline:
        """The same design with other registers."""
        return replace(self, registers=registers)


class LstmTimeline(Timeline):
    """The elementwise part of an LSTM: gates, cell state, hidden state."""

    @property
    def _forget(self) -> GateTime:
        return self.gates["forget" if self.design.lstm.coupled_one is None else "input"]

    @property
    def kept(self) -> int:
        """Forget gate and cell state are multiplied; the state takes a cycle from its memory."""
        return max(1, self._forget.begin)

    @property
    def added(self) -> int:
        """Input gate and candidate are multiplied."""
        return max(self.gates["input"].begin, self.gates["cell"].begin, 0)

    @property
    def kept_code(self) -> int:
        """What remains of the cell state is there."""
        cell = self.design.lstm
        return self.kept + self.registers.elementwise + latency(cell.forget_product.requantize, self.registers)

    @property
    def added_code(self) -> int:
        """What is added to it is there."""
        cell = self.design.lstm
        return self.added + self.registers.elementwise + latency(cell.input_product.requantize, self.registers)

    @property
    def sum(self) -> int:
        """Both are added."""
        return max(self.kept_code, self.added_code)

    @property
    def cell(self) -> int:
        """The new cell state is there, and written in this cycle."""
        return self.sum + latency(self.design.lstm.cell_sum, self.registers)

    @property
    def tanh(self) -> int:
        """Its tanh is there."""
        return self.cell + latency(self.design.lstm.cell_tanh, self.registers)

    @property
    def output(self) -> int:
        """Output gate and tanh are multiplied."""
        return max(self.tanh, self.gates["output"].begin)

    @property
    def hidden(self) -> int:
        """The new hidden state is there; its register in the state memory is that of the last step function."""
        last = self.design.lstm.output_product.requantize
        absorbed = output_register(last, self.registers)
        return self.output + self.registers.elementwise + latency(last, self.registers) - absorbed

    @property
    def places(self) -> dict[str, int]:
        """The old cell state is read and used, both states are written."""
        return {"cell_read": self.kept - 1, "cell_use": self.kept, "cell": self.cell, "hidden": self.hidden}

    @property
    def outputs(self) -> dict[str, int]:
        """When a code is there for each output port, and written."""
        return super().outputs | {"c_n": self.cell}

    @property
    def uses(self) -> dict[str, int]:
        """From the start of a step to the last use of the initial state of each input port."""
        return super().uses | {"c0": self.tiles + self.total + self.kept}

    @property
    def _stages(self) -> dict[str, int]:
        first = self.kept if self.kept_code >= self.added_code else self.added
        return {
            "gates": first,
            "cell products": self.registers.elementwise,
            "requantize": self.sum - first - self.registers.elementwise,
            "cell sum": self.cell - self.sum,
            "tanh": self.output - self.cell,
            "output product": self.registers.elementwise,
            "output step": self.hidden - self.output - self.registers.elementwise,
        }


class RnnTimeline(Timeline):
    """The elementwise part of a plain RNN: its gate, whose code is the hidden state."""

    @property
    def hidden(self) -> int:
        """The new hidden state is there; its register in the state memory is that of the last step function."""
        (gate,) = self.design.cell.rows
        return self.gates[gate.name].begin - output_register(gate.steps[-1], self.registers)

    @property
    def places(self) -> dict[str, int]:
        """The hidden state is written."""
        return {"hidden": self.hidden}

    @property
    def _stages(self) -> dict[str, int]:
        return {"gate": self.hidden}


def timeline(design: Schedule, registers: Registers | None = None) -> Timeline:
    """The timeline of a design, with the register stages that its clock asks for."""
    kind = RnnTimeline if isinstance(design.cell, IntegerRnn) else LstmTimeline
    return kind(design, registers or registers_for(design.options.clock_mhz))
