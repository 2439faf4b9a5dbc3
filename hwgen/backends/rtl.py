# SPDX-License-Identifier: Apache-2.0
"""SystemVerilog: a schedule to the texts of an RTL project.  Nothing is written here, and nothing is scheduled here."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from hwgen import mapping, resources
from hwgen.backends.naming import comment, top_name
from hwgen.backends.rtl_network import network_context
from hwgen.backends.rtl_unit import UnitBuilder
from hwgen.backends.sv import LINE, constant, hex_file, index_bits, literal
from hwgen.dataflow import CellNode, Design
from hwgen.mapping import code_bits, weight_bits
from hwgen.quantizer import IntArray
from hwgen.rtl_timing import Registers, Timeline, registers_for, timeline
from hwgen.schedule import Port, Schedule


def _wrapped_comment(text: str, indent: int = 0) -> str:
    prefix = " " * indent + "// "
    return textwrap.fill(text, LINE, initial_indent=prefix, subsequent_indent=prefix)


def generate(design: Design, origin: str, registers: Registers | None = None) -> dict[str, str]:
    """The files of the RTL project as {path: text}; ``origin`` says in each header what it was made from."""
    registers = registers or registers_for(design.options.clock_mhz)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.templates() / "rtl")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["comment"] = _wrapped_comment
    environment.filters["bits"] = math.prod
    environment.filters["bus"] = lambda factors: f"[{math.prod(factors) - 1}:0]"
    top = top_name(design)
    context = {
        "top": top,
        "origin": origin,
        "model": comment(design.network.name),
        "design": design,
        "ports": {port.name: port for port in (*design.inputs, *design.outputs)},
        "period_ns": f"{1000 / design.options.clock_mhz:.6g}",
    }
    files = {f"lib/{path.name}": path.read_text("utf-8") for path in sorted(library().glob("*.sv"))}
    if isinstance(design, Schedule):
        files |= _cell(design, timeline(design, registers), context, environment, "rom")
    else:
        whole = context | network_context(design)
        files[f"src/{top}.sv"] = environment.get_template("network.sv.jinja").render(whole)
        for node in design.nodes:
            folder = f"rom/{node.name}"
            if isinstance(node, CellNode):
                files |= _cell(node.design, timeline(node.design, registers), context, environment, folder)
    for template, path in (
        ("ports.hpp.jinja", "tb/ports.hpp"),
        ("Makefile.jinja", "Makefile"),
        ("vivado_ooc.tcl.jinja", "vivado_ooc.tcl"),
    ):
        files[path] = environment.get_template(template).render(context)
    files["tb/harness.cpp"] = (resources.sim() / "rtl" / "harness.cpp").read_text("utf-8")
    files["tb/vectors.hpp"] = (resources.sim() / "vectors.hpp").read_text("utf-8")
    names = [path for path in sorted(files) if path.endswith(".sv")]
    files["sources.f"] = "\n".join(names) + "\n"
    return files


def _cell(
    design: Schedule, times: Timeline, whole: dict[str, Any], environment: jinja2.Environment, folder: str
) -> dict[str, str]:
    """The modules of a recurrent layer, and its memories in a folder."""
    unit = UnitBuilder(design, times, folder)
    unit.build()
    context = whole | _context(design, times) | unit.context() | {"folder": folder}
    top = top_name(design)
    files = _memories(design, folder) | unit.files()
    for template, path in (("top.sv.jinja", f"src/{top}.sv"), ("unit.sv.jinja", f"src/{top}_unit.sv")):
        files[path] = environment.get_template(template).render(context)
    return files


def library() -> Path:
    """The static SystemVerilog units."""
    return resources.templates() / "rtl" / "lib"


def _context(design: Schedule, times: Timeline) -> dict[str, object]:
    cell, registers = design.cell, times.registers
    inputs, hidden = design.input_product, design.hidden_product
    ports = {port.name: port for port in (*design.inputs, *design.outputs)}
    places, chain = taps(times)
    return {
        "top": top_name(design),
        "layer": comment(design.cell.name),
        "design": design,
        "cell": cell,
        "times": times,
        "registers": registers,
        "inputs": inputs,
        "hidden": hidden,
        "ports": ports,
        "lanes": {name: _lane(port) for name, port in ports.items()},
        "sum_bits": mapping.sum_bits(design),
        "total_bits": mapping.total_bits(design),
        "input_bits": code_bits(cell.input),
        "hidden_bits": code_bits(cell.hidden),
        "cell_bits": code_bits(cell.cell),
        "input_weight_bits": weight_bits(inputs),
        "hidden_weight_bits": weight_bits(hidden),
        "input_dsp": int(mapping.product_in_dsp(inputs, code_bits(cell.input), mapping.sum_bits(design))),
        "hidden_dsp": int(mapping.product_in_dsp(hidden, code_bits(cell.hidden), mapping.total_bits(design))),
        "block_ram": {name: int(memory.block) for name, memory in mapping.memories(times).items()},
        "column_bits": index_bits(times.column_tiles),
        "part_bits": index_bits(times.parts),
        "group_bits": index_bits(times.groups),
        "tile_bits": index_bits(times.tiles),
        # What travels beside a tile: its group or column, and flags.
        "place_bits": index_bits(times.groups) + 3,
        "read_bits": index_bits(times.column_tiles) + 2,
        "last": {"tile": times.tiles - 1, "group": times.groups - 1, "part": times.parts - 1},
        "initial": [
            _initial(name, codes, code_bits(kind))
            for name, codes, kind in (
                ("h0", cell.initial_hidden, cell.hidden),
                ("c0", cell.initial_cell, cell.cell),
            )
        ],
        "time_text": (
            f"A time step takes {times.period} cycles: {times.tiles} tiles and a depth of {times.depth} ("
            + ", ".join(f"{name} {cycles}" for name, cycles in times.breakdown.items() if cycles)
            + ")."
        ),
        "unit_text": (
            "One hidden unit of those that work side by side: from the totals of its gates to its new cell and hidden "
            "state.  Every value has a fixed cycle, counted from the totals of the last gates: the old cell state is "
            f"taken at {times.kept}, the new one is there at {times.cell}, the hidden state at {times.hidden}.  "
            "certificate.json says what was checked about each step function."
        ),
        "taps": places,
        "chain": chain,
    }


def _lane(port: Port) -> dict[str, int]:
    return {"code": port.codes.storage.bits, "signed": int(port.codes.storage.signed), "value": code_bits(port.codes)}


def _initial(name: str, codes: IntArray | None, bits: int) -> dict[str, object]:
    if codes is None:
        return {"port": name, "kind": "stream"}
    if (codes == codes[0]).all():
        return {"port": name, "kind": "uniform", "value": literal(int(codes[0]), bits)}
    return {"port": name, "kind": "constant", "constant": constant(f"Initial{name[0].upper()}", codes, bits)}


def taps(times: Timeline) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Where the group and step of a tile are needed behind its issue, and the delays from one place to the next."""
    needed = {
        "constants": times.total - 1,
        "totals": times.total,
        "cell_read": times.total + times.kept - 1,
        "cell_use": times.total + times.kept,
        "cell": times.total + times.cell,
        "hidden": times.total + times.hidden,
    }
    names: dict[int, str] = {}
    chain: list[dict[str, Any]] = []
    before, previous = 0, "issue"
    for what, time in sorted(needed.items(), key=lambda item: item[1]):
        if time not in names:
            names[time] = what
            chain.append({"name": what, "from": previous, "stages": time - before})
            before, previous = time, what
    return {what: names[time] for what, time in needed.items()}, chain


