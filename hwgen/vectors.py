# SPDX-License-Identifier: Apache-2.0
"""Test vectors: seeded sequences of input codes, and what the reference and the integer model make of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hwgen.errors import ConfigError
from hwgen.integer import IntegerCell
from hwgen.layers import InitialState, state_roles
from hwgen.quantizer import IntArray, IntegerType
from hwgen.schedule import Schedule

# Few distinct lengths, so that sequences of equal length are evaluated as one batch.
_LENGTHS = (1, 2, 3, 5, 8, 13, 21)
Codes = dict[str, IntArray]
# x [T, batch, I] and states [batch, H] or None -> y [T, batch, H], last h, last c
_Run = Callable[[IntArray, IntArray | None, IntArray | None], tuple[IntArray, IntArray, IntArray]]


@dataclass(frozen=True)
class Sequences:
    """Sequences back to back: per port the codes [vectors, features], and the length of each sequence.

    Ports: x with one vector a step, h0 and c0 with one a sequence where the states are inputs.
    """

    lengths: tuple[int, ...]
    codes: Codes

    @property
    def steps(self) -> int:
        """Time steps in all."""
        return sum(self.lengths)

    def cut(self, lengths: tuple[int, ...]) -> Sequences:
        """The first ``lengths`` steps of the first sequences; any number of steps up to all of them is a sequence."""
        starts = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int64)
        rows = np.concatenate([np.arange(n) + begin for n, begin in zip(lengths, starts, strict=False)])
        states = {name: codes[: len(lengths)] for name, codes in self.codes.items() if name != "x"}
        return Sequences(lengths, {"x": self.codes["x"][rows]} | states)


@dataclass(frozen=True)
class Results:
    """Codes of every port that could leave the design: y [steps, H], h_n and c_n [sequences, H]."""

    y: IntArray
    h_n: IntArray
    c_n: IntArray

    def port(self, name: str) -> IntArray:
        """The codes of port y, h_n or c_n."""
        return {"y": self.y, "h_n": self.h_n, "c_n": self.c_n}[name]


def random_sequences(design: Schedule, count: int, seed: int) -> Sequences:
    """``count`` sequences of random lengths from 1 step, over all codes, with stretches at the ends of the range."""
    cell, generator = design.cell, np.random.default_rng(seed)
    limit = design.options.max_length if cell.reverse else max(_LENGTHS)
    lengths = tuple(int(n) for n in generator.choice([n for n in _LENGTHS if n <= limit] or [1], count))
    codes = {"x": _random_codes(generator, cell.input, (sum(lengths), cell.input_size))}
    if cell.initial_hidden is None:
        codes["h0"] = _random_codes(generator, cell.hidden, (count, cell.hidden_size))
    if cell.initial_cell is None:
        codes["c0"] = _random_codes(generator, cell.cell, (count, cell.hidden_size))
    return Sequences(lengths, codes)


def _random_codes(generator: np.random.Generator, codes: IntegerType, shape: tuple[int, int]) -> IntArray:
    if codes.bipolar:
        return generator.choice([-1, 1], shape)
    values = generator.integers(codes.lo, codes.hi, shape, endpoint=True)
    extremes = generator.choice([codes.lo, codes.hi], shape)
    # A third of the vectors saturate: they drive accumulators to the ends of their ranges.
    return np.where(generator.random((shape[0], 1)) < 1 / 3, extremes, values)


def from_user(design: Schedule, given: Codes) -> Sequences:
    """Sequences of a user's batch, by wire: x [T, batch, I], states [batch, H]."""
    roles = state_roles(design.network.layer)
    codes = {roles[name]: array for name, array in given.items()}
    steps, batch, features = codes["x"].shape
    if design.cell.reverse and steps > design.options.max_length:
        raise ConfigError(
            f"--input: sequences of {steps} steps exceed the {design.options.max_length} that the buffers of this "
            "reversed layer hold; build with a larger --max-length"
        )
    flat = {"x": codes["x"].swapaxes(0, 1).reshape(-1, features)}
    return Sequences((steps,) * batch, flat | {name: codes[name] for name in ("h0", "c0") if name in codes})


