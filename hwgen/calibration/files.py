# SPDX-License-Identifier: Apache-2.0
"""Reads a float model, data in files beside it included: torch's exporter writes weights there."""

from __future__ import annotations

from pathlib import Path

import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend import FLOAT_RECURRENT
from hwgen.frontend.graph import Graph, check_outputs_live, read_model

# Unsqueeze and Squeeze take their axes as inputs since 13, LSTM, GRU and RNN know ``layout`` since 14.
OLDEST_OPSET = 14
NEWEST_OPSET = onnx.defs.onnx_opset_version()


def is_float(path: Path) -> bool:
    """Whether a model has LSTM, GRU or RNN nodes, so that it can be calibrated; raises ModelError for no model."""
    model, _ = read_model(path)
    return any(node.op_type in FLOAT_RECURRENT for node in model.graph.node)


def read_float_model(path: Path) -> tuple[onnx.ModelProto, Graph, bytes]:
    """A model with LSTM, GRU or RNN nodes, with its bytes; raises ModelError or UnsupportedError for anything else."""
    model, source = read_model(path)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _load(tensor, path.parent)
    graph = Graph(model, path.stem)
    check_outputs_live(graph)
    if not OLDEST_OPSET <= graph.opset <= NEWEST_OPSET:
        raise UnsupportedError(
            f"{path}: opset must be from {OLDEST_OPSET} to {NEWEST_OPSET}, not {graph.opset}; export it again with "
            "opset_version=17"
        )
    if not any(node.op_type in FLOAT_RECURRENT for node in graph.live_nodes()):
        raise ModelError(
            f"{path}: holds no {', '.join(FLOAT_RECURRENT[:-1])} or {FLOAT_RECURRENT[-1]} node; there is nothing to "
            "calibrate: hwgen inspect tells whether hwgen reads it as it is"
        )
    return model, graph, source


def _load(tensor: onnx.TensorProto, folder: Path) -> None:
    """Bring the data of a tensor in from a file in the model's folder; raises ModelError if it lies anywhere else."""
    label = f"initializer {printable(tensor.name)}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    place = folder.resolve()
    file = (place / location).resolve()
    if not location or place not in file.parents:
        raise ModelError(f"{label}: its data must lie in the folder of the model, not at {printable(location)}")
    try:
        size = file.stat().st_size
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - offset)))
        if offset < 0 or length < 0 or offset + length > size:
            raise ModelError(f"{label}: claims bytes {offset}..{offset + length} of {file.name}, which has {size}")
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
    except ValueError as error:
        raise ModelError(f"{label}: offset and length of its data must be integers") from error
    except OSError as error:
        raise ModelError(f"{label}: its data in {printable(location)} cannot be read ({error.strerror})") from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
