# SPDX-License-Identifier: Apache-2.0
"""HLS C++: a schedule to the texts of a Vitis HLS project.  Nothing is written here, and nothing is scheduled here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np

from hwgen import resources
from hwgen.backends.naming import camel, comment, top_name
from hwgen.forms import Certified, MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.integer import Interval
from hwgen.quantizer import IntArray, IntegerType
from hwgen.schedule import RUN_AHEAD, FoldedProduct, Schedule, signed

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


def generate(design: Schedule, origin: str) -> dict[str, str]:
    """The files of the HLS project as {path: text}; ``origin`` says in each header what it was made from."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.templates() / "hls")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["parameters"] = _parameters
    context = _context(design, origin)
    top = context["top"]
    files = {f"lib/{path.name}": path.read_text("utf-8") for path in sorted(resources.hls_library().glob("*.hpp"))}
    for template, path in (
        ("top.hpp.jinja", f"src/{top}.hpp"),
        ("top.cpp.jinja", f"src/{top}.cpp"),
        ("parameters.hpp.jinja", "src/parameters.hpp"),
        ("weights.hpp.jinja", "src/weights.hpp"),
        ("testbench.cpp.jinja", "tb/testbench.cpp"),
        ("run_hls.tcl.jinja", "run_hls.tcl"),
        ("hls_config.cfg.jinja", "hls_config.cfg"),
        ("Makefile.jinja", "Makefile"),
    ):
        files[path] = environment.get_template(template).render(context)
    files["tb/bench.hpp"] = (resources.sim() / "csim" / "bench.hpp").read_text("utf-8")
    files["tb/vectors.hpp"] = (resources.sim() / "vectors.hpp").read_text("utf-8")
    return files


def _context(design: Schedule, origin: str) -> dict[str, object]:
    cell, network = design.lstm, design.network
    layer = network.layer
    input_sums, totals = signed(design.input_product.sums), signed(design.hidden_product.sums)
    ports = (*design.inputs, *design.outputs)
    beats = {"h0": "hidden_beat", "c0": "cell_beat", "y": "hidden_beat", "h_n": "hidden_beat", "c_n": "cell_beat"}
    codes = {name: f"hls::stream<{beat}>& {name}_codes" for name, beat in beats.items()}
    return {
        "top": top_name(design),
        "signature": _parameters([f"hls::stream<{p.name}_word>& {p.name}" for p in ports], f"void {top_name(design)}"),
        "recurrent_parameters": [
            "hls::stream<sums_beat>& sums",
            *(codes[port.name] for port in design.inputs if port.name != "x"),
            "hls::stream<states_beat>& states",
        ],
        "select_parameters": ["hls::stream<states_beat>& states", *(codes[port.name] for port in design.outputs)],
        "origin": origin,
        "model": comment(network.name),
        "layer": comment(layer.name),
        "design": design,
        "cell": cell,
        "options": design.options,
        "input_code": ap_type(cell.input.storage),
        "hidden_code": ap_type(cell.hidden),
        "cell_code": ap_type(cell.cell),
        "factor": ap_type(design.factors.type),
        "input_sum": ap_type(input_sums),
        "total": ap_type(totals),
        "products": [_matrix(design, design.input_product), _matrix(design, design.hidden_product)],
        "bias": _memory("bias", design.bias),
        "initial": [
            {"struct": struct, "code": code, "port": port, **_constant_state(codes)}
            for struct, code, port, codes in (
                ("InitialHidden", "hidden_t", "h0", cell.initial_hidden),
                ("InitialCell", "cell_t", "c0", cell.initial_cell),
            )
        ],
        "gates": [
            {
                "name": gate.name,
                "enum": {"input": "kInput", "forget": "kForget", "cell": "kCandidate", "output": "kOutput"}[gate.name],
                "calls": [_call(certified) for certified in gate.steps],
                "expression": _nested(gate.steps),
            }
            for gate in cell.gates
        ],
        "steps": [_step(certified) for _, certified in cell.steps()],
        "forget_call": _call(cell.forget_product.requantize),
        "input_call": _call(cell.input_product.requantize),
        "forget_type": _code_type(cell.forget_product.requantize),
        "input_type": _code_type(cell.input_product.requantize),
        "tanh_type": _code_type(cell.cell_tanh),
        "sum_value": ap_type(signed(Interval(cell.cell_sum.step.lo, cell.cell_sum.step.hi))),
        "sum_call": _call(cell.cell_sum),
        "tanh_call": _call(cell.cell_tanh),
        "output_call": _call(cell.output_product.requantize),
        "resize": _resize(design),
        "run_ahead": max(2, min(RUN_AHEAD, design.hidden_product.folds)),
        "axis": {port.name: f"ap_axiu<{port.bits}, 0, 0, 0>" for port in ports},
        "code_types": {port.name: ap_type(port.codes.storage) for port in ports},
        "outputs": [port.name for port in design.outputs],
        "ports": {port.name: port for port in ports},
        "groups": cell.hidden_size // design.units,
        "period_ns": f"{1000 / design.options.clock_mhz:.3f}",
    }


