# SPDX-License-Identifier: Apache-2.0
"""Predicted against measured LUTs and flip-flops, in docs/images/cost.svg: ``python benchmarks/synthesis/plot.py``.

With ``--flow ecp5`` those of ECP5, in cost_ecp5.svg.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.synthesis.designs import ROOT
from benchmarks.synthesis.fit import FITTED, Sample, load
from benchmarks.synthesis.sweep import FLOWS, of_flow
from hwgen import cost

PICTURE = ROOT / "docs" / "images" / "cost.svg"
BAND = 0.15
TITLES = {"lut": "LUTs", "ff": "flip-flops"}
# Two hues that stay apart for every kind of colour vision, and two shapes.
STYLES = {False: ("fitted", "#2a78d6", "o"), True: ("held out", "#d95f02", "D")}


def main() -> None:
    """Draw both panels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", choices=FLOWS, default=FLOWS[0])
    flow = parser.parse_args().flow
    samples, picture = load(flow), of_flow(PICTURE, flow)
    # The same data gives the same bytes.
    matplotlib.rcParams["svg.hashsalt"] = "hwgen"
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for kind, axes in zip(FITTED, panels, strict=True):
        draw(axes, kind, samples, flow)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


def draw(axes: Axes, kind: str, samples: list[Sample], flow: str) -> None:
    """One panel: a point for each design, the diagonal, and the band around it."""
    coefficients = cost.coefficients(flow)[kind]
    values = [sample.measured[kind] for sample in samples]
    ends = [min(values) * 0.8, max(values) * 1.25]
    axes.fill_between(
        ends,
        [end * (1 - BAND) for end in ends],
        [end * (1 + BAND) for end in ends],
        color="#e7e7e3",
        linewidth=0,
        label=f"within {BAND:.0%}",
    )
    axes.plot(ends, ends, color="#8a8983", linewidth=1)
    for held_out, (label, colour, marker) in STYLES.items():
        chosen = [sample for sample in samples if sample.held_out == held_out]
        axes.scatter(
            [sample.measured[kind] for sample in chosen],
            [sample.predicted(kind, coefficients) for sample in chosen],
            s=34,
            marker=marker,
            color=colour,
            edgecolors="white",
            linewidths=0.8,
            label=f"{label}, {len(chosen)} designs",
            zorder=3,
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        ticks = [tick for tick in (200, 500, 1000, 2000, 5000, 10000, 20000, 50000) if ends[0] <= tick <= ends[1]]
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.set_minor_locator(NullLocator())
    axes.set(title=TITLES[kind], xlabel="measured by Yosys", ylabel="predicted")
    axes.grid(color="#e3e2de", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper left", frameon=False)


if __name__ == "__main__":
    main()
