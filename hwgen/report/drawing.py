# SPDX-License-Identifier: Apache-2.0
"""The dataflow of a design as a picture: units as boxes with folding and cycles, streams with the width of a beat."""

from __future__ import annotations

from collections import Counter
from typing import Any

from markupsafe import Markup

from hwgen.report import svg
from hwgen.report.layout import Box, Layout, layout

Data = dict[str, Any]
_MARGIN, _GAP, _ROW_GAP = 12, 26, 36
# Widths of a letter in the two sizes of type, on the safe side; and heights of lines.
_TITLE_LETTER, _LINE_LETTER, _TITLE_LINE, _LINE = 7.4, 6.4, 20, 16
_LONGEST = 44


def shortened(text: str, limit: int = _LONGEST) -> str:
    """A name that fits a box."""
    if len(text) <= limit:
        return text
    # Layers differ at the end of their names as often as at the begin.
    return f"{text[: (limit + 1) // 2 - 1]}…{text[len(text) - limit // 2 :]}"


def dataflow(graph: Data, slowest: int) -> Markup:
    """Units from the inputs down to the outputs; ``slowest`` are the cycles that set the rate."""
    units = {unit["name"]: unit for unit in graph["units"]}
    forward = [stream for stream in graph["streams"] if not stream["feedback"]]
    placed = layout(
        {name: _size(unit) for name, unit in units.items()},
        [(stream["from"], stream["to"]) for stream in forward],
        _GAP,
        _ROW_GAP,
    )
    backward = [stream for stream in graph["streams"] if stream["feedback"]]
    left = _MARGIN + (58 if backward else 0)
    parts = [_stream(stream, route, left) for stream, route in zip(forward, placed.routes, strict=True)]
    parts += [_feedback(stream, placed, left) for stream in backward]
    parts += [_box(unit, placed.boxes[name], left, slowest) for name, unit in units.items()]
    read = Counter(stream["to"] for stream in forward)
    parts += [
        _label(stream, route, left, read[stream["to"]] > 1)
        for stream, route in zip(forward, placed.routes, strict=True)
    ]
    width, height = placed.width + left + _MARGIN, placed.height + 2 * _MARGIN
    return svg.picture(width, height, "Units and the streams between them", _arrow_head(), *parts, kind="dataflow")


def _arrow_head() -> Markup:
    tip = svg.element("path", d="M0 0L7 3.5L0 7z", kind="arrowhead")
    marker = svg.element(
        "marker",
        tip,
        id="tip",
        viewBox="0 0 7 7",
        refX=6.5,
        refY=3.5,
        markerWidth=8,
        markerHeight=8,
        orient="auto",
        markerUnits="userSpaceOnUse",
    )
    return svg.element("defs", marker)


def _lines(unit: Data) -> list[str]:
    return [shortened(line, 48) for line in unit["lines"]]


def _cycles(unit: Data) -> str:
    return "" if unit["cycles"] is None else f"{unit['cycles']:,} cycles"


def _size(unit: Data) -> tuple[float, float]:
    if unit["shape"] == "link":
        return len(unit["title"]) * _LINE_LETTER + 22, 20
    head = len(shortened(unit["title"])) * _TITLE_LETTER + len(_cycles(unit)) * _LINE_LETTER
    body = max((len(line) * _LINE_LETTER for line in _lines(unit)), default=0)
    return max(head + 40, body + 26, 96), 14 + _TITLE_LINE + _LINE * len(unit["lines"])


def _box(unit: Data, box: Box, left: float, slowest: int) -> Markup:
    x, y = box.x + left, box.y + _MARGIN
    tip = svg.element("title", ": ".join(part for part in (unit["title"], unit["detail"]) if part))
    if unit["shape"] == "link":
        shape = svg.box(x, y, box.width, box.height, "link", radius=10)
        return svg.element("g", tip, shape, svg.text(x + box.width / 2, y + 14, unit["title"], "small", "middle"))
    sets_rate = unit["cycles"] == slowest and unit["per_step"]
    kind = f"box {unit['shape']}{' slowest' if sets_rate else ''}"
    radius = 14 if unit["shape"] == "port" else 5
    parts = [tip, svg.box(x, y, box.width, box.height, kind, radius=radius)]
    if unit["shape"] == "memory":
        parts += [svg.line(x + 5, y + 5, x + box.width - 5, y + 5, "memoryline")]
    parts.append(svg.text(x + 13, y + 21, shortened(unit["title"]), "title"))
    if unit["cycles"] is not None:
        parts.append(svg.text(x + box.width - 12, y + 21, _cycles(unit), "cycles", "end"))
        busy = min(unit["cycles"] / slowest, 1) * (box.width - 10)
        parts += [
            svg.box(x + 5, y + box.height - 6, box.width - 10, 2, "rail"),
            svg.box(x + 5, y + box.height - 6, busy, 2, "busy", f"{unit['cycles'] / slowest:.0%} of the slowest"),
        ]
    for number, line in enumerate(_lines(unit)):
        parts.append(svg.text(x + 13, y + 21 + _LINE * (number + 1), line, "small"))
    return svg.element("g", *parts)


def _stream(stream: Data, route: list[tuple[float, float]], left: float) -> Markup:
    points = [(x + left, y + _MARGIN) for x, y in route]
    # The thicker the wider: one pixel for a byte, five for 64 bytes and more.
    thick = min(1 + stream["bits"].bit_length() * 0.28, 4.5)
    tip = svg.element("title", f"{stream['label']}: {stream['bits']:,} bits a beat")
    return svg.element(
        "path",
        tip,
        d=svg.curve(points),
        kind="stream",
        stroke_width=thick,
        marker_end="url(#tip)",
    )


def _label(stream: Data, route: list[tuple[float, float]], left: float, merges: bool) -> Markup:
    """Beside the stream, on the side that it does not bend to: at its end, or at its begin where several end."""
    place, near = (route[0], route[1]) if merges else (route[-1], route[-2])
    x, y = place[0] + left, place[1] + _MARGIN + (16 if merges else -11)
    if abs(near[0] - place[0]) < 2:
        return svg.text(x + 7, y + (3 if merges else -4), stream["label"], "label")
    return (
        svg.text(x + 8, y, stream["label"], "label")
        if near[0] < place[0]
        else svg.text(x - 8, y, stream["label"], "label", "end")
    )


def _feedback(stream: Data, placed: Layout, left: float) -> Markup:
    source, target = placed.boxes[stream["from"]], placed.boxes[stream["to"]]
    x = left - 34 + min(source.x, target.x)
    y0, y1 = source.y + source.height / 2 + _MARGIN, target.y + target.height / 2 + _MARGIN
    start, end = source.x + left, target.x + left
    path = (
        f"M{svg.number(start)} {svg.number(y0)}H{svg.number(x + 12)}Q{svg.number(x)} {svg.number(y0)} "
        f"{svg.number(x)} {svg.number(y0 - 12)}V{svg.number(y1 + 12)}Q{svg.number(x)} {svg.number(y1)} "
        f"{svg.number(x + 12)} {svg.number(y1)}H{svg.number(end)}"
    )
    tip = svg.element("title", f"{stream['label']}: the next time step reads what this one wrote")
    curve = svg.element("path", tip, d=path, kind="stream feedback", stroke_width=2, marker_end="url(#tip)")
    middle = (y0 + y1) / 2
    turned = svg.element(
        "text",
        f"h: {stream['label']}",
        x=x - 7,
        y=middle,
        kind="label",
        text_anchor="middle",
        transform=f"rotate(-90 {svg.number(x - 7)} {svg.number(middle)})",
    )
    return svg.element("g", curve, turned)
