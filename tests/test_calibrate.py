# SPDX-License-Identifier: Apache-2.0
"""hwgen calibrate on what torch and Brevitas export: the file written is read, exact, and near to the float model."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from brevitas import nn as qnn
from brevitas.export import export_qonnx
from click.testing import CliRunner
from lowered import assert_lowered
from numpy.typing import NDArray
from onnx import numpy_helper
from option_sets import quiet
from torch import nn

import hwgen
from hwgen.calibration import Calibration, Method, Options
from hwgen.calibration.observe import Observer, evaluate
from hwgen.cli import main
from hwgen.integer_network import RecurrentStage
from hwgen.layers import ArgmaxLayer, ConcatLayer, DenseLayer, GruLayer, LstmLayer, QuantizeLayer, RnnLayer
from hwgen.lowering import lower
from hwgen.network import Network

FEATURES, HIDDEN, STEPS, BATCH = 6, 8, 12, 24
Arrays = dict[str, NDArray[np.float32]]


class Model(nn.Module):
    """Layers and what is done with them."""

    def __init__(self, forward: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._forward = forward

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._forward(self.layers, *inputs)


def head_on_last(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m[2](torch.relu(m[1](m[0](x)[0][-1])))


def both_directions(m: Any, x: torch.Tensor) -> torch.Tensor:
    h, _ = m[0](x)[1]
    return m[2](torch.tanh(m[1](torch.cat([h[-2], h[-1]], dim=-1))))


def states(m: Any, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
    return m[0](x, (h, c))


class EncoderDecoder(nn.Module):
    """The states of one layer start another."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.encoder = kind(FEATURES, HIDDEN, bidirectional=True)
        self.decoder = kind(FEATURES, HIDDEN, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(x, self.encoder(x)[1])[0]


def shown_and_read(m: Any, x: torch.Tensor) -> Any:
    """Sums of a dense layer as an output, behind a Relu, and as they are in another layer."""
    y = m[1](m[0](x)[0][-1])
    return y, m[2](torch.relu(y)), m[2](y)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(FEATURES, HIDDEN),
    "lstm, two layers": lambda: nn.LSTM(FEATURES, HIDDEN, num_layers=2),
    "lstm, bidirectional": lambda: nn.LSTM(FEATURES, HIDDEN, bidirectional=True),
    "lstm, two bidirectional layers, batch first": lambda: nn.LSTM(
        FEATURES, HIDDEN, num_layers=2, bidirectional=True, batch_first=True
    ),
    "lstm, no bias": lambda: nn.LSTM(FEATURES, HIDDEN, bias=False),
    "lstm, states given": lambda: Model(states, nn.LSTM(FEATURES, HIDDEN, num_layers=2, bidirectional=True)),
    "lstm, head on every step": lambda: Model(
        lambda m, x: m[1](m[0](x)[0]), nn.LSTM(FEATURES, HIDDEN), nn.Linear(HIDDEN, 4)
    ),
    "gru": lambda: nn.GRU(FEATURES, HIDDEN),
    "gru, two bidirectional layers": lambda: nn.GRU(FEATURES, HIDDEN, num_layers=2, bidirectional=True),
    "gru, batch first, head on the last step": lambda: Model(
        lambda m, x: m[1](m[0](x)[0][:, -1]),
        nn.GRU(FEATURES, HIDDEN, batch_first=True, bidirectional=True),
        nn.Linear(2 * HIDDEN, 3),
    ),
    "rnn": lambda: nn.RNN(FEATURES, HIDDEN),
    "rnn, relu, head": lambda: Model(
        head_on_last, nn.RNN(FEATURES, HIDDEN, nonlinearity="relu"), nn.Linear(HIDDEN, 10), nn.Linear(10, 3)
    ),
    "directions joined by hand, tanh": lambda: Model(
        both_directions,
        nn.LSTM(FEATURES, HIDDEN, num_layers=2, bidirectional=True),
        nn.Linear(2 * HIDDEN, 5),
        nn.Linear(5, 3),
    ),
    "dense and relu in front": lambda: Model(
        lambda m, x: m[1](torch.relu(m[0](x)))[0], nn.Linear(FEATURES, 7), nn.LSTM(7, HIDDEN)
    ),
    "gru, lstm, argmax": lambda: Model(
        lambda m, x: m[2](m[1](m[0](x)[0])[0][-1]).argmax(-1),
        nn.GRU(FEATURES, HIDDEN),
        nn.LSTM(HIDDEN, 5),
        nn.Linear(5, 4),
    ),
    "rnn, top 1": lambda: Model(
        lambda m, x: m[1](m[0](x)[0][-1]).topk(1).indices, nn.RNN(FEATURES, HIDDEN), nn.Linear(HIDDEN, 4)
    ),
    "encoder and decoder, lstm": lambda: EncoderDecoder(nn.LSTM),
    "encoder and decoder, gru": lambda: EncoderDecoder(nn.GRU),
    "relu on the input": lambda: Model(lambda m, x: m[0](torch.relu(x))[0], nn.LSTM(FEATURES, HIDDEN)),
    "relu on the hidden state": lambda: Model(
        lambda m, x: m[1](torch.relu(m[0](x)[0])), nn.LSTM(FEATURES, HIDDEN), nn.Linear(HIDDEN, 3)
    ),
    "branches of both signs joined": lambda: Model(
        lambda m, x: m[2](torch.cat([torch.relu(m[1](x)), m[0](x)[0]], -1)),
        nn.LSTM(FEATURES, HIDDEN),
        nn.Linear(FEATURES, 5),
        nn.Linear(5 + HIDDEN, 3),
    ),
    "input joined": lambda: Model(
        lambda m, x: m[1](torch.cat([m[0](x)[0], x], -1)), nn.GRU(FEATURES, HIDDEN), nn.Linear(HIDDEN + FEATURES, 3)
    ),
    "a dense layer shown and read": lambda: Model(
        shown_and_read, nn.GRU(FEATURES, HIDDEN), nn.Linear(HIDDEN, 3), nn.Linear(3, 2)
    ),
    "sigmoid at the end": lambda: Model(
        lambda m, x: torch.sigmoid(m[1](m[0](x)[1][0])), nn.RNN(FEATURES, HIDDEN), nn.Linear(HIDDEN, 2)
    ),
}


