# SPDX-License-Identifier: Apache-2.0
"""Fast execution of the integer model: the codes of ``IntegerCell.run``, from C++ that is compiled at first use.

``IntegerCell.run`` is the specification.  Where there is no compiler, and for work too small to be worth compiling
for, it is also what runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwgen.errors import ToolError
from hwgen.integer import IntegerCell
from hwgen.kernel import Kernel, Word, load_library
from hwgen.quantizer import IntArray

# The compiler takes 1 to 2 s, the specification about 20 ns for a gate of a unit and 0.2 ms for a step beyond that.
_GATES_WORTH_COMPILING = 5e7
_GATES_PER_STEP = 1e4


class Engine:
    """Executes a cell.  ``compiled`` is None to compile where that pays, True to insist on it, False to refuse."""

    def __init__(self, cell: IntegerCell, compiled: bool | None = None) -> None:
        self.cell = cell
        self.compiled = compiled
        self._kernel: Kernel | None = None

    def run(
        self, x: IntArray, h0: IntArray | None = None, c0: IntArray | None = None
    ) -> tuple[IntArray, IntArray, IntArray]:
        """As ``IntegerCell.run``: x [T, batch, I] to hidden codes [T, batch, H], last hidden and cell codes [batch, H].

        Raises ValueError if a code is outside its type; ToolError where C++ is insisted on and cannot be had.
        """
        cell, hidden = self.cell, self.cell.hidden
        for name, codes, legal in (("x", x, cell.input), ("h0", h0, hidden), ("c0", c0, cell.cell)):
            if codes is not None and codes.size and not (legal.lo <= codes.min() and codes.max() <= legal.hi):
                raise ValueError(f"{name}: codes must be of type {legal}, not {codes.min()} to {codes.max()}")
        return self.run_decoded(x, h0, c0, np.arange(hidden.lo, hidden.hi + 1))

    def run_decoded(
        self, x: IntArray, h0: IntArray | None, c0: IntArray | None, values: NDArray[Word]
    ) -> tuple[NDArray[Word], IntArray, IntArray]:
        """As ``run``, with ``values`` of the hidden codes, from the least on, in the place of the sequence's codes.

        All codes must be of their types.
        """
        cell, (steps, batch, _) = self.cell, x.shape
        h = cell.initial_hidden if h0 is None else h0
        c = cell.initial_cell if c0 is None else c0
        kernel = self._find_kernel(steps * (batch * cell.hidden_size * len(cell.gates) + _GATES_PER_STEP))
        if kernel is None or h is None or c is None or steps * batch == 0:
            sequence, h_n, c_n = cell.run(x, h0, c0)
            return values[sequence - cell.hidden.lo], h_n, c_n
        shape = batch, cell.hidden_size
        return kernel.run(x, np.broadcast_to(h, shape), np.broadcast_to(c, shape), values)

    def _find_kernel(self, gates: float) -> Kernel | None:
        """The kernel, if there is one already or it is worth compiling for so many gates of units and steps."""
        if self._kernel is None and self.compiled is not False:
            try:
                library = load_library(compile_it=bool(self.compiled) or gates > _GATES_WORTH_COMPILING)
            except ToolError:
                if self.compiled:
                    raise
                return None
            self._kernel = None if library is None else Kernel(self.cell, library)
        return self._kernel
