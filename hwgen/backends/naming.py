# SPDX-License-Identifier: Apache-2.0
"""The names of what is generated."""

from __future__ import annotations

from hwgen import resources
from hwgen.dataflow import Design
from hwgen.naming import camel, comment, identifier
from hwgen.schedule import Schedule

__all__ = ["camel", "comment", "identifier", "top_name"]


def top_name(design: Design) -> str:
    """The name of the top level, or of a module of a larger design; the same in every backend."""
    if isinstance(design, Schedule) and design.module:
        return design.module
    name = identifier(design.network.name)
    return f"{name}_top" if name in _taken() else name


def _taken() -> set[str]:
    """Names of headers beside those of the top level, and of types from elsewhere in its sources."""
    headers = {path.stem for path in resources.hls_library().iterdir()}
    return headers | {"parameters", "weights", "ap_int", "ap_uint", "ap_axiu"}
