# SPDX-License-Identifier: Apache-2.0
"""SVG by hand: elements with escaped text and attributes, and an axis that turns values into pixels.

Colours and fonts come from the style sheet of the page by class; coordinates are rounded so that a picture is the same
on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

Number = float


def number(value: Number) -> str:
    """A coordinate, to a tenth of a pixel.

    >>> number(3.0), number(2.25), number(-0.01)
    ('3', '2.2', '0')
    """
    text = f"{value:.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def element(tag: str, *children: Markup | str, **attributes: Number | str | None) -> Markup:
    """An element; ``kind`` is its class, underscores in names are hyphens, what is None is left out."""
    parts = [Markup(f"<{tag}")]
    for name, value in attributes.items():
        if value is not None:
            shown = value if isinstance(value, str) else number(value)
            parts.append(Markup(' {}="{}"').format("class" if name == "kind" else name.replace("_", "-"), shown))
    if not children:
        return Markup("").join([*parts, Markup("/>")])
    inner = Markup("").join(escape(child) for child in children)
    return Markup("").join([*parts, Markup(">"), inner, Markup(f"</{tag}>")])


def picture(width: Number, height: Number, label: str, *children: Markup, kind: str = "") -> Markup:
    """A whole picture that is described by ``label``."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        kind=f"picture {kind}".strip(),
        xmlns="http://www.w3.org/2000/svg",
    )


def text(x: Number, y: Number, content: str, kind: str = "", anchor: str | None = None) -> Markup:
    """One line of text."""
    return element("text", content, x=x, y=y, kind=kind or None, text_anchor=anchor)


def box(x: Number, y: Number, width: Number, height: Number, kind: str, tip: str = "", radius: Number = 0) -> Markup:
    """A rectangle; ``tip`` shows when one points at it."""
    children = [element("title", tip)] if tip else []
    corner = {"rx": radius} if radius else {}
    return element("rect", *children, x=x, y=y, width=max(width, 0.6), height=height, kind=kind, **corner)


def line(x1: Number, y1: Number, x2: Number, y2: Number, kind: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, kind=kind)


@dataclass(frozen=True)
class Axis:
    """Values from ``lo`` to ``hi`` on pixels from ``left`` to ``right``."""

    lo: Number
    hi: Number
    left: Number
    right: Number

    def at(self, value: Number) -> Number:
        """The pixel of a value."""
        return self.left + (value - self.lo) / ((self.hi - self.lo) or 1) * (self.right - self.left)

    def ticks(self, count: int = 8) -> list[int]:
        """Round whole numbers, at most about so many."""
        step = nice((self.hi - self.lo) / count)
        return list(range(-(-int(self.lo) // step) * step, int(self.hi) + 1, step))


@dataclass(frozen=True)
class Folded:
    """An axis of which the part from ``begin`` to ``end`` is squeezed into a share of its own."""

    lo: Number
    hi: Number
    left: Number
    right: Number
    begin: Number
    end: Number
    share: Number = 0.2

    def at(self, value: Number) -> Number:
        """The pixel of a value."""
        squeezed = self.share * (self.right - self.left)
        outside = (self.hi - self.lo) - (self.end - self.begin)
        scale = (self.right - self.left - squeezed) / (outside or 1)
        before = min(value, self.begin) - self.lo
        within = (min(max(value, self.begin), self.end) - self.begin) / ((self.end - self.begin) or 1)
        after = max(value - self.end, 0)
        return self.left + (before + after) * scale + within * squeezed


def nice(value: Number) -> int:
    """The next round number of 1, 2, 5, 10, 20, ...

    >>> nice(0.3), nice(13), nice(180)
    (1, 20, 200)
    """
    power = 10 ** max(math.floor(math.log10(value)), 0) if value > 1 else 1
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= min(value, power * 10))


def curve(points: list[tuple[Number, Number]]) -> str:
    """A smooth path down through points, vertical at each of them."""
    parts = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        bend = (y1 - y0) * 0.5
        parts.append(f"C{number(x0)} {number(y0 + bend)} {number(x1)} {number(y1 - bend)} {number(x1)} {number(y1)}")
    return "".join(parts)
