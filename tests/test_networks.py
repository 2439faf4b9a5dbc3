# SPDX-License-Identifier: Apache-2.0
"""Whole networks as Brevitas exports them: stacks, directions, heads.

Scales are powers of two, so that Brevitas' float32 is exact: it, the reference and the integer model agree in every
value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from brevitas import nn as qnn
from brevitas.export import export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8BiasPerTensorFixedPointInternalScaling,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from lowered import assert_lowered, random_inputs
from option_sets import quiet

import hwgen
from hwgen import host
from hwgen.errors import HwgenError, ModelError, UnsupportedError
from hwgen.layers import ArgmaxLayer, ConcatLayer, DenseLayer, LstmLayer, QuantizeLayer, SelectLayer
from hwgen.lowering import lower

FEATURES, HIDDEN, STEPS, BATCH = 6, 8, 11, 16
SIZES = ((3, 1), (60, 5), (9, 64))
POWERS = {
    "weight_quant": Int8WeightPerTensorFixedPoint,
    "bias_quant": Int8BiasPerTensorFixedPointInternalScaling,
    "io_quant": Int8ActPerTensorFixedPoint,
    "gate_acc_quant": Int8ActPerTensorFixedPoint,
    "sigmoid_quant": Uint8ActPerTensorFixedPoint,
    "tanh_quant": Int8ActPerTensorFixedPoint,
    "cell_state_quant": Int8ActPerTensorFixedPoint,
}


def identity() -> qnn.QuantIdentity:
    return qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint)


def lstm(inputs: int = FEATURES, hidden: int = HIDDEN, **options: Any) -> qnn.QuantLSTM:
    return qnn.QuantLSTM(inputs, hidden, **{**POWERS, **options})


def linear(inputs: int, outputs: int, **options: Any) -> qnn.QuantLinear:
    quantizers = {"weight_quant": Int8WeightPerTensorFixedPoint, "bias_quant": None}
    return qnn.QuantLinear(inputs, outputs, bias=True, **{**quantizers, **options})


class Model(torch.nn.Module):
    """Layers and what is done with them."""

    def __init__(self, forward: Callable[..., Any], **layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleDict(layers)
        self._forward = forward

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._forward(self.layers, *inputs)


def classifier(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m["out"](m["relu"](m["hidden"](m["lstm"](x)[0][-1])))


def two_blocks(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m["second"](m["between"](m["first"](x)[0]))[0][:, -1, :]


def states_of(m: Any, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
    return m["lstm"](x, h, c)


def small_bias(layer: torch.nn.Module) -> torch.nn.Module:
    """Biases that leave the decision to the products."""
    layer.bias.data.mul_(0.1)
    return layer


def dense(bidirectional: bool = True) -> dict[str, torch.nn.Module]:
    return {
        "lstm": lstm(bidirectional=bidirectional),
        "hidden": linear(HIDDEN * (1 + bidirectional), 10),
        "relu": qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint),
        "out": small_bias(linear(10, 4)),
    }


MODELS: dict[str, Callable[[], tuple[torch.nn.Module, int]]] = {
    "two layers": lambda: (lstm(num_layers=2), 1),
    "three layers, coupled": lambda: (lstm(num_layers=3, coupled_input_forget_gates=True), 1),
    "bidirectional": lambda: (lstm(bidirectional=True), 1),
    "bidirectional, shared weights": lambda: (lstm(bidirectional=True, shared_input_hidden_weights=True), 1),
    "two bidirectional layers": lambda: (lstm(num_layers=2, bidirectional=True), 1),
    "batch first": lambda: (lstm(num_layers=2, bidirectional=True, batch_first=True), 1),
    "cell states apart": lambda: (
        lstm(num_layers=2, bidirectional=True, shared_cell_state_quant=False, cat_output_cell_states=False),
        1,
    ),
    "states given": lambda: (Model(states_of, lstm=lstm(bidirectional=True)), 3),
    "classifier": lambda: (Model(classifier, **dense()), 1),
    "head on every step": lambda: (
        Model(lambda m, x: m["out"](m["relu"](m["hidden"](m["lstm"](x)[0]))), **dense(False)),
        1,
    ),
    "argmax": lambda: (
        Model(lambda m, x: m["out"](m["lstm"](x)[0][-1]).argmax(-1), lstm=lstm(), out=small_bias(linear(HIDDEN, 5))),
        1,
    ),
    "top 1": lambda: (
        Model(
            lambda m, x: m["out"](m["lstm"](x)[0]).topk(1, -1).indices[..., 0],
            lstm=lstm(),
            out=small_bias(linear(HIDDEN, 5)),
        ),
        1,
    ),
    "last hidden state": lambda: (
        Model(lambda m, x: m["out"](m["lstm"](x)[1][0]), lstm=lstm(), out=linear(HIDDEN, 3)),
        1,
    ),
    "a step from the first": lambda: (Model(lambda m, x: m["lstm"](x)[0][2], lstm=lstm(num_layers=2)), 1),
    "a quantizer in front": lambda: (
        Model(lambda m, x: m["lstm"](m["in"](x))[0], **{"in": identity(), "lstm": lstm()}),
        1,
    ),
    "relu in front": lambda: (
        Model(lambda m, x: m["lstm"](torch.relu(m["in"](x)))[0], **{"in": identity(), "lstm": lstm()}),
        1,
    ),
    "slices": lambda: (
        Model(lambda m, x: (lambda y: (y[-1:], m["out"](y[1:2])))(m["lstm"](x)[0]), lstm=lstm(), out=linear(HIDDEN, 3)),
        1,
    ),
    "transposed": lambda: (Model(lambda m, x: m["lstm"](x.transpose(0, 1))[0].transpose(0, 1), lstm=lstm()), 1),
    "reshaped": lambda: (
        Model(lambda m, x: m["out"](m["lstm"](x)[1][0].reshape(-1, HIDDEN)), lstm=lstm(), out=linear(HIDDEN, 3)),
        1,
    ),
    "flattened": lambda: (
        Model(lambda m, x: m["out"](torch.flatten(m["lstm"](x)[0][-1], 1)), lstm=lstm(), out=linear(HIDDEN, 3)),
        1,
    ),
    "sums shown twice": lambda: (
        Model(lambda m, x: (lambda y: (y, y[-1]))(m["out"](m["lstm"](x)[0])), lstm=lstm(), out=linear(HIDDEN, 3)),
        1,
    ),
    "two blocks": lambda: (
        Model(
            two_blocks,
            first=lstm(batch_first=True),
            between=identity(),
            second=lstm(HIDDEN, 4, batch_first=True),
        ),
        1,
    ),
    # One layer's initial state is the last one of another layer on the same input.
    "states of another layer": lambda: (
        Model(lambda m, x: m["second"](x, *m["first"](x)[1])[0], first=lstm(), second=lstm()),
        1,
    ),
    # A layer's input stands beside its output: what joins them has one quantizer.
    "features beside": lambda: (
        Model(
            lambda m, x: (lambda q: m["out"](torch.cat([m["one"](m["lstm"](q)[0]), m["one"](q)], -1)))(m["in"](x)),
            **{"in": identity(), "lstm": lstm(), "one": identity(), "out": linear(HIDDEN + FEATURES, 3)},
        ),
        1,
    ),
    "a layer in front": lambda: (
        Model(
            lambda m, x: m["lstm"](m["mid"](m["front"](m["in"](x))))[0],
            **{
                "in": identity(),
                "front": linear(FEATURES, 7),
                "mid": qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint),
                "lstm": lstm(7),
            },
        ),
        1,
    ),
}


def plain(values: Any) -> list[np.ndarray]:
    """Tensors of nested results, in order."""
    if hasattr(values, "bit_width"):  # a QuantTensor, which is a tuple too
        values = values.value
    if isinstance(values, list | tuple):
        return [array for value in values for array in plain(value)]
    return [values.detach().numpy()]


def export(name: str, path: Path) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A seeded module with calibrated scales and its inputs."""
    torch.manual_seed(len(name))
    module, count = MODELS[name]()
    x = 1.5 * torch.randn(STEPS, BATCH, FEATURES)
    states = tuple(0.5 * torch.randn(2, BATCH, HIDDEN) for _ in range(count - 1))
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module(1.5 * torch.randn_like(x), *states)
    module.eval()
    with quiet():
        export_qonnx(module, args=(x, *states), export_path=str(path), dynamo=False)
    return module, (x, *states)


