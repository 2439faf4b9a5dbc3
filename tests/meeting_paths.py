# SPDX-License-Identifier: Apache-2.0
"""Networks by hand in which paths from one source meet again; no layer of them could be left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from recurrent_networks import HIDDEN, INPUTS, X, dense, network, rnn

from hwgen.dataflow import BufferNode, Dataflow
from hwgen.gates import InitialState
from hwgen.layers import ConcatLayer, RnnLayer, SelectLayer, Wire
from hwgen.network import Network, NetworkInput

INPUT = Wire("x", INPUTS, True, X)


def beside(*wires: Wire) -> ConcatLayer:
    """Features of all wires."""
    return ConcatLayer("both", wires)


def second(source: RnnLayer | None = None, initial: Wire | None = None, reverse: bool = False) -> RnnLayer:
    """A layer on the input, or on another layer, that begins with zero or with a state from another layer."""
    read, width = ("x", INPUTS) if source is None else (source.wires[0].name, HIDDEN)
    zero = InitialState(X, np.zeros(HIDDEN, np.int64))
    state = zero if initial is None else InitialState(X, source=initial.name)
    return rnn("second", read, width, seed=2, reverse=reverse, initial=state)


def skip(first: bool) -> Network:
    """The input beside what a layer makes of it, in front of that or behind."""
    layer = rnn("first")
    both = beside(INPUT, layer.wires[0]) if first else beside(layer.wires[0], INPUT)
    return network([layer, both], [both.wires[0]])


def stack() -> Network:
    """All that a stack has between its layers."""
    first, middle = rnn("first"), second(rnn("first"))
    last = rnn("last", middle.wires[0].name, HIDDEN, seed=3)
    both = beside(last.wires[0], middle.wires[0], first.wires[0], INPUT)
    head = dense("head", both.wires[0], 5, seed=4)
    return network([first, middle, last, both, head], [head.wire])


def reversed_stack() -> Network:
    """The input waits for a reversed layer with one behind it."""
    first = rnn("first", reverse=True)
    behind = second(first)
    both = beside(behind.wires[0], INPUT, first.wires[0])
    return network([first, behind, both], [both.wires[0]])


def states(reverse: bool = False, second_reverse: bool = False, stacked: bool = False) -> Network:
    """A layer begins with the state in which another one on the same input, or the one in front of it, ends."""
    first = rnn("first", reverse=reverse)
    other = second(first if stacked else None, first.wires[1], second_reverse)
    return network([first, other], [other.wires[0]])


def states_beside() -> Network:
    """A state goes to a layer and stands beside the one that this ends with."""
    first = rnn("first")
    other = second(first, first.wires[1])
    both = beside(other.wires[1], first.wires[1])
    return network([first, other, both], [both.wires[0]])


def everything() -> Network:
    """What begins with a state beside the layer that the state comes from, and beside the input of both."""
    first = rnn("first")
    other = second(None, first.wires[1])
    both = beside(other.wires[0], INPUT, first.wires[0])
    return network([first, other, both], [both.wires[0]])


def picked() -> Network:
    """A layer begins with a state from the midst of another one."""
    first = rnn("first")
    chosen = SelectLayer("chosen", first.wires[0], 12)
    other = second(None, chosen.wires[0])
    return network([first, chosen, other], [other.wires[0]])


def crossed() -> Network:
    """Two inputs, each of which stands beside what a layer makes of the other."""
    first, given = rnn("first"), Wire("u", INPUTS, True, X)
    other = rnn("second", "u", seed=2)
    one = ConcatLayer("one", (other.wires[0], INPUT))
    two = ConcatLayer("two", (first.wires[0], given))
    made = network([first, other, one, two], [one.wires[0], two.wires[0]])
    return replace(made, inputs=(*made.inputs, NetworkInput("u", ("T", "N", "F"), (given,))))


# Each with whether it would wait for ever without its buffers, or only be slower.
NETWORKS: dict[str, tuple[Callable[[], Network], bool]] = {
    "a skip behind": (lambda: skip(first=False), True),
    "a skip in front": (lambda: skip(first=True), False),
    "a stack": (stack, True),
    "a reversed stack": (reversed_stack, True),
    "states": (states, True),
    "states, reversed": (lambda: states(reverse=True), True),
    "states, stacked": (lambda: states(stacked=True), True),
    "states beside": (states_beside, True),
    "everything": (everything, True),
    "picked": (picked, True),
}


def with_buffers(design: Dataflow, factor: int) -> Dataflow:
    """The design with buffers so many times as large, or with 0 without any."""
    nodes, instead = list(design.nodes), {}
    for place, node in reversed(list(enumerate(nodes))):
        if isinstance(node, BufferNode) and factor:
            nodes[place] = replace(node, depth=node.depth * factor)
        elif isinstance(node, BufferNode):
            instead[node.outputs[0].name] = node.inputs[0]
            del nodes[place]
    read = [tuple(instead.get(stream.name, stream) for stream in node.inputs) for node in nodes]
    return replace(design, nodes=tuple(replace(node, inputs=given) for node, given in zip(nodes, read, strict=True)))
