# SPDX-License-Identifier: Apache-2.0
"""A recurrent layer to integers: scales become exact step functions, weights and biases become integers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.forms import Certified, choose, cost
from hwgen.integer import IntegerCell, IntegerGate, Interval, Product, accumulate_range
from hwgen.layers import Activation, Bias, Gate, GruLayer, LstmLayer, QuantizedTensor, RnnLayer, exact_bias
from hwgen.lowering.scales import GREATEST_BOUND, MAX_ACCUMULATOR_BITS, CommonUnit, common_unit
from hwgen.quantizer import IntArray, IntegerType, Quantizer
from hwgen.step import Linear, StepFunction, activation_step, compose, linear_step


def lower_cell(layer: LstmLayer) -> IntegerCell:
    """Lower an LSTM layer to codes; every step function comes certified.

    Raises UnsupportedError where the scales of a gate's products differ so that no accumulator holds their sum, and
    where those of the cell state's two terms differ at all.
    """
    gates = tuple(lower_gate(layer, gate) for gate in layer.gates)
    codes = {gate.name: code_range(gate.steps[-1]) for gate in gates}
    act = {gate.name: gate.activation_quantizer for gate in layer.gates}
    if layer.coupled:
        coupled_one = act["input"].quantize_exact(1.0)
        forget = Interval(coupled_one - codes["input"].hi, coupled_one - codes["input"].lo)
        forget_quantizer, forget_zero = act["input"], 0
    else:
        coupled_one, forget, forget_quantizer = None, codes["forget"], act["forget"]
        forget_zero = forget_quantizer.exact_zero_point(0)
    cell = _interval(layer.cell.codes)
    cell_zero = layer.cell.exact_zero_point(0)
    kept_quantizer, added_quantizer = layer.forget_product or layer.cell, layer.input_product or layer.cell
    kept = lower_product(
        "forget_product", (forget, forget_zero, forget_quantizer), (cell, cell_zero, layer.cell), kept_quantizer
    )
    added = lower_product(
        "input_product",
        (codes["input"], act["input"].exact_zero_point(0), act["input"]),
        (codes["cell"], act["cell"].exact_zero_point(0), act["cell"]),
        added_quantizer,
    )
    if kept_quantizer.scale != added_quantizer.scale:
        scales = " and ".join(f"{quantizer.scale[0]:.9g}" for quantizer in (kept_quantizer, added_quantizer))
        raise UnsupportedError(f"{layer.name}: f * c and i * g must have one scale, not {scales}")
    total = code_range(kept.requantize).plus(code_range(added.requantize))
    cell_sum = choose(
        linear_step("cell_sum", total.lo, total.hi, sum_line(kept_quantizer, added_quantizer, layer.cell))
    )
    cell_tanh = _state_tanh(layer, _state_range(cell_sum, layer))
    output = lower_product(
        "output_product",
        (codes["output"], act["output"].exact_zero_point(0), act["output"]),
        (code_range(cell_tanh), layer.cell_tanh.exact_zero_point(0), layer.cell_tanh),
        layer.output,
    )
    result = IntegerCell(
        name=layer.name,
        input_size=layer.input_size,
        hidden_size=layer.hidden_size,
        gates=gates,
        coupled_one=coupled_one,
        forget_product=kept,
        input_product=added,
        cell_sum=cell_sum,
        cell_tanh=cell_tanh,
        output_product=output,
        input=layer.input.codes,
        hidden=layer.output.codes,
        cell=layer.cell.codes,
        initial_hidden=layer.initial_hidden.codes,
        initial_cell=layer.initial_cell.codes,
        reverse=layer.reverse,
    )
    result.verify()
    return result


def _interval(codes: IntegerType) -> Interval:
    return Interval(codes.lo, codes.hi)


def code_range(certified: Certified) -> Interval:
    """The codes that a step function gives."""
    return Interval(certified.step.first, certified.step.last)


def sum_line(kept: Quantizer, added: Quantizer, cell: Quantizer) -> Linear:
    """The sum of two codes of one scale in codes of the cell: both carry a zero point, their sum carries the cell's."""
    channels = range(max(quantizer.channels for quantizer in (kept, added, cell)))
    slopes = [kept.exact_scale(c) / cell.exact_scale(c) for c in channels]
    if len(set(slopes)) == 1:
        slopes = slopes[:1]
    zeros = kept.exact_zero_point(0) + added.exact_zero_point(0)
    intercepts = tuple(cell.exact_zero_point(0) - slope * zeros for slope in slopes)
    return Linear(tuple(slopes), intercepts, cell.rounding, cell.codes)


