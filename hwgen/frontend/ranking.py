# SPDX-License-Identifier: Apache-2.0
"""Reads the operators that tell where the greatest value is: ArgMax, and TopK of one value."""

from __future__ import annotations

import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, flag, node_label
from hwgen.frontend.values import Value
from hwgen.network import FEATURES, ONE


def indices_of(graph: Graph, node: onnx.NodeProto, value: Value) -> tuple[str, tuple[str, ...]]:
    """The tensor that holds the index of the greatest of the features of ``value``, and its axes.

    Raises UnsupportedError for another axis, the smallest value, the last of equal ones, and of TopK for several values
    or for the values themselves; ModelError for a TopK that says nothing that can be understood.
    """
    label, topk = node_label(node), node.op_type == "TopK"
    axis = int(str(attribute_value(node, "axis", default=-1 if topk else 0)))
    if value.stack[1:] or not -len(value.axes) <= axis < len(value.axes) or value.axes[axis] != FEATURES:
        raise UnsupportedError(f"{label}: hwgen reads {node.op_type} along the features alone, not along axis {axis}")
    axes = list(value.axes)
    if topk:
        _check_topk(graph, node, label)
        axes[axis] = ONE
        return node.output[1], tuple(axes)
    if attribute_value(node, "select_last_index", default=0):
        raise UnsupportedError(f"{label}: select_last_index must be 0")
    if not attribute_value(node, "keepdims", default=1):
        del axes[axis]
    return node.output[0], tuple(axes)


def _check_topk(graph: Graph, node: onnx.NodeProto, label: str) -> None:
    """Refuse all but the index of the one greatest value, which is ArgMax: both take the first of equal values."""
    if len(node.input) != 2 or len(node.output) != 2:
        raise ModelError(
            f"{label}: must have 2 inputs and 2 outputs, not {len(node.input)} and {len(node.output)}; TopK before "
            "opset 10 is not read"
        )
    count = graph.constant(node.input[1])
    if count is None:
        raise UnsupportedError(f"{label}: its k ({printable(node.input[1])}) must be a constant of the file")
    if count.size != 1 or count.dtype.kind not in "iu":
        raise ModelError(f"{label}: k must be one integer, not {count.tolist()} of {count.dtype}")
    k = int(count.reshape(-1)[0])
    if k != 1:
        raise UnsupportedError(
            f"{label}: k must be 1, not {k}; hwgen finds the one greatest value, and where more are wanted, leave TopK "
            "out and sort the values that the model then gives"
        )
    if not flag(node, "largest", default=1):
        raise UnsupportedError(f"{label}: largest must be 1; hwgen finds the greatest value, not the smallest")
    values = node.output[0]
    used = [*graph.outputs, *(name for other in graph.live_nodes() for name in other.input)]
    if values and values in map(graph.origin, used):
        raise UnsupportedError(
            f"{label}: its values ({printable(values)}) are used; hwgen gives the index alone: make "
            "topk(...).indices the output of the model, beside the values that it picks from if they are needed"
        )
