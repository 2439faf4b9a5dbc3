# SPDX-License-Identifier: Apache-2.0
"""The integer model: recurrent cells in codes alone.  Their interpreter is the specification that hardware equals.

Gate rows are dot products of weights with *raw* codes; every zero point and the integer part of every bias is folded
into one constant per row.  What remains between codes are sums, products of two codes, and step functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.quantizer import FloatArray, IntArray, IntegerType


@dataclass(frozen=True)
class Interval:
    """All integers from ``lo`` to ``hi``."""

    lo: int
    hi: int

    @property
    def type(self) -> IntegerType:
        """The smallest machine type that holds the interval."""
        return IntegerType.holding(self.lo, self.hi)

    def times(self, other: Interval) -> Interval:
        """The interval of all products."""
        corners = [a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        return Interval(min(corners), max(corners))

    def plus(self, other: Interval) -> Interval:
        """The interval of all sums."""
        return Interval(self.lo + other.lo, self.hi + other.hi)

    def minus(self, constant: int) -> Interval:
        """The interval moved down by ``constant``."""
        return Interval(self.lo - constant, self.hi - constant)


@dataclass(frozen=True)
class IntegerGate:
    """One gate: steps(input_weights x + hidden_weights h + bias), for raw codes x and h.

    ``input_weights`` [H, I] and ``hidden_weights`` [H, H] have their zero points subtracted; ``weight`` is the type
    that holds them.  ``input_sum`` is the exact range of the input product plus bias, ``total`` that of the whole.
    ``steps`` is one composed step function, or two: accumulator to gate code, gate code to activation code.
    ``bound`` is the greatest distance of an accumulator to the real sum, in LSB of the gate code: 0, unless the scales
    of the two products have no ratio that fits the accumulator.
    """

    name: str
    input_weights: IntArray
    hidden_weights: IntArray
    bias: IntArray
    weight: IntegerType
    input_sum: Interval
    total: Interval
    steps: tuple[Certified, ...]
    bound: float = 0.0

    @property
    def exactness(self) -> str:
        """What is known of its accumulators: exact, or bounded."""
        return "bounded" if self.bound else "exact"

    def activate(self, total: IntArray) -> IntArray:
        """Accumulators [..., H] to activation codes."""
        for certified in self.steps:
            total = certified.form.evaluate(total)
        return total


@dataclass(frozen=True)
class IntegerSum:
    """step(weights a + bias) for raw codes a: one product with a matrix [H, n], requantized.

    ``weights`` have their zero points subtracted; ``weight`` is the type that holds them, ``total`` the exact range of
    the sums.
    """

    weights: IntArray
    bias: IntArray
    weight: IntegerType
    total: Interval
    step: Certified

    def evaluate(self, codes: IntArray) -> IntArray:
        """Codes [..., n] to codes [..., H]."""
        return self.step.form.evaluate(dot(codes, self.weights) + self.bias)


@dataclass(frozen=True)
class Product:
    """step((a - left_zero) * (b - right_zero)): the product of two codes, requantized."""

    left_zero: int
    right_zero: int
    requantize: Certified

    def evaluate(self, left: IntArray, right: IntArray) -> IntArray:
        """Codes of the product, elementwise."""
        return self.requantize.form.evaluate((left - self.left_zero) * (right - self.right_zero))


class Cell(Protocol):
    """What all recurrent cells have: one layer in one direction, in codes.

    Initial states are codes [H], or None where the user gives them.
    """

    @property
    def name(self) -> str:
        """That of its layer."""

    @property
    def input_size(self) -> int:
        """Inputs."""

    @property
    def hidden_size(self) -> int:
        """Hidden units."""

    @property
    def reverse(self) -> bool:
        """Whether it takes the steps from the last to the first."""

    @property
    def gates(self) -> tuple[IntegerGate, ...]:
        """Gates that add an input and a hidden product."""

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function of the cell, with its place."""

    def products(self) -> Iterator[tuple[str, Product]]:
        """The products of two codes, each with its name."""

    def facts(self) -> dict[str, object]:
        """What it has beyond gates, products and steps, as plain data."""