def export(module: nn.Module, path: Path, dynamo: bool = False, free: bool = True) -> Path:
    """A module as an ONNX file; biases and weights large enough to reach the curved parts of the activations."""
    parts = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    for parameter in module.parameters():
        parameter.data.mul_(1.6)
    layers, directions = parts[0].num_layers, 1 + parts[0].bidirectional
    x = torch.randn(5, 4, FEATURES)
    given = isinstance(module, Model) and module._forward is states
    inputs = (x, *(torch.randn(layers * directions, 4, HIDDEN) for _ in range(2 if given else 0)))
    names = ["x", "h0", "c0"][: len(inputs)]
    axes = {name: {0: "a", 1: "b"} if name == "x" else {1: "b"} for name in names} if free else None
    options: dict[str, Any] = {"opset_version": 17, "dynamic_axes": axes} if not dynamo else {}
    with quiet():
        torch.onnx.export(module.eval(), inputs, path, dynamo=dynamo, input_names=names, **options)
    return path


def inputs_of(network: Network, seed: int = 0, steps: int = STEPS, batch: int = BATCH) -> Arrays:
    """Seeded inputs as the graph takes them, states within their range."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for port in network.inputs:
        lengths = {"T": steps, "N": batch, "F": port.features, "S": port.count, "1": 1}
        shape = [lengths[axis] for axis in port.axes]
        spread = 1.0 if port.name == "x" else 0.3
        arrays[port.name] = (spread * generator.standard_normal(shape)).astype(np.float32)
    return arrays


def float_run(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def noise(exact: NDArray[Any], found: NDArray[Any]) -> float:
    """Signal to noise in dB."""
    return 10 * math.log10(np.square(exact).sum() / np.square(found - exact).sum())


@pytest.mark.parametrize("name", MODELS)
def test_what_torch_exports_is_calibrated_read_and_exact(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = export(MODELS[name](), tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    inputs = inputs_of(calibration.network)
    wanted = float_run(path, inputs)
    # Its own float evaluation is onnxruntime's.
    bound = calibration.network.bind(inputs)
    own = calibration.network.present(evaluate(calibration.network, calibration._draft, bound))
    assert list(own) == list(wanted)
    for output, values in wanted.items():
        np.testing.assert_allclose(own[output], values, atol=2e-5)
    report = calibration.run(inputs, tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    assert [port.name for port in network.inputs] == list(inputs)
    found = network.run(inputs)
    assert [output["name"] for output in report["outputs"]] == list(found) == list(wanted)
    for output, values in wanted.items():
        if values.dtype.kind == "i":
            assert (found[output] == values).mean() > 0.9
            continue
        # 8 bits throughout: noise below 1/25 of the signal, and no value far off.
        assert noise(values, found[output]) > 28, output
        assert np.abs(found[output] - values).max() < 0.12
    model = lower(network)
    for stage in model.stages:
        gates = stage.cell.gates if isinstance(stage, RecurrentStage) else ()
        assert not any(gate.bound for gate in gates), "sums must be exact"
        # Scales whose ratio is a power of two: 8 bits, and as many as the ranges of x and h differ by.
        assert all(gate.weight.bits <= 12 for gate in gates)
        # Biases lie on the grid of their sum, so that all rows of a gate share one function.
        assert all(certified.step.channels == 1 for _, certified in stage.steps())
    assert assert_lowered(network, model, inputs, inputs_of(network, 9, 3, 2)) > 0


@pytest.mark.parametrize("name", ["lstm, two bidirectional layers, batch first", "gru, two bidirectional layers"])
def test_the_dynamo_exporter_with_data_beside_the_model_is_read(name: str, tmp_path: Path) -> None:
    """Its shapes are fixed, its weights stand in another file; other lengths can be calibrated all the same."""
    torch.manual_seed(2)
    path = export(MODELS[name](), tmp_path / "float.onnx", dynamo=True)
    assert (tmp_path / "float.onnx.data").is_file()
    calibration = Calibration(path, Options())
    short = inputs_of(calibration.network, 3, 5, 4)
    if "batch first" in name:
        short = {"x": short["x"].reshape(5, 4, FEATURES)}
    wanted = float_run(path, short)
    report = calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
    assert all(output["sqnr_db"] > 28 for output in report["outputs"])
    network = hwgen.load(tmp_path / "model.onnx")
    for output, values in network.run(short).items():
        assert noise(wanted[output], values) > 25


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_more_bits_are_much_closer(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    path = export(MODELS[name](), tmp_path / "float.onnx")
    quality = {}
    for bits in (4, 8, 12, 16):
        calibration = Calibration(path, Options(bits=bits, weight_bits=bits))
        report = calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
        quality[bits] = report["outputs"][0]["sqnr_db"]
    # 6 dB a bit, of which little may be lost.
    assert quality[8] > quality[4] + 18 and quality[12] > quality[8] + 20 and quality[16] > quality[8] + 40, quality
    assert quality[16] > 75, quality


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("method", [Method.MINMAX, Method.MSE])
def test_powers_of_two_give_the_same_codes_in_reference_integers_and_onnxruntime(
    name: str, method: Method, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    path = export(MODELS[name](), tmp_path / "float.onnx")
    calibration = Calibration(path, Options(power_of_two=True, method=method))
    calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    scales = [
        float(value)
        for tensor in model.graph.initializer
        if tensor.name.endswith(".scale")
        for value in numpy_helper.to_array(tensor).reshape(-1)
    ]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales += [float(constants[node.input[1]]) for node in model.graph.node if node.op_type == "Quant"]
    assert len(scales) >= 7 and all(math.frexp(scale)[0] == 0.5 for scale in scales)
    network = hwgen.load(tmp_path / "model.onnx")
    quantizer = network.wires["x"].quantizer
    codes = np.random.default_rng(6).integers(quantizer.codes.lo, quantizer.codes.hi + 1, (50, 32, FEATURES))
    assert_lowered(network, lower(network), {"x": quantizer.dequantize(codes).astype(np.float32)})


def test_layers_and_quantizers_are_those_of_the_model(tmp_path: Path) -> None:
    torch.manual_seed(5)
    path = export(MODELS["gru, lstm, argmax"](), tmp_path / "float.onnx")
    options = Options(bits=6, weight_bits=5, accumulator_bits=10, cell_bits=12)
    Calibration(path, options).run(inputs_of(Calibration(path, options).network), tmp_path / "model.onnx")
    gru, lstm, *_, dense, argmax = hwgen.load(tmp_path / "model.onnx").layers
    assert isinstance(gru, GruLayer) and isinstance(lstm, LstmLayer)
    assert isinstance(dense, DenseLayer) and isinstance(argmax, ArgmaxLayer)
    assert dense.step is None, "the last sums stay as they are"
    assert (lstm.cell.codes.bits, lstm.output.codes.bits, lstm.gates[0].accumulator.codes.bits) == (12, 6, 10)
    assert (gru.new.hidden_accumulator.codes.bits, gru.new.activation_quantizer.codes.bits) == (10, 6)
    assert not lstm.gate("forget").activation_quantizer.codes.signed
    for weight in (gru.new.hidden_weight, lstm.gates[0].input_weight, dense.weight):
        assert weight.quantizer.codes.bits == 5 and weight.quantizer.codes.narrow
        assert np.abs(weight.codes).max() >= 8, "its range should be used"
    # The update gate's quantizer has a code for 1.
    assert (
        abs(gru.update.activation_quantizer.quantize_exact(1.0) * gru.update.activation_quantizer.scale[0] - 1) < 0.01
    )


def test_directions_share_a_quantizer_and_heads_have_their_own(tmp_path: Path) -> None:
    torch.manual_seed(6)
    path = export(MODELS["directions joined by hand, tanh"](), tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
    layers = hwgen.load(tmp_path / "model.onnx").layers
    cells = [layer for layer in layers if isinstance(layer, LstmLayer)]
    assert [layer.reverse for layer in cells] == [False, True, False, True]
    assert cells[0].output == cells[1].output and cells[2].output == cells[3].output
    assert sum(isinstance(layer, ConcatLayer) for layer in layers) == 2
    squash = next(layer for layer in layers if isinstance(layer, QuantizeLayer))
    assert squash.source.quantizer != squash.step.quantizer


def test_output_bits_quantize_the_last_sums(tmp_path: Path) -> None:
    torch.manual_seed(7)
    path = export(MODELS["rnn, relu, head"](), tmp_path / "float.onnx")
    calibration = Calibration(path, Options(output_bits=11))
    calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    rnn, last = network.layers[0], network.layers[-1]
    assert isinstance(rnn, RnnLayer) and not rnn.output.codes.signed, "a ReLU needs no sign"
    assert isinstance(last, DenseLayer) and last.step is not None and last.step.quantizer.codes.bits == 11
    inputs = inputs_of(network)
    (wanted,), (found,) = float_run(path, inputs).values(), network.run(inputs).values()
    assert noise(wanted, found) > 28


def test_min_max_scales_hold_what_the_network_shows(tmp_path: Path) -> None:
    """Ranges by a hook on the torch module: cell state, hidden state and the input's accumulators."""
    torch.manual_seed(8)
    module = nn.LSTM(FEATURES, HIDDEN)
    path = export(module, tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    inputs = inputs_of(calibration.network)
    report = calibration.run(inputs, tmp_path / "model.onnx")
    places = {place["what"]: place for layer in report["layers"] for place in layer["places"]}
    x, low, high = torch.from_numpy(inputs["x"]), [], []
    h = c = torch.zeros(1, BATCH, HIDDEN)
    with torch.no_grad():
        for step in x:
            sums = step @ module.weight_ih_l0.T + module.bias_ih_l0 + h[0] @ module.weight_hh_l0.T + module.bias_hh_l0
            parts = sums.split(HIDDEN, dim=-1)  # torch's order: i, f, g, o
            low.append([float(part.min()) for part in parts])
            high.append([float(part.max()) for part in parts])
            h, c = module(step[None], (h, c))[1]
    for place, name in enumerate(("input acc", "forget acc", "cell acc", "output acc")):
        wanted = min(row[place] for row in low), max(row[place] for row in high)
        assert places[name]["seen"] == pytest.approx(wanted, abs=1e-5)
        need = max(wanted[1] / 127, wanted[0] / -128)
        assert need * (1 - 1e-5) <= places[name]["scale"] <= need * (1 + 2.0**-11)
        assert places[name]["clipped"] == 0
    assert places["input"]["seen"] == pytest.approx((inputs["x"].min(), inputs["x"].max()))
    # Input and hidden state have scales of one mantissa: one of them may be up to twice what it needs.
    assert math.frexp(places["input"]["scale"] / places["output"]["scale"])[0] == 0.5


def test_percentile_clips_outliers_and_says_so(tmp_path: Path) -> None:
    torch.manual_seed(9)
    path = export(nn.LSTM(FEATURES, HIDDEN), tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    inputs = inputs_of(calibration.network)
    inputs["x"][0, 0, 0] = 20.0
    quality = {}
    for method in Method:
        options = Options(method=method, percentile=99.0, bits=4)
        report = Calibration(path, options).run(inputs, tmp_path / f"{method.value}.onnx")
        place = report["layers"][0]["places"][0]
        quality[method] = place["scale"], place["clipped"]
    assert quality[Method.MINMAX][0] >= 20 / 7 and quality[Method.MINMAX][1] == 0
    scale, clipped = quality[Method.PERCENTILE]
    assert scale < 0.9 and 0 < clipped < 0.02
    assert quality[Method.MSE][0] < quality[Method.MINMAX][0]


def test_the_report_is_what_the_file_computes(tmp_path: Path) -> None:
    torch.manual_seed(10)
    path = export(MODELS["lstm, head on every step"](), tmp_path / "float.onnx")
    calibration = Calibration(path, Options(bits=5))
    inputs = inputs_of(calibration.network)
    report = calibration.run(inputs, tmp_path / "model.onnx")
    (wanted,), (found,) = float_run(path, inputs).values(), hwgen.load(tmp_path / "model.onnx").run(inputs).values()
    (output,) = report["outputs"]
    assert output["sqnr_db"] == pytest.approx(noise(wanted, found), abs=0.01)
    assert output["greatest_error"] == pytest.approx(np.abs(wanted - found).max(), abs=1e-4)
    assert output["argmax_agreement"] == (wanted.argmax(-1) == found.argmax(-1)).mean() < 1
    names = [layer["name"] for layer in report["layers"]]
    assert names[0] == "x" and len(names) == 3
    lstm, dense = report["layers"][1:]
    assert len(lstm["places"]) == 11 and len(lstm["weights"]) == 8
    # Each layer by itself costs less than all before it together.
    assert dense["sqnr_alone_db"] > dense["sqnr_db"] and lstm["sqnr_db"] <= lstm["sqnr_alone_db"] + 0.1


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    torch.manual_seed(11)
    path = export(MODELS["gru, two bidirectional layers"](), tmp_path / "float.onnx")
    written = []
    for place in range(2):
        calibration = Calibration(path, Options(method=Method.MSE, per_channel=True))
        calibration.run(inputs_of(calibration.network), tmp_path / f"{place}.onnx")
        written.append((tmp_path / f"{place}.onnx").read_bytes())
    assert written[0] == written[1]


def test_scales_by_channel(tmp_path: Path) -> None:
    torch.manual_seed(12)
    path = export(MODELS["lstm, head on every step"](), tmp_path / "float.onnx")
    quality = {}
    for per_channel in (False, True):
        calibration = Calibration(path, Options(weight_bits=3, bits=12, per_channel=per_channel))
        inputs = inputs_of(calibration.network)
        report = calibration.run(inputs, tmp_path / "model.onnx")
        quality[per_channel] = report["outputs"][0]["sqnr_db"]
    network = hwgen.load(tmp_path / "model.onnx")
    layer = network.layers[0]
    assert isinstance(layer, LstmLayer) and layer.gates[0].hidden_weight.quantizer.channels == HIDDEN
    assert quality[True] > quality[False]
    assert_lowered(network, lower(network), inputs)


def test_learned_initial_states_are_kept(tmp_path: Path) -> None:
    class Started(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(FEATURES, HIDDEN, bidirectional=True)
            self.start = nn.Parameter(torch.linspace(-0.8, 0.8, 2 * HIDDEN).reshape(2, 1, HIDDEN))

        def forward(self, x: torch.Tensor) -> Any:
            return self.gru(x, self.start.expand(2, x.shape[1], HIDDEN).contiguous())[0]

    torch.manual_seed(13)
    module = Started()
    path = export(module, tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    inputs = inputs_of(calibration.network)
    calibration.run(inputs, tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    for place in range(2):
        layer = network.layers[place]
        assert isinstance(layer, GruLayer)
        found = layer.initial_hidden.values({}, 1)[0]
        np.testing.assert_allclose(found, module.start.detach()[place, 0], atol=layer.output.scale[0] / 2)
    (wanted,), (values,) = float_run(path, inputs).values(), network.run(inputs).values()
    assert noise(wanted, values) > 28


# Weights that come quantized.


def weight_only(**options: Any) -> nn.Module:
    missing = dict.fromkeys(
        ("io_quant", "gate_acc_quant", "sigmoid_quant", "tanh_quant", "cell_state_quant", "bias_quant")
    )
    return qnn.QuantLSTM(FEATURES, HIDDEN, **missing, **options)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cifg", [False, True])
def test_brevitas_weight_only_keeps_its_weights(batch_first: bool, layers: int, cifg: bool, tmp_path: Path) -> None:
    torch.manual_seed(14)
    module = weight_only(batch_first=batch_first, num_layers=layers, coupled_input_forget_gates=cifg).eval()
    x = torch.randn((BATCH, STEPS, FEATURES) if batch_first else (STEPS, BATCH, FEATURES))
    with quiet():
        export_qonnx(module, x, export_path=str(tmp_path / "float.onnx"), dynamo=False)
    calibration = Calibration(tmp_path / "float.onnx", Options(weight_bits=3))
    (name,) = (port.name for port in calibration.network.inputs)
    report = calibration.run({name: x.numpy()}, tmp_path / "model.onnx")
    assert any("Brevitas 0.13 confuses" in warning for warning in report["warnings"])
    network = hwgen.load(tmp_path / "model.onnx")
    first = network.layers[0]
    assert isinstance(first, LstmLayer) and first.coupled == cifg
    with quiet():
        wanted = module(x)[0].detach().numpy()
        for gate, brevitas in (("input", "input"), ("cell", "cell"), ("output", "output")):
            parameters = getattr(module.layers[0][0], f"{brevitas}_gate_params")
            found = first.gate(gate)
            exact = parameters.input_weight.weight_quant(parameters.input_weight.weight)
            np.testing.assert_array_equal(found.input_weight.codes, exact.int().numpy())
            assert found.input_weight.quantizer.scale == (float(exact.scale),)
            exact = parameters.hidden_weight.weight.detach().numpy() / float(exact.scale)
            np.testing.assert_array_equal(found.hidden_weight.codes, np.clip(np.rint(exact), -127, 127))
    y = next(iter(network.run({name: x.numpy()}).values()))
    assert noise(wanted, y) > 25
    assert all(weights["from_file"] for weights in report["layers"][1]["weights"])
    assert not any("not exact" in warning for warning in report["warnings"])


def dequantized(path: Path, zero_point: int, axis: bool) -> Path:
    """W and R of a torch export as int8 behind DequantizeLinear, one scale or one per row."""
    model = onnx.load(path)
    (node,) = (node for node in model.graph.node if node.op_type == "LSTM")
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for place in (1, 2):
        values = numpy_helper.to_array(stored[node.input[place]])
        rows = np.abs(values).max(axis=(0, 2)) / 120
        scale = np.asarray(rows if axis else rows.max(), np.float32)
        codes = np.rint(values / (scale[:, None] if axis else scale)).astype(np.int8) + np.int8(zero_point)
        name = f"weight{place}"
        zeros = np.full(scale.shape, zero_point, np.int8)
        for part, array in (("codes", codes), ("scale", scale), ("zero", zeros)):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), f"{name}.{part}"))
        inputs = [f"{name}.codes", f"{name}.scale", f"{name}.zero"]
        model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", inputs, [name], name=name, axis=1))
        node.input[place] = name
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("zero_point", "axis"), [(0, False), (0, True), (3, False)])
def test_weights_behind_dequantize_linear_keep_codes_and_scales(zero_point: int, axis: bool, tmp_path: Path) -> None:
    torch.manual_seed(15)
    path = dequantized(export(nn.LSTM(FEATURES, HIDDEN), tmp_path / "float.onnx"), zero_point, axis)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    calibration = Calibration(path, Options())
    inputs = inputs_of(calibration.network)
    wanted = float_run(path, inputs)
    report = calibration.run(inputs, tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    layer = network.layers[0]
    assert isinstance(layer, LstmLayer)
    for place, part in ((1, "input_weight"), (2, "hidden_weight")):
        codes = constants[f"weight{place}.codes"][0].reshape(4, HIDDEN, -1)
        scales = np.broadcast_to(constants[f"weight{place}.scale"], (4 * HIDDEN,)).reshape(4, HIDDEN)
        for row, gate in enumerate(("input", "output", "forget", "cell")):
            weight = getattr(layer.gate(gate), part)
            np.testing.assert_array_equal(weight.codes, codes[row])
            np.testing.assert_array_equal(np.broadcast_to(weight.quantizer.scale, HIDDEN), scales[row])
            assert set(weight.quantizer.zero_point) == {zero_point}
    # Scales of W and R with no small ratio: bounded, and said so.
    assert any("within" in warning and "not exact" in warning for warning in report["warnings"])
    found = network.run(inputs)
    assert all(noise(values, found[name]) > 30 for name, values in wanted.items())
    assert_lowered(network, lower(network), inputs)


# The command.


def test_the_command_writes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(16)
    export(MODELS["gru, batch first, head on the last step"](), tmp_path / "float.onnx")
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(1).normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32))
    arguments = ["calibrate", "float.onnx", "--data", "x.npy", "-o", "model.onnx", "--method", "percentile"]
    result = CliRunner().invoke(main, [*arguments, "--percentile", "99.5", "--cell-bits", "12"])
    assert result.exit_code == 0, result.output
    for expected in ("GRU, reversed", "update sigmoid", "uint8", "SQNR", "same argmax", "24 sequences of 12 steps"):
        assert expected in result.output, expected
    first = Path("model.onnx").read_bytes()
    result = CliRunner().invoke(main, [*arguments, "--percentile", "99.5", "--cell-bits", "12", "--json"])
    report = json.loads(result.output)
    assert report["options"]["percentile"] == 99.5 and report["options"]["method"] == "percentile"
    assert report["sequences"] == BATCH and report["outputs"][0]["argmax_agreement"] > 0.8
    assert Path("model.onnx").read_bytes() == first
    for command in (["inspect", "model.onnx"], ["lower", "model.onnx", "-o", "lowered.onnx"]):
        assert CliRunner().invoke(main, command).exit_code == 0
    run = CliRunner().invoke(main, ["run", "model.onnx", "--input", "x.npy", "--output", "y.npz"])
    assert run.exit_code == 0, run.output
    api = hwgen.calibrate("float.onnx", np.load("x.npy"), "again.onnx", "percentile", percentile=99.5, cell_bits=12)
    assert Path("again.onnx").read_bytes() == first and api["outputs"] == report["outputs"]


