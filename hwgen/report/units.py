# SPDX-License-Identifier: Apache-2.0
"""The units of a design and the streams between them, as plain data: what the dataflow picture and tables show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwgen import mapping
from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    DenseNode,
    Design,
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
from hwgen.integer_cells import IntegerGru, IntegerRnn
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import FoldedProduct, Port, Schedule
from hwgen.sharing import shared_weights
from hwgen.storage import AUTO, BLOCK

Data = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """Cycles of one unit for a vector: exact where there is RTL, else those that the scheduler estimates.

    What works once for a sequence, and not on every time step, does not set the rate.
    """

    name: str
    kind: str
    cycles: int
    times: Timeline | None = None
    node: Node | None = None

    @property
    def per_step(self) -> bool:
        """Whether it has a vector for each time step."""
        return self.node is None or self.node.inputs[0].per_step


def slowest(units: list[Timing]) -> Timing:
    """The unit that sets the rate."""
    return max([unit for unit in units if unit.per_step] or units, key=lambda unit: unit.cycles)


def cell_kind(design: Schedule) -> str:
    """LSTM, GRU or RNN."""
    kind = "GRU" if isinstance(design.cell, IntegerGru) else "RNN" if isinstance(design.cell, IntegerRnn) else "LSTM"
    if design.directions:
        return f"{kind}, {'two layers' if design.stack else 'both directions'}"
    return f"{kind}, reversed" if design.cell.reverse else kind


def timings(design: Design, exact: bool) -> list[Timing]:
    """The units that take part in the rate of a design, in their order: cycles of a vector each."""
    if isinstance(design, Schedule):
        return [_cell_timing("recurrent layer", design, exact, None)]
    found = []
    for node in design.nodes:
        if isinstance(node, CellNode):
            found.append(_cell_timing(node.name, node.design, exact, node))
        else:
            found.append(Timing(node.name, node_kind(node), node.cycles, None, node))
    return found


def _cell_timing(name: str, design: Schedule, exact: bool, node: Node | None) -> Timing:
    if not exact:
        return Timing(name, cell_kind(design), design.step_cycles, None, node)
    times = timeline(design)
    inputs = max(design.turns * design.input_product.cycles, times.refill, times.back)
    cycles = max(recurrence_cycles(design, times.period), inputs)
    return Timing(name, cell_kind(design), cycles, times, node)


def recurrence_cycles(design: Schedule, loop: int) -> int:
    """Cycles of a time step in the recurrence, of which a state takes ``loop`` to the next.

    While one of both directions waits for its state the other one is worked on.
    """
    return max(design.turns * design.hidden_product.cycles, loop)


def node_kind(node: Node) -> str:
    """What a node is, for people."""
    if isinstance(node, CellNode):
        return cell_kind(node.design)
    names = {
        DenseNode: "dense",
        MapNode: "map",
        ForkNode: "fork",
        NarrowNode: "narrow",
        WidenNode: "widen",
        BufferNode: "buffer",
        ConcatNode: "concat",
        SelectNode: "select",
        ArgmaxNode: "argmax",
        TurnsNode: "both directions in turns",
        ReverseNode: "reverse",
        MeetNode: "sums of both directions",
        SplitNode: "split",
        StackNode: "layers in turns",
        KeepNode: "keep",
    }
    return names[type(node)]


def graph(design: Design, exact: bool) -> Data:
    """Units and streams.

    A unit has ``lines`` that say what it is; ``shape`` is port, unit, memory or link.  A stream goes ``from`` a unit
    ``to`` another; one with ``feedback`` closes the loop of the recurrence.
    """
    return _of_cell(design, exact) if isinstance(design, Schedule) else _of_nodes(design, exact)


def _unit(name: str, title: str, shape: str, lines: list[str], cycles: int | None = None, detail: str = "") -> Data:
    return {
        "name": name,
        "title": title,
        "shape": shape,
        "lines": lines,
        "cycles": cycles,
        "detail": detail,
        "per_step": True,
    }


def _stream(source: str, target: str, label: str, bits: int, feedback: bool = False) -> Data:
    return {"from": source, "to": target, "label": label, "bits": bits, "feedback": feedback}


def _beats(port: Port) -> str:
    every = "a step" if port.per_step else "a sequence"
    return f"{count(port.beats, 'beat')} {every}, {port.bits} bits each"


def count(number: int, what: str) -> str:
    """A number of things.

    >>> count(1, "beat"), count(2, "beat")
    ('1 beat', '2 beats')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _port_unit(port: Port) -> Data:
    name = f"{'in' if port.direction == 'in' else 'out'}:{port.name}"
    return _unit(name, port.name, "port", [_beats(port)], None, port.what)


def _product(design: Schedule, name: str) -> str:
    product = design.input_product if name == "input" else design.hidden_product
    return f"PE {product.pe} x SIMD {product.simd} of {product.rows:,} x {product.columns:,}"


