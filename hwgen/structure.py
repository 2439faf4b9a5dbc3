# SPDX-License-Identifier: Apache-2.0
"""What the units of a design are made of: DSPs and block RAM exactly, and what LUTs and flip-flops are used for.

DSPs and block RAM are counted as Yosys maps the multiplications and memories that ``mapping`` assigns.  Of LUTs and
flip-flops the structures are counted (bits of adders, of multiplexers, of registers ...); ``cost`` prices them.
"""

from __future__ import annotations

import math

import numpy as np

from hwgen import mapping
from hwgen.backends.rtl import taps
from hwgen.backends.sv import index_bits
from hwgen.counting import Count, Unit, dsp_slices
from hwgen.mapping import code_bits
from hwgen.rtl_timing import Timeline
from hwgen.schedule import FoldedProduct
from hwgen.structure_steps import elementwise


def structure(times: Timeline, flow: str = "xc7") -> list[Unit]:
    """What the units of a design are made of."""
    return [
        _input_product(times, flow),
        _sums_buffer(times, flow),
        _control(times, flow),
        _hidden_product(times, flow),
        _state(times, flow),
        elementwise(times, flow),
        _edges(times, flow),
    ]


def _weights(count: Count, product: FoldedProduct, stages: int, dsp: bool) -> None:
    stored = (product.weights > 0).astype(np.int64) if product.weight.bipolar else product.weights
    words = stored.transpose(1, 0, 2).reshape(product.cycles, -1)
    count.rom(mapping.weight_memory(product), words, mapping.weight_bits(product), stages, dsp)


def _matvec(count: Count, times: Timeline, product: FoldedProduct, codes: int, sum_bits: int, tree: int) -> bool:
    """hwgen_matvec: products, adder trees, accumulators; returns whether it multiplies in DSPs."""
    pe, simd, weight = product.pe, product.simd, mapping.weight_bits(product)
    stages = times.registers.product
    dsp = mapping.product_in_dsp(product, codes, sum_bits)
    bits = codes + 1 if product.weight.bipolar else codes + weight
    if dsp:
        parts = [weight] if weight <= mapping.DSP_WEIGHT_BITS else [mapping.LIMB_BITS + 1, weight - mapping.LIMB_BITS]
        count.dsp += pe * simd * sum(dsp_slices(codes, part, count.flow) for part in parts)
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


def _constant_products(count: Count, product: FoldedProduct, codes: int, stages: int) -> None:
    """Products of an unrolled matrix: equal weights of a column share one, and zeros have none."""
    for column in product.weights[:, 0].T:
        for weight in np.unique(column[column != 0]).tolist():
            # An adder for each bit that is set but one, and one to negate.
            odd = weight // (weight & -weight)
            count.lut["constant multiplier"] += (codes + 1) * (abs(odd).bit_count() - 1 + (odd < 0))
            count.ff["product"] += (codes + abs(odd).bit_length() - 1) * stages


def _input_product(times: Timeline, flow: str) -> Unit:
    count = Count("input product", flow)
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
    count = Count("sums buffer", flow)
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
    count = Count("control", flow)
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
    count = Count("hidden product", flow)
    design = times.design
    product, codes = design.hidden_product, code_bits(design.cell.hidden)
    dsp = _matvec(count, times, product, codes, mapping.total_bits(design), times.hidden_tree)
    _weights(count, product, times.registers.weight, dsp)
    count.ff["absorbed" if dsp else "operand"] += product.simd * codes * times.registers.operand
    return count.unit()


def _state(times: Timeline, flow: str) -> Unit:
    """Both copies of h with their multiplexers, c, and initial states that come from outside."""
    count = Count("state", flow)
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
    count = Count("streams", flow)
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
