# SPDX-License-Identifier: Apache-2.0
"""Fast execution of the integer model: the codes of ``IntegerCell.run``, from C++ that is compiled at first use.

``IntegerCell.run`` is the specification.  Where there is no compiler, and for work too small to be worth compiling
for, it is also what runs.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwgen import toolchain
from hwgen.errors import ToolError
from hwgen.forms import MAX_MULTIPLIER_BITS, Certified, MultiplyForm, SearchForm, ShiftForm
from hwgen.integer import IntegerCell, Product
from hwgen.quantizer import FloatArray, IntArray, RoundingMode

Results = tuple[IntArray, IntArray, IntArray]
_Word = TypeVar("_Word", np.int64, np.float64)
_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC")
# Not every compiler has a name for the processor that it runs on.
TARGETS: tuple[tuple[str, ...], ...] = (("-march=native",), ())
# The compiler takes 1 to 2 s, the specification about 20 ns for a gate of a unit and 0.2 ms for a step beyond that.
_GATES_WORTH_COMPILING = 5e7
_GATES_PER_STEP = 1e4
# Sequences that a thread takes through all steps: whole blocks of the C++, and few, so that threads finish together.
_SEQUENCES, _SMALLEST = 64, 8
_GATES = ("input", "forget", "cell", "output")
# Dot products of the C++, in its order, and the type of their weights.
_POLICIES = {"bytes": np.int8, "float": np.float32, "double": np.float64}


class Engine:
    """Executes a cell.  ``compiled`` is None to compile where that pays, True to insist on it, False to refuse."""

    def __init__(self, cell: IntegerCell, compiled: bool | None = None) -> None:
        self.cell = cell
        self.compiled = compiled
        self._kernel: _Kernel | None = None

    def run(self, x: IntArray, h0: IntArray | None = None, c0: IntArray | None = None) -> Results:
        """As ``IntegerCell.run``: x [T, batch, I] to hidden codes [T, batch, H], last hidden and cell codes [batch, H].

        Raises ValueError if a code is outside its type; ToolError where C++ is insisted on and cannot be had.
        """
        hidden = self.cell.hidden
        return self._run(x, h0, c0, np.arange(hidden.lo, hidden.hi + 1))

    def run_decoded(
        self, x: IntArray, h0: IntArray | None, c0: IntArray | None, values: FloatArray
    ) -> tuple[FloatArray, IntArray, IntArray]:
        """As ``run``, with ``values[code - least code]`` in the place of every hidden code [T, batch, H]."""
        return self._run(x, h0, c0, values)

    def _run(
        self, x: IntArray, h0: IntArray | None, c0: IntArray | None, words: NDArray[_Word]
    ) -> tuple[NDArray[_Word], IntArray, IntArray]:
        cell, (steps, batch, _) = self.cell, x.shape
        h = cell.initial_hidden if h0 is None else h0
        c = cell.initial_cell if c0 is None else c0
        for name, codes, legal in (("x", x, cell.input), ("h0", h, cell.hidden), ("c0", c, cell.cell)):
            if codes is not None and codes.size and not (legal.lo <= codes.min() and codes.max() <= legal.hi):
                raise ValueError(f"{name}: codes must be of type {legal}, not {codes.min()} to {codes.max()}")
        kernel = self._find_kernel(steps * (batch * cell.hidden_size * len(cell.gates) + _GATES_PER_STEP))
        if kernel is None or h is None or c is None or steps * batch == 0:
            y, h_n, c_n = cell.run(x, h0, c0)
            return words[y - cell.hidden.lo], h_n, c_n
        shape = batch, cell.hidden_size
        return kernel.run(x, np.broadcast_to(h, shape), np.broadcast_to(c, shape), words)

    def _find_kernel(self, gates: float) -> _Kernel | None:
        if self._kernel is None and self.compiled is not False:
            try:
                library = load_library(compile_it=bool(self.compiled) or gates > _GATES_WORTH_COMPILING)
            except ToolError:
                if self.compiled:
                    raise
                return None
            self._kernel = None if library is None else _Kernel(self.cell, library)
        return self._kernel


def in_parallel(function: Callable[[int], None], starts: range) -> None:
    """Call ``function``, which should release the interpreter's lock, for each start, on all processors."""
    if len(starts) == 1:
        function(starts[0])
        return
    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(function, starts))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_library(compile_it: bool = True) -> ctypes.CDLL | None:
    """engine.cpp as a library, from the user's cache or compiled into it; None where that would be needed but is not
    wanted.  Raises ToolError if it cannot be compiled.
    """
    try:
        command, path = _build_plan(TARGETS)
        if not path.is_file():
            if not compile_it:
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")
            toolchain.run([*command, "-o", str(partial), str(_SOURCE)], f"compiling {_SOURCE.name}")
            os.replace(partial, path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(f"{_SOURCE.name}: {error}") from error


@functools.cache
def _build_plan(targets: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], Path]:
    """The compiler's command line, and where its product is kept.

    The name tells source, command, and all that the compiler knows of itself and of the processor: a cache may be
    shared by machines that differ.
    """
    compiler = toolchain.cxx_compiler()
    for target in targets:
        command = (compiler, *_FLAGS, *target)
        try:
            macros = toolchain.run([*command, "-dM", "-E", "-x", "c++", os.devnull], "listing the compiler's macros")
        except ToolError:
            if target == targets[-1]:
                raise
            continue
        digest = hashlib.sha256(repr((command, macros)).encode() + _SOURCE.read_bytes()).hexdigest()
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return command, Path(cache) / "hwgen" / f"engine-{digest[:16]}.so"
    raise AssertionError("no targets")


