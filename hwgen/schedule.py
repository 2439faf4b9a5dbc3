# SPDX-License-Identifier: Apache-2.0
"""The scheduler: folding, widths, memories, streams and cycles; what a template prints is computed here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.devices import Device, device
from hwgen.errors import ConfigError, printable
from hwgen.forms import Certified, latency
from hwgen.integer import IntegerCell, Interval
from hwgen.lowering import lower_cell
from hwgen.network import Network
from hwgen.quantizer import IntArray, IntegerType

# Multipliers that a design may take when no rate is asked for: what a small device has to spare.
DEFAULT_MULTIPLIERS = 64
DEFAULT_CYCLES = 128
DEFAULT_MAX_LENGTH = 512
# Projected inputs run ahead of the recurrence by so many beats at most.
RUN_AHEAD = 32
OUTPUTS = ("sequence", "last_hidden", "last_cell")


@dataclass(frozen=True)
class Folding:
    """PE rows times SIMD columns a cycle, for the input and for the recurrent product of a layer."""

    input_pe: int
    input_simd: int
    hidden_pe: int
    hidden_simd: int

    def to_dict(self) -> dict[str, dict[str, int]]:
        """As it stands in a folding file."""
        return {
            "input": {"pe": self.input_pe, "simd": self.input_simd},
            "hidden": {"pe": self.hidden_pe, "simd": self.hidden_simd},
        }

    @staticmethod
    def read(path: Path) -> Folding:
        """Read a folding file; raises ConfigError unless it has the form of folding.json of a project."""
        try:
            data = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"--folding {path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"--folding {path}: not JSON ({error})") from error
        return Folding.from_dict(data, f"--folding {path}")

    @staticmethod
    def from_dict(data: object, label: str = "folding") -> Folding:
        """The folding that ``to_dict`` wrote."""
        values = []
        for product in ("input", "hidden"):
            for key in ("pe", "simd"):
                inner = data.get(product) if isinstance(data, Mapping) else None
                value = inner.get(key) if isinstance(inner, Mapping) else None
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise ConfigError(
                        f'{label}: must be {{"input": {{"pe": .., "simd": ..}}, "hidden": {{"pe": .., "simd": ..}}}} '
                        f"with integers of at least 1; {product}.{key} is {value!r}"
                    )
                values.append(value)
        return Folding(*values)


@dataclass(frozen=True)
class FoldedProduct:
    """A matrix-vector product in hardware: rows x columns, PE x SIMD of them a cycle, weights as [pe, tile, lane].

    ``sums`` is the exact range of its accumulators.
    """

    name: str
    rows: int
    columns: int
    pe: int
    simd: int
    weight: IntegerType
    weights: IntArray
    sums: Interval

    @property
    def folds(self) -> int:
        """Groups of PE rows."""
        return self.rows // self.pe

    @property
    def column_tiles(self) -> int:
        """Groups of SIMD columns."""
        return self.columns // self.simd

    @property
    def cycles(self) -> int:
        """Cycles of one product: one tile each."""
        return self.folds * self.column_tiles

    @property
    def memory_bits(self) -> int:
        """Bits of weight memory."""
        return self.rows * self.columns * self.weight.bits


@dataclass(frozen=True)
class Port:
    """An AXI4-Stream of the top level: ``lanes`` codes a beat, each padded to bytes; ``beats`` make one vector."""

    name: str
    direction: str
    what: str
    codes: IntegerType
    lanes: int
    beats: int

    @property
    def lane_bits(self) -> int:
        """Bits of a lane."""
        return -(-self.codes.bits // 8) * 8

    @property
    def width(self) -> int:
        """Codes of one vector."""
        return self.lanes * self.beats

    @property
    def bits(self) -> int:
        """TDATA width."""
        return self.lane_bits * self.lanes


@dataclass(frozen=True)
class Options:
    """What the user asked for, checked."""

    target: Device
    clock_mhz: float
    streaming: bool
    max_length: int
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """A design: the integer model of a network, folded for a device."""

    network: Network
    cell: IntegerCell
    options: Options
    folding: Folding
    input_product: FoldedProduct
    hidden_product: FoldedProduct
    bias: IntArray
    units: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def depth(self) -> int:
        """Estimated cycles of a step beyond its tiles: the pipeline from the last tile to the last new state."""
        return recurrence_depth(self.cell, self.folding.hidden_simd)

    @property
    def step_cycles(self) -> int:
        """Estimated cycles from one time step to the next."""
        return max(self.hidden_product.cycles + self.depth, self.input_cycles)

    @property
    def input_cycles(self) -> int:
        """Cycles of the input product, with the change of beat width behind it."""
        return input_cycles(self.input_product, self.hidden_product.pe)

    @property
    def steps_per_second(self) -> float:
        """Estimated time steps a second at the target clock."""
        return self.options.clock_mhz * 1e6 / self.step_cycles

    @property
    def factors(self) -> Interval:
        """Range of the gate codes that enter the state update, the coupled forget gate included."""
        ranges = [Interval(gate.steps[-1].step.first, gate.steps[-1].step.last) for gate in self.cell.gates]
        if self.cell.coupled_one is not None:
            ranges.append(Interval(self.cell.coupled_one - ranges[0].hi, self.cell.coupled_one - ranges[0].lo))
        return Interval(min(r.lo for r in ranges), max(r.hi for r in ranges))

    def to_dict(self) -> dict[str, Any]:
        """The schedule as plain data, for schedule.json."""
        products = (self.input_product, self.hidden_product)
        return {
            "target": asdict(self.options.target),
            "clock_mhz": self.options.clock_mhz,
            "streaming": self.options.streaming,
            "max_length": self.options.max_length if self.cell.reverse else None,
            "folding": self.folding.to_dict(),
            "cycles": {
                "input_product": self.input_product.cycles,
                "input": self.input_cycles,
                "hidden_product": self.hidden_product.cycles,
                "depth_estimate": self.depth,
                "step_estimate": self.step_cycles,
                "steps_per_second_estimate": round(self.steps_per_second, 1),
            },
            "multipliers": {product.name: product.pe * product.simd for product in products},
            "memories": [
                {
                    "name": f"{product.name}_weights",
                    "banks": product.pe,
                    "words": product.cycles,
                    "word_bits": product.simd * product.weight.bits,
                    "bits": product.memory_bits,
                }
                for product in products
            ],
            "widths": {
                "input_sum": signed(self.input_product.sums).bits,
                "accumulator": signed(self.hidden_product.sums).bits,
                "gate": self.factors.type.bits,
            },
            "ports": [
                {
                    "name": port.name,
                    "direction": port.direction,
                    "what": port.what,
                    "codes": str(port.codes),
                    "lanes": port.lanes,
                    "lane_bits": port.lane_bits,
                    "tdata_bits": port.bits,
                    "beats": port.beats,
                }
                for port in (*self.inputs, *self.outputs)
            ],
            "step_functions": [
                {"name": name, "form": certified.form.kind, "channels": certified.step.channels}
                for name, certified in self.cell.steps()
            ],
        }


def signed(interval: Interval) -> IntegerType:
    """The smallest signed type that holds the interval: what an accumulator is."""
    return IntegerType.holding(min(interval.lo, -1), interval.hi)


def schedule(
    network: Network,
    target: str = "xc7z020",
    clock_mhz: float = 100.0,
    folding: Folding | None = None,
    steps_per_second: float | None = None,
    streaming: bool = False,
    max_length: int | None = None,
    outputs: tuple[str, ...] | None = None,
) -> Schedule:
    """Fold a network for a device.

    ``folding`` fixes PE and SIMD; otherwise the smallest design that reaches ``steps_per_second`` at ``clock_mhz`` is
    taken, or without a rate a small balanced one.  Raises ConfigError where the options cannot be met.
    """
    cell = lower_cell(network.layer)
    options = _check_options(network, device(target), clock_mhz, streaming, max_length, outputs)
    if folding is not None and steps_per_second is not None:
        raise ConfigError(
            "--folding and --steps-per-second exclude each other: the rate is what a folding follows from"
        )
    if folding is None:
        folding = _derive_folding(cell, clock_mhz, steps_per_second)
    _check_folding(cell, folding)
    gates, h = len(cell.gates), cell.hidden_size
    units = max(1, folding.hidden_pe // gates)
    input_product = _fold(cell, "input", folding.input_pe, folding.input_simd)
    hidden_product = _fold(cell, "hidden", folding.hidden_pe, folding.hidden_simd)
    ports = {
        "sequence": Port("y", "out", "hidden state of every time step", cell.hidden, units, h // units),
        "last_hidden": Port("h_n", "out", "hidden state after the last step", cell.hidden, units, h // units),
        "last_cell": Port("c_n", "out", "cell state after the last step", cell.cell, units, h // units),
    }
    inputs = [
        Port(
            "x", "in", "input of every time step", cell.input, folding.input_simd, cell.input_size // folding.input_simd
        )
    ]
    if cell.initial_hidden is None:
        inputs.append(Port("h0", "in", "initial hidden state of a sequence", cell.hidden, units, h // units))
    if cell.initial_cell is None:
        inputs.append(Port("c0", "in", "initial cell state of a sequence", cell.cell, units, h // units))
    return Schedule(
        network=network,
        cell=cell,
        options=options,
        folding=folding,
        input_product=input_product,
        hidden_product=hidden_product,
        bias=np.stack([gate.bias for gate in cell.gates], axis=1).reshape(-1),
        units=units,
        inputs=tuple(inputs),
        outputs=tuple(ports[name] for name in OUTPUTS if name in options.outputs),
    )


def _check_options(
    network: Network,
    target: Device,
    clock_mhz: float,
    streaming: bool,
    max_length: int | None,
    outputs: tuple[str, ...] | None,
) -> Options:
    layer = network.layer
    if not 1 <= clock_mhz <= 1000:
        raise ConfigError(f"--clock must be from 1 to 1000 MHz, not {clock_mhz:g}")
    if max_length is not None and not layer.reverse:
        raise ConfigError("--max-length sizes the buffer of a reversed layer; this model runs forward, at any length")
    if max_length is not None and not 1 <= max_length <= 65536:
        raise ConfigError(f"--max-length must be from 1 to 65536 steps, not {max_length}")
    if streaming and layer.reverse:
        raise ConfigError("--streaming keeps the state for an endless stream; a reversed layer needs the end first")
    given = layer.initial_hidden.source or layer.initial_cell.source
    if streaming and given:
        raise ConfigError(f"--streaming keeps the state after TLAST, but the model takes it from {printable(given)}")
    shown = [wire.name.removeprefix(f"{layer.name}.") for output in network.outputs for wire in output.wires]
    if outputs is None:
        outputs = ("sequence",) if "sequence" in shown else tuple(shown)
    for name in outputs:
        if name not in OUTPUTS:
            raise ConfigError(f"--outputs must be among {', '.join(OUTPUTS)}, not {printable(name)}")
    if not outputs:
        raise ConfigError(f"--outputs: at least one of {', '.join(OUTPUTS)} is needed")
    return Options(target, float(clock_mhz), streaming, max_length or DEFAULT_MAX_LENGTH, tuple(outputs))


def _fold(cell: IntegerCell, name: str, pe: int, simd: int) -> FoldedProduct:
    """Weights in the order of the hardware: rows unit by unit, the gates of a unit side by side."""
    matrices = [gate.input_weights if name == "input" else gate.hidden_weights for gate in cell.gates]
    matrix = np.stack(matrices, axis=1).reshape(-1, matrices[0].shape[1])
    rows, columns = matrix.shape
    weights = matrix.reshape(rows // pe, pe, columns // simd, simd).transpose(1, 0, 2, 3).reshape(pe, -1, simd)
    types = [gate.weight for gate in cell.gates]
    widest = (
        types[0]
        if all(t == types[0] for t in types)
        else IntegerType.holding(min(t.storage.lo for t in types), max(t.storage.hi for t in types))
    )
    ranges = [gate.input_sum if name == "input" else gate.total for gate in cell.gates]
    sums = Interval(min(r.lo for r in ranges), max(r.hi for r in ranges))
    return FoldedProduct(name, rows, columns, pe, simd, widest, weights, sums)


def divisors(number: int) -> list[int]:
    """All divisors in ascending order."""
    return [d for d in range(1, number + 1) if number % d == 0]


def legal_hidden_pe(gates: int, hidden_size: int) -> list[int]:
    """PE of the recurrent product: divides the gate rows, and whole units finish together or one after another."""
    return [pe for pe in divisors(gates * hidden_size) if pe % gates == 0 or gates % pe == 0]


def _check_folding(cell: IntegerCell, folding: Folding) -> None:
    gates, h, i = len(cell.gates), cell.hidden_size, cell.input_size
    for name, value, legal, rule in (
        ("input.pe", folding.input_pe, divisors(gates * h), f"divide the {gates * h} gate rows"),
        ("input.simd", folding.input_simd, divisors(i), f"divide the {i} inputs"),
        (
            "hidden.pe",
            folding.hidden_pe,
            legal_hidden_pe(gates, h),
            f"divide the {gates * h} gate rows and be a divisor or a multiple of the {gates} gates",
        ),
        ("hidden.simd", folding.hidden_simd, divisors(h), f"divide the {h} hidden units"),
    ):
        if value not in legal:
            below, above = [v for v in legal if v < value], [v for v in legal if v > value]
            nearest = " and ".join(str(v) for v in [*below[-1:], *above[:1]])
            raise ConfigError(f"folding {name} must {rule}, not {value}; nearest legal: {nearest}")


def recurrence_depth(cell: IntegerCell, simd: int) -> int:
    """Cycles from the last tile of a step to its last new state, estimated from the latency of each stage.

    Weight read and product 2, adder tree and accumulation, the gate's step functions, product and step of both cell
    terms side by side, their sum, tanh, product and step of the output, write back.
    """

    def of(certified: Certified) -> int:
        return latency(certified.form)

    gates = max(sum(of(certified) for certified in gate.steps) for gate in cell.gates)
    terms = 1 + max(of(cell.forget_product.requantize), of(cell.input_product.requantize))
    tail = of(cell.cell_sum) + of(cell.cell_tanh) + 1 + of(cell.output_product.requantize)
    return 2 + math.ceil(math.log2(simd)) + 1 + gates + terms + tail + 1


def input_cycles(product: FoldedProduct, hidden_pe: int) -> int:
    """Cycles of the input product and of bringing its beats of PE sums to the width that the recurrence reads."""
    narrowest = math.gcd(product.pe, hidden_pe)
    return max(product.cycles, product.rows // narrowest if narrowest < min(product.pe, hidden_pe) else 0)


def _foldings(rows: list[int], columns: list[int]) -> Iterator[tuple[int, int]]:
    return ((pe, simd) for pe in rows for simd in columns)


def _derive_folding(cell: IntegerCell, clock_mhz: float, steps_per_second: float | None) -> Folding:
    """The fewest multipliers that meet the rate; of equals the fewest step functions, then the fewest cycles."""
    gates, h, i = len(cell.gates), cell.hidden_size, cell.input_size
    hidden = list(_foldings(legal_hidden_pe(gates, h), divisors(h)))

    def hidden_cycles(pe: int, simd: int) -> int:
        return gates * h * h // (pe * simd) + recurrence_depth(cell, simd)

    def price(fold: tuple[int, int]) -> tuple[int, int, int]:
        # A lane has the step function of one gate, or of all that it serves in turn: below G lanes nothing is saved.
        return fold[0] * fold[1], max(fold[0], gates), hidden_cycles(*fold)

    if steps_per_second is None:
        # The smallest design of at most DEFAULT_CYCLES a step, unless it takes more than DEFAULT_MULTIPLIERS.
        fast = [(pe, simd) for pe, simd in hidden if gates * h * h // (pe * simd) <= DEFAULT_CYCLES]
        pe, simd = min(fast, key=price)
        if pe * simd > DEFAULT_MULTIPLIERS:
            small = [(pe, simd) for pe, simd in hidden if pe * simd <= DEFAULT_MULTIPLIERS]
            pe, simd = min(small, key=lambda f: (-f[0] * f[1], price(f)))
    else:
        if not steps_per_second > 0:
            raise ConfigError(f"--steps-per-second must be positive, not {steps_per_second:g}")
        budget = int(clock_mhz * 1e6 / steps_per_second)
        fast = [(pe, simd) for pe, simd in hidden if hidden_cycles(pe, simd) <= budget]
        if not fast:
            best = min(hidden_cycles(pe, simd) for pe, simd in hidden)
            raise ConfigError(
                f"--steps-per-second {steps_per_second:g} at {clock_mhz:g} MHz leaves {budget} cycles a step; the "
                f"recurrence needs at least {best}: at most {clock_mhz * 1e6 / best:.0f} steps a second, "
                "or a faster clock"
            )
        pe, simd = min(fast, key=price)
    target = hidden_cycles(pe, simd)
    candidates = [
        (input_pe, input_simd)
        for input_pe, input_simd in _foldings(divisors(gates * h), divisors(i))
        if (input_pe % pe == 0 or pe % input_pe == 0) and gates * h * i // (input_pe * input_simd) <= target
    ]
    # A fully parallel input product meets any target of at least one cycle.
    input_pe, input_simd = min(candidates, key=lambda f: (f[0] * f[1], f[0]))
    return Folding(input_pe, input_simd, pe, simd)
