# SPDX-License-Identifier: Apache-2.0
"""Random networks: reference = integer model = onnxruntime on the lowered graph = C simulation = RTL, in one table."""

from __future__ import annotations

from pathlib import Path

import pytest
from combinations import export
from hardware import Record, assert_exact, plan
from lowered import assert_lowered, random_inputs

import hwgen
from hwgen.lowering import lower

# One of each head, small; all of them with make test-long.
SHORT = (2, 6, 7, 22, 33, 35)
SEEDS = [pytest.param(seed, marks=() if seed in SHORT else pytest.mark.long) for seed in range(40)]


@pytest.mark.parametrize("seed", SEEDS)
def test_combination(seed: int, tmp_path: Path, record_property: Record) -> None:
    text = export(seed, tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    record_property("network", f"{seed}: {text}")
    record_property("onnx codes", assert_lowered(network, lower(network), random_inputs(network, 5, 3, seed=seed)))
    # Every second one folded at random.
    assert_exact(plan(network, seed if seed % 2 else None), tmp_path, 20, record_property)
