# SPDX-License-Identifier: Apache-2.0
"""How fast the design space is predicted, and how long the scheduler takes: ten seeded networks, three devices.

``python benchmarks/explore.py`` prints a table and writes explore.json beside this file.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import machine
from benchmarks.synthesis.networks import NetworkPoint
from hwgen.devices import device
from hwgen.errors import ConfigError
from hwgen.explore.fit import Target, choose
from hwgen.explore.space import space

SEEDS = range(10)
DEVICES = ("xc7z010", "xc7z020", "xczu3eg")
POINTS = 100_000
RESULTS = Path(__file__).with_suffix(".json")


def measure(seed: int) -> dict[str, Any]:
    """One network: seconds for its tables, points predicted a second behind them, seconds of the scheduler."""
    base = NetworkPoint(seed).schedule()
    begin = time.perf_counter()
    where = space(base)
    tables = time.perf_counter() - begin
    generator = np.random.default_rng(seed)
    rows = tuple(generator.integers(0, len(table), POINTS) for table in where.tables)
    # Maps are looked at when their lanes are first met.
    where.predict(rows)
    begin = time.perf_counter()
    found = where.predict(rows)
    seconds = time.perf_counter() - begin
    budget = int(np.quantile(found.interval, 0.1))
    scheduler = {}
    for name in DEVICES:
        begin = time.perf_counter()
        # That it does not fit is an answer too.
        with contextlib.suppress(ConfigError):
            choose(space(base), Target(device(name), base.options.clock_mhz, interval=budget))
        scheduler[name] = time.perf_counter() - begin
    return {
        "seed": seed,
        "layers": len(where.tables),
        "space": where.size,
        "table_seconds": tables,
        "points_per_second": POINTS / seconds,
        "scheduler_seconds": scheduler,
    }


def main() -> None:
    """Measure, print, write."""
    networks = [measure(seed) for seed in SEEDS]
    table = Table("network", *(Column(name, justify="right") for name in ("layers", "space", "tables, s", "points/s")))
    for name in DEVICES:
        table.add_column(f"{name}, s", justify="right")
    for entry in networks:
        table.add_row(
            str(entry["seed"]),
            str(entry["layers"]),
            f"{entry['space']:.3g}",
            f"{entry['table_seconds']:.2f}",
            f"{entry['points_per_second']:,.0f}",
            *(f"{seconds:.2f}" for seconds in entry["scheduler_seconds"].values()),
        )
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    results = {"machine": machine(), "points": POINTS, "networks": networks}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
