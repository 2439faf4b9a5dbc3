# SPDX-License-Identifier: Apache-2.0
"""A dense layer behind both directions of a layer in two halves, each of which works as soon as its direction does.

What such a layer multiplies with the codes of one direction needs nothing of the other one.  So each half takes its
codes in the order in which they are computed, the backward one from the last step to the first, while the recurrences
go on; what is stored until the directions meet are sums.  In integers a sum is the same in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.errors import ConfigError, printable
from hwgen.integer import Interval, accumulate_range
from hwgen.integer_network import ConcatStage, DenseStage, RecurrentStage, Stage, StepStage
from hwgen.layers import Wire
from hwgen.quantizer import IntArray


@dataclass(frozen=True)
class MeetStage:
    """The sums of both halves of a dense layer, added step by step.

    ``forward`` has those of the steps of a sequence in their order, ``backward`` those from the last step to the first.
    ``count`` is what both directions read, and tells how many steps there are.  ``total`` is the range of the results.
    """

    name: str
    forward: str
    backward: str
    count: str
    total: Interval
    wire: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the wires that it reads."""
        return (self.forward, self.backward, self.count)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the wires that it gives."""
        return (self.wire,)


# What hardware is made of: the stages of the integer model, some of them in parts.
Part = Stage | MeetStage


@dataclass(frozen=True)
class Split:
    """Stages and wires with dense layers in halves; the sequences of ``backward`` layers are not turned around."""

    stages: list[Part]
    wires: dict[str, Wire]
    backward: frozenset[str]


def split_dense(
    stages: Sequence[Stage], wires: Mapping[str, Wire], aliases: Mapping[str, str], shown: Sequence[str]
) -> Split:
    """The halves of every dense layer that has two; ``shown`` are the wires that leave the design.

    Raises ConfigError, with what stands against it, if there is no such layer.
    """
    found = _Split(stages, wires, aliases, shown)
    for stage in stages:
        found.add(stage)
    if not found.backward:
        why = "; ".join(found.refused) or "this model has none"
        raise ConfigError(
            "--split-dense is about dense layers on every step of both directions of a recurrent layer side by side: "
            f"{why}; leave the option out"
        )
    kept = [stage for stage in found.stages if not isinstance(stage, ConcatStage) or stage.wire not in found.dropped]
    return Split(kept, found.wires, frozenset(found.backward))


class _Split:
    def __init__(
        self, stages: Sequence[Stage], wires: Mapping[str, Wire], aliases: Mapping[str, str], shown: Sequence[str]
    ) -> None:
        self.aliases = aliases
        self.stages: list[Part] = []
        self.wires = dict(wires)
        self.backward: set[str] = set()
        self.dropped: set[str] = set()
        self.refused: list[str] = []
        self._producers = {wire: stage for stage in stages for wire in stage.gives}
        self._readers = Counter(self._wire(name) for stage in stages for name in stage.reads)
        self._readers.update(map(self._wire, shown))

    def _wire(self, name: str) -> str:
        return self.aliases.get(name, name)

    def add(self, stage: Stage) -> None:
        """A stage, in halves if it is a dense layer that has them."""
        whole = self._producers.get(self._wire(stage.source)) if isinstance(stage, DenseStage) else None
        if not isinstance(stage, DenseStage) or not isinstance(whole, ConcatStage):
            self.stages.append(stage)
            return
        directions = [self._producers.get(self._wire(source)) for source in whole.sources]
        why = self._refusal(whole, directions)
        if why is not None:
            self.refused.append(f"{printable(stage.name)} {why}")
            self.stages.append(stage)
            return
        one, other = directions
        assert isinstance(one, RecurrentStage) and isinstance(other, RecurrentStage)
        self.dropped.add(whole.wire)
        self.backward.add((one if one.cell.reverse else other).name)
        self._halves(stage, (one, other))

    def _refusal(self, whole: ConcatStage, directions: Sequence[Stage | None]) -> str | None:
        """Why the dense layer behind some layers side by side has no halves; None if it has."""
        layers = [stage for stage in directions if isinstance(stage, RecurrentStage)]
        sequences = [stage.wires[0] for stage in layers] == [self._wire(source) for source in whole.sources]
        if len(layers) != 2 or not sequences or sorted(stage.cell.reverse for stage in layers) != [False, True]:
            return "reads something else than every step of two layers, one of them reversed"
        if self._wire(layers[0].source) != self._wire(layers[1].source):
            return "reads two layers that do not read the same"
        if self._readers[whole.wire] > 1:
            return "is not the only one that reads both directions side by side"
        backward = next(stage for stage in layers if stage.cell.reverse)
        if self._readers[backward.wires[0]] > 1:
            return f"is not the only one that reads the sequence of {printable(backward.name)}, which is to be reversed"
        return None

    def _halves(self, stage: DenseStage, directions: tuple[RecurrentStage, RecurrentStage]) -> None:
        """Both halves, the place where they meet, and the step function behind it."""
        names, begin = dict[bool, str](), 0
        for direction in directions:
            cell, width = direction.cell, direction.cell.hidden_size
            # What is added to the sums once comes with the forward ones.
            bias = np.zeros_like(stage.bias) if cell.reverse else stage.bias
            half = f"{stage.name} {'backward' if cell.reverse else 'forward'}"
            wire = names[cell.reverse] = self._like(stage.wire, half)
            weights = np.ascontiguousarray(stage.weights[:, begin : begin + width])
            begin += width
            self.stages.append(
                replace(
                    stage,
                    name=half,
                    source=direction.wires[0],
                    weights=weights,
                    bias=bias,
                    total=_range(weights, bias, direction),
                    step=None,
                    wire=wire,
                )
            )
        sums = stage.wire if stage.step is None else self._like(stage.wire, f"{stage.name} sums")
        count = directions[0].source
        self.stages.append(MeetStage(stage.name, names[False], names[True], count, stage.total, sums))
        if stage.step is not None:
            self.stages.append(StepStage(f"{stage.name} step", sums, stage.step, stage.wire))

    def _like(self, wire: str, name: str) -> str:
        """A wire of as many values as another one has; returns its name."""
        self.wires[name] = replace(self.wires[wire], name=name)
        return name


def _range(weights: IntArray, bias: IntArray, source: RecurrentStage) -> Interval:
    low, high = accumulate_range(weights, source.cell.hidden)
    return Interval(int((low + bias).min()), int((high + bias).max()))
