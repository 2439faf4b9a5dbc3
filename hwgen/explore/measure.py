# SPDX-License-Identifier: Apache-2.0
"""Measuring points of an exploration: in parallel, resumable, results in the order of the points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hwgen
from hwgen.errors import ConfigError, ModelError, printable
from hwgen.explore import cluster, point, records
from hwgen.synth import FLOWS

# Points that are done, points in all, what happened.
Progress = Callable[[int, int, str], None]


def measure(
    model: Path,
    points: Sequence[Mapping[str, Any]],
    folder: Path,
    scheduler: str | None = None,
    workers: int = 2,
    flow: str = "xc7",
    progress: Progress = lambda done, total, text: None,
) -> list[dict[str, Any]]:
    """Build, simulate and synthesise designs of a model; the results stand in the order of ``points``.

    A point holds keyword arguments of ``hwgen.schedule`` as plain JSON data.  ``scheduler`` is the address of a Dask
    scheduler; without one ``workers`` processes of this machine do the work, or with 0 this process alone, without
    Dask.  Each result is written to ``folder``/measured as soon as it is there, and is not measured again by later
    calls; a result that is an ``error`` is.  Raises ConfigError for options and a folder that cannot be, ModelError
    if there is no model, ToolError without Dask.
    """
    if flow not in FLOWS:
        raise ConfigError(f"--flow must be one of {', '.join(FLOWS)}, not {printable(flow)}")
    if workers < 0:
        raise ConfigError(f"--workers must be at least 1, or 0 for this process, not {workers}")
    source = _read(model)
    names = [records.key(source, design, flow) for design in points]
    found = {name: result for name in names if (result := records.read(folder, name)) is not None}
    # Of points that are given twice, one is measured.
    missing = {name: design for name, design in zip(names, points, strict=True) if name not in found}
    total = len(set(names))
    progress(len(found), total, f"{len(found)} of {total} points were measured before" if found else "measuring")

    def notice(text: str) -> None:
        progress(len(found), total, text)

    tasks = {name: (source, model.stem, dict(design), flow, hwgen.__version__) for name, design in missing.items()}
    for name, result in _results(tasks, scheduler, workers, notice) if tasks else ():
        found[name] = records.write(folder, name, missing[name], flow, result)
        progress(len(found), total, _told(found[name]))
    return [found[name] for name in names]


def _results(
    tasks: Mapping[str, tuple[Any, ...]], scheduler: str | None, workers: int, notice: Callable[[str], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys with results, as they come in."""
    if scheduler is None and workers == 0:
        return ((name, point.measure_point(*arguments)) for name, arguments in tasks.items())
    return cluster.run(point.measure_point, tasks, scheduler, workers, notice)


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise ModelError(f"{model}: {error.strerror}") from error


def _told(result: Mapping[str, Any]) -> str:
    """One line about a result."""
    if "error" in result:
        return f"failed: {result['error'].splitlines()[0]}"
    took = sum(result["seconds"].values())
    verdict = "" if result["passed"] else ", NOT as predicted"
    return f"{result['measured']['lut']:,} LUT, {result['codes']:,} codes, {took:.0f} s{verdict}"
