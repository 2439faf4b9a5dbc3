# SPDX-License-Identifier: Apache-2.0
"""The cost model against the syntheses that are checked in, and against one that is made here."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import hwgen
from benchmarks.synthesis import fit, networks, sweep
from benchmarks.synthesis.designs import Point
from hwgen import arrays, console, cost, counting, mapping, structure
from hwgen.dataflow import BufferNode, CellNode, Dataflow, Node
from hwgen.explore.space import space
from hwgen.fabric import FABRICS
from hwgen.folding import Folding
from hwgen.integer import IntegerCell
from hwgen.integer_cells import IntegerGru, IntegerRnn
from hwgen.schedule import schedule

MODELS = Path(__file__).parent / "models"
SAMPLES = fit.load()


def test_the_data_is_a_fair_sample() -> None:
    layers = [sample for sample in SAMPLES if not sample.is_network]
    assert len(layers) >= 60
    assert sum(sample.held_out for sample in layers) == len(layers) // 2
    assert sum(sample.held_out for sample in SAMPLES) >= 60
    assert not set(networks.FITTED) & set(networks.HELD_OUT)


def test_the_networks_have_every_kind_of_node() -> None:
    nodes = [node for point in networks.network_points() for node in point.schedule().nodes]
    assert {type(node) for node in nodes} == set(Node.__subclasses__())
    cells = {type(node.design.cell) for node in nodes if isinstance(node, CellNode)}
    assert cells == {IntegerCell, IntegerRnn, IntegerGru}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_dsp_and_block_ram_are_exact(sample: fit.Sample) -> None:
    assert (sample.dsp, sample.bram) == (sample.measured["dsp"], sample.measured["bram"])


@pytest.mark.parametrize("kind", fit.FITTED)
def test_designs_that_the_fit_did_not_see_are_predicted(kind: str) -> None:
    errors = np.abs(fit.errors(SAMPLES, kind, cost.coefficients()[kind], out=True))
    assert np.median(errors) <= 0.10
    assert np.quantile(errors, 0.9) <= 0.20


@pytest.mark.parametrize("kind", fit.FITTED)
def test_coefficients_are_those_of_the_data(kind: str) -> None:
    # Not to the last digit: sums of floating-point numbers differ between machines.
    assert fit.fit(SAMPLES, kind) == pytest.approx(cost.coefficients()[kind], abs=0.002)


def test_a_shuffled_measurement_is_noticed() -> None:
    # The errors above are those of a model that knows the design, not of one that any number would satisfy.
    kind, coefficients = "lut", cost.coefficients()["lut"]
    out = [sample for sample in SAMPLES if sample.held_out]
    shifted = [sample.measured[kind] for sample in out[1:] + out[:1]]
    predicted = [sample.predicted(kind, coefficients) for sample in out]
    assert np.median(np.abs(np.array(predicted) / np.array(shifted) - 1)) > 0.15


def test_a_prediction_is_the_sum_of_its_units_and_cheap() -> None:
    design = schedule(hwgen.load(MODELS / "default.onnx"))
    begin = time.perf_counter()
    found = cost.predict(design)
    assert time.perf_counter() - begin < 1
    for kind in cost.KINDS:
        whole = sum(getattr(unit, kind) for unit in found.units.values())
        assert getattr(found.whole, kind) == pytest.approx(whole)
    assert found.units["hidden product"].dsp == design.hidden_product.pe * design.hidden_product.simd


def test_every_structure_has_a_coefficient() -> None:
    assert {kind: set(names) for kind, names in counting.EXPECTED.items()} == {
        kind: set(names) for kind, names in cost.coefficients().items()
    }


@pytest.mark.parametrize(
    ("left", "right", "slices"),
    [(8, 8, 1), (25, 18, 1), (18, 25, 1), (26, 18, 2), (25, 19, 2), (42, 18, 2), (43, 18, 3), (26, 19, 4), (4, 4, 0)],
)
def test_wide_products_take_several_dsps(left: int, right: int, slices: int) -> None:
    assert counting.dsp_slices(left, right) == slices


# As Yosys 0.70 maps them: of read-only memories, and of those that are written.
@pytest.mark.parametrize(
    ("words", "bits", "read_only", "written"),
    [
        (512, 36, 1, 1),
        (512, 72, 2, 2),
        (512, 73, 3, 3),
        (100, 128, 4, 4),
        (100, 100, 3, 3),
        (1024, 18, 1, 1),
        (2048, 9, 1, 1),
        (1024, 36, 2, 2),
        (1296, 12, 1, 2),
        (1296, 94, 8, 9),
        (1025, 90, 8, 8),
        (1483, 24, 2, 3),
        (4132, 21, 6, 7),
        (16, 0, 0, 0),
    ],
)
def test_block_ram_of_a_memory(words: int, bits: int, read_only: int, written: int) -> None:
    assert mapping.block_ram_halves(words, bits, written=False) == read_only
    assert mapping.block_ram_halves(words, bits, written=True) == written


@pytest.mark.parametrize(
    ("constant", "bits"), [(0, 0), (1, 0), (64, 0), (3, 3), (6, 3), (96, 3), (5, 4), (127, 8), (-3, 3), (-8, 0)]
)
def test_bits_of_a_constant_that_multiplies(constant: int, bits: int) -> None:
    assert mapping.odd_bits(constant) == bits


def test_bits_that_never_change_are_not_stored() -> None:
    words = np.array([[0b0101, 1], [0b0111, 1], [0b0101, 1]])
    assert mapping.varying_columns(words, 4).shape == (3, 1)


def test_unrolling_is_paid_in_dsps_and_saves_block_ram() -> None:
    network = hwgen.load(MODELS / "default.onnx")
    serial, wide = (
        cost.predict(schedule(network, folding=Folding(*folding))).whole for folding in ((1, 1, 1, 1), (80, 10, 80, 20))
    )
    assert wide.dsp > 2400 > serial.dsp
    assert wide.bram == 0 < serial.bram


def test_the_data_says_how_it_was_measured() -> None:
    layers, found = (json.loads(path.read_text()) for path in (sweep.LAYERS, sweep.NETWORKS))
    assert layers["yosys"] == found["yosys"]
    assert layers["yosys"].startswith("Yosys ")
    names = [Point.from_dict(entry["point"]).name for entry in layers["designs"]]
    names += [networks.NetworkPoint.from_dict(entry["point"]).name for entry in found["designs"]]
    assert names == [sample.name for sample in SAMPLES]


def whole(resources: cost.Resources) -> list[float]:
    return [getattr(resources, kind) for kind in cost.KINDS]


def test_a_network_is_the_sum_of_its_nodes() -> None:
    design = networks.NetworkPoint(103).schedule()
    found = cost.predict(design)
    assert list(found.units) == [node.name for node in design.nodes]
    assert whole(found.whole) == pytest.approx(whole(cost.total(found.units.values())))
    for node in design.nodes:
        if isinstance(node, CellNode):
            assert found.units[node.name] == cost.predict(node.design).whole
            assert found.inside[node.name] == cost.predict(node.design)
    cell = next(node for node in design.nodes if isinstance(node, CellNode))
    assert set(found.to_dict()["units"][cell.name]["units"]) > {"state", "elementwise"}


def test_a_network_says_what_it_is_predicted_to_take(tmp_path: Path) -> None:
    design = networks.NetworkPoint(36).schedule()
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    facts = json.loads((project.path / "schedule.json").read_text())["rtl"]
    assert facts["predicted_resources"] == cost.predict(design).to_dict()
    out = Console(width=200, record=True, file=io.StringIO())
    console.print_build(project.path, design, ("rtl",), out)
    assert f"RTL predicted to take {facts['predicted_resources']['lut']} of 53,200 LUT" in out.export_text()


@pytest.mark.parametrize(
    "law",
    [
        lambda words, bits: mapping.ram_luts(words, bits),
        lambda words, bits: mapping.rom_luts(words, bits),
        lambda words, bits: mapping.mux_luts(words),
        lambda words, bits: mapping.block_ram_halves(words, bits, written=True),
        lambda words, bits: mapping.block_ram_halves(words, bits, written=False),
        lambda words, bits: mapping.memory(words, bits, written=True).block,
        lambda words, bits: FABRICS["ecp5"].block_ram_halves(words, bits, True),
        lambda words, bits: FABRICS["ecp5"].ram_luts(words, bits),
        lambda words, bits: FABRICS["ecp5"].ram_choices(words, bits),
        lambda words, bits: FABRICS["ecp5"].mux_luts(words),
        lambda words, bits: (
            structure.between(structure.Junction(words * bits, 20, bits, bits, words, 2, ((bits, words),), 3), "ecp5")[
                1
            ].halves
        ),
        lambda words, bits: arrays.counter_bits(words),
        lambda words, bits: arrays.greater(words, bits),
        lambda words, bits: arrays.common_divisor(words, bits),
        lambda words, bits: structure.between(
            structure.Junction(words * bits, 20, bits, bits, words, 2, ((bits, words),), 3), "xc7"
        )[1].lut["counter"],
    ],
)
def test_laws_give_for_arrays_what_they_give_for_numbers(law: Callable[[Any, Any], Any]) -> None:
    generator = np.random.default_rng(1)
    words = np.concatenate([[1, 2, 31, 32, 33, 64, 65, 512], generator.integers(1, 5000, 200)])
    bits = np.concatenate([[1, 1, 9, 36, 72, 73, 2, 36], generator.integers(1, 200, 200)])
    single = [law(int(one), int(other)) for one, other in zip(words, bits, strict=True)]
    np.testing.assert_array_equal(law(words, bits), single)
    assert len(set(single)) > 1


def buffered(design: Dataflow) -> list[float]:
    """Vectors that each buffer holds."""
    return [node.depth / node.inputs[0].beats for node in design.nodes if isinstance(node, BufferNode)]


@pytest.mark.parametrize(
    ("seed", "flow"),
    [*((seed, "xc7") for seed in (20, 36, 102, 103, 113, 117, 121, 172)), (103, "ecp5"), (121, "ecp5")],
)
def test_many_foldings_of_a_network_cost_what_each_of_them_does(seed: int, flow: str) -> None:
    design, choose = networks.NetworkPoint(seed).schedule(), random.Random(seed)
    length = design.options.max_length if any(cell.reverse for cell in design.cells) else None
    options: dict[str, Any] = {"clock_mhz": design.options.clock_mhz, "max_length": length}
    foldings, expected = [], []
    for folding in [networks.foldings(design, choose) for _ in range(8)]:
        one = hwgen.schedule(design.network, folding=folding, **options)
        assert isinstance(one, Dataflow)
        # Where paths meet, other foldings may need other buffers, which the space leaves as they are.
        if buffered(one) == buffered(design):
            foldings.append(folding)
            expected.append(whole(cost.predict(one, flow).whole))
    assert len(foldings) >= 2
    where = space(design, flow)
    rows = tuple(np.array([table.foldings.index(one[table.name]) for one in foldings]) for table in where.tables)
    found = where.predict(rows).resources
    np.testing.assert_allclose(np.transpose(whole(found)), expected)
    assert len({tuple(one) for one in expected}) > 1
