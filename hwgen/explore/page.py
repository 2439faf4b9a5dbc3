# SPDX-License-Identifier: Apache-2.0
"""pareto.html: the points of an exploration as one page, which works offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from hwgen import resources
from hwgen.report.shell import Card, environment, grouped, percent

Data = Mapping[str, Any]
PAGE = "pareto.html"


@dataclass(frozen=True)
class Axis:
    """A number that points have: what it is called in full and in a table, and which of two is better."""

    name: str
    label: str
    short: str
    better: str = "low"


AXES = (
    Axis("latency_us", "Latency of a sequence, µs", "µs"),
    Axis("steps_per_second", "Throughput, time steps/s", "steps/s", "high"),
    Axis("cycles", "Cycles a time step", "cycles"),
    Axis("lut", "LUT", "LUT"),
    Axis("ff", "Flip-flops", "FF"),
    Axis("dsp", "DSP slices", "DSP"),
    Axis("bram", "Block RAM, 36 kbit", "BRAM"),
    Axis("accuracy", "Accuracy", "accuracy", "high"),
    Axis("sqnr_db", "Signal to quantization noise, dB", "SQNR", "high"),
)
_RESOURCES = ("lut", "ff", "dsp", "bram")
_FIRST = {"x": "lut", "y": "steps_per_second", "colour": "latency_us"}
# Lines of a folding in the box beside a point.
_LINES = 10
_DECIMALS = {"latency_us": 2, "steps_per_second": 0, "sqnr_db": 1}


def render(points: Sequence[Data], meta: Data) -> str:
    """The page of points, as plain data, with what they have in common.

    A point has ``folding``, ``interleave``, ``model``, ``cycles`` a time step, ``latency_cycles``,
    ``steps_per_second``, ``lut``, ``ff``, ``dsp``, ``bram``, ``fits``, ``chosen``; ``measured``, what ``measure``
    returned for it, or None; ``accuracy`` and ``sqnr_db`` or None; and perhaps ``error``, in which LUTs and flip-flops
    are known.  ``meta`` has ``model``, ``target``, ``limits`` of its resources, ``clock_mhz``, how many ``points`` were
    predicted in how many ``seconds`` (or None), and perhaps the ``correction`` of predictions by measured points.
    """
    rows = [_point(number, point, meta) for number, point in enumerate(points)]
    axes = [axis for axis in AXES if any(row[axis.name] is not None for row in rows)]
    models = list(dict.fromkeys(row["model"] for row in rows))
    script = {
        "axes": [asdict(axis) | {"limit": meta["limits"].get(axis.name)} for axis in axes],
        "points": rows,
    }
    chosen = next((row for row in rows if row["chosen"]), None)
    columns = _columns(rows, models)
    # How good a model is says more about a point than its latency.
    quality = [axis.name for axis in axes if axis.name in ("accuracy", "sqnr_db")]
    found, folder = environment(), resources.templates() / "report"
    # These are no templates: braces in them are their own.
    for name in ("pareto.css", "pareto.js"):
        found.globals[name.replace(".", "_")] = Markup((folder / name).read_text("utf-8"))
    return found.get_template("pareto.html.jinja").render(
        model=meta["model"],
        facts=_facts(rows, meta),
        cards=_cards(chosen, rows, meta),
        correction=_correction(meta.get("correction")),
        options=[(axis.name, axis.label) for axis in axes],
        models=models if len(models) > 1 else [],
        first=_FIRST | ({"colour": quality[0]} if quality else {}),
        columns=columns,
        rows=[_cells(row, columns, meta) for row in rows],
        data=embedded(script),
    )


def embedded(data: Any) -> Markup:
    """JSON that is safe inside a script element, whatever strings it holds."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def lines(folding: Data) -> list[str]:
    """A folding for people: PE x SIMD of every product, a line for each node.

    >>> lines({"lstm": {"input": {"pe": 1, "simd": 2}, "hidden": {"pe": 4, "simd": 5}}, "head": {"pe": 1, "simd": 8}})
    ['lstm: input 1 x 2, hidden 4 x 5', 'head: 1 x 8']
    """
    if _is_layer(folding):
        return [_folds(folding)]
    return [f"{name}: {_folds(entry)}" for name, entry in folding.items()] or ["nothing is folded"]


