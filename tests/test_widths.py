# SPDX-License-Identifier: Apache-2.0
"""hwgen explore --calibration: bit widths as an axis of the front, on a float classifier of handwritten digits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx
from click.testing import CliRunner
from option_sets import quiet
from test_calibrate import FEATURES, weight_only

import hwgen
from hwgen.cli import main
from hwgen.errors import ConfigError
from hwgen.explore import run
from hwgen.explore.page import render
from hwgen.explore.widths import Request

CLASSIFIERS = Path(__file__).parents[1] / "examples" / "classifiers"
MODEL = CLASSIFIERS / "digits_rnn_float.onnx"
NAMES = ["digits_rnn_float-w3a4", "digits_rnn_float-w3a8", "digits_rnn_float-w8a4", "digits_rnn_float-w8a8"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences to calibrate with, others to ask, and their labels: cal.npy, x.npy, y.npy."""
    folder, data = tmp_path_factory.mktemp("digits"), np.load(CLASSIFIERS / "digits.npz")
    x = data["x"].reshape(-1, 8, 8).transpose(1, 0, 2)
    np.save(folder / "cal.npy", x[:, :200])
    np.save(folder / "x.npy", x[:, 200:500])
    np.save(folder / "y.npy", data["labels"][200:500])
    return folder


def explore(digits: Path, out: Path, *more: str) -> tuple[int, str]:
    arguments = ["explore", str(MODEL), "-o", str(out), "--calibration", str(digits / "cal.npy"), "--json", *more]
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.stdout if result.exit_code == 0 else result.output


def test_accuracy_against_cost(digits: Path, tmp_path: Path) -> None:
    answers = ["--data", str(digits / "x.npy"), "--labels", str(digits / "y.npy")]
    widths = ["--bits", "4,8", "--weight-bits", "3,8"]
    code, shown = explore(digits, tmp_path, *widths, *answers, "--least-accuracy", "0.91", "--fit", "smallest")
    assert code == 0, shown
    data = json.loads(shown)
    assert data["models"] == NAMES
    quality = data["quality"]
    # As many right answers as numpy counts of what hwgen run gives.
    for name in NAMES:
        (tmp_path / "y").mkdir(exist_ok=True)
        file, given = tmp_path / "models" / f"{name}.onnx", f"x={digits / 'x.npy'}"
        ran = CliRunner().invoke(main, ["run", str(file), "--input", given, "--output", str(tmp_path / "y" / "y.npz")])
        assert ran.exit_code == 0, ran.output
        right = np.load(tmp_path / "y" / "y.npz")["label"].ravel() == np.load(digits / "y.npy")
        assert quality[name]["accuracy"] == right.mean()
    # Fewer bits lose signal, and on these data answers.
    ratios = [quality[name]["sqnr_db"] for name in NAMES]
    assert ratios == sorted(ratios) and ratios[-1] > ratios[0] + 20
    assert quality[NAMES[-1]]["accuracy"] > quality[NAMES[0]]["accuracy"] + 0.05
    good = {name for name in NAMES if quality[name]["accuracy"] >= 0.91}
    assert 0 < len(good) < len(NAMES)
    (chosen,) = (point for point in data["points"] if point["chosen"])
    assert chosen["model"] in good
    # Cheaper ones that answer worse are on the front, and not chosen.
    assert any(point["model"] not in good and point["lut"] < chosen["lut"] for point in data["points"])
    (row,) = (row for row in csv.DictReader((tmp_path / "pareto.csv").open()) if row["chosen"] == "True")
    assert float(row["accuracy"]) == chosen["accuracy"] and float(row["sqnr_db"]) == chosen["sqnr_db"]
    assert "Signal to quantization noise" in (tmp_path / "pareto.html").read_text()
    # The files are those of hwgen calibrate.
    cal = np.load(digits / "cal.npy")
    hwgen.calibrate(MODEL, {"x": cal}, tmp_path / "own.onnx", bits=4, weight_bits=3)
    assert (tmp_path / "own.onnx").read_bytes() == (tmp_path / "models" / f"{NAMES[0]}.onnx").read_bytes()


