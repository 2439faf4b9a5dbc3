# SPDX-License-Identifier: Apache-2.0
"""The automatic scheduler: the folding that meets a target with the least resources, or why there is none.

Resources of different kinds are added up as shares of what the device has.  Such a sum grows with each of them, so what
is chosen lies on the Pareto front of all that meets the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwgen.cost import Resources
from hwgen.devices import Device
from hwgen.errors import ConfigError
from hwgen.explore.space import Predicted, Rows, Space
from hwgen.explore.tables import KINDS, Table
from hwgen.quantizer import IntArray

FITS = ("smallest", "fastest")
# Spaces of so many points are searched whole; of larger ones the most promising rows of each table.
WHOLE = 100_000
_NAMES = {"lut": "LUTs", "ff": "flip-flops", "dsp": "DSPs", "bram": "block RAMs"}

Floats = NDArray[np.float64]


def limits(device: Device) -> dict[str, float]:
    """What a device has of each kind."""
    return {"lut": device.lut, "ff": device.ff, "dsp": device.dsp, "bram": device.bram36}


def shares(resources: Resources, device: Device) -> Floats:
    """Resources as shares of a device, [kinds, points]."""
    has = limits(device)
    return np.stack([np.asarray(getattr(resources, kind), float) / has[kind] for kind in KINDS])


@dataclass(frozen=True)
class Target:
    """What a design has to keep to: cycles between time steps, cycles of a sequence of ``length`` steps, a device."""

    device: Device
    clock_mhz: float
    interval: int | None = None
    latency: int | None = None
    length: int = 1
    fastest: bool = False
    # The option that the interval follows from, as the user gave it.
    rate: str = "the target"

    @staticmethod
    def of(
        device: Device,
        clock_mhz: float,
        steps_per_second: float | None = None,
        latency_us: float | None = None,
        length: int = 1,
        fit: str = "smallest",
    ) -> Target:
        """A target in the user's units; raises ConfigError for what makes no sense."""
        if fit not in FITS:
            raise ConfigError(f"--fit must be {' or '.join(FITS)}, not {fit!r}")
        if length < 1:
            raise ConfigError(f"--length must be at least 1 step, not {length}")
        for option, value in (("--steps-per-second", steps_per_second), ("--latency-us", latency_us)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{option} must be positive, not {value:g}")
        interval = None if steps_per_second is None else math.floor(clock_mhz * 1e6 / steps_per_second)
        latency = None if latency_us is None else math.floor(clock_mhz * latency_us)
        rate = "" if steps_per_second is None else f"--steps-per-second {steps_per_second:g}"
        return Target(device, clock_mhz, interval, latency, length, fit == "fastest", rate)


@dataclass(frozen=True)
class Found:
    """The chosen point of a space: a row of each table, and its prediction."""

    space: Space
    rows: tuple[int, ...]
    predicted: Predicted

    @property
    def folding(self) -> dict[str, Any]:
        """Its folding file."""
        return self.space.folding(self.rows)


def choose(space: Space, target: Target) -> Found:
    """The best point for a target.

    Smallest: the least resources that keep to it.  Fastest: the least interval (where a latency is asked for, the least
    latency) that fits the device, and of equals the least resources.  Raises ConfigError that says what limits it.
    """
    found = _search(space, target)
    if target.fastest and target.latency is None and space.size > WHOLE:
        # A large space was searched by speed: now by resources, at the speed that was found.
        interval = int(found.predicted.interval[0])
        found = _search(space, replace(target, fastest=False, interval=interval))
    return found


def _search(space: Space, target: Target) -> Found:
    search = _Search(space, target)
    rows = search.candidates()
    predicted = space.predict(rows, target.length)
    place = search.best(predicted)
    return Found(space, tuple(int(row[place]) for row in rows), predicted.at(np.array([place])))


@dataclass(frozen=True)
class _Search:
    space: Space
    target: Target

    def best(self, predicted: Predicted) -> int:
        """The place of the best of some points."""
        target, device = self.target, self.target.device
        keeps = np.ones(len(predicted), bool)
        if target.interval is not None:
            keeps &= predicted.interval <= target.interval
        if not keeps.any():
            raise ConfigError(self._too_slow())
        if target.latency is not None:
            in_time = keeps & (predicted.latency <= target.latency)
            if not in_time.any():
                least = int(predicted.latency[keeps].min())
                raise ConfigError(
                    f"--latency-us: {target.latency} cycles at {target.clock_mhz:g} MHz are not enough for "
                    f"{target.length} steps, which take at least {least} ({least / target.clock_mhz:.3g} us)"
                )
            keeps = in_time
        used = shares(predicted.resources, device)
        fits = keeps & (used <= 1).all(axis=0)
        if not fits.any():
            raise ConfigError(self._too_large(predicted, used, keeps))
        order = [used.sum(axis=0)]
        if target.fastest:
            order += [predicted.latency, predicted.interval]
        if target.fastest and target.latency is not None:
            order = [used.sum(axis=0), predicted.interval, predicted.latency]
        places = np.flatnonzero(fits)
        # Keys from the least to the most important.
        return int(places[np.lexsort([np.asarray(key)[places] for key in order])[0]])

    def candidates(self) -> Rows:
        """Points among which the best is: all of a small space."""
        if self.space.size <= WHOLE:
            return self.space.rows(np.arange(self.space.size, dtype=np.int64))
        share = int(WHOLE ** (1 / len(self.space.tables)))
        chosen = [self._promising(table, max(share, 3)) for table in self.space.tables]
        grid = np.meshgrid(*chosen, indexing="ij")
        return tuple(axis.ravel() for axis in grid)

    def _promising(self, table: Table, count: int) -> IntArray:
        """Rows that keep to the interval, or are close to what is the best without it: the cheapest of each speed."""
        price = self._prices[table.name]
        rows = np.arange(len(table))
        target = self.target
        budget = target.interval
        if budget is None and not target.fastest and target.latency is None:
            return rows[np.argsort(price, kind="stable")[:count]]
        if budget is not None and target.latency is None and not target.fastest:
            rows = rows[table.interval[rows] <= budget]
            return rows[np.argsort(price[rows], kind="stable")[:count]]
        # A staircase: of each interval the cheapest that is not beaten by a faster one.
        order = np.lexsort([price, table.last, table.interval])
        stairs, least = [], np.inf
        for row in order.tolist():
            if price[row] < least:
                least = price[row]
                stairs.append(row)
        if budget is not None:
            stairs = [row for row in stairs if table.interval[row] <= budget]
        picked = np.unique(np.linspace(0, len(stairs) - 1, min(count, len(stairs))).round().astype(int))
        return np.array([stairs[place] for place in picked.tolist()], np.int64)

    @cached_property
    def _prices(self) -> dict[str, Floats]:
        device = self.target.device
        return {table.name: shares(table.resources, device).sum(axis=0) for table in self.space.tables}

    def _too_slow(self) -> str:
        slowest = max(self.space.tables, key=lambda table: int(table.interval.min()))
        least, budget = int(slowest.interval.min()), self.target.interval
        where = f" of {slowest.name}" if len(self.space.tables) > 1 else ""
        contexts = self.space.base.options.interleave
        more = "a faster clock" if contexts > 1 or least == 1 else "a faster clock, or --interleave"
        return (
            f"{self.target.rate} at {self.target.clock_mhz:g} MHz leaves {budget} cycles a step; the recurrence{where} "
            f"needs at least {least}, fully unrolled: at most {self.target.clock_mhz * 1e6 / least:.0f} steps a second "
            f"({more})"
        )

    def _too_large(self, predicted: Predicted, used: Floats, keeps: NDArray[np.bool_]) -> str:
        places = np.flatnonzero(keeps)
        place = int(places[used[:, places].max(axis=0).argmin()])
        worst = int(used[:, place].argmax())
        kind, device = KINDS[worst], self.target.device
        needed = float(np.asarray(getattr(predicted.resources, kind))[place])
        return (
            f"no folding that meets the target fits {device.name}: {_NAMES[kind]} bind, {needed:,.0f} of "
            f"{limits(device)[kind]:,} at the least; take a larger --target, or ask for less"
        )
