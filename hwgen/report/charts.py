# SPDX-License-Identifier: Apache-2.0
"""Timelines as pictures: the stages of one time step, and all units on sequences of several steps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from markupsafe import Markup

from hwgen.report import svg
from hwgen.report.drawing import shortened

Data = dict[str, Any]
_WIDTH, _LEFT, _RIGHT, _TOP = 1080, 178, 44, 26
_ROW, _BAR = 24, 15
# Bars that are narrower have no room for a number.
_ROOM = 13
# So many groups of units are drawn one by one.
_GROUPS = 40


def time_step(step: Data) -> Markup:
    """One time step: tiles, then each stage for every group of units; the way of the last group stands out."""
    tiles, group = step["tiles"], step["group_tiles"]
    end = max(step["period"], step["end"]) + max(6, step["end"] - tiles)
    axis = _step_axis(step, end)
    rows = [("tiles", tiles), *((stage["name"], stage["cycles"]) for stage in step["stages"])]
    height = _TOP + _ROW * (len(rows) + 1) + 30
    parts = _grid(axis, _step_ticks(step, end), height - 24)
    parts += _labels([name for name, _ in rows] + ["next time step"])
    parts += [
        svg.text(_WIDTH - 6, _row(number) + 12, f"{cycles:,}", "small", "end")
        for number, (_, cycles) in enumerate(rows)
    ]
    many = _unseen(step, axis)
    parts += _merged(step, axis, many)
    for number in range(step["groups"]):
        if number in many:
            continue
        kind = "last" if number == step["groups"] - 1 else "even" if number % 2 else "odd"
        begin, behind = number * group, (number + 1) * group
        parts.append(_bar(axis, begin, behind, 0, f"g {kind}", f"group {number}: tiles {begin} to {behind - 1}"))
        for row, stage in enumerate(step["stages"], 1):
            first = (begin if stage["per_tile"] else behind - 1) + stage["after"]
            last = behind - 1 + stage["after"] + stage["cycles"]
            tip = f"{stage['name']}, group {number}: cycles {first} to {last - 1}"
            parts.append(_bar(axis, first, last, row, f"g {kind}", tip))
    parts.append(_bar(axis, step["period"], min(step["period"] + tiles, end), len(rows), "g next", "tiles of the next"))
    x = axis.at(step["period"])
    parts += [
        svg.line(x, _TOP - 6, x, height - 24, "mark"),
        svg.text(x, _TOP - 10, f"cycle {step['period']:,}: the next step begins", "marktext", "end"),
    ]
    if isinstance(axis, svg.Folded):
        parts += _break(axis, height - 24)
    label = f"Cycles of a time step of {step['unit']}: {step['period']}"
    return svg.picture(_WIDTH, height, label, *parts, kind="timeline")


def _unseen(step: Data, axis: svg.Axis | svg.Folded) -> range:
    """Groups within the squeezed part, where they are too many to tell apart."""
    if not isinstance(axis, svg.Folded) or step["groups"] <= _GROUPS:
        return range(0)
    group, after = step["group_tiles"], step["end"] - step["tiles"]
    first = -(-int(axis.begin) // group)
    return range(first, max(first, int(axis.end - after) // group))


def _merged(step: Data, axis: svg.Axis | svg.Folded, many: range) -> list[Markup]:
    """One bar a row for groups that are not drawn by themselves."""
    if not many:
        return []
    group = step["group_tiles"]
    begin, behind = many.start * group, many.stop * group
    tip = f"groups {many.start} to {many.stop - 1}"
    parts = [_bar(axis, begin, behind, 0, "g many", tip)]
    for row, stage in enumerate(step["stages"], 1):
        first = begin + stage["after"] + (0 if stage["per_tile"] else group - 1)
        last = behind - 1 + stage["after"] + stage["cycles"]
        parts.append(_bar(axis, first, last, row, "g many", f"{stage['name']}, {tip}"))
    return parts


def _step_axis(step: Data, end: int) -> svg.Axis | svg.Folded:
    """All cycles to scale, or, where tiles are many, those in the middle squeezed."""
    edge = min(3 * step["group_tiles"], 16)
    right = _WIDTH - _RIGHT
    if step["tiles"] - 2 * edge > 48:
        return svg.Folded(0, end, _LEFT, right, edge, step["tiles"] - edge, 0.22)
    return svg.Axis(0, end, _LEFT, right)


def _step_ticks(step: Data, end: int) -> list[int]:
    """Round cycles, those of the squeezed part left out."""
    axis = _step_axis(step, end)
    if isinstance(axis, svg.Axis):
        return axis.ticks(12)
    shown = svg.nice((end - axis.end + axis.begin) / 10)
    before = list(range(0, int(axis.begin) + 1, shown))
    first = -(-int(axis.end) // shown) * shown
    return before + list(range(first, end + 1, shown))


def _break(axis: svg.Folded, bottom: float) -> list[Markup]:
    left, right = axis.at(axis.begin), axis.at(axis.end)
    text = f"{axis.end - axis.begin:,.0f} cycles, squeezed"
    return [
        svg.box(left, _TOP - 4, right - left, bottom - _TOP + 4, "squeezed"),
        svg.text((left + right) / 2, bottom - 6, text, "small", "middle"),
    ]


def sequence(data: Data) -> Markup:
    """Units on time steps of two sequences that follow each other."""
    lanes = _lanes(data["rows"])
    axis = svg.Axis(0, data["cycles"], _LEFT, _WIDTH - _RIGHT)
    height = _TOP + sum(lane["rows"] for lane in lanes) * _ROW + 30
    parts = _grid(axis, axis.ticks(12), height - 24)
    place, before = 0, None
    for lane in lanes:
        top = _row(place)
        if lane["unit"] != before:
            if place:
                parts.append(svg.line(4, top - 4, _WIDTH - 4, top - 4, "divide"))
            room = 24 if lane["bars"] else 80
            parts.append(svg.text(8, top + 12, shortened(lane["title"], room), "rowname"))
        if lane["lane"]:
            below = lane["unit"] != before
            parts += [svg.text(_LEFT - 8, top + 12, lane["lane"], "small", "end")] if not below else []
            parts += _lane_beside(lane, top) if below else []
        for bars, tail in ((lane["under"], " tail"), (lane["bars"], "")):
            for bar, shift in zip(bars, _stack(bars)[0], strict=True):
                parts += _sequence_bar(axis, lane, bar, place + (0 if tail else shift), tail)
        place, before = place + lane["rows"], None if lane["unit"] == "port" else lane["unit"]
    label = f"Units at work on {len(data['lengths'])} sequences of {data['lengths'][0]} time steps"
    return svg.picture(_WIDTH, height, label, *parts, kind="timeline")


def _lane_beside(lane: Data, top: float) -> list[Markup]:
    """The name of a lane in the row that has the name of its unit, if there is room."""
    if len(shortened(lane["title"], 24)) * 7.2 + len(lane["lane"]) * 6.2 > _LEFT - 20:
        return []
    return [svg.text(_LEFT - 8, top + 12, lane["lane"], "small", "end")]


def _lanes(rows: list[Data]) -> list[Data]:
    """Rows to draw: the name of a unit gets a row of its own where lanes follow; depth lies behind the tiles."""
    found: list[Data] = []
    before = None
    for row in rows:
        if row["lane"] == "pipeline depth":
            found[-1]["under"] = row["bars"]
            continue
        if row["unit"] != before and row["lane"] and len(row["title"]) * 7.2 + len(row["lane"]) * 6.2 > _LEFT - 20:
            found.append({"unit": row["unit"], "title": row["title"], "lane": "", "bars": [], "under": [], "rows": 1})
        before = row["unit"] if row["unit"] != "port" else None
        found.append({**row, "under": [], "rows": _stack(row["bars"])[1]})
    return found


def _stack(bars: list[Data]) -> tuple[list[int], int]:
    """A row for each bar so that none covers another, and the number of rows, three at most."""
    ends: list[int] = []
    places = []
    for bar in bars:
        free = next((place for place, end in enumerate(ends) if end <= bar["begin"]), None)
        if free is None:
            free = len(ends) if len(ends) < 3 else ends.index(min(ends))
            ends += [0] if free == len(ends) else []
        ends[free] = bar["end"]
        places.append(free)
    return places, max(len(ends), 1)


def _sequence_bar(axis: svg.Axis, lane: Data, bar: Data, place: int, tail: str) -> list[Markup]:
    left, right = axis.at(bar["begin"]), axis.at(bar["end"])
    step = "all steps" if bar["step"] is None else f"step {bar['step'] + 1}"
    name = "pipeline depth" if tail else lane["lane"]
    tip = f"{lane['title']} {name}: sequence {bar['sequence'] + 1}, {step}, cycles {bar['begin']} to {bar['end'] - 1}"
    shade = "even" if (bar["step"] or 0) % 2 else "odd"
    top = _row(place)
    parts = [svg.box(left, top, right - left, _BAR, f"s{bar['sequence']} {shade}{tail}", tip, 2)]
    if right - left >= _ROOM and not tail and bar["step"] is not None:
        parts.append(svg.text((left + right) / 2, top + 11.5, f"{bar['step'] + 1}", "onbar", "middle"))
    return parts


def _row(number: int) -> float:
    return _TOP + number * _ROW


def _bar(axis: svg.Axis | svg.Folded, begin: float, end: float, row: int, kind: str, tip: str) -> Markup:
    left, right = axis.at(begin), axis.at(end)
    return svg.box(left, _row(row), right - left, _BAR, kind, tip, 1.5 if right - left > 4 else 0)


def _labels(names: list[str]) -> list[Markup]:
    return [svg.text(_LEFT - 10, _row(number) + 12, name, "rowname", "end") for number, name in enumerate(names)]


def _grid(axis: svg.Axis | svg.Folded, ticks: list[int], bottom: float) -> list[Markup]:
    places = [axis.at(tick) for tick in ticks]
    parts = [svg.line(x, _TOP - 4, x, bottom, "grid") for x in places]
    room = min((after - before for before, after in pairwise(places)), default=_WIDTH)
    every = 1 if room > 34 else 2
    parts += [
        svg.text(x, bottom + 15, f"{tick:,}", "tick", "middle")
        for number, (x, tick) in enumerate(zip(places, ticks, strict=True))
        if number % every == 0
    ]
    return [*parts, svg.text(_LEFT - 10, bottom + 15, "cycle", "tick", "end")]
