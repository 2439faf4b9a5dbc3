# SPDX-License-Identifier: Apache-2.0
"""What the units of a design are made of: DSPs and block RAM exactly, and what LUTs and flip-flops are used for.

DSPs and block RAM are counted as Yosys maps the multiplications and memories that ``mapping`` assigns.  Of LUTs and
flip-flops the structures are counted (bits of adders, of multiplexers, of registers ...); ``cost`` prices them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwgen import mapping
from hwgen.backends.rtl import taps
from hwgen.backends.rtl_unit import UnitBuilder
from hwgen.backends.sv import Instance, index_bits
from hwgen.forms import MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.mapping import LIMB_BITS, Memory, code_bits
from hwgen.quantizer import IntArray, RoundingMode
from hwgen.rtl_timing import Timeline
from hwgen.schedule import FoldedProduct

# LUTs and flip-flops of each structure as its logic suggests; the fit finds what Yosys makes of it.
EXPECTED: dict[str, dict[str, float]] = {
    "lut": {
        "accumulator": 1.0,  # bits of accumulators, with the choice of where they start
        "adder": 1.0,  # bits of adder trees, without those that DSPs add
        "clamp": 1.0,  # bits of codes that are limited, and a third of the bits above
        "compare": 1.0,  # bits of comparisons of threshold searches
        "constants": 1.0,  # LUTs of the constants of channels
        "constant multiplier": 1.0,  # bits of adders of a product with a constant
        "counter": 1.0,  # bits of counters
        "design": 0.0,  # one for each design: what is counted nowhere else
        "digit": 1.0,  # bits of products with a number of two bits
        "multiplier": 1.7,  # bits of adders of a product in LUTs
        "ram": 1.0,  # LUTs of memories that are written: exact
        "rom": 1.0,  # LUTs of different columns of read-only memories of up to 64 words
        "deep rom": 1.3,  # and of more, which multiplexers join, or more LUTs
        "rounding": 0.4,  # bits of adders of shift forms
        "select": 1.0,  # bits of choices of two
        "shift register": 1.0,  # LUTs of delays
        "sign": 1.0,  # bits of products with +1 or -1
        "state select": 1.0,  # LUTs that choose the codes of h for the tile
        "state write": 1.0,  # groups of units, for each copy of the state
        "step adder": 1.0,  # bits of other adders of step functions and products
        "threshold": 1.0,  # LUTs of threshold memories beyond 16 words
    },
    "ff": {
        "absorbed": 0.0,  # bits of registers that DSPs have
        "accumulator": 1.0,
        "adder": 1.0,
        "code": 1.0,  # bits behind step functions
        "constants": 1.0,
        "counter": 1.0,
        "delay": 1.0,  # bits of delays too short for shift registers
        "design": 0.0,
        "flag": 1.0,
        "operand": 1.0,
        "product": 1.0,  # bits behind products in LUTs
        "read": 1.0,  # bits of words that were read
        "state": 1.0,  # bits of h, twice
        "step": 1.0,  # bits within step functions
    },
}
# Operands of the multipliers of a DSP, signed, without those of DSPs that take a part of a wider operand.
_MULTIPLIERS = {"xc7": (25, 18), "xcup": (27, 18)}
_PART_BITS = 17
# Delays of so many stages become shift registers in LUTs, of 32 stages each.
_SHIFT_REGISTER = 3


@dataclass(frozen=True)
class Unit:
    """A unit of a design: DSPs and halves of block RAM, and counts of what its LUTs and flip-flops are made of."""

    name: str
    dsp: int
    halves: int
    lut: Mapping[str, float]
    ff: Mapping[str, float]


class _Count:
    """Collects the structures of one unit."""

    def __init__(self, name: str, flow: str) -> None:
        self.name, self.flow = name, flow
        self.dsp = self.halves = 0
        self.lut: defaultdict[str, float] = defaultdict(float)
        self.ff: defaultdict[str, float] = defaultdict(float)

    def unit(self) -> Unit:
        """What was counted."""
        return Unit(self.name, self.dsp, self.halves, dict(self.lut), dict(self.ff))

    def delay(self, bits: int, stages: int) -> None:
        """hwgen_delay: registers, or shift registers of LUTs."""
        if stages >= _SHIFT_REGISTER:
            self.lut["shift register"] += bits * -(-stages // 32)
        else:
            self.ff["delay"] += bits * stages

    def flag(self, stages: int) -> None:
        """hwgen_flag_delay: each stage is reset, which shift registers cannot be."""
        self.ff["flag"] += stages

    def counter(self, *counts: int) -> None:
        """Counters from 0 to below each count."""
        bits = sum(index_bits(count) for count in counts)
        self.lut["counter"] += bits
        self.ff["counter"] += bits

    def multiplier(self, left: int, right: int, times: int = 1) -> None:
        """hwgen_multiply in LUTs: by two bits in one adder, by more in one for each bit but the highest."""
        self.lut["digit" if right == 2 else "multiplier"] += times * (left + 1) * (right - 1)

    def ram(self, memory: Memory) -> None:
        """A memory that is written, with a registered read."""
        if memory.block:
            self.halves += mapping.block_ram_halves(memory.words, memory.bits)
        elif memory.words > 1:
            self.lut["ram"] += mapping.ram_luts(memory.words, memory.bits)
            self.ff["read"] += memory.bits
        else:
            self.ff["read"] += 2 * memory.bits

    def rom(self, memory: Memory, words: IntArray, bits: int, stages: int, absorbed: bool = False) -> None:
        """hwgen_rom with contents [words, lanes] of ``bits`` a lane; ``absorbed`` registers stand in DSPs."""
        columns = varying_columns(words, bits)
        if memory.block:
            self.halves += mapping.block_ram_halves(memory.words, columns.shape[1])
        else:
            columns = np.unique(columns, axis=1)
            # A LUT for each 64 words of a column, unless they are all the same.
            blocks = [columns[i : i + 64] for i in range(0, len(columns), 64)]
            luts = sum(int((block != block[0]).any(axis=0).sum()) for block in blocks)
            self.lut["rom" if memory.words <= 64 else "deep rom"] += luts
        self.ff["absorbed" if absorbed else "read"] += (stages - memory.block) * columns.shape[1]


def structure(times: Timeline, flow: str = "xc7") -> list[Unit]:
    """What the units of a design are made of."""
    return [
        _input_product(times, flow),
        _sums_buffer(times, flow),
        _control(times, flow),
        _hidden_product(times, flow),
        _state(times, flow),
        _elementwise(times, flow),
        _edges(times, flow),
    ]


def dsp_slices(left: int, right: int, flow: str = "xc7") -> int:
    """DSPs of a product of signed numbers of so many bits, once it is given to DSPs."""
    wide, narrow = max(left, right), min(left, right)
    if narrow < 2 or wide + narrow < mapping.DSP_PRODUCT_BITS:
        return 0
    limits = zip((wide, narrow), _MULTIPLIERS[flow], strict=True)
    return math.prod(1 + max(0, -(-(bits - limit) // _PART_BITS)) for bits, limit in limits)


def varying_columns(words: IntArray, bits: int) -> NDArray[np.bool_]:
    """The bits of a memory [words, lanes] that are not the same in all words, [words, bits]: others are not stored."""
    found = (words[:, :, np.newaxis] >> np.arange(bits) & 1).astype(bool).reshape(len(words), -1)
    return found[:, (found != found[0]).any(axis=0)]


def _weights(count: _Count, product: FoldedProduct, stages: int, dsp: bool) -> None:
    stored = (product.weights > 0).astype(np.int64) if product.weight.bipolar else product.weights
    words = stored.transpose(1, 0, 2).reshape(product.cycles, -1)
    count.rom(mapping.weight_memory(product), words, mapping.weight_bits(product), stages, dsp)


def _matvec(count: _Count, times: Timeline, product: FoldedProduct, codes: int, sum_bits: int, tree: int) -> bool:
    """hwgen_matvec: products, adder trees, accumulators; returns whether it multiplies in DSPs."""
    pe, simd, weight = product.pe, product.simd, mapping.weight_bits(product)
    stages = times.registers.product
    dsp = mapping.product_in_dsp(product, codes, sum_bits)
    bits = codes + 1 if product.weight.bipolar else codes + weight
    if dsp:
        count.dsp += pe * simd * dsp_slices(codes, weight, count.flow)
        count.ff["absorbed"] += pe * simd * bits * stages
    elif product.cycles == 1:
        _constant_products(count, product, codes, stages)
    else:
        if product.weight.bipolar:
            count.lut["sign"] += pe * simd * bits
        else:
            count.multiplier(codes, weight, pe * simd)
        count.ff["product"] += pe * simd * bits * stages
    levels = math.ceil(math.log2(simd))
    # Zeros of an unrolled matrix are no terms, unless DSPs multiply with them all the same.
    constant = product.cycles == 1 and not dsp
    rows = np.count_nonzero(product.weights[:, 0], axis=1) if constant else np.full(pe, simd)
    for level in range(1, levels + 1):
        # A DSP adds its product to that of a neighbour, and registers the sum.
        absorbed = dsp and level == 1
        adders, rows = int((rows // 2).sum()), rows - rows // 2
        count.lut["adder"] += 0 if absorbed else adders * (bits + level - 1)
        if level * (tree + 1) // (levels + 1) > (level - 1) * (tree + 1) // (levels + 1):
            count.ff["absorbed" if absorbed else "adder"] += int(rows.sum()) * (bits + level)
    absorbed = dsp and simd == 1
    count.lut["accumulator"] += 0 if absorbed else pe * sum_bits
    count.ff["absorbed" if absorbed else "accumulator"] += pe * sum_bits
    count.flag(stages + tree + 1)
    count.delay(2, stages + tree)
    return dsp


def _constant_products(count: _Count, product: FoldedProduct, codes: int, stages: int) -> None:
    """Products of an unrolled matrix: equal weights of a column share one, and zeros have none."""
    for column in product.weights[:, 0].T:
        for weight in np.unique(column[column != 0]).tolist():
            # An adder for each bit that is set but one, and one to negate.
            odd = weight // (weight & -weight)
            count.lut["constant multiplier"] += (codes + 1) * (abs(odd).bit_count() - 1 + (odd < 0))
            count.ff["product"] += (codes + abs(odd).bit_length() - 1) * stages


def _input_product(times: Timeline, flow: str) -> Unit:
    count = _Count("input product", flow)
    design, registers = times.design, times.registers
    product, codes = design.input_product, code_bits(design.cell.input)
    sums = mapping.sum_bits(design)
    dsp = _matvec(count, times, product, codes, sums, times.input_tree)
    _weights(count, product, registers.weight, dsp)
    words = design.bias.reshape(product.folds, product.pe)
    count.rom(mapping.memories(times)["bias"], words, sums, 1)
    count.counter(product.folds, product.column_tiles, product.cycles, times.sums_steps + 1)
    operands = product.simd * codes
    if product.folds > 1:
        count.lut["ram"] += mapping.ram_luts(product.column_tiles, operands) if product.column_tiles > 1 else 0
        count.lut["select"] += operands
        count.ff["read"] += operands if product.column_tiles == 1 else 0
    count.ff["absorbed" if dsp else "operand"] += operands * registers.weight
    count.delay(2, registers.weight)
    count.delay(index_bits(product.folds), times.input_latency - 2)
    count.delay(1, times.input_latency)
    count.flag(registers.weight + times.input_latency)
    return count.unit()


def _sums_buffer(times: Timeline, flow: str) -> Unit:
    count = _Count("sums buffer", flow)
    design = times.design
    inputs, hidden = design.input_product, design.hidden_product
    banks = (inputs.pe // times.common) * (hidden.pe // times.common)
    memory = mapping.memories(times)["sums"]
    for _ in range(banks):
        count.ram(memory)
    bits = hidden.pe * mapping.sum_bits(design)
    parts = inputs.pe // times.common
    count.lut["select"] += bits * (parts - 1) / 2
    count.delay(bits, times.registers.sums - 1)
    lines = memory.words // times.sums_steps
    count.counter(memory.words, memory.words, lines, times.sums_steps + 1, times.sums_steps, times.sums_steps)
    count.counter(hidden.pe // times.common, parts)
    count.ff["flag"] += times.sums_steps
    return count.unit()


def _control(times: Timeline, flow: str) -> Unit:
    """The sequencer, what travels beside a tile, and one of everything that each design has once."""
    count = _Count("control", flow)
    count.lut["design"] = count.ff["design"] = 1
    count.counter(times.period, times.tiles, times.column_tiles, times.parts, times.groups)
    count.flag(times.sums_read + 2 * times.operand)
    place = index_bits(times.groups) + 3
    for tap in taps(times)[1]:
        count.delay(place, tap["stages"])
    count.delay(index_bits(times.column_tiles) + 2, times.read)
    count.delay(2, times.operand)
    if times.parts > 1:
        count.delay(index_bits(times.parts), times.total)
    return count.unit()


def _hidden_product(times: Timeline, flow: str) -> Unit:
    count = _Count("hidden product", flow)
    design = times.design
    product, codes = design.hidden_product, code_bits(design.cell.hidden)
    dsp = _matvec(count, times, product, codes, mapping.total_bits(design), times.hidden_tree)
    _weights(count, product, times.registers.weight, dsp)
    count.ff["absorbed" if dsp else "operand"] += product.simd * codes * times.registers.operand
    return count.unit()


def _state(times: Timeline, flow: str) -> Unit:
    """Both copies of h with their multiplexers, c, and initial states that come from outside."""
    count = _Count("state", flow)
    design = times.design
    cell, simd, hidden_bits = design.cell, design.hidden_product.simd, code_bits(design.cell.hidden)
    whole = cell.hidden_size * hidden_bits
    count.ff["state"] += 2 * whole
    count.lut["state select"] += simd * hidden_bits * _select_luts(2 * times.column_tiles)
    count.lut["state write"] += 2 * times.groups
    count.ram(mapping.memories(times)["cell_state"])
    for port, initial, bits, lanes in (
        ("h0", cell.initial_hidden, hidden_bits, simd),
        ("c0", cell.initial_cell, code_bits(cell.cell), design.units),
    ):
        if initial is None:
            whole = cell.hidden_size * bits
            count.ff["state"] += 2 * whole
            count.lut["state select"] += lanes * bits * _select_luts(2 * cell.hidden_size // lanes)
            count.lut["state write"] += 2 * cell.hidden_size // design.units
            count.counter(cell.hidden_size // design.units)
            count.flag(6 + (times.read if port == "h0" else times.kept))
        if initial is None or (initial != initial[0]).any() or initial[0]:
            count.lut["select"] += lanes * bits
    return count.unit()


def _select_luts(words: int) -> float:
    """LUTs that choose one bit of so many: as Yosys builds them, more than a tree of six-input LUTs needs."""
    return 1 if words <= 4 else 0.625 * words - 1.5


def _edges(times: Timeline, flow: str) -> Unit:
    """Streams: outputs with their buffers, and the reversal of sequences."""
    count = _Count("streams", flow)
    design = times.design
    for port in design.outputs:
        words, bits = port.beats * times.output_vectors, port.lanes * code_bits(port.codes) + 1
        count.lut["ram"] += mapping.ram_luts(words, bits)
        count.counter(words, words, words + 1, times.output_vectors + 1, port.beats)
    if design.cell.reverse:
        memories = mapping.memories(times)
        for port in (port for port in (*design.inputs, *design.outputs) if port.name in ("x", "y")):
            length = design.options.max_length
            count.ram(memories[port.name])
            # Steps and beats, addresses, steps and address of each half.
            count.counter(*[length] * 4, *[port.beats] * 2, *[2 * length * port.beats] * 4)
    return count.unit()


def _step_multiply(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, MultiplyForm)
    value, bits, total = p["ValueBits"], p["MultiplierBits"], p["TotalBits"]
    wide = bits > LIMB_BITS + 1
    widths = [LIMB_BITS + 1, bits - LIMB_BITS] if wide else [bits]
    constant = None
    if len(form.multiplier) == 1 or times.groups == 1:
        constant = int(form.multiplier[lane % len(form.multiplier)])
        limbs = mapping.limbs(constant, bits)
        widths = [mapping.odd_bits(limb) for limb in limbs]
    count.ff["operand"] += value * p["InputStages"]
    slices = 0
    for index, width in enumerate(widths):
        if p["HighDsp" if index else "Dsp"]:
            slices += dsp_slices(value, width, count.flow)
        elif constant is None:
            count.multiplier(value, width)
            count.ff["product"] += (value + width) * p["ProductStages"]
        elif limbs[index]:
            count.lut["constant multiplier"] += value * (limbs[index].bit_count() - 1)
            count.ff["product"] += (value + max(width - 1, 0)) * p["ProductStages"]
    count.dsp += slices
    rest = total - p["Shift"]
    if not slices:
        count.lut["step adder"] += total
    count.ff["absorbed" if slices and not wide else "step"] += rest * p["SumStages"]
    _clamp(count, rest, p)


def _step_shift(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, ShiftForm)
    total, cut = p["TotalBits"], max(form.shift, 0)
    adders = int((form.offset != 0).any()) + int(cut > 0 and form.rounding is not RoundingMode.FLOOR)
    count.lut["rounding"] += total * adders
    count.ff["step"] += total * p["SumStages"]
    _clamp(count, total - cut, p)


def _clamp(count: _Count, bits: int, p: dict[str, int]) -> None:
    count.lut["clamp"] += p["CodeBits"] + max(0, bits - p["CodeBits"]) / 3
    count.ff["code"] += p["CodeBits"] * p["OutputStages"]


def _step_search(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, SearchForm)
    nodes = form.nodes()
    nodes = nodes[lane :: times.design.units] if len(nodes) > 1 else nodes
    levels, parts = form.levels, p["Stages"] + 1 - p["OutputRegister"]
    bits, rows = p["ThresholdBits"], p["Rows"]
    row_bits = index_bits(rows) if rows > 1 else 0
    registered = False
    for level in range(1, levels + 1):
        words = rows << (level - 1)
        columns = varying_columns(nodes[:, 1 << (level - 1) : 1 << level].reshape(-1, 1), bits)
        columns = np.unique(columns, axis=1).shape[1]
        count.lut["compare"] += bits / 3 if words == 1 else bits
        # The comparison takes up to four bits of address; more make the memory one of its own.
        count.lut["threshold"] += mapping.rom_luts(words, columns) if words > 16 else 0
        # Behind a register it is the threshold that is registered, not its address alone.
        count.ff["step"] += columns if registered else 0
        registered = level * parts // levels > (level - 1) * parts // levels
        if registered and level < levels:
            count.ff["step"] += level + p["ValueBits"] + row_bits
        elif registered:
            count.ff["code"] += level * p["OutputRegister"]
    count.lut["clamp"] += p["CodeBits"]


def _step_table(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, TableForm)
    rows = form.table[lane :: times.design.units] if len(form.table) > 1 else form.table
    words = p["Rows"] << index_bits(rows.shape[1])
    count.rom(Memory(words, p["CodeBits"], False, bool(p["Block"])), rows.reshape(-1, 1), p["CodeBits"], p["Stages"])
    # The address is value - lo: an inverted sign, or a part of the memory's own LUTs, or an adder.
    if -form.lo & (-form.lo - 1) and p["ValueBits"] > 6:
        count.lut["step adder"] += p["ValueBits"]


def _product(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    left, right = p["LeftBits"] + (p["LeftZero"] != 0), p["RightBits"] + (p["RightZero"] != 0)
    count.lut["step adder"] += left * (p["LeftZero"] != 0) + right * (p["RightZero"] != 0)
    if p["Dsp"]:
        count.dsp += dsp_slices(left, right, count.flow)
    else:
        count.multiplier(left, right)
        count.ff["product"] += p["ProductBits"] * p["Stages"]


def _constants(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    if p["Depth"] > 1:
        assert instance.contents is not None
        values = instance.contents[lane :: times.design.units, np.newaxis]
        columns = np.unique(varying_columns(values, p["Width"]), axis=1).shape[1]
        count.lut["constants"] += mapping.rom_luts(p["Depth"], columns)
        # The register of a multiplier is one of its DSP.
        count.ff["absorbed" if instance.name.endswith("_multiplier") else "constants"] += columns


def _delay(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    count.delay(p["Width"], p["Stages"])


def _hold(count: _Count, p: dict[str, int], instance: Instance, times: Timeline, lane: int) -> None:
    count.flag(p["Delay"])
    count.ff["step"] += p["Width"]


_LAWS = {
    "hwgen_step_multiply": _step_multiply,
    "hwgen_step_shift": _step_shift,
    "hwgen_step_search": _step_search,
    "hwgen_step_table": _step_table,
    "hwgen_product": _product,
    "hwgen_constants": _constants,
    "hwgen_delay": _delay,
    "hwgen_hold": _hold,
}


def _elementwise(times: Timeline, flow: str) -> Unit:
    """Step functions and products of all hidden units that work side by side."""
    builder = UnitBuilder(times.design, times)
    builder.build()
    count = _Count("elementwise", flow)
    for lane in range(times.design.units):
        for instance in builder.instances():
            numbers = {name: value for name, value in instance.parameters if isinstance(value, int)}
            _LAWS[instance.module](count, numbers, instance, times, lane)
        count.lut["step adder"] += builder.sum_bits
    return count.unit()
