# SPDX-License-Identifier: Apache-2.0
"""Reads ``QuantLSTMCell``, the node that Brevitas' QONNX export writes for one layer in one direction.

Inputs in order: 0 x, 1 hidden state, 2 cell state, 3-6 input weights (i, f, c, o), 7-10 hidden weights, 11-14 biases,
then (scale, zero point, bit width) of each quantizer in ``_QUANTIZERS``.  Its equations stand in ``hwgen.layers``.
"""

from __future__ import annotations

import onnx

from hwgen.frontend.cell import CellNode, TakeSequence, TakeState
from hwgen.frontend.graph import Graph, flag
from hwgen.frontend.quant_nodes import bias_of, quantized_constant
from hwgen.layers import Activation, Gate, LstmLayer

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
_GATES = ("input", "forget", "cell", "output")


def read_lstm_cell(
    graph: Graph, node: onnx.NodeProto, name: str, take_sequence: TakeSequence, take_state: TakeState
) -> tuple[LstmLayer, tuple[str, ...]]:
    """Read one QuantLSTMCell: the layer, which is called ``name``, and the axes of its sequences."""
    cell = CellNode.checked(graph, node, _QUANTIZERS, outputs=3, input_weight=3)
    axes = cell.axes
    source = take_sequence(node.input[0], cell.input_size, axes, cell.label)
    coupled = flag(node, "cifg")
    output, state = cell.output_quantizer(), cell.quantizer("cell_state")
    layer = LstmLayer(
        name=name,
        input_size=cell.input_size,
        hidden_size=cell.hidden_size,
        gates=tuple(_gate(cell, name) for name in _GATES if not (coupled and name == "forget")),
        input=source.quantizer,
        cell=state,
        cell_tanh=cell.quantizer("hidden_state_tanh"),
        output=output,
        initial_hidden=cell.initial_state(node.input[1], "hidden", output, take_state),
        initial_cell=cell.initial_state(node.input[2], "cell", state, take_state),
        coupled=coupled,
        reverse=flag(node, "reverse_input"),
        source=source.name,
    )
    return layer, axes


def _gate(cell: CellNode, name: str) -> Gate:
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
        accumulator=cell.quantizer(f"{name}_acc"),
        activation=Activation.TANH if tanh else Activation.SIGMOID,
        activation_quantizer=cell.quantizer("cell_tanh" if tanh else f"{name}_sigmoid"),
    )
