# SPDX-License-Identifier: Apache-2.0
"""Readers of ONNX dialects.  All give the same ``Network``; what they cannot read they refuse by name."""

from __future__ import annotations

from pathlib import Path

import onnx

from hwgen.errors import ModelError, UnsupportedError, listing, printable
from hwgen.frontend.graph import Graph, check_outputs_live, node_label, read_model
from hwgen.frontend.reader import RECURRENT, Reader
from hwgen.network import Network

# ONNX's own recurrent operators: weight-only or float models.
FLOAT_RECURRENT = ("LSTM", "GRU", "RNN")


def load(path: str | Path, name: str | None = None) -> Network:
    """Read an ONNX file; the network is called ``name``, or as the file without its ending.

    Raises ModelError if the file is broken or contradicts itself, UnsupportedError if it is valid but beyond what
    hwgen turns into hardware.
    """
    path = Path(path)
    model, source = read_model(path)
    return read_network(model, name or path.stem, source)


def read_network(model: onnx.ModelProto, name: str, source: bytes) -> Network:
    """A parsed model as a network, ``source`` being its bytes; raises as ``load`` does."""
    graph = Graph(model, name)
    check_outputs_live(graph)
    _refuse_unquantized(graph)
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
    return Network(name, tuple(reader.layers), inputs, outputs, warnings, source)


def _refuse_unquantized(graph: Graph) -> None:
    for node in graph.live_nodes():
        if node.op_type in FLOAT_RECURRENT:
            raise UnsupportedError(
                f"{node_label(node)}: its activations have no quantizers; hwgen calibrate picks them from data and "
                f"writes a fully quantized model: hwgen calibrate MODEL --data X.npy -o OUT.onnx"
            )
    if any(node.op_type in RECURRENT for node in graph.nodes):
        return
    operators = listing(sorted({node.op_type for node in graph.nodes}))
    needed = f"{', '.join(RECURRENT[:-1])} or {RECURRENT[-1]}"
    raise ModelError(f"no recurrent node: the graph has {operators}; a {needed} is needed")
