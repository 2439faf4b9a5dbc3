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
    _print_networks(terminalreporter, [entry for entry in properties if "network" in entry])


def _print_networks(reporter: pytest.TerminalReporter, found: list[dict[str, object]]) -> None:
    """A line for each network: how much was compared with the integer model at each level."""
    if not found:
        return
    levels = ("onnx", "csim", "rtl")
    reporter.write_line("reference = integer model =" + " " * 33 + "".join(f"{level:>10}" for level in levels))
    for entry in sorted(found, key=lambda entry: int(str(entry["network"]).partition(":")[0])):
        counts = "".join(f"{int(str(entry.get(f'{level} codes', 0))):>10,}" for level in levels)
        # A property is recorded once its comparison has passed.
        verdict = "all equal" if all(f"{level} codes" in entry for level in levels) else "NOT equal, or not reached"
        reporter.write_line(f"{entry['network']!s:<60.60}{counts}  {verdict}")
