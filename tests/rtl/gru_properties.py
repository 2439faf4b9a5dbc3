# SPDX-License-Identifier: Apache-2.0
"""The unit of small GRUs as a property: beside products and sums in plain integers, for all of its inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import recurrent_networks
from cell_properties import Specification, UnitBench
from proofs import Property, literal
from recurrent_networks import network

from hwgen.dataflow import CellNode, Dataflow
from hwgen.folding import Folding
from hwgen.forms import Certified
from hwgen.integer_cells import IntegerGru
from hwgen.layers import GruLayer
from hwgen.mapping import code_bits, sum_bits
from hwgen.planning import schedule
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.rtl_timing import GruTimeline, timeline
from hwgen.schedule import Schedule

INPUTS, UNITS = 2, 4


@dataclass(frozen=True)
class GruCase:
    """A GRU of few bits and how it is built: folding (input PE x SIMD, hidden PE x SIMD) and clock.

    ``zero_point`` is that of gates and hidden sum.
    """

    name: str
    bits: int = 3
    scale: float = 0.25
    zero_point: int = 0
    bias: float = 0.3
    folding: tuple[int, int, int, int] = (3, 2, 3, 4)
    clock: float = 100.0

    def __str__(self) -> str:
        return self.name

    def layer(self) -> GruLayer:
        codes, unsigned = IntegerType(self.bits, True), IntegerType(self.bits, False)
        grid = Quantizer((self.scale,), (0,), codes)
        sigmoid = Quantizer((1.0 / unsigned.hi,), (self.zero_point,), unsigned)
        layer = recurrent_networks.gru(
            inputs=INPUTS,
            hidden=UNITS,
            accumulator=grid,
            part=replace(grid, zero_point=(self.zero_point,)),
            sigmoid=sigmoid,
            output=grid,
            bits=self.bits,
            bias=self.bias,
        )
        tanh = Quantizer((1.0 / codes.hi,), (0,), codes)
        return replace(layer, new=replace(layer.new, activation_quantizer=tanh))

    def schedule(self) -> tuple[Dataflow, Schedule]:
        """The design, and that of its one layer."""
        layer = self.layer()
        folding = {layer.name: Folding(*self.folding).to_dict()}
        design = schedule(network([layer], [layer.wires[0]]), clock_mhz=self.clock, folding=folding)
        assert isinstance(design, Dataflow)
        (cell,) = (node.design for node in design.nodes if isinstance(node, CellNode))
        return design, cell


def gru_property(name: str, design: Schedule, unit: str, lane: int = 0) -> Property:
    """Hidden state of the unit ``lane`` in the cycles of the schedule, for all totals, input sums, states and groups.

    ``unit`` is the text of the generated module.
    """
    times = timeline(design)
    assert isinstance(times, GruTimeline)
    cell, bits = times.cell, code_bits(times.cell.hidden)
    bench = UnitBench(design, times, unit, lane, times.hidden)
    whole = bench.given("sum", sum_bits(design), -1, "sum_then", cell.new_input.total)
    state = bench.given("hidden", bits, times.kept, "old_hidden", cell.hidden)
    bench.select()
    found = bench.taken("new_hidden", bits, times.hidden, "hidden_then")

    wants = Specification(bench.channel)
    reset, update, part = (wants.gate(row, bench.totals[row.name]) for row in cell.rows)
    product = wants.product("reset", reset, part, cell.reset_product)
    whole = wants.step("whole", cell.new_input.step, "whole_step", whole)
    total = wants.step("new_code", cell.new_sum, "new_sum_step", f"{whole} + {product}")
    candidate = wants.step("candidate", cell.tanh, "tanh_step", total)
    rest = wants.value("rest", f"{literal(cell.one)} - {update}")
    added = wants.product("added", rest, candidate, cell.new_product)
    kept = wants.product("kept", update, state, cell.update_product)
    wants.step("want_hidden", cell.hidden_sum, "hidden_step", f"{kept} + {added}")
    return bench.property(name, wants.lines, {found: "want_hidden"}, f"{found} == {literal(_greatest(cell))}")


def _greatest(cell: IntegerGru) -> int:
    """The greatest hidden state that any codes of the gates lead to."""

    def stepped(values: Iterable[int], certified: Certified) -> set[int]:
        step = certified.step
        distinct = set(values)
        return {step.first + int((row <= value).sum()) for row in step.thresholds for value in distinct}

    reset, update, part = (
        stepped(range(row.total.lo, row.total.hi + 1), row.steps[0]) if len(row.steps) == 1 else set[int]()
        for row in cell.rows
    )
    whole = stepped(range(cell.new_input.total.lo, cell.new_input.total.hi + 1), cell.new_input.step)
    zeros = cell.reset_product
    products = {(r - zeros.left_zero) * (p - zeros.right_zero) for r, p in itertools.product(reset, part)}
    product = stepped(products, zeros.requantize)
    new = stepped({a + b for a, b in itertools.product(whole, product)}, cell.new_sum)
    candidates, hidden = stepped(new, cell.tanh), set[int]()
    olds = range(cell.hidden.lo, cell.hidden.hi + 1)
    for z in update:
        what = cell.new_product
        rest = cell.one - z - what.left_zero
        added = stepped({rest * (n - what.right_zero) for n in candidates}, what.requantize)
        what = cell.update_product
        kept = stepped({(z - what.left_zero) * (h - what.right_zero) for h in olds}, what.requantize)
        hidden |= stepped({a + b for a, b in itertools.product(added, kept)}, cell.hidden_sum)
    return max(hidden)
