# SPDX-License-Identifier: Apache-2.0
"""The Pareto front: points that nothing beats in one objective without losing in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Objectives = NDArray[np.float64]


def pareto(points: Objectives) -> NDArray[np.int64]:
    """Rows of ``points`` [points, objectives], all of them the less the better, that no other row dominates.

    Of equal rows the first stays.  Rows come back in their order.
    """
    # Equal rows once; then by the sum, so that what dominates comes before what it dominates.
    unique, places = np.unique(points, axis=0, return_index=True)
    spread = np.ptp(unique, axis=0)
    scaled = (unique - unique.min(axis=0)) / np.where(spread > 0, spread, 1)
    order = np.argsort(scaled.sum(axis=1), kind="stable")
    rest, indices = unique[order], places[order]
    kept: list[int] = []
    while len(rest):
        kept.append(int(indices[0]))
        beaten = (rest >= rest[0]).all(axis=1)
        rest, indices = rest[~beaten], indices[~beaten]
    return np.sort(np.array(kept, np.int64))