def _is_layer(folding: Data) -> bool:
    """Whether it is the folding of one recurrent layer, not one of nodes by their names."""
    return set(folding) == {"input", "hidden"} and all("pe" in fold for fold in folding.values())


def _folds(entry: Data) -> str:
    if "pe" in entry:
        return f"{entry['pe']} x {entry['simd']}"
    return ", ".join(f"{name} {fold['pe']} x {fold['simd']}" for name, fold in entry.items())


def _short(folding: Data) -> str:
    """A folding in a cell of a table: products in their order."""
    nodes = [folding] if _is_layer(folding) else list(folding.values())
    found = [[node] if "pe" in node else list(node.values()) for node in nodes]
    return " | ".join(" ".join(f"{fold['pe']}x{fold['simd']}" for fold in products) for products in found)


def _point(number: int, point: Data, meta: Data) -> dict[str, Any]:
    """A point as the script has it; ``found`` is what was measured, by the name of an axis."""
    measured = point.get("measured")
    failed = measured is not None and "error" in measured
    found = None
    margin = point.get("error") or {}
    folded = lines(point["folding"])
    notes = []
    if measured is not None and failed:
        notes.append(f"measuring failed: {measured['error'].splitlines()[0]}")
    elif measured is not None:
        found = {kind: measured["measured"][kind] for kind in _RESOURCES}
        notes.append(_verified(measured))
    if not point["fits"]:
        notes.append("does not fit the device")
    row = {
        "number": number,
        "title": f"design {number + 1}" + (f" of {point['model']}" if point["model"] != meta["model"] else ""),
        "lines": folded[:_LINES] + ([f"and {len(folded) - _LINES} more"] if len(folded) > _LINES else []),
        "short": _short(point["folding"]),
        "latency_us": point["latency_cycles"] / meta["clock_mhz"],
        "found": found,
        "failed": failed,
        "margin": bool(margin),
        "notes": notes,
    }
    names = ("model", "interleave", "cycles", "latency_cycles", "steps_per_second", *_RESOURCES, "fits", "chosen")
    row |= {name: point[name] for name in names}
    row |= {name: point.get(name) for name in ("accuracy", "sqnr_db")}
    row["facts"] = list(_box_rows(row, margin))
    return row


def _verified(measured: Data) -> str:
    wrong, timed = measured["mismatches"], measured["cycles"]["predicted"] == measured["cycles"]["simulated"]
    text = f"simulated: {measured['codes']:,} codes, {wrong:,} mismatches, cycles "
    text += "as predicted" if timed else "NOT as predicted"
    return text + (f"; placed at {measured['fmax_mhz']:g} MHz" if "fmax_mhz" in measured else "")


def _box_rows(row: Data, margin: Data) -> Iterator[list[str]]:
    """Rows of the box beside a point: name, predicted, and measured with the error, or the margin."""
    found = row["found"]
    blank = ["", ""] if found else [""]
    yield ["steps/s", f"{row['steps_per_second']:,.0f}", *blank]
    yield ["cycles a step", f"{row['cycles']:,}", *blank]
    yield ["latency", f"{row['latency_us']:,.4g} µs", *blank]
    if row["interleave"] > 1:
        yield ["interleaved", f"{row['interleave']}", *blank]
    if row["accuracy"] is not None:
        yield ["accuracy", f"{row['accuracy']:.4g}", *blank]
    if row["sqnr_db"] is not None:
        yield ["SQNR", f"{row['sqnr_db']:.1f} dB", *blank]
    for kind in _RESOURCES:
        predicted = row[kind]
        if found:
            beside = [grouped(found[kind]), _error(predicted, found[kind])]
        else:
            beside = [f"± {margin[kind]:.1%}" if margin.get(kind) is not None else ""]
        yield [_short_name(kind), grouped(predicted), *beside]


def _error(predicted: float, measured: float) -> str:
    if predicted == measured:
        return "exact"
    return f"{predicted / measured - 1:+.1%}" if measured else "-"


def _short_name(kind: str) -> str:
    return next(axis.short for axis in AXES if axis.name == kind)