# The structs of engine.cpp, member by member.
_POINTER = ctypes.c_void_p


def _integers(names: str) -> tuple[tuple[str, type[ctypes.c_int64]], ...]:
    return tuple((name, ctypes.c_int64) for name in names.split())


class _Step(ctypes.Structure):
    _fields_ = (
        *_integers("kind shift lo hi first size levels stride even below_zero above_zero"),
        ("a", _POINTER),
        ("b", _POINTER),
    )


class _Gate(ctypes.Structure):
    _fields_ = (("weights", _POINTER), ("bias", _POINTER), *_integers("steps"), ("step", _POINTER * 2))


class _Product(ctypes.Structure):
    _fields_ = (*_integers("left_zero right_zero"), ("step", _POINTER))


class _Cell(ctypes.Structure):
    _fields_ = (
        *_integers("input_size hidden_size input_lo hidden_lo reverse coupled coupled_one"),
        ("gate", _Gate * len(_GATES)),
        ("forget_product", _Product),
        ("input_product", _Product),
        ("output_product", _Product),
        ("cell_sum", _POINTER),
        ("cell_tanh", _POINTER),
    )


class _Batch(ctypes.Structure):
    _fields_ = (*_integers("steps batch"), *((name, _POINTER) for name in ("x", "h", "c", "words", "y", "h_n", "c_n")))


_SHIFT, _MULTIPLY, _WIDE, _SEARCH, _TABLE = range(5)


