# SPDX-License-Identifier: Apache-2.0
"""Synthesis with the open tools: what a design needs, and how fast it is once placed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hwgen
from hwgen.errors import ConfigError
from hwgen.synth import synthesise

MODELS = Path(__file__).parents[1] / "models"


def test_multipliers_become_dsp_slices_and_large_weights_block_ram(tmp_path: Path) -> None:
    design = hwgen.schedule(hwgen.load(MODELS / "default.onnx"))
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    result = synthesise(project, "xc7")
    macs = sum(product.pe * product.simd for product in (design.input_product, design.hidden_product))
    assert result["units"]["hwgen_matvec"]["dsp"] == macs
    assert result["dsp"] >= macs
    # 100 words of 4 x 4 x 8 bits for the hidden product alone.
    assert result["bram"] >= 1
    assert 0 < result["lut"] < 5000
    assert json.loads((project.path / "synth.json").read_text())["xc7"] == result


def test_a_small_design_is_placed_on_ecp5(tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project", backend="rtl")
    result = synthesise(project, "ecp5", device="25k")
    assert result["device"] == "ECP5-25k, speed 8"
    assert result["fmax_mhz"] > 50
    assert result["critical_path"]


def test_synthesis_is_refused_without_rtl_or_for_an_unknown_flow(tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project")
    with pytest.raises(ConfigError, match=r"^synth needs RTL; build the project with --backend rtl or all$"):
        synthesise(project, "xc7")
    with pytest.raises(ConfigError, match=r"^--flow must be one of xc7, xcup, ecp5, not 'quartus'$"):
        synthesise(project, "quartus")
