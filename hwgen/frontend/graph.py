# SPDX-License-Identifier: Apache-2.0
"""A read-only view of an ONNX graph: who makes a tensor, what is constant, and a loader that refuses nonsense."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from hwgen.errors import ModelError, UnsupportedError, listing, printable

# The domain of ONNX's own operators has two names.
CORE_DOMAIN = ("", "ai.onnx")
# ONNX files are protocol buffers, whose own limit is 2 GiB: no honest model is larger.
MAX_FILE_BYTES = 2**31
# Elements of one tensor; a larger claim is refused before memory is taken.
MAX_TENSOR_ELEMENTS = 2**27
# Constant subgraphs of these are folded, as exporters write them: shallow, and small.
FOLDED_OPS = ("Gather", "Squeeze", "Unsqueeze", "Cast", "Transpose", "Reshape", "Slice", "Concat")
MAX_FOLDED_DEPTH = 16
MAX_FOLDED_ELEMENTS = 2**24


class Graph:
    """Name-indexed access to an ONNX graph.

    ``inputs`` are the graph inputs that are not initializers (exporters may list both), in file order.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.name = name
        self.opset = max((int(entry.version) for entry in model.opset_import if entry.domain in CORE_DOMAIN), default=0)
        self.proto = model.graph
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = [value.name for value in model.graph.input if value.name not in self._constants]
        self.outputs = [value.name for value in model.graph.output]
        self._producers: dict[str, onnx.NodeProto] = {}
        self._check_names()
        for node in self.nodes:
            self._add(node)
        self._folded_depth: dict[str, int] = {}
        self._folded: dict[str, NDArray[np.generic]] = {}
        self._check_order()

    def _check_names(self) -> None:
        """Refuse names that are no text, and tensors that stand twice where they may stand once."""
        for node in self.nodes:
            for name in (node.name, node.op_type, node.domain, *node.input, *node.output):
                if not isinstance(name, str):
                    raise ModelError(f"{node_label(node)}: the name {printable(name)} is not UTF-8 text")
        places = {
            "the initializers": [tensor.name for tensor in self.proto.initializer],
            "the graph inputs": [value.name for value in self.proto.input],
            "the graph outputs": self.outputs,
        }
        for place, names in places.items():
            seen: set[str] = set()
            for name in names:
                if not isinstance(name, str) or not name:
                    raise ModelError(f"{place} have a tensor without a readable name: {printable(name)}")
                if name in seen:
                    raise ModelError(f"tensor {printable(name)} stands among {place} twice")
                seen.add(name)

    def _add(self, node: onnx.NodeProto) -> None:
        """Note what a node writes."""
        label = node_label(node)
        if node.op_type == "Identity" and (len(node.input), len(node.output)) != (1, 1):
            raise ModelError(f"{label}: must have 1 input and 1 output, not {len(node.input)} and {len(node.output)}")
        if node.op_type == "Constant" and len(node.output) != 1:
            raise ModelError(f"{label}: must have 1 output, not {len(node.output)}")
        for output in filter(None, node.output):  # an empty name leaves an optional output out
            if output in self._producers:
                raise ModelError(f"tensor {printable(output)} is written by two nodes")
            if output in self._constants or output in self.inputs:
                other = "an initializer" if output in self._constants else "a graph input"
                raise ModelError(f"tensor {printable(output)} is written by {label}, but is {other} too")
            self._producers[output] = node
        if node.op_type == "Constant":
            attribute = _attribute(node, "value")
            if attribute is not None:
                self._constants[node.output[0]] = attribute.t

    def _check_order(self) -> None:
        """Walk the nodes in an order in which each comes after what it reads; refuse cycles.

        On the way, note which tensors ``constant`` may fold, and how deep their constant subgraph is.
        """
        waiting = [0] * len(self.nodes)
        readers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.input:
                if name in self._producers:
                    waiting[index] += 1
                    readers.setdefault(name, []).append(index)
        ready = self._order = [index for index, count in enumerate(waiting) if count == 0]
        for index in ready:
            node = self.nodes[index]
            self._note_folded(node)
            for reader in (reader for name in node.output for reader in readers.get(name, ())):
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    ready.append(reader)
        stuck = [node for node, count in zip(self.nodes, waiting, strict=True) if count]
        if stuck:
            # Each waits for another: as many steps back as there are nodes end within a cycle.
            unwritten, node = {name for node in stuck for name in node.output}, stuck[0]
            for _ in stuck:
                node = self._producers[next(name for name in node.input if name in unwritten)]
            raise ModelError(f"{node_label(node)}: stands in a cycle: it depends on its own output")

    def _note_folded(self, node: onnx.NodeProto) -> None:
        folds = node.op_type in FOLDED_OPS and not node.domain and any(node.output[:1])
        depths = [0 if name in self._constants else self._folded_depth.get(name) for name in node.input if name]
        known = [depth for depth in depths if depth is not None]
        if (folds or node.op_type == "Identity") and depths and len(known) == len(depths):
            depth = max(known) + folds
            if depth <= MAX_FOLDED_DEPTH:
                self._folded_depth[node.output[0]] = depth

    def sources(self, tensor: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes and initializers that a constant tensor is made of."""
        nodes: dict[str, onnx.NodeProto] = {}
        tensors: dict[str, onnx.TensorProto] = {}
        pending = [tensor]
        while pending:
            name = pending.pop()
            node = self._producers.get(name)
            if node is not None:
                if name not in nodes:
                    nodes |= dict.fromkeys(node.output, node)
                    pending.extend(filter(None, node.input))
            elif name in self._constants:
                tensors[name] = self._constants[name]
        return list({id(node): node for node in nodes.values()}.values()), list(tensors.values())

    def writes(self, tensor: str) -> bool:
        """Whether a tensor is an initializer, a graph input, or the output of a node."""
        return tensor in self._producers or tensor in self._constants or tensor in self.inputs

    def live_nodes(self) -> list[onnx.NodeProto]:
        """The nodes that an output depends on, each after those that it reads."""
        live = {self.origin(name) for name in self.outputs}
        nodes = []
        for index in reversed(self._order):
            node = self.nodes[index]
            if live.intersection(node.output):
                live.update(self.origin(name) for name in node.input if name)
                nodes.append(node)
        return nodes[::-1]

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
            raise ModelError(
                f"initializer {printable(proto.name)}: unreadable data ({printable(str(error))})"
            ) from error

    def _fold(self, tensor: str) -> NDArray[np.generic] | None:
        if tensor in self._folded:
            return self._folded[tensor]
        if tensor not in self._folded_depth:
            return None
        node = self._producers[tensor]
        values = {name: self.constant(name) for name in node.input if name}
        sizes = [value.size for name in node.input if (value := values.get(name)) is not None]
        if (math.prod(sizes) if node.op_type == "Gather" else sum(sizes)) > MAX_FOLDED_ELEMENTS:
            raise UnsupportedError(f"{node_label(node)}: a constant expression this large must be an initializer")
        try:
            self._folded[tensor] = np.asarray(ReferenceEvaluator(node).run(None, values)[0])
        except Exception as error:  # the evaluator raises whatever numpy does on shapes that do not fit
            raise ModelError(f"{node_label(node)}: cannot be evaluated ({printable(str(error))})") from error
        return self._folded[tensor]

    def shape(self, tensor: str) -> list[int | None] | None:
        """The declared shape of a graph input: None for a free dimension, None altogether if not declared."""
        for value in self.proto.input:
            if value.name == tensor and value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]
        return None

    def describe(self, tensor: str) -> str:
        """Where a tensor comes from, for messages."""
        node = self.producer(tensor)
        if node is not None:
            return node_label(node)
        return "a graph input" if self.origin(tensor) in self.inputs else "a constant"

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


def node_name(node: onnx.NodeProto) -> str:
    """What a layer is called after its node: the node's name, or else its first output that something takes."""
    return node.name or next(filter(None, node.output), node.op_type)


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)


