# SPDX-License-Identifier: Apache-2.0
"""Walks a graph from inputs to outputs and collects layers; what a node means is looked up by its operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.dense import gemm_parameters, matmul_weight
from hwgen.frontend.graph import Graph, attribute_value, node_label, node_name
from hwgen.frontend.gru_cell import read_gru_cell
from hwgen.frontend.layout import Layouts
from hwgen.frontend.lstm_cell import read_lstm_cell
from hwgen.frontend.qdq import holds_codes, read_chain
from hwgen.frontend.quant_nodes import QUANT_OPS, bias_of, quantizer_of_node
from hwgen.frontend.ranking import indices_of
from hwgen.frontend.rnn_cell import read_rnn_cell
from hwgen.frontend.scan import read_scan
from hwgen.frontend.values import Dense, Value
from hwgen.layers import (
    Activation,
    ArgmaxLayer,
    Bias,
    ConcatLayer,
    DenseLayer,
    GruLayer,
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
from hwgen.quantizer import Quantizer

_ACTIVATIONS = {"Relu": Activation.RELU, "Sigmoid": Activation.SIGMOID, "Tanh": Activation.TANH}
# Nodes that are a recurrent layer in one direction over the whole sequence.
_CELLS: dict[str, Callable[..., tuple[LstmLayer | GruLayer | RnnLayer, tuple[str, ...]]]] = {
    "QuantLSTMCell": read_lstm_cell,
    "QuantRNNCell": read_rnn_cell,
    "QuantGRUCell": read_gru_cell,
}
# All that recurrent layers are read from; without one there is nothing to do.
RECURRENT = (*_CELLS, "Scan")
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
        self._taken = set(graph.inputs)
        # Wires of dense layers whose sums are wanted as they are.
        self._sums: dict[str, Wire] = {}
        self._handlers: dict[str, Callable[[onnx.NodeProto], None]] = {
            **dict.fromkeys(_CELLS, self._cell),
            "Scan": self._scan,
            "DequantizeLinear": self._dequantize,
            "MatMul": self._matmul,
            "Gemm": self._gemm,
            "Add": self._add,
            "Concat": self._concat,
            "Gather": self._gather,
            "Slice": self._slice,
            **dict.fromkeys(("ArgMax", "TopK"), self._argmax),
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
            # Codes between QuantizeLinear and DequantizeLinear are no values of their own.
            known = self.graph.depends_on_input if node.op_type == "DequantizeLinear" else self.values.__contains__
            if not any(known(name) for name in node.input):
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
            node = self._unread(tensor)
            if node is None:
                raise UnsupportedError(f"{label}: {printable(tensor)} must depend on a graph input")
            if holds_codes(self.graph, node):
                raise UnsupportedError(
                    f"{label}: {printable(node.output[0])} holds the codes of {node_label(node)}; DequantizeLinear "
                    "must turn them into values"
                )
            raise UnsupportedError(
                f"{label}: {printable(node.output[0])} comes from {node_label(node)}, which hwgen does not read; "
                f"it reads {', '.join(sorted(self._handlers))}"
            )
        return value.with_axes(tuple(map(self.layouts.role, value.axes)))

    def _unread(self, tensor: str) -> onnx.NodeProto | None:
        """The node of an operator that is not read, for which nothing is known of ``tensor``."""
        node = self.graph.producer(tensor)
        while node is not None and node.op_type in self._handlers:
            inputs = (name for name in node.input if name and self.graph.origin(name) not in self.values)
            missing = next((name for name in inputs if self.graph.depends_on_input(name)), None)
            node = None if missing is None else self.graph.producer(missing)
        return node

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
        return self._unique(node_name(node))

    def _unique(self, name: str) -> str:
        """``name``, or with a number behind it: names of nodes and of tensors may be equal in a file."""
        found, number = name, 1
        while found in self._taken:
            number += 1
            found = f"{name}#{number}"
        self._taken.add(found)
        return found

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
            source = self._declared(value, label)
            layer = QuantizeLayer(self._unique(name), source, Requantization(Activation.RELU, source.quantizer))
            self.layers.append(layer)
            return layer.wires[0]
        if value.activation is not Activation.IDENTITY:
            raise UnsupportedError(
                f"{label}: a {value.activation.value} without a quantizer behind it; add a QuantIdentity, "
                "or leave it out"
            )
        if value.dense is None:
            return value.stack[0]
        if value.dense.name in self._sums:
            return self._sums[value.dense.name]
        sums = value.dense.sums(self._unique(name))
        self.layers.append(sums)
        self._sums[sums.name] = sums.wire
        return sums.wire

    # Quantizers and activations.

    def _quant(self, node: onnx.NodeProto) -> None:
        label, quantizer = node_label(node), quantizer_of_node(self.graph, node)
        value = self._value(node.input[0], label)
        self.values[node.output[0]] = self._behind(value, quantizer, node_name(node), label)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        chain = read_chain(self.graph, node.output[0])
        assert chain is not None, "it ends in DequantizeLinear"
        chain.check_activation()
        if chain.quantizer.channels > 1:
            raise UnsupportedError(f"{chain.label}: needs one scale per tensor, not {chain.quantizer.channels}")
        value = self._value(chain.source, chain.label)
        self.values[node.output[0]] = self._behind(value, chain.quantizer, node_name(node), chain.label)

    def _behind(self, value: Value, quantizer: Quantizer, name: str, label: str) -> Value:
        """A value behind a quantizer; a layer that this takes is called ``name``, or nearly."""
        if value.graph_input is not None:
            return self._feed(value, quantizer, label)
        layer: DenseLayer | QuantizeLayer
        if value.dense is not None:
            layer = self._dense_layer(self._unique(name), value, value.dense, quantizer, label)
        elif len(value.stack) != 1:
            raise UnsupportedError(f"{label}: quantizes several stacked states; quantize each")
        elif value.activation is Activation.IDENTITY and value.stack[0].quantizer == quantizer:
            return value
        else:
            step = Requantization(value.activation, quantizer)
            layer = QuantizeLayer(self._unique(name), self._declared(value, label), step)
        self.layers.append(layer)
        return Value(value.axes, stack=layer.wires)

    def _declared(self, value: Value, label: str) -> Wire:
        """The wire of a value; if no layer has said how wide it is, the declared shape of its graph input does."""
        wire = value.stack[0]
        if wire.features:
            return wire
        name = next(name for name, fed in self._fed.items() if any(known == wire for known, _ in fed))
        axes = self.values[name].axes
        known = [axis for axis in axes if self.layouts.role(axis) == FEATURES]
        features = self.layouts.declared_length(*known or value.axes[-1:])
        if features is None:
            raise UnsupportedError(
                f"{label}: the shape of graph input {printable(name)} must say how many features it has"
            )
        return self._sized(wire, features, label)

    def _dense_layer(self, name: str, value: Value, dense: Dense, quantizer: Quantizer, label: str) -> DenseLayer:
        if value.activation not in (Activation.IDENTITY, Activation.RELU):
            raise UnsupportedError(
                f"{label}: the argument of the {value.activation.value} behind {dense.name} is not "
                "quantized; put a QuantIdentity between them"
            )
        wire = Wire(name, len(dense.weight.codes), dense.source.per_step, quantizer)
        step = Requantization(value.activation, quantizer)
        return DenseLayer(dense.name, dense.source, dense.weight, dense.bias, step, wire)

    def _feed(self, value: Value, quantizer: Quantizer, label: str, on_grid: bool = False) -> Value:
        """A graph input behind a quantizer, or taken for the values of one: a wire into the network."""
        name = value.graph_input
        assert name is not None
        if quantizer.channels > 1:
            raise UnsupportedError(f"{label}: its input needs one scale per tensor, not {quantizer.channels}")
        fed = self._fed.setdefault(name, [])
        key = quantizer, value.part, on_grid
        known = next((wire for wire, part in fed if (wire.quantizer, part, wire.on_grid) == key), None)
        if known is None:
            # Whether it is a sequence, and how wide, is known when a layer takes it.
            unique = self._unique(name) if fed else name
            known = Wire(unique, 0, len(value.axes) == 3, quantizer, on_grid=on_grid)
            fed.append((known, value.part))
        return Value(value.axes, stack=(known,))

    def _activation(self, node: onnx.NodeProto) -> None:
        value = self._value(node.input[0], node_label(node))
        if value.graph_input is not None or len(value.stack) > 1 or value.activation is not Activation.IDENTITY:
            raise UnsupportedError(f"{node_label(node)}: its argument must be quantized, or come from a dense layer")
        self.values[node.output[0]] = value.with_activation(_ACTIVATIONS[node.op_type])

    # Layers.

    def _cell(self, node: onnx.NodeProto) -> None:
        read = _CELLS[node.op_type]
        layer, order = read(self.graph, node, self._name(node), self._take_sequence, self._take_state)
        self.layers.append(layer)
        for name, wire in zip(node.output, layer.wires, strict=False):
            if name:
                self.values[name] = Value(order if wire.per_step else (BATCH, FEATURES), stack=(wire,))

    def _scan(self, node: onnx.NodeProto) -> None:
        layer, written = read_scan(self.graph, node, self._name(node), self._take_scanned, self._take_scan_state)
        self.layers.append(layer)
        self.values |= {name: Value(axes, stack=(wire,)) for name, (wire, axes) in written.items()}

    def _take_scanned(
        self, tensor: str, quantizer: Quantizer | None, features: int, order: tuple[str, ...], label: str
    ) -> tuple[Wire, tuple[str, ...]]:
        """The wire of a Scan's sequence, quantized in the body where ``quantizer`` is given, and its axes.

        These are ``order``, where the axis of the batch may be one of length 1 that the graph made itself.
        """
        value = self._value(tensor, label)
        order = self.layouts.bind_batch(value.axes, order, label)
        if quantizer is None:
            wire, _ = self._quantized(tensor, "it", label)
        else:
            if len(value.stack) == 1:
                value = replace(value, stack=(self._sized(value.stack[0], features, label),))
            wire = self._behind(value, quantizer, f"{tensor}.quantized", label).stack[0]
        if wire.quantizer.channels > 1:
            raise UnsupportedError(f"{label} needs one scale per tensor, not {wire.quantizer.channels}")
        return self._sized(wire, features, label), order

    def _take_scan_state(
        self, tensor: str, quantizer: Quantizer, features: int, axes: tuple[str, ...], label: str
    ) -> Wire:
        """The wire of a Scan's initial state, which nothing quantizes within the body."""
        value = self._value(tensor, label)
        self.layouts.bind_batch(value.axes, axes, label)
        if value.graph_input is not None:
            value = self._feed(value, quantizer, label, on_grid=True)
        if len(value.stack) != 1 or value.activation is not Activation.IDENTITY:
            raise UnsupportedError(f"{label}: must be a graph input, a constant, or the state of another layer")
        wire = self._sized(value.stack[0], features, label)
        if wire.quantizer != quantizer:
            raise UnsupportedError(f"{label}: must have the state's own quantizer ({quantizer}), not {wire.quantizer}")
        return wire

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
            sized = replace(wire, features=features)
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
        self._dense(node, matmul_weight(self.graph, node), None)

    def _gemm(self, node: onnx.NodeProto) -> None:
        self._dense(node, *gemm_parameters(self.graph, node))

    def _dense(self, node: onnx.NodeProto, weight: QuantizedTensor, bias: Bias) -> None:
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
        tensor, axes = indices_of(self.graph, node, value)
        wire = self._close(value, f"{label}, argument", label)
        if len(wire.quantizer.scale) > 1:
            raise UnsupportedError(f"{label}: its arguments need one scale, not {len(wire.quantizer.scale)}")
        layer = ArgmaxLayer(self._name(node), wire)
        self.layers.append(layer)
        self.values[tensor] = Value(axes, stack=layer.wires)

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
            wire = self._close(value, f"{node_label(node)}, source", label)
            self._emit(node, SelectLayer(self._name(node), wire, index), rest)
        else:
            raise UnsupportedError(
                f"{label}: hwgen picks time steps and states of layers, not entry {index} of axis {axis}"
            )
