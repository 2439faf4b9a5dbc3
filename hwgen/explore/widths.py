# SPDX-License-Identifier: Apache-2.0
"""Bit widths as an axis: float models calibrated to several, each a model to explore, and what it loses by that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hwgen import host
from hwgen.calibration import Calibration, Method, Options
from hwgen.calibration.files import is_float
from hwgen.errors import ConfigError, printable

MODELS = "models"


@dataclass(frozen=True)
class Calibrated:
    """The files to explore by their names, and the signal-to-quantization-noise ratio of each calibrated one, in dB.

    The ratio is the least of a model's outputs on the data it was calibrated with; outputs that are indices, or lose
    nothing, have none.
    """

    files: Mapping[str, Path]
    sqnr_db: Mapping[str, float]

    def check_quality(self) -> None:
        """Raise ConfigError unless all models can be compared by their ratios."""
        for name in self.files:
            if name not in self.sqnr_db:
                raise ConfigError(
                    f"--calibration: {printable(name)} has no signal-to-noise ratio on these data, since it was "
                    "quantized before, or its output is an index or has no noise; give --data and --labels, and models "
                    "are compared by their answers"
                )


@dataclass(frozen=True)
class Request:
    """Which widths: ``bits`` are those of activations; ``data`` are inputs as ``hwgen calibrate`` takes them."""

    data: Sequence[str]
    bits: Sequence[int] = (8,)
    weight_bits: Sequence[int] = (8,)
    method: Method = Method.MINMAX

    @staticmethod
    def parse(data: Sequence[str], **options: str | None) -> Request | None:
        """Options of the command line by their names, None if there are no data; raises ConfigError for nonsense."""
        given = {name: text for name, text in options.items() if text is not None}
        if not data:
            for name in given:
                raise ConfigError(
                    f"--{name.replace('_', '-')} needs --calibration: data to calibrate float models with"
                )
            return None
        found: dict[str, Any] = {
            name: Method.parse(text) if name == "method" else _widths(text, f"--{name.replace('_', '-')}")
            for name, text in given.items()
        }
        return Request(data, **found)

    def calibrate(
        self, models: Sequence[Path], folder: Path, progress: Callable[[str], None] = lambda message: None
    ) -> Calibrated:
        """Calibrate each model to all pairs of widths, into ``folder``/models/NAME-wWaA.onnx.

        Of models that come out the same, as weights that have quantizers make them, the first is kept; models without
        float layers stay as they are.  Raises what ``Calibration`` raises, and ConfigError where a folder cannot be
        written or two models have one name.
        """
        where = folder / MODELS
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"-o {folder}: cannot be written ({error.strerror})") from error
        # What cannot be is refused before anything is calibrated.
        every = [
            Options(method=self.method, bits=bits, weight_bits=weights)
            for weights, bits in product(self.weight_bits, self.bits)
        ]
        files: dict[str, Path] = {}
        quality: dict[str, float] = {}
        if len({model.stem for model in models}) < len(models):
            raise ConfigError("models must have names of their own: what is made of them is called by these")
        for model in models:
            if not is_float(model):
                files[model.stem] = model
                continue
            known: set[bytes] = set()
            for options in every:
                name = f"{model.stem}-w{options.weight_bits}a{options.bits}"
                progress(f"{name}: calibrating")
                calibration = Calibration(model, options)
                arrays = host.read_arrays(calibration.network, self.data, "--calibration")
                path = where / f"{name}.onnx"
                report = calibration.run(arrays, path)
                content = path.read_bytes()
                if content in known:
                    path.unlink()
                    continue
                known.add(content)
                files[name] = path
                ratios = [output["sqnr_db"] for output in report["outputs"] if output["sqnr_db"] is not None]
                if ratios:
                    quality[name] = round(min(ratios), 2)
        return Calibrated(files, quality)


def _widths(text: str, option: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"{option} must be numbers of bits such as 4,6,8, not {printable(text)}")
    return tuple(dict.fromkeys(int(part) for part in parts))
