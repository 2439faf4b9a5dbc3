# SPDX-License-Identifier: Apache-2.0
"""The four step units as properties: each beside the thresholds of a step function, which it does not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from proofs import Property, counted, literal
from test_step import ROUND

from hwgen.forms import MultiplyForm
from hwgen.quantizer import RoundingMode
from hwgen.step import StepFunction

# In the order of the parameter Rounding of hwgen_step_shift.
ROUNDINGS = (
    RoundingMode.ROUND,
    RoundingMode.CEIL,
    RoundingMode.FLOOR,
    RoundingMode.UP,
    RoundingMode.DOWN,
    RoundingMode.HALF_UP,
    RoundingMode.HALF_DOWN,
)


def bits(*values: int) -> int:
    """Bits of a signed number that holds all values."""
    return max(max(value, -value - 1).bit_length() + 1 for value in values)


@dataclass(frozen=True)
class Unit:
    """An instance of a step unit, what it must compute, and the contents of its memories.

    ``inputs`` are free, {port: bits}; ``constants`` are expressions.  ``want`` is the code wanted, for the inputs as
    they were ``latency`` cycles ago, ``domain`` when it is wanted; ``last`` is a code that must come up.
    """

    module: str
    parameters: Mapping[str, object]
    inputs: Mapping[str, int]
    want: str
    domain: str
    last: int
    functions: str = ""
    latency: int = 0
    constants: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def property(self, name: str) -> Property:
        """Equal to what is wanted in every cycle that lies ``latency`` behind the first."""
        kind = {port: "" if port in ("row_i", "channel") else "signed " for port in self.inputs}
        lines = [f"module {name} (", "  input  logic clk,"]
        lines += [f"  input  logic {kind[port]}[{width - 1}:0] {port}," for port, width in self.inputs.items()]
        lines += ["  output logic covered", ");", self.functions]
        lines += [f"  logic signed [{self.parameters['CodeBits']}-1:0] code;", f"  {self.module} #("]
        lines += [",\n".join(f"    .{parameter}({value})" for parameter, value in self.parameters.items())]
        ports = (
            {"clk_i": "clk"}
            | {port: port for port in self.inputs if port.endswith("_i")}
            | dict(self.constants)
            | {"code_o": "code"}
        )
        lines += ["  ) dut (", ",\n".join(f"    .{port}({value})" for port, value in ports.items()), "  );"]
        for port, width in self.inputs.items():
            lines += [
                f"  logic {kind[port]}[{width - 1}:0] {port}_then;",
                f"  past #(.Width({width}), .Cycles({self.latency})) u_{port} (",
                f"    .clk, .now({port}), .before({port}_then)",
                "  );",
            ]
        lines += [
            "  logic signed [31:0] want;",
            f"  assign want = {self.want};",
            f"  assign covered = {self.domain} && 32'(code) == {literal(self.last)};",
            f"  always_comb if ({self.domain}) assert (32'(code) == want);",
            "endmodule",
            "",
        ]
        return Property(name, "\n".join(lines), self.latency + 1)


def rounding_step(lo: int, hi: int, shift: int, mode: RoundingMode, codes: tuple[int, int]) -> StepFunction:
    """clamp(round(n / 2^shift)) for n from lo to hi, its thresholds found by evaluating it everywhere."""
    values = [min(max(ROUND[mode](Fraction(n, 2**shift)), codes[0]), codes[1]) for n in range(lo, hi + 1)]
    thresholds = [lo + sum(value < code for value in values) for code in range(values[0] + 1, values[-1] + 1)]
    return StepFunction("rounding", lo, hi, values[0], np.array([thresholds]).reshape(1, -1))


def shift_unit(
    shift: int,
    mode: RoundingMode,
    value_bits: int = 6,
    offset_bits: int = 4,
    codes: tuple[int, int] = (-4, 3),
    stages: tuple[int, int] = (0, 0),
) -> Unit:
    """hwgen_step_shift for every value and every offset, in the least TotalBits that hold all sums."""
    gain, cut = max(-shift, 0), max(shift, 0)
    value_lo, value_hi = -(1 << (value_bits - 1)), (1 << (value_bits - 1)) - 1
    lo = (value_lo << gain) - (1 << (offset_bits - 1))
    hi = (value_hi << gain) + (1 << (offset_bits - 1)) - 1
    step = rounding_step(lo, hi, cut, mode, codes)
    parameters = {
        "ValueBits": value_bits,
        "OffsetBits": offset_bits,
        "TotalBits": max(bits(lo, hi + (1 << cut) - 1), cut + 1),
        "CodeBits": bits(*codes),
        "Shift": shift,
        "Rounding": ROUNDINGS.index(mode),
        "Lo": codes[0],
        "Hi": codes[1],
        "SumStages": stages[0],
        "OutputStages": stages[1],
    }
    return Unit(
        "hwgen_step_shift",
        parameters,
        {"value_i": value_bits, "offset_i": offset_bits},
        f"wanted(32'(value_i_then) * {literal(1 << gain)} + 32'(offset_i_then), 0)",
        "1'b1",
        step.last,
        counted("wanted", step),
        latency=sum(stages),
    )


def product_unit(
    widths: tuple[int, int, int], shift: int, codes: tuple[int, int], stages: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Unit:
    """hwgen_step_multiply for every value, multiplier and offset (``widths``), from plain integers."""
    value, multiplier, offset = widths
    total = max(value + multiplier, offset) + 1
    assert total <= 32
    result = f"((32'(value_i_then) * 32'(multiplier_i_then) + 32'(offset_i_then)) >>> {shift})"
    low, high = literal(codes[0]), literal(codes[1])
    return Unit(
        "hwgen_step_multiply",
        _multiply_parameters(widths, total, shift, codes, stages),
        {"value_i": value, "multiplier_i": multiplier, "offset_i": offset},
        f"{result} < {low} ? {low} : {result} > {high} ? {high} : {result}",
        "1'b1",
        codes[1],
        latency=sum(stages),
    )


def multiply_unit(step: StepFunction, form: MultiplyForm, stages: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Unit:
    """hwgen_step_multiply with the constants of a fit, of each channel where they differ, beside the thresholds."""
    multipliers = [int(m) for m in np.broadcast_to(form.multiplier, step.channels)]
    offsets = [int(b) for b in np.broadcast_to(form.offset, step.channels)]
    products = [end * m for end in (step.lo, step.hi) for m in multipliers]
    sums = [end * m + b for end in (step.lo, step.hi) for m, b in zip(multipliers, offsets, strict=True)]
    widths = (bits(step.lo, step.hi), bits(*multipliers), bits(*offsets))
    total = max(bits(*products, *sums), *widths, form.shift + 1)
    channel = {"channel": bits(step.channels - 1)} if step.channels > 1 else {}
    return Unit(
        "hwgen_step_multiply",
        _multiply_parameters(widths, total, form.shift, (form.lo, form.hi), stages),
        {"value_i": widths[0]} | channel,
        *_by_definition(step, "channel"),
        latency=sum(stages),
        constants={
            "multiplier_i": _of_channel(multipliers, widths[1]),
            "offset_i": _of_channel(offsets, widths[2]),
        },
    )


def search_unit(step: StepFunction, stages: int = 0, output_register: int = 0) -> Unit:
    """hwgen_step_search with the thresholds in a complete tree: level by level, the middle of what is left."""
    count = step.thresholds.shape[1]
    levels, threshold_bits = count.bit_length(), bits(step.lo, step.hi + 1)
    files = {}
    for level in range(levels):
        places = [(2 * node + 1) * 2 ** (levels - level - 1) - 1 for node in range(2**level)]
        words = [int(row[min(place, count - 1)]) for row in step.thresholds for place in places]
        files[f"step_l{level:02d}.hex"] = _hex(words, threshold_bits)
    parameters = {
        "ValueBits": bits(step.lo, step.hi),
        "ThresholdBits": threshold_bits,
        "CodeBits": bits(step.first, step.last),
        "First": step.first,
        "Count": count,
        "Rows": step.channels,
        "Stages": stages,
        "OutputRegister": output_register,
        "File": '"step"',
    }
    return Unit(
        "hwgen_step_search", parameters, _row_inputs(step), *_by_definition(step, "row_i"), latency=stages, files=files
    )


def table_unit(step: StepFunction, stages: int = 0) -> Unit:
    """hwgen_step_table with the step function evaluated by its definition; what pads a row is never wanted."""
    padding = [step.last] * ((1 << max(1, (step.size - 1).bit_length())) - step.size)
    words: list[int] = []
    for row in step.thresholds:
        words += [step.first + int((row <= value).sum()) for value in range(step.lo, step.hi + 1)] + padding
    code_bits = bits(step.first, step.last)
    parameters = {
        "ValueBits": bits(step.lo, step.hi),
        "CodeBits": code_bits,
        "Lo": step.lo,
        "Size": step.size,
        "Rows": step.channels,
        "Stages": stages,
        "File": '"step.hex"',
    }
    return Unit(
        "hwgen_step_table",
        parameters,
        _row_inputs(step),
        *_by_definition(step, "row_i"),
        latency=stages,
        files={"step.hex": _hex(words, code_bits)},
    )


def _row_inputs(step: StepFunction) -> dict[str, int]:
    return {"value_i": bits(step.lo, step.hi), "row_i": max(1, (step.channels - 1).bit_length())}


def _by_definition(step: StepFunction, channel: str) -> tuple[str, str, int, str]:
    """What is wanted, where, the greatest code, and the function that counts thresholds."""
    value = "32'(value_i_then)"
    domain = f"{value} >= {literal(step.lo)} && {value} <= {literal(step.hi)}"
    if step.channels > 1 or channel == "row_i":
        domain += f" && {channel}_then < {step.channels}"
    else:
        channel = "1'b0"
    used = f"32'({channel}_then)" if step.channels > 1 else "0"
    last = step.first + int((step.thresholds <= step.hi).sum(axis=1).max())
    return f"wanted({value}, {used})", f"({domain})", last, counted("wanted", step)


def _of_channel(values: list[int], width: int) -> str:
    """A constant, or the one of the channel."""
    mask = (1 << width) - 1
    chosen = f"{width}'h{values[-1] & mask:x}"
    for channel, value in reversed(list(enumerate(values[:-1]))):
        chosen = f"channel == {channel} ? {width}'h{value & mask:x} : {chosen}"
    return chosen


def _hex(words: list[int], width: int) -> str:
    return "".join(f"{word & ((1 << width) - 1):x}\n" for word in words)


def _multiply_parameters(
    widths: tuple[int, int, int], total: int, shift: int, codes: tuple[int, int], stages: tuple[int, int, int, int]
) -> dict[str, object]:
    names = ("InputStages", "ProductStages", "SumStages", "OutputStages")
    return {
        "ValueBits": widths[0],
        "MultiplierBits": widths[1],
        "OffsetBits": widths[2],
        "TotalBits": total,
        "CodeBits": bits(*codes),
        "Shift": shift,
        "Lo": codes[0],
        "Hi": codes[1],
        **dict(zip(names, stages, strict=True)),
    }
