# SPDX-License-Identifier: Apache-2.0
"""The design space predicts what designs have, its front is the front, and the scheduler picks from it."""

from __future__ import annotations

import csv
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from recurrent_networks import dense, gru, network, rnn, side_by_side

import hwgen
from hwgen import cost, frontend
from hwgen.cli import main
from hwgen.devices import device
from hwgen.errors import ConfigError
from hwgen.explore import fit, run
from hwgen.explore.fit import Target, choose, shares
from hwgen.explore.front import pareto
from hwgen.explore.space import Space, space
from hwgen.explore.tables import KINDS
from hwgen.rtl_cycles import predict

MODELS = Path(__file__).parent / "models"
EXAMPLE = Path(__file__).parents[1] / "examples" / "japanese_vowels" / "japanese_vowels.onnx"
DEVICES = ("xc7s15", "xc7z020", "xczu3eg")


def stack(*hidden: int, outputs: int = 0, seed: int = 1) -> hwgen.Network:
    """Recurrent layers behind each other, RNN and GRU in turns, and a dense layer."""
    layers: list[Any] = []
    source, inputs = "x", 6
    for number, size in enumerate(hidden):
        kind = (rnn, gru)[(number + seed) % 2]
        layers.append(kind(f"layer{number}", source, inputs, size, seed=seed + number))
        source, inputs = layers[-1].wires[0].name, size
    if outputs:
        layers.append(dense("out", layers[-1].wires[0], outputs, seed))
    return network(layers, [layers[-1].wires[0]])


def both_directions() -> hwgen.Network:
    forward, backward = rnn("forward", seed=1), rnn("backward", seed=2, reverse=True)
    joined = side_by_side("both", forward, backward)
    head = dense("head", joined.wires[0], 5, seed=3)
    return network([forward, backward, joined, head], [head.wires[0]])


def seeded(seed: int) -> hwgen.Network:
    """Ten small networks, half of them one LSTM."""
    choose_ = random.Random(seed)
    if seed % 2:
        names = ("default", "coupled", "mixed_widths", "narrow4", "ternary")
        return frontend.load(MODELS / f"{names[seed // 2]}.onnx")
    layers = [choose_.choice((3, 4, 6)) for _ in range(choose_.choice((1, 2)))]
    return stack(*layers, outputs=choose_.choice((0, 3)) if len(layers) == 1 else 0, seed=seed)


NETWORKS = {
    "one layer": lambda: frontend.load(EXAMPLE),
    "reversed": lambda: frontend.load(MODELS / "reversed.onnx"),
    "stack with a head": lambda: stack(8, 6, outputs=5),
    "both directions": both_directions,
}
LENGTH = 9


def points(where: Space, count: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    return tuple(generator.integers(0, len(table), count) for table in where.tables)


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_those_of_the_designs(name: str) -> None:
    model = NETWORKS[name]()
    options: dict[str, Any] = {"max_length": 32} if "directions" in name or name == "reversed" else {}
    where = space(hwgen.schedule(model, **options))
    rows = points(where, 24)
    found = where.predict(rows, LENGTH)
    for place in range(24):
        folding = where.folding(tuple(int(row[place]) for row in rows))
        design = hwgen.schedule(model, folding=folding, **options)
        whole = cost.predict(design).whole
        for kind in KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), (kind, folding)
        last, longer = (predict(design, [length]).last for length in (LENGTH, LENGTH + 8))
        # One forward layer exactly; of networks the latency is what points are compared by.
        slack = {"one layer": 0.0, "stack with a head": 0.02, "both directions": 0.04}.get(name, 0.15)
        assert abs(int(found.latency[place]) - last) <= slack * last, folding
        if slack < 0.04:
            assert longer - last == 8 * int(found.interval[place])


INTERLEAVED = {
    "LSTM": lambda: frontend.load(MODELS / "default.onnx"),
    "RNN": lambda: stack(8, seed=0),
    "GRU": lambda: stack(8, seed=1),
}


@pytest.mark.parametrize(("kind", "contexts"), [("LSTM", 1), ("LSTM", 3), ("LSTM", 8), ("RNN", 5), ("GRU", 3)])
def test_interleaved_sequences_are_predicted(kind: str, contexts: int) -> None:
    model = INTERLEAVED[kind]()
    where = space(hwgen.schedule(model, interleave=contexts))
    rows = points(where, 12, seed=contexts)
    found = where.predict(rows, LENGTH)
    for place in range(12):
        folding = where.folding((int(rows[0][place]),))
        design = hwgen.schedule(model, folding=folding, interleave=contexts)
        # Latency is that of one sequence that has the layer for itself.
        assert found.latency[place] == predict(design, [LENGTH]).last
        short, long = (predict(design, [steps] * contexts).last for steps in (40, 90))
        assert abs((long - short) / (50 * contexts) - int(found.interval[place])) < 1
        whole = cost.predict(design).whole
        for kind in KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), (kind, folding)


