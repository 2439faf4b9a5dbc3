# SPDX-License-Identifier: Apache-2.0
"""Folding: how many rows and columns of each product are computed in one cycle, chosen or derived from a rate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import packing
from hwgen.errors import ConfigError
from hwgen.forms import Certified, latency
from hwgen.integer_cells import IntegerGru, IntegerRnn, RecurrentCell
from hwgen.interleaving import interval
from hwgen.packing import check_packing
from hwgen.quantizer import IntegerType

# Multipliers that a design may take when no rate is asked for: what a small device has to spare.
DEFAULT_MULTIPLIERS = 64
DEFAULT_CYCLES = 128
# In a folding file beside PE and SIMD: how many products share a DSP.
PACKING = "products_per_dsp"


@dataclass(frozen=True)
class Folding:
    """PE rows times SIMD columns a cycle, for the input and for the recurrent product of a layer.

    ``input_packing`` and ``hidden_packing`` say how many products share a DSP, as ``packing`` has it.
    """

    input_pe: int
    input_simd: int
    hidden_pe: int
    hidden_simd: int
    input_packing: int = 1
    hidden_packing: int = 1

    def to_dict(self) -> dict[str, dict[str, int]]:
        """As it stands in a folding file."""
        return {
            "input": product_folding(self.input_pe, self.input_simd, self.input_packing),
            "hidden": product_folding(self.hidden_pe, self.hidden_simd, self.hidden_packing),
        }

    @staticmethod
    def read(path: Path) -> Folding:
        """Read a folding file; raises ConfigError unless it has the form of folding.json of a project."""
        return Folding.from_dict(read_foldings(path), f"--folding {path}")

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
        packings = [read_packing(data[product], f"{label}: {product}") for product in ("input", "hidden")]  # type: ignore[index]
        return Folding(*values, *packings)


@dataclass(frozen=True)
class DenseFolding:
    """PE rows times SIMD columns a cycle of a dense layer."""

    pe: int
    simd: int
    packing: int = 1

    @staticmethod
    def from_dict(data: object, label: str) -> DenseFolding:
        """What a folding file says; raises ConfigError unless it has the form of one."""
        given = data if isinstance(data, Mapping) else {}
        pe, simd = (given.get(key) for key in ("pe", "simd"))
        if not all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in (pe, simd)):
            raise ConfigError(f'{label}: must be {{"pe": .., "simd": ..}} with integers of at least 1')
        return DenseFolding(pe, simd, read_packing(given, label))  # type: ignore[arg-type]


Foldings = dict[str, Folding | DenseFolding]


def product_folding(pe: int, simd: int, packing: int) -> dict[str, int]:
    """One product as it stands in a folding file, which says nothing of what is multiplied one by one."""
    return {"pe": pe, "simd": simd} | ({PACKING: packing} if packing != 1 else {})


def read_packing(product: Mapping[str, Any], label: str) -> int:
    """How many products of a product in a folding file share a DSP; raises ConfigError unless it is a number."""
    value = product.get(PACKING, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{label}.{PACKING} must be an integer of at least 0, not {value!r}")
    return value


def read_foldings(path: Path) -> Any:
    """What a folding file holds; raises ConfigError if it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"--folding {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--folding {path}: not JSON ({error})") from error


def divisors(number: int) -> list[int]:
    """All divisors in ascending order."""
    return [d for d in range(1, number + 1) if number % d == 0]


def legal_hidden_pe(gates: int, hidden_size: int) -> list[int]:
    """PE of the recurrent product: divides the gate rows, and whole units finish together or one after another."""
    return [pe for pe in divisors(gates * hidden_size) if pe % gates == 0 or gates % pe == 0]


def legal_input_simd(inputs: int, stack: tuple[int, int] | None = None) -> list[int]:
    """SIMD of the input product: whole beats of each vector."""
    return divisors(math.gcd(*(stack or (inputs,))))


def _inputs(inputs: int, stack: tuple[int, int] | None) -> str:
    return str(inputs) if stack is None or stack[0] == stack[1] else f"{stack[0]} and the {stack[1]}"


def check_folding(cell: RecurrentCell, folding: Folding, stack: tuple[int, int] | None = None) -> None:
    """Raise ConfigError, with the nearest legal values, if the folding does not fit the cell.

    Vectors of both layers of a ``stack``, of so many inputs each, come in beats of one width.
    """
    gates, h, i = len(cell.rows), cell.hidden_size, cell.input_size
    for name, value, legal, rule in (
        ("input.pe", folding.input_pe, divisors(gates * h), f"divide the {gates * h} gate rows"),
        ("input.simd", folding.input_simd, legal_input_simd(i, stack), f"divide the {_inputs(i, stack)} inputs"),
        (
            "hidden.pe",
            folding.hidden_pe,
            legal_hidden_pe(gates, h),
            f"divide the {gates * h} gate rows and be a divisor or a multiple of the {gates} gates",
        ),
        ("hidden.simd", folding.hidden_simd, divisors(h), f"divide the {h} hidden units"),
    ):
        if value not in legal:
            raise ConfigError(f"folding {name} must {rule}, not {value}; nearest legal: {nearest(value, legal)}")
    for name, packed in (("input", folding.input_packing), ("hidden", folding.hidden_packing)):
        if packed != 1:
            check_packing(f"folding {name}.{PACKING}", packed, legal_packings(cell, folding, name))


