# SPDX-License-Identifier: Apache-2.0
"""report.html in a real browser, headless Chromium: nothing is loaded, nothing fails, nothing overflows, and the
numbers that are shown are those of the project's files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from conftest import EXAMPLE, MODELS
from selenium import webdriver
from selenium.webdriver.common.by import By
from test_report import HOSTILE, both_ways

import hwgen
from hwgen.verify import verify

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One LSTM layer, verified in RTL simulation."""
    model = hwgen.load(EXAMPLE / "japanese_vowels.onnx")
    design = hwgen.schedule(model)
    project = hwgen.build(design, tmp_path_factory.mktemp("layer") / "project", "rtl")
    assert verify(project, level="rtl", sequences=3)["passed"]
    return project.path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bidirectional layers and a head, not verified yet."""
    return hwgen.build(hwgen.schedule(both_ways()), tmp_path_factory.mktemp("stack") / "project", "rtl").path


def read(project: Path, name: str) -> Any:
    return json.loads((project / name).read_text())


def show(browser: webdriver.Chrome, page: Path, width: int = 1280, dark: bool = False) -> None:
    """Open a page, with empty logs before."""
    browser.get_log("browser")
    browser.get_log("performance")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(page.as_uri())


def requests(browser: webdriver.Chrome) -> list[str]:
    """What the page asked for since ``show``, by address."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def table(browser: webdriver.Chrome, name: str) -> list[list[str]]:
    """The text of the rows of a table, folded away or not."""
    script = (
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    found: list[list[str]] = browser.execute_script(script, name)
    return found


def cards(browser: webdriver.Chrome) -> list[str]:
    return [card.text for card in browser.find_elements(By.CSS_SELECTOR, "#summary .card")]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_the_page_is_whole(
    kind: str, width: int, dark: bool, browser: webdriver.Chrome, request: pytest.FixtureRequest
) -> None:
    page = request.getfixturevalue(kind) / "report.html"
    show(browser, page, width, dark)
    assert requests(browser) == [page.as_uri()]
    assert browser.get_log("browser") == []
    # Folded parts are measured as well.
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    inner, outer = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert outer == width
    assert inner <= width
    sticking_out = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll *') "
        "&& e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert sticking_out == []
    places = [bar.rect["y"] for bar in browser.find_elements(By.CSS_SELECTOR, "#resources .track")]
    assert len(places) == len(set(places)) == 4
    pictures = browser.find_elements(By.TAG_NAME, "svg")
    assert len(pictures) == {"layer": 3, "stack": 6}[kind]
    for picture in pictures:
        assert picture.size["width"] > 250 and picture.size["height"] > 100, picture.get_attribute("aria-label")
    paper = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    brightness = sum(int(part) for part in paper.partition("(")[2].rstrip(")").split(",")[:3])
    assert (brightness < 200) == dark


def test_text_stays_within_its_box(layer: Path, stack: Path, browser: webdriver.Chrome) -> None:
    """The layout reckons with widths of letters; the browser knows them."""
    script = (
        "return [...document.querySelectorAll('svg.dataflow g')].filter(g => g.querySelector(':scope > rect.box'))"
        ".flatMap(g => { const box = g.querySelector('rect.box').getBoundingClientRect();"
        " return [...g.querySelectorAll(':scope > text')].filter(t => { const r = t.getBoundingClientRect();"
        " return r.left < box.left || r.right > box.right || r.bottom > box.bottom; }).map(t => t.textContent); })"
    )
    for project in (layer, stack):
        show(browser, project / "report.html")
        assert browser.find_elements(By.CSS_SELECTOR, "svg.dataflow rect.box")
        assert browser.execute_script(script) == []


def test_a_layer_shows_the_numbers_of_its_files(layer: Path, browser: webdriver.Chrome) -> None:
    show(browser, layer / "report.html")
    schedule, verification = read(layer, "schedule.json"), read(layer, "verify.json")
    rtl, shown = schedule["rtl"], cards(browser)
    assert browser.find_element(By.TAG_NAME, "h1").text == "japanese_vowels"
    assert shown[0].startswith(f"{rtl['step_cycles']}\ncycles a time step\n128 tiles + {rtl['depth']} depth")
    rate = schedule["clock_mhz"] * 1e6 / rtl["step_cycles"]
    assert shown[1].startswith(f"{rate:,.0f}\nsteps/s")
    first = verification["levels"]["rtl"]["simulated_cycles"]["y"]["first"]
    assert shown[2].startswith(f"{first / schedule['clock_mhz']:.2f}\nµs to the first output\n{first} cycles")
    codes = sum(level["codes"] for level in verification["levels"].values())
    assert shown[3] == f"0\nmismatches\nof {codes:,} codes compared, levels integer, rtl"
    predicted = rtl["predicted_resources"]
    assert shown[4].startswith(
        f"{predicted['dsp'] / schedule['target']['dsp']:.0%}\nof the DSPs\n{predicted['dsp']} of"
    )

    kinds = ("lut", "ff", "dsp", "bram")
    rows = {row[0]: row[1:] for row in table(browser, "resource-table")}
    for unit, values in predicted["units"].items():
        assert rows[unit] == [f"{values[kind]:,.10g}" for kind in kinds]
    assert rows["predicted"] == [f"{predicted[kind]:,.10g}" for kind in kinds]
    levels = table(browser, "level-table")
    assert [row[1:] for row in levels] == [
        [f"{level[key]:,}" for key in ("sequences", "steps", "codes", "mismatches")]
        for level in verification["levels"].values()
    ]
    simulated = verification["levels"]["rtl"]["simulated_cycles"]["y"]
    assert [row[2:] for row in table(browser, "cycle-table")] == [
        [f"{simulated[which]:,}", f"{simulated[which]:,}", "equal"] for which in ("first", "last")
    ]
    certificate = read(layer, "certificate.json")
    found = [(row[0], row[1], row[5], row[7]) for row in table(browser, "step-table")]
    assert found == [
        (step["name"], step["form"], f"{step['thresholds_checked']:,}", step["result"]) for step in certificate["steps"]
    ]
    ports = [(row[0], row[2], row[3]) for row in table(browser, "port-table")]
    assert ports == [
        (port["name"], f"{port['lanes']} x {port['codes']}", str(port["tdata_bits"])) for port in schedule["ports"]
    ]
    # The last number in each row of the picture of a time step is its cycles: they are those of the breakdown.
    texts = [text.text for text in browser.find_elements(By.CSS_SELECTOR, "#time-step svg text.small")]
    stages = [cycles for name, cycles in rtl["depth_breakdown"].items() if cycles and "overlap" not in name]
    assert [int(text) for text in texts if text.isdigit()] == [128, *stages]


def test_a_network_shows_the_numbers_of_its_files(stack: Path, browser: webdriver.Chrome) -> None:
    show(browser, stack / "report.html")
    schedule, shown = read(stack, "schedule.json"), cards(browser)
    cells = {name: entry["step_cycles"] for name, entry in schedule["rtl"]["cells"].items()}
    slowest = max(cells.values())
    assert shown[0].startswith(f"{slowest}\ncycles a time step")
    assert shown[3].startswith("not verified yet")
    units = {row[0]: row[2] for row in table(browser, "unit-table")}
    assert {name: units[name] for name in cells} == {name: f"{cycles:,}" for name, cycles in cells.items()}
    drawn = browser.execute_script(
        "const text = (g, name) => g.querySelector(name).textContent;"
        "return Object.fromEntries([...document.querySelectorAll('svg.dataflow g')]"
        ".filter(g => g.querySelector('.cycles')).map(g => [text(g, '.title'), text(g, '.cycles')]))"
    )
    assert {name: drawn[name] for name in cells} == {name: f"{cycles:,} cycles" for name, cycles in cells.items()}
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#sequence svg text.rowname")]
    assert {"x in", *cells, "scores", "best"} <= set(rows)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#sequence svg rect.s1")) >= 8 * 2 * len(cells)
    assert "Not verified yet" in browser.find_element(By.ID, "verification").text


def test_a_hostile_name_is_shown_and_does_nothing(tmp_path: Path, browser: webdriver.Chrome) -> None:
    model = hwgen.load(MODELS / "two_bits.onnx", name=HOSTILE)
    project = hwgen.build(hwgen.schedule(model), tmp_path / "project", "rtl")
    show(browser, project.path / "report.html")
    assert browser.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert browser.title == f"{HOSTILE}: hwgen report"
    assert browser.find_elements(By.TAG_NAME, "script") == [] == browser.find_elements(By.TAG_NAME, "img")
    assert browser.get_log("browser") == []
    assert requests(browser) == [(project.path / "report.html").as_uri()]
