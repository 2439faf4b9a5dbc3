# SPDX-License-Identifier: Apache-2.0
"""What a user hands over: the example, the module with its layers and quantizers, and what it returns."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hwgen.errors import ConfigError, ModelError, UnsupportedError, listing, printable
from hwgen.export.libraries import libraries
from hwgen.quantizer import FloatArray

# Quantizers of a cell, and the argument that sets each.
LSTM_QUANTIZERS = {
    "output": "io_quant",
    "cell_state": "cell_state_quant",
    **{f"{gate}_acc": "gate_acc_quant" for gate in ("input", "forget", "cell", "output")},
    **{f"{gate}_sigmoid": "sigmoid_quant" for gate in ("input", "forget", "output")},
    "cell_tanh": "tanh_quant",
    "hidden_state_tanh": "tanh_quant",
}
RNN_QUANTIZERS = {"output": "io_quant", "gate_acc": "gate_acc_quant"}


def checked_example(example: Any) -> tuple[Any, ...]:
    """The example as a tuple of float32 tensors."""
    known = libraries()
    whole = isinstance(example, known.Tensor | known.QuantTensor | known.PackedSequence)
    parts = (example,) if whole or not isinstance(example, list | tuple) else tuple(example)
    if not parts:
        raise ConfigError("example_input: a tensor or a tuple of tensors is needed, not an empty one")
    for part in parts:
        if isinstance(part, known.PackedSequence):
            raise UnsupportedError("example_input: a packed sequence cannot be exported; pad sequences to one length")
        if isinstance(part, known.QuantTensor):
            raise UnsupportedError("example_input: a QuantTensor cannot be a graph input; pass its .value")
        if not isinstance(part, known.Tensor):
            raise ConfigError(f"example_input: must be a tensor or a tuple of tensors, not {type(part).__name__}")
        if part.dtype is not known.torch.float32:
            raise ConfigError(f"example_input: must be of torch.float32, not {part.dtype}")
        if part.numel() == 0 or not bool(known.torch.isfinite(part).all()):
            raise ConfigError(f"example_input: must hold finite numbers; its shape is {list(part.shape)}")
    return parts


def recurrent_layers(module: Any) -> dict[str, Any]:
    """The recurrent layers of a module, each in one direction, by name."""
    kinds = libraries().LstmLayer, libraries().RnnLayer
    return {name or "layer": part for name, part in module.named_modules() if isinstance(part, kinds)}


def call_name(layer: str, call: int) -> str:
    """The name of a layer's node: a layer that is called again has several."""
    return layer if call == 1 else f"{layer}#{call}"


def check_module(module: Any) -> None:
    """Refuse modules that hwgen could not read, or that would not compute what is written."""
    known = libraries()
    for name, part in module.named_modules():
        label = f"{type(part).__name__} {printable(name)}"
        if isinstance(part, known.torch.nn.RNNBase | known.torch.nn.RNNCellBase):
            raise UnsupportedError(f"{label}: a float layer; use QuantLSTM or QuantRNN of brevitas.nn")
        if isinstance(part, known.QuantWeightMixin) and not part.weight_quant.is_quant_enabled:
            raise UnsupportedError(f"{label}: weight_quant is missing; every weight needs a quantizer")
    layers = recurrent_layers(module)
    if not layers:
        raise UnsupportedError(f"{type(module).__name__} has no recurrent layer; a QuantLSTM or QuantRNN is needed")
    for name, layer in layers.items():
        kind = "QuantLSTM" if isinstance(layer, known.LstmLayer) else "QuantRNN"
        arguments = LSTM_QUANTIZERS if kind == "QuantLSTM" else RNN_QUANTIZERS
        proxies = {quantizer: getattr(layer.cell, f"{quantizer}_quant") for quantizer in arguments}
        missing = {arguments[quantizer]: None for quantizer, proxy in proxies.items() if not proxy.is_quant_enabled}
        if missing:
            raise UnsupportedError(
                f"{kind} layer {printable(name)}: no {listing(missing)}; every quantizer of a recurrent layer is needed"
            )
        _check_fast_cell(f"{kind} layer {printable(name)}", layer, proxies)


