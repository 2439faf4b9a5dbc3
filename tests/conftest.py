# SPDX-License-Identifier: Apache-2.0
"""Fixtures and the closing table of the matrices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import exactness_table
import pytest

MODELS = Path(__file__).parent / "models"
EXAMPLE = Path(__file__).parents[1] / "examples" / "japanese_vowels"


@pytest.fixture
def default_model() -> Path:
    """An 8-bit LSTM with Brevitas' default quantizers, 10 inputs, 20 hidden units."""
    return MODELS / "default.onnx"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many codes the simulations compared; tests report it as a property, whatever worker they ran on."""
    passed_or_failed = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    properties: list[dict[str, Any]] = [
        dict(report.user_properties) for report in passed_or_failed if report.when == "call"
    ]
    for level, what in (("csim", "C simulation"), ("rtl", "RTL, cycles as predicted")):
        found = [entry for entry in properties if f"{level} codes" in entry]
        if found:
            codes, wrong = (sum(int(entry[f"{level} {key}"]) for entry in found) for key in ("codes", "mismatches"))
            terminalreporter.write_line(
                f"reference = integer model = {what}: {len(found)} projects, "
                f"{codes:,} codes compared, {wrong:,} mismatches"
            )
    rows = [entry["exactness"] for entry in properties if "exactness" in entry]
    if rows:
        # In the order of the tests, whichever worker ran them.
        for line in exactness_table.lines(sorted(rows, key=lambda row: _natural(row["row"]))):
            terminalreporter.write_line(line)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts 2 before 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
