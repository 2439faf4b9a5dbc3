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
    total = wrong = projects = 0
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        if report.when == "call":
            properties = dict(report.user_properties)
            if "codes" in properties:
                projects += 1
                total += int(properties["codes"])
                wrong += int(properties["mismatches"])
    if projects:
        terminalreporter.write_line(
            f"reference = integer model = C simulation: {projects} projects, "
            f"{total:,} codes compared, {wrong:,} mismatches"
        )
