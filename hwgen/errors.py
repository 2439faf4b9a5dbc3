# SPDX-License-Identifier: Apache-2.0
"""The one tree of errors that hwgen raises on purpose.

A message names the node or option, the requirement, the value that was found, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable


class HwgenError(Exception):
    """Base of every error that hwgen raises on purpose."""


class ModelError(HwgenError):
    """The model file is not what it claims to be, or contradicts itself."""


class UnsupportedError(HwgenError):
    """The model is valid, but hwgen cannot turn it into hardware; the message says what it can."""


class ConfigError(HwgenError):
    """An option, or a combination of options, cannot be met."""


class ToolError(HwgenError):
    """A tool is missing or failed; ``log`` keeps what it printed."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def printable(name: str, limit: int = 80) -> str:
    r"""A name from a model as one short line of ASCII that is safe to print, and safe in a comment.

    >>> printable("a\nb")
    "'a\\nb'"
    """
    shown = ascii(name)
    return shown if len(shown) <= limit else shown[: limit - 4] + "...'"


def listing(items: Iterable[object], limit: int = 8) -> str:
    """A short comma-separated list for a message; long ones end in an ellipsis."""
    shown = [str(item) for item in items]
    tail = ", ..." if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + tail
