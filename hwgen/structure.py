# SPDX-License-Identifier: Apache-2.0
"""What the units of a design are made of: DSPs and block RAM exactly, and what LUTs and flip-flops are used for.

DSPs and block RAM are counted as Yosys maps the multiplications and memories that ``mapping`` assigns.  Of LUTs and
flip-flops the structures are counted (bits of adders, of multiplexers, of registers ...); ``cost`` prices them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwgen import mapping
from hwgen.adders import Pipeline
from hwgen.arrays import Value, choose, greater
from hwgen.backends.rtl import taps
from hwgen.backends.sv import index_bits
from hwgen.counting import Count, Unit, dsp_slices, rom_luts
from hwgen.mapping import Memory, code_bits, varying_columns
from hwgen.quantizer import IntArray
from hwgen.registers import Registers, product_latency, product_stages
from hwgen.rtl_timing import GruTimeline, LstmTimeline, Timeline
from hwgen.schedule import FoldedProduct
from hwgen.storage import AUTO
from hwgen.structure_steps import elementwise

# A flag of a step takes so many LUTs to write and to choose, where there are more steps than in what was fitted.
_LUTS_PER_STEP, _FEW_STEPS = 4, 10
# Of input weights that are stored outside of a layer the order of their gates.
Order = tuple[int, ...] | None


def structure(times: Timeline, flow: str = "xc7", outside: Order = None) -> list[Unit]:
    """What the units of a recurrent layer are made of."""
    return [*input_side(times, flow, outside), *hidden_side(times, flow), *between(junction(times), flow)]


def input_side(times: Timeline, flow: str, outside: Order = None) -> list[Unit]:
    """What depends on the folding of the input product alone."""
    return [_input_product(times, flow, outside), *_reversal(times, "x", flow)]


def hidden_side(times: Timeline, flow: str) -> list[Unit]:
    """What depends on the folding of the hidden product alone."""
    units = [_control(times, flow), _hidden_product(times, flow), _state(times, flow), elementwise(times, flow)]
    return units + _reversal(times, "y", flow)


@dataclass(frozen=True)
class Junction:
    """What both sides of a layer depend on, as numbers or as arrays: the buffers of sums and of outputs.

    ``steps`` and ``vectors`` are what these hold; ``ports`` are the bits and beats of each output.
    """

    rows: int
    sum_bits: int
    input_pe: Value
    hidden_pe: Value
    steps: Value
    stages: int
    ports: tuple[tuple[Value, Value], ...]
    vectors: Value
    # Bits of TID, where sequences are interleaved.
    id_bits: int = 0
    # That of the memory of sums.
    style: str = AUTO


def junction(times: Timeline) -> Junction:
    """That of one design."""
    design = times.design
    inputs, hidden = design.input_product, design.hidden_product
    return Junction(
        inputs.rows,
        mapping.sum_bits(design),
        inputs.pe,
        hidden.pe,
        times.sums_steps,
        times.registers.sums,
        tuple((port.lanes * code_bits(port.codes), port.beats) for port in design.outputs),
        times.output_vectors,
        design.inputs[0].id_bits,
        design.options.style("sums"),
    )


def between(where: Junction, flow: str) -> list[Unit]:
    """What depends on both foldings."""
    sums, streams = Count("sums buffer", flow), Count("streams", flow)
    _sums_buffer(sums, where)
    for bits, beats in where.ports:
        _axis_output(streams, bits, beats, where.vectors)
        if where.id_bits:
            fifo(streams, where.id_bits, beats * where.vectors)
    if where.id_bits:
        # hwgen_context_queue
        fifo(sums, where.id_bits, where.steps)
    return [sums.unit(), streams.unit()]


def _weights(count: Count, product: FoldedProduct, stages: int, dsp: bool) -> None:
    words, bits = mapping.stored_weights(product), mapping.weight_bits(product)
    count.rom(mapping.weight_memory(product), words, bits, stages, dsp)


def _matvec(count: Count, product: FoldedProduct, codes: int, sum_bits: int, stages: int, tree: int) -> bool:
    """hwgen_matvec: products, adder trees, accumulators; returns whether it multiplies in DSPs."""
    pe, simd, weight = product.pe, product.simd, mapping.weight_bits(product)
    dsp = mapping.product_in_dsp(product, codes, sum_bits)
    if product.packing != 1:
        return _shared_products(count, product, codes, sum_bits, stages, tree)
    bits = codes + 1 if product.weight.bipolar else codes + weight
    used = np.count_nonzero(product.weights.any(axis=1))
    if dsp:
        parts = [weight] if weight <= mapping.DSP_WEIGHT_BITS else [mapping.LIMB_BITS + 1, weight - mapping.LIMB_BITS]
        count.dsp += pe * simd * sum(dsp_slices(codes, part, count.flow) for part in parts)
        count.ff["absorbed"] += pe * simd * bits * stages
    elif product.tiles == 1:
        _constant_products(count, product, codes, stages)
    else:
        if product.weight.bipolar:
            count.lut["sign"] += pe * simd * bits
        else:
            count.lut["digit" if weight == 2 else "multiplier"] += (codes + 1) * _set_bits(product, weight)
        count.ff["product"] += used * bits * stages
    levels = math.ceil(math.log2(simd))
    # What is always zero is no term, unless DSPs multiply with it all the same.
    rows = np.full(pe, simd) if dsp else np.count_nonzero(product.weights.any(axis=1), axis=1)
    for level in range(1, levels + 1):
        # A DSP adds its product to that of a neighbour, and registers the sum.
        absorbed = dsp and level == 1
        adders, rows = int((rows // 2).sum()), rows - rows // 2
        registered = level * (tree + 1) // (levels + 1) > (level - 1) * (tree + 1) // (levels + 1)
        count.lut["adder"] += 0 if absorbed and count.fabric.absorbs else adders * (bits + level - 1)
        if not registered and not count.fabric.absorbs:
            # It is added up with what follows: without carries up to the last adder, of which a bit takes two LUTs.
            count.lut["carry save"] += adders * (bits + level - 1)
        if registered:
            count.ff["absorbed" if absorbed else "adder"] += int(rows.sum()) * (bits + level)
    absorbed = dsp and simd == 1
    count.lut["accumulator"] += 0 if absorbed and count.fabric.absorbs else pe * sum_bits
    count.ff["absorbed" if absorbed else "accumulator"] += pe * sum_bits
    count.flag(stages + tree + 1)
    count.delay(2, stages + tree)
    return dsp


def _graph(count: Count, pipeline: Pipeline) -> None:
    """A product by shifts and additions: a LUT for each bit of a carry chain, registers within and for the sums."""
    count.lut["constant adder"] += pipeline.adder_bits
    count.ff["constant adder"] += pipeline.register_bits
    count.ff["accumulator"] += len(pipeline.graph.rows) * pipeline.sum_bits
    count.flag(pipeline.stages + 1)


def _shared_products(count: Count, product: FoldedProduct, codes: int, sum_bits: int, stages: int, tree: int) -> bool:
    """hwgen_matvec where rows share DSPs, or what codes become by digits of weights."""
    pe, simd, weight = product.pe, product.simd, mapping.weight_bits(product)
    packing, terms, bits = product.packing, simd, product.field_bits
    if packing:
        groups, alone = divmod(pe, packing)
        count.dsp += simd * (groups + (alone > 1))
        count.ff["absorbed"] += simd * (pe - (alone == 1)) * bits * stages
        if alone == 1 and mapping.product_in_dsp(product, codes, sum_bits):
            count.dsp += simd * dsp_slices(codes, weight, count.flow)
        elif alone == 1:
            count.lut["multiplier"] += (codes + 1) * simd * (weight - 1)
            count.ff["product"] += simd * bits * stages
    else:
        digits, terms, odd = -(-weight // 2), -(-simd // 2), simd % 2
        count.lut["chain"] += simd * ((codes + 1) * (digits > 1) + codes)
        # The first lane of a term chooses, the second one adds as well.
        count.lut["chain"] += pe * digits * (terms * (codes + 2) + (terms - odd) * (codes + 3))
        count.ff["product"] += pe * digits * terms * (codes + 3) * stages
        count.lut["chain"] += pe * terms * sum(codes + 2 + 2 * above for above in range(1, digits))
        bits = codes + weight + 1
    levels = math.ceil(math.log2(terms))
    early, tree_stages = max(0, tree - levels), min(tree, levels)
    count.ff["product"] += pe * terms * bits * early
    rows = terms
    for level in range(1, levels + 1):
        adders, rows = rows // 2, rows - rows // 2
        count.lut["chain"] += pe * adders * (bits + level)
        if level * (tree_stages + 1) // (levels + 1) > (level - 1) * (tree_stages + 1) // (levels + 1):
            count.ff["adder"] += pe * rows * (bits + level)
    count.lut["accumulator"] += pe * sum_bits
    count.ff["accumulator"] += pe * sum_bits
    count.flag(stages + tree + 1)
    count.delay(2, stages + tree)
    return packing > 1


def _set_bits(product: FoldedProduct, weight: int) -> int:
    """Bits that any weight of a multiplier has set, beyond the first, of all multipliers: an adder for each."""
    found = np.bitwise_or.reduce(product.weights & ((1 << weight) - 1), axis=1)
    number = (found[:, :, np.newaxis] >> np.arange(weight) & 1).sum(axis=2)
    return int(np.maximum(number - 1, 0).sum())


def _constant_products(count: Count, product: FoldedProduct, codes: int, stages: int) -> None:
    """Products of an unrolled matrix: equal weights of a column share one, and zeros have none."""
    for column in product.weights[:, 0].T:
        for weight in np.unique(column[column != 0]).tolist():
            # An adder for each bit that is set but one, and one to negate.
            odd = weight // (weight & -weight)
            count.lut["constant multiplier"] += (codes + 1) * (abs(odd).bit_count() - 1 + (odd < 0))
            count.ff["product"] += (codes + abs(odd).bit_length() - 1) * stages


def _input_product(times: Timeline, flow: str, outside: Order) -> Unit:
    count = Count("input product", flow)
    design, codes = times.design, code_bits(times.design.cell.input)
    bias = mapping.memories(times).get("bias")
    sums = mapping.sum_bits(design)
    streamed_product(count, design.input_product, codes, sums, design.bias, bias, times.registers, outside)
    return count.unit()


def streamed_product(
    count: Count,
    product: FoldedProduct,
    codes: int,
    sums: int,
    bias: IntArray,
    bias_memory: Memory | None,
    registers: Registers,
    outside: Order = None,
) -> None:
    """hwgen_input_product: ``codes`` and ``sums`` are the bits of one; without what counts vectors.

    With weights from ``outside`` it is hwgen_tile_product.
    """
    (multiplied, tree), latency = product_stages(product, registers), product_latency(product, registers)
    if product.graph is not None:
        # Beside what counts vectors: codes, and the flags that travel with them.
        _graph(count, Pipeline(product.graph, sums, tree))
        count.ff["operand"] += product.simd * codes
        count.delay(1, latency)
        count.flag(1)
        return
    dsp = _matvec(count, product, codes, sums, multiplied, tree)
    if outside is None:
        _weights(count, product, registers.weight, dsp and product.packing == 1)
    elif len(outside) > 1 and product.pe == 1:
        # Tiles in another order: which gate it is, and how far away its weights are.
        count.counter(len(outside))
        count.lut["adder"] += index_bits(product.cycles)
    assert bias_memory is not None, product.name
    count.rom(bias_memory, bias.reshape(-1, product.pe), sums, 1)
    count.counter(product.folds, product.column_tiles, product.tiles)
    if product.sets > 1:
        count.counter(product.sets * product.folds)
    operands = product.simd * codes
    if product.folds > 1:
        if product.column_tiles > 1:
            count.queue(product.column_tiles, operands)
        count.lut["select"] += operands
        count.ff["read"] += operands if product.column_tiles == 1 else 0
    count.ff["absorbed" if dsp else "operand"] += operands * registers.weight
    count.delay(2, registers.weight)
    count.delay(index_bits(product.sets * product.folds), latency - 2)
    count.delay(1, latency)
    count.flag(registers.weight + latency)


def _sums_buffer(count: Count, where: Junction) -> None:
    """hwgen_sums_buffer, and the count of its steps in front of the input product."""
    bits, steps, hidden_pe = where.sum_bits, where.steps, where.hidden_pe
    memory = mapping.styled(mapping.sums_memory(where.rows, bits, where.input_pe, hidden_pe, steps), where.style)
    common = memory.bits // bits
    parts, others = where.input_pe // common, hidden_pe // common
    count.ram(memory, parts * others)
    count.lut["select"] += hidden_pe * bits * (parts - 1) / 2
    count.delay(hidden_pe * bits, where.stages - 1)
    count.counter(memory.words, memory.words, memory.words // steps, *[steps + 1] * 2, steps, steps)
    count.counter(others, parts)
    count.ff["flag"] += steps
    # Which of many steps is the last of its sequence: what it is written to and chosen from.
    count.lut["glue"] += _LUTS_PER_STEP * greater(steps - _FEW_STEPS, 0)


def _control(times: Timeline, flow: str) -> Unit:
    """The sequencer, what travels beside a tile, and one of everything that each design has once."""
    count = Count("control", flow)
    count.lut["design"] = count.ff["design"] = 1
    count.counter(times.period, times.tiles, times.column_tiles, times.parts, times.groups)
    count.flag(times.sums_read + 2 * times.operand)
    contexts, ids = times.design.contexts, times.design.context_bits
    if contexts > 1:
        # hwgen_interleave_control: each context counts cycles, and knows whether its sequence begins and where it is.
        count.counter(*[times.period] * (contexts - 1), times.tiles)
        count.flag(2 * contexts)
        count.lut["select"] += 3 * contexts
    place = index_bits(times.groups) + 3 + ids
    for tap in taps(times)[1]:
        count.delay(place, tap["stages"])
    count.delay(index_bits(times.column_tiles) + 2 + ids, times.read)
    count.delay(2, times.operand)
    if times.parts > 1:
        count.delay(index_bits(times.parts), times.total)
    if times.design.directions:
        # The direction of the next step, and where the weights and the constants of one lie.
        count.flag(1)
        count.lut["adder"] += index_bits(2 * times.tiles) + index_bits(2 * times.groups)
    return count.unit()


def _hidden_product(times: Timeline, flow: str) -> Unit:
    count = Count("hidden product", flow)
    design = times.design
    product, codes = design.hidden_product, code_bits(design.cell.hidden)
    if product.graph is not None:
        _graph(count, Pipeline(product.graph, mapping.total_bits(design), times.hidden_tree))
        count.ff["operand"] += product.simd * codes * times.registers.operand
        return count.unit()
    dsp = _matvec(count, product, codes, mapping.total_bits(design), times.multiplied, times.hidden_tree)
    _weights(count, product, times.registers.weight, dsp and product.packing == 1)
    count.ff["absorbed" if dsp else "operand"] += product.simd * codes * times.registers.operand
    return count.unit()


def _state(times: Timeline, flow: str) -> Unit:
    """Both copies of h with their multiplexers, what the units read, and initial states that come from outside."""
    count = Count("state", flow)
    design = times.design
    cell, simd, hidden_bits = design.cell, design.hidden_product.simd, code_bits(design.cell.hidden)
    whole = cell.hidden_size * hidden_bits
    if design.contexts > 1:
        # hwgen_context_memory: the copies of all contexts on top of each other, a memory for each group.
        copies = 2 << design.context_bits
        count.lut_ram(copies, design.units * hidden_bits, times.groups)
        count.lut["state select"] += simd * hidden_bits * count.fabric.select_luts(times.column_tiles)
        count.lut["state write"] += times.groups
    else:
        count.ff["state"] += 2 * whole
        count.lut["state select"] += simd * hidden_bits * count.fabric.select_luts(2 * times.column_tiles)
        count.lut["state write"] += 2 * times.groups
    states = [(cell.initial_hidden, hidden_bits, simd, times.read)]
    if isinstance(times, LstmTimeline):
        lstm = design.lstm
        states.append((lstm.initial_cell, code_bits(lstm.cell), design.units, times.kept))
    elif isinstance(times, GruTimeline):
        states.append((cell.initial_hidden, hidden_bits, design.units, times.kept))
        _new_rows(count, times)
    if len(states) > 1:
        count.ram(mapping.memories(times)["cell_state"])
    for initial, bits, lanes, used in states:
        if initial is None:
            whole = cell.hidden_size * bits
            count.ff["state"] += 2 * whole
            count.lut["state select"] += lanes * bits * count.fabric.select_luts(2 * cell.hidden_size // lanes)
            count.lut["state write"] += 2 * cell.hidden_size // design.units
            count.counter(cell.hidden_size // design.units)
            count.flag(6 + used)
        if initial is None or (initial != initial[0]).any() or initial[0]:
            count.lut["select"] += lanes * bits
    return count.unit()


def _new_rows(count: Count, times: GruTimeline) -> None:
    """The bias that rows of the candidate of a GRU start from, by unit and direction."""
    design, bits = times.design, mapping.total_bits(times.design)
    if times.groups * design.turns > 1:
        for lane in range(design.units):
            columns = varying_columns(times.cell.new_hidden.bias[lane :: design.units, np.newaxis], bits)
            count.lut["constants"] += rom_luts(columns, count.fabric.lut_words)
            count.ff["constants"] += columns.shape[1]
    if times.parts > 1:
        count.lut["select"] += design.hidden_product.pe * bits
        count.delay(index_bits(times.parts), times.total - 1)


def _axis_output(count: Count, bits: Value, beats: Value, vectors: Value) -> None:
    """hwgen_axis_output: vectors of so many beats of ``bits`` bits."""
    words = beats * vectors
    count.queue(words, bits + 1)
    count.counter(words, words, words + 1, vectors + 1, beats)


def fifo(count: Count, bits: Value, depth: Value) -> None:
    """hwgen_stream_fifo: a memory that is read at once."""
    count.queue(depth, choose(depth > 1, bits, 0))
    count.ff["word"] += choose(depth > 1, 0, bits)
    count.counter(depth, depth, depth + 1)


def _reversal(times: Timeline, name: str, flow: str) -> list[Unit]:
    """hwgen_sequence_reverse at the port ``name``, where there is one."""
    design, length = times.design, times.design.options.max_length
    count, memories = Count(f"reversal of {name}", flow), mapping.memories(times)
    found = [port for port in (*design.inputs, *design.outputs) if port.name == name and name in design.turned]
    for port in found:
        count.ram(memories[port.name])
        halves(count, port.beats, length)
    return [count.unit()] if found else []


def halves(count: Count, beats: Value, length: int) -> None:
    """hwgen_sequence_reverse and hwgen_sequence_turns: steps and beats, addresses, steps and address of each half."""
    count.counter(*[length] * 4, *[beats] * 2, *[2 * length * beats] * 4)