def _pack(lanes: IntArray, bits: int) -> int:
    """Lanes of two's complement numbers side by side, lane 0 in the low bits."""
    mask, word = (1 << bits) - 1, 0
    for lane in lanes[::-1]:
        word = word << bits | (int(lane) & mask)
    return word


def _memories(design: Schedule, folder: str) -> dict[str, str]:
    """Weights and biases: a word for each tile, or for each group of PE rows."""
    files = {}
    for product in (design.input_product, design.hidden_product):
        bits = weight_bits(product)
        stored = (product.weights > 0).astype(np.int64) if product.weight.bipolar else product.weights
        # [pe, tile, lane] to one word a tile, SIMD lanes of a row side by side, rows above each other.
        tiles = stored.transpose(1, 0, 2).reshape(product.cycles, -1)
        what = f"{product.name} weights: {product.cycles} tiles of {product.pe} PE x {product.simd} SIMD x {bits} bits"
        words = (_pack(tile, bits) for tile in tiles)
        files[f"{folder}/{product.name}_weights.hex"] = hex_file(what, words, tiles.shape[1] * bits)
    inputs, bits = design.input_product, mapping.sum_bits(design)
    folds = design.bias.reshape(inputs.folds, inputs.pe)
    what = f"bias: {inputs.folds} groups of {inputs.pe} rows x {bits} bits"
    files[f"{folder}/bias.hex"] = hex_file(what, (_pack(fold, bits) for fold in folds), inputs.pe * bits)
    return files
