# SPDX-License-Identifier: Apache-2.0
"""Designs of single layers and of networks, in any folding, through every level of verification."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hwgen
from hwgen.dataflow import CellNode, Dataflow, DenseNode
from hwgen.folding import Folding, divisors, legal_hidden_pe
from hwgen.vectors import longest_length
from hwgen.verify import verify

ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")
# Enough for every sequence that is sent, and small enough to be filled.
MAX_LENGTH = 24
Record = Callable[[str, object], None]


def random_folding(gates: int, hidden: int, inputs: int, seed: str) -> Folding:
    """Any legal folding of one layer; beats then often need narrowing and widening between the two products."""
    generator = random.Random(seed)
    return Folding(
        generator.choice(divisors(gates * hidden)),
        generator.choice(divisors(inputs)),
        generator.choice(legal_hidden_pe(gates, hidden)),
        generator.choice(divisors(hidden)),
    )


def single_layer(network: hwgen.Network, kind: str, seed: str) -> hwgen.Dataflow | hwgen.Schedule:
    """One layer with all outputs in the derived, a random, the serial or the unrolled folding."""
    layer = network.layer
    gates, hidden, inputs = len(layer.gates), layer.hidden_size, layer.input_size
    foldings: dict[str, Folding | None] = {
        "derived": None,
        "serial": Folding(1, 1, 1, 1),
        "unrolled": Folding(gates * hidden, inputs, gates * hidden, hidden),
        "random": random_folding(gates, hidden, inputs, seed),
    }
    max_length = MAX_LENGTH if layer.reverse else None
    return hwgen.schedule(network, folding=foldings[kind], outputs=ALL_OUTPUTS, max_length=max_length)


def random_foldings(design: Dataflow, seed: int) -> dict[str, Any]:
    """Any legal folding of every node: beats then need narrowing and widening between them."""
    choose = random.Random(seed)
    foldings: dict[str, Any] = {}
    for node in design.nodes:
        if isinstance(node, CellNode):
            cell = node.design.cell
            gates, hidden, inputs = len(cell.rows), cell.hidden_size, cell.input_size
            foldings[node.name] = {
                "input": {"pe": choose.choice(divisors(gates * hidden)), "simd": choose.choice(divisors(inputs))},
                "hidden": {
                    "pe": choose.choice(legal_hidden_pe(gates, hidden)),
                    "simd": choose.choice(divisors(hidden)),
                },
            }
        elif isinstance(node, DenseNode):
            rows, columns = node.stage.weights.shape
            foldings[node.name] = {"pe": choose.choice(divisors(rows)), "simd": choose.choice(divisors(columns))}
    return foldings


def plan(network: hwgen.Network, seed: int | None = None, **options: Any) -> hwgen.Dataflow | hwgen.Schedule:
    """A design with buffers for short sequences, folded at random if there is a seed."""
    design = hwgen.schedule(network, **options)
    if longest_length(design) is not None:
        options["max_length"] = MAX_LENGTH
    if seed is not None and isinstance(design, Dataflow):
        options["folding"] = random_foldings(design, seed)
    return hwgen.schedule(network, **options)


def assert_exact(
    design: hwgen.Dataflow | hwgen.Schedule,
    folder: Path,
    sequences: int,
    record: Record,
    *levels: str,
    backend: str = "all",
) -> None:
    """Reference = integer model = C simulation = RTL in every code, cycles as predicted."""
    project = hwgen.build(design, folder / "project", backend=backend)
    for level in levels or ("csim", "rtl"):
        found = verify(project, level=level, sequences=sequences, seed=sequences)["levels"]
        assert all(entry["mismatches"] == 0 for entry in found.values()), found
        assert found[level]["codes"] > 0
        record(f"{level} codes", found[level]["codes"])
        record(f"{level} mismatches", found[level]["mismatches"])
        if level != "csim":
            assert found[level]["predicted_cycles"] == found[level]["simulated_cycles"], found
