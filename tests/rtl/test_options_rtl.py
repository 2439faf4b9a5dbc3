# SPDX-License-Identifier: Apache-2.0
"""Every option of ``hwgen.schedule``, one way and the other: cycles and resources move as predicted, codes stay.

A new option of the schedule adds a row to ``ROWS``.
"""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from directions_models import bidirectional, of_one_kind
from hardware import Record, assert_exact
from recurrent_networks import dense, gru, network, rnn, side_by_side
from split_models import stepped
from stack_models import stack
from test_rtl import Run

import hwgen
from hwgen import cost, planning
from hwgen.explore import automatic
from hwgen.rtl_cycles import predict
from hwgen.synth import synthesise
from hwgen.verify import rtl

MODEL = Path(__file__).parents[2] / "benchmarks" / "synthesis" / "models" / "default_4_8.onnx"
# Steps of the sequences whose cycles are compared.
LENGTHS = (5, 1, 7, 3, 4, 4, 2, 6)
SEQUENCES = 8


@cache
def lstm() -> hwgen.Network:
    """4 inputs, 8 units of 8 bits."""
    return hwgen.load(MODEL)


@cache
def headed() -> hwgen.Network:
    """A plain RNN of 4 units on 6 inputs, and a dense layer of 6 outputs, which is the slower one."""
    layer = rnn("layer", hidden=4)
    head = dense("head", layer.wires[0], 6, seed=3)
    return network([layer, head], [head.wires[0]])


@cache
def backward() -> hwgen.Network:
    """A plain RNN of 4 units that works from the end of a sequence."""
    layer = rnn("layer", hidden=4, reverse=True)
    return network([layer], [layer.wires[0]])


@cache
def both_directions() -> hwgen.Network:
    """An LSTM in both directions, 4 inputs and 6 units each."""
    return bidirectional("default", "default")


@cache
def both_directions_of_a_gru() -> hwgen.Network:
    """A GRU in both directions, 6 inputs and 8 units each."""
    return of_one_kind(gru, {}, {})


@cache
def two_layers() -> hwgen.Network:
    """Two plain RNNs of 8 units, one behind the other, on 4 inputs."""
    return stack(rnn, 4, 8)


def folded(*values: int) -> dict[str, Any]:
    """PE and SIMD of the input product, then of the recurrent product: of the base 16 cycles each."""
    input_pe, input_simd, hidden_pe, hidden_simd = values
    return {"input": {"pe": input_pe, "simd": input_simd}, "hidden": {"pe": hidden_pe, "simd": hidden_simd}}


BASE: dict[str, Any] = {"folding": folded(4, 2, 4, 4)}
MEMORIES = ("input_weights", "hidden_weights", "bias", "sums", "cell_state")
LAYER = {"input": {"pe": 4, "simd": 6}, "hidden": {"pe": 4, "simd": 4}}


@dataclass(frozen=True)
class Row:
    """An option: the ``base`` that designs are compared with, and the options of a design one way and the other.

    Of each a sign says whether more cycles (1) or fewer (-1) than those of the base are right, or as many (0); of the
    resources that follow likewise.
    """

    option: str
    lowered: dict[str, Any]
    raised: dict[str, Any]
    cycles: tuple[int, int]
    resources: dict[str, tuple[int, int]] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=lambda: BASE)
    model: Callable[[], hwgen.Network] = lstm
    # Simulated by make test-long: others simulate such designs as well.
    long: bool = False

    def design(self, way: int) -> hwgen.Schedule | hwgen.Dataflow:
        """That of the base (-1), with the option lowered (0) or raised (1)."""
        more: dict[str, Any] = {} if way < 0 else (self.lowered, self.raised)[way]
        return hwgen.schedule(self.model(), **{**self.base, **more})


