# SPDX-License-Identifier: Apache-2.0
"""Reads the body of a ``Scan`` that is one step of an LSTM made of ONNX's own operators, by its dataflow.

Names mean nothing, and operands may stand in any order.  From the states backwards, Q being QuantizeLinear, perhaps
Clip, DequantizeLinear:

    h = Q(Q(sigmoid) * Q(tanh(c or Q(c))))        the hidden state is a product
    c = Q(f * c) + Q(i * g), or Q of that sum     the cell state is a sum
    f, i, o, g = Q(sigmoid or tanh(Q(W x + U h + b)))

A sum that no quantizer follows has a grid of its own, that of its two terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import CORE_DOMAIN, Graph, node_label
from hwgen.frontend.qdq import QDQ_OPS, chained_bias, chained_constant, check_inputs, read_chain
from hwgen.frontend.quant_nodes import MAX_BITS
from hwgen.frontend.scan_node import ScanNode
from hwgen.layers import Activation, Bias, Gate, QuantizedTensor
from hwgen.quantizer import IntegerType, Quantizer

# Operators of a body and how many inputs they must have; those of quantizers are counted where they are read.
_INPUTS = {"MatMul": 2, "Add": 2, "Mul": 2, "Sigmoid": 1, "Tanh": 1}
_READ = (*QDQ_OPS, *_INPUTS, "Identity", "Constant")
_ACTIVATIONS = {"Sigmoid": Activation.SIGMOID, "Tanh": Activation.TANH}


@dataclass(frozen=True)
class BodyCell:
    """One step of an LSTM; quantizers as those of ``LstmLayer``.

    ``hidden_state`` and ``cell_state`` are indices among the states of the Scan.  ``columns`` says that vectors stand
    in columns.  ``input`` is None where the sequence enters the products as it is.
    """

    hidden_state: int
    cell_state: int
    columns: bool
    input: Quantizer | None
    gates: tuple[Gate, ...]
    cell: Quantizer
    forget_product: Quantizer
    input_product: Quantizer
    tanh_argument: Quantizer | None
    cell_tanh: Quantizer
    output: Quantizer

    @property
    def input_size(self) -> int:
        """Features of an element of the sequence."""
        return self.gates[0].input_weight.codes.shape[1]

    @property
    def hidden_size(self) -> int:
        """Hidden units."""
        return len(self.gates[0].input_weight.codes)


@dataclass(frozen=True)
class _Operand:
    """A tensor behind the quantizers that it goes through, innermost first, and the node that writes it."""

    tensor: str
    quantizers: tuple[Quantizer, ...]
    node: onnx.NodeProto | None

    @property
    def kind(self) -> str:
        """The operator that writes it."""
        return "" if self.node is None else self.node.op_type


@dataclass(frozen=True)
class _Terms:
    """What the cell state is the sum of: the forget, input and cell gates, and the quantizers of f * c and i * g."""

    forget: _Operand
    input: _Operand
    cell: _Operand
    quantizers: tuple[Quantizer, Quantizer]


def read_body(scan: ScanNode) -> BodyCell:
    """Recognise the cell; raises UnsupportedError that names the node which does not fit."""
    body = _Body(scan)
    body.check_nodes()
    hidden, cell = body.tell_states()
    output, tanh, output_gate = body.hidden_state(hidden)
    state = body.operand(scan.states[cell].result)
    terms = body.terms(state, scan.states[cell].body)
    gates = {"input": terms.input, "forget": terms.forget, "cell": terms.cell, "output": output_gate}
    products = _Products(body, {scan.element: "x", scan.states[hidden].body: "h"}, output)
    result = BodyCell(
        hidden_state=hidden,
        cell_state=cell,
        gates=tuple(_gate(body, products, name, gate) for name, gate in gates.items()),
        columns=products.columns,
        input=products.sequence_quantizer(),
        cell=body.state_quantizer(state, terms),
        forget_product=terms.quantizers[0],
        input_product=terms.quantizers[1],
        tanh_argument=body.tanh_argument(tanh, state),
        cell_tanh=body.only_quantizer(tanh, "the tanh of the cell state"),
        output=output,
    )
    _check_sizes(result, scan.label)
    _check_channels(body, result)
    for body_output, name, _ in scan.collected:
        if name and not body.same(body_output, scan.states[hidden].result):
            raise UnsupportedError(
                f"{scan.label}: the sequence {printable(name)} must be that of the hidden state; hwgen gives no other"
            )
    return result


class _Body:
    """The graph of a body, read from the states backwards."""

    def __init__(self, scan: ScanNode) -> None:
        self.scan = scan
        self.graph: Graph = scan.body
        # Quantizers of several scales, with the axis that these belong to.
        self.channelled: list[tuple[str, int]] = []

    def check_nodes(self) -> None:
        """Refuse operators that no part of a cell is made of."""
        for node in self.graph.live_nodes():
            if not any(self.graph.depends_on_input(name) for name in node.output if name):
                continue
            if node.domain not in CORE_DOMAIN or node.op_type not in _READ:
                self.refuse(node, f"hwgen reads {', '.join(_READ)} in a body")
            if node.op_type in _INPUTS:
                check_inputs(node, _INPUTS[node.op_type], _INPUTS[node.op_type], self.place(node))

    def tell_states(self) -> tuple[int, int]:
        """Which state is hidden and which is the cell's: a product and a sum."""
        kinds = [self.operand(state.result).kind for state in self.scan.states]
        if sorted(kinds) != ["Add", "Mul"]:
            found = " and ".join(kind or "a body input or constant" for kind in kinds)
            raise UnsupportedError(
                f"{self.scan.label}: one of its states must be a product, the hidden state o * tanh(c), and one a sum, "
                f"the cell state f * c + i * g, not {found}"
            )
        return kinds.index("Mul"), kinds.index("Add")

    def hidden_state(self, place: int) -> tuple[Quantizer, _Operand, _Operand]:
        """The output's quantizer, and the two factors: tanh of the cell state, and the output gate."""
        hidden = self.operand(self.scan.states[place].result)
        assert hidden.node is not None
        output = self.only_quantizer(hidden, "the hidden state")
        if output.channels > 1:
            self.refuse(hidden.node, f"the hidden state needs one scale, not {output.channels}")
        factors = {operand.kind: operand for operand in map(self.operand, hidden.node.input)}
        if sorted(factors) != ["Sigmoid", "Tanh"]:
            self.refuse(
                hidden.node,
                "the hidden state must be the product of a quantized Sigmoid, the output gate, and a quantized Tanh "
                "of the cell state",
            )
        return output, factors["Tanh"], factors["Sigmoid"]

    def terms(self, state: _Operand, before: str) -> _Terms:
        """The terms of the new cell state, given the body input that is the one ``before``."""
        assert state.node is not None
        products = [self.operand(name) for name in state.node.input]
        if [product.kind for product in products] != ["Mul", "Mul"]:
            self.refuse(state.node, "the cell state must be the sum of two quantized products, f * c and i * g")
        products.sort(key=lambda product: before not in self.factors(product))
        kept, added = products
        forget = self.factors(kept)
        if before not in forget or before in self.factors(added):
            self.refuse(state.node, f"one of its two products, f * c, must read the cell state ({printable(before)})")
        read = forget.pop(before)
        assert kept.node is not None and added.node is not None
        if [operand.kind for operand in forget.values()] != ["Sigmoid"]:
            self.refuse(kept.node, "the cell state must be multiplied by a quantized Sigmoid, the forget gate")
        gates = {operand.kind: operand for operand in self.factors(added).values()}
        if sorted(gates) != ["Sigmoid", "Tanh"]:
            self.refuse(
                added.node, "i * g must be the product of a quantized Sigmoid, the input gate, and a quantized Tanh"
            )
        quantizers = self.only_quantizer(kept, "the product f * c"), self.only_quantizer(added, "the product i * g")
        if quantizers[0].scale != quantizers[1].scale:
            self.refuse(state.node, "f * c and i * g must be quantized with one scale, or their sum has none")
        if read.quantizers not in ((), state.quantizers):
            self.refuse(
                kept.node,
                "the cell state must be read as the step before wrote it; put the quantizer behind the sum "
                "f * c + i * g instead",
            )
        (forget_gate,) = forget.values()
        return _Terms(forget_gate, gates["Sigmoid"], gates["Tanh"], quantizers)

    def factors(self, product: _Operand) -> dict[str, _Operand]:
        """What a Mul multiplies, by the tensor behind the quantizers."""
        assert product.node is not None
        return {operand.tensor: operand for operand in map(self.operand, product.node.input)}

    def state_quantizer(self, state: _Operand, terms: _Terms) -> Quantizer:
        """The quantizer of the cell state, or the grid of the sum that nothing quantizes."""
        if state.quantizers:
            return self.only_quantizer(state, "the cell state")
        codes = IntegerType.holding(
            sum(term.codes.lo - term.exact_zero_point(0) for term in terms.quantizers),
            sum(term.codes.hi - term.exact_zero_point(0) for term in terms.quantizers),
        )
        if codes.bits > MAX_BITS:
            assert state.node is not None
            self.refuse(
                state.node,
                f"nothing quantizes the cell state, whose codes then have {codes.bits} bits, at most {MAX_BITS} are "
                "supported; put QuantizeLinear and DequantizeLinear behind it",
            )
        return Quantizer(terms.quantizers[0].scale, (0,), codes)

    def tanh_argument(self, tanh: _Operand, state: _Operand) -> Quantizer | None:
        """The quantizer between the cell state and its tanh; None where tanh takes the state as it is."""
        assert tanh.node is not None
        argument, behind = self.operand(tanh.node.input[0]), len(state.quantizers)
        own = argument.quantizers[behind:]
        if argument.tensor != state.tensor or argument.quantizers[:behind] != state.quantizers or len(own) > 1:
            self.refuse(
                tanh.node,
                "it must read the new cell state, behind the quantizer of the state if it has one, through at most one "
                "more quantizer",
            )
        return own[0] if own else None

    def same(self, tensor: str, other: str) -> bool:
        """Whether two tensors have equal values, by how they are made."""
        left, right = self.operand(tensor), self.operand(other)
        return (left.tensor, left.quantizers) == (right.tensor, right.quantizers)

    def operand(self, tensor: str) -> _Operand:
        """Follow a tensor back through its quantizers; the second of two equal ones changes nothing."""
        quantizers: list[Quantizer] = []
        while self.graph.depends_on_input(tensor):
            chain = read_chain(self.graph, tensor)
            if chain is None:
                break
            chain.check_activation()
            if not quantizers or quantizers[0] != chain.quantizer:
                quantizers.insert(0, chain.quantizer)
            if chain.quantizer.channels > 1:
                self.channelled.append((chain.label, chain.axis))
            tensor = chain.source
        return _Operand(self.graph.origin(tensor), tuple(quantizers), self.graph.producer(tensor))

    def only_quantizer(self, operand: _Operand, what: str, reader: onnx.NodeProto | None = None) -> Quantizer:
        """The one quantizer behind an operand."""
        if len(operand.quantizers) != 1:
            node = reader or operand.node
            assert node is not None
            self.refuse(
                node,
                f"{what} ({printable(operand.tensor)}) must go through one quantizer, not {len(operand.quantizers)}; "
                "a quantizer is QuantizeLinear, perhaps Clip, DequantizeLinear",
            )
        return operand.quantizers[0]

    def place(self, node: onnx.NodeProto) -> str:
        """A node of the body, for messages."""
        return f"{self.scan.label}, body node {node_label(node)}"

    def refuse(self, node: onnx.NodeProto, why: str) -> NoReturn:
        """Refuse a node."""
        raise UnsupportedError(f"{self.place(node)}: {why}")


