# SPDX-License-Identifier: Apache-2.0
"""The Python face of hwgen: what ``import hwgen`` offers beside ``load`` and ``schedule``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from hwgen import host, lowering, project, verify
from hwgen.backends.onnx_graph import to_onnx
from hwgen.calibration import Calibration, Method, Options
from hwgen.dataflow import Design
from hwgen.errors import ConfigError
from hwgen.network import Network


class Project(project.Project):
    """A generated project that can verify itself."""

    def verify(
        self,
        inputs: Mapping[str, ArrayLike] | ArrayLike | None = None,
        level: str = "all",
        sequences: int = 64,
        seed: int = 1,
    ) -> dict[str, Any]:
        """Reference = integer model = simulation: returns what ``hwgen verify`` writes to verify.json.

        ``inputs`` are real arrays by graph input name, or the one array of a model with one input; random sequences
        by default.
        """
        if inputs is not None and not isinstance(inputs, Mapping):
            inputs = {self.design.network.inputs[0].name: inputs}
        return verify.verify(self, inputs, level, sequences, seed)


def build(design: Design, out: str | Path, backend: str = "hls") -> Project:
    """Write the project of a design to the folder ``out``; see ``hwgen.project.build``."""
    written = project.build(design, out, backend)
    return Project(written.path, written.design, written.backends)


def open_project(path: str | Path) -> Project:
    """Read back a project that ``build`` wrote."""
    found = project.open_project(path)
    return Project(found.path, found.design, found.backends)


def calibrate(
    model: str | Path,
    data: Mapping[str, ArrayLike] | ArrayLike,
    out: str | Path,
    method: str = "minmax",
    **options: Any,
) -> dict[str, Any]:
    """Write a float or weight-only model, fully quantized, to the file ``out``; scales are picked from ``data``.

    ``data`` are real arrays by graph input name, or the one array of a model with one input.  ``options`` are those of
    ``hwgen.calibration.Options``.  Returns what ``hwgen calibrate --json`` prints.
    """
    calibration = Calibration(model, Options(method=Method.parse(method), **options))
    if not isinstance(data, Mapping):
        data = {calibration.network.inputs[0].name: data}
    return calibration.run(data, out)


def lower(network: Network, out: str | Path, float32: bool = False) -> Path:
    """Write a network to the file ``out`` as ONNX of standard operators that gives the codes of the hardware.

    Real outputs are float64 and exact, or with ``float32`` rounded once to the type that the model gives.
    """
    path = Path(out)
    if network.source and path.is_file() and path.read_bytes() == network.source:
        raise ConfigError(f"--output {path}: is the model itself, which would be lost; choose another file")
    data = to_onnx(network, lowering.lower(network), float32).SerializeToString(deterministic=True)
    host.write_file(path, lambda file: file.write(data))
    return path
