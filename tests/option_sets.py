# SPDX-License-Identifier: Apache-2.0
"""The option sets of Brevitas' QuantLSTM that the tests cover, their export, and Brevitas' own results.

Needs torch and brevitas.  ``python tests/option_sets.py`` writes the files of tests/models anew (10 inputs, 20 hidden
units each), so that every other test runs without torch.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.nn import QuantLSTM

MODELS = Path(__file__).parent / "models"
SIZE = (10, 20)
EXPORT_STEPS, EXPORT_BATCH = 5, 3


@dataclass(frozen=True)
class OptionSet:
    """One way to configure a QuantLSTM.

    ``quantizers`` are names from brevitas.quant, or None.  ``states`` makes initial states graph inputs, or constants
    of the file.  ``spread`` is the standard deviation of the data that sets the scales.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    quantizers: dict[str, str | None] = field(default_factory=dict)
    states: str = "zero"
    reverse: bool = False
    spread: float = 1.0
    power_of_two: bool = False


def _all(suffix: str, value: object, *names: str) -> dict[str, Any]:
    """The same keyword for several quantizers: ``_all("bit_width", 4, "io", "tanh")``."""
    return {f"{name}_{suffix}": value for name in names}


_ACTIVATIONS = ("io", "gate_acc", "sigmoid", "tanh", "cell_state")
_FIXED_POINT: dict[str, str | None] = {
    "weight_quant": "Int8WeightPerTensorFixedPoint",
    "io_quant": "Int8ActPerTensorFixedPoint",
    "gate_acc_quant": "Int8ActPerTensorFixedPoint",
    "sigmoid_quant": "Uint8ActPerTensorFixedPoint",
    "tanh_quant": "Int8ActPerTensorFixedPoint",
    "cell_state_quant": "Int8ActPerTensorFixedPoint",
}
_SHIFTED_ACT = "ShiftedUint8ActPerTensorFloat"
_MIXED = {
    "weight_bit_width": 3,
    "io_bit_width": 5,
    "gate_acc_bit_width": 10,
    "sigmoid_bit_width": 7,
    "tanh_bit_width": 6,
    "cell_state_bit_width": 12,
}

OPTION_SETS: dict[str, OptionSet] = {
    option_set.name: option_set
    for option_set in (
        OptionSet("default"),
        OptionSet("wide_range", spread=4.0),
        OptionSet("batch_first", {"batch_first": True}),
        OptionSet("reversed", reverse=True),
        OptionSet("coupled", {"coupled_input_forget_gates": True}),
        OptionSet("shared_weight_quant", {"shared_intra_layer_weight_quant": True}),
        OptionSet("shared_gate_acc_quant", {"shared_intra_layer_gate_acc_quant": True}),
        OptionSet("no_bias", {"bias": False}),
        OptionSet("float_bias", {}, {"bias_quant": None}),
        OptionSet("weights4", {"weight_bit_width": 4}),
        OptionSet("per_channel", {"weight_scaling_per_output_channel": True}),
        OptionSet(
            "per_channel4_float_bias",
            {"weight_bit_width": 4, "weight_scaling_per_output_channel": True},
            {"bias_quant": None},
        ),
        OptionSet("binary", {}, {"weight_quant": "SignedBinaryWeightPerTensorConst"}),
        OptionSet("ternary", {}, {"weight_quant": "SignedTernaryWeightPerTensorConst"}),
        OptionSet("power_of_two", {}, _FIXED_POINT, power_of_two=True, spread=2.0),
        OptionSet("power_of_two_no_bias", {"bias": False, "cell_state_bit_width": 6}, _FIXED_POINT, power_of_two=True),
        OptionSet("shifted", {}, {"io_quant": _SHIFTED_ACT, "cell_state_quant": _SHIFTED_ACT}),
        OptionSet(
            "shifted_weights",
            {"cell_state_bit_width": 10},
            {"weight_quant": "ShiftedUint8WeightPerTensorFloat", "io_quant": _SHIFTED_ACT},
        ),
        OptionSet("mixed_widths", _MIXED),
        OptionSet("wide_state", _all("bit_width", 16, "cell_state", "gate_acc")),
        OptionSet("wide_everything", {"weight_bit_width": 12} | _all("bit_width", 16, *_ACTIVATIONS)),
        OptionSet(
            "narrow4",
            {"weight_bit_width": 4}
            | _all("bit_width", 4, *_ACTIVATIONS)
            | _all("narrow_range", True, "io", "gate_acc", "tanh", "cell_state", "sigmoid"),
        ),
        OptionSet(
            "two_bits", {"weight_bit_width": 2} | _all("bit_width", 2, *_ACTIVATIONS) | {"cell_state_bit_width": 3}
        ),
        OptionSet("one_bit_sigmoid", {"weight_bit_width": 2, "sigmoid_bit_width": 1, "tanh_bit_width": 2}),
        OptionSet("states", states="input"),
        OptionSet("constant_states", {"coupled_input_forget_gates": True}, states="constant"),
        OptionSet("states_reversed", {"batch_first": True}, states="input", reverse=True),
        *(
            OptionSet(f"round_{mode.lower()}", _all("float_to_int_impl_type", mode, *_ACTIVATIONS, "weight"))
            for mode in ("FLOOR", "CEIL", "ROUND_TO_ZERO")
        ),
        OptionSet(
            "floor_power_of_two",
            _all("float_to_int_impl_type", "FLOOR", *_ACTIVATIONS),
            _FIXED_POINT | {"bias_quant": None},
            power_of_two=True,
        ),
    )
}


