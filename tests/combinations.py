# SPDX-License-Identifier: Apache-2.0
"""Seeded random networks as Brevitas builds them: options, widths, sizes, stacks, directions and heads combined.

The first are of LSTMs, those from ``FIRST_RNN`` on of plain RNNs, of which some have an LSTM behind them.  Needs torch
and brevitas.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from brevitas import nn as qnn
from brevitas.export import export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    Uint8ActPerTensorFixedPoint,
)
from option_sets import quiet

import hwgen

STEPS, BATCH = 6, 3
FIRST_RNN = 40
SEEDS = range(56)
_FIXED_POINT = {
    "weight_quant": Int8WeightPerTensorFixedPoint,
    "io_quant": Int8ActPerTensorFixedPoint,
    "gate_acc_quant": Int8ActPerTensorFixedPoint,
    "sigmoid_quant": Uint8ActPerTensorFixedPoint,
    "tanh_quant": Int8ActPerTensorFixedPoint,
    "cell_state_quant": Int8ActPerTensorFixedPoint,
}
_ACTIVATIONS = ("io", "gate_acc", "sigmoid", "tanh", "cell_state")
HEADS = ("none", "last step", "every step", "deep", "argmax", "second block")


class Combination(torch.nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, forward: Callable[..., Any], layers: dict[str, torch.nn.Module]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleDict(layers)
        self._forward = forward

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._forward(self.layers, *inputs)


def _lstm(choose: random.Random, inputs: int, hidden: int, layers: int, both: bool, batch_first: bool) -> Any:
    options: dict[str, Any] = dict(_FIXED_POINT) if choose.random() < 0.6 else {}
    options |= {
        "num_layers": layers,
        "bidirectional": both,
        "batch_first": batch_first,
        "bias": choose.random() < 0.8,
        "coupled_input_forget_gates": choose.random() < 0.25,
        "shared_intra_layer_weight_quant": choose.random() < 0.25,
        "shared_intra_layer_gate_acc_quant": choose.random() < 0.25,
        "shared_cell_state_quant": choose.random() < 0.75,
        "weight_bit_width": choose.choice([2, 3, 4, 8, 8, 12]),
    }
    # Brevitas wants one quantizer for cell states that it concatenates.
    options["cat_output_cell_states"] = options["shared_cell_state_quant"]
    if both:
        options["shared_input_hidden_weights"] = choose.random() < 0.4
    if choose.random() < 0.5:
        options |= {f"{name}_bit_width": choose.randint(2, 12) for name in _ACTIVATIONS}
        options["cell_state_bit_width"] = choose.randint(4, 16)
    if choose.random() < 0.25:
        options["weight_scaling_per_output_channel"] = True
    return qnn.QuantLSTM(inputs, hidden, **options)


def _rnn(choose: random.Random, inputs: int, hidden: int, layers: int, both: bool, batch_first: bool) -> Any:
    names = ("weight_quant", "io_quant", "gate_acc_quant")
    options: dict[str, Any] = {name: _FIXED_POINT[name] for name in names} if choose.random() < 0.6 else {}
    options |= {
        "num_layers": layers,
        "nonlinearity": choose.choice(["tanh", "relu"]),
        "bidirectional": both,
        "batch_first": batch_first,
        "bias": choose.random() < 0.8,
        "shared_input_hidden_weights": both and choose.random() < 0.4,
        "weight_bit_width": choose.choice([2, 3, 4, 8, 8, 12]),
        "weight_scaling_per_output_channel": choose.random() < 0.25,
    }
    if choose.random() < 0.6:
        # QuantRNN's prefix of the accumulator differs from QuantLSTM's.
        options |= {f"{name}_bit_width": choose.randint(2, 12) for name in ("io", "gate_acc_quant")}
    if options["nonlinearity"] == "relu" and choose.random() < 0.4:
        options["io_quant"] = Uint8ActPerTensorFixedPoint
    return qnn.QuantRNN(inputs, hidden, **options)


def _linear(choose: random.Random, inputs: int, outputs: int, channels: bool = True) -> torch.nn.Module:
    layer: torch.nn.Module = qnn.QuantLinear(
        inputs,
        outputs,
        bias=choose.random() < 0.8,
        weight_quant=choose.choice([Int8WeightPerTensorFixedPoint, Int8WeightPerTensorFloat]),
        weight_bit_width=choose.choice([2, 4, 8]),
        weight_scaling_per_output_channel=channels and choose.random() < 0.3,
    )
    return layer


def describe(seed: int) -> str:
    """What combination ``seed`` is, in a few words."""
    return _draw(seed)[1]


def _draw(seed: int) -> tuple[Combination, str, tuple[int, ...], int]:
    """The module, its description, the shape of its input, and how many layers and directions take states."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    both, layers = choose.random() < 0.4, choose.choice([1, 1, 2, 2, 3])
    inputs, hidden = choose.randint(1, 24), choose.choice([2, 3, 5, 8, 8, 12, 16, 20, 64 if layers == 1 else 24])
    batch_first = choose.random() < 0.3
    head = HEADS[seed % len(HEADS)]
    # Brevitas takes states of stacks in one direction at other places than it says: it is given none there.
    stateful = head in ("none", "last step") and (both or layers == 1) and choose.random() < 0.5
    states = layers * (1 + both) if stateful else 0
    first, make = ("lstm", _lstm) if seed < FIRST_RNN else ("rnn", _rnn)
    parts: dict[str, Any] = {first: make(choose, inputs, hidden, layers, both, batch_first)}
    width, classes = hidden * (1 + both), choose.randint(2, 10)

    def last(y: torch.Tensor) -> torch.Tensor:
        return y[:, -1] if batch_first else y[-1]

    def relu() -> torch.nn.Module:
        module: torch.nn.Module = qnn.QuantReLU(
            act_quant=Uint8ActPerTensorFixedPoint, bit_width=choose.choice([3, 4, 8])
        )
        return module

    forwards: dict[str, Callable[..., Any]] = {
        "none": lambda m, *x: m[first](*x)[0],
        "last step": lambda m, *x: m["out"](last(m[first](*x)[0])),
        "every step": lambda m, x: m["out"](m[first](x)[0]),
        "deep": lambda m, x: m["out"](m["relu"](m["hidden"](last(m[first](x)[0])))),
        "argmax": lambda m, x: m["out"](m[first](x)[0]).argmax(-1),
        "second block": lambda m, x: last(m["second"](m["between"](m[first](x)[0]))[0]),
    }
    if head == "deep":
        parts |= {"hidden": _linear(choose, width, 2 * classes), "relu": relu()}
        parts["out"] = _linear(choose, 2 * classes, classes)
    elif head == "second block":
        parts["between"] = qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=choose.choice([4, 8]))
        make = _lstm if seed < FIRST_RNN else choose.choice([_lstm, _rnn])
        parts["second"] = make(choose, width, choose.choice([3, 6, 10]), 1, choose.random() < 0.3, batch_first)
    elif head != "none":
        # What an argmax compares needs one scale.
        parts["out"] = _linear(choose, width, classes, channels=head != "argmax")
    shape = (BATCH, STEPS, inputs) if batch_first else (STEPS, BATCH, inputs)
    kind = f"{layers} layer{'s' if layers > 1 else ''}{', both directions' if both else ''}"
    text = f"{kind}, {inputs} -> {hidden}, head: {head}{', states given' if states else ''}"
    if seed >= FIRST_RNN:
        behind = " and LSTM" if isinstance(parts.get("second"), qnn.QuantLSTM) else ""
        text = f"{parts['rnn'].layers[0][0].cell.act_fn.__class__.__name__.lower()}{behind}, {text}"
    return Combination(forwards[head], parts), text, shape, states


def export(seed: int, path: Path) -> str:
    """Write combination ``seed`` to a file, its scales taken from seeded random data; returns its description."""
    with quiet():
        module, text, shape, states = _draw(seed)
        kind = "lstm" if seed < FIRST_RNN else "rnn"
        hidden = module.layers[kind].layers[0][0].hidden_size
        names = ["x", "h0", "c0"][: (3 if kind == "lstm" else 2) if states else 1]
        given = [torch.randn(shape)] + [0.5 * torch.randn(states, BATCH, hidden) for _ in names[1:]]
        module.train()
        with torch.no_grad():
            for _ in range(5):
                module(torch.randn(shape), *given[1:])
        module.eval()
        if kind == "rnn":
            # Brevitas has no export of it.
            hwgen.export_qonnx(module, tuple(given), path, input_names=names, output_names=["y"])
        else:
            export_qonnx(
                module, args=tuple(given), export_path=str(path), dynamo=False, input_names=names, output_names=["y"]
            )
    return text
