# SPDX-License-Identifier: Apache-2.0
"""Graphs of adders that da4ml finds, as its list of operations tells them; nothing of da4ml's goes into a project."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from hwgen.adders.graph import Adder, AdderGraph, Term
from hwgen.errors import ToolError
from hwgen.quantizer import IntArray

# Of its operations: a value that goes in, a sum, a difference.
_COPY, _ADD, _SUBTRACT = -1, 0, 1
# Weights are floats of 24 bits there.
_WEIGHT_BITS = 24


def _solver() -> ModuleType:
    try:
        return importlib.import_module("da4ml.cmvm")
    except ImportError as error:
        raise ToolError(
            "--constant-products da4ml: da4ml was not found; install it with: pip install 'hwgen[da4ml]', or take "
            "--constant-products shift-add, which needs nothing"
        ) from error


def solve(matrix: IntArray, lo: int, hi: int) -> AdderGraph:
    """The graph of a matrix [rows, columns] of codes lo..hi, of the least depth.

    Raises ToolError if da4ml is missing, or gives something else than sums.
    """
    if int(np.abs(matrix).max()).bit_length() > _WEIGHT_BITS:
        raise ToolError(
            f"--constant-products da4ml: takes weights of {_WEIGHT_BITS} bits at most, not "
            f"{int(np.abs(matrix).max()).bit_length()}; take --constant-products shift-add"
        )
    solver = _solver()
    # Codes are integers; a depth of no more than the digits need.
    solution = solver.solve(
        np.ascontiguousarray(matrix.T, np.float32),
        qintervals=[(float(lo), float(hi), 1.0)] * matrix.shape[1],
        hard_dc=0,
    )
    reader = _Reader(matrix.shape[1])
    values: list[_Value | None] = [_Value(column, 0, False) for column in range(matrix.shape[1])]
    for stage in solution.solutions:
        values = reader.read(stage, values)
    rows = tuple(None if value is None else reader.term(value) for value in values)
    return AdderGraph(matrix.shape[1], lo, hi, tuple(reader.adders), rows, "da4ml")


class _Value(tuple[int, int, bool]):
    """A node times 2^exponent, negated or not."""

    def __new__(cls, node: int, exponent: int, minus: bool) -> _Value:
        return super().__new__(cls, (node, exponent, minus))


class _Reader:
    """Adders of one stage of a solution after the other."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.adders: list[Adder] = []

    def read(self, stage: Any, inputs: list[_Value | None]) -> list[_Value | None]:
        """The values that leave a stage; None is zero."""
        buffer: list[_Value | None] = []
        for operation in stage.ops:
            if operation.opcode == _COPY:
                buffer.append(_scaled(inputs[operation.id0], int(stage.inp_shifts[operation.id0]), False))
            elif operation.opcode in (_ADD, _SUBTRACT):
                right = _scaled(buffer[operation.id1], int(operation.data), operation.opcode == _SUBTRACT)
                buffer.append(self._add(buffer[operation.id0], right))
            else:
                raise ToolError(
                    f"da4ml gave operation {operation.opcode} for a product, which hwgen does not know; install "
                    "another version: pip install 'hwgen[da4ml]'"
                )
        ends = zip(stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True)
        return [None if index < 0 else _scaled(buffer[index], int(shift), bool(minus)) for index, shift, minus in ends]

    def term(self, value: _Value) -> Term:
        """A row in the end."""
        node, exponent, minus = value
        if exponent < 0:
            raise ToolError(f"da4ml gave a row with a fraction of {-exponent} bits; take --constant-products shift-add")
        return Term(node, exponent, minus)

    def _add(self, left: _Value | None, right: _Value | None) -> _Value | None:
        if left is None or right is None:
            return right if left is None else left
        if left[2] and not right[2]:
            left, right = right, left
        low = min(left[1], right[1])
        self.adders.append(Adder(left[0], left[1] - low, right[0], right[1] - low, left[2] != right[2]))
        return _Value(self.columns + len(self.adders) - 1, low, left[2])


def _scaled(value: _Value | None, shift: int, minus: bool) -> _Value | None:
    return None if value is None else _Value(value[0], value[1] + shift, value[2] != minus)
