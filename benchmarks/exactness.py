# SPDX-License-Identifier: Apache-2.0
"""The table of exactness in full: every option set, network and random combination through every level.

``python benchmarks/exactness.py`` measures what exactness.json beside this file does not hold yet, and writes it and
docs/exactness_table.md after each row: it may be stopped at any time and goes on where it was.  A row that was measured
with other sources than today's is measured again, unless ``--keep`` is given.  Hours on two cores; needs the dev and
train extras.  Status 0 if every row of the table is there and all equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console

# Rows are defined beside the tests.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import exactness_rows
import exactness_table
from exactness_table import Result

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("exactness.json")
TABLE = ROOT / "docs" / "exactness_table.md"
# What can change a row.
SOURCES = ("hwgen", "templates", "sim", "tests/models")
ROW_SOURCES = (
    "exactness_rows",
    "hardware",
    "lowered",
    "combinations",
    "test_networks",
    "test_export",
    "test_calibrate",
)
HEAD = """# The table of exactness

Every row is one model. Its float64 reference is compared with the integer model, with onnxruntime on the lowered graph
(optimised and not), with C simulation and with RTL simulation (each without stalls and with both sides stalled): the
columns count the codes that were compared, and would say how many differ. Cycles are those of the last output beat, as
predicted; simulated ones must be the same in every output's first and last beat. `python benchmarks/exactness.py`
measures and writes all of it; `make test` runs its short rows.

"""
_err = Console(stderr=True, highlight=False)


def main(given: Sequence[str] | None = None) -> int:
    """Measure what is missing, write, print."""
    arguments = _parser().parse_args(given)
    order = [row.name for row in exactness_rows.rows()]
    wanted = [name for name in order if all(part in name for part in arguments.only)]
    if not wanted:
        _err.print(f"no row is called like {' '.join(arguments.only)}")
        return 2
    sources = digest()
    known = load(arguments.output)
    if arguments.list:
        for name in wanted:
            print(f"{name}: {exactness_table.verdict(known[name]) if name in known else 'not measured'}")
        return 0
    fresh = {
        name
        for name, result in known.items()
        if (arguments.keep or result["sources"] == sources) and (exactness_table.exact(result) or not arguments.retry)
    }
    missing = [name for name in wanted if name not in fresh]
    _err.print(f"{len(wanted)} rows, {len(missing)} of them to be measured", markup=False)
    for done, result in enumerate(measured(missing, arguments.jobs), 1):
        known[result["row"]] = result | {"sources": sources}
        known = {name: known[name] for name in order if name in known}
        write(known, arguments.output, arguments.table)
        _err.print(f"{done} of {len(missing)}  {result['row']}: {exactness_table.verdict(result)}", markup=False)
    write({name: known[name] for name in order if name in known}, arguments.output, arguments.table)
    found = [known[name] for name in wanted]
    print("\n".join(exactness_table.lines(found)))
    return 0 if all(map(exactness_table.exact, found)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="PART", help="rows with all these parts in their names alone")
    parser.add_argument("--list", action="store_true", help="print the rows, and measure nothing")
    parser.add_argument("--jobs", type=int, default=1, help="rows at the same time")
    parser.add_argument("--keep", action="store_true", help="keep rows that were measured with other sources")
    parser.add_argument("--retry", action="store_true", help="measure rows again that were not equal")
    parser.add_argument("--output", type=Path, default=RESULTS, help="results for programs to read")
    parser.add_argument("--table", type=Path, default=TABLE, help="the table in Markdown")
    return parser


def measured(names: list[str], jobs: int) -> Iterator[Result]:
    """Results as they come."""
    if jobs < 2:
        for name in names:
            if _err.is_terminal:
                with _err.status(name):
                    yield measure_one(name)
            else:
                yield measure_one(name)
        return
    # Compilers run as processes of the workers; torch is imported once in each.
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(measure_one, name): name for name in names}
        for future in as_completed(running):
            yield future.result()


def measure_one(name: str) -> Result:
    """One row, whatever comes of it."""
    warnings.simplefilter("ignore")
    row = next(row for row in exactness_rows.rows() if row.name == name)
    result = exactness_table.empty(name)
    with tempfile.TemporaryDirectory(prefix="hwgen-exactness-") as folder:
        try:
            exactness_rows.measure(row, Path(folder), result)
        except Exception as error:
            # The table says it, and the other rows are measured.
            text = str(error).strip().splitlines()[:1] or [""]
            result["error"] = f"{type(error).__name__}: {text[0]}".replace(folder, "FOLDER").replace("|", "/")
    return result


def digest() -> str:
    """Of everything that the rows run."""
    found = hashlib.sha256()
    paths = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*"))]
    for path in [*paths, *(ROOT / "tests" / f"{name}.py" for name in ROW_SOURCES)]:
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def load(path: Path) -> dict[str, Any]:
    """Results by row."""
    if not path.is_file():
        return {}
    return {result["row"]: result for result in json.loads(path.read_text())["rows"]}


def write(results: dict[str, Result], output: Path, table: Path) -> None:
    """Both files, each beside the old one first."""
    rows = list(results.values())
    for path, text in (
        (output, json.dumps({"rows": rows}, indent=1) + "\n"),
        (table, HEAD + exactness_table.markdown(rows)),
    ):
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text)
        os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
