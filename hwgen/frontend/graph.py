# SPDX-License-Identifier: Apache-2.0
"""A read-only view of an ONNX graph: who makes a tensor, what is constant, and a loader that refuses nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from hwgen.errors import ModelError, UnsupportedError, listing, printable

# ONNX files are protocol buffers, whose own limit is 2 GiB: no honest model is larger.
MAX_FILE_BYTES = 2**31
# Elements of one tensor; a larger claim is refused before memory is taken.
MAX_TENSOR_ELEMENTS = 2**27
# Constant subgraphs of these are folded: none makes more data than it is given.
FOLDED_OPS = ("Gather", "Squeeze", "Unsqueeze", "Cast", "Transpose", "Reshape", "Slice", "Concat")


class Graph:
    """Name-indexed access to an ONNX graph.

    ``inputs`` are the graph inputs that are not initializers (exporters may list both), in file order.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.name = name
        self.proto = model.graph
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers: dict[str, onnx.NodeProto] = {}
        for node in self.nodes:
            for output in node.output:
                if output in self._producers:
                    raise ModelError(f"tensor {printable(output)} is written by two nodes")
                self._producers[output] = node
            if node.op_type == "Constant":
                attribute = _attribute(node, "value")
                if attribute is not None:
                    self._constants[node.output[0]] = attribute.t
        self.inputs = [value.name for value in model.graph.input if value.name not in self._constants]
        self.outputs = [value.name for value in model.graph.output]

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that writes ``tensor``; None for graph inputs and initializers.  Identity is looked through."""
        node = self._producers.get(tensor)
        while node is not None and node.op_type == "Identity":
            node = self._producers.get(node.input[0])
        return node

    def origin(self, tensor: str) -> str:
        """The tensor behind any Identity nodes."""
        node = self._producers.get(tensor)
        while node is not None and node.op_type == "Identity":
            tensor = node.input[0]
            node = self._producers.get(tensor)
        return tensor

    def constant(self, tensor: str) -> NDArray[np.generic] | None:
        """The value of a constant tensor, or None if it is not constant.

        Operators that only move data (``FOLDED_OPS``) are evaluated where all they take is constant.  Raises
        ModelError if the tensor claims more data than it holds, or lies outside the file.
        """
        tensor = self.origin(tensor)
        proto = self._constants.get(tensor)
        if proto is None:
            return self._fold(tensor)
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            raise UnsupportedError(f"initializer {printable(proto.name)}: data in another file; save it in one file")
        if any(dim < 0 for dim in proto.dims) or np.prod([int(d) for d in proto.dims], dtype=object) > (
            MAX_TENSOR_ELEMENTS
        ):
            raise ModelError(f"initializer {printable(proto.name)}: impossible shape {list(proto.dims)}")
        try:
            return np.asarray(numpy_helper.to_array(proto))
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"initializer {printable(proto.name)}: unreadable data ({error})") from error

    def _fold(self, tensor: str) -> NDArray[np.generic] | None:
        node = self._producers.get(tensor)
        if node is None or node.op_type not in FOLDED_OPS or node.domain or self.depends_on_input(tensor):
            return None
        values = {name: self.constant(name) for name in node.input if name}
        if any(value is None for value in values.values()):
            return None
        try:
            return np.asarray(ReferenceEvaluator(node).run(None, values)[0])
        except Exception as error:  # the evaluator raises whatever numpy does on shapes that do not fit
            raise ModelError(f"{node_label(node)}: cannot be evaluated ({error})") from error

    def shape(self, tensor: str) -> list[int | None] | None:
        """The declared shape of a graph input: None for a free dimension, None altogether if not declared."""
        for value in self.proto.input:
            if value.name == tensor and value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]
        return None

    def depends_on_input(self, tensor: str) -> bool:
        """Whether any graph input can influence ``tensor``."""
        pending, seen = [tensor], set()
        while pending:
            current = pending.pop()
            if current in self.inputs:
                return True
            node = self._producers.get(current)
            if node is not None and current not in seen:
                seen.add(current)
                pending.extend(name for name in node.input if name)
        return False


def node_label(node: onnx.NodeProto) -> str:
    """A node as messages call it: its operator and its name, or its first output if it has none."""
    return f"{node.op_type} {printable(node.name or (node.output[0] if node.output else '?'))}"


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)


def attribute_value(node: onnx.NodeProto, *names: str, default: object = None) -> object:
    """The value of the first attribute among ``names`` that the node has (a str for strings)."""
    for name in names:
        attribute = _attribute(node, name)
        if attribute is not None:
            value = onnx.helper.get_attribute_value(attribute)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return default


def flag(node: onnx.NodeProto, *names: str, default: int | None = None) -> bool:
    """A 0/1 attribute; raises ModelError if it is missing (without a default) or anything else."""
    value = attribute_value(node, *names, default=default)
    if value is None:
        raise ModelError(f"{node_label(node)}: attribute {names[0]!r} is missing")
    if value not in (0, 1):
        raise ModelError(f"{node_label(node)}: attribute {names[0]!r} must be 0 or 1, not {value!r}")
    return bool(value)


def read_model(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """Parse an ONNX file and return it with its bytes; raises ModelError for anything that is not a complete one."""
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if not path.is_file():
        raise ModelError(f"{path}: not a file; a model is one .onnx file")
    size = path.stat().st_size
    if size == 0:
        raise ModelError(f"{path}: empty file")
    if size > MAX_FILE_BYTES:
        raise ModelError(f"{path}: {size} bytes, more than an ONNX file can have (2 GiB)")
    try:
        source = path.read_bytes()
        model = onnx.ModelProto.FromString(source)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or a truncated one; export it again") from error
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    if not model.graph.node and not model.graph.output:
        raise ModelError(f"{path}: not an ONNX model: it holds no graph")
    return model, source


def check_outputs_live(graph: Graph) -> None:
    """Refuse graphs whose outputs ignore their inputs: what Brevitas' default exporter writes for an LSTM."""
    if not graph.outputs:
        raise ModelError("the graph has no outputs")
    dead = [name for name in graph.outputs if not graph.depends_on_input(name)]
    if len(dead) == len(graph.outputs):
        raise ModelError(
            f"no output depends on an input (constant outputs {listing(map(printable, dead))}): torch's dynamo "
            "exporter drops quantized recurrent layers silently; export again with "
            "export_qonnx(..., dynamo=False)"
        )
