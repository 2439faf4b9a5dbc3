# SPDX-License-Identifier: Apache-2.0
"""Module to graph by Brevitas' own export, with handlers that repair it."""

from __future__ import annotations

import functools
import logging
import warnings
from pathlib import Path
from types import MethodType
from typing import Any

from hwgen.errors import UnsupportedError
from hwgen.export.graph import CALL, input_mark
from hwgen.export.libraries import libraries
from hwgen.export.modules import RNN_QUANTIZERS, call_name, described, recurrent_layers

DOMAIN, DOMAIN_VERSION = "hwgen.custom_op", 1


def trace_to_file(module: Any, example: tuple[Any, ...], path: Path) -> None:
    """Write the graph with the exporter that knows recurrent layers; to be used within ``left_as_it_was``."""
    opsets: dict[str, int] = {}
    for name, layer in recurrent_layers(module).items():
        layer.hwgen_name = name
        if isinstance(layer, libraries().RnnLayer):
            layer.forward = MethodType(_rnn_forward, layer)
            opsets = {DOMAIN: DOMAIN_VERSION}
    for part in module.modules():
        # Handlers and values of an earlier export.
        for attribute in ("export_handler", "_cached_act", "_cached_bias", "_cached_weight"):
            if getattr(part, attribute, None) is not None:
                setattr(part, attribute, None)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _manager().export(
                module,
                args=example,
                export_path=str(path),
                dynamo=False,
                keep_initializers_as_inputs=False,
                custom_opsets=opsets,
                input_names=[input_mark(place) for place in range(len(example))],
            )
    except OSError:
        raise
    except Exception as error:  # whatever Brevitas and torch raise about operators that they cannot export
        raise UnsupportedError(f"Brevitas cannot export the module ({described(error)})") from error
    finally:
        logger.setLevel(level)


def _rnn_forward(layer: Any, given: Any, state: Any) -> Any:
    """What a layer of QuantRNN does, with the last hidden state as an output of the exported node.

    Brevitas would take the last entry of the first axis, which in export is neither with ``batch_first`` nor in the
    reversed direction the last step taken.
    """
    if not layer.export_mode:
        return type(layer).forward(layer, given, state)
    x = layer.maybe_quantize_input(given)
    parameters = layer.gate_params_fwd(layer.gate_params, x)
    values, input_weight, hidden_weight, bias = (getattr(part, "value", part) for part in (x, *parameters))
    if bias is None:
        bias = libraries().torch.tensor(0.0, device=values.device)
    h = layer.maybe_quantize_state(values, state, layer.cell.output_quant)
    sequence, last = layer.export_handler(values, getattr(h, "value", h), input_weight, hidden_weight, bias)
    return layer.pack_quant_outputs(sequence), layer.pack_quant_state(last, layer.cell.output_quant)


def _finish(outputs: Any, call: str, *like: Any) -> Any:
    """Note which layer a node is, and give what it puts out a type of any shape."""
    outputs[0].node().s_(CALL, call)
    for output, tensor in zip(outputs, like, strict=True):
        kind = tensor.type()
        output.setType(kind.with_sizes([None] * kind.dim()))
    return outputs


@functools.cache
def _manager() -> Any:
    """Brevitas' export to QONNX with handlers that repair it."""
    from brevitas.export.onnx.qonnx import handler
    from brevitas.export.onnx.qonnx.manager import QONNXManager

    replaced = (
        handler.BrevitasQuantLSTMLayerHandler,
        handler.BrevitasWeightQuantProxyHandler,
        handler.BrevitasBiasQuantProxyHandler,
    )

    class Manager(QONNXManager):
        """Brevitas' manager with other handlers for cells, weights and biases."""

        handlers = (
            _lstm_handler(),
            _rnn_handler(),
            *_parameter_handlers(),
            *(entry for entry in QONNXManager.handlers if entry not in replaced),
        )

    return Manager


class _Called:
    """Counts the calls of a layer: each is a node of its own."""

    layer_name: str
    calls: int

    def count_from(self, module: Any) -> None:
        self.layer_name, self.calls = module.hwgen_name, 0

    def call(self) -> str:
        self.calls += 1
        return call_name(self.layer_name, self.calls)


