# SPDX-License-Identifier: Apache-2.0
"""What a network is made of, node by node: recurrent layers, layers on streams, and what stands between them."""

from __future__ import annotations

import numpy as np

from hwgen import mapping
from hwgen.arrays import Value, choose, counter_bits, greater
from hwgen.backends.rtl_head import dense_lane, map_lane
from hwgen.backends.rtl_step import StepBuilder
from hwgen.counting import Count, Unit
from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    DenseNode,
    ForkNode,
    KeepNode,
    MapNode,
    MeetNode,
    NarrowNode,
    Node,
    ReverseNode,
    SelectNode,
    SplitNode,
    StackNode,
    TurnsNode,
    WidenNode,
)
from hwgen.head_design import DenseDesign, MapDesign
from hwgen.registers import Registers, registers_for
from hwgen.rtl_timing import timeline
from hwgen.sharing import SharedWeights, shared_weights
from hwgen.structure import Order, fifo, halves, streamed_product, structure
from hwgen.structure_steps import Lanes, argument, count_lanes


def network_structure(design: Dataflow, flow: str = "xc7") -> dict[str, list[Unit]]:
    """The units of each node by its name: several of a recurrent layer, one of any other.

    Weights that two layers share are beside their nodes, by a name of their own.
    """
    shared = shared_weights(design)
    orders = {node.name: pair.order_of(node) for pair in shared for node in (pair.first, pair.second)}
    nodes = {node.name: _units(node, flow, orders.get(node.name)) for node in design.nodes}
    registers = registers_for(design.options.clock_mhz)
    return nodes | {pair.name: [shared_structure(pair, registers, flow)] for pair in shared}


def _units(node: Node, flow: str, outside: Order) -> list[Unit]:
    if isinstance(node, CellNode):
        return structure(timeline(node.design), flow, outside)
    if isinstance(node, DenseNode):
        return [dense_structure(node.design, flow)]
    return [map_structure(node.design, flow) if isinstance(node, MapNode) else node_structure(node, flow)]


def shared_structure(pair: SharedWeights, registers: Registers, flow: str) -> Unit:
    """hwgen_shared_rom: a block RAM, and of each port the registers behind it, which DSPs take in."""
    count = Count(pair.name, flow)
    count.halves += count.fabric.shared_rom_halves(pair.memory.words, pair.varying)
    for node in (pair.first, pair.second):
        design = node.design
        codes, sums = mapping.code_bits(design.cell.input), mapping.sum_bits(design)
        absorbed = mapping.product_in_dsp(design.input_product, codes, sums)
        absorbed &= design.input_product.packing == 1
        count.ff["absorbed" if absorbed else "read"] += (registers.weight - 1) * pair.varying
    return count.unit()


def node_structure(node: Node, flow: str) -> Unit:
    """What stands between layers."""
    stream, count = node.inputs[0], Count(node.name, flow)
    if isinstance(node, ForkNode):
        fork(count, len(node.outputs))
    elif isinstance(node, NarrowNode):
        narrow(count, node.outputs[0].bits, node.factor)
    elif isinstance(node, WidenNode):
        widen(count, stream.bits, node.factor)
    elif isinstance(node, BufferNode):
        buffer(count, stream.bits, node.depth, node.style)
    elif isinstance(node, MeetNode):
        sums = node.outputs[0]
        meet(count, sums.lanes, sums.beats, node.inputs[node.count_place].beats, node)
    elif isinstance(node, ConcatNode):
        concat(count, stream.bits, len(node.inputs), max(part.beats for part in node.inputs))
    elif isinstance(node, TurnsNode | ReverseNode):
        turned(count, stream.bits, stream.beats, node.max_length)
    elif isinstance(node, SplitNode | KeepNode):
        split(count, stream.beats, node.stacked)
    elif isinstance(node, StackNode):
        stack(count, stream.bits, node.inputs[0].beats, node.inputs[1].beats)
    elif isinstance(node, SelectNode):
        select(count, stream.bits, stream.beats, node.stage.index)
    else:
        assert isinstance(node, ArgmaxNode), f"{node.name}: no law"
        argmax(count, stream.code_bits, stream.width, int(node.stage.rank.max()).bit_length())
    return count.unit()


def dense_structure(design: DenseDesign, flow: str) -> Unit:
    """A dense layer: its product, the step functions of all rows side by side, and the buffer of its output."""
    count = Count(design.name, flow)
    product, stage = design.product, design.stage
    codes, sums = mapping.code_bits(design.source), design.sum_bits
    count.counter(design.vectors + 1)
    streamed_product(count, product, codes, sums, stage.bias, design.bias_memory, design.registers)
    builder = dense_lane(design)
    if builder is not None:
        _lanes(count, builder)
    count.flag(design.step_latency)
    count.delay(2, design.step_latency)
    fifo(count, design.pe * design.codes.storage.bits + 2, design.depth)
    return count.unit()