def test_an_lstm_can_be_built_at_once(tmp_path: Path) -> None:
    torch.manual_seed(17)
    path = export(nn.LSTM(FEATURES, HIDDEN), tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
    result = CliRunner().invoke(main, ["build", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "project")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "project" / "hls" / "src").is_dir()


def test_observing_leaves_no_trace_in_the_draft(tmp_path: Path) -> None:
    """A calibration may run on several data sets, each by itself."""
    torch.manual_seed(18)
    path = export(nn.GRU(FEATURES, HIDDEN), tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    small, large = inputs_of(calibration.network, 1), inputs_of(calibration.network, 2)
    large = {"x": 5 * large["x"]}
    first = calibration.run(small, tmp_path / "a.onnx")
    calibration.run(large, tmp_path / "b.onnx")
    assert calibration.run(small, tmp_path / "a.onnx")["layers"] == first["layers"]
    observer = Observer()
    evaluate(calibration.network, calibration._draft, calibration.network.bind(small), observer)
    assert observer.seen["x.quantizer"].count == small["x"].size


def test_data_of_any_numeric_type_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(19)
    path = export(nn.RNN(FEATURES, HIDDEN), tmp_path / "float.onnx")
    calibration = Calibration(path, Options())
    codes = np.random.default_rng(1).integers(-3, 4, (STEPS, BATCH, FEATURES))
    written = []
    for dtype in (np.int8, np.float64):
        calibration.run({"x": codes.astype(dtype)}, tmp_path / "model.onnx")
        written.append((tmp_path / "model.onnx").read_bytes())
    assert written[0] == written[1]
    assert io.BytesIO(written[0]).getbuffer().nbytes < 2**15
