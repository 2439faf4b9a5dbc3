# SPDX-License-Identifier: Apache-2.0
"""When everything happens in the RTL of a cell, and the depth of the recurrent loop.

The loop is scheduled statically: from the tile of a time step to its new state every value has a fixed cycle.  Times of
the elementwise part count from the cycle in which the accumulators hold the totals of the last gates of a unit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

from hwgen.arrays import Value, greater
from hwgen.integer_cells import IntegerGru, IntegerRnn
from hwgen.registers import Registers, latency, output_register, product_latency, product_stages, registers_for
from hwgen.schedule import Schedule


def buffered(held: Value, interval: Value) -> Value:
    """Vectors of a buffer that holds each for so many cycles, at full rate: at least two."""
    return greater(2, -(-held // interval))


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
        return product_stages(self.design.hidden_product, self.registers.in_loop)[1]

    @cached_property
    def multiplied(self) -> int:
        """Registers behind the multipliers of the hidden product."""
        return product_stages(self.design.hidden_product, self.registers.in_loop)[0]

    @property
    def total(self) -> int:
        """The accumulators hold the total of a row whose last tile was shown at 0."""
        return self.operand + self.multiplied + self.hidden_tree + 1

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
            "products": self.multiplied,
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
        return product_stages(self.design.input_product, self.registers)[1]

    @property
    def input_latency(self) -> int:
        """Cycles from an input tile to its sums."""
        return product_latency(self.design.input_product, self.registers)

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
    def held(self) -> int:
        """From the first input tile of a step to the next one that can take its place in the buffer of sums."""
        return self.design.input_product.cycles + self.input_latency + self.freed + 1

    @property
    def sums_steps(self) -> int:
        """Time steps that the buffer of projected sums holds: at least two, and what is on its way at full rate.

        A user who chose a look-ahead gets just that.
        """
        asked = self.design.options.look_ahead
        return int(buffered(self.held, self.interval)) if asked is None else asked

    @property
    def refill(self) -> int:
        """Cycles between time steps that the buffer of sums allows, on average: it sets the rate where it is small."""
        return -(-self.design.turns * self.held // self.sums_steps)

    @property
    def back(self) -> int:
        """Cycles between time steps that what comes back allows, of the first layer of a stack: 0 without one.

        Of each second step the hidden state must be there and go through the input product for the second layer; behind
        it comes the input of the step after next, which then follows in the recurrence as well.
        """
        if self.design.stack is None:
            return 0
        product, simd = self.design.input_product, self.design.folding.input_simd
        filled = max(0, self.design.stack[0] - self.design.stack[1]) // simd
        there = self.returned(simd) + filled + (product.folds - 1) * product.column_tiles
        return -(-(there + self.interval + self.input_latency + 1) // 2)

    def returned(self, simd: int) -> int:
        """From the start of a step until its hidden state has come back to the input, in beats of ``simd`` codes."""
        # Beats leave the output, are made narrower, and stand in a buffer for two cycles.
        moved, parts = 0, self.design.units // math.gcd(self.design.units, simd)
        for group in range(self.groups):
            moved = max(moved, self.written(group, self.hidden) + 1) + parts
        return moved + 1

    @property
    def output_vectors(self) -> int:
        """Vectors that an output buffers: as many as are on their way at full rate, at least two."""
        return int(buffered(self.written(self.groups - 1, self.hidden) + 2, self.interval))

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


class GruTimeline(Timeline):
    """The elementwise part of a GRU: two gates, the candidate, the hidden state."""

    @property
    def cell(self) -> IntegerGru:
        """What it is the schedule of."""
        assert isinstance(self.design.cell, IntegerGru)
        return self.design.cell

    @property
    def reset(self) -> int:
        """Reset gate and hidden sum of the candidate are multiplied."""
        return max(self.gates["reset"].begin, self.gates["new"].begin)

    @property
    def sum(self) -> int:
        """Their product and the input sum, which is there with the totals, are added."""
        product = self.registers.elementwise + latency(self.cell.reset_product.requantize, self.registers)
        return max(self.reset + product, latency(self.cell.new_input.step, self.registers))

    @property
    def candidate(self) -> int:
        """Its tanh is there."""
        return self.sum + latency(self.cell.new_sum, self.registers) + latency(self.cell.tanh, self.registers)

    @property
    def added(self) -> int:
        """Candidate and one minus the update gate are multiplied."""
        return max(self.candidate, self.gates["update"].begin)

    @property
    def added_code(self) -> int:
        """What is added to the hidden state is there."""
        return self.added + self.registers.elementwise + latency(self.cell.new_product.requantize, self.registers)

    @property
    def kept(self) -> int:
        """Update gate and old hidden state are multiplied: as late as what is added allows.

        The state takes a cycle from its memory.
        """
        return max(1, self.gates["update"].begin, self.added_code - self._kept_latency)

    @property
    def _kept_latency(self) -> int:
        return self.registers.elementwise + latency(self.cell.update_product.requantize, self.registers)

    @property
    def both(self) -> int:
        """What is kept and what is added are added up."""
        return max(self.kept + self._kept_latency, self.added_code)

    @property
    def hidden(self) -> int:
        """The new hidden state is there; its register in the state memory is that of the last step function."""
        last = self.cell.hidden_sum
        return self.both + latency(last, self.registers) - output_register(last, self.registers)

    @property
    def places(self) -> dict[str, int]:
        """Rows of the candidate start from their bias, the old hidden state is read and used, the new one written."""
        return {"starts": -2, "cell_read": self.kept - 1, "cell_use": self.kept, "hidden": self.hidden}

    @property
    def uses(self) -> dict[str, int]:
        """From the start of a step to the last use of the initial state of each input port."""
        return {"h0": self.tiles + max(self.read, self.total + self.kept)}

    @property
    def _stages(self) -> dict[str, int]:
        return {
            "gates": self.reset,
            "reset product": self.registers.elementwise,
            "requantize": self.sum - self.reset - self.registers.elementwise,
            "new sum, tanh": self.added - self.sum,
            "update products": self.registers.elementwise,
            "requantize to h": self.both - self.added - self.registers.elementwise,
            "hidden sum": self.hidden - self.both,
        }


def timeline(design: Schedule, registers: Registers | None = None) -> Timeline:
    """The timeline of a design, with the register stages that its clock asks for."""
    cell, registers = design.cell, registers or registers_for(design.options.clock_mhz)
    if design.hidden_product.tiles == 1:
        registers = registers.of_one_tile()
    kind = (
        RnnTimeline if isinstance(cell, IntegerRnn) else GruTimeline if isinstance(cell, IntegerGru) else LstmTimeline
    )
    return kind(design, registers)
