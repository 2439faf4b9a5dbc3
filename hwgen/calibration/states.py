# SPDX-License-Identifier: Apache-2.0
"""Initial states of recurrent nodes: what is constant behind the arithmetic of shapes that exporters write."""

from __future__ import annotations

import numpy as np
from onnx.reference import ReferenceEvaluator

from hwgen.errors import ModelError, UnsupportedError
from hwgen.frontend.graph import Graph, attribute_value
from hwgen.frontend.quant_nodes import Owner, constant_of
from hwgen.quantizer import FloatArray

_MOVES = ("Transpose", "Unsqueeze", "Squeeze", "Slice", "Gather", "Reshape")
_DEPTH = 32


def steady_state(
    graph: Graph, tensor: str, directions: int, units: int, axis: int, direction: int, label: str
) -> FloatArray | None:
    """The state [units] of one direction that all sequences start from; None if an input decides it.

    ``tensor`` has its directions along ``axis``, 0 or 1, and the batch along the other.
    """
    constant = graph.constant(tensor)
    if constant is not None and constant.ndim:
        # Of one value throughout as well: the projections that torch's dynamo exporter drops show here alone.
        _by_direction(np.asarray(constant), directions, units, axis, label)
    found = _steady(graph, tensor, label, _DEPTH)
    if found is None:
        return None
    if found.ndim == 0:
        return np.full(units, float(found))
    state = _by_direction(found, directions, units, axis, label)
    if (state != state[:, :1]).any():
        raise UnsupportedError(
            f"{label}: differs between the sequences of a batch; make it a graph input, or the same for all"
        )
    state = np.broadcast_to(state[:, 0], (directions, units))
    return np.array(state[direction])


def _by_direction(found: FloatArray, directions: int, units: int, axis: int, label: str) -> FloatArray:
    """A state with the axes [directions, batch, units], lengths of 1 where it is the same throughout."""
    if found.ndim > 3:
        raise ModelError(f"{label}: must have 3 axes, not {found.ndim}")
    state = found.reshape((1,) * (3 - found.ndim) + found.shape)
    state = state if axis == 0 else state.swapaxes(0, 1)
    if state.shape[0] not in (1, directions) or state.shape[2] not in (1, units) or not state.size:
        raise ModelError(f"{label}: must have {directions} directions and {units} units, not {list(found.shape)}")
    return state


def _steady(graph: Graph, tensor: str, label: str, depth: int) -> FloatArray | None:
    """A tensor that no input changes but in shape: a number for one value throughout, else with the axes it has."""
    if graph.constant(tensor) is not None:
        values = constant_of(graph, tensor, "value", Owner(label))
        return values.reshape(-1)[0] * np.ones(()) if values.size and np.ptp(values) == 0 else values
    node = graph.producer(tensor)
    if node is None or depth == 0:
        return None
    if node.op_type == "ConstantOfShape":
        filled = attribute_value(node, "value")
        return np.zeros(()) if filled is None else np.asarray(_number(filled))
    if node.op_type in ("Expand", "Cast", *_MOVES):
        inner = _steady(graph, node.input[0], label, depth - 1)
        if inner is None or inner.ndim == 0 or node.op_type in ("Expand", "Cast"):
            return inner
        others = {name: graph.constant(name) for name in node.input[1:] if name}
        if any(value is None for value in others.values()):
            return None
        return np.asarray(ReferenceEvaluator(node).run(None, {node.input[0]: inner, **others})[0])
    if node.op_type == "Concat":
        parts = [_steady(graph, name, label, depth - 1) for name in node.input]
        numbers = {float(part) for part in parts if part is not None and part.ndim == 0}
        if len(numbers) == 1 and all(part is not None and part.ndim == 0 for part in parts):
            return np.asarray(numbers.pop())
    return None


def _number(filled: object) -> float:
    from onnx import numpy_helper

    return float(numpy_helper.to_array(filled).reshape(-1)[0])


def knows_shapes_alone(graph: Graph, tensor: str) -> bool:
    """Whether no value of a graph input can influence a tensor, though their shapes may."""
    pending, seen = [tensor], {tensor}
    while pending:
        name = pending.pop()
        if name in graph.inputs:
            return False
        node = graph.producer(name)
        if node is not None and node.op_type != "Shape":
            found = [graph.origin(source) for source in node.input if source and source not in seen]
            seen.update(found)
            pending += found
    return True


def sliced_source(graph: Graph, tensor: str, axis: int) -> tuple[str, int]:
    """What a Slice along ``axis`` reads, and where it starts: the states of some layers out of those of all."""
    node = graph.producer(tensor)
    if node is None or node.op_type != "Slice" or len(node.input) < 4:
        return tensor, 0
    given = [graph.constant(name) if name else None for name in node.input[1:]]
    if any(array is None or array.size != 1 for array in given):
        return tensor, 0
    start, _, along, *step = (int(array.reshape(-1)[0]) for array in given if array is not None)
    if along != axis or start < 0 or any(entry != 1 for entry in step):
        return tensor, 0
    return node.input[0], start
