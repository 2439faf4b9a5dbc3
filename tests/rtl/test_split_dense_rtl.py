# SPDX-License-Identifier: Apache-2.0
"""A dense layer in halves in SystemVerilog: codes, cycles, resources, in several foldings and under stalls."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware import Record, assert_exact, random_foldings
from split_models import MAX_LENGTH, NETWORKS, stepped

import hwgen
from hwgen import verify
from hwgen.dataflow import Dataflow
from hwgen.network import Network
from hwgen.synth import synthesise

SEQUENCES = 24


def folded(model: Network, seed: int | None) -> Dataflow:
    """The design as it is derived, or with any legal folding of every node."""
    design = hwgen.schedule(model, max_length=MAX_LENGTH, split_dense=True)
    assert isinstance(design, Dataflow)
    if seed is not None:
        design = hwgen.schedule(model, max_length=MAX_LENGTH, split_dense=True, folding=random_foldings(design, seed))
    assert isinstance(design, Dataflow)
    return design


CASES = [
    pytest.param(name, seed, marks=[] if (name, seed) in (("ranked", 5), ("stepped", None)) else [pytest.mark.long])
    for name in NETWORKS
    for seed in (None, 5, 6)
]


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_codes_and_cycles(name: str, seed: int | None, tmp_path: Path, record_property: Record) -> None:
    assert_exact(folded(NETWORKS[name](), seed), tmp_path, SEQUENCES, record_property, "rtl", backend="rtl")


@pytest.mark.long
def test_an_error_planted_in_the_order_of_the_backward_sums_is_found(tmp_path: Path) -> None:
    project = hwgen.build(folded(stepped(), None), tmp_path / "project", backend="rtl")
    unit = project.path / "rtl" / "lib" / "hwgen_sequence_meet.sv"
    text = unit.read_text()
    assert text.count("(turn_q ? opposite : step_q) +") == 1
    unit.write_text(text.replace("(turn_q ? opposite : step_q) +", "step_q +"))
    found = verify.verify(project, level="rtl", sequences=4, seed=1)["levels"]
    assert found["integer"]["mismatches"] == 0 < found["rtl"]["mismatches"]


@pytest.mark.long
# What chooses among many banks of LUTs is not counted.
@pytest.mark.parametrize(("style", "steps"), [("block", 300), ("distributed", 40)])
def test_resources_are_as_predicted(style: str, steps: int, tmp_path: Path) -> None:
    model = stepped((8, 6), 12)
    folding = {"pe": 4, "simd": 2}
    folding_of = {f"head_{half}": folding for half in ("forward", "backward")}
    design = hwgen.schedule(model, max_length=steps, split_dense=True, folding=folding_of, memory={"head": style})
    result = synthesise(hwgen.build(design, tmp_path / "project", backend="rtl"), "xc7")
    for kind in ("dsp", "bram"):
        assert result["predicted"][kind] == result["measured"][kind]
    meet = result["nodes"]["hwgen_sequence_meet"]
    for kind in ("lut", "ff"):
        assert abs(meet["predicted"][kind] / meet["measured"][kind] - 1) < 0.15, (kind, meet)
