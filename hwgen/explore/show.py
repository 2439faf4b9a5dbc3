# SPDX-License-Identifier: Apache-2.0
"""What ``hwgen explore`` prints: how much was looked at, and the points that a person looks at first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hwgen.explore.run import Exploration, Point

# Rows of the table; the files have all points.
_SHOWN = 16


def print_exploration(found: Exploration, files: Mapping[str, Path], out: Console) -> None:
    """The points that fit the device, evenly over the front, and the chosen one."""
    fitting = [point for point in found.front if point.fits]
    rate = found.predicted / found.seconds
    out.print(
        f"{found.size:,} design points, {found.predicted:,} predicted in {found.seconds:.1f} s ({rate:,.0f} a second); "
        f"{len(found.front):,} on the Pareto front, {len(fitting):,} of them fit {found.meta['target']}"
    )
    _print_quality(found, out)
    several = len(found.meta["models"]) > 1
    interleaved = any(point.interleave > 1 for point in found.front)
    columns = ["model"] * several + ["cycles", "steps/s", "latency", "LUT", "FF", "DSP", "BRAM"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns + ["sequences"] * interleaved + ["folding"]:
        table.add_column(column, justify="left" if column in ("model", "folding") else "right", overflow="fold")
    for point in _few(fitting or list(found.front)):
        cells = [point.model] * several + [
            f"{point.cycles:,}",
            f"{point.steps_per_second:,.0f}",
            f"{point.latency_cycles:,}",
            f"{point.lut:,.0f}",
            f"{point.ff:,.0f}",
            f"{point.dsp:g}",
            f"{point.bram:g}",
        ]
        cells += [str(point.interleave)] * interleaved + [_folding(point)]
        table.add_row(*map(escape, cells), style="bold green" if point.chosen else None)
    out.print(table)
    if any(point.chosen for point in found.front):
        out.print("bold: what the target gets")
    out.print("files: " + ", ".join(escape(str(path)) for path in files.values()))


def _print_quality(found: Exploration, out: Console) -> None:
    """How good each model is, where that is known, and how many points of the front are its."""
    known = found.meta.get("quality")
    if not known:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("model", "accuracy", "SQNR", "points"):
        table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
    for name, quality in known.items():
        accuracy, ratio = quality["accuracy"], quality["sqnr_db"]
        table.add_row(
            escape(name),
            "" if accuracy is None else f"{accuracy:.2%}",
            "" if ratio is None else f"{ratio:.1f} dB",
            f"{sum(point.model == name for point in found.front):,}",
        )
    out.print(table)


def _few(points: list[Point]) -> list[Point]:
    """So many of the points as are shown, the chosen one among them."""
    if len(points) <= _SHOWN:
        return points
    places = {round(number * (len(points) - 1) / (_SHOWN - 1)) for number in range(_SHOWN)}
    return [point for place, point in enumerate(points) if place in places or point.chosen]


def _folding(point: Point) -> str:
    """PE x SIMD of each product, nodes in their order."""
    layers = [point.folding] if "input" in point.folding else list(point.folding.values())
    parts = []
    for layer in layers:
        products = [layer] if "pe" in layer else [layer["input"], layer["hidden"]]
        parts.append(" ".join(f"{fold['pe']}x{fold['simd']}" for fold in products))
    return " | ".join(parts)
