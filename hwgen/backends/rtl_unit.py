# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of one hidden unit as SystemVerilog instances: step functions, products, sums, and delays between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from hwgen.backends.rtl_step import Signal, StepBuilder, domain_bits, resized
from hwgen.backends.sv import Instance, literal
from hwgen.integer import Interval, Product
from hwgen.mapping import code_bits, in_dsp, total_bits
from hwgen.rtl_timing import LstmTimeline, RnnTimeline, Timeline
from hwgen.schedule import signed

Times = TypeVar("Times", bound=Timeline)


class UnitBuilder(StepBuilder, ABC, Generic[Times]):
    """The elementwise arithmetic of one hidden unit, each value in its cycle."""

    def __init__(self, times: Times, folder: str = "rom") -> None:
        design = times.design
        # Base of the groups: cycle of the totals that the values at hand come from, earlier than 0 for gates of
        # earlier parts.
        super().__init__(times.registers, times.groups, design.units, folder)
        self.design, self.times = design, times
        self.total_bits = total_bits(design)
        # Bits of the sum of both parts of the cell state.
        self.sum_bits = 0

    def context(self) -> dict[str, object]:
        """What the templates print of the unit."""
        return {
            "blocks": self.blocks,
            "lanes_per_unit": min(self.design.hidden_product.pe, len(self.design.cell.rows)),
            "parts": self.times.parts,
            "indexed": self.indexed,
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
        kept, added = self._align(kept, times.sum), self._align(added, times.sum)
        bits = signed(Interval(cell.cell_sum.step.lo, cell.cell_sum.step.hi)).bits
        total = self.signal("cell_sum", max(bits, kept.bits, added.bits), times.sum)
        self.sum_bits = total.bits
        self.block.assigns.append((total.name, f"{resized(kept, total.bits)} + {resized(added, total.bits)}"))
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
        bits = max(signed(factors).bits, code.bits)
        forget = self.signal("forget_gate", bits, code.begin, code.end)
        self.block.assigns.append((forget.name, f"{literal(one, bits)} - {resized(code, bits)}"))
        return forget


class RnnUnit(UnitBuilder[RnnTimeline]):
    """The unit of a plain RNN."""

    def build(self) -> None:
        """The gate, whose code is the hidden state."""
        hidden = self._gate(0, absorbed=True)
        assert hidden.begin == self.times.hidden
        self.block.assigns.append(("hidden_o", resized(hidden, code_bits(self.design.cell.hidden))))


def unit_builder(times: Timeline, folder: str = "rom") -> LstmUnit | RnnUnit:
    """The unit of a cell; the contents of its memories go to ``folder``."""
    if isinstance(times, RnnTimeline):
        return RnnUnit(times, folder)
    assert isinstance(times, LstmTimeline)
    return LstmUnit(times, folder)


def _factor_bits(factor: Signal, zero: int) -> int:
    """Bits of a factor of a product: a zero point costs one."""
    return factor.bits + (zero != 0)
