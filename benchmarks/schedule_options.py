# SPDX-License-Identifier: Apache-2.0
"""What options of the schedule cost and gain: the tables of docs/explore.md and docs/networks.md.

``python benchmarks/schedule_options.py`` prints products of constants, as predicted for an LSTM of 6 inputs and 20
units, then one engine for both directions beside two, simulated and synthesised.  Minutes; needs the train and da4ml
extras.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

# Models are those of the tests.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import directions_models
from option_sets import OPTION_SETS, export, make_module

import hwgen
from hwgen import cost, rtl_cycles
from hwgen.adders import CONSTANT_PRODUCTS
from hwgen.synth import synthesise

UNROLLED = {"input": {"pe": 80, "simd": 6}, "hidden": {"pe": 80, "simd": 20}}
# Option sets by the bits of weights and codes.
MODELS = {"8, 8 bits": "default", "4, 8 bits": "weights4", "4, 4 bits": "narrow4"}
STEPS = 64
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def main() -> None:
    """Both tables."""
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="hwgen-options-") as folder:
        constant_products(Path(folder))
        engines(Path(folder))


def _table(title: str, *first: str) -> Table:
    names = ("LUT", "FF", "DSP", "BRAM36")
    columns = [Column(name, justify="right") for name in (*first, *names)]
    return Table(*columns, title=title, title_justify="left", box=None)


def _numbers(resources: dict[str, Any]) -> list[str]:
    return [f"{resources[kind]:,.0f}" for kind in ("lut", "ff", "dsp")] + [f"{resources['bram']:g}"]


def constant_products(folder: Path) -> None:
    """Unrolled products by multiplications, by our adders and by those of da4ml: as predicted."""
    table = _table("(6, 20), fully unrolled, 100 MHz, predicted", "bits", "products", "adders", "cycles a step")
    for bits, name in MODELS.items():
        path = folder / f"{name}.onnx"
        export(OPTION_SETS[name], make_module(OPTION_SETS[name], (6, 20)), path)
        for maker in CONSTANT_PRODUCTS:
            design = hwgen.schedule(hwgen.load(path), folding=UNROLLED, constant_products=maker)
            graphs = [product.graph for product in design.products]
            count = " + ".join(f"{len(graph.adders):,}" for graph in graphs if graph is not None)
            cycles = f"{rtl_cycles.period(design)}"
            table.add_row(bits, maker, count, cycles, *_numbers(cost.predict(design).whole.to_dict()))
    _out.print(table)


def engines(folder: Path) -> None:
    """Both directions of a layer on an engine each, and on one: cycles as simulated, resources by Yosys."""
    network = directions_models.bidirectional("default", "wide_range", 20, 10)
    one = directions_models.folding(8, 2, 8, 4)
    table = _table(f"(10, 20), both directions, a sequence of {STEPS} steps", "engines", "cycles", "differ")
    foldings = {"one": {"forward": one}, "two": {"forward": one, "backward": one}}
    for name, folding in foldings.items():
        share = "directions" if name == "one" else None
        design = hwgen.schedule(network, folding=folding, max_length=STEPS, share_engine=share)
        project = hwgen.build(design, folder / name, backend="rtl")
        x = np.random.default_rng(0).standard_normal((STEPS, 1, design.inputs[0].width))
        simulated = project.verify(x, level="rtl")["levels"]["rtl"]
        last = max(cycles["last"] for cycles in simulated["simulated_cycles"].values())
        measured = synthesise(project, "xc7", units=False)["measured"]
        table.add_row(name, f"{last:,}", f"{simulated['mismatches']} of {simulated['codes']:,}", *_numbers(measured))
    _out.print(table)


if __name__ == "__main__":
    main()