def _state_tanh(layer: LstmLayer, reached: Interval) -> Certified:
    """Cell codes to the codes of their tanh, by way of those of its argument where it has a quantizer of its own."""
    name, argument = "hidden_state_tanh", layer.tanh_argument
    if argument is None:
        return choose(activation_step(name, reached.lo, reached.hi, layer.cell, Activation.TANH, layer.cell_tanh))
    before = code_step(name, reached.lo, reached.hi, layer.cell, Activation.IDENTITY, argument)
    after = activation_step(name, before.first, before.last, argument, Activation.TANH, layer.cell_tanh)
    return choose(compose(name, before, after), ("search", "table"))


def _state_range(cell_sum: Certified, layer: LstmLayer) -> Interval:
    """Codes that tanh can see: every result of the sum, within the cell's own codes."""
    reached = code_range(cell_sum)
    return Interval(max(reached.lo, layer.cell.codes.lo), min(reached.hi, layer.cell.codes.hi))


def lower_product(
    name: str,
    left: tuple[Interval, int, Quantizer],
    right: tuple[Interval, int, Quantizer],
    target: Quantizer,
) -> Product:
    """The product of two codes, each given as (code range, zero point, quantizer), requantized to ``target``."""
    (left_codes, left_zero, left_quantizer), (right_codes, right_zero, right_quantizer) = left, right
    domain = left_codes.minus(left_zero).times(right_codes.minus(right_zero))
    channels = max(left_quantizer.channels, right_quantizer.channels, target.channels)
    slopes = tuple(
        left_quantizer.exact_scale(c) * right_quantizer.exact_scale(c) / target.exact_scale(c) for c in range(channels)
    )
    zero = Fraction(target.exact_zero_point(0))
    linear = Linear(slopes, (zero,) * channels, target.rounding, target.codes)
    return Product(left_zero, right_zero, choose(linear_step(name, domain.lo, domain.hi, linear)))


def lower_gate(layer: LstmLayer | GruLayer | RnnLayer, gate: Gate) -> IntegerGate:
    """The sums and step functions of one gate."""
    common = _common_units(layer, gate)
    units = [row.unit for row in common]
    input_weights = centred(gate.input_weight) * np.array([[row.input_factor] for row in common])
    hidden_weights = centred(gate.hidden_weight) * np.array([[row.hidden_factor] for row in common])
    whole, rest = split_bias(f"{gate.name} gate", gate.bias, units)
    # Raw codes enter the products: what the zero points of x and h add to every sum joins the bias.
    bias = whole - input_weights.sum(axis=1) * layer.input.exact_zero_point(0)
    bias = bias - hidden_weights.sum(axis=1) * layer.output.exact_zero_point(0)
    x_low, x_high = accumulate_range(input_weights, layer.input.codes)
    h_low, h_high = accumulate_range(hidden_weights, layer.output.codes)
    input_sum = Interval(int((x_low + bias).min()), int((x_high + bias).max()))
    total = Interval(int((x_low + h_low + bias).min()), int((x_high + h_high + bias).max()))
    if total.type.bits > MAX_ACCUMULATOR_BITS:
        raise UnsupportedError(
            f"{layer.name}, {gate.name} gate: its accumulator needs {total.type.bits} bits, "
            f"at most {MAX_ACCUMULATOR_BITS} are supported; the bias is huge beside the products"
        )
    return IntegerGate(
        name=gate.name,
        input_weights=input_weights,
        hidden_weights=hidden_weights,
        bias=bias,
        weight=weight_type((gate.input_weight, gate.hidden_weight), input_weights, hidden_weights),
        bound=max(float(unit.bound / gate.accumulator.exact_scale(row)) for row, unit in enumerate(common)),
        input_sum=input_sum,
        total=total,
        steps=_gate_steps(gate, units, rest, total),
    )


def _common_units(layer: LstmLayer | GruLayer | RnnLayer, gate: Gate) -> list[CommonUnit]:
    """The unit of each row's accumulator, which the input and the hidden product share after multiplication.

    Rows of equal scales have one unit, and so can have one step function.
    """
    input_reach = _reach(centred(gate.input_weight), layer.input)
    hidden_reach = _reach(centred(gate.hidden_weight), layer.output)
    rows_of: dict[tuple[Fraction, Fraction, Fraction], list[int]] = {}
    for row in range(layer.hidden_size):
        input_unit = gate.input_weight.quantizer.exact_scale(row) * layer.input.exact_scale(0)
        hidden_unit = gate.hidden_weight.quantizer.exact_scale(row) * layer.output.exact_scale(0)
        rows_of.setdefault((input_unit, hidden_unit, gate.accumulator.exact_scale(row)), []).append(row)
    units: dict[int, CommonUnit] = {}
    for (input_unit, hidden_unit, lsb), rows in rows_of.items():
        unit: CommonUnit | None = CommonUnit(input_unit, 1, 1, Fraction(0))
        if input_unit != hidden_unit:
            reaches = int(input_reach[rows].max()), int(hidden_reach[rows].max())
            bias = max(abs(exact_bias(gate.bias, row)) for row in rows)
            unit = common_unit(input_unit, hidden_unit, *reaches, bias, lsb)
        if unit is None:
            raise UnsupportedError(
                f"{layer.name}, {gate.name} gate, row {rows[0]}: the input product has scale {float(input_unit):.9g} "
                f"and the hidden product {float(hidden_unit):.9g}; no accumulator of {MAX_ACCUMULATOR_BITS} bits holds "
                f"their sum to within {float(GREATEST_BOUND):g} LSB; use scales whose ratio is a power of two, or "
                "narrower codes"
            )
        units |= dict.fromkeys(rows, unit)
    return [units[row] for row in range(layer.hidden_size)]