ROWS = (
    Row(
        "folding input",
        {"folding": folded(1, 1, 4, 4)},
        {"folding": folded(8, 4, 4, 4)},
        (1, -1),
        {"dsp": (-1, 1)},
        long=True,
    ),
    Row("folding hidden", {"folding": folded(4, 2, 1, 2)}, {"folding": folded(4, 2, 8, 8)}, (1, -1), {"dsp": (-1, 1)}),
    Row(
        "folding head",
        {"folding": {"layer": LAYER, "head": {"pe": 1, "simd": 1}}},
        {"folding": {"layer": LAYER, "head": {"pe": 6, "simd": 4}}},
        (1, -1),
        {"dsp": (-1, 1)},
        base={"folding": {"layer": LAYER, "head": {"pe": 2, "simd": 1}}},
        model=headed,
    ),
    # Register stages follow from the clock.
    Row("clock_mhz", {"clock_mhz": 50}, {"clock_mhz": 200}, (-1, 1), {"ff": (-1, 1)}, long=True),
    Row("interleave", {"interleave": 1}, {"interleave": 4}, (1, -1), {"lut": (-1, 1)}, base=BASE | {"interleave": 2}),
    Row(
        "look_ahead",
        {"look_ahead": 1},
        {"look_ahead": 3},
        (1, -1),
        {"lut": (-1, 1)},
        base=BASE | {"interleave": 4, "look_ahead": 2},
    ),
    Row(
        "memory",
        {"memory": dict.fromkeys(MEMORIES, "distributed")},
        {"memory": dict.fromkeys(MEMORIES, "block")},
        (0, 0),
        {"bram": (-1, 1), "lut": (1, -1)},
        base=BASE | {"memory": {"hidden_weights": "block"}},
    ),
    # Two products of 8 bits share a DSP; the adder behind it is taken.  Or there are only sums of digits in LUTs.
    Row("products_per_dsp", {"products_per_dsp": 0}, {"products_per_dsp": 2}, (0, 0), {"dsp": (-1, -1), "lut": (1, 1)}),
    # Fully unrolled, by multiplications or by adders.
    Row(
        "constant_products",
        {"constant_products": "shift-add"},
        {"constant_products": "da4ml"},
        (-1, -1),
        {"dsp": (-1, -1), "lut": (1, 1)},
        base={"folding": folded(32, 4, 32, 8)},
        # test_adders_rtl.py simulates others.
        long=True,
    ),
    # One of these designs has an engine for each direction; test_directions_rtl.py simulates more of the other.
    Row(
        "share_engine",
        {"share_engine": None},
        {"share_engine": "directions"},
        (0, 1),
        {"dsp": (0, -1), "lut": (0, -1)},
        {"max_length": 24},
        both_directions,
        long=True,
    ),
    Row(
        "share_engine GRU",
        {"share_engine": None},
        {"share_engine": "directions"},
        (0, 1),
        {"dsp": (0, -1)},
        {"max_length": 24},
        both_directions_of_a_gru,
        long=True,
    ),
    Row(
        "share_engine layers",
        {"share_engine": None},
        {"share_engine": "layers"},
        (0, 1),
        {"dsp": (0, -1)},
        {},
        two_layers,
        long=True,
    ),
    # One sequence has its result earlier; of short ones the next waits until the sums of this one have left.
    # test_split_dense_rtl.py simulates more of these designs.
    Row(
        "split_dense",
        {"split_dense": False},
        {"split_dense": True},
        (0, 1),
        {"lut": (0, 1)},
        {"max_length": 24, "folding": {"forward": LAYER, "backward": LAYER}},
        stepped,
        long=True,
    ),
    Row("streaming", {"streaming": False}, {"streaming": True}, (0, 1), long=True),
    Row(
        "max_length",
        {"max_length": 8},
        {"max_length": 2048},
        (0, 0),
        {"bram": (-1, 1)},
        {"max_length": 512},
        backward,
        True,
    ),
    Row(
        "outputs",
        {"outputs": ("last_hidden",)},
        {"outputs": ("sequence", "last_hidden", "last_cell")},
        (0, 0),
        {"lut": (0, 1)},
        long=True,
    ),
    Row(
        "steps_per_second",
        {"steps_per_second": 1e6},
        {"steps_per_second": 4e6},
        (1, -1),
        {"dsp": (-1, 1)},
        {"steps_per_second": 2e6},
        long=True,
    ),
    Row(
        "latency_us",
        {"latency_us": 5},
        {"latency_us": 20},
        (-1, 1),
        {"dsp": (1, -1)},
        {"latency_us": 10, "length": 8},
        long=True,
    ),
    Row("length", {"length": 4}, {"length": 16}, (1, -1), {"dsp": (-1, 1)}, {"latency_us": 10, "length": 8}, long=True),
    Row("fit", {"fit": "smallest"}, {"fit": "fastest"}, (1, -1), {"dsp": (-1, 1)}, {}, long=True),
    Row(
        "target",
        {"target": "xc7s15"},
        {"target": "xc7z020"},
        (1, -1),
        {"dsp": (-1, 1)},
        {"target": "xc7a35t", "fit": "fastest"},
        long=True,
    ),
)
WAYS = ("lowered", "raised")
SIMULATED = [
    pytest.param(row, way, id=f"{row.option} {WAYS[way]}", marks=[pytest.mark.long] if row.long else [])
    for row in ROWS
    for way in (0, 1)
]


def sign(number: float) -> int:
    return (number > 0) - (number < 0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.option)
