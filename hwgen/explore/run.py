# SPDX-License-Identifier: Apache-2.0
"""``hwgen explore``: predict the space of one or several models, and keep the Pareto front."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import frontend, host, planning
from hwgen.cost import Resources
from hwgen.dataflow import Design
from hwgen.devices import Device, device
from hwgen.errors import ConfigError, printable
from hwgen.explore.correction import Correction, of_results
from hwgen.explore.fit import Target, choose, limits, shares
from hwgen.explore.front import Objectives, pareto
from hwgen.explore.measure import measure
from hwgen.explore.page import render
from hwgen.explore.space import Predicted, Rows, Space, space
from hwgen.explore.tables import KINDS, Table
from hwgen.host import write_file
from hwgen.lowering import lower
from hwgen.network import Network
from hwgen.packing import Asked, check_asked

# Spaces of so many points are predicted whole; of larger ones fronts of parts are combined.
WHOLE = 2_000_000
_CHUNK = 1 << 16
# Points that a front of some nodes keeps before the next node joins.
_KEPT = 500
_PREDICTED = ("interleave", "cycles", "latency_cycles", "steps_per_second", *KINDS)
COLUMNS = ("model", "accuracy", "sqnr_db", *_PREDICTED, "fits", "chosen")
# What hwgen build --folding takes.
FOLDING = "folding.json"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """A design point: what it is, and what is predicted of it.

    ``cycles`` lie between time steps, ``latency_cycles`` between the first input beat and the last output beat of a
    sequence; ``fits`` is about the device.
    """

    model: str
    interleave: int
    folding: Mapping[str, Any]
    cycles: int
    latency_cycles: int
    steps_per_second: float
    lut: float
    ff: float
    dsp: float
    bram: float
    fits: bool
    chosen: bool = False
    # Share of right answers of its model, and its signal-to-quantization-noise ratio, where there is data to tell.
    accuracy: float | None = None
    sqnr_db: float | None = None

    @property
    def objectives(self) -> tuple[float, ...]:
        """What the front is about, the less the better."""
        quality = self.sqnr_db if self.accuracy is None else self.accuracy
        known = () if quality is None else (-quality,)
        return self.cycles, self.latency_cycles, round(self.lut), self.dsp, self.bram, *known

    def to_dict(self) -> dict[str, Any]:
        """As it stands in explore.json and pareto.csv."""
        found = {name: getattr(self, name) for name in COLUMNS}
        return found | {"lut": round(self.lut), "ff": round(self.ff), "folding": dict(self.folding)}


@dataclass(frozen=True)
class Exploration:
    """What was found: the front of all models, in the order of their cycles, and how much was looked at."""

    front: tuple[Point, ...]
    size: int
    predicted: int
    seconds: float
    meta: Mapping[str, Any]


def explore(
    networks: Mapping[str, Network],
    target: str = "xc7z020",
    clock_mhz: float = 100.0,
    length: int = 1,
    interleave: Sequence[int] = (1,),
    steps_per_second: float | None = None,
    latency_us: float | None = None,
    fit: str | None = None,
    products_per_dsp: Asked = 1,
    accuracy: Mapping[str, float] | None = None,
    sqnr_db: Mapping[str, float] | None = None,
    least_accuracy: float | None = None,
    progress: Progress = lambda message: None,
    **options: Any,
) -> Exploration:
    """Predict every legal folding of each network, and keep the Pareto front over cycles, latency, LUT, DSP, block RAM.

    ``networks`` go by the name that points have, ``interleave`` are numbers of sequences to try; latency is that of a
    sequence of ``length`` steps.  ``products_per_dsp`` is that of ``hwgen.schedule``: ``auto`` makes it an axis of each
    product.  With a target (``hwgen.schedule`` says which) the point that the scheduler would take is marked as chosen,
    of the networks with ``least_accuracy`` if that is given.  ``accuracy`` of each network is one more objective, or
    without it ``sqnr_db``.  Raises ConfigError for options that make no sense, or a target that nothing meets.
    """
    part, shared = device(target), check_asked(products_per_dsp)
    goal = Target.of(part, float(clock_mhz), steps_per_second, latency_us, length, fit or "smallest")
    good = _good_enough(networks, accuracy or {}, least_accuracy)
    wanted = any(value is not None for value in (steps_per_second, latency_us, fit, least_accuracy))
    begin = time.perf_counter()
    points, chosen, size, predicted = list[Point](), list[Point](), 0, 0
    refused: ConfigError | None = None
    for name, network in networks.items():
        for contexts in interleave:
            progress(f"{name}: tables of all foldings")
            base = planning.schedule(network, target, clock_mhz, interleave=contexts, final=False, **options)
            found = space(base, part.flow, shared)
            size += found.size
            progress(f"{name}: {found.size:,} design points")
            rows, kept, count = front_of(found, length)
            predicted += count
            points += _points(name, base, found, rows, kept, part)
            if wanted and name in good:
                try:
                    best = choose(found, goal)
                except ConfigError as error:
                    refused = error
                else:
                    picked = tuple(np.array([row]) for row in best.rows)
                    chosen += _points(name, base, found, picked, found.predict(picked, length), part)
    if wanted and not chosen and refused is not None:
        raise refused
    right, ratio = accuracy or {}, sqnr_db or {}

    def known(point: Point) -> Point:
        return replace(point, accuracy=right.get(point.model), sqnr_db=ratio.get(point.model))

    points, chosen = [known(point) for point in points], [known(point) for point in chosen]
    front = [points[place] for place in pareto(np.array([point.objectives for point in points])).tolist()]
    if chosen:
        best_of_all = min(chosen, key=lambda point: _rank(point, part, goal))
        front = [point for point in front if point.to_dict() != best_of_all.to_dict()]
        front.append(replace(best_of_all, chosen=True))
    front.sort(key=lambda point: (*point.objectives, point.model))
    meta = {
        "models": list(networks),
        "target": part.name,
        "part": part.part,
        "limits": limits(part),
        "clock_mhz": float(clock_mhz),
        "length": length,
    }
    if right or ratio:
        meta["quality"] = {name: {"accuracy": right.get(name), "sqnr_db": ratio.get(name)} for name in networks}
    if options.get("share_engine"):
        meta["share_engine"] = options["share_engine"]
    if options.get("split_dense"):
        meta["split_dense"] = True
    return Exploration(tuple(front), size, predicted, time.perf_counter() - begin, meta)


def _good_enough(
    networks: Mapping[str, Network], accuracy: Mapping[str, float], least: float | None
) -> Collection[str]:
    """Names of the networks with so many right answers; raises ConfigError if there are none."""
    if least is None:
        return networks
    if not accuracy:
        raise ConfigError("--least-accuracy needs --data and --labels: accuracy is the share of right answers")
    good = [name for name in networks if accuracy[name] >= least]
    if not good:
        best = max(accuracy, key=accuracy.__getitem__)
        raise ConfigError(f"--least-accuracy {least:g}: {printable(best)}, the best model, has {accuracy[best]:.4g}")
    return good


def _rank(point: Point, part: Device, goal: Target) -> tuple[float, float]:
    """What the best of several models' points has least of: cycles where the fastest is wanted, shares of the part."""
    cycles = 0
    if goal.fastest:
        cycles = point.cycles if goal.latency is None else point.latency_cycles
    return cycles, sum(getattr(point, kind) / has for kind, has in limits(part).items())


