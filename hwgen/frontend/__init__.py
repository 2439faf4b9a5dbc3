# SPDX-License-Identifier: Apache-2.0
"""Readers of ONNX dialects.  All give the same ``Network``; what they cannot read they refuse by name."""

from __future__ import annotations

from pathlib import Path

from hwgen.errors import ModelError, UnsupportedError, listing, printable
from hwgen.frontend.graph import Graph, check_outputs_live, node_label, read_model
from hwgen.frontend.reader import RECURRENT, Reader
from hwgen.network import Network

_OTHER_DIALECTS = {
    "LSTM": "weight-only or float LSTM: its activations have no quantizers; train it as a fully quantized QuantLSTM",
    "GRU": "a float GRU has no quantizers; QuantLSTM is what can be read today",
    "RNN": "a float RNN has no quantizers; train a fully quantized QuantRNN and write it with hwgen.export_qonnx",
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
    if not any(node.op_type in RECURRENT for node in graph.nodes):
        _refuse_without_cell(graph)
    reader = Reader(graph)
    reader.read()
    outputs, inputs = reader.outputs(), reader.inputs()
    used = [port.name for port in inputs]
    unused = (name for name in graph.inputs if name not in used)
    shown = [output.name for output in outputs]
    constant = (name for name in graph.outputs if name not in shown)
    unquantized = (port.name for port in inputs if any(wire.on_grid for wire in port.wires))
    warnings = (
        *(f"graph input {printable(name)} is never used" for name in unused),
        *(f"graph output {printable(name)} is a constant and left out" for name in constant),
        *(
            f"nothing quantizes graph input {printable(name)}: its values must be those of the state that it starts"
            for name in unquantized
        ),
    )
    return Network(name or path.stem, tuple(reader.layers), inputs, outputs, warnings, source)


def _refuse_without_cell(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op_type in _OTHER_DIALECTS:
            raise UnsupportedError(f"{node_label(node)}: {_OTHER_DIALECTS[node.op_type]}")
    operators = listing(sorted({node.op_type for node in graph.nodes}))
    needed = f"{', '.join(RECURRENT[:-1])} or {RECURRENT[-1]}"
    raise ModelError(f"no recurrent node: the graph has {operators}; a {needed} is needed")
