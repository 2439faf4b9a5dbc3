# SPDX-License-Identifier: Apache-2.0
"""The experiments: which network learns which data, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Training:
    """How long and how fast to train; ``scale_rate`` is the learning rate of the quantizers' scales."""

    epochs: int
    rate: float
    scale_rate: float = 0.0
    weight_decay: float = 0.2


@dataclass(frozen=True)
class Experiment:
    """A classifier: recurrent layers, and a dense layer on what they give last.

    ``kind`` is LSTM, RNN or GRU.  The input and the hidden state share a quantizer, whose range starts at
    +-``input_range``; gate accumulators start at +-``gate_range``.  ``noise`` is what training adds to the inputs.
    ``calibration_steps`` are those of the training sequences from which `hwgen calibrate` picks scales.  Brevitas has
    no GRU: without ``quantized`` the float network is calibrated alone.
    """

    name: str
    title: str
    data: str
    kind: str
    hidden: int
    features: int
    classes: int
    floating: Training
    quantized: Training | None
    calibration_steps: int
    layers: int = 1
    bidirectional: bool = False
    input_range: float = 2.0
    gate_range: float = 6.0
    noise: float = 0.3
    batch: int = 27
    shortest_cut: float = 1.0

    @property
    def weights_alone(self) -> bool:
        """Whether Brevitas can export it with quantized weights alone; otherwise the float network is calibrated."""
        return self.kind == "LSTM"

    @property
    def brevitas_file(self) -> str:
        """What ``hwgen.export_qonnx`` wrote."""
        return f"{self.name}.onnx"

    @property
    def float_file(self) -> str:
        """What ``hwgen calibrate`` reads: float, or with quantized weights alone."""
        return f"{self.name}_float.onnx"

    @property
    def calibrated_file(self) -> str:
        """What ``hwgen calibrate`` wrote."""
        return f"{self.name}_calibrated.onnx"

    @property
    def recording_file(self) -> str:
        """What float network and Brevitas gave for the test sequences."""
        return f"{self.name}.npz"

    @property
    def files(self) -> list[str]:
        """The networks that become hardware."""
        return [self.calibrated_file] if self.quantized is None else [self.brevitas_file, self.calibrated_file]


EXPERIMENTS = (
    Experiment(
        name="vowels_lstm",
        title="Japanese Vowels, LSTM of 32",
        data="vowels",
        kind="LSTM",
        hidden=32,
        features=12,
        classes=9,
        floating=Training(epochs=60, rate=0.02),
        quantized=Training(epochs=20, rate=0.002, scale_rate=0.01),
        calibration_steps=12,
    ),
    Experiment(
        name="vowels_bidirectional",
        title="Japanese Vowels, two bidirectional LSTM layers of 16",
        data="vowels",
        kind="LSTM",
        hidden=16,
        features=12,
        classes=9,
        layers=2,
        bidirectional=True,
        floating=Training(epochs=60, rate=0.02),
        quantized=Training(epochs=20, rate=0.002, scale_rate=0.01),
        calibration_steps=12,
    ),
    Experiment(
        name="digits_rnn",
        title="Digits row by row, RNN of 64 (tanh)",
        data="digits",
        kind="RNN",
        hidden=64,
        features=8,
        classes=10,
        floating=Training(epochs=60, rate=0.005, weight_decay=0.05),
        quantized=Training(epochs=10, rate=0.001, scale_rate=0.005, weight_decay=0.05),
        calibration_steps=8,
        input_range=1.0,
        gate_range=4.0,
        noise=0.2,
        batch=32,
    ),
    Experiment(
        name="motions_gru",
        title="Basic Motions, GRU of 24",
        data="motions",
        kind="GRU",
        hidden=24,
        features=6,
        classes=4,
        floating=Training(epochs=80, rate=0.01),
        quantized=None,
        calibration_steps=100,
        noise=0.1,
        batch=8,
        shortest_cut=0.3,
    ),
)

HERE = Path(__file__).resolve().parent


def experiment(name: str) -> Experiment:
    """The experiment of a name."""
    return next(entry for entry in EXPERIMENTS if entry.name == name)
