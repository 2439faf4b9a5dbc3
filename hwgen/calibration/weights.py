# SPDX-License-Identifier: Apache-2.0
"""Constant weights of a model, float or quantized: values, and the quantizer that the file gives them.

Quantized weights may be moved about behind their quantizer, as exporters do: gates quantized one by one and then
joined.  What is known of each entry moves along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from hwgen.errors import UnsupportedError, printable
from hwgen.frontend.graph import FOLDED_OPS, Graph, node_label
from hwgen.frontend.qdq import read_chain
from hwgen.frontend.quant_nodes import QUANT_OPS, Owner, constant_of, exact_codes, quantizer_of_node
from hwgen.quantizer import FloatArray, IntArray, IntegerType, Quantizer

Plane = NDArray[np.generic]


@dataclass(frozen=True)
class Weights:
    """A constant tensor entry by entry, all of one shape.

    ``kind`` is -1 where nothing quantizes it, else the place of its codes' type in ``types``; ``scale`` and
    ``zero_point`` are those of the quantizer.
    """

    values: FloatArray
    scale: FloatArray
    zero_point: FloatArray
    kind: FloatArray
    types: tuple[IntegerType, ...]

    def move(self, function: Callable[[FloatArray], FloatArray]) -> Weights:
        """The same behind an operation that only moves entries."""
        planes = (self.values, self.scale, self.zero_point, self.kind)
        values, scale, zero_point, kind = map(function, planes)
        return Weights(values, scale, zero_point, kind, self.types)

    def quantizer(self, label: str) -> Quantizer | None:
        """The quantizer of a matrix [rows, n] with one scale, or one per row; None for a float matrix.

        Raises UnsupportedError for any other.
        """
        kind = int(self.kind.flat[0])
        if (self.kind != kind).any():
            raise UnsupportedError(f"{label}: all of it must be quantized alike, not parts of it")
        if kind < 0:
            return None
        columns = []
        for plane, what in ((self.scale, "scale"), (self.zero_point, "zero point")):
            rows = plane.reshape(len(plane), -1)
            if (rows != rows[:, :1]).any():
                raise UnsupportedError(f"{label}: its {what} must be one number or one per output channel")
            column = rows[:, 0]
            columns.append(column[:1] if (column == column[0]).all() else column)
        scale, zero_point = columns
        return Quantizer(tuple(map(float, scale)), tuple(int(z) for z in zero_point), self.types[kind])


def read_weights(graph: Graph, tensor: str, what: str, label: str) -> Weights:
    """A constant of a model; raises UnsupportedError where it is computed from an input."""
    found = _read(graph, tensor, what, label)
    if found is None:
        raise UnsupportedError(
            f"{label}: {what} ({printable(tensor)}) must be a constant, or a constant behind Quant or "
            f"DequantizeLinear, but comes from {graph.describe(tensor)}"
        )
    return found


def _read(graph: Graph, tensor: str, what: str, label: str) -> Weights | None:
    node = graph.producer(tensor)
    if node is None or graph.constant(tensor) is not None:
        if graph.constant(tensor) is None:
            return None
        values = constant_of(graph, tensor, what, Owner(label))
        return _entries(values, Quantizer((1.0,), (0,), IntegerType(1, False)), -1)
    if node.op_type in QUANT_OPS:
        return _quantized(graph, node, what)
    if node.op_type == "DequantizeLinear":
        return _dequantized(graph, tensor, what)
    if node.op_type in FOLDED_OPS:
        return _moved(graph, node, what, label)
    return None


def _entries(values: FloatArray, quantizer: Quantizer, kind: int) -> Weights:
    full = [np.broadcast_to(np.float64(part[0]), values.shape) for part in (quantizer.scale, quantizer.zero_point)]
    types = () if kind < 0 else (quantizer.codes,)
    return Weights(values, full[0], full[1], np.full(values.shape, float(kind)), types)


def _quantized(graph: Graph, node: onnx.NodeProto, what: str) -> Weights | None:
    if graph.constant(node.input[0]) is None:
        return None
    quantizer, owner = quantizer_of_node(graph, node), Owner(node_label(node))
    values = constant_of(graph, node.input[0], what, owner)
    shapes = [constant_of(graph, name, what, owner) for name in node.input[1:3]]
    if quantizer.codes.bipolar:
        shapes = [shapes[0], np.zeros(1)]
    return _spread(owner.label, values, quantizer, shapes[0], shapes[1])


def _dequantized(graph: Graph, tensor: str, what: str) -> Weights | None:
    chain = read_chain(graph, tensor)
    assert chain is not None, "it ends in DequantizeLinear"
    if graph.constant(chain.source) is None:
        return None
    values = constant_of(graph, chain.source, what, Owner(chain.label))
    axis = [1] * values.ndim
    if chain.quantizer.channels > 1:
        axis[chain.axis] = chain.quantizer.channels
    scale, zeros = (
        np.reshape(part, axis if len(part) > 1 else -1) for part in (chain.quantizer.scale, chain.quantizer.zero_point)
    )
    # Ties are resolved before QuantizeLinear adds the zero point.
    codes = np.rint(values / scale) + zeros if chain.quantizes else values
    values = (np.clip(codes, chain.quantizer.codes.lo, chain.quantizer.codes.hi) - zeros) * scale
    return _spread(chain.label, values, chain.quantizer, scale, zeros)


def _spread(label: str, values: FloatArray, quantizer: Quantizer, scale: FloatArray, zeros: FloatArray) -> Weights:
    """Values behind a quantizer whose scales and zero points broadcast along any axis."""
    try:
        scale, zeros = np.broadcast_to(scale, values.shape), np.broadcast_to(zeros, values.shape)
    except ValueError as error:
        raise UnsupportedError(
            f"{label}: its scale {list(scale.shape)} must fit the shape {list(values.shape)} of what it quantizes"
        ) from error
    result = np.empty(values.shape)
    pairs, place = np.unique(np.stack([scale.reshape(-1), zeros.reshape(-1)]), axis=1, return_inverse=True)
    for index, (one, zero) in enumerate(pairs.T):
        own = place.reshape(values.shape) == index
        single = Quantizer((float(one),), (int(zero),), quantizer.codes, quantizer.rounding)
        codes: IntArray = exact_codes(single, values[own])
        result[own] = single.dequantize(codes)
    return Weights(result, scale, zeros, np.zeros(values.shape), (quantizer.codes,))


def _moved(graph: Graph, node: onnx.NodeProto, what: str, label: str) -> Weights | None:
    """Operators that only move data, on each plane."""
    parts: dict[str, Weights | Plane] = {}
    for place, name in enumerate(filter(None, node.input)):
        if place and node.op_type != "Concat":
            constant = graph.constant(name)
            if constant is None:
                return None
            parts[name] = constant
        else:
            found = _read(graph, name, what, label)
            if found is None:
                return None
            parts[name] = found
    types = tuple(dict.fromkeys(kind for part in parts.values() if isinstance(part, Weights) for kind in part.types))
    planes = []
    for plane in ("values", "scale", "zero_point", "kind"):
        feeds = {
            name: (_numbered(part, types) if plane == "kind" else getattr(part, plane))
            if isinstance(part, Weights)
            else part
            for name, part in parts.items()
        }
        planes.append(np.asarray(ReferenceEvaluator(node).run(None, feeds)[0]))
    values, scale, zero_point, kind = planes
    return Weights(values, scale, zero_point, kind, types)


def _numbered(part: Weights, types: tuple[IntegerType, ...]) -> FloatArray:
    """The plane of kinds, counted in ``types``."""
    numbers = np.array([*(types.index(kind) for kind in part.types), -1], float)
    return np.asarray(numbers[part.kind.astype(np.int64)])
