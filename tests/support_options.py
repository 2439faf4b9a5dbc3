# SPDX-License-Identifier: Apache-2.0
"""The options of docs/support.md: each constructor argument of the layers, what is done around them, and exporters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas import nn as qnn
from brevitas import quant
from brevitas.export import export_onnx_qcdq
from brevitas.export import export_qonnx as brevitas_export
from brevitas.quant.fixed_point import Int8WeightPerChannelFixedPoint
from support_table import Option
from test_networks import POWERS, Model, plain, small_bias
from torch import nn

import hwgen
from hwgen.calibration import Calibration, Options

INPUTS, H, T, N = 2, 3, 3, 2
RNN_POWERS = {name: POWERS[name] for name in ("weight_quant", "bias_quant", "io_quant", "gate_acc_quant")}
# Of Brevitas' weight-only layers.
NO_ACTIVATIONS = dict.fromkeys(
    ("io_quant", "gate_acc_quant", "sigmoid_quant", "tanh_quant", "cell_state_quant", "bias_quant")
)
Make = Callable[[Path], Path]


def sections() -> dict[str, list[Option]]:
    """The tables, in their order."""
    return {
        "torch.nn.LSTM, GRU and RNN, through `hwgen calibrate`": _torch(),
        "QuantLSTM": _quant_lstm(),
        "QuantRNN": _quant_rnn(),
        "Layers around the recurrent ones": _around(),
        "Calls and exporters": _exporters(),
    }


# Modules to files.


def example(batch_first: bool = False, features: int = INPUTS) -> torch.Tensor:
    return torch.randn(N, T, features) if batch_first else torch.randn(T, N, features)


def ready(module: torch.nn.Module, *given: torch.Tensor) -> torch.nn.Module:
    """Scales from random data."""
    with torch.no_grad():
        module.train()(*(torch.randn_like(part) for part in given))
    return module.eval()


def exported(build: Callable[[], torch.nn.Module], *given: Callable[[], Any], batch_first: bool = False) -> Make:
    """By hwgen.export_qonnx, which compares the file with the module."""

    def make(folder: Path) -> Path:
        torch.manual_seed(1)
        module = build()
        # The layers' own sizes, whatever they are.
        first = next(part for part in module.modules() if hasattr(part, "input_size") or hasattr(part, "in_features"))
        x = example(batch_first, getattr(first, "input_size", None) or first.in_features)
        inputs = (x, *(one() for one in given))
        hwgen.export_qonnx(ready(module, *inputs), inputs, folder / "model.onnx")
        return folder / "model.onnx"

    return make


def lstm(**options: Any) -> qnn.QuantLSTM:
    return qnn.QuantLSTM(**{"input_size": INPUTS, "hidden_size": H, **POWERS, **options})


def rnn(**options: Any) -> qnn.QuantRNN:
    return qnn.QuantRNN(**{"input_size": INPUTS, "hidden_size": H, **RNN_POWERS, **options})


def of_lstm(**options: Any) -> Make:
    return exported(lambda: lstm(**options), batch_first=options.get("batch_first", False))


def of_rnn(**options: Any) -> Make:
    return exported(lambda: rnn(**options), batch_first=options.get("batch_first", False))


def of_doubles(folder: Path) -> Path:
    """Refused before anything is made of the module: Brevitas' own layers of float64 do not run."""
    hwgen.export_qonnx(lstm(dtype=torch.float64), example().double(), folder / "model.onnx")
    return folder / "model.onnx"


def float_file(module: nn.Module, path: Path, *given: torch.Tensor, dynamo: bool = False) -> Path:
    options: dict[str, Any] = {} if dynamo else {"opset_version": 17}
    torch.onnx.export(module.eval(), given, path, dynamo=dynamo, **options)
    return path


def as_it_is(kind: Callable[..., nn.Module], folder: Path) -> Path:
    """A float layer, and no more."""
    return float_file(kind(INPUTS, H), folder / "model.onnx", example())


