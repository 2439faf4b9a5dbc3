# SPDX-License-Identifier: Apache-2.0
"""Proofs for all inputs: the step units equal their thresholds, the generated cell equals products and sums."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cell_properties import cell_property
from proofs import Property, Verdict, check, library
from small_cells import CellCase
from step_properties import (
    ROUNDINGS,
    Unit,
    multiply_unit,
    product_unit,
    rounding_step,
    search_unit,
    shift_unit,
    table_unit,
)

from hwgen.backends import rtl
from hwgen.backends.naming import top_name
from hwgen.forms import MultiplyForm, fit_multiply
from hwgen.quantizer import IntegerType, RoundingMode
from hwgen.step import Linear, StepFunction, linear_step


def decide(units: list[Unit], folder: Path, files: dict[str, str] | None = None, cover: bool = True) -> list[Verdict]:
    """One verdict for each unit; memories of different units go to folders of their own."""
    sources, properties = dict(files or library()), []
    for number, unit in enumerate(units):
        sources |= {f"rom{number}/{name}": text for name, text in unit.files.items()}
        parameters = dict(unit.parameters)
        if "File" in parameters:
            parameters["File"] = str(parameters["File"]).replace('"', f'"rom{number}/', 1)
        properties.append(replace(unit, parameters=parameters).property(f"unit{number}"))
    return check(properties, sources, folder, cover)


def assert_proven(units: list[Unit], folder: Path) -> None:
    for unit, verdict in zip(units, decide(units, folder), strict=True):
        assert verdict.proven, f"{unit.module} {dict(unit.parameters)}: {verdict}; see {folder / 'yosys.log'}"


def assert_refuted(units: list[Unit], folder: Path, files: dict[str, str] | None = None) -> None:
    for unit, verdict in zip(units, decide(units, folder, files, cover=False), strict=True):
        assert not verdict.holds, f"{unit.module} {dict(unit.parameters)}: the planted error is not found"


def random_step(seed: int, count: int, channels: int = 1, lo: int = -40, hi: int = 33) -> StepFunction:
    """Any monotone function with ``count`` thresholds: some equal, some never reached."""
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.integers(lo, hi + 2, (channels, count)), axis=1)
    return StepFunction(f"seed {seed}", lo, hi, int(rng.integers(-9, 9)), thresholds)


def fitted(seed: int, channels: int, codes: IntegerType, reach: int) -> tuple[StepFunction, MultiplyForm]:
    """A uniform quantizer with the scales of three float32, and the multiplier that was found for it."""
    rng = np.random.default_rng(seed)
    slopes, intercepts = [], []
    for _ in range(channels):
        a, b, c = (Fraction(float(np.float32(s))) for s in rng.uniform(0.3, 1, 3))
        slopes.append(a * b / c * Fraction(codes.hi - codes.lo, 2 * reach) * Fraction(3, 2))
        intercepts.append(Fraction(float(np.float32(rng.normal()))))
    step = linear_step(
        f"seed {seed}", -reach, reach - 3, Linear(tuple(slopes), tuple(intercepts), RoundingMode.ROUND, codes)
    )
    form = fit_multiply(step)
    assert form is not None, f"seed {seed}"
    return step, form


# The shift form.


@pytest.mark.parametrize("mode", ROUNDINGS)
def test_shift_form_rounds_every_value_plus_every_offset(mode: RoundingMode, tmp_path: Path) -> None:
    units = [shift_unit(shift, mode) for shift in (1, 2, 3, 5)]
    units += [shift_unit(2, mode, codes=(0, 5)), shift_unit(2, mode, codes=(-3, 20), stages=(1, 1))]
    # Cut to its sign, and beyond every value.
    units += [shift_unit(6, mode, codes=(-1, 1)), shift_unit(8, mode, codes=(-2, 3))]
    assert_proven(units, tmp_path)


def test_shift_form_multiplies_for_negative_shifts(tmp_path: Path) -> None:
    units = [
        shift_unit(0, RoundingMode.ROUND, value_bits=5, codes=(-128, 127)),
        shift_unit(0, RoundingMode.UP, codes=(-4, 3), stages=(1, 0)),
        shift_unit(-1, RoundingMode.ROUND, codes=(0, 15), stages=(0, 1)),
        shift_unit(-3, RoundingMode.DOWN, value_bits=4, codes=(-30, 25), stages=(2, 2)),
    ]
    assert_proven(units, tmp_path)


def test_shift_form_of_wide_accumulators(tmp_path: Path) -> None:
    unit = shift_unit(9, RoundingMode.ROUND, value_bits=16, offset_bits=12, codes=(-50, 50), stages=(0, 1))
    assert_proven([unit], tmp_path)


def test_another_rounding_is_not_proven(tmp_path: Path) -> None:
    # Each mode built as each other one: their definitions differ, and so do the circuits.
    units = [
        replace(unit, parameters={**unit.parameters, "Rounding": other})
        for number, unit in enumerate(shift_unit(2, mode, value_bits=5, offset_bits=2) for mode in ROUNDINGS)
        for other in range(len(ROUNDINGS))
        if other != number
    ]
    assert len(units) == 42
    assert_refuted(units, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "mode"),
    [
        ("Half - TotalBits'(1) + {{", "Half + {{", RoundingMode.ROUND),
        ("sum_q[Cut]}", "sum_q[Cut-1]}", RoundingMode.ROUND),
        ("assign increment = Last;", "assign increment = Last - TotalBits'(1);", RoundingMode.CEIL),
        ("negative ? '0 : Last", "negative ? '0 : Half", RoundingMode.UP),
        ("negative ? Half - TotalBits'(1) : Half;", "Half;", RoundingMode.HALF_UP),
        ("negative ? Half : Half - TotalBits'(1);", "Half - TotalBits'(1);", RoundingMode.HALF_DOWN),
        ("assign negative = sum_q[TotalBits-1]", "assign negative = sum_q[TotalBits-2]", RoundingMode.DOWN),
        (".Stages(OutputStages)", ".Stages(OutputStages + 1)", RoundingMode.FLOOR),
    ],
)
def test_an_error_in_the_shift_unit_is_found(old: str, new: str, mode: RoundingMode, tmp_path: Path) -> None:
    units = [shift_unit(2, mode, codes=(-16, 15)), shift_unit(2, mode, codes=(-16, 15), stages=(1, 1))]
    assert_refuted(units, tmp_path, spoiled("hwgen_step_shift.sv", old, new))


def test_a_clamp_that_is_missing_or_one_off_is_found(tmp_path: Path) -> None:
    units = [shift_unit(2, RoundingMode.ROUND), product_unit((4, 4, 5), 3, (-4, 3))]
    for number, (old, new) in enumerate(
        (
            ("if (value < Bits'(Lo)) limited", "if (value < Bits'(Lo - 1)) limited"),
            ("else if (value > Bits'(Hi)) limited = Bits'(Hi);", ""),
            ("limited = Bits'(Hi);", "limited = Bits'(Hi - 1);"),
        )
    ):
        assert_refuted(units, tmp_path / str(number), spoiled("hwgen_clamp.sv", old, new))
    # The sign of a value that is narrower than its limits.
    wide = [shift_unit(3, RoundingMode.ROUND, codes=(-20, 25))]
    old, new = "assign value = Bits'(value_i);", "assign value = {{(Bits-ValueBits){1'b0}}, value_i};"
    assert_refuted(wide, tmp_path / "wide", spoiled("hwgen_clamp.sv", old, new))
    for name, by in (("Lo", -1), ("Lo", 1), ("Hi", 1), ("Hi", -1)):
        off = [
            replace(u, parameters={**u.parameters, "CodeBits": 5, name: int(str(u.parameters[name])) + by})
            for u in units
        ]
        assert_refuted(off, tmp_path / f"{name}{by}")


def spoiled(unit: str, old: str, new: str) -> dict[str, str]:
    """The library with one passage of one unit replaced."""
    files = library()
    assert files[unit].count(old) == 1, f"{unit}: {old}"
    return files | {unit: files[unit].replace(old, new)}


# The multiply form.


def test_multiply_form_for_every_multiplier_and_offset(tmp_path: Path) -> None:
    units = [
        product_unit((4, 4, 5), 3, (-4, 3)),
        product_unit((4, 3, 7), 0, (-80, 90), stages=(0, 1, 0, 1)),
        product_unit((5, 5, 6), 5, (0, 7), stages=(0, 1, 1, 1)),
        # Beyond 18 bits in two limbs.
        product_unit((3, 19, 8), 17, (-2, 1)),
        product_unit((3, 21, 12), 18, (-7, 5), stages=(1, 1, 1, 1)),
    ]
    assert_proven(units, tmp_path)


def test_multiply_form_equals_the_thresholds_it_was_fitted_to(tmp_path: Path) -> None:
    nibble = IntegerType(4, False)
    units = [
        multiply_unit(*fitted(1, 1, nibble, 60)),
        multiply_unit(*fitted(2, 3, nibble, 100), (0, 1, 0, 1)),
        multiply_unit(*fitted(3, 4, IntegerType(3, True), 50), (1, 1, 1, 1)),
        multiply_unit(*fitted(4, 1, IntegerType(6, True), 200), (0, 1, 0, 1)),
    ]
    assert_proven(units, tmp_path)


def test_an_error_in_the_multiply_unit_or_its_constants_is_found(tmp_path: Path) -> None:
    step, form = fitted(1, 1, IntegerType(5, True), 100)
    units = [
        multiply_unit(step, replace(form, **change))
        for change in (
            {"shift": form.shift + 1},
            {"shift": form.shift - 1},
            {"offset": form.offset + (1 << form.shift >> 1)},
            {"multiplier": form.multiplier + 4},
            {"lo": form.lo + 1},
            {"hi": form.hi - 1},
        )
    ]
    assert_refuted(units, tmp_path)
    limbs = [product_unit((3, 19, 8), 17, (-2, 1), stages=(0, 1, 0, 1))]
    for number, (old, new) in enumerate(
        (
            ("{1'b0, multiplier[LimbBits-1:0]}", "{multiplier[LimbBits-1], multiplier[LimbBits-1:0]}"),
            (".Stages(InputStages + ProductStages)", ".Stages(InputStages)"),
            ("<<< LimbBits)", "<<< (LimbBits - 1))"),
        )
    ):
        assert_refuted(limbs, tmp_path / str(number), spoiled("hwgen_step_multiply.sv", old, new))


# The search and the table.


def test_search_form_of_1_to_15_thresholds(tmp_path: Path) -> None:
    units = [search_unit(random_step(count, count)) for count in range(1, 16)]
    # A register behind each level, behind every other one, and before an output register that another unit has.
    units += [search_unit(random_step(count, count), count.bit_length(), 1) for count in (1, 2, 6, 9, 15)]
    units += [search_unit(random_step(20 + stages, 11), stages, 1) for stages in (1, 2, 3)]
    units += [search_unit(random_step(30 + stages, 13), stages, 0) for stages in (1, 2, 3)]
    assert_proven(units, tmp_path)


def test_search_form_with_thresholds_of_each_channel(tmp_path: Path) -> None:
    units = [search_unit(random_step(7, 1, channels=2)), search_unit(random_step(8, 5, channels=3), 2, 1)]
    units += [search_unit(random_step(9, 10, channels=5), 3, 0), search_unit(random_step(10, 15, channels=4), 4, 1)]
    assert_proven(units, tmp_path)


def test_search_form_of_many_thresholds(tmp_path: Path) -> None:
    assert_proven([search_unit(random_step(3, 100, lo=-500, hi=900), 2, 1)], tmp_path)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_threshold_that_is_one_off_is_found(by: int, tmp_path: Path) -> None:
    # Distinct thresholds within the domain: each of them matters.
    step = StepFunction("step", -40, 33, -3, np.arange(-30, 30, 8)[np.newaxis, :7])
    moved = step.thresholds + by * np.eye(7, dtype=np.int64)
    units = [
        replace(search_unit(step), files=search_unit(replace(step, thresholds=row[np.newaxis])).files) for row in moved
    ]
    units += [replace(unit, parameters=search_unit(step, 3, 1).parameters, latency=3) for unit in units[:2]]
    assert_refuted(units, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">= threshold", "> threshold"),
        ("place < Bits'(Count) ? place : Bits'(Count)", "place"),
        ("count + Bits'(First)", "count"),
        ("address = {row, gen_level[l-1].place}", "address = {gen_level[l-1].place, row}"),
    ],
)
def test_an_error_in_the_search_unit_is_found(old: str, new: str, tmp_path: Path) -> None:
    step = StepFunction("step", -40, 33, -3, np.array([[-20, -10, 0, 5, 9], [-30, -9, 9, 11, 33]]))
    unit = search_unit(step, 3, 1)
    assert_refuted([unit], tmp_path, spoiled("hwgen_step_search.sv", old, new))


def test_table_form_from_any_lowest_value(tmp_path: Path) -> None:
    units = [
        table_unit(random_step(1, 9, lo=lo, hi=hi, channels=channels), stages)
        for lo, hi, channels, stages in (
            (-8, 7, 1, 0),
            (-5, 40, 1, 1),
            (3, 19, 1, 2),
            (-37, -20, 1, 0),
            (0, 5, 3, 1),
            (-11, 9, 4, 2),
            (7, 7, 5, 0),
            (6, 7, 1, 1),
        )
    ]
    assert_proven(units, tmp_path)


def test_an_error_in_the_table_unit_or_its_contents_is_found(tmp_path: Path) -> None:
    step = random_step(5, 9, channels=3, lo=-11, hi=9)
    unit = table_unit(step, 1)
    words = unit.files["step.hex"].split()
    for number in (0, 20, 32, 84):
        wrong = [*words[:number], f"{int(words[number], 16) ^ 1:x}", *words[number + 1 :]]
        assert_refuted([replace(unit, files={"step.hex": "\n".join(wrong)})], tmp_path / str(number))
    # A word that is missing is undefined, which equals nothing.
    assert_proven([replace(unit, files={"step.hex": "\n".join(words[:85])})], tmp_path / "whole")
    assert_refuted([replace(unit, files={"step.hex": "\n".join(words[:84])})], tmp_path / "short")
    for old, new in (
        ("- Bits'(Lo)", "- Bits'(Lo + 1)"),
        ("address = {row_i, distance[PlaceBits-1:0]}", "address = {2'b0, distance[PlaceBits-1:0]}"),
        (".Stages(Stages)", ".Stages(Stages + 1)"),
    ):
        assert_refuted([unit], tmp_path / "unit", spoiled("hwgen_step_table.sv", old, new))


def test_an_empty_domain_is_not_proven(tmp_path: Path) -> None:
    # A property whose premise is never true holds for any circuit: the covers say so.
    unit = replace(shift_unit(2, RoundingMode.ROUND), domain="(32'(value_i_then) * 32'(value_i_then) == 3)")
    (verdict,) = decide([unit], tmp_path)
    assert verdict.holds
    assert not verdict.covered
    assert not verdict.proven


def test_the_definition_of_rounding_equals_its_exact_thresholds() -> None:
    # What the proofs compare with is evaluated everywhere; the compiler solves for the same thresholds.
    for mode in ROUNDINGS:
        linear = Linear((Fraction(1, 8),), (Fraction(0),), mode, IntegerType(4, True))
        wanted = rounding_step(-100, 90, 3, mode, (-8, 7))
        np.testing.assert_array_equal(linear_step("s", -100, 90, linear).thresholds, wanted.thresholds, str(mode))


# The generated cell.

CELLS = [
    CellCase("two_bits", bits=2),
    CellCase("coupled", coupled=True, folding=(3, 2, 3, 4)),
    CellCase("zero_points", zero_point=1),
    CellCase("power_of_two", power_of_two=True, rounding=RoundingMode.FLOOR, kinds=("shift", "search"), separate=True),
    CellCase("two_parts", folding=(2, 2, 2, 4)),
    CellCase("four_parts", bits=2, per_channel=True, folding=(1, 2, 1, 4), clock=50),
    CellCase("coupled_parts", bits=2, coupled=True, folding=(1, 2, 1, 2)),
    CellCase("two_units", bits=2, per_channel=True, folding=(8, 2, 8, 4)),
    CellCase("multiply", bits=2, per_channel=True, kinds=("multiply", "search"), separate=True, clock=50),
    CellCase("fast_search", bits=2, per_channel=True, kinds=("search",), clock=200),
]
CASES = {case.name: case for case in CELLS}


@dataclass(frozen=True)
class Generated:
    """The files of a case that hold its cell, and a property for each of its units that work side by side."""

    files: dict[str, str]
    unit: str
    properties: list[Property]


def generated(case: CellCase) -> Generated:
    design = case.schedule()
    unit = f"src/{top_name(design)}_unit.sv"
    every = rtl.generate(design, f"Generated for the proof {case}.")
    files = {name: text for name, text in every.items() if name.startswith(("lib/", "rom/")) or name == unit}
    lanes = range(design.units) if "Lane" in files[unit] else range(1)
    return Generated(files, unit, [cell_property(f"cell{n}", design, files[unit], n) for n in lanes])


@pytest.mark.parametrize("case", CELLS, ids=str)
def test_cell_equals_products_and_sums_of_integers(case: CellCase, tmp_path: Path) -> None:
    cell = generated(case)
    for prop, verdict in zip(cell.properties, check(cell.properties, cell.files, tmp_path), strict=True):
        assert verdict.proven, f"{case}, {prop.name}: {verdict}; see {tmp_path / 'yosys.log'}"


def test_the_proven_cells_have_every_form_and_shape() -> None:
    designs = [case.schedule() for case in CELLS]
    forms = {(certified.form.kind, certified.step.channels > 1) for d in designs for _, certified in d.cell.steps()}
    assert forms >= {(kind, False) for kind in ("shift", "multiply", "search", "table")}
    assert forms >= {("multiply", True), ("search", True), ("table", True)}
    assert {design.units for design in designs} == {1, 2}


# A case, the file to spoil, what to look for in it, and what to put there.
CELL_ERRORS = {
    "gates swapped": (
        "two_bits",
        "src/",
        r"(assign input_total = totals_i\[)(\d+)(.*assign output_total = totals_i\[)(\d+)",
        r"\1\4\3\2",
    ),
    "a threshold moved": ("two_bits", "rom/tanh_code.hex", r"\n(\w+)\n(?!\1)(\w+)\n", r"\n\2\n\2\n"),
    "a code too early": ("two_bits", "src/", r"Stages\(\d\)(\s*\) u_output_gate_at)", r"Stages(1)\1"),
    "sum as difference": ("two_bits", "src/", r"\(kept_code\) \+", "(kept_code) -"),
    "another one": ("coupled", "src/", r"4'sd5 - input_gate", "4'sd4 - input_gate"),
    "no zero point": ("zero_points", "src/", r"\.RightZero\(1\)", ".RightZero(0)"),
    "no lower clamp": ("power_of_two", "lib/hwgen_clamp", r"if \(value < [^;]*;\s*else ", ""),
    "another shift": ("power_of_two", "src/", r"\.Shift\(3\)", ".Shift(4)"),
    "held too late": ("two_parts", "src/", r"\.Delay\(1\)(\s*\) u_input_held)", r".Delay(2)\1"),
    "held of another part": ("two_parts", "src/", r"part_valid_i\[0\](?=\),\s*\.data_i\(forget)", "part_valid_i[1]"),
    "another group": ("four_parts", "src/", r"Stages\(\d\)(\s*\) u_input_gate_group)", r"Stages(2)\1"),
    "another unit": ("two_units", "src/", r"Lane % 10\)", "(Lane + 1) % 2)"),
    "constants of another channel": (
        "multiply",
        "src/",
        r"(OutputAccumulatorOffset = \{\s*)(\S+), (\S+),",
        r"\1\3, \2,",
    ),
    "thresholds of another channel": (
        "fast_search",
        "rom/output_gate_u000_l00.hex",
        r"\n(\w+)\n(\w+)\n",
        r"\n\2\n\1\n",
    ),
}


@pytest.mark.parametrize("error", CELL_ERRORS)
def test_an_error_in_the_cell_is_found(error: str, tmp_path: Path) -> None:
    case, name, old, new = CELL_ERRORS[error]
    cell = generated(CASES[case])
    (path,) = (path for path in cell.files if path.startswith(name))
    text, count = re.subn(old, new, cell.files[path], flags=re.DOTALL, count=1)
    assert count == 1 and text != cell.files[path], f"{old} is not in {path}"
    # The proof that holds without the error is that of the test above.
    verdicts = check(cell.properties, cell.files | {path: text}, tmp_path, cover=False)
    assert not any(verdict.holds for verdict in verdicts)
