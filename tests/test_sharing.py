# SPDX-License-Identifier: Apache-2.0
"""Which input weights are stored once, what that is predicted to take, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recurrent_networks import gru, network, rnn, side_by_side
from sharing_models import BETWEEN, FAST, LANES, TILES, export_shared, folded

import hwgen
from hwgen import cost, mapping, project, structure
from hwgen.backends import rtl
from hwgen.dataflow import Dataflow
from hwgen.explore.space import space
from hwgen.report.units import memories
from hwgen.rtl_timing import timeline
from hwgen.sharing import shared_weights


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hwgen.Network:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_shared(path)
    return hwgen.load(path)


def directions(layer: Any, second: int = 1, **options: Any) -> hwgen.Network:
    """Two layers on one input: of the same weights if the ``second`` has the same seed."""
    forward = layer("forward", inputs=64, hidden=16, seed=1, **options)
    backward = layer("backward", inputs=64, hidden=16, seed=second, reverse=True, **options)
    both = side_by_side("both", forward, backward)
    return network([forward, backward, both], [both.wires[0]])


# As Yosys 0.70 maps memories with two read ports, whose contents are random, for xc7.
@pytest.mark.parametrize(
    ("words", "bits", "halves"),
    [
        (1024, 18, 1),
        (4096, 64, 15),
        (1024, 256, 15),
        (512, 512, 29),
        (1024, 36, 2),
        (512, 24, 2),
        (2048, 20, 3),
        (1296, 12, 2),
        (1536, 96, 11),
        (300, 128, 8),
        (3072, 30, 5),
        (4132, 21, 6),
        (100, 300, 17),
        (5000, 10, 3),
    ],
)
def test_block_ram_of_a_memory_with_two_ports(words: int, bits: int, halves: int) -> None:
    assert mapping.shared_rom_halves(words, bits) == halves
    assert mapping.block_ram_halves(words, bits, written=False) <= halves


@pytest.mark.parametrize("folds", [LANES, TILES])
def test_both_directions_of_a_slow_layer_share(folds: tuple[int, int], model: hwgen.Network) -> None:
    design = folded(model, folds)
    (pair,) = shared_weights(design)
    gates = [gate.name for gate in design.cells[0].rows]
    assert [gates[place] for place in pair.order] == ["forget", "input", "cell", "output"]
    for gate, place in enumerate(pair.order):
        rows = design.cells[0].rows[place].input_weights
        assert np.array_equal(design.cells[1].rows[gate].input_weights, rows)
    assert pair.to_dict() == {
        "nodes": [pair.first.name, pair.second.name],
        "rows_of_gates": {"input": "forget", "forget": "input", "cell": "cell", "output": "output"},
        "words": 1024,
        "word_bits": 32,
        "block_rams": 1.0,
    }
    facts = project._facts(design, ("rtl",))
    assert facts["rtl"]["shared_weights"] == [pair.to_dict()]
    assert "shared_weights" not in str(project._facts(design, ("hls",)))
    listed = [(entry["unit"], entry["name"]) for entry in memories(design, True) if "input weights" in entry["name"]]
    assert listed == [(pair.first.name, f"input weights, {pair.second.name} as well")]
    predicted = cost.predict(design)
    assert predicted.units[pair.name].bram == 1
    # A memory for each takes one block RAM more.
    alone = [
        unit
        for node in (pair.first, pair.second)
        for unit in structure.structure(timeline(node.design))
        if unit.name == "input product"
    ]
    inside = [predicted.inside[node.name].units["input product"].bram for node in (pair.first, pair.second)]
    assert sum(unit.halves / 2 for unit in alone) == sum(inside) + 2


@pytest.mark.parametrize(
    "folds",
    [(FAST,), (BETWEEN,), (LANES, TILES), ((64, 64),)],
    ids=["fast", "between", "folded differently", "constants"],
)
def test_others_do_not(folds: tuple[tuple[int, int], ...], model: hwgen.Network) -> None:
    design = folded(model, *folds)
    assert shared_weights(design) == ()
    assert "shared_weights" not in str(project._facts(design, ("rtl",)))
    files = rtl.generate(design, "origin")
    assert sum(path.endswith("/input_weights.hex") for path in files) == 2
    assert not any("hwgen_shared_rom" in text for path, text in files.items() if path.startswith("src/"))


def test_weights_that_differ_are_not_shared(tmp_path: Path) -> None:
    export_shared(tmp_path / "model.onnx", shared=False)
    assert shared_weights(folded(hwgen.load(tmp_path / "model.onnx"), LANES)) == ()
    for layer in (rnn, gru):
        assert shared_weights(folded(directions(layer, second=2), (1, 1))) == ()


def test_layers_of_other_kinds_share_in_any_order_of_rows() -> None:
    # No row changes its place: parts of a unit may be in a tile.
    for layer, folds in ((rnn, (1, 1)), (gru, (2, 1))):
        (pair,) = shared_weights(folded(directions(layer), folds))
        assert pair.order == tuple(range(len(pair.order)))
        assert pair.order_of(pair.second) == (0,)


def test_what_is_shared_is_the_same_in_the_design_space() -> None:
    model = directions(rnn)
    where = space(folded(model, (1, 1)))
    places = [range(len(table)) for table in where.tables]
    chosen = [
        (one, other)
        for one in places[0]
        for other in places[1]
        if where.tables[0].foldings[one]["input"] == where.tables[1].foldings[other]["input"]
        if where.tables[0].foldings[one]["hidden"] == where.tables[1].foldings[other]["hidden"] == {"pe": 1, "simd": 4}
    ]
    # One in which they differ.
    chosen.append((chosen[0][0], chosen[-1][1]))
    rows = tuple(np.array(side) for side in zip(*chosen, strict=True))
    found, sharing = where.predict(rows), 0
    for place, point in enumerate(chosen):
        design = hwgen.schedule(model, folding=where.folding(point), max_length=12)
        assert isinstance(design, Dataflow)
        sharing += len(shared_weights(design))
        whole = cost.predict(design).whole
        for kind in cost.KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), (kind, point)
    assert 0 < sharing < len(chosen) - 1
