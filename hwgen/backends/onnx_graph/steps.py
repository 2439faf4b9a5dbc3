# SPDX-License-Identifier: Apache-2.0
"""Rounding, quantizers and step functions as nodes.

Codes are int64.  A step function takes the shape of its certified form where ONNX has one that is exact, and otherwise
counts thresholds, which is its definition:

| form | nodes |
|---|---|
| shift | a division by a power of two in float64, exact below 2^53, then the rounding itself |
| multiply | (a * M + B) >> S: ONNX shifts no signed integers, so the low bits are cleared and the rest divided |
| table | Gather |
| search | Gather as well where a table is small; else thresholds <= a counted, in a tree where they are many |
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from hwgen.backends.onnx_graph.builder import Scope
from hwgen.forms import MAX_MULTIPLIER_BITS, Certified, Form, MultiplyForm, ShiftForm, TableForm, fit_table
from hwgen.quantizer import IntArray, Quantizer, RoundingMode
from hwgen.step import StepFunction

# float64 holds every integer up to here.
EXACT = 2**53
# Most codes that one count of thresholds tells apart: a node of the tree compares with one fewer.
_FAN_OUT = 16


def round_to_integers(at: Scope, scaled: str, zero: str | None, mode: RoundingMode) -> str:
    """Round ``scaled`` + ``zero`` (float64) in any mode.

    Modes that turn at integers round before the zero point is added, as the sum would swallow what is tiny.
    """
    if mode in (RoundingMode.CEIL, RoundingMode.FLOOR):
        rounded = at.op("Ceil" if mode is RoundingMode.CEIL else "Floor", scaled, name="rounded")
        return _plus(at, rounded, zero, "from_zero_point")
    if mode in (RoundingMode.UP, RoundingMode.DOWN):
        centre = at.reals(0.0, "centre") if zero is None else at.op("Neg", zero, name="centre")
        positive = at.op("Greater", scaled, centre, name="positive")
        choices = at.op("Ceil", scaled, name="ceil"), at.op("Floor", scaled, name="floor")
        away, towards = choices if mode is RoundingMode.UP else choices[::-1]
        return _plus(at, at.op("Where", positive, away, towards, name="rounded"), zero, "from_zero_point")
    shifted = _plus(at, scaled, zero, "from_zero_point")
    if mode is RoundingMode.ROUND:
        return at.op("Round", shifted, name="rounded")
    magnitude = at.op("Abs", shifted, name="magnitude")
    whole = at.op("Floor", magnitude, name="whole")
    fraction = at.op("Sub", magnitude, whole, name="fraction")
    comparison = "GreaterOrEqual" if mode is RoundingMode.HALF_UP else "Greater"
    beyond = at.op(comparison, fraction, at.reals(0.5, "half"), name="beyond_half")
    lifted = at.op("Add", whole, at.real(beyond, "lift"), name="lifted")
    return at.op("Mul", at.op("Sign", shifted, name="sign"), lifted, name="rounded")


def _plus(at: Scope, values: str, addend: str | None, name: str) -> str:
    return values if addend is None else at.op("Add", values, addend, name=name)


def quantize(at: Scope, values: str, quantizer: Quantizer) -> str:
    """Real values (float64) to codes, with the operations of ``Quantizer.quantize``."""
    codes = quantizer.codes
    if codes.bipolar:
        positive = at.op("GreaterOrEqual", values, at.reals(0.0, "zero"), name="positive")
        return at.op("Where", positive, at.integers(1, "plus_one"), at.integers(-1, "minus_one"), doc=str(quantizer))
    scaled = at.op("Div", values, at.reals(quantizer.scale, "scale"), name="scaled")
    zero = at.reals(quantizer.zero_point, "zero_point") if any(quantizer.zero_point) else None
    rounded = round_to_integers(at, scaled, zero, quantizer.rounding)
    clipped = at.op("Clip", rounded, at.reals(codes.lo, "lo"), at.reals(codes.hi, "hi"), name="clipped")
    return at.op("Cast", clipped, to=TensorProto.INT64, doc=str(quantizer))


def dequantize(at: Scope, codes: str, quantizer: Quantizer, offset: tuple[float, ...] | None) -> str:
    """Codes to real values (float64), with the operations of ``Wire.decode``."""
    values = at.real(codes, "real")
    if any(quantizer.zero_point):
        values = at.op("Sub", values, at.reals(quantizer.zero_point, "zero_point"), name="centred")
    values = at.op("Mul", values, at.reals(quantizer.scale, "scale"), name="scaled", doc=str(quantizer))
    return values if offset is None else at.op("Add", values, at.reals(offset, "offset"), name="moved")


def step(at: Scope, certified: Certified, a: str) -> str:
    """A step function of ``a`` (int64, channels last); the result has the name of ``at``."""
    function, form = certified.step, certified.form
    doc = f"{function.lo}..{function.hi} to {function.first}..{function.last}, {_kind(function, form)}"
    if isinstance(form, ShiftForm) and _fits_float(function, form):
        return _shift(at, form, a, doc)
    if isinstance(form, MultiplyForm) and int(form.multiplier.max()).bit_length() <= MAX_MULTIPLIER_BITS:
        return _multiply(at, form, a, doc)
    table = form if isinstance(form, TableForm) else fit_table(function)
    if table is not None:
        return _table(at, table, a, doc)
    return _count(at, function, a, doc)


def _kind(function: StepFunction, form: Form) -> str:
    channels = f", {function.channels} channels" if function.channels > 1 else ""
    return f"{form.kind} form, {function.thresholds.shape[1]} thresholds{channels}"


def _fits_float(function: StepFunction, form: ShiftForm) -> bool:
    ends = [abs(end + int(offset)) for end in (function.lo, function.hi) for offset in form.offset]
    return form.shift <= 0 or max(ends) < EXACT


def _clip(at: Scope, values: str, lo: int, hi: int, doc: str) -> str:
    return at.op("Clip", values, at.integers(lo, "lo"), at.integers(hi, "hi"), doc=doc)


def _shift(at: Scope, form: ShiftForm, a: str, doc: str) -> str:
    if form.shift < 0:
        a = at.op("Mul", a, at.integers(1 << -form.shift, "factor"), name="scaled")
    if form.offset.any():
        a = at.op("Add", a, at.integers(form.offset, "offset"), name="sum")
    if form.shift > 0:
        divisor = at.reals(1 << form.shift, "divisor")
        quotient = at.op("Div", at.real(a, "real"), divisor, name="quotient")
        rounded = round_to_integers(at, quotient, None, form.rounding)
        a = at.op("Cast", rounded, name="integer", to=TensorProto.INT64)
    return _clip(at, a, form.lo, form.hi, doc)


def _multiply(at: Scope, form: MultiplyForm, a: str, doc: str) -> str:
    total = at.op("Mul", a, at.integers(form.multiplier, "multiplier"), name="scaled")
    if form.offset.any():
        total = at.op("Add", total, at.integers(form.offset, "offset"), name="sum")
    if form.shift > 0:
        # Without its low bits a number divides exactly, whatever a runtime does with remainders below zero.
        cleared = at.op("BitwiseAnd", total, at.integers(-1 << form.shift, "mask"), name="cleared")
        total = at.op("Div", cleared, at.integers(1 << form.shift, "divisor"), name="quotient")
    return _clip(at, total, form.lo, form.hi, doc)


def _table(at: Scope, form: TableForm, a: str, doc: str) -> str:
    channels, size = form.table.shape
    start = np.arange(channels) * size - form.lo
    index = at.op("Add", a, at.integers(start, "start"), name="index") if start.any() else a
    return at.op("Gather", at.constant(form.table.reshape(-1), "table"), index, axis=0, doc=doc)


def _count(at: Scope, function: StepFunction, a: str, doc: str) -> str:
    """The number of thresholds <= a, digit by digit, the highest first: each is counted in a node of a tree."""
    nodes = threshold_tree(function)
    argument = at.op("Unsqueeze", a, at.axes(-1), name="argument")
    channel = np.arange(function.channels)
    place = ""
    for level, rows in enumerate(nodes):
        here = at.under(f"digit_{level}") if len(nodes) > 1 else at
        fan_out = rows.shape[2] + 1
        flat = rows.reshape(-1, rows.shape[2])
        if level == 0:
            compared = here.constant(rows[:, 0] if function.channels > 1 else rows[0, 0], "thresholds")
        else:
            row = place
            if function.channels > 1:
                row = here.op("Add", place, here.integers(channel * rows.shape[1], "start"), name="row")
            stored = here.stored(flat, "thresholds", TensorProto.INT64)
            compared = here.op("Gather", stored, row, name="candidates", axis=0)
        reached = here.op("GreaterOrEqual", argument, compared, name="reached")
        ones = here.op("Cast", reached, name="ones", to=TensorProto.INT64)
        digit = here.op("ReduceSum", ones, here.axes(-1), name="count", keepdims=0)
        if level == 0:
            place = digit
        else:
            above = here.op("Mul", place, here.integers(fan_out, "fan_out"), name="above")
            place = here.op("Add", above, digit, name="place")
    return at.op("Add", place, at.integers(function.first, "first"), doc=doc)


def threshold_tree(function: StepFunction) -> list[IntArray]:
    """Thresholds as levels [channels, nodes, fan out - 1] of a tree whose path is the count, digit by digit.

    A count is at least k exactly if threshold k - 1 is reached; a node asks that for each value of its digit but 0.
    """
    count = function.thresholds.shape[1]
    levels, fan_out = 1, max(2, count + 1)
    if fan_out > _FAN_OUT:
        while _FAN_OUT**levels <= count:
            levels += 1
        fan_out = next(base for base in range(2, _FAN_OUT + 1) if base**levels > count)
    # What is added is never reached.
    missing = fan_out**levels - 1 - count
    padded = np.pad(function.thresholds, ((0, 0), (0, missing)), constant_values=function.hi + 1)
    tree = []
    for level in range(levels):
        digits = np.arange(fan_out**level)[:, np.newaxis] * fan_out + np.arange(1, fan_out)
        tree.append(padded[:, digits * fan_out ** (levels - 1 - level) - 1])
    return tree
