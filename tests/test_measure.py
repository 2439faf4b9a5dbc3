# SPDX-License-Identifier: Apache-2.0
"""Measuring points: resumable, in any number of processes, on any Dask scheduler; a death loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import distributed
import measuring
import pytest
from conftest import MODELS
from measuring import calls

import hwgen
from hwgen import cost
from hwgen.errors import ConfigError, ModelError, ToolError
from hwgen.explore import point as point_module
from hwgen.explore import records
from hwgen.explore.measure import measure

# 4 inputs, 6 hidden units of 2 bits.
MODEL = Path(__file__).parents[1] / "benchmarks" / "synthesis" / "models" / "two_bits_4_6.onnx"
FOLDINGS = ((1, 1, 1, 1), (2, 1, 2, 1), (2, 2, 4, 2), (4, 4, 4, 6))
Results = list[dict[str, Any]]


def points(*clocks: float) -> list[dict[str, Any]]:
    """Designs that differ in folding and clock."""
    foldings = (hwgen.Folding(*FOLDINGS[number % len(FOLDINGS)]).to_dict() for number in range(len(clocks)))
    return [{"folding": folding, "clock_mhz": clock} for folding, clock in zip(foldings, clocks, strict=True)]


def without_times(results: Results) -> Results:
    return [{key: value for key, value in result.items() if key != "seconds"} for result in results]


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are measured without simulation and synthesis, and every call is logged."""
    # Also for worker processes, which are started in the test.
    monkeypatch.setenv(measuring.LOG, str(tmp_path / "log"))
    monkeypatch.setattr(point_module, "measure_point", measuring.quick)
    monkeypatch.setattr(point_module, "verify", vars(point_module)["verify"])
    monkeypatch.setattr(point_module, "synthesise", vars(point_module)["synthesise"])


@pytest.fixture
def scheduler(quick: None) -> Iterator[str]:
    """The address of a Dask scheduler of somebody else, with two workers that are processes."""
    # A task whose workers died twice is given up; a worker that comes back late is waited for.
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.deploy.lost-worker-timeout": "1h"}
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with dask.config.set(settings), distributed.LocalCluster(**options) as cluster:
        yield cluster.scheduler_address


@pytest.mark.usefixtures("quick")
def test_a_second_call_repeats_nothing_and_returns_the_same(tmp_path: Path) -> None:
    first = measure(MODEL, points(100, 101, 102), tmp_path, workers=0)
    assert calls() == ["100", "101", "102"]
    said: list[tuple[int, int, str]] = []
    more = measure(MODEL, points(100, 101, 102, 103), tmp_path, workers=0, progress=lambda *what: said.append(what))
    assert more[:3] == first and calls() == ["100", "101", "102", "103"]
    assert said[0] == (3, 4, "3 of 4 points were measured before") and said[-1][:2] == (4, 4)
    # Another model, another flow or another option is another point.
    measure(MODELS / "two_bits.onnx", [{"clock_mhz": 100}], tmp_path, workers=0)
    measure(MODEL, points(100), tmp_path, workers=0, flow="xcup")
    measure(MODEL, [points(100)[0] | {"target": "xc7a35t"}], tmp_path, workers=0)
    assert calls()[4:] == ["100", "100", "100"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"lut": ', '"lut": 1', 1),
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"clock_mhz": 100', '"clock_mhz": 101'),
    ],
    ids=["number", "cut", "empty", "list", "object", "point"],
)
def test_a_result_that_was_tampered_with_is_measured_again(tmp_path: Path, damage: Any) -> None:
    first = measure(MODEL, points(100), tmp_path, workers=0)
    (path,) = (tmp_path / records.FOLDER).glob("*.json")
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    again = measure(MODEL, points(100), tmp_path, workers=0)
    assert calls() == ["100", "100"]
    assert without_times(again) == without_times(first) and again == [_data(path)]


