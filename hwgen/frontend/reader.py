# SPDX-License-Identifier: Apache-2.0
"""Walks a graph from inputs to outputs and collects layers; what a node means is looked up by its operator."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, node_label
from hwgen.frontend.layout import Layouts
from hwgen.frontend.lstm_cell import read_lstm_cell
from hwgen.frontend.quant_nodes import QUANT_OPS, bias_of, quantized_constant, quantizer_of_node
from hwgen.frontend.rnn_cell import read_rnn_cell
from hwgen.frontend.values import Dense, Value
from hwgen.layers import (
    Activation,
    ArgmaxLayer,
    ConcatLayer,
    DenseLayer,
    Layer,
    LstmLayer,
    QuantizedTensor,
    QuantizeLayer,
    Requantization,
    RnnLayer,
    SelectLayer,
    Wire,
)
from hwgen.network import BATCH, FEATURES, ONE, PARTS, TIME, NetworkInput, NetworkOutput
from hwgen.quantizer import FloatArray, IntegerType, Quantizer

# Sums that leave the graph as they are; their exact range is a matter of lowering.
_SUMS = IntegerType(40, True)
_ACTIVATIONS = {"Relu": Activation.RELU, "Sigmoid": Activation.SIGMOID, "Tanh": Activation.TANH}
# Recurrent cells, each a layer in one direction over the whole sequence.
CELLS: dict[str, Callable[..., tuple[LstmLayer | RnnLayer, tuple[str, ...]]]] = {
    "QuantLSTMCell": read_lstm_cell,
    "QuantRNNCell": read_rnn_cell,
}
# Operators that pass on what they get.
_TRANSPARENT = ("Dropout", "Identity")


class Reader:
    """The layers of a graph, and what it takes and gives."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.layouts = Layouts(graph)
        self.values: dict[str, Value] = {}
        self._fed: dict[str, list[tuple[Wire, int]]] = {}
        self._handlers: dict[str, Callable[[onnx.NodeProto], None]] = {
            **dict.fromkeys(CELLS, self._cell),
            "MatMul": self._matmul,
            "Gemm": self._gemm,
            "Add": self._add,
            "Concat": self._concat,
            "Gather": self._gather,
            "Slice": self._slice,
            "ArgMax": self._argmax,
            **dict.fromkeys(QUANT_OPS, self._quant),
            **dict.fromkeys(_ACTIVATIONS, self._activation),
            **dict.fromkeys(_TRANSPARENT, self._pass_on),
            **dict.fromkeys(("Transpose", "Unsqueeze", "Squeeze", "Reshape", "Flatten"), self._rearrange),
        }

    def read(self) -> None:
        """Walk the nodes that an output depends on and that depend on an input."""
        for name in self.graph.inputs:
            self.values[name] = Value(self.layouts.of_input(name), graph_input=name)
        for node in self.graph.live_nodes():
            if not any(name in self.values for name in node.input):
                continue
            # Whoever reads what an unknown node writes refuses it.
            handler = self._handlers.get(node.op_type)
            if handler is not None:
                handler(node)

    def inputs(self) -> tuple[NetworkInput, ...]:
        """The graph inputs that are used, in the order of the file."""
        ports = []
        for name in self.graph.inputs:
            if name not in self._fed:
                continue
            wires, parts = zip(*sorted(self._fed[name], key=lambda entry: entry[1]), strict=True)
            axes = self.layouts.resolve(self.values[name].axes, f"graph input {printable(name)}")
            ports.append(NetworkInput(name, axes, wires, parts, self.layouts.parts(name, parts)))
            self.layouts.check_declared(ports[-1])
        return tuple(ports)

    def outputs(self) -> tuple[NetworkOutput, ...]:
        """The graph outputs that depend on an input."""
        names = (name for name in self.graph.outputs if self.graph.depends_on_input(name))
        return tuple(self._output(name) for name in names)

    def _output(self, name: str) -> NetworkOutput:
        label = f"graph output {printable(name)}"
        value = self._value(name, label)
        if len(value.stack) < 2:
            value = value.with_wire(self._close(value, name, label))
        axes = self.layouts.resolve(value.axes, label)
        integer = isinstance(self._maker(value.stack[0]), ArgmaxLayer)
        return NetworkOutput(name, axes, value.stack, integer)

    def _maker(self, wire: Wire) -> Layer | None:
        return next((layer for layer in self.layers if wire in layer.wires), None)

    # Values.

    def _value(self, tensor: str, label: str) -> Value:
        value = self.values.get(self.graph.origin(tensor))
        if value is None:
            node = self.graph.producer(tensor)
            if node is None or node.op_type in self._handlers:
                raise UnsupportedError(f"{label}: {printable(tensor)} must depend on a graph input")
            raise UnsupportedError(
                f"{label}: {printable(tensor)} comes from {node_label(node)}, which hwgen does not read; it reads "
                f"{', '.join(sorted(self._handlers))}"
            )
        return value.with_axes(tuple(map(self.layouts.role, value.axes)))

    def _quantized(self, tensor: str, what: str, label: str) -> tuple[Wire, tuple[str, ...]]:
        """The wire behind a tensor that a layer computes with, and its axes."""
        value = self._value(tensor, label)
        if len(value.stack) == 1 and value.activation is Activation.RELU:
            wire = self._close(value, f"{self.graph.origin(tensor)}.quantized", label)
            value = self.values[self.graph.origin(tensor)] = value.with_wire(wire)
        if len(value.stack) != 1 or value.activation is not Activation.IDENTITY:
            node = self.graph.producer(tensor)
            found = "nothing quantizes it" if node is None else f"it comes from {node_label(node)}"
            raise UnsupportedError(
                f"{label}: {what} ({printable(tensor)}) must come from a Quant node, but {found}; "
                "set every quantizer of the layer"
            )
        wire = value.stack[0]
        if wire.quantizer.channels > 1:
            raise UnsupportedError(f"{label}: {what} needs one scale per tensor, not {wire.quantizer.channels}")
        return wire, value.axes

    def _name(self, node: onnx.NodeProto) -> str:
        return node.name or node.output[0]

    def _emit(self, node: onnx.NodeProto, layer: Layer, axes: tuple[str, ...]) -> None:
        """Add a layer of one wire."""
        self.layers.append(layer)
        self.values[node.output[0]] = Value(axes, stack=layer.wires)

    def _close(self, value: Value, name: str, label: str) -> Wire:
        """The wire of a value that is not quantized any further."""
        if value.graph_input is not None:
            raise UnsupportedError(f"{label} is graph input {printable(value.graph_input)} itself, unquantized")
        if value.stack and value.activation is Activation.RELU:
            # What it leaves is among the values of the quantizer before it.
            source = value.stack[0]
            layer = QuantizeLayer(name, source, Requantization(Activation.RELU, source.quantizer))
            self.layers.append(layer)
            return layer.wires[0]
        if value.activation is not Activation.IDENTITY:
            raise UnsupportedError(
                f"{label}: a {value.activation.value} without a quantizer behind it; add a QuantIdentity, "
                "or leave it out"
            )
        if value.dense is None:
            return value.stack[0]
        dense = value.dense
        scale = dense.source.quantizer.exact_scale(0)
        rows = range(len(dense.weight.codes))
        units = [dense.weight.quantizer.exact_scale(row) * scale for row in rows]
        quantizer = Quantizer(tuple(map(float, units)) if len(set(units)) > 1 else (float(units[0]),), (0,), _SUMS)
        wire = Wire(name, len(rows), dense.source.per_step, quantizer, _rest(dense, units))
        self.layers.append(DenseLayer(dense.name, dense.source, dense.weight, dense.bias, None, wire))
        return wire

    # Quantizers and activations.

    def _quant(self, node: onnx.NodeProto) -> None:
        label = node_label(node)
        value, quantizer = self._value(node.input[0], label), quantizer_of_node(self.graph, node)
        if value.graph_input is not None:
            self.values[node.output[0]] = self._feed(value, quantizer, label)
        elif value.dense is not None:
            self._emit(node, self._dense_layer(node, value, value.dense, quantizer), value.axes)
        elif len(value.stack) != 1:
            raise UnsupportedError(f"{label}: quantizes several stacked states; quantize each")
        elif value.activation is Activation.IDENTITY and value.stack[0].quantizer == quantizer:
            self.values[node.output[0]] = value
        else:
            step = Requantization(value.activation, quantizer)
            self._emit(node, QuantizeLayer(self._name(node), value.stack[0], step), value.axes)

    def _dense_layer(self, node: onnx.NodeProto, value: Value, dense: Dense, quantizer: Quantizer) -> DenseLayer:
        if value.activation not in (Activation.IDENTITY, Activation.RELU):
            raise UnsupportedError(
                f"{node_label(node)}: the argument of the {value.activation.value} behind {dense.name} is not "
                "quantized; put a QuantIdentity between them"
            )
        wire = Wire(self._name(node), len(dense.weight.codes), dense.source.per_step, quantizer)
        step = Requantization(value.activation, quantizer)
        return DenseLayer(dense.name, dense.source, dense.weight, dense.bias, step, wire)

    def _feed(self, value: Value, quantizer: Quantizer, label: str) -> Value:
        """A graph input behind a quantizer: a wire into the network."""
        name = value.graph_input
        assert name is not None
        if quantizer.channels > 1:
            raise UnsupportedError(f"{label}: its input needs one scale per tensor, not {quantizer.channels}")
        fed = self._fed.setdefault(name, [])
        known = next((wire for wire, part in fed if (wire.quantizer, part) == (quantizer, value.part)), None)
        if known is None:
            # Whether it is a sequence, and how wide, is known when a layer takes it.
            known = Wire(name if not fed else f"{name}.{len(fed)}", 0, len(value.axes) == 3, quantizer)
            fed.append((known, value.part))
        return Value(value.axes, stack=(known,))

    def _activation(self, node: onnx.NodeProto) -> None:
        value = self._value(node.input[0], node_label(node))
        if value.graph_input is not None or len(value.stack) > 1 or value.activation is not Activation.IDENTITY:
            raise UnsupportedError(f"{node_label(node)}: its argument must be quantized, or come from a dense layer")
        self.values[node.output[0]] = value.with_activation(_ACTIVATIONS[node.op_type])

    # Layers.

    def _cell(self, node: onnx.NodeProto) -> None:
        layer, order = CELLS[node.op_type](self.graph, node, self._take_sequence, self._take_state)
        self.layers.append(layer)
        for name, wire in zip(node.output, layer.wires, strict=False):
            if name:
                self.values[name] = Value(order if wire.per_step else (BATCH, FEATURES), stack=(wire,))

    def _take_sequence(self, tensor: str, features: int, order: tuple[str, ...], label: str) -> Wire:
        """The wire of a recurrent layer's input, whose axes must be ``order``."""
        wire, axes = self._quantized(tensor, "its input", label)
        self.layouts.bind(axes, order, f"{label}: its input")
        return self._sized(wire, features, f"{label}: its input")

    def _take_state(self, tensor: str, features: int, label: str) -> Wire:
        """The wire of an initial state."""
        wire, axes = self._quantized(tensor, "its value", label)
        self.layouts.bind(axes, (BATCH, FEATURES), label)
        return self._sized(wire, features, label)

    def _sized(self, wire: Wire, features: int, label: str) -> Wire:
        """The wire, given its size if it comes from a graph input that has none yet."""
        if wire.features == 0:
            sized = Wire(wire.name, features, wire.per_step, wire.quantizer)
            for fed in self._fed.values():
                fed[:] = [(sized if known == wire else known, part) for known, part in fed]
            for name, value in self.values.items():
                if value.stack == (wire,):
                    self.values[name] = Value(value.axes, stack=(sized,), activation=value.activation)
            return sized
        if wire.features != features:
            raise ModelError(f"{label}: must have {features} features to fit the weights, not {wire.features}")
        return wire

    def _matmul(self, node: onnx.NodeProto) -> None:
        label = node_label(node)
        producer = self.graph.producer(node.input[1])
        if producer is not None and producer.op_type == "Transpose":
            weight = self._weight(producer.input[0], label)
        else:
            stored = self._weight(node.input[1], label)
            if stored.quantizer.channels > 1:
                raise UnsupportedError(f"{label}: a weight [inputs, outputs] needs one scale per tensor")
            weight = QuantizedTensor(np.ascontiguousarray(stored.codes.T), stored.quantizer)
        self._dense(node, weight, None)

    def _gemm(self, node: onnx.NodeProto) -> None:
        label = node_label(node)
        for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 1)):
            found = attribute_value(node, name, default=0 if name.startswith("trans") else 1.0)
            if found != wanted:
                raise UnsupportedError(f"{label}: {name} must be {wanted:g}, not {found}")
        weight = self._weight(node.input[1], label)
        bias = None
        if len(node.input) > 2 and node.input[2]:
            bias = bias_of(self.graph, node.input[2], "its bias", label, len(weight.codes))
        self._dense(node, weight, bias)

    def _weight(self, tensor: str, label: str) -> QuantizedTensor:
        """A constant matrix behind a Quant node."""
        producer = self.graph.producer(tensor)
        constant = self.graph.constant(producer.input[0] if producer is not None and producer.input else tensor)
        if constant is None or constant.ndim != 2:
            raise UnsupportedError(f"{label}: its weight ({printable(tensor)}) must be a quantized constant matrix")
        return quantized_constant(self.graph, tensor, "its weight", label, constant.shape)

    def _dense(self, node: onnx.NodeProto, weight: QuantizedTensor, bias: QuantizedTensor | FloatArray | None) -> None:
        label = node_label(node)
        wire, axes = self._quantized(node.input[0], "its input", label)
        self.layouts.bind(axes[-1:], (FEATURES,), f"{label}: its input")
        wire = self._sized(wire, weight.codes.shape[1], f"{label}: its input")
        self.values[node.output[0]] = Value(axes, dense=Dense(self._name(node), wire, weight, bias))

    def _add(self, node: onnx.NodeProto) -> None:
        label = node_label(node)
        dynamic = [name for name in node.input if self.graph.origin(name) in self.values]
        value = self._value(dynamic[0], label)
        if (
            len(dynamic) > 1
            or value.dense is None
            or value.dense.bias is not None
            or value.activation.value != "identity"
        ):
            raise UnsupportedError(f"{label}: hwgen reads the sum of a dense layer and its constant bias alone")
        other = next(name for name in node.input if name != dynamic[0])
        bias = bias_of(self.graph, other, "its bias", label, len(value.dense.weight.codes))
        self.values[node.output[0]] = Value(value.axes, dense=value.dense.with_bias(bias))

    def _argmax(self, node: onnx.NodeProto) -> None:
        label = node_label(node)
        value = self._value(node.input[0], label)
        axis = int(str(attribute_value(node, "axis", default=0)))
        if value.stack[1:] or not -len(value.axes) <= axis < len(value.axes) or value.axes[axis] != FEATURES:
            raise UnsupportedError(f"{label}: hwgen reads ArgMax along the features alone, not along axis {axis}")
        if attribute_value(node, "select_last_index", default=0):
            raise UnsupportedError(f"{label}: select_last_index must be 0")
        wire = self._close(value, f"{self._name(node)}.argument", label)
        if len(wire.quantizer.scale) > 1:
            raise UnsupportedError(f"{label}: its arguments need one scale, not {len(wire.quantizer.scale)}")
        axes = list(value.axes)
        if not attribute_value(node, "keepdims", default=1):
            del axes[axis]
        self._emit(node, ArgmaxLayer(self._name(node), wire), tuple(axes))

    # Moves.

    def _pass_on(self, node: onnx.NodeProto) -> None:
        self.values[node.output[0]] = self._value(node.input[0], node_label(node))

    def _rearrange(self, node: onnx.NodeProto) -> None:
        value = self._value(node.input[0], node_label(node))
        self.values[node.output[0]] = value.with_axes(self.layouts.rearrange(node, value))

    def _concat(self, node: onnx.NodeProto) -> None:
        label = node_label(node)
        values = [self._value(name, label) for name in node.input]
        first = values[0]
        axis = int(str(attribute_value(node, "axis", default=0)))
        if any(not value.stack or value.activation is not Activation.IDENTITY for value in values):
            raise UnsupportedError(f"{label}: everything that it joins must be quantized")
        if not -len(first.axes) <= axis < len(first.axes):
            raise ModelError(f"{label}: axis must be one of {len(first.axes)}, not {axis}")
        axis %= len(first.axes)
        kinds = [value.axes[:axis] + value.axes[axis + 1 :] for value in values]
        if any(kind != kinds[0] for kind in kinds):
            raise ModelError(f"{label}: what it joins has different axes")
        joined = {value.axes[axis] for value in values}
        wires = tuple(wire for value in values for wire in value.stack)
        if joined <= {ONE, PARTS}:
            axes = (*first.axes[:axis], PARTS, *first.axes[axis + 1 :])
            self.values[node.output[0]] = Value(axes, stack=wires)
        elif joined == {FEATURES} and all(len(value.stack) == 1 for value in values):
            if any(wire.quantizer != wires[0].quantizer for wire in wires):
                raise UnsupportedError(
                    f"{label}: what it joins must have one quantizer; share io_quant, or requantize with one "
                    "QuantIdentity"
                )
            self._emit(node, ConcatLayer(self._name(node), wires), first.axes)
        else:
            raise UnsupportedError(f"{label}: hwgen joins features, or states of layers, not axis {axis}")

    def _gather(self, node: onnx.NodeProto) -> None:
        value = self._value(node.input[0], node_label(node))
        axis, index, keep = self.layouts.gathered(node, value)
        self._pick(node, value, axis, index, keep)

    def _slice(self, node: onnx.NodeProto) -> None:
        value = self._value(node.input[0], node_label(node))
        cut = self.layouts.sliced(node, value)
        if cut is None:
            self.values[node.output[0]] = value
        else:
            self._pick(node, value, cut[0], cut[1], keep=True)

    def _pick(self, node: onnx.NodeProto, value: Value, axis: int, index: int, keep: bool) -> None:
        """One entry of an axis; ``keep`` leaves the axis with length 1."""
        label = node_label(node)
        rest = (*value.axes[:axis], *((ONE,) if keep else ()), *value.axes[axis + 1 :])
        role = value.axes[axis]
        if role == ONE and index in (0, -1):
            self.values[node.output[0]] = value.with_axes(rest)
        elif value.graph_input is not None and role not in (BATCH, FEATURES) and index >= 0:
            self.layouts.bind((role,), (PARTS,), label)
            self.values[node.output[0]] = Value(rest, graph_input=value.graph_input, part=index)
        elif role == PARTS and -len(value.stack) <= index < len(value.stack):
            self.values[node.output[0]] = Value(rest, stack=(value.stack[index],))
        elif role == TIME:
            wire = self._close(value, f"{self._name(node)}.source", label)
            self._emit(node, SelectLayer(self._name(node), wire, index), rest)
        else:
            raise UnsupportedError(
                f"{label}: hwgen picks time steps and states of layers, not entry {index} of axis {axis}"
            )


def _rest(dense: Dense, units: list[Fraction]) -> tuple[float, ...] | None:
    """What each bias has beyond whole units of its sum."""
    if dense.bias is None:
        return None
    exact = [dense.exact_bias(row) / unit for row, unit in enumerate(units)]
    rest = [value - (value + Fraction(1, 2)).__floor__() for value in exact]
    return tuple(float(part * unit) for part, unit in zip(rest, units, strict=True)) if any(rest) else None
