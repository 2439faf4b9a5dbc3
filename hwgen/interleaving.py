# SPDX-License-Identifier: Apache-2.0
"""The order in which the time steps of several sequences enter a design that interleaves them.

A design takes steps in any order that keeps each sequence on one context (TID) until its end.  hwgen's own vectors let
the contexts take turns, and give a context the next sequence as soon as its last one has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.errors import ConfigError
from hwgen.quantizer import IntArray

# Contexts that a design can have: TID then still is a byte.
MOST_CONTEXTS = 64


@dataclass(frozen=True)
class Arrival:
    """One time step: its sequence, its place in it, whether it is the last, and the context that it names."""

    sequence: int
    step: int
    last: bool
    context: int


@dataclass(frozen=True)
class Order:
    """The time steps of sequences of ``lengths`` steps, as ``contexts`` contexts bring them in; one: back to back."""

    lengths: tuple[int, ...]
    contexts: int = 1

    @cached_property
    def arrivals(self) -> tuple[Arrival, ...]:
        """All time steps in order."""
        return tuple(self._arrivals())

    def _arrivals(self) -> Iterator[Arrival]:
        sequences = len(self.lengths)
        waiting = iter(range(self.contexts, sequences))
        # Sequence and step of each context that has one.
        current: list[tuple[int, int] | None] = [(number, 0) for number in range(min(self.contexts, sequences))]
        while any(current):
            for context, place in enumerate(current):
                if place is None:
                    continue
                sequence, step = place
                last = step + 1 == self.lengths[sequence]
                yield Arrival(sequence, step, last, context)
                following = next(waiting, None) if last else sequence
                current[context] = None if following is None else (following, 0 if last else step + 1)

    @cached_property
    def rows(self) -> IntArray:
        """Of each time step in order its row among the vectors of all sequences back to back."""
        starts = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int64)
        return np.array([starts[a.sequence] + a.step for a in self.arrivals], np.int64)

    @cached_property
    def contexts_of_sequences(self) -> tuple[int, ...]:
        """The context of each sequence."""
        found = {a.sequence: a.context for a in self.arrivals}
        return tuple(found[sequence] for sequence in range(len(self.lengths)))

    @cached_property
    def begun(self) -> tuple[int, ...]:
        """Sequences in the order of their first steps: that of their initial states."""
        return tuple(a.sequence for a in self.arrivals if a.step == 0)

    @cached_property
    def begun_by_end(self) -> tuple[int, ...]:
        """How many sequences have begun when the first, the second, ... of them has ended."""
        begun = np.cumsum([arrival.step == 0 for arrival in self.arrivals]).tolist()
        return tuple(count for count, arrival in zip(begun, self.arrivals, strict=True) if arrival.last)

    @cached_property
    def ended(self) -> tuple[int, ...]:
        """Sequences in the order of their last steps: that of their results."""
        return tuple(a.sequence for a in self.arrivals if a.last)


class StackTurns:
    """Whose step is next where two layers of a stack take turns: the second one follows a step behind the first.

    The first layer takes two steps, then both take turns; after its last step the second one takes what is left.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._begun = self._ended = False

    def step(self, last: bool) -> None:
        """The layer whose turn it is takes a step, the ``last`` of its sequence or not."""
        if self.turn and last:
            self.turn, self._begun, self._ended = 0, False, False
        elif self.turn:
            self.turn = int(self._ended)
        else:
            self.turn = int(last or self._begun)
            self._begun, self._ended = True, last


def stack_steps(length: int) -> list[int]:
    """The steps of a sequence in the order in which two layers of a stack take them."""
    turns, taken = StackTurns(), [0, 0]
    found = []
    for _ in range(2 * length):
        turn = turns.turn
        found.append(taken[turn])
        taken[turn] += 1
        turns.step(taken[turn] == length)
    return found


def check_contexts(contexts: int) -> None:
    """Raise ConfigError unless a design can have so many contexts."""
    if not 1 <= contexts <= MOST_CONTEXTS:
        raise ConfigError(f"--interleave must be from 1 to {MOST_CONTEXTS} sequences, not {contexts}")


def interval(tiles: int, loop: int, contexts: int) -> int:
    """Cycles from one time step to the next, of all contexts together, where all of them are busy.

    The product takes ``tiles`` cycles of a step; a context waits ``loop`` cycles for its own state.
    """
    return max(tiles, -(-loop // contexts))