def test_front_is_what_nothing_dominates() -> None:
    print("seed 1")
    generator = np.random.default_rng(1)
    for count, objectives, values in ((1, 3, 9), (200, 2, 1000), (400, 4, 8), (300, 5, 4)):
        values_of = generator.integers(0, values, (count, objectives)).astype(float)
        found = set(pareto(values_of).tolist())
        for place, point in enumerate(values_of):
            beaten = (values_of <= point).all(axis=1) & (values_of < point).any(axis=1)
            first = int(np.flatnonzero((values_of == point).all(axis=1))[0])
            assert (place in found) == (not beaten.any() and place == first)


@pytest.mark.parametrize("seed", range(10))
def test_scheduler_is_on_the_exhaustive_front(seed: int) -> None:
    model = seeded(seed)
    base = hwgen.schedule(model)
    where = space(base)
    assert where.size <= fit.WHOLE
    rows = where.rows(np.arange(where.size, dtype=np.int64))
    everything = where.predict(rows)
    for part in DEVICES:
        fits = (shares(everything.resources, device(part)) <= 1).all(axis=0)
        for interval in (int(np.quantile(everything.interval, 0.02)), int(np.quantile(everything.interval, 0.4))):
            target = Target(device(part), 100.0, interval=interval)
            meets = fits & (everything.interval <= interval)
            if not meets.any():
                with pytest.raises(ConfigError):
                    choose(where, target)
                continue
            found = choose(where, target)
            chosen = np.array([float(getattr(found.predicted.resources, kind)[0]) for kind in KINDS])
            others = np.stack([np.asarray(getattr(everything.resources, kind)) for kind in KINDS])[:, meets]
            better = (others <= chosen[:, np.newaxis]).all(axis=0) & (others < chosen[:, np.newaxis]).any(axis=0)
            assert not better.any(), f"{part}, {interval} cycles: {found.folding}"
            assert int(found.predicted.interval[0]) <= interval


def test_large_spaces_are_searched_to_within_five_per_cent(monkeypatch: pytest.MonkeyPatch) -> None:
    where = space(hwgen.schedule(stack(6, 4, outputs=3)))
    parts = [device(name) for name in ("xc7a35t", "xc7z020", "xczu3eg")]
    everything = where.predict(where.rows(np.arange(where.size, dtype=np.int64)), LENGTH)
    middle = int(np.quantile(everything.interval, 0.2))
    latency = int(np.quantile(everything.latency, 0.2))
    targets = [
        target
        for part in parts
        for target in (
            Target(part, 100.0, interval=middle),
            Target(part, 100.0, latency=latency, length=LENGTH),
            Target(part, 100.0),
            Target(part, 100.0, fastest=True),
        )
    ]
    monkeypatch.setattr(fit, "WHOLE", where.size)
    exact = [choose(where, target) for target in targets]
    monkeypatch.setattr(fit, "WHOLE", 20_000)
    assert where.size > fit.WHOLE * 5
    for target, best in zip(targets, exact, strict=True):
        found = choose(where, target)
        price, least = (float(shares(one.predicted.resources, target.device).sum()) for one in (found, best))
        assert price <= 1.05 * least, target
        if target.fastest:
            assert int(found.predicted.interval[0]) == int(best.predicted.interval[0])


