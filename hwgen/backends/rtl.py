# SPDX-License-Identifier: Apache-2.0
"""SystemVerilog: a schedule to the texts of an RTL project.  Nothing is written here, and nothing is scheduled here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwgen import mapping, resources
from hwgen.backends.naming import comment, top_name
from hwgen.backends.rtl_head import dense_files, map_files
from hwgen.backends.rtl_network import network_context
from hwgen.backends.rtl_template import bias_file, environment, weight_file
from hwgen.backends.rtl_unit import unit_builder
from hwgen.backends.sv import constant, index_bits, literal
from hwgen.dataflow import CellNode, DenseNode, Design, MapNode
from hwgen.integer import IntegerCell
from hwgen.mapping import code_bits, weight_bits
from hwgen.quantizer import IntArray, IntegerType
from hwgen.rtl_timing import LstmTimeline, Registers, Timeline, registers_for, timeline
from hwgen.schedule import Port, Schedule


def generate(design: Design, origin: str, registers: Registers | None = None) -> dict[str, str]:
    """The files of the RTL project as {path: text}; ``origin`` says in each header what it was made from."""
    registers = registers or registers_for(design.options.clock_mhz)
    top, templates = top_name(design), environment()
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
        files |= _cell(design, timeline(design, registers), context, "rom")
    else:
        files[f"src/{top}.sv"] = templates.get_template("network.sv.jinja").render(context | network_context(design))
        for node in design.nodes:
            if isinstance(node, CellNode):
                folder = f"rom/{node.design.module}"
                files |= _cell(node.design, timeline(node.design, registers), context, folder)
            elif isinstance(node, DenseNode):
                files |= dense_files(node.design, origin)
            elif isinstance(node, MapNode):
                files |= map_files(node.design, origin)
    for template, path in (
        ("ports.hpp.jinja", "tb/ports.hpp"),
        ("Makefile.jinja", "Makefile"),
        ("vivado_ooc.tcl.jinja", "vivado_ooc.tcl"),
    ):
        files[path] = templates.get_template(template).render(context)
    files["tb/harness.cpp"] = (resources.sim() / "rtl" / "harness.cpp").read_text("utf-8")
    files["tb/vectors.hpp"] = (resources.sim() / "vectors.hpp").read_text("utf-8")
    names = [path for path in sorted(files) if path.endswith(".sv")]
    files["sources.f"] = "\n".join(names) + "\n"
    return files


def _cell(design: Schedule, times: Timeline, whole: dict[str, Any], folder: str) -> dict[str, str]:
    """The modules of a recurrent layer, and its memories in a folder."""
    unit = unit_builder(times, folder)
    unit.build()
    context, templates = whole | _context(design, times) | unit.context() | {"folder": folder}, environment()
    files = _memories(design, folder) | unit.files()
    for template, path in (("top.sv.jinja", ""), ("unit.sv.jinja", "_unit")):
        files[f"src/{top_name(design)}{path}.sv"] = templates.get_template(template).render(context)
    return files


def library() -> Path:
    """The static SystemVerilog units."""
    return resources.templates() / "rtl" / "lib"


def _context(design: Schedule, times: Timeline) -> dict[str, object]:
    cell, registers = design.cell, times.registers
    inputs, hidden = design.input_product, design.hidden_product
    ports = {port.name: port for port in (*design.inputs, *design.outputs)}
    places, chain = taps(times)
    initial: list[tuple[str, IntArray | None, IntegerType]] = [("h0", cell.initial_hidden, cell.hidden)]
    parts: dict[str, object] = {}
    if isinstance(cell, IntegerCell):
        initial.append(("c0", cell.initial_cell, cell.cell))
        parts["cell_bits"] = code_bits(cell.cell)
    given = [f"{name}_available" for name, codes, _ in initial if codes is None]
    return parts | {
        "top": top_name(design),
        "layer": comment(cell.name),
        "lstm": isinstance(cell, IntegerCell),
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
        "initial": [_initial(name, codes, code_bits(kind)) for name, codes, kind in initial],
        # What the first step of a sequence waits for.
        "loaded": given if cell.initial_hidden is None else ["1'b1", *given],
        "time_text": (
            f"A time step takes {times.period} cycles: {times.tiles} tiles and a depth of {times.depth} ("
            + ", ".join(f"{name} {cycles}" for name, cycles in times.breakdown.items() if cycles)
            + ")."
        ),
        "unit_text": _unit_text(times),
        "taps": places,
        "chain": chain,
    }


def _unit_text(times: Timeline) -> str:
    if isinstance(times, LstmTimeline):
        what = (
            "One hidden unit of those that work side by side: from the totals of its gates to its new cell and hidden "
            "state.  Every value has a fixed cycle, counted from the totals of the last gates: the old cell state is "
            f"taken at {times.kept}, the new one is there at {times.cell}, the hidden state at {times.hidden}.  "
        )
    else:
        what = (
            "One hidden unit of those that work side by side: from the total of its gate to its new hidden state, "
            f"which is there {times.hidden} cycles after the total.  "
        )
    return what + "certificate.json says what was checked about each step function."


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
        **{name: times.total + time for name, time in times.places.items()},
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


def _memories(design: Schedule, folder: str) -> dict[str, str]:
    """Weights and biases: a word for each tile, or for each group of PE rows."""
    files = {f"{folder}/{product.name}_weights.hex": weight_file(product) for product in design.products}
    files[f"{folder}/bias.hex"] = bias_file(design.bias, design.input_product, mapping.sum_bits(design))
    return files
