# SPDX-License-Identifier: Apache-2.0
"""HLS C++ of several nodes: every kind of node in C simulation, foldings, stalls, deadlocks, and names from models."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recurrent_networks
from conftest import MODELS
from recurrent_networks import HIDDEN, X, constant_state, rnn
from test_networks import export

import hwgen
from hwgen import vectors
from hwgen.backends.hls import generate
from hwgen.dataflow import BufferNode, CellNode, ConcatNode, Dataflow, DenseNode
from hwgen.errors import ToolError
from hwgen.folding import Folding, divisors, legal_hidden_pe
from hwgen.layers import (
    Activation,
    ArgmaxLayer,
    ConcatLayer,
    DenseLayer,
    InitialState,
    Layer,
    QuantizedTensor,
    QuantizeLayer,
    Requantization,
    RnnLayer,
    SelectLayer,
    Wire,
)
from hwgen.network import BATCH, FEATURES, TIME, Network, NetworkInput, NetworkOutput
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.verify import csim, verify


def check(design: Dataflow | hwgen.Schedule, path: Path, sequences: int = 40, seed: int = 1) -> hwgen.Project:
    """Build, simulate without and with stalls on both sides, compare every code; returns the project."""
    project = hwgen.build(design, path / "project", backend="hls")
    report = project.verify(sequences=sequences, level="csim", seed=seed)
    assert report["passed"], report
    assert report["levels"]["csim"]["codes"] > 0
    return project


def random_folding(design: Dataflow, seed: int) -> dict[str, Any]:
    """A legal folding of every node that has one."""
    generator = random.Random(seed)
    folding: dict[str, Any] = {}
    for node in design.nodes:
        if isinstance(node, CellNode):
            cell = node.design.cell
            gates, h = len(cell.rows), cell.hidden_size
            choices = divisors(gates * h), divisors(cell.input_size), legal_hidden_pe(gates, h), divisors(h)
            folding[node.name] = Folding(*map(generator.choice, choices)).to_dict()
        elif isinstance(node, DenseNode):
            rows, columns = node.stage.weights.shape
            folding[node.name] = {"pe": generator.choice(divisors(rows)), "simd": generator.choice(divisors(columns))}
    return folding


def load(name: str, path: Path) -> Network:
    export(name, path / "model.onnx")
    return hwgen.load(path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "seed", "max_length"),
    [
        ("two bidirectional layers", 1, 13),
        ("states given", 2, 5),
        ("classifier", 3, 8),
        ("argmax", 4, None),
        ("sums shown twice", 5, None),
        ("states of another layer", 6, 13),
        ("features beside", 7, None),
    ],
)
def test_a_network_in_another_folding(name: str, seed: int, max_length: int | None, tmp_path: Path) -> None:
    """Sequences up to the greatest length follow each other without a gap."""
    network = load(name, tmp_path)
    design = hwgen.schedule(network)
    assert isinstance(design, Dataflow)
    folded = hwgen.schedule(network, folding=random_folding(design, seed), max_length=max_length)
    assert isinstance(folded, Dataflow)
    assert folded.foldings() != design.foldings()
    check(folded, tmp_path, seed=seed)


# What stands around recurrent layers, without one: it compiles fast.

GRID = Quantizer((0.5,), (1,), IntegerType(3, False))
SIGNS = Quantizer((1.0,), (0,), IntegerType(1, True, bipolar=True))
SUMS = Quantizer((1.0,), (0,), IntegerType(40, True))


def weights(rows: int, columns: int, quantizer: Quantizer, seed: int) -> QuantizedTensor:
    generator, codes = np.random.default_rng(seed), quantizer.codes
    drawn = generator.choice([-1, 1], (rows, columns)) if codes.bipolar else None
    if drawn is None:
        drawn = generator.integers(codes.lo, codes.hi, (rows, columns), endpoint=True)
    return QuantizedTensor(drawn, quantizer)


def network_of(
    layers: tuple[Layer, ...], inputs: tuple[Wire, ...], shown: dict[str, Wire], name: str = "parts"
) -> Network:
    """Layers between graph inputs called after their wires and outputs with names of their own."""

    def axes(wire: Wire) -> tuple[str, ...]:
        return (TIME, BATCH, FEATURES) if wire.per_step else (BATCH, FEATURES)

    return Network(
        name,
        layers,
        tuple(NetworkInput(wire.name, axes(wire), (wire,)) for wire in inputs),
        tuple(NetworkOutput(output, axes(wire), (wire,)) for output, wire in shown.items()),
        source=b"made by a test",
    )


def parts() -> Network:
    """Every kind of node but a cell; outputs are called what a test bench might call something of its own."""
    x, signs = Wire("x", 6, True, GRID), Wire("signs", 4, False, SIGNS)
    # Codes of two bits, so that many are equal, with offsets of which two are equal as well.
    levels = Wire("levels", 5, True, Quantizer((1.0,), (0,), IntegerType(2, True)), (0.25, 0.0, 0.5, 0.5, 0.0))
    relu = Requantization(Activation.RELU, Quantizer((0.75,), (0,), IntegerType(5, False)))
    scaled = DenseLayer(
        "scaled",
        x,
        weights(4, 6, Quantizer((0.25, 0.3, 0.125, 0.7), (0, 0, 0, 0), IntegerType(4, True)), 1),
        np.array([0.3, -0.2, 0.7, 1.1]),
        relu,
        Wire("scaled", 4, True, relu.quantizer),
    )
    back = QuantizeLayer("back", scaled.wire, Requantization(Activation.IDENTITY, GRID))
    # The computed part comes first: the other one must wait for it.
    both = ConcatLayer("both", (back.wires[0], x))
    third_last, second = SelectLayer("third_last", both.wires[0], -3), SelectLayer("second", x, 1)
    best, first = ArgmaxLayer("best", levels), ArgmaxLayer("first", replace(second.wires[0]))
    counted = DenseLayer("counted", signs, weights(3, 4, SIGNS, 2), None, None, Wire("counted", 3, False, SUMS))
    plain = QuantizeLayer(
        "plain", signs, Requantization(Activation.IDENTITY, Quantizer((0.5,), (2,), IntegerType(4, False)))
    )
    layers = (scaled, back, both, third_last, second, best, first, counted, plain)
    shown = {
        "count": scaled.wire,
        "values": both.wires[0],
        "both_vectors": third_last.wires[0],
        "x_word": second.wires[0],
        "idle": best.wires[0],
        "hls": first.wires[0],
        "wrong": counted.wire,
        "task_scaled_product": plain.wires[0],
    }
    return network_of(layers, (x, levels, signs), shown)


@pytest.mark.parametrize(
    "folding", [{}, {"scaled": {"pe": 2, "simd": 3}, "counted": {"pe": 3, "simd": 2}}, {"scaled": {"pe": 4, "simd": 6}}]
)
def test_nodes_around_cells(folding: dict[str, Any], tmp_path: Path) -> None:
    design = hwgen.schedule(parts(), folding=folding)
    assert isinstance(design, Dataflow)
    kinds = {type(node).__name__ for node in design.nodes}
    assert kinds >= {"DenseNode", "MapNode", "ForkNode", "ConcatNode", "SelectNode", "ArgmaxNode"}, kinds
    dense = next(node for node in design.nodes if isinstance(node, DenseNode) and node.name == "scaled")
    assert dense.stage.step is not None
    assert dense.stage.step.step.channels == 4
    check(design, tmp_path, sequences=300)


def source_of(project: hwgen.Project) -> Path:
    return next((project.path / "hls" / "src").glob("*.cpp"))


@pytest.mark.parametrize(
    ("pattern", "replacement", "port"),
    [
        (r"kStep = 3;", "kStep = 2;", "both_vectors"),
        (r"\{1, 0, 2, 2, 0\}", "{1, 0, 0, 2, 0}", "idle"),
        (r"code > greatest \|\|", "code >= greatest ||", "hls"),
        (r"i \* In::kLanes \+ lane\)", "lane)", "count"),
        (r"if \(step == P::kStep\)", "if (step <= P::kStep)", "x_word"),
    ],
    ids=["select", "rank", "first of equals", "channel", "from the first"],
)
def test_an_error_planted_in_a_node_is_caught(pattern: str, replacement: str, port: str, tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(parts()), tmp_path / "project", backend="hls")
    files = [path for path in (project.path / "hls").rglob("*.[ch]pp") if re.search(pattern, path.read_text())]
    assert len(files) == 1, files
    files[0].write_text(re.sub(pattern, replacement, files[0].read_text()))
    report = project.verify(sequences=60, level="csim")
    assert report["levels"]["integer"]["mismatches"] == 0
    assert report["levels"]["csim"]["mismatches"] > 0, port


def with_buffers(design: Dataflow, vectors: int) -> Dataflow:
    """The design with buffers of so many vectors in front of its concatenation, and of one elsewhere."""
    joined = {stream for node in design.nodes if isinstance(node, ConcatNode) for stream in node.inputs}
    nodes = tuple(
        replace(node, depth=(vectors if node.outputs[0] in joined else 1) * node.inputs[0].beats)
        if isinstance(node, BufferNode)
        else node
        for node in design.nodes
    )
    assert nodes != design.nodes
    return replace(design, nodes=nodes)


def longest_sequences(design: Dataflow, length: int, count: int) -> vectors.Sequences:
    """Sequences of one length, all codes at random."""
    random_ones = vectors.random_sequences(design, count, seed=1)
    (port,) = design.inputs
    codes = np.random.default_rng(1).integers(port.codes.lo, port.codes.hi, (length * count, port.width), endpoint=True)
    return replace(random_ones, lengths=(length,) * count, codes={port.name: codes})


def test_a_buffer_of_a_whole_sequence_is_enough_and_needed(tmp_path: Path) -> None:
    """The forward path holds what comes while the other one stores the sequence; nothing else may have to."""
    length = 6
    design = hwgen.schedule(load("bidirectional", tmp_path), max_length=length)
    assert isinstance(design, Dataflow)
    data = longest_sequences(design, length, 12)
    enough = hwgen.build(with_buffers(design, length), tmp_path / "enough", backend="hls")
    assert verify(enough, level="csim", given=data)["passed"]
    # What the cell itself holds is less than four steps, and the buffer in front of it one more.
    short = hwgen.build(with_buffers(design, length - 5), tmp_path / "short", backend="hls")
    with pytest.raises(ToolError, match="DEADLOCK"):
        verify(short, level="csim", given=data)


def test_a_part_waits_for_one_that_is_computed_from_the_same_source(tmp_path: Path) -> None:
    """What waits in front of a concatenation is held: with less, the fork could not feed the computed part."""
    project = hwgen.build(hwgen.schedule(parts()), tmp_path / "project", backend="hls")
    design = project.design
    assert isinstance(design, Dataflow)
    concat = next(node for node in design.nodes if isinstance(node, ConcatNode))
    (buffer,) = (node for node in design.nodes if isinstance(node, BufferNode))
    assert buffer.outputs[0] == concat.inputs[1]
    (direct,), source = buffer.inputs, source_of(project)
    text, count = re.subn(rf", {buffer.depth}>(\s+{direct.name}\()", r", 2>\1", source.read_text())
    assert (buffer.depth, direct.beats, count) == (18, 6, 1)
    source.write_text(text)
    with pytest.raises(ToolError, match="DEADLOCK"):
        project.verify(sequences=4, level="csim")


def test_reversals_of_equal_shape_have_memories_of_their_own(tmp_path: Path) -> None:
    """Input and output of a reversed layer may agree in everything: types, lanes, beats and length."""
    network = hwgen.load(MODELS / "default.onnx")
    layer = network.layer
    # As many inputs as units: the input takes the hidden weights.
    gates = tuple(replace(gate, input_weight=gate.hidden_weight) for gate in layer.gates)
    square = replace(layer, gates=gates, input_size=layer.hidden_size, input=layer.output, reverse=True)
    (given,) = network.inputs
    (wire,) = given.wires
    wide = replace(wire, features=layer.hidden_size, quantizer=layer.output)
    network = replace(network, layers=(square,), inputs=(replace(given, wires=(wide,)),))
    design = hwgen.schedule(network, folding=Folding(4, 2, 8, 2))
    assert isinstance(design, hwgen.Schedule)
    x, y = design.inputs[0], design.outputs[0]
    assert (x.codes.storage, x.lanes, x.beats) == (y.codes.storage, y.lanes, y.beats)
    check(design, tmp_path)


@pytest.mark.parametrize("name", ["argmax", "types", "parameters", "step"])
def test_a_model_may_be_called_like_a_header(name: str) -> None:
    design = hwgen.schedule(replace(parts(), name=name))
    files = generate(design, "origin")
    assert {f"src/{name}_top.hpp", f"src/{name}_top.cpp"} <= set(files)
    stems = [Path(path).stem for path in files if path.endswith(".hpp")]
    assert len(stems) == len(set(stems))


def test_clang_accepts_the_code_of_a_network_without_a_warning(tmp_path: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        assert not os.environ.get("CI"), "CI must install clang++"
        pytest.skip("clang++ is not installed; CI installs it")
    project = hwgen.build(hwgen.schedule(parts()), tmp_path / "project", backend="hls")
    binary = csim.compile_testbench(project, compiler=compiler)
    command = [str(binary), "--vectors", str(project.path / "hls" / "vectors"), "--stall", "30"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_code_of_a_network_uses_nothing_that_only_simulates() -> None:
    for path, text in generate(hwgen.schedule(parts()), "origin").items():
        if path.startswith("src/"):
            code = re.sub(r"//.*", "", text)
            found = re.findall(r"\b(?:float|double|new|malloc|while|goto|std::vector|throw)\b", code)
            assert not found, f"{path}: {found}"
            assert max(map(len, code.splitlines())) <= 120, path


# Plain RNNs: one gate, whose code is the hidden state.

COARSE = Quantizer((2.0**-3,), (0,), IntegerType(4, True))
POSITIVE = Quantizer((0.0213,), (3,), IntegerType(8, False))
WIDE = Quantizer((0.0317,), (0,), IntegerType(10, True))
RNNS: dict[str, tuple[RnnLayer, tuple[int, int, int, int]]] = {
    "relu of unsigned codes with zero point": (
        rnn(activation=Activation.RELU, accumulator=WIDE, output=POSITIVE),
        (2, 6, 4, 2),
    ),
    "scales by channel, constant state": (
        rnn(channels=HIDDEN, accumulator=WIDE, initial=constant_state(X)),
        (8, 2, 2, 8),
    ),
    "sigmoid, 4 bits, state given, reversed": (
        rnn(
            activation=Activation.SIGMOID,
            output=COARSE,
            accumulator=COARSE,
            bits=4,
            initial=InitialState(COARSE, source="h0"),
            reverse=True,
        ),
        (4, 1, 1, 4),
    ),
}


@pytest.mark.parametrize("name", RNNS)
def test_a_plain_rnn(name: str, tmp_path: Path) -> None:
    layer, (pe, simd, hidden_pe, hidden_simd) = RNNS[name]
    source = layer.initial_hidden.source
    states = [] if source is None else [Wire(source, HIDDEN, False, layer.output)]
    folding = Folding(pe, simd, hidden_pe, hidden_simd).to_dict()
    limit = 13 if layer.reverse else None
    model = recurrent_networks.network([layer], list(layer.wires), states)
    design = hwgen.schedule(model, folding={"rnn": folding}, max_length=limit)
    results = vectors.integer_results(design, vectors.random_sequences(design, 40, seed=1))
    assert all(len(np.unique(codes)) > 3 for codes in results.codes.values())
    check(design, tmp_path)


def test_rnns_in_both_directions_with_a_head(tmp_path: Path) -> None:
    forward, backward = rnn("forward", seed=2), rnn("backward", seed=3, reverse=True)
    both = recurrent_networks.side_by_side("both", forward, backward)
    head = recurrent_networks.dense("head", both.wires[0], 5, seed=4)
    model = recurrent_networks.network([forward, backward, both, head], [head.wire, backward.wires[1]])
    check(hwgen.schedule(model, max_length=8), tmp_path)
