# SPDX-License-Identifier: Apache-2.0
"""What cocotb runs: each unit of a wrapper with all of its instances, free running and with pauses on either side.

Broken units must fail.
"""

from __future__ import annotations

import importlib
import os
import random
from typing import Any

import cocotb
from cocotb.triggers import Timer
from units.bench import Bench, wrapper

BENCHES: list[Bench] = importlib.import_module(f"units.{os.environ['UNITS']}").benches()
SEED = int(os.environ["UNITS_SEED"])
# How often the input pauses, and how often the other side does; the last round is cut off by the reset.
ROUNDS = ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.5, 0.5), (0.1, 0.95), (0.2, 0.2))
CYCLES = 400
# By then everything that went in must have come out.
DRAIN = 2000

wrapper("bench", BENCHES)  # gives the instances their names


class Run:
    """The instances of one unit, and the signals of each."""

    def __init__(self, dut: Any, benches: list[Bench]) -> None:
        self.dut, self.benches = dut, benches
        self.inputs = [{port: getattr(dut, f"{b.name}_{port}") for port in b.inputs} for b in benches]
        self.outputs = [{port: getattr(dut, f"{b.name}_{port}") for port in b.outputs} for b in benches]

    async def cycle(self, observed: bool) -> None:
        """Inputs after the falling edge, outputs before the rising edge."""
        self.dut.clk.value = 0
        driven = []
        for bench, ports in zip(self.benches, self.inputs, strict=True):
            values = bench.drive()
            driven.append(values)
            for port, value in values.items():
                ports[port].value = value
        await Timer(1, "ns")
        if observed:
            for bench, values, ports in zip(self.benches, driven, self.outputs, strict=True):
                outputs = {port: int(handle.value) for port, handle in ports.items()}
                try:
                    bench.observe(values, outputs)
                except AssertionError as error:
                    raise AssertionError(f"{error}; idle {bench.idle}, stall {bench.stall}, seed {SEED}") from None
        self.dut.clk.value = 1
        await Timer(1, "ns")

    async def reset(self, rng: random.Random) -> None:
        """Some cycles of reset, inputs at random as far as their contract goes."""
        self.dut.rst_n.value = 0
        for bench in self.benches:
            bench.rng, bench.stopping = random.Random(rng.random()), False
            bench.restart()
        for _ in range(3):
            await self.cycle(observed=False)
            for bench, ports in zip(self.benches, self.outputs, strict=True):
                # Nothing moves during a reset.
                assert not int(getattr(ports.get("ready_o"), "value", 0)), f"{bench.unit}: ready_o is high in reset"
                bench.restart()
        self.dut.rst_n.value = 1


async def keeps_its_contract(dut: Any, module: str) -> None:
    """Every output in every cycle, for every parameter set."""
    run = Run(dut, [bench for bench in BENCHES if bench.module == module])
    rng = random.Random(f"{SEED} {module}")
    for number, (idle, stall) in enumerate(ROUNDS):
        for bench in run.benches:
            bench.idle, bench.stall = idle, stall
        await run.reset(rng)
        for _ in range(CYCLES):
            await run.cycle(observed=True)
        if number == len(ROUNDS) - 1:
            break
        for bench in run.benches:
            bench.stopping = True
        for _ in range(DRAIN):
            if all(bench.finished() for bench in run.benches):
                break
            await run.cycle(observed=True)
        for bench in run.benches:
            assert bench.finished(), f"{bench.unit} {bench.parameters}: something is missing, seed {SEED}"
    # Quiet while the other units are tested.
    for ports in run.inputs:
        for handle in ports.values():
            handle.value = 0
    await Timer(1, "ns")


def _test(module: str) -> Any:
    async def test(dut: Any) -> None:
        await keeps_its_contract(dut, module)

    return cocotb.test(name=module, expect_fail=module.startswith("broken"))(test)


# One test for each unit: cocotb finds them among the names of the module.
globals().update({module: _test(module) for module in sorted({bench.module for bench in BENCHES})})
