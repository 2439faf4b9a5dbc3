# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of one hidden unit as SystemVerilog instances: step functions, products, sums, and delays between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from hwgen.backends.sv import Constant, Instance, constant, hex_file, index_bits, literal
from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.integer import Interval, Product
from hwgen.mapping import LIMB_BITS, code_bits, in_dsp, limbs, memory, odd_bits, total_bits
from hwgen.quantizer import IntArray, RoundingMode
from hwgen.rtl_timing import Timeline, latency, output_register, search_stages
from hwgen.schedule import Schedule, signed

_PHRASES = {
    "shift": "clamp(round((a + offset) / 2^{shift}))",
    "multiply": "clamp((a * multiplier + offset) >> {shift})",
    "search": "binary search among {count} thresholds",
    "table": "table of {size} entries",
}


_ROUNDING = {
    RoundingMode.ROUND: 0,
    RoundingMode.CEIL: 1,
    RoundingMode.FLOOR: 2,
    RoundingMode.UP: 3,
    RoundingMode.DOWN: 4,
    RoundingMode.HALF_UP: 5,
    RoundingMode.HALF_DOWN: 6,
}


@dataclass
class _Block:
    """A stage of a unit's arithmetic: a comment, constants, signals and instances."""

    title: str
    constants: list[Constant] = field(default_factory=list)
    signals: list[tuple[int, str]] = field(default_factory=list)
    assigns: list[tuple[str, str]] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)


@dataclass(frozen=True)
class _Signal:
    """A signed value of the unit and the cycles in which it stands (inclusive)."""

    name: str
    bits: int
    begin: int
    end: int


def _code(certified: Certified) -> int:
    """Bits of the codes of a step function as signed numbers."""
    return signed(Interval(certified.step.first, certified.step.last)).bits


