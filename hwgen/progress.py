# SPDX-License-Identifier: Apache-2.0
"""Whether all beats of a network come through its hardware: nothing is generated of what would wait for ever.

Every unit does the same whatever the cycles in which its beats come, so what waits for ever does so under any stalls.
A design whose beats have all left is as it was at first, so one run of a long sequence and of a short one tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from hwgen.dataflow import BufferNode, CellNode, Dataflow, DenseNode, MapNode, Node
from hwgen.errors import UnsupportedError, printable
from hwgen.rtl_cycles import Simulation, beats_of, simulate
from hwgen.rtl_timing import timeline


def check_progress(design: Dataflow) -> None:
    """Raise UnsupportedError, with the units that wait for each other, unless all beats leave a design."""
    # Where no paths meet nothing waits for two things.
    if all(len(node.inputs) == 1 for node in design.nodes):
        return
    short = _shortened(design)
    length = short.options.max_length
    lengths = (length, design.least_length)
    simulation = simulate(short, lengths)
    if all(len(simulation.ports[port.name].moved.cycles) == beats_of(port, lengths) for port in design.outputs):
        return
    first, *others = waiting_circle(design, simulation)
    raise UnsupportedError(
        f"{printable(design.network.name)}: its hardware would wait for ever: {first} waits for "
        f"{', which waits for '.join([*others, first])}; hwgen run computes it; for hardware, leave out the output "
        "that needs this (--outputs), or feed one of these units from a graph input of its own"
    )


def _shortened(design: Dataflow) -> Dataflow:
    """The same with buffers of shorter sequences, which no path without such buffers can hold."""
    held = sum(_vectors(node, design.options.max_length) for node in design.nodes)
    length = max(min(design.options.max_length, held + 2), design.least_length)
    less = design.options.max_length - length
    nodes = tuple(
        replace(node, depth=node.depth - node.sequences * less * node.inputs[0].beats)
        if isinstance(node, BufferNode)
        else node
        for node in design.nodes
    )
    return replace(design, nodes=nodes, options=replace(design.options, max_length=length))


def _vectors(node: Node, max_length: int) -> int:
    """At least the vectors that are in a node at once, without whole sequences."""
    if isinstance(node, CellNode):
        times = timeline(node.design)
        return 1 + times.sums_steps + times.output_vectors
    if isinstance(node, BufferNode):
        return node.depth // node.inputs[0].beats - node.sequences * max_length
    if isinstance(node, DenseNode):
        return node.design.vectors
    return node.design.depth if isinstance(node, MapNode) else 1


def waiting_circle(design: Dataflow, simulation: Simulation) -> Sequence[str]:
    """Names of units of which each waits for the next, and the last for the first, where a simulation came to rest."""
    gives = {stream.name: node.name for node in design.nodes for stream in node.outputs}
    gives |= {edge.stream.name: edge.port.name for edge in design.input_edges}
    takes = {stream.name: node.name for node in design.nodes for stream in node.inputs}
    takes |= {edge.stream.name: edge.port.name for edge in design.output_edges}
    waits: dict[str, list[str]] = {}
    for name, channel in simulation.streams.items():
        for process in channel.offered.waiting:
            waits.setdefault(simulation.owners[process], []).append(gives[name])
        for process in channel.moved.waiting:
            owner = simulation.owners[process]
            waits.setdefault(owner, []).append(takes[name] if owner == gives[name] else gives[name])
    circles = (found for start in waits if (found := _way(waits, start)))
    return min(circles, key=len)


def _way(waits: dict[str, list[str]], start: str) -> list[str]:
    """The shortest way from a unit back to itself; empty if there is none."""
    ways = deque([[start]])
    seen: set[str] = set()
    while ways:
        way = ways.popleft()
        for unit in waits.get(way[-1], []):
            if unit == start:
                return way
            if unit not in seen:
                seen.add(unit)
                ways.append([*way, unit])
    return []