@pytest.mark.parametrize("name", MODELS)
def test_brevitas_reference_and_integer_model_agree(name: str, tmp_path: Path) -> None:
    module, given = export(name, tmp_path / "model.onnx")
    with torch.no_grad():
        wanted = plain(module(*given))
    network = hwgen.load(tmp_path / "model.onnx")
    inputs = {port.name: tensor.numpy() for port, tensor in zip(network.inputs, given, strict=True)}
    reference, codes = network.run(inputs), host.run(network, lower(network), inputs)
    assert len(reference) == len(wanted)
    for (output, values), theirs in zip(reference.items(), wanted, strict=True):
        assert values.shape == theirs.shape, output
        np.testing.assert_array_equal(values, codes[output], f"{output}: reference and integer model")
        # Brevitas rounds once, where it adds a bias in float32.
        np.testing.assert_array_equal(values.astype(theirs.dtype), theirs, f"{output}: reference and Brevitas")
        assert len(np.unique(theirs)) > 1, f"{output} never moves"
    # As ONNX of standard operators: onnxruntime gives the same, for other batches and lengths as well.
    assert_lowered(network, lower(network), inputs, *(random_inputs(network, *size, seed=1) for size in SIZES))


def test_layers_are_what_the_model_has(tmp_path: Path) -> None:
    export("two blocks", tmp_path / "blocks.onnx")
    kinds = [type(layer) for layer in hwgen.load(tmp_path / "blocks.onnx").layers]
    assert kinds[0] is kinds[-2] is LstmLayer and kinds[-1] is SelectLayer
    assert set(kinds[1:-2]) <= {QuantizeLayer}
    export("argmax", tmp_path / "argmax.onnx")
    kinds = [type(layer) for layer in hwgen.load(tmp_path / "argmax.onnx").layers]
    assert kinds == [LstmLayer, SelectLayer, DenseLayer, ArgmaxLayer]
    export("top 1", tmp_path / "top.onnx")
    kinds = [type(layer) for layer in hwgen.load(tmp_path / "top.onnx").layers]
    assert kinds == [LstmLayer, DenseLayer, ArgmaxLayer]
    export("two bidirectional layers", tmp_path / "both.onnx")
    layers = hwgen.load(tmp_path / "both.onnx").layers
    assert [type(layer) for layer in layers] == [LstmLayer, LstmLayer, ConcatLayer] * 2
    assert [layer.reverse for layer in layers if isinstance(layer, LstmLayer)] == [False, True, False, True]


