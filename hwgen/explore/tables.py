# SPDX-License-Identifier: Apache-2.0
"""Every folding of one node, with its cycles and resources: arrays that have an entry for each.

Both sides of a recurrent layer are predicted once for each of their foldings; what depends on both is arithmetic on
arrays.  Nothing here is an estimate of its own: the numbers are those of ``cost`` and of the timeline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwgen import mapping
from hwgen.choices import possible
from hwgen.cost import Resources, priced, total
from hwgen.counting import Unit
from hwgen.dataflow import CellNode, DenseNode
from hwgen.devices import Device
from hwgen.errors import ConfigError
from hwgen.folding import Folding, divisors, legal_hidden_pe, legal_input_simd, legal_packings, product_folding
from hwgen.interleaving import interval
from hwgen.packing import Asked, choices
from hwgen.quantizer import IntArray
from hwgen.registers import Registers, dense_vectors
from hwgen.rtl_timing import Timeline, timeline
from hwgen.schedule import Schedule, design_cell
from hwgen.sharing import pair_of
from hwgen.storage import BLOCK
from hwgen.structure import Junction, between, hidden_side, input_side
from hwgen.structure_network import dense_structure, shared_structure

KINDS = ("lut", "ff", "dsp", "bram")
# PE, SIMD and how many products share a DSP.
Fold = tuple[int, int, int]


@dataclass(frozen=True)
class Table:
    """The legal foldings of a node.

    ``interval`` are the least cycles between time steps, ``loop`` those of one sequence alone; ``first`` and ``last``
    those from the first beat of a vector to the first and last of its result; ``lanes_in`` and ``lanes_out`` the codes
    of a beat of main input and outputs.  Every ``ahead`` steps take ``held`` cycles at least.
    """

    name: str
    foldings: tuple[dict[str, Any], ...]
    interval: IntArray
    loop: IntArray
    first: IntArray
    last: IntArray
    lanes_in: IntArray
    lanes_out: IntArray
    resources: Resources
    held: IntArray
    ahead: IntArray

    def __len__(self) -> int:
        return len(self.foldings)

    def at(self, rows: IntArray) -> Table:
        """Some of the foldings."""
        parts = Resources(*(np.asarray(getattr(self.resources, kind))[rows] for kind in KINDS))
        return Table(
            self.name,
            tuple(self.foldings[row] for row in rows.tolist()),
            self.interval[rows],
            self.loop[rows],
            self.first[rows],
            self.last[rows],
            self.lanes_in[rows],
            self.lanes_out[rows],
            parts,
            self.held[rows],
            self.ahead[rows],
        )


def cell_table(name: str, design: Schedule, flow: str, registers: Registers | None = None, asked: Asked = 1) -> Table:
    """Those of a recurrent layer: each folding of the input product with each of the hidden product.

    ``asked`` is how many products may share a DSP: with ``AUTO`` what is worth a try is an axis of each product.
    """
    cell, options = design.cell, design.options
    rows = len(cell.rows) * cell.hidden_size
    sides = [
        [(pe, simd) for pe in divisors(rows) for simd in legal_input_simd(cell.input_size, design.stack)],
        [(pe, n) for pe in legal_hidden_pe(len(cell.rows), cell.hidden_size) for n in divisors(cell.hidden_size)],
    ]

    def packings(inputs: Fold, hidden: Fold, which: str) -> tuple[int, ...]:
        return (
            choices(asked, legal_packings(cell, folding_of(inputs, hidden), which), options.target)
            if asked != 1
            else (1,)
        )

    first_side = [(*fold, n) for fold in sides[0] for n in packings((*fold, 1), (1, 1, 1), "input")]
    second_side = [(*fold, n) for fold in sides[1] for n in packings((1, 1, 1), (*fold, 1), "hidden")]

    def times(inputs: Fold, hidden: Fold) -> Timeline:
        folding, packed = folding_of(inputs, hidden), design.inputs[0].packed
        folded = design_cell(
            design.network, cell, options, folding, design.module, packed, design.directions, design.stack
        )
        return timeline(folded, registers)

    front = [times(fold, (1, 1, 1)) for fold in first_side]
    back = [times((1, 1, 1), fold) for fold in second_side]
    # Axis 0: the input product; axis 1: the hidden product.
    tiles_in = _column(t.design.input_product.cycles for t in front)
    latency_in = _column(t.input_latency for t in front)
    tiles, freed = _row(t.tiles for t in back), _row(t.freed for t in back)
    written = _row(t.written(t.groups - 1, t.hidden) for t in back)
    first_written = _row(t.written(0, t.hidden) for t in back)
    # As ``Timeline.interval``, ``sums_steps`` and ``output_vectors`` have them of one design.
    least = np.maximum(tiles_in, tiles)
    held = tiles_in + latency_in + freed + 1
    steps = np.maximum(2, -(-held // least)) if options.look_ahead is None else np.full(held.shape, options.look_ahead)
    vectors = np.maximum(2, -(-(written + 2) // least))
    units = _row(t.design.units for t in back)
    ports = tuple((units * mapping.code_bits(port.codes), cell.hidden_size // units) for port in back[0].design.outputs)
    joined = Junction(
        rows,
        mapping.sum_bits(design),
        _column(pe for pe, _, _ in first_side),
        _row(pe for pe, _, _ in second_side),
        steps,
        back[0].registers.sums,
        ports,
        vectors,
        design.inputs[0].id_bits,
        options.style("sums"),
    )
    parts = [
        _stacked([input_side(t, flow) for t in front], (len(front), 1)),
        _stacked([hidden_side(t, flow) for t in back], (1, len(back))),
        *(priced(unit) for unit in between(joined, flow)),
    ]
    shape = (len(front), len(back))
    turns = design.turns
    taken = np.array([interval(turns * t.tiles, t.period, options.interleave) for t in back])
    # Of two directions the second one follows the first; of two layers a step behind, which has come around.
    later = (turns - 1) * np.maximum(_row(t.tiles for t in back), tiles_in)
    around = behind = np.zeros(shape, np.int64)
    if design.stack:
        simds = [simd for _, simd, _ in first_side]
        returned = {simd: [times.returned(simd) for times in back] for simd in set(simds)}
        filled = max(0, design.stack[0] - design.stack[1]) // _column(simds)
        there = np.array([returned[simd] for simd in simds], np.int64) + filled
        folds = tiles_in - _column(t.design.input_product.column_tiles for t in front)
        around = -(-(there + folds + least + latency_in + 1) // 2)
        behind, later = there + least, np.zeros(shape, np.int64)
    table = Table(
        name,
        tuple(folding_of(inputs, hidden).to_dict() for inputs in first_side for hidden in second_side),
        np.maximum(np.maximum(taken, around), np.maximum(turns * tiles_in, -(-turns * held // steps))).ravel(),
        np.maximum(np.maximum(_row(max(turns * t.tiles, t.period) for t in back), around), turns * tiles_in).ravel(),
        (tiles_in + latency_in + first_written + 1 + behind).ravel(),
        (tiles_in + latency_in + written + 1 + later + behind).ravel(),
        np.broadcast_to(_column(simd for _, simd, _ in first_side), shape).ravel(),
        np.broadcast_to(units, shape).ravel(),
        _flat(total(parts), shape),
        held.ravel(),
        steps.ravel(),
    )
    if not options.memory:
        return table
    legal_in = _column(_possible(t, "input_weights", "bias", "x") for t in front)
    legal_hidden = _row(_possible(t, "hidden_weights", "cell_state", "y") for t in back)
    words = mapping.sums_memory(rows, joined.sum_bits, joined.input_pe, joined.hidden_pe, steps).words
    return _legal(table, (legal_in & legal_hidden & ((words > 1) | (options.style("sums") != BLOCK))).ravel())


def _possible(times: Timeline, *names: str) -> bool:
    """Whether memories of one side of a layer can have their styles."""
    style, found = times.design.options.style, mapping.memories(times)
    return all(mapping.refusal(found[name], style(name)) is None for name in names if name in found)


def _legal(table: Table, legal: NDArray[np.bool_]) -> Table:
    """The foldings with memories that can have their styles; raises ConfigError if there are none."""
    rows = np.flatnonzero(legal).astype(np.int64)
    if not len(rows):
        raise ConfigError(f"--memory: in no folding of {table.name} can all of its memories have these styles")
    return table.at(rows)


def folding_of(inputs: Fold, hidden: Fold) -> Folding:
    """The folding of both products."""
    return Folding(*inputs[:2], *hidden[:2], inputs[2], hidden[2])


def dense_table(node: DenseNode, flow: str, target: Device, asked: Asked = 1) -> Table:
    """Those of a dense layer."""
    design = node.design
    rows, columns = design.stage.weights.shape
    pairs = [(pe, simd) for pe in divisors(rows) for simd in divisors(columns)]

    def packings(pe: int, simd: int) -> tuple[int, ...]:
        legal = replace(design, pe=pe, simd=simd, packing=1).legal_packings
        return choices(asked, legal, target) if asked != 1 else (1,)

    folds = [(*pair, n) for pair in pairs for n in packings(*pair)]

    def folded(pe: int, simd: int, packing: int) -> Any:
        changed = replace(design, pe=pe, simd=simd, packing=packing)
        return replace(changed, vectors=dense_vectors(changed.product, design.stage.step, design.registers))

    folds = [fold for fold in folds if possible(replace(node, design=folded(*fold)))]
    if not folds:
        raise ConfigError(f"--memory: in no folding of {node.name} can all of its memories have these styles")
    designs = [folded(*fold) for fold in folds]
    count = len(folds)
    cycles = np.array([d.product.cycles for d in designs])
    return Table(
        node.name,
        tuple(product_folding(*fold) for fold in folds),
        cycles,
        cycles,
        np.array([d.product.column_tiles + d.product_latency + d.step_latency for d in designs]),
        cycles + np.array([d.product_latency + d.step_latency for d in designs]),
        np.array([simd for _, simd, _ in folds]),
        np.array([pe for pe, _, _ in folds]),
        _flat(_stacked([[dense_structure(d, flow)] for d in designs], (count,)), (count,)),
        np.zeros(count, np.int64),
        np.ones(count, np.int64),
    )


def node_table(node: CellNode | DenseNode, flow: str, target: Device, asked: Asked = 1) -> Table:
    """The table of a node of a network for a ``target``."""
    if isinstance(node, CellNode):
        return cell_table(node.name, node.design, flow, asked=asked)
    return dense_table(node, flow, target, asked)


def sharing_changes(first: CellNode, second: CellNode, pe: int, simd: int, flow: str) -> Resources:
    """What two layers with the same input weights take more or less by storing them once, if that is what they do."""
    folding = Folding(pe, simd, 1, 1)
    first, second = (
        replace(node, design=design_cell(node.design.network, node.design.cell, node.design.options, folding))
        for node in (first, second)
    )
    pair = pair_of(first, second)
    if pair is None:
        return Resources(0, 0, 0, 0)
    before, after = [], []
    for node in (first, second):
        times = timeline(node.design)
        before += input_side(times, flow)
        after += input_side(times, flow, pair.order_of(node))
    after.append(shared_structure(pair, times.registers, flow))
    one, other = (total(priced(unit) for unit in units) for units in (before, after))
    return Resources(*(getattr(other, kind) - getattr(one, kind) for kind in KINDS))


def _column(values: Iterable[int]) -> IntArray:
    return np.array(list(values), np.int64)[:, np.newaxis]


def _row(values: Iterable[int]) -> IntArray:
    return np.array(list(values), np.int64)[np.newaxis]


def _stacked(units: list[list[Unit]], shape: tuple[int, ...]) -> Resources:
    """The resources of several designs as arrays."""
    found = [total(priced(unit) for unit in parts) for parts in units]
    return Resources(*(np.array([getattr(one, kind) for one in found], float).reshape(shape) for kind in KINDS))


def _flat(resources: Resources, shape: tuple[int, ...]) -> Resources:
    return Resources(*(np.broadcast_to(getattr(resources, kind), shape).astype(float).ravel() for kind in KINDS))
