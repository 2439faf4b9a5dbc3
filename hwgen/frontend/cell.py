# SPDX-License-Identifier: Apache-2.0
"""What the nodes of recurrent cells have in common: quantizers given as triples of inputs, sizes, initial states.

One node is one layer in one direction over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, flag, node_label
from hwgen.frontend.quant_nodes import QUANT_OPS, Owner, constant_of, quantizer_from, quantizer_of_node
from hwgen.layers import InitialState, Wire
from hwgen.network import BATCH, FEATURES, TIME
from hwgen.quantizer import FloatArray, Quantizer

# (tensor, features, axes, label) -> the wire of a layer's input; (tensor, features, label) -> of an initial state
TakeSequence = Callable[[str, int, tuple[str, ...], str], Wire]
TakeState = Callable[[str, int, str], Wire]


@dataclass(frozen=True)
class CellNode:
    """A cell's node, the sizes that its weights have, and which input the scale of each quantizer is.

    Zero point and bit width follow the scale; ``<name>_signed``, ``<name>_narrow`` and ``<name>_rounding_mode`` are
    attributes.
    """

    graph: Graph
    node: onnx.NodeProto
    label: str
    input_size: int
    hidden_size: int
    quantizers: Mapping[str, int]

    @classmethod
    def checked(
        cls, graph: Graph, node: onnx.NodeProto, quantizers: Mapping[str, int], outputs: int, input_weight: int
    ) -> CellNode:
        """A node with as many inputs as the last triple needs; ``input_weight`` is the first input that is [H, I]."""
        label, inputs = node_label(node), max(quantizers.values()) + 3
        if len(node.input) != inputs:
            raise ModelError(f"{label}: must have {inputs} inputs, not {len(node.input)}")
        if not 1 <= len(node.output) <= outputs:
            raise ModelError(f"{label}: must have 1 to {outputs} outputs, not {len(node.output)}")
        hidden_size, input_size = _weight_shape(graph, node.input[input_weight], label)
        return cls(graph, node, label, input_size, hidden_size, quantizers)

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of its sequences."""
        return (BATCH, TIME, FEATURES) if flag(self.node, "batch_first") else (TIME, BATCH, FEATURES)

    def quantizer(self, name: str) -> Quantizer:
        """One of its quantizers: with one scale, or one per hidden unit."""
        owner = Owner(f"{self.label}, quantizer {name!r}")
        start = self.quantizers[name]
        scale, zero_point, bits = (
            constant_of(self.graph, self.node.input[start + offset], what, owner)
            for offset, what in enumerate(("scale", "zero point", "bit width"))
        )
        for what, array in (("scale", scale), ("zero point", zero_point)):
            if array.size not in (1, self.hidden_size):
                raise ModelError(f"{owner.label}: {what} must have 1 or {self.hidden_size} entries, not {array.size}")
        if (zero_point != zero_point.reshape(-1)[0]).any():
            count = len(np.unique(zero_point))
            raise UnsupportedError(f"{owner.label}: one zero point per tensor is supported, not {count} different ones")
        return quantizer_from(
            scale,
            zero_point.reshape(-1)[:1],
            bits,
            flag(self.node, f"{name}_signed"),
            # Brevitas spells one of them output_sigmoid_narrow_range.
            flag(self.node, f"{name}_narrow", f"{name}_narrow_range", default=0),
            str(attribute_value(self.node, f"{name}_rounding_mode", default="ROUND")),
            owner,
        )

    def output_quantizer(self) -> Quantizer:
        """The quantizer called ``output``, which has one scale."""
        output = self.quantizer("output")
        if output.channels > 1:
            raise UnsupportedError(f"{self.label}: output needs one scale per tensor, not {output.channels}")
        return output

    def initial_state(self, tensor: str, what: str, quantizer: Quantizer, take_state: TakeState) -> InitialState:
        """An initial state: a constant, or a wire with the state's own quantizer."""
        graph, label = self.graph, f"{self.label}, initial {what} state"
        producer = graph.producer(tensor)
        given, stored = tensor, tensor
        if producer is not None and producer.op_type in QUANT_OPS:
            found, stored = quantizer_of_node(graph, producer), graph.origin(producer.input[0])
            if found != quantizer:
                raise UnsupportedError(
                    f"{label}: its Quant node must have the state's own quantizer ({quantizer}), not {found}"
                )
        if graph.constant(stored) is not None:
            values = constant_of(graph, stored, "value", Owner(label))
            codes = _constant_state(values, quantizer, label, self.hidden_size, quantized=stored is not given)
            return InitialState(quantizer, codes=codes.astype(np.int64))
        wire = take_state(given, self.hidden_size, label)
        if wire.quantizer != quantizer:
            raise UnsupportedError(f"{label}: must have the state's own quantizer ({quantizer}), not {wire.quantizer}")
        return InitialState(quantizer, source=wire.name)


def _weight_shape(graph: Graph, tensor: str, label: str) -> tuple[int, int]:
    """[H, I] as an input weight has it; the other weights are then checked against it."""
    producer = graph.producer(tensor)
    if producer is not None and producer.op_type in QUANT_OPS:
        quantizer_of_node(graph, producer)  # for its checks: what it reads is looked at next
        tensor = producer.input[0]
    weight = graph.constant(tensor)
    if weight is None:
        raise UnsupportedError(f"{label}: its input weight ({printable(tensor)}) must be a constant of the file")
    if weight.ndim != 2 or 0 in weight.shape:
        raise ModelError(f"{label}: its input weight must have shape [H, I], not {list(weight.shape)}")
    return int(weight.shape[0]), int(weight.shape[1])


def _constant_state(
    values: FloatArray, quantizer: Quantizer, label: str, hidden_size: int, quantized: bool
) -> FloatArray:
    """The codes [H] of a constant state [batch, H], the same for every sequence of a batch."""
    if values.size == 0 or values.shape[-1:] != (hidden_size,):
        raise ModelError(f"{label}: shape must be [batch, {hidden_size}], not {list(values.shape)}")
    rows = values.reshape(-1, hidden_size)
    if (rows != rows[0]).any():
        raise UnsupportedError(
            f"{label}: it differs between the sequences of a batch; make it a graph input by passing states "
            "to export_qonnx"
        )
    codes = quantizer.quantize(rows[0])
    if not quantized and (quantizer.dequantize(codes) != rows[0]).any():
        off = rows[0][quantizer.dequantize(codes) != rows[0]][0]
        raise UnsupportedError(f"{label}: {off:g} is not a value of the state's quantizer ({quantizer})")
    return codes
