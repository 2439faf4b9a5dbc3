# SPDX-License-Identifier: Apache-2.0
"""The bottleneck in words: which unit sets the rate, what its cycles are, what would make it faster, what runs out."""

from __future__ import annotations

from typing import Any

from hwgen.dataflow import DenseNode, Design
from hwgen.folding import Folding, divisors, legal_hidden_pe, legal_input_simd, recurrence_depth
from hwgen.integer_cells import RecurrentCell
from hwgen.report.units import Timing, count, recurrence_cycles
from hwgen.report.units import slowest as slowest_of
from hwgen.rtl_timing import timeline
from hwgen.schedule import Schedule, design_cell

Data = dict[str, Any]
RESOURCES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "block RAM"}


def bottleneck(design: Design, units: list[Timing], usage: list[Data], exact: bool) -> Data:
    """The unit that sets the rate, and sentences about it; ``usage`` are the resources with their share of the device.

    ``faster`` has the folding that would be next, if there is one.
    """
    slowest = slowest_of(units)
    others = [unit for unit in units if not unit.per_step and unit.cycles > slowest.cycles and slowest.per_step]
    units = [unit for unit in units if unit.per_step] or units
    cell = _cell_of(design, slowest)
    parts: Data = {}
    cell = _cell_of(design, slowest)
    if cell is not None:
        parts = _parts(cell, slowest)
    sentences = [_who(slowest, units, exact, "input product" if "input_product" in parts else "recurrence")]
    if cell is not None:
        sentences.append(_what(cell, slowest, parts))
    elif isinstance(slowest.node, DenseNode):
        product = slowest.node.product
        parts = {"tiles": product.cycles, "depth": 0}
        sentences.append(
            f"It multiplies {product.rows:,} x {product.columns:,} weights, PE {product.pe} x SIMD {product.simd} of "
            "them a cycle; its pipeline is outside the loop and costs no rate."
        )
    faster = _faster(design, slowest, units)
    sentences += _advice(faster, design.options.clock_mhz, cell, parts)
    sentences += [
        f"{unit.name} ({unit.kind}) works once a sequence, {unit.cycles:,} cycles: it sets the rate of sequences of "
        f"at most {count((unit.cycles - 1) // slowest.cycles, 'step')}."
        for unit in others
    ]
    binding = usage[0] if usage else None
    if binding is not None:
        sentences.append(_binding(usage, design))
    return {
        "unit": slowest.name,
        "kind": slowest.kind,
        "cycles": slowest.cycles,
        "parts": parts,
        "faster": faster,
        "binding_resource": None if binding is None else binding["kind"],
        "sentences": sentences,
    }


def _cell_of(design: Design, unit: Timing) -> Schedule | None:
    if isinstance(design, Schedule):
        return design
    found = getattr(unit.node, "design", None)
    return found if isinstance(found, Schedule) else None


def _who(slowest: Timing, units: list[Timing], exact: bool, part: str) -> str:
    about = "" if exact else "about "
    if len(units) == 1:
        return f"A time step takes {about}{slowest.cycles:,} cycles; the {part} sets the rate."
    equal = [unit for unit in units if unit is not slowest and unit.cycles == slowest.cycles]
    others = [unit for unit in units if unit.cycles < slowest.cycles]
    text = f"{slowest.name} ({slowest.kind}) sets the rate with {about}{slowest.cycles:,} cycles a time step"
    if equal:
        text += f", and so {'do' if len(equal) > 1 else 'does'} {', '.join(unit.name for unit in equal[:4])}"
    if others:
        following = max(others, key=lambda unit: unit.cycles)
        share = 100 * following.cycles // slowest.cycles
        text += f"; the next one, {following.name}, is busy {share}% of the time"
    return text + "."


def _parts(design: Schedule, unit: Timing) -> Data:
    hidden = design.hidden_product.cycles
    recurrence = recurrence_cycles(design, unit.times.period if unit.times else hidden + design.depth)
    hidden *= design.turns
    if unit.times and unit.times.back == unit.cycles > max(recurrence, design.turns * design.input_product.cycles):
        return {"back": unit.cycles, "recurrence": recurrence}
    if unit.cycles > recurrence:
        return {"input_product": unit.cycles, "recurrence": recurrence}
    return {"tiles": hidden, "depth": recurrence - hidden}


def _what(design: Schedule, unit: Timing, parts: Data) -> str:
    if "back" in parts:
        return (
            f"In {parts['back']:,} cycles, longer than the recurrence ({parts['recurrence']:,}), what the first layer "
            "gives comes back through the input product: more PE or SIMD of it shorten that."
        )
    if "input_product" in parts:
        return (
            f"Its input product takes {parts['input_product']:,} cycles, longer than the recurrence "
            f"({parts['recurrence']:,}): it needs more PE or SIMD to keep up."
        )
    product = design.hidden_product
    weights = f"{product.rows:,} x {product.columns:,}"
    share = parts["tiles"] / unit.cycles
    text = (
        f"{parts['tiles']:,} of them ({share:.0%}) are tiles of the hidden product, PE {product.pe} x SIMD "
        f"{product.simd} of its {weights} weights a cycle; {parts['depth']:,} are pipeline depth, for which the next "
        "time step has to wait."
    )
    if parts["depth"] > parts["tiles"]:
        text += " Depth dominates: more multipliers hardly help."
    return text


