# SPDX-License-Identifier: Apache-2.0
"""Weights and biases of dense layers: MatMul and Gemm with a constant matrix behind a quantizer."""

from __future__ import annotations

import numpy as np
import onnx

from hwgen.errors import UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, node_label
from hwgen.frontend.quant_nodes import bias_of, quantized_constant
from hwgen.layers import Bias, QuantizedTensor


def matmul_weight(graph: Graph, node: onnx.NodeProto) -> QuantizedTensor:
    """The weight [outputs, inputs] of a MatMul, which may stand transposed behind its quantizer."""
    label = node_label(node)
    producer = graph.producer(node.input[1])
    if producer is not None and producer.op_type == "Transpose":
        return _weight(graph, producer.input[0], label)
    stored = _weight(graph, node.input[1], label)
    if stored.quantizer.channels > 1:
        raise UnsupportedError(f"{label}: a weight [inputs, outputs] needs one scale per tensor")
    return QuantizedTensor(np.ascontiguousarray(stored.codes.T), stored.quantizer)


def gemm_parameters(graph: Graph, node: onnx.NodeProto) -> tuple[QuantizedTensor, Bias]:
    """The weight [outputs, inputs] and the bias of a Gemm as torch writes a linear layer."""
    label = node_label(node)
    for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 1)):
        found = attribute_value(node, name, default=0 if name.startswith("trans") else 1.0)
        if found != wanted:
            raise UnsupportedError(f"{label}: {name} must be {wanted:g}, not {found}")
    weight = _weight(graph, node.input[1], label)
    if len(node.input) < 3 or not node.input[2]:
        return weight, None
    return weight, bias_of(graph, node.input[2], "its bias", label, len(weight.codes))


def _weight(graph: Graph, tensor: str, label: str) -> QuantizedTensor:
    """A constant matrix behind a Quant node."""
    producer = graph.producer(tensor)
    constant = graph.constant(producer.input[0] if producer is not None and producer.input else tensor)
    if constant is None or constant.ndim != 2:
        raise UnsupportedError(f"{label}: its weight ({printable(tensor)}) must be a quantized constant matrix")
    return quantized_constant(graph, tensor, "its weight", label, constant.shape)
