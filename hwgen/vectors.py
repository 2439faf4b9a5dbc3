# SPDX-License-Identifier: Apache-2.0
"""Test vectors: seeded sequences of input codes, and what the reference and the integer model make of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.dataflow import Dataflow, Design
from hwgen.errors import ConfigError
from hwgen.interleaving import Order
from hwgen.layers import InitialState, state_roles
from hwgen.quantizer import IntArray, IntegerType
from hwgen.schedule import Port, Schedule

# Few distinct lengths, so that sequences of equal length are evaluated as one batch.
_LENGTHS = (1, 2, 3, 5, 8, 13, 21)
Codes = dict[str, IntArray]
# x [T, batch, I] and states [batch, H] or None -> y [T, batch, H], last h, last c
_Run = Callable[[IntArray, IntArray | None, IntArray | None], tuple[IntArray, IntArray, IntArray]]


@dataclass(frozen=True)
class Sequences:
    """Sequences back to back: per port the codes [vectors, features], and the length of each sequence.

    Ports have a vector for each step, as x, or one for each sequence, as initial states that are inputs.
    """

    lengths: tuple[int, ...]
    codes: Codes
    per_sequence: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """Time steps in all."""
        return sum(self.lengths)

    def cut(self, lengths: tuple[int, ...]) -> Sequences:
        """The first ``lengths`` steps of the first sequences; any number of steps up to all of them is a sequence."""
        starts = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int64)
        rows = np.concatenate([np.arange(n) + begin for n, begin in zip(lengths, starts, strict=False)])
        codes = {
            name: codes[: len(lengths)] if name in self.per_sequence else codes[rows]
            for name, codes in self.codes.items()
        }
        return Sequences(lengths, codes, self.per_sequence)


@dataclass(frozen=True)
class Results:
    """Codes of every port that could leave the design: [steps, features] or [sequences, features]."""

    codes: Codes

    def port(self, name: str) -> IntArray:
        """The codes of a port."""
        return self.codes[name]


def least_length(design: Design) -> int:
    """The least steps of a sequence: as many as the steps that are selected from it need."""
    return design.least_length if isinstance(design, Dataflow) else 1


def longest_length(design: Design) -> int | None:
    """The most steps of a sequence that buffers hold; None if no buffer holds whole sequences."""
    stored = design.stores_sequences if isinstance(design, Dataflow) else design.cell.reverse
    return design.options.max_length if stored else None


def random_sequences(design: Design, count: int, seed: int) -> Sequences:
    """``count`` sequences of random lengths, the least among them, over all codes, with stretches at their ends."""
    generator = np.random.default_rng(seed)
    least, limit = least_length(design), longest_length(design) or max(_LENGTHS)
    legal = [n for n in _LENGTHS if least <= n <= limit] or [least]
    lengths = tuple(int(n) for n in generator.choice(legal, count))
    codes = {
        port.name: _random_codes(generator, port.codes, (sum(lengths) if port.per_step else count, port.width))
        for port in design.inputs
    }
    return Sequences(lengths, codes, _per_sequence(design))


def _per_sequence(design: Design) -> frozenset[str]:
    return frozenset(port.name for port in design.inputs if not port.per_step)


def _random_codes(generator: np.random.Generator, codes: IntegerType, shape: tuple[int, int]) -> IntArray:
    if codes.bipolar:
        return generator.choice([-1, 1], shape)
    values = generator.integers(codes.lo, codes.hi, shape, endpoint=True)
    extremes = generator.choice([codes.lo, codes.hi], shape)
    # A third of the vectors saturate: they drive accumulators to the ends of their ranges.
    return np.where(generator.random((shape[0], 1)) < 1 / 3, extremes, values)


def from_user(design: Design, given: Codes) -> Sequences:
    """Sequences of a user's batch, by wire: [T, batch, features] per step, [batch, features] per sequence."""
    codes = {}
    for port, wire in input_wires(design).items():
        array = given[wire]
        codes[port] = array.swapaxes(0, 1).reshape(-1, array.shape[-1]) if array.ndim == 3 else array
    steps, batch = next(array.shape[:2] for array in given.values() if array.ndim == 3)
    limit, least = longest_length(design), least_length(design)
    if limit is not None and steps > limit:
        raise ConfigError(
            f"--input: sequences of {steps} steps exceed the {limit} that the buffers of whole sequences hold; "
            "build with a larger --max-length"
        )
    if steps < least:
        raise ConfigError(f"--input: sequences of {steps} steps are too short: the model takes step {least} of them")
    return Sequences((steps,) * batch, codes, _per_sequence(design))


def input_wires(design: Design) -> dict[str, str]:
    """The wire of the network that each input port carries."""
    if isinstance(design, Dataflow):
        return {edge.port.name: edge.wire for edge in design.input_edges}
    return {role: wire for wire, role in state_roles(design.network.layer).items()}


def integer_results(design: Design, sequences: Sequences) -> Results:
    """What the integer model makes of them."""
    if isinstance(design, Dataflow):
        return _network_results(design, sequences, design.integer.run)
    return _evaluate(design.lstm.run, design, sequences)


