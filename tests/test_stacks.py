# SPDX-License-Identifier: Apache-2.0
"""Two layers of a stack on one engine: which ones, what is refused, what is predicted, HLS C++."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from directions_models import folding
from recurrent_networks import gru, network, rnn
from stack_models import LONG_STACKS, STACKS, stack

import hwgen
from hwgen import cost
from hwgen.backends import hls, rtl
from hwgen.dataflow import CellNode, Dataflow, StackNode
from hwgen.directions import stacked_cell
from hwgen.errors import ConfigError
from hwgen.explore.space import space
from hwgen.folding import divisors, legal_hidden_pe
from hwgen.integer_cells import IntegerRnn
from hwgen.interleaving import StackTurns, stack_steps
from hwgen.layers import Layer
from hwgen.network import Network
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.rtl_cycles import period, predict


def shared(model: Network, **options: Any) -> Dataflow:
    design = hwgen.schedule(model, share_engine="layers", **options)
    assert isinstance(design, Dataflow)
    return design


def cells_of(design: Dataflow) -> list[CellNode]:
    return [node for node in design.nodes if isinstance(node, CellNode)]


@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_the_second_layer_follows_a_step_behind(length: int) -> None:
    turns, taken = StackTurns(), [0, 0]
    for _ in range(2):
        order = []
        for _ in range(2 * length):
            turn = turns.turn
            order.append((turn, taken[turn] % length))
            taken[turn] += 1
            turns.step(taken[turn] % length == 0)
        rounds = [[(0, t), (1, t - 1)] for t in range(length + 1)]
        assert [step for _, step in order] == stack_steps(length)
        assert order == [(turn, t) for both in rounds for turn, t in both if 0 <= t < length]


def test_layers_are_paired_from_the_first_on() -> None:
    for layers, engines in ((2, [2]), (3, [2, 1]), (4, [2, 2])):
        design = shared(stack(rnn, 4, 8, layers))
        assert [node.design.turns for node in cells_of(design)] == engines
        assert len(design.cells) == layers


def test_weights_of_zero_change_nothing() -> None:
    design = hwgen.schedule(stack(gru, 12, 4))
    assert isinstance(design, Dataflow)
    one, other = (node.design.cell for node in cells_of(design))
    common = stacked_cell(one, other)
    assert common.input_size == 12
    for gate, first, second in zip(common.rows, one.rows, other.rows, strict=True):
        assert np.array_equal(gate.input_weights[:4], first.input_weights)
        assert np.array_equal(gate.input_weights[4:, :4], second.input_weights)
        assert not gate.input_weights[4:, 4:].any()


def test_what_has_no_layers_to_share_is_refused() -> None:
    alone = hwgen.load(Path(__file__).parent / "models" / "default.onnx")
    no_two = (
        "--share-engine layers shares one engine between two layers of a stack; this model has no two forward "
        "recurrent layers of one kind and as many units, of which the second alone reads the sequence of the first; "
        "leave the option out"
    )
    sizes: list[Layer] = [rnn("a"), rnn("b", source="a.sequence", inputs=8, hidden=4)]
    kinds: list[Layer] = [rnn("a"), gru("b", source="a.sequence", inputs=8)]
    both: list[Layer] = [rnn("a"), rnn("b", source="a.sequence", inputs=8)]
    turned: list[Layer] = [rnn("a"), rnn("b", source="a.sequence", inputs=8, reverse=True)]
    refused: list[tuple[Any, str]] = [
        (alone, "--share-engine shares an engine between layers; this model has one layer alone"),
        (network(sizes, [sizes[1].wires[0]]), no_two),
        (network(kinds, [kinds[1].wires[0]]), no_two),
        (network(turned, [turned[1].wires[0]]), no_two),
        # The sequence of the first one has another reader.
        (network(both, [both[0].wires[0], both[1].wires[0]]), no_two),
    ]
    for model, message in refused:
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            hwgen.schedule(model, share_engine="layers")


def test_layers_that_no_constants_make_alike_are_refused() -> None:
    message = (
        "--share-engine: 'l0' and 'l1' differ in input codes: int4 and int8; quantize both layers with the same bit "
        "widths and signs (Brevitas: the same quantizers, or shared ones), or leave the option out"
    )
    narrow = Quantizer((2.0**-5,), (0,), IntegerType(4, True))
    model = stack(rnn, 8, 8, options=({"input": narrow}, {}))
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        shared(model)


def test_binary_weights_cannot_be_zero() -> None:
    design = hwgen.schedule(stack(rnn, 4, 8))
    assert isinstance(design, Dataflow)
    one, other = (node.design.cell for node in cells_of(design))
    assert isinstance(one, IntegerRnn)
    signs = replace(one, gate=replace(one.gate, weight=IntegerType(1, True, bipolar=True)))
    with pytest.raises(ConfigError, match=r"^--share-engine: 'l0' has 4 inputs and the other layer 8, and weights of"):
        stacked_cell(signs, other)


def test_beats_must_be_those_of_both_layers() -> None:
    message = "folding input.simd must divide the 12 and the 8 inputs, not 3; nearest legal: 2 and 4"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        shared(stack(rnn, 12, 8), folding={"l0": folding(4, 3, 4, 2)})


def test_the_period_is_that_of_the_hardware() -> None:
    """In any folding, at any clock and look-ahead: cycles of many steps, rounded up."""
    choose = Random(1)
    for _ in range(24):
        gates, inputs, hidden = choose.choice([1, 3]), choose.choice([4, 6, 8, 12]), choose.choice([4, 6, 8])
        chosen = folding(
            choose.choice(divisors(gates * hidden)),
            choose.choice(divisors(int(np.gcd(inputs, hidden)))),
            choose.choice(legal_hidden_pe(gates, hidden)),
            choose.choice(divisors(hidden)),
        )
        options = {"clock_mhz": choose.choice([50, 100, 200]), "look_ahead": choose.choice([None, 1, 2])}
        model = stack(rnn, inputs, hidden) if gates == 1 else stack(gru, inputs, hidden)
        design = shared(model, folding={"l0": chosen}, **options)
        short, long = (predict(design, [length]).last for length in (10, 40))
        assert -(-(long - short) // 30) == period(design), (chosen, options)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN, slow input product"])
def test_the_design_space_knows_both_layers_on_one_engine(name: str) -> None:
    model = (STACKS | LONG_STACKS)[name].model()
    where = space(shared(model))
    generator = np.random.default_rng(1)
    rows = tuple(generator.integers(0, len(table), 6) for table in where.tables)
    found = where.predict(rows, 9)
    for place in range(6):
        choice = where.folding(tuple(int(row[place]) for row in rows))
        design = shared(model, folding=choice)
        whole = cost.predict(design).whole
        for kind in cost.KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), (kind, choice)
        assert 0 <= period(design) - int(found.interval[place]) <= 0.05 * period(design), choice
        last = predict(design, [9]).last
        assert abs(int(found.latency[place]) - last) <= 0.08 * last, choice


def test_a_target_is_met_with_one_engine() -> None:
    design = shared(stack(rnn, 8, 8), steps_per_second=2e6)
    assert period(design) <= 50


def test_schedule_says_it_and_the_same_design_gives_the_same_text(tmp_path: Path) -> None:
    design, again = STACKS["GRU"].design(), STACKS["GRU"].design()
    assert design.to_dict()["share_engine"] == "layers"
    assert rtl.generate(design, "origin") == rtl.generate(again, "origin")
    assert hls.generate(design, "origin") == hls.generate(again, "origin")
    assert sum(isinstance(node, StackNode) for node in design.nodes) == 1


def check(name: str, folder: Path) -> hwgen.Project:
    project = hwgen.build((STACKS | LONG_STACKS)[name].design(), folder / "project", backend="hls")
    found = project.verify(level="csim", sequences=12)["levels"]["csim"]
    assert found["codes"] > 0
    assert found["mismatches"] == 0
    return project


def test_codes_in_hls(tmp_path: Path) -> None:
    project = check("LSTM", tmp_path)
    path = project.path / "hls" / "lib" / "contexts.hpp"
    right = "sets.write(turn ? 1 : 0);"
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, "sets.write(turn ? 0 : 1);"))
    assert project.verify(level="csim", sequences=4)["levels"]["csim"]["mismatches"] > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["RNN", "GRU", *LONG_STACKS])
def test_codes_of_others_in_hls(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)
