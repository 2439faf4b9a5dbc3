# SPDX-License-Identifier: Apache-2.0
"""Input weights of both directions in one block RAM: codes, cycles and block RAMs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware import Record, assert_exact
from sharing_models import LANES, TILES, export_shared, folded

import hwgen
from hwgen import cost, sharing
from hwgen.dataflow import Dataflow
from hwgen.rtl_cycles import predict
from hwgen.sharing import shared_weights
from hwgen.synth import synthesise, yosys
from hwgen.verify import verify

SEQUENCES = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hwgen.Network:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_shared(path)
    return hwgen.load(path)


def sharing_design(model: hwgen.Network, folds: tuple[int, int], clock_mhz: float = 100) -> Dataflow:
    design = folded(model, folds, clock_mhz=clock_mhz)
    assert len(shared_weights(design)) == 1
    return design


# Another clock: other registers behind the memory.
@pytest.mark.parametrize(("folds", "clock_mhz"), [(LANES, 100), (TILES, 200)])
def test_codes_and_cycles(
    folds: tuple[int, int], clock_mhz: float, model: hwgen.Network, tmp_path: Path, record_property: Record
) -> None:
    design = sharing_design(model, folds, clock_mhz)
    assert_exact(design, tmp_path, SEQUENCES, record_property, "rtl", backend="rtl")
    assert len(list((tmp_path / "project" / "rtl").rglob("input_weights.hex"))) == 1


def test_cycles_are_those_of_memories_of_their_own(
    model: hwgen.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = sharing_design(model, TILES)
    shared = predict(design, [5, 3])
    monkeypatch.setattr(sharing, "pair_of", lambda first, second: None)
    assert shared_weights(design) == ()
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    found = verify(project, level="rtl", sequences=2, seed=1)["levels"]["rtl"]
    assert found["mismatches"] == 0 and found["predicted_cycles"] == found["simulated_cycles"]
    assert predict(design, [5, 3]) == shared


@pytest.mark.parametrize("folds", [LANES, TILES])
def test_rows_in_the_wrong_order_are_noticed(folds: tuple[int, int], model: hwgen.Network, tmp_path: Path) -> None:
    design = sharing_design(model, folds)
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    (pair,) = shared_weights(design)
    path = project.path / "rtl" / "src" / f"{pair.second.design.module}.sv"
    text = path.read_text()
    assert text.count("{32'd3, 32'd2, 32'd0, 32'd1}") == 1
    path.write_text(text.replace("{32'd3, 32'd2, 32'd0, 32'd1}", "{32'd3, 32'd2, 32'd1, 32'd0}"))
    found = verify(project, level="rtl", sequences=2, seed=1)["levels"]["rtl"]
    assert found["mismatches"] > 0
    assert found["predicted_cycles"] == found["simulated_cycles"]


def test_block_rams_are_as_predicted_and_fewer(
    model: hwgen.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = sharing_design(model, LANES)
    # The whole, then node by node.
    result = synthesise(hwgen.build(design, tmp_path / "project", backend="rtl"), "xc7")
    measured, predicted = result["measured"], result["predicted"]
    assert predicted == cost.predict(design).whole.to_dict()
    assert (measured["dsp"], measured["bram"]) == (predicted["dsp"], predicted["bram"])
    for kind in ("lut", "ff"):
        assert abs(result["relative_error"][kind]) < 0.25
    memory = result["nodes"]["hwgen_shared_rom"]
    assert memory["nodes"] == [shared_weights(design)[0].name]
    assert memory["measured"]["bram"] == memory["predicted"]["bram"] == 1
    monkeypatch.setattr(sharing, "pair_of", lambda first, second: None)
    assert cost.predict(design).whole.bram == measured["bram"] + 1


def test_another_frontend_reads_tiles_in_another_order(model: hwgen.Network, tmp_path: Path) -> None:
    design = sharing_design(model, TILES)
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    found, predicted = yosys.resources(project, "xc7", tmp_path, "slang"), cost.predict(design).whole
    assert (found["dsp"], found["bram"]) == (predicted.dsp, predicted.bram)
