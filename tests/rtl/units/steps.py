# SPDX-License-Identifier: Apache-2.0
"""Models of the four forms of a step function at full widths, and of read-only memories."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property

from units.bench import Bench, Function, Signals, hex_words, index_bits, mask, pack, signed

# In the order of the parameter Rounding.
ROUND: tuple[Callable[[Fraction], int], ...] = (
    round,
    math.ceil,
    math.floor,
    lambda v: math.ceil(v) if v > 0 else math.floor(v),
    math.trunc,
    lambda v: math.floor(v + Fraction(1, 2)) if v > 0 else math.ceil(v - Fraction(1, 2)),
    lambda v: math.ceil(v - Fraction(1, 2)) if v > 0 else math.floor(v + Fraction(1, 2)),
)


class StepShift(Function):
    unit = "hwgen_step_shift"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"value_i": self["ValueBits"], "offset_i": self["OffsetBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"code_o": self["CodeBits"]}

    @property
    def latency(self) -> int:
        return self["SumStages"] + self["OutputStages"]

    def drive(self) -> Signals:
        inputs = super().drive()
        if self["Shift"] > 0 and self.chance(0.5):
            # On a half, or beside it.
            half = self.rng.randint(self["Lo"], self["Hi"]) * 2 + 1 << (self["Shift"] - 1)
            offset = signed(inputs["offset_i"], self["OffsetBits"])
            inputs["value_i"] = mask(half - offset + self.rng.randint(-1, 1), self["ValueBits"])
        return inputs

    def wanted(self, inputs: Signals) -> Signals:
        value = signed(inputs["value_i"], self["ValueBits"]) * Fraction(2) ** max(-self["Shift"], 0)
        total = (value + signed(inputs["offset_i"], self["OffsetBits"])) / 2 ** max(self["Shift"], 0)
        return {"code_o": min(max(ROUND[self["Rounding"]](total), self["Lo"]), self["Hi"])}


class StepMultiply(Function):
    unit = "hwgen_step_multiply"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"value_i": self["ValueBits"], "multiplier_i": self["MultiplierBits"], "offset_i": self["OffsetBits"]}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"code_o": self["CodeBits"]}

    @property
    def latency(self) -> int:
        return self["InputStages"] + self["ProductStages"] + self["SumStages"] + self["OutputStages"]

    def wanted(self, inputs: Signals) -> Signals:
        value, multiplier, offset = (signed(inputs[port], bits) for port, bits in self.inputs.items())
        code = (value * multiplier + offset) >> self["Shift"]
        return {"code_o": min(max(code, self["Lo"]), self["Hi"])}


class _Rows(Function):
    """A step function with a row of constants for each channel, which ``lines`` makes up."""

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"value_i": self["ValueBits"], "row_i": index_bits(self["Rows"])}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"code_o": self["CodeBits"]}

    @property
    def latency(self) -> int:
        return self["Stages"]

    @property
    def range(self) -> tuple[int, int]:
        return -(1 << (self["ValueBits"] - 1)), (1 << (self["ValueBits"] - 1)) - 1

    def drive(self) -> Signals:
        row = self.rng.randrange(self["Rows"])
        lo, hi = self.range
        value = self.rng.choice([*self.near(row), lo, hi]) + self.rng.randint(-1, 1)
        if not lo <= value <= hi:
            value = self.rng.randint(lo, hi)
        return {"value_i": mask(value, self["ValueBits"]), "row_i": row}

    def near(self, row: int) -> list[int]:
        """Values that are worth a try."""
        return []


class StepSearch(_Rows):
    unit = "hwgen_step_search"

    def texts(self) -> dict[str, str]:
        return {"File": f'"rom/{self.name}"'}

    def near(self, row: int) -> list[int]:
        return self.thresholds[row]

    @cached_property
    def thresholds(self) -> list[list[int]]:
        rng, (lo, hi) = self.seeded(), self.range
        return [sorted(rng.randint(lo, hi) for _ in range(self["Count"])) for _ in range(self["Rows"])]

    def files(self) -> dict[str, str]:
        levels, count = self["Count"].bit_length(), self["Count"]
        files = {}
        for level in range(levels):
            places = [(2 * node + 1) * 2 ** (levels - level - 1) - 1 for node in range(2**level)]
            words = [row[min(place, count - 1)] for row in self.thresholds for place in places]
            files[f"rom/{self.name}_l{level:02d}.hex"] = hex_words(words, self["ThresholdBits"])
        return files

    def wanted(self, inputs: Signals) -> Signals:
        value = signed(inputs["value_i"], self["ValueBits"])
        return {"code_o": self["First"] + sum(t <= value for t in self.thresholds[inputs["row_i"]])}


class StepTable(_Rows):
    unit = "hwgen_step_table"

    def texts(self) -> dict[str, str]:
        return {"File": f'"rom/{self.name}.hex"'}

    @property
    def range(self) -> tuple[int, int]:
        return self["Lo"], self["Lo"] + self["Size"] - 1

    @cached_property
    def table(self) -> list[list[int]]:
        rng = self.seeded()
        return [[rng.getrandbits(self["CodeBits"]) for _ in range(self["Size"])] for _ in range(self["Rows"])]

    def files(self) -> dict[str, str]:
        padding = [0] * (2 ** index_bits(self["Size"]) - self["Size"])
        words = [word for row in self.table for word in (*row, *padding)]
        return {f"rom/{self.name}.hex": hex_words(words, self["CodeBits"])}

    def wanted(self, inputs: Signals) -> Signals:
        place = signed(inputs["value_i"], self["ValueBits"]) - self["Lo"]
        return {"code_o": self.table[inputs["row_i"]][place]}


class Rom(Function):
    unit = "hwgen_rom"
    clocks = ("clk_i",)

    def texts(self) -> dict[str, str]:
        return {"File": f'"rom/{self.name}.hex"'}

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"address_i": index_bits(self["Depth"])}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"word_o": self["Width"]}

    @property
    def latency(self) -> int:
        return self["Stages"]

    @cached_property
    def words(self) -> list[int]:
        rng = self.seeded()
        return [rng.getrandbits(self["Width"]) for _ in range(self["Depth"])]

    def files(self) -> dict[str, str]:
        return {f"rom/{self.name}.hex": hex_words(self.words, self["Width"])}

    def drive(self) -> Signals:
        return {"address_i": self.rng.randrange(self["Depth"])}

    def wanted(self, inputs: Signals) -> Signals:
        return {"word_o": self.words[inputs["address_i"]]}


class SharedRom(Rom):
    unit = "hwgen_shared_rom"
    sides = ("first", "second")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {f"{side}_address_i": index_bits(self["Depth"]) for side in self.sides}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {f"{side}_word_o": self["Width"] for side in self.sides}

    def drive(self) -> Signals:
        return {port: self.rng.randrange(self["Depth"]) for port in self.inputs}

    def wanted(self, inputs: Signals) -> Signals:
        return {f"{side}_word_o": self.words[inputs[f"{side}_address_i"]] for side in self.sides}


class Constants(Function):
    unit = "hwgen_constants"

    def texts(self) -> dict[str, str]:
        words = self.words
        return {"Values": f"{len(words) * self['Width']}'h{pack(words, self['Width']):x}"}

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"index_i": index_bits(self["Depth"])}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"value_o": self["Width"]}

    @property
    def latency(self) -> int:
        return 1

    @cached_property
    def words(self) -> list[int]:
        rng = self.seeded()
        return [rng.getrandbits(self["Width"]) for _ in range(self["Depth"] * self["Stride"])]

    def drive(self) -> Signals:
        return {"index_i": self.rng.randrange(self["Depth"])}

    def wanted(self, inputs: Signals) -> Signals:
        return {"value_o": self.words[self["Offset"] + inputs["index_i"] * self["Stride"]]}


def benches() -> list[Bench]:
    """Parameter sets, corners included."""
    shifts = [
        StepShift(
            ValueBits=value,
            OffsetBits=offset,
            TotalBits=total,
            CodeBits=code,
            Shift=shift,
            Rounding=rounding,
            Lo=lo,
            Hi=hi,
            SumStages=a,
            OutputStages=b,
        )
        for value, offset, total, code, shift, rounding, lo, hi, a, b in (
            *((24, 20, 26, 8, 14, mode, -128, 127, mode % 2, 1) for mode in range(7)),
            *((12, 2, 14, 9, 1, mode, 0, 255, 0, 0) for mode in range(7)),
            (40, 36, 42, 16, 25, 0, -32768, 32767, 1, 1),
            (9, 1, 10, 8, 0, 0, -128, 127, 0, 1),
            (9, 9, 15, 8, -5, 0, -128, 127, 1, 0),
            (5, 3, 21, 2, 19, 3, -1, 1, 0, 2),
        )
    ]
    multiplies = [
        StepMultiply(
            ValueBits=value,
            MultiplierBits=multiplier,
            OffsetBits=offset,
            TotalBits=total,
            CodeBits=code,
            Shift=shift,
            Lo=lo,
            Hi=hi,
            InputStages=stages[0],
            ProductStages=stages[1],
            SumStages=stages[2],
            OutputStages=stages[3],
        )
        for value, multiplier, offset, total, code, shift, lo, hi, stages in (
            (24, 18, 40, 44, 8, 33, -128, 127, (0, 1, 0, 1)),
            (24, 19, 40, 45, 8, 33, -128, 127, (0, 1, 0, 1)),  # two limbs
            (20, 25, 40, 46, 9, 36, 0, 255, (1, 1, 1, 1)),
            (27, 34, 60, 63, 16, 45, -32768, 32767, (0, 1, 1, 1)),
            (8, 2, 3, 10, 5, 0, -16, 15, (0, 0, 0, 0)),
            (1, 1, 1, 3, 2, 1, -1, 1, (0, 0, 0, 1)),
            (12, 10, 22, 24, 4, 18, -7, 7, (2, 2, 2, 2)),
        )
    ]
    searches = [
        StepSearch(
            ValueBits=value,
            ThresholdBits=threshold,
            CodeBits=code,
            First=first,
            Count=count,
            Rows=rows,
            Stages=stages,
            OutputRegister=output,
        )
        for value, threshold, code, first, count, rows, stages, output in (
            (8, 8, 2, 0, 1, 1, 0, 0),
            (8, 9, 2, -1, 1, 3, 1, 1),
            (20, 20, 4, -4, 6, 1, 1, 1),
            (20, 24, 4, -7, 14, 5, 2, 0),
            (16, 16, 9, 0, 255, 1, 8, 1),
            (16, 16, 8, -100, 200, 2, 3, 1),
            (12, 12, 6, 0, 31, 4, 5, 1),
            (12, 12, 6, -16, 16, 1, 3, 0),
        )
    ]
    tables = [
        StepTable(ValueBits=value, CodeBits=code, Lo=lo, Size=size, Rows=rows, Stages=stages)
        for value, code, lo, size, rows, stages in (
            (8, 8, -128, 256, 1, 1),
            (8, 4, -100, 180, 1, 0),
            (9, 9, 3, 200, 3, 2),
            (4, 2, -3, 5, 4, 1),
            (3, 1, 2, 1, 1, 1),
            (3, 5, -4, 2, 6, 0),
        )
    ]
    roms = [
        Rom(Width=width, Depth=depth, Stages=stages, Block=block)
        for width, depth, stages, block in (
            (1, 1, 0, 0),
            (8, 1, 1, 0),
            (5, 2, 0, 0),
            (70, 9, 1, 1),
            (128, 100, 2, 1),
            (3, 33, 3, 0),
        )
    ]
    shared = [
        SharedRom(Width=width, Depth=depth, Stages=stages)
        for width, depth, stages in ((1, 1, 1), (70, 9, 2), (128, 100, 1))
    ]
    constants = [
        Constants(Width=width, Depth=depth, Stride=stride, Offset=offset)
        for width, depth, stride, offset in (
            (1, 1, 1, 0),
            (9, 1, 4, 3),
            (8, 5, 1, 0),
            (17, 4, 3, 2),
            (3, 20, 2, 0),
        )
    ]
    return [*shifts, *multiplies, *searches, *tables, *roms, *shared, *constants]
