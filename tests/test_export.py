# SPDX-License-Identifier: Apache-2.0
"""export_qonnx: every kind of module computes afterwards what it computed before, and what does not is noticed.

With power-of-two scales Brevitas' float32 is exact: it, the reference and the integer model agree in every value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import float32
import numpy as np
import onnx
import option_sets
import pytest
import test_brevitas
import torch
from brevitas import nn as qnn
from brevitas.export import export_qonnx as brevitas_export
from brevitas.quant import Int8ActPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
from lowered import assert_lowered, code_inputs
from onnx import numpy_helper
from option_sets import OPTION_SETS, quiet
from test_networks import (
    BATCH,
    FEATURES,
    HIDDEN,
    MODELS,
    POWERS,
    SIZES,
    STEPS,
    Model,
    identity,
    linear,
    plain,
    small_bias,
)

import hwgen
from hwgen import host
from hwgen.agreement import Agreement
from hwgen.errors import ConfigError, HwgenError, ModelError, UnsupportedError
from hwgen.export import check_qonnx
from hwgen.layers import LstmLayer, QuantizedTensor, RnnLayer
from hwgen.lowering import lower
from hwgen.network import NetworkInput
from hwgen.quantizer import FloatArray

torch.set_num_threads(1)

RNN_POWERS = {name: POWERS[name] for name in ("weight_quant", "bias_quant", "io_quant", "gate_acc_quant")}
OPTION_SIZE = (6, 8)
# Brevitas says ROUND of weights that it rounds in another way, and its biases have more bits than float32.
REPAIRED = {"round_floor", "round_ceil", "round_round_to_zero", "wide_everything"}


def rnn(inputs: int = FEATURES, hidden: int = HIDDEN, **options: Any) -> qnn.QuantRNN:
    return qnn.QuantRNN(inputs, hidden, **{**RNN_POWERS, **options})


def rounded(mode: str) -> dict[str, Any]:
    """The same rounding everywhere.  QuantRNN's prefix of the accumulator differs from QuantLSTM's."""
    return {f"{name}_float_to_int_impl_type": mode for name in ("io", "gate_acc_quant", "weight")}


def rnn_states(m: Any, x: torch.Tensor, h: torch.Tensor) -> Any:
    return m["rnn"](x, h)


def both_kinds(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m["out"](m["lstm"](m["between"](m["rnn"](x)[0]))[1][0])


# What is exported, and how many states are inputs.
VARIANTS: dict[str, tuple[Callable[[], torch.nn.Module], int]] = {
    "tanh": (rnn, 0),
    "relu": (lambda: rnn(nonlinearity="relu"), 0),
    "relu, unsigned": (lambda: rnn(nonlinearity="relu", io_quant=Uint8ActPerTensorFixedPoint), 0),
    "two layers": (lambda: rnn(num_layers=2), 0),
    "bidirectional": (lambda: rnn(bidirectional=True), 0),
    "bidirectional, batch first": (lambda: rnn(bidirectional=True, batch_first=True, nonlinearity="relu"), 0),
    "three bidirectional layers": (lambda: rnn(num_layers=3, bidirectional=True), 0),
    "shared weights": (lambda: rnn(bidirectional=True, shared_input_hidden_weights=True), 0),
    "batch first": (lambda: rnn(num_layers=2, batch_first=True), 0),
    "no bias": (lambda: rnn(bias=False), 0),
    "float bias": (lambda: rnn(bias_quant=None), 0),
    "scales by unit": (lambda: rnn(weight_scaling_per_output_channel=True), 0),
    "few bits": (lambda: rnn(weight_bit_width=3, io_bit_width=5, gate_acc_quant_bit_width=6, bias_quant=None), 0),
    "narrow": (lambda: rnn(io_narrow_range=True, gate_acc_quant_narrow_range=True), 0),
    "rounded down": (lambda: rnn(bias_quant=None, **rounded("FLOOR")), 0),
    "rounded to zero": (lambda: rnn(bias_quant=None, **rounded("ROUND_TO_ZERO")), 0),
    "QuantTensors": (lambda: rnn(num_layers=2, bidirectional=True, return_quant_tensor=True), 0),
    "states given": (lambda: rnn(bidirectional=True), 2),
    "states given, two layers": (lambda: Model(rnn_states, rnn=rnn(num_layers=2, bidirectional=True)), 4),
    # Brevitas takes the state of layer l in direction d from entry 2 l + d, whether there are directions or not.
    "states given, one direction": (lambda: rnn(num_layers=2), 3),
    "classifier": (
        lambda: Model(lambda m, x: m["out"](m["rnn"](x)[0][-1]), rnn=rnn(), out=small_bias(linear(HIDDEN, 4))),
        0,
    ),
    "head behind both directions": (
        lambda: Model(
            lambda m, x: m["out"](m["mid"](m["rnn"](x)[0])).argmax(-1),
            rnn=rnn(bidirectional=True, nonlinearity="relu"),
            mid=identity(),
            out=small_bias(linear(2 * HIDDEN, 5)),
        ),
        0,
    ),
    "an LSTM behind an RNN": (
        lambda: Model(
            both_kinds,
            rnn=rnn(bidirectional=True),
            between=qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint),
            lstm=qnn.QuantLSTM(2 * HIDDEN, 5, **POWERS),
            out=linear(5, 3),
        ),
        0,
    ),
    "one layer called twice": (
        lambda: Model(lambda m, x: m["rnn"](m["rnn"](x)[0])[0], rnn=rnn(HIDDEN)),
        0,
    ),
}


def calibrated(module: torch.nn.Module, example: tuple[torch.Tensor, ...], seed: int) -> torch.nn.Module:
    """Scales from seeded random data; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad(), quiet():
        module.train()
        for _ in range(4):
            module(*(torch.randn(part.shape, generator=generator) * part.std() for part in example))
    return module.eval()