def _points(name: str, base: Design, where: Space, rows: Rows, found: Predicted, part: Device) -> Iterator[Point]:
    fits = np.all(shares(found.resources, part) <= 1, axis=0).tolist()
    clock = base.options.clock_mhz
    for place in range(len(found)):
        cycles = int(found.interval[place])
        yield Point(
            name,
            base.options.interleave,
            where.folding(tuple(int(row[place]) for row in rows)),
            cycles,
            int(found.latency[place]),
            clock * 1e6 / cycles,
            lut=float(found.resources.lut[place]),
            ff=float(found.resources.ff[place]),
            dsp=float(found.resources.dsp[place]),
            bram=float(found.resources.bram[place]),
            fits=fits[place],
        )


def _objectives(found: Predicted) -> Objectives:
    resources = found.resources
    return np.stack(
        [found.interval, found.latency, np.round(resources.lut), resources.dsp, resources.bram], axis=1
    ).astype(np.float64)


def front_of(where: Space, length: int) -> tuple[Rows, Predicted, int]:
    """The Pareto front of a space: a row of each table, their prediction, and how many points were predicted.

    Exact for spaces of up to ``WHOLE`` points.  Of larger ones the fronts of some nodes together are kept as they are
    joined by the next, without what stands between them, which is little; if they are too many, evenly.
    """
    if where.size <= WHOLE:
        kept = np.empty(0, np.int64)
        for begin in range(0, where.size, _CHUNK):
            numbers = np.arange(begin, min(begin + _CHUNK, where.size), dtype=np.int64)
            numbers = np.concatenate([kept, numbers])
            kept = numbers[pareto(_objectives(where.predict(where.rows(numbers), length)))]
        rows, count = where.rows(kept), where.size
    else:
        rows, count = _combined(where)
        found = where.predict(rows, length)
        places = pareto(_objectives(found))
        rows, count = tuple(row[places] for row in rows), count + len(found)
    return rows, where.predict(rows, length), count


