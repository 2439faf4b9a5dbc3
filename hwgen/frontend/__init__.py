# SPDX-License-Identifier: Apache-2.0
"""Readers of ONNX dialects.  All give the same ``Network``; what they cannot read they refuse by name."""

from __future__ import annotations

from pathlib import Path

import onnx

from hwgen.errors import ModelError, UnsupportedError, listing, printable
from hwgen.frontend.graph import Graph, check_outputs_live, node_label, read_model
from hwgen.frontend.lstm_cell import read_cell
from hwgen.network import Network, NetworkOutput, Source

_SOURCES = (Source.SEQUENCE, Source.LAST_HIDDEN, Source.LAST_CELL)
_OTHER_DIALECTS = {
    "LSTM": "weight-only or float LSTM: its activations have no quantizers; train it as a fully quantized QuantLSTM",
    "GRU": "a float GRU has no quantizers; QuantLSTM is what can be read today",
    "RNN": "a float RNN has no quantizers; QuantLSTM is what can be read today",
    "Scan": "the Scan form of a quantized LSTM cannot be read yet; export with brevitas.export.export_qonnx",
}


def load(path: str | Path, name: str | None = None) -> Network:
    """Read an ONNX file; the network is called ``name``, or as the file without its ending.

    Raises ModelError if the file is broken or contradicts itself, UnsupportedError if it is valid but beyond what
    hwgen turns into hardware.
    """
    path = Path(path)
    model, source = read_model(path)
    graph = Graph(model, path.stem)
    check_outputs_live(graph)
    cells = [node for node in graph.nodes if node.op_type == "QuantLSTMCell"]
    if not cells:
        _refuse_without_cell(graph)
    if len(cells) > 1:
        raise UnsupportedError(
            f"{len(cells)} QuantLSTMCell nodes ({listing(node_label(node) for node in cells)}): stacked and "
            "bidirectional layers are not supported yet; use num_layers=1 and bidirectional=False"
        )
    layer, inputs, batch_first = read_cell(graph, cells[0])
    outputs = tuple(_read_output(graph, name, list(cells[0].output)) for name in graph.outputs)
    warnings = _warnings(graph, [port.name for port in inputs])
    return Network(name or path.stem, layer, inputs, outputs, batch_first, warnings, source)


def _refuse_without_cell(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op_type in _OTHER_DIALECTS:
            raise UnsupportedError(f"{node_label(node)}: {_OTHER_DIALECTS[node.op_type]}")
    operators = listing(sorted({node.op_type for node in graph.nodes}))
    raise ModelError(f"no recurrent node: the graph has {operators}; a QuantLSTMCell is needed")


def _read_output(graph: Graph, name: str, cell_outputs: list[str]) -> NetworkOutput:
    """Follow a graph output back through Unsqueeze to the cell."""
    unsqueezed: list[onnx.NodeProto] = []
    tensor = graph.origin(name)
    while tensor not in cell_outputs:
        node = graph.producer(tensor)
        if node is None or node.op_type != "Unsqueeze" or len(node.input) != 2:
            raise UnsupportedError(
                f"graph output {printable(name)} comes from {graph.describe(tensor)}: layers after the LSTM are not "
                "supported yet; export the QuantLSTM alone"
            )
        unsqueezed.insert(0, node)
        tensor = graph.origin(node.input[0])
    source = _SOURCES[cell_outputs.index(tensor)]
    axes: list[int] = []
    for node in unsqueezed:
        axes += _axes(graph, node, len(axes) + (3 if source is Source.SEQUENCE else 2))
    return NetworkOutput(name, source, tuple(axes))


def _axes(graph: Graph, node: onnx.NodeProto, rank: int) -> list[int]:
    """The axes that an Unsqueeze of a tensor of ``rank`` axes inserts, in ascending order."""
    index = graph.constant(node.input[1])
    if index is None:
        raise UnsupportedError(f"{node_label(node)}: its axes must be constant")
    total, given = rank + index.size, index.reshape(-1).tolist()
    if index.dtype.kind == "i" and all(-total <= axis < total for axis in given):
        axes = sorted({axis % total for axis in given})
        if len(axes) == len(given):
            return axes
    raise ModelError(f"{node_label(node)}: axes must be different ones of {total}, not [{listing(given)}]")


def _warnings(graph: Graph, used: list[str]) -> tuple[str, ...]:
    unused = [name for name in graph.inputs if name not in used]
    return tuple(f"graph input {printable(name)} is never used" for name in unused)
