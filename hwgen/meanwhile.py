# SPDX-License-Identifier: Apache-2.0
"""Which layers need a buffer of a sequence in front of them, so that a reversed one need not wait for them.

A fork gives no beat before every reader has taken the one before it.  A forward layer takes a time step each II cycles,
so a reversed one beside it would have its whole sequence after T * II cycles only, and work as long again.  With a
buffer the sequence comes in as fast as its beats do, and both layers work at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwgen.integer_network import ConcatStage, DenseStage, RecurrentStage, StepStage
from hwgen.split_dense import MeetStage, Part


class Meanwhile:
    """The layers of a network beside reversed ones."""

    def __init__(self, stages: Sequence[Part], aliases: Mapping[str, str]) -> None:
        self._aliases = aliases
        self._producers = {wire: stage for stage in stages for wire in stage.gives}
        self._reversed = [stage for stage in stages if isinstance(stage, RecurrentStage) and _turns(stage)]

    def holds(self, stage: RecurrentStage | DenseStage) -> bool:
        """Whether a buffer stands in front of a layer: always beside a reversed one, unless it could gain nothing.

        That is so where the steps come no faster than layers take them, and where the reversed layer waits for this
        one anyway.
        """
        if _turns(stage) or not self._at_once(stage.source):
            return False
        origin = self._origin(stage.source)
        return any(self._origin(other.source) == origin and not self._needs(other, stage) for other in self._reversed)

    def _producer(self, wire: str) -> Part | None:
        """None of graph inputs."""
        return self._producers.get(self._aliases.get(wire, wire))

    def _origin(self, wire: str) -> str:
        """What a wire is made of step by step, without a pause: itself, or what step functions are applied to."""
        while isinstance(stage := self._producer(wire), StepStage):
            wire = stage.source
        return self._aliases.get(wire, wire)

    def _at_once(self, wire: str) -> bool:
        """Whether the steps of a sequence come as fast as their beats: from outside, or from behind a reversal."""
        stage = self._producer(wire)
        if isinstance(stage, StepStage):
            return self._at_once(stage.source)
        if isinstance(stage, ConcatStage):
            # What waits for a reversed layer comes with it.
            return any(map(self._turned, stage.sources)) or all(map(self._at_once, stage.sources))
        return stage is None or isinstance(stage, MeetStage) or _turns(stage)

    def _turned(self, wire: str) -> bool:
        """Whether a reversed layer gives a wire, or a part of it."""
        stage = self._producer(self._origin(wire))
        if isinstance(stage, ConcatStage):
            return any(map(self._turned, stage.sources))
        return stage is not None and _turns(stage)

    def _needs(self, stage: Part, other: Part) -> bool:
        """Whether a stage is computed from what another one gives."""
        seen, waiting = set[str](), list(stage.reads)
        while waiting:
            found = self._producer(waiting.pop())
            if found is other:
                return True
            if found is not None and not seen.issuperset(found.gives):
                seen.update(found.gives)
                waiting += found.reads
        return False


def _turns(stage: Part) -> bool:
    return isinstance(stage, RecurrentStage) and stage.cell.reverse