class _Kernel:
    """A cell laid out for the C++: units padded to whole tiles, constants given for every unit."""

    def __init__(self, cell: IntegerCell, library: ctypes.CDLL) -> None:
        self._library, self._hidden = library, cell.hidden_size
        self._tile = int(library.hwgen_units())
        self._tiles = -(-cell.hidden_size // self._tile)
        self._policy = _policy(cell, bool(library.hwgen_has_bytes()))
        # What the structs point to.
        self._kept: list[object] = []
        self._cell = _Cell(
            input_size=cell.input_size,
            hidden_size=cell.hidden_size,
            input_lo=cell.input.lo,
            hidden_lo=cell.hidden.lo,
            reverse=cell.reverse,
            coupled=cell.coupled_one is not None,
            coupled_one=cell.coupled_one or 0,
            forget_product=self._product(cell.forget_product),
            input_product=self._product(cell.input_product),
            output_product=self._product(cell.output_product),
            cell_sum=self._step(cell.cell_sum),
            cell_tanh=self._step(cell.cell_tanh),
        )
        for gate in cell.gates:
            weights, bias = np.hstack([gate.input_weights, gate.hidden_weights]), gate.bias
            if self._policy == "bytes":
                # Its operands are counted from the least code.
                bias = bias + gate.input_weights.sum(axis=1) * cell.input.lo
                bias = bias + gate.hidden_weights.sum(axis=1) * cell.hidden.lo
            steps = [self._step(certified) for certified in gate.steps]
            place = self._cell.gate[_GATES.index(gate.name)]
            place.weights, place.bias = self._weights(weights), self._units(bias)
            place.steps, place.step = len(steps), (_POINTER * 2)(*steps)

    def run(
        self, x: IntArray, h: IntArray, c: IntArray, words: NDArray[_Word]
    ) -> tuple[NDArray[_Word], IntArray, IntArray]:
        """With all states given, for at least one step of one sequence."""
        steps, batch = x.shape[:2]
        y = np.empty((steps, batch, self._hidden), words.dtype)
        h_n, c_n = np.empty((batch, self._hidden), np.int64), np.empty((batch, self._hidden), np.int64)
        arrays = [np.ascontiguousarray(array, np.int64) for array in (x, h, c)] + [words, y, h_n, c_n]
        job = _Batch(steps, batch, *(array.ctypes.data for array in arrays))
        share = -(-batch // processors())
        count = min(_SEQUENCES, -(-share // _SMALLEST) * _SMALLEST)

        def run_part(begin: int) -> None:
            self._library.hwgen_run(
                ctypes.byref(self._cell),
                ctypes.byref(job),
                *map(ctypes.c_int64, (list(_POLICIES).index(self._policy), begin, min(begin + count, batch))),
            )

        in_parallel(run_part, range(0, batch, count))
        return y, h_n, c_n

    def _array(self, values: NDArray[Any], dtype: type = np.int64) -> int:
        array: NDArray[Any] = np.ascontiguousarray(values, dtype)
        self._kept.append(array)
        return array.ctypes.data

    def _rows(self, values: IntArray) -> IntArray:
        """Rows [H, n] to rows of all places, by repetition of the last."""
        return np.pad(values, ((0, self._tiles * self._tile - len(values)), (0, 0)), mode="edge")

    def _units(self, values: IntArray) -> int:
        """Constants [1] or [H], one for every place."""
        return self._array(self._rows(np.broadcast_to(values, self._hidden)[:, np.newaxis]))

    def _weights(self, weights: IntArray) -> int:
        """[H, depth] to [tile, depth / pack, unit, pack]; what is added is zero."""
        pack = 4 if self._policy == "bytes" else 1
        missing = self._tiles * self._tile - weights.shape[0], -weights.shape[1] % pack
        padded = np.pad(weights, ((0, missing[0]), (0, missing[1])))
        tiles = padded.reshape(self._tiles, self._tile, -1, pack).transpose(0, 2, 1, 3)
        return self._array(tiles, _POLICIES[self._policy])

    def _step(self, certified: Certified) -> int:
        form = certified.form
        if isinstance(form, ShiftForm):
            step = _Step(kind=_SHIFT, shift=form.shift, lo=form.lo, hi=form.hi, a=self._units(form.offset))
            if form.shift > 0:
                step.below_zero, step.above_zero = form.increments
                step.even = form.rounding is RoundingMode.ROUND
        elif isinstance(form, MultiplyForm):
            wide = int(form.multiplier.max()).bit_length() > MAX_MULTIPLIER_BITS
            step = _Step(kind=_WIDE if wide else _MULTIPLY, shift=form.shift, lo=form.lo, hi=form.hi)
            step.a, step.b = self._units(form.multiplier), self._units(form.offset)
        else:
            search = isinstance(form, SearchForm)
            rows = form.nodes() if isinstance(form, SearchForm) else form.table
            shared = len(rows) == 1
            step = _Step(kind=_SEARCH if search else _TABLE, stride=0 if shared else rows.shape[1])
            step.a = self._array(rows if shared else self._rows(rows))
            if isinstance(form, SearchForm):
                step.first, step.levels, step.size = form.first, form.levels, form.thresholds.shape[1]
            else:
                step.lo, step.size = form.lo, form.table.shape[1]
        step.b = step.b or step.a
        self._kept.append(step)
        return ctypes.addressof(step)

    def _product(self, product: Product) -> _Product:
        return _Product(product.left_zero, product.right_zero, self._step(product.requantize))


def _policy(cell: IntegerCell, has_bytes: bool) -> str:
    """The fastest dot product that is exact for every input.

    No order of summation leaves the sum of magnitudes: where that fits the 31 bits of an integer or the mantissa of
    a float, every partial sum is exact.
    """
    x_span, h_span = cell.input.hi - cell.input.lo, cell.hidden.hi - cell.hidden.lo
    x_most, h_most = (max(abs(codes.lo), abs(codes.hi)) for codes in (cell.input, cell.hidden))
    counted = largest = 0
    fits = has_bytes and max(x_span, h_span) <= 255
    for gate in cell.gates:
        inputs, hidden = (np.abs(w).sum(axis=1) for w in (gate.input_weights, gate.hidden_weights))
        counted = max(counted, int((inputs * x_span + hidden * h_span).max()))
        largest = max(largest, int((inputs * x_most + hidden * h_most).max()))
        fits = fits and gate.weight.lo >= -128 and gate.weight.hi <= 127
    if fits and counted < 2**31:
        return "bytes"
    return "float" if largest <= 2**24 else "double"
