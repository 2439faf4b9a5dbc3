# SPDX-License-Identifier: Apache-2.0
"""Reads ``QuantGRUCell`` (domain ``hwgen.custom_op``), the node that ``hwgen calibrate`` writes for a GRU.

Inputs in order: 0 x, 1 hidden state, 2-4 input weights (reset, update, new), 5-7 hidden weights, 8-10 biases, 11 the
bias of the new gate's hidden product, then (scale, zero point, bit width) of each quantizer in ``_QUANTIZERS``.
docs/quant_gru_cell.md specifies it; its equations stand in ``hwgen.layers`` and ``hwgen.gates``.
"""

from __future__ import annotations

import onnx

from hwgen.errors import UnsupportedError
from hwgen.frontend.cell import CellNode, TakeSequence, TakeState
from hwgen.frontend.graph import Graph, flag
from hwgen.frontend.quant_nodes import bias_of, quantized_constant
from hwgen.layers import Activation, Bias, Gate, GruLayer, NewGate, QuantizedTensor

# Quantizer name -> index of its scale; zero point and bit width follow.
_QUANTIZERS = {
    "output": 12,
    "reset_acc": 15,
    "update_acc": 18,
    "new_acc": 21,
    "hidden_acc": 24,
    "reset_sigmoid": 27,
    "update_sigmoid": 30,
    "new_tanh": 33,
}
_GATES = ("reset", "update", "new")
_INPUT, _HIDDEN, _BIAS, _HIDDEN_BIAS = 2, 5, 8, 11


def read_gru_cell(
    graph: Graph, node: onnx.NodeProto, name: str, take_sequence: TakeSequence, take_state: TakeState
) -> tuple[GruLayer, tuple[str, ...]]:
    """Read one QuantGRUCell: the layer, which is called ``name``, and the axes of its sequences."""
    cell = CellNode.checked(graph, node, _QUANTIZERS, outputs=2, input_weight=_INPUT)
    source = take_sequence(node.input[0], cell.input_size, cell.axes, cell.label)
    output, update = cell.output_quantizer(), _gate(cell, "update")
    if update.activation_quantizer.channels > 1:
        count = update.activation_quantizer.channels
        raise UnsupportedError(f"{cell.label}: update_sigmoid needs one scale per tensor, not {count}")
    layer = GruLayer(
        name=name,
        input_size=cell.input_size,
        hidden_size=cell.hidden_size,
        reset=_gate(cell, "reset"),
        update=update,
        new=NewGate(
            *_parameters(cell, "new"),
            hidden_bias=bias_of(graph, node.input[_HIDDEN_BIAS], "hidden bias", cell.label, cell.hidden_size),
            accumulator=cell.quantizer("new_acc"),
            hidden_accumulator=cell.quantizer("hidden_acc"),
            activation_quantizer=cell.quantizer("new_tanh"),
        ),
        input=source.quantizer,
        output=output,
        initial_hidden=cell.initial_state(node.input[1], "hidden", output, take_state),
        reverse=flag(node, "reverse_input"),
        source=source.name,
    )
    return layer, cell.axes


def _parameters(cell: CellNode, name: str) -> tuple[QuantizedTensor, QuantizedTensor, Bias]:
    """Input weight, hidden weight and bias of a gate."""
    place, h, i, tensors = _GATES.index(name), cell.hidden_size, cell.input_size, cell.node.input
    what = f"of the {name} gate"
    return (
        quantized_constant(cell.graph, tensors[_INPUT + place], f"input weight {what}", cell.label, (h, i)),
        quantized_constant(cell.graph, tensors[_HIDDEN + place], f"hidden weight {what}", cell.label, (h, h)),
        bias_of(cell.graph, tensors[_BIAS + place], f"bias {what}", cell.label, h),
    )


def _gate(cell: CellNode, name: str) -> Gate:
    return Gate(
        name,
        *_parameters(cell, name),
        accumulator=cell.quantizer(f"{name}_acc"),
        activation=Activation.SIGMOID,
        activation_quantizer=cell.quantizer(f"{name}_sigmoid"),
    )
