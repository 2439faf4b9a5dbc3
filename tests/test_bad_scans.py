# SPDX-License-Identifier: Apache-2.0
"""Scan graphs that are not the LSTM that hwgen reads: refused by name, with the whole message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scan_graphs import body_of, random_parameters, random_scales, scan_model, value_info

import hwgen
from hwgen.errors import HwgenError, ModelError, UnsupportedError

INPUTS, HIDDEN = 3, 4
Edit = Callable[[onnx.ModelProto], None]


def plain_model() -> onnx.ModelProto:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    return scan_model(parameters, random_scales(parameters, 1))


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in (*body_of(model).node, *model.graph.node) if node.name == name)


def put(model: onnx.ModelProto, name: str, place: int, value: Any) -> None:
    """Give an input of a body node a constant of its own."""
    tensor = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value))
    added = body_of(model).initializer.add()
    added.CopyFrom(tensor)
    node_of(model, name).input[place] = added.name = f"edited_{name}_{place}"


def rewired(name: str, place: int, tensor: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        node_of(model, name).input[place] = tensor

    return edit


def constant(name: str, place: int, value: Any) -> Edit:
    return lambda model: put(model, name, place, value)


def both_ends(name: str, place: int, value: Any) -> Edit:
    """A scale or zero point of a quantizer changed at QuantizeLinear and DequantizeLinear."""

    def edit(model: onnx.ModelProto) -> None:
        for end in ("q", "dq"):
            put(model, f"{name}_{end}", place, value)

    return edit


def operator(name: str, kind: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        node_of(model, name).op_type = kind

    return edit


def attribute(name: str, value: Any, node: str = "lstm") -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        attributes = node_of(model, node).attribute
        for known in [entry for entry in attributes if entry.name == name]:
            attributes.remove(known)
        attributes.append(helper.make_attribute(name, value))

    return edit


def initializer(name: str, value: Any) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in body_of(model).initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))

    return edit


def requantized(tensor: str, reader: str, place: int, scale: float) -> Edit:
    """One more quantizer in front of an input of a node."""

    def edit(model: onnx.ModelProto) -> None:
        body = body_of(model)
        body.initializer.append(numpy_helper.from_array(np.float32(scale), "more_scale"))
        body.node.extend(
            [
                helper.make_node("QuantizeLinear", [tensor, "more_scale", "signed"], ["more_codes"], name="more_q"),
                helper.make_node("DequantizeLinear", ["more_codes", "more_scale", "signed"], ["more"], name="more_dq"),
            ]
        )
        node_of(model, reader).input[place] = "more"

    return edit


def nested(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "branch", [], [value_info("n", [INPUTS, 1])])
    body = body_of(model)
    body.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    node = helper.make_node("If", ["yes"], ["chosen"], name="choose", then_branch=branch, else_branch=branch)
    body.node.insert(0, node)


def captured(model: onnx.ModelProto) -> None:
    model.graph.input.append(value_info("gain", [INPUTS, 1]))
    body_of(model).node.insert(0, helper.make_node("Mul", ["x", "gain"], ["louder"], name="louder"))
    node_of(model, "x_q").input[0] = "louder"


def third_state(model: onnx.ModelProto) -> None:
    body, scan = body_of(model), node_of(model, "lstm")
    for entries, name in ((body.input, "d_before"), (body.output, "d")):
        rest = list(entries)
        del entries[:]
        entries.extend([*rest[:2], value_info(name, [HIDDEN, 1]), *rest[2:]])
    body.node.append(helper.make_node("Identity", ["d_before"], ["d"]))
    scan.input.insert(2, "h0")
    scan.output.insert(2, "d_n")


def second_sequence(model: onnx.ModelProto) -> None:
    body_of(model).input.append(value_info("x2", [INPUTS, 1]))
    node_of(model, "lstm").input.append("sequence")
    attribute("num_scan_inputs", 2)(model)


def time_in_the_middle(model: onnx.ModelProto) -> None:
    model.graph.input[2].CopyFrom(value_info("sequence", [5, INPUTS, 1]))
    attribute("scan_input_axes", [1])(model)


def computed_scale(model: onnx.ModelProto) -> None:
    for end in ("q", "dq"):
        node_of(model, f"tanh_{end}").input[1] = "h_before"


def cell_sequence(model: onnx.ModelProto) -> None:
    node_of(model, "to_all_h").input[0] = "state_dq_out"


def cycle(model: onnx.ModelProto) -> None:
    node_of(model, "forget_wx").input[1] = "forget_dq_out"


def opset(version: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return edit


def per_channel(name: str, axis: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        both_ends(name, 1, np.full(HIDDEN, 0.03, np.float32))(model)
        both_ends(name, 2, np.zeros(HIDDEN, np.int8))(model)
        for end in ("q", "dq"):
            attribute("axis", axis, f"{name}_{end}")(model)

    return edit


def unquantized(*names: str) -> Edit:
    """Take quantizers out of the body."""

    def edit(model: onnx.ModelProto) -> None:
        body = body_of(model)
        for name in names:
            source = node_of(model, f"{name}_q").input[0]
            for node in body.node:
                node.input[:] = [source if tensor == f"{name}_dq_out" else tensor for tensor in node.input]

    return edit


WHERE = "Scan 'lstm', body node "
ONE = "must go through one quantizer, not {}; a quantizer is QuantizeLinear, perhaps Clip, DequantizeLinear"
BAD: dict[str, tuple[Edit, type[HwgenError], str]] = {
    # The node itself.
    "an opset with a batch axis": (
        opset(8),
        UnsupportedError,
        "Scan 'lstm': opset 8 gives Scan a batch axis of its own; convert the model to opset 9 or later",
    ),
    "several sequences": (
        second_sequence,
        UnsupportedError,
        "Scan 'lstm': num_scan_inputs must be 1, the sequence that the cell reads, not 2",
    ),
    "three states": (
        third_state,
        UnsupportedError,
        "Scan 'lstm': must have 2 states, hidden and cell, and 1 sequence, not 3 states",
    ),
    "no body": (attribute("body", 1), ModelError, "Scan 'lstm': attribute 'body' must be a graph"),
    "one input too many": (
        lambda model: body_of(model).input.append(value_info("more", [HIDDEN, 1])),
        ModelError,
        "Scan 'lstm': its body must have as many inputs and outputs as the node, 3 and 3, not 4 and 3",
    ),
    "an axis that is not there": (
        attribute("scan_input_axes", [3]),
        UnsupportedError,
        "Scan 'lstm': scan_input_axes must be among 3 axes, not 3",
    ),
    "too many axes": (
        attribute("scan_output_axes", [0, 0]),
        ModelError,
        "Scan 'lstm': scan_output_axes must have 1 entries, not [0, 0]",
    ),
    "a direction that is none": (
        attribute("scan_input_directions", [2]),
        ModelError,
        "Scan 'lstm': scan_input_directions must be 0 or 1, not 2",
    ),
    "steps from the last, outputs in that order": (
        attribute("scan_input_directions", [1]),
        UnsupportedError,
        "Scan 'lstm': scan_output_directions of 'hidden' must be 1, as scan_input_directions, not 0: hwgen gives "
        "sequences in the order of the input",
    ),
    "time where the features are": (
        time_in_the_middle,
        ModelError,
        "graph input 'sequence': shape must be [3, T, batch] to fit the weights, not [5, 3, 1]",
    ),
    # Graphs within graphs.
    "a graph within the body": (
        nested,
        UnsupportedError,
        f"{WHERE}If 'choose': has a graph within the body; hwgen reads none",
    ),
    "a graph input seen from the body": (
        captured,
        UnsupportedError,
        "Scan 'lstm': its body reads 'gain' of the graph around it, which depends on a graph input; make it a state "
        "or the sequence",
    ),
    "a tensor from nowhere": (
        rewired("x_q", 0, "nobody"),
        ModelError,
        "Scan 'lstm': its body reads 'nobody', which nothing writes",
    ),
    "a cycle": (cycle, ModelError, "Add 'forget_sum': stands in a cycle: it depends on its own output"),
    # Quantizers.
    "two scales in one quantizer": (
        constant("input_acc_dq", 1, np.float32(0.5)),
        UnsupportedError,
        "DequantizeLinear 'input_acc_dq': its scale must be that of QuantizeLinear 'input_acc_q', 0.0309530273, "
        "not 0.5",
    ),
    "two zero points in one quantizer": (
        constant("input_acc_dq", 2, np.int8(2)),
        UnsupportedError,
        "DequantizeLinear 'input_acc_dq': its zero point must be that of QuantizeLinear 'input_acc_q', 0, not 2",
    ),
    "an odd zero point": (
        both_ends("input_acc", 2, np.int8(3)),
        UnsupportedError,
        "QuantizeLinear 'input_acc_q': its zero point must be even, not 3: QuantizeLinear rounds half to even before "
        "it adds the zero point, which hwgen's hardware does in one",
    ),
    "a range of no integer type": (
        initializer("min", np.int8(-100)),
        UnsupportedError,
        "QuantizeLinear 'input_w_q': its codes are limited to -100..127, which is no range of an integer type; such "
        "ranges are -2^(n-1)..2^(n-1)-1, 0..2^n-1, and both without their outermost code, as -127..127 or 0..254",
    ),
    "bounds that cross": (
        initializer("max", np.int8(-128)),
        UnsupportedError,
        "QuantizeLinear 'input_w_q': its codes are limited to -127..-128, which is no range of an integer type; such "
        "ranges are -2^(n-1)..2^(n-1)-1, 0..2^n-1, and both without their outermost code, as -127..127 or 0..254",
    ),
    "two bounds at once": (
        initializer("max", np.array([1, 2], np.int8)),
        ModelError,
        "Clip 'input_w_clip': each of its bounds must be one integer",
    ),
    "a scale of zero": (
        both_ends("tanh", 1, np.float32(0)),
        ModelError,
        "QuantizeLinear 'tanh_q': scale must be positive, not 0",
    ),
    "a computed scale": (
        computed_scale,
        UnsupportedError,
        "QuantizeLinear 'tanh_q': its scale ('h_before') is computed in the graph; it must be a constant: export the "
        "model in eval mode with fixed scales",
    ),
    "codes of a float type": (
        both_ends("tanh", 2, helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0])),
        UnsupportedError,
        "QuantizeLinear 'tanh_q': its codes must be int8, uint8, int16, uint16, not float8_e4m3fn",
    ),
    "a weight without a quantizer": (
        rewired("input_wx", 0, "input_w"),
        UnsupportedError,
        f"{WHERE}MatMul 'input_wx': input weight of the input gate ('input_w') must be quantized; put QuantizeLinear "
        "and DequantizeLinear behind it",
    ),
    "a weight with scales for its columns": (
        per_channel("input_u", 1),
        UnsupportedError,
        "QuantizeLinear 'input_u_q': needs one scale, or one per output channel (4, along axis 0), not 4 along axis 1",
    ),
    "an activation with scales for its sequences": (
        per_channel("input_acc", 1),
        UnsupportedError,
        "QuantizeLinear 'input_acc_q': its scales must belong to the units, axis 0, not axis 1",
    ),
    "a hidden state with several scales": (
        per_channel("hidden", 0),
        UnsupportedError,
        f"{WHERE}Mul 'new_h': the hidden state needs one scale, not 4",
    ),
    "a quantizer without an input": (
        lambda model: node_of(model, "tanh_q").input.__delitem__(slice(1, None)),
        ModelError,
        "QuantizeLinear 'tanh_q': must have 2 to 3 inputs, not 1",
    ),
    # The dataflow.
    "an operator of no cell": (
        operator("input_act", "Softsign"),
        UnsupportedError,
        f"{WHERE}Softsign 'input_act': hwgen reads QuantizeLinear, Clip, DequantizeLinear, MatMul, Add, Mul, Sigmoid, "
        "Tanh, Identity, Constant in a body",
    ),
    "an operator of another domain": (
        lambda model: setattr(node_of(model, "input_act"), "domain", "com.example"),
        UnsupportedError,
        f"{WHERE}Sigmoid 'input_act': hwgen reads QuantizeLinear, Clip, DequantizeLinear, MatMul, Add, Mul, Sigmoid, "
        "Tanh, Identity, Constant in a body",
    ),
    "a sum of three": (
        lambda model: node_of(model, "input_sum").input.append("input_b"),
        ModelError,
        f"{WHERE}Add 'input_sum': must have 2 inputs, not 3",
    ),
    "a state that never changes": (
        rewired("to_c", 0, "c_before"),
        UnsupportedError,
        "Scan 'lstm': one of its states must be a product, the hidden state o * tanh(c), and one a sum, the cell "
        "state f * c + i * g, not Mul and a body input or constant",
    ),
    "a hidden state without a quantizer": (
        unquantized("hidden"),
        UnsupportedError,
        f"{WHERE}Mul 'new_h': the hidden state ('new_h_out') {ONE.format(0)}",
    ),
    "a hidden state of two sigmoids": (
        operator("tanh_c", "Sigmoid"),
        UnsupportedError,
        f"{WHERE}Mul 'new_h': the hidden state must be the product of a quantized Sigmoid, the output gate, and a "
        "quantized Tanh of the cell state",
    ),
    "a cell state of one product": (
        rewired("new_c", 0, "c_before"),
        UnsupportedError,
        f"{WHERE}Add 'new_c': the cell state must be the sum of two quantized products, f * c and i * g",
    ),
    "a cell state that is forgotten": (
        rewired("keep", 1, "h_before"),
        UnsupportedError,
        f"{WHERE}Add 'new_c': one of its two products, f * c, must read the cell state ('c_before')",
    ),
    "a forget gate of tanh": (
        operator("forget_act", "Tanh"),
        UnsupportedError,
        f"{WHERE}Mul 'keep': the cell state must be multiplied by a quantized Sigmoid, the forget gate",
    ),
    "two sigmoids in i * g": (
        operator("cell_act", "Sigmoid"),
        UnsupportedError,
        f"{WHERE}Mul 'update': i * g must be the product of a quantized Sigmoid, the input gate, and a quantized Tanh",
    ),
    "a product without a quantizer": (
        unquantized("kept"),
        UnsupportedError,
        f"{WHERE}Mul 'keep': the product f * c ('keep_out') {ONE.format(0)}",
    ),
    "products of two scales": (
        both_ends("kept", 1, np.float32(0.5)),
        UnsupportedError,
        f"{WHERE}Add 'new_c': f * c and i * g must be quantized with one scale, or their sum has none",
    ),
    "a cell state that is quantized where it is read": (
        requantized("c_before", "keep", 1, 0.25),
        UnsupportedError,
        f"{WHERE}Mul 'keep': the cell state must be read as the step before wrote it; put the quantizer behind the sum "
        "f * c + i * g instead",
    ),
    "a tanh of something else": (
        rewired("tanh_c", 0, "kept_dq_out"),
        UnsupportedError,
        f"{WHERE}Tanh 'tanh_c': it must read the new cell state, behind the quantizer of the state if it has one, "
        "through at most one more quantizer",
    ),
    "a tanh of the sum where the state is quantized": (
        requantized("new_c_out", "tanh_c", 0, 0.25),
        UnsupportedError,
        f"{WHERE}Tanh 'tanh_c': it must read the new cell state, behind the quantizer of the state if it has one, "
        "through at most one more quantizer",
    ),
    "a gate whose argument is not quantized": (
        unquantized("output_acc"),
        UnsupportedError,
        f"{WHERE}Sigmoid 'output_act': the argument of the output gate ('output_biased_out') {ONE.format(0)}",
    ),
    "a gate quantized twice": (
        requantized("output_acc_dq_out", "output_act", 0, 0.25),
        UnsupportedError,
        f"{WHERE}Sigmoid 'output_act': the argument of the output gate ('output_biased_out') {ONE.format(2)}",
    ),
    "a product quantized before it is added": (
        requantized("input_wx_out", "input_sum", 0, 0.25),
        UnsupportedError,
        f"{WHERE}DequantizeLinear 'more_dq': the argument of the input gate must be the sum of two MatMul and a bias, "
        "quantized as a whole; 'more' is neither",
    ),
    "two products with the sequence": (
        rewired("input_uh", 1, "x_dq_out"),
        UnsupportedError,
        f"{WHERE}MatMul 'input_uh': it is a second product with x in the input gate, which must have one",
    ),
    "no product with the hidden state": (
        rewired("input_sum", 1, "input_b"),
        UnsupportedError,
        f"{WHERE}Sigmoid 'input_act': the input gate needs a MatMul of the sequence and one of the hidden state",
    ),
    "a product with the cell state": (
        rewired("input_uh", 1, "c_before"),
        UnsupportedError,
        f"{WHERE}MatMul 'input_uh': a weight must multiply the sequence or the hidden state, not 'c_before'",
    ),
    "a product of two vectors": (
        rewired("input_uh", 0, "x_dq_out"),
        UnsupportedError,
        f"{WHERE}MatMul 'input_uh': in the input gate a constant weight must multiply the sequence or the hidden state",
    ),
    "a weight on the other side": (
        lambda model: node_of(model, "input_uh").input.reverse(),
        UnsupportedError,
        f"{WHERE}MatMul 'input_uh': its weight stands on the other side than those before: all must be W x, or all x W",
    ),
    "a weight of another size": (
        initializer("cell_u", np.zeros((HIDDEN, HIDDEN + 1), np.float32)),
        ModelError,
        "Scan 'lstm': hidden weight of the cell gate must have shape [4, 4], not [4, 5]",
    ),
    "a weight that is a vector": (
        initializer("cell_u", np.zeros(HIDDEN, np.float32)),
        ModelError,
        f"{WHERE}MatMul 'cell_uh': hidden weight of the cell gate must be a matrix, not of shape [4]",
    ),
    "a bias that would make a matrix": (
        initializer("cell_b", np.zeros(HIDDEN, np.float32)),
        ModelError,
        "Scan 'lstm': bias of the cell gate must have shape [4, 1], not [4]",
    ),
    "a bias that is not finite": (
        initializer("cell_b", np.full((HIDDEN, 1), np.nan, np.float32)),
        ModelError,
        "Scan 'lstm': its bias of the cell gate must be finite, not nan",
    ),
    "a sequence read through two quantizers": (
        requantized("x", "input_wx", 1, 0.25),
        UnsupportedError,
        "Scan 'lstm': all gates must read the sequence through the same quantizer, and one alone",
    ),
    "a hidden state read through another quantizer": (
        requantized("h_before", "input_uh", 1, 0.25),
        UnsupportedError,
        f"{WHERE}MatMul 'input_uh': the hidden state must be read with its own quantizer, int8, scale 0.0148184, not "
        "int8, scale 0.25",
    ),
    "a sequence without a quantizer": (
        unquantized("x"),
        UnsupportedError,
        "Scan 'lstm': its sequence: it ('sequence') must come from a Quant node, but nothing quantizes it; set every "
        "quantizer of the layer",
    ),
    "a sequence of cell states": (
        cell_sequence,
        UnsupportedError,
        "Scan 'lstm': the sequence 'hidden' must be that of the hidden state; hwgen gives no other",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_lstm_is_refused_by_name(name: str, tmp_path: Path) -> None:
    edit, kind, message = BAD[name]
    model = plain_model()
    edit(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(HwgenError) as error:
        hwgen.load(tmp_path / "model.onnx")
    assert str(error.value) == message
    assert type(error.value) is kind


def test_the_model_that_is_edited_above_is_read(tmp_path: Path) -> None:
    onnx.save(plain_model(), tmp_path / "model.onnx")
    assert hwgen.load(tmp_path / "model.onnx").layer.hidden_size == HIDDEN


INITIAL: dict[str, tuple[Any, type[HwgenError], str]] = {
    "a state of another size": (
        np.zeros((HIDDEN + 1, 1)),
        ModelError,
        "Scan 'lstm', initial hidden state: shape must be [4, batch], not [5, 1]",
    ),
    "a state between two codes": (
        np.full((HIDDEN, 1), 0.01),
        UnsupportedError,
        "Scan 'lstm', initial hidden state: 0.01 is not a value of the state's quantizer (int8, scale 0.0148184)",
    ),
    "a state that differs by sequence": (
        np.arange(2 * HIDDEN).reshape(HIDDEN, 2),
        UnsupportedError,
        "Scan 'lstm', initial hidden state: it differs between the sequences of a batch; make it a graph input",
    ),
}


@pytest.mark.parametrize("name", INITIAL)
def test_constant_states_that_are_none_are_refused(name: str, tmp_path: Path) -> None:
    value, kind, message = INITIAL[name]
    model = plain_model()
    model.graph.input.remove(next(port for port in model.graph.input if port.name == "h0"))
    model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), "h0"))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(HwgenError) as error:
        hwgen.load(tmp_path / "model.onnx")
    assert str(error.value) == message
    assert type(error.value) is kind


def test_random_damage_is_refused_or_read_but_never_a_crash(tmp_path: Path) -> None:
    """One input of one body node points somewhere else, or an attribute goes."""
    generator = np.random.default_rng(5)
    messages = []
    for _ in range(300):
        model = plain_model()
        body = body_of(model)
        node = body.node[int(generator.integers(len(body.node)))]
        tensors = [name for other in body.node for name in (*other.input, *other.output)]
        if generator.random() < 0.8:
            node.input[int(generator.integers(len(node.input)))] = tensors[int(generator.integers(len(tensors)))]
        elif generator.random() < 0.5:
            del node.input[int(generator.integers(len(node.input))) :]
        else:
            node.op_type = body.node[int(generator.integers(len(body.node)))].op_type
        onnx.save(model, tmp_path / "model.onnx")
        try:
            hwgen.load(tmp_path / "model.onnx")
        except HwgenError as error:
            messages.append(str(error))
    assert all("'" in message for message in messages), "a message names nothing"
    assert len(messages) > 150
