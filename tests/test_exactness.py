# SPDX-License-Identifier: Apache-2.0
"""Reference = integer model = onnxruntime on the lowered graph = C simulation = RTL, and predicted = simulated cycles.

conftest.py prints the table.  Rows that are not short run with make test-long, and in benchmarks/exactness.py.
"""

from __future__ import annotations

from pathlib import Path

import exactness_table
import pytest
from exactness_rows import Row, measure, rows
from hardware import Record

ROWS = rows()


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=() if row.short else pytest.mark.long) for row in ROWS]
)
def test_every_code_and_every_cycle(row: Row, tmp_path: Path, record_property: Record) -> None:
    result = exactness_table.empty(row.name)
    # What is measured until something fails stands in the table.
    record_property("exactness", result)
    measure(row, tmp_path, result)
    assert exactness_table.exact(result), result


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names) > 100
    assert sum(name.startswith("combination") for name in names) >= 40
