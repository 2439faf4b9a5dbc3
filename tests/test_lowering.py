# SPDX-License-Identifier: Apache-2.0
"""The integer model against the real-valued reference, over every model of tests/models: zero mismatches."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_step import ROUND, activation_code

from hwgen import host
from hwgen.errors import UnsupportedError
from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm, prove
from hwgen.frontend import load
from hwgen.integer import IntegerCell, IntegerGate, accumulate_range, certificate, to_json
from hwgen.layers import Activation, Gate, LstmLayer, QuantizedTensor, QuantizeLayer, Requantization, Wire
from hwgen.lowering import lower, lower_cell
from hwgen.lowering.head import lower_quantize
from hwgen.network import Network
from hwgen.quantizer import FloatArray, IntArray, IntegerType, Quantizer, RoundingMode
from hwgen.step import StepFunction

MODELS = sorted(path.stem for path in (Path(__file__).parent / "models").glob("*.onnx"))
EXHAUSTIVE = 2**21
STEPS, BATCH = 16, 12
MANY = 400  # sequences, where a single spoiled constant is to be seen


@functools.cache
def network(name: str) -> Network:
    return load(Path(__file__).parent / "models" / f"{name}.onnx")


@functools.cache
def cell(name: str) -> IntegerCell:
    return lower_cell(network(name).layer)


def inputs(network: Network, seed: int, batch: int = BATCH) -> dict[str, FloatArray]:
    """Real inputs by role: half of the batch random codes, half alternating between far beyond both ends."""
    rng, layer = np.random.default_rng(seed), network.layer

    def codes(quantizer: Quantizer, *shape: int) -> FloatArray:
        return quantizer.dequantize(rng.integers(quantizer.codes.lo, quantizer.codes.hi + 1, shape))

    x = codes(layer.input, STEPS, batch, layer.input_size)
    x[:, batch // 2 :] = 1e6 * rng.choice([-1.0, 1.0], (STEPS, batch - batch // 2, layer.input_size))
    # Two sequences push every gate as far as it goes, one way and then the other.
    for sequence, gate in ((batch - 1, "input"), (batch - 2, "cell")):
        x[:, sequence] = 1e6 * np.sign(layer.gate(gate).input_weight.codes[0] + 0.5)
        x[STEPS // 2 :, sequence] *= -1
    states = {"h0": codes(layer.initial_hidden.quantizer, batch, layer.hidden_size)}
    states["c0"] = codes(layer.initial_cell.quantizer, batch, layer.hidden_size)
    given = {port.name for port in network.inputs}
    return {"x": x} | {role: state for role, state in states.items() if role in given}


def reference_codes(network: Network, real: dict[str, FloatArray]) -> list[IntArray]:
    """Network.evaluate as codes: hidden states [T, batch, H], last hidden, last cell."""
    values = network.evaluate(real)
    sequence, h, c = (values[wire.name] for wire in network.layer.wires)
    output, state = network.layer.output, network.layer.cell
    pairs = ((output, sequence), (output, h), (state, c))
    return [np.rint(values / np.asarray(q.scale) + np.asarray(q.zero_point)).astype(np.int64) for q, values in pairs]


def integer_codes(network: Network, cell: IntegerCell, real: dict[str, FloatArray]) -> list[IntArray]:
    layer = network.layer
    x = layer.input.quantize(real["x"]).astype(np.int64)
    h0, c0 = (
        state.quantizer.quantize(real[role]).astype(np.int64) if role in real else None
        for role, state in (("h0", layer.initial_hidden), ("c0", layer.initial_cell))
    )
    return list(cell.run(x, h0, c0))


def mismatches(network: Network, cell: IntegerCell, seed: int, batch: int = BATCH) -> int:
    real = inputs(network, seed, batch)
    pairs = zip(reference_codes(network, real), integer_codes(network, cell, real), strict=True)
    return sum(int((wanted != got).sum()) for wanted, got in pairs)


@pytest.mark.parametrize("name", MODELS)
def test_every_step_function_is_proven_on_all_its_thresholds(name: str) -> None:
    cell(name).verify()
    plain = json.loads(json.dumps(certificate(cell(name))))
    assert plain["all_proven"] is True
    assert len(plain["steps"]) == len(list(cell(name).steps())) >= 5 + len(cell(name).gates)
    for entry, (step_name, certified) in zip(plain["steps"], cell(name).steps(), strict=True):
        assert certified.proof.holds and certified.proof.thresholds == certified.step.thresholds.size, step_name
        if certified.step.thresholds.size < 2**17:
            assert prove(certified.form, certified.step) == certified.proof, step_name
        assert entry["name"] == step_name
        assert entry["thresholds_checked"] == certified.step.thresholds.size
        assert (entry["result"], entry["mismatches"]) == ("proven", 0)
    assert json.loads(to_json(cell(name)))["hidden_size"] == 20


@pytest.mark.parametrize("name", MODELS)
def test_integer_model_equals_the_float64_reference_in_every_code(name: str) -> None:
    assert STEPS * BATCH * network(name).layer.hidden_size > 2000
    assert mismatches(network(name), cell(name), seed=0) == 0
    hidden = reference_codes(network(name), inputs(network(name), 0))[0]
    assert len(np.unique(hidden)) >= 3, "these inputs hardly move the states"


def laid_out(axes: tuple[str, ...], values: FloatArray) -> FloatArray:
    """[T, batch, I] or [batch, H] as the graph takes it."""
    if "T" not in axes:
        return values[np.newaxis]
    return values.swapaxes(0, 1) if axes[0] == "N" else values


@pytest.mark.parametrize("name", MODELS)
def test_host_run_equals_network_run_by_onnx_name(name: str) -> None:
    model = network(name)
    real = inputs(model, seed=1)
    named = {port.name: laid_out(port.axes, real[port.name]) for port in model.inputs}
    wanted, got = model.run(named), host.run(model, lower(model), named)
    assert list(got) == list(wanted) == ["y", "h_n", "c_n"]
    for output in wanted:
        np.testing.assert_array_equal(got[output], wanted[output], output)
    assert wanted["h_n"].shape == wanted["c_n"].shape == (1, BATCH, 20)


# The gates, exactly: what an accumulator means in real arithmetic, by way of fractions and mpmath.


def exact_weights(tensor: QuantizedTensor, row: int) -> list[Fraction]:
    quantizer = tensor.quantizer
    zero, scale = quantizer.exact_zero_point(row), quantizer.exact_scale(row)
    return [(int(code) - zero) * scale for code in tensor.codes[row]]


def exact_bias(gate: Gate, row: int) -> Fraction:
    if gate.bias is None:
        return Fraction(0)
    if not isinstance(gate.bias, QuantizedTensor):
        return Fraction(float(gate.bias[row]))
    quantizer = gate.bias.quantizer
    return (int(gate.bias.codes[row]) - quantizer.exact_zero_point(row)) * quantizer.exact_scale(row)


def preactivation(layer: LstmLayer, gate: Gate, row: int, x: IntArray, h: IntArray) -> Fraction:
    """W x + U h + b of one row, for raw codes x and h."""
    total = exact_bias(gate, row)
    for tensor, source, codes in ((gate.input_weight, layer.input, x), (gate.hidden_weight, layer.output, h)):
        zero, scale = source.exact_zero_point(0), source.exact_scale(0)
        total += sum(
            (
                weight * (int(code) - zero) * scale
                for weight, code in zip(exact_weights(tensor, row), codes, strict=True)
            ),
            Fraction(0),
        )
    return total


def accumulator_line(layer: LstmLayer, gate: Gate, lowered: IntegerGate, row: int) -> tuple[Fraction, Fraction]:
    """(unit, rest): an accumulator of ``row`` stands for unit * accumulator + rest."""
    unit = gate.input_weight.quantizer.exact_scale(row) * layer.input.exact_scale(0)
    x, h = np.zeros(layer.input_size, np.int64), np.zeros(layer.hidden_size, np.int64)
    return unit, preactivation(layer, gate, row, x, h) - unit * int(lowered.bias[row])


@pytest.mark.parametrize("name", MODELS)
def test_accumulators_stand_for_the_real_sum_exactly_with_all_zero_points_folded(name: str) -> None:
    layer, lowered, rng = network(name).layer, cell(name), np.random.default_rng(2)
    for gate, integer_gate in itertools.product(layer.gates, lowered.gates):
        if gate.name != integer_gate.name:
            continue
        x = rng.integers(layer.input.codes.lo, layer.input.codes.hi + 1, (4, layer.input_size))
        h = rng.integers(layer.output.codes.lo, layer.output.codes.hi + 1, (4, layer.hidden_size))
        totals = x @ integer_gate.input_weights.T + h @ integer_gate.hidden_weights.T + integer_gate.bias
        for row in range(0, layer.hidden_size, 3):
            unit, rest = accumulator_line(layer, gate, integer_gate, row)
            assert abs(rest) <= unit / 2, f"{gate.name}, row {row}: the rest is more than rounding"
            for n in range(4):
                real = preactivation(layer, gate, row, x[n], h[n])
                assert unit * int(totals[n, row]) + rest == real, f"{gate.name}, row {row}, seed 2, sample {n}"


def test_the_models_with_zero_points_have_them() -> None:
    shifted, weights = network("shifted").layer, network("shifted_weights").layer
    assert shifted.input.zero_point[0] != 0 and shifted.cell.zero_point[0] != 0
    assert weights.gates[0].input_weight.quantizer.zero_point[0] != 0


class ExactGate:
    """accumulator -> activation code of one row, in rational arithmetic; activations of gate codes are kept."""

    def __init__(self, layer: LstmLayer, gate: Gate, lowered: IntegerGate) -> None:
        self.layer, self.gate, self.lowered = layer, gate, lowered
        self.activation = functools.cache(
            lambda code, channel: activation_code(
                gate.accumulator, gate.activation, gate.activation_quantizer, code, channel
            )
        )

    def codes(self, row: int, totals: IntArray) -> list[int]:
        """Activation codes of the accumulators ``totals`` of one row."""
        accumulator = self.gate.accumulator
        unit, rest = accumulator_line(self.layer, self.gate, self.lowered, row)
        scale, zero = accumulator.exact_scale(row), accumulator.exact_zero_point(row)
        slope, intercept = unit / scale, rest / scale + zero
        channel = row if max(accumulator.channels, self.gate.activation_quantizer.channels) > 1 else 0
        result = []
        for total in totals:
            code = ROUND[accumulator.rounding](slope * int(total) + intercept)
            result.append(self.activation(min(max(code, accumulator.codes.lo), accumulator.codes.hi), channel))
        return result


def definition(step: StepFunction, channel: int) -> IntArray:
    """The code of every integer of the domain: each as often as its thresholds are apart."""
    edges = np.concatenate([[step.lo], step.thresholds[channel % step.channels], [step.hi + 1]])
    return np.repeat(np.arange(step.first, step.last + 1), np.diff(edges))


@pytest.mark.parametrize("name", MODELS)
def test_gates_equal_exact_arithmetic_at_every_threshold_and_at_random(name: str) -> None:
    layer, lowered, rng = network(name).layer, cell(name), np.random.default_rng(3)
    for integer_gate in lowered.gates:
        gate = layer.gate(integer_gate.name)
        exact = ExactGate(layer, gate, integer_gate)
        thresholds = integer_gate.steps[0].step.thresholds
        few_codes = 2**10
        rows = range(layer.hidden_size) if thresholds.shape[1] <= few_codes else (0, layer.hidden_size - 1)
        for row in rows:
            edges = thresholds[row % len(thresholds)]
            if edges.size > few_codes:  # 16-bit gates: their thresholds are proven in test_step, some are seen here
                edges = rng.choice(edges, few_codes, replace=False)
            random = rng.integers(integer_gate.total.lo, integer_gate.total.hi + 1, 30)
            ends = [integer_gate.total.lo, integer_gate.total.hi]
            totals = np.concatenate([edges, edges - 1, random, ends])
            totals = totals[(totals >= integer_gate.total.lo) & (totals <= integer_gate.total.hi)]
            all_rows = np.broadcast_to(totals[:, np.newaxis], (len(totals), layer.hidden_size))
            got = integer_gate.activate(all_rows)[:, row]
            assert got.tolist() == exact.codes(row, totals), f"{gate.name} gate, row {row}, seed 3"


@pytest.mark.parametrize("name", MODELS)
def test_gates_equal_their_definition_on_the_whole_accumulator_domain(name: str) -> None:
    checked = 0
    for gate in cell(name).gates:
        first, *rest = (certified.step for certified in gate.steps)
        if first.size >= EXHAUSTIVE:
            continue
        channels = max(certified.step.channels for certified in gate.steps)
        wanted = []
        for channel in range(channels):
            codes = definition(first, channel)
            for step in rest:
                codes = definition(step, channel)[codes - step.lo]
            wanted.append(codes)
        for start in range(0, first.size, 2**17):
            part = np.stack([codes[start : start + 2**17] for codes in wanted], axis=-1)
            totals = np.arange(first.lo + start, first.lo + start + len(part))[:, np.newaxis]
            got = gate.activate(np.broadcast_to(totals, part.shape))
            assert (got == part).all(), f"{gate.name} gate from {first.lo + start}"
        checked += 1
    assert checked == (0 if name == "wide_everything" else len(cell(name).gates))


# Planted errors: each must show up in a comparison with the reference.


def change_gate(cell: IntegerCell, name: str, change: Callable[[IntegerGate], IntegerGate]) -> IntegerCell:
    return replace(cell, gates=tuple(change(gate) if gate.name == name else gate for gate in cell.gates))


def changed_form(certified: Certified, **changes: object) -> Certified:
    return replace(certified, form=replace(certified.form, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("gate_name", ["input", "forget", "cell", "output"])
@pytest.mark.parametrize("weights", ["input_weights", "hidden_weights"])
def test_one_weight_that_is_one_off_is_caught(gate_name: str, weights: str) -> None:
    def spoil(gate: IntegerGate) -> IntegerGate:
        spoiled = getattr(gate, weights).copy()
        spoiled[7, 3] += 1
        return replace(gate, **{weights: spoiled})

    assert mismatches(network("weights4"), cell("weights4"), 4, MANY) == 0
    assert mismatches(network("weights4"), change_gate(cell("weights4"), gate_name, spoil), 4, MANY) > 0


@pytest.mark.parametrize("gate_name", ["input", "forget", "cell", "output"])
def test_one_bias_that_is_one_off_is_caught(gate_name: str) -> None:
    def spoil(gate: IntegerGate) -> IntegerGate:
        return replace(gate, bias=gate.bias + np.eye(20, dtype=np.int64)[5])

    assert mismatches(network("weights4"), cell("weights4"), 5, MANY) == 0
    assert mismatches(network("weights4"), change_gate(cell("weights4"), gate_name, spoil), 5, MANY) > 0


@pytest.mark.parametrize("index", [2, 6, 7])
def test_one_threshold_that_is_one_off_is_caught(index: int) -> None:
    def spoil(gate: IntegerGate) -> IntegerGate:
        form = gate.steps[0].form
        assert isinstance(form, SearchForm)
        thresholds = form.thresholds.copy()
        thresholds[0, index] += 1
        return replace(gate, steps=(changed_form(gate.steps[0], thresholds=thresholds), *gate.steps[1:]))

    spoiled = change_gate(cell("narrow4"), "cell", spoil)
    assert not prove(spoiled.gate("cell").steps[0].form, spoiled.gate("cell").steps[0].step).holds
    assert mismatches(network("narrow4"), cell("narrow4"), 6, MANY) == 0
    assert mismatches(network("narrow4"), spoiled, 6, MANY) > 0


def test_one_rounding_constant_that_is_one_off_is_caught() -> None:
    product = cell("default").output_product
    form = product.requantize.form
    assert isinstance(form, MultiplyForm)
    # A rounding constant of half a code, given up: the form now truncates.
    spoiled = changed_form(product.requantize, offset=form.offset - (1 << form.shift >> 1))
    broken = replace(cell("default"), output_product=replace(product, requantize=spoiled))
    assert not prove(spoiled.form, spoiled.step).holds
    assert mismatches(network("default"), broken, seed=5) > 0


@pytest.mark.parametrize("product", ["forget_product", "input_product", "output_product"])
@pytest.mark.parametrize("mode", [RoundingMode.HALF_UP, RoundingMode.HALF_DOWN, RoundingMode.FLOOR])
def test_ties_of_a_shift_rounded_another_way_are_caught(product: str, mode: RoundingMode) -> None:
    good = getattr(cell("power_of_two"), product)
    assert isinstance(good.requantize.form, ShiftForm)
    spoiled = replace(good, requantize=changed_form(good.requantize, rounding=mode))
    broken = replace(cell("power_of_two"), **{product: spoiled})
    assert mismatches(network("power_of_two"), cell("power_of_two"), seed=6) == 0
    assert mismatches(network("power_of_two"), broken, seed=6) > 0


# Ranges, layouts and states.


@pytest.mark.parametrize("codes", [IntegerType(2, True), IntegerType(2, False), IntegerType(3, True, True)])
def test_accumulate_range_is_what_all_inputs_together_reach(codes: IntegerType) -> None:
    for seed in range(30):
        weights = np.random.default_rng(seed).integers(-5, 6, (3, 4))
        every_input = np.array(list(itertools.product(range(codes.lo, codes.hi + 1), repeat=4)))
        products = every_input @ weights.T
        low, high = accumulate_range(weights, codes)
        np.testing.assert_array_equal(low, products.min(axis=0), f"seed {seed}")
        np.testing.assert_array_equal(high, products.max(axis=0), f"seed {seed}")


@pytest.mark.parametrize("name", MODELS)
def test_accumulator_intervals_are_exactly_what_the_extreme_inputs_reach(name: str) -> None:
    layer, lowered = network(name).layer, cell(name)
    for gate in lowered.gates:
        highest: list[int] = []
        lowest: list[int] = []
        for x_codes, h_codes, reached in (
            ((layer.input.codes.hi, layer.input.codes.lo), (layer.output.codes.hi, layer.output.codes.lo), highest),
            ((layer.input.codes.lo, layer.input.codes.hi), (layer.output.codes.lo, layer.output.codes.hi), lowest),
        ):
            for row in range(layer.hidden_size):
                x = np.where(gate.input_weights[row] > 0, *x_codes)
                h = np.where(gate.hidden_weights[row] > 0, *h_codes)
                total = int(gate.bias[row] + gate.input_weights[row] @ x + gate.hidden_weights[row] @ h)
                reached.append(total)
        assert (gate.total.lo, gate.total.hi) == (min(lowest), max(highest)), gate.name


def test_a_reversed_layer_is_the_forward_one_on_flipped_time() -> None:
    backward = cell("reversed")
    assert backward.reverse and network("reversed").layer.reverse
    x = np.random.default_rng(7).integers(backward.input.lo, backward.input.hi + 1, (9, 4, 10))
    sequence, h, c = backward.run(x)
    flipped, last_h, last_c = replace(backward, reverse=False).run(x[::-1])
    np.testing.assert_array_equal(sequence, flipped[::-1])
    np.testing.assert_array_equal(h, last_h)
    np.testing.assert_array_equal(c, last_c)
    np.testing.assert_array_equal(h, sequence[0])
    assert (sequence != replace(backward, reverse=False).run(x)[0]).any()


@pytest.mark.parametrize("name", ["batch_first", "states_reversed"])
def test_batch_first_is_the_transposed_time_major_model(name: str) -> None:
    model = network(name)
    port = model.inputs[0]
    assert port.axes == ("N", "T", "F")
    rng = np.random.default_rng(8)
    given = {port.name: rng.normal(size=(1, 4, 20)) for port in model.inputs if port.name != "x"}
    x = rng.normal(size=(4, 9, 10))
    batch_major = host.run(model, lower(model), {"x": x, **given})
    turned = replace(model, inputs=(replace(port, axes=("T", "N", "F")), *model.inputs[1:]))
    time_major = host.run(turned, lower(model), {"x": x.swapaxes(0, 1), **given})
    np.testing.assert_array_equal(batch_major["y"], time_major["y"])
    for state in ("h_n", "c_n"):
        np.testing.assert_array_equal(batch_major[state], time_major[state])
    assert batch_major["y"].shape == (4, 9, 20)


def test_zero_states_given_are_the_zero_states_of_the_file() -> None:
    x = np.random.default_rng(9).normal(size=(9, 4, 10))
    zeros = np.zeros((1, 4, 20))
    given = host.run(network("states"), lower(network("states")), {"x": x, "h0": zeros, "c0": zeros})
    built_in = host.run(network("default"), lower(network("default")), {"x": x})
    for output in built_in:
        np.testing.assert_array_equal(given[output], built_in[output], output)


def test_constant_states_are_the_same_as_given_states() -> None:
    constant = cell("constant_states")
    h0, c0 = constant.initial_hidden, constant.initial_cell
    assert h0 is not None and c0 is not None and h0.any() and c0.any()
    x = np.random.default_rng(10).integers(-128, 128, (6, 3, 10))
    free = replace(constant, initial_hidden=None, initial_cell=None)
    for built_in, given in zip(constant.run(x), free.run(x, np.tile(h0, (3, 1)), np.tile(c0, (3, 1))), strict=True):
        np.testing.assert_array_equal(built_in, given)
    assert (constant.run(x)[0] != free.run(x, 0 * h0, 0 * c0)[0]).any()


def test_a_missing_initial_state_is_refused() -> None:
    with pytest.raises(ValueError, match="^the initial state is a graph input and must be given$"):
        cell("states").run(np.zeros((1, 1, 10), np.int64))


def test_a_sequence_in_two_parts_equals_the_whole() -> None:
    whole = cell("states")
    rng = np.random.default_rng(11)
    x, h, c = rng.integers(-128, 128, (12, 3, 10)), np.zeros((3, 20), np.int64), np.zeros((3, 20), np.int64)
    sequence, last_h, last_c = whole.run(x, h, c)
    first, h, c = whole.run(x[:5], h, c)
    second, h, c = whole.run(x[5:], h, c)
    np.testing.assert_array_equal(np.concatenate([first, second]), sequence)
    np.testing.assert_array_equal(h, last_h)
    np.testing.assert_array_equal(c, last_c)


# Quantizers that Brevitas rarely writes, on a layer of the default model.


def per_channel(quantizer: Quantizer, seed: int, mode: RoundingMode) -> Quantizer:
    factors = np.random.default_rng(seed).uniform(0.6, 1.6, 20)
    return replace(quantizer, scale=tuple(float(np.float32(quantizer.scale[0] * f)) for f in factors), rounding=mode)


@pytest.mark.parametrize("mode", list(RoundingMode))
def test_scales_per_channel_in_every_quantizer_but_the_output_lower_exactly(mode: RoundingMode) -> None:
    layer = network("default").layer
    layer = replace(
        layer,
        gates=tuple(
            replace(
                gate,
                accumulator=per_channel(gate.accumulator, 2 * seed, mode),
                activation_quantizer=per_channel(gate.activation_quantizer, 2 * seed + 1, mode),
            )
            for seed, gate in enumerate(layer.gates)
        ),
        cell=per_channel(layer.cell, 20, mode),
        cell_tanh=per_channel(layer.cell_tanh, 21, mode),
        output=replace(layer.output, rounding=mode),
    )
    model = replace(network("default"), layers=(layer,))
    assert mismatches(model, lower_cell(model.layer), seed=12) == 0


def saturating(layer: LstmLayer, mode: RoundingMode, zero: int) -> LstmLayer:
    """Accumulators of thousands in front of activations whose scales divide 1: rounding sees only how near 1 is."""

    def larger(tensor: QuantizedTensor) -> QuantizedTensor:
        return replace(tensor, quantizer=replace(tensor.quantizer, scale=(4096 * tensor.quantizer.scale[0],)))

    gates = (
        replace(
            gate,
            input_weight=larger(gate.input_weight),
            hidden_weight=larger(gate.hidden_weight),
            accumulator=replace(gate.accumulator, scale=(64.0,)),
            activation_quantizer=replace(
                gate.activation_quantizer, scale=(2.0**-7,), zero_point=(zero,), rounding=mode
            ),
        )
        for gate in layer.gates
    )
    return replace(layer, gates=tuple(gates), cell_tanh=replace(layer.cell_tanh, scale=(2.0**-6,), rounding=mode))


@pytest.mark.parametrize("zero", [0, 3])
@pytest.mark.parametrize("mode", list(RoundingMode))
def test_activations_beyond_the_reach_of_float64_agree(mode: RoundingMode, zero: int) -> None:
    model = replace(network("default"), layers=(saturating(network("default").layer, mode, zero),))
    assert mismatches(model, lower_cell(model.layer), seed=13) == 0


def test_different_scales_of_input_and_hidden_products_are_refused() -> None:
    layer = network("default").layer
    gate = layer.gates[0]
    doubled = replace(gate.hidden_weight, quantizer=replace(gate.hidden_weight.quantizer, scale=(0.5,)))
    layer = replace(layer, gates=(replace(gate, hidden_weight=doubled), *layer.gates[1:]))
    with pytest.raises(UnsupportedError, match="input gate, row 0: the input product has scale .* must be equal"):
        lower_cell(layer)


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("zero", [0, 5])
def test_binary_codes_are_signs(activation: Activation, zero: int) -> None:
    """Quantizers of {-1, +1} have no code between: 0 belongs to +1."""
    source = Wire("a", 1, False, Quantizer((0.25,), (zero,), IntegerType(8, True)))
    layer = QuantizeLayer(
        "b", source, Requantization(activation, Quantizer((1.0,), (0,), IntegerType(1, True, bipolar=True)))
    )
    codes = np.arange(-128, 128)[:, np.newaxis]
    expected = layer.evaluate({"a": source.decode(codes)})["b"]
    np.testing.assert_array_equal(lower_quantize(layer).run({"a": codes})["b"], expected)
    assert set(np.unique(expected)) <= {-1.0, 1.0}
