# SPDX-License-Identifier: Apache-2.0
"""ONNX's own LSTM, GRU and RNN: one record for each direction, its weights by gate as hwgen's cells call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from hwgen.calibration.states import knows_shapes_alone
from hwgen.calibration.weights import Weights, read_weights
from hwgen.errors import ModelError, UnsupportedError, listing, printable
from hwgen.frontend.graph import Graph, attribute_value, flag, node_label
from hwgen.layers import Activation
from hwgen.quantizer import FloatArray

# Gates in ONNX's order, and the activations of a direction.
GATES = {
    "LSTM": ("input", "output", "forget", "cell"),
    "GRU": ("update", "reset", "new"),
    "RNN": ("hidden",),
}
_ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class FloatGate:
    """The weights of a gate, [H, I] and [H, H], and its bias [H]; ``hidden_bias`` is that of a hidden product alone."""

    input: Weights
    hidden: Weights
    bias: FloatArray | None
    hidden_bias: FloatArray | None = None


@dataclass(frozen=True)
class FloatCell:
    """One direction of an ONNX node; ``coupled`` is an LSTM whose forget gate is 1 - input gate."""

    kind: str
    gates: Mapping[str, FloatGate]
    reverse: bool
    coupled: bool = False
    activation: Activation = Activation.TANH

    @property
    def hidden_size(self) -> int:
        """Number of units."""
        return len(next(iter(self.gates.values())).input.values)


@dataclass(frozen=True)
class Recurrent:
    """An ONNX node: its directions, its inputs by name (those that it has), and whether batches come first."""

    node: onnx.NodeProto
    label: str
    cells: tuple[FloatCell, ...]
    inputs: Mapping[str, str]
    batch_first: bool
    warnings: tuple[str, ...]


def read_recurrent(graph: Graph, node: onnx.NodeProto) -> Recurrent:
    """Read a node; raises ModelError or UnsupportedError, naming it, for what cannot be calibrated."""
    label, kind = node_label(node), node.op_type
    inputs = {name: given for name, given in zip(_input_names(kind), node.input, strict=False) if given}
    missing = [name for name in ("X", "W", "R") if name not in inputs]
    if missing:
        raise ModelError(f"{label}: must have inputs X, W and R; {listing(missing)} is missing")
    if not 1 <= len(list(filter(None, node.output))) <= len(node.output) <= (3 if kind == "LSTM" else 2):
        raise ModelError(f"{label}: must have 1 to {3 if kind == 'LSTM' else 2} outputs, not {len(node.output)}")
    _refuse_extras(graph, node, label, inputs)
    direction = attribute_value(node, "direction", default="forward")
    if direction not in _DIRECTIONS:
        raise ModelError(f"{label}: direction must be one of {', '.join(_DIRECTIONS)}, not {printable(str(direction))}")
    reversals = _DIRECTIONS[str(direction)]
    activations = _activations(node, label, len(reversals))
    weights: dict[str, Weights] = {
        name: read_weights(graph, inputs[name], name, label) for name in ("W", "R", "B") if name in inputs
    }
    sizes = _sizes(node, label, len(reversals), weights)
    coupled = kind == "LSTM" and flag(node, "input_forget", default=0)
    cells = tuple(
        FloatCell(kind, _gates(kind, weights, place, sizes, coupled), reverse, coupled, activations[place])
        for place, reverse in enumerate(reversals)
    )
    warnings = []
    if "sequence_lens" in inputs:
        warnings.append(
            f"{label}: its sequence_lens is the same for all sequences and left out; they may have any length"
        )
    return Recurrent(node, label, cells, inputs, flag(node, "layout", default=0), tuple(warnings))


def _input_names(kind: str) -> tuple[str, ...]:
    return _INPUTS if kind == "LSTM" else _INPUTS[:6]


def _refuse_extras(graph: Graph, node: onnx.NodeProto, label: str, inputs: Mapping[str, str]) -> None:
    """What ONNX allows and no quantized cell has."""
    if len(node.input) > len(_input_names(node.op_type)):
        raise ModelError(f"{label}: must have at most {len(_input_names(node.op_type))} inputs, not {len(node.input)}")
    if "P" in inputs:
        peepholes = graph.constant(inputs["P"])
        if peepholes is None or np.any(peepholes != 0):
            raise UnsupportedError(
                f"{label}: peepholes (input P) are not supported; train the model without them, as torch.nn.LSTM is"
            )
    if attribute_value(node, "clip") is not None:
        raise UnsupportedError(
            f"{label}: attribute clip is not supported; export it without: the quantizer of the accumulator clips "
            "to the range that the data shows"
        )
    for name in ("activation_alpha", "activation_beta"):
        if attribute_value(node, name):
            raise UnsupportedError(f"{label}: attribute {name} is not supported; sigmoid, tanh and relu take none")
    if node.op_type == "GRU" and not flag(node, "linear_before_reset", default=0):
        raise UnsupportedError(
            f"{label}: linear_before_reset must be 1, not 0: the reset gate multiplies the hidden product U h + b, as "
            "in torch.nn.GRU; train and export it with reset_after (Keras) or with torch"
        )
    if "sequence_lens" in inputs:
        lengths = graph.constant(inputs["sequence_lens"])
        if lengths is None:
            # Brevitas fills a tensor with the number of steps.
            equal, found = knows_shapes_alone(graph, inputs["sequence_lens"]), "computed from an input"
        else:
            equal, found = lengths.size > 0 and np.ptp(lengths) == 0, "different for each sequence"
        if not equal:
            raise UnsupportedError(
                f"{label}: sequence_lens ({printable(inputs['sequence_lens'])}) is {found}; packed sequences cannot "
                "be calibrated: export the model on a plain tensor; the hardware takes sequences of any length"
            )


def _activations(node: onnx.NodeProto, label: str, directions: int) -> list[Activation]:
    """The activation of each direction's hidden state; raises UnsupportedError unless all are those of the cell."""
    usual = _ACTIVATIONS[node.op_type]
    given = attribute_value(node, "activations", default=None)
    if given is None:
        return [Activation.TANH] * directions
    names = [
        (entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry)).lower()
        for entry in (given if isinstance(given, list) else [given])
    ]
    if len(names) != len(usual) * directions:
        raise ModelError(f"{label}: must have {len(usual) * directions} activations, not {len(names)}")
    if node.op_type == "RNN" and all(name in ("tanh", "relu") for name in names):
        return [Activation(name) for name in names]
    if tuple(names) != usual * directions:
        allowed = "tanh or relu" if node.op_type == "RNN" else ", ".join(usual)
        raise UnsupportedError(f"{label}: its activations must be {allowed}, not {listing(names)}")
    return [Activation.TANH] * directions