def topk(m: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in m.graph.node if node.op_type == "TopK")


def set_k(value: Any) -> Callable[[onnx.ModelProto], None]:
    def edit(m: onnx.ModelProto) -> None:
        m.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), "edited_k"))
        topk(m).input[1] = "edited_k"

    return edit


def set_flag(name: str, value: int) -> Callable[[onnx.ModelProto], None]:
    def edit(m: onnx.ModelProto) -> None:
        kept = [attribute for attribute in topk(m).attribute if attribute.name != name]
        del topk(m).attribute[:]
        topk(m).attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return edit


def show_values(m: onnx.ModelProto) -> None:
    """Behind an Identity, which does not hide them."""
    topk(m).output[0] = topk(m).output[0] or "values"
    m.graph.node.append(onnx.helper.make_node("Identity", [topk(m).output[0]], ["best"]))
    m.graph.output.append(onnx.helper.make_tensor_value_info("best", onnx.TensorProto.FLOAT, None))


TOPK: dict[str, tuple[Callable[[onnx.ModelProto], None], type[HwgenError], str]] = {
    "several values": (
        set_k(np.array([3])),
        UnsupportedError,
        "k must be 1, not 3; hwgen finds the one greatest value, and where more are wanted, leave TopK out and sort "
        "the values that the model then gives",
    ),
    "no value": (set_k(np.array([0])), UnsupportedError, "k must be 1, not 0; "),
    "k of a fraction": (set_k(np.array([1.0])), ModelError, "k must be one integer, not [1.0] of float64"),
    "k of two": (set_k(np.array([1, 2])), ModelError, "k must be one integer, not [1, 2] of int64"),
    "k computed": (
        lambda m: topk(m).input.__setitem__(1, m.graph.input[0].name),
        UnsupportedError,
        "its k (",
    ),
    "k an attribute": (lambda m: topk(m).input.__delitem__(1), ModelError, "must have 2 inputs and 2 outputs, not 1 "),
    "the smallest": (set_flag("largest", 0), UnsupportedError, "largest must be 1; "),
    "another axis": (
        set_flag("axis", 0),
        UnsupportedError,
        "hwgen reads TopK along the features alone, not along axis 0",
    ),
    "the values too": (show_values, UnsupportedError, "are used; hwgen gives the index alone: "),
}


@pytest.mark.parametrize("name", TOPK)
def test_topk_of_anything_but_one_index_is_refused(name: str, tmp_path: Path) -> None:
    edit, kind, message = TOPK[name]
    export("top 1", tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    edit(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(kind, match=rf"^TopK '[^']*': .*{re.escape(message)}") as caught:
        hwgen.load(tmp_path / "model.onnx")
    assert type(caught.value) is kind


def test_names_that_a_file_uses_twice_are_told_apart(tmp_path: Path) -> None:
    """Nodes may be called like tensors, and like each other: values must not take each other's place."""
    _, (x,) = export("two layers", tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    name = hwgen.load(tmp_path / "model.onnx").inputs[0].name
    for node in model.graph.node:
        node.name = name
    onnx.save(model, tmp_path / "renamed.onnx")
    results = [hwgen.load(tmp_path / file).run({name: x.numpy()}) for file in ("model.onnx", "renamed.onnx")]
    for output, values in results[0].items():
        np.testing.assert_array_equal(values, results[1][output])


def test_what_is_not_read_is_named_where_it_stands(tmp_path: Path) -> None:
    export("head on every step", tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    cell = next(node for node in model.graph.node if node.op_type == "QuantLSTMCell")
    model.graph.node.append(onnx.helper.make_node("Softplus", [cell.output[0]], ["soft"], name="middle"))
    reader = next(node for node in model.graph.node if node.op_type == "MatMul")
    reader.input[0] = "soft"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedError, match=r"'soft' comes from Softplus 'middle', which hwgen does not read"):
        hwgen.load(tmp_path / "model.onnx")


def test_a_step_that_is_not_there_is_refused(tmp_path: Path) -> None:
    export("a step from the first", tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    short = {network.inputs[0].name: np.zeros((2, 1, FEATURES), np.float32)}
    with pytest.raises(hwgen.errors.ConfigError, match="picks time step 2 of 2"):
        host.run(network, lower(network), short)
