# SPDX-License-Identifier: Apache-2.0
"""A GRU to integers: two gates as those of an LSTM, a candidate of two sums, and a state of two products."""

from __future__ import annotations

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.forms import choose
from hwgen.integer import IntegerSum, Interval, accumulate_range
from hwgen.integer_cells import IntegerGru
from hwgen.integer_network import GruStage
from hwgen.layers import Activation, Bias, GruLayer, QuantizedTensor
from hwgen.lowering.cell import (
    accumulator_line,
    centred,
    code_range,
    lower_gate,
    lower_product,
    split_bias,
    sum_line,
    weight_type,
)
from hwgen.lowering.scales import MAX_ACCUMULATOR_BITS
from hwgen.quantizer import Quantizer
from hwgen.step import activation_step, linear_step


def lower_gru(layer: GruLayer) -> GruStage:
    """Lower a GRU to codes; every step function comes certified.

    Raises UnsupportedError where a sum gets too wide, and where the scales of a gate's products differ so that no
    accumulator holds their sum.
    """
    reset, update, new = lower_gate(layer, layer.reset), lower_gate(layer, layer.update), layer.new
    acc, part, output, act = new.accumulator, new.hidden_accumulator, layer.output, new.activation_quantizer
    whole = _lower_sum(layer, "new", new.input_weight, new.bias, layer.input, acc)
    hidden = _lower_sum(layer, "new_hidden", new.hidden_weight, new.hidden_bias, output, part)
    r, z = layer.reset.activation_quantizer, layer.update.activation_quantizer
    r_zero, z_zero = r.exact_zero_point(0), z.exact_zero_point(0)
    r_codes, z_codes = code_range(reset.steps[-1]), code_range(update.steps[-1])
    product = lower_product(
        "reset_product", (r_codes, r_zero, r), (code_range(hidden.step), part.exact_zero_point(0), part), acc
    )
    total = code_range(whole.step).plus(code_range(product.requantize))
    new_sum = choose(linear_step("new_sum", total.lo, total.hi, sum_line(acc, acc, acc)))
    reached = code_range(new_sum)
    tanh = choose(activation_step("new_tanh", reached.lo, reached.hi, acc, Activation.TANH, act))
    one, state = z.quantize_exact(1.0), Interval(output.codes.lo, output.codes.hi)
    kept = lower_product("update_product", (z_codes, z_zero, z), (state, output.exact_zero_point(0), output), output)
    rest = Interval(one - z_codes.hi, one - z_codes.lo)
    added = lower_product("new_product", (rest, 0, z), (code_range(tanh), act.exact_zero_point(0), act), output)
    both = code_range(kept.requantize).plus(code_range(added.requantize))
    hidden_sum = choose(linear_step("hidden_sum", both.lo, both.hi, sum_line(output, output, output)))
    cell = IntegerGru(
        name=layer.name,
        input_size=layer.input_size,
        hidden_size=layer.hidden_size,
        reset=reset,
        update=update,
        new_input=whole,
        new_hidden=hidden,
        reset_product=product,
        new_sum=new_sum,
        tanh=tanh,
        one=one,
        update_product=kept,
        new_product=added,
        hidden_sum=hidden_sum,
        input=layer.input.codes,
        hidden=output.codes,
        initial_hidden=layer.initial_hidden.codes,
        reverse=layer.reverse,
    )
    cell.verify()
    sequence, last = (wire.name for wire in layer.wires)
    return GruStage(cell, layer.source, layer.initial_hidden.source, (sequence, last))


def _lower_sum(
    layer: GruLayer, name: str, weight: QuantizedTensor, bias: Bias, source: Quantizer, target: Quantizer
) -> IntegerSum:
    """One product with a matrix and its bias, requantized to ``target``."""
    weights, label = centred(weight), f"{layer.name}, {name}"
    units = [weight.quantizer.exact_scale(row) * source.exact_scale(0) for row in range(layer.hidden_size)]
    constant, rest = split_bias(label, bias, units)
    constant = constant - weights.sum(axis=1) * source.exact_zero_point(0)
    low, high = accumulate_range(weights, source.codes)
    total = Interval(int((low + constant).min()), int((high + constant).max()))
    if total.type.bits > MAX_ACCUMULATOR_BITS:
        raise UnsupportedError(
            f"{label}: its accumulator needs {total.type.bits} bits, at most {MAX_ACCUMULATOR_BITS} are supported; "
            "the bias is huge beside the products"
        )
    line = accumulator_line(units, rest, target)
    return IntegerSum(
        weights=np.asarray(weights),
        bias=constant,
        weight=weight_type((weight,), weights),
        total=total,
        step=choose(linear_step(f"{name}_accumulator", total.lo, total.hi, line)),
    )
