# SPDX-License-Identifier: Apache-2.0
"""The commands as a new user types them: what they print, what they write, and how they refuse."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import EXAMPLE, MODELS
from rich.console import Console

import hwgen
from hwgen import cost
from hwgen.cli import main
from hwgen.console import print_schedule

VOWELS = str(EXAMPLE / "japanese_vowels.onnx")
DEFAULT = str(MODELS / "default.onnx")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: str) -> str:
    """The message of a command that must fail with one of hwgen's own errors."""
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["inspect", "run", "calibrate", "lower", "build", "verify"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"Example: hwgen {command}" in result.output


def test_help_keeps_one_command_to_a_line() -> None:
    lines = [line.strip() for line in call("--help").output.splitlines()]
    assert any(line.startswith("hwgen inspect model.onnx ") and line.endswith("generated") for line in lines)


def test_inspect_shows_the_model_and_what_would_be_generated() -> None:
    text = call("inspect", VOWELS).output
    for expected in ("12 inputs, 32 units", "5,632 weights", "forget gate, sigmoid", "proven", "int8"):
        assert expected in text
    data = json.loads(call("inspect", VOWELS, "--json").output)
    assert data["layers"][0]["sizes"] == {"inputs": 12, "units": 32}
    assert data["layers"][0]["quantizers"]["input"]["scale"] == np.float32(0.016032178).item()
    assert all(step["proven"] for step in data["layers"][0]["step_functions"])
    predicted = data["predicted_resources"]
    assert predicted == cost.predict(hwgen.schedule(hwgen.load(VOWELS))).to_dict()
    assert f"{predicted['lut']:,} of 53,200 LUT" in " ".join(text.split())


def test_inspect_shows_the_names_of_units_whole() -> None:
    """In 80 columns, with every word of the row."""
    names = ["x", "buffer_between_two_layers_with_quite_a_long_name_2", "widen_" + 3 * "quantizer_"]
    beats = ["128", "x", "16", "int8", "narrow"]
    streams = [{"stream": "s", "codes": "int8 narrow", "lanes": 16, "beats": 128}]
    row = {"kind": "buffer", "cycles_estimate": 12345, "inputs": streams, "outputs": streams}
    data = {
        "target": {"part": "xc7z020clg400-1"},
        "clock_mhz": 100.0,
        "cycles": {"step_estimate": 140, "bottleneck": "x", "steps_per_second_estimate": 714285.7},
        "folding": {"x": {"input": {"pe": 16, "simd": 16}, "hidden": {"pe": 16, "simd": 16}}},
        "nodes": [{"name": name, **row} for name in names],
        "ports": [],
    }
    out = Console(width=80, file=io.StringIO())
    with out.capture() as capture:
        print_schedule(data, out)
    lines = capture.get().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("unit "))
    starts = [0, *(lines[begin].index(title) for title in ("kind", "folding", "cycles", "reads")), 80]
    columns = [
        " ".join(line[first:end].strip() for line in lines[begin + 1 :]).split()
        for first, end in itertools.pairwise(starts)
    ]
    assert "".join(columns[0]) == "".join(names)
    assert columns[1] == ["buffer"] * 3 and columns[3] == ["12345"] * 3
    assert columns[2] == ["input", "16", "x", "16,", "hidden", "16", "x", "16"]
    assert columns[4] == 3 * [*beats, "->", *beats]


def test_run_gives_what_brevitas_recorded(tmp_path: Path) -> None:
    data = np.load(EXAMPLE / "held_out.npz")
    steps = int(data["lengths"][0])
    np.save(tmp_path / "x.npy", data["x"][:steps, np.newaxis])
    result = call("run", VOWELS, "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npz"))
    assert result.exit_code == 0, result.output
    outputs = np.load(tmp_path / "y.npz")
    assert sorted(outputs) == ["c_n", "h_n", "y"]
    recorded = data["y_codes"][:steps] * data["y_scale"].astype(np.float64)
    np.testing.assert_array_equal(outputs["y"][:, 0], recorded)
    np.testing.assert_array_equal(outputs["h_n"][0, 0], recorded[-1])


