# SPDX-License-Identifier: Apache-2.0
"""From a network to a design: one cell, or nodes with streams between them, folded so that none is slower than needed.

Layers work on different time steps at once, so the slowest sets the rate; the others get the fewest multipliers that
keep up with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hwgen import choices
from hwgen import schedule as single
from hwgen.adders import check_constant_products
from hwgen.dataflow import Design
from hwgen.devices import device
from hwgen.errors import ConfigError, listing, printable
from hwgen.folding import DEFAULT_CYCLES, DenseFolding, Folding, Foldings, derive_folding, divisors, step_cycles
from hwgen.integer_network import ConcatStage, DenseStage, IntegerNetwork, RecurrentStage, SelectStage, Stage
from hwgen.interleaving import check_contexts
from hwgen.layers import Wire
from hwgen.lowering import lower
from hwgen.network import Network, NetworkOutput
from hwgen.packing import check_target
from hwgen.progress import check_progress
from hwgen.reconvergence import hold_paths
from hwgen.schedule import DEFAULT_MAX_LENGTH, Options
from hwgen.shared_engine import check_share_engine, shared_engines
from hwgen.split_dense import Part, Split
from hwgen.split_dense import split_dense as in_halves
from hwgen.storage import LookAhead, Memories
from hwgen.wiring import wire_up


def schedule(
    network: Network,
    target: str = "xc7z020",
    clock_mhz: float = 100.0,
    folding: Folding | Mapping[str, Any] | None = None,
    streaming: bool = False,
    max_length: int | None = None,
    outputs: tuple[str, ...] | None = None,
    interleave: int = 1,
    memory: Memories | None = None,
    look_ahead: LookAhead | None = None,
    share_engine: str | None = None,
    constant_products: str = "multiply",
    split_dense: bool = False,
    final: bool = True,
) -> Design:
    """Fold a network for a device.

    ``folding`` fixes PE and SIMD, as ``to_dict`` of a design has them; otherwise a small balanced design is taken.
    ``outputs`` are sequence, last_hidden and last_cell of a network that is one LSTM layer, or names of outputs of any
    other.  ``interleave`` sequences share one recurrent layer, each on its own TID.  ``memory`` are styles of memories
    by name, ``look_ahead`` the time steps that input products may be ahead of their recurrences, of all layers or by
    node.  With ``share_engine`` "directions" both directions of a layer take turns on one engine, with "layers" two
    layers of a stack do.  With ``split_dense`` a dense layer behind both directions works in two halves while they do.
    ``constant_products`` says what products that take one cycle are built of: multiply, shift-add or da4ml.  A design
    that is not ``final`` stands for all of its foldings, which may have memories that it has not.  Raises ConfigError
    where the options cannot be met, UnsupportedError for what has no hardware, ToolError without da4ml.
    """
    engine, made = check_share_engine(share_engine), check_constant_products(constant_products)
    design = _plan(
        network,
        target,
        clock_mhz,
        folding,
        streaming,
        max_length,
        outputs,
        interleave,
        look_ahead,
        engine,
        made,
        split_dense,
    )
    for product in design.products:
        check_target(f"folding: products_per_dsp of {product.name}", product.packing, design.options.target)
    design = choices.place(design, memory)
    if final:
        choices.check(design)
    return design


def _plan(
    network: Network,
    target: str,
    clock_mhz: float,
    folding: Folding | Mapping[str, Any] | None,
    streaming: bool,
    max_length: int | None,
    outputs: tuple[str, ...] | None,
    interleave: int,
    look_ahead: LookAhead | None,
    share_engine: str,
    constants: str,
    split: bool,
) -> Design:
    """The design, with its memories where they are cheaper."""
    if network.is_single_lstm:
        if isinstance(folding, Mapping):
            folding = Folding.from_dict(folding)
        if share_engine:
            one = f"this model has one {share_engine.removesuffix('s')} alone"
            raise ConfigError(f"--share-engine shares an engine between {share_engine}; {one}")
        if split:
            raise ConfigError("--split-dense is about a dense layer behind both directions; this model is one layer")
        return single.schedule(
            network, target, clock_mhz, folding, streaming, max_length, outputs, interleave, look_ahead, constants
        )
    if folding is not None and not isinstance(folding, Mapping):
        raise ConfigError("--folding: a model of several layers takes a folding for each of its nodes by name")
    if streaming:
        raise ConfigError("--streaming keeps the state of one LSTM layer; this model has other layers as well")
    integer = lower(network)
    shown = _outputs(network, outputs)
    everything, wires = _spread_selections(network, integer)
    stages, aliases = _needed(everything, [wire.name for output in shown for wire in output.wires])
    _check_interleave(stages, interleave)
    names, clock = tuple(output.name for output in shown), _clock(clock_mhz)
    options = Options(device(target), clock, False, _max_length(max_length), names, interleave, share_engine)
    options = replace(options, constant_products=constants)
    leaving = [wire.name for output in shown for wire in output.wires]
    engines = shared_engines(share_engine, stages, aliases, leaving)
    parts = Split(list(stages), wires, frozenset())
    if split:
        if share_engine:
            raise ConfigError(
                "--split-dense and --share-engine exclude each other: a half works while its own direction does"
            )
        options = replace(options, split_dense=True)
        parts = in_halves(stages, wires, aliases, leaving)
    derived = _derive(parts.stages, interleave)
    wired = wire_up(
        network,
        integer,
        parts.stages,
        parts.wires,
        aliases,
        shown,
        options,
        derived,
        folding or {},
        engines,
        parts.backward,
    )
    design = hold_paths(choices.run_ahead(wired, look_ahead))
    if max_length is not None and not design.stores_sequences:
        raise ConfigError("--max-length sizes the buffers of whole sequences; this model needs none, at any length")
    check_progress(design)
    return design


def _clock(clock_mhz: float) -> float:
    if not 1 <= clock_mhz <= 1000:
        raise ConfigError(f"--clock must be from 1 to 1000 MHz, not {clock_mhz:g}")
    return float(clock_mhz)


def _max_length(max_length: int | None) -> int:
    if max_length is not None and not 1 <= max_length <= 65536:
        raise ConfigError(f"--max-length must be from 1 to 65536 steps, not {max_length}")
    return max_length or DEFAULT_MAX_LENGTH


def _check_interleave(stages: list[Stage], contexts: int) -> None:
    """Sequences share one forward layer, whose ports then have TID: nothing else knows which of them a beat is of."""
    check_contexts(contexts)
    if contexts == 1:
        return
    one = stages[0] if len(stages) == 1 else None
    if not isinstance(one, RecurrentStage):
        names = listing(printable(stage.name) for stage in stages)
        raise ConfigError(f"--interleave {contexts} shares one recurrent layer among sequences, not {names}")
    if one.cell.reverse:
        raise ConfigError("--interleave takes steps as they come; a reversed layer needs the end of a sequence first")


def _outputs(network: Network, names: tuple[str, ...] | None) -> tuple[NetworkOutput, ...]:
    """The outputs that are asked for; by default all that are not states of layers beside something else."""
    if names is None:
        states = {wire.name for layer in network.layers for wire in layer.wires[1:]}
        results = tuple(out for out in network.outputs if not {wire.name for wire in out.wires} <= states)
        return results or network.outputs
    known = {output.name: output for output in network.outputs}
    for name in names:
        if name not in known:
            legal = listing(map(printable, known))
            raise ConfigError(f"--outputs must be among {legal}, not {printable(name)}")
    if not names:
        raise ConfigError(f"--outputs: at least one of {listing(map(printable, known))} is needed")
    return tuple(known[name] for name in known if name in names)


def _spread_selections(network: Network, integer: IntegerNetwork) -> tuple[list[Stage], dict[str, Wire]]:
    """Stages and wires in which a step of several parts side by side is that step of each of them.

    Parts that are not there at the same time, as those of both directions, then need not wait for each other.
    """
    wires, stages = network.wires, list[Stage]()
    whole = {stage.wire: stage for stage in integer.stages if isinstance(stage, ConcatStage)}
    for stage in integer.stages:
        if not isinstance(stage, SelectStage) or stage.source not in whole:
            stages.append(stage)
            continue
        parts = []
        for number, source in enumerate(whole[stage.source].sources):
            wire = f"{stage.wire}, part {number}"
            parts.append(replace(stage, name=f"{stage.name} {number}", source=source, wire=wire))
            wires[wire] = replace(wires[source], name=wire, per_step=False)
        stages += [*parts, ConcatStage(stage.name, tuple(part.wire for part in parts), stage.wire)]
    return stages, wires


def _needed(everything: list[Stage], wires: list[str]) -> tuple[list[Stage], dict[str, str]]:
    """The stages that lead to some wires, in order, and wires that others stand for.

    The last step of a sequence is the last hidden state of the layer that gives it, or its first where it is reversed.
    """
    producers = {wire: stage for stage in everything for wire in stage.gives}
    aliases: dict[str, str] = {}
    for stage in everything:
        if not isinstance(stage, SelectStage):
            continue
        cell = producers.get(stage.source)
        last = isinstance(cell, RecurrentStage) and stage.index == (0 if cell.cell.reverse else -1)
        if isinstance(cell, RecurrentStage) and last and stage.source == cell.wires[0]:
            aliases[stage.wire] = cell.wires[1]
    needed: set[str] = set()
    waiting = [aliases.get(wire, wire) for wire in wires]
    while waiting:
        wire = waiting.pop()
        if wire in needed:
            continue
        needed.add(wire)
        if wire in producers:
            waiting += [aliases.get(source, source) for source in producers[wire].reads]
    return [stage for stage in everything if needed & set(stage.gives)], aliases


def _derive(stages: Sequence[Part], contexts: int) -> Foldings:
    """A small folding for each cell and dense layer by the name of its stage: none is slower than the slowest cell.

    A cell that several ``contexts`` share is the only one.
    """
    cells = [stage.cell for stage in stages if isinstance(stage, RecurrentStage)]
    if contexts > 1:
        return {cell.name: derive_folding(cell, None, contexts) for cell in cells}
    slowest = max([step_cycles(cell, derive_folding(cell, None)) for cell in cells], default=DEFAULT_CYCLES)
    foldings: Foldings = {cell.name: derive_folding(cell, slowest) for cell in cells}
    for stage in stages:
        if isinstance(stage, DenseStage):
            rows, columns = stage.weights.shape
            fast = [
                (pe, simd)
                for pe in divisors(rows)
                for simd in divisors(columns)
                if rows * columns // (pe * simd) <= max(slowest, 1)
            ]
            # Each PE has a step function: of equals the fewest.
            pe, simd = min(fast, key=lambda fold: (fold[0] * fold[1], fold[0]))
            foldings[stage.name] = DenseFolding(pe, simd)
    return foldings
