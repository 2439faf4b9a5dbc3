# SPDX-License-Identifier: Apache-2.0
"""LSTM cells of 2 to 4 bits, small enough that a proof covers all of their inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwgen.folding import Folding
from hwgen.forms import Certified, choose
from hwgen.integer import IntegerCell, IntegerGate, Product
from hwgen.layers import Activation, Gate, InitialState, LstmLayer, QuantizedTensor, Wire
from hwgen.network import BATCH, FEATURES, TIME, Network, NetworkInput, NetworkOutput
from hwgen.quantizer import IntArray, IntegerType, Quantizer, RoundingMode
from hwgen.schedule import Schedule, schedule
from hwgen.step import Linear, activation_step, linear_step

INPUTS, UNITS = 2, 4


@dataclass(frozen=True)
class CellCase:
    """A cell and how it is built: folding (input PE x SIMD, hidden PE x SIMD), clock, and forms to prefer.

    ``separate`` computes gates in two steps, by way of the gate code.
    """

    name: str
    seed: int = 0
    bits: int = 3
    coupled: bool = False
    power_of_two: bool = False
    per_channel: bool = False
    zero_point: int = 0
    rounding: RoundingMode = RoundingMode.ROUND
    folding: tuple[int, int, int, int] = (4, 2, 4, 4)
    clock: float = 100.0
    kinds: tuple[str, ...] = ()
    separate: bool = False

    def __str__(self) -> str:
        return self.name

    def schedule(self) -> Schedule:
        network = self.network()
        design = schedule(network, clock_mhz=self.clock, folding=Folding(*self.folding))
        cell = design.lstm
        if self.separate:
            pairs = zip(network.layer.gates, cell.gates, strict=True)
            cell = replace(cell, gates=tuple(_separate(network.layer, gate, lowered) for gate, lowered in pairs))
        return replace(design, cell=self._preferring(cell))

    def network(self) -> Network:
        rng = np.random.default_rng(self.seed)
        wide, unsigned = IntegerType(self.bits, True), IntegerType(self.bits, False)

        def scale(value: float) -> float:
            """Near ``value``: a power of two, or any float32."""
            exponent = 2.0 ** round(float(np.log2(value)))
            return exponent if self.power_of_two else float(np.float32(value * rng.uniform(0.7, 1.4)))

        def quantizer(top: float, codes: IntegerType, zero: int = 0) -> Quantizer:
            return Quantizer((scale(top / codes.hi),), (zero,), codes, self.rounding)

        def weight(columns: int, scales: tuple[float, ...]) -> QuantizedTensor:
            codes = rng.integers(wide.lo + 1, wide.hi + 1, (UNITS, columns))
            return QuantizedTensor(codes, Quantizer(scales, (0,) * len(scales), wide, self.rounding))

        def gate(name: str) -> Gate:
            scales = tuple(scale(0.9 / wide.hi) for _ in range(UNITS if self.per_channel else 1))
            bias = rng.normal(0, 0.3, UNITS).astype(np.float32).astype(np.float64) if self.per_channel else None
            tanh = name == "cell"
            return Gate(
                name=name,
                input_weight=weight(INPUTS, scales),
                hidden_weight=weight(UNITS, scales),
                bias=bias,
                accumulator=quantizer(1.5, wide),
                activation=Activation.TANH if tanh else Activation.SIGMOID,
                activation_quantizer=quantizer(1.0, wide if tanh else unsigned),
            )

        names = [name for name in ("input", "forget", "cell", "output") if name != "forget" or not self.coupled]
        io, cell = quantizer(1.0, wide, self.zero_point), quantizer(1.0, wide, self.zero_point)
        layer = LstmLayer(
            name=self.name,
            input_size=INPUTS,
            hidden_size=UNITS,
            gates=tuple(map(gate, names)),
            input=io,
            cell=cell,
            cell_tanh=quantizer(1.0, wide),
            output=io,
            initial_hidden=InitialState(io, np.full(UNITS, self.zero_point)),
            initial_cell=InitialState(cell, np.full(UNITS, self.zero_point)),
            coupled=self.coupled,
        )
        axes = (TIME, BATCH, FEATURES)
        given = NetworkInput("x", axes, (Wire("x", INPUTS, True, io),))
        return Network(self.name, (layer,), (given,), (NetworkOutput("y", axes, layer.wires[:1]),))

    def _preferring(self, cell: IntegerCell) -> IntegerCell:
        """The cell with the preferred forms wherever they fit."""
        gates = tuple(replace(gate, steps=tuple(map(self._form, gate.steps))) for gate in cell.gates)
        return replace(
            cell,
            gates=gates,
            forget_product=self._product(cell.forget_product),
            input_product=self._product(cell.input_product),
            cell_sum=self._form(cell.cell_sum),
            cell_tanh=self._form(cell.cell_tanh),
            output_product=self._product(cell.output_product),
        )

    def _product(self, product: Product) -> Product:
        return replace(product, requantize=self._form(product.requantize))

    def _form(self, certified: Certified) -> Certified:
        for kind in self.kinds:
            try:
                return choose(certified.step, (kind,))
            except AssertionError:
                continue
        return certified


def _separate(layer: LstmLayer, gate: Gate, lowered: IntegerGate) -> IntegerGate:
    """Accumulator to gate code, gate code to activation code; zero points must be 0."""
    weights, target = gate.input_weight.quantizer, gate.accumulator
    rows = range(layer.hidden_size)
    units = [weights.exact_scale(row) * layer.input.exact_scale(0) for row in rows]
    bias: IntArray | list[float] = [0.0] * len(rows) if gate.bias is None else gate.bias  # type: ignore[assignment]
    rest = [Fraction(float(bias[row])) / units[row] - int(lowered.bias[row]) for row in rows]
    slopes = tuple(unit / target.exact_scale(row) for row, unit in zip(rows, units, strict=True))
    intercepts = tuple(slope * part for slope, part in zip(slopes, rest, strict=True))
    linear = Linear(slopes, intercepts, target.rounding, target.codes)
    first = linear_step(f"{gate.name}_accumulator", lowered.total.lo, lowered.total.hi, linear)
    second = activation_step(
        f"{gate.name}_activation", first.first, first.last, target, gate.activation, gate.activation_quantizer
    )
    return replace(lowered, steps=(choose(first), choose(second)))
