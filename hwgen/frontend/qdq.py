# SPDX-License-Identifier: Apache-2.0
"""Reads quantizers that are written with ONNX's own operators: QuantizeLinear, perhaps Clip, DequantizeLinear.

QuantizeLinear rounds half to even, adds the zero point, and saturates to the type of the zero point; Clip narrows the
codes.  Constants may stand as integers behind DequantizeLinear alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import CORE_DOMAIN, Graph, attribute_value, node_label
from hwgen.frontend.quant_nodes import MAX_BIAS_BITS, MAX_BITS, Owner, constant_of, exact_codes, quantizer_from
from hwgen.layers import QuantizedTensor
from hwgen.quantizer import FloatArray, IntArray, IntegerType, Quantizer

QDQ_OPS = ("QuantizeLinear", "Clip", "DequantizeLinear")
_CODE_TYPES = ("int8", "uint8", "int16", "uint16")
# Codes before the zero point is added and the type saturates.
_UNBOUNDED = IntegerType(40, True)


@dataclass(frozen=True)
class Chain:
    """A quantizer made of nodes: what it reads, and the axis that it has a scale for each entry of.

    ``source`` holds real values or, without ``quantizes``, constant codes.
    """

    label: str
    source: str
    quantizes: bool
    quantizer: Quantizer
    axis: int

    def check_activation(self) -> None:
        """Refuse what a quantizer of activations cannot be."""
        odd = [zero for zero in self.quantizer.zero_point if zero % 2]
        if odd:
            raise UnsupportedError(
                f"{self.label}: its zero point must be even, not {odd[0]}: QuantizeLinear rounds half to even before "
                "it adds the zero point, which hwgen's hardware does in one"
            )
        if not self.quantizes:
            raise UnsupportedError(f"{self.label}: the codes that it reads must come from a QuantizeLinear")


def read_chain(graph: Graph, tensor: str, max_bits: int = MAX_BITS) -> Chain | None:
    """The quantizer whose DequantizeLinear writes ``tensor``; None if there is none."""
    last = graph.producer(tensor)
    if last is None or last.op_type != "DequantizeLinear" or last.domain not in CORE_DOMAIN:
        return None
    check_inputs(last, 2, 3)
    owner = Owner(node_label(last), max_bits)
    low, high, codes = _clipped(graph, last.input[0])
    first = graph.producer(codes)
    if first is not None and first.op_type == "QuantizeLinear":
        check_inputs(first, 2, 3)
        lo, hi = _type_bounds(graph, first)
        _check_pair(graph, first, last)
        owner, source = Owner(node_label(first), max_bits), first.input[0]
    else:
        constant = graph.constant(codes)
        if constant is None or constant.dtype.kind not in "iu":
            found = "a graph input" if first is None else node_label(first)
            raise UnsupportedError(f"{owner.label}: must read the codes of a QuantizeLinear, not those of {found}")
        (lo, hi), source = _limits(constant.dtype), codes
    node = first if first is not None and first.op_type == "QuantizeLinear" else last
    quantizer = _quantizer(graph, node, _integer_type(max(lo, low), min(hi, high), owner), owner)
    return Chain(owner.label, source, node is first, quantizer, int(str(attribute_value(node, "axis", default=1))))


def holds_codes(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node gives the codes of a quantizer that no DequantizeLinear has turned into values yet."""
    quantize: onnx.NodeProto | None = node
    while quantize is not None and quantize.op_type == "Clip" and quantize.input:
        quantize = graph.producer(quantize.input[0])
    return quantize is not None and quantize.op_type == "QuantizeLinear"


def check_inputs(node: onnx.NodeProto, least: int, most: int, label: str = "") -> None:
    """Refuse a node that lacks inputs or has too many."""
    if not least <= len(node.input) <= most or not all(node.input[:least]):
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ModelError(f"{label or node_label(node)}: must have {wanted} inputs, not {len(node.input)}")


def _clipped(graph: Graph, tensor: str) -> tuple[int, int, str]:
    """The bounds of the Clip nodes that write a tensor of codes, and what they read."""
    low, high = -(2**63), 2**63
    node = graph.producer(tensor)
    while node is not None and node.op_type == "Clip":
        label = node_label(node)
        check_inputs(node, 1, 3)
        if node.attribute:
            raise UnsupportedError(f"{label}: its bounds must be inputs, as from opset 11 on, not attributes")
        for name in filter(None, node.input[1:3]):
            bound = constant_of(graph, name, "bound", Owner(label))
            if bound.size != 1 or (bound != np.rint(bound)).any():
                raise ModelError(f"{label}: each of its bounds must be one integer")
            if name == node.input[1]:
                low = max(low, int(bound.item()))
            else:
                high = min(high, int(bound.item()))
        tensor = node.input[0]
        node = graph.producer(tensor)
    return low, high, tensor


