# SPDX-License-Identifier: Apache-2.0
"""The table of exactness says what is not equal, and the long form goes on where it was stopped."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import exactness_rows
import exactness_table
import lowered
import numpy as np
import pytest
from conftest import MODELS
from exactness_rows import Row
from exactness_table import Result

import hwgen
from benchmarks import exactness as long_form
from hwgen import host
from hwgen.lowering import lower


def good(name: str = "row") -> Result:
    levels = {level: {"codes": 1000, "mismatches": 0} for level in exactness_table.LEVELS}
    cycles = {"predicted": 77, "simulated": 77, "equal": True}
    return exactness_table.empty(name, "what") | {"levels": levels, "cycles": cycles}


def spoiled(level: str | None = None, **changes: Any) -> Result:
    result = copy.deepcopy(good())
    if level:
        result["levels"][level] |= changes
        return result
    return result | changes


BAD = {
    "a code differs": (spoiled("onnx", mismatches=1), "NOT equal"),
    "nothing was compared": (spoiled("csim", codes=0), "not reached: C simulation"),
    "cycles differ": (
        spoiled(cycles={"predicted": 77, "simulated": 78, "equal": False}),
        "cycles NOT as predicted",
    ),
    "RTL is missing": (
        spoiled(levels={name: level for name, level in good()["levels"].items() if name != "rtl"}, cycles=None),
        "not reached: RTL",
    ),
    "something was raised": (spoiled(error="ToolError: no verilator"), "FAILED: ToolError: no verilator"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_equal_stands_in_the_table(name: str) -> None:
    result, verdict = BAD[name]
    assert exactness_table.exact(good()) and exactness_table.verdict(good()) == "all equal"
    assert not exactness_table.exact(result) and exactness_table.verdict(result) == verdict
    *_, line, total = exactness_table.lines([good(), result])
    assert line.endswith(verdict) and "2 rows, 1 of them equal" in total
    assert f"| {verdict} |" in exactness_table.markdown([result])


def test_every_differing_code_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    network = hwgen.load(MODELS / "two_bits.onnx")
    model, given = lower(network), lowered.random_inputs(network, 3, 2, 1)
    integer, runtime = lowered.count(network, model, given)
    assert integer == {"codes": 3 * 2 * 20 + 2 * 2 * 20, "mismatches": 0}
    assert runtime == {"codes": 2 * integer["codes"], "mismatches": 0}
    run = host.run

    def one_off(*arguments: Any) -> dict[str, np.ndarray]:
        found = run(*arguments)
        found["y"][1, 1, 5] += 1
        return found

    monkeypatch.setattr(host, "run", one_off)
    assert [counts["mismatches"] for counts in lowered.count(network, model, given)] == [1, 2]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three rows, of which b always fails, and the names of those that were measured."""
    names: list[str] = []

    def measure_one(name: str) -> Result:
        names.append(name)
        return good(name) if name != "b" else exactness_table.empty(name) | {"error": "E: x"}

    found = [Row(name, lambda path: "", lambda network: pytest.fail("not reached")) for name in "abc"]
    monkeypatch.setattr(exactness_rows, "rows", lambda: found)
    monkeypatch.setattr(long_form, "measure_one", measure_one)
    return names


def test_the_long_form_goes_on_where_it_was(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, table = tmp_path / "rows.json", tmp_path / "rows.md"

    def run(*arguments: str) -> tuple[int, list[str]]:
        measured.clear()
        status = long_form.main([*arguments, "--output", str(output), "--table", str(table)])
        return status, [*measured]

    assert run("c") == (0, ["c"])
    measured_before = output.read_text()
    assert run("--list") == (0, []) and output.read_text() == measured_before
    assert run() == (1, ["a", "b"]), "b fails"
    assert [row["row"] for row in json.loads(output.read_text())["rows"]] == ["a", "b", "c"]
    assert "FAILED: E: x" in table.read_text()
    assert run() == (1, []), "a failure is a result"
    assert run("--retry") == (1, ["b"])
    monkeypatch.setattr(long_form, "digest", lambda: "other sources")
    assert run("--keep") == (1, [])
    assert run("a", "--keep") == (0, []) and run("a") == (0, ["a"])
    assert run("zebra") == (2, [])
