# SPDX-License-Identifier: Apache-2.0
"""Reads ``QuantLSTMCell``, the node that Brevitas' QONNX export writes for one layer in one direction.

Inputs in order: 0 x, 1 hidden state, 2 cell state, 3-6 input weights (i, f, c, o), 7-10 hidden weights, 11-14 biases,
then (scale, zero point, bit width) of each quantizer in ``_QUANTIZERS``.  Its equations stand in ``hwgen.network``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, flag, node_label
from hwgen.frontend.quant_nodes import (
    QUANT_OPS,
    Owner,
    activation_quantizer,
    bias_of,
    constant_of,
    quantized_constant,
    quantizer_from,
    quantizer_of_node,
)
from hwgen.network import Activation, Gate, InitialState, LstmLayer, NetworkInput
from hwgen.quantizer import FloatArray, Quantizer

# Quantizer name -> index of its scale; zero point and bit width follow.
_QUANTIZERS = {
    "output": 15,
    "cell_state": 18,
    "input_acc": 21,
    "forget_acc": 24,
    "cell_acc": 27,
    "output_acc": 30,
    "input_sigmoid": 33,
    "forget_sigmoid": 36,
    "cell_tanh": 39,
    "output_sigmoid": 42,
    "hidden_state_tanh": 45,
}
_INPUT_COUNT = 48
_GATES = ("input", "forget", "cell", "output")


@dataclass(frozen=True)
class _Cell:
    graph: Graph
    node: onnx.NodeProto
    label: str
    input_size: int
    hidden_size: int


def read_cell(graph: Graph, node: onnx.NodeProto) -> tuple[LstmLayer, tuple[NetworkInput, ...], bool]:
    """Read one QuantLSTMCell: the layer, the graph inputs that feed it, and whether it is batch first."""
    label = node_label(node)
    if len(node.input) != _INPUT_COUNT:
        raise ModelError(f"{label}: must have {_INPUT_COUNT} inputs, not {len(node.input)}")
    if not 1 <= len(node.output) <= 3:
        raise ModelError(f"{label}: must have 1 to 3 outputs, not {len(node.output)}")
    input_quantizer, source = activation_quantizer(graph, node.input[0], "its input", label)
    if source not in graph.inputs:
        raise UnsupportedError(
            f"{label}: its input must be a graph input behind one Quant node, but {printable(source)} comes from "
            f"{graph.describe(source)}; layers before the LSTM are not supported yet"
        )
    hidden_size, input_size = _weight_shape(graph, node, label)
    cell = _Cell(graph, node, label, input_size, hidden_size)
    declared = graph.shape(source)
    if declared is not None and (len(declared) != 3 or declared[2] not in (None, input_size)):
        raise ModelError(
            f"graph input {printable(source)}: shape must be [T, batch, {input_size}] to fit the weights, "
            f"not {declared}"
        )
    coupled = flag(node, "cifg")
    output, state = _quantizer(cell, "output"), _quantizer(cell, "cell_state")
    if output.channels > 1:
        raise UnsupportedError(f"{label}: output needs one scale per tensor, not {output.channels}")
    hidden, hidden_port = _initial_state(cell, node.input[1], "hidden", "h0", output)
    cell_init, cell_port = _initial_state(cell, node.input[2], "cell", "c0", state)
    layer = LstmLayer(
        name=node.name or node.output[0],
        input_size=input_size,
        hidden_size=hidden_size,
        gates=tuple(_gate(cell, name) for name in _GATES if not (coupled and name == "forget")),
        input=input_quantizer,
        cell=state,
        cell_tanh=_quantizer(cell, "hidden_state_tanh"),
        output=output,
        initial_hidden=hidden,
        initial_cell=cell_init,
        coupled=coupled,
        reverse=flag(node, "reverse_input"),
    )
    ports = (NetworkInput(source, "x", input_size), hidden_port, cell_port)
    return layer, tuple(port for port in ports if port is not None), flag(node, "batch_first")


def _weight_shape(graph: Graph, node: onnx.NodeProto, label: str) -> tuple[int, int]:
    """[H, I] as the first input weight has it; the other weights are then checked against it."""
    producer = graph.producer(node.input[3])
    if producer is not None and producer.op_type in QUANT_OPS:
        quantizer_of_node(graph, producer)  # for its checks: what it reads is looked at next
        tensor = producer.input[0]
    else:
        tensor = node.input[3]
    weight = graph.constant(tensor)
    if weight is None:
        raise UnsupportedError(f"{label}: its input weight ({printable(tensor)}) must be a constant of the file")
    if weight.ndim != 2 or 0 in weight.shape:
        raise ModelError(f"{label}: its input weight must have shape [H, I], not {list(weight.shape)}")
    return int(weight.shape[0]), int(weight.shape[1])


def _gate(cell: _Cell, name: str) -> Gate:
    index, h, i = _GATES.index(name), cell.hidden_size, cell.input_size
    tensors = cell.node.input
    tanh = name == "cell"
    return Gate(
        name=name,
        input_weight=quantized_constant(
            cell.graph, tensors[3 + index], f"input weight of the {name} gate", cell.label, (h, i)
        ),
        hidden_weight=quantized_constant(
            cell.graph, tensors[7 + index], f"hidden weight of the {name} gate", cell.label, (h, h)
        ),
        bias=bias_of(cell.graph, tensors[11 + index], f"bias of the {name} gate", cell.label, h),
        accumulator=_quantizer(cell, f"{name}_acc"),
        activation=Activation.TANH if tanh else Activation.SIGMOID,
        activation_quantizer=_quantizer(cell, "cell_tanh" if tanh else f"{name}_sigmoid"),
    )


def _quantizer(cell: _Cell, name: str) -> Quantizer:
    owner = Owner(f"{cell.label}, quantizer {name!r}")
    start = _QUANTIZERS[name]
    scale, zero_point, bits = (
        constant_of(cell.graph, cell.node.input[start + offset], what, owner)
        for offset, what in enumerate(("scale", "zero point", "bit width"))
    )
    for what, array in (("scale", scale), ("zero point", zero_point)):
        if array.size not in (1, cell.hidden_size):
            raise ModelError(f"{owner.label}: {what} must have 1 or {cell.hidden_size} entries, not {array.size}")
    if (zero_point != zero_point.reshape(-1)[0]).any():
        raise UnsupportedError(
            f"{owner.label}: one zero point per tensor is supported, not {len(np.unique(zero_point))} different ones"
        )
    return quantizer_from(
        scale,
        zero_point.reshape(-1)[:1],
        bits,
        flag(cell.node, f"{name}_signed"),
        # Brevitas spells one of them output_sigmoid_narrow_range.
        flag(cell.node, f"{name}_narrow", f"{name}_narrow_range", default=0),
        str(attribute_value(cell.node, f"{name}_rounding_mode", default="ROUND")),
        owner,
    )


def _initial_state(
    cell: _Cell, tensor: str, what: str, role: str, quantizer: Quantizer
) -> tuple[InitialState, NetworkInput | None]:
    graph, label = cell.graph, f"{cell.label}, initial {what} state"
    producer = graph.producer(tensor)
    if producer is not None and producer.op_type in QUANT_OPS:
        found, tensor = quantizer_of_node(graph, producer), graph.origin(producer.input[0])
        if found != quantizer:
            raise UnsupportedError(
                f"{label}: its Quant node must have the state's own quantizer ({quantizer}), not {found}"
            )
    elif graph.constant(tensor) is None:
        raise UnsupportedError(
            f"{label} ({printable(tensor)}) must be a constant or come from a graph input through a Quant node, "
            f"not from {'a graph input directly' if producer is None else node_label(producer)}"
        )
    if graph.constant(tensor) is not None:
        values = constant_of(graph, tensor, "value", Owner(label))
        codes = _constant_state(values, quantizer, label, cell.hidden_size, quantized=producer is not None)
        return InitialState(quantizer, codes=codes.astype(np.int64)), None
    source, axes = _strip_state_axes(graph, tensor)
    if source not in graph.inputs:
        raise UnsupportedError(
            f"{label} must be a constant or a graph input, but it comes from {graph.describe(source)}"
        )
    shape = graph.shape(source)
    if shape is not None and (len(shape) != 2 + axes or shape[-1] not in (None, cell.hidden_size)):
        wanted = f"[{'1, ' * axes}batch, {cell.hidden_size}]"
        raise ModelError(f"graph input {printable(source)}: shape must be {wanted} to fit the weights, not {shape}")
    return InitialState(quantizer, graph_input=source), NetworkInput(source, role, cell.hidden_size, axes)


def _strip_state_axes(graph: Graph, tensor: str) -> tuple[str, int]:
    """Follow Gather(axis 0, index 0) or Squeeze back to the tensor [1, batch, H] that they take a layer of."""
    axes = 0
    node = graph.producer(tensor)
    while node is not None and node.op_type in ("Gather", "Squeeze") and len(node.input) > 1:
        index = graph.constant(node.input[1])
        if index is None or np.any(index != 0) or attribute_value(node, "axis", default=0) != 0:
            break
        tensor, axes = graph.origin(node.input[0]), axes + 1
        node = graph.producer(tensor)
    return tensor, axes


def _constant_state(
    values: FloatArray, quantizer: Quantizer, label: str, hidden_size: int, quantized: bool
) -> FloatArray:
    """The codes [H] of a constant state [batch, H], the same for every sequence of a batch."""
    if values.size == 0 or values.shape[-1:] != (hidden_size,):
        raise ModelError(f"{label}: shape must be [batch, {hidden_size}], not {list(values.shape)}")
    rows = values.reshape(-1, hidden_size)
    if (rows != rows[0]).any():
        raise UnsupportedError(
            f"{label}: it differs between the sequences of a batch; make it a graph input by passing states "
            "to export_qonnx"
        )
    codes = quantizer.quantize(rows[0])
    if not quantized and (quantizer.dequantize(codes) != rows[0]).any():
        off = rows[0][quantizer.dequantize(codes) != rows[0]][0]
        raise UnsupportedError(f"{label}: {off:g} is not a value of the state's quantizer ({quantizer})")
    return codes
