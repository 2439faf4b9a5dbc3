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
from hardware import Record, assert_exact
from recurrent_networks import dense, network, rnn
from test_rtl import Run

import hwgen
from hwgen import cost, planning
from hwgen.explore import automatic
from hwgen.rtl_cycles import predict
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
    # Simulated by make test-long: the design is one that another option could have given.
    long: bool = False

    def design(self, way: int) -> hwgen.Schedule | hwgen.Dataflow:
        """That of the base (-1), with the option lowered (0) or raised (1)."""
        more: dict[str, Any] = {} if way < 0 else (self.lowered, self.raised)[way]
        return hwgen.schedule(self.model(), **{**self.base, **more})


ROWS = (
    Row("folding input", {"folding": folded(1, 1, 4, 4)}, {"folding": folded(8, 4, 4, 4)}, (1, -1), {"dsp": (-1, 1)}),
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
    Row("clock_mhz", {"clock_mhz": 50}, {"clock_mhz": 200}, (-1, 1), {"ff": (-1, 1)}),
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


def test_every_option_has_a_row() -> None:
    options = [*inspect.signature(automatic.schedule).parameters, *inspect.signature(planning.schedule).parameters]
    # What is no option of a design: the model, all further ones, and whether the folding may still change.
    rest = set(options) - {"network", "options", "final"}
    missing = rest - {row.option.split()[0] for row in ROWS}
    assert not missing, f"{missing}: each option needs a row in ROWS that lowers and raises it"


def test_look_ahead_makes_up_for_stalls_of_the_input(tmp_path: Path) -> None:
    """At full rate two steps ahead are as good as sixteen; not where the input pauses, and then comes at once."""
    cycles: dict[int, list[int]] = {}
    for steps in (2, 16):
        project = hwgen.build(hwgen.schedule(lstm(), **BASE, look_ahead=steps), tmp_path / str(steps), backend="rtl")
        binary = rtl.compile_simulation(project, "-O0")
        cycles[steps] = []
        for stalls in ("0", "80", "90"):
            # Each beat comes so many idle cycles after the one before was taken, the same ones whatever the design.
            command = [str(binary), "--stall-in", stalls, "--seed", "5"]
            found = subprocess.run(command, cwd=project.path / "rtl", capture_output=True, text=True, check=False)
            run = Run(found.returncode, found.stdout)
            assert (run.status, run.mismatches) == (0, 0), found.stdout + found.stderr
            cycles[steps].append(run.ports["y"][1])
    (none, some, many), (none_deep, some_deep, many_deep) = cycles[2], cycles[16]
    assert none_deep == none
    assert some_deep < some and many_deep < many, cycles
