# SPDX-License-Identifier: Apache-2.0
"""Which layers share one engine, whose time steps it takes in turns: both directions of a layer, or two of a stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hwgen.errors import ConfigError, printable
from hwgen.integer_network import RecurrentStage, Stage

# What --share-engine may say.
DIRECTIONS, LAYERS = "directions", "layers"
_NEEDS = {
    DIRECTIONS: "both directions of a layer; this model has no two recurrent layers of one kind and size, one of them "
    "reversed, that read the same values",
    LAYERS: "two layers of a stack; this model has no two forward recurrent layers of one kind and as many units, of "
    "which the second alone reads the sequence of the first",
}


def check_share_engine(share_engine: str | None) -> str:
    """The option as ``Options`` have it; raises ConfigError if there is no such thing to share."""
    if share_engine not in (None, "", DIRECTIONS, LAYERS):
        raise ConfigError(f"--share-engine must be {DIRECTIONS} or {LAYERS}, not {printable(share_engine)}")
    return share_engine or ""


def shared_engines(
    what: str, stages: Sequence[Stage], aliases: Mapping[str, str], shown: Sequence[str]
) -> dict[str, RecurrentStage]:
    """The second layer of each engine by the name of its first one; ``shown`` are wires that leave the design.

    Both are computed where the first one stands.  Raises ConfigError if no two layers can share one.
    """
    if not what:
        return {}

    def wire(name: str) -> str:
        return aliases.get(name, name)

    readers = Counter(wire(name) for stage in stages for name in stage.reads) + Counter(map(wire, shown))

    def follows(first: RecurrentStage, second: RecurrentStage) -> bool:
        """Whether the second layer, and nothing else, reads the sequence of the first."""
        y = first.wires[0]
        return not second.cell.reverse and wire(second.source) == y and readers[y] == 1

    def faces(first: RecurrentStage, second: RecurrentStage) -> bool:
        """Whether they are the directions of one layer."""
        same = second.cell.input_size == first.cell.input_size and wire(second.source) == wire(first.source)
        return second.cell.reverse and same

    suits = follows if what == LAYERS else faces
    made = {name for stage in stages for name in stage.gives}
    known, found, taken = set[str](), dict[str, RecurrentStage](), set[str]()
    for stage in stages:
        if isinstance(stage, RecurrentStage) and not stage.cell.reverse and stage.name not in taken:
            for other in stages:
                if (
                    isinstance(other, RecurrentStage)
                    and type(other) is type(stage)
                    and other.cell.hidden_size == stage.cell.hidden_size
                    and other.name not in taken
                    and suits(stage, other)
                    # What else it reads, such as its first state, is there by then.
                    and all(wire(n) in known or wire(n) not in made for n in other.reads if n != other.source)
                ):
                    found[stage.name] = other
                    taken.add(other.name)
                    break
        known |= set(stage.gives)
    if not found:
        raise ConfigError(f"--share-engine {what} shares one engine between {_NEEDS[what]}; leave the option out")
    return found