def _check_fast_cell(label: str, layer: Any, proxies: Mapping[str, Any]) -> None:
    """Refuse a layer that computes with quantizers which it no longer has.

    Brevitas keeps the quantizers of a layer's first run; load_state_dict makes new ones, which the layer then ignores.
    """
    cached = layer._fast_cell
    if cached is None or not layer.fast_mode:
        return
    for quantizer, proxy in proxies.items():
        if getattr(cached, f"{quantizer}_quant") is not proxy.fused_activation_quant_proxy:
            raise ModelError(
                f"{label}: it still computes with the quantizers that it had before its state was loaded; load the "
                "state before the first run, or set _fast_cell = None on this layer"
            )


def is_bare(module: Any) -> bool:
    """Whether a module is a QuantLSTM or QuantRNN and nothing else."""
    return isinstance(module, libraries().Stack)


def run(module: Any, given: tuple[Any, ...], what: str) -> Any:
    """Call a module; whatever goes wrong is due to ``what`` it was given."""
    try:
        with libraries().torch.no_grad():
            return module(*given)
    except Exception as error:  # torch raises whatever it likes where shapes do not fit
        shapes = " and ".join(str(list(part.shape)) for part in given)
        raise ConfigError(f"{what}: the module cannot take shape {shapes} ({described(error)})") from error


def described(error: Exception) -> str:
    """An error of another library as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def value_kinds(results: Any) -> list[bool]:
    """For each tensor among the results whether it is a value; the others are a QuantTensor's scale and the like."""
    known = libraries()
    if isinstance(results, known.QuantTensor):
        return [True] + [False] * (sum(isinstance(part, known.Tensor) for part in results) - 1)
    if isinstance(results, list | tuple):
        return [kind for part in results for kind in value_kinds(part)]
    if isinstance(results, known.Tensor):
        return [True]
    raise UnsupportedError(
        f"the module returns a {type(results).__name__}; it must return tensors, in tuples or lists if several"
    )


def values(results: Any) -> list[FloatArray]:
    """The values among the results."""
    if isinstance(results, libraries().QuantTensor):
        results = results.value
    if isinstance(results, list | tuple):
        return [array for part in results for array in values(part)]
    return [as_array(results)]


def as_array(tensor: Any) -> FloatArray:
    """A tensor as float64."""
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)


def input_names(module: Any, count: int) -> list[str]:
    """Names for the inputs: x, h0 and c0 of a recurrent module, otherwise those of the arguments of forward."""
    if is_bare(module):
        return ["x", "h0", "c0"][:count]
    parameters = inspect.signature(module.forward).parameters.values()
    named = [entry.name for entry in parameters if entry.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(named) >= count:
        return named[:count]
    return ["x"] if count == 1 else [f"x{place}" for place in range(count)]


def output_names(module: Any, count: int) -> list[str]:
    """Names for the outputs: y, h_n and c_n of a recurrent module, otherwise y, or y0, y1 and so on."""
    if not is_bare(module):
        return ["y"] if count == 1 else [f"y{place}" for place in range(count)]
    if count <= 3:
        return ["y", "h_n", "c_n"][:count]
    return ["y", "h_n", *(f"c_n{place}" for place in range(count - 2))]


@contextlib.contextmanager
def left_as_it_was(module: Any) -> Iterator[None]:
    """Evaluation mode; afterwards every attribute is put back that an export sets: flags, handlers, caches, hooks."""
    known = libraries()
    if not isinstance(module, known.torch.nn.Module):
        raise ConfigError(f"module: must be a torch.nn.Module, not {type(module).__name__}")
    if known.config.JIT_ENABLED:
        raise ConfigError("BREVITAS_JIT: must be 0; Brevitas cannot export what TorchScript has compiled")
    parts = list(module.modules())
    training = [part.training for part in parts]
    saved = [(part, dict(part.__dict__), dict(part._modules)) for part in parts]
    try:
        module.eval()
        yield
    finally:
        for part, attributes, children in saved:
            part._modules.clear()
            part._modules.update(children)
            part.__dict__.clear()
            part.__dict__.update(attributes)
        for part, was in zip(parts, training, strict=True):
            part.training = was
