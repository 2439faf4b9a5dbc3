# SPDX-License-Identifier: Apache-2.0
"""What the elementwise part of a design is made of: step functions, products, delays, one law for each static unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen import mapping
from hwgen.backends.rtl_unit import unit_builder
from hwgen.backends.sv import Instance, index_bits
from hwgen.counting import Count, Unit, distinct_columns, dsp_slices, rom_luts
from hwgen.forms import MultiplyForm, SearchForm, ShiftForm, TableForm
from hwgen.mapping import LIMB_BITS, Memory, varying_columns
from hwgen.quantizer import IntArray, RoundingMode
from hwgen.rtl_timing import Timeline


@dataclass(frozen=True)
class Lanes:
    """Where step functions stand: ``lanes`` side by side, each of them for ``groups`` channels one after the other.

    ``source`` names what one reads, for step functions of the same share products with equal constants.
    """

    lanes: int
    groups: int
    source: Callable[[Instance], str]
    directions: int = 1

    def of_lane(self, values: IntArray, lane: int) -> IntArray:
        """Those of a lane among the values of all channels: one for each of its groups and each direction."""
        return values if len(values) in (1, self.directions) else values[lane :: self.lanes]


def _step_multiply(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, MultiplyForm)
    value, bits, total = p["ValueBits"], p["MultiplierBits"], p["TotalBits"]
    wide = bits > LIMB_BITS + 1
    widths = [LIMB_BITS + 1, bits - LIMB_BITS] if wide else [bits]
    constant = None
    own = where.of_lane(form.multiplier, lane)
    if len(own) == 1:
        constant = int(own[0])
        limbs = mapping.limbs(constant, bits)
        widths = [mapping.odd_bits(limb) for limb in limbs]
    count.ff["operand"] += value * p["InputStages"]
    slices = 0
    for index, width in enumerate(widths):
        if constant is not None and count.seen((lane, where.source(instance), value, limbs[index])):
            continue
        if p["HighDsp" if index else "Dsp"]:
            slices += dsp_slices(value, width, count.flow)
            count.multiplied(value, width, p["ProductStages"])
        elif constant is None:
            # Bits that no channel of the lane has set add nothing.
            used = int(np.bitwise_or.reduce(own)) >> (LIMB_BITS * index)
            count.multiplier(value, max(1, used.bit_count()))
            count.ff["product"] += (value + width) * p["ProductStages"]
        elif limbs[index]:
            count.lut["constant multiplier"] += value * (limbs[index].bit_count() - 1)
            count.ff["product"] += (value + max(width - 1, 0)) * p["ProductStages"]
    count.dsp += slices
    rest = total - p["Shift"]
    if not slices or not count.fabric.absorbs:
        count.lut["step adder"] += total
    count.ff["absorbed" if slices and not wide else "step"] += rest * p["SumStages"]
    _clamp(count, rest, p)


def _step_shift(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, ShiftForm)
    total, cut = p["TotalBits"], max(form.shift, 0)
    adders = int((form.offset != 0).any()) + int(cut > 0 and form.rounding is not RoundingMode.FLOOR)
    count.lut["rounding"] += total * adders
    count.ff["step"] += total * p["SumStages"]
    _clamp(count, total - cut, p)


def _clamp(count: Count, bits: int, p: dict[str, int]) -> None:
    count.lut["clamp"] += p["CodeBits"] + max(0, bits - p["CodeBits"]) / 3
    # Whether a number fits its bits is seen from those above; any other limit is compared with.
    half = 1 << (p["CodeBits"] - 1)
    count.lut["limit"] += bits * ((p["Lo"] != -half) + (p["Hi"] != half - 1))
    count.ff["code"] += p["CodeBits"] * p["OutputStages"]


def _step_search(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, SearchForm)
    nodes = where.of_lane(form.nodes(), lane)
    levels, parts = form.levels, p["Stages"] + 1 - p["OutputRegister"]
    bits, rows = p["ThresholdBits"], p["Rows"]
    row_bits = index_bits(rows) if rows > 1 else 0
    registered = False
    for level in range(1, levels + 1):
        words = rows << (level - 1)
        found = varying_columns(nodes[:, 1 << (level - 1) : 1 << level].reshape(-1, 1), bits)
        columns = distinct_columns(found).shape[1]
        # What is compared with a constant is a part of the carry chain.
        count.lut["compare"] += found.shape[1] + (bits - found.shape[1]) / 3
        if count.fabric.small_luts:
            count.lut["threshold"] += rom_luts(found, count.fabric.lut_words)
        else:
            # The comparison takes up to four bits of address; more make the memory one of its own.
            count.lut["threshold"] += count.fabric.rom_luts(words, columns) if words > 16 else 0
        # Behind a register it is the threshold that is registered, not its address alone.
        count.ff["step"] += columns if registered else 0
        registered = level * parts // levels > (level - 1) * parts // levels
        if registered and level < levels:
            count.ff["step"] += level + p["ValueBits"] + row_bits
        elif registered:
            count.ff["code"] += level * p["OutputRegister"]
    count.lut["clamp"] += p["CodeBits"]


def _step_table(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    assert instance.certified is not None
    form = instance.certified.form
    assert isinstance(form, TableForm)
    rows = where.of_lane(form.table, lane)
    words = p["Rows"] << index_bits(rows.shape[1])
    table = Memory(words, p["CodeBits"], False, bool(p["Block"]))
    count.rom(table, rows.reshape(-1, 1), p["CodeBits"], p["Stages"], what="table")
    # The address is value - lo: an inverted sign, or a part of the memory's own LUTs, or an adder.
    if -form.lo & (-form.lo - 1) and p["ValueBits"] > 6:
        count.lut["step adder"] += p["ValueBits"]


def _product(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    left, right = p["LeftBits"] + (p["LeftZero"] != 0), p["RightBits"] + (p["RightZero"] != 0)
    count.lut["step adder"] += left * (p["LeftZero"] != 0) + right * (p["RightZero"] != 0)
    if p["Dsp"]:
        count.dsp += dsp_slices(left, right, count.flow)
        count.multiplied(left, right, p["Stages"])
    else:
        count.multiplier(left, right)
        count.ff["product"] += p["ProductBits"] * p["Stages"]


def _constants(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    if p["Depth"] > 1:
        assert instance.contents is not None
        columns = varying_columns(where.of_lane(instance.contents, lane)[:, np.newaxis], p["Width"])
        count.lut["constants"] += rom_luts(columns, count.fabric.lut_words)
        columns = distinct_columns(columns).shape[1]
        # The register of a multiplier is one of its DSP.
        count.ff["absorbed" if instance.name.endswith("_multiplier") else "constants"] += columns


def _delay(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    count.delay(p["Width"], p["Stages"])


def _hold(count: Count, p: dict[str, int], instance: Instance, where: Lanes, lane: int) -> None:
    count.flag(p["Delay"])
    count.ff["step"] += p["Width"]


_LAWS = {
    "hwgen_step_multiply": _step_multiply,
    "hwgen_step_shift": _step_shift,
    "hwgen_step_search": _step_search,
    "hwgen_step_table": _step_table,
    "hwgen_product": _product,
    "hwgen_constants": _constants,
    "hwgen_delay": _delay,
    "hwgen_hold": _hold,
}


def elementwise(times: Timeline, flow: str) -> Unit:
    """Step functions and products of all hidden units that work side by side."""
    builder = unit_builder(times)
    builder.build()
    count = Count("elementwise", flow)

    def source(instance: Instance) -> str:
        """Gates that come one after the other on a lane read the same total."""
        name = argument(instance)
        gate, total, _ = name.partition("_total")
        return f"total {times.gates[gate].lane}" if total else name

    where = Lanes(times.design.units, times.groups, source, times.design.turns)
    count_lanes(count, builder.instances(), where)
    count.lut["step adder"] += times.design.units * builder.sum_bits
    return count.unit()


def argument(instance: Instance) -> str:
    """The signal that a step function reads."""
    return dict(instance.ports)["value_i"]


def count_lanes(count: Count, instances: Sequence[Instance], where: Lanes) -> None:
    """What stands in each of several lanes that work side by side."""
    numbers = [{name: value for name, value in i.parameters if isinstance(value, int)} for i in instances]
    for lane in range(where.lanes):
        for instance, parameters in zip(instances, numbers, strict=True):
            _LAWS[instance.module](count, parameters, instance, where, lane)
