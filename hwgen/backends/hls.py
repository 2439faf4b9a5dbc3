# SPDX-License-Identifier: Apache-2.0
"""HLS C++: a design to the texts of a Vitis HLS project.  Nothing is written here, and nothing is scheduled here."""

from __future__ import annotations

import jinja2

from hwgen import resources
from hwgen.backends.cpp import ap_type, parameters
from hwgen.backends.hls_cell import cell_context
from hwgen.backends.hls_network import network_context, node_files
from hwgen.backends.naming import comment, top_name
from hwgen.dataflow import Dataflow, Design


def generate(design: Design, origin: str) -> dict[str, str]:
    """The files of the HLS project as {path: text}; ``origin`` says in each header what it was made from."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.templates() / "hls")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["parameters"] = parameters
    context = _context(design, origin)
    top = context["top"]
    files = {f"lib/{path.name}": path.read_text("utf-8") for path in sorted(resources.hls_library().glob("*.hpp"))}
    sources = [("top.hpp.jinja", f"src/{top}.hpp")]
    if isinstance(design, Dataflow):
        context |= network_context(design, environment)
        sources.append(("network.cpp.jinja", f"src/{top}.cpp"))
        files |= {f"src/{name}": text for name, text in node_files(design, origin, environment).items()}
    else:
        context |= cell_context(design)
        sources += [
            ("top.cpp.jinja", f"src/{top}.cpp"),
            ("parameters.hpp.jinja", "src/parameters.hpp"),
            ("weights.hpp.jinja", "src/weights.hpp"),
        ]
    for template, path in (
        *sources,
        ("testbench.cpp.jinja", "tb/testbench.cpp"),
        ("run_hls.tcl.jinja", "run_hls.tcl"),
        ("hls_config.cfg.jinja", "hls_config.cfg"),
        ("Makefile.jinja", "Makefile"),
    ):
        files[path] = environment.get_template(template).render(context)
    files["tb/bench.hpp"] = (resources.sim() / "csim" / "bench.hpp").read_text("utf-8")
    files["tb/vectors.hpp"] = (resources.sim() / "vectors.hpp").read_text("utf-8")
    return files


def _context(design: Design, origin: str) -> dict[str, object]:
    """What belongs to the project as a whole: its ports, names and options."""
    ports = (*design.inputs, *design.outputs)
    top = top_name(design)
    return {
        "top": top,
        # In front of the names of headers; those of several nodes are told apart by it.
        "prefix": "",
        "signature": parameters([f"hls::stream<{p.name}_word>& {p.name}" for p in ports], f"void {top}"),
        "origin": origin,
        "model": comment(design.network.name),
        "summary": _summary(design),
        "design": design,
        "options": design.options,
        "axis": {port.name: f"ap_axiu<{port.bits}, 0, {port.id_bits}, 0>" for port in ports},
        "code_types": {port.name: ap_type(port.codes.storage) for port in ports},
        "ports": {port.name: port for port in ports},
        # What the test bench calls the streams of the ports: names from a model keep clear of its own.
        "locals": {port.name: f"{port.name}_port" if isinstance(design, Dataflow) else port.name for port in ports},
        "period_ns": f"{1000 / design.options.clock_mhz:.3f}",
    }


def _summary(design: Design) -> str:
    if isinstance(design, Dataflow):
        return f"{len(design.nodes)} nodes, {len(design.cells)} of them recurrent"
    return f"LSTM of {design.cell.hidden_size} units on {design.cell.input_size} inputs"
