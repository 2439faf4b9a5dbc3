# SPDX-License-Identifier: Apache-2.0
"""Opens ONNX's ``Scan``: its states, its sequence, and its body as a graph of its own.

What the body takes from the graph around it is copied into it, so that it can be read like any other graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, node_label

# From here on Scan has no batch axis of its own.
_FIRST_OPSET = 9
# An element of the sequence is a matrix: one axis of features, one of sequences.
_ELEMENT_RANK = 2
_STATES = 2


@dataclass(frozen=True)
class State:
    """A state: ``given`` to the first step, ``body`` input and ``result`` of each, ``final`` after the last.

    The first and the last are tensors around the Scan; ``final`` is empty where nothing takes it.
    """

    given: str
    body: str
    result: str
    final: str


@dataclass(frozen=True)
class ScanNode:
    """A Scan over one sequence with two states.

    ``sequence`` is the tensor that it goes along, ``element`` the body input that takes a step of it, ``axis`` the
    place of its time axis; ``collected`` has (body output, tensor around, place of the time axis) of each sequence that
    it gives.
    """

    label: str
    body: Graph
    states: tuple[State, ...]
    sequence: str
    element: str
    axis: int
    reverse: bool
    collected: tuple[tuple[str, str, int], ...]


def open_scan(graph: Graph, node: onnx.NodeProto) -> ScanNode:
    """Check the node itself; the body is looked into elsewhere."""
    label = node_label(node)
    if graph.opset < _FIRST_OPSET:
        raise UnsupportedError(
            f"{label}: opset {graph.opset} gives Scan a batch axis of its own; convert the model to opset "
            f"{_FIRST_OPSET} or later"
        )
    body = _body(graph, node, label)
    inputs, outputs = [value.name for value in body.proto.input], body.outputs
    sequences = attribute_value(node, "num_scan_inputs")
    if sequences != 1:
        raise UnsupportedError(f"{label}: num_scan_inputs must be 1, the sequence that the cell reads, not {sequences}")
    if len(node.input) != _STATES + 1:
        raise UnsupportedError(
            f"{label}: must have {_STATES} states, hidden and cell, and 1 sequence, not {len(node.input) - 1} states"
        )
    if len(inputs) != len(node.input) or not _STATES <= len(outputs) >= len(node.output):
        raise ModelError(
            f"{label}: its body must have as many inputs and outputs as the node, {len(node.input)} and "
            f"{len(node.output)}, not {len(inputs)} and {len(outputs)}"
        )
    given = [*node.output, *[""] * (len(outputs) - len(node.output))]
    collected = outputs[_STATES:]
    axis = _places(node, "scan_input_axes", 1, label)[0]
    places = _places(node, "scan_output_axes", len(collected), label)
    reverse = _directions(node, "scan_input_directions", 1, label)[0]
    backwards = _directions(node, "scan_output_directions", len(collected), label)
    for name, prepended in zip(given[_STATES:], backwards, strict=True):
        if name and prepended != reverse:
            raise UnsupportedError(
                f"{label}: scan_output_directions of {printable(name)} must be {int(reverse)}, as "
                f"scan_input_directions, not {int(prepended)}: hwgen gives sequences in the order of the input"
            )
    return ScanNode(
        label=label,
        body=body,
        states=tuple(map(State, node.input[:_STATES], inputs, outputs, given)),
        sequence=node.input[_STATES],
        element=inputs[_STATES],
        axis=axis,
        reverse=reverse,
        collected=tuple(zip(collected, given[_STATES:], places, strict=True)),
    )


def _body(graph: Graph, node: onnx.NodeProto, label: str) -> Graph:
    """The body with all that it takes from the graph around it."""
    given = attribute_value(node, "body")
    if not isinstance(given, onnx.GraphProto):
        raise ModelError(f"{label}: attribute 'body' must be a graph")
    for inner in given.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in inner.attribute):
            raise UnsupportedError(
                f"{label}, body node {node_label(inner)}: has a graph within the body; hwgen reads none"
            )
    proto = onnx.GraphProto()
    proto.CopyFrom(given)
    own = {value.name for value in proto.input} | {tensor.name for tensor in proto.initializer}
    own |= {name for inner in proto.node for name in inner.output}
    read = [name for inner in proto.node for name in inner.input] + [value.name for value in proto.output]
    for name in dict.fromkeys(name for name in read if name and name not in own):
        if not graph.writes(name):
            raise ModelError(f"{label}: its body reads {printable(name)}, which nothing writes")
        if graph.depends_on_input(name):
            raise UnsupportedError(
                f"{label}: its body reads {printable(name)} of the graph around it, which depends on a graph input; "
                "make it a state or the sequence"
            )
        _adopt(proto, own, *graph.sources(name))
    return Graph(onnx.ModelProto(graph=proto, opset_import=[onnx.OperatorSetIdProto(version=graph.opset)]), label)


def _adopt(proto: onnx.GraphProto, own: set[str], nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]) -> None:
    """Copy nodes and initializers from around, each of them once."""
    for inner in nodes:
        if not own.intersection(inner.output):
            proto.node.append(inner)
            own.update(inner.output)
    for tensor in tensors:
        if tensor.name not in own:
            proto.initializer.append(tensor)
            own.add(tensor.name)


def _integers(node: onnx.NodeProto, name: str, count: int, label: str) -> list[int]:
    values = attribute_value(node, name, default=[0] * count)
    if not isinstance(values, list) or len(values) != count:
        raise ModelError(f"{label}: {name} must have {count} entries, not {values}")
    return values


def _places(node: onnx.NodeProto, name: str, count: int, label: str) -> list[int]:
    rank = _ELEMENT_RANK + 1
    values = _integers(node, name, count, label)
    for value in values:
        if not -rank <= value < rank:
            raise UnsupportedError(f"{label}: {name} must be among {rank} axes, not {value}")
    return [value % rank for value in values]


def _directions(node: onnx.NodeProto, name: str, count: int, label: str) -> list[bool]:
    values = _integers(node, name, count, label)
    for value in values:
        if value not in (0, 1):
            raise ModelError(f"{label}: {name} must be 0 or 1, not {value}")
    return [bool(value) for value in values]
