# SPDX-License-Identifier: Apache-2.0
"""Recurrent cells other than LSTMs in codes: the plain RNN and the GRU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwgen.forms import Certified
from hwgen.integer import IntegerCell, IntegerGate, IntegerSum, Product, dot, given, listed, verify_cell
from hwgen.quantizer import IntArray, IntegerType


@dataclass(frozen=True)
class IntegerRnn:
    """One layer of a plain RNN in one direction, in codes: the code of its one gate is the hidden state.

    Initial states are codes [H], or None where the user gives them.
    """

    name: str
    input_size: int
    hidden_size: int
    gate: IntegerGate
    input: IntegerType
    hidden: IntegerType
    initial_hidden: IntArray | None
    reverse: bool = False

    @property
    def gates(self) -> tuple[IntegerGate, ...]:
        """Its gates, as other cells have several."""
        return (self.gate,)

    @property
    def rows(self) -> tuple[IntegerGate, ...]:
        """What each hidden unit has in both matrices."""
        return self.gates

    def step(self, x: IntArray, h: IntArray) -> IntArray:
        """One time step: x is [batch, I], h is [batch, H]; returns the next h."""
        return self.gate.activate(dot(x, self.gate.input_weights) + self.gate.bias + dot(h, self.gate.hidden_weights))

    def run(self, x: IntArray, h0: IntArray | None = None) -> tuple[IntArray, IntArray]:
        """A whole batch of sequences of equal length: x [T, batch, I] codes.

        Returns the hidden codes in time order [T, batch, H], and the last hidden codes [batch, H].
        """
        return _run(self, x, h0)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function of the cell, with its place."""
        return ((certified.step.name, certified) for certified in self.gate.steps)

    def products(self) -> Iterator[tuple[str, Product]]:
        """It has none."""
        return iter(())

    def facts(self) -> dict[str, object]:
        """What it has beyond gates, products and steps, as plain data."""
        return _facts(self)

    def verify(self) -> None:
        """Check shapes, ranges and proofs; raises AssertionError."""
        verify_cell(self)
        _verify_state(self, self.gate.steps[-1])


