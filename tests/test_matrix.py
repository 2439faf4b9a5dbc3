# SPDX-License-Identifier: Apache-2.0
"""Reference = integer model = C simulation = RTL: every option set in several sizes and foldings, codes and cycles.

Each at one size and folding, and through onnxruntime as well: test_exactness.py.
"""

from __future__ import annotations

from pathlib import Path

import option_sets
import pytest
from conftest import MODELS
from hardware import Record, assert_exact, single_layer

import hwgen

NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["serial", "unrolled", "random"])
@pytest.mark.parametrize("size", [(10, 20), (24, 36)], ids=["10x20", "24x36"])
@pytest.mark.parametrize("name", NAMES)
def test_matrix_of_option_sets_sizes_and_foldings(
    name: str, size: tuple[int, int], kind: str, tmp_path: Path, record_property: Record
) -> None:
    model = tmp_path / f"{name}.onnx"
    option_set = option_sets.OPTION_SETS[name]
    option_sets.export(option_set, option_sets.make_module(option_set, size, seed=1), model)
    design = single_layer(hwgen.load(model), kind, f"{name} {kind}")
    assert_exact(design, tmp_path, 60, record_property)
