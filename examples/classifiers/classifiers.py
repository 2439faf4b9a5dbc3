# SPDX-License-Identifier: Apache-2.0
"""The classifiers in torch and Brevitas: float, quantized throughout, and with quantized weights alone."""

from __future__ import annotations

from typing import Any

import torch
from brevitas.nn import QuantLinear, QuantLSTM, QuantRNN
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Int8WeightPerTensorFloat, Uint8ActPerTensorFloatMaxInit
from experiments import Experiment
from torch import Tensor, nn

_SIGNED, _UNSIGNED = Int8ActPerTensorFloatMinMaxInit, Uint8ActPerTensorFloatMaxInit
_ACTIVATIONS = ("io_quant", "gate_acc_quant", "sigmoid_quant", "tanh_quant", "cell_state_quant", "bias_quant")


class Classifier(nn.Module):
    """Recurrent layers and a dense one on their last hidden state, or on the last ones of both directions."""

    def __init__(self, recurrent: nn.Module, head: nn.Module, bidirectional: bool) -> None:
        super().__init__()
        self.recurrent, self.head, self.bidirectional = recurrent, head, bidirectional

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [batch, classes] and the greatest one's index [batch], for x [steps, batch, features]."""
        y, states = self.recurrent(x)
        if self.bidirectional:
            # The reversed direction ends at the first step.
            h_n = states[0] if isinstance(states, tuple) else states
            last = torch.cat([h_n[-2], h_n[-1]], dim=-1)
        else:
            last = y[-1]
        logits: Tensor = self.head(last)
        return logits, logits.argmax(-1)


def floating(experiment: Experiment) -> Classifier:
    """The network in float."""
    kind = {"LSTM": nn.LSTM, "RNN": nn.RNN, "GRU": nn.GRU}[experiment.kind]
    recurrent = kind(
        experiment.features, experiment.hidden, num_layers=experiment.layers, bidirectional=experiment.bidirectional
    )
    return Classifier(recurrent, nn.Linear(_width(experiment), experiment.classes), experiment.bidirectional)


def quantized(experiment: Experiment, trained: Classifier) -> Classifier:
    """The network in 8 bits throughout, with the weights of a float one; scales are to be learned.

    Every activation's scale starts at its range / 2^bits.  Brevitas' default collects ranges from the first forward
    calls.  That fails here: input and hidden state share a quantizer, which sees the narrow states once a step but the
    wide input once a batch, and settles on the states.
    """
    inputs = {"io_quant": _SIGNED, "io_min_val": -experiment.input_range, "io_max_val": experiment.input_range}
    gate = experiment.gate_range
    if experiment.kind == "RNN":
        options = {"gate_acc_quant": _SIGNED, "gate_acc_quant_min_val": -gate, "gate_acc_quant_max_val": gate}
        recurrent: nn.Module = QuantRNN(experiment.features, experiment.hidden, **inputs, **options)
    else:
        recurrent = QuantLSTM(
            experiment.features,
            experiment.hidden,
            num_layers=experiment.layers,
            bidirectional=experiment.bidirectional,
            **inputs,
            gate_acc_quant=_SIGNED,
            gate_acc_min_val=-gate,
            gate_acc_max_val=gate,
            cell_state_quant=_SIGNED,
            cell_state_min_val=-4.0,
            cell_state_max_val=4.0,  # tanh(4) = 0.9993.
            sigmoid_quant=_UNSIGNED,
            sigmoid_max_val=1.0,
            tanh_quant=_SIGNED,
            tanh_min_val=-1.0,
            tanh_max_val=1.0,
        )
    return _with_weights(experiment, recurrent, trained)


def weights_alone(experiment: Experiment, trained: Classifier) -> Classifier:
    """The network with 8-bit weights and nothing else quantized; not trained any further."""
    recurrent = QuantLSTM(
        experiment.features,
        experiment.hidden,
        num_layers=experiment.layers,
        bidirectional=experiment.bidirectional,
        **dict.fromkeys(_ACTIVATIONS),
    )
    return _with_weights(experiment, recurrent, trained)


def _width(experiment: Experiment) -> int:
    return experiment.hidden * (1 + experiment.bidirectional)


def _with_weights(experiment: Experiment, recurrent: nn.Module, trained: Classifier) -> Classifier:
    # The bias stays float: it becomes part of the exact sums that hwgen computes.
    head: Any = QuantLinear(
        _width(experiment), experiment.classes, bias=True, weight_quant=Int8WeightPerTensorFloat, bias_quant=None
    )
    classifier = Classifier(recurrent, head, experiment.bidirectional)
    weights = {name: value.clone() for name, value in trained.state_dict().items()}
    # Brevitas splits torch's stacked gate weights itself; the float network has no scales to load.
    result = classifier.load_state_dict(weights, strict=False)
    missing = [name for name in result.missing_keys if not name.endswith("scaling_impl.value")]
    if missing or result.unexpected_keys:
        raise RuntimeError(f"weights that found no place: {missing + result.unexpected_keys}")
    return classifier
