# SPDX-License-Identifier: Apache-2.0
"""Both directions of a layer as one cell, for hardware that works on their time steps in turns.

Weights, biases and initial states of both stand behind each other.  What is left are widths and step functions: those
that differ get a channel for each direction, or for each unit of each direction, so that their constants are chosen by
the direction as they are by the unit anyway.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.errors import ConfigError, printable
from hwgen.forms import Certified, choose
from hwgen.integer import IntegerCell, IntegerGate, IntegerSum, Interval, Product
from hwgen.integer_cells import IntegerGru, IntegerRnn, RecurrentCell
from hwgen.quantizer import IntArray, IntegerType
from hwgen.step import Linear, StepFunction, compose, linear_step

DIRECTIONS = 2
Pair = tuple[StepFunction, StepFunction]


def stacked_cell(first: RecurrentCell, second: RecurrentCell) -> RecurrentCell:
    """The cell of an engine that two layers of a stack share; the one of fewer inputs has weights of zero for others.

    Raises ConfigError as ``common_cell`` does, and where weights cannot be zero.
    """
    inputs = max(first.input_size, second.input_size)
    return common_cell(_padded(first, inputs), _padded(second, inputs), "layers")


def _padded(cell: RecurrentCell, inputs: int) -> RecurrentCell:
    """The cell with so many inputs, those beyond its own of no weight."""
    more = inputs - cell.input_size
    if not more:
        return cell
    if any(gate.weight.bipolar for gate in cell.rows):
        raise ConfigError(
            f"--share-engine: {printable(cell.name)} has {cell.input_size} inputs and the other layer {inputs}, and "
            "weights of +1 and -1, none of which is zero for an input that is not there; leave the option out"
        )

    def wide(weights: IntArray) -> IntArray:
        return np.pad(weights, ((0, 0), (0, more)))

    def gate(one: IntegerGate) -> IntegerGate:
        return replace(one, input_weights=wide(one.input_weights))

    if isinstance(cell, IntegerCell):
        return replace(cell, input_size=inputs, gates=tuple(map(gate, cell.gates)))
    if isinstance(cell, IntegerRnn):
        return replace(cell, input_size=inputs, gate=gate(cell.gate))
    new = replace(cell.new_input, weights=wide(cell.new_input.weights))
    return replace(cell, input_size=inputs, reset=gate(cell.reset), update=gate(cell.update), new_input=new)


def common_cell(forward: RecurrentCell, backward: RecurrentCell, which: str = "directions") -> RecurrentCell:
    """The cell of an engine that both directions share; of weights and biases it has 2 * H rows, forward ones first.

    ``which`` says what they are, directions or layers.  Raises ConfigError where they differ in what no constant makes
    up for.
    """
    _check_alike(
        which,
        forward,
        backward,
        ("input codes", forward.input, backward.input),
        ("hidden codes", forward.hidden, backward.hidden),
        ("gates", _names(forward), _names(backward)),
        ("a zero point of products", _zeros(forward), _zeros(backward)),
        ("inputs", forward.input_size, backward.input_size),
        ("hidden units", forward.hidden_size, backward.hidden_size),
    )
    initial = _state(forward.initial_hidden, backward.initial_hidden, "the initial hidden state")
    if isinstance(forward, IntegerCell) and isinstance(backward, IntegerCell):
        return _lstm(which, forward, backward, initial)
    units = forward.hidden_size
    if isinstance(forward, IntegerGru) and isinstance(backward, IntegerGru):
        return _gru(which, forward, backward, initial)
    assert isinstance(forward, IntegerRnn) and isinstance(backward, IntegerRnn), "both directions are of one kind"
    return replace(forward, gate=_gate(forward.gate, backward.gate, units), initial_hidden=initial, reverse=False)


def _lstm(which: str, forward: IntegerCell, backward: IntegerCell, initial: IntArray | None) -> IntegerCell:
    _check_alike(
        which,
        forward,
        backward,
        ("cell codes", forward.cell, backward.cell),
        ("the code of 1 of their input gates", forward.coupled_one, backward.coupled_one),
    )
    units = forward.hidden_size
    return replace(
        forward,
        gates=tuple(_gate(one, other, units) for one, other in zip(forward.gates, backward.gates, strict=True)),
        forget_product=_product(forward.forget_product, backward.forget_product, units),
        input_product=_product(forward.input_product, backward.input_product, units),
        cell_sum=_common(forward.cell_sum, backward.cell_sum, units),
        cell_tanh=_common(forward.cell_tanh, backward.cell_tanh, units),
        output_product=_product(forward.output_product, backward.output_product, units),
        initial_hidden=initial,
        initial_cell=_state(forward.initial_cell, backward.initial_cell, "the initial cell state"),
        reverse=False,
    )


def _gru(which: str, forward: IntegerGru, backward: IntegerGru, initial: IntArray | None) -> IntegerGru:
    _check_alike(which, forward, backward, ("the code of 1 of their update gates", forward.one, backward.one))
    units = forward.hidden_size
    return replace(
        forward,
        reset=_gate(forward.reset, backward.reset, units),
        update=_gate(forward.update, backward.update, units),
        new_input=_sum(forward.new_input, backward.new_input, units),
        new_hidden=_sum(forward.new_hidden, backward.new_hidden, units),
        reset_product=_product(forward.reset_product, backward.reset_product, units),
        new_sum=_common(forward.new_sum, backward.new_sum, units),
        tanh=_common(forward.tanh, backward.tanh, units),
        update_product=_product(forward.update_product, backward.update_product, units),
        new_product=_product(forward.new_product, backward.new_product, units),
        hidden_sum=_common(forward.hidden_sum, backward.hidden_sum, units),
        initial_hidden=initial,
        reverse=False,
    )


def _check_alike(
    which: str, forward: RecurrentCell, backward: RecurrentCell, *facts: tuple[str, object, object]
) -> None:
    """Raise ConfigError at the first fact (what it is, and that of each direction) in which they differ."""
    for what, one, other in facts:
        if one != other:
            raise ConfigError(
                f"--share-engine: {printable(forward.name)} and {printable(backward.name)} differ in {what}: {one} and "
                f"{other}; quantize both {which} with the same bit widths and signs (Brevitas: the same "
                "quantizers, or shared ones), or leave the option out"
            )


def _state(one: IntArray | None, other: IntArray | None, what: str) -> IntArray | None:
    """An initial state [H], or [2 * H] where that of each direction differs, or None where it is given."""
    if (one is None) != (other is None):
        raise ConfigError(
            f"--share-engine: {what} is a graph input of one direction and a constant of the other; make both inputs "
            "or both constants, or leave the option out"
        )
    if one is None or other is None or np.array_equal(one, other):
        return one
    return np.concatenate([one, other])


def _names(cell: RecurrentCell) -> str:
    return ", ".join(gate.name for gate in cell.gates)


def _zeros(cell: RecurrentCell) -> tuple[tuple[int, int], ...]:
    return tuple((product.left_zero, product.right_zero) for _, product in cell.products())


def _span(one: Interval, other: Interval) -> Interval:
    return Interval(min(one.lo, other.lo), max(one.hi, other.hi))


def _gate(one: IntegerGate, other: IntegerGate, units: int) -> IntegerGate:
    """The gate with the rows of both, their ranges and step functions."""
    steps = [[certified.step for certified in gate.steps] for gate in (one, other)]
    if len(steps[0]) != len(steps[1]):
        # One of them was cheaper composed: so is the other then.
        steps = [[compose(f"{one.name}_gate", *found)] if len(found) > 1 else found for found in steps]
    return replace(
        one,
        input_weights=np.vstack([one.input_weights, other.input_weights]),
        hidden_weights=np.vstack([one.hidden_weights, other.hidden_weights]),
        bias=np.concatenate([one.bias, other.bias]),
        weight=_widest(one.weight, other.weight),
        input_sum=_span(one.input_sum, other.input_sum),
        total=_span(one.total, other.total),
        steps=tuple(choose(common_step(pair, units)) for pair in zip(*steps, strict=True)),
        bound=max(one.bound, other.bound),
    )


def _sum(one: IntegerSum, other: IntegerSum, units: int) -> IntegerSum:
    """The sum with the rows of both, their range and step function."""
    return IntegerSum(
        weights=np.vstack([one.weights, other.weights]),
        bias=np.concatenate([one.bias, other.bias]),
        weight=_widest(one.weight, other.weight),
        total=_span(one.total, other.total),
        step=_common(one.step, other.step, units),
    )


def _widest(one: IntegerType, other: IntegerType) -> IntegerType:
    """The type of weights of both."""
    if one == other:
        return one
    return IntegerType.holding(min(one.storage.lo, other.storage.lo), max(one.storage.hi, other.storage.hi))


def _product(one: Product, other: Product, units: int) -> Product:
    return replace(one, requantize=_common(one.requantize, other.requantize, units))


def _common(one: Certified, other: Certified, units: int) -> Certified:
    return choose(common_step((one.step, other.step), units))


def common_step(pair: Pair, units: int) -> StepFunction:
    """A step function that is each of two on its own domain.

    It has one channel if one function will do, one for each direction if their channels agree, and otherwise ``units``
    of the first direction and as many of the second.
    """
    result = _linear(pair, units) or _thresholds(pair, units)
    for direction, step in enumerate(pair):
        _check(result, step, direction)
    assert result.channels in (1, DIRECTIONS, DIRECTIONS * units), f"{result.name}: {result.channels} channels"
    return result


def _linear(pair: Pair, units: int) -> StepFunction | None:
    """Both as one uniform step, which is exact beyond their domains as well."""
    one, other = (step.linear for step in pair)
    if one is None or other is None or one.codes.bipolar:
        return None
    if (one.rounding, one.codes, one.lo) != (other.rounding, other.codes, other.lo):
        return None
    each = max(step.channels for step in pair)

    def channels(step: StepFunction, linear: Linear) -> list[int]:
        # Channels that agree on their domain count as one.
        return [0] * each if step.channels == 1 else list(range(len(linear.slope)))

    places = channels(pair[0], one), channels(pair[1], other)
    both = Linear(
        tuple(linear.slope[c] for linear, where in zip((one, other), places, strict=True) for c in where),
        tuple(linear.intercept[c] for linear, where in zip((one, other), places, strict=True) for c in where),
        one.rounding,
        one.codes,
        one.least,
    )
    domain = _span(*(Interval(step.lo, step.hi) for step in pair))
    return linear_step(pair[0].name, domain.lo, domain.hi, both)


def _thresholds(pair: Pair, units: int) -> StepFunction:
    """Both by their thresholds: beyond its domain each may do anything, if possible what the other one does."""
    domain = _span(*(Interval(step.lo, step.hi) for step in pair))
    first, last = min(step.first for step in pair), max(step.last for step in pair)
    each = max(step.channels for step in pair)
    least, most = [], []
    for step in pair:
        below, above = (
            np.full((step.channels, count), value)
            for count, value in ((step.first - first, step.lo), (last - step.last, step.hi + 1))
        )
        rows = np.hstack([below, step.thresholds, above])
        rows = np.broadcast_to(rows, (each, last - first))
        # A threshold at an end of the domain may be anywhere beyond it.
        least.append(np.where(rows <= step.lo, domain.lo, rows))
        most.append(np.where(rows > step.hi, domain.hi + 1, rows))
    low, high = np.maximum(*least), np.minimum(*most)
    rows = low if (low <= high).all() else np.vstack(least)
    if (rows == rows[0]).all():
        rows = rows[:1]
    elif len(rows) == each:
        # One function for each unit, the same in both directions.
        rows = np.vstack([rows, rows])
    return StepFunction(pair[0].name, domain.lo, domain.hi, first, np.ascontiguousarray(rows).astype(np.int64))


def _check(common: StepFunction, step: StepFunction, direction: int) -> None:
    """Whether the common function is that of a direction: at both ends of its domain, and around every threshold."""
    each = common.channels // DIRECTIONS if common.channels > 1 else 1
    rows = common.thresholds[direction * each :][:each] if common.channels > 1 else common.thresholds
    own = replace(common, thresholds=rows, linear=None)
    edges = np.concatenate([step.thresholds.ravel(), rows.ravel()])
    values = np.unique(np.clip(np.concatenate([edges, edges - 1, [step.lo, step.hi]]), step.lo, step.hi))
    count = max(step.channels, own.channels)
    given = np.repeat(values[:, np.newaxis], count, axis=1)
    same = own.evaluate(given) == step.evaluate(given)
    assert same.all(), f"{step.name}: the function of both directions is not that of direction {direction}"
