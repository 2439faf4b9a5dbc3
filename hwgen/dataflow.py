# SPDX-License-Identifier: Apache-2.0
"""A whole network as hardware: nodes that work side by side, and the streams between them.

Every stream is an AXI4-Stream of codes, as many bits each as their type has: a vector of ``beats`` beats for each time
step, or one for each sequence; TLAST is on the last beat of a sequence.  Nodes begin with what arrives and wait for
nothing else, so layers work on different time steps, and sequences follow each other without a gap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hwgen import integer
from hwgen.adders import constant_products
from hwgen.folding import product_folding
from hwgen.forms import Certified
from hwgen.head_design import DenseDesign, MapDesign
from hwgen.integer import IntegerCell
from hwgen.integer_cells import IntegerGru, RecurrentCell
from hwgen.integer_network import ArgmaxStage, DenseStage, IntegerNetwork, SelectStage, StepStage
from hwgen.network import Network
from hwgen.quantizer import IntegerType
from hwgen.schedule import FoldedProduct, Options, Port, Schedule, signed
from hwgen.storage import AUTO


@dataclass(frozen=True)
class Stream:
    """A link between two nodes, or between a node and the edge of the design."""

    name: str
    codes: IntegerType
    lanes: int
    beats: int
    per_step: bool
    # Bits of TID, where sequences are interleaved.
    id_bits: int = 0

    @property
    def width(self) -> int:
        """Codes of one vector."""
        return self.lanes * self.beats

    @property
    def code_bits(self) -> int:
        """Bits of a code."""
        return self.codes.storage.bits

    @property
    def bits(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.code_bits


@dataclass(frozen=True)
class Node:
    """A piece of hardware with streams in and out; ``name`` is an identifier, unique in its design."""

    name: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step functions."""
        return iter(())

    @property
    def folding(self) -> dict[str, Any] | None:
        """What the user may choose of it, as in a folding file."""
        return None

    @property
    def cycles(self) -> int:
        """The least cycles between two vectors of its input; of a cell this is an estimate."""
        return max((stream.beats for stream in (*self.inputs, *self.outputs)), default=1)


@dataclass(frozen=True)
class CellNode(Node):
    """A recurrent layer in one direction: streams are those of the ports of its ``design``, in their order."""

    design: Schedule

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step functions."""
        return self.design.cell.steps()

    @property
    def folding(self) -> dict[str, Any]:
        """PE and SIMD of both products."""
        return dict(self.design.folding.to_dict())

    @property
    def cycles(self) -> int:
        """Estimated cycles of a time step."""
        return self.design.step_cycles


@dataclass(frozen=True)
class DenseNode(Node):
    """A dense layer."""

    design: DenseDesign

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step function, if it has one."""
        return self.stage.steps()

    @property
    def stage(self) -> DenseStage:
        """What it computes; without a step the sums are its codes."""
        return self.design.stage

    @property
    def product(self) -> FoldedProduct:
        """Its weights, PE x SIMD of them a cycle."""
        return self.design.product

    @property
    def folding(self) -> dict[str, Any]:
        """PE and SIMD."""
        return dict(product_folding(self.design.pe, self.design.simd, self.design.packing))

    @property
    def cycles(self) -> int:
        """One tile a cycle."""
        return max(self.product.cycles, super().cycles)