def _facts(rows: Sequence[Data], meta: Data) -> list[tuple[str, str]]:
    measured = sum(row["found"] is not None for row in rows)
    facts = [
        ("target", meta["target"]),
        ("clock", f"{meta['clock_mhz']:g} MHz"),
        ("predicted", f"{meta['points']:,} points" + (f" in {meta['seconds']:.1f} s" if meta["seconds"] else "")),
        ("shown", f"{len(rows):,} points"),
        ("measured", f"{measured:,}"),
    ]
    failed = sum(row["failed"] for row in rows)
    return facts + ([("failed to be measured", f"{failed:,}")] if failed else [])


def _cards(chosen: Data | None, rows: Sequence[Data], meta: Data) -> list[Card]:
    """Of the chosen design, or of the fastest that fits the device."""
    fitting = [row for row in rows if row["fits"]]
    shown = chosen or max(fitting, key=lambda row: row["steps_per_second"], default=None)
    if shown is None:
        return [Card("0", "points fit the device", f"of {len(rows):,}: choose a larger one, or fewer bits", "bad")]
    what = "the chosen design" if chosen else "the fastest that fits"
    shares = {kind: shown[kind] / limit for kind, limit in meta["limits"].items() if limit}
    most = max(shares, key=lambda kind: shares[kind])
    used = f"{grouped(shown[most])} of {grouped(meta['limits'][most])}: the most of any resource"
    return [
        Card(f"{shown['steps_per_second']:,.0f}", "steps/s", f"{what}, {shown['title']}: {shown['short']}"),
        Card(f"{shown['latency_us']:,.4g}", "µs", f"latency of a sequence, {shown['latency_cycles']:,} cycles"),
        Card(percent(shares[most]), f"of the {_short_name(most)}s", used),
        Card(grouped(len(fitting)), "points fit the device", f"of {len(rows):,} that are shown"),
    ]


def _correction(data: Data | None) -> list[str]:
    """Sentences about how well the predictions hold."""
    if not data or not data["points"]:
        return []
    parts = []
    for kind in ("lut", "ff"):
        spread, before = data["spread"][kind], data["before"][kind]
        if spread is not None:
            parts.append(
                f"{_short_name(kind)}: corrected by a factor of {data['factors'][kind]:.3f}; error of points that the "
                f"factor has not seen: median {spread['median']:.1%}, 90 % within {spread['p90']:.1%} "
                f"(without it {before['median']:.1%} and {before['p90']:.1%})."
            )
    wrong = len(data["miscounted"])
    parts.append(f"DSP and BRAM: as predicted in {data['points'] - wrong:,} of the {data['points']:,} measured points.")
    return parts


def _columns(rows: Sequence[Data], models: Sequence[str]) -> list[tuple[str, str]]:
    """Name and heading of the columns of the table that say something."""
    columns = [("number", "design")] + ([("model", "model")] if len(models) > 1 else []) + [("short", "PE x SIMD")]
    columns += [("interleave", "sequences")] if any(row["interleave"] > 1 for row in rows) else []
    columns += [(axis.name, axis.short) for axis in AXES if any(row[axis.name] is not None for row in rows)]
    measured = any(row["found"] or row["failed"] for row in rows)
    return columns + ([("found lut", "LUT measured"), ("found ff", "FF measured")] if measured else [])


def _cells(row: Data, columns: Sequence[tuple[str, str]], meta: Data) -> dict[str, Any]:
    """A row of the table: text, small text behind it, value to sort by, class."""
    cells = []
    for name, _ in columns:
        value: Any = row.get(name)
        small, kind = "", "" if name in ("short", "model") else "number"
        if name.startswith("found "):
            resource = name.removeprefix("found ")
            value = row["found"][resource] if row["found"] else None
            small = _error(row[resource], value) if row["found"] else "failed" if row["failed"] else ""
        elif name == "number":
            value += 1
        elif name in _RESOURCES and value > meta["limits"].get(name, value):
            kind += " bad"
        cells.append((_text(name, value), small, "" if value is None else value, kind))
    return {"number": row["number"], "chosen": row["chosen"], "cells": cells}


def _text(name: str, value: Any) -> str:
    """A value in a cell."""
    if value is None or isinstance(value, str):
        return value or ""
    return grouped(round(value, _DECIMALS.get(name, 4)))
