# SPDX-License-Identifier: Apache-2.0
"""kernel.cpp: compiled at first use, and a cell laid out for it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwgen import toolchain
from hwgen.errors import ToolError
from hwgen.forms import MAX_MULTIPLIER_BITS, Certified, MultiplyForm, SearchForm, ShiftForm
from hwgen.integer import IntegerCell, Product
from hwgen.quantizer import IntArray, RoundingMode

Word = TypeVar("Word", np.int64, np.float64)
SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC")
# Not every compiler has a name for the processor that it runs on.
TARGETS: tuple[tuple[str, ...], ...] = (("-march=native",), ())
# Sequences that a thread takes through all steps: whole blocks of the C++, and few, so that threads finish together.
_SEQUENCES, _FEWEST = 64, 8
_GATES = ("input", "forget", "cell", "output")


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
    """kernel.cpp as a library, from the user's cache or compiled into it; None if it is neither there nor wanted.

    Raises ToolError where it cannot be compiled.
    """
    try:
        command, path = _build_plan(TARGETS)
        if not path.is_file():
            if not compile_it:
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")
            toolchain.run([*command, "-o", str(partial), str(SOURCE)], f"compiling {SOURCE.name}")
            os.replace(partial, path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(f"{SOURCE.name}: {error}") from error


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
        digest = hashlib.sha256(repr((command, macros)).encode() + SOURCE.read_bytes()).hexdigest()
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return command, Path(cache) / "hwgen" / f"kernel-{digest[:16]}.so"
    raise AssertionError("no targets")


@dataclass(frozen=True)
class Policy:
    """How the C++ takes dot products: its number there, operands packed together, types of weights and of codes."""

    name: str
    number: int
    pack: int
    weights: type
    codes: type


BYTES = Policy("bytes", 0, 4, np.int8, np.int32)
FLOAT = Policy("float", 1, 1, np.float32, np.int32)
DOUBLE = Policy("double", 2, 1, np.float64, np.int64)


def choose_policy(cell: IntegerCell, has_bytes: bool) -> Policy:
    """The fastest policy that is exact for every input.

    No partial sum, in whatever order, leaves the sum of magnitudes: where that fits an integer or the mantissa of a
    float, every sum is exact.
    """
    # Sums and differences of a few such numbers stay within 32 bits.
    narrow = 2**28
    x_span, h_span = cell.input.hi - cell.input.lo, cell.hidden.hi - cell.hidden.lo
    x_most, h_most = (max(abs(codes.lo), abs(codes.hi)) for codes in (cell.input, cell.hidden))
    from_least = from_zero = 0
    bytes_fit = has_bytes and max(x_span, h_span) <= 255
    for gate in cell.gates:
        inputs, hidden = (np.abs(weights).sum(axis=1) for weights in (gate.input_weights, gate.hidden_weights))
        from_least = max(from_least, int((inputs * x_span + hidden * h_span).max()))
        from_zero = max(from_zero, int((inputs * x_most + hidden * h_most).max()))
        bytes_fit = bytes_fit and gate.weight.lo >= -128 and gate.weight.hi <= 127
    if any(max(-certified.step.lo, certified.step.hi) >= narrow for _, certified in cell.steps()):
        return DOUBLE
    if bytes_fit and from_least < narrow:
        return BYTES
    return FLOAT if from_zero <= 2**24 else DOUBLE


# The structs of kernel.cpp, member by member.
_POINTER = ctypes.c_void_p


def _integers(names: str) -> tuple[tuple[str, type[ctypes.c_int64]], ...]:
    return tuple((name, ctypes.c_int64) for name in names.split())


def _pointers(names: str) -> tuple[tuple[str, type[ctypes.c_void_p]], ...]:
    return tuple((name, _POINTER) for name in names.split())


class _Step(ctypes.Structure):
    _fields_ = (
        *_integers("kind shift lo hi first size levels stride even below_zero above_zero"),
        *_pointers("multiplier offset rows"),
    )


class _Gate(ctypes.Structure):
    _fields_ = (*_pointers("weights bias"), ("step", _POINTER * 2))


class _Product(ctypes.Structure):
    _fields_ = (*_integers("left_zero right_zero"), *_pointers("step"))


class _Cell(ctypes.Structure):
    _fields_ = (
        *_integers("input_size hidden_size input_lo hidden_lo reverse coupled coupled_one"),
        ("gate", _Gate * len(_GATES)),
        ("forget_product", _Product),
        ("input_product", _Product),
        ("output_product", _Product),
        *_pointers("cell_sum cell_tanh"),
    )


class _Batch(ctypes.Structure):
    _fields_ = (*_integers("steps batch"), *_pointers("x h c values y h_n c_n"))


_SHIFT, _MULTIPLY, _WIDE, _SEARCH, _TABLE = range(5)


class Kernel:
    """A cell laid out for the C++: units padded to whole tiles, constants given for every unit."""

    def __init__(self, cell: IntegerCell, library: ctypes.CDLL) -> None:
        self._library, self._hidden = library, cell.hidden_size
        self._tile = int(library.hwgen_units())
        self._tiles = -(-cell.hidden_size // self._tile)
        self.policy = choose_policy(cell, bool(library.hwgen_has_bytes()))
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
            bias = gate.bias
            if self.policy is BYTES:
                # Its operands are counted from the least code.
                bias = bias + gate.input_weights.sum(axis=1) * cell.input.lo
                bias = bias + gate.hidden_weights.sum(axis=1) * cell.hidden.lo
            place = self._cell.gate[_GATES.index(gate.name)]
            place.weights = self._weights(np.hstack([gate.input_weights, gate.hidden_weights]))
            place.bias = self._units(bias)
            place.step = (_POINTER * 2)(*map(self._step, gate.steps))

    def run(
        self, x: IntArray, h: IntArray, c: IntArray, values: NDArray[Word]
    ) -> tuple[NDArray[Word], IntArray, IntArray]:
        """As ``Engine.run_decoded``, with all states given [batch, H], for at least one step of one sequence."""
        steps, batch = x.shape[:2]
        y = np.empty((steps, batch, self._hidden), values.dtype)
        h_n, c_n = np.empty((batch, self._hidden), np.int64), np.empty((batch, self._hidden), np.int64)
        arrays = [np.ascontiguousarray(array, np.int64) for array in (x, h, c)] + [values, y, h_n, c_n]
        job = _Batch(steps, batch, *(array.ctypes.data for array in arrays))
        share = -(-batch // processors())
        count = min(_SEQUENCES, -(-share // _FEWEST) * _FEWEST)

        def run_part(begin: int) -> None:
            numbers = self.policy.number, begin, min(begin + count, batch)
            self._library.hwgen_run(ctypes.byref(self._cell), ctypes.byref(job), *map(ctypes.c_int64, numbers))

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
        pack = self.policy.pack
        missing = self._tiles * self._tile - weights.shape[0], -weights.shape[1] % pack
        padded = np.pad(weights, ((0, missing[0]), (0, missing[1])))
        tiles = padded.reshape(self._tiles, self._tile, -1, pack).transpose(0, 2, 1, 3)
        return self._array(tiles, self.policy.weights)

    def _step(self, certified: Certified) -> int:
        form = certified.form
        if isinstance(form, ShiftForm):
            step = _Step(kind=_SHIFT, shift=form.shift, lo=form.lo, hi=form.hi, offset=self._units(form.offset))
            if form.shift > 0:
                step.below_zero, step.above_zero = form.increments
                step.even = form.rounding is RoundingMode.ROUND
        elif isinstance(form, MultiplyForm):
            wide = int(form.multiplier.max()).bit_length() > MAX_MULTIPLIER_BITS
            step = _Step(kind=_WIDE if wide else _MULTIPLY, shift=form.shift, lo=form.lo, hi=form.hi)
            step.multiplier, step.offset = self._units(form.multiplier), self._units(form.offset)
        else:
            if isinstance(form, SearchForm):
                rows, codes = form.nodes(), form.thresholds.shape[1] + 1
                step = _Step(kind=_SEARCH, first=form.first, levels=form.levels, size=codes)
            else:
                rows = form.table
                step = _Step(kind=_TABLE, lo=form.lo, size=rows.shape[1])
            step.stride = rows.shape[1] if len(rows) > 1 else 0
            step.rows = self._array(self._rows(rows) if len(rows) > 1 else rows, self.policy.codes)
        self._kept.append(step)
        return ctypes.addressof(step)

    def _product(self, product: Product) -> _Product:
        return _Product(product.left_zero, product.right_zero, self._step(product.requantize))
