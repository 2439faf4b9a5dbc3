# SPDX-License-Identifier: Apache-2.0
"""What a user may ask of memories: a style for each by its name, and how far the input products run ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwgen.errors import ConfigError, printable

AUTO, BLOCK, DISTRIBUTED, CONSTANT = STYLES = ("auto", "block", "distributed", "constant")
# A bit of so many words is a function of their address in one LUT: what reads constants needs no memory.
MOST_CONSTANTS = 64
# Time steps that the buffer of projected sums can hold.
MOST_AHEAD = 256

# Styles by the name of the memory; of networks also by that of the node, then the memory.
Memories = Mapping[str, str | Mapping[str, str]]
# Time steps of every recurrent layer, or of each by the name of its node.
LookAhead = int | Mapping[str, int]


def flat(asked: Memories) -> dict[str, str]:
    """Styles by one name each, NODE.MEMORY for what belongs to a node; raises ConfigError for what is none."""
    found: dict[str, str] = {}
    for name, style in asked.items():
        if isinstance(style, Mapping):
            found |= {f"{name}.{inner}": value for inner, value in flat(style).items()}
        elif style in STYLES:
            found[name] = style
        else:
            raise ConfigError(f"--memory {printable(name)}: must be among {', '.join(STYLES)}, not {printable(style)}")
    return found


def parse_memories(texts: Sequence[str]) -> dict[str, str]:
    """Styles from the command line, NAME=STYLE each."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, style = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--memory must be NAME=STYLE, such as hidden_weights=block, not {printable(text)}")
        if found.setdefault(name, style) != style:
            raise ConfigError(f"--memory {printable(name)} is given twice: {printable(found[name])} and {style}")
    return flat(found)


def parse_look_ahead(texts: Sequence[str]) -> LookAhead | None:
    """Time steps from the command line: N for all recurrent layers, or NODE=N each."""
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not (number.isascii() and number.isdigit()) or name in found or ("" in found) or (found and not name):
            raise ConfigError(f"--look-ahead must be N once, or NODE=N once for each node, not {printable(text)}")
        found[name] = int(number)
    return found.get("", found) if found else None


def check_look_ahead(steps: object, where: str = "") -> int:
    """Raise ConfigError for time steps that a buffer cannot have; ``where`` names the node."""
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= MOST_AHEAD:
        least = isinstance(steps, int) and steps < 1
        shown = steps if isinstance(steps, int) else printable(str(steps))
        raise ConfigError(
            f"--look-ahead{where} must be from 1 to {MOST_AHEAD} time steps, not {shown}; "
            f"nearest legal: {1 if least else MOST_AHEAD}"
        )
    return steps