def calibrated(build: Callable[[], nn.Module], *given: Callable[[], Any], dynamo: bool = False) -> Make:
    """A float model through hwgen calibrate."""

    def make(folder: Path) -> Path:
        torch.manual_seed(1)
        module = build()
        x = example(features=getattr(module, "input_size", INPUTS)).to(next(module.parameters()).dtype)
        inputs = (x, *(one() for one in given))
        calibration = Calibration(float_file(module, folder / "float.onnx", *inputs, dynamo=dynamo), Options())
        data = {port.name: part.numpy() for port, part in zip(calibration.network.inputs, inputs, strict=True)}
        calibration.run(data, folder / "model.onnx")
        # What is read must be what was meant: 8 bits are near to it.
        found = hwgen.load(folder / "model.onnx").run(data)
        with torch.no_grad():
            wanted = plain(module(*inputs))
        for values, meant in zip(found.values(), wanted, strict=True):
            assert values.shape == meant.shape and np.square(values - meant).sum() < 0.01 * np.square(meant).sum()
        return folder / "model.onnx"

    return make


def states(count: int, directions: int = 1) -> tuple[Callable[[], torch.Tensor], ...]:
    return (lambda: 0.3 * torch.randn(directions, N, H),) * count


# torch.nn


def _torch() -> list[Option]:
    kinds: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}

    def all_kinds(argument: str, how: str = "", **options: Any) -> list[Option]:
        sizes = {"input_size": INPUTS, "hidden_size": H} | options
        return [
            Option(f"`{name}`: {argument}", calibrated(functools.partial(kind, **sizes)), how)
            for name, kind in kinds.items()
        ]

    return [
        *all_kinds("`input_size`, `hidden_size`", "any", input_size=2, hidden_size=3),
        *all_kinds("`num_layers=2`", num_layers=2),
        Option(
            "`RNN`: `nonlinearity='relu'`", calibrated(lambda: nn.RNN(INPUTS, H, nonlinearity="relu")), "tanh and relu"
        ),
        *all_kinds("`bias=False`", bias=False),
        *all_kinds("`batch_first=True`", batch_first=True),
        *all_kinds("`dropout=0.5`", "does nothing in evaluation mode", num_layers=2, dropout=0.5),
        *all_kinds("`bidirectional=True`", bidirectional=True),
        Option("`LSTM`: `proj_size=2`", calibrated(lambda: nn.LSTM(INPUTS, H, proj_size=2))),
        Option(
            "`LSTM`: `proj_size=2`, dynamo exporter", calibrated(lambda: nn.LSTM(INPUTS, H, proj_size=2), dynamo=True)
        ),
        Option("`LSTM`: `dtype=torch.float64`", calibrated(lambda: nn.LSTM(INPUTS, H, dtype=torch.float64))),
        Option(
            "`LSTM`: `device='cpu'`", calibrated(lambda: nn.LSTM(INPUTS, H, device="cpu")), "leaves no trace in a file"
        ),
        Option(
            "`LSTM` called with states",
            calibrated(lambda: Model(lambda m, x, h, c: m["lstm"](x, (h, c)), lstm=nn.LSTM(INPUTS, H)), *states(2)),
            "they become graph inputs",
        ),
        Option("`LSTM` called with a packed sequence", calibrated(lambda: Packed(), lambda: torch.tensor([T, T - 1]))),
        Option("`LSTM`, dynamo exporter", calibrated(lambda: nn.LSTM(INPUTS, H), dynamo=True)),
        *(
            Option(
                f"`{name}` as it is exported, without `hwgen calibrate`",
                functools.partial(as_it_is, kind),
            )
            for name, kind in kinds.items()
        ),
        Option(
            "`LSTMCell`, one step without a loop",
            calibrated(lambda: Model(lambda m, x: m["cell"](x[0])[0], cell=nn.LSTMCell(INPUTS, H))),
        ),
    ]