@dataclass(frozen=True)
class IntegerGru:
    """One GRU layer in one direction, in codes.

    The candidate is ``tanh`` of ``new_sum``, which adds ``new_input`` and the product of the reset gate with
    ``new_hidden``.  ``one`` is the code of 1 of the update gate z, whose products with the state and, of one - z, with
    the candidate are added by ``hidden_sum``.  Initial states are codes [H], or None where the user gives them.
    """

    name: str
    input_size: int
    hidden_size: int
    reset: IntegerGate
    update: IntegerGate
    new_input: IntegerSum
    new_hidden: IntegerSum
    reset_product: Product
    new_sum: Certified
    tanh: Certified
    one: int
    update_product: Product
    new_product: Product
    hidden_sum: Certified
    input: IntegerType
    hidden: IntegerType
    initial_hidden: IntArray | None
    reverse: bool = False

    @property
    def gates(self) -> tuple[IntegerGate, ...]:
        """The gates that add both products."""
        return self.reset, self.update

    @property
    def rows(self) -> tuple[IntegerGate, ...]:
        """What each hidden unit has in both matrices; the two sums of ``new`` are not added up, as those of gates are.

        Its total is that of the hidden product with the bias of ``new_hidden``, which stands nowhere else.
        """
        whole, part = self.new_input, self.new_hidden
        types = whole.weight, part.weight
        new = IntegerGate(
            name="new",
            input_weights=whole.weights,
            hidden_weights=part.weights,
            bias=whole.bias,
            weight=types[0]
            if types[0] == types[1]
            else IntegerType.holding(min(t.storage.lo for t in types), max(t.storage.hi for t in types)),
            input_sum=whole.total,
            total=part.total,
            steps=(part.step,),
        )
        return self.reset, self.update, new

    def step(self, x: IntArray, h: IntArray) -> IntArray:
        """One time step: x is [batch, I], h is [batch, H]; returns the next h."""
        reset, update = (
            gate.activate(dot(x, gate.input_weights) + gate.bias + dot(h, gate.hidden_weights)) for gate in self.gates
        )
        product = self.reset_product.evaluate(reset, self.new_hidden.evaluate(h))
        new = self.tanh.form.evaluate(self.new_sum.form.evaluate(self.new_input.evaluate(x) + product))
        kept = self.update_product.evaluate(update, h)
        added = self.new_product.evaluate(self.one - update, new)
        return self.hidden_sum.form.evaluate(kept + added)

    def run(self, x: IntArray, h0: IntArray | None = None) -> tuple[IntArray, IntArray]:
        """A whole batch of sequences of equal length: x [T, batch, I] codes.

        Returns the hidden codes in time order [T, batch, H], and the last hidden codes [batch, H].
        """
        return _run(self, x, h0)

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function of the cell, with its place."""
        for gate in self.gates:
            for certified in gate.steps:
                yield certified.step.name, certified
        for certified in (
            self.new_input.step,
            self.new_hidden.step,
            self.reset_product.requantize,
            self.new_sum,
            self.tanh,
            self.update_product.requantize,
            self.new_product.requantize,
            self.hidden_sum,
        ):
            yield certified.step.name, certified

    def products(self) -> Iterator[tuple[str, Product]]:
        """The products of two codes, each with its name."""
        yield "reset", self.reset_product
        yield "update", self.update_product
        yield "new", self.new_product

    def facts(self) -> dict[str, object]:
        """What it has beyond gates, products and steps, as plain data."""
        sums = {
            name: {
                "weight": str(part.weight),
                "weights": part.weights.tolist(),
                "bias": part.bias.tolist(),
                "total": [part.total.lo, part.total.hi],
                "steps": [part.step.step.name],
            }
            for name, part in (("new_input", self.new_input), ("new_hidden", self.new_hidden))
        }
        return {**_facts(self), "one": self.one, "sums": sums}

    def verify(self) -> None:
        """Check shapes, ranges and proofs; raises AssertionError."""
        verify_cell(self)
        h, i = self.hidden_size, self.input_size
        for name, part, columns in (("new_input", self.new_input, i), ("new_hidden", self.new_hidden, h)):
            assert part.weights.shape == (h, columns), f"{name}: weights {part.weights.shape}"
            assert part.bias.shape == (h,), f"{name}: bias {part.bias.shape}"
            assert part.weight.lo <= part.weights.min(), f"{name}: a weight is below its type"
            assert part.weights.max() <= part.weight.hi, f"{name}: a weight is above its type"
            domain = part.step.step
            assert domain.lo <= part.total.lo, f"{name}: the accumulator leaves the domain of its step"
            assert domain.hi >= part.total.hi, f"{name}: the accumulator leaves the domain of its step"
        _verify_state(self, self.hidden_sum)


RecurrentCell = IntegerCell | IntegerRnn | IntegerGru


def _run(cell: IntegerRnn | IntegerGru, x: IntArray, h0: IntArray | None) -> tuple[IntArray, IntArray]:
    h = np.broadcast_to(given(h0, cell.initial_hidden), (x.shape[1], cell.hidden_size))
    sequence = np.empty((*x.shape[:2], cell.hidden_size), np.int64)
    for t in reversed(range(len(x))) if cell.reverse else range(len(x)):
        h = sequence[t] = cell.step(x[t], h)
    return sequence, h


def _facts(cell: IntegerRnn | IntegerGru) -> dict[str, object]:
    types = {"input": str(cell.input), "hidden": str(cell.hidden)}
    return {"types": types, "initial_hidden": listed(cell.initial_hidden)}


def _verify_state(cell: IntegerRnn | IntegerGru, last: Certified) -> None:
    assert cell.hidden.lo <= last.step.first, f"{cell.name}: a hidden code is below its type"
    assert last.step.last <= cell.hidden.hi, f"{cell.name}: a hidden code is above its type"