def attribute_value(node: onnx.NodeProto, *names: str, default: object = None) -> object:
    """The value of the first attribute among ``names`` that the node has (a str for strings)."""
    for name in names:
        attribute = _attribute(node, name)
        if attribute is not None:
            try:
                value = onnx.helper.get_attribute_value(attribute)
            except ValueError as error:
                raise ModelError(f"{node_label(node)}: attribute {name!r} has no readable value") from error
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
    try:
        if not path.exists():
            raise ModelError(f"{path}: no such file")
        if not path.is_file():
            raise ModelError(f"{path}: not a file; a model is one .onnx file")
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path}: empty file")
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{path}: {size} bytes, more than an ONNX file can have (2 GiB)")
        source = path.read_bytes()
        model = onnx.ModelProto.FromString(source)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or a truncated one; export it again") from error
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    if not model.graph.node and not model.graph.output:
        raise ModelError(f"{path}: not an ONNX model: it holds no graph")
    _check_opsets(model, path)
    return model, source


def _check_opsets(model: onnx.ModelProto, path: Path) -> None:
    """Every domain in use must be imported: exporters write the imports last, so a truncated file lacks them."""
    imported = {"" if opset.domain == "ai.onnx" else opset.domain for opset in model.opset_import}
    if not imported:
        raise ModelError(f"{path}: no opset_import; the file is truncated: export it again")
    for node in model.graph.node:
        if ("" if node.domain == "ai.onnx" else node.domain) not in imported:
            raise ModelError(
                f"{path}: {node_label(node)} is of domain {printable(node.domain)}, which opset_import does not name; "
                "the file is truncated: export it again"
            )


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
