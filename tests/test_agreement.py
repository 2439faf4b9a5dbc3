# SPDX-License-Identifier: Apache-2.0
"""The comparison with a producer, here hwgen's own reference: it finds nothing, and then every planted change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgen.agreement import Agreement, Place, Trace, check_integer_model, compare, compare_parameters
from hwgen.errors import ModelError
from hwgen.frontend import load
from hwgen.integer_network import CellStage
from hwgen.lowering import lower
from hwgen.network import Network
from hwgen.quantizer import FloatArray

MODELS = Path(__file__).parent / "models"
NAMES = ["default", "reversed", "states", "coupled", "no_bias", "float_bias", "per_channel", "shifted", "batch_first"]
STEPS, BATCH = 6, 5


def producer(name: str) -> tuple[Network, dict[str, FloatArray], dict[str, Trace], list[FloatArray]]:
    """A model, random inputs, and what its reference makes of them in float32."""
    network = load(MODELS / f"{name}.onnx")
    layer, random = network.layer, np.random.default_rng(8)
    lengths = {"T": STEPS, "N": BATCH, "F": 0, "S": 1}
    inputs = {
        port.name: random.normal(0, 1, [lengths[axis] or port.features for axis in port.axes])
        for port in network.inputs
    }
    values = network.evaluate(network.bind(inputs))
    x, h, c = values[layer.source], layer.initial_hidden.values(values, BATCH), layer.initial_cell.values(values, BATCH)
    before, after = [], []
    x = x[::-1] if layer.reverse else x
    for step in x:
        before.append((h, c))
        h, c = layer.step(step, h, c)
        after.append((h, c))
    parameters = {
        (gate.name, kind): value
        for gate in layer.gates
        for kind, value in (
            ("input_weight", gate.input_weight.values()),
            ("hidden_weight", gate.hidden_weight.values()),
            ("bias", np.asarray(gate.bias_values(), np.float64)),
        )
    }
    states = [np.stack([step[place] for step in steps]) for steps in (before, after) for place in (0, 1)]
    single = (array.astype(np.float32).astype(np.float64) for array in (x, states[0], states[2], states[1], states[3]))
    outputs = list(network.run(inputs).values())
    return network, inputs, {layer.name: Trace(parameters, *single)}, outputs


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_agrees_with_itself(name: str) -> None:
    network, inputs, traces, outputs = producer(name)
    agreement = compare(network, inputs, traces, outputs)
    assert (agreement.moved, agreement.wrong) == (0, 0)
    hidden = network.layer.hidden_size
    # The input; both states before and after each step; the outputs.
    inside = STEPS * BATCH * (network.layer.input_size + 4 * hidden)
    assert agreement.values == inside + (STEPS + 2) * BATCH * hidden
    parameters = compare_parameters(network, traces)
    assert (parameters.moved, parameters.wrong) == (0, 0)
    assert len(parameters.places) == 3 * len(network.layer.gates)


def off(field: str, lsb: float) -> Callable[[Trace], Trace]:
    """A trace with one value moved by some LSB of the quantizer that it belongs to."""

    def edit(trace: Trace) -> Trace:
        scales = {"x": "input", "h": "output", "next_h": "output", "c": "cell", "next_c": "cell"}
        values = getattr(trace, field).copy()
        layer = load(MODELS / "default.onnx").layer
        step = 0 if field in ("h", "c") else 2
        values[step, 1, 3] += lsb * getattr(layer, scales[field]).scale[0] * (-1 if values[step, 1, 3] > 0 else 1)
        return replace(trace, **{field: values})

    return edit


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("x", "input"),
        ("h", "initial hidden state"),
        ("c", "initial cell state"),
        ("next_h", "hidden state"),
        ("next_c", "cell state"),
        ("next_h", "hidden state carried on"),
        ("next_c", "cell state carried on"),
    ],
)
def test_one_value_of_another_code_is_wrong(field: str, place: str) -> None:
    network, inputs, traces, outputs = producer("default")
    name = network.layer.name
    for lsb in (1.0, 0.01, np.nan):
        agreement = compare(network, inputs, {name: off(field, lsb)(traces[name])}, outputs)
        found = {entry.name: entry for entry in agreement.places if entry.wrong}
        entry = found[f"layer {name!r}, {place}"]
        assert entry.wrong == 1
        assert entry.worst == pytest.approx(np.inf if np.isnan(lsb) else lsb, rel=1e-3)
    agreement = compare(network, inputs, {name: off(field, 1e-4)(traces[name])}, outputs)
    assert agreement.wrong == 0, "float32 does not hold every value exactly"


def test_one_output_of_another_code_is_wrong() -> None:
    network, inputs, traces, outputs = producer("default")
    outputs[0] = outputs[0].copy()
    outputs[0][1, 1, 1] += network.layer.output.scale[0]
    agreement = compare(network, inputs, traces, outputs)
    assert agreement.wrong == 1
    assert str(agreement) == f"graph output 'y': 1 of {outputs[0].size:,} values, by up to 1 LSB"


@pytest.mark.parametrize("kind", ["input_weight", "hidden_weight", "bias"])
@pytest.mark.parametrize("name", ["default", "float_bias", "no_bias", "per_channel"])
def test_one_parameter_of_another_code_is_wrong(name: str, kind: str) -> None:
    network, _, traces, _ = producer(name)
    layer = network.layer
    gate = layer.gate("cell")
    given = dict(traces[layer.name].parameters)
    changed = np.array(
        np.broadcast_to(given["cell", kind], (layer.hidden_size,)) if kind == "bias" else given["cell", kind]
    )
    tensor = getattr(gate, kind)
    changed.reshape(-1)[-1] += tensor.quantizer.scale[-1] if hasattr(tensor, "quantizer") else 1e-6
    given["cell", kind] = changed
    agreement = compare_parameters(network, {layer.name: replace(traces[layer.name], parameters=given)})
    place = f"layer {layer.name!r}, cell gate, {kind.replace('_', ' ')}"
    assert [entry.name for entry in agreement.places if entry.wrong] == [place]
    assert agreement.wrong == 1


def test_a_value_across_a_boundary_nearby_has_moved_and_is_not_wrong() -> None:
    network, inputs, traces, outputs = producer("default")
    # The input of a step halfway between two codes: the producer may have either.
    trace, layer = traces[network.layer.name], network.layer
    scale = layer.input.scale[0]
    inputs["x"][0, 0, 0] = 3.49995 * scale
    x = trace.x.copy()
    x[0, 0, 0] = 4 * scale
    h, c = layer.step(x[0], trace.h[0], trace.c[0] if trace.c is not None else trace.h[0])
    assert trace.next_c is not None and trace.c is not None
    next_h, next_c, h_before, c_before = (array.copy() for array in (trace.next_h, trace.next_c, trace.h, trace.c))
    for step in range(STEPS):
        h_before[step], c_before[step] = (trace.h[0], trace.c[0]) if step == 0 else (next_h[step - 1], next_c[step - 1])
        h, c = layer.step(x[step], h_before[step], c_before[step])
        next_h[step], next_c[step] = h, c
    moved = Trace(trace.parameters, x, h_before, next_h, c_before, next_c)
    outputs = [next_h, next_h[-1][np.newaxis], next_c[-1][np.newaxis]]
    agreement = compare(network, inputs, {layer.name: moved}, outputs)
    assert (agreement.moved, agreement.wrong) == (1, 0)
    inputs["x"][0, 0, 0] = 3.49 * scale
    assert compare(network, inputs, {layer.name: moved}, outputs).wrong == 1


def test_what_does_not_fit_is_refused() -> None:
    network, inputs, traces, outputs = producer("default")
    name = network.layer.name
    with pytest.raises(ModelError, match=f"^layer {re.escape(repr(name))}: its producer has no layer of this name$"):
        compare(network, inputs, {}, outputs)
    with pytest.raises(ModelError, match="^the file has 3 outputs, its producer gives 2$"):
        compare(network, inputs, traces, outputs[:2])
    with pytest.raises(
        ModelError, match=r"^graph output 'y': has shape \[6, 5, 20\], its producer gives \[5, 5, 20\]$"
    ):
        compare(network, inputs, traces, [outputs[0][1:], *outputs[1:]])
    short = replace(traces[name], x=traces[name].x[1:])
    with pytest.raises(ModelError, match=r"input: has shape \[6, 5, 10\], its producer gives \[5, 5, 10\]$"):
        compare(network, inputs, {name: short}, outputs)


def test_an_integer_model_that_differs_is_noticed() -> None:
    network, inputs, _, _ = producer("default")
    model = lower(network)
    check_integer_model(network, model, inputs)
    stage = model.stages[0]
    assert isinstance(stage, CellStage)
    first, *others = stage.cell.gates
    broken = replace(first, bias=first.bias + 20_000)
    cell = replace(stage.cell, gates=(broken, *others))
    with pytest.raises(ModelError, match="^graph output 'y': the integer model differs from the reference in "):
        check_integer_model(network, replace(model, stages=(replace(stage, cell=cell),)), inputs)


def test_places_of_one_name_are_shown_as_one() -> None:
    first, second = Place("a", 10, 3, 2, 1.0), Place("a", 5, 1, 1, 4.0)
    both = Agreement((first,)) + Agreement((second, Place("b", 7, 2, 0, 0.0)))
    assert (both.values, both.moved, both.wrong) == (22, 3, 3)
    assert str(both) == "a: 3 of 15 values, by up to 4 LSB"