class _Products:
    """The products of weights with the sequence and with the hidden state, and what they have in common.

    ``vectors`` says which body input is x and which is h; ``hidden`` is the quantizer of h.
    """

    def __init__(self, body: _Body, vectors: dict[str, str], hidden: Quantizer) -> None:
        self._body, self._vectors, self._hidden = body, vectors, hidden
        self._sides: set[bool] = set()
        self._sequence: dict[tuple[Quantizer, ...], None] = {}

    @property
    def columns(self) -> bool:
        """Whether weights stand on the left and vectors in columns."""
        return True in self._sides

    def read(self, node: onnx.NodeProto, gate: str) -> tuple[str, QuantizedTensor]:
        """A MatMul: whether it multiplies x or h, and its weight as [rows, columns]."""
        body = self._body
        varies = [body.graph.depends_on_input(name) for name in node.input]
        if sorted(varies) != [False, True]:
            body.refuse(node, f"in the {gate} gate a constant weight must multiply the sequence or the hidden state")
        columns = varies[1]
        self._sides.add(columns)
        if len(self._sides) > 1:
            body.refuse(node, "its weight stands on the other side than those before: all must be W x, or all x W")
        vector = body.operand(node.input[columns])
        if vector.tensor not in self._vectors:
            found = printable(vector.tensor)
            body.refuse(node, f"a weight must multiply the sequence or the hidden state, not {found}")
        name = self._vectors[vector.tensor]
        if name == "x":
            self._sequence[vector.quantizers] = None
        elif vector.quantizers not in ((), (self._hidden,)):
            found = " and ".join(map(str, vector.quantizers))
            body.refuse(node, f"the hidden state must be read with its own quantizer, {self._hidden}, not {found}")
        what = f"{'input' if name == 'x' else 'hidden'} weight of the {gate} gate"
        weight = chained_constant(body.graph, node.input[not columns], what, body.place(node), 0 if columns else 1)
        if weight.codes.ndim != 2 or 0 in weight.codes.shape:
            raise ModelError(f"{body.place(node)}: {what} must be a matrix, not of shape {list(weight.codes.shape)}")
        return name, weight

    def sequence_quantizer(self) -> Quantizer | None:
        """The quantizer of x within the body, if it has one."""
        (first, *others) = self._sequence
        if others or len(first) > 1:
            raise UnsupportedError(
                f"{self._body.scan.label}: all gates must read the sequence through the same quantizer, and one alone"
            )
        return first[0] if first else None


