# SPDX-License-Identifier: Apache-2.0
"""What pages have in common: the templates, filters that print numbers, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from hwgen import resources


@dataclass(frozen=True)
class Cell:
    """A cell of a table: ``kind`` is good, bad, warn, strong, muted, or nothing."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text; columns in ``numbers`` are set to the right."""

    head: tuple[str, ...]
    rows: Sequence[Sequence[str | Cell]]
    numbers: tuple[int, ...] = ()

    def cells(self) -> list[list[tuple[str, str]]]:
        """Text and class of every cell."""
        return [[self._cell(column, cell) for column, cell in enumerate(row)] for row in self.rows]

    def head_cells(self) -> list[tuple[str, str]]:
        """Text and class of every heading."""
        return [(name, "number" if column in self.numbers else "") for column, name in enumerate(self.head)]

    def _cell(self, column: int, cell: str | Cell) -> tuple[str, str]:
        found = cell if isinstance(cell, Cell) else Cell(cell)
        kinds = [found.kind, "number" if column in self.numbers else ""]
        return found.text, " ".join(kind for kind in kinds if kind)


@dataclass(frozen=True)
class Card:
    """A number that is looked at first, with its unit and what it means."""

    value: str
    unit: str
    text: str
    kind: str = ""


def grouped(value: float) -> str:
    """A number with its thousands apart.

    >>> grouped(1234567), grouped(5.5)
    ('1,234,567', '5.5')
    """
    return f"{value:,.10g}"


def percent(share: float) -> str:
    """A share.

    >>> percent(0.254), percent(0.0002)
    ('25%', '0.02%')
    """
    shown = share * 100
    digits = 0 if shown >= 10 or not shown else 1 if shown >= 0.1 else 2
    return f"{shown:.{digits}f}%"


def interval(ends: Sequence[int]) -> str:
    """A range of integers."""
    return f"{ends[0]:,} .. {ends[1]:,}"


def environment() -> jinja2.Environment:
    """Templates of pages: what they print is escaped unless it is markup already; ``style`` is the style sheet."""
    folder = resources.templates() / "report"
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(folder)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters["grouped"] = grouped
    found.filters["percent"] = percent
    found.globals["style"] = Markup((folder / "style.css").read_text("utf-8"))
    return found
