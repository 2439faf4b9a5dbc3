# SPDX-License-Identifier: Apache-2.0
"""Proofs for all inputs: the generated unit of a GRU equals products and sums of integers.

``test_formal.py`` proves the step units and the unit of an LSTM.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gru_properties import GruCase, gru_property
from proofs import Property, check

from hwgen.backends import rtl

CASES = [
    GruCase("two_bits", bits=2, scale=0.5),
    GruCase("zero_points", zero_point=1),
    GruCase("three_parts", bits=2, scale=0.5, folding=(1, 2, 1, 4), clock=50),
    GruCase("two_units", bits=2, scale=0.5, folding=(6, 2, 6, 4)),
    GruCase("fast", bias=0.0, clock=200),
]
NAMES = {case.name: case for case in CASES}


def generated(case: GruCase) -> tuple[dict[str, str], list[Property]]:
    """The files of a case that hold its unit, and a property for each of the units that work side by side."""
    whole, design = case.schedule()
    unit = f"src/{design.module}_unit.sv"
    every = rtl.generate(whole, f"Generated for the proof {case}.")
    files = {name: text for name, text in every.items() if name.startswith(("lib/", "rom/")) or name == unit}
    lanes = range(design.units) if "Lane" in files[unit] else range(1)
    return files, [gru_property(f"gru{lane}", design, files[unit], lane) for lane in lanes]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unit_equals_products_and_sums_of_integers(case: GruCase, tmp_path: Path) -> None:
    files, properties = generated(case)
    for prop, verdict in zip(properties, check(properties, files, tmp_path), strict=True):
        assert verdict.proven, f"{case}, {prop.name}: {verdict}; see {tmp_path / 'yosys.log'}"


# A case, what to look for in its unit, and what to put there.
ERRORS = {
    "gates swapped": (
        "two_bits",
        r"(assign reset_total = totals_i\[)(\d+)(.*assign update_total = totals_i\[)(\d+)",
        r"\1\4\3\2",
    ),
    "sum as difference": ("two_bits", r"kept_code \+", "kept_code -"),
    "another one": ("two_bits", r"(assign update_rest = \d+'sd)(\d+)", r"\g<1>1"),
    "an input sum of another unit": ("two_bits", r"Stages\(1\)(\s*\) u_sum_i_at0)", r"Stages(2)\1"),
    "no zero point": ("zero_points", r"\.RightZero\(1\)", ".RightZero(0)"),
    "held too late": ("three_parts", r"\.Delay\((\d)\)(\s*\) u_update_held)", r".Delay(3)\2"),
    "another unit": ("two_units", r"Lane % 10\)", "(Lane + 1) % 2)"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_the_unit_is_found(error: str, tmp_path: Path) -> None:
    name, old, new = ERRORS[error]
    files, properties = generated(NAMES[name])
    (path,) = (path for path in files if path.startswith("src/"))
    text, count = re.subn(old, new, files[path], flags=re.DOTALL, count=1)
    assert count == 1 and text != files[path], f"{old} is not in {path}"
    # The proof that holds without the error is that of the test above.
    verdicts = check(properties, files | {path: text}, tmp_path, cover=False)
    assert not any(verdict.holds for verdict in verdicts)
