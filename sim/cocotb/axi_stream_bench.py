# SPDX-License-Identifier: Apache-2.0
"""A bench for designs with AXI4-Stream ports: sources and sinks, a watch on every handshake, codes compared at the end.

The ports of a generated design are s_axis_NAME_* and m_axis_NAME_* with aclk and aresetn; those of an HLS tool, NAME_*
with ap_clk and ap_rst_n, do as well.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from axi_stream_design import Description, Frame, Port, Traffic
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

RESET_CYCLES = 16
# A design may register its reset, and then clear TVALID a cycle later.
RESET_LATENCY = 2
Stalls = Callable[[random.Random], Iterator[bool]]


def find(dut: Any, *names: str) -> Any:
    """The first of the signals that the top level has."""
    for name in names:
        handle = getattr(dut, name, None)
        if handle is not None:
            return handle
    raise LookupError(f"the top level has no port {' or '.join(names)}")


class Watch:
    """Sees every cycle of a port: counts its beats, and checks that a beat stays as it is until it is taken."""

    def __init__(self, port: Port, bus: Any) -> None:
        self.port, self.bus = port, bus
        self.driven_by_design = port.direction == "out"
        self.violations: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Forget what was before."""
        self.beats = 0
        self.first = self.last = -1
        self.waiting: tuple[int, int, int] | None = None

    def sample(self, cycle: int) -> bool:
        """Look at a cycle just before its clock edge; true if a beat is taken at that edge."""
        bus = self.bus
        if not bus.tvalid.value:
            if self.waiting is not None and self.driven_by_design:
                self.violate(cycle, "TVALID fell before the beat was taken")
            self.waiting = None
            return False
        taken = bool(bus.tready.value)
        if self.driven_by_design and (self.waiting is not None or not taken):
            tid = int(bus.tid.value) if self.port.id_bits else 0
            shown = int(bus.tdata.value), int(bus.tlast.value), tid
            if self.waiting not in (None, shown):
                what = "TDATA, TLAST or TID" if self.port.id_bits else "TDATA or TLAST"
                self.violate(cycle, f"{what} changed before the beat was taken")
            self.waiting = None if taken else shown
        if taken:
            self.beats += 1
            self.first = cycle if self.first < 0 else self.first
            self.last = cycle
        return taken

    def violate(self, cycle: int, what: str) -> None:
        """Note a breach of the protocol."""
        self.violations.append(f"{self.port.name}: {what} (cycle {cycle})")


