# SPDX-License-Identifier: Apache-2.0
"""Memory styles in HLS C++: what the pragmas of a project say of the memories that its own files declare."""

from __future__ import annotations

from collections.abc import Callable

from hwgen.dataflow import CellNode, Dataflow, Design, MeetNode
from hwgen.errors import ConfigError
from hwgen.schedule import Schedule
from hwgen.storage import AUTO, BLOCK, CONSTANT, DISTRIBUTED

# What BIND_STORAGE calls a style; constants are arrays in as many parts as they have elements.
_NAMES = {AUTO: "", BLOCK: "bram", DISTRIBUTED: "lutram", CONSTANT: "constant"}
# Memories of a recurrent layer that generated files declare; those of the library have no pragma that could differ.
_DECLARED = ("input_weights", "hidden_weights", "bias", "sums")


def storage(style: Callable[[str], str], *names: str) -> dict[str, str]:
    """What templates print of memories: the implementation that BIND_STORAGE names, or nothing."""
    return {name: _NAMES[style(name)] for name in names or _DECLARED}


def fifo(style: str, large: bool) -> str:
    """The same of a stream; one that is ``large`` is some memory, where nothing else was asked for."""
    return _NAMES[style] or ("memory" if large else "")


def check_storage(design: Design) -> None:
    """Raise ConfigError for styles that only the RTL has."""
    nodes = design.nodes if isinstance(design, Dataflow) else ()
    for node in nodes:
        if isinstance(node, MeetNode) and node.style != AUTO:
            raise ConfigError(
                f"--memory {node.name}={node.style} is built by --backend rtl only; of HLS C++ the vendor's tool "
                "places this memory"
            )
    cells = {f"{node.name}.": node.design for node in nodes if isinstance(node, CellNode)}
    for prefix, cell in cells.items() if not isinstance(design, Schedule) else [("", design)]:
        for name, style in cell.options.memory:
            if name not in _DECLARED and style != AUTO:
                raise ConfigError(
                    f"--memory {prefix}{name}={style} is built by --backend rtl only; of HLS C++ the vendor's tool "
                    f"places this memory, and those with a choice are {', '.join(prefix + one for one in _DECLARED)}"
                )