def make_module(option_set: OptionSet, size: tuple[int, int] = SIZE, seed: int = 0) -> QuantLSTM:
    """A QuantLSTM in eval mode, its activation scales taken from seeded random data."""
    torch.manual_seed(seed)
    chosen = {
        name: None if quantizer is None else _quantizer(quantizer) for name, quantizer in option_set.quantizers.items()
    }
    with quiet():
        module = QuantLSTM(*size, **option_set.options, **chosen)
        layer = module.layers[0][0]
        layer.reverse_input = layer.cell.reverse_input = option_set.reverse
        module.train()
        for _ in range(3):
            module(torch.randn(12, 6, size[0]) * option_set.spread)
        return module.eval()


def _quantizer(name: str) -> Any:
    for module in ("scaled_int", "fixed_point", "shifted_scaled_int", "binary", "ternary"):
        found = getattr(importlib.import_module(f"brevitas.quant.{module}"), name, None)
        if found is not None:
            return found
    raise LookupError(f"brevitas has no quantizer {name}")


def export(option_set: OptionSet, module: QuantLSTM, path: Path, seed: int = 0) -> None:
    """Export with graph inputs x (and h0, c0), outputs y, h_n, c_n; constant states are folded into the file."""
    generator = torch.Generator().manual_seed(seed)
    hidden, features = module.layers[0][0].hidden_size, module.layers[0][0].input_size
    shape = (EXPORT_BATCH, EXPORT_STEPS) if option_set.options.get("batch_first") else (EXPORT_STEPS, EXPORT_BATCH)
    inputs = [torch.randn(*shape, features, generator=generator)]
    if option_set.states != "zero":
        inputs += [0.5 * torch.randn(1, 1, hidden, generator=generator).repeat(1, EXPORT_BATCH, 1) for _ in range(2)]
    with quiet():
        export_qonnx(
            module,
            args=tuple(inputs),
            export_path=str(path),
            dynamo=False,
            input_names=["x", "h0", "c0"][: len(inputs)],
            output_names=["y", "h_n", "c_n"],
        )
    if option_set.states == "constant":
        model = onnx.load(path)
        for name, value in (("h0", inputs[1]), ("c0", inputs[2])):
            del model.graph.input[[port.name for port in model.graph.input].index(name)]
            model.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))
        onnx.save(model, path)


def stepwise(
    module: QuantLSTM, x: np.ndarray, h0: np.ndarray | None = None, c0: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Brevitas' own float32 states: x [T, batch, I] -> the state before and after each step, in processing order.

    Every step starts from Brevitas' own previous state, passed back in through its quantizers.
    """
    layer = module.layers[0][0]
    batch_first, layer.cell.batch_first = layer.cell.batch_first, False
    fast, layer.fast_mode = layer.fast_mode, False
    zeros = np.zeros((x.shape[1], layer.hidden_size), np.float32)
    h, c = (torch.from_numpy(zeros if state is None else state)[None] for state in (h0, c0))
    if h0 is not None:
        with torch.no_grad():
            h, c = layer.cell.output_quant(h)[0], layer.cell.cell_state_quant(c)[0]
    before, after = [], []
    with torch.no_grad():
        for t in reversed(range(len(x))) if layer.reverse_input else range(len(x)):
            before.append((h[0].numpy().copy(), c[0].numpy().copy()))
            _, h, c = layer(torch.from_numpy(x[t : t + 1]), h[0], c[0])
            after.append((h[0].numpy().copy(), c[0].numpy().copy()))
    layer.cell.batch_first, layer.fast_mode = batch_first, fast
    order = -1 if layer.reverse_input else 1
    return {
        "h_before": np.stack([h for h, _ in before]),
        "c_before": np.stack([c for _, c in before]),
        "h_after": np.stack([h for h, _ in after]),
        "c_after": np.stack([c for _, c in after]),
        "x_used": x[::order],
    }


@contextlib.contextmanager
def quiet() -> Any:
    """Silence the exporters' warnings, which are about shapes of an unknown operator."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        yield


def golden(option_set: OptionSet, module: QuantLSTM, steps: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Seeded inputs and what Brevitas makes of them, step by step, as float32."""
    generator = np.random.default_rng(seed)
    features, hidden = module.layers[0][0].input_size, module.layers[0][0].hidden_size
    x = (option_set.spread * generator.standard_normal((steps, batch, features))).astype(np.float32)
    states: list[np.ndarray | None] = [None, None]
    if option_set.states == "input":
        states = [generator.standard_normal((batch, hidden)).astype(np.float32) for _ in range(2)]
    given = {name: state for name, state in zip(("h0", "c0"), states, strict=True) if state is not None}
    return {"x": x, **given, **stepwise(module, x, *states)}


def main() -> None:
    """Write tests/models."""
    MODELS.mkdir(exist_ok=True)
    for option_set in OPTION_SETS.values():
        module = make_module(option_set)
        export(option_set, module, MODELS / f"{option_set.name}.onnx")
        print(option_set.name, file=sys.stderr)


if __name__ == "__main__":
    main()
