# SPDX-License-Identifier: Apache-2.0
"""Dense layers and step functions on streams: lowered layers in all forms, and a model of their codes and cycles."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from units.bench import Bench, Signals, pack

from hwgen.backends.rtl_head import dense_files, map_files
from hwgen.forms import choose
from hwgen.head_design import DenseDesign, MapDesign
from hwgen.integer_network import DenseStage, StepStage
from hwgen.layers import Activation, Bias, DenseLayer, QuantizedTensor, QuantizeLayer, Requantization, Wire
from hwgen.lowering.head import lower_dense, lower_quantize
from hwgen.quantizer import IntArray, IntegerType, Quantizer
from hwgen.registers import FAST, MEDIUM, SLOW, Registers

INT8, INT4, UINT8, UINT4 = (IntegerType(bits, sign) for sign in (True, False) for bits in (8, 4))
BIPOLAR = IntegerType(1, True, bipolar=True)


class StreamedLayer(Bench):
    """Vectors of valid codes in, the codes of the stage out, in the cycles of the design's contract."""

    def __init__(self, design: DenseDesign | MapDesign) -> None:
        self.design, self.unit = design, design.name
        super().__init__()
        if isinstance(design, DenseDesign):
            self.lanes_in, self.lanes_out = design.simd, design.pe
            self.features, self.results = design.product.columns, design.product.rows
        else:
            self.lanes_in = self.lanes_out = design.lanes
            self.features = self.results = design.features
        self.beats_in, self.beats_out = self.features // self.lanes_in, self.results // self.lanes_out

    @property
    def inputs(self) -> Mapping[str, int]:
        bits = self.lanes_in * self.design.source.storage.bits
        return {"valid_i": 1, "data_i": bits, "last_i": 1, "ready_i": 1}

    @property
    def outputs(self) -> Mapping[str, int]:
        return {"ready_o": 1, "valid_o": 1, "data_o": self.lanes_out * self.design.codes.storage.bits, "last_o": 1}

    def generated(self) -> dict[str, str]:
        origin = "Generated for a test."
        if isinstance(self.design, DenseDesign):
            return dense_files(self.design, origin)
        return map_files(self.design, origin)

    def files(self) -> dict[str, str]:
        return {path: text for path, text in self.generated().items() if path.startswith("rom/")}

    def sources(self) -> dict[str, str]:
        return {path: text for path, text in self.generated().items() if path.startswith("src/")}

    def restart(self) -> None:
        self.now, self.steps = 0, 0
        self.vectors: list[IntArray] = []  # with a beat that has entered, the last of them maybe in part
        self.wanted: list[list[int]] = []
        self.ends: list[bool] = []
        self.entries: list[int] = []
        self.exits: list[int] = []
        self.vector: IntArray | None = None
        self.beat = 0
        self.offered = False

    def codes(self) -> IntArray:
        """A vector: at random, or at the ends of the range, where sums are greatest and least."""
        lo, hi = self.design.source.lo, self.design.source.hi
        stage = self.design.stage
        kind = self.rng.randrange(5)
        if kind == 0 and isinstance(stage, DenseStage):
            upward = stage.weights[self.rng.randrange(self.results)] > 0
            return np.where(upward if self.rng.random() < 0.5 else ~upward, hi, lo)
        if kind == 1:
            return np.full(self.features, self.rng.choice([lo, hi]))
        legal = (lo, hi) if self.design.source.bipolar else range(lo, hi + 1)
        return np.array([self.rng.choice(legal) for _ in range(self.features)])

    def drive(self) -> Signals:
        ready = {"ready_i": int(not self.chance(self.stall))}
        if self.vector is None:
            if self.steps == 0 and self.busy():
                self.steps = self.rng.randint(1, 4)
            if self.steps:
                self.vector = self.codes()
        self.offered = self.offered or (self.vector is not None and not self.chance(self.idle))
        if not self.offered:
            nothing = {"valid_i": 0, "data_i": self.word(self.inputs["data_i"]), "last_i": self.rng.getrandbits(1)}
            return nothing | ready
        assert self.vector is not None
        lanes = self.vector[self.beat * self.lanes_in :][: self.lanes_in]
        last = self.steps == 1 and self.beat == self.beats_in - 1
        data = pack(map(int, lanes), self.design.source.storage.bits)
        return {"valid_i": 1, "data_i": data, "last_i": int(last)} | ready

    def left(self, beat: int) -> bool:
        """Whether an output beat has left before this cycle."""
        return beat < len(self.exits) and self.exits[beat] < self.now

    def ready(self) -> bool:
        """Whether a beat may enter in this cycle."""
        design, n = self.design, len(self.entries)
        if isinstance(design, MapDesign):
            return n < design.depth or self.left(n - design.depth)
        if n % self.beats_in:
            return True
        vector = n // self.beats_in
        # The other folds of the vector before come first.
        free = n == 0 or self.now > self.entries[-1] + (self.beats_out - 1) * self.beats_in
        oldest = vector - design.vectors
        return free and (oldest < 0 or self.left((oldest + 1) * self.beats_out - 1))

    def due(self) -> bool:
        """Whether the next output beat stands there in this cycle."""
        design, n = self.design, len(self.exits)
        if isinstance(design, MapDesign):
            return n < len(self.entries) and self.now >= self.entries[n] + design.step_latency + 1
        vector, fold = divmod(n, self.beats_out)
        if len(self.entries) < (vector + 1) * self.beats_in:
            return False
        tile = self.entries[(vector + 1) * self.beats_in - 1] + fold * self.beats_in
        return self.now >= tile + design.product_latency + design.step_latency + 1

    def observe(self, inputs: Signals, outputs: Signals) -> None:
        ready, due = self.ready(), self.due()
        self.same("ready_o", outputs["ready_o"], int(ready))
        self.same("valid_o", outputs["valid_o"], int(due))
        if due:
            vector, beat = divmod(len(self.exits), self.beats_out)
            codes, bits = self.wanted[vector], self.design.codes.storage.bits
            end = beat == self.beats_out - 1 and self.ends[vector]
            self.same("data_o", outputs["data_o"], pack(codes[beat * self.lanes_out :][: self.lanes_out], bits))
            self.same("last_o", outputs["last_o"], int(end))
            if inputs["ready_i"]:
                self.exits.append(self.now)
        if inputs["valid_i"] and ready:
            self.take()
        self.now += 1

    def take(self) -> None:
        """A beat enters."""
        assert self.vector is not None
        if self.beat == 0:
            stage = self.design.stage
            self.wanted.append(stage.run({stage.source: self.vector[np.newaxis]})[stage.wire][0].tolist())
            self.ends.append(self.steps == 1)
        self.entries.append(self.now)
        self.beat, self.offered = self.beat + 1, False
        if self.beat == self.beats_in:
            self.beat, self.vector, self.steps = 0, None, self.steps - 1

    def finished(self) -> bool:
        return self.vector is None and not self.steps and len(self.exits) == len(self.wanted) * self.beats_out