def test_schedule_takes_targets() -> None:
    model = frontend.load(EXAMPLE)
    rate = hwgen.schedule(model, steps_per_second=1e6)
    assert predict(rate, [50]).last - predict(rate, [49]).last <= 100
    quick = hwgen.schedule(model, latency_us=20, length=20)
    assert predict(quick, [20]).last <= 2000
    fastest, smallest = (hwgen.schedule(model, fit=fit_) for fit_ in fit.FITS[::-1])
    dsp = [cost.predict(design).whole.dsp for design in (smallest, quick, fastest)]
    assert dsp == sorted(dsp) and dsp[-1] <= 220
    small = hwgen.schedule(model, fit="fastest", target="xc7s15")
    assert cost.predict(small).whole.dsp <= 20
    more = hwgen.schedule(model, steps_per_second=5e6, interleave=4, target="xcku115")
    assert more.options.interleave == 4 and more.step_cycles <= 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"steps_per_second": 2e7},
            "--steps-per-second 2e[+]07 at 100 MHz leaves 5 cycles a step; .* at least 1[0-9]",
        ),
        ({"steps_per_second": 3e6}, "no folding that meets the target fits xc7z020: DSPs bind, [0-9]+ of 220"),
        ({"latency_us": 1, "length": 20}, "100 cycles at 100 MHz are not enough for 20 steps, which take at least"),
        ({"steps_per_second": 3e8}, "leaves 0 cycles a step"),
        ({"steps_per_second": 0}, "--steps-per-second must be positive, not 0"),
        ({"latency_us": float("nan")}, "--latency-us must be positive, not nan"),
        ({"fit": "best"}, "--fit must be smallest or fastest, not 'best'"),
        ({"fit": "fastest", "length": 0}, "--length must be at least 1 step, not 0"),
        (
            {"fit": "fastest", "folding": {"input": {"pe": 1, "simd": 1}, "hidden": {"pe": 1, "simd": 1}}},
            "--folding and --fit exclude each other",
        ),
        ({"interleave": 0}, "--interleave must be from 1 to 64 sequences, not 0"),
    ],
)
def test_targets_that_cannot_be_met_say_what_limits_them(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hwgen.schedule(frontend.load(EXAMPLE), **options)


def test_exploration_is_exhaustive_where_it_can_be() -> None:
    model = frontend.load(MODELS / "default.onnx")
    found = run.explore({"default": model}, length=LENGTH, interleave=(1, 4), steps_per_second=5e5)
    everything = []
    for contexts in (1, 4):
        where = space(hwgen.schedule(model, interleave=contexts))
        whole = where.predict(where.rows(np.arange(where.size, dtype=np.int64)), LENGTH)
        everything.append(run._objectives(whole))
    objectives = np.concatenate(everything)
    best = {tuple(row) for row in objectives[pareto(objectives)].tolist()}
    assert {tuple(map(float, point.objectives)) for point in found.front if not point.chosen} <= best
    assert best <= {tuple(map(float, point.objectives)) for point in found.front}
    (chosen,) = (point for point in found.front if point.chosen)
    assert chosen.fits and chosen.cycles <= 200


def test_large_spaces_are_combined_from_fronts(monkeypatch: pytest.MonkeyPatch) -> None:
    where = space(hwgen.schedule(stack(4, 4, outputs=3)))
    exact = run._objectives(run.front_of(where, LENGTH)[1])
    monkeypatch.setattr(run, "WHOLE", 0)
    rows, found, _ = run.front_of(where, LENGTH)
    close = run._objectives(found)
    assert all(len(row) == len(close) for row in rows)
    # Every point of the exact front has one nearby that is at most 5 % worse in each objective.
    for point in exact:
        assert (close <= point * 1.05 + 1).all(axis=1).any(), point


def test_command_writes_the_front(tmp_path: Path) -> None:
    arguments = ["explore", str(EXAMPLE), str(MODELS / "default.onnx"), "-o", str(tmp_path / "space"), "--length", "20"]
    arguments += ["--fit", "fastest", "--interleave", "1,2"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert "on the Pareto front" in " ".join(shown.output.split())
    files = {name: (tmp_path / "space" / name).read_bytes() for name in ("pareto.csv", "explore.json", "pareto.html")}
    data = json.loads(files["explore.json"])
    rows = list(csv.DictReader(files["pareto.csv"].decode().splitlines()))
    assert len(rows) == len(data["points"]) > 20
    assert {row["model"] for row in rows} == {"japanese_vowels", "default"}
    assert sum(point["chosen"] for point in data["points"]) == 1
    for row, point in itertools.islice(zip(rows, data["points"], strict=True), 10):
        assert json.loads(row["folding"]) == point["folding"]
        assert row["measured_lut"] == ""
        assert int(row["cycles"]) == point["cycles"]
    again = CliRunner().invoke(main, [*arguments, "--json"])
    assert json.loads(again.stdout) == data
    assert {name: (tmp_path / "space" / name).read_bytes() for name in files} == files
    # The folding of the marked point is there to be built, as long as a point is marked.
    (chosen,) = (point for point in data["points"] if point["chosen"])
    path = MODELS / "default.onnx" if chosen["model"] == "default" else EXAMPLE
    built = ["build", str(path), "-o", str(tmp_path / "project"), "--folding", str(tmp_path / "space" / "folding.json")]
    built += ["--interleave", str(chosen["interleave"]), "--backend", "rtl", "--json"]
    project = CliRunner().invoke(main, built)
    assert project.exit_code == 0, project.output
    assert json.loads(project.stdout)["folding"] == chosen["folding"]
    shown = CliRunner().invoke(main, arguments[: arguments.index("--fit")])
    assert shown.exit_code == 0 and not (tmp_path / "space" / "folding.json").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--interleave", "1,x"], "--interleave must be numbers such as 1,2,4, not '1,x'"),
        (["--target", "xc2"], "--target must be"),
        (["--steps-per-second", "9e7"], "leaves 1 cycles a step"),
        ([str(EXAMPLE)], "a model called 'japanese_vowels' is there already"),
    ],
)
def test_command_refuses(more: list[str], said: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["explore", str(EXAMPLE), "-o", str(tmp_path / "space"), *more])
    assert shown.exit_code == 1
    assert said in " ".join(shown.output.split())
    assert not (tmp_path / "space").exists()


