# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of hwgen in one run: build time and memory, execution against others, C simulation.

``python benchmarks/run.py`` prints the tables and writes results.json beside this file; needs the dev and train extras.
``--quick`` measures shortly, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.contenders import CONTENDERS
from benchmarks.measure import FULL, QUICK, Effort, Size, build, compile_engine, export, machine, run, simulate

SIZES: tuple[Size, ...] = ((10, 20), (32, 128), (64, 256))
BASELINE = "Brevitas eager"
RESULTS = Path(__file__).with_name("results.json")
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
_err = Console(stderr=True, highlight=False)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements, numbers of little worth")
    parser.add_argument("--output", type=Path, default=RESULTS, help="results for programs to read")
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as folder:
        results = measure_all(effort, Path(folder))
    results["quick"] = arguments.quick
    show(results, _out)
    arguments.output.write_text(json.dumps(results, indent=2) + "\n")
    _err.print(f"written: {arguments.output.name}")


def measure_all(effort: Effort, folder: Path) -> dict[str, Any]:
    """Every number of the run."""
    results: dict[str, Any] = {"machine": machine()}
    models = {}
    for size in SIZES:
        with _progress(f"exporting {label(size)}"):
            models[size] = folder / f"lstm_{size[0]}_{size[1]}.onnx"
            export(size, models[size])
    with _progress("compiling the engine"):
        results["engine_compile_seconds"] = compile_engine()
    results["build"] = []
    for size, model in models.items():
        with _progress(f"building {label(size)}"):
            results["build"].append(build(model, size, effort, folder / f"project_{size[1]}"))
    results["run"] = []
    for size, model in models.items():
        for batch in effort.steps:
            for name in CONTENDERS:
                with _progress(f"running {label(size)}, batch {batch}: {name}"):
                    results["run"].append(run(name, model, size, batch, effort))
    results["csim"] = []
    for size in SIZES:
        with _progress(f"simulating {label(size)}"):
            results["csim"].append(simulate(folder / f"project_{size[1]}", size, effort))
    results["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    return results


@contextmanager
def _progress(what: str) -> Iterator[None]:
    if _err.is_terminal:
        with _err.status(what):
            yield
    else:
        _err.print(what)
        yield


def label(size: Size) -> str:
    """Size as inputs -> hidden units."""
    return f"{size[0]} -> {size[1]}"


def show(results: dict[str, Any], out: Console) -> None:
    """Print all tables."""
    facts = results["machine"]
    out.print(f"{facts['cores']} cores of {facts['processor']}, {facts['system']}, {facts['compiler']}", soft_wrap=True)
    versions = ("hwgen", "python", "numpy", "torch", "brevitas", "onnxruntime", "onnx")
    out.print(", ".join(f"{name} {facts[name]}" for name in versions))
    if facts["openblas_coretype"]:
        out.print(f"OPENBLAS_CORETYPE={facts['openblas_coretype']}: numpy, torch and others may be slower for it")
    out.print(f"load average {facts['load_before']} before, {facts['load_after']} after")
    out.print("models: Brevitas' QuantLSTM, default quantizers, one layer; sizes are inputs -> hidden units\n")
    _print_build(results, out)
    for batch in dict.fromkeys(entry["batch"] for entry in results["run"]):
        _print_run([entry for entry in results["run"] if entry["batch"] == batch], batch, out)
    out.print(
        "hwgen run, Brevitas, torch and onnxruntime take and give real values; best of some repetitions each, in turn, "
        f"in processes of their own\nhwgen's engine is compiled once per machine, in "
        f"{results['engine_compile_seconds']:.1f} s\n",
        soft_wrap=True,
    )
    columns = "size", _right("steps/s"), _right("compiled in"), "folding"
    table = Table(*columns, title="C simulation", title_justify="left")
    for entry in results["csim"]:
        folding = ", ".join(f"{name} {fold['pe']} x {fold['simd']}" for name, fold in entry["folding"].items())
        table.add_row(
            label(entry["size"]), f"{entry['steps_per_second']:,.0f}", f"{entry['compile_seconds']:.1f} s", folding
        )
    out.print(table)


def _print_build(results: dict[str, Any], out: Console) -> None:
    columns = "size", _right("time"), _right("peak memory")
    table = Table(*columns, title="hwgen build, whole process", title_justify="left")
    for entry in results["build"]:
        table.add_row(label(entry["size"]), f"{entry['seconds']:.2f} s", f"{entry['peak_memory_mb']:.0f} MB")
    out.print(table)


def _print_run(entries: list[dict[str, Any]], batch: int, out: Console) -> None:
    sizes = list(dict.fromkeys(tuple(entry["size"]) for entry in entries))
    title = f"steps of sequences per second, batch {batch} (times {BASELINE})"
    table = Table("", *(_right(label(size)) for size in sizes), title=title, title_justify="left")
    for name in CONTENDERS:
        cells = []
        for size in sizes:
            rates = {entry["name"]: entry["steps_per_second"] for entry in entries if tuple(entry["size"]) == size}
            cells.append(f"{rates[name]:,.0f} ({rates[name] / rates[BASELINE]:.2f}x)")
        table.add_row(name, *cells)
    out.print(table)


def _right(header: str) -> Column:
    return Column(header, justify="right")


if __name__ == "__main__":
    main()
