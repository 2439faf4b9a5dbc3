# SPDX-License-Identifier: Apache-2.0
"""Bounds of a float32 run: all that small errors before a quantizer can do lies within, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgen import bounds
from hwgen.bounds import Bounds, exactly
from hwgen.frontend import load
from hwgen.layers import Activation, ArgmaxLayer, Gate, LstmLayer, Wire, requantize
from hwgen.quantizer import FloatArray, IntegerType, Quantizer, RoundingMode

MODELS = Path(__file__).parent / "models"
ROWS = 400
NAMES = [
    "default",
    "coupled",
    "per_channel",
    "shifted",
    "narrow4",
    "binary",
    "wide_everything",
    "round_floor",
    "round_ceil",
    "round_round_to_zero",
]


class Noisy:
    """The equations of an LSTM with an error before each quantizer, as float32 may make it."""

    def __init__(self, layer: LstmLayer, seed: int) -> None:
        self.layer = layer
        self.random = np.random.default_rng(seed)

    def quantized(self, quantizer: Quantizer, values: FloatArray) -> FloatArray:
        error = self.random.choice([-0.99, 0.0, 0.99], values.shape) * bounds.slack(quantizer)
        return requantize(quantizer, values + error)

    def gate(self, gate: Gate, x: FloatArray, h: FloatArray) -> FloatArray:
        total = x @ gate.input_weight.values().T + h @ gate.hidden_weight.values().T + gate.bias_values()
        return self.quantized(gate.activation_quantizer, gate.activation(self.quantized(gate.accumulator, total)))

    def step(self, x: FloatArray, h: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
        layer = self.layer
        i, g, o = (self.gate(layer.gate(name), x, h) for name in ("input", "cell", "output"))
        if layer.coupled:
            f = requantize(layer.gate("input").activation_quantizer, np.ones_like(i)) - i
        else:
            f = self.gate(layer.gate("forget"), x, h)
        kept = self.quantized(layer.forget_product or layer.cell, f * c)
        c = self.quantized(layer.cell, kept + self.quantized(layer.input_product or layer.cell, i * g))
        argument = c if layer.tanh_argument is None else self.quantized(layer.tanh_argument, c)
        return self.quantized(layer.output, o * self.quantized(layer.cell_tanh, Activation.TANH(argument))), c


def states(layer: LstmLayer, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Random values of the quantizers of x, h and c."""
    random = np.random.default_rng(seed)
    quantizers = (layer.input, layer.input_size), (layer.output, layer.hidden_size), (layer.cell, layer.hidden_size)
    x, h, c = (
        quantizer.dequantize(random.integers(quantizer.codes.lo, quantizer.codes.hi + 1, (ROWS, features)))
        for quantizer, features in quantizers
    )
    return x, h, c


def within(values: FloatArray, allowed: Bounds) -> bool:
    return bool(((values >= allowed.low) & (values <= allowed.high)).all())


def layer_of(name: str) -> LstmLayer:
    """The layer of a model; that of "own" quantizes both terms of its cell state and the argument of tanh on their own.

    No ratio of its scales is one of small integers, which would put sums of codes on the boundaries themselves.
    """
    if name != "own":
        return load(MODELS / f"{name}.onnx").layer
    layer = load(MODELS / "default.onnx").layer
    term, argument = (replace(layer.cell, scale=(ratio * layer.cell.scale[0],)) for ratio in (0.7131, 2.2173))
    other = replace(term, codes=IntegerType(7, True))
    return replace(layer, forget_product=term, input_product=other, tanh_argument=argument)


@pytest.mark.parametrize("name", [*NAMES, "own"])
def test_small_errors_before_every_quantizer_stay_within(name: str) -> None:
    layer = layer_of(name)
    x, h, c = states(layer, 1)
    allowed_c = bounds.next_cell(layer, x, h, c)
    exact_h, exact_c = layer.step(x, h, c)
    assert within(exact_c, allowed_c)
    moved = 0
    for seed in range(5):
        noisy_h, noisy_c = Noisy(layer, seed).step(x, h, c)
        assert within(noisy_c, allowed_c)
        assert within(noisy_h, bounds.next_hidden(layer, x, h, noisy_c))
        moved += int((noisy_h != exact_h).sum())
    assert moved > 0, "the errors did nothing"