def legal_packings(cell: RecurrentCell, folding: Folding, name: str) -> tuple[int, ...]:
    """How many products of the product ``name``, input or hidden, may share a DSP."""
    gates, pe, simd, codes = cell.rows, folding.hidden_pe, folding.hidden_simd, cell.hidden
    weights = np.stack([gate.hidden_weights for gate in gates])
    if name == "input":
        pe, simd, codes = folding.input_pe, folding.input_simd, cell.input
        weights = np.stack([gate.input_weights for gate in gates])
    return packing.legal(weights, common_type([gate.weight for gate in gates]), codes, pe, weights.size // (pe * simd))


def common_type(types: list[IntegerType]) -> IntegerType:
    """The type of all weights of a product, whose gates may differ."""
    if all(each == types[0] for each in types):
        return types[0]
    return IntegerType.holding(min(t.storage.lo for t in types), max(t.storage.hi for t in types))


def nearest(value: int, legal: list[int]) -> str:
    """The legal values around one that is not, for people."""
    below, above = [v for v in legal if v < value], [v for v in legal if v > value]
    return " and ".join(str(v) for v in [*below[-1:], *above[:1]])


def recurrence_depth(cell: RecurrentCell, simd: int) -> int:
    """Cycles from the last tile of a step to its last new state, estimated from the latency of each stage.

    Weight read and product 2, adder tree and accumulation, the gate's step functions; of an LSTM product and step of
    both cell terms side by side, their sum, tanh, product and step of the output; of a GRU product and step of the
    reset gate, the sum, tanh, product and step of the candidate, the sum with what is kept; write back.
    """

    def of(certified: Certified) -> int:
        return latency(certified.form)

    gates = max(sum(of(certified) for certified in gate.steps) for gate in cell.rows)
    sums = 2 + math.ceil(math.log2(simd)) + 1
    if isinstance(cell, IntegerRnn):
        return sums + gates + 1
    if isinstance(cell, IntegerGru):
        candidate = 1 + of(cell.reset_product.requantize) + of(cell.new_sum) + of(cell.tanh)
        return sums + gates + candidate + 1 + of(cell.new_product.requantize) + of(cell.hidden_sum) + 1
    terms = 1 + max(of(cell.forget_product.requantize), of(cell.input_product.requantize))
    tail = of(cell.cell_sum) + of(cell.cell_tanh) + 1 + of(cell.output_product.requantize)
    return sums + gates + terms + tail + 1


def step_cycles(cell: RecurrentCell, folding: Folding) -> int:
    """Estimated cycles from one time step to the next of the recurrence alone."""
    tiles = len(cell.rows) * cell.hidden_size**2 // (folding.hidden_pe * folding.hidden_simd)
    return tiles + recurrence_depth(cell, folding.hidden_simd)


def _foldings(rows: list[int], columns: list[int]) -> Iterator[tuple[int, int]]:
    return ((pe, simd) for pe in rows for simd in columns)


def _interval(cell: RecurrentCell, pe: int, simd: int, contexts: int) -> int:
    """Estimated cycles from one time step to the next, of all sequences that are interleaved."""
    tiles = len(cell.rows) * cell.hidden_size**2 // (pe * simd)
    return interval(tiles, tiles + recurrence_depth(cell, simd), contexts)


def derive_folding(cell: RecurrentCell, cycles: int | None, contexts: int = 1) -> Folding:
    """The fewest multipliers for at most so many cycles a step; of equals the fewest step functions, then cycles.

    Without a number a small balanced design is taken.
    """
    gates, h, i = len(cell.rows), cell.hidden_size, cell.input_size
    hidden = list(_foldings(legal_hidden_pe(gates, h), divisors(h)))

    def hidden_cycles(pe: int, simd: int) -> int:
        return _interval(cell, pe, simd, contexts)

    def price(fold: tuple[int, int]) -> tuple[int, int, int]:
        # A lane has the step function of one gate, or of all that it serves in turn: below G lanes nothing is saved.
        return fold[0] * fold[1], max(fold[0], gates), hidden_cycles(*fold)

    if cycles is None:
        # The smallest design of at most DEFAULT_CYCLES a step, unless it takes more than DEFAULT_MULTIPLIERS.
        fast = [(pe, simd) for pe, simd in hidden if gates * h * h // (pe * simd) <= DEFAULT_CYCLES]
        pe, simd = min(fast, key=price)
        if pe * simd > DEFAULT_MULTIPLIERS:
            small = [(pe, simd) for pe, simd in hidden if pe * simd <= DEFAULT_MULTIPLIERS]
            pe, simd = min(small, key=lambda f: (-f[0] * f[1], price(f)))
    else:
        pe, simd = min(((pe, simd) for pe, simd in hidden if hidden_cycles(pe, simd) <= cycles), key=price)
    target = hidden_cycles(pe, simd)
    candidates = [
        (input_pe, input_simd)
        for input_pe, input_simd in _foldings(divisors(gates * h), divisors(i))
        if (input_pe % pe == 0 or pe % input_pe == 0) and gates * h * i // (input_pe * input_simd) <= target
    ]
    # A fully parallel input product meets any target of at least one cycle.
    input_pe, input_simd = min(candidates, key=lambda f: (f[0] * f[1], f[0]))
    return Folding(input_pe, input_simd, pe, simd)