def map_structure(design: MapDesign, flow: str) -> Unit:
    """A step function on a stream."""
    count = Count(design.name, flow)
    count.counter(design.depth + 1)
    _lanes(count, map_lane(design))
    count.flag(design.step_latency)
    count.delay(1, design.step_latency)
    fifo(count, design.lanes * design.codes.storage.bits + 1, design.depth)
    return count.unit()


def _lanes(count: Count, builder: StepBuilder) -> None:
    if builder.indexed:
        count.counter(builder.groups)
    count_lanes(count, builder.instances(), Lanes(builder.lanes, builder.groups, argument))


def fork(count: Count, outputs: int) -> None:
    """hwgen_stream_fork: who has taken the beat."""
    count.lut["glue"] += 2 * outputs + 1
    count.ff["flag"] += outputs


def narrow(count: Count, bits: Value, factor: Value) -> None:
    """hwgen_stream_narrow: one of ``factor`` words of so many bits."""
    count.lut["mux"] += bits * count.fabric.mux_luts(factor)
    count.lut["glue"] += 3
    count.counter(factor)


def widen(count: Count, bits: Value, factor: Value) -> None:
    """hwgen_stream_widen: all words but the last of a beat are kept, ``bits`` each."""
    count.ff["word"] += bits * (factor - 1)
    count.lut["glue"] += 4
    count.counter(factor)


def buffer(count: Count, bits: Value, depth: Value, style: str) -> None:
    """hwgen_stream_buffer: a memory with a registered read."""
    count.ram(mapping.buffer_memory(depth, bits, style))
    count.lut["glue"] += 4
    count.counter(depth, depth, depth + 1)
    count.ff["flag"] += 1


def turned(count: Count, bits: Value, beats: Value, length: int) -> None:
    """hwgen_sequence_reverse and hwgen_sequence_turns."""
    count.ram(mapping.stored_halves(bits, beats, length))
    halves(count, beats, length)


def split(count: Count, beats: Value, stacked: bool = False) -> None:
    """hwgen_stream_split and hwgen_stream_keep: vectors of so many beats in turns."""
    count.lut["glue"] += 4
    count.counter(beats, 2)
    if stacked:
        count.lut["glue"] += 3
        count.flag(2)


def stack(count: Count, bits: Value, first: Value, second: Value) -> None:
    """hwgen_stack_join: one of two streams of so many beats, or zeros."""
    count.lut["mux"] += bits
    count.lut["glue"] += 9
    count.counter(greater(first, second), 2)
    count.flag(3)


def concat(count: Count, bits: Value, parts: int, beats: Value) -> None:
    """hwgen_stream_concat: one of several streams, of which the longest has so many beats."""
    count.lut["mux"] += bits * count.fabric.mux_luts(parts)
    count.lut["glue"] += 2 + 3 * parts
    count.counter(beats, parts)


def meet(count: Count, lanes: Value, beats: Value, counted: Value, node: MeetNode) -> None:
    """hwgen_sequence_meet: one of two sums, what it is added to, and where both are; ``counted`` beats are a step."""
    word = lanes * node.outputs[0].code_bits
    count.ram(mapping.meeting_memory(word, beats, node.max_length, node.style))
    count.lut["select"] += word
    count.lut["adder"] += word
    count.ff["word"] += word
    depth = node.max_length * beats
    address = counter_bits(depth)
    # Where a step of either side lies, and whether it is the second; where it is written.
    count.lut["adder"] += 3 * address
    count.lut["select"] += address
    count.ff["word"] += address
    count.counter(depth, depth, beats, counted, node.sequences + 1)
    fifo(count, address, node.sequences)
    count.lut["glue"] += 12
    count.ff["flag"] += 8


def select(count: Count, bits: Value, beats: Value, index: int) -> None:
    """hwgen_step_select: steps from the first are counted, steps from the last kept."""
    count.lut["glue"] += 5
    if index >= 0:
        count.counter(beats, index + 2)
        return
    depth = -index * beats
    count.lut_ram(depth, choose(depth > 1, bits, 0))
    count.ff["word"] += choose(depth > 1, 0, bits)
    count.counter(beats, depth)
    count.ff["flag"] += 1


def argmax(count: Count, bits: int, values: int, rank_bits: int) -> None:
    """hwgen_argmax: the greatest value so far with its rank, and its index."""
    index = int(np.ceil(np.log2(max(2, values))))
    count.lut["compare"] += bits + rank_bits
    count.lut["constants"] += rank_bits * count.fabric.rom_luts(values, 1)
    count.lut["select"] += index
    count.lut["glue"] += 5
    count.counter(values)
    count.ff["word"] += bits + rank_bits + 2 * index
    count.ff["flag"] += 2
