# SPDX-License-Identifier: Apache-2.0
"""A ``Scan`` whose body is one step of an LSTM, as a layer of the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError
from hwgen.frontend.graph import Graph
from hwgen.frontend.qdq import read_chain
from hwgen.frontend.quant_nodes import Owner, constant_of
from hwgen.frontend.scan_cell import BodyCell, read_body
from hwgen.frontend.scan_node import open_scan
from hwgen.layers import InitialState, LstmLayer, Wire
from hwgen.network import BATCH, FEATURES, TIME
from hwgen.quantizer import Quantizer

Axes = tuple[str, ...]
# (tensor, quantizer, features, axes, label) -> the wire of a tensor behind a quantizer, and the axes that it has
TakeSequence = Callable[[str, Quantizer | None, int, Axes, str], tuple[Wire, Axes]]
# (tensor, quantizer, features, axes, label) -> the wire of a tensor whose values must be those of a quantizer
TakeState = Callable[[str, Quantizer, int, Axes, str], Wire]


def read_scan(
    graph: Graph, node: onnx.NodeProto, name: str, take_sequence: TakeSequence, take_state: TakeState
) -> tuple[LstmLayer, dict[str, tuple[Wire, Axes]]]:
    """Read one Scan: the layer, which is called ``name``, and of each tensor that it writes the wire and the axes."""
    scan = open_scan(graph, node)
    cell = read_body(scan)
    element: Axes = (FEATURES, BATCH) if cell.columns else (BATCH, FEATURES)
    wire, axes = take_sequence(
        scan.sequence, cell.input, cell.input_size, _with_time(element, scan.axis), f"{scan.label}: its sequence"
    )
    # Without a batch axis in the graph, one of length 1 stands in its place.
    element = tuple(axis for axis in axes if axis != TIME)
    initial_hidden, initial_cell = (
        _initial_state(
            graph, scan.states[place].given, quantizer, cell, element, f"{scan.label}, initial {what} state", take_state
        )
        for place, quantizer, what in (
            (cell.hidden_state, cell.output, "hidden"),
            (cell.cell_state, cell.cell, "cell"),
        )
    )
    layer = LstmLayer(
        name=name,
        input_size=cell.input_size,
        hidden_size=cell.hidden_size,
        gates=cell.gates,
        input=wire.quantizer,
        cell=cell.cell,
        cell_tanh=cell.cell_tanh,
        output=cell.output,
        initial_hidden=initial_hidden,
        initial_cell=initial_cell,
        reverse=scan.reverse,
        source=wire.name,
        forget_product=_own(cell.forget_product, cell),
        input_product=_own(cell.input_product, cell),
        tanh_argument=cell.tanh_argument,
    )
    sequence, hidden, state = layer.wires
    written = {
        scan.states[cell.hidden_state].final: (hidden, element),
        scan.states[cell.cell_state].final: (state, element),
    }
    written |= {tensor: (sequence, _with_time(element, place)) for _, tensor, place in scan.collected}
    return layer, {tensor: entry for tensor, entry in written.items() if tensor}


def _with_time(element: Axes, place: int) -> Axes:
    return (*element[:place], TIME, *element[place:])


def _own(quantizer: Quantizer, cell: BodyCell) -> Quantizer | None:
    """A quantizer of a term where it is not that of the cell."""
    return None if quantizer == cell.cell else quantizer


def _initial_state(
    graph: Graph, tensor: str, quantizer: Quantizer, cell: BodyCell, axes: Axes, label: str, take_state: TakeState
) -> InitialState:
    if graph.depends_on_input(tensor):
        return InitialState(quantizer, source=take_state(tensor, quantizer, cell.hidden_size, axes, label).name)
    chain = read_chain(graph, tensor)
    if chain is not None and chain.quantizer != quantizer:
        raise UnsupportedError(f"{label}: must have the state's own quantizer ({quantizer}), not {chain.quantizer}")
    if chain is not None and not chain.quantizes:
        raise UnsupportedError(f"{label}: must be a constant of real values, or a graph input")
    values = constant_of(graph, tensor if chain is None else chain.source, "value", Owner(label))
    rows = values.T if cell.columns else values
    if rows.ndim != 2 or rows.shape[1] != cell.hidden_size or not len(rows):
        wanted = f"[{cell.hidden_size}, batch]" if cell.columns else f"[batch, {cell.hidden_size}]"
        raise ModelError(f"{label}: shape must be {wanted}, not {list(values.shape)}")
    if (rows != rows[0]).any():
        raise UnsupportedError(f"{label}: it differs between the sequences of a batch; make it a graph input")
    codes = quantizer.quantize(rows[0])
    off = quantizer.dequantize(codes).astype(np.float32) != rows[0].astype(np.float32)
    if chain is None and off.any():
        raise UnsupportedError(f"{label}: {rows[0][off][0]:g} is not a value of the state's quantizer ({quantizer})")
    return InitialState(quantizer, codes=codes.astype(np.int64))
