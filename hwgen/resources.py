# SPDX-License-Identifier: Apache-2.0
"""Where templates and simulation sources lie: inside the installed package, or beside it in a source checkout."""

from __future__ import annotations

from pathlib import Path

from hwgen.errors import ToolError

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    for candidate in (_PACKAGE / "data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise ToolError(f"the installation lacks its {name}/ folder; install hwgen again")


def templates() -> Path:
    """The folder of templates."""
    return _folder("templates")


def hls_library() -> Path:
    """The static HLS headers."""
    return templates() / "hls" / "lib"


def sim() -> Path:
    """The folder of simulation sources."""
    return _folder("sim")
