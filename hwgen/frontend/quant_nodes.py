# SPDX-License-Identifier: Apache-2.0
"""Reads quantizers: Quant and BipolarQuant nodes, and the (scale, zero point, bit width) triples of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from hwgen.errors import ModelError, UnsupportedError, printable
from hwgen.frontend.graph import Graph, attribute_value, flag, node_label
from hwgen.layers import QuantizedTensor
from hwgen.quantizer import FloatArray, IntegerType, Quantizer, RoundingMode

QUANT_OPS = ("Quant", "IntQuant", "BipolarQuant")
# Codes of 32 bits are allowed for biases alone; everything that reaches a multiplier has at most 16.
MAX_BITS = 16
MAX_BIAS_BITS = 32
_LEAST_SCALE, _GREATEST_SCALE = 2.0**-149, float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Owner:
    """Who a quantizer belongs to, for messages, and how wide its codes may be."""

    label: str
    max_bits: int = MAX_BITS


def constant_of(graph: Graph, tensor: str, what: str, owner: Owner) -> FloatArray:
    """A numeric constant as float64; raises if it is not constant or holds NaN or infinity."""
    value = graph.constant(tensor)
    if value is None:
        raise UnsupportedError(
            f"{owner.label}: its {what} ({printable(tensor)}) is computed in the graph; it must be a constant: "
            "export the model in eval mode with fixed scales"
        )
    if value.dtype.kind not in "fiub":
        raise ModelError(f"{owner.label}: its {what} must hold numbers, not {value.dtype}")
    with np.errstate(invalid="ignore"):  # what is no finite number is refused next
        real = value.astype(np.float64)
    if not np.isfinite(real).all():
        raise ModelError(f"{owner.label}: its {what} must be finite, not {_first(real[~np.isfinite(real)])}")
    return real


def quantizer_from(
    scale: FloatArray, zero_point: FloatArray, bits: FloatArray, signed: bool, narrow: bool, mode: str, owner: Owner
) -> Quantizer:
    """Validate the parameters of one quantizer; scale and zero point come with one entry or one per channel."""
    _check_scale(scale, owner)
    if not zero_point.size:
        raise ModelError(f"{owner.label}: its zero point holds no number")
    if (zero_point != np.rint(zero_point)).any():
        odd = _first(zero_point[zero_point != np.rint(zero_point)])
        raise ModelError(f"{owner.label}: zero point must be an integer, not {odd}")
    if bits.size != 1:
        raise UnsupportedError(f"{owner.label}: one bit width per tensor is supported, not {bits.size}")
    width = float(bits.reshape(-1)[0])
    if width != int(width) or not 1 <= width <= owner.max_bits:
        raise ModelError(f"{owner.label}: bit width must be an integer from 1 to {owner.max_bits}, not {width:g}")
    if width == 1 and signed:
        raise UnsupportedError(
            f"{owner.label}: a signed quantizer of 1 bit means {{-1, 0}} to Brevitas and {{-1, +1}} to QONNX; use "
            "BipolarQuant (binary quantizers), unsigned codes, or 2 bits"
        )
    codes = IntegerType(int(width), signed, narrow)
    if codes.lo >= codes.hi:
        raise ModelError(f"{owner.label}: a {codes} quantizer has a single code, {codes.lo}; widen it or drop narrow")
    zeros = tuple(int(z) for z in zero_point.reshape(-1))
    outside = [zero for zero in zeros if not codes.lo <= zero <= codes.hi]
    if outside:
        raise UnsupportedError(
            f"{owner.label}: zero point must lie among the codes {codes.lo}..{codes.hi}, not {outside[0]}: "
            "zero must be representable"
        )
    rounding = RoundingMode.parse(mode, owner.label)
    return Quantizer(tuple(float(s) for s in scale.reshape(-1)), zeros, codes, rounding)


def _check_scale(scale: FloatArray, owner: Owner) -> None:
    if not scale.size:
        raise ModelError(f"{owner.label}: its scale holds no number")
    if (scale <= 0).any():
        raise ModelError(f"{owner.label}: scale must be positive, not {_first(scale[scale <= 0])}")
    wild = (scale < _LEAST_SCALE) | (scale > _GREATEST_SCALE)
    if wild.any():
        raise ModelError(f"{owner.label}: scale must be a float32 number, not {_first(scale[wild])}")


def quantizer_of_node(graph: Graph, node: onnx.NodeProto, max_bits: int = MAX_BITS) -> Quantizer:
    """The quantizer of a Quant or BipolarQuant node."""
    owner = Owner(node_label(node), max_bits)
    wanted = 2 if node.op_type == "BipolarQuant" else 4
    if len(node.input) != wanted:
        raise ModelError(f"{owner.label}: must have {wanted} inputs, not {len(node.input)}")
    scale = constant_of(graph, node.input[1], "scale", owner)
    if node.op_type == "BipolarQuant":
        _check_scale(scale, owner)
        return Quantizer(tuple(float(s) for s in scale.reshape(-1)), (0,), IntegerType(1, True, bipolar=True))
    return quantizer_from(
        scale,
        constant_of(graph, node.input[2], "zero point", owner),
        constant_of(graph, node.input[3], "bit width", owner),
        flag(node, "signed", default=1),
        flag(node, "narrow", default=0),
        str(attribute_value(node, "rounding_mode", default="ROUND")),
        owner,
    )


def quantized_constant(graph: Graph, tensor: str, what: str, cell: str, shape: tuple[int, ...]) -> QuantizedTensor:
    """A weight: a constant of ``shape``, channels first, behind a Quant or BipolarQuant node."""
    node = graph.producer(tensor)
    if node is None or node.op_type not in QUANT_OPS:
        raise UnsupportedError(
            f"{cell}: {what} ({printable(tensor)}) is not quantized; set weight_quant, or calibrate the model"
        )
    return _quantize_constant(graph, node, what, shape, MAX_BITS)


def bias_of(
    graph: Graph, tensor: str, what: str, cell: str, channels: int
) -> QuantizedTensor | NDArray[np.float64] | None:
    """A bias: quantized, plain float [channels], or None where the file holds a scalar 0."""
    node = graph.producer(tensor)
    if node is not None and node.op_type in QUANT_OPS:
        return _quantize_constant(graph, node, what, (channels,), MAX_BIAS_BITS)
    value = constant_of(graph, tensor, what, Owner(cell))
    if value.size == 1 and float(value.reshape(-1)[0]) == 0.0:
        return None
    if value.shape != (channels,):
        raise ModelError(f"{cell}: {what} must have shape [{channels}], not {list(value.shape)}")
    return value


def _quantize_constant(
    graph: Graph, node: onnx.NodeProto, what: str, shape: tuple[int, ...], max_bits: int
) -> QuantizedTensor:
    owner = Owner(node_label(node), max_bits)
    quantizer = quantizer_of_node(graph, node, max_bits)
    values = constant_of(graph, node.input[0], what, owner)
    if values.shape != shape:
        raise ModelError(f"{owner.label}: {what} must have shape {list(shape)}, not {list(values.shape)}")
    for parameter, tensor in (("scale", node.input[1]), ("zero point", node.input[2] if len(node.input) > 2 else "")):
        array = graph.constant(tensor) if tensor else None
        if array is not None and array.size > 1 and not _per_channel(array.shape, shape):
            raise UnsupportedError(
                f"{owner.label}: {parameter} must be one number or one per output channel "
                f"({shape[0]}), not shape {list(array.shape)}"
            )
    return QuantizedTensor(exact_codes(quantizer, values), quantizer)


def _per_channel(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return found == (shape[0],) + (1,) * (len(shape) - 1)


def exact_codes(quantizer: Quantizer, values: FloatArray) -> NDArray[np.int64]:
    """Codes of constants, exactly: what lies too near to a rounding boundary for float64 is decided in rationals."""
    codes = quantizer.quantize(values.T).T.astype(np.int64)
    if quantizer.codes.bipolar:
        return codes
    scaled = (values.T / np.asarray(quantizer.scale) + np.asarray(quantizer.zero_point)).T
    doubtful = np.abs(2 * scaled - np.rint(2 * scaled)) < 1e-6
    for index in np.argwhere(doubtful):
        place = tuple(index)
        codes[place] = quantizer.quantize_exact(float(values[place]), int(index[0]))
    return codes


def _first(values: FloatArray) -> str:
    return f"{values.reshape(-1)[0]:g}"
