# SPDX-License-Identifier: Apache-2.0
"""The designs that the cost model is fitted to and measured on, and which of them are held out from the fit."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hwgen
from hwgen.folding import Folding
from hwgen.schedule import Schedule, schedule

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "models"
# Other sizes than those of tests/models: option set, inputs, hidden units.
OPTION_SETS = (
    *("binary", "constant_states", "coupled", "default", "float_bias", "floor_power_of_two", "mixed_widths", "narrow4"),
    *("one_bit_sigmoid", "per_channel", "per_channel4_float_bias", "power_of_two", "reversed", "round_ceil"),
    *("shifted", "shifted_weights", "states", "states_reversed", "ternary", "two_bits", "weights4"),
)
GENERATED = (
    ("two_bits", 4, 6),
    ("default", 4, 8),
    ("narrow4", 6, 8),
    ("default", 6, 20),
    ("weights4", 12, 24),
    ("per_channel", 16, 32),
    ("power_of_two", 16, 32),
    ("mixed_widths", 24, 36),
    ("default", 24, 36),
    ("ternary", 32, 64),
    ("default", 32, 64),
)
HELD_OUT_SEED = 7
ORDER_SEED = 1


@dataclass(frozen=True)
class Point:
    """A design: model, folding (input PE and SIMD, hidden PE and SIMD; None for the default) and options.

    A folding may say of both products how many share a DSP as well.
    """

    model: str
    folding: tuple[int, ...] | None = None
    clock: float = 100.0
    streaming: bool = False
    outputs: tuple[str, ...] | None = None
    max_length: int | None = None

    @property
    def name(self) -> str:
        """What tells the point from all others."""
        parts = [self.model, "x".join(map(str, self.folding)) if self.folding else "default", f"{self.clock:g}"]
        parts += ["streaming"] * self.streaming + list(self.outputs or ())
        return "-".join(parts + ([f"length{self.max_length}"] if self.max_length else []))

    def schedule(self) -> Schedule:
        """The design."""
        generated = Path(__file__).parent / "models" / f"{self.model}.onnx"
        return schedule(
            hwgen.load(generated if generated.is_file() else MODELS / f"{self.model}.onnx"),
            folding=Folding(*self.folding) if self.folding else None,
            clock_mhz=self.clock,
            streaming=self.streaming,
            outputs=self.outputs,
            max_length=self.max_length,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Point:
        """What ``to_dict`` gave."""
        lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
        return Point(**{**data, **lists})


def points() -> list[Point]:
    """All designs, in the order in which they are synthesised."""
    # Not wide_everything: 16-bit thresholds of each channel are megabits of LUTs, and Yosys does not come to an end.
    everything = ("sequence", "last_hidden", "last_cell")
    found = [Point(name) for name in OPTION_SETS]
    found += [Point(name, (1, 1, 1, 1)) for name in ("default", "binary", "coupled", "mixed_widths", "narrow4")]
    found += [Point(name, (8, 5, 4, 10)) for name in ("default", "ternary", "weights4", "per_channel", "two_bits")]
    found += [Point(name, (8, 5, 8, 5)) for name in ("default", "shifted", "no_bias", "narrow4", "power_of_two")]
    found += [Point(name, (5, 2, 2, 20)) for name in ("wide_range", "float_bias", "shared_weight_quant")]
    found += [Point(name, (4, 2, 16, 2)) for name in ("default", "two_bits", "mixed_widths", "one_bit_sigmoid")]
    found += [Point(name, None, clock) for name in ("default", "narrow4") for clock in (50.0, 200.0)]
    # Gates that come one after the other share what they multiply with the same constant.
    found += [Point("shared_gate_acc_quant", (2, 5, pe, 10)) for pe in (1, 2)]
    found += [Point("default_4_8", (2, 2, 1, 2)), Point("default_6_20", (2, 2, 1, 10))]
    found += [Point("default", None, outputs=everything), Point("states", (8, 1, 4, 4), outputs=everything)]
    found += [Point("mixed_widths", None, streaming=True), Point("default", (2, 5, 1, 20), streaming=True)]
    found += [Point("reversed", (8, 5, 4, 4), max_length=length) for length in (16, 100, 2000)]
    sized = [f"{option_set}_{inputs}_{hidden}" for option_set, inputs, hidden in GENERATED]
    found += [Point(name) for name in sized]
    found += [
        Point("two_bits_4_6", (24, 4, 24, 6)),
        Point("narrow4_6_8", (4, 3, 8, 8)),
        Point("narrow4_6_8", (32, 6, 32, 8)),
        Point("default_4_8", (4, 4, 8, 8)),
        Point("default_4_8", (32, 4, 32, 8)),
        Point("default_6_20", (4, 6, 4, 20)),
        Point("default_6_20", (2, 3, 1, 5), 50.0),
        Point("weights4_12_24", (12, 4, 8, 8), 200.0),
        Point("per_channel_16_32", (8, 4, 8, 8)),
        Point("per_channel_16_32", (2, 2, 2, 4)),
        Point("power_of_two_16_32", (4, 16, 4, 32), 200.0),
        Point("power_of_two_16_32", (16, 2, 16, 4)),
        Point("mixed_widths_24_36", (6, 8, 12, 6)),
        Point("default_24_36", (4, 12, 4, 12), 50.0),
        Point("default_24_36", (8, 6, 12, 9)),
        Point("ternary_32_64", (8, 16, 8, 16)),
        Point("ternary_32_64", (1, 1, 1, 1)),
        Point("default_32_64", (8, 8, 8, 16)),
        Point("default_32_64", (2, 4, 2, 4), 200.0),
    ]
    # Mixed, so that a part of the sweep is a fair sample; the slow ones last.
    random.Random(ORDER_SEED).shuffle(found)
    return found + [Point("wide_state", None, clock) for clock in (50.0, 100.0, 200.0)]


def digit_points() -> list[Point]:
    """Products by digits of their weights, for flows that have no larger design to tell what these take."""
    foldings = {"weights4": (8, 5, 4, 10, 0, 0), "narrow4_6_8": (4, 3, 8, 8, 0, 0), "default": (4, 5, 4, 5, 0, 0)}
    return [Point(name, folding) for name, folding in foldings.items()]


def held_out(names: list[str]) -> set[str]:
    """Half of the designs, which the fit does not see."""
    return set(random.Random(HELD_OUT_SEED).sample(sorted(names), len(names) // 2))