def _lstm_handler() -> Any:
    from brevitas.export.onnx.qonnx import function, handler

    class LstmCell(function.BrevitasQuantLSTMCellFn):
        """Brevitas' node with the name of its layer."""

        @staticmethod
        def symbolic(g: Any, *arguments: Any) -> Any:
            outputs = function.BrevitasQuantLSTMCellFn.symbolic(g, *arguments[:-1])
            return _finish(outputs, arguments[-1], *arguments[:3])

        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            return function.BrevitasQuantLSTMCellFn.forward(ctx, *arguments[:-1])

    class LstmHandler(_Called, handler.BrevitasQuantLSTMLayerHandler):
        """Emits LstmCell."""

        def prepare_for_export(self, module: Any) -> None:
            super().prepare_for_export(module)
            self.count_from(module)

        def quantized_cell_symbolic_execution(self, *tensors: Any, **named: Any) -> Any:
            return LstmCell.apply(*tensors, *named.values(), *self.symbolic_kwargs.values(), self.call())

    return LstmHandler


def _rnn_handler() -> Any:
    from brevitas.export.onnx.handler import ONNXBaseHandler
    from torch.autograd import Function

    class RnnCell(Function):
        """The node of a plain RNN, as docs/quant_rnn_cell.md specifies it."""

        @staticmethod
        def symbolic(g: Any, *arguments: Any) -> Any:
            *tensors, attributes, call = arguments
            outputs = g.op(f"{DOMAIN}::QuantRNNCell", *tensors, **attributes, outputs=2)
            return _finish(outputs, call, *tensors[:2])

        @staticmethod
        def forward(ctx: Any, x: Any, h: Any, *_: Any) -> Any:
            # Tracing needs shapes alone.
            return x.new_zeros(*x.shape[:2], h.shape[1]), h.clone()

    class RnnHandler(_Called, ONNXBaseHandler):
        """Emits RnnCell."""

        handled_layer = libraries().RnnLayer

        def prepare_for_export(self, module: Any) -> None:
            self.count_from(module)
            cell = module.cell
            self.triples: list[Any] = []
            self.attributes: dict[str, Any] = {
                "nonlinearity_s": type(cell.act_fn).__name__.lower(),
                "batch_first_i": int(cell.batch_first),
                "reverse_input_i": int(cell.reverse_input),
            }
            for name in RNN_QUANTIZERS:
                quantizer = getattr(cell, f"{name}_quant")
                self.triples += [quantizer.scale(), quantizer.zero_point(), quantizer.bit_width()]
                self.attributes |= {
                    f"{name}_narrow_i": int(quantizer.is_narrow_range),
                    f"{name}_signed_i": int(quantizer.is_signed),
                    f"{name}_rounding_mode_s": quantizer.rounding_mode,
                }

        def symbolic_execution(self, *tensors: Any) -> Any:
            return RnnCell.apply(*tensors, *self.triples, self.attributes, self.call())

    return RnnHandler


def _parameter_handlers() -> tuple[Any, Any]:
    """Weights and biases written with the values that the module computes with, which any rounding leaves alone.

    Brevitas writes them as they were before their quantizer, and weights with ROUND whatever they are rounded with.
    """
    from brevitas.export.onnx.qonnx import function, handler

    class Weight(handler.BrevitasWeightQuantProxyHandler):
        """A weight quantizer."""

        def symbolic_execution(self, x: Any) -> Any:
            return super().symbolic_execution(self.quant_weight_values[x.data_ptr()].detach())

    class Bias(handler.BrevitasBiasQuantProxyHandler):
        """A bias quantizer."""

        def prepare_for_export(self, module: Any) -> None:
            super().prepare_for_export(module)
            if not module.is_quant_enabled:
                return
            settings = self.symbolic_kwargs
            biases = [layer.bias for layer in module.tracked_module_list if layer.bias is not None]
            self.values = {
                bias.data_ptr(): function.BrevitasQuantTorchScriptFn.forward(None, bias.detach(), **settings)
                for bias in biases
            }
            settings["rounding_mode"] = "ROUND"

        def symbolic_execution(self, x: Any, *rest: Any) -> Any:
            return super().symbolic_execution(self.values[x.data_ptr()], *rest)

    return Weight, Bias
