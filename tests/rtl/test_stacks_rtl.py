# SPDX-License-Identifier: Apache-2.0
"""Two layers of a stack on one engine: codes with and without stalls, cycles, DSPs and block RAMs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware import Record, assert_exact
from stack_models import LONG_STACKS, STACKS
from test_networks import export

import hwgen
from hwgen import cost
from hwgen.dataflow import CellNode
from hwgen.synth import yosys
from hwgen.verify import verify

SEQUENCES = 8


@pytest.mark.parametrize(
    "name",
    [
        "RNN",
        "GRU",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("LSTM", *LONG_STACKS)),
    ],
)
def test_codes_and_cycles(name: str, tmp_path: Path, record_property: Record) -> None:
    design = (STACKS | LONG_STACKS)[name].design()
    assert any(isinstance(node, CellNode) and node.design.stack for node in design.nodes)
    assert_exact(design, tmp_path, SEQUENCES, record_property, "rtl", backend="rtl")


@pytest.mark.long
def test_codes_and_cycles_of_a_model_of_brevitas(tmp_path: Path, record_property: Record) -> None:
    export("two layers", tmp_path / "model.onnx")
    design = hwgen.schedule(hwgen.load(tmp_path / "model.onnx"), share_engine="layers")
    assert_exact(design, tmp_path, 20, record_property, "csim", "rtl")
    # What the project's files say of it makes the same design again.
    assert hwgen.open_project(tmp_path / "project").design.to_dict() == design.to_dict()


def test_a_layer_with_the_weights_of_the_other_one_is_noticed(tmp_path: Path) -> None:
    project = hwgen.build(STACKS["LSTM"].design(), tmp_path / "project", backend="rtl")
    source = project.path / "rtl" / "lib" / "hwgen_tile_product.sv"
    right = "set ? tile_q + TileBits'(Tiles / 2) : tile_q"
    assert source.read_text().count(right) == 1
    source.write_text(source.read_text().replace(right, "tile_q"))
    found = verify(project, level="rtl", sequences=2, seed=1)["levels"]["rtl"]
    assert found["mismatches"] > 0
    assert found["predicted_cycles"] == found["simulated_cycles"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "RNN, states alone", "beside its input", "GRU, three layers"])
def test_dsps_and_block_rams(name: str, tmp_path: Path) -> None:
    design = (STACKS | LONG_STACKS)[name].design()
    found = yosys.resources(hwgen.build(design, tmp_path / "project", backend="rtl"), "xc7", tmp_path)
    predicted = cost.predict(design).whole
    assert (found["dsp"], found["bram"]) == (predicted.dsp, predicted.bram)
    assert predicted.dsp > 0
    assert predicted.bram > 0 or "memory" not in (STACKS | LONG_STACKS)[name].options
