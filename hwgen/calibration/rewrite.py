# SPDX-License-Identifier: Apache-2.0
"""From a float graph to one that hwgen reads: recurrent nodes become quantized cells, and quantizers come in between.

What stands around them stays as it is, as do the graph's inputs and outputs.  The rewriter runs twice: once with
placeholders, to learn which layers there are, and once with the quantizers that were picked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from hwgen.calibration.cells import SPECS, Role, holds
from hwgen.calibration.floats import FloatCell, Recurrent, read_recurrent
from hwgen.calibration.options import Options
from hwgen.calibration.states import sliced_source, steady_state
from hwgen.calibration.weights import Weights, read_weights
from hwgen.calibration.writer import FloatDense, Place, Writer, WrittenCell
from hwgen.errors import UnsupportedError, printable
from hwgen.frontend import FLOAT_RECURRENT
from hwgen.frontend.graph import Graph, attribute_value, node_label, node_name
from hwgen.frontend.quant_nodes import QUANT_OPS
from hwgen.frontend.reader import RECURRENT
from hwgen.quantizer import FloatArray, Quantizer

_MOVES = ("Transpose", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Gather", "Slice", "Concat")
_COPIES = ("Identity", "Dropout")
_SQUASHES = ("Sigmoid", "Tanh")
_RANKING = ("ArgMax", "TopK")
_READ = (*FLOAT_RECURRENT, "Gemm", "MatMul", "Add", "Relu", *_SQUASHES, *_MOVES, *_COPIES, *_RANKING)
_QDQ = ("QuantizeLinear", "DequantizeLinear", "Clip")


@dataclass(frozen=True)
class Rewritten:
    """A graph that hwgen reads: the ``places`` to pick quantizers for, and the float layers behind the quantized ones.

    ``inputs`` maps graph inputs to their place; ``given`` are the names of quantizers that the file itself has.
    """

    model: onnx.ModelProto
    places: Mapping[str, Place]
    cells: Mapping[str, WrittenCell]
    dense: Mapping[str, FloatDense]
    inputs: Mapping[str, str]
    given: frozenset[str]
    warnings: tuple[str, ...]


def rewrite(model: onnx.ModelProto, graph: Graph, options: Options, chosen: Mapping[str, Quantizer]) -> Rewritten:
    """Rewrite a graph with the quantizers of ``chosen``, or with placeholders.

    Raises ModelError or UnsupportedError, naming the node, for what cannot be calibrated.
    """
    rewriter = _Rewriter(graph, options, chosen)
    rewriter.walk()
    inputs = [value for value in model.graph.input if value.name in graph.inputs]
    written = rewriter.out.model(model, inputs, model.graph.initializer)
    _check_operators(written)
    return Rewritten(
        written,
        rewriter.out.places,
        rewriter.cells,
        rewriter.dense,
        rewriter.inputs,
        frozenset(rewriter.given),
        tuple(rewriter.warnings),
    )


def _check_operators(model: onnx.ModelProto) -> None:
    """Name the first node that hwgen could not read, with what it could."""
    readable = (*_READ, *RECURRENT, *QUANT_OPS, *_QDQ, "Constant")
    for node in model.graph.node:
        if node.op_type in ("Softmax", "LogSoftmax"):
            raise UnsupportedError(
                f"{node_label(node)}: leave it out of the model: the argmax of its argument is the same"
            )
        if node.op_type not in readable:
            raise UnsupportedError(
                f"{node_label(node)}: cannot be calibrated; hwgen calibrate reads {', '.join(sorted(_READ))}"
            )


@dataclass(frozen=True)
class _Directions:
    """The sequences of a node's directions, of ``units`` features each."""

    parts: list[str]
    units: int
    batch_first: bool


