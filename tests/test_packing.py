# SPDX-License-Identifier: Apache-2.0
"""How many products may share a DSP, what is asked for and refused, and that the design space has it as an axis."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recurrent_networks import dense, network, rnn

import hwgen
from hwgen import cost, mapping, packing
from hwgen.backends import hls, rtl
from hwgen.dataflow import Dataflow
from hwgen.errors import ConfigError
from hwgen.explore.space import space
from hwgen.folding import Folding
from hwgen.project import open_project
from hwgen.quantizer import IntegerType
from hwgen.rtl_cycles import predict
from hwgen.schedule import Schedule, design_cell

MODELS = Path(__file__).parent / "models"
FOLDING = {"input": {"pe": 8, "simd": 2}, "hidden": {"pe": 8, "simd": 4}}


def fields(weights: tuple[int, ...], code: int, bits: int) -> list[int]:
    """What a DSP makes of weights side by side and a code: its wide operand and its result wrap around."""
    wide = sum(weight << (bits * row) for row, weight in enumerate(weights)) % (1 << packing.WIDE_BITS)
    wide -= (wide >> (packing.WIDE_BITS - 1)) << packing.WIDE_BITS
    result = (wide * code + sum(1 << (bits * row + bits - 1) for row in range(len(weights)))) % (1 << 48)
    return [(result >> (bits * row) & ((1 << bits) - 1)) - (1 << (bits - 1)) for row in range(len(weights))]


@pytest.mark.parametrize("codes", [(1, True), (3, True), (4, True), (4, False), (8, True), (9, True)])
@pytest.mark.parametrize("weights", [(-2, 1), (-1, 1), (-7, 7), (-8, 7), (-6, 6), (-16, 15), (-127, 127), (-128, 127)])
def test_products_that_share_a_dsp_are_exact(weights: tuple[int, int], codes: tuple[int, bool]) -> None:
    bits, signed = codes
    kind = IntegerType(bits, signed)
    stored = packing.stored_bits(IntegerType.holding(*weights))
    apart = packing.field_bits(np.array(weights), stored, kind)
    rows = packing.most_rows(np.array(weights), stored, kind)
    span = packing.range_of(kind)
    for many in range(1, rows + 1):
        for chosen in itertools.product(weights, repeat=many):
            for code in (span.lo, 0, span.hi):
                assert fields(chosen, code, apart) == [weight * code for weight in chosen]
    # Some corner of one row more, or of one bit less between them, is wrong.
    more = itertools.product(weights, (span.lo, span.hi))
    assert (
        any(fields((weight,) * 2, code, apart - 1) != [weight * code] * 2 for weight, code in more) or apart == stored
    )
    if rows * apart + stored <= packing.WIDE_BITS:
        assert any(
            fields((weight,) * (rows + 1), code, apart) != [weight * code] * (rows + 1)
            for weight in weights
            for code in (span.lo, span.hi)
        )


def test_how_many_rows_share_a_dsp() -> None:
    def most(least: int, greatest: int, codes: int) -> int:
        weights = np.array([least, greatest])
        return packing.most_rows(
            weights, packing.stored_bits(IntegerType.holding(least, greatest)), IntegerType(codes, True)
        )

    assert most(-128, 127, 8) == most(-127, 127, 8) == 2
    # Without the most negative weight there is room for a fourth one.
    assert (most(-8, 7, 4), most(-7, 7, 4)) == (3, 4)
    assert (most(-2, 1, 2), most(-2048, 2047, 8), most(-128, 127, 19)) == (6, 1, 1)


def layer(name: str = "default", **options: Any) -> Schedule:
    found = hwgen.schedule(hwgen.load(MODELS / f"{name}.onnx"), folding=FOLDING, **options)
    assert isinstance(found, Schedule)
    return found


def test_a_product_is_built_as_its_folding_says() -> None:
    design = layer("narrow4", products_per_dsp=3)
    assert [product.packing for product in design.products] == [3, 3]
    assert design.folding.to_dict()["hidden"] == {"pe": 8, "simd": 4, "products_per_dsp": 3}
    # A folding file may say it of one product alone.
    asked = {"input": FOLDING["input"] | {"products_per_dsp": 0}, "hidden": FOLDING["hidden"]}
    mixed = hwgen.schedule(design.network, folding=asked)
    assert isinstance(mixed, Schedule)
    assert [product.packing for product in mixed.products] == [0, 1]
    assert mixed.folding.to_dict() == asked
    # What an option asks for is at most as much as is possible; a folding file has the last word.
    assert [product.packing for product in layer(products_per_dsp=9).products] == [2, 2]
    both = hwgen.schedule(design.network, folding=asked, products_per_dsp="auto")
    assert isinstance(both, Schedule)
    assert [product.packing for product in both.products] == [0, packing_of("narrow4")]


def packing_of(name: str) -> int:
    product = layer(name).hidden_product
    return packing.most_rows(product.weights, mapping.weight_bits(product), layer(name).cell.hidden)


def test_signs_and_constants_are_multiplied_one_by_one() -> None:
    assert [product.packing for product in layer("binary", products_per_dsp="auto").products] == [1, 1]
    unrolled = hwgen.schedule(
        hwgen.load(MODELS / "default.onnx"),
        folding={"input": {"pe": 80, "simd": 10}, "hidden": {"pe": 80, "simd": 20}},
        products_per_dsp=2,
    )
    assert isinstance(unrolled, Schedule)
    assert [product.packing for product in unrolled.products] == [1, 1]


def test_designs_without_the_option_are_what_they_were() -> None:
    plain, asked = layer(), layer(products_per_dsp=1)
    assert plain.to_dict() == asked.to_dict()
    files = rtl.generate(plain, "")
    assert files == rtl.generate(asked, "")
    assert not any("Pack(" in text for path, text in files.items() if path.startswith("src/"))
    assert "products_per_dsp" not in str(plain.to_dict())


def test_a_project_remembers(tmp_path: Path) -> None:
    project = hwgen.build(layer(products_per_dsp=2), tmp_path / "project", backend="rtl")
    assert "products_per_dsp" in (project.path / "folding.json").read_text()
    again = open_project(project.path).design
    assert isinstance(again, Schedule)
    assert [product.packing for product in again.products] == [2, 2]


def test_hls_leaves_products_to_the_compiler() -> None:
    assert hls.generate(layer(products_per_dsp=2), "") == hls.generate(layer(), "")


def refused(product: dict[str, int], name: str = "default") -> str:
    with pytest.raises(ConfigError) as error:
        hwgen.schedule(hwgen.load(MODELS / f"{name}.onnx"), folding=FOLDING | {"hidden": product})
    return str(error.value)


def test_what_cannot_be_is_refused() -> None:
    hidden = FOLDING["hidden"]
    assert refused(hidden | {"products_per_dsp": 3}) == (
        "folding hidden.products_per_dsp must be from 0 to 2, not 3; nearest legal: 2"
    )
    assert refused(hidden | {"products_per_dsp": 2}, "binary") == (
        "folding hidden.products_per_dsp must be 1 of signs, and where all weights are constants, not 2"
    )
    assert refused(hidden | {"products_per_dsp": -1}) == (
        "folding: hidden.products_per_dsp must be an integer of at least 0, not -1"
    )
    for wrong in ("two", -1, True, "26"):
        with pytest.raises(ConfigError, match=r"^--products-per-dsp must be auto or a number from 0 to 25, not "):
            layer(products_per_dsp=wrong)
    head = dense("head", rnn("layer", hidden=4).wires[0], 6, seed=3)
    model = network([rnn("layer", hidden=4), head], [head.wires[0]])
    with pytest.raises(ConfigError, match=r"head.*products_per_dsp must be from 0 to 2, not 7; nearest legal: 2$"):
        hwgen.schedule(model, folding={"head": {"pe": 2, "simd": 1, "products_per_dsp": 7}})


def test_every_layer_of_a_network_is_asked() -> None:
    head = dense("head", rnn("layer", hidden=4).wires[0], 6, seed=3)
    model = network([rnn("layer", hidden=4), head], [head.wires[0]])
    folding = {
        "layer": {"input": {"pe": 4, "simd": 3}, "hidden": {"pe": 4, "simd": 2}},
        "head": {"pe": 2, "simd": 2},
    }
    design = hwgen.schedule(model, folding=folding, products_per_dsp=2)
    assert isinstance(design, Dataflow)
    assert design.foldings()["head"] == {"pe": 2, "simd": 2, "products_per_dsp": 2}
    assert {product["products_per_dsp"] for product in design.foldings()["layer"].values()} == {2}
    assert predict(design, (5, 2)) == predict(hwgen.schedule(model, folding=folding), (5, 2))


def test_the_space_predicts_what_the_design_is() -> None:
    base = layer("narrow4")
    where = space(base, asked="auto")
    (table,) = where.tables
    rows = np.random.default_rng(1).choice(len(table), 8, replace=False)
    found = where.predict((rows,))
    for place, row in enumerate(rows.tolist()):
        folding = Folding.from_dict(where.folding((row,)))
        whole = cost.predict(design_cell(base.network, base.cell, base.options, folding)).whole
        for kind in ("lut", "ff", "dsp", "bram"):
            assert getattr(found.resources, kind)[place] == pytest.approx(getattr(whole, kind))


def test_the_best_of_every_product_is_found() -> None:
    model = hwgen.load(MODELS / "narrow4.onnx")
    plain = space(hwgen.schedule(model))
    wide = space(hwgen.schedule(model), asked="auto")
    assert set(map(str, plain.tables[0].foldings)) < set(map(str, wide.tables[0].foldings))
    # As fast, on fewer LUTs for DSPs: what suits the part.
    goal: dict[str, Any] = {"target": "xc7z010", "steps_per_second": 3e6}
    one, best = (hwgen.schedule(model, products_per_dsp=asked, **goal) for asked in (1, "auto"))
    assert isinstance(best, Schedule)
    assert any("products_per_dsp" in product for product in best.folding.to_dict().values())
    before, after = cost.predict(one).whole, cost.predict(best).whole
    limits = {"lut": 17_600, "ff": 35_200, "dsp": 80, "bram": 60}
    shares = [sum(getattr(whole, kind) / limit for kind, limit in limits.items()) for whole in (before, after)]
    assert shares[1] < shares[0]