@dataclass(frozen=True)
class MapNode(Node):
    """A step function on every code."""

    design: MapDesign

    @property
    def stage(self) -> StepStage:
        """What it computes."""
        return self.design.stage

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Its step function."""
        return self.stage.steps()


@dataclass(frozen=True)
class ForkNode(Node):
    """The same stream to several nodes, each of which takes a beat when it can."""


@dataclass(frozen=True)
class NarrowNode(Node):
    """Each beat in ``factor`` parts, the low lanes first."""

    @property
    def factor(self) -> int:
        """Parts of a beat."""
        return self.inputs[0].lanes // self.outputs[0].lanes


@dataclass(frozen=True)
class WidenNode(Node):
    """``factor`` beats as one, the first in the low lanes."""

    @property
    def factor(self) -> int:
        """Beats that make one."""
        return self.outputs[0].lanes // self.inputs[0].lanes


@dataclass(frozen=True)
class BufferNode(Node):
    """A FIFO of ``depth`` beats: what a path holds while another one from the same source takes longer, or is faster.

    That is a few vectors, or beside a path that stores whole ``sequences`` so many of the greatest length.
    """

    depth: int
    sequences: int = 0
    # That of its memory.
    style: str = AUTO


@dataclass(frozen=True)
class ConcatNode(Node):
    """A vector of each input after the other as one vector."""


@dataclass(frozen=True)
class MeetNode(Node):
    """Sums of both directions added step by step: forward ones, backward ones, and what tells how many steps there are.

    The steps of ``sequences`` sequences are known at most; sums of one of them are stored.
    """

    max_length: int
    sequences: int = 4
    # That of its memory.
    style: str = AUTO

    @property
    def count_place(self) -> int:
        """The input whose beats are only counted."""
        return 2

    @property
    def cycles(self) -> int:
        """A beat of each direction, and a cycle between their vectors."""
        return max(2 * (self.inputs[0].beats + 1), super().cycles)


@dataclass(frozen=True)
class TurnsNode(Node):
    """The steps of each sequence in both directions, in turns: twice as many vectors as come in."""

    max_length: int


@dataclass(frozen=True)
class StackNode(Node):
    """The vectors of two layers of a stack as they take turns, each made as long as the longer one.

    The second input comes back from behind the node that both layers are: it follows a step behind the first.
    """


@dataclass(frozen=True)
class ReverseNode(Node):
    """The steps of each sequence from the last to the first."""

    max_length: int


@dataclass(frozen=True)
class SplitNode(Node):
    """The vectors of both directions, or layers, which take turns, to a stream for each.

    Layers that are ``stacked`` do so as far as the second one follows a step behind.
    """

    stacked: bool = False


@dataclass(frozen=True)
class KeepNode(Node):
    """Of the vectors of both directions, or layers, which take turns, those of one: ``turn`` 0 is the forward one."""

    turn: int
    stacked: bool = False


@dataclass(frozen=True)
class SelectNode(Node):
    """One vector of each sequence: the one with the stage's index from the first, or from the last (-1, -2, ...)."""

    stage: SelectStage


@dataclass(frozen=True)
class ArgmaxNode(Node):
    """The index of the greatest code of a vector."""

    stage: ArgmaxStage


@dataclass(frozen=True)
class Edge:
    """A port of the design: the ``stream`` behind it, and the wire of the network that it carries."""

    port: Port
    stream: Stream
    wire: str


@dataclass(frozen=True)
class Dataflow:
    """A design: the integer model of a network as nodes, each after those that it reads from."""

    network: Network
    integer: IntegerNetwork
    options: Options
    nodes: tuple[Node, ...]
    input_edges: tuple[Edge, ...]
    output_edges: tuple[Edge, ...]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Ports in; the first has a vector for each time step and is called x."""
        return tuple(edge.port for edge in self.input_edges)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Ports out."""
        return tuple(edge.port for edge in self.output_edges)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Every stream once: those of the inputs, then those that each node gives."""
        return (*(edge.stream for edge in self.input_edges), *(out for node in self.nodes for out in node.outputs))

    @property
    def cells(self) -> tuple[RecurrentCell, ...]:
        """The cells of its recurrent layers."""
        found = (node.design.directions or (node.design.cell,) for node in self.nodes if isinstance(node, CellNode))
        return tuple(cell for cells in found for cell in cells)

    @property
    def products(self) -> tuple[FoldedProduct, ...]:
        """The matrix-vector products of all nodes."""
        cells = (product for node in self.nodes if isinstance(node, CellNode) for product in node.design.products)
        return (*cells, *(node.product for node in self.nodes if isinstance(node, DenseNode)))

    @property
    def bottleneck(self) -> Node:
        """The node that takes longest for a vector."""
        return max(self.nodes, key=lambda node: node.cycles)

    @property
    def step_cycles(self) -> int:
        """Estimated cycles from one time step to the next: those of the slowest node."""
        return self.bottleneck.cycles

    @property
    def steps_per_second(self) -> float:
        """Estimated time steps a second at the target clock."""
        return self.options.clock_mhz * 1e6 / self.step_cycles

    @property
    def least_length(self) -> int:
        """The least steps of a sequence: as many as the steps that are selected from it need."""
        chosen = (node.stage.index for node in self.nodes if isinstance(node, SelectNode))
        return max((index + 1 if index >= 0 else -index for index in chosen), default=1)

    @property
    def stores_sequences(self) -> bool:
        """Whether its buffers hold sequences of a greatest length: reversals, and what waits for whole sequences."""
        held = any(isinstance(node, BufferNode) and node.sequences for node in self.nodes)
        return held or any(cell.reverse for cell in self.cells)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function with its place."""
        return ((f"{node.name}: {name}", certified) for node in self.nodes for name, certified in node.steps())

    def foldings(self) -> dict[str, dict[str, Any]]:
        """What folding.json says of each node that can be folded."""
        return {node.name: node.folding for node in self.nodes if node.folding is not None}

    def to_dict(self) -> dict[str, Any]:
        """The design as plain data, for schedule.json."""
        return {
            "target": asdict(self.options.target),
            "clock_mhz": self.options.clock_mhz,
            **({"interleave": self.options.interleave} if self.options.interleave > 1 else {}),
            "max_length": self.options.max_length,
            **({"share_engine": self.options.share_engine} if self.options.share_engine else {}),
            **({"split_dense": True} if self.options.split_dense else {}),
            "folding": self.foldings(),
            "cycles": {
                "step_estimate": self.step_cycles,
                "bottleneck": self.bottleneck.name,
                "steps_per_second_estimate": round(self.steps_per_second, 1),
            },
            "nodes": [_node(node) for node in self.nodes],
            "ports": [port.to_dict() for port in (*self.inputs, *self.outputs)],
            "step_functions": [
                {"name": name, "form": certified.form.kind, "channels": certified.step.channels}
                for name, certified in self.steps()
            ],
        }


