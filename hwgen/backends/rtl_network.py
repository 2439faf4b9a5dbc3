# SPDX-License-Identifier: Apache-2.0
"""The top level of several nodes: an instance for each of them, and the streams between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hwgen import mapping
from hwgen.backends.naming import top_name
from hwgen.backends.sv import Instance, index_bits
from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    Edge,
    ForkNode,
    KeepNode,
    MeetNode,
    NarrowNode,
    Node,
    ReverseNode,
    SelectNode,
    SplitNode,
    StackNode,
    Stream,
    TurnsNode,
    WidenNode,
)
from hwgen.registers import Registers
from hwgen.sharing import SharedWeights, shared_weights

SHARED_ROM = "hwgen_shared_rom"
_CLOCK = (("clk_i", "clk"), ("rst_ni", "rst_n"))


def network_context(design: Dataflow, registers: Registers) -> dict[str, object]:
    """What network.sv.jinja prints."""
    shared = shared_weights(design)
    nodes = [_with_weights(_instance(design, node), node, shared) for node in design.nodes]
    return {
        "streams": design.streams,
        "instances": [
            *(_input(edge) for edge in design.input_edges),
            *(_shared_rom(pair, registers) for pair in shared),
            *nodes,
            *(_output(edge) for edge in design.output_edges),
        ],
        # Recurrent layers have a register for their reset: what consists of them alone needs none.
        "has_reset": any(signal == "rst_n" for node in nodes for _, signal in node.ports),
        "input_edges": design.input_edges,
        "output_edges": design.output_edges,
        "copies": list(_copies(design)),
        "picture": _picture(design),
        "shared": [_shared_signals(pair) for pair in shared],
    }


def shared_ports(pair: SharedWeights, node: CellNode) -> dict[str, object]:
    """What top.sv.jinja prints of weights from outside, and of the order in which a node has their rows."""
    order = pair.order_of(node)
    places = ", ".join(f"32'd{place}" for place in reversed(order))
    memory = pair.memory
    return {
        "address_bits": index_bits(memory.words),
        "word_bits": memory.bits,
        "gates": len(order),
        "order": f"{{{places}}}",
    }


def _shared_signals(pair: SharedWeights) -> dict[str, object]:
    memory, nodes = pair.memory, (pair.first, pair.second)
    return {
        "address_bits": index_bits(memory.words),
        "word_bits": memory.bits,
        "tiles": [f"{node.name}_input_tile" for node in nodes],
        "words": [f"{node.name}_input_weights" for node in nodes],
    }


def _shared_rom(pair: SharedWeights, registers: Registers) -> Instance:
    """The memory of the input weights of two layers."""
    memory, first, second = pair.memory, pair.first.name, pair.second.name
    parameters = (
        ("Width", memory.bits),
        ("Depth", memory.words),
        ("Stages", registers.weight),
        ("File", f'"rom/{pair.first.design.module}/input_weights.hex"'),
    )
    ports = (
        ("clk_i", "clk"),
        ("first_address_i", f"{first}_input_tile"),
        ("first_word_o", f"{first}_input_weights"),
        ("second_address_i", f"{second}_input_tile"),
        ("second_word_o", f"{second}_input_weights"),
    )
    # Instances of nodes are called u_ and their name: this is none of them, whatever a model calls its layers.
    return Instance(SHARED_ROM, f"shared_{first}_weights", parameters, ports)


def _with_weights(instance: Instance, node: Node, shared: tuple[SharedWeights, ...]) -> Instance:
    """The instance of a node, with weights from outside where it shares them."""
    if not any(node is one for pair in shared for one in (pair.first, pair.second)):
        return instance
    ports = tuple((port, f"{node.name}_{port}") for port in ("input_tile", "input_weights"))
    return replace(instance, ports=(*instance.ports, *ports))


def _copies(design: Dataflow) -> Iterator[tuple[str, str]]:
    """What all streams behind a fork share, and both behind a split."""
    for node in design.nodes:
        if isinstance(node, ForkNode | SplitNode):
            first, *others = node.outputs
            for stream in others:
                yield from ((f"{stream.name}_{what}", f"{first.name}_{what}") for what in ("data", "last"))


def _picture(design: Dataflow) -> list[str]:
    """The nodes with what they read and give, a line each."""
    return [
        f"{' + '.join(s.name for s in node.inputs)} -> {node.name} -> {' + '.join(s.name for s in node.outputs)}"
        for node in design.nodes
    ]


def module_name(design: Dataflow, node: Node) -> str:
    """The module that is generated for a node."""
    return node.design.module if isinstance(node, CellNode) else f"{top_name(design)}_{node.name}"


def instance_module(design: Dataflow, node: Node) -> str:
    """The module that stands for a node: its own, or a static unit."""
    return _instance(design, node).module


def _input(edge: Edge) -> Instance:
    """Codes without the padding of the port."""
    port, stream = edge.port, edge.stream
    return _padding(stream, port.lane_bits, stream.code_bits, f"s_axis_{port.name}_tdata", f"{stream.name}_data")


def _output(edge: Edge) -> Instance:
    """Codes padded to the lanes of the port."""
    port, stream = edge.port, edge.stream
    return _padding(stream, stream.code_bits, port.lane_bits, f"{stream.name}_data", f"m_axis_{port.name}_tdata")


def _padding(stream: Stream, before: int, after: int, source: str, target: str) -> Instance:
    parameters = (
        ("Lanes", stream.lanes),
        ("LaneBits", before),
        ("CodeBits", stream.code_bits),
        # Where nothing is added the bits are copied, whatever they mean.
        ("Signed", int(stream.codes.storage.signed or after == stream.code_bits)),
        ("ValueBits", after),
    )
    return Instance("hwgen_axis_input", f"u_{target}", parameters, (("tdata_i", source), ("values_o", target)))


def _instance(design: Dataflow, node: Node) -> Instance:
    name = f"u_{node.name}"
    if isinstance(node, CellNode):
        ports = [("aclk", "clk"), ("aresetn", "aresetn")]
        given = zip((*node.design.inputs, *node.design.outputs), (*node.inputs, *node.outputs), strict=True)
        for port, stream in given:
            edge = f"{'s' if port.direction == 'in' else 'm'}_axis_{port.name}"
            signals = ("valid", "ready", "data", *(["id"] if port.id_bits else []), "last")
            ports += [(f"{edge}_t{what}", f"{stream.name}_{what}") for what in signals]
        return Instance(module_name(design, node), name, (), tuple(ports))
    (stream,) = node.inputs[:1]
    width = ("Width", stream.bits)
    if isinstance(node, MeetNode):
        return _meeting(node, name)
    if isinstance(node, ForkNode | SplitNode):
        outputs = (
            ("valid_o", _joined(node.outputs, "valid")),
            ("ready_i", _joined(node.outputs, "ready")),
            ("data_o", f"{node.outputs[0].name}_data"),
            ("last_o", f"{node.outputs[0].name}_last"),
        )
        if isinstance(node, SplitNode):
            of_each = (width, ("Beats", node.outputs[0].beats), *([("Stacked", 1)] if node.stacked else []))
            return Instance("hwgen_stream_split", name, of_each, (*_from(stream), *outputs))
        return Instance("hwgen_stream_fork", name, (width, ("Outputs", len(node.outputs))), (*_from(stream), *outputs))
    (after,) = node.outputs
    through = (*_from(stream), *_to(after))
    if isinstance(node, NarrowNode):
        return Instance("hwgen_stream_narrow", name, (("Width", after.bits), ("Factor", node.factor)), through)
    if isinstance(node, WidenNode):
        return Instance("hwgen_stream_widen", name, (width, ("Factor", node.factor)), through)
    if isinstance(node, BufferNode):
        block = int(mapping.buffer_memory(node.depth, stream.bits, node.style).block)
        return Instance("hwgen_stream_buffer", name, (width, ("Depth", node.depth), ("Block", block)), through)
    if isinstance(node, TurnsNode | ReverseNode):
        block = int(mapping.stored_halves(stream.bits, stream.beats, node.max_length).block)
        half = (width, ("Beats", stream.beats), ("Length", node.max_length), ("Block", block))
        module = "hwgen_sequence_turns" if isinstance(node, TurnsNode) else "hwgen_sequence_reverse"
        return Instance(module, name, half, through)
    if isinstance(node, KeepNode):
        kept = (width, ("Beats", stream.beats), ("Turn", node.turn), *([("Stacked", 1)] if node.stacked else []))
        return Instance("hwgen_stream_keep", name, kept, through)
    if isinstance(node, ConcatNode):
        beats = ", ".join(f"32'd{part.beats}" for part in reversed(node.inputs))
        parameters = (width, ("Parts", len(node.inputs)), ("Beats", f"{{{beats}}}"))
        return Instance("hwgen_stream_concat", name, parameters, (*_CLOCK, *_side_by_side(node), *_to(after)))
    if isinstance(node, StackNode):
        first, second = node.inputs
        beats_of_each = (width, ("FirstBeats", first.beats), ("SecondBeats", second.beats))
        return Instance("hwgen_stack_join", name, beats_of_each, (*_CLOCK, *_side_by_side(node), *_to(after)))
    if isinstance(node, SelectNode):
        back, index = int(node.stage.index < 0), node.stage.index
        place = -index - 1 if back else index
        chosen = (width, ("Beats", stream.beats), ("Index", place), ("Back", back))
        return Instance("hwgen_step_select", name, chosen, through)
    if isinstance(node, ArgmaxNode):
        return _argmax(node, name, stream, after)
    return Instance(module_name(design, node), name, (), through)


def _meeting(node: MeetNode, name: str) -> Instance:
    forward, backward, count = node.inputs
    (sums,) = node.outputs
    memory = mapping.meeting_memory(sums.bits, sums.beats, node.max_length, node.style)
    parameters = (
        ("Lanes", sums.lanes),
        ("ForwardBits", forward.code_bits),
        ("BackwardBits", backward.code_bits),
        ("SumBits", sums.code_bits),
        ("Beats", sums.beats),
        ("CountBeats", count.beats),
        ("CountWidth", count.bits),
        ("Length", node.max_length),
        ("Sequences", node.sequences),
        ("Block", int(memory.block)),
    )
    sides = (("forward", forward), ("backward", backward), ("count", count))
    inputs = tuple(
        (f"{side}_{port}", f"{stream.name}_{what}")
        for side, stream in sides
        for port, what in (("valid_i", "valid"), ("ready_o", "ready"), ("data_i", "data"), ("last_i", "last"))
    )
    return Instance("hwgen_sequence_meet", name, parameters, (*_CLOCK, *inputs, *_to(sums)))


def _argmax(node: ArgmaxNode, name: str, stream: Stream, after: Stream) -> Instance:
    rank = node.stage.rank
    bits = max(1, int(rank.max()).bit_length())
    ranks = ", ".join(f"{bits}'d{int(value)}" for value in rank[::-1]) if rank.any() else "'0"
    parameters = (
        ("ValueBits", stream.code_bits + (not stream.codes.storage.signed)),
        ("Count", stream.width),
        ("RankBits", bits),
        ("Ranks", f"{{{ranks}}}" if rank.any() else ranks),
    )
    # Unsigned codes as signed numbers: a zero in front.
    data = f"{stream.name}_data" if stream.codes.storage.signed else f"{{1'b0, {stream.name}_data}}"
    inputs = tuple((port, data if port == "data_i" else signal) for port, signal in _from(stream))
    return Instance("hwgen_argmax", name, parameters, (*inputs, *_to(after)))


def _from(stream: Stream) -> tuple[tuple[str, str], ...]:
    name = stream.name
    links = (("valid_i", "valid"), ("ready_o", "ready"), ("data_i", "data"), ("last_i", "last"))
    return (*_CLOCK, *((port, f"{name}_{what}") for port, what in links))


def _to(stream: Stream) -> tuple[tuple[str, str], ...]:
    name = stream.name
    links = (("valid_o", "valid"), ("ready_i", "ready"), ("data_o", "data"), ("last_o", "last"))
    return tuple((port, f"{name}_{what}") for port, what in links)


def _side_by_side(node: Node) -> tuple[tuple[str, str], ...]:
    """All inputs of a node as one port."""
    links = (("valid_i", "valid"), ("ready_o", "ready"), ("data_i", "data"), ("last_i", "last"))
    return tuple((port, _joined(node.inputs, what)) for port, what in links)


def _joined(streams: tuple[Stream, ...], what: str) -> str:
    """Signals of several streams side by side, that of the first in the low bits."""
    return "{" + ", ".join(f"{stream.name}_{what}" for stream in reversed(streams)) + "}"
