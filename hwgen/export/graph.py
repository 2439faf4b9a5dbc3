# SPDX-License-Identifier: Apache-2.0
"""Repairs of a graph that torch has just written: names for people, no constant outputs, shapes that are free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from hwgen.errors import ConfigError, listing, printable
from hwgen.network import BATCH, TIME, Network

# Attribute in which a cell's node brings the name of its layer along.
CALL = "hwgen_call"
_FREE = {TIME: "time", BATCH: "batch"}


def input_mark(place: int) -> str:
    """What an input is called until it gets its name: torch leaves out those that are not used."""
    return f"hwgen.input.{place}"


def name_cells(model: onnx.ModelProto) -> list[str]:
    """Name the node of each recurrent layer after the layer; returns these names."""
    names = []
    for node in model.graph.node:
        for attribute in [attribute for attribute in node.attribute if attribute.name == CALL]:
            node.name = attribute.s.decode()
            node.attribute.remove(attribute)
            names.append(node.name)
    return names


def checked_names(given: Sequence[str], wanted: int, option: str) -> list[str]:
    """Names for ``wanted`` tensors; raises ConfigError if they are not as many different ones."""
    names = list(given)
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{option}: must be a list of names, not {given!r}")
    if len(names) != wanted:
        raise ConfigError(f"{option}: {wanted} needed, given {len(names)} ({listing(map(printable, names))})")
    if len(set(names)) != len(names):
        raise ConfigError(f"{option}: must differ from each other, not be {listing(map(printable, names))}")
    return names


def name_ports(model: onnx.ModelProto, inputs: Sequence[str], kept: Sequence[int], outputs: Sequence[str]) -> None:
    """Call the graph's inputs ``inputs``, and its outputs number ``kept`` ``outputs``; drop the other outputs."""
    graph = model.graph
    ports = [graph.output[place] for place in kept]
    shown = [port.name for port in ports]
    for place, name in enumerate(shown):
        if name in shown[:place]:
            # One tensor twice: the second needs a name of its own.
            ports[place] = onnx.ValueInfoProto()
            ports[place].CopyFrom(graph.output[kept[place]])
            ports[place].name = f"{name}.{place}"
            graph.node.append(onnx.helper.make_node("Identity", [name], [ports[place].name]))
    copies = [onnx.ValueInfoProto.FromString(port.SerializeToString()) for port in ports]
    del graph.output[:]
    graph.output.extend(copies)
    named = dict(zip([port.name for port in (*graph.input, *graph.output)], (*inputs, *outputs), strict=True))
    everything = set(_tensors(graph))
    for name in set(named.values()) & everything - set(named):
        fresh = next(
            f"{name}.{number}" for number in range(len(everything) + 1) if f"{name}.{number}" not in everything
        )
        named[name] = fresh
    _rename(graph, named)


def _tensors(graph: onnx.GraphProto) -> Iterable[str]:
    for node in graph.node:
        yield from (*node.input, *node.output)
    for entry in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield entry.name


def _rename(graph: onnx.GraphProto, named: dict[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [named.get(name, name) for name in names]
    for entry in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        entry.name = named.get(entry.name, entry.name)


def free_shapes(model: onnx.ModelProto, network: Network) -> None:
    """Declare time and batch as free axes, which tracing has fixed to the example's."""
    axes = {port.name: port.axes for port in network.inputs} | {port.name: port.axes for port in network.outputs}
    del model.graph.value_info[:]
    for port in (*model.graph.input, *model.graph.output):
        kind = port.type.tensor_type
        if len(kind.shape.dim) != len(axes[port.name]):
            kind.ClearField("shape")
        for dim, axis in zip(kind.shape.dim, axes[port.name], strict=False):
            if axis in _FREE:
                dim.dim_param = _FREE[axis]