def _gate(body: _Body, products: _Products, name: str, activated: _Operand) -> Gate:
    """A gate from its quantized activation back to its sum."""
    node = activated.node
    assert node is not None
    total = body.operand(node.input[0])
    accumulator = body.only_quantizer(total, f"the argument of the {name} gate", node)
    weights: dict[str, QuantizedTensor] = {}
    biases: list[str] = []
    for tensor in _summands(body, total.tensor):
        product = body.graph.producer(tensor)
        if not body.graph.depends_on_input(tensor):
            biases.append(tensor)
        elif product is not None and product.op_type == "MatMul":
            vector, weight = products.read(product, name)
            if vector in weights:
                body.refuse(product, f"it is a second product with {vector} in the {name} gate, which must have one")
            weights[vector] = weight
        else:
            body.refuse(
                product or node,
                f"the argument of the {name} gate must be the sum of two MatMul and a bias, quantized as a whole; "
                f"{printable(tensor)} is neither",
            )
    if sorted(weights) != ["h", "x"]:
        body.refuse(node, f"the {name} gate needs a MatMul of the sequence and one of the hidden state")
    if len(biases) > 1:
        body.refuse(node, f"the {name} gate must have one bias, not {len(biases)}; add them up in the file")
    return Gate(
        name=name,
        input_weight=weights["x"],
        hidden_weight=weights["h"],
        bias=_bias(body, biases[0], name, len(weights["x"].codes), products.columns) if biases else None,
        accumulator=accumulator,
        activation=_ACTIVATIONS[node.op_type],
        activation_quantizer=body.only_quantizer(activated, f"the {name} gate"),
    )


