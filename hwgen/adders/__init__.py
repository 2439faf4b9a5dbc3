# SPDX-License-Identifier: Apache-2.0
"""Products with constant matrices by shifts and additions: who finds the graph, and the proof that it is right."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from hwgen.adders import digits, with_da4ml
from hwgen.adders.graph import AdderGraph, Pipeline
from hwgen.errors import ConfigError, ToolError, printable
from hwgen.quantizer import IntArray

__all__ = ["CONSTANT_PRODUCTS", "AdderGraph", "Pipeline", "adder_graph", "check_constant_products", "constant_products"]

# What a product whose weights are constants is made of: multiplications, or shifts and additions.
CONSTANT_PRODUCTS = ("multiply", "shift-add", "da4ml")
# Random vectors that a graph is checked with, beside its coefficients.
_VECTORS = 64


def check_constant_products(name: str) -> str:
    """The name of a way to build constant products; raises ConfigError if there is none of that name."""
    if name not in CONSTANT_PRODUCTS:
        raise ConfigError(f"--constant-products must be one of {', '.join(CONSTANT_PRODUCTS)}, not {printable(name)}")
    return name


def constant_products(graphs: Iterable[tuple[str, AdderGraph | None]]) -> dict[str, Any]:
    """What schedule.json says of products, by name, that are graphs of adders; nothing if none is."""
    found = {
        name: {"found_by": graph.maker, "adders": len(graph.adders), "levels": graph.depth + 1}
        for name, graph in graphs
        if graph is not None
    }
    return {"constant_products": found} if found else {}


def adder_graph(matrix: IntArray, lo: int, hi: int, maker: str) -> AdderGraph:
    """The graph of a matrix [rows, columns] for codes lo..hi, found by ``maker`` of CONSTANT_PRODUCTS and checked.

    Raises ToolError if da4ml is asked for and missing, or if a graph computes something else.
    """
    matrix = np.ascontiguousarray(matrix, np.int64)
    return _graph(matrix.tobytes(), matrix.shape, lo, hi, maker)


# A design is put together several times over; its products stay the same.
@functools.lru_cache(maxsize=64)
def _graph(data: bytes, shape: tuple[int, int], lo: int, hi: int, maker: str) -> AdderGraph:
    matrix = np.frombuffer(data, np.int64).reshape(shape)
    graph = with_da4ml.solve(matrix, lo, hi) if maker == "da4ml" else digits.solve(matrix, lo, hi)
    graph = graph.without_unused()
    prove(graph, matrix)
    return graph


def prove(graph: AdderGraph, matrix: IntArray) -> None:
    """Raise ToolError unless a graph is linear with just these coefficients, and adds up random vectors to the same."""
    codes = np.random.default_rng(0).integers(graph.lo, graph.hi, (_VECTORS, matrix.shape[1]), endpoint=True)
    same = np.array_equal(graph.matrix, matrix) and np.array_equal(graph.evaluate(codes), codes @ matrix.T)
    if not same:
        raise ToolError(f"the graph of adders of {graph.maker} does not compute its product of {matrix.shape} weights")
