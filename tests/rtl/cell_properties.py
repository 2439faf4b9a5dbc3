# SPDX-License-Identifier: Apache-2.0
"""The generated arithmetic of one hidden unit as a property: beside products and sums in plain integers."""

from __future__ import annotations

import itertools

from proofs import Property, counted, literal

from hwgen.backends.naming import top_name
from hwgen.forms import Certified
from hwgen.integer import IntegerCell, IntegerGate, Interval, Product
from hwgen.mapping import code_bits
from hwgen.quantizer import IntegerType
from hwgen.rtl_timing import LstmTimeline, Timeline, timeline
from hwgen.schedule import Schedule, signed


class _Window:
    """The cycles of a property, and its inputs and outputs as they stood in each."""

    def __init__(self, last: int) -> None:
        self.last, self.first = last, last
        self.lines: list[str] = []

    def then(self, signal: str, width: int, time: int, name: str) -> str:
        """``signal`` as it stood at ``time``, under a name of its own."""
        self.first = min(self.first, time)
        self.lines += [
            f"  logic [{width - 1}:0] {name};",
            f"  past #(.Width({width}), .Cycles({self.last - time})) u_{name} (.clk, .now({signal}), .before({name}));",
        ]
        return name


class UnitBench:
    """What stands around the unit ``lane``: free inputs, what holds of them, and outputs as they stood in their cycles.

    ``unit`` is the text of the generated module.  Everything is an integer of 32 bits: ``totals`` those of the rows by
    name, ``channel`` the number of the unit.
    """

    def __init__(self, design: Schedule, times: Timeline, unit: str, lane: int, last: int) -> None:
        self.design, self.times, self.unit, self.lane = design, times, unit, lane
        self.window = _Window(last)
        total_bits = max(signed(design.hidden_product.sums).bits, signed(design.input_product.sums).bits)
        lanes = min(design.hidden_product.pe, len(design.cell.rows))
        self.free = {"totals": lanes * total_bits}
        self.ports = {"clk_i": "clk", "totals_i": "totals"}
        self.within: list[str] = []
        self.outputs: dict[str, int] = {}
        self.channel = "0"
        self.totals: dict[str, str] = {}
        self.arrival: dict[int, int] = {}
        for gate in design.cell.rows:
            time = times.gates[gate.name]
            self.arrival[time.part] = -(times.parts - 1 - time.part) * times.column_tiles
            then = self.window.then("totals", lanes * total_bits, self.arrival[time.part], f"{gate.name}_totals")
            self.totals[gate.name] = integer(f"{then}[{time.lane * total_bits} +: {total_bits}]")
            self._limit(self.totals[gate.name], gate.total)

    def given(self, signal: str, bits: int, time: int, name: str, codes: Interval | IntegerType) -> str:
        """The input ``signal`` as it stood at ``time``, within ``codes``."""
        self.free[signal], self.ports[f"{signal}_i"] = bits, signal
        value = integer(self.window.then(signal, bits, time, name))
        self._limit(value, codes)
        return value

    def _limit(self, value: str, codes: Interval | IntegerType) -> None:
        self.within += [f"{value} >= {literal(codes.lo)}", f"{value} <= {literal(codes.hi)}"]

    def select(self) -> None:
        """The same group whenever totals arrive, and those of each part when its flag says so."""
        times, window = self.times, self.window
        if "group_i" in self.unit:
            group_bits = max(1, (times.groups - 1).bit_length())
            self.free["group"], self.ports["group_i"] = group_bits, "group"
            arrivals = self.arrival.items()
            groups = [window.then("group", group_bits, time - 1, f"group{part}") for part, time in arrivals]
            self.within += [f"{groups[0]} < {times.groups}", *(f"{groups[0]} == {other}" for other in groups[1:])]
            self.channel = f"32'({groups[0]}) * {self.design.units} + {self.lane}"
        if "part_valid_i" in self.unit:
            self.free["parts"] = times.parts
            self.ports |= {"part_valid_i": "parts", "rst_ni": "1'b1"}
            self.within += _parts_in_turn(window, times, self.arrival)

    def taken(self, signal: str, bits: int, time: int, name: str) -> str:
        """The output ``signal`` as it stood at ``time``."""
        self.outputs[signal] = bits
        return integer(self.window.then(signal, bits, time, name))

    def property(self, name: str, specification: list[str], wanted: dict[str, str], cover: str) -> Property:
        """That outputs equal what the specification wants of them, whatever the inputs; ``cover`` can be the case."""
        lines = [f"module {name} (", "  input  logic clk,"]
        lines += [f"  input  logic [{width - 1}:0] {signal}," for signal, width in self.free.items()]
        lines += ["  output logic covered", ");"]
        lines += [f"  logic [{bits - 1}:0] {signal};" for signal, bits in self.outputs.items()]
        parameter = f"#(.Lane({self.lane})) " if "parameter int Lane" in self.unit else ""
        lines += [f"  {top_name(self.design)}_unit {parameter}dut ("]
        ports = self.ports | {f"{signal.removeprefix('new_')}_o": signal for signal in self.outputs}
        lines += [",\n".join(f"    .{port}({signal})" for port, signal in ports.items()), "  );"]
        lines += [*self.window.lines, *specification]
        lines += ["  logic within;", "  assign within = " + " &&\n    ".join(self.within) + ";"]
        lines += [f"  assign covered = within && {cover};"]
        equal = " && ".join(f"{value} == {want}" for value, want in wanted.items())
        lines += [f"  always_comb if (within) assert ({equal});"]
        return Property(name, "\n".join([*lines, "endmodule", ""]), self.window.last - self.window.first + 1)


