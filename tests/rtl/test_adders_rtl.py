# SPDX-License-Identifier: Apache-2.0
"""Fully unrolled designs in hardware: products by shifts and additions, and the cycles of their loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hardware import Record, assert_exact
from option_sets import OPTION_SETS, export, make_module
from recurrent_networks import HIDDEN, INPUTS, dense, gru, network, rnn

import hwgen
from hwgen import rtl_cycles
from hwgen.dataflow import Dataflow
from hwgen.layers import Layer
from hwgen.rtl_timing import timeline

MODELS = Path(__file__).parents[1] / "models"


def unrolled(model: Path, inputs: int, hidden: int, **options: Any) -> hwgen.Schedule:
    folds = {"input": {"pe": 4 * hidden, "simd": inputs}, "hidden": {"pe": 4 * hidden, "simd": hidden}}
    design = hwgen.schedule(hwgen.load(model), folding=folds, **options)
    assert isinstance(design, hwgen.Schedule)
    return design


@pytest.mark.parametrize(
    ("model", "maker", "options"),
    [
        ("two_bits", "shift-add", {"clock_mhz": 50}),
        ("binary", "da4ml", {"interleave": 3}),
        pytest.param("states_reversed", "shift-add", {"max_length": 24}, marks=pytest.mark.long),
        pytest.param("shifted_weights", "da4ml", {"clock_mhz": 200}, marks=pytest.mark.long),
        pytest.param("wide_state", "shift-add", {"interleave": 5, "clock_mhz": 50}, marks=pytest.mark.long),
        pytest.param("default", "shift-add", {"clock_mhz": 200}, marks=pytest.mark.long),
    ],
)
def test_an_lstm_by_shifts_and_additions(
    model: str, maker: str, options: dict[str, Any], tmp_path: Path, record_property: Record
) -> None:
    design = unrolled(MODELS / f"{model}.onnx", 10, 20, constant_products=maker, **options)
    assert all(product.graph is not None for product in design.products)
    backend = "rtl" if design.options.interleave > 1 else "all"
    levels = ("rtl",) if backend == "rtl" else ("csim", "rtl")
    assert_exact(design, tmp_path, 12, record_property, *levels, backend=backend)


@pytest.mark.parametrize(("kind", "clock_mhz"), [("gru", 50), ("rnn", 200)])
def test_another_layer_with_a_head(kind: str, clock_mhz: float, tmp_path: Path, record_property: Record) -> None:
    layer: Layer = gru() if kind == "gru" else rnn()
    head = dense("head", layer.wires[0], 5, seed=3)
    net = network([layer, head], [head.wires[0]])
    gates = 3 if kind == "gru" else 1
    folding = {
        kind: {
            "input": {"pe": gates * HIDDEN, "simd": INPUTS},
            "hidden": {"pe": gates * HIDDEN, "simd": HIDDEN},
        },
        "head": {"pe": 5, "simd": HIDDEN},
    }
    design = hwgen.schedule(net, folding=folding, constant_products="shift-add", clock_mhz=clock_mhz)
    assert isinstance(design, Dataflow)
    assert all(product.graph is not None for product in design.products)
    assert_exact(design, tmp_path, 8, record_property, "csim", "rtl")


def small(option_set: str, tmp_path: Path) -> Path:
    chosen = OPTION_SETS[option_set]
    path = tmp_path / "model.onnx"
    export(chosen, make_module(chosen, (6, 20)), path)
    return path


# At 50, 100 and 200 MHz.
CYCLES = {
    ("default", "multiply"): (13, 14, 22),
    ("default", "shift-add"): (12, 14, 22),
    ("power_of_two", "multiply"): (10, 11, 19),
    ("power_of_two", "shift-add"): (9, 11, 19),
}


@pytest.mark.parametrize("option_set", ["default", "power_of_two"])
def test_cycles_of_a_step_fully_unrolled(option_set: str, tmp_path: Path) -> None:
    """8 bits, 6 inputs, 20 units."""
    model = small(option_set, tmp_path)
    for maker in ("multiply", "shift-add"):
        for clock_mhz, period in zip((50, 100, 200), CYCLES[option_set, maker], strict=True):
            design = unrolled(model, 6, 20, constant_products=maker, clock_mhz=clock_mhz)
            assert rtl_cycles.period(design) == period
            times = timeline(design)
            assert sum(times.breakdown.values()) == times.depth == period - 1


@pytest.mark.parametrize("maker", ["shift-add", pytest.param("multiply", marks=pytest.mark.long)])
def test_fourteen_cycles_a_step_are_simulated(maker: str, tmp_path: Path, record_property: Record) -> None:
    design = unrolled(small("default", tmp_path), 6, 20, constant_products=maker)
    assert_exact(design, tmp_path, 8, record_property, "rtl", backend="rtl")
    one, two = (rtl_cycles.predict(design, [steps]).last for steps in (20, 21))
    assert two - one == rtl_cycles.period(design) == 14