def _combined(where: Space) -> tuple[Rows, int]:
    rows: Rows = ()
    sums = np.zeros((1, 5))
    count = 0
    for table in where.tables:
        own = _alone(table)
        best = pareto(own)
        # Every point so far with every row of the front of this table.
        first, second = np.repeat(np.arange(len(sums)), len(best)), np.tile(best, len(sums))
        joined = sums[first] + own[second]
        joined[:, 0] = np.maximum(sums[first, 0], own[second, 0])
        count += len(joined)
        places = _thinned(joined, pareto(joined))
        rows = (*(row[first[places]] for row in rows), second[places])
        sums = joined[places]
    return rows, count


def _alone(table: Table) -> Objectives:
    resources: Resources = table.resources
    return np.stack([table.interval, table.last, resources.lut, resources.dsp, resources.bram], axis=1).astype(float)


def _thinned(points: Objectives, front: Any) -> Any:
    if len(front) <= _KEPT:
        return front
    order = front[np.lexsort(points[front].T[::-1])]
    return np.sort(order[np.linspace(0, len(order) - 1, _KEPT).round().astype(int)])


@dataclass(frozen=True)
class Measured:
    """Results of points of a front by their places, and what they say about predictions of each model."""

    results: Mapping[int, Mapping[str, Any]]
    corrections: Mapping[str, Correction]

    @property
    def margins(self) -> dict[str, dict[str, float | None]]:
        """What 90 % of the predictions of a model stay within, by kind."""
        return {
            name: {kind: spread.p90 if spread else None for kind, spread in known.before.items()}
            for name, known in self.corrections.items()
        }


def measure_front(
    found: Exploration,
    models: Mapping[str, Path],
    folder: Path,
    count: int,
    scheduler: str | None = None,
    workers: int = 2,
    progress: Progress = lambda message: None,
    **options: Any,
) -> Measured:
    """Build, simulate and synthesise ``count`` points of the front that fit, the chosen one among them.

    ``models`` are the files by the names of the points.  What was measured before is read from ``folder``; ``measure``
    says how.  Raises ConfigError if there is nothing to measure.
    """
    if count < 1:
        raise ConfigError(f"--measure must be at least 1 point, not {count}")
    fitting = [place for place, point in enumerate(found.front) if point.fits]
    if not fitting:
        raise ConfigError(f"--measure: no point of the front fits {found.meta['target']}; take a larger --target")
    spread = np.linspace(0, len(fitting) - 1, min(count, len(fitting))).round().astype(int)
    chosen = [place for place in fitting if found.front[place].chosen]
    places = [*chosen, *(place for place in np.array(fitting)[spread].tolist() if place not in chosen)][:count]
    given = {name: value for name, value in options.items() if value is not None}
    results: dict[int, Mapping[str, Any]] = {}
    corrections: dict[str, Correction] = {}
    for name, path in models.items():
        own = [place for place in places if found.front[place].model == name]
        if not own:
            continue
        designs = [_design(found.front[place], found.meta, given) for place in own]

        def notice(done: int, total: int, text: str, name: str = name) -> None:
            progress(f"{name}: {done} of {total} measured; {text}")

        measured = measure(path, designs, folder, scheduler, workers, device(found.meta["target"]).flow, notice)
        results |= dict(zip(own, measured, strict=True))
        corrections[name] = of_results(measured)
    return Measured(results, corrections)