def test_points_of_a_front_are_designs() -> None:
    # A point goes through schedule and has the cycles that stand beside it.
    model = frontend.load(MODELS / "default.onnx")
    found = run.explore({"default": model}, length=LENGTH)
    for point in found.front[:: max(1, len(found.front) // 6)]:
        design = hwgen.schedule(model, folding=dict(point.folding))
        assert predict(design, [LENGTH]).last == point.latency_cycles
        assert replace(point, chosen=True).to_dict()["lut"] == round(cost.predict(design).whole.lut)


def test_measured_points_stand_beside_predicted_ones(tmp_path: Path) -> None:
    # The real thing, in this process: Verilator and Yosys on one point; the second time nothing is left to do.
    model = Path(__file__).parents[1] / "benchmarks" / "synthesis" / "models" / "two_bits_4_6.onnx"
    arguments = ["explore", str(model), "-o", str(tmp_path), "--fit", "smallest", "--measure", "1", "--workers", "0"]
    shown = CliRunner().invoke(main, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    data = json.loads(shown.stdout)
    (point,) = (point for point in data["points"] if point["measured"])
    assert point["chosen"] and point["measured"]["passed"] and point["measured"]["mismatches"] == 0
    assert point["measured"]["cycles"]["predicted"] == point["measured"]["cycles"]["simulated"]
    assert {kind: point["measured"]["measured"][kind] for kind in ("dsp", "bram")} == {
        kind: point[kind] for kind in ("dsp", "bram")
    }
    assert data["corrections"]["two_bits_4_6"]["miscounted"] == []
    (row,) = (row for row in csv.DictReader((tmp_path / "pareto.csv").open()) if row["measured_lut"])
    assert int(row["measured_lut"]) == point["measured"]["measured"]["lut"]
    (record,) = (tmp_path / "measured").iterdir()
    before = record.stat().st_mtime_ns
    again = CliRunner().invoke(main, [*arguments, "--json"])
    assert json.loads(again.stdout) == data
    assert record.stat().st_mtime_ns == before


def test_accuracy_is_an_objective(tmp_path: Path) -> None:
    network = frontend.load(EXAMPLE)
    x = np.random.default_rng(1).normal(size=(29, 1, 12)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    first = next(iter(network.run({network.inputs[0].name: x}).values()))
    wrong = first.argmax(axis=-1)
    np.save(tmp_path / "y.npy", wrong)
    assert run.accuracy_of(network, [str(tmp_path / "x.npy")], tmp_path / "y.npy") == 1.0
    wrong[:3] += 1
    np.save(tmp_path / "y.npy", wrong)
    share = run.accuracy_of(network, [str(tmp_path / "x.npy")], tmp_path / "y.npy")
    assert share == 26 / 29
    # Of two models that cost the same the one with better answers stays.
    found = run.explore({"good": network, "bad": network}, accuracy={"good": 0.9, "bad": share - 0.1})
    assert {point.model for point in found.front} == {"good"}
    assert {point.accuracy for point in found.front} == {0.9}
    np.save(tmp_path / "few.npy", wrong[:5])
    with pytest.raises(ConfigError, match="5 labels, but the model gives 29 answers"):
        run.accuracy_of(network, [str(tmp_path / "x.npy")], tmp_path / "few.npy")
    with pytest.raises(ConfigError, match="--data and --labels need each other"):
        run.accuracies({"one": network}, [], tmp_path / "y.npy")