def _summands(body: _Body, tensor: str) -> list[str]:
    """What a tree of Add nodes adds, from left to right."""
    found, pending = [], [tensor]
    while pending:
        name = pending.pop()
        node = body.graph.producer(name)
        if node is not None and node.op_type == "Add" and body.graph.depends_on_input(name):
            pending.extend(reversed(node.input))
        else:
            found.append(name)
    return found


def _bias(body: _Body, tensor: str, gate: str, rows: int, columns: bool) -> Bias:
    """A bias [rows]; in the file it is a column or a row, or one number for all."""
    what = f"bias of the {gate} gate"
    bias = chained_bias(body.graph, tensor, what, body.scan.label)
    array = bias.codes if isinstance(bias, QuantizedTensor) else bias
    legal = ((rows, 1),) if columns else ((rows,), (1, rows))
    if array.size != 1 and array.shape not in legal:
        shapes = " or ".join(str(list(shape)) for shape in legal)
        raise ModelError(f"{body.scan.label}: {what} must have shape {shapes}, not {list(array.shape)}")
    if isinstance(bias, QuantizedTensor):
        return QuantizedTensor(np.broadcast_to(bias.codes.reshape(-1), (rows,)), bias.quantizer)
    return np.broadcast_to(bias.reshape(-1), (rows,))


def _check_sizes(cell: BodyCell, label: str) -> None:
    """All weights must fit the first."""
    h, i = cell.hidden_size, cell.input_size
    for gate in cell.gates:
        for what, weight, shape in (("input", gate.input_weight, (h, i)), ("hidden", gate.hidden_weight, (h, h))):
            if weight.codes.shape != shape:
                wanted, found = (list(s if cell.columns else s[::-1]) for s in (shape, weight.codes.shape))
                raise ModelError(
                    f"{label}: {what} weight of the {gate.name} gate must have shape {wanted}, not {found}"
                )


def _check_channels(body: _Body, cell: BodyCell) -> None:
    """Quantizers with a scale for each unit must have them along the units."""
    units = (0, -2) if cell.columns else (1, -1)
    for label, axis in body.channelled:
        if axis not in units:
            raise UnsupportedError(f"{label}: its scales must belong to the units, axis {units[0]}, not axis {axis}")
    quantizers = [quantizer for gate in cell.gates for quantizer in (gate.accumulator, gate.activation_quantizer)]
    quantizers += [cell.cell, cell.forget_product, cell.input_product, cell.cell_tanh]
    quantizers += [quantizer for quantizer in (cell.input, cell.tanh_argument) if quantizer is not None]
    for quantizer in quantizers:
        if quantizer.channels not in (1, cell.hidden_size) or len(set(quantizer.zero_point)) > 1:
            raise UnsupportedError(
                f"{body.scan.label}: a quantizer of its body needs one zero point, and one scale or one for each of "
                f"{cell.hidden_size} units, not {len(quantizer.zero_point)} and {len(quantizer.scale)}"
            )