def _data(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return {key: value for key, value in data.items() if key != "sha256"}


@pytest.mark.usefixtures("quick")
def test_the_result_of_another_point_is_not_taken_for_this_one(tmp_path: Path) -> None:
    measure(MODEL, points(100), tmp_path, workers=0)
    (path,) = (tmp_path / records.FOLDER).glob("*.json")
    path.rename(path.with_stem(records.key(MODEL.read_bytes(), points(101)[0], "xc7")))
    assert measure(MODEL, points(101), tmp_path, workers=0)[0]["point"]["clock_mhz"] == 101
    assert calls() == ["100", "101"]


@pytest.mark.usefixtures("quick")
def test_a_point_that_fails_stops_no_other_and_is_tried_again(tmp_path: Path) -> None:
    bad = {"folding": hwgen.Folding(5, 1, 1, 1).to_dict(), "clock_mhz": 101}
    designs = [points(100)[0], bad, {"clock_mhz": 102, "no_such_option": 1}, points(103)[0]]
    good, illegal, unknown, last = measure(MODEL, designs, tmp_path, workers=0)
    assert illegal["error"].startswith("folding input.pe must divide the 24 gate rows, not 5")
    assert "no_such_option" in unknown["error"]
    assert good["measured"]["lut"] == good["predicted"]["lut"] + 8 and last["point"] == designs[3]
    assert measure(MODEL, designs, tmp_path, workers=0) == [good, illegal, unknown, last]
    assert calls() == ["100", "101", "102", "103", "101", "102"]


@pytest.mark.usefixtures("quick")
def test_a_point_that_is_given_twice_is_measured_once(tmp_path: Path) -> None:
    one, two, three = measure(MODEL, points(100) + points(101) + points(100), tmp_path, workers=0)
    assert one == three != two and calls() == ["100", "101"]


@pytest.mark.usefixtures("quick")
def test_one_two_and_no_worker_processes_give_the_same_in_the_order_of_the_points(tmp_path: Path) -> None:
    # The first is the last to be done.
    designs = points(53, 100, 102, 101)
    results = [
        measure(MODEL, designs, tmp_path / str(workers), workers=workers, progress=lambda *_: None)
        for workers in (0, 1, 2)
    ]
    assert [result["point"] for result in results[0]] == designs
    assert without_times(results[0]) == without_times(results[1]) == without_times(results[2])
    assert len({result["predicted"]["lut"] for result in results[0]}) >= 4
    assert sorted(calls()) == sorted(["53", "100", "101", "102"] * 3)


def test_workers_that_are_killed_lose_nothing(scheduler: str, tmp_path: Path) -> None:
    """One point kills its worker once, one every time: that one fails, all others are there."""
    results = measure(MODEL, points(100, 50, 101, 51, 102), tmp_path, scheduler)
    assert [("error" in result, result["point"]["clock_mhz"]) for result in results] == [
        (False, 100), (False, 50), (False, 101), (True, 51), (False, 102),
    ]  # fmt: skip
    # A death counts for all that the worker had: that of 50 perhaps for 51 as well.  Two deaths, twice.
    assert calls().count("50") >= 2 and calls().count("51") in (3, 4)
    assert results[3]["error"].startswith("every worker that had this point died")


def test_results_of_a_cluster_are_those_of_this_process(scheduler: str, tmp_path: Path) -> None:
    designs = [*points(100, 101, 102), {"folding": {}}]
    ours = measure(MODEL, designs, tmp_path / "ours", workers=0)
    assert without_times(measure(MODEL, designs, tmp_path / "theirs", scheduler)) == without_times(ours)
    assert "error" in ours[3]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_exploration_that_is_stopped_goes_on_where_it_was(tmp_path: Path, quick: None, number: int) -> None:
    script = tmp_path / "explore.py"
    script.write_text(
        "import pathlib, signal, measuring\n"
        "from hwgen.explore import measure, point\n"
        'if __name__ == "__main__":\n'
        "    import test_measure\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    point.measure_point = measuring.quick\n"
        "    try:\n"
        "        designs = test_measure.points(100, 52, 101)\n"
        f"        measure.measure(test_measure.MODEL, designs, pathlib.Path({str(tmp_path)!r}))\n"
        "    except KeyboardInterrupt:\n"
        '        print("stopped")\n'
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    with (tmp_path / "said").open("wb") as said:
        exploration = subprocess.Popen(
            [sys.executable, str(script)], env=environment, start_new_session=True, stdout=said, stderr=said
        )
        try:
            _wait(lambda: len(list((tmp_path / records.FOLDER).glob("*.json"))) == 2 and "52" in calls(), exploration)
            # A terminal interrupts the workers as well.
            (os.killpg if number == signal.SIGINT else os.kill)(exploration.pid, number)
            exploration.wait(60)
        finally:
            exploration.kill()
    # Workers that were told to stop as well have nothing to say about it.
    assert (tmp_path / "said").read_text() == ("stopped\n" if number == signal.SIGINT else "")
    before = sorted(calls())
    (tmp_path / "go").touch()
    results = measure(MODEL, points(100, 52, 101), tmp_path, workers=0)
    assert before == ["100", "101", "52"] and sorted(calls()) == ["100", "101", "52", "52"]
    assert not any("error" in result for result in results)


def _wait(done: Any, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not done():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.usefixtures("quick")
def test_an_interrupt_leaves_what_is_done(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(MODEL, points(100, 101, 102, 103), tmp_path, workers=0, progress=interrupt)
    assert len(measure(MODEL, points(100, 101, 102, 103), tmp_path, workers=0)) == 4
    assert calls() == ["100", "101", "102", "103"]


def test_a_tiny_design_is_really_measured_on_a_worker(tmp_path: Path) -> None:
    """Nothing is left out: Verilator and Yosys run in a process of a local cluster."""
    design: dict[str, Any] = {"folding": hwgen.Folding(2, 4, 4, 6).to_dict(), "target": "xc7a35t", "clock_mhz": 100}
    (result,) = measure(MODEL, [design], tmp_path)
    assert result["passed"] and result["mismatches"] == 0 and result["codes"] > 100
    assert result["cycles"]["predicted"] == result["cycles"]["simulated"] and result["cycles"]["predicted"]["y"]
    scheduled = hwgen.schedule(hwgen.load(MODEL), **design)
    assert result["predicted"] == cost.predict(scheduled).whole.to_dict()
    measured, predicted = result["measured"], result["predicted"]
    assert measured["dsp"] == predicted["dsp"] and measured["bram"] == predicted["bram"]
    assert 0.7 < measured["lut"] / predicted["lut"] < 1.4 and 0.7 < measured["ff"] / predicted["ff"] < 1.4
    assert set(result["seconds"]) == {"build", "verify", "synth"} and min(result["seconds"].values()) > 0


def test_what_cannot_be_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="^--flow must be one of xc7, xcup, ecp5, not 'vitis'$"):
        measure(MODEL, points(100), tmp_path, flow="vitis")
    with pytest.raises(ConfigError, match="^--workers must be at least 1, or 0 for this process, not -1$"):
        measure(MODEL, points(100), tmp_path, workers=-1)
    with pytest.raises(ModelError, match="absent.onnx: No such file or directory$"):
        measure(tmp_path / "absent.onnx", points(100), tmp_path)
    with pytest.raises(ConfigError, match="^a point must be plain JSON data, as a folding file has it: "):
        measure(MODEL, [{"folding": hwgen.Folding(1, 1, 1, 1)}], tmp_path)
    monkeypatch.setattr("hwgen.explore.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match=r"^--scheduler 'tcp://127.0.0.1:9': no Dask scheduler answers there"):
        measure(MODEL, points(100), tmp_path, "tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"^--scheduler 'here': no Dask scheduler answers there"):
        measure(MODEL, points(100), tmp_path, "here")


def test_without_dask_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"^Dask was not found; install it with: pip install 'hwgen\[explore\]'$"):
        measure(MODEL, points(100), tmp_path)


def test_a_worker_of_another_version_says_so(tmp_path: Path) -> None:
    result = point_module.measure_point(MODEL.read_bytes(), "m", {}, "xc7", "9.9")
    assert result == {
        "error": f"the worker has hwgen {hwgen.__version__}, the exploration 9.9: install the same on both"
    }


def test_measuring_is_not_imported_with_the_core() -> None:
    code = "import sys, hwgen, hwgen.cli, hwgen.explore.measure; print('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
