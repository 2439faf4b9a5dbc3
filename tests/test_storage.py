# SPDX-License-Identifier: Apache-2.0
"""Memory styles and look-ahead: names, refusals, what projects say, what the design space predicts.

Their cycles and resources in hardware: rtl/test_options_rtl.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from recurrent_networks import dense, network, rnn, side_by_side

import hwgen
from hwgen import cost, mapping, planning
from hwgen.backends import hls
from hwgen.cell_cycles import Loop, cell_processes
from hwgen.cli import main
from hwgen.dataflow import BufferNode, CellNode, Dataflow, DenseNode
from hwgen.errors import ConfigError
from hwgen.events import Channel, Process, run
from hwgen.explore.space import space
from hwgen.interleaving import Order
from hwgen.report import units as report_units
from hwgen.rtl_cycles import period, predict
from hwgen.rtl_timing import timeline
from hwgen.schedule import Schedule
from hwgen.sharing import shared_weights
from hwgen.storage import parse_look_ahead, parse_memories

MODEL = Path(__file__).parents[1] / "benchmarks" / "synthesis" / "models" / "default_4_8.onnx"
REVERSED = Path(__file__).parent / "models" / "reversed.onnx"
FOLDING = {"input": {"pe": 4, "simd": 2}, "hidden": {"pe": 4, "simd": 4}}
UNROLLED = {"input": {"pe": 32, "simd": 4}, "hidden": {"pe": 32, "simd": 8}}


@pytest.fixture(scope="module")
def lstm() -> hwgen.Network:
    return hwgen.load(MODEL)


def both_directions() -> hwgen.Network:
    """A layer in both directions, of which one waits in a buffer for the other, and a dense layer."""
    forward, backward = rnn("forward", hidden=4, seed=1), rnn("backward", hidden=4, seed=2, reverse=True)
    joined = side_by_side("both", forward, backward)
    head = dense("head", joined.wires[0], 4, seed=3)
    return network([forward, backward, joined, head], [head.wires[0]])


NAMES = "input_weights, hidden_weights, bias, sums, cell_state"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": {"weights": "block"}}, f"no memory is called 'weights'; there are {NAMES}$"),
        (
            {"memory": {"sums": "uram"}},
            "^--memory 'sums': must be among auto, block, distributed, constant, not 'uram'$",
        ),
        (
            {"memory": {"outputs": "block"}},
            f"'outputs': is read in the cycle of its address, which block RAM is not: .* are {NAMES}$",
        ),
        (
            {"memory": {"sums": "constant"}},
            "^--memory sums=constant: this memory is written as the design runs; legal here: auto, block, distributed$",
        ),
        (
            {"memory": {"hidden_weights": "constant"}, "folding": {**FOLDING, "hidden": {"pe": 1, "simd": 2}}},
            "^--memory hidden_weights=constant: this memory has 128 words, more than .*: auto, block, distributed$",
        ),
        (
            {"memory": {"hidden_weights": "block"}, "folding": UNROLLED},
            "^--memory hidden_weights=block: this memory has one word, .*; legal here: auto, distributed, constant$",
        ),
        ({"look_ahead": 0}, "^--look-ahead must be from 1 to 256 time steps, not 0; nearest legal: 1$"),
        ({"look_ahead": 1000}, "^--look-ahead must be from 1 to 256 time steps, not 1000; nearest legal: 256$"),
        ({"look_ahead": {"layer": 2}}, "^--look-ahead must be from 1 to 256 time steps"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(lstm: hwgen.Network, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hwgen.schedule(lstm, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": {"forward.wheights": "block"}}, "no memory is called 'forward.wheights'; there are .*forward.sums"),
        ({"memory": {"head": {"bias": "block", "x": "block"}}}, "no memory is called 'head.x'"),
        ({"memory": {"forward.y": "block"}}, "no memory is called 'forward.y'"),
        ({"look_ahead": {"head": 2}}, "no recurrent layer is called 'head'; there are forward, backward$"),
        ({"look_ahead": {"forward": 0}}, "^--look-ahead forward must be from 1 to 256 time steps, not 0"),
        ({"look_ahead": {}}, "must be a number, or one for some of forward, backward"),
    ],
)
def test_names_of_networks_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        hwgen.schedule(both_directions(), max_length=16, **options)


def blocks(design: Schedule) -> dict[str, bool]:
    return {name: bool(memory.block) for name, memory in mapping.memories(timeline(design)).items()}


def test_memories_are_where_they_are_wanted(lstm: hwgen.Network) -> None:
    auto = hwgen.schedule(lstm, folding=FOLDING)
    assert isinstance(auto, Schedule)
    before = blocks(auto)
    assert not any(before.values()), "the rule puts none of them in block RAM"
    for name in before:
        design = hwgen.schedule(lstm, folding=FOLDING, memory={name: "block"})
        assert isinstance(design, Schedule)
        assert blocks(design) == {**before, name: True}
        assert cost.predict(design).whole.bram > cost.predict(auto).whole.bram == 0
        assert predict(design, [4, 3]) == predict(auto, [4, 3])
    # What is said without need changes nothing.
    assert hwgen.schedule(lstm, folding=FOLDING, memory=dict.fromkeys(before, "auto")).options == auto.options
    turned = hwgen.schedule(hwgen.load(REVERSED), memory={"x": "distributed", "input_weights": "distributed"})
    assert isinstance(turned, Schedule)
    found = blocks(turned)
    assert found["y"] and not found["x"] and not found["input_weights"]


def test_parts_of_networks_have_memories_of_their_own() -> None:
    model = both_directions()
    auto = hwgen.schedule(model, max_length=16)
    assert isinstance(auto, Dataflow)
    buffer = next(node.name for node in auto.nodes if isinstance(node, BufferNode))
    wanted = {"forward": {"hidden_weights": "block"}, "head.weights": "block", buffer: "block", "backward.x": "block"}
    design = hwgen.schedule(model, max_length=16, memory=wanted, look_ahead={"backward": 5})
    assert isinstance(design, Dataflow)
    nodes = {node.name: node for node in design.nodes}
    forward, backward, head = nodes["forward"], nodes["backward"], nodes["head"]
    assert isinstance(forward, CellNode) and isinstance(backward, CellNode) and isinstance(head, DenseNode)
    assert [name for name, block in blocks(forward.design).items() if block] == ["hidden_weights"]
    assert [name for name, block in blocks(backward.design).items() if block] == ["x"]
    assert head.design.weight_memory.block and not head.design.bias_memory.block
    assert timeline(backward.design).sums_steps == 5
    assert timeline(forward.design).sums_steps != 5
    before, after = cost.predict(auto), cost.predict(design)
    more = {name for name in nodes if after.units[name].bram > before.units[name].bram}
    assert more == {"forward", "backward", "head", buffer}
    (entry,) = (entry for entry in report_units.memories(design, True) if entry["unit"] == buffer)
    assert entry["place"] == "block RAM"
    # All of the layers at once.
    ahead = hwgen.schedule(model, max_length=16, look_ahead=7)
    assert isinstance(ahead, Dataflow)
    assert {timeline(n.design).sums_steps for n in ahead.nodes if isinstance(n, CellNode)} == {7}


def test_weights_are_shared_in_block_ram_alone() -> None:
    layers = [rnn(name, inputs=64, hidden=16, reverse=name == "backward") for name in ("forward", "backward")]
    joined = side_by_side("both", *layers)
    model = network([*layers, joined], [joined.wires[0]])
    folding = {
        name: {"input": {"pe": 1, "simd": 2}, "hidden": {"pe": 1, "simd": 16}} for name in ("forward", "backward")
    }

    def pairs(**memory: str) -> int:
        styles = {f"{name}.input_weights": style for name, style in memory.items()}
        design = hwgen.schedule(model, folding=folding, max_length=16, memory=styles)
        assert isinstance(design, Dataflow)
        assert cost.predict(design).whole.bram >= 0
        return len(shared_weights(design))

    assert pairs() == 1
    assert pairs(forward="block", backward="block") == 1
    assert pairs(forward="distributed") == pairs(backward="distributed") == 0
    assert pairs(forward="distributed", backward="distributed") == 0


@pytest.mark.parametrize("build", ["layer", "network"])
def test_projects_say_what_was_chosen_and_are_opened_with_it(build: str, lstm: hwgen.Network, tmp_path: Path) -> None:
    asked: dict[str, Any]
    options: dict[str, Any]
    if build == "layer":
        asked = {"memory": {"hidden_weights": "block"}, "look_ahead": 4}
        model, options = lstm, {}
    else:
        asked = {"memory": {"head.bias": "distributed", "forward.sums": "block"}, "look_ahead": {"forward": 4}}
        model, options = both_directions(), {"max_length": 16}
    design = hwgen.schedule(model, **asked, **options)
    project = hwgen.build(design, tmp_path / "project", backend="rtl")
    written = json.loads((project.path / "hwgen.json").read_text())["options"]
    assert {key: written[key] for key in asked} == asked
    assert '"look_ahead": 4' in (project.path / "schedule.json").read_text()
    if build == "layer":
        hwgen.build(hwgen.open_project(project.path).design, tmp_path / "again", backend="rtl")
    else:
        hwgen.build(
            hwgen.schedule(model, memory=written["memory"], look_ahead=written["look_ahead"], **options),
            tmp_path / "again",
            backend="rtl",
        )
    for path in project.path.rglob("*.sv"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(project.path)).read_bytes()
    plain = hwgen.build(hwgen.schedule(model, **options), tmp_path / "plain", backend="rtl")
    assert not {"memory", "look_ahead"} & set(json.loads((plain.path / "hwgen.json").read_text())["options"])


def test_pragmas_say_it_to_the_hls_tool(lstm: hwgen.Network) -> None:
    def pragmas(**options: Any) -> set[str]:
        text = hls.generate(hwgen.schedule(lstm, folding=FOLDING, **options), "origin")["src/default_4_8.cpp"]
        return {line for line in text.splitlines() if line.startswith("#pragma") or " sums(" in line}

    before = pragmas()
    styles = {"hidden_weights": "block", "input_weights": "constant", "bias": "distributed", "sums": "distributed"}
    assert pragmas(memory=styles, look_ahead=3) - before == {
        "#pragma HLS BIND_STORAGE variable=hidden_weights type=rom_1p impl=bram",
        "#pragma HLS ARRAY_PARTITION variable=input_weights complete dim=0",
        "#pragma HLS BIND_STORAGE variable=bias type=rom_1p impl=lutram",
        "#pragma HLS BIND_STORAGE variable=sums type=fifo impl=lutram",
        # Beats of a step: 32 rows in PE 4.
        '  hls_thread_local hls::stream<sums_beat, 24> sums("sums");',
    }
    # Beyond shift registers some memory, whichever the tool likes.
    assert "#pragma HLS BIND_STORAGE variable=sums type=fifo impl=memory" in pragmas(look_ahead=5)


def test_pragmas_of_networks() -> None:
    model = both_directions()
    auto = hwgen.schedule(model, max_length=16)
    buffer = (
        next(node.name for node in auto.nodes if isinstance(node, BufferNode)) if isinstance(auto, Dataflow) else ""
    )
    styles = {"head.weights": "block", "forward.sums": "distributed", buffer: "block"}
    text = hls.generate(hwgen.schedule(model, max_length=16, memory=styles, look_ahead={"backward": 100}), "origin")
    (top,) = (body for name, body in text.items() if name.endswith(".cpp") and name.startswith("src/"))
    assert top.count("variable=weights type=rom_1p impl=bram") == 1
    bound = {line.split()[3]: line.split()[5] for line in top.splitlines() if "type=fifo" in line}
    layers = {
        name.split("_")[0].partition("=")[2]: impl
        for name, impl in bound.items()
        if "sums" in name or "product" in name
    }
    assert layers == {"forward": "impl=lutram", "backward": "impl=memory"}
    assert sorted(bound.values()).count("impl=bram") == 1


def test_codes_of_the_c_simulation_stay(lstm: hwgen.Network, tmp_path: Path) -> None:
    styles = {"hidden_weights": "block", "input_weights": "constant", "bias": "distributed", "sums": "block"}
    design = hwgen.schedule(lstm, folding=FOLDING, memory=styles, look_ahead=1)
    report = hwgen.build(design, tmp_path / "project", backend="hls").verify(level="csim", sequences=10)
    assert report["passed"] and report["levels"]["csim"]["codes"] > 0


def test_hls_refuses_memories_of_its_library(lstm: hwgen.Network, tmp_path: Path) -> None:
    design = hwgen.schedule(lstm, memory={"cell_state": "block"})
    with pytest.raises(
        ConfigError, match=r"^--memory cell_state=block is built by --backend rtl only; .*, bias, sums$"
    ):
        hwgen.build(design, tmp_path / "project", backend="all")
    assert not (tmp_path / "project").exists()
    network_design = hwgen.schedule(both_directions(), max_length=16, memory={"backward.x": "block"})
    with pytest.raises(ConfigError, match=r"^--memory backward.x=block is built by --backend rtl only"):
        hwgen.build(network_design, tmp_path / "project", backend="hls")


@pytest.mark.parametrize("contexts", [1, 4])
@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_rates_with_little_look_ahead_are_exact(steps: int, contexts: int, lstm: hwgen.Network) -> None:
    design = hwgen.schedule(lstm, folding=FOLDING, look_ahead=steps, interleave=contexts)
    assert isinstance(design, Schedule)
    short, long = (predict(design, [length] * contexts).last for length in (60, 180))
    times = timeline(design)
    average = (long - short) / (120 * contexts)
    assert average <= period(design) < average + 1
    assert average == max(times.tiles, times.period / contexts, times.design.input_product.cycles, times.held / steps)


def base_of(model: hwgen.Network, options: dict[str, Any]) -> hwgen.Schedule | hwgen.Dataflow:
    """A design that stands for all foldings, whatever its own memories can be."""
    return planning.schedule(model, final=False, **options)


def in_bursts(design: Schedule, lengths: list[int], steps: int, pause: int) -> int:
    """Cycles of sequences whose input pauses each time that so many steps were taken."""
    edges = {port.name: Channel() for port in (*design.inputs, *design.outputs)}
    x, y = edges["x"], edges["y"]
    order = Order(tuple(lengths))

    def source() -> Process:
        cycle = beat = 0
        for number, arrival in enumerate(order.arrivals):
            cycle += pause if number and number % steps == 0 else 0
            for part in range(design.inputs[0].beats):
                x.offer(cycle, arrival.last and part == design.inputs[0].beats - 1)
                cycle = 1 + (yield x.moved, beat)
                beat += 1

    def sink() -> Process:
        beat = 0
        while True:
            y.accept(0)
            yield y.moved, beat
            beat += 1

    run([*cell_processes(Loop(timeline(design)), edges, order), source(), sink()])
    return y.moved.cycles[-1]


def test_bursts_gain_by_look_ahead(lstm: hwgen.Network) -> None:
    lengths, cycles = [48] * 4, dict[int | None, list[int]]()
    for steps in (None, 1, 8, 16):
        design = hwgen.schedule(lstm, folding=FOLDING, look_ahead=steps)
        assert isinstance(design, Schedule)
        cycles[steps] = [in_bursts(design, lengths, *burst) for burst in ((1000, 0), (8, 200), (16, 400))]
        assert cycles[steps][0] == predict(design, lengths).last
    # As docs/explore.md has them.
    assert (cycles[None][:2], cycles[8][:2]) == ([5552, 8443], [5552, 7477])
    for whole, short, long in zip(cycles[None], cycles[1], cycles[16], strict=True):
        assert short > whole >= long
    assert cycles[16][2] < cycles[8][2] < 0.85 * cycles[None][2]


@pytest.mark.parametrize(
    "options",
    [
        {"look_ahead": 1},
        {"look_ahead": 2, "interleave": 3},
        {"look_ahead": 16, "memory": {"sums": "block"}},
        {
            "memory": {
                "hidden_weights": "block",
                "bias": "distributed",
                "cell_state": "block",
                "input_weights": "constant",
            }
        },
    ],
    ids=str,
)
def test_design_spaces_predict_what_designs_have(options: dict[str, Any], lstm: hwgen.Network) -> None:
    where = space(base_of(lstm, options))
    generator = np.random.default_rng(1)
    rows = tuple(generator.integers(0, len(table), 16) for table in where.tables)
    found = where.predict(rows, 9)
    for place in range(16):
        folding = where.folding(tuple(int(row[place]) for row in rows))
        design = hwgen.schedule(lstm, folding=folding, **options)
        whole = cost.predict(design).whole
        for kind in cost.KINDS:
            assert np.isclose(getattr(found.resources, kind)[place], getattr(whole, kind), rtol=1e-9), (kind, folding)
        assert int(found.interval[place]) == period(design)
        assert int(found.latency[place]) == predict(design, [9]).last, folding


def test_spaces_have_no_folding_that_a_style_rules_out(lstm: hwgen.Network) -> None:
    everything, constants = (
        space(base_of(lstm, {"memory": memory})) for memory in ({}, {"hidden_weights": "constant"})
    )
    assert 0 < constants.size < everything.size
    (table,) = constants.tables
    assert max(32 * 8 // (f["hidden"]["pe"] * f["hidden"]["simd"]) for f in table.foldings) == 64
    # The scheduler picks from these: the smallest design of all has more words.
    smallest = hwgen.schedule(lstm, fit="smallest")
    assert isinstance(smallest, Schedule) and smallest.hidden_product.cycles > 64
    design = hwgen.schedule(lstm, fit="smallest", memory={"hidden_weights": "constant"})
    assert isinstance(design, Schedule) and design.hidden_product.cycles <= 64
    heads = {"head.weights": "constant", "head.bias": "block"}
    network_space = space(base_of(both_directions(), {"max_length": 16, "memory": heads}))
    (table,) = (table for table in network_space.tables if table.name == "head")
    assert all(f["pe"] < 4 for f in table.foldings), "a bias of one word is no block RAM"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["sums"], "--memory must be NAME=STYLE"),
        (["=block"], "--memory must be NAME=STYLE"),
        (["sums=block", "sums=auto"], "--memory 'sums' is given twice: 'block' and auto"),
        (["sums=fast"], "--memory 'sums': must be among"),
    ],
)
def test_styles_from_the_command_line(texts: list[str], said: str) -> None:
    assert parse_memories(["a.sums=block", "bias=constant"]) == {"a.sums": "block", "bias": "constant"}
    with pytest.raises(ConfigError, match=said):
        parse_memories(texts)


@pytest.mark.parametrize("texts", [["x"], ["1", "2"], ["a=1", "a=2"], ["a=1", "2"], ["2", "a=1"], ["a="], ["-1"]])
def test_look_ahead_from_the_command_line(texts: list[str]) -> None:
    assert parse_look_ahead([]) is None
    assert parse_look_ahead(["3"]) == 3
    assert parse_look_ahead(["a=3", "b=4"]) == {"a": 3, "b": 4}
    with pytest.raises(ConfigError, match="--look-ahead must be N once, or NODE=N once for each node"):
        parse_look_ahead(texts)


def test_commands_take_both(tmp_path: Path) -> None:
    asked = ["--memory", "hidden_weights=block", "--memory", "sums=block", "--look-ahead", "6"]
    built = CliRunner().invoke(
        main, ["build", str(MODEL), "-o", str(tmp_path / "project"), "--backend", "rtl", "--json", *asked]
    )
    assert built.exit_code == 0, built.output
    data = json.loads(built.stdout)
    assert (data["memory"], data["look_ahead"]) == ({"hidden_weights": "block", "sums": "block"}, 6)
    explored = CliRunner().invoke(main, ["explore", str(MODEL), "-o", str(tmp_path / "space"), *asked])
    assert explored.exit_code == 0, explored.output
    points = json.loads((tmp_path / "space" / "explore.json").read_text())["points"]
    assert min(point["bram"] for point in points) >= 1, "each of the two memories takes a half at least"
    refused = CliRunner().invoke(main, ["build", str(MODEL), "-o", str(tmp_path / "other"), "--look-ahead", "0"])
    assert refused.exit_code == 1 and "nearest legal: 1" in " ".join(refused.output.split())
