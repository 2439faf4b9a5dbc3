# SPDX-License-Identifier: Apache-2.0
"""The quantized cells that take the place of ONNX's own: their inputs in order, and what each quantizer holds."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from hwgen.layers import Activation

QONNX_DOMAIN, HWGEN_DOMAIN = "qonnx.custom_op.general", "hwgen.custom_op"


class Role(enum.Enum):
    """What a quantizer is for: which option sets its bits."""

    ACTIVATION = "activation"
    ACCUMULATOR = "accumulator"
    CELL = "cell"
    OUTPUT = "output"


@dataclass(frozen=True)
class Holds:
    """What a quantizer holds: values of a ``role``, ``signed`` or not."""

    role: Role
    signed: bool


_ACC, _SIGMOID, _TANH = Holds(Role.ACCUMULATOR, True), Holds(Role.ACTIVATION, False), Holds(Role.ACTIVATION, True)


@dataclass(frozen=True)
class CellSpec:
    """A quantized cell: operator, gates in the order of its inputs, quantizers in theirs, how many states it has.

    ``hidden_bias`` is the gate whose hidden product has a bias of its own, if any.
    """

    operator: str
    domain: str
    gates: tuple[str, ...]
    quantizers: Mapping[str, Holds]
    states: tuple[str, ...]
    hidden_bias: str | None = None


_LSTM_GATES = ("input", "forget", "cell", "output")
SPECS = {
    "LSTM": CellSpec(
        "QuantLSTMCell",
        QONNX_DOMAIN,
        _LSTM_GATES,
        {
            "output": _TANH,
            "cell_state": Holds(Role.CELL, True),
            **{f"{gate}_acc": _ACC for gate in _LSTM_GATES},
            "input_sigmoid": _SIGMOID,
            "forget_sigmoid": _SIGMOID,
            "cell_tanh": _TANH,
            "output_sigmoid": _SIGMOID,
            "hidden_state_tanh": _TANH,
        },
        ("output", "cell_state"),
    ),
    "GRU": CellSpec(
        "QuantGRUCell",
        HWGEN_DOMAIN,
        ("reset", "update", "new"),
        {
            "output": _TANH,
            "reset_acc": _ACC,
            "update_acc": _ACC,
            "new_acc": _ACC,
            "hidden_acc": _ACC,
            "reset_sigmoid": _SIGMOID,
            "update_sigmoid": _SIGMOID,
            "new_tanh": _TANH,
        },
        ("output",),
        "new",
    ),
    "RNN": CellSpec("QuantRNNCell", HWGEN_DOMAIN, ("hidden",), {"output": _TANH, "gate_acc": _ACC}, ("output",)),
}


def holds(kind: str, quantizer: str, activation: Activation) -> Holds:
    """What a quantizer of a cell holds; a hidden state behind a ReLU is never negative."""
    found = SPECS[kind].quantizers[quantizer]
    return Holds(found.role, False) if quantizer == "output" and activation is Activation.RELU else found
