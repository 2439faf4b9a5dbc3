# SPDX-License-Identifier: Apache-2.0
"""What interleaving gains: an 8-bit LSTM of 128 units on 32 inputs, one sequence at a time and several in turns.

``python benchmarks/interleave.py`` simulates the generated RTL and prints a table: a minute or two for each row.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Column, Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import hwgen
from hwgen import rtl_cycles, vectors
from hwgen.folding import Folding
from hwgen.layers import Activation, Gate, InitialState, LstmLayer, QuantizedTensor, Wire
from hwgen.network import BATCH, FEATURES, TIME, Network, NetworkInput, NetworkOutput
from hwgen.project import Project, build
from hwgen.quantizer import IntegerType, Quantizer
from hwgen.verify import rtl, verify

INPUTS, HIDDEN, CONTEXTS = 32, 128, 4
TARGET = "xcku115"
# Sequences of both simulations that tell the cycles of a time step, and the steps of each; those that are verified.
SEQUENCES, SHORT, LONG, VERIFIED = 4, 4, 12, 12
# Input and hidden product, PE x SIMD each: 32 and 16 tiles a time step.
FOLDINGS = (Folding(32, 16, 32, 64), Folding(64, 16, 64, 64))


@dataclass(frozen=True)
class Measured:
    """A design as it was simulated: its tiles a step, predicted and simulated cycles a step, and what was compared."""

    contexts: int
    tiles: int
    predicted: float
    simulated: float
    codes: int
    mismatches: int

    @property
    def busy(self) -> float:
        """Share of the simulated cycles in which the hidden product has a tile."""
        return self.tiles / self.simulated


def lstm(inputs: int = INPUTS, hidden: int = HIDDEN, seed: int = 1) -> Network:
    """An 8-bit LSTM with random weights, whose gates are spread over their ranges."""
    generator = np.random.default_rng(seed)
    signed, unsigned = IntegerType(8, True), IntegerType(8, False)

    def quantizer(shift: int, codes: IntegerType = signed) -> Quantizer:
        return Quantizer((2.0**-shift,), (0,), codes)

    def weights(columns: int) -> QuantizedTensor:
        return QuantizedTensor(generator.integers(-127, 128, (hidden, columns)), quantizer(8))

    def gate(name: str) -> Gate:
        tanh = name == "cell"
        return Gate(
            name=name,
            input_weight=weights(inputs),
            hidden_weight=weights(hidden),
            bias=np.round(0.3 * 2**15 * generator.standard_normal(hidden)) / 2**15,
            accumulator=quantizer(5),
            activation=Activation.TANH if tanh else Activation.SIGMOID,
            activation_quantizer=quantizer(7) if tanh else quantizer(8, unsigned),
        )

    codes, cell, zeros = quantizer(7), quantizer(5), np.zeros(hidden, np.int64)
    layer = LstmLayer(
        name="lstm",
        input_size=inputs,
        hidden_size=hidden,
        gates=tuple(map(gate, ("input", "forget", "cell", "output"))),
        input=codes,
        cell=cell,
        cell_tanh=quantizer(7),
        output=codes,
        initial_hidden=InitialState(codes, zeros),
        initial_cell=InitialState(cell, zeros),
    )
    axes = (TIME, BATCH, FEATURES)
    given = NetworkInput("x", axes, (Wire("x", inputs, True, codes),))
    return Network(f"lstm_{inputs}_{hidden}", (layer,), (given,), (NetworkOutput("y", axes, layer.wires[:1]),))


def project_of(network: Network, folding: Folding, contexts: int, folder: Path) -> Project:
    """The RTL of a design that so many sequences share."""
    design = hwgen.schedule(network, target=TARGET, folding=folding, interleave=contexts)
    return build(design, folder, backend="rtl")


def measure(project: Project) -> Measured:
    """Verify with and without stalls, and count the cycles of a time step where all sequences are under way."""
    design = project.design
    verified = verify(project, level="rtl", sequences=VERIFIED)["levels"]["rtl"]
    assert verified["predicted_cycles"] == verified["simulated_cycles"]
    few, many = ((length,) * SEQUENCES for length in (SHORT, LONG))
    predicted = rtl_cycles.predict(design, many).last - rtl_cycles.predict(design, few).last
    steps = sum(many) - sum(few)
    return Measured(
        design.options.interleave,
        design.products[1].cycles,
        predicted / steps,
        (last_beat(project, many) - last_beat(project, few)) / steps,
        verified["codes"],
        verified["mismatches"],
    )


def last_beat(project: Project, lengths: Sequence[int]) -> int:
    """The simulated cycle of the last output beat of sequences of so many steps, from the first input beat."""
    design, generator = project.design, np.random.default_rng(1)
    (x,) = design.inputs
    codes = generator.integers(x.codes.lo, x.codes.hi, (sum(lengths), x.width), endpoint=True)
    data = vectors.Sequences(tuple(lengths), {x.name: codes})
    binary = rtl.compile_simulation(project, rtl.optimization(design, 0))
    comparison, cycles = rtl.simulate(project, binary, data, vectors.integer_results(design, data), 0, 1)
    assert comparison.mismatches == 0
    return max(last for _, last in cycles.values())


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    columns = ("tiles", "sequences", "cycles a step, predicted", "simulated", "steps/s", "busy", "mismatches")
    table = Table(*(Column(name, justify="right") for name in columns))
    network = lstm()
    for folding in FOLDINGS:
        for contexts in (1, CONTEXTS):
            with tempfile.TemporaryDirectory(prefix="hwgen-") as name:
                found = measure(project_of(network, folding, contexts, Path(name) / "project"))
            table.add_row(
                str(found.tiles),
                str(contexts),
                f"{found.predicted:g}",
                f"{found.simulated:g}",
                f"{100e6 / found.simulated:,.0f}",
                f"{found.busy:.0%}",
                f"{found.mismatches} of {found.codes:,}",
            )
    Console(width=None if sys.stdout.isatty() else 110).print(table)


if __name__ == "__main__":
    main()
