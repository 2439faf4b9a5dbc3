# SPDX-License-Identifier: Apache-2.0
"""Paths that meet again, in SystemVerilog: codes and cycles."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware import Record, assert_exact, plan
from meeting_paths import NETWORKS

# Buffers of vectors, of sequences, and of states; the others with make test-long.
SHORT = {"a stack": 1, "states beside": None, "everything": 1}
NAMES = [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in NETWORKS]


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_cycles(name: str, tmp_path: Path, record_property: Record) -> None:
    design = plan(NETWORKS[name][0](), SHORT.get(name, 2))
    assert_exact(design, tmp_path, 20, record_property, "rtl", backend="rtl")
