# SPDX-License-Identifier: Apache-2.0
"""The report of a project: its numbers are those of schedule, simulation and files, its pictures are whole, and what a
model calls things is only ever text.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import meeting_paths
import pytest
from click.testing import CliRunner
from conftest import EXAMPLE, MODELS
from recurrent_networks import HIDDEN, dense, gru, network, rnn, side_by_side

import hwgen
from hwgen import project as projects
from hwgen.cli import main
from hwgen.dataflow import CellNode, Dataflow
from hwgen.errors import ConfigError
from hwgen.layers import ArgmaxLayer, SelectLayer
from hwgen.network import Network
from hwgen.report import charts, drawing, layout, svg, timelines, units
from hwgen.rtl_cycles import period, predict, simulate
from hwgen.rtl_timing import timeline

HOSTILE = "<script>document.title='owned'</script>\"'&<img src=x onerror=alert(1)>"


def both_ways() -> Network:
    """Two bidirectional layers, a dense layer on the last step of both directions, argmax."""
    first, back = gru("forward 1"), gru("backward 1", seed=2, reverse=True)
    both = side_by_side("both 1", first, back)
    second = rnn("forward 2", source="both 1", inputs=2 * HIDDEN, hidden=12, seed=3)
    second_back = rnn("backward 2", source="both 1", inputs=2 * HIDDEN, hidden=12, seed=4, reverse=True)
    whole = side_by_side("both 2", second, second_back)
    last = SelectLayer("last", whole.wires[0], -1)
    scores = dense("scores", last.wires[0], 5, 7)
    best = ArgmaxLayer("best", scores.wire)
    return network([first, back, both, second, second_back, whole, last, scores, best], [best.wires[0]])


def single(**options: Any) -> hwgen.Schedule:
    """The LSTM of the example."""
    design = hwgen.schedule(hwgen.load(EXAMPLE / "japanese_vowels.onnx"), **options)
    assert isinstance(design, hwgen.Schedule)
    return design


def report_of(design: hwgen.Schedule | Dataflow, folder: Path, backend: str = "rtl") -> dict[str, Any]:
    """report.json of a new project."""
    hwgen.build(design, folder / "project", backend)
    data: dict[str, Any] = json.loads((folder / "project" / "report.json").read_text())
    return data


def parse(picture: str) -> ElementTree.Element:
    """The picture, which must be well-formed."""
    return ElementTree.fromstring(picture)


def test_a_single_layer_is_reported_as_scheduled(tmp_path: Path) -> None:
    design = single()
    report = report_of(design, tmp_path)
    schedule = json.loads((tmp_path / "project" / "schedule.json").read_text())
    certificate = json.loads((tmp_path / "project" / "certificate.json").read_text())
    assert report["summary"]["step_cycles"] == schedule["rtl"]["step_cycles"] == 139
    (step,) = report["time_steps"]
    assert step["breakdown"] == schedule["rtl"]["depth_breakdown"]
    assert step["period"] == step["tiles"] + step["depth"] == step["end"] + step["overlap"]
    assert report["resources"]["predicted"] == schedule["rtl"]["predicted_resources"]
    assert report["resources"]["usage"][0]["kind"] == "dsp"
    for kind in ("lut", "ff", "dsp", "bram"):
        entry = next(entry for entry in report["resources"]["usage"] if entry["kind"] == kind)
        assert entry["share"] == pytest.approx(schedule["rtl"]["predicted_resources"][kind] / entry["limit"], abs=1e-4)
    proven = [(step["name"], step["thresholds_checked"], step["result"]) for step in report["proofs"]["steps"]]
    assert proven == [(step["name"], step["thresholds_checked"], step["result"]) for step in certificate["steps"]]
    assert report["summary"]["verified"]["state"] == "not verified"
    assert report["verification"] is report["synthesis"] is None
    port_names = [port["name"] for port in report["ports"]]
    assert port_names == [port["name"] for port in schedule["ports"]]


def test_a_network_is_reported_as_scheduled(tmp_path: Path) -> None:
    design = hwgen.schedule(both_ways())
    report = report_of(design, tmp_path)
    schedule = json.loads((tmp_path / "project" / "schedule.json").read_text())
    cells = {step["unit"]: step["period"] for step in report["time_steps"]}
    assert cells == {name: entry["step_cycles"] for name, entry in schedule["rtl"]["cells"].items()}
    assert len(cells) == 4
    assert report["summary"]["step_cycles"] == max(cells.values()) == period(design)
    named = [unit["name"] for unit in report["units"]]
    assert named == [node["name"] for node in schedule["nodes"]]
    drawn = {unit["name"] for unit in report["dataflow"]["units"]}
    assert drawn == {*named, "in:x", *(f"out:{port.name}" for port in design.outputs)}
    assert {stream["from"] for stream in report["dataflow"]["streams"]} <= drawn
    assert sum(layer["weights"] > 0 for layer in report["layers"]) == 5


DESIGNS: dict[str, Callable[[], hwgen.Schedule | Dataflow]] = {
    "one layer": single,
    "input product is slower": lambda: single(folding=hwgen.Folding(1, 1, 8, 16)),
    "reversed": lambda: hwgen.schedule(hwgen.load(MODELS / "reversed.onnx"), max_length=30),
    "both directions": lambda: hwgen.schedule(both_ways()),
    "fast clock": lambda: single(clock_mhz=250, folding=hwgen.Folding(16, 12, 128, 32)),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_rate_is_what_the_process_simulation_shows(name: str) -> None:
    design = DESIGNS[name]()
    for timing in units.timings(design, exact=True):
        if timing.times is not None:
            node = timing.name if isinstance(design, Dataflow) else ""
            alone = timing.times.design if isinstance(design, hwgen.Schedule) else None
            found = timelines.intervals(timelines.sequence(alone or design, (12,)), node)
            # A layer of a network may also wait for others.
            assert max(found) == timing.cycles if alone else max(found) >= timing.cycles, timing.name


def test_the_timeline_is_of_sequences_that_the_design_takes() -> None:
    # A state is picked at step 12; a reversed layer stores three steps.
    for design, steps in (
        (DESIGNS["fast clock"](), 8),
        (hwgen.schedule(meeting_paths.picked()), 13),
        (hwgen.schedule(hwgen.load(MODELS / "reversed.onnx"), max_length=3), 3),
    ):
        data = timelines.sequence(design)
        assert data["lengths"] == [steps, steps]
        assert all(len(row["bars"]) in (2, 2 * steps) for row in data["rows"])


@pytest.mark.parametrize("name", DESIGNS)
def test_the_sequence_timeline_is_what_is_predicted(name: str) -> None:
    design = DESIGNS[name]()
    data = timelines.sequence(design)
    lengths = data["lengths"]
    assert len(lengths) == 2
    predicted = predict(design, lengths)
    assert {port: (entry["first"], entry["last"]) for port, entry in data["outputs"].items()} == predicted.ports
    for row in data["rows"]:
        per_step = row["bars"][0]["step"] is not None
        assert len(row["bars"]) == (sum(lengths) if per_step else len(lengths)), row["title"]
        assert all(bar["begin"] < bar["end"] for bar in row["bars"]), row["title"]
        begins = [bar["begin"] for bar in row["bars"]]
        assert begins == sorted(begins), row["title"]
    assert data["rows"][0]["bars"][0]["begin"] == 0 == min(bar["begin"] for row in data["rows"] for bar in row["bars"])
    for timing in units.timings(design, exact=True):
        if timing.times is not None:
            name = timing.name if isinstance(design, Dataflow) else ""
            for product in timing.times.design.products:
                (row,) = (r for r in data["rows"] if (r["unit"], r["lane"]) == (name, f"{product.name} product"))
                assert all(bar["end"] - bar["begin"] == product.cycles for bar in row["bars"])
                assert all(one["end"] <= two["begin"] for one, two in pairwise(row["bars"])), row
    assert data["cycles"] > predicted.last
    lanes = {row["lane"] for row in data["rows"]}
    assert {"input product", "hidden product", "pipeline depth"} <= lanes
    assert ("stores x" in lanes) == any(cell.reverse for cell in design.cells)


def test_a_step_ends_when_its_last_state_is_written() -> None:
    for make in DESIGNS.values():
        for timing in units.timings(make(), exact=True):
            if timing.times is not None:
                times, step = timing.times, timelines.time_step(timing)
                # Cycle 0 of the picture reads h, that of ``written`` shows the tile.
                assert step["end"] == times.written(times.groups - 1, times.hidden) - times.read, timing.name


def test_a_loop_starts_before_its_outputs_leave() -> None:
    design = single()
    traced = simulate(design, (3,))
    times = timeline(design)
    assert [after - before for before, after in pairwise(traced.loops[""].starts)] == [times.period] * 2
    assert traced.ports["y"].moved.cycles[0] == traced.loops[""].starts[0] + times.written(0, times.hidden) + 1


@pytest.mark.parametrize("options", [{}, {"steps_per_second": 300_000}, {"clock_mhz": 200.0}], ids=str)
def test_the_advice_for_one_layer_holds(options: dict[str, Any], tmp_path: Path) -> None:
    design = single(**options)
    faster = report_of(design, tmp_path)["bottleneck"]["faster"]
    (change,) = faster["changes"]
    better = single(folding=hwgen.Folding.from_dict(change["folding"]), clock_mhz=design.options.clock_mhz)
    assert timeline(better).period == faster["cycles"] < timeline(design).period
    assert sum(product.pe * product.simd for product in better.products) == faster["multipliers"]


def test_the_advice_for_a_network_holds(tmp_path: Path) -> None:
    model = both_ways()
    faster = report_of(hwgen.schedule(model), tmp_path)["bottleneck"]["faster"]
    better = hwgen.schedule(model, folding={change["unit"]: change["folding"] for change in faster["changes"]})
    assert period(better) == faster["cycles"] < period(hwgen.schedule(model))
    assert sum(product.pe * product.simd for product in better.products) == faster["multipliers"]


def test_the_bottleneck_in_words(tmp_path: Path) -> None:
    sentences = report_of(single(), tmp_path)["bottleneck"]["sentences"]
    assert sentences == [
        "A time step takes 139 cycles; the recurrence sets the rate.",
        "128 of them (92%) are tiles of the hidden product, PE 4 x SIMD 8 of its 128 x 32 weights a cycle; 11 are "
        "pipeline depth, for which the next time step has to wait.",
        "To go faster: hidden PE 4 x SIMD 16, input PE 2 x SIMD 12. That is 78 cycles a time step, 1,282,051 steps/s, "
        "for 88 multipliers instead of 44.",
        "Of the xc7z020, DSPs bind first: 56 of 220 (25.5%); it would fit 3 times.",
    ]
    slow = report_of(DESIGNS["input product is slower"](), tmp_path)["bottleneck"]
    assert slow["sentences"][0] == "A time step takes 1,536 cycles; the input product sets the rate."
    assert slow["sentences"][1] == (
        f"Its input product takes 1,536 cycles, longer than the recurrence ({slow['parts']['recurrence']}): it needs "
        "more PE or SIMD to keep up."
    )
    unrolled = report_of(single(folding=hwgen.Folding(128, 12, 128, 32)), tmp_path)["bottleneck"]
    assert "Depth dominates" in unrolled["sentences"][1]
    assert unrolled["sentences"][2].startswith("The hidden product is fully unrolled")
    assert re.search(r"DSPs bind first: .* it does not fit\.", unrolled["sentences"][3])


def test_a_dense_layer_can_be_the_bottleneck(tmp_path: Path) -> None:
    layer = rnn("first")
    wide = dense("wide", layer.wires[0], 60, 3)
    last = SelectLayer("last", layer.wires[0], -1)
    once = dense("once", last.wires[0], 60, 3)
    folding = {"first": {"input": {"pe": 8, "simd": 6}, "hidden": {"pe": 8, "simd": 8}}, "wide": {"pe": 1, "simd": 2}}
    model = network([layer, wide], [wide.wire])
    found = report_of(hwgen.schedule(model, folding=folding), tmp_path)["bottleneck"]
    assert (found["unit"], found["cycles"]) == ("wide", 240)
    assert found["faster"]["changes"][0]["folding"] == {"pe": 1, "simd": 4}
    # 6 of 240 cycles.
    assert found["sentences"][0] == (
        "wide (dense) sets the rate with 240 cycles a time step; the next one, first, is busy 2% of the time."
    )
    # On the last step alone it works once a sequence, while the recurrent layer goes on.
    folding = {"first": folding["first"], "once": folding["wide"]}
    design = hwgen.schedule(network([layer, last, once], [once.wire]), folding=folding)
    report = report_of(design, tmp_path)
    assert report["bottleneck"]["unit"] == "first"
    steps = timelines.intervals(timelines.sequence(design), "first")
    assert report["summary"]["step_cycles"] == max(steps) < 40
    shortest = 239 // max(steps)
    assert (
        f"once (dense) works once a sequence, 240 cycles: it sets the rate of sequences of at most {shortest} steps."
        in (report["bottleneck"]["sentences"])
    )


def test_hls_alone_is_an_estimate(tmp_path: Path) -> None:
    report = report_of(single(), tmp_path, "hls")
    assert report["summary"]["exact"] is False
    assert report["summary"]["step_cycles"] == single().step_cycles
    assert report["sequence"] is None and report["time_steps"] == []
    page = (tmp_path / "project" / "report.html").read_text()
    assert "Cycles of HLS C++ are an estimate." in page
    assert "about 128 tiles" in page or "about" in page.split("cycles a time step")[1][:60]


def test_names_of_a_model_are_only_text(tmp_path: Path) -> None:
    loaded = hwgen.load(MODELS / "two_bits.onnx", name=HOSTILE)
    model = replace(loaded, warnings=(HOSTILE,))
    hwgen.build(hwgen.schedule(model), tmp_path / "one", "rtl")
    layer = rnn(f"{HOSTILE} 1")
    scores = dense(f"{HOSTILE} 2", layer.wires[0], 3, 1)
    whole = network([layer, scores], [scores.wire])
    hwgen.build(hwgen.schedule(whole), tmp_path / "two", "rtl")
    for name in ("one", "two"):
        page = (tmp_path / name / "report.html").read_text()
        assert "&lt;script&gt;" in page
        assert "<script" not in page.lower() and "<img" not in page
        for picture in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
            parse(picture)
    (tmp_path / "one" / "report.json").read_text().index("<script>")


def test_a_verification_is_reported_and_damage_is_named(tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project", "hls")
    before = (project.path / "report.html").read_bytes()
    found = project.verify(sequences=3)
    report = json.loads((project.path / "report.json").read_text())
    assert report["verification"] == found == json.loads((project.path / "verify.json").read_text())
    assert report["summary"]["verified"] == {
        "state": "passed",
        "mismatches": 0,
        "codes": sum(level["codes"] for level in found["levels"].values()),
        "levels": ["integer", "csim"],
    }
    page = (project.path / "report.html").read_text()
    assert "not verified yet" not in page.lower() and page.encode() != before
    assert f"of {report['summary']['verified']['codes']:,} codes compared" in page

    # What differs is seen.
    found["levels"]["csim"]["mismatches"], found["passed"] = 7, False
    (project.path / "verify.json").write_text(json.dumps(found))
    result = CliRunner().invoke(main, ["report", str(project.path)])
    assert result.exit_code == 0 and result.output.strip() == str((project.path / "report.html").resolve())
    page = (project.path / "report.html").read_text()
    assert '<div class="card bad"><b>7</b><span>mismatches</span>' in page and "NOT equal." in page
    assert '<td class="bad number">7</td>' in page

    (project.path / "verify.json").write_text("{")
    result = CliRunner().invoke(main, ["report", str(project.path)])
    assert result.exit_code == 1
    assert re.search(r"verify\.json: not JSON .* run hwgen verify again", result.output.replace("\n", ""))
    (project.path / "verify.json").unlink()
    projects.write_report(hwgen.open_project(project.path))
    assert (project.path / "report.html").read_bytes() == before


def test_the_report_of_what_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not an hwgen project \(no hwgen\.json\)"):
        hwgen.open_project(tmp_path)
    assert CliRunner().invoke(main, ["report", str(tmp_path)]).exit_code == 1


def test_synthesis_is_shown_beside_its_prediction(tmp_path: Path) -> None:
    project = hwgen.build(single(), tmp_path / "project", "rtl")
    measured = {"lut": 1500, "ff": 1400, "dsp": 56, "bram": 5.5}
    result = {
        "xc7": {"measured": measured, "predicted": measured | {"lut": 1479},
                "relative_error": {"lut": -0.014, "ff": 0.0, "dsp": 0.0, "bram": 0.0}, "units": {}},
        "ecp5": {"measured": measured, "units": {}, "device": "ECP5-45k, speed 6", "fmax_mhz": 84.25,
                 "critical_path": ["u_design.a -> u_design.b"]},
    }  # fmt: skip
    (project.path / "synth.json").write_text(json.dumps(result))
    projects.write_report(hwgen.open_project(project.path))
    report = json.loads((project.path / "report.json").read_text())
    assert report["resources"]["measured"] == {"flow": "xc7"} | measured
    assert report["synthesis"] == result
    page = (project.path / "report.html").read_text()
    assert "placed and routed on ECP5-45k, speed 6: 84.25 MHz" in page
    assert "measured 1,500" in page and "-1.4%" in page and "u_design.a -&gt; u_design.b" in page


def cross(one: layout.Box, other: layout.Box) -> bool:
    """Whether two boxes cover each other."""
    apart = (
        one.x + one.width <= other.x or other.x + other.width <= one.x or one.bottom <= other.y or other.bottom <= one.y
    )
    return not apart


@pytest.mark.parametrize("name", DESIGNS)
def test_boxes_of_the_dataflow_stand_apart_and_streams_run_down(name: str) -> None:
    graph = units.graph(DESIGNS[name](), exact=True)
    links = [(stream["from"], stream["to"]) for stream in graph["streams"] if not stream["feedback"]]
    placed = layout.layout({unit["name"]: (120.0, 50.0) for unit in graph["units"]}, links, 26, 36)
    boxes = list(placed.boxes.values())
    assert not any(cross(one, other) for place, one in enumerate(boxes) for other in boxes[place + 1 :])
    for (source, target), route in zip(links, placed.routes, strict=True):
        assert placed.boxes[source].bottom < placed.boxes[target].y
        heights = [y for _, y in route]
        assert heights == sorted(heights)
        assert all(0 <= x <= placed.width for x, _ in route)
    picture = parse(drawing.dataflow(graph, 100))
    assert len(picture.findall(".//*[@marker-end]")) == len(graph["streams"])


@pytest.mark.parametrize("name", DESIGNS)
def test_timelines_are_drawn_within_their_pictures(name: str) -> None:
    design = DESIGNS[name]()
    pictures = [charts.sequence(timelines.sequence(design))]
    pictures += [charts.time_step(timelines.time_step(t)) for t in units.timings(design, True) if t.times is not None]
    for picture in map(parse, pictures):
        width, height = (float(picture.attrib[name]) for name in ("width", "height"))
        rectangles = picture.findall("{http://www.w3.org/2000/svg}rect")
        assert len(rectangles) > 10
        for shape in rectangles:
            x, y, w, h = (float(shape.attrib[key]) for key in ("x", "y", "width", "height"))
            assert min(x, y) >= 0 and x + w <= width + 0.7 and y + h <= height, ElementTree.tostring(shape)


def test_every_unit_of_a_network_is_a_row() -> None:
    design = hwgen.schedule(both_ways())
    rows = timelines.sequence(design)["rows"]
    assert isinstance(design, Dataflow)
    assert {node.name for node in design.nodes if isinstance(node, CellNode)} <= {row["unit"] for row in rows}
    text = charts.sequence(timelines.sequence(design))
    assert all(f">{port.name} {port.direction}</text>" in text for port in (*design.inputs, *design.outputs))
    assert "forward_1 hidden product: sequence 2, step 8, cycles" in text


def test_axes() -> None:
    axis = svg.Axis(0, 200, 100, 300)
    assert (axis.at(0), axis.at(50), axis.at(200)) == (100, 150, 300)
    assert axis.ticks(8) == [0, 50, 100, 150, 200]
    folded = svg.Folded(0, 120, 0, 100, 10, 110, 0.2)
    assert [folded.at(value) for value in (0, 10, 60, 110, 120)] == [0, 40, 50, 60, 100]


def test_text_and_attributes_are_escaped() -> None:
    shape = svg.element("rect", svg.element("title", "<b>&"), kind='a" onload="x', x=1.26)
    assert shape == '<rect class="a&#34; onload=&#34;x" x="1.3"><title>&lt;b&gt;&amp;</title></rect>'
