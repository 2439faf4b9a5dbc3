# SPDX-License-Identifier: Apache-2.0
"""Values as C++: types, read-only memories, matrices of weights and step functions, for templates to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.adders import AdderGraph
from hwgen.backends.naming import camel
from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.integer import Interval
from hwgen.quantizer import IntArray, IntegerType
from hwgen.schedule import FoldedProduct, signed

_LINE = 100
_PHRASES = {
    "shift": "clamp(round((a + offset) / 2^{shift}))",
    "multiply": "clamp((a * multiplier + offset) >> {shift})",
    "search": "binary search among {count} thresholds",
    "table": "table of {size} entries",
}


@dataclass(frozen=True)
class Memory:
    """A read-only array in the generated code: element width, dimensions and the rows of its initializer."""

    name: str
    bits: int
    dims: tuple[int, ...]
    body: str


def ap_type(codes: IntegerType) -> str:
    """The ap_int type of codes."""
    return f"ap_{'' if codes.signed else 'u'}int<{codes.bits}>"


def matrix(product: FoldedProduct, prefix: str = "", bias: str | None = None) -> dict[str, object]:
    """The weights of a product as a struct, and the memory behind it; ``prefix`` tells several of them apart.

    ``bias`` is the type of what starts the sum of each row, None where nothing does.
    """
    bipolar = product.weight.bipolar
    stored = (product.weights > 0).astype(np.int64) if bipolar else product.weights
    bits = 1 if bipolar else product.weight.storage.bits
    return {
        "name": prefix.rstrip("_"),
        "struct": camel(f"{prefix}matrix"),
        "bias": bias,
        "product": product,
        "bipolar": bipolar,
        "weight": ap_type(product.weight.storage),
        "memory": Memory(f"{prefix}weights", max(bits, 2), stored.shape, rows(stored)),
        "adders": None if product.graph is None else _adders(product.graph),
    }


def _adders(graph: AdderGraph) -> list[str]:
    """The statements of a product of codes ``x`` by shifts and additions, its sums in ``y``."""
    names = [f"x[{column}]" for column in range(graph.columns)] + [f"a{n}" for n in range(len(graph.adders))]

    def shifted(node: int, shift: int, kind: str) -> str:
        return f"({kind}({names[node]}) << {shift})" if shift else f"{kind}({names[node]})"

    found = []
    for node, adder in enumerate(graph.adders, graph.columns):
        kind = f"ap_int<{graph.bits[node]}>"
        left, right = shifted(adder.left, adder.left_shift, kind), shifted(adder.right, adder.right_shift, kind)
        found.append(f"const {kind} {names[node]} = {left} {'-' if adder.minus else '+'} {right};")
    for row, term in enumerate(graph.rows):
        value = "0" if term is None else ("-" if term.minus else "") + shifted(term.node, term.shift, "Sum")
        found.append(f"y[{row}] = {value};")
    return found


def rows(values: IntArray) -> str:
    """An initializer, nested as the array is; short rows share a line, long ones are wrapped."""
    if values.ndim == 1:
        return "{" + _wrap([str(int(value)) for value in values]) + "}"
    inner = [rows(row) for row in values]
    if values.ndim == 2 and not any("\n" in row for row in inner):
        return "{" + _wrap(inner) + "}"
    return "{" + ",\n".join(inner).replace("\n", "\n ") + "}"


def _wrap(items: Sequence[str]) -> str:
    lines, line = [], ""
    for item in items:
        piece = item + ", "
        if line and len(line) + len(piece) > _LINE:
            lines.append(line.rstrip())
            line = ""
        line += piece
    lines.append(line.rstrip(", "))
    return "\n ".join(lines)


def memory(name: str, values: IntArray) -> Memory:
    """A memory of ``values``, as wide as they need."""
    interval = Interval(int(values.min()), int(values.max()))
    return Memory(name, signed(interval).bits, values.shape, rows(values))


def parameters(items: Sequence[str], head: str) -> str:
    """A parameter list after ``head``, one parameter a line, aligned, where a single line would be too long."""
    line = f"{head}({', '.join(items)})"
    if len(line) <= 118:
        return line
    return f"{head}(" + (",\n" + " " * (len(head) + 1)).join(items) + ")"


def call(certified: Certified, struct: str | None = None) -> str:
    """The function that computes a step function from the constants in its struct."""
    return f"hwgen::step_{certified.form.kind}<{struct or camel(certified.step.name)}>"


def code_type(certified: Certified) -> str:
    """The type of its codes."""
    return ap_type(IntegerType.holding(certified.step.first, certified.step.last))


def step_struct(
    certified: Certified, struct: str | None = None, channels: str = "units", index: str = "channel"
) -> dict[str, object]:
    """The constants of a step function; ``channels`` is what has one of its own where they are several.

    ``index`` is the place of the constants of a ``channel``, in C++.
    """
    step, form = certified.step, certified.form
    phrase = _PHRASES[form.kind].format(shift=getattr(form, "shift", 0), count=step.thresholds.shape[1], size=step.size)
    shared = f"one for all {channels}" if step.channels == 1 else f"one for each of {step.channels} {channels}"
    entry: dict[str, object] = {
        "struct": struct or camel(step.name),
        "what": step.name.replace("_", " "),
        "phrase": phrase,
        "shared": shared,
        "proof": certified.proof,
        "kind": form.kind,
        "value": ap_type(signed(Interval(step.lo, step.hi))),
        "code": ap_type(IntegerType.holding(step.first, step.last)),
        "lo": step.first,
        "hi": step.last,
        "step": step,
        "form": form,
        "index": index if step.channels > 1 else "0",
    }
    if isinstance(form, ShiftForm):
        entry |= {"total": ap_type(_shift_total(certified, form)), "offset": constants("offset", form.offset, index)}
    elif isinstance(form, MultiplyForm):
        entry |= {
            "total": ap_type(_multiply_total(certified, form)),
            "multiplier": constants("multiplier", form.multiplier, index),
            "offset": constants("offset", form.offset, index),
        }
    elif isinstance(form, SearchForm):
        nodes = form.nodes()
        # A threshold that is never reached lies one above the domain: the comparison needs room for it.
        entry |= {
            "value": ap_type(signed(Interval(step.lo, step.hi + 1))),
            "levels": [memory(f"level{level}", nodes[:, 1 << level : 2 << level]) for level in range(form.levels)],
            "count": form.thresholds.shape[1],
        }
    else:
        assert isinstance(form, TableForm)
        entry |= {"table": memory("entries", form.table)}
    return entry


def constants(name: str, values: IntArray, index: str = "channel") -> dict[str, object]:
    """One constant, or a memory with an entry for each channel, at the ``index`` that C++ computes of it."""
    interval = Interval(int(values.min()), int(values.max()))
    kind = signed(interval)
    return {
        "name": name,
        "index": index,
        "type": ap_type(kind),
        "value": f"{int(values[0])}{'LL' if kind.bits > 32 else ''}" if len(values) == 1 else None,
        "memory": None if len(values) == 1 else memory(name, values),
    }


def _shift_total(certified: Certified, form: ShiftForm) -> IntegerType:
    """What holds the argument, the offset and the largest rounding increment."""
    step = certified.step
    gain, room = max(-form.shift, 0), 1 << max(form.shift, 0)
    low = (step.lo << gain) + int(form.offset.min())
    high = (step.hi << gain) + int(form.offset.max()) + room
    return signed(Interval(min(low, form.lo), max(high, form.hi, room)))


def _multiply_total(certified: Certified, form: MultiplyForm) -> IntegerType:
    """What holds every product and its sum with the offset."""
    step = certified.step
    factors = Interval(int(form.multiplier.min()), int(form.multiplier.max()))
    products = Interval(step.lo, step.hi).times(factors)
    sums = products.plus(Interval(int(form.offset.min()), int(form.offset.max())))
    return signed(Interval(min(products.lo, sums.lo, form.lo), max(products.hi, sums.hi, form.hi)))
