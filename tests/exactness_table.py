# SPDX-License-Identifier: Apache-2.0
"""The table of exactness: what was compared with the reference in each row, in text and in Markdown.

A result is plain data, for JSON and for what pytest's workers send: ``row``, ``what``, ``levels`` (per level ``codes``
and ``mismatches``), ``cycles`` (``predicted``, ``simulated``: of the last beat of an output; ``equal``: of every
output's first and last beat), and ``error`` where something other than a number came out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Each is compared with the float64 reference, or with the integer model after that was.
LEVELS = {"integer": "integer", "onnx": "onnxruntime", "csim": "C simulation", "rtl": "RTL"}
Result = dict[str, Any]


def empty(row: str, what: str = "") -> Result:
    """The result of a row of which nothing is measured yet."""
    return {"row": row, "what": what, "levels": {}, "cycles": None, "error": None}


def exact(result: Result) -> bool:
    """Every level compared something and found it equal, in the predicted cycles."""
    levels = result["levels"]
    complete = list(levels) == list(LEVELS) and result["error"] is None
    equal = all(level["codes"] > 0 and level["mismatches"] == 0 for level in levels.values())
    return complete and equal and bool(result["cycles"]) and result["cycles"]["equal"]


def verdict(result: Result) -> str:
    """In a few words."""
    levels = result["levels"]
    if exact(result):
        return "all equal"
    if result["error"]:
        return f"FAILED: {result['error']}"
    if any(level["mismatches"] for level in levels.values()):
        return "NOT equal"
    missing = [what for level, what in LEVELS.items() if level not in levels or not levels[level]["codes"]]
    return f"not reached: {', '.join(missing)}" if missing else "cycles NOT as predicted"


def cells(result: Result) -> list[str]:
    """Codes compared at each level, and the cycles."""
    found = []
    for name in LEVELS:
        level = result["levels"].get(name)
        wrong = f" ({level['mismatches']:,} wrong)" if level and level["mismatches"] else ""
        found.append(f"{level['codes']:,}{wrong}" if level else "-")
    cycles = result["cycles"]
    if cycles is None:
        return [*found, "-"]
    same = cycles["equal"]
    return [*found, f"{cycles['predicted']:,}" + ("" if same else f" (simulated {cycles['simulated']:,})")]


def totals(results: Iterable[Result]) -> str:
    """One line for all rows."""
    results = list(results)
    levels = [level for result in results for level in result["levels"].values()]
    codes, wrong = (sum(level[key] for level in levels) for key in ("codes", "mismatches"))
    good = sum(map(exact, results))
    return f"{len(results)} rows, {good} of them equal throughout; {codes:,} codes compared, {wrong:,} mismatches"


def lines(results: Iterable[Result]) -> list[str]:
    """The table as text of fixed columns."""
    results = list(results)
    heads = [*LEVELS.values(), "cycles"]
    found = ["reference = ".ljust(64) + "".join(f"  {head:>12}" for head in heads)]
    for result in results:
        label = f"{result['row']}: {result['what']}" if result["what"] else result["row"]
        found.append(f"{label:<64.63}" + "".join(f"  {cell:>12}" for cell in cells(result)) + f"  {verdict(result)}")
    return [*found, totals(results)]


def markdown(results: Iterable[Result]) -> str:
    """The table for docs/."""
    results = list(results)
    rows = [
        f"| {result['row']} | {result['what']} | {' | '.join(cells(result))} | {verdict(result)} |"
        for result in results
    ]
    head = f"| row | what | {' | '.join(LEVELS.values())} | cycles | |"
    return "\n".join([head, "|---|---|" + "--:|" * (len(LEVELS) + 1) + "---|", *rows, "", f"{totals(results)}.", ""])
