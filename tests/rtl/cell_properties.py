# SPDX-License-Identifier: Apache-2.0
"""The generated arithmetic of one hidden unit as a property: beside products and sums in plain integers."""

from __future__ import annotations

import itertools

from proofs import Property, counted, literal

from hwgen.backends.naming import top_name
from hwgen.integer import IntegerCell, Product
from hwgen.mapping import code_bits
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


def cell_property(name: str, design: Schedule, unit: str, lane: int = 0) -> Property:
    """Cell and hidden state of the unit ``lane`` in the cycles of the schedule, for all totals, states and groups.

    ``unit`` is the text of the generated module.
    """
    cell, times = design.lstm, timeline(design)
    assert isinstance(times, LstmTimeline)
    total_bits = max(signed(design.hidden_product.sums).bits, signed(design.input_product.sums).bits)
    cell_bits, hidden_bits = code_bits(cell.cell), code_bits(cell.hidden)
    lanes = min(design.hidden_product.pe, len(cell.gates))
    group_bits = max(1, (times.groups - 1).bit_length())
    window = _Window(max(times.hidden, times.cell))
    free = {"totals": lanes * total_bits, "cell": cell_bits}
    ports = {"clk_i": "clk", "totals_i": "totals", "cell_i": "cell", "cell_o": "new_cell", "hidden_o": "new_hidden"}
    within = []

    arguments, arrival = {}, {}
    for gate in cell.gates:
        time = times.gates[gate.name]
        arrival[time.part] = -(times.parts - 1 - time.part) * times.column_tiles
        then = window.then("totals", lanes * total_bits, arrival[time.part], f"{gate.name}_totals")
        arguments[gate.name] = _integer(f"{then}[{time.lane * total_bits} +: {total_bits}]")
        within += [
            f"{arguments[gate.name]} >= {literal(gate.total.lo)}",
            f"{arguments[gate.name]} <= {literal(gate.total.hi)}",
        ]
    state = _integer(window.then("cell", cell_bits, times.kept, "old_cell"))
    within += [f"{state} >= {literal(cell.cell.lo)}", f"{state} <= {literal(cell.cell.hi)}"]
    channel = "0"
    if "group_i" in unit:
        free["group"], ports["group_i"] = group_bits, "group"
        groups = [window.then("group", group_bits, time - 1, f"group{part}") for part, time in arrival.items()]
        within += [f"{groups[0]} < {times.groups}", *(f"{groups[0]} == {other}" for other in groups[1:])]
        channel = f"32'({groups[0]}) * {design.units} + {lane}"
    if "part_valid_i" in unit:
        free["parts"] = times.parts
        ports |= {"part_valid_i": "parts", "rst_ni": "1'b1"}
        within += _parts_in_turn(window, times, arrival)
    new_cell = _integer(window.then("new_cell", cell_bits, times.cell, "cell_then"))
    new_hidden = _integer(window.then("new_hidden", hidden_bits, times.hidden, "hidden_then"))

    lines = [f"module {name} (", "  input  logic clk,"]
    lines += [f"  input  logic [{width - 1}:0] {signal}," for signal, width in free.items()]
    lines += ["  output logic covered", ");"]
    lines += [f"  logic [{cell_bits - 1}:0] new_cell;", f"  logic [{hidden_bits - 1}:0] new_hidden;"]
    lines += [f"  {top_name(design)}_unit {f'#(.Lane({lane})) ' if 'parameter int Lane' in unit else ''}dut ("]
    lines += [",\n".join(f"    .{port}({signal})" for port, signal in ports.items()), "  );"]
    lines += [*window.lines, *_specification(cell, arguments, state, channel)]
    lines += ["  logic within;", "  assign within = " + " &&\n    ".join(within) + ";"]
    lines += [f"  assign covered = within && {new_hidden} == {literal(_greatest(cell))};"]
    lines += [f"  always_comb if (within) assert ({new_cell} == want_cell && {new_hidden} == want_hidden);"]
    return Property(name, "\n".join([*lines, "endmodule", ""]), window.last - window.first + 1)


def _integer(vector: str) -> str:
    return f"32'($signed({vector}))"


def _parts_in_turn(window: _Window, times: Timeline, arrival: dict[int, int]) -> list[str]:
    """What the product promises: each part's flag comes with its totals, and not again for a whole group."""
    within = []
    for part, begin in arrival.items():
        for time in range(begin, min(begin + times.parts * times.column_tiles, window.last + 1)):
            flags = window.then("parts", times.parts, time, f"part{part}_{time - begin}")
            within.append(f"{flags}[{part}] == 1'b{int(time == begin)}")
    return within


def _specification(cell: IntegerCell, arguments: dict[str, str], state: str, channel: str) -> list[str]:
    """One step of the cell, as hwgen.integer defines it."""
    steps: list[str] = []
    lines = ["  logic [31:0] channel;", f"  assign channel = {channel};"]

    def value(name: str, expression: str) -> str:
        lines.extend([f"  logic signed [31:0] {name};", f"  assign {name} = {expression};"])
        return name

    def product(name: str, left: str, right: str, what: Product) -> str:
        operands = f"({left} - {literal(what.left_zero)}) * ({right} - {literal(what.right_zero)})"
        steps.append(counted(f"{name}_step", what.requantize.step))
        return value(name, f"{name}_step({value(f'{name}_product', operands)}, channel)")

    codes = {}
    for gate in cell.gates:
        code = arguments[gate.name]
        for number, certified in enumerate(gate.steps):
            steps.append(counted(f"{gate.name}_step{number}", certified.step))
            code = value(f"{gate.name}_code{number}", f"{gate.name}_step{number}({code}, channel)")
        codes[gate.name] = code
    if cell.coupled_one is not None:
        codes["forget"] = value("forget_code", f"{literal(cell.coupled_one)} - {codes['input']}")
    kept = product("kept", codes["forget"], state, cell.forget_product)
    added = product("added", codes["input"], codes["cell"], cell.input_product)
    steps += [counted("sum_step", cell.cell_sum.step), counted("tanh_step", cell.cell_tanh.step)]
    after = value("want_cell", f"sum_step({kept} + {added}, channel)")
    tanh = value("tanh_code", f"tanh_step({after}, channel)")
    product("want_hidden", codes["output"], tanh, cell.output_product)
    return [*steps, *lines]


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
