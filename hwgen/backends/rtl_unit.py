# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of one hidden unit as SystemVerilog instances: step functions, products, sums, and delays between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from hwgen.backends.rtl_step import Signal, StepBuilder, domain_bits, resized
from hwgen.backends.sv import Instance, literal
from hwgen.forms import Certified
from hwgen.integer import Interval, Product
from hwgen.mapping import code_bits, in_dsp, sum_bits, total_bits
from hwgen.rtl_timing import GruTimeline, LstmTimeline, RnnTimeline, Timeline
from hwgen.schedule import signed

Times = TypeVar("Times", bound=Timeline)


class UnitBuilder(StepBuilder, ABC, Generic[Times]):
    """The elementwise arithmetic of one hidden unit, each value in its cycle."""

    def __init__(self, times: Times, folder: str = "rom") -> None:
        design = times.design
        # Base of the groups: cycle of the totals that the values at hand come from, earlier than 0 for gates of
        # earlier parts.
        super().__init__(times.registers, times.groups, design.units, folder, directions=design.turns)
        self.design, self.times = design, times
        self.total_bits = total_bits(design)
        # Bits of the sums of two codes.
        self.sum_bits = 0

    def context(self) -> dict[str, object]:
        """What the templates print of the unit."""
        return {
            "blocks": self.blocks,
            "lanes_per_unit": min(self.design.hidden_product.pe, len(self.design.cell.rows)),
            "parts": self.times.parts,
            "indexed": self.indexed,
            "directed": self.directed,
            "row_bits": self.group_bits,
            "clocked": any(signal == "clk_i" for instance in self.instances() for _, signal in instance.ports),
            "lane_digits": self.parameter_uses("LaneDigits"),
            "lane_used": self.parameter_uses("Lane"),
        }

    @abstractmethod
    def build(self) -> None:
        """Collect constants, signals and instances, stage by stage."""

    def _gate(self, index: int, absorbed: bool = False) -> Signal:
        """The code of a gate; ``absorbed`` leaves its last register to whoever takes it."""
        gate = self.design.cell.rows[index]
        time = self.times.gates[gate.name]
        self.begin(f"{gate.name.capitalize()} gate.")
        start = -(self.times.parts - 1 - time.part) * self.times.column_tiles
        self.base = start
        total = self.signal(f"{gate.name}_total", self.total_bits, start)
        self.block.assigns.append((total.name, f"totals_i[{time.lane * self.total_bits} +: {self.total_bits}]"))
        code = total
        for number, certified in enumerate(gate.steps):
            last = number == len(gate.steps) - 1
            name = f"{gate.name}_{'gate' if last else 'accumulator'}"
            code = self.step(code, certified, name, absorbed and last)
        if time.begin == time.end and time.part == self.times.parts - 1:
            return code
        held = self.signal(f"{gate.name}_held", code.bits, time.begin, time.end)
        self.block.instances.append(
            Instance(
                "hwgen_hold",
                f"u_{gate.name}_held",
                (("Width", code.bits), ("Delay", time.latency)),
                (
                    ("clk_i", "clk_i"),
                    ("rst_ni", "rst_ni"),
                    ("valid_i", f"part_valid_i[{time.part}]"),
                    ("data_i", code.name),
                    ("data_o", held.name),
                ),
            )
        )
        return held

    def _align(self, signal: Signal, time: int) -> Signal:
        """The signal as it stands at ``time``."""
        assert signal.begin <= time, f"{signal.name} is there at {signal.begin}, not at {time}"
        stages = time - signal.end
        if stages <= 0:
            return signal
        known = f"{signal.name}_at{time}".replace("-", "m")
        late = self.signal(known, signal.bits, time)
        self.block.instances.append(
            Instance(
                "hwgen_delay",
                f"u_{known}",
                (("Width", signal.bits), ("Stages", stages)),
                (("clk_i", "clk_i"), ("data_i", signal.name), ("data_o", known)),
            )
        )
        return late

    def _sum(self, name: str, left: Signal, right: Signal, certified: Certified, time: int) -> Signal:
        """The sum of two codes, of which ``certified`` is a step function."""
        left, right = self._align(left, time), self._align(right, time)
        bits = signed(Interval(certified.step.lo, certified.step.hi)).bits
        total = self.signal(name, max(bits, left.bits, right.bits), time)
        self.sum_bits += total.bits
        self.block.assigns.append((name, f"{resized(left, total.bits)} + {resized(right, total.bits)}"))
        return total

    def _rest(self, name: str, one: int, code: Signal, bits: int) -> Signal:
        """One minus the code of a gate, in so many bits."""
        rest = self.signal(name, bits, code.begin, code.end)
        self.block.assigns.append((name, f"{literal(one, bits)} - {resized(code, bits)}"))
        return rest

    def _product(self, name: str, left: Signal, right: Signal, what: Product, time: int) -> Signal:
        factors = [(self._align(left, time), what.left_zero), (self._align(right, time), what.right_zero)]
        # In LUTs the bits of the right one are added up: the narrower one.
        factors.sort(key=lambda factor: _factor_bits(*factor), reverse=True)
        (left, left_zero), (right, right_zero) = factors
        widths = [_factor_bits(*factor) for factor in factors]
        product = self.signal(name, sum(widths), time + self.registers.elementwise)
        self.block.instances.append(
            Instance(
                "hwgen_product",
                f"u_{name}",
                (
                    ("LeftBits", left.bits),
                    ("RightBits", right.bits),
                    ("LeftZero", left_zero),
                    ("RightZero", right_zero),
                    ("ProductBits", product.bits),
                    ("Dsp", int(in_dsp(widths[0], widths[1], domain_bits(what.requantize)))),
                    ("Stages", self.registers.elementwise),
                ),
                (("clk_i", "clk_i"), ("left_i", left.name), ("right_i", right.name), ("product_o", name)),
            )
        )
        return product


