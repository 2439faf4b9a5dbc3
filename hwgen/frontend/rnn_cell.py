# SPDX-License-Identifier: Apache-2.0
"""Reads ``QuantRNNCell`` (domain ``hwgen.custom_op``), the node that ``hwgen.export_qonnx`` writes for a plain RNN.

Inputs in order: 0 x, 1 hidden state, 2 input weight, 3 hidden weight, 4 bias, then (scale, zero point, bit width) of
each quantizer in ``_QUANTIZERS``.  docs/quant_rnn_cell.md specifies it; its equation stands in ``hwgen.layers``.
"""

from __future__ import annotations

import onnx

from hwgen.errors import ModelError, printable
from hwgen.frontend.cell import CellNode, TakeSequence, TakeState
from hwgen.frontend.graph import Graph, attribute_value, flag
from hwgen.frontend.quant_nodes import bias_of, quantized_constant
from hwgen.layers import Activation, Gate, RnnLayer

# Quantizer name -> index of its scale; zero point and bit width follow.
_QUANTIZERS = {"output": 5, "gate_acc": 8}
_NONLINEARITIES = {"tanh": Activation.TANH, "relu": Activation.RELU}


def read_rnn_cell(
    graph: Graph, node: onnx.NodeProto, name: str, take_sequence: TakeSequence, take_state: TakeState
) -> tuple[RnnLayer, tuple[str, ...]]:
    """Read one QuantRNNCell: the layer, which is called ``name``, and the axes of its sequences."""
    cell = CellNode.checked(graph, node, _QUANTIZERS, outputs=2, input_weight=2)
    axes = cell.axes
    activation = _nonlinearity(cell)
    source = take_sequence(node.input[0], cell.input_size, axes, cell.label)
    output = cell.output_quantizer()
    h, i = cell.hidden_size, cell.input_size
    gate = Gate(
        name="hidden",
        input_weight=quantized_constant(graph, node.input[2], "input weight", cell.label, (h, i)),
        hidden_weight=quantized_constant(graph, node.input[3], "hidden weight", cell.label, (h, h)),
        bias=bias_of(graph, node.input[4], "bias", cell.label, h),
        accumulator=cell.quantizer("gate_acc"),
        activation=activation,
        activation_quantizer=output,
    )
    layer = RnnLayer(
        name=name,
        input_size=i,
        hidden_size=h,
        gate=gate,
        input=source.quantizer,
        initial_hidden=cell.initial_state(node.input[1], "hidden", output, take_state),
        reverse=flag(node, "reverse_input"),
        source=source.name,
    )
    return layer, axes


def _nonlinearity(cell: CellNode) -> Activation:
    name = attribute_value(cell.node, "nonlinearity")
    if name is None:
        raise ModelError(f"{cell.label}: attribute 'nonlinearity' is missing")
    if not isinstance(name, str) or name not in _NONLINEARITIES:
        raise ModelError(f"{cell.label}: nonlinearity must be tanh or relu, not {printable(str(name))}")
    return _NONLINEARITIES[name]
