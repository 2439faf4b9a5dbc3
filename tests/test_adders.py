# SPDX-License-Identifier: Apache-2.0
"""Products with constants by shifts and additions: graphs that compute just the matrix, registers in their places."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recurrent_networks import dense, network, rnn

import hwgen
from hwgen import adders
from hwgen.adders import AdderGraph, Pipeline, adder_graph, digits, prove
from hwgen.adders.graph import Adder, Term
from hwgen.cost import predict
from hwgen.errors import ConfigError, ToolError
from hwgen.folding import Folding
from hwgen.project import render
from hwgen.quantizer import IntArray

MODELS = Path(__file__).parent / "models"
MAKERS = ("shift-add", "da4ml")
UNROLLED = Folding(80, 10, 80, 20)


def matrix(rows: int, columns: int, bits: int, seed: int) -> IntArray:
    return np.random.default_rng(seed).integers(-(1 << bits - 1), 1 << bits - 1, (rows, columns))


MATRICES = {
    "8 bits": matrix(12, 7, 8, 1),
    "4 bits": matrix(20, 10, 4, 2),
    "20 bits": matrix(5, 6, 20, 3),
    "bipolar": 2 * matrix(16, 12, 1, 4) + 1,
    "one column": matrix(9, 1, 8, 5),
    "one row": matrix(1, 9, 8, 6),
    "one weight": np.array([[-96]]),
    "powers of two": np.array([[4, 0, 0], [0, -8, 0], [0, 0, 1]]),
    "rows and columns of zeros": np.array([[0, 0, 0], [0, 5, 7], [0, -5, -7], [0, 0, 0]]),
    "nothing": np.zeros((3, 2), np.int64),
    "equal rows": np.repeat(matrix(1, 8, 8, 7), 4, axis=0),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", MATRICES)
def test_a_graph_computes_its_matrix_within_the_least_depth(name: str, maker: str) -> None:
    weights = MATRICES[name]
    graph = adder_graph(weights, -8, 7, maker)
    assert np.array_equal(graph.matrix, weights)
    codes = np.random.default_rng(0).integers(-8, 8, (20, weights.shape[1]))
    assert np.array_equal(graph.evaluate(codes), codes @ weights.T)
    # Every digit of the longest row goes through at least so many adders.
    longest = max(sum(len(digits.signed_digits(weight)) for weight in row) for row in weights.tolist())
    assert graph.depth <= math.ceil(math.log2(max(longest, 1)))
    assert graph.digits == sum(len(digits.signed_digits(weight)) for weight in weights.ravel().tolist())
    # Nothing is added up for nothing.
    read = {node for adder in graph.adders for node in (adder.left, adder.right)}
    read |= {term.node for term in graph.rows if term is not None}
    assert set(range(graph.columns, graph.columns + len(graph.adders))) <= read


@pytest.mark.parametrize("value", [*range(-40, 41), 2**31 - 1, -(2**33)])
def test_signed_digits_are_canonical(value: int) -> None:
    found = digits.signed_digits(value)
    assert sum((-1 if minus else 1) << shift for shift, minus in found) == value
    shifts = [shift for shift, _ in found]
    assert all(later > earlier + 1 for earlier, later in itertools.pairwise(shifts))


def test_rows_share_what_they_have_in_common() -> None:
    """7 x + 7 y and three more rows that have it: x + y once, times 7 once."""
    weights = np.array([[7, 7], [-14, -14], [28, 28], [7, 7]])
    assert len(adder_graph(weights, -8, 7, "shift-add").adders) == 2
    # One by one 4 rows of 2 products of an adder each, and one to sum them up.
    assert len(adder_graph(MATRICES["equal rows"], -8, 7, "shift-add").adders) < 8 * 4


@pytest.mark.parametrize("stages", range(5))
def test_operands_of_an_adder_are_behind_as_many_registers(stages: int) -> None:
    graph = adder_graph(MATRICES["8 bits"], -128, 127, "shift-add")
    pipeline = Pipeline(graph, 24, stages)
    place, held = pipeline.place, pipeline.held
    assert set(place[: graph.columns]) == {0}
    nodes = [
        (node, source) for node, adder in enumerate(graph.adders, graph.columns) for source in (adder.left, adder.right)
    ]
    assert all(0 <= place[node] - place[source] <= held[source] for node, source in nodes)
    terms = [term for term in graph.rows if term is not None]
    assert all(place[term.node] + held[term.node] >= stages for term in terms)
    # No more levels between two registers than there must be; the last one is that of the start.
    level = [0] * len(place)
    for node, source in nodes:
        level[node] = max(level[node], 1 + (level[source] if place[source] == place[node] else 0))
    last = max(level[term.node] + 1 if place[term.node] == stages else 1 for term in terms)
    assert max(*level, last) <= math.ceil((graph.depth + 1) / (stages + 1))


def test_bits_hold_every_value_and_no_more() -> None:
    graph = adder_graph(np.array([[3, -5], [7, 2]]), -4, 3, "shift-add")
    every = np.array([(x, y) for x in range(-4, 4) for y in range(-4, 4)])
    values = every @ graph.coefficients.T
    assert np.array_equal(graph.ranges, np.stack([values.min(axis=0), values.max(axis=0)], axis=1))
    for bits, (lo, hi) in zip(graph.bits, graph.ranges.tolist(), strict=True):
        assert -(1 << bits - 1) <= lo <= hi < 1 << bits - 1


def test_a_wrong_graph_is_refused() -> None:
    graph = adder_graph(np.array([[3, 5]]), -8, 7, "shift-add")
    prove(graph, np.array([[3, 5]]))
    wrong = replace(graph, rows=(Term(graph.rows[0].node, 1, False),))  # type: ignore[union-attr]
    message = r"^the graph of adders of own does not compute its product of \(1, 2\) weights$"
    with pytest.raises(ToolError, match=message):
        prove(wrong, np.array([[3, 5]]))


def test_adders_that_lead_nowhere_are_left_out() -> None:
    nodes = (Adder(0, 0, 1, 0, False), Adder(0, 1, 1, 0, True), Adder(3, 0, 0, 2, False))
    graph = AdderGraph(2, -8, 7, nodes, (Term(4, 0, True), None), "own")
    assert graph.without_unused().adders == (Adder(0, 1, 1, 0, True), Adder(2, 0, 0, 2, False))
    assert np.array_equal(graph.without_unused().matrix, graph.matrix)


def unrolled(model: str, maker: str, folding: Folding = UNROLLED) -> hwgen.Schedule:
    network = hwgen.load(MODELS / f"{model}.onnx")
    design = hwgen.schedule(network, folding=folding, constant_products=maker)
    assert isinstance(design, hwgen.Schedule)
    return design


def test_only_products_of_one_cycle_become_adders() -> None:
    design = unrolled("two_bits", "shift-add", Folding(80, 5, 80, 20))
    assert design.input_product.graph is None
    assert design.hidden_product.graph is not None
    assert design.to_dict()["multipliers"] == {"input": 400, "hidden": 0}
    assert design.to_dict()["constant_products"] == {
        "hidden": {"found_by": "own", "adders": len(design.hidden_product.graph.adders), "levels": 5}
    }


def test_dsps_are_those_of_gates_and_states_alone() -> None:
    products, shifts = predict(unrolled("weights4", "multiply")), predict(unrolled("weights4", "shift-add"))
    assert products.units["hidden product"].dsp == 80 * 20
    assert shifts.units["hidden product"].dsp == shifts.units["input product"].dsp == 0
    assert shifts.units["elementwise"].dsp == products.units["elementwise"].dsp
    pipeline = Pipeline(unrolled("weights4", "shift-add").hidden_product.graph, 17, 3)  # type: ignore[arg-type]
    assert shifts.units["hidden product"].lut == pytest.approx(pipeline.adder_bits, rel=0.05)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_same_design_gives_the_same_bytes(maker: str) -> None:
    def text() -> dict[str, bytes]:
        adders._graph.cache_clear()
        return render(unrolled("two_bits", maker), ("hls", "rtl"))

    assert text() == text()


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^--constant-products must be one of multiply, shift-add, da4ml, not 'adders'$"
    ):
        unrolled("two_bits", "adders")


def test_a_design_without_such_products_is_refused_with_the_foldings_that_have_them() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^--constant-products shift-add is about products that take one cycle, and none does; with --folding "
        r"one can: input with pe=80, simd=10, hidden with pe=80, simd=20$",
    ):
        unrolled("two_bits", "shift-add", Folding(80, 5, 40, 20))


def test_a_network_is_refused_with_the_names_of_its_nodes() -> None:
    layer = rnn()
    head = dense("head", layer.wires[0], 5, seed=3)
    with pytest.raises(
        ConfigError, match=r"rnn input with pe=8, simd=6, rnn hidden with pe=8, simd=8, head with pe=5,"
    ):
        hwgen.schedule(network([layer, head], [head.wires[0]]), constant_products="shift-add")


def test_without_da4ml_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "da4ml.cmvm", None)
    with pytest.raises(
        ToolError,
        match=r"^--constant-products da4ml: da4ml was not found; install it with: pip install 'hwgen\[da4ml\]', or "
        r"take --constant-products shift-add, which needs nothing$",
    ):
        # A matrix that was not seen before.
        adder_graph(np.array([[11, 13, 17]]), -8, 7, "da4ml")
