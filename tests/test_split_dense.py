# SPDX-License-Identifier: Apache-2.0
"""A dense layer in two halves behind both directions: what it computes, costs, and where there is none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hardware import Record, assert_exact
from recurrent_networks import dense, network, rnn, side_by_side
from split_models import MAX_LENGTH, NETWORKS, pair, stacked, stepped
from test_networks import FEATURES, Model, linear, lstm

import hwgen
from hwgen import cost
from hwgen.cli import main
from hwgen.dataflow import CellNode, ConcatNode, Dataflow, DenseNode, MeetNode
from hwgen.errors import ConfigError
from hwgen.explore.space import space
from hwgen.explore.tables import KINDS
from hwgen.integer import dot
from hwgen.layers import Layer
from hwgen.network import Network
from hwgen.project import open_project
from hwgen.report import data as report
from hwgen.rtl_cycles import predict


def split(model: Network, **options: Any) -> Dataflow:
    design = hwgen.schedule(model, max_length=MAX_LENGTH, split_dense=True, **options)
    assert isinstance(design, Dataflow)
    return design


@pytest.mark.parametrize("name", NETWORKS)
def test_both_halves_make_the_sums_of_the_whole(name: str) -> None:
    """Every sum is within the range that its width was chosen for, the least and the greatest are reached."""
    model = NETWORKS[name]()
    nodes = [node.design for node in split(model).nodes if isinstance(node, DenseNode)]
    # Where the backward direction is the first one its half is.
    halves = nodes[::-1] if name == "ranked" else nodes
    design = hwgen.schedule(model, max_length=MAX_LENGTH)
    assert isinstance(design, Dataflow)
    (whole,) = (node.stage for node in design.nodes if isinstance(node, DenseNode))
    assert [node.name.rpartition("_")[2] for node in halves] == ["forward", "backward"]
    forward, backward = halves
    assert (forward.stage.bias == whole.bias).all() and not backward.stage.bias.any()
    widths = [half.stage.weights.shape[1] for half in halves]
    generator = np.random.default_rng(1)
    codes = forward.source
    a, b = (generator.integers(codes.lo, codes.hi, (500, width), endpoint=True) for width in widths)
    found = sum(dot(x, half.stage.weights) + half.stage.bias for x, half in zip((a, b), halves, strict=True))
    order = (b, a) if name == "ranked" else (a, b)
    wanted = dot(np.concatenate(order, axis=-1), whole.weights) + whole.bias
    np.testing.assert_array_equal(found, wanted)
    for half in halves:
        ends = (
            np.where(half.stage.weights > 0, codes.hi, codes.lo),
            np.where(half.stage.weights > 0, codes.lo, codes.hi),
        )
        high, low = ((end * half.stage.weights).sum(axis=1) + half.stage.bias for end in ends)
        assert (low.min(), high.max()) == (half.stage.total.lo, half.stage.total.hi)


def test_sums_leave_as_soon_as_the_last_step_is_computed() -> None:
    """A dense layer as slow as the recurrences then costs no time of its own."""
    layer = {"input": {"pe": 2, "simd": 2}, "hidden": {"pe": 2, "simd": 2}}
    layers = {"forward": layer, "backward": layer}
    whole = hwgen.schedule(stepped(), max_length=64, folding=layers | {"head": {"pe": 6, "simd": 1}})
    heads = {f"head_{half}": {"pe": 6, "simd": 1} for half in ("forward", "backward")}
    halves = hwgen.schedule(stepped(), max_length=64, folding=layers | heads, split_dense=True)
    wide = hwgen.schedule(stepped(), max_length=64, folding=layers | {"head": {"pe": 6, "simd": 8}})
    before, lone, after = (next(iter(predict(design, [64]).ports.values())) for design in (whole, wide, halves))
    # All of them begin when the recurrences end; then sums only leave, six a cycle.
    assert max(abs(first - before[0]) for first, _ in (lone, after)) < 16
    assert after[1] - after[0] + 1 == 64
    # Eight times the products, behind the recurrences, are not as fast.
    assert after[1] < lone[1] < before[1]


def test_sums_of_many_outputs_meet_no_slower_than_layers_work() -> None:
    design = split(stepped(outputs=30))
    assert isinstance(design.bottleneck, CellNode)
    (meet,) = (node for node in design.nodes if isinstance(node, MeetNode))
    assert 2 * (meet.outputs[0].beats + 1) <= design.step_cycles < 2 * (30 + 1)


def test_a_design_says_that_its_dense_layer_is_split(tmp_path: Path) -> None:
    design = split(stepped())
    kinds = [type(node) for node in design.nodes]
    assert kinds.count(DenseNode) == 2 and kinds.count(MeetNode) == 1 and ConcatNode not in kinds
    assert json.loads(json.dumps(design.to_dict()))["split_dense"] is True
    assert "split_dense" not in hwgen.schedule(stepped(), max_length=MAX_LENGTH).to_dict()
    stored = report.describe(design, ("rtl",), {}, None, None)["memories"]
    found = {(entry["unit"], entry["name"]): entry["words"] for entry in stored}
    (meet,) = (node for node in design.nodes if isinstance(node, MeetNode))
    assert found["head", "sums of both directions"] == MAX_LENGTH * meet.outputs[0].beats
    assert ("backward", "reverse x") in found and ("backward", "reverse y") not in found


def test_a_project_with_halves_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(3)
    layers = {"lstm": lstm(hidden=4, bidirectional=True), "head": linear(8, 6)}
    module = Model(lambda m, x: m["head"](m["lstm"](x)[0]), **layers).train()
    for _ in range(3):
        module(torch.randn(8, 2, FEATURES))
    file = tmp_path / "model.onnx"
    hwgen.export_qonnx(module.eval(), torch.randn(8, 1, FEATURES), file)
    command = ["build", str(file), "-o", str(tmp_path / "p"), "--backend", "rtl", "--split-dense", "--max-length", "9"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    design = split(hwgen.load(file))
    assert [type(node) for node in design.nodes].count(MeetNode) == 1
    assert open_project(tmp_path / "p").design.to_dict() == design.to_dict()


@pytest.mark.parametrize("name", ["stepped", "ranked"])
def test_the_design_space_has_the_halves(name: str) -> None:
    model = NETWORKS[name]()
    where = space(split(model))
    generator = np.random.default_rng(3)
    rows = tuple(generator.integers(0, len(table), 12) for table in where.tables)
    assert sorted(table.name for table in where.tables[2:]) == ["head_backward", "head_forward"]
    found = where.predict(rows, 9)
    for place in range(12):
        design = split(model, folding=where.folding(tuple(int(row[place]) for row in rows)))
        whole = cost.predict(design).whole
        for kind in KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), kind
        last = predict(design, [9]).last
        assert abs(int(found.latency[place]) - last) <= 0.05 * last


def refusals() -> list[tuple[Network, dict[str, Any], str]]:
    """Networks and options, and what is said of them."""
    about = "--split-dense is about dense layers on every step of both directions of a recurrent layer side by side: "
    forward, backward = pair()
    joined = side_by_side("both", forward, backward)
    head = dense("head", joined.wires[0], 6, seed=4)
    layers: list[Layer] = [forward, backward, joined, head]
    single = rnn("single", hidden=4)
    alone = dense("head", single.wires[0], 4, seed=4)
    both_forward = [rnn(name, hidden=4, seed=seed) for seed, name in enumerate(("one", "other"))]
    same_way = side_by_side("both", *both_forward)
    second = rnn("second", forward.wires[0].name, 4, 4, seed=5, reverse=True)
    mixed = side_by_side("both", forward, second)
    heads = [dense(name, joined.wires[0], 3, seed=4) for name in ("one", "other")]
    no_layers = "reads something else than every step of two layers, one of them reversed"
    return [
        (network([single, alone], [alone.wire]), {}, f"{about}this model has none; leave the option out"),
        (
            network([*both_forward, same_way, dense("head", same_way.wires[0], 3, seed=4)], [alone.wire]),
            {},
            f"{about}'head' {no_layers}; leave the option out",
        ),
        (
            network([forward, second, mixed, dense("head", mixed.wires[0], 3, seed=4)], [alone.wire]),
            {},
            f"{about}'head' reads two layers that do not read the same; leave the option out",
        ),
        (
            network([*layers[:3], *heads], [found.wire for found in heads]),
            {},
            f"{about}'one' is not the only one that reads both directions side by side; 'other' is not the only one "
            "that reads both directions side by side; leave the option out",
        ),
        (
            network(layers, [head.wire, backward.wires[0]]),
            {},
            f"{about}'head' is not the only one that reads the sequence of 'backward', which is to be reversed; leave "
            "the option out",
        ),
        (
            stepped(),
            {"share_engine": "directions"},
            "--split-dense and --share-engine exclude each other: a half works while its own direction does",
        ),
    ]


@pytest.mark.parametrize(("model", "options", "message"), refusals())
def test_where_there_are_no_halves_it_is_said_why(model: Network, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        hwgen.schedule(model, split_dense=True, **options)


def test_one_lstm_has_no_halves() -> None:
    model = hwgen.load(Path(__file__).parent / "models" / "default.onnx")
    with pytest.raises(ConfigError, match=r"^--split-dense is about a dense layer behind both directions; this model"):
        hwgen.schedule(model, split_dense=True)


def test_the_memory_of_the_sums_has_a_style(tmp_path: Path) -> None:
    block, luts = (cost.predict(split(stepped(), memory={"head": style})).whole for style in ("block", "distributed"))
    assert (block.bram - luts.bram) > 0 and block.lut < luts.lut
    message = (
        "^--memory head=block is built by --backend rtl only; of HLS C\\+\\+ the vendor's tool places this memory$"
    )
    with pytest.raises(ConfigError, match=message):
        hwgen.build(split(stepped(), memory={"head": "block"}), tmp_path / "project", backend="hls")
    with pytest.raises(ConfigError, match="^--memory head=constant: this memory is written as the design runs"):
        split(stepped(), memory={"head": "constant"})


@pytest.mark.parametrize(
    "name", ["stepped", *(pytest.param(name, marks=pytest.mark.long) for name in ("ranked", "stacked", "selected"))]
)
def test_codes_of_the_hls(name: str, tmp_path: Path, record_property: Record) -> None:
    assert_exact(split(NETWORKS[name]()), tmp_path, 20, record_property, "csim", backend="hls")


def test_an_input_may_be_shared_with_others() -> None:
    """The layer behind reads what both directions read: its buffer is as long as the way through the halves."""
    model = stacked()
    after = rnn("after", "x", hidden=4, seed=8)
    layers = [layer for layer in model.layers if layer.name != "after"]
    joined = side_by_side("x and head", after, replace(after, name="head"))
    head = next(layer for layer in layers if layer.name == "head")
    joined = replace(joined, parts=(after.wires[0], head.wires[0]))
    design = split(network([*layers, after, joined], [joined.wires[0]]))
    assert predict(design, [9, 1, 4, 9]).last > 0
