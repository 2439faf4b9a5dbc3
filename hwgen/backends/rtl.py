# SPDX-License-Identifier: Apache-2.0
"""SystemVerilog: a schedule to the texts of an RTL project.  Nothing is written here, and nothing is scheduled here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwgen import mapping, resources
from hwgen.adders import Pipeline
from hwgen.backends.naming import comment, top_name
from hwgen.backends.rtl_adders import adder_module
from hwgen.backends.rtl_head import dense_files, map_files
from hwgen.backends.rtl_network import network_context, shared_ports
from hwgen.backends.rtl_template import bias_file, environment, weight_file
from hwgen.backends.rtl_unit import unit_builder
from hwgen.backends.sv import constant, index_bits, literal
from hwgen.dataflow import CellNode, DenseNode, Design, MapNode
from hwgen.integer import IntegerCell
from hwgen.integer_cells import IntegerGru, IntegerRnn
from hwgen.mapping import code_bits, weight_bits
from hwgen.quantizer import IntArray
from hwgen.registers import Registers, registers_for
from hwgen.rtl_timing import GruTimeline, LstmTimeline, Timeline, timeline
from hwgen.schedule import Port, Schedule
from hwgen.sharing import shared_weights

# Places where the group of a direction's own constants is needed.
_OWN = ("constants", "cell_read", "starts")


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
        network = network_context(design, registers)
        files[f"src/{top}.sv"] = templates.get_template("network.sv.jinja").render(context | network)
        shared = {node.name: pair for pair in shared_weights(design) for node in (pair.first, pair.second)}
        for node in design.nodes:
            if isinstance(node, CellNode):
                folder = f"rom/{node.design.module}"
                times, pair = timeline(node.design, registers), shared.get(node.name)
                files |= _cell(node.design, times, context, folder, None if pair is None else shared_ports(pair, node))
                if pair is not None and node is pair.second:
                    # The first one has them.
                    del files[f"{folder}/input_weights.hex"]
            elif isinstance(node, DenseNode):
                files |= dense_files(node.design, origin)
            elif isinstance(node, MapNode):
                files |= map_files(node.design, origin)
    for template, path in (
        ("ports.hpp.jinja", "tb/ports.hpp"),
        ("Makefile.jinja", "Makefile"),
        *([("vivado_ooc.tcl.jinja", "vivado_ooc.tcl")] if design.options.target.is_amd else []),
    ):
        files[path] = templates.get_template(template).render(context)
    files["tb/harness.cpp"] = (resources.sim() / "rtl" / "harness.cpp").read_text("utf-8")
    files["tb/vectors.hpp"] = (resources.sim() / "vectors.hpp").read_text("utf-8")
    names = [path for path in sorted(files) if path.endswith(".sv")]
    files["sources.f"] = "\n".join(names) + "\n"
    return files


def _cell(
    design: Schedule, times: Timeline, whole: dict[str, Any], folder: str, shared: dict[str, object] | None = None
) -> dict[str, str]:
    """The modules of a recurrent layer, and its memories in a folder; ``shared`` are ports of weights from outside."""
    unit = unit_builder(times, folder)
    unit.build()
    places = {"folder": folder, "shared": shared}
    context, templates = whole | _context(design, times) | unit.context() | places, environment()
    files = _memories(design, folder) | unit.files() | _adders(design, times, str(whole["origin"]))
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
    initial = _initial_states(design)
    given = [f"{state['name']}_available" for state in initial if state["kind"] == "stream"]
    return {
        "top": top_name(design),
        "layer": comment(cell.name),
        "kind": {IntegerCell: "LSTM", IntegerRnn: "RNN", IntegerGru: "GRU"}[type(cell)],
        "carried": _carried(design),
        "contexts": design.contexts,
        "context_bits": design.context_bits,
        "directions": design.turns,
        "stacked": design.stack is not None,
        "own_rows": sorted({places[what] for what in _OWN if design.directions and what in places}),
        "weight_tile_bits": index_bits(hidden.tiles),
        "read_row_bits": index_bits(design.turns * times.column_tiles),
        "state_memory": _state_memory(design),
        "new_rows": _new_rows(times),
        "input_adders": inputs.graph and constant("InputStarts", design.bias, mapping.sum_bits(design)),
        "hidden_adders": hidden.graph and {"latency": times.hidden_tree + 1},
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
        "place_bits": index_bits(times.groups) + 3 + design.context_bits,
        "read_bits": index_bits(times.column_tiles) + 2 + design.context_bits,
        "last": {"tile": times.tiles - 1, "group": times.groups - 1, "part": times.parts - 1},
        "initial": initial,
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
    elif isinstance(times, GruTimeline):
        what = (
            "One hidden unit of those that work side by side: from the totals of its gates, and the input sum of the "
            "candidate, to its new hidden state.  Every value has a fixed cycle, counted from the totals of the last "
            f"rows: the old hidden state is taken at {times.kept}, the new one is there at {times.hidden}.  "
        )
    else:
        what = (
            "One hidden unit of those that work side by side: from the total of its gate to its new hidden state, "
            f"which is there {times.hidden} cycles after the total.  "
        )
    return what + "certificate.json says what was checked about each step function."


def _lane(port: Port) -> dict[str, int]:
    return {"code": port.codes.storage.bits, "signed": int(port.codes.storage.signed), "value": code_bits(port.codes)}


def _initial_states(design: Schedule) -> list[dict[str, object]]:
    """The initial states by what reads them: h by column for the product, and a state by group for the units."""
    cell = design.cell
    by_column = {"target": "initial_codes", "count": design.hidden_product.simd, "column": True}
    by_group = {"count": design.units, "column": False}
    codes, bits = cell.initial_hidden, code_bits(cell.hidden)
    if isinstance(cell, IntegerCell):
        state = _initial("c0", "c0", cell.initial_cell, code_bits(cell.cell), cell.hidden_size)
        return [
            by_column | _initial("h0", "h0", codes, bits, cell.hidden_size),
            by_group | {"target": "initial_cell"} | state,
        ]
    if isinstance(cell, IntegerRnn):
        return [by_column | _initial("h0", "h0", codes, bits, cell.hidden_size)]
    # Both readers have a memory of their own, which take a beat together.
    first, second = (
        _initial("h0", name, codes, bits, cell.hidden_size)
        | {"valid": f"s_axis_h0_tvalid & {other}_ready", "ready": f"{name}_ready"}
        for name, other in (("h0", "h0_old"), ("h0_old", "h0"))
    )
    again: dict[str, object] = {"target": "initial_hidden", "first": False}
    return [by_column | first | {"shared": True}, by_group | second | again]


def _initial(port: str, name: str, codes: IntArray | None, bits: int, units: int) -> dict[str, object]:
    state: dict[str, object] = {"port": port, "name": name, "bits": bits, "first": True, "shared": False}
    if codes is None:
        return state | {"kind": "stream", "valid": f"s_axis_{port}_tvalid", "ready": f"s_axis_{port}_tready"}
    if (codes == codes[0]).all():
        return state | {"kind": "uniform", "value": literal(int(codes[0]), bits)}
    values = constant(f"Initial{port[0].upper()}", codes, bits)
    # Of each direction its own.
    return state | {"kind": "constant", "constant": values, "sets": len(codes) // units}


def _carried(design: Schedule) -> dict[str, object] | None:
    """The state that the units read, if they read one: that of the cell, or of a GRU the old hidden state."""
    cell = design.cell
    if isinstance(cell, IntegerCell):
        return {"name": "cell", "bits": code_bits(cell.cell)}
    return None if isinstance(cell, IntegerRnn) else {"name": "hidden", "bits": code_bits(cell.hidden)}


def _state_memory(design: Schedule) -> str:
    if design.contexts > 1:
        return "hwgen_context_hidden" if isinstance(design.cell, IntegerRnn) else "hwgen_context_memory"
    return "hwgen_hidden_memory" if isinstance(design.cell, IntegerRnn) else "hwgen_state_memory"


def _new_rows(times: Timeline) -> dict[str, object] | None:
    """The rows of the candidate of a GRU, whose two sums are not added up: they start from the bias of the second."""
    if not isinstance(times, GruTimeline):
        return None
    time, bits = times.gates["new"], mapping.total_bits(times.design)
    bias = constant("NewBias", times.cell.new_hidden.bias, bits)
    return {"lane": time.lane, "part": time.part, "bias": bias, "delay": times.total - 1}


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
    stored = [product for product in design.products if product.graph is None]
    files = {f"{folder}/{product.name}_weights.hex": weight_file(product) for product in stored}
    if design.input_product.graph is None:
        files[f"{folder}/bias.hex"] = bias_file(design.bias, design.input_product, mapping.sum_bits(design))
    return files


def _adders(design: Schedule, times: Timeline, origin: str) -> dict[str, str]:
    """The modules of products that are graphs of adders."""
    cell, files = design.cell, dict[str, str]()
    for product, codes, bits, stages in (
        (design.input_product, cell.input, mapping.sum_bits(design), times.input_tree),
        (design.hidden_product, cell.hidden, mapping.total_bits(design), times.hidden_tree),
    ):
        if product.graph is not None:
            name = f"{top_name(design)}_{product.name}_adders"
            what = f"The {product.name} product of {comment(cell.name)}"
            pipeline = Pipeline(product.graph, bits, stages)
            files[f"src/{name}.sv"] = adder_module(name, what, pipeline, code_bits(codes), origin)
    return files
