# SPDX-License-Identifier: Apache-2.0
"""Both directions of a layer on one engine: their common step functions, what is refused, what is predicted."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from directions_models import FINE, KINDS, MAX_LENGTH, bidirectional, engine, folding, of_one_kind
from recurrent_networks import gru, network, rnn, side_by_side

import hwgen
from hwgen import cost
from hwgen.backends import rtl
from hwgen.dataflow import CellNode, Dataflow
from hwgen.directions import common_cell, common_step
from hwgen.errors import ConfigError
from hwgen.explore.space import space
from hwgen.forms import choose
from hwgen.integer import IntegerCell
from hwgen.integer_cells import IntegerGru
from hwgen.layers import InitialState, LstmLayer
from hwgen.quantizer import IntegerType, Quantizer, RoundingMode
from hwgen.rtl_cycles import period, predict
from hwgen.rtl_timing import timeline
from hwgen.schedule import Schedule
from hwgen.step import Linear, StepFunction, linear_step

UNITS = 3
INT8 = IntegerType(8, True)


def uniform(lo: int, hi: int, slopes: list[Fraction], rounding: RoundingMode = RoundingMode.ROUND) -> StepFunction:
    return linear_step("step", lo, hi, Linear(tuple(slopes), (Fraction(0),) * len(slopes), rounding, INT8))


def by_thresholds(lo: int, hi: int, first: int, *rows: list[int]) -> StepFunction:
    return StepFunction("step", lo, hi, first, np.array(rows))


HALF, THIRD = Fraction(1, 2), Fraction(1, 3)
PAIRS: dict[str, tuple[StepFunction, StepFunction, int]] = {
    "one function on two domains": (uniform(-40, 90, [HALF]), uniform(-70, 50, [HALF]), 1),
    "slopes that differ": (uniform(-40, 90, [HALF]), uniform(-70, 50, [THIRD]), 2),
    "slopes of channels": (uniform(-40, 90, [HALF, THIRD, HALF]), uniform(-70, 50, [THIRD]), 2 * UNITS),
    "channels alike": (uniform(-9, 9, [HALF, THIRD, HALF]), uniform(-30, 30, [HALF, THIRD, HALF]), 2 * UNITS),
    "rounding that differs": (uniform(-40, 90, [HALF]), uniform(-70, 50, [HALF], RoundingMode.FLOOR), 2),
    "uniform beside thresholds": (uniform(-40, 90, [HALF]), by_thresholds(-8, 3, -1, [-5, 0]), 2),
    # What is clipped to the end of a domain may be anywhere beyond it.
    "one table": (by_thresholds(-9, 9, -2, [-7, -1, 3, 8]), by_thresholds(-4, 5, -1, [-1, 3]), 1),
    "clipped thresholds": (by_thresholds(-9, 9, 0, [-7, -1, 10]), by_thresholds(-4, 12, 0, [-4, -1, 11]), 1),
    "tables that differ": (by_thresholds(-9, 9, 0, [-7, -1]), by_thresholds(-9, 9, 0, [-7, 0]), 2),
    "codes that differ": (by_thresholds(0, 9, 5, [3]), by_thresholds(0, 9, 1, [3, 4]), 2),
    "constants": (by_thresholds(0, 9, 5, []), by_thresholds(-3, 2, 7, []), 2),
    "tables of channels": (by_thresholds(0, 9, 0, [1], [2], [3]), by_thresholds(0, 9, 0, [4]), 2 * UNITS),
    "tables of channels alike": (
        by_thresholds(0, 9, 0, [1], [2], [3]),
        by_thresholds(0, 5, 0, [1], [2], [3]),
        2 * UNITS,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_common_step_function_is_each_on_its_domain(name: str) -> None:
    one, other, channels = PAIRS[name]
    common = common_step((one, other), UNITS)
    certified = choose(common)
    assert common.channels == channels
    for direction, step in enumerate((one, other)):
        domain = np.arange(step.lo, step.hi + 1)[:, np.newaxis]
        wanted = step.evaluate(np.repeat(domain, UNITS, axis=1))
        given = np.repeat(domain, channels, axis=1)
        for found in (common.evaluate(given), certified.form.evaluate(given)):
            # All channels of a direction, or the one that stands for them.
            own = found[:, direction * (channels // 2) :][:, : max(1, channels // 2)]
            assert np.array_equal(np.broadcast_to(own, wanted.shape), wanted)


def cells(forward: str, backward: str, **changes: Any) -> tuple[IntegerCell, IntegerCell]:
    found = [node.design.cell for node in design_of(forward, backward, **changes).nodes if isinstance(node, CellNode)]
    one, other = found
    assert isinstance(one, IntegerCell) and isinstance(other, IntegerCell)
    return one, other


def design_of(forward: str, backward: str, **changes: Any) -> Dataflow:
    """Of an engine for each direction."""
    design = hwgen.schedule(bidirectional(forward, backward, **changes), max_length=MAX_LENGTH)
    assert isinstance(design, Dataflow)
    return design


def engine_of(design: Dataflow) -> Schedule:
    (node,) = (node for node in design.nodes if isinstance(node, CellNode))
    assert node.design.directions is not None
    return node.design


def test_what_both_have_in_common_holds_every_number_of_each() -> None:
    one, other = cells("default", "wide_range")
    common = common_cell(one, other)
    assert isinstance(common, IntegerCell)
    for name in ("input", "forget", "cell", "output"):
        for gate in (one.gate(name), other.gate(name)):
            assert common.gate(name).total.lo <= gate.total.lo <= gate.total.hi <= common.gate(name).total.hi
            assert common.gate(name).input_sum.lo <= gate.input_sum.lo
            assert common.gate(name).weight.bits >= gate.weight.bits
    assert all(certified.proof.holds for _, certified in common.steps())


def test_both_sums_of_a_candidate_hold_every_number_of_each() -> None:
    design = hwgen.schedule(of_one_kind(gru, {"bits": 4}, {"channels": 8, "accumulator": FINE}), max_length=MAX_LENGTH)
    assert isinstance(design, Dataflow)
    one, other = (node.design.cell for node in design.nodes if isinstance(node, CellNode))
    common = common_cell(one, other)
    assert isinstance(one, IntegerGru) and isinstance(other, IntegerGru) and isinstance(common, IntegerGru)
    for name in ("new_input", "new_hidden"):
        whole = getattr(common, name)
        for begin, part in ((0, getattr(one, name)), (8, getattr(other, name))):
            assert whole.total.lo <= part.total.lo <= part.total.hi <= whole.total.hi
            assert whole.weight.bits >= part.weight.bits
            assert np.array_equal(whole.weights[begin:][:8], part.weights)
            assert np.array_equal(whole.bias[begin:][:8], part.bias)
            # Its step is that of the direction, for every sum of each unit.
            sums = np.repeat(np.arange(part.total.lo, part.total.hi + 1)[:, np.newaxis], 8, axis=1)
            every = np.hstack([sums, sums])
            assert np.array_equal(whole.step.form.evaluate(every)[:, begin:][:, :8], part.step.form.evaluate(sums))
    assert all(certified.proof.holds for _, certified in common.steps())


DIFFER = (
    "--share-engine: 'forward' and 'backward' differ in {}; quantize both directions with the same bit widths and "
    "signs (Brevitas: the same quantizers, or shared ones), or leave the option out"
)


@pytest.mark.parametrize(
    ("forward", "backward", "what"),
    [
        ("default", "power_of_two_no_bias", "cell codes: int8 and int6"),
        ("default", "coupled", "gates: input, forget, cell, output and input, cell, output"),
    ],
)
def test_directions_that_no_constants_make_alike_are_refused(forward: str, backward: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(DIFFER.format(what))}$"):
        engine(bidirectional(forward, backward))


def test_gates_with_another_code_of_one_are_refused() -> None:
    model = of_one_kind(gru, {}, {"sigmoid": Quantizer((2.0**-6,), (0,), IntegerType(8, False))})
    message = DIFFER.format("the code of 1 of their update gates: 128 and 64")
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        engine(model)


def test_what_has_no_directions_to_share_is_refused() -> None:
    model = hwgen.load(Path(__file__).parent / "models" / "default.onnx")
    refused: list[tuple[Any, str, str]] = [
        (model, "units", "--share-engine must be directions or layers, not 'units'"),
        (
            model,
            "directions",
            "--share-engine shares an engine between directions; this model has one direction alone",
        ),
        (
            network([rnn("a"), rnn("b", source="a.sequence", inputs=8)], [rnn("b").wires[0]]),
            "directions",
            "--share-engine directions shares one engine between both directions of a layer; this model has no two "
            "recurrent layers of one kind and size, one of them reversed, that read the same values; leave the option "
            "out",
        ),
    ]
    both = rnn("a"), gru("b", reverse=True)
    mixed = network([*both, side_by_side("both", *both)], [side_by_side("both", *both).wires[0]])
    refused.append((mixed, *refused[-1][1:]))
    for what, option, message in refused:
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            hwgen.schedule(what, share_engine=option)


def test_a_state_that_one_direction_alone_is_given_is_refused() -> None:
    model = bidirectional("states", "states")
    one, other, both = model.layers
    assert isinstance(other, LstmLayer)
    state = replace(other, initial_hidden=InitialState(other.initial_hidden.quantizer, np.zeros(6, np.int64)))
    inputs = tuple(port for port in model.inputs if port.name != "backward_h0")
    with pytest.raises(ConfigError, match="the initial hidden state is a graph input of one direction and a constant"):
        engine(replace(model, layers=(one, state, both), inputs=inputs))


def test_where_a_step_waits_for_its_state_the_other_direction_takes_no_time() -> None:
    model = bidirectional("default", "default", units=8, inputs=4)
    for folds in ((32, 4, 32, 8), (4, 1, 4, 2)):
        shared = engine(model, folding(*folds))
        alone = hwgen.schedule(
            model, folding=dict.fromkeys(("forward", "backward"), folding(*folds)), max_length=MAX_LENGTH
        )
        times = timeline(engine_of(shared))
        tiles, loop = times.tiles, times.period
        assert period(shared) == max(2 * tiles, loop)
        lasts = [[predict(design, [length]).last for length in (5, 15)] for design in (shared, alone)]
        # A step more costs its cycles, and its beats where it is stored on both sides.
        more = [(last - first) / 10 for first, last in lasts]
        beats = 4 // folds[1] + 16 // engine_of(shared).units
        assert more[0] == period(shared) + beats
        assert period(alone) < more[1] <= period(alone) + beats
        if tiles == 1:
            # Constants of both directions may make the loop a cycle or two longer.
            assert period(shared) == loop <= period(alone) + 2
        else:
            assert period(shared) < 1.7 * period(alone)


@pytest.mark.parametrize("kind", ["LSTM", "RNN, scales that differ", "GRU, scales that differ"])
def test_the_design_space_knows_both_directions_on_one_engine(kind: str) -> None:
    of_kind = KINDS.get(kind)
    model = of_kind.model() if of_kind else bidirectional("default", "wide_range")
    where = space(engine(model))
    generator = np.random.default_rng(1)
    rows = tuple(generator.integers(0, len(table), 8) for table in where.tables)
    found = where.predict(rows, 9)
    for place in range(8):
        choice = where.folding(tuple(int(row[place]) for row in rows))
        design = hwgen.schedule(model, folding=choice, max_length=MAX_LENGTH, share_engine="directions")
        whole = cost.predict(design).whole
        for kind in cost.KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), (kind, choice)
        assert int(found.interval[place]) <= period(design)
        last = predict(design, [9]).last
        assert abs(int(found.latency[place]) - last) <= 0.05 * last, choice


def test_a_target_is_met_with_one_engine() -> None:
    model = bidirectional("default", "default", units=8)
    design = hwgen.schedule(model, steps_per_second=1e6, max_length=MAX_LENGTH, share_engine="directions")
    assert design.options.share_engine == "directions"
    assert period(design) <= 100


def test_schedule_says_it_and_the_same_design_gives_the_same_text() -> None:
    model = bidirectional("constant_states", "constant_states")
    shared, alone = engine(model), design_of("constant_states", "constant_states")
    assert shared.to_dict()["share_engine"] == "directions"
    assert "share_engine" not in str(alone.to_dict())
    assert rtl.generate(shared, "origin") == rtl.generate(engine(model), "origin")
    # The integer model is that of each direction.
    assert [cell.name for cell in shared.cells] == [cell.name for cell in alone.cells] == ["forward", "backward"]