@dataclass(frozen=True)
class IntegerCell:
    """One LSTM layer in one direction, in codes.

    ``gates`` are input, forget, cell, output; a coupled cell has no forget gate and computes it as
    ``coupled_one`` - input code.  Initial states are codes [H], or None where the user gives them.
    """

    name: str
    input_size: int
    hidden_size: int
    gates: tuple[IntegerGate, ...]
    coupled_one: int | None
    forget_product: Product
    input_product: Product
    cell_sum: Certified
    cell_tanh: Certified
    output_product: Product
    input: IntegerType
    hidden: IntegerType
    cell: IntegerType
    initial_hidden: IntArray | None
    initial_cell: IntArray | None
    reverse: bool = False

    def gate(self, name: str) -> IntegerGate:
        """The gate called ``name``."""
        return next(gate for gate in self.gates if gate.name == name)

    def project(self, x: IntArray) -> list[IntArray]:
        """The input product and bias of every gate for x [..., I]: what does not depend on the recurrence."""
        return [dot(x, gate.input_weights) + gate.bias for gate in self.gates]

    def step(self, projected: list[IntArray], h: IntArray, c: IntArray) -> tuple[IntArray, IntArray]:
        """One time step from the projected input; h and c are [batch, H]; returns the next h and c."""
        codes = {
            gate.name: gate.activate(part + dot(h, gate.hidden_weights))
            for gate, part in zip(self.gates, projected, strict=True)
        }
        forget = codes["forget"] if self.coupled_one is None else self.coupled_one - codes["input"]
        kept = self.forget_product.evaluate(forget, c)
        added = self.input_product.evaluate(codes["input"], codes["cell"])
        c = self.cell_sum.form.evaluate(kept + added)
        h = self.output_product.evaluate(codes["output"], self.cell_tanh.form.evaluate(c))
        return h, c

    def run(
        self, x: IntArray, h0: IntArray | None = None, c0: IntArray | None = None
    ) -> tuple[IntArray, IntArray, IntArray]:
        """A whole batch of sequences of equal length: x [T, batch, I] codes.

        Returns the hidden codes in time order [T, batch, H], the last hidden and the last cell codes [batch, H].
        """
        h = np.broadcast_to(given(h0, self.initial_hidden), (x.shape[1], self.hidden_size))
        c = np.broadcast_to(given(c0, self.initial_cell), (x.shape[1], self.hidden_size))
        sequence = np.empty((*x.shape[:2], self.hidden_size), np.int64)
        for t in reversed(range(len(x))) if self.reverse else range(len(x)):
            h, c = self.step(self.project(x[t]), h, c)
            sequence[t] = h
        return sequence, h, c

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function of the cell, with its place."""
        for gate in self.gates:
            for certified in gate.steps:
                yield certified.step.name, certified
        for product in (self.forget_product, self.input_product):
            yield product.requantize.step.name, product.requantize
        yield self.cell_sum.step.name, self.cell_sum
        yield self.cell_tanh.step.name, self.cell_tanh
        yield self.output_product.requantize.step.name, self.output_product.requantize

    @property
    def rows(self) -> tuple[IntegerGate, ...]:
        """What each hidden unit has in both matrices."""
        return self.gates

    def products(self) -> Iterator[tuple[str, Product]]:
        """The products of two codes, each with its name."""
        yield "forget", self.forget_product
        yield "input", self.input_product
        yield "output", self.output_product

    def facts(self) -> dict[str, object]:
        """What it has beyond gates, products and steps, as plain data."""
        return {
            "coupled_one": self.coupled_one,
            "types": {"input": str(self.input), "hidden": str(self.hidden), "cell": str(self.cell)},
            "initial_hidden": listed(self.initial_hidden),
            "initial_cell": listed(self.initial_cell),
        }

    def verify(self) -> None:
        """Check shapes, ranges and proofs; raises AssertionError."""
        verify_cell(self)


def verify_cell(cell: Cell) -> None:
    """Check shapes, ranges and proofs of the gates and step functions of a cell; raises AssertionError."""
    h, i = cell.hidden_size, cell.input_size
    for gate in cell.gates:
        assert gate.input_weights.shape == (h, i), f"{gate.name}: input weights {gate.input_weights.shape}"
        assert gate.hidden_weights.shape == (h, h), f"{gate.name}: hidden weights {gate.hidden_weights.shape}"
        assert gate.bias.shape == (h,), f"{gate.name}: bias {gate.bias.shape}"
        for weights in (gate.input_weights, gate.hidden_weights):
            assert weights.min() >= gate.weight.lo, f"{gate.name}: a weight is below its type"
            assert weights.max() <= gate.weight.hi, f"{gate.name}: a weight is above its type"
        first = gate.steps[0].step
        assert first.lo <= gate.total.lo, f"{gate.name}: the accumulator leaves the domain of its step"
        assert first.hi >= gate.total.hi, f"{gate.name}: the accumulator leaves the domain of its step"
    for name, certified in cell.steps():
        certified.step.verify()
        assert certified.proof.holds, f"{name}: {certified.form.kind} form differs from its step function"
        assert certified.step.channels in (1, h), f"{name}: {certified.step.channels} channels"


def accumulate_range(weights: IntArray, codes: IntegerType) -> tuple[IntArray, IntArray]:
    """Exact least and greatest value of weights @ x per row of ``weights`` [rows, n], over all codes x."""
    negative, positive = np.minimum(weights, 0), np.maximum(weights, 0)
    low = positive.sum(axis=1) * codes.lo + negative.sum(axis=1) * codes.hi
    high = positive.sum(axis=1) * codes.hi + negative.sum(axis=1) * codes.lo
    return low, high


def dot(x: IntArray, weights: IntArray) -> IntArray:
    """X @ weights.T by way of float64, which is exact here: every partial sum stays far below 2^53."""
    product: FloatArray = x.astype(np.float64) @ weights.T.astype(np.float64)
    return product.astype(np.int64)


def given(state: IntArray | None, initial: IntArray | None) -> IntArray:
    """The state that the user gives, or else that of the model; raises ValueError where there is neither."""
    if state is None and initial is None:
        raise ValueError("the initial state is a graph input and must be given")
    return initial if state is None else state  # type: ignore[return-value]


def certificate(cell: Cell) -> dict[str, object]:
    """What is proven about every step function and accumulator of a cell, as plain data for certificate.json."""
    return certificate_of(list(cell.steps()), {gate.name: gate for gate in cell.gates})


def certificate_of(steps: Sequence[tuple[str, Certified]], gates: Mapping[str, IntegerGate]) -> dict[str, object]:
    """The same of any step functions and gates, each with its place."""
    return {
        "claim": "each form equals its step function on the whole domain: both sides of every threshold compared",
        "steps": [_certificate_entry(name, certified) for name, certified in steps],
        "accumulators": [
            {"gate": name, "result": gate.exactness, "bound_lsb": gate.bound} for name, gate in gates.items()
        ],
        "all_proven": all(certified.proof.holds for _, certified in steps)
        and not any(gate.bound for gate in gates.values()),
    }


def _certificate_entry(name: str, certified: Certified) -> dict[str, object]:
    step, form, proof = certified.step, certified.form, certified.proof
    return {
        "name": name,
        "form": form.kind,
        "parameters": form_parameters(certified),
        "domain": [step.lo, step.hi],
        "codes": [step.first, step.last],
        "channels": step.channels,
        "thresholds_checked": proof.thresholds,
        "comparisons": proof.comparisons,
        "mismatches": proof.mismatches,
        "result": "proven" if proof.holds else "refuted",
    }


def form_parameters(certified: Certified) -> dict[str, object]:
    """The constants of a form as plain data."""
    form = certified.form
    if isinstance(form, ShiftForm):
        return {"shift": form.shift, "offset": form.offset.tolist(), "rounding": form.rounding.value}
    if isinstance(form, MultiplyForm):
        return {"multiplier": form.multiplier.tolist(), "offset": form.offset.tolist(), "shift": form.shift}
    if isinstance(form, SearchForm):
        return {"levels": form.levels, "thresholds": form.thresholds.tolist()}
    assert isinstance(form, TableForm)
    return {"table": form.table.tolist()}


def to_json(cell: Cell) -> str:
    """The whole integer model as JSON: weights, biases, ranges, and every step function with its form."""
    data: dict[str, object] = {
        "name": cell.name,
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "reverse": cell.reverse,
        **cell.facts(),
        "gates": [
            {
                "name": gate.name,
                "weight": str(gate.weight),
                "input_weights": gate.input_weights.tolist(),
                "hidden_weights": gate.hidden_weights.tolist(),
                "bias": gate.bias.tolist(),
                "total": [gate.total.lo, gate.total.hi],
                "exactness": gate.exactness,
                "bound_lsb": gate.bound,
                "steps": [certified.step.name for certified in gate.steps],
            }
            for gate in cell.gates
        ],
    }
    if products := dict(cell.products()):
        data["products"] = {
            name: {"left_zero": product.left_zero, "right_zero": product.right_zero}
            for name, product in products.items()
        }
    data["steps"] = [_certificate_entry(name, certified) for name, certified in cell.steps()]
    return json.dumps(data, indent=1)


def listed(values: IntArray | None) -> list[int] | None:
    """Codes as plain data."""
    return None if values is None else [int(value) for value in values]
