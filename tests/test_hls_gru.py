# SPDX-License-Identifier: Apache-2.0
"""GRU layers in HLS C++: integer model = C simulation in every code, whatever the folding; planted errors are found.

``tests/rtl/test_gru_rtl.py`` compares their RTL.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hardware import Record, assert_exact, random_foldings
from recurrent_networks import HIDDEN, UINT8, X, constant_state, dense, gru, network, rnn, side_by_side
from test_gru_cell import gru as onnx_model
from test_gru_cell import saved

import hwgen
from hwgen import vectors
from hwgen.backends.hls import generate
from hwgen.dataflow import CellNode, Dataflow
from hwgen.folding import Folding
from hwgen.integer_cells import IntegerGru
from hwgen.layers import GruLayer, InitialState, Wire
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.verify import csim

WIDE = Quantizer((0.0317,), (0,), IntegerType(10, True))
COARSE = Quantizer((2.0**-3,), (0,), IntegerType(4, True))
# Codes with zero points, for gates and for the hidden sum.
GATE = Quantizer((2.0**-6,), (5,), UINT8)
PART = Quantizer((2.0**-5,), (131,), UINT8)

# A layer, and the PE and SIMD of input and hidden product.  The three rows of a unit come side by side, of several
# units at once, or with PE 1 one after the other; beats of sums are narrowed, widened, both, or neither.
GRUS: dict[str, tuple[GruLayer, tuple[int, int, int, int]]] = {
    "all units at once, scales by channel, constant state": (
        gru(channels=HIDDEN, initial=constant_state(X)),
        (24, 6, 24, 8),
    ),
    "two units at once, sums of 10 bits": (gru(accumulator=WIDE), (4, 2, 6, 2)),
    "a unit at a time, zero points": (gru(sigmoid=GATE, part=PART), (8, 3, 3, 4)),
    "rows one after the other, no hidden bias": (gru(bias=0.0), (2, 6, 1, 8)),
    "4 bits, state given, reversed, one multiplier": (
        gru(
            accumulator=COARSE,
            part=COARSE,
            output=COARSE,
            bits=4,
            initial=InitialState(COARSE, source="h0"),
            reverse=True,
        ),
        (1, 1, 1, 1),
    ),
    "state given, all units at once": (gru(initial=InitialState(X, source="h0")), (1, 3, 24, 2)),
    "one unit": (gru(inputs=1, hidden=1, seed=3), (1, 1, 3, 1)),
}

OUTPUTS = ("gru_sequence", "gru_last_hidden")


def planned(name: str) -> Dataflow:
    """The design of a case, with its sequence and its last hidden state as outputs."""
    layer, (pe, simd, hidden_pe, hidden_simd) = GRUS[name]
    source = layer.initial_hidden.source
    states = [] if source is None else [Wire(source, HIDDEN, False, layer.output)]
    folding = {"gru": Folding(pe, simd, hidden_pe, hidden_simd).to_dict()}
    model = network([layer], list(layer.wires), states)
    design = hwgen.schedule(model, folding=folding, max_length=13 if layer.reverse else None, outputs=OUTPUTS)
    assert isinstance(design, Dataflow)
    return design


def assert_moving(design: Dataflow | hwgen.Schedule) -> None:
    """Every output takes several codes."""
    results = vectors.integer_results(design, vectors.random_sequences(design, 40, seed=1))
    assert all(len(np.unique(codes)) > 3 for codes in results.codes.values())


@pytest.mark.parametrize("name", GRUS)
def test_every_code_is_that_of_the_integer_model(name: str, tmp_path: Path, record_property: Record) -> None:
    design = planned(name)
    assert_moving(design)
    assert_exact(design, tmp_path, 40, record_property, "csim", backend="hls")


def test_layers_of_different_kinds_in_both_directions_and_a_head(tmp_path: Path, record_property: Record) -> None:
    first = gru("first", seed=3)
    second = rnn("second", "first.sequence", HIDDEN, 4, seed=4)
    there, back = (gru(name, "second.sequence", 4, 6, seed=5, reverse=name == "back") for name in ("there", "back"))
    both = side_by_side("both", there, back)
    head = dense("head", both.wires[0], 5, seed=6)
    model = network([first, second, there, back, both, head], [head.wire, back.wires[1]])
    design = hwgen.schedule(model, max_length=8)
    assert isinstance(design, Dataflow)
    folded = hwgen.schedule(model, max_length=8, folding=random_foldings(design, 2))
    assert_moving(folded)
    assert_exact(folded, tmp_path, 40, record_property, "csim", backend="hls")


def test_project_of_a_file_is_read_back_and_its_vectors_pass(tmp_path: Path) -> None:
    """A node as `hwgen calibrate` writes it; clang accepts its code without a warning as well."""
    design = hwgen.schedule(hwgen.load(saved(onnx_model(), tmp_path)))
    hwgen.build(design, tmp_path / "project", backend="hls")
    project = hwgen.open_project(tmp_path / "project")
    assert project.design.to_dict() == design.to_dict()
    compiler = shutil.which("clang++")
    if compiler is None:
        assert not os.environ.get("CI"), "CI must install clang++"
        compiler = "g++"
    binary = csim.compile_testbench(project, compiler=compiler)
    command = [str(binary), "--vectors", str(project.path / "hls" / "vectors"), "--stall", "30"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


SMALL = "4 bits, state given, reversed, one multiplier"


# One error for each value on the way from the sums to the state.
@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"kReset = 0;([^;]*)kUpdate = 1;", r"kReset = 1;\1kUpdate = 0;"),
        (r"hidden_bias\(group \* C::kUnits \+ row / C::kGates\)", "hidden_bias(0)"),
        (r"C::whole\(sums\.lane\[pe\]", "C::whole(total[pe]"),
        (r"C::kept\(z, h", "C::kept(r, h"),
        (r"rest = (\d+) - z", r"rest = \1 - 1 - z"),
        (r"const hidden_t before = first \? h0\[unit\] : h\[phase\]", "const hidden_t before = h[phase]"),
        (r"const hidden_t before = first \? h0\[unit\] : h\[phase\]", "const hidden_t before = h[!phase]"),
    ],
    ids=["gates", "hidden bias", "input sum", "update gate", "one", "given state", "old state"],
)
def test_a_planted_error_is_caught(pattern: str, replacement: str, tmp_path: Path) -> None:
    project = hwgen.build(planned(SMALL), tmp_path / "project", backend="hls")
    files = [path for path in (project.path / "hls").rglob("*gru_*.hpp") if re.search(pattern, path.read_text())]
    assert len(files) == 1, files
    files[0].write_text(re.sub(pattern, replacement, files[0].read_text()))
    report = project.verify(sequences=60, level="csim")
    assert report["levels"]["integer"]["mismatches"] == 0
    assert report["levels"]["csim"]["mismatches"] > 0


def test_project_says_what_it_computes(tmp_path: Path) -> None:
    design = planned("two units at once, sums of 10 bits")
    (cell,) = (node.design.cell for node in design.nodes if isinstance(node, CellNode))
    assert isinstance(cell, IntegerGru)
    project = hwgen.build(design, tmp_path / "project", backend="hls")
    certificate = json.loads((project.path / "certificate.json").read_text())
    assert certificate["all_proven"] and len(certificate["steps"]) == len(list(cell.steps()))
    files = generate(design, "origin")
    (parameters,) = (text for path, text in files.items() if path.endswith("gru_parameters.hpp"))
    assert parameters.count("/// Exact on") == len(list(cell.steps()))
    assert "gru: GRU of 8 units on 6 inputs." in parameters
    for path, text in files.items():
        if path.startswith("src/"):
            code = re.sub(r"//.*", "", text)
            found = re.findall(r"\b(?:float|double|new|malloc|while|goto|std::vector|throw)\b", code)
            assert not found, f"{path}: {found}"
            assert max(map(len, code.splitlines())) <= 120, path
