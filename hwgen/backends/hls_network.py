# SPDX-License-Identifier: Apache-2.0
"""Several nodes in HLS C++: the tasks of each, and the streams between them, side by side in one top function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np

from hwgen.backends.cpp import ap_type, call, constants, matrix, memory, parameters, step_struct
from hwgen.backends.hls_cell import cell_context, cell_kind, context_steps, run_ahead, sums_fifo
from hwgen.backends.hls_storage import fifo, storage
from hwgen.backends.naming import comment, top_name
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
    Stream,
    TurnsNode,
    WidenNode,
)
from hwgen.schedule import signed

# What a stream holds where nothing asks for more: one beat moves in while another moves out.
_DEPTH = 2
# Beats that a stream holds in shift registers: those of one LUT a bit.
_SHIFTED = 32
# Columns of a line, without its indentation.
_LINE = 116
# The task of a node that has but one.
_FUNCTIONS: dict[type[Node], str] = {
    DenseNode: "product",
    MapNode: "activate",
    ForkNode: "fork_beats",
    NarrowNode: "narrow_beats",
    WidenNode: "widen_beats",
    ConcatNode: "concat_parts",
    SelectNode: "select_step",
    ArgmaxNode: "find_greatest",
    TurnsNode: "take_turns",
    ReverseNode: "reverse_steps",
    SplitNode: "split_directions",
    KeepNode: "keep_direction",
    StackNode: "join_layers",
}


@dataclass
class Link:
    """An hls::stream of the top function: its name, the type of its beats, how many it holds, and why so many.

    One that holds much is a ``memory``, of the implementation that this names.
    """

    name: str
    beat: str
    depth: int = _DEPTH
    why: str = ""
    memory: str = ""

    @property
    def declaration(self) -> str:
        """The line, or two, that declare it."""
        parts = f"hls_thread_local hls::stream<{self.beat}, {self.depth}>", f'{self.name}("{self.name}");'
        return " ".join(parts) if sum(map(len, parts)) < _LINE else "\n      ".join(parts)


@dataclass(frozen=True)
class Task:
    """An hls::task of the top function: a function, and the streams that it runs on."""

    name: str
    arguments: tuple[str, ...]

    @property
    def declaration(self) -> str:
        """The lines that declare it."""
        head, tail = f"hls_thread_local hls::task {self.name}(", f"{', '.join(self.arguments)});"
        if len(head) + len(tail) <= _LINE:
            return head + tail
        several = ",\n      ".join(self.arguments) + ");"
        return f"{head}\n      {tail if len(tail) <= _LINE - 4 else several}"


@dataclass
class _Top:
    """The top function as it grows; ``taken`` are the names in it."""

    taken: set[str]
    links: dict[str, Link] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    # The stream of the contexts of interleaved sequences, if there is one.
    contexts: str = ""
    # Those that say which layer of a stack a vector is of, by the stream of these: for its product, and its recurrence.
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)

    def link(self, name: str, beat: str, depth: int = _DEPTH, why: str = "") -> str:
        """A stream of its own; returns the name that was free."""
        name = self._free(name)
        self.links[name] = Link(name, beat, depth, why)
        return name

    def task(self, name: str, function: str, *arguments: str) -> None:
        self.tasks.append(Task(self._free(f"task_{name}"), (function, *arguments)))

    def _free(self, name: str) -> str:
        found, number = name, 1
        while found in self.taken:
            number += 1
            found = f"{name}_{number}"
        self.taken.add(found)
        return found


def network_context(design: Dataflow, environment: jinja2.Environment) -> dict[str, object]:
    """What network.cpp.jinja prints."""
    top = _top(design)
    headers = {"streams.hpp"}
    if any(isinstance(node, CellNode) and node.design.contexts > 1 for node in design.nodes):
        headers.add("contexts.hpp")
    for node in design.nodes:
        headers |= _headers(design, node)
    return {
        "headers": sorted(headers),
        "blocks": [
            environment.get_template(f"parts/{_part(node)}.jinja").render(_node_context(design, node))
            for node in design.nodes
            if not isinstance(node, BufferNode)
        ],
        "edges": [
            {
                "port": edge.port,
                "direction": edge.port.direction,
                "beat": beat_type(edge.stream, edge.port.direction == "out"),
                "ids": _id_type(edge.stream) if edge.port.direction == "in" and edge.port.id_bits else "",
            }
            for edge in (*design.input_edges, *design.output_edges)
        ],
        "picture": [
            f"{' + '.join(s.name for s in node.inputs)} -> {node.name} -> {' + '.join(s.name for s in node.outputs)}"
            for node in design.nodes
        ],
        "links": list(top.links.values()),
        "tasks": top.tasks,
    }


def node_files(design: Dataflow, origin: str, environment: jinja2.Environment) -> dict[str, str]:
    """The headers of all nodes that have constants: {name: text}."""
    files = {}
    for node in design.nodes:
        context = {**_node_context(design, node), "origin": origin}
        if _kind(node) == "cell":
            templates = {"parameters": "parameters.hpp.jinja", "weights": "weights.hpp.jinja"}
        elif _kind(node) == "gru":
            templates = {"parameters": "gru_parameters.hpp.jinja", "weights": "weights.hpp.jinja"}
        elif _kind(node) == "rnn":
            templates = {"parameters": "rnn_parameters.hpp.jinja", "weights": "layer_weights.hpp.jinja"}
        elif isinstance(node, DenseNode):
            templates = {"parameters": "layer_parameters.hpp.jinja", "weights": "layer_weights.hpp.jinja"}
        elif isinstance(node, MapNode):
            templates = {"parameters": "layer_parameters.hpp.jinja"}
        else:
            continue
        for what, template in templates.items():
            files[f"{context['prefix']}{what}.hpp"] = environment.get_template(template).render(context)
    return files


def beat_type(stream: Stream, leaves: bool = False) -> str:
    """The C++ type of its beats; those of interleaved sequences that leave a layer have their context with them."""
    if stream.id_bits and leaves:
        return f"hwgen::context_beat<{ap_type(stream.codes.storage)}, {stream.lanes}, {_id_type(stream)} >"
    return f"hwgen::beat<{ap_type(stream.codes.storage)}, {stream.lanes}>"


def _turned_type(stream: Stream) -> str:
    """The C++ type of the beats that leave an engine of both directions."""
    return f"hwgen::context_beat<{ap_type(stream.codes.storage)}, {stream.lanes}, ap_uint<1> >"


def _id_type(stream: Stream) -> str:
    """The C++ type of its contexts."""
    return f"ap_uint<{stream.id_bits}>"


# Nodes one by one.


def _kind(node: Node) -> str:
    """What its files and units are called after."""
    if isinstance(node, CellNode):
        return cell_kind(node.design.cell)
    return type(node).__name__.removesuffix("Node").lower()


def _part(node: Node) -> str:
    """The name of its part of the top level; cells whose one state is what they give share theirs."""
    kind = _kind(node)
    return "hidden_cell" if kind in ("rnn", "gru") else kind


def _module(design: Dataflow, node: Node) -> str:
    return node.design.module if isinstance(node, CellNode) else f"{top_name(design)}_{node.name}"


def _space(design: Dataflow, node: Node) -> str:
    """The namespace of a node: nothing in it meets a name of another one."""
    return f"{_module(design, node)}_design"


def _headers(design: Dataflow, node: Node) -> set[str]:
    own = f"{_module(design, node)}_parameters.hpp"
    return {
        "cell": {own, "matvec.hpp", "recurrence.hpp"},
        "rnn": {own, "matvec.hpp", "rnn_recurrence.hpp"},
        "gru": {own, "matvec.hpp", "gru_recurrence.hpp"},
        "dense": {own, "matvec.hpp", "map.hpp"},
        "map": {own, "map.hpp"},
        "meet": {"meet.hpp"},
        "select": {"step_select.hpp"},
        "argmax": {"argmax.hpp"},
    }.get(_kind(node), set())


def _node_context(design: Dataflow, node: Node) -> dict[str, Any]:
    """What the part of a node in the top level prints, and its headers."""
    module = _module(design, node)
    context: dict[str, Any] = {
        "space": _space(design, node),
        "guard": f"{module}_".upper(),
        "prefix": f"{module}_",
        "options": design.options,
        "node": node,
        "title": f"{node.name}: {_title(node)}",
        "inputs": [_turned_type(s) if isinstance(node, SplitNode | KeepNode) else beat_type(s) for s in node.inputs],
        "outputs": [beat_type(stream) for stream in node.outputs],
    }
    if isinstance(node, CellNode):
        return context | cell_context(node.design)
    if isinstance(node, DenseNode | MapNode):
        context |= _layer(node)
    if isinstance(node, ForkNode):
        names = [f"to_{k}" for k in range(len(node.outputs))]
        context |= {"names": names, "signature": _signature(node, ["codes", *names])}
    if isinstance(node, ConcatNode):
        names = [f"part_{k}" for k in range(len(node.inputs))]
        context |= {"names": names, "signature": _signature(node, [*names, "whole"])}
    if isinstance(node, ArgmaxNode):
        rank = node.stage.rank
        context["rank"] = constants("rank", rank[:1] if (rank == rank[0]).all() else rank)
    if isinstance(node, SelectNode):
        index = node.stage.index
        context |= {"function": "step_from_last" if index < 0 else "step_from_first", "place": max(index, -index)}
    return context


def _signature(node: Node, names: list[str]) -> str:
    return parameters([f"hls::stream<codes_beat>& {name}" for name in names], f"static void {_FUNCTIONS[type(node)]}")


def _title(node: Node) -> str:
    """What it is, for a comment."""
    if isinstance(node, CellNode):
        cell = node.design.cell
        order = ", from the last step to the first" if cell.reverse else ""
        both = ", two layers in turns" if node.design.stack else ", in both directions in turns"
        order = both if node.design.directions else order
        kind = {"cell": "LSTM", "rnn": "RNN", "gru": "GRU"}[_kind(node)]
        return f"{kind} of {cell.hidden_size} units on {cell.input_size} inputs{order}"
    if isinstance(node, DenseNode):
        return f"dense layer of {node.product.rows} outputs on {node.product.columns} inputs"
    if isinstance(node, MapNode):
        return "a step function on every code"
    if isinstance(node, SelectNode):
        index = node.stage.index
        return f"step {index} of each sequence" + (", the first being 0" if index >= 0 else ", the last being -1")
    return {
        ForkNode: "the same to every reader",
        NarrowNode: "each beat in parts",
        WidenNode: "several beats as one",
        ConcatNode: "vectors one behind the other",
        MeetNode: "sums of both directions, added step by step",
        ArgmaxNode: "index of the greatest code",
        TurnsNode: "time steps in both directions, in turns",
        ReverseNode: "time steps from the last to the first",
        SplitNode: "a stream for each direction or layer",
        KeepNode: "one of two directions or layers",
        StackNode: "time steps of two layers in turns",
    }.get(type(node), "")


def _layer(node: DenseNode | MapNode) -> dict[str, Any]:
    """Types, weights and step function of a layer without state."""
    source, result = node.inputs[0], node.outputs[0]
    certified = node.stage.step
    layer = comment(node.stage.name)
    context: dict[str, Any] = {
        "input_code": ap_type(source.codes.storage),
        "output_code": ap_type(result.codes.storage),
        "value": "input_t",
        "products": [],
        "steps": [],
        "call": "",
        "what": layer,
    }
    if certified is not None:
        channels = "outputs" if isinstance(node, DenseNode) else "channels"
        struct = step_struct(certified, "Step", channels) | {"what": f"The step of {layer}"}
        context |= {"steps": [struct], "call": call(certified, "Step")}
    if isinstance(node, DenseNode):
        context |= {
            "value": "sum_t",
            "sum": ap_type(signed(node.product.sums)),
            "products": [matrix(node.product, "", "sum_t")],
            "bias": memory("bias", node.stage.bias),
            "storage": storage(node.design.style, "weights", "bias"),
        }
    return context


# The top function.


def _top(design: Dataflow) -> _Top:
    """Streams and tasks in the order of the nodes, those of the ports first and last."""
    top = _Top({port.name for port in (*design.inputs, *design.outputs)})
    # A buffer is the depth of the stream in front of it: what leaves it has no stream of its own.
    behind = {node.outputs[0].name: node for node in design.nodes if isinstance(node, BufferNode)}
    turned = {node.inputs[0].name for node in design.nodes if isinstance(node, SplitNode | KeepNode)}
    for stream in design.streams:
        if stream.name in turned:
            top.link(stream.name, _turned_type(stream))
        elif stream.name not in behind:
            top.link(stream.name, beat_type(stream, all(stream is not edge.stream for edge in design.input_edges)))

    def place(stream: Stream) -> str:
        while stream.name in behind:
            stream = behind[stream.name].inputs[0]
        return stream.name

    held: Counter[str] = Counter()
    whole = set()
    styles: dict[str, str] = {}
    for buffer in behind.values():
        name = place(buffer.inputs[0])
        held[name] += buffer.depth
        styles[name] = buffer.style
        if buffer.sequences:
            whole.add(name)
    for name, depth in held.items():
        link = top.links[name]
        link.depth = depth
        link.why = "What this path holds while a longer one from the same source works on it"
        if name in whole:
            link.why = "Whole sequences: what this path holds while another one from the same source stores them"
        # A few beats are shift registers.
        link.memory = fifo(styles[name], name in whole or depth > _SHIFTED)
    for node in design.nodes:
        if isinstance(node, ConcatNode):
            for stream in node.inputs:
                link = top.links[place(stream)]
                if link.depth < stream.beats:
                    link.depth, link.why = stream.beats, "A vector: parts from one source must not wait for each other"
    ports = f"{top_name(design)}_ports"
    for edge in design.input_edges:
        streams = [place(edge.stream)]
        if edge.port.id_bits:
            # The one layer that such a design consists of takes them.
            (cell,) = (node.design for node in design.nodes if isinstance(node, CellNode))
            why = "One for each time step that has entered: as many as there are between the edge and the recurrence"
            top.contexts = top.link("contexts", _id_type(edge.stream), context_steps(cell), why)
            streams.append(top.contexts)
        top.task(f"read_{edge.port.name}", f"{ports}::read_{edge.port.name}", edge.port.name, *streams)
    for node in design.nodes:
        if isinstance(node, CellNode) and node.design.stack:
            kind, why = "ap_uint<1>", "One for each time step: as many as there are between the join and the recurrence"
            sets = top.link(f"{node.name}_sets", kind)
            contexts = top.link(f"{node.name}_contexts", kind, context_steps(node.design), why)
            top.layers[node.inputs[0].name] = sets, contexts
    for node in design.nodes:
        _add(top, node, _space(design, node), [place(s) for s in node.inputs], [place(s) for s in node.outputs])
    for edge in design.output_edges:
        top.task(f"write_{edge.port.name}", f"{ports}::write_{edge.port.name}", place(edge.stream), edge.port.name)
    return top


def _add(top: _Top, node: Node, space: str, inputs: list[str], outputs: list[str]) -> None:
    """The tasks of a node, and the streams within it."""
    if isinstance(node, CellNode):
        _add_cell(top, node, space, inputs, outputs)
    elif isinstance(node, DenseNode) and node.stage.step is not None:
        sums = top.link(f"{node.name}_sums", f"{space}::sums_beat")
        top.task(f"{node.name}_product", f"{space}::product", *inputs, sums)
        top.task(f"{node.name}_activate", f"{space}::activate", sums, *outputs)
    elif isinstance(node, StackNode):
        top.task(node.name, f"{space}::{_FUNCTIONS[type(node)]}", *inputs, *outputs, *top.layers[outputs[0]])
    elif isinstance(node, MeetNode):
        *sides, counted = inputs
        why = "Of each sequence how many steps it has"
        steps = top.link(f"{node.name}_steps", "hwgen::steps_t", node.sequences, why)
        top.task(f"{node.name}_count", f"{space}::count_steps", counted, steps)
        top.task(f"{node.name}_add", f"{space}::add_directions", steps, *sides, *outputs)
    elif not isinstance(node, BufferNode):
        top.task(node.name, f"{space}::{_FUNCTIONS[type(node)]}", *inputs, *outputs)


def _add_cell(top: _Top, node: CellNode, space: str, inputs: list[str], outputs: list[str]) -> None:
    design, name = node.design, node.name
    have, want = design.input_product.pe, design.hidden_product.pe
    common = int(np.gcd(have, want))
    codes, *given = inputs

    def through(codes: str, step: str, beat: str, depth: int = _DEPTH, why: str = "", more: Sequence[str] = ()) -> str:
        after = top.link(f"{name}_{step}", f"{space}::{beat}", depth, why)
        top.task(f"{name}_{step}", f"{space}::{step}", codes, after, *more)
        return after

    if design.cell.reverse:
        codes = through(codes, "reverse_x", "input_beat")
    chain = ["input_product", *(["narrow_sums"] if common < have else []), *(["widen_sums"] if common < want else [])]
    beats = {"input_product": "projected_beat", "narrow_sums": "narrowed_beat", "widen_sums": "sums_beat"}
    sets, contexts = (
        ([name] for name in top.layers[codes]) if design.stack else ([], [top.contexts] * bool(top.contexts))
    )
    for step in chain[:-1]:
        codes = through(codes, step, beats[step], more=sets if step == chain[0] else [])
    why = "As deep as the input product is to run ahead"
    codes = through(codes, chain[-1], "sums_beat", run_ahead(design), why, sets if len(chain) == 1 else [])
    top.links[codes].memory = sums_fifo(design)
    states = top.link(f"{name}_states", f"{space}::states_beat")
    top.task(f"{name}_recurrent_step", f"{space}::recurrent_step", codes, *contexts, *given, states)
    # Outputs in time order leave a reversed layer by way of the second reversal.
    backward = {
        port.name: top.link(f"{name}_y_backward", f"{space}::hidden_beat")
        for port in design.outputs
        if "y" in design.turned and port.per_step
    }
    ends = [backward.get(port.name, end) for port, end in zip(design.outputs, outputs, strict=True)]
    top.task(f"{name}_select_outputs", f"{space}::select_outputs", states, *ends)
    for port, end in zip(design.outputs, outputs, strict=True):
        if port.name in backward:
            top.task(f"{name}_reverse_y", f"{space}::reverse_y", backward[port.name], end)