class LstmUnit(UnitBuilder[LstmTimeline]):
    """The unit of an LSTM."""

    def build(self) -> None:
        """Gates, cell state, hidden state."""
        cell, times = self.design.lstm, self.times
        codes = {gate.name: self._gate(index) for index, gate in enumerate(cell.gates)}
        self.base = 0
        before = Signal("cell_i", code_bits(cell.cell), times.kept, times.kept)

        self.begin("Cell state: what is kept of the old one and what is added, summed and requantized.")
        forget = codes["forget"] if cell.coupled_one is None else self._coupled(codes["input"])
        kept = self._product("kept", forget, before, cell.forget_product, times.kept)
        kept = self.step(kept, cell.forget_product.requantize, "kept_code")
        added = self._product("added", codes["input"], codes["cell"], cell.input_product, times.added)
        added = self.step(added, cell.input_product.requantize, "added_code")
        total = self._sum("cell_sum", kept, added, cell.cell_sum, times.sum)
        after = self.step(total, cell.cell_sum, "new_cell")
        assert after.begin == times.cell
        self.block.assigns.append(("cell_o", resized(after, code_bits(cell.cell))))

        self.begin("Hidden state: output gate times tanh of the cell state, requantized.")
        tanh = self.step(after, cell.cell_tanh, "tanh_code")
        product = self._product("output_product", codes["output"], tanh, cell.output_product, times.output)
        hidden = self.step(product, cell.output_product.requantize, "hidden_code", absorbed=True)
        assert hidden.begin == times.hidden
        self.block.assigns.append(("hidden_o", resized(hidden, code_bits(cell.hidden))))

    def _coupled(self, code: Signal) -> Signal:
        """The forget gate of a coupled cell: one minus the input gate."""
        one, factors = self.design.lstm.coupled_one, self.design.factors
        assert one is not None
        return self._rest("forget_gate", one, code, max(signed(factors).bits, code.bits))


class RnnUnit(UnitBuilder[RnnTimeline]):
    """The unit of a plain RNN."""

    def build(self) -> None:
        """The gate, whose code is the hidden state."""
        hidden = self._gate(0, absorbed=True)
        assert hidden.begin == self.times.hidden
        self.block.assigns.append(("hidden_o", resized(hidden, code_bits(self.design.cell.hidden))))


class GruUnit(UnitBuilder[GruTimeline]):
    """The unit of a GRU."""

    def build(self) -> None:
        """Gates, candidate, hidden state."""
        times = self.times
        cell = times.cell
        reset, update, part = (self._gate(index) for index in range(3))
        self.base = 0
        hidden_bits = code_bits(cell.hidden)
        before = Signal("hidden_i", hidden_bits, times.kept, times.kept)

        self.begin("Candidate: tanh of the input sum and of what the reset gate leaves of the hidden one.")
        whole = self._align(Signal("sum_i", sum_bits(self.design), -1, -1), 0)
        whole = self.step(whole, cell.new_input.step, "input_code")
        product = self._product("reset_product", reset, part, cell.reset_product, times.reset)
        product = self.step(product, cell.reset_product.requantize, "reset_code")
        total = self._sum("new_sum", whole, product, cell.new_sum, times.sum)
        candidate = self.step(self.step(total, cell.new_sum, "new_code"), cell.tanh, "candidate")
        assert candidate.begin == times.candidate

        self.begin("Hidden state: what the update gate keeps of the old one, and of the candidate the rest of one.")
        step = cell.update.steps[-1].step
        least, most = cell.one - step.last, cell.one - step.first
        rest = self._rest("update_rest", cell.one, update, max(signed(Interval(least, most)).bits, update.bits))
        added = self._product("added", rest, candidate, cell.new_product, times.added)
        added = self.step(added, cell.new_product.requantize, "added_code")
        kept = self._product("kept", update, before, cell.update_product, times.kept)
        kept = self.step(kept, cell.update_product.requantize, "kept_code")
        total = self._sum("hidden_sum", kept, added, cell.hidden_sum, times.both)
        hidden = self.step(total, cell.hidden_sum, "hidden_code", absorbed=True)
        assert hidden.begin == times.hidden
        self.block.assigns.append(("hidden_o", resized(hidden, hidden_bits)))


def unit_builder(times: Timeline, folder: str = "rom") -> LstmUnit | RnnUnit | GruUnit:
    """The unit of a cell; the contents of its memories go to ``folder``."""
    if isinstance(times, GruTimeline):
        return GruUnit(times, folder)
    if isinstance(times, RnnTimeline):
        return RnnUnit(times, folder)
    assert isinstance(times, LstmTimeline)
    return LstmUnit(times, folder)


def _factor_bits(factor: Signal, zero: int) -> int:
    """Bits of a factor of a product: a zero point costs one."""
    return factor.bits + (zero != 0)
