# SPDX-License-Identifier: Apache-2.0
"""Which layers share one engine: both directions of a layer, whose time steps it takes in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwgen.errors import ConfigError, printable
from hwgen.integer_network import RecurrentStage, Stage

# What --share-engine may say.
DIRECTIONS = "directions"


def check_share_engine(share_engine: str | None) -> str:
    """The option as ``Options`` have it; raises ConfigError if there is no such thing to share."""
    if share_engine not in (None, "", DIRECTIONS):
        raise ConfigError(f"--share-engine must be {DIRECTIONS}, not {printable(share_engine)}")
    return share_engine or ""


def shared_engines(stages: Sequence[Stage], aliases: Mapping[str, str]) -> dict[str, RecurrentStage]:
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
