# SPDX-License-Identifier: Apache-2.0
"""When things happen, as plain data: the stages of one time step, and all units on sequences of several steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from hwgen.cell_cycles import Loop
from hwgen.dataflow import (
    BufferNode,
    CellNode,
    ConcatNode,
    Design,
    ForkNode,
    KeepNode,
    MeetNode,
    NarrowNode,
    Node,
    ReverseNode,
    SelectNode,
    SplitNode,
    StackNode,
    TurnsNode,
    WidenNode,
)
from hwgen.events import Channel
from hwgen.interleaving import stack_steps
from hwgen.report.units import Timing
from hwgen.rtl_cycles import Simulation, simulate
from hwgen.rtl_timing import Timeline
from hwgen.schedule import Port, Schedule
from hwgen.vectors import least_length, longest_length

Data = dict[str, Any]
# Two sequences, so that one sees how the second follows the first: of so many steps where the design takes them.
SEQUENCES, STEPS = 2, 8
_OVERLAP = "overlap with the next step"
# Stages that every tile goes through; those behind them have the totals of a group alone.
_PER_TILE = ("read h", "products", "adder tree", "accumulator")


def time_step(timing: Timing) -> Data:
    """One time step of a recurrent layer.

    Cycle 0 reads h for the first tile.  ``stages`` begin ``after`` a tile was read and take ``cycles``; ``groups`` are
    units that are finished side by side, of ``group_tiles`` tiles each; the next step begins at ``period``.  A stage
    ``per_tile`` is busy with all tiles of a group, another one begins ``after`` its last.
    """
    times = timing.times
    assert times is not None
    stages, after = [], 0
    for name, cycles in times.breakdown.items():
        if name != _OVERLAP and cycles:
            per_tile = name in _PER_TILE
            stages.append({"name": name, "after": after, "cycles": cycles, "per_tile": per_tile})
            after += cycles
    return {
        "unit": timing.name,
        "tiles": times.tiles,
        "depth": times.depth,
        "period": times.period,
        "groups": times.groups,
        "group_tiles": times.parts * times.column_tiles,
        "stages": stages,
        "end": times.tiles + after,
        "overlap": times.breakdown[_OVERLAP],
        "breakdown": dict(times.breakdown),
    }


def sequence(design: Design, lengths: Sequence[int] | None = None) -> Data:
    """What every unit works on in every cycle, of sequences that follow each other without stalls.

    A row has ``bars`` from cycle ``begin`` to before ``end``, of step ``step`` (from 0; None of what is for a whole
    sequence) of sequence ``sequence``.  Cycles count from the first beat that x accepts.
    """
    if lengths is None:
        most = longest_length(design) or STEPS
        lengths = SEQUENCES * (max(least_length(design), min(STEPS, most)),)
    traced = simulate(design, lengths)
    rows = _Rows(traced, tuple(lengths))
    if isinstance(design, Schedule):
        rows.port(design.inputs[0])
        rows.loop("", design, traced.loops[""], traced.ports["x"], traced.ports.get("y"))
        for port in design.outputs:
            rows.port(port)
    else:
        rows.port(design.inputs[0])
        for node in design.nodes:
            rows.node(node)
        for port in design.outputs:
            rows.port(port)
    latency = {
        port.name: {"first": cycles[0] - traced.begin, "last": cycles[-1] - traced.begin}
        for port in design.outputs
        for cycles in [traced.ports[port.name].moved.cycles]
    }
    end = max((bar["end"] for row in rows.found for bar in row["bars"]), default=0)
    return {"lengths": list(lengths), "cycles": end, "outputs": latency, "rows": rows.found}


class _Rows:
    """Rows of the picture as they are found."""

    def __init__(self, traced: Simulation, lengths: tuple[int, ...]) -> None:
        self.traced, self.lengths = traced, lengths
        self.found: list[Data] = []

    def port(self, port: Port) -> None:
        """Beats of a port."""
        title = f"{port.name} {port.direction}"
        self._add("port", title, "", self._spans(self.traced.ports[port.name], port.beats), port.per_step)

    def node(self, node: Node) -> None:
        """What a node does, unless it only passes on."""
        channels = self.traced.streams
        if isinstance(node, ForkNode | NarrowNode | WidenNode | SplitNode | KeepNode | StackNode):
            return
        if isinstance(node, TurnsNode | ReverseNode):
            stored = self._spans(channels[node.inputs[0].name], node.inputs[0].beats)
            self._add(node.name, node.name, "stores", self._by_sequence(stored), False)
            return
        if isinstance(node, CellNode):
            names = [port.name for port in (*node.design.inputs, *node.design.outputs)]
            edges = dict(zip(names, (*node.inputs, *node.outputs), strict=True))
            y = channels[edges["y"].name] if "y" in edges else None
            self.loop(node.name, node.design, self.traced.loops[node.name], channels[edges["x"].name], y)
            return
        if isinstance(node, MeetNode):
            sides = [self._by_sequence(self._spans(channels[side.name], side.beats)) for side in node.inputs[:2]]
            both = [(min(first[0], second[0]), max(first[1], second[1])) for first, second in zip(*sides, strict=True)]
            self._add(node.name, node.name, "adds", both, False)
            given = self._by_sequence(self._spans(channels[node.outputs[0].name], node.outputs[0].beats))
            self._add(node.name, node.name, "gives", given, False)
            return
        after = node.outputs[0]
        out = self._spans(channels[after.name], after.beats)
        if isinstance(node, SelectNode | ConcatNode):
            # Beats that come early only wait.
            self._add(node.name, node.name, "gives", out, after.per_step)
            return
        spans = [self._spans(channels[stream.name], stream.beats) for stream in node.inputs]
        both = [(min(span[k][0] for span in spans), end) for k, (_, end) in enumerate(out)]
        if isinstance(node, BufferNode):
            self._add(node.name, node.name, "holds", self._by_sequence(both) if after.per_step else both, False)
        else:
            self._add(node.name, node.name, "", both, after.per_step)

    def loop(self, name: str, design: Schedule, loop: Loop, x: Channel, y: Channel | None) -> None:
        """A recurrent layer: input product, recurrence, and the reversal of its streams."""
        ends, times = loop.projected.cycles, loop.times
        own = name or "recurrent layer"
        if design.cell.reverse:
            self._add(name, own, "stores x", self._by_sequence(self._spans(x, design.inputs[0].beats)), False)
        projected = [(end - times.design.input_product.cycles + 1, end + 1) for end in ends]
        count, stacked = design.turns, design.stack is not None
        tiles = [(start, start + times.tiles) for start in loop.starts]
        self._add(name, own, "input product", projected, True, count, stacked)
        self._add(name, own, "hidden product", tiles, True, count, stacked)
        self._add(name, own, "pipeline depth", _depths(loop.starts, times), True, count, stacked)
        if "y" in design.turned and y is not None:
            beats = next(port.beats for port in design.outputs if port.name == "y")
            self._add(name, own, "gives y in order", self._by_sequence(self._spans(y, beats)), False)

    def _spans(self, channel: Channel, beats: int) -> list[tuple[int, int]]:
        """From the first beat of each vector to behind its last."""
        cycles = channel.moved.cycles
        return [(cycles[k], cycles[k + beats - 1] + 1) for k in range(0, len(cycles), beats)]

    def _by_sequence(self, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        found, place = [], 0
        for length in self.lengths:
            part = spans[place : place + length]
            found.append((part[0][0], part[-1][1]))
            place += length
        return found

    def _add(
        self,
        unit: str,
        title: str,
        lane: str,
        spans: list[tuple[int, int]],
        per_step: bool,
        turns: int = 1,
        stacked: bool = False,
    ) -> None:
        """Bars of a unit; so many of each step if directions take ``turns``, or layers that are ``stacked``."""
        places = [(s, k) for s, length in enumerate(self.lengths) for k in range(length) for _ in range(turns)]
        if stacked:
            places = [(s, k) for s, length in enumerate(self.lengths) for k in stack_steps(length)]
        if not per_step:
            places = [(s, -1) for s in range(len(self.lengths))]
        bars = [
            {
                "sequence": number,
                "step": None if step < 0 else step,
                "begin": begin - self.traced.begin,
                "end": end - self.traced.begin,
            }
            for (number, step), (begin, end) in zip(places, spans, strict=True)
        ]
        self.found.append({"unit": unit, "title": title, "lane": lane, "bars": bars})


def _depths(starts: list[int], times: Timeline) -> list[tuple[int, int]]:
    """From behind the last tile of a step until its last new state is written."""
    return [(start + times.tiles, start + times.written(times.groups - 1, times.hidden) + 1) for start in starts]


def intervals(data: Data, unit: str) -> list[int]:
    """Cycles between the starts of the steps of one sequence in the recurrence of a unit."""
    row = next(row for row in data["rows"] if row["unit"] == unit and row["lane"] == "hidden product")
    begins = [bar["begin"] for bar in row["bars"] if bar["sequence"] == 0]
    return [after - before for before, after in itertools.pairwise(begins)]