def test_run_takes_named_inputs(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    arrays = {
        "x": generator.normal(size=(4, 2, 10)),
        "h0": generator.normal(size=(1, 2, 20)) / 4,
        "c0": np.zeros((1, 2, 20)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    inputs = [part for name in ("c0", "x", "h0") for part in ("--input", f"{name}={tmp_path / name}.npy")]
    result = call("run", str(MODELS / "states.onnx"), *inputs, "--output", str(tmp_path / "y.npz"))
    assert result.exit_code == 0, result.output
    expected = hwgen.load(MODELS / "states.onnx").run(arrays)
    outputs = np.load(tmp_path / "y.npz")
    for name, array in expected.items():
        np.testing.assert_array_equal(outputs[name], array)


def test_build_and_verify_on_given_input(tmp_path: Path) -> None:
    project = tmp_path / "project"
    result = call("build", DEFAULT, "-o", str(project), "--clock", "200", "--steps-per-second", "1000000", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["cycles"]["step_estimate"] <= 200
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(6, 3, 10)))
    result = call("verify", str(project), "--level", "csim", "--input", str(tmp_path / "x.npy"))
    assert result.exit_code == 0, result.output
    report = json.loads((project / "verify.json").read_text())
    assert report["passed"]
    assert report["levels"]["csim"] == {
        "sequences": 3, "steps": 18, "codes": 720, "mismatches": 0, "predicted_cycles": None, "simulated_cycles": None,
    }  # fmt: skip


def test_verify_fails_on_a_mismatch(tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert call("build", DEFAULT, "-o", str(project)).exit_code == 0
    weights = project / "hls" / "src" / "weights.hpp"
    weights.write_text(weights.read_text().replace("{{{", "{{{100 + ", 1))
    result = call("verify", str(project), "--sequences", "8")
    assert result.exit_code == 1
    assert "NOT equal" in result.output


BUILD = ("build", DEFAULT, "-o", "unused")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*BUILD, "--target", "spartan"), r"--target must be, or begin with, one of xc7z010, .*, not 'spartan'"),
        ((*BUILD, "--clock", "0"), r"--clock must be from 1 to 1000 MHz, not 0"),
        ((*BUILD, "--clock", "nan"), r"--clock must be from 1 to 1000 MHz, not nan"),
        (
            (*BUILD, "--steps-per-second", "1e9"),
            r"--steps-per-second 1e\+09 at 100 MHz leaves 0 cycles a step; .* at most \d+ steps",
        ),
        ((*BUILD, "--steps-per-second", "-1"), r"--steps-per-second must be positive, not -1"),
        ((*BUILD, "--steps-per-second", "nan"), r"--steps-per-second must be positive, not nan"),
        ((*BUILD, "--max-length", "5"), r"--max-length sizes the buffer of a reversed layer"),
        (
            (*BUILD, "--outputs", "everything"),
            r"--outputs must be among sequence, last_hidden, last_cell, not 'everything'",
        ),
        ((*BUILD, "--backend", "vhdl"), r"--backend must be one of .*, not 'vhdl'"),
        (("build", str(MODELS / "reversed.onnx"), "-o", "unused", "--streaming"), r"--streaming .* a reversed layer"),
        (("build", str(MODELS / "states.onnx"), "-o", "unused", "--streaming"), r"--streaming keeps the state .* 'h0'"),
        (("verify", "nowhere"), r"nowhere: not an hwgen project \(no hwgen.json\); make one with: hwgen build"),
        (("run", DEFAULT, "--input", "missing.npy", "--output", "y.npz"), r"--input missing.npy: no such file"),
        (("run", DEFAULT, "--input", __file__, "--output", "y.npz"), r"not a .npy file of numbers"),
        (("inspect", "missing.onnx"), r"missing.onnx: no such file"),
        (("inspect", __file__), r"not an ONNX file"),
    ],
)
def test_refusals_name_the_option_the_requirement_and_the_value(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    found = refused(*arguments)
    assert re.search(message, found), found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folding", "message"),
    [
        ('{"input": {"pe": 3, "simd": 1}, "hidden": {"pe": 4, "simd": 1}}',
         r"folding input.pe must divide the 80 gate rows, not 3; nearest legal: 2 and 4"),
        ('{"input": {"pe": 4, "simd": 4}, "hidden": {"pe": 4, "simd": 1}}',
         r"folding input.simd must divide the 10 inputs, not 4; nearest legal: 2 and 5"),
        ('{"input": {"pe": 4, "simd": 1}, "hidden": {"pe": 5, "simd": 1}}',
         r"hidden.pe must divide the 80 gate rows and be a divisor .* of the 4 gates, not 5; nearest legal: 4 and 8"),
        ('{"input": {"pe": 4, "simd": 1}, "hidden": {"pe": 4, "simd": 99}}',
         r"folding hidden.simd must divide the 20 hidden units, not 99; nearest legal: 20"),
        ('{"input": {"pe": 4, "simd": 1}}', r"hidden.pe is None"),
        ('{"input": {"pe": 0, "simd": 1}, "hidden": {"pe": 4, "simd": 1}}', r"input.pe is 0"),
        ('{"input": {"pe": true, "simd": 1}, "hidden": {"pe": 4, "simd": 1}}', r"input.pe is True"),
        ("[1, 2]", r"input.pe is None"),
        ("{", r"not JSON"),
    ],
)  # fmt: skip
def test_illegal_foldings_come_with_their_legal_neighbours(folding: str, message: str, tmp_path: Path) -> None:
    import re

    (tmp_path / "f.json").write_text(folding)
    found = refused("build", DEFAULT, "-o", str(tmp_path / "out"), "--folding", str(tmp_path / "f.json"))
    assert re.search(message, found), found
    assert not (tmp_path / "out").exists()


def test_a_missing_compiler_and_missing_headers_say_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = str(tmp_path / "project")
    assert call("build", DEFAULT, "-o", project).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert "g++ is not on the PATH; install it" in refused("verify", project)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        assert "ap_int.h was not found; install it with: pip install" in refused("verify", project)
