# SPDX-License-Identifier: Apache-2.0
"""A network as an ONNX graph of standard operators that computes in integers what the hardware computes.

It takes the inputs of the model and gives its outputs, under their names.  Real values are float64 inside: float32
could not hold the product of a code and a float32 scale.
"""

from __future__ import annotations

import hashlib

import onnx
from onnx import TensorProto, helper

import hwgen
from hwgen.backends.onnx_graph.builder import GraphBuilder, Names, Scope
from hwgen.backends.onnx_graph.stages import BATCH_LENGTH, lower_stage
from hwgen.backends.onnx_graph.steps import dequantize, quantize
from hwgen.errors import UnsupportedError, printable
from hwgen.integer_network import IntegerNetwork
from hwgen.network import BATCH, FEATURES, ONE, PARTS, TIME, Network, NetworkInput, NetworkOutput

# Supported from onnxruntime 1.18 on.
OPSET, IR_VERSION = 21, 10
# What protobuf can write, less some room for nodes.
MAX_BYTES = 2**31 - 2**24
Axes = tuple[str, ...]


def to_onnx(network: Network, model: IntegerNetwork, float32: bool = False) -> onnx.ModelProto:
    """The integer model of a network as an ONNX model.

    Outputs are float64, the exact values, or rounded once to ``float32``, the type that the model gave them.
    """
    names = Names([port.name for port in network.inputs] + [output.name for output in network.outputs])
    graph = GraphBuilder(names)
    codes: dict[str, str] = {}
    for port in network.inputs:
        codes |= _read(graph.at(port.name).under("quantize"), port)
    types = {name: wire.quantizer.codes for name, wire in network.wires.items()}
    for stage in model.stages:
        lower_stage(graph, stage, codes, types)
    size = sum(len(tensor.raw_data) for tensor in graph.initializers)
    if size > MAX_BYTES:
        raise UnsupportedError(
            f"{printable(network.name)}: its weights and thresholds are {size} bytes, more than an ONNX file can have "
            "(2 GiB); scales per tensor need fewer thresholds than scales per channel"
        )
    for output in network.outputs:
        _show(graph.at(output.name).under("dequantize"), output, codes, float32)
    real = TensorProto.FLOAT if float32 else TensorProto.DOUBLE
    batch = _batch(network)
    proto = helper.make_graph(
        graph.nodes,
        names.unique(network.name),
        [
            helper.make_tensor_value_info(
                port.name, TensorProto.FLOAT, _shape(port.axes, port.features, port.count, batch)
            )
            for port in network.inputs
        ],
        [
            helper.make_tensor_value_info(
                output.name,
                TensorProto.INT64 if output.integer else real,
                _shape(output.axes, output.wires[0].features, len(output.wires), batch),
            )
            for output in network.outputs
        ],
        graph.initializers,
        doc_string="Codes are int64, real values float64; each step function is proven equal to its thresholds.",
    )
    lowered = helper.make_model(
        proto,
        producer_name="hwgen",
        producer_version=hwgen.__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    if network.source:
        helper.set_model_props(lowered, {"source_sha256": hashlib.sha256(network.source).hexdigest()})
    return lowered


def _batch(network: Network) -> str | int:
    """The declared number of sequences: free, unless some input or output has no axis for more than one."""
    axes = [port.axes for port in network.inputs] + [output.axes for output in network.outputs]
    return BATCH_LENGTH if all(BATCH in entry for entry in axes) else 1


def _shape(axes: Axes, features: int, parts: int, batch: str | int) -> list[str | int]:
    lengths: dict[str, str | int] = {
        TIME: "time",
        BATCH: batch,
        FEATURES: features,
        PARTS: parts,
        ONE: 1,
    }
    return [lengths[axis] for axis in axes]


def _read(at: Scope, port: NetworkInput) -> dict[str, str]:
    """The codes of the wires that a graph input feeds, as ``NetworkInput.read`` lays them out."""
    values = at.real(port.name, "real")
    ones = [place for place, axis in enumerate(port.axes) if axis == ONE]
    if ones:
        values = at.op("Squeeze", values, at.axes(*ones), name="squeezed")
    kept = [axis for axis in port.axes if axis != ONE]
    values = _transposed(at, values, kept, [axis for axis in (PARTS, TIME, BATCH, FEATURES) if axis in kept])
    if BATCH not in kept:
        values = at.op("Unsqueeze", values, at.axes(-2), name="only_sequence")
    codes = {}
    for index, (wire, part) in enumerate(zip(port.wires, port.parts, strict=True)):
        here = at.under(f"wire_{index}") if len(port.wires) > 1 else at
        mine = (
            here.op("Gather", values, here.integers(part, "part"), name="values", axis=0) if PARTS in kept else values
        )
        codes[wire.name] = quantize(here, mine, wire.quantizer)
    return codes


def _show(at: Scope, output: NetworkOutput, codes: dict[str, str], float32: bool) -> None:
    """The tensor of a graph output, as ``NetworkOutput.show`` lays it out."""
    parts = []
    for index, wire in enumerate(output.wires if PARTS in output.axes else output.wires[:1]):
        here = at.under(f"wire_{index}") if len(output.wires) > 1 else at
        source = codes[wire.name]
        parts.append(source if output.integer else dequantize(here, source, wire.quantizer, wire.offset))
    present = [PARTS, TIME, BATCH, FEATURES] if output.wires[0].per_step else [PARTS, BATCH, FEATURES]
    values = parts[0]
    if PARTS in output.axes:
        stacked = [at.op("Unsqueeze", part, at.axes(0), name="part") for part in parts]
        values = at.op("Concat", *stacked, name="stacked", axis=0)
    else:
        present.remove(PARTS)
    if FEATURES not in output.axes:
        values = at.op("Gather", values, at.integers(0, "feature"), name="only_feature", axis=present.index(FEATURES))
        present.remove(FEATURES)
    if BATCH not in output.axes:
        values = at.op("Squeeze", values, at.axes(present.index(BATCH)), name="only_sequence")
        present.remove(BATCH)
    values = _transposed(at, values, present, [axis for axis in output.axes if axis != ONE])
    ones = [place for place, axis in enumerate(output.axes) if axis == ONE]
    if ones:
        values = at.op("Unsqueeze", values, at.axes(*ones), name="unsqueezed")
    operator, attributes = ("Cast", {"to": TensorProto.FLOAT}) if float32 and not output.integer else ("Identity", {})
    at.graph.nodes.append(helper.make_node(operator, [values], [output.name], name=at.name("output"), **attributes))


def _transposed(at: Scope, values: str, axes: list[str], wanted: list[str]) -> str:
    if axes == wanted:
        return values
    return at.op("Transpose", values, name="transposed", perm=[axes.index(axis) for axis in wanted])
