# SPDX-License-Identifier: Apache-2.0
"""What a user may choose."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from hwgen.errors import ConfigError, printable

# Codes that reach a multiplier have at most 16 bits; signed ones of a single bit are ambiguous.
LEAST_BITS, MOST_BITS = 2, 16


class Method(enum.Enum):
    """How a scale is found from the values seen."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"

    @classmethod
    def parse(cls, name: str) -> Method:
        """The method called ``name``; raises ConfigError if there is none."""
        if name in [method.value for method in cls]:
            return cls(name)
        raise ConfigError(f"--method must be one of {', '.join(m.value for m in cls)}, not {printable(name)}")


@dataclass(frozen=True)
class Options:
    """How quantizers are picked; see ``hwgen calibrate --help``.

    ``bits`` are those of activations, ``accumulator_bits`` those of gate accumulators and ``cell_bits`` those of cell
    states, both as ``bits`` if None.  ``output_bits`` quantizes the sums that leave the graph, which stay as they are
    if it is None.  Raises ConfigError for values out of range.
    """

    method: Method = Method.MINMAX
    percentile: float = 99.9
    power_of_two: bool = False
    bits: int = 8
    weight_bits: int = 8
    accumulator_bits: int | None = None
    cell_bits: int | None = None
    output_bits: int | None = None
    per_channel: bool = False

    def __post_init__(self) -> None:
        widths = {
            "--bits": self.bits,
            "--weight-bits": self.weight_bits,
            "--accumulator-bits": self.accumulator_bits,
            "--cell-bits": self.cell_bits,
            "--output-bits": self.output_bits,
        }
        for option, width in widths.items():
            if width is not None and not LEAST_BITS <= width <= MOST_BITS:
                raise ConfigError(f"{option} must be from {LEAST_BITS} to {MOST_BITS}, not {width}")
        if not (math.isfinite(self.percentile) and 50 <= self.percentile <= 100):
            raise ConfigError(f"--percentile must be from 50 to 100, not {self.percentile:g}")

    @property
    def of_accumulators(self) -> int:
        """Bits of gate accumulators."""
        return self.accumulator_bits or self.bits

    @property
    def of_cells(self) -> int:
        """Bits of cell states."""
        return self.cell_bits or self.bits