def _reach(weights: IntArray, source: Quantizer) -> IntArray:
    """The greatest magnitude of each product of centred weights with codes minus their zero point."""
    low, high = accumulate_range(weights, source.codes)
    fold = weights.sum(axis=1) * source.exact_zero_point(0)
    return np.maximum(np.abs(low - fold), np.abs(high - fold))


def centred(weight: QuantizedTensor) -> IntArray:
    """Weight codes minus their zero points, which may differ by row."""
    return weight.codes - np.asarray(weight.quantizer.zero_point, np.int64)[:, np.newaxis]


def weight_type(tensors: tuple[QuantizedTensor, ...], *weights: IntArray) -> IntegerType:
    """The type that holds ``weights``, the codes of ``tensors`` without their zero points."""
    if all(tensor.quantizer.codes.bipolar for tensor in tensors) and max(np.abs(w).max() for w in weights) == 1:
        return tensors[0].quantizer.codes
    low, high = min(int(w.min()) for w in weights), max(int(w.max()) for w in weights)
    return IntegerType.holding(min(low, -1), high)


def split_bias(label: str, bias: Bias, units: list[Fraction]) -> tuple[IntArray, list[Fraction]]:
    """The bias of each row in accumulator units: the nearest integer, and the rational rest within +-1/2."""
    whole, rest = np.zeros(len(units), np.int64), [Fraction(0)] * len(units)
    if bias is None:
        return whole, rest
    for row, unit in enumerate(units):
        exact = exact_bias(bias, row) / unit
        nearest = math.floor(exact + Fraction(1, 2))
        if abs(nearest) >= 2**MAX_ACCUMULATOR_BITS:
            raise UnsupportedError(
                f"{label}, row {row}: its bias is {float(exact):.3g} accumulator units, "
                f"at most 2^{MAX_ACCUMULATOR_BITS} are supported"
            )
        whole[row], rest[row] = nearest, exact - nearest
    return whole, rest


def accumulator_line(
    units: list[Fraction], rest: list[Fraction], target: Quantizer, least: int | None = None
) -> Linear:
    """Sums of scale ``units`` [channels], with ``rest`` units beyond the integer, in codes of ``target``."""
    slopes = tuple(unit / target.exact_scale(row) for row, unit in enumerate(units))
    zero = target.exact_zero_point(0)
    intercepts = tuple(slope * offset + zero for slope, offset in zip(slopes, rest, strict=True))
    return Linear(slopes, intercepts, target.rounding, target.codes, least)


def _gate_steps(gate: Gate, units: list[Fraction], rest: list[Fraction], total: Interval) -> tuple[Certified, ...]:
    """Accumulator to activation code: in two steps by way of the gate code, or composed in one if that is cheaper."""
    target = gate.accumulator
    accumulate = linear_step(f"{gate.name}_accumulator", total.lo, total.hi, accumulator_line(units, rest, target))
    activate = code_step(
        f"{gate.name}_{gate.activation.value}",
        accumulate.first,
        accumulate.last,
        target,
        gate.activation,
        gate.activation_quantizer,
    )
    composed = choose(compose(f"{gate.name}_gate", accumulate, activate), ("search", "table"))
    separate = choose(accumulate), choose(activate)
    price = sum(cost(certified.form, certified.step) for certified in separate)
    return (composed,) if cost(composed.form, composed.step) < price else separate


def code_step(
    name: str, lo: int, hi: int, source: Quantizer, activation: Activation, target: Quantizer
) -> StepFunction:
    """target(activation(source value)) for the codes lo..hi of ``source``."""
    if activation in (Activation.SIGMOID, Activation.TANH):
        return activation_step(name, lo, hi, source, activation, target)
    channels = range(max(source.channels, target.channels))
    slopes = tuple(source.exact_scale(c) / target.exact_scale(c) for c in channels)
    zero = target.exact_zero_point(0)
    intercepts = tuple(zero - slope * source.exact_zero_point(c) for c, slope in zip(channels, slopes, strict=True))
    # Rounding is monotone, so what a ReLU leaves is what lies at or above the code of 0.
    least = zero if activation is Activation.RELU else None
    return linear_step(name, lo, hi, Linear(slopes, intercepts, target.rounding, target.codes, least))
