# SPDX-License-Identifier: Apache-2.0
"""Predictions of a model's points, corrected by those that were measured, with the error that is left.

The cost model is fitted to many designs; one model has its own mix of structures, and so its own offset.  A ratio
takes that offset away.  Its error is measured on points that it has not seen: each by the ratio of the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Structures are estimated; DSPs and block RAM are counted.
ESTIMATED = ("lut", "ff")
COUNTED = ("dsp", "bram")
Resources = Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    """Relative errors of predictions, in parts of what was measured: the median, and what 90 % stay below."""

    median: float
    p90: float


@dataclass(frozen=True)
class Correction:
    """What the measured points of a model say about predictions for its other points.

    ``factors`` are those of LUTs and flip-flops; ``spread`` is the error that is left with them, or None where nothing
    was measured; ``before`` the error without.  ``miscounted`` are the numbers of pairs whose DSPs or block RAM differ.
    """

    points: int
    factors: Mapping[str, float]
    spread: Mapping[str, Spread | None]
    before: Mapping[str, Spread | None]
    miscounted: tuple[int, ...]

    def apply(self, predicted: Resources) -> dict[str, Any]:
        """A prediction corrected; ``error`` says what 90 % of such predictions stay within, None where it is not known.

        DSPs and block RAM stay as they are.
        """
        corrected = {kind: round(predicted[kind] * self.factors[kind]) for kind in ESTIMATED}
        counted = {kind: predicted[kind] for kind in COUNTED}
        spreads = self.spread.items()
        return {**corrected, **counted, "error": {kind: spread and spread.p90 for kind, spread in spreads}}

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"miscounted": list(self.miscounted)}


def correction(pairs: Iterable[tuple[Resources, Resources]]) -> Correction:
    """The correction by (predicted, measured) resources of points of one model; without any, nothing is changed."""
    known = list(pairs)
    factors, spread, before = {}, {}, {}
    for kind in ESTIMATED:
        values = [(predicted[kind], measured[kind]) for predicted, measured in known]
        # A ratio needs both; a design without LUTs or flip-flops says nothing about those of others.
        usable = [(predicted, measured) for predicted, measured in values if predicted > 0 and measured > 0]
        factors[kind] = _factor(usable)
        others = [_factor(usable[:place] + usable[place + 1 :]) for place in range(len(usable))]
        spread[kind] = _spread(usable, others)
        before[kind] = _spread(usable, [1.0] * len(usable))
    miscounted = tuple(
        place
        for place, (predicted, measured) in enumerate(known)
        if any(predicted[kind] != measured[kind] for kind in COUNTED)
    )
    return Correction(len(known), factors, spread, before, miscounted)


def of_results(results: Iterable[Mapping[str, Any]]) -> Correction:
    """The correction by what ``measure`` returned; points that failed, or have no prediction, do not count."""
    return correction(
        (result["predicted"], result["measured"])
        for result in results
        if "error" not in result and result["predicted"] is not None
    )


def _factor(values: Sequence[tuple[float, float]]) -> float:
    """The median ratio, which a point that went astray does not move."""
    return statistics.median([measured / predicted for predicted, measured in values]) if values else 1.0


def _spread(values: Sequence[tuple[float, float]], factors: Sequence[float]) -> Spread | None:
    errors = sorted(
        abs(factor * predicted / measured - 1) for factor, (predicted, measured) in zip(factors, values, strict=True)
    )
    if not errors:
        return None
    # The least error that 90 % of the points do not exceed: of few points, the largest.
    return Spread(statistics.median(errors), errors[math.ceil(0.9 * len(errors)) - 1])
