# SPDX-License-Identifier: Apache-2.0
"""The stages of a network as nodes, and what must stand between them: forks, changes of beat width, buffers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hwgen.dataflow import (
    ArgmaxNode,
    BufferNode,
    CellNode,
    ConcatNode,
    Dataflow,
    DenseNode,
    Edge,
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
from hwgen.directions import common_cell, stacked_cell
from hwgen.errors import ConfigError, listing, printable
from hwgen.folding import DenseFolding, Folding, Foldings, divisors, legal_input_simd, nearest
from hwgen.head_design import DenseDesign, MapDesign
from hwgen.integer_cells import RecurrentCell
from hwgen.integer_network import (
    ArgmaxStage,
    ConcatStage,
    DenseStage,
    IntegerNetwork,
    RecurrentStage,
    SelectStage,
    StepStage,
)
from hwgen.layers import Wire
from hwgen.meanwhile import Meanwhile
from hwgen.naming import identifier
from hwgen.network import Network, NetworkOutput
from hwgen.registers import dense_vectors, registers_for
from hwgen.schedule import OUTPUTS, Options, Port, Schedule, design_cell, signed
from hwgen.shared_engine import LAYERS
from hwgen.split_dense import MeetStage, Part

# What Brevitas' export handlers add to the names of cells.
_HANDLER = re.compile(r"[/.]?export_handler([/.]Quant\w+)?$|[/.]Quant\w+Cell$")
_Simple = DenseStage | StepStage | SelectStage | ArgmaxStage


def wire_up(
    network: Network,
    integer: IntegerNetwork,
    stages: Sequence[Part],
    wires: Mapping[str, Wire],
    aliases: Mapping[str, str],
    outputs: tuple[NetworkOutput, ...],
    options: Options,
    foldings: Foldings,
    asked: Mapping[str, Any],
    engines: Mapping[str, RecurrentStage] | None = None,
    backward: Collection[str] = (),
) -> Dataflow:
    """The dataflow of some stages, which compute some outputs of a network.

    ``wires`` are all that stages read or give, by name; ``aliases`` are wires that others stand for.  ``foldings`` go
    by the name of the stage, those that a user ``asked`` for, as plain data, by that of the node.  ``engines`` are the
    backward layers that share the engine of a forward one, by its name.  The sequences of ``backward`` layers leave
    them from the last step to the first.
    """
    wiring = _Wiring(network, stages, wires, aliases, options, foldings, asked, engines or {}, backward)
    wiring.count(outputs)
    for stage in stages:
        wiring.add(stage)
    edges = wiring.output_edges(outputs)
    wiring.check_asked()
    inputs = sorted(wiring.edges, key=lambda edge: edge.port.name != "x")
    return Dataflow(network, integer, options, tuple(wiring.nodes), tuple(inputs), edges)


def _is_given(name: str) -> bool:
    """Whether a person gave a tensor its name, and not an exporter."""
    return name[:1].isalpha() and not name.startswith("onnx::")


class _Wiring:
    def __init__(
        self,
        network: Network,
        stages: Sequence[Part],
        wires: Mapping[str, Wire],
        aliases: Mapping[str, str],
        options: Options,
        foldings: Foldings,
        asked: Mapping[str, Any],
        engines: Mapping[str, RecurrentStage],
        backward: Collection[str],
    ) -> None:
        self.network, self.stages, self.wires = network, stages, wires
        self.aliases, self.options = aliases, options
        self.foldings, self.asked, self.engines, self.backward = foldings, asked, engines, backward
        self.registers = registers_for(options.clock_mhz)
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        # The main input is called x, whatever else a model calls so.
        self._names = {"x"}
        self._readers: Counter[str] = Counter()
        # What is still to be handed out of each wire.
        self._ends: dict[str, list[Stream]] = {}
        # Sequences that a path must hold which reversals are not on, beside the one to each wire.
        self._stored: dict[str, int] = {}
        self._meanwhile = Meanwhile(stages, aliases)

    def _wire(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _unique(self, name: str) -> str:
        name = identifier(name)
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found

    def _node_name(self, stage: Part) -> str:
        return self._unique(_HANDLER.sub("", stage.name) or type(stage).__name__.removesuffix("Stage"))

    # Streams.

    def count(self, outputs: tuple[NetworkOutput, ...]) -> None:
        """Count the readers of every wire."""
        self._readers.update(self._wire(name) for stage in self.stages for name in stage.reads)
        self._readers.update({self._wire(wire.name) for output in outputs for wire in output.wires})
        # Both directions on one engine read their input once.
        self._readers.subtract(self._wire(stage.source) for stage in self.engines.values())

    def _offer(self, wire: str, stream: Stream, stored: int) -> None:
        """``stream`` carries ``wire``: fork it if there are several readers."""
        self._stored[wire] = stored
        count = self._readers[wire]
        self._ends[wire] = [stream]
        if count > 1:
            ends = tuple(replace(stream, name=self._unique(f"{stream.name}_to_{k}")) for k in range(count))
            self.nodes.append(ForkNode(self._unique(f"fork_{stream.name}"), (stream,), ends))
            self._ends[wire] = list(ends)

    def _take(self, name: str, lanes: int | None = None, what: str = "x", held: bool = False) -> Stream:
        """A stream of a wire, in beats of so many lanes; a buffer of a sequence stands in front of one that is held.

        A graph input becomes a port when it is first asked for; it is called ``what`` if the model does not name it.
        """
        wire = self._wire(name)
        if wire not in self._ends:
            self._input(wire, lanes or 1, what)
        stream = self._ends[wire].pop(0)
        if held:
            stream = self._hold(stream, 1)
        return stream if lanes is None else self._resize(stream, lanes)

    def _hold(self, stream: Stream, sequences: int) -> Stream:
        """A stream behind a buffer of so many sequences of the greatest length."""
        name = self._unique(f"buffer_{stream.name}")
        after = replace(stream, name=self._unique(f"{name}_out"))
        depth = sequences * self.options.max_length * stream.beats
        self.nodes.append(BufferNode(name, (stream,), (after,), depth, sequences))
        return after

    def _resize(self, stream: Stream, lanes: int) -> Stream:
        common = math.gcd(stream.lanes, lanes)
        for kind, wanted in ((NarrowNode, common), (WidenNode, lanes)):
            if stream.lanes == wanted:
                continue
            what = "narrow" if kind is NarrowNode else "widen"
            name = self._unique(f"{what}_{stream.name}")
            after = replace(stream, name=self._unique(f"{name}_out"), lanes=wanted, beats=stream.width // wanted)
            self.nodes.append(kind(name, (stream,), (after,)))
            stream = after
        return stream

    def _input(self, wire: str, lanes: int, what: str) -> None:
        port = next(port for port in self.network.inputs if any(fed.name == wire for fed in port.wires))
        fed = next(fed for fed in port.wires if fed.name == wire)
        main = fed.per_step and all(edge.port.name != "x" for edge in self.edges)
        own = f"{port.name}_{port.wires.index(fed)}" if len(port.wires) > 1 else port.name
        name = "x" if main else self._unique(own if _is_given(port.name) else what)
        beats = fed.features // lanes
        codes = fed.quantizer.codes
        # Initial states come in the order in which their sequences begin.
        ids = (self.options.interleave - 1).bit_length() if fed.per_step else 0
        stream = Stream(self._unique(f"{name}_codes"), codes, lanes, beats, fed.per_step, ids)
        text = f"{printable(port.name)} of every {'time step' if fed.per_step else 'sequence'}"
        port_in = Port(name, "in", text, codes, lanes, beats, fed.per_step, id_bits=ids)
        self.edges.append(Edge(port_in, stream, wire))
        self._offer(wire, stream, 0)

    def output_edges(self, outputs: tuple[NetworkOutput, ...]) -> tuple[Edge, ...]:
        """A port for each wire that is shown, called after the first output that shows it."""
        edges: dict[str, Edge] = {}
        for output in outputs:
            for index, shown in enumerate(output.wires):
                wire = self._wire(shown.name)
                if wire in edges:
                    continue
                own = f"{output.name}_{index}" if len(output.wires) > 1 else output.name
                stream = self._take(wire)
                name = self._unique(own if _is_given(output.name) else "y" if stream.per_step else "result")
                what = f"{printable(output.name)} of every {'time step' if stream.per_step else 'sequence'}"
                lanes, beats, ids = stream.lanes, stream.beats, stream.id_bits
                port = Port(name, "out", what, stream.codes, lanes, beats, stream.per_step, id_bits=ids)
                edges[wire] = Edge(port, stream, wire)
        return tuple(edges.values())

    # Nodes.

    def add(self, stage: Part) -> None:
        """The node of a stage, with what must stand in front of it."""
        if isinstance(stage, RecurrentStage):
            if stage.name in self.engines:
                place = self._stack if self.options.share_engine == LAYERS else self._engine
                place(stage, self.engines[stage.name])
            elif all(stage is not other for other in self.engines.values()):
                self._cell(stage)
        elif isinstance(stage, DenseStage):
            self._dense(stage)
        elif isinstance(stage, StepStage):
            self._map(stage)
        elif isinstance(stage, ArgmaxStage):
            name, stream = self._node_name(stage), self._take(stage.source, 1)
            self._put(stage, ArgmaxNode(name, (stream,), (self._stream(f"{name}_y", stage.wire, 1),), stage))
        elif isinstance(stage, SelectStage):
            name, stream = self._node_name(stage), self._take(stage.source)
            after = self._stream(f"{name}_y", stage.wire, stream.lanes)
            self._put(stage, SelectNode(name, (stream,), (after,), stage))
        elif isinstance(stage, MeetStage):
            self._meet(stage)
        else:
            self._concat(stage)

    def _stream(self, name: str, wire: str, lanes: int) -> Stream:
        shown = self.wires[wire]
        # A selected step of sums has their codes.
        selected = next((s.source for s in self.stages if isinstance(s, SelectStage) and s.wire == wire), wire)
        sums = (s for s in self.stages if isinstance(s, MeetStage) or (isinstance(s, DenseStage) and s.step is None))
        total = next((s.total for s in sums if s.wire in (wire, selected)), None)
        codes = shown.quantizer.codes if total is None else signed(total)
        return Stream(self._unique(name), codes, lanes, shown.features // lanes, shown.per_step)

    def _design(
        self, name: str, stage: RecurrentStage, outputs: Iterable[str], backward: RecurrentCell | None = None
    ) -> Schedule:
        """The hardware of a recurrent layer with some outputs, or of both directions of one."""
        folding = self.foldings[stage.name]
        if name in self.asked:
            folding = Folding.from_dict(self.asked[name], f"--folding, {name}")
        assert isinstance(folding, Folding)
        options = replace(self.options, outputs=tuple(outputs), as_computed=stage.name in self.backward)
        module = self._module(name)
        if backward is None:
            return design_cell(self.network, stage.cell, options, folding, module, packed=True)
        directions = stage.cell, backward
        if self.options.share_engine != LAYERS:
            cell = common_cell(*directions)
            return design_cell(self.network, cell, options, folding, module, packed=True, directions=directions)
        inputs = stage.cell.input_size, backward.input_size
        if name not in self.asked:
            # The width of beats that vectors of both layers have.
            simd = max(simd for simd in legal_input_simd(inputs[0], inputs) if simd <= folding.input_simd)
            folding = replace(folding, input_simd=simd)
        cell = stacked_cell(*directions)
        return design_cell(self.network, cell, options, folding, module, True, directions, inputs)

    def _cell(self, stage: RecurrentStage) -> None:
        cell = stage.cell
        name = self._node_name(stage)
        # Its wires are its outputs in their order.
        wires = {port: wire for port, wire in zip(OUTPUTS, stage.wires, strict=False) if self._readers[wire]}
        design = self._design(name, stage, wires)
        given = [(port, stage.fed[port.name]) for port in design.inputs]
        held = self._meanwhile.holds(stage)
        inputs = tuple(
            self._take(wire, port.lanes, f"{port.name}_{name}", held and port.name == "x")
            for port, wire in given
            if wire is not None
        )
        # Both halves of its buffers: another path gives its first step after the last of this one came in.
        stored = self._stored[self._wire(stage.source)] + 2 * cell.reverse
        outputs = self._outputs(name, design)
        self.nodes.append(CellNode(name, inputs, outputs, design))
        for wire, stream in zip(wires.values(), outputs, strict=True):
            self._offer(wire, stream, stored)

    def _engine(self, forward: RecurrentStage, backward: RecurrentStage) -> None:
        """Both directions of a layer: their vectors take turns on all streams of its node."""
        name = self._node_name(forward)
        pairs = dict(zip(OUTPUTS, zip(forward.wires, backward.wires, strict=True), strict=False))
        pairs = {port: wires for port, wires in pairs.items() if any(self._readers[wire] for wire in wires)}
        design = self._design(name, forward, pairs, backward.cell)
        x, *others = design.inputs
        inputs = [self._turned(self._take(forward.source, x.lanes, f"x_{name}"), f"{name}_turns")]
        inputs += [self._given(name, port, forward, backward) for port in others]
        outputs = self._outputs(name, design)
        self.nodes.append(CellNode(name, tuple(inputs), outputs, design))
        stored = self._stored[self._wire(forward.source)]
        for stream, wires in zip(outputs, pairs.values(), strict=True):
            ends = self._directions(stream, [bool(self._readers[wire]) for wire in wires])
            for direction, (wire, end) in enumerate(zip(wires, ends, strict=True)):
                if end is None:
                    continue
                if direction and stream.per_step:
                    end = self._reversed(end)
                # Both give a step at the same time: the backward one is behind by the sequence that is reversed.
                self._offer(wire, end, stored + direction)

    def _stack(self, first: RecurrentStage, second: RecurrentStage) -> None:
        """Two layers of a stack: their vectors take turns, and those of the first come back, in front of both."""
        name = self._node_name(first)
        pairs = dict(zip(OUTPUTS, zip(first.wires, second.wires, strict=True), strict=False))
        read = {port for port, wires in pairs.items() if port == OUTPUTS[0] or any(self._readers[w] for w in wires)}
        pairs = {port: wires for port, wires in pairs.items() if port in read}
        design = self._design(name, first, pairs, second.cell)
        x, *others = design.inputs
        taken = self._take(first.source, x.lanes, f"x_{name}")
        inputs = [replace(taken, name=self._unique(f"{name}_x"), beats=x.beats)]
        inputs += [self._given(name, port, first, second) for port in others]
        outputs = self._outputs(name, design)
        place = len(self.nodes)
        self.nodes.append(CellNode(name, tuple(inputs), outputs, design))
        stored = self._stored[self._wire(first.source)]
        (y, (_, wire)), *states = zip(outputs, pairs.values(), strict=True)
        one, other = (replace(y, name=self._unique(f"{y.name}_{which}")) for which in ("first", "second"))
        split = self._unique(f"split_{y.name}")
        if self._readers[wire]:
            self.nodes.append(SplitNode(split, (y,), (one, other), stacked=True))
            self._offer(wire, other, stored)
        else:
            self.nodes.append(KeepNode(split, (y,), (one,), 0, stacked=True))
        one = self._resize(one, x.lanes)
        back = replace(one, name=self._unique(f"{name}_back"))
        self.nodes.append(BufferNode(self._unique(f"buffer_{one.name}"), (one,), (back,), 2 * one.beats))
        for stream, wires in states:
            for wire, end in zip(wires, self._directions(stream, [bool(self._readers[w]) for w in wires]), strict=True):
                if end is not None:
                    self._offer(wire, end, stored)
        self.nodes.insert(place, StackNode(self._unique(f"{name}_stack"), (taken, back), (inputs[0],)))

    def _given(self, name: str, port: Port, *stages: RecurrentStage) -> Stream:
        """The states that two layers begin with, that of the first one in front."""
        wires = [wire for wire in (stage.fed[port.name] for stage in stages) if wire is not None]
        parts = tuple(self._take(wire, port.lanes, f"{port.name}_{name}") for wire in wires)
        both = replace(parts[0], name=self._unique(f"{name}_{port.name}"), beats=2 * parts[0].beats)
        self.nodes.append(ConcatNode(self._unique(f"{name}_{port.name}_concat"), parts, (both,)))
        return both

    def _outputs(self, name: str, design: Schedule) -> tuple[Stream, ...]:
        """The streams that leave a cell."""
        return tuple(
            Stream(self._unique(f"{name}_{port.name}"), port.codes, port.lanes, port.beats, port.per_step, port.id_bits)
            for port in design.outputs
        )

    def _turned(self, stream: Stream, name: str) -> Stream:
        """Both directions of a stream in turns."""
        name = self._unique(name)
        after = replace(stream, name=self._unique(f"{name}_out"))
        self.nodes.append(TurnsNode(name, (stream,), (after,), self.options.max_length))
        return after

    def _reversed(self, stream: Stream) -> Stream:
        name = self._unique(f"reverse_{stream.name}")
        after = replace(stream, name=self._unique(f"{name}_out"))
        self.nodes.append(ReverseNode(name, (stream,), (after,), self.options.max_length))
        return after

    def _directions(self, stream: Stream, read: list[bool]) -> list[Stream | None]:
        """The streams of both directions as far as they are read."""
        ends = [
            replace(stream, name=self._unique(f"{stream.name}_{direction}")) if wanted else None
            for direction, wanted in zip(("forward", "backward"), read, strict=True)
        ]
        kept = tuple(end for end in ends if end is not None)
        if len(kept) > 1:
            self.nodes.append(SplitNode(self._unique(f"split_{stream.name}"), (stream,), kept))
        else:
            self.nodes.append(KeepNode(self._unique(f"keep_{stream.name}"), (stream,), kept, read.index(True)))
        return ends

    def _dense(self, stage: DenseStage) -> None:
        name = self._node_name(stage)
        folding = self.foldings[stage.name]
        if name in self.asked:
            folding = DenseFolding.from_dict(self.asked[name], f"--folding, {name}")
        assert isinstance(folding, DenseFolding)
        rows, columns = stage.weights.shape
        for what, value, total, of in (("pe", folding.pe, rows, "outputs"), ("simd", folding.simd, columns, "inputs")):
            if total % value:
                raise ConfigError(
                    f"folding {name}.{what} must divide the {total} {of}, not {value}; "
                    f"nearest legal: {nearest(value, divisors(total))}"
                )
        stream = self._take(stage.source, folding.simd, held=self._meanwhile.holds(stage))
        after = self._stream(f"{name}_y", stage.wire, folding.pe)
        design = DenseDesign(
            self._module(name),
            stage,
            stream.codes,
            after.codes,
            folding.pe,
            folding.simd,
            1,
            self.registers,
            folding.packing,
            constant_products=self.options.constant_products,
        )
        design = replace(design, vectors=dense_vectors(design.product, stage.step, self.registers))
        self._put(stage, DenseNode(name, (stream,), (after,), design))

    def _map(self, stage: StepStage) -> None:
        name, stream = self._node_name(stage), self._take(stage.source)
        after = self._stream(f"{name}_y", stage.wire, stream.lanes)
        design = MapDesign(
            self._module(name), stage, stream.codes, after.codes, stream.width, stream.lanes, self.registers
        )
        self._put(stage, MapNode(name, (stream,), (after,), design))

    def _put(self, stage: _Simple, node: Node) -> None:
        """The node of a stage from one stream to one."""
        self.nodes.append(node)
        self._offer(stage.wire, node.outputs[0], self._stored[self._wire(stage.source)])

    def _module(self, node: str) -> str:
        return f"{identifier(self.network.name)}_{node}"

    def _concat(self, stage: ConcatStage) -> None:
        """Vectors side by side; a path that stores no whole sequences holds what comes while another one does."""
        stored = [self._stored[self._wire(source)] for source in stage.sources]
        parts = [self._take(source) for source in stage.sources]
        lanes = math.gcd(*(part.lanes for part in parts))
        inputs = []
        for part, own in zip(parts, stored, strict=True):
            stream = part
            if stream.per_step and own < max(stored):
                stream = self._hold(stream, max(stored) - own)
            inputs.append(self._resize(stream, lanes))
        name = self._node_name(stage)
        after = self._stream(f"{name}_y", stage.wire, lanes)
        self.nodes.append(ConcatNode(name, tuple(inputs), (after,)))
        self._offer(stage.wire, after, max(stored))

    def _meet(self, stage: MeetStage) -> None:
        """Both halves of a dense layer, added step by step."""
        stored = self._stored[self._wire(stage.backward)]
        sides = [self._take(source) for source in (stage.forward, stage.backward)]
        lanes = math.gcd(*(side.lanes for side in sides))
        inputs = (*(self._resize(side, lanes) for side in sides), self._take(stage.count))
        name = self._node_name(stage)
        after = self._stream(f"{name}_y", stage.wire, lanes)
        self.nodes.append(MeetNode(name, inputs, (after,), self.options.max_length))
        self._offer(stage.wire, after, stored)

    def check_asked(self) -> None:
        """Whether every folding that was asked for found its node."""
        known = {node.name for node in self.nodes if node.folding is not None}
        unknown = sorted(set(map(str, self.asked)) - known)
        if unknown:
            raise ConfigError(
                f"--folding: no node is called {listing(map(printable, unknown))}; there are {listing(sorted(known))}"
            )