def _constants(product: FoldedProduct) -> str:
    """What the weights of a product are in hardware."""
    if product.graph is not None:
        return f"constants, {len(product.graph.adders):,} adders"
    return f"{product.memory_bits:,} bits of weights"


def _of_cell(design: Schedule, exact: bool) -> Data:
    inputs, hidden, cell = design.input_product, design.hidden_product, design.cell
    times = timeline(design) if exact else None
    units = [_port_unit(port) for port in design.inputs]
    x, y = design.inputs[0], next((port for port in design.outputs if port.name == "y"), None)
    source = "in:x"
    streams = []
    x_label = f"{x.lanes} x {x.codes}"
    if cell.reverse:
        lines = [f"stores up to {design.options.max_length:,} steps"]
        units.append(_unit("reverse x", "reverse", "memory", lines, None, "two halves: one is filled, one is emptied"))
        streams.append(_stream(source, "reverse x", x_label, x.bits))
        source = "reverse x"
    lines = [_product(design, "input"), _constants(inputs)]
    units.append(_unit("input product", "input product", "unit", lines, inputs.cycles, "W x + b, runs ahead"))
    streams.append(_stream(source, "input product", x_label, x.bits))
    sum_bits = design.to_dict()["widths"]["input_sum"]
    lines = [f"{count(times.sums_steps, 'time step')} of {inputs.rows:,} sums"] if times else ["FIFO of beats"]
    units.append(_unit("sums buffer", "projected sums", "memory", lines, None, "lets the input product run ahead"))
    streams.append(_stream("input product", "sums buffer", f"{inputs.pe} x {sum_bits} bits", inputs.pe * sum_bits))
    lines = [_product(design, "hidden"), _constants(hidden)]
    units.append(_unit("hidden product", "hidden product", "unit", lines, hidden.cycles, "U h + what was projected"))
    streams.append(_stream("sums buffer", "hidden product", f"{hidden.pe} x {sum_bits} bits", hidden.pe * sum_bits))
    gates = ", ".join(gate.name for gate in cell.rows)
    depth = times.depth if times else design.depth
    lines = [f"gates: {gates}", f"{count(len(list(cell.steps())), 'step function')}, {depth} cycles deep"]
    units.append(_unit("elementwise", f"{cell_kind(design).partition(',')[0]} cell", "unit", lines, None, "per unit"))
    bits = design.to_dict()["widths"]["accumulator"]
    streams.append(_stream("hidden product", "elementwise", f"{hidden.pe} x {bits} bits", hidden.pe * bits))
    lines = [f"{cell.hidden_size} x {cell.hidden} of h"]
    if not isinstance(cell, IntegerRnn | IntegerGru):
        lines.append(f"{cell.hidden_size} x {cell.cell} of c")
    units.append(_unit("state", "state", "memory", lines, None, "what the next time step reads"))
    new = f"{design.units} x {cell.hidden}"
    streams.append(_stream("elementwise", "state", new, design.units * cell.hidden.bits))
    streams.append(
        _stream("state", "hidden product", f"{hidden.simd} x {cell.hidden}", hidden.simd * cell.hidden.bits, True)
    )
    for port in design.inputs[1:]:
        streams.append(_stream(f"in:{port.name}", "state", f"{port.lanes} x {port.codes}", port.bits))
    for port in design.outputs:
        label, before = f"{port.lanes} x {port.codes}", "elementwise"
        if "y" in design.turned and port is y:
            lines = [f"stores up to {design.options.max_length:,} steps"]
            units.append(_unit("reverse y", "reverse", "memory", lines, None, "back in time order"))
            streams.append(_stream("elementwise", "reverse y", label, port.bits))
            before = "reverse y"
        units.append(_port_unit(port))
        streams.append(_stream(before, f"out:{port.name}", label, port.bits))
    return {"units": units, "streams": streams}


def _of_nodes(design: Dataflow, exact: bool) -> Data:
    cycles = {entry.name: entry for entry in timings(design, exact)}
    units = [_port_unit(port) for port in design.inputs]
    makers = {edge.stream.name: f"in:{edge.port.name}" for edge in design.input_edges}
    makers |= {stream.name: node.name for node in design.nodes for stream in node.outputs}
    streams = []
    for node in design.nodes:
        units.append(_node_unit(node, cycles[node.name]) | {"per_step": node.inputs[0].per_step})
        for stream in node.inputs[:1] if isinstance(node, StackNode) else node.inputs:
            # What comes back from further down is not drawn.
            label = f"{stream.lanes} x {stream.codes}"
            streams.append(_stream(makers[stream.name], node.name, label, stream.bits))
    for edge in design.output_edges:
        units.append(_port_unit(edge.port))
        label = f"{edge.stream.lanes} x {edge.stream.codes}"
        streams.append(_stream(makers[edge.stream.name], f"out:{edge.port.name}", label, edge.stream.bits))
    return {"units": units, "streams": streams}


