# SPDX-License-Identifier: Apache-2.0
"""Builds Scan graphs of a quantized LSTM on column vectors, as people write them by hand with onnx.helper.

``Scales`` says where quantizers stand and what their scales are; ``copied_scales`` is the habit of one scale nearly
everywhere, ``brevitas_scales`` takes each from the module that the weights come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

GATES = ("forget", "input", "output", "cell")
OPSET = 14
_QDQ = ("QuantizeLinear", "Clip", "DequantizeLinear")
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Parameters:
    """Weights [H, I] and [H, H] and biases [H] of each gate, real."""

    input_weight: Mapping[str, Array]
    hidden_weight: Mapping[str, Array]
    bias: Mapping[str, Array]

    @property
    def sizes(self) -> tuple[int, int]:
        """Inputs, hidden units."""
        hidden, inputs = self.input_weight["input"].shape
        return inputs, hidden


@dataclass(frozen=True)
class Scales:
    """Scales of all quantizers; ``state`` and ``argument``, of the cell state and of its tanh, are None for none.

    ``hidden_weight`` has those of ``input_weight`` where it is empty.
    """

    input: float
    output: float
    input_weight: Mapping[str, float]
    accumulator: Mapping[str, float]
    activation: Mapping[str, float]
    term: float
    state: float | None
    argument: float | None
    tanh: float
    hidden_weight: Mapping[str, float] = field(default_factory=dict)


def copied_scales(weight: Mapping[str, float], common: float, output_gate: float) -> Scales:
    """One scale nearly everywhere, another one around the output gate; the sum of the cell state stays as it is."""
    accumulator = {gate: output_gate if gate == "output" else common for gate in GATES}
    return Scales(common, common, weight, accumulator, accumulator, common, None, common, output_gate)


def random_parameters(inputs: int, hidden: int, seed: int) -> Parameters:
    """Seeded weights of the size that training starts from."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> dict[str, Array]:
        return {gate: generator.uniform(-0.5, 0.5, shape).astype(np.float32) for gate in GATES}

    return Parameters(draw(hidden, inputs), draw(hidden, hidden), draw(hidden))


def random_scales(parameters: Parameters, seed: int) -> Scales:
    """A scale of its own for every quantizer, none of them a power of two; those of all products agree."""
    generator = np.random.default_rng(seed)

    def around(value: float) -> float:
        return float(np.float32(value * generator.uniform(0.8, 1.25)))

    weight = {gate: around(0.5 / 127) for gate in GATES}
    accumulator = {gate: around(4 / 128) for gate in GATES}
    activation = {gate: around(1 / 128 if gate == "cell" else 1 / 256) for gate in GATES}
    shared = around(1 / 64)
    return Scales(
        shared, shared, weight, accumulator, activation, around(1 / 64), around(1 / 50), None, around(1 / 128)
    )


class Body:
    """Nodes and constants of a body under construction; ``columns`` tells W x from x W."""

    def __init__(self, columns: bool = True) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.columns = columns
        self.constant("signed", np.int8(0))
        self.constant("unsigned", np.uint8(0))
        self.constant("min", np.int8(-127))
        self.constant("max", np.int8(127))

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def quantize(self, tensor: str, name: str, scale: float, zero: str = "signed", clip: bool = False) -> str:
        scale_name = self.constant(f"{name}_scale", np.float32(scale))
        codes = self.node("QuantizeLinear", [tensor, scale_name, zero], f"{name}_q")
        if clip:
            codes = self.node("Clip", [codes, "min", "max"], f"{name}_clip")
        return self.node("DequantizeLinear", [codes, scale_name, zero], f"{name}_dq")

    def weight(self, name: str, value: Array, scale: float) -> str:
        return self.quantize(self.constant(name, value if self.columns else value.T), name, scale, clip=True)

    def product(self, weight: str, vector: str, name: str) -> str:
        return self.node("MatMul", [weight, vector] if self.columns else [vector, weight], name)

    def vector(self, values: Array) -> Array:
        return values[:, np.newaxis] if self.columns else values


def lstm_body(parameters: Parameters, scales: Scales, columns: bool = True, bias_first: bool = False) -> Body:
    """One step of the cell: inputs h_before, c_before, x; outputs h, c and all_h."""
    body = Body(columns)
    x = body.quantize("x", "x", scales.input)
    gates = {}
    for gate in GATES:
        weight = body.weight(f"{gate}_w", parameters.input_weight[gate], scales.input_weight[gate])
        recurrent = (scales.hidden_weight or scales.input_weight)[gate]
        hidden_weight = body.weight(f"{gate}_u", parameters.hidden_weight[gate], recurrent)
        wx = body.product(weight, x, f"{gate}_wx")
        uh = body.product(hidden_weight, "h_before", f"{gate}_uh")
        bias = body.constant(f"{gate}_b", body.vector(parameters.bias[gate]))
        if bias_first:
            total = body.node("Add", [uh, body.node("Add", [bias, wx], f"{gate}_biased")], f"{gate}_sum")
        else:
            total = body.node("Add", [body.node("Add", [wx, uh], f"{gate}_sum"), bias], f"{gate}_biased")
        argument = body.quantize(total, f"{gate}_acc", scales.accumulator[gate])
        activated = body.node("Tanh" if gate == "cell" else "Sigmoid", [argument], f"{gate}_act")
        zero = "signed" if gate == "cell" else "unsigned"
        gates[gate] = body.quantize(activated, gate, scales.activation[gate], zero)
    kept = body.quantize(body.node("Mul", [gates["forget"], "c_before"], "keep"), "kept", scales.term)
    added = body.quantize(body.node("Mul", [gates["input"], gates["cell"]], "update"), "added", scales.term)
    c = body.node("Add", [kept, added], "new_c")
    if scales.state is not None:
        c = body.quantize(c, "state", scales.state)
    argument = c if scales.argument is None else body.quantize(c, "argument", scales.argument)
    tanh = body.quantize(body.node("Tanh", [argument], "tanh_c"), "tanh", scales.tanh)
    h = body.quantize(body.node("Mul", [tanh, gates["output"]], "new_h"), "hidden", scales.output)
    for tensor, output in ((c, "c"), (h, "h"), (h, "all_h")):
        body.nodes.append(helper.make_node("Identity", [tensor], [output], name=f"to_{output}"))
    return body