def made(name: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """One of the variants, and its inputs."""
    build, states = VARIANTS[name]
    torch.manual_seed(len(name))
    with quiet():
        module = build()
    x = 1.5 * torch.randn(STEPS, BATCH, HIDDEN if name == "one layer called twice" else FEATURES)
    if "batch first" in name:
        x = x.transpose(0, 1)
    example = (x, 0.5 * torch.randn(states, BATCH, HIDDEN)) if states else (x,)
    return calibrated(module, example, len(name)), example


def arrays(network: hwgen.Network, example: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    return {port.name: tensor.numpy() for port, tensor in zip(network.inputs, example, strict=True)}


@pytest.mark.parametrize("name", VARIANTS)
def test_module_reference_and_integer_model_agree_in_every_value(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    module, example = made(name)
    agreement = hwgen.export_qonnx(module, example, tmp_path / "model.onnx")
    assert (agreement.moved, agreement.wrong) == (0, 0)
    record_property("values compared", agreement.values)
    network = hwgen.load(tmp_path / "model.onnx")
    assert not network.warnings
    with torch.no_grad():
        wanted = plain(module(*example))
    inputs = arrays(network, example)
    reference, codes = network.run(inputs), host.run(network, lower(network), inputs)
    assert len(reference) == len(wanted)
    for (output, values), theirs in zip(reference.items(), wanted, strict=True):
        np.testing.assert_array_equal(values, codes[output], f"{output}: reference and integer model")
        # Brevitas rounds once, where it adds a bias in float32.
        np.testing.assert_array_equal(values.astype(theirs.dtype), theirs, f"{output}: reference and Brevitas")
        assert len(np.unique(theirs)) > 1, f"{output} never moves"
    # As ONNX of standard operators: onnxruntime gives the same, at the ends of all codes as well.
    assert_lowered(network, lower(network), inputs, *(code_inputs(network, *size, seed=2) for size in SIZES))


# Scales of float32: a difference needs a rounding boundary next to it.

FLOAT_VARIANTS: dict[str, dict[str, Any]] = {
    "tanh": {},
    "relu": {"nonlinearity": "relu"},
    "two bidirectional layers": {"num_layers": 2, "bidirectional": True},
    "scales by unit, batch first": {"weight_scaling_per_output_channel": True, "batch_first": True},
    "zero points": {"io_quant": option_sets._quantizer("ShiftedUint8ActPerTensorFloat")},
    "relu, zero points": {
        "nonlinearity": "relu",
        "io_quant": option_sets._quantizer("ShiftedUint8ActPerTensorFloat"),
        "bidirectional": True,
    },
    "12 bits": {"io_bit_width": 12, "gate_acc_quant_bit_width": 12, "weight_bit_width": 6},
    "float bias": {"bias_quant": None},
    **{f"all {mode}": rounded(mode) for mode in ("FLOOR", "CEIL", "ROUND_TO_ZERO")},
}


def float_rnn(name: str) -> tuple[qnn.QuantRNN, torch.Tensor]:
    torch.manual_seed(7)
    options = FLOAT_VARIANTS[name]
    with quiet():
        module = qnn.QuantRNN(10, 20, **options)
    x = torch.randn(32, 12, 10) if "batch first" in name else torch.randn(12, 32, 10)
    calibrated(module, (x,), 3)
    return module, x


def one_step(layer: Any, x: torch.Tensor, h: torch.Tensor) -> FloatArray:
    """Brevitas' next hidden state from a state that is on its grid: x [rows, I], h [rows, H]."""
    weights = [getattr(part, "value", part) for part in layer.gate_params_fwd(layer.gate_params, layer.io_quant(x))]
    bias = torch.tensor(0.0) if weights[2] is None else weights[2]
    cell = layer.fast_cell if layer.fast_mode else layer.cell
    with torch.no_grad():
        return np.asarray(cell.forward_iter(x, h, *weights[:2], bias)[0].numpy(), np.float64)


@pytest.mark.parametrize("name", FLOAT_VARIANTS)
def test_every_step_of_a_float_scaled_rnn_is_explained(name: str, tmp_path: Path) -> None:
    """Not by the bounds that the export itself uses, but by trying each side of each boundary that is near."""
    module, example = float_rnn(name)
    agreement = hwgen.export_qonnx(module, example, tmp_path / "model.onnx")
    assert agreement.wrong == 0
    random = np.random.default_rng(5)
    network = hwgen.load(tmp_path / "model.onnx")
    assert_lowered(network, lower(network), *(code_inputs(network, *size, seed=3) for size in SIZES))
    layers = [layer for layer in network.layers if isinstance(layer, RnnLayer)]
    for ours, theirs in zip(layers, (layer for stack in module.layers for layer in stack), strict=True):
        assert ours.reverse == theirs.reverse_input and ours.name.replace(".", "")[-2:].isdigit()
        codes = [
            random.integers(quantizer.codes.lo, quantizer.codes.hi + 1, (2000, width))
            for quantizer, width in ((ours.input, ours.input_size), (ours.output, ours.hidden_size))
        ]
        x, h = (q.dequantize(c) for q, c in zip((ours.input, ours.output), codes, strict=True))
        single = (torch.from_numpy(values.astype(np.float32)) for values in (x, h))
        found = float32.codes_of(one_step(theirs, *single), ours.output)
        wanted = float32.codes_of(ours.gate(x, h), ours.output)
        differing = np.argwhere(found != wanted)
        for row, unit in differing:
            distance = explanation(ours, x[row], h[row], int(unit), found[row, unit])
            assert distance <= 1e-3, f"{ours.name}, unit {unit}: {found[row, unit]} instead of {wanted[row, unit]}"
        if ours.output.rounding.value == "ROUND":
            assert len(differing) <= 0.005 * found.size


def explanation(layer: RnnLayer, x: FloatArray, h: FloatArray, unit: int, code: float) -> float:
    """How near to a boundary those quantizers are that must fall on the other side to give ``code``."""
    gate = layer.gate
    total = float(gate.input_weight.values()[unit] @ x + gate.hidden_weight.values()[unit] @ h)
    total += float(np.broadcast_to(gate.bias_values(), layer.hidden_size)[unit])
    sums = float32.outcomes(gate.accumulator, {total: 0.0}, unit)
    activated = {float(gate.activation(np.array(value))): distance for value, distance in sums.items()}
    reached = float32.outcomes(layer.output, activated, unit)
    ways = [needed for value, needed in reached.items() if float32.codes_of(value, layer.output) == code]
    return min(ways, default=np.inf)


# Everything that the other tests export.


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Agreement, Path, Path]]:
    """An option set as hwgen and as Brevitas export it, made once."""
    folder, known = tmp_path_factory.mktemp("option_sets"), {}

    def make(name: str) -> tuple[Any, Agreement, Path, Path]:
        if name not in known:
            option_set = OPTION_SETS[name]
            if option_set.states == "constant":  # it becomes one when the file is edited
                option_set = replace(option_set, states="input")
            module = option_sets.make_module(option_set, OPTION_SIZE)
            theirs, ours = folder / f"{name}_brevitas.onnx", folder / f"{name}.onnx"
            option_sets.export(option_set, module, theirs)
            agreement = hwgen.export_qonnx(module, example_of(option_set), ours)
            known[name] = module, agreement, ours, theirs
        return known[name]

    return make


def example_of(option_set: option_sets.OptionSet) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    shape = (3, 5) if option_set.options.get("batch_first") else (5, 3)
    x = torch.randn(*shape, OPTION_SIZE[0], generator=generator)
    states = 0 if option_set.states == "zero" else 2
    return (x, *(0.5 * torch.randn(1, 3, OPTION_SIZE[1], generator=generator) for _ in range(states)))


@pytest.mark.parametrize("name", OPTION_SETS)
def test_option_sets_give_the_codes_that_brevitas_own_export_gives(
    name: str, exported: Callable[[str], tuple[Any, Agreement, Path, Path]]
) -> None:
    _, agreement, ours, theirs = exported(name)
    assert agreement.wrong == 0
    if OPTION_SETS[name].power_of_two:
        assert agreement.moved == 0
    networks = [hwgen.load(path) for path in (ours, theirs)]
    random = np.random.default_rng(9)
    inputs = {
        port.name: random.normal(0, OPTION_SETS[name].spread, port_shape(port)).astype(np.float32)
        for port in networks[0].inputs
    }
    results = [network.run(inputs) for network in networks]
    assert list(results[0]) == list(results[1]) == ["y", "h_n", "c_n"]
    same_codes = all(np.array_equal(*pair) for pair in zip(*map(parameter_codes, networks), strict=True))
    same_results = all(np.array_equal(results[0][output], results[1][output]) for output in results[0])
    assert (same_codes and same_results) != (name in REPAIRED)


def port_shape(port: NetworkInput) -> list[int]:
    lengths = {"T": 11, "N": 4, "F": port.features, "S": port.count}
    return [lengths[axis] for axis in port.axes]


def parameter_codes(network: hwgen.Network) -> list[Any]:
    """Codes of weights and biases; float biases as they are."""
    gates = network.layer.gates
    weights = [weight.codes for gate in gates for weight in (gate.input_weight, gate.hidden_weight)]
    return weights + [gate.bias.codes if isinstance(gate.bias, QuantizedTensor) else gate.bias for gate in gates]


@pytest.mark.parametrize("name", sorted(REPAIRED))
def test_repaired_parameters_are_those_that_the_module_computes_with(
    name: str, exported: Callable[[str], tuple[Any, Agreement, Path, Path]]
) -> None:
    module, agreement, ours, theirs = exported(name)
    layer = module.layers[0][0]
    x = layer.maybe_quantize_input(torch.zeros(1, 1, OPTION_SIZE[0]))
    counts = [test_brevitas.brevitas_weights(layer, hwgen.load(path).layer, x)[1:] for path in (ours, theirs)]
    assert counts[0] == (0, 0), "hwgen's export"
    assert sum(counts[1]) > 0, "Brevitas' own export"
    places = [place for place in agreement.places if "weight" in place.name or "bias" in place.name]
    assert len(places) == 4 * 3, "four gates of three tensors"
    assert sum(place.moved for place in places) == 0


SHORT = ("states given", "classifier")
LONG = [pytest.param(name, marks=pytest.mark.long) for name in MODELS if name not in SHORT]


@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_networks_agree_in_every_value(name: str, tmp_path: Path) -> None:
    torch.manual_seed(len(name))
    module, count = MODELS[name]()
    example = (
        1.5 * torch.randn(STEPS, BATCH, FEATURES),
        *(0.5 * torch.randn(2, BATCH, HIDDEN) for _ in range(count - 1)),
    )
    calibrated(module, example, 1)
    agreement = hwgen.export_qonnx(module, example, tmp_path / "model.onnx")
    assert (agreement.moved, agreement.wrong) == (0, 0) and agreement.values > 10_000


# Names, shapes, and what is left behind.


def names(path: Path) -> tuple[list[str], list[str]]:
    network = hwgen.load(path)
    return [port.name for port in network.inputs], [output.name for output in network.outputs]


@pytest.fixture
def small() -> tuple[qnn.QuantRNN, torch.Tensor]:
    """The smallest module there is."""
    torch.manual_seed(1)
    with quiet():
        module = qnn.QuantRNN(3, 4, **RNN_POWERS)
    x = torch.randn(5, 2, 3)
    calibrated(module, (x,), 1)
    return module, x


def test_ports_of_a_recurrent_module_are_named_as_torch_names_them(small: Any, tmp_path: Path) -> None:
    module, x = small
    hwgen.export_qonnx(module, x, tmp_path / "a.onnx")
    assert names(tmp_path / "a.onnx") == (["x"], ["y", "h_n"])
    hwgen.export_qonnx(module, (x, torch.zeros(1, 2, 4)), tmp_path / "b.onnx")
    assert names(tmp_path / "b.onnx") == (["x", "h0"], ["y", "h_n"])
    torch.manual_seed(1)
    lstm = calibrated(qnn.QuantLSTM(3, 4, **POWERS), (x,), 1)
    hwgen.export_qonnx(lstm, (x, torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)), tmp_path / "c.onnx")
    assert names(tmp_path / "c.onnx") == (["x", "h0", "c0"], ["y", "h_n", "c_n"])


