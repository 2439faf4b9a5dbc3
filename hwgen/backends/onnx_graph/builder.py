# SPDX-License-Identifier: Apache-2.0
"""Graphs built node by node, under names that say what a node is for and that never collide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from hwgen.quantizer import IntArray, IntegerType

# Longer names from a model are cut where they begin the names of nodes; a number behind them keeps those apart.
_MAX_NAME = 100


class Names:
    """Names in use by a graph and the graphs inside it; ``reserved`` ones belong to the model."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)

    def unique(self, wanted: str) -> str:
        """``wanted``, or with a number behind it where that is taken."""
        clean = "".join(c if c.isprintable() else "_" for c in wanted) or "_"
        name, count = clean, 1
        while name in self._taken:
            count += 1
            name = f"{clean}.{count}"
        self._taken.add(name)
        return name


class GraphBuilder:
    """Nodes and constants of one graph; ``outer`` is the graph that it stands in, whose tensors it may read."""

    def __init__(self, names: Names, outer: GraphBuilder | None = None) -> None:
        self.names = names
        self.outer = outer
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    @property
    def outermost(self) -> GraphBuilder:
        """The graph that is in no other: what stands there is computed once."""
        return self if self.outer is None else self.outer.outermost

    def at(self, path: str) -> Scope:
        """The place of a layer, an input or an output, by its name in the model."""
        return Scope(self, path[:_MAX_NAME])


@dataclass(frozen=True)
class Scope:
    """A place in a graph: all that is written here has names below ``path``."""

    graph: GraphBuilder
    path: str

    def under(self, name: str) -> Scope:
        """A place below this one."""
        return Scope(self.graph, f"{self.path}/{name}")

    def name(self, name: str = "") -> str:
        """A new name below ``path``, or ``path`` itself."""
        return self.graph.names.unique(f"{self.path}/{name}" if name else self.path)

    def op(self, operator: str, *inputs: str, name: str = "", doc: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the name of the output, which is the node's as well."""
        output = self.name(name)
        self.graph.nodes.append(
            helper.make_node(operator, inputs, [output], name=output, doc_string=doc or None, **attributes)
        )
        return output

    def constant(self, values: NDArray[Any], name: str) -> str:
        """Add an initializer."""
        label = self.name(name)
        self.graph.initializers.append(numpy_helper.from_array(values.copy(order="C"), label))
        return label

    def integers(self, values: ArrayLike, name: str) -> str:
        """A constant of int64; one element becomes a scalar."""
        return self.constant(_scalar(np.asarray(values, np.int64)), name)

    def axes(self, *axes: int) -> str:
        """A constant list of axes."""
        return self.constant(np.array(axes, np.int64), "axes")

    def reals(self, values: ArrayLike, name: str) -> str:
        """A constant of float64; one element becomes a scalar."""
        return self.constant(_scalar(np.asarray(values, np.float64)), name)

    def stored(self, values: IntArray, name: str, element: int) -> str:
        """A large constant: kept in the narrowest integers, cast to ``element`` once, in the outermost graph."""
        place = Scope(self.graph.outermost, self.path)
        narrow = place.constant(values.astype(_narrowest(values)), name)
        return place.op("Cast", narrow, name=f"{name}/cast", to=element)

    def real(self, integers: str, name: str) -> str:
        """Integers as float64."""
        return self.op("Cast", integers, name=name, to=TensorProto.DOUBLE)


def _scalar(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(()) if values.size == 1 else values


def _narrowest(values: IntArray) -> type[np.signedinteger[Any]]:
    bits = IntegerType.holding(min(int(values.min(initial=0)), -1), int(values.max(initial=0))).bits
    return next(
        (kind for size, kind in ((8, np.int8), (16, np.int16), (32, np.int32)) if bits <= size),
        np.int64,
    )