def _design(point: Point, meta: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``hwgen.schedule`` for a point."""
    shared = {"interleave": point.interleave} if point.interleave > 1 else {}
    return {
        "folding": dict(point.folding),
        "target": meta["part"],
        "clock_mhz": meta["clock_mhz"],
        **shared,
        **options,
    }


def _page(found: Exploration, rows: list[dict[str, Any]], measured: Measured | None) -> str:
    models = list(found.meta["models"])
    title = ", ".join(models) if len(models) < 4 else f"{models[0]} and {len(models) - 1} other models"
    facts: dict[str, Any] = {"model": title, "points": found.predicted, "seconds": None}
    if measured and len(measured.corrections) == 1:
        facts["correction"] = next(iter(measured.corrections.values())).to_dict()
    return render(rows, {**found.meta, **facts})


def _write(path: Path, data: bytes) -> None:
    write_file(path, lambda file: file.write(data))


def write(found: Exploration, folder: Path, measured: Measured | None = None) -> dict[str, Path]:
    """Write pareto.csv, explore.json, pareto.html and, of a chosen point, folding.json; returns the files by name."""
    results = measured.results if measured else {}
    margins = measured.margins if measured else {}
    rows = [
        point.to_dict() | {"measured": results.get(place), "error": margins.get(point.model)}
        for place, point in enumerate(found.front)
    ]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, *(f"measured_{kind}" for kind in KINDS), "folding"])
    for row in rows:
        seen = (row["measured"] or {}).get("measured") or {}
        table.writerow(
            [*(row[name] for name in COLUMNS), *(seen.get(kind) for kind in KINDS), json.dumps(row["folding"])]
        )
    corrections = {name: known.to_dict() for name, known in measured.corrections.items()} if measured else {}
    data = {**found.meta, "space": found.size, "predicted": found.predicted, "corrections": corrections, "points": rows}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"-o {folder}: cannot be written ({error.strerror})") from error
    files = {
        "pareto.csv": text.getvalue(),
        "explore.json": json.dumps(data, indent=2) + "\n",
        "pareto.html": _page(found, rows, measured),
    }
    chosen = next((point for point in found.front if point.chosen), None)
    if chosen is None:
        # That of an exploration before is not the choice of this one.
        (folder / FOLDING).unlink(missing_ok=True)
    else:
        files[FOLDING] = json.dumps(dict(chosen.folding), indent=2) + "\n"
    for name, content in files.items():
        _write(folder / name, content.encode())
    return {name: folder / name for name in files}


def parse_interleave(text: str) -> tuple[int, ...]:
    """Numbers of sequences from the command line; raises ConfigError for anything else."""
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ConfigError(f"--interleave must be numbers such as 1,2,4, not {printable(text)}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def load_all(models: Sequence[Path]) -> dict[str, Network]:
    """Networks by the names of their files without endings; raises ConfigError if two have the same."""
    networks: dict[str, Network] = {}
    for path in models:
        if path.stem in networks:
            raise ConfigError(
                f"{path}: a model called {printable(path.stem)} is there already; rename one of the files"
            )
        networks[path.stem] = frontend.load(path)
    return networks


def accuracies(networks: Mapping[str, Network], data: Sequence[str], labels: Path | None) -> dict[str, float] | None:
    """``accuracy_of`` every network, if there is data; raises ConfigError where one of the two is missing."""
    if not data and labels is None:
        return None
    if not data or labels is None:
        raise ConfigError("--data and --labels need each other: accuracy is the share of right answers")
    return {name: accuracy_of(network, data, labels) for name, network in networks.items()}


def accuracy_of(network: Network, data: Sequence[str], labels: Path) -> float:
    """The share of right answers of a model: ``data`` are its inputs as ``hwgen run`` takes them, ``labels`` integers.

    An answer is the greatest of the last axis of the first output, or that output itself where it is an index.  Raises
    ConfigError where answers and labels are not as many.
    """
    (wanted,) = host.read_arrays(network, [str(labels)], "--labels").values()
    first = next(iter(host.run(network, lower(network), host.read_arrays(network, data, "--data")).values()))
    answers = first if first.size == wanted.size else first.argmax(axis=-1)
    if answers.size != wanted.size:
        raise ConfigError(
            f"--labels {labels}: {wanted.size:,} labels, but the model gives {answers.size:,} answers on --data"
        )
    return float((answers.ravel() == wanted.ravel()).mean())