def integer_results(design: Schedule, sequences: Sequences) -> Results:
    """What the integer model makes of them."""
    return _evaluate(design.cell.run, design.cell, design.options.streaming, sequences)


def reference_results(design: Schedule, sequences: Sequences) -> Results:
    """What the float64 reference makes of the same codes as real values, as codes again."""
    layer = design.network.layer
    fed = {wire.name: wire for port in design.network.inputs for wire in port.wires}
    names = {role: name for name, role in state_roles(layer).items()}

    def run(x: IntArray, h0: IntArray | None, c0: IntArray | None) -> tuple[IntArray, IntArray, IntArray]:
        real = {names["x"]: fed[names["x"]].decode(x)}
        # A streaming design goes on with states that the model itself begins with.
        begin = layer
        if h0 is not None and c0 is not None and "h0" not in names:
            begin = replace(
                layer,
                initial_hidden=InitialState(layer.output, source="h0"),
                initial_cell=InitialState(layer.cell, source="c0"),
            )
        for role, codes, quantizer in (("h0", h0, layer.output), ("c0", c0, layer.cell)):
            if codes is not None:
                real[names.get(role, role)] = quantizer.dequantize(codes)
        y, h, c = begin.evaluate(real).values()
        return _codes(layer.output.quantize(y)), _codes(layer.output.quantize(h)), _codes(layer.cell.quantize(c))

    return _evaluate(run, design.cell, design.options.streaming, sequences)


def _codes(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> IntArray:
    return values.astype(np.int64)


def _evaluate(run: _Run, cell: IntegerCell, streaming: bool, sequences: Sequences) -> Results:
    starts = np.concatenate(([0], np.cumsum(sequences.lengths))).astype(np.int64)
    x = sequences.codes["x"]
    y = np.empty((len(x), cell.hidden_size), np.int64)
    h_n = np.empty((len(sequences.lengths), cell.hidden_size), np.int64)
    c_n = np.empty_like(h_n)
    if streaming:
        h: IntArray | None = None
        c: IntArray | None = None
        for index, (begin, end) in enumerate(itertools.pairwise(starts)):
            part, h, c = run(x[begin:end, np.newaxis], h, c)
            y[begin:end], h_n[index], c_n[index] = part[:, 0], h[0], c[0]
        return Results(y, h_n, c_n)
    for length, members in _by_length(sequences.lengths):
        rows = starts[members][np.newaxis] + np.arange(length)[:, np.newaxis]
        states = [sequences.codes[name][members] if name in sequences.codes else None for name in ("h0", "c0")]
        y[rows], h_n[members], c_n[members] = run(x[rows], *states)
    return Results(y, h_n, c_n)


def _by_length(lengths: tuple[int, ...]) -> Iterator[tuple[int, IntArray]]:
    array = np.asarray(lengths)
    for length in sorted(set(lengths)):
        yield length, np.flatnonzero(array == length)


def to_text(codes: IntArray, lengths: tuple[int, ...]) -> str:
    """A vector file: per sequence a line with its number of vectors, then one line of codes for each."""
    lines: list[str] = []
    begin = 0
    rows = codes.tolist()
    for length in lengths:
        lines.append(str(length))
        lines.extend(" ".join(map(str, row)) for row in rows[begin : begin + length])
        begin += length
    return "\n".join(lines) + "\n"


def from_text(text: str, width: int) -> tuple[IntArray, tuple[int, ...]]:
    """Codes [vectors, width] and sequence lengths of a vector file."""
    numbers = np.array(text.split(), np.int64)
    parts, lengths, place = [], [], 0
    while place < len(numbers):
        count = int(numbers[place])
        parts.append(numbers[place + 1 : place + 1 + count * width].reshape(count, width))
        lengths.append(count)
        place += 1 + count * width
    return np.concatenate(parts) if parts else np.empty((0, width), np.int64), tuple(lengths)
