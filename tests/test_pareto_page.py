# SPDX-License-Identifier: Apache-2.0
"""pareto.html: says what its data say, in a real browser, and loads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from selenium import webdriver
from selenium.webdriver.support.select import Select

import hwgen
from hwgen.explore import run
from hwgen.explore.correction import of_results
from hwgen.explore.page import embedded, lines, render

HOSTILE = "</script><script>document.title='broken'</script><b>&amp;\u2028"
LIMITS = {"lut": 53200, "ff": 106400, "dsp": 220, "bram": 140}
CYCLES = {"y": {"first": 10, "last": 99}}


def folding(pe: int) -> dict[str, Any]:
    return {"input": {"pe": pe, "simd": 2}, "hidden": {"pe": pe, "simd": 4}}


def result(predicted: dict[str, float], lut: float, **more: Any) -> dict[str, Any]:
    measured = predicted | {"lut": lut}
    cycles = {"predicted": CYCLES, "simulated": CYCLES}
    return {"predicted": predicted, "measured": measured, "codes": 528, "mismatches": 0, "cycles": cycles, **more}


def points() -> list[dict[str, Any]]:
    """Twelve points along a front, of which the larger ones have too many DSPs; four are measured, one failed."""
    found = []
    for number in range(12):
        pe = 2**number
        costs = {"lut": 900 + 37 * pe, "ff": 700 + 20 * pe, "dsp": 1 + pe, "bram": 2.5}
        found.append(
            {
                "folding": folding(pe), "interleave": 1, "model": "lstm", "accuracy": None, "measured": None,
                "cycles": 16 + 4096 // pe, "latency_cycles": 40 + 10 * 4096 // pe,
                "steps_per_second": 1e8 / (16 + 4096 // pe), **costs,
                "fits": costs["dsp"] <= LIMITS["dsp"], "chosen": number == 4,
            }
        )  # fmt: skip
        if number in (1, 4, 6):
            found[-1]["measured"] = result(costs, costs["lut"] * 1.25)
    found[8]["measured"] = {"error": "Yosys: no result after 3600 s\nand more"}
    return found


def meta(shown: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    known = of_results(point["measured"] for point in shown if point["measured"])
    facts = {"model": "lstm", "target": "xc7z020", "limits": LIMITS, "clock_mhz": 100.0, "points": 4096, "seconds": 1.5}
    return facts | {"correction": known.to_dict()} | more


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def show(browser: webdriver.Chrome, path: Path, page: str, width: int = 1280, dark: bool = False) -> Path:
    """Open a page, with empty logs before."""
    path = path / "pareto.html"
    path.write_text(page, "utf-8")
    # Not the page that Chromium itself begins with.
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(path.as_uri())
    return path


def dots(browser: webdriver.Chrome) -> dict[int, tuple[float, float]]:
    """Where each point is drawn, in pixels."""
    script = (
        "return [...document.querySelectorAll('circle.point[data-point]')]"
        ".map(c => [c.dataset.point, c.getAttribute('cx'), c.getAttribute('cy')])"
    )
    return {int(number): (float(x), float(y)) for number, x, y in browser.execute_script(script)}


def column(browser: webdriver.Chrome, number: int) -> list[str]:
    """The text of a column of the rows that are shown."""
    script = (
        "return [...document.querySelectorAll('#points tbody tr')].filter(row => !row.hidden)"
        ".map(row => row.cells[arguments[0]].textContent)"
    )
    found: list[str] = browser.execute_script(script, number)
    return found


def hover(browser: webdriver.Chrome, number: int) -> list[list[str]]:
    """The rows of the box beside a point at which one points; its other lines come first and last."""
    script = """
        document.querySelector(`circle[data-point="${arguments[0]}"]`).dispatchEvent(new Event("mouseenter"));
        const tip = document.getElementById("tip");
        return tip.hidden ? [] : [[tip.querySelector("b").textContent, tip.querySelector("ul").textContent],
            ...[...tip.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.textContent)),
            [...tip.querySelectorAll("p")].map(p => p.textContent)];
    """
    found: list[list[str]] = browser.execute_script(script, number)
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_whole(width: int, dark: bool, browser: webdriver.Chrome, tmp_path: Path) -> None:
    shown = points()
    path = show(browser, tmp_path, render(shown, meta(shown)), width, dark)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked == [path.as_uri()] and browser.get_log("browser") == []
    assert len(dots(browser)) == 12
    sticking_out = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll *') "
        "&& e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert sticking_out == [] and browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == dark
    # The box stays on the page, whichever point it is beside.
    for number in range(12):
        assert hover(browser, number)
        left, right = browser.execute_script(
            "const r = document.getElementById('tip').getBoundingClientRect(); return [r.left, r.right]"
        )
        assert left >= 0 and right <= width


def test_points_lie_where_their_numbers_are(browser: webdriver.Chrome, tmp_path: Path) -> None:
    shown = points()
    show(browser, tmp_path, render(shown, meta(shown)))
    places = dots(browser)
    assert sorted(places, key=lambda number: places[number][0]) == list(range(12))
    assert sorted(places, key=lambda number: -places[number][1]) == list(range(12))
    # Only the chosen one has a ring; crosses are where synthesis found three points, farther right.
    rings = browser.execute_script(
        "return [...document.querySelectorAll('#chart .chosen')].map(c => Number(c.getAttribute('cx')))"
    )
    assert rings == [places[4][0]]
    crosses = browser.execute_script(
        "return [...document.querySelectorAll('#chart .deviation')].map(l => ['x1', 'x2'].map(n => +l.getAttribute(n)))"
    )
    assert [x for x, _ in crosses] == [places[number][0] for number in (1, 4, 6)]
    assert all(after > before for before, after in crosses)
    # Other axes: the latency falls as DSPs rise.
    Select(browser.find_element("id", "axis-x")).select_by_value("dsp")
    Select(browser.find_element("id", "axis-y")).select_by_value("latency_us")
    places = dots(browser)
    assert sorted(places, key=lambda number: places[number][0]) == list(range(12))
    assert sorted(places, key=lambda number: places[number][1]) == list(range(12))
    limit = browser.execute_script("return document.querySelector('#chart .limit').getAttribute('x1')")
    assert places[7][0] < float(limit) < places[8][0]
    assert "220 DSP of the device" in browser.execute_script("return document.getElementById('chart').textContent")


def test_the_box_beside_a_point_shows_its_numbers(browser: webdriver.Chrome, tmp_path: Path) -> None:
    shown = points()
    for point in shown:
        point["error"] = {"lut": 0.061, "ff": None}
    show(browser, tmp_path, render(shown, meta(shown)))
    title, head, rate, cycles, latency, lut, ff, dsp, bram, notes = hover(browser, 4)
    assert title == ["design 5 (chosen)", "input 16 x 2, hidden 16 x 4"]
    assert head == ["", "predicted", "measured", "error"] and rate[:2] == ["steps/s", "367,647"]
    assert cycles[1] == "272" and latency[1] == "26 µs"
    assert lut == ["LUT", "1,492", "1,865", "-20.0%"] and ff == ["FF", "1,020", "1,020", "exact"]
    assert dsp[3] == "exact" and bram[1] == "2.5"
    assert notes == ["simulated: 528 codes, 0 mismatches, cycles as predicted"]
    assert hover(browser, 5)[1] == ["", "predicted", "within"]
    assert [row[-1] for row in hover(browser, 5)[5:9]] == ["± 6.1%", "", "", ""]
    failed = hover(browser, 8)
    assert failed[-1] == ["measuring failed: Yosys: no result after 3600 s", "does not fit the device"]


def test_the_filter_leaves_what_fits(browser: webdriver.Chrome, tmp_path: Path) -> None:
    shown = points()
    show(browser, tmp_path, render(shown, meta(shown)))
    assert browser.find_element("id", "count").text == "12 of 12 points"
    browser.find_element("id", "fits").click()
    assert sorted(dots(browser)) == list(range(8)) and len(column(browser, 0)) == 8
    assert browser.find_element("id", "count").text == "8 of 12 points"
    none = points()[8:]
    show(browser, tmp_path, render(none, meta(none)))
    browser.find_element("id", "fits").click()
    assert dots(browser) == {} and browser.find_element("id", "nothing").is_displayed()


def test_the_table_is_sorted_by_numbers(browser: webdriver.Chrome, tmp_path: Path) -> None:
    shown = points()
    show(browser, tmp_path, render(shown, meta(shown)))
    headings = [button.text.rstrip(" ↑↓") for button in browser.find_elements("css selector", "#points th button")]
    assert headings == [
        *("design", "PE x SIMD", "µs", "steps/s", "cycles", "LUT", "FF", "DSP", "BRAM", "LUT measured", "FF measured")
    ]
    buttons = browser.find_elements("css selector", "#points th button")
    buttons[4].click()
    assert column(browser, 4) == [f"{point['cycles']:,}" for point in reversed(shown)]
    buttons[4].click()
    assert column(browser, 4) == [f"{point['cycles']:,}" for point in shown]
    buttons[9].click()
    assert column(browser, 9)[:3] == ["1,217.5 -20.0%", "1,865 -20.0%", "4,085 -20.0%"]
    sorted_by = browser.find_elements("css selector", "#points th[aria-sort]")
    assert [heading.text for heading in sorted_by] == ["LUT measured"]
    buttons[9].click()
    assert column(browser, 9)[0] == "4,085 -20.0%" and set(column(browser, 9)[3:]) == {"", " failed"}


def test_names_of_others_break_nothing(browser: webdriver.Chrome, tmp_path: Path) -> None:
    shown = points()
    for number, point in enumerate(shown):
        point["folding"], point["accuracy"] = {HOSTILE: folding(2), "head": {"pe": 1, "simd": 8}}, number / 12
        point["model"] = HOSTILE if number % 2 else "lstm"
    show(browser, tmp_path, render(shown, meta(shown, model=HOSTILE)))
    assert browser.get_log("browser") == [] and browser.title.startswith("</script><script>document.title")
    title, *_ = hover(browser, 0)
    assert title[1] == f"{HOSTILE}: input 2 x 2, hidden 2 x 4head: 1 x 8"
    assert column(browser, 1)[1] == HOSTILE and column(browser, 2)[0] == "2x2 2x4 | 1x8"
    Select(browser.find_element("id", "colour")).select_by_value("model")
    colours = browser.execute_script(
        "return [0, 1, 2].map(n => getComputedStyle(document.querySelector(`circle[data-point='${n}']`)).fill)"
    )
    assert colours[0] == colours[2] != colours[1]


def test_a_front_that_was_explored_has_a_page(browser: webdriver.Chrome, tmp_path: Path) -> None:
    model = Path(__file__).parents[1] / "benchmarks" / "synthesis" / "models" / "two_bits_4_6.onnx"
    found = run.explore({"lstm": hwgen.load(model)}, fit="smallest", length=20)
    shown = [point.to_dict() for point in found.front]
    facts = {"model": "lstm", "points": found.predicted, "seconds": found.seconds}
    show(browser, tmp_path, render(shown, {**found.meta, **facts}))
    assert browser.get_log("browser") == [] and sorted(dots(browser)) == list(range(len(shown)))
    assert column(browser, 5) == [f"{point['lut']:,}" for point in shown]
    (chosen,) = (number for number, point in enumerate(shown) if point["chosen"])
    assert hover(browser, chosen)[0][0] == f"design {chosen + 1} (chosen)"


def test_embedded_data_cannot_end_its_element() -> None:
    text = str(embedded({"name": HOSTILE, "number": 1.5}))
    assert not set(text) & set("<>&\u2028") and json.loads(text) == {"name": HOSTILE, "number": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        embedded({"number": float("nan")})


def test_the_same_points_give_the_same_page() -> None:
    shown = points()
    page = render(shown, meta(shown))
    assert render(points(), meta(shown)) == page
    assert "corrected by a factor of 1.250" in page and "as predicted in 3 of the 3 measured points" in page
    assert "How well predictions hold" not in render(shown, meta(shown, correction=None))


def test_a_front_without_anything_that_fits_says_so() -> None:
    none = points()[8:]
    assert "<b>0</b><span>points fit the device</span>" in render(none, meta(none))


def test_foldings_read_as_lines() -> None:
    assert lines(folding(2)) == ["input 2 x 2, hidden 2 x 4"]
    assert lines({"a": folding(1), "head": {"pe": 4, "simd": 5}}) == ["a: input 1 x 2, hidden 1 x 4", "head: 4 x 5"]
    assert lines({}) == ["nothing is folded"]