class _Rewriter:
    """One walk over a graph.  ``_names`` maps its tensors to those of the new graph where they differ."""

    def __init__(self, graph: Graph, options: Options, chosen: Mapping[str, Quantizer]) -> None:
        self.graph, self.options = graph, options
        tensors = {name for node in graph.nodes for name in (*node.input, *node.output)} | set(graph.inputs)
        labels = {node.name for node in graph.nodes if node.op_type not in FLOAT_RECURRENT} | set(graph.inputs)
        labels -= {node.name for node in graph.nodes if node.op_type in ("Gemm", "MatMul")}
        self.out = Writer(tensors | {tensor.name for tensor in graph.proto.initializer}, labels, chosen)
        self.cells: dict[str, WrittenCell] = {}
        self.dense: dict[str, FloatDense] = {}
        self.inputs: dict[str, str] = {}
        self.given: set[str] = set()
        self.warnings: list[str] = []
        self._names: dict[str, str] = {}
        # What graph outputs show where that is not what others read.
        self._shown: dict[str, str] = {}
        # Tensors of the new graph that are sums which nothing quantizes.
        self._sums: set[str] = set()
        # The tensors of each direction behind Y, or behind Y with the directions next to the features.
        self._sequences: dict[str, _Directions] = {}
        self._split: dict[str, _Directions] = {}
        self._states: dict[str, tuple[list[str], int]] = {}
        self._matmuls: dict[str, str] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.live_nodes():
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def walk(self) -> None:
        """Write everything that an output depends on."""
        for name in self.graph.inputs:
            if self._feeds_layer(name, ("Relu",)):
                label = self.out.label(f"{name}.quantizer")
                place = self.out.place(Place(label, name, "input", Role.ACTIVATION))
                self.inputs[name] = label
                self._names[name] = self.out.quant(name, self.out.quantizer(place.name), f"{name}.quantized", 0, label)
        for node in self.graph.live_nodes():
            if any(self.graph.depends_on_input(name) for name in node.input if name):
                self._node(node)
            else:
                self.out.nodes.append(node)
        for name in self.graph.outputs:
            shown = self._shown.get(name) or self._name(name)
            if shown != name:
                self.out.nodes.append(
                    helper.make_node("Identity", [shown], [name], name=self.out.label(f"{name}.output"))
                )

    def _node(self, node: onnx.NodeProto) -> None:
        if node.op_type in FLOAT_RECURRENT and not node.domain:
            self._recurrent(read_recurrent(self.graph, node))
        elif node.op_type in ("Gemm", "MatMul"):
            self._dense(node)
        elif node.op_type == "Add" and self._add(node):
            pass
        elif node.op_type in ("Relu", *_SQUASHES):
            self._activation(node)
        elif node.op_type in _COPIES:
            self._names[node.output[0]] = self._name(node.input[0])
        elif not self._join_directions(node):
            if node.op_type in (*QUANT_OPS, "DequantizeLinear"):
                self.given.add(node_name(node))
            self._copy(node)

    def _copy(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._name(name) for name in node.input]
        self.out.nodes.append(copy)
        if node.op_type in _MOVES and self._sums.intersection(copy.input):
            self._sums.update(copy.output)

    def _name(self, tensor: str) -> str:
        """The tensor of the new graph in the place of ``tensor``."""
        if tensor in self._names or not tensor:
            return self._names.get(tensor, tensor)
        if tensor in self._sequences:
            found = self._sequences[tensor]
            self._names[tensor] = self._stack(found.parts, 2 if found.batch_first else 1, tensor)
        elif tensor in self._states:
            self._names[tensor] = self._stack(*self._states[tensor], tensor)
        elif tensor in self._split:
            self._names[tensor] = self._stack(self._split[tensor].parts, 2, tensor)
        return self._names.get(tensor, tensor)

    def _stack(self, parts: list[str], axis: int, wanted: str) -> str:
        """Tensors along a new axis."""
        where = self.out.constant([axis], f"{wanted}.axis", np.int64)
        raised = [self.out.op("Unsqueeze", [part, where], f"{wanted}.direction") for part in parts]
        return raised[0] if len(raised) == 1 else self.out.op("Concat", raised, f"{wanted}.directions", axis=axis)

    # Where quantizers are needed.

    def _feeds_layer(self, tensor: str, more: tuple[str, ...] = ()) -> bool:
        """Whether a tensor reaches something that computes with codes, operators ``more`` included, by moves alone."""
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            for node in self._readers.get(name, ()):
                kind = node.op_type
                recurrent = kind in FLOAT_RECURRENT and node.input[0] == name
                if recurrent or kind in ("Gemm", "MatMul", "Concat", *_SQUASHES, *more):
                    return True
                if kind in _MOVES or kind in _COPIES:
                    found = [output for output in node.output if output not in seen]
                    seen.update(found)
                    pending += found
        return False

    def _is_shown(self, tensor: str) -> bool:
        """Whether a tensor reaches a graph output without passing another layer."""
        pending = [tensor]
        while pending:
            name = pending.pop()
            if name in self.graph.outputs:
                return True
            pending += [
                output
                for node in self._readers.get(name, ())
                if node.op_type in (*_MOVES, *_COPIES, *_RANKING)
                for output in node.output
            ]
        return False

    def _result(self, tensor: str, raw: str, what: str, layer: str, signed: bool | None) -> None:
        """Sums ``raw`` in the place of ``tensor``, with a quantizer behind them where somebody needs it."""
        self._sums.add(raw)
        bits = self.options.output_bits
        feeds, shown = self._feeds_layer(tensor), self._is_shown(tensor)
        self._names[tensor] = raw
        if feeds or (shown and bits):
            self._names[tensor] = self._quantized(
                raw, tensor, Place("", layer, what, Role.ACTIVATION if feeds else Role.OUTPUT, signed)
            )
            if not bits:
                self._shown[tensor] = raw

    def _quantized(self, raw: str, tensor: str, place: Place) -> str:
        label = self.out.label(f"{tensor}.quantizer")
        self.out.place(Place(label, place.layer, place.what, place.role, place.signed))
        return self.out.quant(raw, self.out.quantizer(label), f"{tensor}.quantized", 0, label)

    # Dense layers.

    def _dense(self, node: onnx.NodeProto) -> None:
        label, gemm = node_label(node), node.op_type == "Gemm"
        if not self.graph.depends_on_input(node.input[0]):
            raise UnsupportedError(f"{label}: its first operand must depend on an input, and its second be constant")
        weights = self._matrix(node, label)
        name = self.out.label(node_name(node))
        bias = None
        if gemm and len(node.input) > 2 and node.input[2]:
            bias = self._bias(node.input[2], label, len(weights.values))
        self.dense[name] = FloatDense(weights, bias)
        output, source = node.output[0], self._name(node.input[0])
        weight = self.out.weight(weights, f"{name}/weight", f"{name}.weight")
        raw = self.out.tensor(f"{output}.sums")
        if gemm:
            inputs = [source, weight]
            if bias is not None:
                inputs.append(self.out.bias(bias, f"{name}/bias", f"{name}.bias"))
            self.out.nodes.append(helper.make_node("Gemm", inputs, [raw], name=name, transB=1))
        else:
            turned = self.out.op("Transpose", [weight], f"{name}.weight.transposed", perm=[1, 0])
            self.out.nodes.append(helper.make_node("MatMul", [source, turned], [raw], name=name))
            self._matmuls[output] = name
        self._result(output, raw, "output", name, None)

    def _matrix(self, node: onnx.NodeProto, label: str) -> Weights:
        """The weight [outputs, inputs] of a Gemm or MatMul."""
        weights = read_weights(self.graph, node.input[1], "its weight", label)
        if weights.values.ndim != 2 or not weights.values.size:
            raise UnsupportedError(f"{label}: its weight must be a matrix, not of shape {list(weights.values.shape)}")
        turned = node.op_type == "MatMul"
        if node.op_type == "Gemm":
            for name, wanted in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
                found = attribute_value(node, name, default=0 if name == "transA" else 1.0)
                if found != wanted:
                    raise UnsupportedError(f"{label}: {name} must be {wanted:g}, not {found}")
            turned = not attribute_value(node, "transB", default=0)
        return weights.move(np.transpose) if turned else weights

    def _bias(self, tensor: str, label: str, rows: int) -> FloatArray | None:
        values = read_weights(self.graph, tensor, "its bias", label).values
        if values.size == rows and values.shape[-1:] == (rows,):
            values = values.reshape(rows)
        elif values.size != 1:
            raise UnsupportedError(f"{label}: its bias must have shape [{rows}], not {list(values.shape)}")
        values = np.broadcast_to(values.reshape(-1), (rows,)).copy()
        return values if values.any() else None

    def _add(self, node: onnx.NodeProto) -> bool:
        """Take a constant that is added to a product with a matrix for its bias; False for any other sum."""
        label = node_label(node)
        dynamic = [name for name in node.input if self.graph.depends_on_input(name)]
        name = self._matmuls.get(self.graph.origin(dynamic[0]))
        if len(dynamic) != 1 or name is None or self.dense[name].bias is not None:
            return False
        constant = next(other for other in node.input if other != dynamic[0])
        weights = self.dense[name].weight
        bias = self._bias(constant, label, len(weights.values))
        self.dense[name] = FloatDense(weights, bias)
        raw, source = self.out.tensor(f"{node.output[0]}.sums"), self._name(dynamic[0])
        if bias is None:
            raw = source
        else:
            inputs = [source, self.out.bias(bias, f"{name}/bias", f"{name}.bias")]
            self.out.nodes.append(helper.make_node("Add", inputs, [raw], name=node.name))
        self._result(node.output[0], raw, "output", name, None)
        return True

    def _activation(self, node: onnx.NodeProto) -> None:
        source, output = self._name(node.input[0]), node.output[0]
        raw = self.out.tensor(f"{output}.activation")
        copy = helper.make_node(node.op_type, [source], [raw], name=node.name)
        self.out.nodes.append(copy)
        self._names[output] = raw
        layer = node_name(node)
        if node.op_type in _SQUASHES:
            bits = self.options.output_bits and not self._feeds_layer(output)
            role = Role.OUTPUT if bits else Role.ACTIVATION
            place = Place("", layer, node.op_type.lower(), role, node.op_type == "Tanh")
            self._names[output] = self._quantized(raw, output, place)
        elif source in self._sums:
            self._result(output, raw, "relu", layer, False)

    # Recurrent layers.

    def _recurrent(self, found: Recurrent) -> None:
        node, self.warnings = found.node, [*self.warnings, *found.warnings]
        x = self._name(found.inputs["X"])
        base, written = node_name(node), []
        for place, cell in enumerate(found.cells):
            side = f".{'backward' if cell.reverse else 'forward'}" if len(found.cells) > 1 else ""
            written.append(self._cell(found, place, self.out.label(f"{base}{side}"), x))
        columns = [list(column) for column in zip(*written, strict=True)]
        self._sequences[node.output[0]] = _Directions(columns[0], found.cells[0].hidden_size, found.batch_first)
        for output, parts in zip(node.output[1:], columns[1:], strict=False):
            self._states[output] = parts, int(found.batch_first)

    def _cell(self, found: Recurrent, direction: int, name: str, x: str) -> list[str]:
        """One direction as a cell called ``name``; returns its outputs."""
        cell, out = found.cells[direction], self.out
        spec, states = SPECS[cell.kind], {}
        inputs = [x]
        for tensor, quantizer in zip(("initial_h", "initial_c"), spec.states, strict=False):
            given, constant = self._initial(found, tensor, direction, name)
            if constant is not None:
                states[quantizer] = constant
            inputs.append(out.quant(given, out.quantizer(f"{name}/{quantizer}"), f"{name}.{tensor}"))
        # A coupled cell has no forget gate: the input gate's constants stand in its place.
        gates = [gate if gate in cell.gates else "input" for gate in spec.gates]
        for what in ("input", "hidden"):
            made = {
                gate: out.weight(getattr(matrix, what), f"{name}/{gate}/{what}_weight", f"{name}.{gate}.{what}_weight")
                for gate, matrix in cell.gates.items()
            }
            inputs += [made[gate] for gate in gates]
        biases = {
            gate: out.bias(m.bias, f"{name}/{gate}/bias", f"{name}.{gate}.bias") for gate, m in cell.gates.items()
        }
        inputs += [biases[gate] for gate in gates]
        if spec.hidden_bias is not None:
            gate = spec.hidden_bias
            own = cell.gates[gate].hidden_bias
            inputs.append(out.bias(own, f"{name}/{gate}/hidden_bias", f"{name}.{gate}.hidden_bias"))
        attributes: dict[str, object] = {"batch_first": int(found.batch_first), "reverse_input": int(cell.reverse)}
        if cell.kind == "LSTM":
            attributes["cifg"] = int(cell.coupled)
        elif cell.kind == "RNN":
            attributes["nonlinearity"] = cell.activation.value
        for quantizer in spec.quantizers:
            key = self._place(cell, name, quantizer)
            inputs += out.triple(key, f"{name}.{quantizer}")
            codes = out.quantizer(key).codes
            attributes |= {
                f"{quantizer}_signed": int(codes.signed),
                f"{quantizer}_narrow": int(codes.narrow),
                f"{quantizer}_rounding_mode": out.quantizer(key).rounding.value,
            }
        ends = ("sequence", "last_hidden", "last_cell")[: len(spec.states) + 1]
        outputs = [out.tensor(f"{name}.{end}") for end in ends]
        out.nodes.append(helper.make_node(spec.operator, inputs, outputs, name=name, domain=spec.domain, **attributes))
        self.cells[name] = WrittenCell(cell, states)
        return outputs

    def _place(self, cell: FloatCell, name: str, quantizer: str) -> str:
        """The name of a cell's quantizer, noted as a place; a coupled cell's forget gate has those of the input."""
        if cell.coupled and quantizer.startswith("forget_"):
            quantizer = quantizer.replace("forget_", "input_")
        found = holds(cell.kind, quantizer, cell.activation)
        one = quantizer == "update_sigmoid" or (cell.coupled and quantizer == "input_sigmoid")
        key = f"{name}/{quantizer}"
        self.out.place(Place(key, name, quantizer.replace("_", " "), found.role, found.signed, one))
        return key

    def _initial(self, found: Recurrent, tensor: str, direction: int, name: str) -> tuple[str, FloatArray | None]:
        """An initial state: its tensor [batch, H], and its value [H] if it is constant."""
        units, given = found.cells[0].hidden_size, found.inputs.get(tensor)
        axis = 1 if found.batch_first else 0
        if given is None:
            state: FloatArray | None = np.zeros(units)
        else:
            label = f"{found.label}, {tensor} ({printable(given)})"
            state = steady_state(self.graph, given, len(found.cells), units, axis, direction, label)
        if state is not None:
            return self.out.constant(state[np.newaxis], f"{name}.{tensor}.values"), state
        assert given is not None
        source, start = sliced_source(self.graph, given, axis)
        index = self.out.constant(start + direction, f"{name}.{tensor}.index", np.int64)
        picked = self.out.op("Gather", [self._name(source), index], f"{name}.{tensor}.picked", axis=axis)
        return picked, None

    def _join_directions(self, node: onnx.NodeProto) -> bool:
        """What exporters write behind Y [time, directions, batch, H] to get [time, batch, directions * H]."""
        source = self.graph.origin(node.input[0])
        behind = self._split.get(source)
        found = self._sequences.get(source, behind)
        if found is None:
            return False
        # With the batch in front, the directions stand next to the features as they come.
        split = behind is not None or found.batch_first
        axis, output = 2 if split else 1, node.output[0]
        if not split and node.op_type == "Transpose" and attribute_value(node, "perm") == [0, 2, 1, 3]:
            self._split[output] = found
        elif node.op_type == "Squeeze" and len(found.parts) == 1 and self._drops_directions(node, axis, behind is None):
            self._names[output] = found.parts[0]
        elif node.op_type == "Reshape" and split and self._merges(node, found):
            single = len(found.parts) == 1
            self._names[output] = found.parts[0] if single else self.out.op("Concat", found.parts, output, axis=2)
        else:
            return False
        return True

    def _drops_directions(self, node: onnx.NodeProto, axis: int, of_y: bool) -> bool:
        """Whether a Squeeze drops the axis of directions, ``axis``."""
        if len(node.input) < 2 or not node.input[1]:
            return True
        constant = self.graph.constant(node.input[1])
        axes = [] if constant is None else [int(entry) % 4 for entry in constant.reshape(-1)]
        if of_y and axes == [3 - axis]:
            self.warnings.append(
                f"{node_label(node)}: squeezes axis {axes[0]}, which Brevitas 0.13 confuses with axis {axis}, that of "
                "the directions; taken for the latter"
            )
            return True
        return axes == [axis]

    def _merges(self, node: onnx.NodeProto, found: _Directions) -> bool:
        """Whether a Reshape of [.., .., directions, H] leaves the first two axes and joins the others."""
        shape = self.graph.constant(node.input[1])
        if shape is None:
            made = self.graph.producer(node.input[1])
            if made is None or made.op_type != "Concat" or len(made.input) != 3:
                return False
            shape = self.graph.constant(made.input[2])
            return shape is not None and shape.size == 1 and int(shape.item()) in (-1, len(found.parts) * found.units)
        return shape.size == 3 and int(shape.reshape(-1)[2]) in (-1, len(found.parts) * found.units)
