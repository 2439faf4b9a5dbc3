# SPDX-License-Identifier: Apache-2.0
"""Yosys over the designs of designs.py and of networks.py: cells of each, in measured.json and networks.json.

``python benchmarks/synthesis/sweep.py layers`` or ``networks`` synthesises what is missing or whose RTL has changed
since, in a fixed order, one design after the other; it may be stopped and started again.  ``export`` writes models/
anew (needs torch and Brevitas).  ``--flow ecp5`` synthesises for ECP5, into measured_ecp5.json and networks_ecp5.json.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.synthesis.designs import GENERATED, ROOT, Point, digit_points, points
from benchmarks.synthesis.networks import NetworkPoint, network_points
from hwgen import project
from hwgen.backends import rtl
from hwgen.dataflow import Design
from hwgen.synth import yosys

FLOWS = ("xc7", "ecp5")
LAYERS = Path(__file__).with_name("measured.json")
NETWORKS = Path(__file__).with_name("networks.json")
# What synthesis does not see: checks and comments.
_UNSEEN = re.compile(r"^`ifndef SYNTHESIS$.*?^`endif$|//[^\n]*", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Export models, or synthesise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("layers", "networks", "export"))
    parser.add_argument("--flow", choices=FLOWS, default=FLOWS[0])
    arguments = parser.parse_args()
    if arguments.what == "export":
        export()
    elif arguments.what == "layers":
        synthesise(layers(arguments.flow), arguments.flow, of_flow(LAYERS, arguments.flow))
    else:
        synthesise(network_points(), arguments.flow, of_flow(NETWORKS, arguments.flow))


def layers(flow: str) -> list[Point]:
    """The layers that are synthesised for a flow."""
    return points() if flow == "xc7" else points() + digit_points()


def of_flow(path: Path, flow: str) -> Path:
    """Where measurements of a flow are."""
    return path if flow == "xc7" else path.with_stem(f"{path.stem}_{flow}")


def synthesise(designs: Sequence[Point | NetworkPoint], flow: str, path: Path) -> None:
    """What is missing in a file, or has changed."""
    tool = yosys.version()
    data = json.loads(path.read_text()) if path.is_file() else {"designs": []}
    known = {entry["name"]: entry for entry in data["designs"]} if data.get("yosys") == tool else {}
    columns = MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns) as progress:
        task = progress.add_task("", total=len(designs))
        for point in designs:
            progress.update(task, description=point.name)
            design = point.schedule()
            digest = rtl_digest(design)
            if known.get(point.name, {}).get("rtl") != digest:
                known[point.name] = measure(point, design, flow, digest)
            write(tool, flow, [known[point.name] for point in designs if point.name in known], path)
            progress.advance(task)


def measure(point: Point | NetworkPoint, design: Design, flow: str, digest: str) -> dict[str, Any]:
    """One design through Yosys."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hwgen-sweep-") as folder:
        built = project.build(design, Path(folder) / "project", "rtl")
        (cells,) = yosys.cells(built, flow, Path(folder)).values()
    cells = {kind: number for kind, number in sorted(cells.items()) if not kind.startswith("$")}
    seconds = round(time.monotonic() - begin, 1)
    return {"name": point.name, "point": point.to_dict(), "rtl": digest, "seconds": seconds, "cells": cells}


def rtl_digest(design: Design) -> str:
    """What the measurement holds for: a digest of the generated sources, and of the static units that they use."""
    files = {path: " ".join(_UNSEEN.sub("", text).split()) for path, text in rtl.generate(design, "sweep").items()}
    sources = {path: text for path, text in files.items() if path.split("/")[0] in ("src", "rom")}
    units = {path: text for path, text in files.items() if path.startswith("lib/")}
    while used := {path for path in units if any(Path(path).stem in text for text in sources.values())}:
        sources |= {path: units.pop(path) for path in used}
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]


def write(tool: str, flow: str, entries: list[dict[str, Any]], path: Path) -> None:
    """What is measured so far, a line each."""
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    partial = path.with_suffix(".tmp")
    partial.write_text(f'{{"yosys": {json.dumps(tool)}, "flow": "{flow}", "designs": [\n{lines}\n]}}\n')
    os.replace(partial, path)


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
