# SPDX-License-Identifier: Apache-2.0
"""What a user chose of memories and look-ahead, given to the parts of a design that it is about, and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hwgen import mapping
from hwgen.dataflow import BufferNode, CellNode, Dataflow, DenseNode, Design, MeetNode, Node
from hwgen.errors import ConfigError, listing, printable
from hwgen.mapping import Memory
from hwgen.rtl_timing import timeline
from hwgen.schedule import Options, Schedule, design_cell
from hwgen.storage import AUTO, STYLES, LookAhead, Memories, check_look_ahead, flat

# Memories that have no choice, and what they are instead: what reads them does so in the cycle of the address.
_READ_AT_ONCE = ("hidden_state", "outputs", "initial_states")


def run_ahead(design: Dataflow, look_ahead: LookAhead | None) -> Dataflow:
    """A network whose input products may be so many time steps ahead of their recurrences.

    Raises ConfigError for numbers that cannot be, and for names of nodes that are no recurrent layers.
    """
    if look_ahead is None:
        return design
    cells = [node.name for node in design.nodes if isinstance(node, CellNode)]
    asked = look_ahead if isinstance(look_ahead, Mapping) else dict.fromkeys(cells, look_ahead)
    unknown = [name for name in asked if name not in cells]
    if unknown:
        raise ConfigError(
            f"--look-ahead: no recurrent layer is called {listing(map(printable, unknown))}; there are {listing(cells)}"
        )
    if not asked:
        raise ConfigError(f"--look-ahead: must be a number, or one for some of {listing(cells)}")
    steps = {name: check_look_ahead(value, f" {name}") for name, value in asked.items()}
    nodes = tuple(
        replace(node, design=_chosen(node.design, replace(node.design.options, look_ahead=steps[node.name])))
        if isinstance(node, CellNode) and node.name in steps
        else node
        for node in design.nodes
    )
    return replace(design, nodes=nodes)


def _chosen(design: Schedule, options: Options) -> Schedule:
    """A recurrent layer with other options."""
    packed, directions = design.inputs[0].packed, design.directions
    of_both = packed, directions, design.stack
    return design_cell(design.network, design.cell, options, design.folding, design.module, *of_both)


def place(design: Design, memory: Memories | None) -> Design:
    """A design with memories of some styles; raises ConfigError for names that it does not have."""
    asked = flat(memory or {})
    if not asked:
        return design
    if isinstance(design, Schedule):
        known = list(memories(design))
    else:
        known = [name for node in design.nodes for name in _names(node)]
    _check_names(asked, known)
    asked = {name: style for name, style in sorted(asked.items()) if style != AUTO}
    if isinstance(design, Schedule):
        return _chosen(design, replace(design.options, memory=tuple(asked.items())))
    return replace(design, nodes=tuple(_placed(node, asked) for node in design.nodes))


def _placed(node: Node, asked: Mapping[str, str]) -> Node:
    parts = {name: name.partition(".") for name in asked}
    own = {inner: asked[name] for name, (owner, _, inner) in parts.items() if owner == node.name}
    if not own:
        return node
    styles = tuple(own.items())
    if isinstance(node, CellNode):
        return replace(node, design=_chosen(node.design, replace(node.design.options, memory=styles)))
    if isinstance(node, DenseNode):
        return replace(node, design=replace(node.design, memory=styles))
    assert isinstance(node, BufferNode | MeetNode), node
    return replace(node, style=own[""])


def _check_names(asked: Mapping[str, str], known: list[str]) -> None:
    for name in asked:
        if name in known:
            continue
        if name.rpartition(".")[2] in _READ_AT_ONCE:
            raise ConfigError(
                f"--memory {printable(name)}: is read in the cycle of its address, which block RAM is not: it has no "
                f"choice; those with a choice are {listing(known, 40)}"
            )
        raise ConfigError(f"--memory: no memory is called {printable(name)}; there are {listing(known, 40)}")


def memories(design: Schedule | Node) -> dict[str, tuple[Memory, str]]:
    """The memories of a part of a design that have a choice, by name, and their styles; a buffer's has no name."""
    if isinstance(design, CellNode):
        return memories(design.design)
    if isinstance(design, Schedule):
        return {name: (found, design.options.style(name)) for name, found in mapping.memories(timeline(design)).items()}
    if isinstance(design, DenseNode):
        dense = design.design
        if dense.product.graph is not None:
            return {}
        found = {"weights": dense.weight_memory, "bias": dense.bias_memory}
        return {name: (memory, dense.style(name)) for name, memory in found.items()}
    if isinstance(design, BufferNode):
        return {"": (mapping.buffer_memory(design.depth, design.outputs[0].bits, design.style), design.style)}
    if isinstance(design, MeetNode):
        sums = design.outputs[0]
        return {"": (mapping.meeting_memory(sums.bits, sums.beats, design.max_length, design.style), design.style)}
    return {}


def _names(node: Node) -> Iterator[str]:
    return (f"{node.name}.{name}".rstrip(".") for name in memories(node))


def check(design: Design) -> None:
    """Raise ConfigError, with the legal ones, for styles that memories of a design cannot have."""
    for part in (design,) if isinstance(design, Schedule) else design.nodes:
        prefix = "" if isinstance(part, Schedule) else f"{part.name}."
        for name, (memory, style) in memories(part).items():
            why = mapping.refusal(memory, style)
            if why is not None:
                legal = ", ".join(other for other in STYLES if mapping.refusal(memory, other) is None)
                where = f"{prefix}{name}".rstrip(".")
                raise ConfigError(f"--memory {where}={style}: this memory {why}; legal here: {legal}")


def possible(design: Schedule | Node) -> bool:
    """Whether all of its memories can have the styles that were chosen."""
    return all(mapping.refusal(memory, style) is None for memory, style in memories(design).values())


def asked(design: Design) -> dict[str, Any]:
    """What was chosen, as ``hwgen.schedule`` takes it again; nothing by default."""
    if isinstance(design, Schedule):
        return design.options.chosen
    memory: dict[str, str] = {}
    ahead: dict[str, int] = {}
    for node in design.nodes:
        if isinstance(node, CellNode) and node.design.options.look_ahead is not None:
            ahead[node.name] = node.design.options.look_ahead
        styles = memories(node).items()
        memory |= {f"{node.name}.{name}".rstrip("."): style for name, (_, style) in styles if style != AUTO}
    return ({"memory": memory} if memory else {}) | ({"look_ahead": ahead} if ahead else {})
