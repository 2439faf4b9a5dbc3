# SPDX-License-Identifier: Apache-2.0
"""Step functions as SystemVerilog instances, of one lane of several that work side by side: constants and memories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hwgen.backends.sv import Constant, Instance, constant, hex_file, index_bits, literal
from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.integer import Interval
from hwgen.mapping import LIMB_BITS, in_dsp, limbs, memory, odd_bits
from hwgen.quantizer import IntArray, RoundingMode
from hwgen.registers import Registers, latency, output_register, search_stages
from hwgen.schedule import signed

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
class Block:
    """A stage of arithmetic: a comment, constants, signals and instances."""

    title: str
    constants: list[Constant] = field(default_factory=list)
    signals: list[tuple[int, str]] = field(default_factory=list)
    assigns: list[tuple[str, str]] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)


@dataclass(frozen=True)
class Signal:
    """A signed value and the cycles in which it stands (inclusive)."""

    name: str
    bits: int
    begin: int
    end: int


def code_width(certified: Certified) -> int:
    """Bits of the codes of a step function as signed numbers."""
    return signed(Interval(certified.step.first, certified.step.last)).bits


class StepBuilder:
    """Blocks of instances; their step functions may differ by channel.

    ``lanes`` lanes work side by side, each of them on one of its ``groups`` channels at a time: channel = group *
    lanes + Lane.  The group stands at ``group_i`` a cycle before the values of cycle ``base``.  Memory contents go to
    ``folder``.

    Where two ``directions`` take turns, groups are those of the first and then those of the second; a step function
    that differs by direction alone has two channels, and the direction at ``direction_i``.
    """

    def __init__(
        self,
        registers: Registers,
        groups: int,
        lanes: int,
        folder: str = "rom",
        noun: str = "unit",
        directions: int = 1,
    ) -> None:
        self.registers, self.lanes, self.folder, self.noun = registers, lanes, folder, noun
        self.groups, self.directions = groups * directions, directions
        self.blocks: list[Block] = []
        self._contents: list[Callable[[], dict[str, str]]] = []
        self.base = 0
        self.indexed = False
        self.directed = False
        self.group_bits = index_bits(self.groups)

    def files(self) -> dict[str, str]:
        """Memory contents by path: large for wide searches, so written only on demand."""
        return {path: text for texts in self._contents for path, text in texts().items()}

    def instances(self) -> list[Instance]:
        """Everything that stands in the blocks, in order."""
        return [instance for block in self.blocks for instance in block.instances]

    def parameter_uses(self, name: str) -> bool:
        """Whether an instance has a parameter that is made of ``name``."""
        return any(name in str(value) for instance in self.instances() for _, value in instance.parameters)

    @property
    def block(self) -> Block:
        """The block that is being built."""
        return self.blocks[-1]

    def begin(self, title: str) -> None:
        """Another block."""
        self.blocks.append(Block(title))

    def signal(self, name: str, bits: int, begin: int, end: int | None = None) -> Signal:
        """Another signal of the block."""
        self.block.signals.append((bits, name))
        return Signal(name, bits, begin, begin if end is None else end)

    def step(self, value: Signal, certified: Certified, name: str, absorbed: bool = False) -> Signal:
        """A step function of ``value``; ``absorbed`` leaves its last register to whoever takes the code."""
        step, form, registers = certified.step, certified.form, self.registers
        missing = output_register(certified, registers) if absorbed else 0
        time = value.begin + latency(certified, registers) - missing
        code = self.signal(name, code_width(certified), time)
        domain = domain_bits(certified)
        phrase = _PHRASES[form.kind].format(
            shift=getattr(form, "shift", 0), count=step.thresholds.shape[1], size=step.size
        )
        channel = "direction" if self._by_direction(step.channels) else self.noun
        shared = "" if step.channels == 1 else f", one for each {channel}"
        self.block.title += f"\n{name}: {phrase}{shared}; exact on {step.lo}..{step.hi}."
        if isinstance(form, SearchForm) and form.levels == 0:
            self.block.assigns.append((name, literal(form.first, code.bits)))
            # There may be other readers: said once for each step function, whatever its argument.
            self.block.signals.append((1, f"unused_{name}_argument"))
            self.block.assigns.append((f"unused_{name}_argument", f"|{value.name}"))
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
        self.block.instances.append(Instance(module, f"u_{name}", tuple(parameters), tuple(ports), certified))
        return code

    def _table_in_block_ram(self, form: TableForm, bits: int, stages: int) -> int:
        words = self._rows(len(form.table)) * (1 << index_bits(form.table.shape[1]))
        return int(stages > 0 and memory(words, bits, written=False).block)

    def _argument(self, value: Signal, bits: int) -> str:
        """The value in the width of a step's domain, as a signal of its own where it differs."""
        if value.bits == bits:
            return value.name
        name = f"{value.name}_in"
        self.block.signals.append((bits, name))
        self.block.assigns.append((name, resized(value, bits)))
        if value.bits > bits:
            # The domain holds every value that comes up: what is cut repeats the sign.
            self.block.signals.append((1, f"unused_{name}"))
            self.block.assigns.append((f"unused_{name}", f"|{value.name}[{value.bits - 1}:{bits}]"))
        return name

    def _by_direction(self, channels: int) -> bool:
        """Whether so many channels are one for each direction."""
        return channels == self.directions > 1

    def _rows(self, channels: int) -> int:
        if self._by_direction(channels):
            return self.directions
        return self.groups if channels > 1 else 1

    def _index(self, channels: int, time: int, name: str) -> str:
        """The group of the channel, as it stands at ``time``; it arrives a cycle before the values at ``base``."""
        bits, source = self.group_bits, "group"
        if self._by_direction(channels):
            self.directed = True
            bits, source = index_bits(self.directions), "direction"
        else:
            self.indexed = True
        signal = f"{name}_{source}"
        self.block.signals.append((bits, signal))
        self.block.instances.append(
            Instance(
                "hwgen_delay",
                f"u_{signal}",
                (("Width", bits), ("Stages", time - self.base + 1)),
                (("clk_i", "clk_i"), ("data_i", f"{source}_i"), ("data_o", signal)),
            )
        )
        return signal

    def _row(self, channels: int, time: int, name: str) -> str:
        if self._rows(channels) == 1:
            return "1'b0"
        return self._index(channels, time, name)

    def _parameter(self, name: str, values: IntArray, time: int) -> str:
        """A constant beside its value: a literal, or the channel's own from a small memory a cycle after its index."""
        bits = _span(values)
        if len(values) == 1:
            return literal(int(values[0]), bits)
        camel = "".join(part.capitalize() for part in name.split("_"))
        self.block.constants.append(constant(camel, values, bits))
        self.block.signals.append((bits, name))
        index, rows = self._row(len(values), time - 1, name), self._rows(len(values))
        stride, offset = (1, "0") if self._by_direction(len(values)) else (self.lanes, "Lane")
        self.block.instances.append(
            Instance(
                "hwgen_constants",
                f"u_{name}",
                (
                    ("Width", bits),
                    ("Depth", rows),
                    ("Stride", stride),
                    ("Offset", offset),
                    ("Values", camel),
                ),
                (("clk_i", "clk_i"), ("index_i", index), ("value_o", name)),
                contents=values,
            )
        )
        return name

    def _of_all_lanes(self, values: IntArray) -> bool:
        return len(values) == 1 or self._by_direction(len(values))

    def _per_lane(self, table: IntArray) -> list[tuple[str, IntArray]]:
        """Contents of a memory: for all channels, or for each lane that of its own [groups, ...]."""
        if self._of_all_lanes(table):
            return [("", table)]
        return [(f"_u{lane:03d}", table[lane :: self.lanes]) for lane in range(self.lanes)]

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
        return (
            f'"{self.folder}/{name}"'
            if self._of_all_lanes(form.thresholds)
            else f'{{"{self.folder}/{name}_u", LaneDigits}}'
        )

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
        return (
            f'"{self.folder}/{name}.hex"'
            if self._of_all_lanes(form.table)
            else f'{{"{self.folder}/{name}_u", LaneDigits, ".hex"}}'
        )


def resized(value: Signal, bits: int) -> str:
    """The value with its sign repeated, or its low bits."""
    if value.bits == bits:
        return value.name
    if value.bits == 1:
        # A wire of one bit has no sign of its own: a cast would fill up with zeros.
        return f"{{{bits}{{{value.name}}}}}"
    return f"{bits}'({value.name})" if value.bits < bits else f"{value.name}[{bits - 1}:0]"


def _span(values: IntArray) -> int:
    return signed(Interval(int(values.min()), int(values.max()))).bits


def domain_bits(certified: Certified) -> int:
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