def test_cycles_and_resources_move_as_they_should(row: Row) -> None:
    before, *after = (predict(row.design(way), LENGTHS).last for way in (-1, 0, 1))
    assert tuple(sign(cycles - before) for cycles in after) == row.cycles, (before, after)
    first, *others = (cost.predict(row.design(way)).whole for way in (-1, 0, 1))
    for kind, signs in row.resources.items():
        found = tuple(sign(getattr(other, kind) - getattr(first, kind)) for other in others)
        assert found == signs, (kind, first, others)


@pytest.mark.parametrize(("row", "way"), SIMULATED)
def test_codes_and_cycles(row: Row, way: int, tmp_path: Path, record_property: Record) -> None:
    assert_exact(row.design(way), tmp_path, SEQUENCES, record_property, "rtl", backend="rtl")


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_look_ahead_of_layers_whose_paths_meet(steps: int, tmp_path: Path, record_property: Record) -> None:
    """Both directions read one input, and their results one reader: no buffer is too short, whatever a layer holds."""
    layers = [
        rnn(name, hidden=4, seed=seed, reverse=name == "backward") for seed, name in enumerate(("forward", "backward"))
    ]
    joined = side_by_side("both", *layers)
    after = rnn("after", joined.wires[0].name, inputs=8, hidden=4, seed=3)
    head = dense("head", after.wires[0], 4, seed=4)
    model = network([*layers, joined, after, head], [head.wires[0]])
    styles = {
        "forward.hidden_weights": "block",
        "backward.sums": "distributed",
        "after.sums": "block",
        "head.weights": "block",
    }
    design = hwgen.schedule(model, look_ahead=steps, memory=styles, max_length=24)
    assert_exact(design, tmp_path, SEQUENCES, record_property, "csim", "rtl")


# As many block RAMs as predicted, and LUTs about as well as elsewhere: in all of them, in none, with many steps ahead.
@pytest.mark.parametrize(
    "options",
    [
        {"memory": dict.fromkeys(MEMORIES, "block")},
        pytest.param({"memory": dict.fromkeys(MEMORIES, "distributed")}, marks=pytest.mark.long),
        pytest.param({"look_ahead": 1}, marks=pytest.mark.long),
        pytest.param({"look_ahead": 40}, marks=pytest.mark.long),
        pytest.param({"look_ahead": 100, "memory": {"sums": "block"}}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_resources_are_as_predicted(options: dict[str, Any], tmp_path: Path) -> None:
    design = hwgen.schedule(lstm(), folding=folded(2, 2, 2, 2), **options)
    result = synthesise(hwgen.build(design, tmp_path / "project", backend="rtl"), "xc7", units=False)
    for kind in ("dsp", "bram"):
        assert result["predicted"][kind] == result["measured"][kind]
    assert result["predicted"]["bram"] > 0 or "block" not in str(options)
    for kind in ("lut", "ff"):
        assert abs(result["relative_error"][kind]) < 0.15


def test_every_option_has_a_row() -> None:
    options = [*inspect.signature(automatic.schedule).parameters, *inspect.signature(planning.schedule).parameters]
    # What is no option of a design: the model, all further ones, and whether the folding may still change.
    rest = set(options) - {"network", "options", "final"}
    missing = rest - {row.option.split()[0] for row in ROWS}
    assert not missing, f"{missing}: each option needs a row in ROWS that lowers and raises it"


@pytest.mark.long
def test_look_ahead_makes_up_for_stalls_of_the_input(tmp_path: Path) -> None:
    """At full rate the steps that are taken without asking are as good as any; not where the input comes in bursts."""
    cycles: dict[str, dict[str, int]] = {}
    options: dict[str, dict[str, Any]] = {"auto": {}, "deep": {"look_ahead": 8}}
    for name, more in options.items():
        project = hwgen.build(hwgen.schedule(lstm(), **BASE, **more), tmp_path / name, backend="rtl")
        binary = rtl.compile_simulation(project, "-O0")
        for stall in ("0", "90"):
            # Each beat comes so many idle cycles after the one before was taken: the same ones, whatever the design.
            command = [str(binary), "--stall-in", stall, "--seed", "5"]
            found = subprocess.run(command, cwd=project.path / "rtl", capture_output=True, text=True, check=False)
            run = Run(found.returncode, found.stdout)
            assert (run.status, run.mismatches) == (0, 0), found.stdout + found.stderr
            cycles.setdefault(stall, {})[name] = run.ports["y"][1]
    assert cycles["0"]["auto"] == cycles["0"]["deep"]
    assert cycles["0"]["auto"] < cycles["90"]["deep"] < cycles["90"]["auto"], cycles