def ap_type(codes: IntegerType) -> str:
    """The ap_int type of codes."""
    return f"ap_{'' if codes.signed else 'u'}int<{codes.bits}>"


def _matrix(design: Schedule, product: FoldedProduct) -> dict[str, object]:
    bipolar = product.weight.bipolar
    stored = (product.weights > 0).astype(np.int64) if bipolar else product.weights
    bits = 1 if bipolar else product.weight.storage.bits
    return {
        "name": product.name,
        "struct": camel(f"{product.name}_matrix"),
        "product": product,
        "bipolar": bipolar,
        "weight": ap_type(product.weight.storage),
        "memory": Memory(f"{product.name}_weights", max(bits, 2), stored.shape, _rows(stored)),
    }


def _rows(values: IntArray) -> str:
    """An initializer, nested as the array is; short rows share a line, long ones are wrapped."""
    if values.ndim == 1:
        return "{" + _wrap([str(int(value)) for value in values]) + "}"
    inner = [_rows(row) for row in values]
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


def _memory(name: str, values: IntArray) -> Memory:
    interval = Interval(int(values.min()), int(values.max()))
    return Memory(name, signed(interval).bits, values.shape, _rows(values))


def _constant_state(codes: IntArray | None) -> dict[str, object]:
    if codes is None:
        return {"kind": "stream"}
    if (codes == codes[0]).all():
        return {"kind": "uniform", "value": int(codes[0])}
    return {"kind": "constant", "memory": _memory("codes", codes)}


def _resize(design: Schedule) -> dict[str, int]:
    """How beats of input PE sums become beats of hidden PE sums: narrowed to ``lanes``, then widened."""
    have, want = design.input_product.pe, design.hidden_product.pe
    lanes = int(np.gcd(have, want))
    return {
        "lanes": lanes,
        "narrow": int(lanes < have),
        "widen": int(lanes < want),
        "in_beats": design.input_product.folds,
        "out_beats": design.hidden_product.folds,
    }


def _parameters(items: Sequence[str], head: str) -> str:
    """A parameter list after ``head``, one parameter a line, aligned, where a single line would be too long."""
    line = f"{head}({', '.join(items)})"
    if len(line) <= 118:
        return line
    return f"{head}(" + (",\n" + " " * (len(head) + 1)).join(items) + ")"


def _call(certified: Certified) -> str:
    return f"hwgen::step_{certified.form.kind}<{camel(certified.step.name)}>"


def _code_type(certified: Certified) -> str:
    return ap_type(IntegerType.holding(certified.step.first, certified.step.last))


def _nested(steps: tuple[Certified, ...]) -> str:
    expression = "total"
    for certified in steps:
        expression = f"{_call(certified)}({expression}, unit)"
    return expression


def _step(certified: Certified) -> dict[str, object]:
    step, form = certified.step, certified.form
    phrase = _PHRASES[form.kind].format(shift=getattr(form, "shift", 0), count=step.thresholds.shape[1], size=step.size)
    shared = "one for all units" if step.channels == 1 else f"one for each of {step.channels} units"
    entry: dict[str, object] = {
        "struct": camel(step.name),
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
    }
    if isinstance(form, ShiftForm):
        entry |= {"total": ap_type(_shift_total(certified, form)), "offset": _constants("offset", form.offset)}
    elif isinstance(form, MultiplyForm):
        entry |= {
            "total": ap_type(_multiply_total(certified, form)),
            "multiplier": _constants("multiplier", form.multiplier),
            "offset": _constants("offset", form.offset),
        }
    elif isinstance(form, SearchForm):
        nodes = form.nodes()
        # A threshold that is never reached lies one above the domain: the comparison needs room for it.
        entry |= {
            "value": ap_type(signed(Interval(step.lo, step.hi + 1))),
            "levels": [_memory(f"level{level}", nodes[:, 1 << level : 2 << level]) for level in range(form.levels)],
            "count": form.thresholds.shape[1],
        }
    else:
        assert isinstance(form, TableForm)
        entry |= {"table": _memory("entries", form.table)}
    return entry


def _constants(name: str, values: IntArray) -> dict[str, object]:
    """One constant, or a memory with one entry per channel."""
    interval = Interval(int(values.min()), int(values.max()))
    kind = signed(interval)
    return {
        "name": name,
        "type": ap_type(kind),
        "value": f"{int(values[0])}{'LL' if kind.bits > 32 else ''}" if len(values) == 1 else None,
        "memory": None if len(values) == 1 else _memory(name, values),
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