def _sizes(node: onnx.NodeProto, label: str, directions: int, weights: Mapping[str, Weights]) -> tuple[int, int]:
    """Inputs and units; raises ModelError where the shapes of W, R and B do not fit each other."""
    gates, shapes = len(GATES[node.op_type]), {name: found.values.shape for name, found in weights.items()}
    for name in ("W", "R"):
        if len(shapes[name]) != 3 or 0 in shapes[name]:
            raise ModelError(
                f"{label}: {name} must have shape [directions, {gates} * units, n], not {_s(shapes[name])}"
            )
    units, inputs = shapes["R"][2], shapes["W"][2]
    rows = gates * units
    wanted: dict[str, tuple[int, ...]] = {
        "W": (directions, rows, inputs),
        "R": (directions, rows, units),
        "B": (directions, 2 * rows),
    }
    for name, shape in shapes.items():
        if shape != wanted[name]:
            raise ModelError(f"{label}: {name} must have shape {_s(wanted[name])}, not {_s(shape)}")
    given = attribute_value(node, "hidden_size", default=units)
    if given != units:
        raise ModelError(f"{label}: hidden_size must be {units}, as R has it, not {given}")
    return inputs, units


def _s(shape: tuple[int, ...]) -> str:
    return str(list(shape))


def _gates(
    kind: str, weights: Mapping[str, Weights], direction: int, sizes: tuple[int, int], coupled: bool
) -> dict[str, FloatGate]:
    _, units = sizes
    names, gates = GATES[kind], {}
    for place, name in enumerate(names):
        if coupled and name == "forget":
            continue
        rows = slice(place * units, (place + 1) * units)
        input_weight, hidden_weight = (_part(weights[part], direction, rows) for part in ("W", "R"))
        bias = hidden_bias = None
        if "B" in weights:
            both = weights["B"].values[direction].reshape(2, -1)[:, rows]
            bias, hidden_bias = (both[0], both[1]) if name == "new" else (both.sum(axis=0), None)
        gates[name] = FloatGate(input_weight, hidden_weight, _or_none(bias), _or_none(hidden_bias))
    return gates


def _part(weights: Weights, direction: int, rows: slice) -> Weights:
    return weights.move(lambda plane: plane[direction, rows])


def _or_none(bias: FloatArray | None) -> FloatArray | None:
    return None if bias is None or not bias.any() else bias