class Bench:
    """One pattern on one design: reset, send, receive, compare."""

    def __init__(self, dut: Any, description: Description, pattern: str) -> None:
        self.description, self.pattern = description, pattern
        self.clock, self.resetn = find(dut, "aclk", "ap_clk"), find(dut, "aresetn", "ap_rst_n")
        self.resetn.value = 0
        Clock(self.clock, 10, "ns").start()
        self.edge = RisingEdge(self.clock)
        self.sources = {port.name: self._endpoint(dut, AxiStreamSource, port) for port in description.inputs}
        self.sinks = {port.name: self._endpoint(dut, AxiStreamSink, port) for port in description.outputs}
        ends = self.sources | self.sinks
        self.watches = {
            port.name: Watch(port, ends[port.name].bus) for port in (*description.inputs, *description.outputs)
        }
        self.outputs = [self.watches[name] for name in self.sinks]
        self.cycle = 0
        self.codes = self.mismatches = self.sequences = 0
        self.sent: dict[str, list[Frame]] = {name: [] for name in self.watches}
        self.cycles: dict[str, dict[str, int]] | None = None
        self.problems: list[str] = []

    def _endpoint(self, dut: Any, kind: Any, port: Port) -> Any:
        prefix = ("s_axis_" if port.direction == "in" else "m_axis_") + port.name
        tdata = find(dut, f"{prefix}_tdata", f"{port.name}_TDATA")
        if len(tdata) != port.width:
            raise LookupError(f"{tdata._name} has {len(tdata)} bits, not {port.lanes} lanes of {port.lane_bits}")
        bus = AxiStreamBus.from_prefix(dut, tdata._name[: -len("_tdata")])
        for needed in ("tvalid", "tready", "tlast", *(["tid"] if port.id_bits else [])):
            if not hasattr(bus, needed):
                raise LookupError(f"{tdata._name} has no {needed.upper()} beside it")
        if port.direction == "in":
            for name in (f"{prefix}_tstrb", f"{port.name}_TSTRB"):
                if (strobes := getattr(dut, name, None)) is not None:
                    strobes.value = (1 << len(strobes)) - 1
        # Without TKEEP a beat is one word; with it, bytes.
        size = {} if hasattr(bus, "tkeep") else {"byte_size": port.width}
        return kind(bus, self.clock, self.resetn, reset_active_level=False, **size)

    # Clock and reset.

    async def run(self, cycles: int) -> None:
        """Let so many cycles pass."""
        for _ in range(cycles):
            await self._next()

    async def _next(self) -> bool:
        """One cycle; true if a beat moved."""
        await self.edge
        self.cycle += 1
        moved = False
        for watch in self.watches.values():
            moved |= watch.sample(self.cycle)
        return moved

    async def reset(self) -> None:
        """Reset, from whatever state; afterwards nothing is sent, stalled or expected."""
        self.resetn.value = 0
        self._stop_stalls()
        for end in (*self.sources.values(), *self.sinks.values()):
            end.clear()
        for cycle in range(RESET_CYCLES):
            await self.edge
            self.cycle += 1
            for watch in self.outputs:
                if cycle >= RESET_LATENCY and watch.bus.tvalid.value:
                    watch.violate(self.cycle, "TVALID during reset")
        self.resetn.value = 1
        for watch in self.watches.values():
            watch.begin()
        for sink in self.sinks.values():
            sink.clear()
        self.sent = {name: [] for name in self.watches}

    # Traffic.

    def stall(self, name: str, stalls: Stalls) -> None:
        """Stall a port at random; the seed, the pattern and the port decide when."""
        end = (self.sources | self.sinks)[name]
        end.set_pause_generator(stalls(random.Random(f"{self.description.seed} {self.pattern} {name}")))

    def _stop_stalls(self) -> None:
        for end in (*self.sources.values(), *self.sinks.values()):
            end.clear_pause_generator()
            end.pause = False

    def send(self, traffic: Traffic, begin: int = 0, end: int | None = None) -> None:
        """Queue sequences, all of them or those from ``begin`` to ``end``; their outputs are expected from now on."""
        for name, source in self.sources.items():
            port = self.watches[name].port
            for frame in traffic.part(port, begin, end):
                shifts = range(0, source.width, source.byte_size)
                words = [beat >> shift & source.byte_mask for beat in frame for shift in shifts]
                ids = [beat >> port.width for beat in frame for _ in shifts]
                source.send_nowait(AxiStreamFrame(words, tid=ids) if port.id_bits else words)
        for name, expected in self.sent.items():
            expected += traffic.part(self.watches[name].port, begin, end)
        self.sequences += len(traffic.lengths[begin:end])

    async def receive(self) -> bool:
        """Wait until all that was sent is taken and its outputs are there; False if the design hangs."""
        wanted = [(watch, sum(map(len, self.sent[name]))) for name, watch in self.watches.items()]
        idle = 0
        while any(watch.beats < count for watch, count in wanted):
            idle = 0 if await self._next() else idle + 1
            if idle > self.description.patience:
                self.problems.append(f"hangs: no beat in the {idle} cycles before cycle {self.cycle}")
                return False
        return True

    async def check(self, predicted: dict[str, dict[str, int]] | None = None) -> None:
        """Receive everything, see that nothing more comes, and compare codes, TLAST, and cycles where predicted.

        What is wrong is noted; ``verdict`` fails the test.
        """
        if await self.receive():
            self._stop_stalls()
            await self.run(self.description.quiet)
        for name, source in self.sources.items():
            if not source.empty() or not source.idle():
                self.problems.append(f"{name}: {source.count()} sequences were not taken")
        for name in self.sinks:
            self._compare(name)
        origin = self.watches["x"].first
        cycles = {
            watch.port.name: {"first": watch.first - origin, "last": watch.last - origin} for watch in self.outputs
        }
        self.cycles = self.cycles or cycles
        for name, expected in (predicted or {}).items():
            if cycles[name] != expected:
                self.problems.append(f"{name}: first and last beat in cycles {cycles[name]}, predicted {expected}")

    def _compare(self, name: str) -> None:
        port, sink, watch = self.watches[name].port, self.sinks[name], self.watches[name]
        got: list[tuple[int, bool]] = []
        while not sink.empty():
            got += self._beats(port, sink)
        if len(got) != watch.beats:
            self.problems.append(f"{name}: {watch.beats - len(got)} beats without TLAST behind them")
        wanted = [(beat, i == len(frame) - 1) for frame in self.sent[name] for i, beat in enumerate(frame)]
        self.codes += len(wanted) * port.lanes
        wrong = abs(len(wanted) - len(got)) * port.lanes
        if wrong:
            self.problems.append(f"{name}: {len(got)} beats, not {len(wanted)}")
        differing = [place for place, (ours, theirs) in enumerate(zip(got, wanted, strict=False)) if ours != theirs]
        for place in differing:
            codes, right = port.unpack(got[place][0]), port.unpack(wanted[place][0])
            if place == differing[0]:
                shown = f"codes {codes}, not {right}" if codes != right else "codes equal"
                lasts = f"TLAST {got[place][1]:d}, not {wanted[place][1]:d}"
                if port.id_bits:
                    lasts += f"; TID {got[place][0] >> port.width}, not {wanted[place][0] >> port.width}"
                self.problems.append(f"{name}: beat {place}: {shown}; {lasts}")
            wrong += max(sum(a != b for a, b in zip(codes, right, strict=True)), 1)
        self.mismatches += wrong

    def _beats(self, port: Port, sink: Any) -> list[tuple[int, bool]]:
        """The next frame of a sink as beats with their TLAST."""
        frame = sink.recv_nowait(compact=False)
        lanes, size = sink.byte_lanes, sink.byte_size
        words = [
            sum(byte << (i * size) for i, byte in enumerate(frame.tdata[at : at + lanes]))
            for at in range(0, len(frame.tdata), lanes)
        ]
        if port.id_bits:
            words = [tid << port.width | word for tid, word in zip(frame.tid[::lanes], words, strict=True)]
        if not all(frame.tkeep or ()):
            self.problems.append(f"{port.name}: TKEEP is not all ones")
        return [(word, i == len(words) - 1) for i, word in enumerate(words)]

    def verdict(self) -> None:
        """Write the result of the pattern; raises AssertionError if anything was wrong."""
        self.problems += [violation for watch in self.outputs for violation in watch.violations[:3]]
        result = {
            "pattern": self.pattern,
            "sequences": self.sequences,
            "codes": self.codes,
            "mismatches": self.mismatches,
            "clock_cycles": self.cycle,
            "cycles": self.cycles,
            "problems": self.problems,
        }
        with self.description.results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        assert not self.problems, "; ".join(self.problems)
