# SPDX-License-Identifier: Apache-2.0
"""The patterns that every design is put through; each begins with a reset and compares every code."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import cocotb
from axi_stream_bench import Bench, Stalls
from axi_stream_design import read_description

Pattern = Callable[[Bench], Awaitable[None]]


def pattern(run: Pattern) -> Any:
    """A cocotb test that resets the design, runs a pattern, and fails if anything in it was wrong."""

    @cocotb.test()
    @wraps(run)
    async def test(dut: Any) -> None:
        bench = Bench(dut, read_description(), run.__name__)
        await bench.reset()
        await run(bench)
        bench.verdict()

    return test


def bursts(step_cycles: int) -> Stalls:
    """Stalls that come and go: stretches of cycles with none, a third, most, or all but a few of them stalled."""
    seldom = 1 - 1 / (step_cycles + 10)

    def stalls(generator: random.Random) -> Iterator[bool]:
        while True:
            chance = generator.choice((0.0, 0.3, 0.7, 0.95, seldom))
            for _ in range(generator.randint(1, 2 * step_cycles + 100)):
                yield generator.random() < chance

    return stalls


def long_stalls(step_cycles: int) -> Stalls:
    """Stalls of hundreds of cycles, some of them several time steps long, between stretches at full rate."""

    def stalls(generator: random.Random) -> Iterator[bool]:
        while True:
            yield from [False] * generator.randint(1, 3 * step_cycles + 50)
            yield from [True] * generator.randint(200, 4 * step_cycles + 400)

    return stalls


async def _stalled(bench: Bench, ends: Iterable[str], stalls: Callable[[int], Stalls]) -> None:
    for name in ends:
        bench.stall(name, stalls(bench.description.step_cycles))
    bench.send(bench.description.traffic["sequences"])
    await bench.check()


@pattern
async def full_rate(bench: Bench) -> None:
    """Sequences back to back, no stalls: in exactly the predicted cycles."""
    traffic = bench.description.traffic["sequences"]
    bench.send(traffic)
    await bench.check(traffic.cycles)


@pattern
async def idle(bench: Bench) -> None:
    """The sources stall at random."""
    await _stalled(bench, bench.sources, bursts)


@pattern
async def backpressure(bench: Bench) -> None:
    """The sinks stall at random."""
    await _stalled(bench, bench.sinks, bursts)


@pattern
async def idle_and_backpressure(bench: Bench) -> None:
    """Both sides stall at random, each port by itself."""
    await _stalled(bench, [*bench.sources, *bench.sinks], bursts)


@pattern
async def long_input_stalls(bench: Bench) -> None:
    """The sources stall for hundreds of cycles, in the middle of sequences and of vectors."""
    await _stalled(bench, bench.sources, long_stalls)


@pattern
async def long_output_stalls(bench: Bench) -> None:
    """The sinks stall for hundreds of cycles, each by itself: one output is full while another is empty."""
    await _stalled(bench, bench.sinks, long_stalls)


@pattern
async def one_at_a_time(bench: Bench) -> None:
    """A sequence is sent when the one before has left: no output waits for an input that is not its own."""
    traffic = bench.description.traffic["sequences"]
    generator = random.Random(bench.description.seed)
    for index in range(len(traffic.lengths)):
        bench.send(traffic, index, index + 1)
        if not await bench.receive():
            break
        await bench.run(generator.randint(0, bench.description.step_cycles))
    await bench.check()


@pattern
async def single_steps(bench: Bench) -> None:
    """Sequences all of one time step: at full rate, in the predicted cycles, and then with stalls."""
    traffic = bench.description.traffic["single_steps"]
    bench.send(traffic)
    await bench.check(traffic.cycles)
    await bench.reset()
    for name in (*bench.sources, *bench.sinks):
        bench.stall(name, bursts(bench.description.step_cycles))
    bench.send(traffic)
    await bench.check()


@pattern
async def reset_in_sequence(bench: Bench) -> None:
    """Reset cuts off what is going on, at several places; afterwards everything is as after the first reset."""
    traffic = bench.description.traffic["sequences"]
    generator = random.Random(bench.description.seed)
    for stalled in (False, True, False, True):
        for name in (*bench.sources, *bench.sinks) if stalled else ():
            bench.stall(name, bursts(bench.description.step_cycles))
        bench.send(traffic)
        await bench.run(generator.randint(5, 3 * bench.description.step_cycles + 50))
        await bench.reset()
    bench.send(traffic)
    await bench.check(traffic.cycles)