def _advice(faster: Data | None, clock_mhz: float, cell: Schedule | None, parts: Data) -> list[str]:
    if faster is None:
        if cell is None or parts.get("tiles") != 1:
            return []
        return ["The hidden product is fully unrolled: only a faster clock shortens a step further."]
    rate = clock_mhz * 1e6 / faster["cycles"]
    changes = faster["changes"]
    named = [f"{change['unit']} with {change['text']}" if len(changes) > 1 else change["text"] for change in changes]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return [
        f"To go faster: {'; '.join(named[:3])}{more}. That is {faster['cycles']:,} cycles a time step, {rate:,.0f} "
        f"steps/s, for {count(faster['multipliers'], 'multiplier')} instead of {faster['multipliers_now']:,}."
    ]


def _faster(design: Design, slowest: Timing, units: list[Timing]) -> Data | None:
    """About half the tiles for the slowest unit, and for others what lets them keep up with it."""
    first = _change(design, slowest)
    if first is None:
        return None
    changes, cycles = [first], first["cycles"]
    for unit in units:
        if unit is not slowest:
            change = _change(design, unit) if unit.cycles > first["cycles"] else None
            cycles = max(cycles, change["cycles"] if change else unit.cycles)
            changes += [change] if change else []
    if cycles >= slowest.cycles:
        return None
    now = sum(product.pe * product.simd for product in design.products)
    added = sum(change["multipliers"] - change["multipliers_now"] for change in changes)
    return {"cycles": cycles, "multipliers": now + added, "multipliers_now": now, "changes": changes}


def _change(design: Design, unit: Timing) -> Data | None:
    """The next folding of one unit."""
    cell = _cell_of(design, unit)
    if cell is not None:
        return _change_cell(cell, unit)
    return _change_dense(unit.node) if isinstance(unit.node, DenseNode) else None


def _change_cell(cell: Schedule, unit: Timing) -> Data | None:
    folding = _next_folding(cell.cell, cell)
    if folding is None:
        return None
    packed = bool(cell.module)
    changed = design_cell(
        cell.network, cell.cell, cell.options, folding, cell.module, packed, cell.directions, cell.stack
    )
    cycles = changed.step_cycles
    if unit.times:
        times = timeline(changed)
        loop = max(recurrence_cycles(changed, times.period), times.back)
        cycles = max(loop, changed.turns * changed.input_product.cycles)
    if cycles >= unit.cycles:
        return None
    return {
        "unit": unit.name,
        "folding": folding.to_dict(),
        "cycles": cycles,
        "multipliers": _number(changed),
        "multipliers_now": _number(cell),
        "text": f"hidden PE {folding.hidden_pe} x SIMD {folding.hidden_simd}, input PE {folding.input_pe} x SIMD "
        f"{folding.input_simd}",
    }


def _number(cell: Schedule) -> int:
    return sum(product.pe * product.simd for product in cell.products)


def _next_folding(cell: RecurrentCell, design: Schedule) -> Folding | None:
    """The fewest multipliers that halve the tiles of the hidden product, with an input product that keeps up."""
    hidden, gates, h = design.hidden_product, len(cell.rows), cell.hidden_size
    keeps_up = design.input_product.cycles <= hidden.cycles + design.depth
    goal = -(-hidden.cycles // 2) if keeps_up else hidden.cycles
    rows, columns = gates * h, h
    found = [
        (pe, simd)
        for pe in legal_hidden_pe(gates, h)
        for simd in divisors(columns)
        if rows * columns // (pe * simd) <= goal and (keeps_up or (pe, simd) == (hidden.pe, hidden.simd))
    ]
    if not found or (keeps_up and hidden.cycles == 1):
        return None
    # Of equals the fewest step functions, then the shallower adder tree.
    pe, simd = min(found, key=lambda fold: (fold[0] * fold[1], max(fold[0], gates), fold[1]))
    limit = rows * columns // (pe * simd) + recurrence_depth(cell, simd)
    inputs = [
        (input_pe, input_simd)
        for input_pe in divisors(rows)
        for input_simd in legal_input_simd(cell.input_size, design.stack)
        if (input_pe % pe == 0 or pe % input_pe == 0) and rows * cell.input_size // (input_pe * input_simd) <= limit
    ]
    input_pe, input_simd = min(inputs, key=lambda fold: (fold[0] * fold[1], fold[0]))
    return Folding(input_pe, input_simd, pe, simd)


def _change_dense(node: DenseNode) -> Data | None:
    product = node.product
    found = [
        (pe, simd)
        for pe in divisors(product.rows)
        for simd in divisors(product.columns)
        if product.rows * product.columns // (pe * simd) * 2 <= product.cycles
    ]
    if not found:
        return None
    pe, simd = min(found, key=lambda fold: (fold[0] * fold[1], fold[0]))
    return {
        "unit": node.name,
        "folding": {"pe": pe, "simd": simd},
        "cycles": product.rows * product.columns // (pe * simd),
        "multipliers": pe * simd,
        "multipliers_now": product.pe * product.simd,
        "text": f"PE {pe} x SIMD {simd}",
    }


def _binding(usage: list[Data], design: Design) -> str:
    """Which resource of the device runs out first."""
    first, name = usage[0], design.options.target.name
    share = first["used"] / first["limit"]
    used = f"{first['used']:,.10g} of {first['limit']:,} ({share:.1%})"
    text = f"Of the {name}, {_plural(first)} bind first: {used}"
    if share > 1:
        return f"{text}: it does not fit. Fold more, or take a larger device."
    copies = int(1 / share) if share else 0
    return f"{text}; {'it would fit ' + str(copies) + ' times.' if copies > 1 else 'it fits once.'}"


def _plural(usage: Data) -> str:
    return f"{RESOURCES[usage['kind']]}s"
