# SPDX-License-Identifier: Apache-2.0
"""Network to integer model: scales become exact step functions, weights and biases become integers."""

from __future__ import annotations

from hwgen.integer_network import CellStage, ConcatStage, IntegerNetwork, SelectStage, Stage
from hwgen.layers import ArgmaxLayer, ConcatLayer, DenseLayer, GruLayer, Layer, LstmLayer, QuantizeLayer, RnnLayer
from hwgen.lowering.cell import lower_cell
from hwgen.lowering.gru import lower_gru
from hwgen.lowering.head import lower_argmax, lower_dense, lower_quantize, lower_rnn
from hwgen.network import Network

__all__ = ["lower", "lower_cell"]


def lower(network: Network) -> IntegerNetwork:
    """Lower a network to codes; every step function comes certified.

    Raises UnsupportedError where a sum gets too wide.
    """
    return IntegerNetwork(network.name, tuple(_lower_layer(layer) for layer in network.layers))


def _lower_layer(layer: Layer) -> Stage:
    if isinstance(layer, LstmLayer):
        sequence, hidden, cell = (wire.name for wire in layer.wires)
        states = layer.initial_hidden.source, layer.initial_cell.source
        return CellStage(lower_cell(layer), layer.source, *states, (sequence, hidden, cell))
    if isinstance(layer, GruLayer):
        return lower_gru(layer)
    if isinstance(layer, RnnLayer):
        return lower_rnn(layer)
    if isinstance(layer, DenseLayer):
        return lower_dense(layer)
    if isinstance(layer, QuantizeLayer):
        return lower_quantize(layer)
    if isinstance(layer, ConcatLayer):
        return ConcatStage(layer.name, layer.sources, layer.name)
    if isinstance(layer, ArgmaxLayer):
        return lower_argmax(layer)
    return SelectStage(layer.name, layer.source.name, layer.index, layer.name)
