# SPDX-License-Identifier: Apache-2.0
"""Dense layers behind both directions of a layer, by hand: heads of several kinds, orders and sizes of directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from directions_models import bidirectional
from recurrent_networks import INPUTS, dense, gru, network, rnn, side_by_side, weights

from hwgen.layers import Activation, ArgmaxLayer, DenseLayer, GruLayer, Layer, RnnLayer, SelectLayer, Wire
from hwgen.network import Network, NetworkOutput
from hwgen.quantizer import FloatArray, IntegerType, Quantizer

MAX_LENGTH = 9


def pair(
    kind: Callable[..., RnnLayer | GruLayer] = rnn,
    sizes: tuple[int, int] = (4, 4),
    source: str = "x",
    inputs: int = INPUTS,
    name: str = "",
) -> list[RnnLayer | GruLayer]:
    """A forward and a backward layer of so many units."""
    return [
        kind(f"{name}{way}", source, inputs, hidden=size, seed=seed, reverse=way == "backward")
        for seed, (way, size) in enumerate(zip(("forward", "backward"), sizes, strict=True), start=2)
    ]


def sums(name: str, source: Wire, outputs: int) -> DenseLayer:
    """A dense layer without a step function."""
    generator = np.random.default_rng(7)
    weight = weights(generator, outputs, source.features)
    scale = weight.quantizer.scale[0] * source.quantizer.scale[0]
    bias: FloatArray = scale * generator.integers(-900, 900, outputs).astype(np.float64)
    wire = Wire(name, outputs, True, Quantizer((scale,), (0,), IntegerType(40, True)))
    return DenseLayer(name, source, weight, bias, None, wire)


def stepped(sizes: tuple[int, int] = (4, 4), outputs: int = 6) -> Network:
    """Codes of a step function, some of them at its lower end."""
    layers = pair(sizes=sizes)
    joined = side_by_side("both", *layers)
    head = dense("head", joined.wires[0], outputs, seed=4, activation=Activation.RELU)
    return network([*layers, joined, head], [head.wire])


def ranked() -> Network:
    """Sums of GRUs of two sizes, the backward one first: all, the greatest, those of a step; the states of both."""
    layers = pair(gru, (3, 5))
    joined = side_by_side("both", *layers[::-1])
    head = sums("head", joined.wires[0], 6)
    best = ArgmaxLayer("best", head.wire)
    chosen = SelectLayer("chosen", head.wire, 1)
    shown = [head.wire, best.wires[0], chosen.wires[0], *(layer.wires[1] for layer in layers)]
    return network([*layers, joined, head, best, chosen], shown)


def stacked() -> Network:
    """Two layers in both directions, and one more behind the dense layer."""
    first = pair()
    joined = side_by_side("first both", *first)
    second = pair(gru, source=joined.name, inputs=8, name="second ")
    again = side_by_side("second both", *second)
    head = dense("head", again.wires[0], 4, seed=4)
    after = rnn("after", head.name, inputs=4, hidden=4, seed=6)
    return network([*first, joined, *second, again, head, after], [after.wires[0]])


def selected() -> Network:
    """LSTMs whose states are given, and of the codes of all steps the last but one."""
    model = bidirectional("states", "states")
    layers: list[Layer] = list(model.layers)
    head = dense("head", layers[-1].wires[0], 4, seed=4)
    chosen = SelectLayer("chosen", head.wire, -2)
    outputs = (NetworkOutput("chosen", ("N", "F"), chosen.wires),)
    return replace(model, layers=(*layers, head, chosen), outputs=outputs)


NETWORKS = {"stepped": stepped, "ranked": ranked, "stacked": stacked, "selected": selected}
