# SPDX-License-Identifier: Apache-2.0
"""Yosys over the designs of designs.py: cells of each, in measured.json beside this file.

``python benchmarks/synthesis/sweep.py`` synthesises what is missing or whose RTL has changed since, in a fixed order,
one design after the other; it may be stopped and started again.  ``--export`` writes models/ anew (needs torch and
Brevitas).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.synthesis.designs import GENERATED, ROOT, Point, points
from hwgen import project
from hwgen.backends import rtl
from hwgen.schedule import Schedule
from hwgen.synth import yosys

MEASURED = Path(__file__).with_name("measured.json")
FLOW = "xc7"
# What synthesis does not see: checks and comments.
_UNSEEN = re.compile(r"^`ifndef SYNTHESIS$.*?^`endif$|//[^\n]*", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Export models, or synthesise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", action="store_true", help="write the models of other sizes anew")
    if parser.parse_args().export:
        export()
        return
    tool = yosys.version()
    data = json.loads(MEASURED.read_text()) if MEASURED.is_file() else {"designs": []}
    known = {entry["name"]: entry for entry in data["designs"]} if data.get("yosys") == tool else {}
    columns = MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns) as progress:
        task = progress.add_task("", total=len(points()))
        for point in points():
            progress.update(task, description=point.name)
            design = point.schedule()
            digest = rtl_digest(design)
            if known.get(point.name, {}).get("rtl") != digest:
                known[point.name] = measure(point, design, digest)
            write(tool, known)
            progress.advance(task)


def measure(point: Point, design: Schedule, digest: str) -> dict[str, Any]:
    """One design through Yosys."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hwgen-sweep-") as folder:
        built = project.build(design, Path(folder) / "project", "rtl")
        (cells,) = yosys.cells(built, FLOW, Path(folder)).values()
    cells = {kind: number for kind, number in sorted(cells.items()) if not kind.startswith("$")}
    seconds = round(time.monotonic() - begin, 1)
    return {"name": point.name, "point": point.to_dict(), "rtl": digest, "seconds": seconds, "cells": cells}


def rtl_digest(design: Schedule) -> str:
    """What the measurement holds for: a digest of the generated sources, and of the static units that they use."""
    files = {path: " ".join(_UNSEEN.sub("", text).split()) for path, text in rtl.generate(design, "sweep").items()}
    sources = {path: text for path, text in files.items() if path.split("/")[0] in ("src", "rom")}
    units = {path: text for path, text in files.items() if path.startswith("lib/")}
    while used := {path for path in units if any(Path(path).stem in text for text in sources.values())}:
        sources |= {path: units.pop(path) for path in used}
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]


def write(tool: str, known: dict[str, dict[str, Any]]) -> None:
    """What is measured so far, in the order of the designs, a line each."""
    entries = [known[point.name] for point in points() if point.name in known]
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    partial = MEASURED.with_suffix(".tmp")
    partial.write_text(f'{{"yosys": {json.dumps(tool)}, "flow": "{FLOW}", "designs": [\n{lines}\n]}}\n')
    os.replace(partial, MEASURED)


def export() -> None:
    """The models of other sizes, as Brevitas exports them."""
    sys.path.insert(0, str(ROOT / "tests"))
    from option_sets import OPTION_SETS, make_module
    from option_sets import export as export_model

    folder = Path(__file__).parent / "models"
    folder.mkdir(exist_ok=True)
    for name, inputs, hidden in GENERATED:
        module = make_module(OPTION_SETS[name], (inputs, hidden))
        export_model(OPTION_SETS[name], module, folder / f"{name}_{inputs}_{hidden}.onnx")


if __name__ == "__main__":
    main()