def test_without_labels_the_signal_is_the_axis(digits: Path, tmp_path: Path) -> None:
    calibrated = Request((str(digits / "cal.npy"),), bits=(4, 8), weight_bits=(8,)).calibrate([MODEL], tmp_path)
    assert list(calibrated.files) == NAMES[2:]
    networks = {name: hwgen.load(path) for name, path in calibrated.files.items()}
    alone = run.explore(networks)
    found = run.explore(networks, sqnr_db=calibrated.sqnr_db)
    # 8 bits never cost less: what keeps them on the front is what they lose less.
    assert {point.model for point in found.front} == set(networks)
    count = {
        name: sum(point.model == NAMES[3] for point in front)
        for name, front in (("no", alone.front), ("", found.front))
    }
    assert count[""] > count["no"]
    assert {point.sqnr_db for point in found.front} == set(calibrated.sqnr_db.values())
    rows = [point.to_dict() | {"measured": None} for point in found.front]
    page = render(rows, {**found.meta, "model": "digits", "points": found.predicted, "seconds": None})
    assert f"{calibrated.sqnr_db[NAMES[3]]:.1f} dB" in page


def test_the_fastest_of_several_models_is_the_fastest(digits: Path, tmp_path: Path) -> None:
    calibrated = Request((str(digits / "cal.npy"),), bits=(2, 8)).calibrate([MODEL], tmp_path)
    networks = {name: hwgen.load(path) for name, path in calibrated.files.items()}
    each = {name: run.explore({name: network}, "xc7z010", fit="fastest") for name, network in networks.items()}
    cycles = {name: next(point for point in found.front if point.chosen).cycles for name, found in each.items()}
    (chosen,) = (point for point in run.explore(networks, "xc7z010", fit="fastest").front if point.chosen)
    assert chosen.cycles == min(cycles.values()) < max(cycles.values())


def test_weights_with_quantizers_have_one_width(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, x = weight_only().eval(), torch.randn(9, 1, FEATURES)
    with quiet():
        export_qonnx(module, args=x, export_path=str(tmp_path / "lstm.onnx"), dynamo=False)
    np.save(tmp_path / "x.npy", x.numpy())
    request = Request((str(tmp_path / "x.npy"),), bits=(4, 8), weight_bits=(8, 4))
    found = request.calibrate([tmp_path / "lstm.onnx"], tmp_path / "out")
    assert list(found.files) == ["lstm-w8a4", "lstm-w8a8"]
    assert sorted(file.stem for file in (tmp_path / "out" / "models").iterdir()) == list(found.files)


def test_quantized_models_stay_as_they_are(digits: Path, tmp_path: Path) -> None:
    quantized = CLASSIFIERS / "digits_rnn.onnx"
    found = Request((str(digits / "cal.npy"),)).calibrate([MODEL, quantized], tmp_path)
    assert found.files == {NAMES[3]: tmp_path / "models" / f"{NAMES[3]}.onnx", "digits_rnn": quantized}
    with pytest.raises(ConfigError, match="'digits_rnn' has no signal-to-noise ratio on these data, since it was quan"):
        found.check_quality()


def test_what_makes_no_sense_is_refused(digits: Path, tmp_path: Path) -> None:
    for options, message in (
        (["--bits", "4,x"], "--bits must be numbers of bits such as 4,6,8, not '4,x'"),
        (["--weight-bits", "17"], "--weight-bits must be from 2 to 16, not 17"),
        (["--method", "best"], "--method must be one of minmax, percentile, mse, not 'best'"),
        (["--least-accuracy", "0.5"], "--least-accuracy needs --data and --labels"),
    ):
        code, shown = explore(digits, tmp_path / "out", *options)
        assert code == 1 and message in shown.replace("\n", " "), shown
    assert not list((tmp_path / "out").glob("models/*w17*"))
    plain = CliRunner().invoke(main, ["explore", str(MODEL), "-o", str(tmp_path), "--bits", "4"])
    assert plain.exit_code == 1 and "--bits needs --calibration" in plain.output
    with pytest.raises(ConfigError, match=r"--least-accuracy 0.99: 'one', the best model, has 0.9"):
        run.explore({"one": hwgen.load(CLASSIFIERS / "digits_rnn.onnx")}, accuracy={"one": 0.9}, least_accuracy=0.99)
    with pytest.raises(ConfigError, match="models must have names of their own"):
        Request((str(digits / "cal.npy"),)).calibrate([MODEL, MODEL], tmp_path / "twice")
