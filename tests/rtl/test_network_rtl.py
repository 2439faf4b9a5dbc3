# SPDX-License-Identifier: Apache-2.0
"""Networks of several layers in SystemVerilog: codes and cycles, whatever the folding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hardware import MAX_LENGTH, Record, assert_exact, plan
from recurrent_networks import network, rnn
from test_networks import export

import hwgen
from hwgen.dataflow import BufferNode, CellNode, Dataflow, DenseNode, NarrowNode, WidenNode
from hwgen.errors import ConfigError
from hwgen.rtl_cycles import period, predict

# One of each kind of unit and of each thing that stands between them.  Others are in test_exactness.py, and all of them
# are, with C simulation, with make test-long.
SHORT = (
    *("states given", "classifier", "argmax", "a step from the first", "two blocks", "a layer in front"),
    # The input of the first one is wider than what takes it.
    *("bidirectional", "states of another layer"),
)


@pytest.mark.parametrize("name", SHORT)
def test_codes_and_cycles(name: str, tmp_path: Path, record_property: Record) -> None:
    export(name, tmp_path / "model.onnx")
    # Every second one folded at random, at any of three clocks.
    seed = len(name)
    design = plan(hwgen.load(tmp_path / "model.onnx"), seed if seed % 2 else None, clock_mhz=(50, 100, 200)[seed % 3])
    assert_exact(design, tmp_path, 20, record_property, "rtl", backend="rtl")


def folded(tmp_path: Path, name: str, **options: Any) -> Dataflow:
    export(name, tmp_path / "model.onnx")
    design = plan(hwgen.load(tmp_path / "model.onnx"), **options)
    assert isinstance(design, Dataflow)
    return design


def test_the_slowest_layer_sets_the_rate_and_the_others_keep_up(tmp_path: Path) -> None:
    design = folded(tmp_path, "two bidirectional layers", steps_per_second=1e6)
    assert design.step_cycles <= 100
    assert all(node.cycles <= 100 for node in design.nodes)
    # Sequences behind each other: what one more costs are the cycles of its steps in the slowest layer.
    ends = [predict(design, [20] * count).last for count in (6, 7, 8)]
    assert ends[2] - ends[1] == ends[1] - ends[0] <= 20 * 100


def test_layers_work_side_by_side(tmp_path: Path) -> None:
    """A stack takes about as long as one of its layers: (T + L - 1) * II, not T * L * II."""
    design = folded(tmp_path, "three layers, coupled")
    cells = [node for node in design.nodes if isinstance(node, CellNode)]
    assert len(cells) == 3
    assert predict(design, [40]).last < (40 + 3 + 1) * design.step_cycles


def test_the_last_step_of_both_directions_waits_for_no_sequence(tmp_path: Path) -> None:
    """It is that of each direction: what the forward one gives needs no buffer until the other is done."""
    kinds = [type(node).__name__ for node in folded(tmp_path, "classifier").nodes]
    assert kinds[:6] == ["ForkNode", "BufferNode", "CellNode", "CellNode", "SelectNode", "ConcatNode"]
    assert kinds.count("BufferNode") == 1
    assert [type(node).__name__ for node in folded(tmp_path, "bidirectional").nodes].count("BufferNode") == 2


def in_front(design: Dataflow) -> list[BufferNode]:
    """Buffers that a recurrent layer reads."""
    read = {node.inputs[0].name for node in design.nodes if isinstance(node, CellNode | NarrowNode | WidenNode)}
    return [node for node in design.nodes if isinstance(node, BufferNode) and node.outputs[0].name in read]


def test_both_directions_work_at_the_same_time(tmp_path: Path) -> None:
    """A sequence takes T * II and the beats of its input and output, not 2 * T * II."""
    design = folded(tmp_path, "bidirectional")
    (buffer,) = in_front(design)
    assert buffer.sequences == 1 and buffer.depth == MAX_LENGTH * buffer.inputs[0].beats
    length = MAX_LENGTH
    loop = max(period(node.design) for node in design.nodes if isinstance(node, CellNode))
    moved = length * max(stream.beats for stream in design.streams)
    last = predict(design, [length]).last
    assert length * loop < last < 1.2 * length * loop + 2 * moved
    # The rate of many sequences is that of the layers; the first step of one waits for no state.
    ends = [predict(design, [length] * count).last for count in (4, 5)]
    assert (length - 1) * loop < ends[1] - ends[0] <= length * loop


@pytest.mark.parametrize("name", ["bidirectional", "two bidirectional layers"])
def test_a_larger_buffer_in_front_of_a_layer_gains_nothing(name: str, tmp_path: Path) -> None:
    design = folded(tmp_path, name)
    found = in_front(design)
    assert len(found) == name.count("bidirectional") + name.count("two")

    def last(factor: float) -> int:
        nodes = [
            replace(node, depth=max(1, int(node.depth * factor))) if node in found else node for node in design.nodes
        ]
        return predict(replace(design, nodes=tuple(nodes)), [MAX_LENGTH]).last

    assert last(4) == last(1)
    assert last(0.5) > last(1)
    assert last(0) > 1.4 * last(1)


def test_the_main_input_is_called_x_whatever_else_is() -> None:
    layer = rnn("x")
    design = hwgen.schedule(network([layer], list(layer.wires)))
    assert isinstance(design, Dataflow)
    assert design.inputs[0].name == "x" and design.nodes[0].name == "x_2"


def test_outputs_can_be_chosen(tmp_path: Path) -> None:
    export("bidirectional", tmp_path / "model.onnx")
    network = hwgen.load(tmp_path / "model.onnx")
    names = [output.name for output in network.outputs]
    everything = plan(network, outputs=tuple(names))
    assert len(everything.outputs) == 5
    states = plan(network, outputs=(names[1],))
    assert [port.per_step for port in states.outputs] == [False, False]
    assert isinstance(states, Dataflow)
    # Nothing is built of what nobody reads.
    assert [type(node).__name__ for node in states.nodes] == ["ForkNode", "BufferNode", "CellNode", "CellNode"]
    with pytest.raises(ConfigError, match="--outputs must be among"):
        plan(network, outputs=("sequence",))


def test_illegal_foldings_name_the_node_and_what_is_legal(tmp_path: Path) -> None:
    design = folded(tmp_path, "classifier")
    network = design.network
    dense = next(node for node in design.nodes if isinstance(node, DenseNode))
    with pytest.raises(ConfigError, match=rf"folding {dense.name}.pe must divide the 10 outputs, not 3; .*: 2 and 5"):
        hwgen.schedule(network, folding={dense.name: {"pe": 3, "simd": 1}})
    with pytest.raises(ConfigError, match="no node is called 'nowhere'; there are"):
        hwgen.schedule(network, folding={"nowhere": {"pe": 1, "simd": 1}})
    with pytest.raises(ConfigError, match=f"--folding, {dense.name}: must be"):
        hwgen.schedule(network, folding={dense.name: {"pe": "many"}})


def test_projects_are_opened_as_they_were_built(tmp_path: Path) -> None:
    design = folded(tmp_path, "two blocks", seed=3)
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    again = hwgen.open_project(project.path)
    hwgen.build(again.design, tmp_path / "again", backend="rtl")
    files = {path.relative_to(project.path): path.read_bytes() for path in project.path.rglob("*") if path.is_file()}
    copies = {path: (tmp_path / "again" / path).read_bytes() for path in files}
    assert files == copies