def quantizer(codes: IntegerType, scale: float | tuple[float, ...], zero: int | tuple[int, ...] = 0) -> Quantizer:
    scales = scale if isinstance(scale, tuple) else (scale,)
    zeros = zero if isinstance(zero, tuple) else (zero,)
    return Quantizer(tuple(float(np.float32(value)) for value in scales), zeros, codes)


def dense(
    name: str,
    shape: tuple[int, int],
    folding: tuple[int, int, int],
    form: str | None,
    source: Quantizer,
    target: IntegerType,
    weight: IntegerType = INT8,
    scale: float | tuple[float, ...] = 1 / 64,
    reach: float = 2.5,
    float_bias: bool = False,
    relu: bool = False,
    registers: Registers = MEDIUM,
) -> StreamedLayer:
    """A dense layer of (outputs, inputs), lowered; ``reach`` scales the codes that come out to their range."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    rows, columns = shape
    legal = [-1, 1] if weight.bipolar else np.arange(weight.lo, weight.hi + 1)
    weights = QuantizedTensor(rng.choice(legal, shape).astype(np.int64), quantizer(weight, scale, (0,) * rows))
    bias: Bias = rng.normal(0, 0.3, rows) if float_bias else None
    spread = source.scale[0] * max(weights.quantizer.scale) * max(abs(weight.lo), 1) * source.codes.hi * columns
    power = 2.0 ** np.round(np.log2(spread / (reach * target.hi)))
    step = Requantization(
        Activation.RELU if relu else Activation.IDENTITY,
        quantizer(target, float(power) if form == "shift" else float(power) * 0.77, 0 if target.signed else 3),
    )
    layer = DenseLayer(
        name,
        Wire("source", columns, True, source),
        weights,
        bias,
        None if form is None else step,
        Wire("wire", rows, True, step.quantizer),
    )
    stage = lower_dense(layer)
    codes = target
    if form is None:
        # As narrow as can be where they are unsigned, wider than the accumulator otherwise.
        total = stage.total.type
        codes = replace(total, bits=total.bits + 3) if total.signed else total
    else:
        assert stage.step is not None
        stage = replace(stage, step=choose(stage.step.step, (form,)))
    pe, simd, vectors = folding
    return StreamedLayer(DenseDesign(name, stage, source.codes, codes, pe, simd, vectors, registers))


def mapped(
    name: str,
    features: int,
    lanes: int,
    form: str,
    source: Quantizer,
    target: Quantizer,
    activation: Activation = Activation.IDENTITY,
    registers: Registers = MEDIUM,
) -> StreamedLayer:
    """A quantizer on every code, lowered."""
    layer = QuantizeLayer(name, Wire("source", features, True, source), Requantization(activation, target))
    stage: StepStage = lower_quantize(layer)
    stage = replace(stage, step=choose(stage.step.step, (form,)))
    return StreamedLayer(MapDesign(name, stage, source.codes, target.codes, features, lanes, registers))


def scales(count: int, first: float = 0.011) -> tuple[float, ...]:
    """A scale for each channel."""
    return tuple(first * 1.17**channel for channel in range(count))


def benches() -> list[StreamedLayer]:
    """Layers in every form, shared and per channel, in several foldings."""
    plain, small = quantizer(INT8, 1 / 32), quantizer(UINT4, 0.07, 7)
    unsigned, binary = quantizer(UINT8, 0.05), quantizer(BIPOLAR, 0.5)
    return [
        dense("shift_folded", (6, 10), (2, 5, 2), "shift", plain, INT8),
        dense("shift_whole", (3, 4), (3, 4, 1), "shift", plain, UINT8, relu=True, registers=FAST),
        dense("multiply_shared", (4, 6), (1, 2, 2), "multiply", unsigned, INT8, registers=FAST),
        dense("multiply_folded", (6, 4), (3, 2, 1), "multiply", plain, INT8, scale=scales(6), float_bias=True),
        dense("multiply_whole", (5, 3), (5, 1, 3), "multiply", small, UINT4, scale=scales(5), registers=SLOW),
        dense("multiply_single", (1, 1), (1, 1, 2), "multiply", plain, INT8, relu=True),
        dense("search_shared", (4, 6), (2, 3, 2), "search", unsigned, UINT4, registers=FAST),
        dense("search_folded", (6, 6), (2, 6, 4), "search", small, INT4, scale=scales(6), registers=SLOW),
        dense("search_whole", (3, 6), (3, 2, 2), "search", plain, INT4, scale=scales(3), float_bias=True),
        dense("search_constant", (2, 3), (1, 3, 2), "search", plain, INT4, reach=1e-4),
        dense("table_shared", (4, 4), (1, 1, 1), "table", small, INT8, INT4),
        dense("table_folded", (6, 2), (2, 2, 5), "table", small, INT8, INT4, scales(6), float_bias=True),
        dense("table_signs", (4, 8), (2, 4, 2), "table", binary, UINT4, BIPOLAR, registers=FAST),
        dense("sums_folded", (6, 9), (2, 3, 2), None, plain, INT8),
        dense("sums_single", (4, 3), (1, 1, 1), None, binary, INT8, registers=SLOW),
        dense("sums_whole", (3, 5), (3, 5, 3), None, unsigned, INT8, BIPOLAR, registers=FAST),
        dense("sums_unsigned", (3, 4), (1, 2, 2), None, unsigned, INT8, UINT4),
        mapped("map_shift", 6, 2, "shift", plain, quantizer(UINT8, 1 / 8), Activation.RELU),
        mapped("map_clamp", 4, 4, "shift", plain, quantizer(INT4, 1 / 32), registers=SLOW),
        mapped("map_shift_channels", 6, 3, "shift", quantizer(UINT8, 1 / 16, tuple(range(6))), quantizer(INT8, 1 / 4)),
        mapped("map_multiply", 3, 1, "multiply", plain, quantizer(INT4, 0.33)),
        mapped("map_multiply_channels", 6, 2, "multiply", quantizer(INT8, scales(6)), quantizer(UINT8, 0.03, 9)),
        mapped(
            "map_offset_channels", 6, 2, "multiply", quantizer(UINT8, 0.05, (0, 30, 9, 60, 4, 1)), quantizer(INT8, 0.13)
        ),
        mapped("map_search", 4, 2, "search", plain, quantizer(UINT8, 1 / 256), Activation.SIGMOID, FAST),
        mapped("map_search_channels", 6, 1, "search", quantizer(UINT8, 0.03, 5), quantizer(INT4, scales(6, 0.4))),
        mapped("map_table", 5, 5, "table", unsigned, quantizer(INT8, 1 / 128), Activation.TANH),
        mapped("map_table_channels", 6, 2, "table", plain, quantizer(INT4, scales(6, 0.2)), registers=FAST),
        mapped("map_bipolar", 4, 2, "table", binary, quantizer(UINT4, 0.25, 6)),
        mapped("map_constant", 2, 1, "search", plain, quantizer(INT4, 64.0)),
    ]
