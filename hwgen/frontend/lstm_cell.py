# SPDX-License-Identifier: Apache-2.0
"""Reads ``QuantLSTMCell``, the node that Brevitas' QONNX export writes for one layer in one direction.

Inputs in order: 0 x, 1 hidden state, 2 cell state, 3-6 input weights (i, f, c, o), 7-10 hidden weights, 11-14 biases,
then (scale, zero point, bit width) of each quantizer in ``_QUANTIZERS``.  Its equations stand in ``hwgen.layers``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, flag, node_label
from hwgen.frontend.quant_nodes import (
    QUANT_OPS,
    Owner,
    bias_of,
    constant_of,
    quantized_constant,
    quantizer_from,
    quantizer_of_node,
)
from hwgen.layers import Activation, Gate, InitialState, LstmLayer, Wire
from hwgen.network import BATCH, FEATURES, TIME
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


# (tensor, features, axes, label) -> the wire of a layer's input; (tensor, features, label) -> of an initial state
TakeSequence = Callable[[str, int, tuple[str, ...], str], Wire]
TakeState = Callable[[str, int, str], Wire]


@dataclass(frozen=True)
class _Cell:
    graph: Graph
    node: onnx.NodeProto
    label: str
    input_size: int
    hidden_size: int


def read_cell(
    graph: Graph, node: onnx.NodeProto, name: str, take_sequence: TakeSequence, take_state: TakeState
) -> tuple[LstmLayer, tuple[str, ...]]:
    """Read one QuantLSTMCell: the layer, which is called ``name``, and the axes of its sequences."""
    label = node_label(node)
    if len(node.input) != _INPUT_COUNT:
        raise ModelError(f"{label}: must have {_INPUT_COUNT} inputs, not {len(node.input)}")
    if not 1 <= len(node.output) <= 3:
        raise ModelError(f"{label}: must have 1 to 3 outputs, not {len(node.output)}")
    hidden_size, input_size = _weight_shape(graph, node, label)
    axes = (BATCH, TIME, FEATURES) if flag(node, "batch_first") else (TIME, BATCH, FEATURES)
    source = take_sequence(node.input[0], input_size, axes, label)
    cell = _Cell(graph, node, label, input_size, hidden_size)
    coupled = flag(node, "cifg")
    output, state = _quantizer(cell, "output"), _quantizer(cell, "cell_state")
    if output.channels > 1:
        raise UnsupportedError(f"{label}: output needs one scale per tensor, not {output.channels}")
    layer = LstmLayer(
        name=name,
        input_size=input_size,
        hidden_size=hidden_size,
        gates=tuple(_gate(cell, name) for name in _GATES if not (coupled and name == "forget")),
        input=source.quantizer,
        cell=state,
        cell_tanh=_quantizer(cell, "hidden_state_tanh"),
        output=output,
        initial_hidden=_initial_state(cell, node.input[1], "hidden", output, take_state),
        initial_cell=_initial_state(cell, node.input[2], "cell", state, take_state),
        coupled=coupled,
        reverse=flag(node, "reverse_input"),
        source=source.name,
    )
    return layer, axes


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


def _initial_state(cell: _Cell, tensor: str, what: str, quantizer: Quantizer, take_state: TakeState) -> InitialState:
    graph, label = cell.graph, f"{cell.label}, initial {what} state"
    producer = graph.producer(tensor)
    given, stored = tensor, tensor
    if producer is not None and producer.op_type in QUANT_OPS:
        found, stored = quantizer_of_node(graph, producer), graph.origin(producer.input[0])
        if found != quantizer:
            raise UnsupportedError(
                f"{label}: its Quant node must have the state's own quantizer ({quantizer}), not {found}"
            )
    if graph.constant(stored) is not None:
        values = constant_of(graph, stored, "value", Owner(label))
        codes = _constant_state(values, quantizer, label, cell.hidden_size, quantized=stored is not given)
        return InitialState(quantizer, codes=codes.astype(np.int64))
    wire = take_state(given, cell.hidden_size, label)
    if wire.quantizer != quantizer:
        raise UnsupportedError(f"{label}: must have the state's own quantizer ({quantizer}), not {wire.quantizer}")
    return InitialState(quantizer, source=wire.name)


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