Design = Schedule | Dataflow


def _node(node: Node) -> dict[str, Any]:
    kind = type(node).__name__.removesuffix("Node").lower()
    entry: dict[str, Any] = {"name": node.name, "kind": kind, "cycles_estimate": node.cycles}
    for direction, streams in (("inputs", node.inputs), ("outputs", node.outputs)):
        entry[direction] = [
            {"stream": stream.name, "codes": str(stream.codes), "lanes": stream.lanes, "beats": stream.beats}
            for stream in streams
        ]
    if isinstance(node, BufferNode):
        entry["depth"] = node.depth
        entry |= {} if node.style == AUTO else {"memory": node.style}
    if isinstance(node, MeetNode) and node.style != AUTO:
        entry["memory"] = node.style
    if isinstance(node, DenseNode) and node.design.memory:
        entry["memory"] = dict(node.design.memory)
    if isinstance(node, CellNode):
        entry["schedule"] = node.design.to_dict()
    if isinstance(node, DenseNode):
        entry |= constant_products([(node.product.name, node.product.graph)])
    return entry


def sums_type(stage: DenseStage) -> IntegerType:
    """The codes of a dense layer without a step: its sums."""
    return signed(stage.total)


def certificate(design: Design) -> dict[str, object]:
    """What is proven about every step function and accumulator of a design, for certificate.json."""
    if isinstance(design, Schedule):
        return integer.certificate(design.cell)
    cells = ((node.name, node.design.cell) for node in design.nodes if isinstance(node, CellNode))
    gates = {f"{name}: {gate.name}": gate for name, cell in cells for gate in cell.gates}
    return integer.certificate_of(list(design.steps()), gates)


def integer_json(design: Design) -> str:
    """The whole integer model of a design as JSON."""
    if isinstance(design, Schedule):
        return integer.to_json(design.cell)
    stages: list[dict[str, Any]] = []
    for node in design.nodes:
        if isinstance(node, CellNode):
            for cell in node.design.directions or (node.design.cell,):
                kind = "cell" if isinstance(cell, IntegerCell) else "gru" if isinstance(cell, IntegerGru) else "rnn"
                stages.append({"node": node.name, "kind": kind, **json.loads(integer.to_json(cell))})
        elif isinstance(node, DenseNode):
            stage = node.stage
            total = [stage.total.lo, stage.total.hi]
            weights = {"weights": stage.weights.tolist(), "bias": stage.bias.tolist(), "total": total}
            stages.append({"node": node.name, "kind": "dense", "name": stage.name, **weights, **_steps(node)})
        elif isinstance(node, MapNode):
            stages.append({"node": node.name, "kind": "step", "name": node.stage.name, **_steps(node)})
        elif isinstance(node, SelectNode):
            stages.append({"node": node.name, "kind": "select", "index": node.stage.index})
        elif isinstance(node, ArgmaxNode):
            rank = node.stage.rank.tolist()
            stages.append({"node": node.name, "kind": "argmax", "name": node.stage.name, "rank": rank})
        elif isinstance(node, MeetNode):
            stages.append({"node": node.name, "kind": "meet", "inputs": [s.name for s in node.inputs]})
        elif isinstance(node, ConcatNode):
            stages.append({"node": node.name, "kind": "concat", "inputs": [s.name for s in node.inputs]})
    return json.dumps({"name": design.network.name, "stages": stages}, indent=1)


def _steps(node: Node) -> dict[str, object]:
    return {"steps": integer.certificate_of(list(node.steps()), {})["steps"]}
