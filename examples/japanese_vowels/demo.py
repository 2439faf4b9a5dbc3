# SPDX-License-Identifier: Apache-2.0
"""The demo: a trained LSTM becomes HLS C++ and SystemVerilog that compute exactly what Brevitas computed.

Needs no torch.  ``make demo`` runs it; ``python demo.py --out DIR`` keeps the project elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import hwgen
from hwgen import host, vectors
from hwgen.console import print_build, print_synthesis, print_verification
from hwgen.rtl_cycles import period
from hwgen.synth import synthesise
from hwgen.verify import verify

HERE = Path(__file__).resolve().parent
Codes = NDArray[np.int64]


def held_out_sequences(x: Codes, lengths: NDArray[np.int32]) -> vectors.Sequences:
    """The test sequences as codes, back to back."""
    return vectors.Sequences(tuple(int(n) for n in lengths), {"x": x})


def accuracy(h_n: Codes, data: dict[str, Any]) -> float:
    """Share of right speakers, from the last hidden codes through the float head that was trained with them."""
    scores = h_n * float(data["y_scale"]) @ data["head_weight"].T + data["head_bias"]
    return float((scores.argmax(axis=1) == data["labels"]).mean())


def main() -> int:
    """Build, compare with Brevitas, simulate, synthesise; exit status 1 if any code or cycle differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/japanese_vowels"), help="project folder")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    started = time.perf_counter()

    console.rule("1. build: trained ONNX model to hardware code")
    network = hwgen.load(HERE / "japanese_vowels.onnx")
    design = hwgen.schedule(network, target="xc7z020", clock_mhz=100)
    project = hwgen.build(design, arguments.out, backend="all")
    print_build(project.path, design, project.backends, console)

    console.rule("2. against Brevitas: its own float32 run of 370 held-out utterances")
    data = dict(np.load(HERE / "held_out.npz"))
    codes = host.encode(network, {"x": data["x"][:, np.newaxis].astype(np.float32)})["x"][:, 0]
    sequences = held_out_sequences(codes, data["lengths"])
    results = vectors.integer_results(design, sequences)
    table = Table("Brevitas float32 = integer model", "codes", "mismatches", box=None, pad_edge=False)
    wrong = 0
    for name, ours, theirs in (
        ("hidden state, every step", results.port("y"), data["y_codes"]),
        ("cell state, last step", results.port("c_n"), data["c_n_codes"]),
    ):
        differing = int((ours != theirs).sum())
        wrong += differing
        table.add_row(name, f"{ours.size:,}", f"{differing:,}")
    console.print(table)
    console.print(f"accuracy of the speaker classifier on these codes: {accuracy(results.port('h_n'), data):.2%}")

    console.rule("3. the generated hardware, HLS C++ and SystemVerilog: the same utterances, then random codes")
    given = verify(project, given=sequences, progress=_say)
    print_verification(given, console)
    random = verify(project, sequences=200, progress=_say)
    print_verification(random, console)

    console.rule("4. what it takes and how fast it is: Yosys and nextpnr")
    print_synthesis("xc7", synthesise(project, "xc7", _say, units=False), console)
    placed = synthesise(project, "ecp5", _say, units=False)
    print_synthesis("ecp5", placed, console)
    cycles = period(design)
    console.print(
        f"{cycles} cycles a time step: {1e6 * placed['fmax_mhz'] / cycles:,.0f} steps/s on this ECP5, "
        f"{1e6 * design.options.clock_mhz / cycles:,.0f} at {design.options.clock_mhz:g} MHz"
    )

    wrong += sum(level["mismatches"] for report in (given, random) for level in report["levels"].values())
    console.rule(f"{wrong} mismatches")
    console.print(
        f"{time.perf_counter() - started:.0f} s.  The project is in {arguments.out}; open hls/src and rtl/src first."
    )
    return 0 if wrong == 0 and given["passed"] and random["passed"] else 1


def _say(message: str) -> None:
    print(f"  {message} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
