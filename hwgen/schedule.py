# SPDX-License-Identifier: Apache-2.0
"""The scheduler: folding, widths, memories, streams and cycles; what a template prints is computed here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hwgen import packing
from hwgen.adders import AdderGraph, adder_graph, check_constant_products, constant_products
from hwgen.devices import Device, device
from hwgen.directions import DIRECTIONS
from hwgen.errors import ConfigError, printable
from hwgen.folding import Folding, check_folding, common_type, derive_folding, recurrence_depth
from hwgen.forms import Certified
from hwgen.integer import IntegerCell, Interval
from hwgen.integer_cells import RecurrentCell
from hwgen.interleaving import check_contexts, interval
from hwgen.lowering import lower_cell
from hwgen.network import Network
from hwgen.quantizer import IntArray, IntegerType
from hwgen.storage import AUTO, LookAhead, check_look_ahead

DEFAULT_MAX_LENGTH = 512
# Projected inputs run ahead of the recurrence by so many beats at most.
RUN_AHEAD = 32
# Estimated cycles from tiles of the input product by way of the sums to the read of these, beyond the tiles.
_LATENCIES = 8
OUTPUTS = ("sequence", "last_hidden", "last_cell")


@dataclass(frozen=True)
class FoldedProduct:
    """A matrix-vector product in hardware: rows x columns, PE x SIMD of them a cycle, weights as [pe, tile, lane].

    ``sums`` is the exact range of its accumulators; ``packing`` says how many products share a DSP.  One that
    takes a single cycle may be a ``graph`` of adders in the place of multiplications.
    """

    name: str
    rows: int
    columns: int
    pe: int
    simd: int
    weight: IntegerType
    weights: IntArray
    sums: Interval
    packing: int = 1
    # How far apart products stand that share a DSP.
    field_bits: int = 0
    # That of the memory of its weights.
    style: str = AUTO
    # Matrices that are multiplied in turns, the tiles of one behind those of the other.
    sets: int = 1
    graph: AdderGraph | None = None

    @property
    def folds(self) -> int:
        """Groups of PE rows."""
        return self.rows // self.pe

    @property
    def column_tiles(self) -> int:
        """Groups of SIMD columns."""
        return self.columns // self.simd

    @property
    def cycles(self) -> int:
        """Cycles of one product: one tile each."""
        return self.folds * self.column_tiles

    @property
    def multipliers(self) -> int:
        """Multiplications of one cycle."""
        return 0 if self.graph else self.pe * self.simd

    @property
    def tiles(self) -> int:
        """Tiles of all matrices."""
        return self.sets * self.cycles

    @property
    def memory_bits(self) -> int:
        """Bits of weight memory."""
        return 0 if self.graph else self.sets * self.rows * self.columns * self.weight.bits


@dataclass(frozen=True)
class Port:
    """An AXI4-Stream of a module: ``lanes`` codes a beat; ``beats`` make one vector.

    At the edge of a design each code is padded to bytes; between modules codes are ``packed``.  There is a vector for
    each time step, or one for each sequence.
    """

    name: str
    direction: str
    what: str
    codes: IntegerType
    lanes: int
    beats: int
    per_step: bool
    packed: bool = False
    # Bits of TID, where sequences are interleaved.
    id_bits: int = 0

    @property
    def lane_bits(self) -> int:
        """Bits of a lane."""
        return self.codes.storage.bits if self.packed else -(-self.codes.bits // 8) * 8

    @property
    def width(self) -> int:
        """Codes of one vector."""
        return self.lanes * self.beats

    @property
    def bits(self) -> int:
        """TDATA width."""
        return self.lane_bits * self.lanes

    def to_dict(self) -> dict[str, Any]:
        """As it stands in schedule.json."""
        return {
            "name": self.name,
            "direction": self.direction,
            "what": self.what,
            "codes": str(self.codes),
            "lanes": self.lanes,
            "lane_bits": self.lane_bits,
            "tdata_bits": self.bits,
            "beats": self.beats,
        } | ({"tid_bits": self.id_bits} if self.id_bits else {})


@dataclass(frozen=True)
class Options:
    """What the user asked for, checked."""

    target: Device
    clock_mhz: float
    streaming: bool
    max_length: int
    outputs: tuple[str, ...]
    # Sequences that are worked on in turns, each with a state of its own.
    interleave: int = 1
    # What works in turns on one engine: "directions", or nothing.
    share_engine: str = ""
    # How products are built that take one cycle, so that their weights are constants.
    constant_products: str = "multiply"
    # Dense layers behind both directions of a layer in halves, for which that of this one is not turned around.
    split_dense: bool = False
    as_computed: bool = False
    # Styles of memories that the user chose, by name, and time steps that the input product may be ahead.
    memory: tuple[tuple[str, str], ...] = ()
    look_ahead: int | None = None

    def style(self, name: str) -> str:
        """The style of a memory."""
        return dict(self.memory).get(name, AUTO)

    @property
    def chosen(self) -> dict[str, Any]:
        """What the user chose of memories and look-ahead, as it stands in schedule.json: nothing by default."""
        memory = {"memory": dict(self.memory)} if self.memory else {}
        return memory | ({} if self.look_ahead is None else {"look_ahead": self.look_ahead})


@dataclass(frozen=True)
class Schedule:
    """A recurrent layer, folded for a device: a design, or a part of one."""

    network: Network
    cell: RecurrentCell
    options: Options
    folding: Folding
    input_product: FoldedProduct
    hidden_product: FoldedProduct
    bias: IntArray
    units: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    # Its name in hardware where it is a part of a larger design.
    module: str = ""
    # The cells of both directions where they take turns, forward first; ``cell`` then has what they have in common.
    directions: tuple[RecurrentCell, RecurrentCell] | None = None
    # Two layers of a stack instead: inputs of each.  A state goes around through the input once in two steps of each.
    stack: tuple[int, int] | None = None

    def steps(self) -> Iterator[tuple[str, Certified]]:
        """Every step function with its place."""
        return self.cell.steps()

    @property
    def lstm(self) -> IntegerCell:
        """Its cell, which is known to be that of an LSTM."""
        assert isinstance(self.cell, IntegerCell), f"{self.cell.name} is no LSTM"
        return self.cell

    @property
    def cells(self) -> tuple[RecurrentCell, ...]:
        """The one cell that it is."""
        return (self.cell,)

    @property
    def contexts(self) -> int:
        """States that it works on in turns: those of interleaved sequences, or of both directions."""
        return DIRECTIONS if self.directions else self.options.interleave

    @property
    def context_bits(self) -> int:
        """Bits of the number of a context."""
        return (self.contexts - 1).bit_length()

    @property
    def turns(self) -> int:
        """Vectors that it works on for each time step of its input: one for each direction."""
        return DIRECTIONS if self.directions else 1

    @property
    def products(self) -> tuple[FoldedProduct, ...]:
        """Its matrix-vector products."""
        return self.input_product, self.hidden_product

    @property
    def turned(self) -> tuple[str, ...]:
        """Ports at which the steps of each sequence are turned around."""
        names = () if not self.cell.reverse else ("x",) if self.options.as_computed else ("x", "y")
        return tuple(port.name for port in (*self.inputs, *self.outputs) if port.name in names)

    @property
    def depth(self) -> int:
        """Estimated cycles of a step beyond its tiles: the pipeline from the last tile to the last new state."""
        return recurrence_depth(self.cell, self.folding.hidden_simd)

    @property
    def step_cycles(self) -> int:
        """Estimated cycles from one time step to the next, of all sequences that are interleaved."""
        tiles, ahead = self.hidden_product.cycles, self.options.look_ahead
        # With little look-ahead both products wait for each other.
        refill = 0 if ahead is None else -(-(self.input_product.cycles + tiles + _LATENCIES) // ahead)
        loop = interval(self.turns * tiles, tiles + self.depth, self.options.interleave)
        around = 0 if self.stack is None else (tiles + self.depth) // 2 + self.input_cycles
        return max(loop, self.turns * self.input_cycles, self.turns * refill, around)

    @property
    def input_cycles(self) -> int:
        """Cycles of the input product, with the change of beat width behind it."""
        return input_cycles(self.input_product, self.hidden_product.pe)

    @property
    def steps_per_second(self) -> float:
        """Estimated time steps a second at the target clock."""
        return self.options.clock_mhz * 1e6 / self.step_cycles

    @property
    def factors(self) -> Interval:
        """Range of the gate codes that enter the state update, the coupled forget gate included."""
        ranges = [Interval(gate.steps[-1].step.first, gate.steps[-1].step.last) for gate in self.cell.rows]
        if isinstance(self.cell, IntegerCell) and self.cell.coupled_one is not None:
            ranges.append(Interval(self.cell.coupled_one - ranges[0].hi, self.cell.coupled_one - ranges[0].lo))
        return Interval(min(r.lo for r in ranges), max(r.hi for r in ranges))

    def to_dict(self) -> dict[str, Any]:
        """The schedule as plain data, for schedule.json."""
        return {
            "target": asdict(self.options.target),
            "clock_mhz": self.options.clock_mhz,
            "streaming": self.options.streaming,
            "interleave": self.options.interleave,
            **self.options.chosen,
            "max_length": self.options.max_length if self.cell.reverse else None,
            "folding": self.folding.to_dict(),
            "cycles": {
                "input_product": self.input_product.cycles,
                "input": self.input_cycles,
                "hidden_product": self.hidden_product.cycles,
                "depth_estimate": self.depth,
                "step_estimate": self.step_cycles,
                "steps_per_second_estimate": round(self.steps_per_second, 1),
            },
            "multipliers": {product.name: product.multipliers for product in self.products},
            "memories": [
                {
                    "name": f"{product.name}_weights",
                    "banks": product.pe,
                    "words": product.cycles,
                    "word_bits": product.simd * product.weight.bits,
                    "bits": product.memory_bits,
                }
                for product in self.products
                if product.graph is None
            ],
            "widths": {
                "input_sum": signed(self.input_product.sums).bits,
                "accumulator": signed(self.hidden_product.sums).bits,
                "gate": self.factors.type.bits,
            },
            "ports": [port.to_dict() for port in (*self.inputs, *self.outputs)],
            "step_functions": [
                {"name": name, "form": certified.form.kind, "channels": certified.step.channels}
                for name, certified in self.cell.steps()
            ],
        } | constant_products((product.name, product.graph) for product in self.products)


def signed(interval: Interval) -> IntegerType:
    """The smallest signed type that holds the interval: what an accumulator is."""
    return IntegerType.holding(min(interval.lo, -1), interval.hi)


def schedule(
    network: Network,
    target: str = "xc7z020",
    clock_mhz: float = 100.0,
    folding: Folding | None = None,
    streaming: bool = False,
    max_length: int | None = None,
    outputs: tuple[str, ...] | None = None,
    interleave: int = 1,
    look_ahead: LookAhead | None = None,
    constant_products: str = "multiply",
) -> Schedule:
    """Fold a network for a device.

    ``folding`` fixes PE and SIMD; otherwise a small balanced design is taken.  ``interleave`` sequences share it, each
    on its own TID.  The input product may be ``look_ahead`` time steps ahead, by default so many that it never holds
    up the recurrence.  ``constant_products`` says what products that take one cycle are built of.  Raises ConfigError
    where the options cannot be met.
    """
    cell = lower_cell(network.layer)
    options = _check_options(network, device(target), clock_mhz, streaming, max_length, outputs, interleave)
    if look_ahead is not None:
        options = replace(options, look_ahead=check_look_ahead(look_ahead))
    options = replace(options, constant_products=check_constant_products(constant_products))
    return design_cell(network, cell, options, folding or derive_folding(cell, None, interleave))


def design_cell(
    network: Network,
    cell: RecurrentCell,
    options: Options,
    folding: Folding,
    module: str = "",
    packed: bool = False,
    directions: tuple[RecurrentCell, RecurrentCell] | None = None,
    stack: tuple[int, int] | None = None,
) -> Schedule:
    """The hardware of one cell: a whole design, or the ``module`` of a larger one, between which codes are packed.

    With ``directions``, which take turns on it, ``cell`` is what they have in common; with ``stack`` they are two
    layers of so many inputs each.  Raises ConfigError if the folding does not fit the cell.
    """
    check_folding(cell, folding, stack)
    gates, h = len(cell.rows), cell.hidden_size
    units = max(1, folding.hidden_pe // gates)
    ids = (options.interleave - 1).bit_length()

    def state(name: str, direction: str, what: str, codes: IntegerType, per_step: bool = False) -> Port:
        # Initial states come in the order in which their sequences begin.
        tid = ids if direction == "out" else 0
        return Port(name, direction, what, codes, units, h // units, per_step, packed, tid)

    ports = {
        "sequence": state("y", "out", "hidden state of every time step", cell.hidden, per_step=True),
        "last_hidden": state("h_n", "out", "hidden state after the last step", cell.hidden),
    }
    if isinstance(cell, IntegerCell):
        ports["last_cell"] = state("c_n", "out", "cell state after the last step", cell.cell)
    simd = folding.input_simd
    inputs = [Port("x", "in", "input of every time step", cell.input, simd, cell.input_size // simd, True, packed, ids)]
    if cell.initial_hidden is None:
        inputs.append(state("h0", "in", "initial hidden state of a sequence", cell.hidden))
    if isinstance(cell, IntegerCell) and cell.initial_cell is None:
        inputs.append(state("c0", "in", "initial cell state of a sequence", cell.cell))
    return Schedule(
        network=network,
        cell=cell,
        options=options,
        folding=folding,
        input_product=_fold(cell, "input", folding.input_pe, folding.input_simd, folding.input_packing, options),
        hidden_product=_fold(cell, "hidden", folding.hidden_pe, folding.hidden_simd, folding.hidden_packing, options),
        bias=np.stack([gate.bias for gate in cell.rows], axis=1).reshape(-1),
        units=units,
        inputs=tuple(inputs),
        outputs=tuple(ports[name] for name in OUTPUTS if name in options.outputs),
        module=module,
        directions=directions,
        stack=stack,
    )


def _check_options(
    network: Network,
    target: Device,
    clock_mhz: float,
    streaming: bool,
    max_length: int | None,
    outputs: tuple[str, ...] | None,
    interleave: int,
) -> Options:
    layer = network.layer
    check_contexts(interleave)
    if not 1 <= clock_mhz <= 1000:
        raise ConfigError(f"--clock must be from 1 to 1000 MHz, not {clock_mhz:g}")
    if max_length is not None and not layer.reverse:
        raise ConfigError("--max-length sizes the buffer of a reversed layer; this model runs forward, at any length")
    if max_length is not None and not 1 <= max_length <= 65536:
        raise ConfigError(f"--max-length must be from 1 to 65536 steps, not {max_length}")
    if streaming and layer.reverse:
        raise ConfigError("--streaming keeps the state for an endless stream; a reversed layer needs the end first")
    given = layer.initial_hidden.source or layer.initial_cell.source
    if streaming and given:
        raise ConfigError(f"--streaming keeps the state after TLAST, but the model takes it from {printable(given)}")
    if interleave > 1 and layer.reverse:
        raise ConfigError("--interleave takes steps as they come; a reversed layer needs the end of a sequence first")
    shown = [wire.name.removeprefix(f"{layer.name}.") for output in network.outputs for wire in output.wires]
    if outputs is None:
        outputs = ("sequence",) if "sequence" in shown else tuple(shown)
    for name in outputs:
        if name not in OUTPUTS:
            raise ConfigError(f"--outputs must be among {', '.join(OUTPUTS)}, not {printable(name)}")
    if not outputs:
        raise ConfigError(f"--outputs: at least one of {', '.join(OUTPUTS)} is needed")
    return Options(target, float(clock_mhz), streaming, max_length or DEFAULT_MAX_LENGTH, tuple(outputs), interleave)


def _fold(cell: RecurrentCell, name: str, pe: int, simd: int, rows: int, options: Options) -> FoldedProduct:
    """Weights in the order of the hardware: rows unit by unit, the gates of a unit side by side.

    Those of both directions are behind each other.
    """
    matrices = [gate.input_weights if name == "input" else gate.hidden_weights for gate in cell.rows]
    matrix = np.stack(matrices, axis=1).reshape(-1, matrices[0].shape[1])
    widest = common_type([gate.weight for gate in cell.rows])
    ranges = [gate.input_sum if name == "input" else gate.total for gate in cell.rows]
    sums = Interval(min(r.lo for r in ranges), max(r.hi for r in ranges))
    codes = cell.input if name == "input" else cell.hidden
    folded = fold(name, matrix, pe, simd, widest, sums, options.style(f"{name}_weights"))
    product = packed(with_graph(folded, codes, options.constant_products), rows, codes)
    sets = len(matrix) // (len(matrices) * cell.hidden_size)
    return replace(product, rows=product.rows // sets, sets=sets)


def fold(
    name: str, matrix: IntArray, pe: int, simd: int, weight: IntegerType, sums: Interval, style: str = AUTO
) -> FoldedProduct:
    """A matrix [rows, columns] of weights with PE x SIMD of them a cycle, which divide its rows and columns."""
    rows, columns = matrix.shape
    weights = matrix.reshape(rows // pe, pe, columns // simd, simd).transpose(1, 0, 2, 3).reshape(pe, -1, simd)
    return FoldedProduct(name, rows, columns, pe, simd, weight, weights, sums, style=style)


def packed(product: FoldedProduct, rows: int, codes: IntegerType) -> FoldedProduct:
    """A product of which so many rows share a DSP, or of digits in LUTs if none do; 1 is what it is without.

    A graph of adders has none to share.
    """
    if rows == 1 or product.graph is not None:
        return product
    bits = packing.field_bits(product.weights, packing.stored_bits(product.weight), codes)
    return replace(product, packing=rows, field_bits=bits)


def with_graph(product: FoldedProduct, codes: IntegerType, maker: str) -> FoldedProduct:
    """The product of codes as a graph of adders, if it takes one cycle and that is how such products are built."""
    if product.tiles > 1 or maker == "multiply":
        return product
    stored = codes.storage
    return replace(product, graph=adder_graph(product.weights[:, 0], stored.lo, stored.hi, maker))


def input_cycles(product: FoldedProduct, hidden_pe: int) -> int:
    """Cycles of the input product and of bringing its beats of PE sums to the width that the recurrence reads."""
    narrowest = math.gcd(product.pe, hidden_pe)
    return max(product.cycles, product.rows // narrowest if narrowest < min(product.pe, hidden_pe) else 0)
