# SPDX-License-Identifier: Apache-2.0
"""Float networks as torch exports them, calibrated, in both backends: every code, and cycles as predicted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hardware import Record, assert_exact, plan
from test_calibrate import MODELS, export, inputs_of

import hwgen
from hwgen.calibration import Calibration, Options


@pytest.mark.parametrize(
    ("name", "seed"),
    [("gru, batch first, head on the last step", None), ("gru, two bidirectional layers", 3)],
    ids=["head", "two layers"],
)
def test_a_calibrated_gru_is_the_same_in_hls_and_rtl(
    name: str, seed: int | None, tmp_path: Path, record_property: Record
) -> None:
    """The folding is derived, or drawn from a seed."""
    torch.manual_seed(1)
    calibration = Calibration(export(MODELS[name](), tmp_path / "float.onnx"), Options())
    calibration.run(inputs_of(calibration.network), tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    assert_exact(plan(network, seed), tmp_path, 20, record_property)