class Packed(nn.Module):
    """Sequences of unequal lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, H)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(nn.utils.rnn.pack_padded_sequence(x, lengths))
        return nn.utils.rnn.pad_packed_sequence(y)[0]


# Brevitas' recurrent layers.


def _quantizer(argument: str, names: dict[str, str], of: Callable[..., Make]) -> list[Option]:
    """Options that set one argument to quantizers of brevitas.quant."""
    return [
        Option(f"`{argument}={name}`", of(**{argument: None if name == "None" else getattr(quant, name)}), how)
        for name, how in names.items()
    ]


# What QuantLSTM and QuantRNN have in common.
_WEIGHTS = {
    "Int8WeightPerTensorFloat": "float scales",
    "Int8WeightPerTensorFixedPoint": "scales of powers of two",
    "Int8WeightPerChannelFloat": "a scale per unit",
    "ShiftedUint8WeightPerTensorFloat": "zero points",
    "SignedBinaryWeightPerTensorConst": "1 bit, -1 and 1",
    "SignedTernaryWeightPerTensorConst": "-1, 0 and 1",
    "None": "",
}
_BIASES = {"Int32Bias": "", "Int16Bias": "", "Int8BiasPerTensorFloatInternalScaling": "", "None": "float biases"}
_IO = {
    "Int8ActPerTensorFloat": "float scales",
    "Int8ActPerTensorFixedPoint": "scales of powers of two",
    "ShiftedUint8ActPerTensorFloat": "zero points",
    "Uint8ActPerTensorFixedPoint": "no sign",
    "SignedBinaryActPerTensorConst": "",
    "None": "",
}


def _common(of: Callable[..., Make], accumulator: str) -> list[Option]:
    return [
        Option("`input_size`, `hidden_size`", of(input_size=1, hidden_size=1), "any"),
        Option("`num_layers=3`", of(num_layers=3)),
        Option("`bias=False`", of(bias=False)),
        Option("`batch_first=True`", of(batch_first=True), "transposes at the boundary"),
        Option(
            "`bidirectional=True`", of(bidirectional=True), "hardware holds sequences of up to `--max-length` steps"
        ),
        *_quantizer("weight_quant", _WEIGHTS, of),
        *(Option(f"`weight_bit_width={bits}`", of(weight_bit_width=bits)) for bits in (2, 20)),
        Option("`weight_narrow_range=False`", of(weight_narrow_range=False)),
        *_quantizer("bias_quant", _BIASES, of),
        *_quantizer("io_quant", _IO, of),
        Option("`io_bit_width=16`", of(io_bit_width=16)),
        Option("`io_narrow_range=True`", of(io_narrow_range=True)),
        *(
            Option(f"`io_float_to_int_impl_type='{mode}'`", of(io_float_to_int_impl_type=mode))
            for mode in ("FLOOR", "ROUND_TO_ZERO")
        ),
        *_quantizer("gate_acc_quant", {"Int8ActPerTensorFloat": "float scales", "None": ""}, of),
        Option(f"`{accumulator}_bit_width=16`", of(**{f"{accumulator}_bit_width": 16})),
        Option(
            "`shared_input_hidden_weights=True`",
            of(bidirectional=True, shared_input_hidden_weights=True),
            "both directions, with the gates as Brevitas computes them",
        ),
        Option("`return_quant_tensor=True`", of(return_quant_tensor=True), "scales and the like are no outputs"),
        Option("`device='cpu'`", of(device="cpu"), "leaves no trace in a file"),
        Option("`dtype=torch.float64`", of_doubles),
    ]


def _quant_lstm() -> list[Option]:
    return [
        *_common(of_lstm, "gate_acc"),
        *_quantizer(
            "sigmoid_quant",
            {"Uint8ActPerTensorFloat": "float scales", "Int8ActPerTensorFloat": "", "None": ""},
            of_lstm,
        ),
        *(Option(f"`sigmoid_bit_width={bits}`", of_lstm(sigmoid_bit_width=bits)) for bits in (1, 16)),
        *_quantizer("tanh_quant", {"Int8ActPerTensorFloat": "float scales", "None": ""}, of_lstm),
        *_quantizer(
            "cell_state_quant",
            {"Int8ActPerTensorFloat": "float scales", "ShiftedUint8ActPerTensorFloat": "zero points", "None": ""},
            of_lstm,
        ),
        Option("`cell_state_bit_width=16`", of_lstm(cell_state_bit_width=16)),
        Option("all quantizers of activations `None`: weights alone", of_lstm(**NO_ACTIVATIONS)),
        Option(
            "the same, exported by Brevitas",
            weights_alone(brevitas_export),
            "by `hwgen calibrate`, weights as they are",
        ),
        Option("`coupled_input_forget_gates=True`", of_lstm(coupled_input_forget_gates=True), "three gates"),
        Option("`cat_output_cell_states=False`", of_lstm(bidirectional=True, cat_output_cell_states=False)),
        Option("`shared_intra_layer_weight_quant=True`", of_lstm(shared_intra_layer_weight_quant=True)),
        Option("`shared_intra_layer_gate_acc_quant=True`", of_lstm(shared_intra_layer_gate_acc_quant=True)),
        Option(
            "`shared_cell_state_quant=False`",
            of_lstm(num_layers=2, shared_cell_state_quant=False, cat_output_cell_states=False),
            "with `cat_output_cell_states=False`, as Brevitas wants it",
        ),
    ]


def _quant_rnn() -> list[Option]:
    return [
        Option("`nonlinearity='tanh'`", of_rnn(nonlinearity="tanh")),
        Option("`nonlinearity='relu'`", of_rnn(nonlinearity="relu")),
        Option("`nonlinearity='sigmoid'`", of_rnn(nonlinearity="sigmoid")),
        *_common(of_rnn, "gate_acc_quant"),
    ]


# What stands around them.


def _around() -> list[Option]:
    def head(make: Callable[..., Any] = lambda y: y, **options: Any) -> Make:
        def build() -> torch.nn.Module:
            chosen = {"bias": True, "weight_quant": quant.Int8WeightPerTensorFixedPoint} | options
            out = qnn.QuantLinear(H, 3, **chosen)
            return Model(
                lambda m, x: make(m["out"](m["lstm"](x)[0])),
                lstm=lstm(),
                out=small_bias(out) if chosen["bias"] else out,
            )

        return exported(build)

    def behind(layer: Callable[[], torch.nn.Module]) -> Make:
        return exported(lambda: Model(lambda m, x: m["next"](m["lstm"](x)[0]), lstm=lstm(), next=layer()))

    fixed = {"act_quant": quant.Int8ActPerTensorFixedPoint}
    return [
        Option("`QuantLinear`", head(), "its sums, as real values"),
        Option("`QuantLinear`: `bias=False`", head(bias=False)),
        Option("`QuantLinear`: `weight_quant=None`", head(weight_quant=None)),
        Option(
            "`QuantLinear`: `weight_quant=Int8WeightPerChannelFixedPoint`",
            head(weight_quant=Int8WeightPerChannelFixedPoint),
        ),
        Option(
            "`QuantLinear`: `bias_quant=Int32Bias`",
            head(bias_quant=quant.Int32Bias, input_quant=quant.Int8ActPerTensorFixedPoint),
        ),
        Option(
            "`QuantLinear`: `input_quant=Int8ActPerTensorFixedPoint`",
            head(input_quant=quant.Int8ActPerTensorFixedPoint),
        ),
        Option(
            "`QuantLinear`: `output_quant=Int8ActPerTensorFixedPoint`",
            head(output_quant=quant.Int8ActPerTensorFixedPoint),
        ),
        Option("`nn.Linear`", behind(lambda: nn.Linear(H, 3))),
        Option("`QuantIdentity`", behind(lambda: qnn.QuantIdentity(**fixed)), "requantizes"),
        Option("`QuantReLU`", behind(lambda: qnn.QuantReLU(act_quant=quant.Uint8ActPerTensorFixedPoint))),
        Option("`QuantSigmoid`", behind(lambda: qnn.QuantSigmoid(act_quant=quant.Uint8ActPerTensorFixedPoint))),
        Option("`QuantTanh`", behind(lambda: qnn.QuantTanh(**fixed))),
        Option("`nn.ReLU`", behind(nn.ReLU)),
        Option("`nn.Sigmoid`, without a quantizer", behind(nn.Sigmoid)),
        Option("`nn.Dropout`", behind(nn.Dropout), "does nothing in evaluation mode"),
        Option("`nn.LayerNorm`", behind(lambda: nn.LayerNorm(H))),
        Option("`nn.Softmax` on the result", head(lambda y: y.softmax(-1))),
        Option("`argmax(-1)`", head(lambda y: y.argmax(-1)), "the first of equal values"),
        Option("`argmax(0)`", head(lambda y: y.argmax(0))),
        Option("`argmin(-1)`", head(lambda y: y.argmin(-1))),
        Option("`topk(1).indices`", head(lambda y: y.topk(1).indices), "as argmax"),
        Option("`topk(1)`, with its values", head(lambda y: tuple(y.topk(1)))),
        Option("`topk(2).indices`", head(lambda y: y.topk(2).indices)),
        Option("`y[-1]`, `y[1]`, `y[1:2]`", head(lambda y: (y[-1], y[1], y[1:2])), "one step"),
        Option("`y[1:3]`", head(lambda y: y[1:3])),
        Option("`y[::2]`", head(lambda y: y[::2])),
        Option("`y.mean(0)`", head(lambda y: y.mean(0))),
        Option("`flip(0)`", head(lambda y: y.flip(0))),
        Option(
            "a sum of two branches",
            exported(
                lambda: Model(
                    lambda m, x: (lambda y: m["one"](y) + m["two"](y))(m["lstm"](x)[0]),
                    lstm=lstm(),
                    one=qnn.QuantIdentity(**fixed),
                    two=qnn.QuantIdentity(**fixed),
                )
            ),
        ),
    ]


# How a module is called, and what writes it.


def weights_alone(export: Callable[..., Any]) -> Make:
    """A weight-only layer, through hwgen calibrate."""

    def make(folder: Path) -> Path:
        torch.manual_seed(1)
        x = torch.randn(T, 1, INPUTS)
        module = qnn.QuantLSTM(INPUTS, H, **NO_ACTIVATIONS).eval()
        options = {"opset_version": 17} if export is export_onnx_qcdq else {}
        export(module, args=x, export_path=str(folder / "float.onnx"), dynamo=False, **options)
        calibration = Calibration(folder / "float.onnx", Options())
        calibration.run({calibration.network.inputs[0].name: x.numpy()}, folder / "model.onnx")
        return folder / "model.onnx"

    return make


def _exporters() -> list[Option]:
    def by(export: Callable[..., Any], **options: Any) -> Make:
        def make(folder: Path) -> Path:
            torch.manual_seed(1)
            module = ready(lstm(), example())
            export(module, args=example(), export_path=str(folder / "model.onnx"), **options)
            return folder / "model.onnx"

        return make

    def called(given: Callable[[], Any], build: Callable[[], Any] = lstm) -> Make:
        def make(folder: Path) -> Path:
            torch.manual_seed(1)
            hwgen.export_qonnx(ready(build(), example()), given(), folder / "model.onnx")
            return folder / "model.onnx"

        return make

    def quant_tensor() -> Any:
        return qnn.QuantIdentity(return_quant_tensor=True).eval()(example())

    return [
        Option("`QuantLSTM` called with states", exported(lstm, *states(2)), "they become graph inputs"),
        Option(
            "`QuantLSTM`, `bidirectional`, called with states",
            exported(lambda: lstm(bidirectional=True), *states(2, 2)),
        ),
        Option("`QuantRNN` called with a state", exported(rnn, *states(1)), "it becomes a graph input"),
        Option(
            "a packed sequence",
            called(lambda: nn.utils.rnn.pack_sequence([torch.randn(T, INPUTS), torch.randn(2, INPUTS)])),
        ),
        Option("a `QuantTensor` as input", called(quant_tensor)),
        Option("`hwgen.export_qonnx`", of_lstm(), "compares the file with the module"),
        Option("Brevitas' `export_qonnx(..., dynamo=False)`", by(brevitas_export, dynamo=False)),
        Option("Brevitas' `export_qonnx(...)` as it is by default", by(brevitas_export)),
        Option("`export_onnx_qcdq` of a quantized layer", by(export_onnx_qcdq, dynamo=False, opset_version=17)),
        Option(
            "`export_onnx_qcdq` of a layer with weight_quant alone",
            weights_alone(export_onnx_qcdq),
            "by `hwgen calibrate`",
        ),
        Option(
            "one layer called twice",
            exported(lambda: Model(lambda m, x: m["lstm"](m["lstm"](x)[0])[0], lstm=lstm(input_size=H))),
        ),
    ]
