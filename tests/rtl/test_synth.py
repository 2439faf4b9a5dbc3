# SPDX-License-Identifier: Apache-2.0
"""Synthesis with the open tools: what a design needs, and how fast it is once placed."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from scan_graphs import random_parameters, random_scales, scan_model

import hwgen
from benchmarks.synthesis import networks
from hwgen import cost, mapping, toolchain
from hwgen.backends import rtl
from hwgen.backends.naming import top_name
from hwgen.errors import ConfigError, ToolError
from hwgen.folding import Folding
from hwgen.schedule import Schedule
from hwgen.synth import synthesise, yosys

MODELS = Path(__file__).parents[1] / "models"
SIZES = Path(__file__).parents[2] / "benchmarks" / "synthesis" / "models"


def project_of(model: Path, folder: Path, folding: tuple[int, int, int, int] | None = None) -> hwgen.Project:
    design = hwgen.schedule(hwgen.load(model), folding=Folding(*folding) if folding else None)
    return hwgen.build(design, folder / "project", backend="rtl")


def test_measured_and_predicted_resources_stand_beside_each_other(tmp_path: Path) -> None:
    project = project_of(MODELS / "default.onnx", tmp_path)
    design = project.design
    assert isinstance(design, Schedule)
    result = synthesise(project, "xc7")
    measured, predicted = result["measured"], result["predicted"]
    macs = sum(product.pe * product.simd for product in design.products)
    assert result["units"]["hwgen_matvec"]["dsp"] == macs
    assert measured["dsp"] >= macs
    # 100 words of 4 x 4 x 8 bits for the hidden product, of 4 x 2 x 8 for the input product.
    assert measured["bram"] == 3
    assert (predicted["dsp"], predicted["bram"]) == (measured["dsp"], measured["bram"])
    assert predicted == cost.predict(design).whole.to_dict()
    for kind in ("lut", "ff"):
        assert result["relative_error"][kind] == pytest.approx(predicted[kind] / measured[kind] - 1, abs=1e-4)
        assert abs(result["relative_error"][kind]) < 0.2
    assert json.loads((project.path / "synth.json").read_text())["xc7"] == result
    schedule = json.loads((project.path / "schedule.json").read_text())
    assert schedule["rtl"]["predicted_resources"]["dsp"] == measured["dsp"]


# A layer and what stands behind it; neither network is among those that the model was fitted to.
@pytest.mark.parametrize("seed", [20, 127])
def test_networks_are_predicted(seed: int, tmp_path: Path) -> None:
    assert seed not in networks.FITTED
    design = networks.NetworkPoint(seed).schedule()
    result = synthesise(hwgen.build(design, tmp_path / "project", backend="rtl"), "xc7", units=seed == 127)
    assert result["predicted"] == cost.predict(design).whole.to_dict()
    for kind in ("dsp", "bram"):
        assert result["predicted"][kind] == result["measured"][kind]
    for kind in ("lut", "ff"):
        assert abs(result["relative_error"][kind]) < 0.25
    if "nodes" in result:
        nodes = result["nodes"]
        names = sorted(name for entry in nodes.values() for name in entry["nodes"])
        assert names == sorted(node.name for node in design.nodes)
        assert {"layer0", "out", "hwgen_stream_narrow", "hwgen_argmax"} <= set(nodes)
        # Nothing but the register of the reset stands beside them.
        for kind in ("dsp", "bram", "ff"):
            whole = sum(entry["measured"][kind] for entry in nodes.values())
            assert whole + (kind == "ff") == sum(unit[kind] for unit in result["units"].values())
        for entry in nodes.values():
            assert entry["measured"]["lut"] > 0
            assert entry["predicted"]["dsp"] == entry["measured"]["dsp"]


@pytest.mark.parametrize("frontend", yosys.FRONTENDS)
@pytest.mark.parametrize(
    ("model", "folding"),
    [
        (MODELS / "default.onnx", (8, 5, 4, 10)),
        (MODELS / "narrow4.onnx", None),
        (SIZES / "default_4_8.onnx", (2, 2, 1, 2)),
    ],
    ids=("8 bits", "4 bits", "searches"),
)
def test_both_frontends_map_to_the_same_dsps_and_block_rams(
    model: Path, folding: tuple[int, int, int, int] | None, frontend: str, tmp_path: Path
) -> None:
    project = project_of(model, tmp_path, folding)
    measured = yosys.resources(project, "xc7", tmp_path, frontend)
    assert isinstance(project.design, Schedule)
    predicted = cost.predict(project.design).whole
    assert (measured["dsp"], measured["bram"]) == (predicted.dsp, predicted.bram)


# What lies between the layers of a network; ``check`` finds what nothing drives.
# The front end of all other syntheses runs here with make test-long alone.
@pytest.mark.parametrize("frontend", [pytest.param("verilog", marks=pytest.mark.long), "slang"])
def test_both_frontends_read_the_units_between_layers(frontend: str, tmp_path: Path) -> None:
    units = {
        "hwgen_stream_fork": {"Outputs": 3},
        "hwgen_stream_narrow": {"Factor": 5},
        "hwgen_stream_widen": {"Factor": 5},
        "hwgen_stream_buffer": {"Depth": 1024, "Width": 8, "Block": 1},
        "hwgen_stream_concat": {},
        "hwgen_stream_split": {"Beats": 5},
        "hwgen_stream_keep": {"Beats": 5, "Turn": 1},
        "hwgen_stack_join": {"FirstBeats": 2, "SecondBeats": 5},
        "hwgen_sequence_turns": {"Beats": 5, "Length": 40},
        "hwgen_sequence_meet": {"Beats": 5, "Length": 40, "Lanes": 2},
        "hwgen_step_select": {"Index": 3, "Beats": 5},
        "hwgen_argmax": {"Count": 7},
        "hwgen_stream_credit": {"Depth": 5},
        "hwgen_stream_index": {"Count": 5},
    }
    inner = "hwgen_select", "hwgen_turns", "hwgen_stream_fifo"
    sources = " ".join(str(rtl.library() / f"{unit}.sv") for unit in [*units, *inner])
    commands = []
    for unit, parameters in units.items():
        # The parameters of a top module are given to slang as it reads, to the other as it elaborates.
        read, elaborated = f"read_slang --top {unit}", ""
        for name, value in parameters.items():
            read, elaborated = f"{read} -G {name}={value}", f"{elaborated} -chparam {name} {value}"
        if frontend == "verilog":
            read = "read_verilog -sv -defer"
        commands += [
            "design -reset",
            f"{read} -DSYNTHESIS {sources}",
            *([f"hierarchy -top {unit}{elaborated}"] if frontend == "verilog" else []),
            f"synth_xilinx -family xc7 -noiopad -noclkbuf -flatten -top {unit}",
            "check -assert",
            f"tee -q -o {unit}.json stat -json",
        ]
    yosys.run_script(commands, tmp_path, "units between layers")
    cells = {}
    for unit in units:
        design = json.loads((tmp_path / f"{unit}.json").read_text())["design"]
        cells[unit] = design["num_cells_by_type"]
    assert cells["hwgen_stream_buffer"]["RAMB18E1"] == 1
    assert cells["hwgen_step_select"]["RAM32M"] == 2
    # Nothing but the counter of words: data passes.
    assert sum(count for cell, count in cells["hwgen_stream_narrow"].items() if cell.startswith("FD")) == 3


def test_an_unknown_frontend_is_refused(tmp_path: Path) -> None:
    project = project_of(MODELS / "two_bits.onnx", tmp_path)
    with pytest.raises(ConfigError, match=r"^frontend must be one of verilog, slang, not 'vhdl'$"):
        yosys.resources(project, "xc7", tmp_path, "vhdl")


# Yosys 0.70 can lose drivers as it packs DSPs: the netlist is simulated with the models of its cells.
@pytest.mark.parametrize("folding", [(4, 2, 4, 4), pytest.param((2, 1, 2, 1), marks=pytest.mark.long)], ids=str)
def test_the_netlist_computes_the_same(folding: tuple[int, int, int, int], tmp_path: Path) -> None:
    simulate_netlist(project_of(SIZES / "default_4_8.onnx", tmp_path, folding), tmp_path)


def test_so_does_one_whose_weights_are_wider_than_the_operand_of_a_dsp(tmp_path: Path) -> None:
    """Products of different scales in a Scan; the weights then hold the factors that bring them together.

    Small enough to do without block RAM, whose model cannot be simulated.
    """
    parameters = random_parameters(2, 2, 3)
    scales = random_scales(parameters, 1)
    coarse = {gate: 8 * scale for gate, scale in scales.accumulator.items()}
    scales = replace(scales, output=0.0121, accumulator=coarse)
    onnx.save(scan_model(parameters, scales), tmp_path / "model.onnx")
    project = project_of(tmp_path / "model.onnx", tmp_path)
    assert isinstance(project.design, Schedule)
    cell, predicted = project.design.cell, cost.predict(project.design).whole
    assert min(gate.weight.bits for gate in cell.gates) > mapping.DSP_WEIGHT_BITS
    measured = yosys.resources(project, "xc7", tmp_path)
    assert (measured["dsp"], measured["bram"]) == (predicted.dsp, predicted.bram) and not predicted.bram
    # Thresholds of 39 bits in rows that hardly differ.
    assert abs(predicted.lut / measured["lut"] - 1) < 0.18
    simulate_netlist(project, tmp_path)


def simulate_netlist(project: hwgen.Project, tmp_path: Path) -> None:
    """Synthesise for xc7 and compare the netlist with the golden vectors."""
    folder, netlist = project.path / "rtl", tmp_path / "netlist.v"
    yosys.write_netlist(project, "xc7", netlist)
    top = top_name(project.design)
    command = [str(toolchain.verilator()), "--cc", "--exe", "--build", "--no-timing", "--timescale", "1ns/1ps"]
    # The models of the cells are not ours to lint.
    command += ["-Wno-fatal", "-Wno-lint", "-Wno-style", "--prefix", "Vtop", "--top-module", top]
    command += [
        "-MAKEFLAGS",
        "CFG_CXXFLAGS_PCH_I=-include",
        "-MAKEFLAGS",
        f"PYTHON3={sys.executable}",
        "-CFLAGS",
        f"-std=c++17 -O0 -I{folder / 'tb'}",
    ]
    command += ["-Mdir", str(tmp_path / "build"), "-o", "Vtop", str(netlist), str(yosys.cell_models("xc7"))]
    toolchain.run([*command, str(folder / "tb" / "harness.cpp")], "compiling the netlist")
    printed = toolchain.run([str(tmp_path / "build" / "Vtop"), "--stall", "25"], "netlist simulation", cwd=folder)
    assert re.search(r"^\d{2,} steps, \d{3,} codes compared, 0 mismatches$", printed, re.M), printed


def test_a_lost_driver_fails_the_synthesis(tmp_path: Path) -> None:
    project = project_of(SIZES / "default_4_8.onnx", tmp_path, (4, 2, 4, 4))
    matvec = project.path / "rtl" / "lib" / "hwgen_matvec.sv"
    text = matvec.read_text()
    assert "(* keep *)" in text
    matvec.write_text(text.replace("(* keep *)", ""))
    with pytest.raises(ToolError, match="Found .* problems in 'check -assert'"):
        yosys.resources(project, "xc7", tmp_path)


def test_a_small_design_is_placed_on_ecp5(tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project", backend="rtl")
    result = synthesise(project, "ecp5", device="25k")
    assert result["device"] == "ECP5-25k, speed 8"
    assert result["fmax_mhz"] > 50
    assert result["critical_path"]


def test_synthesis_is_refused_without_rtl_or_for_an_unknown_flow(tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project")
    with pytest.raises(ConfigError, match=r"^synth needs RTL; build the project with --backend rtl or all$"):
        synthesise(project, "xc7")
    with pytest.raises(ConfigError, match=r"^--flow must be one of xc7, xcup, ecp5, not 'quartus'$"):
        synthesise(project, "quartus")