def _type_bounds(graph: Graph, node: onnx.NodeProto) -> tuple[int, int]:
    """The codes that QuantizeLinear saturates to: of the type of its zero point, uint8 without one."""
    label = node_label(node)
    if attribute_value(node, "block_size", default=0):
        raise UnsupportedError(f"{label}: block_size must be 0: one scale per tensor or per channel is supported")
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    if len(node.input) > 2 and node.input[2]:
        zero_point = graph.constant(node.input[2])
        if zero_point is None:
            raise UnsupportedError(f"{label}: its zero point ({printable(node.input[2])}) must be a constant")
        dtype = zero_point.dtype
    elif attribute_value(node, "output_dtype"):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(int(str(attribute_value(node, "output_dtype"))))
    if dtype.name not in _CODE_TYPES:
        raise UnsupportedError(f"{label}: its codes must be {', '.join(_CODE_TYPES)}, not {dtype.name}")
    return _limits(dtype)


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _integer_type(lo: int, hi: int, owner: Owner) -> IntegerType:
    """The type whose codes are lo..hi; a narrow one lacks its outermost code."""
    bits = (hi + 1).bit_length() if lo < 0 else hi.bit_length()
    for narrow in (False, True):
        codes = IntegerType(max(1, bits), lo < 0, narrow)
        if lo < hi and (codes.lo, codes.hi) == (lo, hi):
            return codes
    raise UnsupportedError(
        f"{owner.label}: its codes are limited to {lo}..{hi}, which is no range of an integer type; such ranges are "
        "-2^(n-1)..2^(n-1)-1, 0..2^n-1, and both without their outermost code, as -127..127 or 0..254"
    )


def _check_pair(graph: Graph, first: onnx.NodeProto, last: onnx.NodeProto) -> None:
    """Both ends of a quantizer must have one scale and one zero point."""
    for place, what in ((1, "scale"), (2, "zero point")):
        values = []
        for node in (first, last):
            given = len(node.input) > place and node.input[place]
            values.append(constant_of(graph, given, what, Owner(node_label(node))) if given else np.zeros(()))
        before, after = (np.broadcast_to(value, values[0].shape) if value.size == 1 else value for value in values)
        if before.shape != after.shape or (before != after).any():
            raise UnsupportedError(
                f"{node_label(last)}: its {what} must be that of {node_label(first)}, "
                f"{_shown(values[0])}, not {_shown(values[1])}"
            )


def _shown(values: FloatArray) -> str:
    return f"{values.reshape(-1)[0]:.9g}" if values.size == 1 else f"{values.size} others"


def _quantizer(graph: Graph, node: onnx.NodeProto, codes: IntegerType, owner: Owner) -> Quantizer:
    scale = constant_of(graph, node.input[1], "scale", owner)
    if scale.ndim > 1 and scale.size > 1:
        raise UnsupportedError(f"{owner.label}: its scale must have one axis, not shape {list(scale.shape)}")
    zero_point = np.zeros(1)
    if len(node.input) > 2 and node.input[2]:
        zero_point = constant_of(graph, node.input[2], "zero point", owner)
    bits = np.array(float(codes.bits))
    return quantizer_from(scale, zero_point, bits, codes.signed, codes.narrow, "ROUND", owner)


def chained_constant(
    graph: Graph, tensor: str, what: str, label: str, channel_axis: int, max_bits: int = MAX_BITS
) -> QuantizedTensor:
    """A constant behind a chain, with its ``channel_axis`` moved to the front."""
    chain = read_chain(graph, tensor, max_bits)
    if chain is None:
        raise UnsupportedError(
            f"{label}: {what} ({printable(tensor)}) must be quantized; put QuantizeLinear and DequantizeLinear "
            "behind it"
        )
    owner = Owner(chain.label, max_bits)
    values = np.atleast_1d(constant_of(graph, chain.source, what, owner))
    if values.ndim <= channel_axis:
        raise ModelError(f"{chain.label}: {what} must have {channel_axis + 1} axes, not shape {list(values.shape)}")
    values, quantizer = np.moveaxis(values, channel_axis, 0), chain.quantizer
    if quantizer.channels > 1 and (chain.axis % values.ndim != channel_axis or quantizer.channels != len(values)):
        raise UnsupportedError(
            f"{chain.label}: needs one scale, or one per output channel ({len(values)}, along axis {channel_axis}), "
            f"not {quantizer.channels} along axis {chain.axis}"
        )
    return QuantizedTensor(_constant_codes(chain, values), quantizer)


def _constant_codes(chain: Chain, values: FloatArray) -> IntArray:
    """Codes as QuantizeLinear gives them: the zero point comes after rounding."""
    quantizer = chain.quantizer
    codes = values.astype(np.int64)
    if chain.quantizes:
        zeros = np.asarray(quantizer.zero_point, np.int64)
        codes = (exact_codes(Quantizer(quantizer.scale, (0,), _UNBOUNDED), values).T + zeros).T
    return np.clip(codes, quantizer.codes.lo, quantizer.codes.hi)


def chained_bias(graph: Graph, tensor: str, what: str, label: str) -> QuantizedTensor | FloatArray:
    """A constant bias, quantized or plain; its shape is as the file has it."""
    if read_chain(graph, tensor, MAX_BIAS_BITS) is None:
        return constant_of(graph, tensor, what, Owner(label))
    return chained_constant(graph, tensor, what, label, 0, MAX_BIAS_BITS)
