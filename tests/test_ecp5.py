# SPDX-License-Identifier: Apache-2.0
"""ECP5 parts: limits, what Yosys makes of a design on them, a scheduler that keeps to them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import MODELS

import hwgen
from benchmarks.synthesis import fit, sweep
from benchmarks.synthesis.designs import held_out
from benchmarks.synthesis.networks import NetworkPoint, network_points
from hwgen import cost, counting, packing
from hwgen.backends import rtl
from hwgen.cli import main
from hwgen.devices import DEVICES, device
from hwgen.errors import ConfigError
from hwgen.explore.fit import shares
from hwgen.fabric import FABRICS
from hwgen.folding import Folding
from hwgen.schedule import Schedule
from hwgen.synth import nextpnr, synthesise

PARTS = ("lfe5u-25f", "lfe5u-45f", "lfe5u-85f")
SIZES = Path(__file__).parents[1] / "benchmarks" / "synthesis" / "models"
SAMPLES = fit.load("ecp5")


def test_parts_and_their_ordering_numbers() -> None:
    assert [(one.lut, one.ff, one.dsp, one.bram36) for one in map(device, PARTS)] == [
        (24_288, 24_288, 28, 28),
        (43_848, 43_848, 72, 54),
        (83_640, 83_640, 156, 104),
    ]
    full = device("LFE5U-85F-7BG381C")
    assert (full.name, full.part, full.dsp) == ("lfe5u-85f", "lfe5u-85f-7bg381c", 156)
    for part in DEVICES.values():
        assert device(part.part).name == part.name
        expected = ("ecp5",) if part.name in PARTS else ("xc7", "xcup")
        assert part.flows == expected and part.flow in expected and part.is_amd == (part.name not in PARTS)
    assert {name: part.flow for name, part in DEVICES.items() if part.flow == "xc7"}.keys() == {
        name for name in DEVICES if name.startswith("xc7")
    }
    with pytest.raises(ConfigError, match=r"^--target must be, or begin with, .*lfe5u-85f, not 'lfe5u-12f'$"):
        device("lfe5u-12f")


def test_the_data_is_a_fair_sample() -> None:
    assert sum(not sample.held_out for sample in SAMPLES) >= 30
    assert sum(sample.held_out for sample in SAMPLES) >= 60
    # One draw for all flows: what the fit of the one sees, that of the other does as well.
    others = json.loads(sweep.LAYERS.read_text())
    out = held_out([entry["name"] for entry in others["designs"]])
    assert {sample.name for sample in SAMPLES if sample.held_out and not sample.is_network} == out
    known = {point.name: point.held_out for point in network_points()}
    assert all(sample.held_out == known[sample.name] for sample in SAMPLES if sample.is_network)
    data = json.loads(sweep.of_flow(sweep.LAYERS, "ecp5").read_text())
    assert data["flow"] == "ecp5" and data["yosys"] == others["yosys"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_dsp_and_block_ram_are_exact(sample: fit.Sample) -> None:
    assert (sample.dsp, sample.bram) == (sample.measured["dsp"], sample.measured["bram"])


@pytest.mark.parametrize("kind", fit.FITTED)
def test_designs_that_the_fit_did_not_see_are_predicted(kind: str) -> None:
    coefficients = cost.coefficients("ecp5")[kind]
    assert set(coefficients) == set(counting.EXPECTED_OF["ecp5"][kind])
    assert fit.fit(SAMPLES, kind, "ecp5") == pytest.approx(coefficients, abs=0.002)
    errors = np.abs(fit.errors(SAMPLES, kind, coefficients, out=True))
    assert np.median(errors) <= 0.10
    assert np.quantile(errors, 0.9) <= 0.20
    # With the prices of 7 series they are not.
    other = cost.coefficients()[kind] | {name: 0.0 for name in coefficients if name not in cost.coefficients()[kind]}
    assert np.median(np.abs(fit.errors(SAMPLES, kind, other, out=True))) > 0.10


# As Yosys 0.70 maps hwgen_multiply alone.
@pytest.mark.parametrize(
    ("left", "right", "multipliers"),
    [
        *((18, 18, 1), (19, 8, 1), (20, 8, 2), (8, 19, 1), (19, 19, 1), (20, 20, 4), (26, 18, 2), (26, 24, 4)),
        *((36, 18, 2), (37, 18, 2), (38, 5, 3), (24, 25, 4), (4, 5, 1), (4, 4, 0)),
    ],
)
def test_multipliers_of_a_product(left: int, right: int, multipliers: int) -> None:
    assert counting.dsp_slices(left, right, "ecp5") == multipliers


# As Yosys 0.70 maps memories that ask for block RAM: without blocks of 36 kbit some take fewer, or more, of 18 kbit.
@pytest.mark.parametrize(
    ("words", "bits", "written", "blocks"),
    [
        *((512, 36, False, 1), (512, 73, False, 3), (100, 100, False, 3), (1296, 12, False, 1), (1296, 94, False, 8)),
        *((3324, 42, False, 9), (3244, 103, False, 23), (512, 73, True, 3), (1296, 12, True, 2), (1296, 94, True, 9)),
        *((4132, 21, True, 7), (3076, 44, True, 9), (3092, 89, True, 18), (16, 0, False, 0)),
    ],
)
def test_block_ram_of_a_memory(words: int, bits: int, written: bool, blocks: int) -> None:
    assert FABRICS["ecp5"].block_ram_halves(words, bits, written) == blocks


@pytest.mark.parametrize(("words", "bits", "blocks"), [(512, 36, 2), (1024, 18, 1), (5000, 50, 14), (300, 128, 8)])
def test_block_ram_of_a_memory_with_two_ports(words: int, bits: int, blocks: int) -> None:
    assert FABRICS["ecp5"].shared_rom_halves(words, bits) == blocks


# hwgen_stream_fifo by Yosys 0.70: the deepest that stays in LUTs, of each width.
@pytest.mark.parametrize(
    ("bits", "words"),
    [
        *(
            (1, 400),
            (2, 368),
            (3, 336),
            (4, 320),
            (5, 176),
            (8, 160),
            (9, 112),
            (12, 112),
            (16, 80),
            (17, 64),
            (20, 64),
        ),
        *((24, 48), (33, 32), (36, 32), (37, 64), (41, 64), (65, 32), (81, 48)),
    ],
)
def test_deep_queues_become_block_ram(bits: int, words: int) -> None:
    fabric = FABRICS["ecp5"]
    assert not fabric.queue_in_block(words, bits)
    assert fabric.queue_in_block(words + 1, bits)
    assert fabric.queue_in_block(np.array([words, words + 1]), np.array([bits, bits])).tolist() == [False, True]
    assert not FABRICS["xc7"].queue_in_block(words + 1, bits)


def test_designs_of_a_family_are_predicted_for_it() -> None:
    model = hwgen.load(MODELS / "default.onnx")
    one, other = hwgen.schedule(model), hwgen.schedule(model, target="lfe5u-45f")
    assert cost.predict(one) == cost.predict(other, "xc7") != cost.predict(other)
    assert cost.predict(other) == cost.predict(one, "ecp5")


# A layer with block RAM, for an ECP5; a network with wide products, for another part.
@pytest.mark.parametrize("name", ["layer", "network"])
def test_small_designs_are_predicted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hwgen.load(MODELS / "coupled.onnx")
    design = {
        "layer": lambda: hwgen.schedule(model, target="lfe5u-25f", folding=Folding(1, 1, 1, 1)),
        "network": NetworkPoint(139).schedule,
    }[name]()
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    # Nothing is placed here.
    monkeypatch.setattr(nextpnr, "place", lambda project, device, folder: {"device": device})
    result = synthesise(project, "ecp5", units=False)
    assert result["predicted"] == cost.predict(design, "ecp5").whole.to_dict()
    for kind in ("dsp", "bram"):
        assert result["predicted"][kind] == result["measured"][kind]
    assert result["measured"]["dsp"] > 0
    for kind in ("lut", "ff"):
        assert abs(result["relative_error"][kind]) < 0.25
    shown = json.loads((project.path / "report.json").read_text())["resources"]["measured"]
    if name == "layer":
        assert result["device"] == "25k" and result["measured"]["bram"] == 1
        assert shown == {"flow": "ecp5"} | result["measured"]
    else:
        # What it takes on an ECP5 is no share of what its own part has.
        assert result["device"] == "45k" and shown is None


@pytest.mark.parametrize("part", PARTS)
def test_the_fastest_design_fits_the_part(part: str) -> None:
    model = hwgen.load(MODELS / "weights4.onnx")
    design = hwgen.schedule(model, target=part, fit="fastest")
    whole = cost.predict(design).whole
    assert (shares(whole, device(part)) <= 1).all()
    # Products of digits take none of the few multipliers, and two products share none.
    more = hwgen.schedule(model, target=part, fit="fastest", products_per_dsp="auto")
    assert (shares(cost.predict(more).whole, device(part)) <= 1).all()
    assert more.step_cycles < design.step_cycles
    assert {product.packing for product in more.products} <= {0, 1} != {product.packing for product in design.products}


def test_products_share_no_multiplier() -> None:
    model, part = hwgen.load(MODELS / "weights4.onnx"), device("lfe5u-25f")
    said = "must be 0 or 1 for lfe5u-25f, not 2: its multipliers take 18 x 18 bits, too few for several products"
    with pytest.raises(ConfigError, match=f"^--products-per-dsp {said}$"):
        hwgen.schedule(model, target="lfe5u-25f", products_per_dsp=2)
    shared = hwgen.schedule(model, products_per_dsp=2)
    assert isinstance(shared, Schedule)
    with pytest.raises(ConfigError, match=f"^folding: products_per_dsp of input {said}$"):
        hwgen.schedule(model, target="lfe5u-25f", folding=shared.folding)
    assert packing.choices(packing.AUTO, (0, 1, 2, 3), part) == (1, 0)
    assert packing.choices(packing.AUTO, (0, 1, 2, 3), device("xc7z020")) == (1, 0, 3)
    alone = hwgen.schedule(model, target="lfe5u-25f", products_per_dsp="auto")
    assert {product.packing for product in alone.products} == {1}


def test_only_rtl_is_generated(tmp_path: Path) -> None:
    model = str(MODELS / "two_bits.onnx")
    build = ["build", model, "-o", str(tmp_path / "project"), "--target", "lfe5u-25f"]
    for backend in ("hls", "all"):
        refused = CliRunner().invoke(main, [*build, "--backend", backend])
        assert refused.exit_code == 1
        assert (
            f"--backend {backend} writes HLS C++ for AMD's compiler, which has no lfe5u-25f; take --backend rtl, or a "
            f"--target of AMD's" in " ".join(refused.stderr.split())
        )
        assert not (tmp_path / "project").exists()
    built = CliRunner().invoke(main, [*build, "--backend", "rtl"])
    assert built.exit_code == 0, built.output
    predicted = cost.predict(hwgen.schedule(hwgen.load(model), target="lfe5u-25f")).whole.to_dict()
    assert f"RTL predicted to take {predicted['lut']:,} of 24,288 LUT" in " ".join(built.output.split())
    written = json.loads((tmp_path / "project" / "schedule.json").read_text())
    assert written["target"]["part"] == "lfe5u-25f-8bg256c"
    assert {kind: written["rtl"]["predicted_resources"][kind] for kind in cost.KINDS} == predicted
    assert not (tmp_path / "project" / "rtl" / "vivado_ooc.tcl").exists()
    assert (tmp_path / "project" / "rtl" / "Makefile").exists()
    assert "of 36 kbit, blocks of 18 kbit as halves" in (tmp_path / "project" / "report.html").read_text()
    # The default flow is that of the part, and the device that it is.
    with pytest.MonkeyPatch.context() as patch:
        asked = []
        patch.setattr("hwgen.synth.synthesise", lambda project, flow, **given: asked.append((flow, given["device"])))
        CliRunner().invoke(main, ["synth", str(tmp_path / "project"), "--json"])
    assert asked == [("ecp5", None)]
    assert [nextpnr.device_of(device(part)) for part in (*PARTS, "xc7z020")] == ["25k", "45k", "85k", "45k"]


def test_exploration_is_for_the_part(tmp_path: Path) -> None:
    model = str(SIZES / "two_bits_4_6.onnx")
    arguments = ["explore", model, "-o", str(tmp_path), "--target", "lfe5u-25f", "--fit", "fastest"]
    shown = CliRunner().invoke(main, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    data = json.loads(shown.stdout)
    (point,) = (point for point in data["points"] if point["chosen"])
    design = hwgen.schedule(hwgen.load(model), target="lfe5u-25f", folding=point["folding"])
    whole = cost.predict(design, "ecp5").whole.to_dict()
    assert {kind: point[kind] for kind in cost.KINDS} == whole != cost.predict(design, "xc7").whole.to_dict()
    assert "Block RAM, 36 kbit" in (tmp_path / "pareto.html").read_text()


def test_the_rtl_is_that_of_other_parts() -> None:
    # What becomes a DSP or block RAM is decided once for all families; only the comments name the target.
    model = hwgen.load(MODELS / "default.onnx")
    files = [rtl.generate(hwgen.schedule(model, target=part), "one origin") for part in ("xc7z020", "lfe5u-25f")]
    assert files[0].pop("vivado_ooc.tcl")
    assert files[0] == files[1]