def cell_property(name: str, design: Schedule, unit: str, lane: int = 0) -> Property:
    """Cell and hidden state of the unit ``lane`` in the cycles of the schedule, for all totals, states and groups.

    ``unit`` is the text of the generated module.
    """
    cell, times = design.lstm, timeline(design)
    assert isinstance(times, LstmTimeline)
    cell_bits = code_bits(cell.cell)
    bench = UnitBench(design, times, unit, lane, max(times.hidden, times.cell))
    state = bench.given("cell", cell_bits, times.kept, "old_cell", cell.cell)
    bench.select()
    new_cell = bench.taken("new_cell", cell_bits, times.cell, "cell_then")
    new_hidden = bench.taken("new_hidden", code_bits(cell.hidden), times.hidden, "hidden_then")
    specification = _specification(cell, bench.totals, state, bench.channel)
    cover = f"{new_hidden} == {literal(_greatest(cell))}"
    return bench.property(name, specification, {new_cell: "want_cell", new_hidden: "want_hidden"}, cover)


def integer(vector: str) -> str:
    """A vector as a signed integer."""
    return f"32'($signed({vector}))"


def _parts_in_turn(window: _Window, times: Timeline, arrival: dict[int, int]) -> list[str]:
    """What the product promises: each part's flag comes with its totals, and not again for a whole group."""
    within = []
    for part, begin in arrival.items():
        for time in range(begin, min(begin + times.parts * times.column_tiles, window.last + 1)):
            flags = window.then("parts", times.parts, time, f"part{part}_{time - begin}")
            within.append(f"{flags}[{part}] == 1'b{int(time == begin)}")
    return within


class Specification:
    """One step of a cell as hwgen.integer defines it: products and sums in plain integers, thresholds counted."""

    def __init__(self, channel: str) -> None:
        self.steps: list[str] = []
        self.values = ["  logic [31:0] channel;", f"  assign channel = {channel};"]

    @property
    def lines(self) -> list[str]:
        """The functions, and the values."""
        return [*self.steps, *self.values]

    def value(self, name: str, expression: str) -> str:
        """A signal of the value of an expression."""
        self.values += [f"  logic signed [31:0] {name};", f"  assign {name} = {expression};"]
        return name

    def step(self, name: str, certified: Certified, function: str, argument: str) -> str:
        """A step function of a value."""
        self.steps.append(counted(function, certified.step))
        return self.value(name, f"{function}({argument}, channel)")

    def product(self, name: str, left: str, right: str, what: Product) -> str:
        """The product of two codes, requantized."""
        operands = f"({left} - {literal(what.left_zero)}) * ({right} - {literal(what.right_zero)})"
        return self.step(name, what.requantize, f"{name}_step", self.value(f"{name}_product", operands))

    def gate(self, gate: IntegerGate, total: str) -> str:
        """The code of a row."""
        for number, certified in enumerate(gate.steps):
            total = self.step(f"{gate.name}_code{number}", certified, f"{gate.name}_step{number}", total)
        return total


def _specification(cell: IntegerCell, totals: dict[str, str], state: str, channel: str) -> list[str]:
    wants = Specification(channel)
    codes = {gate.name: wants.gate(gate, totals[gate.name]) for gate in cell.gates}
    if cell.coupled_one is not None:
        codes["forget"] = wants.value("forget_code", f"{literal(cell.coupled_one)} - {codes['input']}")
    kept = wants.product("kept", codes["forget"], state, cell.forget_product)
    added = wants.product("added", codes["input"], codes["cell"], cell.input_product)
    after = wants.step("want_cell", cell.cell_sum, "sum_step", f"{kept} + {added}")
    tanh = wants.step("tanh_code", cell.cell_tanh, "tanh_step", after)
    wants.product("want_hidden", codes["output"], tanh, cell.output_product)
    return wants.lines


def _greatest(cell: IntegerCell) -> int:
    """The greatest hidden state that any codes of the gates lead to."""
    codes = {}
    for gate in cell.gates:
        reached = {gate.total.lo + n for n in range(gate.total.hi - gate.total.lo + 1)}
        for certified in gate.steps:
            step = certified.step
            reached = {step.first + int((row <= value).sum()) for row in step.thresholds for value in reached}
        codes[gate.name] = reached

    def stepped(values: set[int], what: Product) -> set[int]:
        step = what.requantize.step
        return {step.first + int((row <= value).sum()) for row in step.thresholds for value in values}

    one, zeros = cell.coupled_one, cell.forget_product
    cells = set()
    for i in codes["input"]:
        for f in codes["forget"] if one is None else {one - i}:
            olds = range(cell.cell.lo, cell.cell.hi + 1)
            kept = stepped({(f - zeros.left_zero) * (c - zeros.right_zero) for c in olds}, zeros)
            what = cell.input_product
            added = stepped({(i - what.left_zero) * (g - what.right_zero) for g in codes["cell"]}, what)
            row = cell.cell_sum.step.thresholds[0]
            cells |= {cell.cell_sum.step.first + int((row <= a + b).sum()) for a, b in itertools.product(kept, added)}
    tanh = {cell.cell_tanh.step.first + int((cell.cell_tanh.step.thresholds[0] <= c).sum()) for c in cells}
    what = cell.output_product
    pairs = itertools.product(codes["output"], tanh)
    hidden = stepped({(o - what.left_zero) * (t - what.right_zero) for o, t in pairs}, what)
    return max(hidden)