@pytest.mark.parametrize("name", ["default", "coupled", "per_channel", "shifted", "two_bits", "binary", "own"])
def test_away_from_boundaries_only_one_code_is_left(name: str) -> None:
    layer = layer_of(name)
    x, h, c = states(layer, 2)
    exact_h, exact_c = layer.step(x, h, c)
    allowed_c, allowed_h = bounds.next_cell(layer, x, h, c), bounds.next_hidden(layer, x, h, exact_c)
    for exact, allowed in ((exact_c, allowed_c), (exact_h, allowed_h)):
        known = allowed.low == allowed.high
        assert known.mean() > 0.97
        np.testing.assert_array_equal(allowed.low[known], exact[known])


@pytest.mark.parametrize("mode", RoundingMode)
def test_a_quantizer_gives_both_neighbours_next_to_a_boundary(mode: RoundingMode) -> None:
    quantizer = Quantizer((0.1,), (3,), IntegerType(8, True), mode)
    codes = np.arange(-100, 100, dtype=np.int64)
    doubled, _ = mode.boundary(codes)
    edges = (doubled / 2 - 3) * 0.1
    allowed = bounds.quantized(quantizer, exactly(edges))
    lower, upper = (np.rint(values / 0.1 + 3) for values in (allowed.low, allowed.high))
    np.testing.assert_array_equal(lower, mode.apply(doubled / 2 - 1e-6))
    np.testing.assert_array_equal(upper, mode.apply(doubled / 2 + 1e-6))
    assert (lower < upper).all()
    for away in (-0.002, 0.002):
        allowed = bounds.quantized(quantizer, exactly(edges + away * 0.1))
        np.testing.assert_array_equal(allowed.low, allowed.high)


def test_products_of_intervals_take_their_corners() -> None:
    left, right = (
        Bounds(np.array([-2.0, 1.0]), np.array([3.0, 2.0])),
        Bounds(np.array([-5.0, 4.0]), np.array([1.0, 6.0])),
    )
    result = left * right
    np.testing.assert_array_equal((result.low, result.high), ([-15.0, 4.0], [10.0, 12.0]))


def test_float32_sums_lie_within_the_bounds_of_a_product() -> None:
    random = np.random.default_rng(4)
    x = random.normal(0, 1, (200, 300)).astype(np.float32)
    weight = random.normal(0, 1, (40, 300)).astype(np.float32)
    bias = random.normal(0, 10, 40).astype(np.float32)
    allowed = bounds.product(exactly(x.astype(np.float64)), weight.astype(np.float64), bias.astype(np.float64))
    single = (x @ weight.T + bias).astype(np.float64)
    assert within(single, allowed)
    assert (allowed.high - allowed.low).max() < 1e-2
    # Intervals of x: every x within them gives a sum within.
    near = Bounds(x.astype(np.float64) - 0.01, x.astype(np.float64) + 0.01)
    allowed = bounds.product(near, weight.astype(np.float64))
    for _ in range(5):
        given = random.uniform(near.low, near.high)
        assert within(given @ weight.astype(np.float64).T, allowed)


def test_the_index_of_the_greatest_may_be_that_of_any_that_overlaps() -> None:
    layer = ArgmaxLayer("index", Wire("a", 4, False, Quantizer((1.0,), (0,), IntegerType(8, True))))
    random = np.random.default_rng(6)
    low = random.integers(-3, 4, (300, 4)).astype(np.float64)
    values = Bounds(low, low + random.integers(0, 3, (300, 4)))
    found = bounds.of_layer(layer, {"a": values})["index"]
    for row in range(300):
        grid = np.stack(
            np.meshgrid(
                *(np.unique([a, (a + b) / 2, b]) for a, b in zip(values.low[row], values.high[row], strict=True))
            ),
            axis=-1,
        ).reshape(-1, 4)
        indices = grid.argmax(axis=-1)
        assert found.low[row, 0] <= indices.min() and indices.max() <= found.high[row, 0]
    known = exactly(low)
    np.testing.assert_array_equal(bounds.of_layer(layer, {"a": known})["index"].low[:, 0], low.argmax(axis=-1))
    np.testing.assert_array_equal(bounds.of_layer(layer, {"a": known})["index"].high[:, 0], low.argmax(axis=-1))