class Named(torch.nn.Module):
    """A module whose arguments have names."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, samples: torch.Tensor, start: torch.Tensor) -> Any:
        y, _ = self.inner(samples, start)
        return y, y[-1], y


def test_ports_of_other_modules_are_named_as_their_arguments(small: Any, tmp_path: Path) -> None:
    module, x = small
    example = x, torch.zeros(1, 2, 4)
    hwgen.export_qonnx(Named(module), example, tmp_path / "a.onnx")
    assert names(tmp_path / "a.onnx") == (["samples", "start"], ["y0", "y1", "y2"])
    # Names that the graph has already for something else.
    taken = [node.output[0] for node in onnx.load(tmp_path / "a.onnx").graph.node if "Quant" in node.op_type]
    outputs = [taken[0], "inner.layers.0.0.gate_params.bias", taken[1]]
    hwgen.export_qonnx(Named(module), example, tmp_path / "b.onnx", ["a", taken[-1]], outputs)
    assert names(tmp_path / "b.onnx") == (["a", taken[-1]], outputs)


def test_constant_outputs_are_gone_and_axes_are_free(tmp_path: Path) -> None:
    module, example = made("QuantTensors")
    hwgen.export_qonnx(module, example, tmp_path / "ours.onnx")
    graph = onnx.load(tmp_path / "ours.onnx").graph
    shapes = {
        port.name: [dim.dim_param or dim.dim_value for dim in port.type.tensor_type.shape.dim]
        for port in (*graph.input, *graph.output)
    }
    assert shapes["x"] == ["time", "batch", FEATURES] and list(shapes) == ["x", "y", "h_n"]
    with torch.no_grad():
        assert all(len(result) == 6 for result in module(*example)), "QuantTensors, whose parts torch traces as well"
    assert [node.name for node in graph.node if node.op_type == "QuantRNNCell"] == [
        f"layers.{layer}.{direction}" for layer in (0, 1) for direction in (0, 1)
    ]


def test_the_module_stays_as_it_was(tmp_path: Path) -> None:
    module, example = made("classifier")
    module.layers["rnn"].train()
    before = {name: (part.training, set(part.__dict__), set(part._modules)) for name, part in module.named_modules()}
    with torch.no_grad(), quiet():
        expected = module.eval()(*example)
        module.layers["rnn"].train()
        brevitas_export(linear(3, 2), args=torch.randn(1, 3), export_path=str(tmp_path / "other.onnx"), dynamo=False)
    hwgen.export_qonnx(module, example, tmp_path / "a.onnx")
    with pytest.raises(ConfigError):
        hwgen.export_qonnx(module, torch.randn(1, 1, 99), tmp_path / "b.onnx")
    after = {name: (part.training, set(part.__dict__), set(part._modules)) for name, part in module.named_modules()}
    # The first run has made Brevitas' fast cells.
    assert {name: after[name] for name in before} == before
    assert module.layers["rnn"].training and not module.layers["out"].training
    with torch.no_grad():
        np.testing.assert_array_equal(module.eval()(*example), expected)


def test_an_export_may_follow_one_of_brevitas_and_precede_one(tmp_path: Path) -> None:
    option_set = OPTION_SETS["round_floor"]
    module = option_sets.make_module(option_set, OPTION_SIZE)
    option_sets.export(option_set, module, tmp_path / "before.onnx")
    hwgen.export_qonnx(module, example_of(option_set), tmp_path / "ours.onnx")
    option_sets.export(option_set, module, tmp_path / "after.onnx")
    before, ours, after = (
        parameter_codes(hwgen.load(tmp_path / f"{name}.onnx")) for name in ("before", "ours", "after")
    )
    assert all(map(np.array_equal, before, after))
    assert not all(map(np.array_equal, before, ours))


# What is refused.


def float_head(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m["out"](m["rnn"](x)[0])


def one_length(m: Any, x: torch.Tensor) -> torch.Tensor:
    if len(x) != STEPS:
        raise ValueError(f"{STEPS} steps")
    return m["rnn"](x)[0]


REFUSED: dict[str, tuple[Callable[[], torch.nn.Module], type[HwgenError], str]] = {
    "no quantizer of the accumulator": (
        lambda: rnn(gate_acc_quant=None),
        UnsupportedError,
        "QuantRNN layer 'layers.0.0': no gate_acc_quant; every quantizer of a recurrent layer is needed",
    ),
    "no weight quantizer": (
        lambda: rnn(weight_quant=None, bias_quant=None),
        UnsupportedError,
        "GateWeight 'layers.0.0.gate_params.input_weight': weight_quant is missing; every weight needs a quantizer",
    ),
    "two quantizers of an LSTM missing": (
        lambda: qnn.QuantLSTM(FEATURES, 4, **{**POWERS, "sigmoid_quant": None, "cell_state_quant": None}),
        UnsupportedError,
        "QuantLSTM layer 'layers.0.0': no cell_state_quant, sigmoid_quant; every quantizer of a recurrent layer is "
        "needed",
    ),
    "a float layer": (
        lambda: Model(lambda m, x: m["rnn"](x)[0], rnn=torch.nn.LSTM(FEATURES, 4)),
        UnsupportedError,
        "LSTM 'layers.rnn': a float layer; use QuantLSTM or QuantRNN of brevitas.nn",
    ),
    "no recurrent layer": (
        lambda: qnn.QuantLinear(FEATURES, 4, bias=True),
        UnsupportedError,
        "QuantLinear has no recurrent layer; a QuantLSTM or QuantRNN is needed",
    ),
    "a head without quantizer": (
        lambda: Model(float_head, rnn=rnn(), out=linear(HIDDEN, 2, weight_quant=None)),
        UnsupportedError,
        "QuantLinear 'layers.out': weight_quant is missing; every weight needs a quantizer",
    ),
    "a constant output": (
        lambda: Model(lambda m, x: (m["rnn"](x)[0], torch.zeros(2)), rnn=rnn()),
        UnsupportedError,
        "output 'y1' of the module depends on no input; leave it out",
    ),
    "a dictionary": (
        lambda: Model(lambda m, x: {"y": m["rnn"](x)[0]}, rnn=rnn()),
        UnsupportedError,
        "the module returns a dict; it must return tensors, in tuples or lists if several",
    ),
    "an operator that hwgen cannot read": (
        lambda: Model(lambda m, x: m["rnn"](x)[0].cumsum(0), rnn=rnn()),
        UnsupportedError,
        "graph output 'y'",
    ),
    "a module for one length": (
        lambda: Model(one_length, rnn=rnn()),
        ConfigError,
        f"input of another length or batch size: the module cannot take shape [1, 1, {FEATURES}] (ValueError: 11 steps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_modules_that_cannot_be_exported_are_refused_by_name(name: str, tmp_path: Path) -> None:
    build, kind, message = REFUSED[name]
    torch.manual_seed(0)
    with quiet():
        module = build()
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        hwgen.export_qonnx(module, torch.randn(STEPS, 2, FEATURES), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_an_input_that_reaches_no_output_is_refused(tmp_path: Path) -> None:
    module = Model(lambda m, x, unused: m["rnn"](x)[0], rnn=rnn())
    x = torch.ones(STEPS, 2, FEATURES)
    with pytest.raises(UnsupportedError, match=r"^input 'x1' of the module reaches no output; leave it out$"):
        hwgen.export_qonnx(module, (x, x), tmp_path / "model.onnx")


EXAMPLES: dict[str, tuple[Any, type[HwgenError], str]] = {
    "an array": (np.zeros((5, 2, 3)), ConfigError, "must be a tensor or a tuple of tensors, not ndarray"),
    "nothing": ((), ConfigError, "a tensor or a tuple of tensors is needed, not an empty one"),
    "integers": (torch.ones(5, 2, 3).long(), ConfigError, "must be of torch.float32, not torch.int64"),
    "NaN": (torch.full((5, 2, 3), torch.nan), ConfigError, "must hold finite numbers; its shape is [5, 2, 3]"),
    "no steps": (torch.ones(0, 2, 3), ConfigError, "must hold finite numbers; its shape is [0, 2, 3]"),
    "too many features": (
        torch.ones(5, 2, 9),
        ConfigError,
        "the module cannot take shape [5, 2, 9] (RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "too many tensors": (
        (torch.ones(5, 2, 3), torch.ones(1, 2, 4), torch.ones(1, 2, 4)),
        ConfigError,
        "the module cannot take shape [5, 2, 3] and [1, 2, 4] and [1, 2, 4] (TypeError: ",
    ),
    "a packed sequence": (
        torch.nn.utils.rnn.pack_sequence([torch.ones(5, 3), torch.ones(2, 3)]),
        UnsupportedError,
        "a packed sequence cannot be exported; pad sequences to one length",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_wrong_examples_are_refused(name: str, small: Any, tmp_path: Path) -> None:
    example, kind, message = EXAMPLES[name]
    with pytest.raises(kind, match=f"^example_input: {re.escape(message)}"):
        hwgen.export_qonnx(small[0], example, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["a", "b"], None, "input_names: 1 needed, given 2 ('a', 'b')"),
        ("x", None, "input_names: must be a list of names, not 'x'"),
        (["layers.0.0"], None, "input_names: 'layers.0.0' is the name of a layer; choose another"),
        (None, ["y", "y"], "output_names: must differ from each other, not be 'y', 'y'"),
        (None, ["y", ""], "output_names: must be a list of names, not ['y', '']"),
        (["y"], None, "output_names: must differ from those of the inputs, y"),
    ],
)
def test_wrong_names_are_refused(inputs: Any, outputs: Any, message: str, small: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        hwgen.export_qonnx(small[0], small[1], tmp_path / "model.onnx", inputs, outputs)


def test_a_folder_that_is_not_there_is_refused(small: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its folder does not exist; make it first$"):
        hwgen.export_qonnx(small[0], small[1], tmp_path / "none" / "model.onnx")


def test_torchscript_is_refused(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brevitas.config.JIT_ENABLED", True)
    with pytest.raises(ConfigError, match="^BREVITAS_JIT: must be 0; Brevitas cannot export what TorchScript has"):
        hwgen.export_qonnx(small[0], small[1], tmp_path / "model.onnx")


def test_a_state_loaded_after_the_first_run_is_noticed(tmp_path: Path) -> None:
    """Brevitas goes on with the quantizers of the first run, and says nothing."""
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    with quiet():
        trained, other = (calibrated(qnn.QuantRNN(3, 4), (spread * x,), 1) for spread in (10.0, 0.1))
    other.load_state_dict(trained.state_dict(), strict=False)
    with torch.no_grad():
        assert not torch.equal(trained(x)[0], other(x)[0])
    with pytest.raises(ModelError, match=r"^QuantRNN layer 'layers.0.0': it still computes with the quantizers"):
        hwgen.export_qonnx(other, x, tmp_path / "model.onnx")
    other.layers[0][0]._fast_cell = None
    hwgen.export_qonnx(other, x, tmp_path / "model.onnx")


# What the check notices.


def initializer(model: onnx.ModelProto, part: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if part in tensor.name)


def cell_input(model: onnx.ModelProto, index: int) -> onnx.TensorProto:
    cell = next(node for node in model.graph.node if node.op_type == "QuantRNNCell")
    producers = {node.output[0]: node.input[0] for node in model.graph.node}
    name = producers.get(cell.input[index], cell.input[index])
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def change(tensor: onnx.TensorProto, function: Callable[[FloatArray], Any]) -> None:
    values = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(function(values), np.float32), tensor.name))


def one_more(places: int) -> Callable[[FloatArray], FloatArray]:
    """A constant with its first entry moved by ``places`` of the grid that its values span."""

    def edit(values: FloatArray) -> FloatArray:
        flat = values.reshape(-1)
        distinct = np.diff(np.unique(np.abs(flat)))
        flat[0] += places * distinct[distinct > 0].min()
        return values

    return edit


def attribute(name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        cell = next(node for node in model.graph.node if node.op_type == "QuantRNNCell")
        kept = [entry for entry in cell.attribute if entry.name != name]
        del cell.attribute[:]
        cell.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return edit


def head_weight(model: onnx.ModelProto) -> None:
    """The weight that no trace of a recurrent layer shows."""
    producers = {name: node for node in model.graph.node for name in node.output}
    matrix = next(node for node in model.graph.node if node.op_type in ("MatMul", "Gemm"))
    node = producers[matrix.input[1]]
    while "Quant" not in node.op_type:
        node = producers[node.input[0]]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[0])
    change(tensor, one_more(1))


PLANTED: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "a weight": (lambda model: change(cell_input(model, 2), one_more(1)), "gate, input weight: 1 of "),
    "a hidden weight": (lambda model: change(cell_input(model, 3), one_more(1)), "gate, hidden weight: 1 of "),
    "a bias": (lambda model: change(cell_input(model, 4), lambda values: values + values.std()), "gate, bias: "),
    "the scale of the accumulator": (
        lambda model: change(cell_input(model, 8), lambda scale: scale * 1.01),
        "hidden state: ",
    ),
    "its rounding": (attribute("gate_acc_rounding_mode", "CEIL"), "hidden state: "),
    "the rounding of the output": (attribute("output_rounding_mode", "FLOOR"), "initial hidden state|hidden state: "),
    "the nonlinearity": (attribute("nonlinearity", "relu"), "hidden state: "),
    "the direction": (attribute("reverse_input", 1), "input: "),
    "a weight of the head": (head_weight, "graph output 'y': "),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_noticed(name: str, tmp_path: Path) -> None:
    module, example = made("classifier")
    path = tmp_path / "model.onnx"
    agreement = hwgen.export_qonnx(module, example, path)
    again = check_qonnx(module, example, path)
    assert again == agreement
    edit, place = PLANTED[name]
    model = onnx.load(path)
    edit(model)
    onnx.save(model, path)
    start = "^the exported file computes something else than the module: [0-9,]+ of [0-9,]+ values differ"
    with pytest.raises(ModelError, match=f"{start}.*({place}).* LSB"):
        check_qonnx(module, example, path)


def test_a_batch_of_real_data_is_compared_by_itself(tmp_path: Path) -> None:
    module, example = made("classifier")
    path = tmp_path / "model.onnx"
    agreement = hwgen.export_qonnx(module, example, path)
    alone = check_qonnx(module, example, path, random_inputs=False)
    assert alone.places == agreement.places[: len(alone.places)]
    outputs = [[place.name for place in found.places].count("graph output 'y'") for found in (alone, agreement)]
    assert outputs == [1, 4]
    model = onnx.load(path)
    head_weight(model)
    onnx.save(model, path)
    with pytest.raises(ModelError, match="graph output 'y': .* LSB"):
        check_qonnx(module, example, path, random_inputs=False)


def test_a_difference_leaves_no_file(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = small
    hwgen.export_qonnx(module, x, tmp_path / "model.onnx")
    before = (tmp_path / "model.onnx").read_bytes()
    weight = module.layers[0][0].gate_params.input_weight.weight
    calls = iter(range(1000))

    def moving(module: Any, given: Any) -> None:
        """Other weights in every run: what is written then is no longer what is computed."""
        with torch.no_grad():
            weight.mul_(-1.0 if next(calls) % 2 else 1.0)

    handle = module.register_forward_pre_hook(moving)
    with pytest.raises(ModelError, match="^the exported file computes something else than the module"):
        hwgen.export_qonnx(module, x, tmp_path / "model.onnx")
    handle.remove()
    assert (tmp_path / "model.onnx").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_without_torch_the_error_says_what_to_install(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import hwgen\n"
        "try:\n    hwgen.export_qonnx(None, None, 'x.onnx')\n"
        "except hwgen.errors.ToolError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert re.search(r"^export_qonnx needs torch and Brevitas \(.*\): pip install 'hwgen\[train\]'$", result.stdout)


def test_layers_of_all_kinds_are_named_after_the_module(tmp_path: Path) -> None:
    module, example = made("an LSTM behind an RNN")
    hwgen.export_qonnx(module, example, tmp_path / "model.onnx")
    layers = hwgen.load(tmp_path / "model.onnx").layers
    assert [(type(layer), layer.name) for layer in layers if isinstance(layer, LstmLayer | RnnLayer)] == [
        (RnnLayer, "layers.rnn.layers.0.0"),
        (RnnLayer, "layers.rnn.layers.0.1"),
        (LstmLayer, "layers.lstm.layers.0.0"),
    ]
    module, example = made("one layer called twice")
    hwgen.export_qonnx(module, example, tmp_path / "model.onnx")
    layers = hwgen.load(tmp_path / "model.onnx").layers
    assert [layer.name for layer in layers] == ["layers.rnn.layers.0.0", "layers.rnn.layers.0.0#2"]


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "export.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    with quiet():
        exec(code[1], scope)
    assert scope["logits"].shape == (3, 9) and scope["agreement"].wrong == 0
    assert names(tmp_path / "model.onnx") == (["x"], ["logits"])
