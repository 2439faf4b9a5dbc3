# SPDX-License-Identifier: Apache-2.0
"""The report of a project: report.json, all data with stable keys, and report.html, a page that needs nothing else."""

from __future__ import annotations

import json
from typing import Any

from hwgen.dataflow import Design
from hwgen.report.data import describe
from hwgen.report.page import render

PAGE = "report.html"
__all__ = ["PAGE", "describe", "files", "render"]


def files(
    design: Design,
    backends: tuple[str, ...],
    facts: dict[str, Any],
    verification: dict[str, Any] | None = None,
    synthesis: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    """Both files; ``facts`` is what schedule.json says, the others are verify.json and synth.json if there are any."""
    data = describe(design, backends, facts, verification, synthesis)
    return {"report.json": (json.dumps(data, indent=1) + "\n").encode(), PAGE: render(data).encode()}
