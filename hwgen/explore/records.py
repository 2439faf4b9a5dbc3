# SPDX-License-Identifier: Apache-2.0
"""Results of measured points as files: one for each point, whole or absent, found again by what was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hwgen
from hwgen import host
from hwgen.errors import ConfigError

FOLDER = "measured"
_DIGITS = 32


def key(model: bytes, point: Mapping[str, Any], flow: str) -> str:
    """The name of a measurement: a digest of the model, the point, the flow and the version of hwgen.

    Raises ConfigError if the point is not plain JSON data.
    """
    try:
        asked = _canonical(
            {"model": _digest(model), "point": dict(point), "flow": flow, "hwgen": hwgen.__version__},
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a point must be plain JSON data, as a folding file has it: {error}") from error
    return _digest(asked)[:_DIGITS]


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """The result of a point that was measured; None if there is none, it is damaged, or says that measuring failed."""
    try:
        data = json.loads(_path(folder, name).read_text("utf-8"))
        whole = data.pop("sha256") == _digest(_canonical(data)) and data["key"] == name
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return data if whole and "error" not in data else None


def write(folder: Path, name: str, point: Mapping[str, Any], flow: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write the result of a point and return it, with what it is the result of; raises ConfigError if it cannot."""
    data = {"key": name, "hwgen": hwgen.__version__, "flow": flow, "point": dict(point), **result}
    # As it will be read: what JSON does not have would otherwise differ between this run and the next.
    data = json.loads(json.dumps(data, allow_nan=False))
    text = json.dumps({**data, "sha256": _digest(_canonical(data))}, indent=1) + "\n"
    path = _path(folder, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {path.parent}: cannot be written ({error.strerror})") from error
    host.write_file(path, lambda file: file.write(text.encode()))
    return data


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"


def _canonical(data: Mapping[str, Any]) -> bytes:
    """The same bytes for the same data, whatever the order of keys."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
