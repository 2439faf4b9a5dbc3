# SPDX-License-Identifier: Apache-2.0
"""Which layers share one engine, whose time steps it takes in turns: both directions of a layer, or two of a stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hwgen.errors import ConfigError, printable
from hwgen.integer_network import RecurrentStage, Stage

# What --share-engine may say.
DIRECTIONS, LAYERS = "directions", "layers"


def check_share_engine(share_engine: str | None) -> str:
    """The option as ``Options`` have it; raises ConfigError if there is no such thing to share."""
    if share_engine not in (None, "", DIRECTIONS, LAYERS):
        raise ConfigError(f"--share-engine must be {DIRECTIONS} or {LAYERS}, not {printable(share_engine)}")
    return share_engine or ""


def shared_engines(
    what: str, stages: Sequence[Stage], aliases: Mapping[str, str], shown: Sequence[str]
) -> dict[str, RecurrentStage]:
    """The second layer of each engine by the name of its first one; ``shown`` are wires that leave the design.

    Raises ConfigError if no two layers can share one.
    """
    if not what:
        return {}
    return _stacks(stages, aliases, shown) if what == LAYERS else _directions(stages, aliases)


def _stacks(stages: Sequence[Stage], aliases: Mapping[str, str], shown: Sequence[str]) -> dict[str, RecurrentStage]:
    """Layers of one kind and size of which the second one alone reads the sequence of the first."""

    def wire(name: str) -> str:
        return aliases.get(name, name)

    readers = Counter(wire(name) for stage in stages for name in stage.reads) + Counter(map(wire, shown))
    made = {name for stage in stages for name in stage.gives}
    known, found, taken = set[str](), dict[str, RecurrentStage](), set[str]()
    for stage in stages:
        if isinstance(stage, RecurrentStage) and not stage.cell.reverse and stage.name not in taken:
            for other in stages:
                if (
                    isinstance(other, RecurrentStage)
                    and not other.cell.reverse
                    and type(other) is type(stage)
                    and wire(other.source) == stage.wires[0]
                    and readers[stage.wires[0]] == 1
                    and other.cell.hidden_size == stage.cell.hidden_size
                    and all(wire(n) in known or wire(n) not in made for n in other.reads if n != other.source)
                ):
                    found[stage.name] = other
                    taken.add(other.name)
                    break
        known |= set(stage.gives)
    if not found:
        raise ConfigError(
            f"--share-engine {LAYERS} shares one engine between two layers of a stack; this model has no two forward "
            "recurrent layers of one kind and as many units, of which the second alone reads the sequence of the "
            "first; leave the option out"
        )
    return found


def _directions(stages: Sequence[Stage], aliases: Mapping[str, str]) -> dict[str, RecurrentStage]:
    """The backward layer of each engine by the name of its forward layer.

    Both are computed where the forward one stands.  Raises ConfigError if no two layers are directions of one.
    """
    known, found = set[str](), dict[str, RecurrentStage]()
    made = {wire for stage in stages for wire in stage.gives}
    taken = set[str]()

    def wire(name: str) -> str:
        return aliases.get(name, name)

    for stage in stages:
        if isinstance(stage, RecurrentStage) and not stage.cell.reverse:
            for other in stages:
                if (
                    isinstance(other, RecurrentStage)
                    and other.cell.reverse
                    and type(other) is type(stage)
                    and other.name not in taken
                    and wire(other.source) == wire(stage.source)
                    and (other.cell.input_size, other.cell.hidden_size)
                    == (stage.cell.input_size, stage.cell.hidden_size)
                    and all(wire(name) in known or wire(name) not in made for name in other.reads)
                ):
                    found[stage.name] = other
                    taken.add(other.name)
                    break
        known |= set(stage.gives)
    if not found:
        raise ConfigError(
            f"--share-engine {DIRECTIONS} shares one engine between both directions of a layer; this model has no two "
            "recurrent layers of one kind and size, one of them reversed, that read the same values; leave the option "
            "out"
        )
    return found