def reference_results(design: Design, sequences: Sequences) -> Results:
    """What the float64 reference makes of the same codes as real values, as codes again."""
    if isinstance(design, Dataflow):
        wires = design.network.wires

        def evaluate(codes: Codes) -> Codes:
            real = design.network.evaluate({name: wires[name].decode(array) for name, array in codes.items()})
            return {edge.wire: _codes(wires[edge.wire].encode(real[edge.wire])) for edge in design.output_edges}

        return _network_results(design, sequences, evaluate)
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

    return _evaluate(run, design, sequences)


def _codes(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> IntArray:
    return values.astype(np.int64)


def _network_results(design: Dataflow, sequences: Sequences, run: Callable[[Codes], Codes]) -> Results:
    """Codes of the output ports, from codes by wire to codes by wire, for all sequences of one length at once."""
    starts = np.concatenate(([0], np.cumsum(sequences.lengths))).astype(np.int64)
    ports = input_wires(design)
    results = {
        port.name: np.empty((sequences.steps if port.per_step else len(sequences.lengths), port.width), np.int64)
        for port in design.outputs
    }
    for length, members in _by_length(sequences.lengths):
        rows = starts[members][np.newaxis] + np.arange(length)[:, np.newaxis]
        given = {
            wire: sequences.codes[port][members if port in sequences.per_sequence else rows]
            for port, wire in ports.items()
        }
        # What no output depends on has no port; the model still wants it.
        for wire in (wire for port in design.network.inputs for wire in port.wires if wire.name not in given):
            shape = (length, len(members)) if wire.per_step else (len(members),)
            given[wire.name] = np.full((*shape, wire.features), max(wire.quantizer.codes.lo, 0), np.int64)
        found = run(given)
        for edge in design.output_edges:
            results[edge.port.name][rows if edge.port.per_step else members] = found[edge.wire]
    return Results(results)


def _evaluate(run: _Run, design: Schedule, sequences: Sequences) -> Results:
    starts = np.concatenate(([0], np.cumsum(sequences.lengths))).astype(np.int64)
    x = sequences.codes["x"]
    hidden_size = design.cell.hidden_size
    y = np.empty((len(x), hidden_size), np.int64)
    h_n = np.empty((len(sequences.lengths), hidden_size), np.int64)
    c_n = np.empty_like(h_n)
    results = Results({"y": y, "h_n": h_n, "c_n": c_n})
    if design.options.streaming:
        # Each context goes on where its last sequence ended.
        contexts = Order(sequences.lengths, design.options.interleave).contexts_of_sequences
        kept: dict[int, tuple[IntArray | None, IntArray | None]] = {}
        for index, (begin, end) in enumerate(itertools.pairwise(starts)):
            part, h, c = run(x[begin:end, np.newaxis], *kept.get(contexts[index], (None, None)))
            y[begin:end], h_n[index], c_n[index] = part[:, 0], h[0], c[0]
            kept[contexts[index]] = h, c
        return results
    for length, members in _by_length(sequences.lengths):
        rows = starts[members][np.newaxis] + np.arange(length)[:, np.newaxis]
        states = [sequences.codes[name][members] if name in sequences.codes else None for name in ("h0", "c0")]
        y[rows], h_n[members], c_n[members] = run(x[rows], *states)
    return results


def _by_length(lengths: tuple[int, ...]) -> Iterator[tuple[int, IntArray]]:
    array = np.asarray(lengths)
    for length in sorted(set(lengths)):
        yield length, np.flatnonzero(array == length)


def to_text(port: Port, codes: IntArray, order: Order) -> str:
    """The vector file of a port, of its codes for sequences back to back.

    Vectors stand in the order in which they pass the port.  A line says how many follow that end with TLAST, then there
    is a line of codes for each; where sequences are interleaved, the line also says the TID of the vectors, whether
    the last of them ends the sequence, and they are the steps that follow each other.
    """
    lines: list[str] = []
    rows = codes.tolist()
    for head, places in _parts(port, order):
        lines.append(head)
        lines.extend(" ".join(map(str, rows[place])) for place in places)
    return "\n".join(lines) + "\n"


def _parts(port: Port, order: Order) -> Iterator[tuple[str, Sequence[int]]]:
    """The head of each part of a vector file, and the rows of its vectors."""
    if not port.per_step:
        ids = order.contexts_of_sequences
        for sequence in order.begun if port.direction == "in" else order.ended:
            yield f"1 {ids[sequence]} 1" if port.id_bits else "1", [sequence]
    elif not port.id_bits:
        ends = [0, *itertools.accumulate(order.lengths)]
        yield from ((str(end - begin), range(begin, end)) for begin, end in itertools.pairwise(ends))
    else:
        for arrival, row in zip(order.arrivals, order.rows.tolist(), strict=True):
            yield f"1 {arrival.context} {arrival.last:d}", [row]


def from_text(port: Port, text: str, order: Order) -> IntArray | None:
    """The codes of a port from a vector file, for sequences back to back; None if it has other parts than expected."""
    numbers = np.array(text.split(), np.int64)
    codes = np.empty((len(order.arrivals) if port.per_step else len(order.lengths), port.width), np.int64)
    place = 0
    for head, rows in _parts(port, order):
        expected = [int(part) for part in head.split()]
        begin = place + len(expected)
        if numbers[place:begin].tolist() != expected or begin + len(rows) * port.width > len(numbers):
            return None
        place = begin + len(rows) * port.width
        codes[list(rows)] = numbers[begin:place].reshape(len(rows), port.width)
    return codes if place == len(numbers) else None
