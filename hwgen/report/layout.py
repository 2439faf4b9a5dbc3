# SPDX-License-Identifier: Apache-2.0
"""A layered drawing of a dataflow: rows from the inputs down to the outputs, few crossings, room for every stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Link = tuple[str, str]
# Passes over the rows, down and up, that put boxes near those that they are linked to.
_SWEEPS = 8


@dataclass(frozen=True)
class Box:
    """Where a box is: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Its vertical axis."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


@dataclass(frozen=True)
class Layout:
    """Boxes by name, the points that each link goes through, and the size of the whole."""

    boxes: dict[str, Box]
    routes: list[list[tuple[float, float]]]
    width: float
    height: float


def layout(sizes: Mapping[str, tuple[float, float]], links: Sequence[Link], gap: float, row_gap: float) -> Layout:
    """Place boxes of given sizes, in the order of ``sizes`` where nothing else decides; links point down.

    A link over several rows gets a place in each row between; several links of the same two boxes lie side by side.
    """
    ranks = _ranks(list(sizes), links)
    rows: list[list[str]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for name in sizes:
        rows[ranks[name]].append(name)
    widths = {name: width for name, (width, _) in sizes.items()}
    chains = []
    for number, (source, target) in enumerate(links):
        chain = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            between = f"\0{number} {rank}"
            rows[rank].append(between)
            widths[between] = gap
            chain.append(between)
        chains.append([*chain, target])
    _order(rows, chains)
    heights = [max((sizes[name][1] for name in row if name in sizes), default=0) for row in rows]
    row_widths = [sum(widths[name] for name in row) + gap * (len(row) - 1) for row in rows]
    whole = max(row_widths, default=0)
    boxes: dict[str, Box] = {}
    y = 0.0
    for row, height, row_width in zip(rows, heights, row_widths, strict=True):
        x = (whole - row_width) / 2
        for name in row:
            own = sizes[name][1] if name in sizes else height
            boxes[name] = Box(x, y + (height - own) / 2, widths[name], own)
            x += widths[name] + gap
        y += height + row_gap
    routes = _routes(chains, boxes)
    return Layout({name: boxes[name] for name in sizes}, routes, whole, max(y - row_gap, 0))


def _ranks(names: list[str], links: Sequence[Link]) -> dict[str, int]:
    """Rows: below everything that a box reads from; inputs stand just above their first reader."""
    ranks = dict.fromkeys(names, 0)
    for _ in names:
        for source, target in links:
            ranks[target] = max(ranks[target], ranks[source] + 1)
    read = {target for _, target in links}
    for name in names:
        readers = [ranks[target] for source, target in links if source == name]
        if name not in read and readers:
            ranks[name] = max(min(readers) - 1, 0)
    return ranks


def _order(rows: list[list[str]], chains: list[list[str]]) -> None:
    """Sort each row by the mean place of what its boxes are linked to in the row above, then below, in turns."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for chain in chains:
        for source, target in pairwise(chain):
            below.setdefault(source, []).append(target)
            above.setdefault(target, []).append(source)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        linked = above if down else below
        order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for number in order:
            near = rows[number - 1 if down else number + 1]
            size = max(len(near) - 1, 1)
            places = {name: place / size if len(near) > 1 else 0.5 for place, name in enumerate(near)}
            weights = {}
            for place, name in enumerate(rows[number]):
                found = [places[other] for other in linked.get(name, []) if other in places]
                weights[name] = sum(found) / len(found) if found else place / max(len(rows[number]) - 1, 1)
            rows[number].sort(key=weights.__getitem__)


def _routes(chains: list[list[str]], boxes: dict[str, Box]) -> list[list[tuple[float, float]]]:
    """Points of each chain; what leaves or enters the same box is spread along its edge."""
    leaving: dict[str, list[int]] = {}
    entering: dict[str, list[int]] = {}
    for number, chain in enumerate(chains):
        leaving.setdefault(chain[0], []).append(number)
        entering.setdefault(chain[-1], []).append(number)
    for numbers in leaving.values():
        numbers.sort(key=lambda number: boxes[chains[number][1]].middle)
    for numbers in entering.values():
        numbers.sort(key=lambda number: boxes[chains[number][-2]].middle)
    routes = []
    for number, chain in enumerate(chains):
        source, target = boxes[chain[0]], boxes[chain[-1]]
        points = [(_along(source, leaving[chain[0]], number), source.bottom)]
        for name in chain[1:-1]:
            points += [(boxes[name].middle, boxes[name].y), (boxes[name].middle, boxes[name].bottom)]
        points.append((_along(target, entering[chain[-1]], number), target.y))
        routes.append(points)
    return routes


def _along(box: Box, numbers: list[int], number: int) -> float:
    return box.x + box.width * (numbers.index(number) + 1) / (len(numbers) + 1)
