# SPDX-License-Identifier: Apache-2.0
"""Fixtures and the closing table of the matrices."""

from __future__ import annotations

from pathlib import Path

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
    properties = [dict(report.user_properties) for report in passed_or_failed if report.when == "call"]
    for level, what in (("csim", "C simulation"), ("rtl", "RTL, cycles as predicted")):
        found = [entry for entry in properties if f"{level} codes" in entry]
        if found:
            codes, wrong = (sum(int(entry[f"{level} {key}"]) for entry in found) for key in ("codes", "mismatches"))
            terminalreporter.write_line(
                f"reference = integer model = {what}: {len(found)} projects, "
                f"{codes:,} codes compared, {wrong:,} mismatches"
            )
