# SPDX-License-Identifier: Apache-2.0
"""Axes of tensors: what moves them, and which axis of a graph input is time, batch or features.

The axes of graph inputs have names of their own until a layer takes them: only then is it known what they are.
"""

from __future__ import annotations

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, listing, printable
from hwgen.frontend.graph import Graph, attribute_value, node_label
from hwgen.frontend.values import Value
from hwgen.network import BATCH, FEATURES, ONE, PARTS, TIME, NetworkInput

_ROLES = {TIME: "time", BATCH: "batch", FEATURES: "features", PARTS: "layers", ONE: "one entry"}
_UNRANKED = 3


class Layouts:
    """What is known about the axes of graph inputs, and the arithmetic of axes."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._roles: dict[str, str] = {}

    def of_input(self, name: str) -> tuple[str, ...]:
        """Axes of a graph input, named after it."""
        shape = self._graph.shape(name)
        rank = _UNRANKED if shape is None else len(shape)
        return tuple(f"{name}.{place}" for place in range(rank))

    def role(self, axis: str) -> str:
        """What an axis is, or its own name where that is not known."""
        return self._roles.get(axis, axis)

    def resolve(self, axes: tuple[str, ...], label: str) -> tuple[str, ...]:
        """Axes as roles; raises UnsupportedError where one is unknown."""
        roles = tuple(map(self.role, axes))
        if any(role not in _ROLES for role in roles):
            raise UnsupportedError(f"{label}: it is not known which of its axes is time and which is batch")
        return roles

    def bind(self, axes: tuple[str, ...], roles: tuple[str, ...], label: str) -> None:
        """Learn that ``axes`` are ``roles``; raises ModelError where they are something else."""
        found = tuple(map(self.role, axes))
        if len(found) != len(roles) and found[0] not in _ROLES:
            name = axes[0].rpartition(".")[0]
            raise ModelError(
                f"graph input {printable(name)}: must have axes {_listed(roles)}, not shape {self._graph.shape(name)}"
            )
        if len(found) != len(roles):
            raise ModelError(f"{label}: must have axes {_listed(roles)}, not {len(found)} axes")
        for axis, known, role in zip(axes, found, roles, strict=True):
            if known in _ROLES and known != role:
                raise ModelError(f"{label}: must have axes {_listed(roles)}, not {_listed(found)}")
            if known not in _ROLES:
                self._roles[axis] = role

    def declared_length(self, axis: str) -> int | None:
        """The declared length of an axis of a graph input; None if it is free, or no such axis."""
        name, _, place = axis.rpartition(".")
        shape = self._graph.shape(name) if name in self._graph.inputs else None
        return None if shape is None or not place.isdecimal() else shape[int(place)]

    def bind_batch(self, axes: tuple[str, ...], roles: tuple[str, ...], label: str) -> tuple[str, ...]:
        """As ``bind``, where an axis of length 1 may take the place of the batch; returns the roles that they have."""
        if len(axes) == len(roles):
            pairs = zip(map(self.role, axes), roles, strict=True)
            roles = tuple(
                ONE if found == ONE and role in (BATCH, ONE) else role.replace(ONE, BATCH) for found, role in pairs
            )
        self.bind(axes, roles, label)
        return roles

    def parts(self, name: str, used: tuple[int, ...]) -> int:
        """How many entries an axis of PARTS of a graph input has."""
        shape = self._graph.shape(name)
        for place, axis in enumerate(self.of_input(name)):
            if self.role(axis) == PARTS and shape is not None and shape[place] is not None:
                return shape[place] or 0
        return max(used) + 1

    def check_declared(self, port: NetworkInput) -> None:
        """Refuse a declared shape that does not fit the weights."""
        declared = self._graph.shape(port.name)
        if declared is None:
            return
        lengths = {FEATURES: port.features, PARTS: port.count, ONE: 1}
        for axis, length in zip(port.axes, declared, strict=True):
            if length is not None and lengths.get(axis, length) != length:
                raise ModelError(
                    f"graph input {printable(port.name)}: shape must be {port.layout} to fit the weights, "
                    f"not {declared}"
                )

    # Operators.

    def rearrange(self, node: onnx.NodeProto, value: Value) -> tuple[str, ...]:
        """Axes behind Transpose, Unsqueeze, Squeeze, Reshape or Flatten."""
        axes = tuple(map(self.role, value.axes)) if value.graph_input is None else value.axes
        if node.op_type == "Transpose":
            return self._transposed(node, axes)
        if node.op_type == "Unsqueeze":
            return self._unsqueezed(node, axes)
        if node.op_type == "Squeeze":
            return self._squeezed(node, axes, value)
        return self._reshaped(node, axes, value)

    def _transposed(self, node: onnx.NodeProto, axes: tuple[str, ...]) -> tuple[str, ...]:
        order = attribute_value(node, "perm", default=list(range(len(axes)))[::-1])
        assert isinstance(order, list)
        if sorted(order) != list(range(len(axes))):
            raise ModelError(f"{node_label(node)}: perm must order {len(axes)} axes, not be {order}")
        return tuple(axes[place] for place in order)

    def _given_axes(self, node: onnx.NodeProto, total: int) -> list[int] | None:
        """The axes that a node names, ascending, or None; they are an input, or an attribute before opset 13."""
        attribute = attribute_value(node, "axes")
        if attribute is not None:
            index = np.asarray(attribute)
        elif len(node.input) > 1 and node.input[1]:
            constant = self._graph.constant(node.input[1])
            if constant is None:
                raise UnsupportedError(f"{node_label(node)}: its axes must be constant")
            index = constant
        else:
            return None
        given = index.reshape(-1).tolist()
        if index.dtype.kind == "i" and all(-total <= axis < total for axis in given):
            found = sorted({axis % total for axis in given})
            if len(found) == len(given):
                return found
        raise ModelError(f"{node_label(node)}: axes must be different ones of {total}, not [{listing(given)}]")

    def _unsqueezed(self, node: onnx.NodeProto, axes: tuple[str, ...]) -> tuple[str, ...]:
        attribute = attribute_value(node, "axes")
        count = 0
        if isinstance(attribute, list):
            count = len(attribute)
        elif len(node.input) > 1:
            constant = self._graph.constant(node.input[1])
            count = 0 if constant is None else constant.size
        result = list(axes)
        for place in self._given_axes(node, len(axes) + count) or []:
            result.insert(place, ONE)
        return tuple(result)

    def _squeezed(self, node: onnx.NodeProto, axes: tuple[str, ...], value: Value) -> tuple[str, ...]:
        single = [place for place, axis in enumerate(axes) if self._is_single(axis, value)]
        given = self._given_axes(node, len(axes))
        wanted = single if given is None else given
        if value.graph_input is not None:
            # Of a graph input with one state.
            self.bind(tuple(axes[place] for place in wanted), (PARTS,) * len(wanted), node_label(node))
        elif not set(wanted) <= set(single):
            raise UnsupportedError(f"{node_label(node)}: axes {wanted} of {_listed(axes)} have no fixed length of 1")
        return tuple(axis for place, axis in enumerate(axes) if place not in wanted)

    def _is_single(self, axis: str, value: Value) -> bool:
        """Whether an axis has length 1: that of the batch does where all graph inputs declare it."""
        if axis == BATCH:
            places = [name.rpartition(".") for name, role in self._roles.items() if role == BATCH]
            shapes = [(self._graph.shape(name), int(place)) for name, _, place in places]
            return bool(shapes) and all(shape is not None and shape[place] == 1 for shape, place in shapes)
        return axis == ONE or (axis == PARTS and len(value.stack) == 1)

    def _reshaped(self, node: onnx.NodeProto, axes: tuple[str, ...], value: Value) -> tuple[str, ...]:
        """Reshapes that add or drop axes of length 1."""
        core = tuple(axis for axis in axes if not self._is_single(axis, value))
        if node.op_type == "Flatten":
            place = int(str(attribute_value(node, "axis", default=1))) % (len(axes) + 1)
            before = tuple(axis for axis in axes[:place] if axis in core)
            if len(core) == 2 and len(before) == 1:
                return core
        else:
            shape = self._graph.constant(node.input[1]) if len(node.input) > 1 else None
            if shape is not None:
                result = self._matched(core, shape.reshape(-1).tolist(), value)
                if result is not None:
                    return result
        raise UnsupportedError(
            f"{node_label(node)}: hwgen reads a {node.op_type} that adds or drops axes of length 1 alone, "
            f"of {_listed(axes)}; features must stay the last axis"
        )

    def _matched(self, core: tuple[str, ...], shape: list[int], value: Value) -> tuple[str, ...] | None:
        """Axes of the target ``shape`` if it holds the axes ``core`` in order and otherwise ones."""
        kept = [length for length in shape if length != 1]
        if len(kept) != len(core) or value.graph_input is not None:
            return None
        features = len(value.dense.weight.codes) if value.dense is not None else value.stack[0].features
        if core[-1:] != (FEATURES,) or kept[-1] not in (features, -1):
            return None
        names = iter(core)
        return tuple(ONE if length == 1 else next(names) for length in shape)

    def gathered(self, node: onnx.NodeProto, value: Value) -> tuple[int, int, bool]:
        """Axis and index of a Gather of one entry, and whether the axis stays."""
        label, total = node_label(node), len(value.axes)
        axis = int(str(attribute_value(node, "axis", default=0)))
        index = self._graph.constant(node.input[1])
        if index is None or index.size != 1 or index.dtype.kind != "i" or index.ndim > 1:
            raise UnsupportedError(f"{label}: hwgen reads a Gather of one constant index alone")
        if not -total <= axis < total:
            raise ModelError(f"{label}: axis must be one of {total}, not {axis}")
        return axis % total, int(index.reshape(-1)[0]), index.ndim == 1

    def sliced(self, node: onnx.NodeProto, value: Value) -> tuple[int, int] | None:
        """Axis and index of a Slice of one entry; None for a Slice of everything."""
        label, total = node_label(node), len(value.axes)
        arrays = [self._graph.constant(name) if name else None for name in [*node.input[1:], "", "", ""]][:4]
        given = [None if array is None else [int(entry) for entry in array.reshape(-1)] for array in arrays]
        starts, ends, axes, steps = given
        if starts is None or ends is None:
            raise UnsupportedError(f"{label}: its starts and ends must be constant")
        axes = list(range(len(starts))) if axes is None else axes
        steps = [1] * len(starts) if steps is None else steps
        if not len(starts) == len(ends) == len(axes) == len(steps):
            raise ModelError(f"{label}: starts, ends, axes and steps must be of one length")
        found: list[tuple[int, int]] = []
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if not -total <= axis < total:
                raise ModelError(f"{label}: axis must be one of {total}, not {axis}")
            if start == 0 and end >= 2**31 - 1 and step == 1:
                continue
            to_the_end = start == -1 and end >= 2**31 - 1
            if step != 1 or not (end - start == 1 or to_the_end) or (start < 0 <= end and not to_the_end):
                raise UnsupportedError(f"{label}: hwgen reads a Slice of one entry alone, not {start}:{end}:{step}")
            found.append((axis % total, start))
        if len(found) > 1:
            raise UnsupportedError(f"{label}: hwgen reads a Slice along one axis alone")
        return found[0] if found else None


def _listed(roles: tuple[str, ...]) -> str:
    return f"[{', '.join(_ROLES.get(role, 'unknown') for role in roles)}]"