def _node_unit(node: Node, timing: Timing) -> Data:
    kind = timing.kind
    if isinstance(node, CellNode):
        design = node.design
        inputs, hidden = design.products
        depth = timing.times.depth if timing.times else design.depth
        lines = [
            f"{kind}, {design.cell.input_size} inputs, {design.cell.hidden_size} units",
            f"x: PE {inputs.pe} x SIMD {inputs.simd}, {inputs.cycles:,} cycles",
            f"h: PE {hidden.pe} x SIMD {hidden.simd}, {hidden.cycles:,} + {depth} cycles",
        ]
        both = "two recurrent layers, in turns" if design.stack else "both directions of a recurrent layer, in turns"
        what = "a recurrent layer" if design.turns == 1 else both
        return _unit(node.name, node.name, "unit", lines, timing.cycles, what)
    if isinstance(node, DenseNode):
        product = node.product
        lines = [f"dense, {product.columns} inputs, {product.rows} outputs", f"PE {product.pe} x SIMD {product.simd}"]
        return _unit(node.name, node.name, "unit", lines, timing.cycles, "a dense layer")
    if isinstance(node, BufferNode):
        return _unit(node.name, "buffer", "memory", [f"{node.depth:,} beats"], None, node.name)
    if isinstance(node, TurnsNode | ReverseNode):
        lines = [f"stores up to {node.max_length:,} steps"]
        return _unit(node.name, kind, "memory", lines, None, "two halves: one is filled, one is emptied")
    if isinstance(node, MeetNode):
        lines = [kind, f"stores up to {node.max_length:,} steps"]
        return _unit(node.name, node.name, "memory", lines, timing.cycles, "adds the second sum of a step to the first")
    if isinstance(node, ForkNode | NarrowNode | WidenNode | ConcatNode | SplitNode | KeepNode | StackNode):
        return _unit(node.name, kind, "link", [], None, node.name)
    if isinstance(node, SelectNode):
        index = node.stage.index
        which = f"step {index} of a sequence" if index >= 0 else f"step {index} from its end"
        return _unit(node.name, node.name, "unit", [which], timing.cycles, "one step of a sequence")
    return _unit(node.name, node.name, "unit", [kind], timing.cycles, kind)


def memories(design: Design, exact: bool) -> list[Data]:
    """Every memory: words x bits, and where the RTL puts it; of HLS C++ the weights, which the vendor's tool places."""
    found = []
    cells = [("", design)] if isinstance(design, Schedule) else []
    nodes = design.nodes if isinstance(design, Dataflow) else ()
    cells += [(node.name, node.design) for node in nodes if isinstance(node, CellNode)]
    pairs = shared_weights(design) if isinstance(design, Dataflow) else ()
    shared = {node.name: pair for pair in pairs for node in (pair.first, pair.second)}
    for name, cell in cells:
        if exact:
            pair = shared.get(name)
            titles = {"x": "reverse x", "y": "reverse y", "cell_state": _state_title(cell)}
            for what, memory in mapping.memories(timeline(cell)).items():
                title = titles.get(what, what.replace("_", " "))
                if what == "input_weights" and pair is not None:
                    if name == pair.second.name:
                        continue
                    title += f", {pair.second.name} as well"
                found.append(_memory(name, title, memory.words, memory.bits, memory.block))
        else:
            for product in (product for product in cell.products if product.graph is None):
                bits = product.pe * product.simd * product.weight.bits
                found.append(_memory(name, f"{product.name} weights", product.cycles, bits, None))
    for node in nodes:
        if isinstance(node, DenseNode) and node.product.graph is None:
            for what, memory in (("weights", node.design.weight_memory), ("bias", node.design.bias_memory)):
                found.append(_memory(node.name, what, memory.words, memory.bits, memory.block if exact else None))
        elif isinstance(node, TurnsNode | ReverseNode):
            stream = node.inputs[0]
            halves = mapping.stored_halves(stream.bits, stream.beats, node.max_length)
            found.append(_memory(node.name, node_kind(node), halves.words, halves.bits, halves.block))
        elif isinstance(node, MeetNode):
            sums = node.outputs[0]
            meeting = mapping.meeting_memory(sums.bits, sums.beats, node.max_length, node.style)
            block = meeting.block if exact else None
            found.append(_memory(node.name, node_kind(node), meeting.words, meeting.bits, block))
        elif isinstance(node, BufferNode):
            # Said where somebody asked for it.
            block = None if node.style == AUTO else node.style == BLOCK
            found.append(_memory(node.name, "buffer", node.depth, node.outputs[0].bits, block))
    return found


def _state_title(cell: Schedule) -> str:
    """What the elementwise part reads again: a GRU its old hidden state."""
    return "hidden state" if isinstance(cell.cell, IntegerGru) else "cell state"


def _memory(unit: str, name: str, words: int, bits: int, block: bool | None) -> Data:
    place = None if block is None else "block RAM" if block else "LUTs"
    return {"unit": unit, "name": name, "words": words, "word_bits": bits, "bits": words * bits, "place": place}