class UnitBuilder:
    """The elementwise arithmetic of one hidden unit: gates, cell state, hidden state, each value in its cycle."""

    def __init__(self, design: Schedule, times: Timeline, folder: str = "rom") -> None:
        self.folder = folder
        self.design, self.times, self.registers = design, times, times.registers
        self.cell = design.cell
        self.total_bits = total_bits(design)
        self.blocks: list[_Block] = []
        self._contents: list[Callable[[], dict[str, str]]] = []
        # Cycle of the totals that the values at hand come from: earlier than 0 for gates of earlier parts.
        self.base = 0
        # Bits of the sum of both parts of the cell state.
        self.sum_bits = 0
        self.indexed = False
        self.groups = times.groups
        self.group_bits = index_bits(times.groups)

    def context(self) -> dict[str, object]:
        """What the templates print of the unit."""
        return {
            "blocks": self.blocks,
            "lanes_per_unit": min(self.design.hidden_product.pe, len(self.cell.gates)),
            "parts": self.times.parts,
            "indexed": self.indexed,
            "lane_digits": any("LaneDigits" in str(value) for _, value in self._parameters()),
            "lane_used": any("Lane" in str(value) for _, value in self._parameters()),
        }

    def files(self) -> dict[str, str]:
        """Memory contents by path: large for wide searches, so written only on demand."""
        return {path: text for texts in self._contents for path, text in texts().items()}

    def instances(self) -> list[Instance]:
        """Everything that stands in the unit, in order."""
        return [instance for block in self.blocks for instance in block.instances]

    def build(self) -> None:
        """Collect constants, signals and instances, stage by stage."""
        cell, times = self.cell, self.times
        codes = {gate.name: self._gate(index) for index, gate in enumerate(cell.gates)}
        self.base = 0
        before = _Signal("cell_i", code_bits(cell.cell), times.kept, times.kept)

        self._begin("Cell state: what is kept of the old one and what is added, summed and requantized.")
        forget = codes["forget"] if cell.coupled_one is None else self._coupled(codes["input"])
        kept = self._product("kept", forget, before, cell.forget_product, times.kept)
        kept = self._step(kept, cell.forget_product.requantize, "kept_code")
        added = self._product("added", codes["input"], codes["cell"], cell.input_product, times.added)
        added = self._step(added, cell.input_product.requantize, "added_code")
        kept, added = self._align(kept, times.sum), self._align(added, times.sum)
        bits = signed(Interval(cell.cell_sum.step.lo, cell.cell_sum.step.hi)).bits
        total = self._signal("cell_sum", max(bits, kept.bits, added.bits), times.sum)
        self.sum_bits = total.bits
        self._block.assigns.append((total.name, f"{_resized(kept, total.bits)} + {_resized(added, total.bits)}"))
        after = self._step(total, cell.cell_sum, "new_cell")
        assert after.begin == times.cell
        self._block.assigns.append(("cell_o", _resized(after, code_bits(cell.cell))))

        self._begin("Hidden state: output gate times tanh of the cell state, requantized.")
        tanh = self._step(after, cell.cell_tanh, "tanh_code")
        product = self._product("output_product", codes["output"], tanh, cell.output_product, times.output)
        hidden = self._step(product, cell.output_product.requantize, "hidden_code", absorbed=True)
        assert hidden.begin == times.hidden
        self._block.assigns.append(("hidden_o", _resized(hidden, code_bits(cell.hidden))))

    def _parameters(self) -> Iterable[tuple[str, object]]:
        return (entry for instance in self.instances() for entry in instance.parameters)

    @property
    def _block(self) -> _Block:
        return self.blocks[-1]

    def _begin(self, title: str) -> None:
        self.blocks.append(_Block(title))

    def _signal(self, name: str, bits: int, begin: int, end: int | None = None) -> _Signal:
        self._block.signals.append((bits, name))
        return _Signal(name, bits, begin, begin if end is None else end)

    def _gate(self, index: int) -> _Signal:
        gate = self.cell.gates[index]
        time = self.times.gates[gate.name]
        self._begin(f"{gate.name.capitalize()} gate.")
        start = -(self.times.parts - 1 - time.part) * self.times.column_tiles
        self.base = start
        total = self._signal(f"{gate.name}_total", self.total_bits, start)
        self._block.assigns.append((total.name, f"totals_i[{time.lane * self.total_bits} +: {self.total_bits}]"))
        code = total
        for number, certified in enumerate(gate.steps):
            last = number == len(gate.steps) - 1
            code = self._step(code, certified, f"{gate.name}_{'gate' if last else 'accumulator'}")
        if time.begin == time.end and time.part == self.times.parts - 1:
            return code
        held = self._signal(f"{gate.name}_held", code.bits, time.begin, time.end)
        self._block.instances.append(
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

    def _coupled(self, code: _Signal) -> _Signal:
        """The forget gate of a coupled cell: one minus the input gate."""
        one, factors = self.cell.coupled_one, self.design.factors
        assert one is not None
        bits = max(signed(factors).bits, code.bits)
        forget = self._signal("forget_gate", bits, code.begin, code.end)
        self._block.assigns.append((forget.name, f"{literal(one, bits)} - {_resized(code, bits)}"))
        return forget

    def _align(self, signal: _Signal, time: int) -> _Signal:
        """The signal as it stands at ``time``."""
        assert signal.begin <= time, f"{signal.name} is there at {signal.begin}, not at {time}"
        stages = time - signal.end
        if stages <= 0:
            return signal
        known = f"{signal.name}_at{time}".replace("-", "m")
        late = self._signal(known, signal.bits, time)
        self._block.instances.append(
            Instance(
                "hwgen_delay",
                f"u_{known}",
                (("Width", signal.bits), ("Stages", stages)),
                (("clk_i", "clk_i"), ("data_i", signal.name), ("data_o", known)),
            )
        )
        return late

    def _product(self, name: str, left: _Signal, right: _Signal, what: Product, time: int) -> _Signal:
        factors = [(self._align(left, time), what.left_zero), (self._align(right, time), what.right_zero)]
        # In LUTs the bits of the right one are added up: the narrower one.
        factors.sort(key=lambda factor: _factor_bits(*factor), reverse=True)
        (left, left_zero), (right, right_zero) = factors
        widths = [_factor_bits(*factor) for factor in factors]
        product = self._signal(name, sum(widths), time + self.registers.elementwise)
        self._block.instances.append(
            Instance(
                "hwgen_product",
                f"u_{name}",
                (
                    ("LeftBits", left.bits),
                    ("RightBits", right.bits),
                    ("LeftZero", left_zero),
                    ("RightZero", right_zero),
                    ("ProductBits", product.bits),
                    ("Dsp", int(in_dsp(widths[0], widths[1], _domain(what.requantize)))),
                    ("Stages", self.registers.elementwise),
                ),
                (("clk_i", "clk_i"), ("left_i", left.name), ("right_i", right.name), ("product_o", name)),
            )
        )
        return product

    def _step(self, value: _Signal, certified: Certified, name: str, absorbed: bool = False) -> _Signal:
        """A step function of ``value``; ``absorbed`` leaves its last register to whoever takes the code."""
        step, form, registers = certified.step, certified.form, self.registers
        missing = output_register(certified, registers) if absorbed else 0
        time = value.begin + latency(certified, registers) - missing
        code = self._signal(name, _code(certified), time)
        domain = _domain(certified)
        phrase = _PHRASES[form.kind].format(
            shift=getattr(form, "shift", 0), count=step.thresholds.shape[1], size=step.size
        )
        shared = "" if step.channels == 1 else ", one for each unit"
        self._block.title += f"\n{name}: {phrase}{shared}; exact on {step.lo}..{step.hi}."
        if isinstance(form, SearchForm) and form.levels == 0:
            self._block.assigns.append((name, literal(form.first, code.bits)))
            return code
        argument = self._argument(value, domain)
        parameters: list[tuple[str, object]] = [("ValueBits", domain)]
        ports = [("clk_i", "clk_i"), ("value_i", argument)]
        if isinstance(form, MultiplyForm | ShiftForm):
            lo, hi = form.lo, form.hi
            offset = self._parameter(f"{name}_offset", form.offset, value.begin)
            if isinstance(form, MultiplyForm):
                multiplier = self._parameter(f"{name}_multiplier", form.multiplier, value.begin)
                a, b, c, d = registers.multiply
                parameters += [
                    ("MultiplierBits", _span(form.multiplier)),
                    ("OffsetBits", _span(form.offset)),
                    ("TotalBits", _multiply_bits(certified, form)),
                    ("CodeBits", code.bits),
                    ("Shift", form.shift),
                    ("Lo", lo),
                    ("Hi", hi),
                    ("InputStages", a),
                    ("ProductStages", b),
                    ("SumStages", c),
                    ("OutputStages", d - missing),
                    *_limbs(domain, form.multiplier, _multiply_bits(certified, form)),
                ]
                ports += [("multiplier_i", multiplier), ("offset_i", offset)]
            else:
                a, b = registers.shift if form.shift > 0 else (0, registers.clamp)
                parameters += [
                    ("OffsetBits", _span(form.offset)),
                    ("TotalBits", _shift_bits(certified, form)),
                    ("CodeBits", code.bits),
                    ("Shift", form.shift),
                    ("Rounding", _ROUNDING[form.rounding]),
                    ("Lo", lo),
                    ("Hi", hi),
                    ("SumStages", a),
                    ("OutputStages", b - missing),
                ]
                ports += [("offset_i", offset)]
        elif isinstance(form, SearchForm):
            row = self._row(step.channels, value.begin, name)
            stages = search_stages(form, registers)
            threshold_bits = max(domain, _span(form.nodes()))
            parameters += [
                ("ThresholdBits", threshold_bits),
                ("CodeBits", code.bits),
                ("First", form.first),
                ("Count", form.thresholds.shape[1]),
                ("Rows", self._rows(step.channels)),
                ("Stages", stages - missing),
                ("OutputRegister", 1 - missing),
                ("File", self._search_files(name, form, threshold_bits)),
            ]
            ports += [("row_i", row)]
        else:
            assert isinstance(form, TableForm)
            row = self._row(step.channels, value.begin, name)
            parameters += [
                ("CodeBits", code.bits),
                ("Lo", form.lo),
                ("Size", form.table.shape[1]),
                ("Rows", self._rows(step.channels)),
                ("Stages", registers.table - missing),
                ("Block", self._table_in_block_ram(form, code.bits, registers.table - missing)),
                ("File", self._table_files(name, form, code.bits)),
            ]
            ports += [("row_i", row)]
        ports.append(("code_o", name))
        module = f"hwgen_step_{form.kind}"
        self._block.instances.append(Instance(module, f"u_{name}", tuple(parameters), tuple(ports), certified))
        return code

    def _table_in_block_ram(self, form: TableForm, bits: int, stages: int) -> int:
        words = self._rows(len(form.table)) * (1 << index_bits(form.table.shape[1]))
        return int(stages > 0 and memory(words, bits, written=False).block)

    def _argument(self, value: _Signal, bits: int) -> str:
        """The value in the width of a step's domain, as a signal of its own where it differs."""
        if value.bits == bits:
            return value.name
        name = f"{value.name}_in"
        self._block.signals.append((bits, name))
        self._block.assigns.append((name, _resized(value, bits)))
        if value.bits > bits:
            # The domain holds every value that comes up: what is cut repeats the sign.
            self._block.signals.append((1, f"unused_{name}"))
            self._block.assigns.append((f"unused_{name}", f"|{value.name}[{value.bits - 1}:{bits}]"))
        return name

    def _rows(self, channels: int) -> int:
        return self.groups if channels > 1 else 1

    def _index(self, time: int, name: str) -> str:
        """The group of the unit, as it stands at ``time``; it arrives a cycle before the totals of each gate."""
        self.indexed = True
        signal = f"{name}_group"
        self._block.signals.append((self.group_bits, signal))
        self._block.instances.append(
            Instance(
                "hwgen_delay",
                f"u_{signal}",
                (("Width", self.group_bits), ("Stages", time - self.base + 1)),
                (("clk_i", "clk_i"), ("data_i", "group_i"), ("data_o", signal)),
            )
        )
        return signal

    def _row(self, channels: int, time: int, name: str) -> str:
        if channels == 1 or self.groups == 1:
            return "1'b0"
        return self._index(time, name)

    def _parameter(self, name: str, values: IntArray, time: int) -> str:
        """A constant beside its value: a literal, or the channel's own from a small memory a cycle after its index."""
        bits = _span(values)
        if len(values) == 1:
            return literal(int(values[0]), bits)
        camel = "".join(part.capitalize() for part in name.split("_"))
        self._block.constants.append(constant(camel, values, bits))
        self._block.signals.append((bits, name))
        index = "1'b0" if self.groups == 1 else self._index(time - 1, name)
        self._block.instances.append(
            Instance(
                "hwgen_constants",
                f"u_{name}",
                (
                    ("Width", bits),
                    ("Depth", self.groups),
                    ("Stride", self.design.units),
                    ("Offset", "Lane"),
                    ("Values", camel),
                ),
                (("clk_i", "clk_i"), ("index_i", index), ("value_o", name)),
                contents=values,
            )
        )
        return name

    def _per_lane(self, table: IntArray) -> list[tuple[str, IntArray]]:
        """Contents of a memory: for all units, or for each lane that of its own channels [groups, ...]."""
        if len(table) == 1:
            return [("", table)]
        units = self.design.units
        return [(f"_u{lane:03d}", table[lane::units]) for lane in range(units)]

    def _search_files(self, name: str, form: SearchForm, bits: int) -> str:
        def texts() -> dict[str, str]:
            files = {}
            for suffix, rows in self._per_lane(form.nodes()):
                for level in range(form.levels):
                    words = rows[:, 1 << level : 2 << level].reshape(-1) & ((1 << bits) - 1)
                    what = f"{name} thresholds, level {level}: {len(words)} x {bits} bits"
                    files[f"{self.folder}/{name}{suffix}_l{level:02d}.hex"] = hex_file(what, words.tolist(), bits)
            return files

        self._contents.append(texts)
        path = f"{self.folder}/{name}"
        return f'"{path}"' if len(form.thresholds) == 1 else f'{{"{path}_u", LaneDigits}}'

    def _table_files(self, name: str, form: TableForm, bits: int) -> str:
        def texts() -> dict[str, str]:
            size = form.table.shape[1]
            table = np.pad(form.table, ((0, 0), (0, (1 << index_bits(size)) - size)), mode="edge")
            files = {}
            for suffix, rows in self._per_lane(table):
                words = rows.reshape(-1) & ((1 << bits) - 1)
                what = f"{name}: {len(words)} x {bits} bits"
                files[f"{self.folder}/{name}{suffix}.hex"] = hex_file(what, words.tolist(), bits)
            return files

        self._contents.append(texts)
        path = f"{self.folder}/{name}"
        return f'"{path}.hex"' if len(form.table) == 1 else f'{{"{path}_u", LaneDigits, ".hex"}}'


def _resized(value: _Signal, bits: int) -> str:
    if value.bits == bits:
        return value.name
    return f"{bits}'({value.name})" if value.bits < bits else f"{value.name}[{bits - 1}:0]"


def _span(values: IntArray) -> int:
    return signed(Interval(int(values.min()), int(values.max()))).bits


def _factor_bits(factor: _Signal, zero: int) -> int:
    """Bits of a factor of a product: a zero point costs one."""
    return factor.bits + (zero != 0)


def _domain(certified: Certified) -> int:
    """Bits of the arguments of a step function."""
    return signed(Interval(certified.step.lo, certified.step.hi)).bits


def _limbs(bits: int, multipliers: IntArray, total: int) -> list[tuple[str, object]]:
    """How a value of ``bits`` is multiplied, to ``total`` bits: in DSPs or not, whole or in limbs."""
    span = _span(multipliers)
    widths = [LIMB_BITS + 1, span - LIMB_BITS] if span > LIMB_BITS + 1 else [span]
    low_bits = widths[0]
    if len(multipliers) == 1:
        parts = limbs(int(multipliers[0]), span)
        widths, low_bits = [odd_bits(limb) for limb in parts], max(2, signed(Interval(0, parts[0])).bits)
    dsps = [int(in_dsp(bits, width, total - low)) for width, low in zip(widths, (0, LIMB_BITS), strict=False)]
    if len(dsps) == 1:
        return [("Dsp", dsps[0])]
    return [("LowBits", low_bits), ("Dsp", dsps[0]), ("HighDsp", dsps[1])]


def _shift_bits(certified: Certified, form: ShiftForm) -> int:
    """What holds the argument, the offset and the largest rounding increment."""
    step = certified.step
    gain, room = max(-form.shift, 0), 1 << max(form.shift, 0)
    low = (step.lo << gain) + int(form.offset.min())
    high = (step.hi << gain) + int(form.offset.max()) + room
    domain = signed(Interval(step.lo, step.hi)).bits
    return max(signed(Interval(min(low, form.lo), max(high, form.hi, room))).bits, domain, _span(form.offset))


def _multiply_bits(certified: Certified, form: MultiplyForm) -> int:
    """What holds every product and its sum with the offset."""
    step = certified.step
    factors = Interval(int(form.multiplier.min()), int(form.multiplier.max()))
    products = Interval(step.lo, step.hi).times(factors)
    sums = products.plus(Interval(int(form.offset.min()), int(form.offset.max())))
    whole = signed(Interval(min(products.lo, sums.lo), max(products.hi, sums.hi))).bits
    domain = signed(Interval(step.lo, step.hi)).bits
    return max(whole, domain, _span(form.multiplier), _span(form.offset), form.shift + 1)