def value_info(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def scan_model(
    parameters: Parameters,
    scales: Scales,
    columns: bool = True,
    bias_first: bool = False,
    outside: tuple[str, ...] = (),
    axis: int = 0,
    reverse: bool = False,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """The whole graph: inputs h0, c0 and sequence, outputs h_n, c_n and hidden.

    Constants and quantizers of the body whose names start with one of ``outside`` stand around the Scan instead:
    ``axis`` is where time stands in sequence and hidden.
    """
    inputs, hidden = parameters.sizes
    body = lstm_body(parameters, scales, columns, bias_first)

    def is_outside(entry: onnx.NodeProto | onnx.TensorProto) -> bool:
        computes = isinstance(entry, onnx.NodeProto) and entry.op_type not in _QDQ
        return bool(outside) and entry.name.startswith(outside) and not computes

    element, state = ([inputs, 1], [hidden, 1]) if columns else ([1, inputs], [1, hidden])
    graph = helper.make_graph(
        [node for node in body.nodes if not is_outside(node)],
        "step",
        [value_info("h_before", state), value_info("c_before", state), value_info("x", element)],
        [value_info("h", state), value_info("c", state), value_info("all_h", state)],
        [tensor for tensor in body.constants if not is_outside(tensor)],
    )
    attributes: dict[str, Any] = {"num_scan_inputs": 1, "body": graph}
    if axis:
        attributes |= {"scan_input_axes": [axis], "scan_output_axes": [axis]}
    if reverse:
        attributes |= {"scan_input_directions": [1], "scan_output_directions": [1]}
    scan = helper.make_node("Scan", ["h0", "c0", "sequence"], ["h_n", "c_n", "hidden"], name="lstm", **attributes)
    outer = helper.make_graph(
        [*(node for node in body.nodes if is_outside(node)), scan],
        "whole",
        [value_info("h0", state), value_info("c0", state), value_info("sequence", placed(element, axis, None))],
        [value_info("h_n", state), value_info("c_n", state), value_info("hidden", placed(state, axis, None))],
        [tensor for tensor in body.constants if is_outside(tensor)],
    )
    return helper.make_model(outer, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def placed(shape: list[Any], place: int, length: Any) -> list[Any]:
    return [*shape[:place], length, *shape[place:]]


def body_of(model: onnx.ModelProto) -> onnx.GraphProto:
    """The body of the Scan in a model, to edit."""
    scan = next(node for node in model.graph.node if node.op_type == "Scan")
    return next(attribute.g for attribute in scan.attribute if attribute.name == "body")


def brevitas_parameters(module: Any) -> Parameters:
    """Weights and float biases of a one-layer QuantLSTM."""
    gates = {gate: getattr(module.layers[0][0], f"{gate}_gate_params") for gate in GATES}

    def array(tensor: Any) -> Array:
        return np.asarray(tensor.detach().numpy(), np.float32)

    return Parameters(
        {gate: array(found.input_weight.weight) for gate, found in gates.items()},
        {gate: array(found.hidden_weight.weight) for gate, found in gates.items()},
        {gate: array(found.bias) for gate, found in gates.items()},
    )


def brevitas_scales(module: Any) -> Scales:
    """The scale of every quantizer of a one-layer QuantLSTM, each in its place."""
    layer = module.layers[0][0]
    cell = layer.cell

    def scale_of(tensor: Any) -> float:
        return float(tensor.scale.detach())

    def scale(quantizer: Any) -> float:
        return float(quantizer.scale().detach())

    weight = {gate: scale_of(getattr(layer, f"{gate}_gate_params").input_weight.quant_weight()) for gate in GATES}
    state = scale(cell.cell_state_quant)
    return Scales(
        input=scale(cell.output_quant),
        output=scale(cell.output_quant),
        input_weight=weight,
        accumulator={gate: scale(getattr(cell, f"{gate}_acc_quant")) for gate in GATES},
        activation={
            gate: scale(cell.cell_tanh_quant if gate == "cell" else getattr(cell, f"{gate}_sigmoid_quant"))
            for gate in GATES
        },
        term=state,
        state=state,
        argument=None,
        tanh=scale(cell.hidden_state_tanh_quant),
    )


def with_state_sum(scales: Scales) -> Scales:
    """The same with the cell state left unquantized but for its tanh."""
    return replace(scales, state=None, argument=scales.state)
