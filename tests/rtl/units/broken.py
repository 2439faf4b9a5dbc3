# SPDX-License-Identifier: Apache-2.0
"""Units with an error each: what a bench must notice.  Only the unit is broken, the units inside it are whole."""

from __future__ import annotations

from units import arithmetic, recurrence, steps, streams
from units.bench import Bench

from hwgen.backends import rtl

# Unit, what to look for in its text, and what to put there.
ERRORS = (
    ("delay", "data_q[(Stages-1)*Width +: Width]", "data_q[0 +: Width]"),
    ("flag_delay", "if (!rst_ni) flag_q <= '0;\n      else flag_q", "flag_q"),
    ("hold", "if (capture)", "if (valid_i)"),
    ("clamp", "limited = Bits'(Lo)", "limited = Bits'(Lo + 1)"),
    ("clamp", "value > Bits'(Hi)", "value > Bits'(Hi + 1)"),
    ("product", "- LeftWidth'(LeftZero)", "+ LeftWidth'(LeftZero)"),
    ("multiply", "sum - (right_i[Top]", "sum + (right_i[Top]"),
    ("multiply", "+ Bits'(right_i[1])", "+ Bits'(right_i[0])"),
    ("multiply", "<<< LimbBits)", "<<< (LimbBits - 1))"),
    ("multiply", "{1'b0, right_i[LimbBits-1:0]}", "{right_i[LimbBits-1], right_i[LimbBits-1:0]}"),
    ("select", "index_i[l-1] ?", "index_i[0] ?"),
    ("adder_tree", "Until = l * (Stages + 1)", "Until = l * Stages"),
    ("adder_tree", "Own'(left) + Own'(right)", "Own'(left) - Own'(right)"),
    ("axis_input", "ValueBits'($signed(code))", "ValueBits'(code)"),
    ("matvec", "assign start = first ?", "assign start = last ?"),
    ("matvec", "last_q <= rst_ni & valid & last", "last_q <= rst_ni & last"),
    ("step_shift", "sum_q[Cut]}", "1'b1}"),
    ("step_multiply", ".Stages(InputStages + ProductStages)", ".Stages(ProductStages)"),
    ("step_multiply", "<<< LimbBits)", "<<< (LimbBits - 1))"),
    ("step_search", ">= threshold", "> threshold"),
    ("step_search", "place < Bits'(Count) ? place : Bits'(Count)", "place"),
    ("step_table", "- Bits'(Lo)", "- Bits'(Lo + 1)"),
    ("rom", ".Stages(Stages - 1)", ".Stages(Stages)"),
    ("constants", "(i*Stride+Offset)", "(i+Offset)"),
    ("stream_fifo", "write_q == LastAddress ? '0 : write_q + 1'b1", "write_q + 1'b1"),
    ("stream_fifo", "if (valid_i && !read) level_q", "if (valid_i) level_q"),
    ("axis_output", "last && beat_q == LastBeat", "last"),
    ("axis_output", "if (reserve_i && !done) room_q", "if (reserve_i) room_q"),
    ("axis_output", "LaneBits'($signed(values", "LaneBits'($unsigned(values"),
    ("sequence_reverse", "(last_i || write_step_q == StepBits'(Length - 1))", "last_i"),
    ("sequence_reverse", "if (advance) begin", "begin"),
    ("sequence_reverse", "!level_q[1]", "1'b1"),
    ("initial_state", "rst_ni && !occupied_q[1]", "rst_ni"),
    ("initial_state", "if (loaded && !take_i) available_q", "if (loaded) available_q"),
    ("initial_state", "if (release_i) read_slot_q", "if (take_i) read_slot_q"),
    ("input_product", "codes = first_fold ? codes_i : kept[column_q]", "codes = codes_i"),
    ("input_product", "(!first_column || room_q != '0)", "1'b1"),
    ("input_product", ".Stages(Latency - 2)", ".Stages(Latency - 1)"),
    ("sums_buffer", "shown_part_q <= read_part_q", "shown_part_q <= '0"),
    ("sums_buffer", "last_q[take_step_q];", "last_q[done_step_q];"),
    ("sums_buffer", "if (done_i && !take_i) level_q", "if (done_i) level_q"),
    ("recurrence_control", "WaitBits'(Tiles - 1) :", "WaitBits'(Period - 1) :"),
    ("recurrence_control", "copy_q <= ~copy_q", "copy_q <= 1'b1"),
    ("recurrence_control", "(!next_initial_q || initial_ready_i)", "1'b1"),
    (
        "state_memory",
        "column = {hidden_read_column_i, hidden_read_copy_i}",
        "column = {hidden_read_column_i, ~hidden_read_copy_i}",
    ),
    ("state_memory", "cells[cell_read_group_i]", "cells[cell_write_group_i]"),
)


def texts() -> list[str]:
    """The broken units, each under a name of its own."""
    found = []
    for number, (unit, old, new) in enumerate(ERRORS):
        text = (rtl.library() / f"hwgen_{unit}.sv").read_text()
        assert text.count(old) == 1, f"{unit}: {old} stands there {text.count(old)} times"
        found.append(text.replace(old, new).replace(f"module hwgen_{unit} ", f"module broken_{unit}_{number} "))
    return found


def benches() -> list[Bench]:
    """All instances of a unit for each of its errors."""
    found = []
    for number, (unit, _, _) in enumerate(ERRORS):
        whole = [*arithmetic.benches(), *steps.benches(), *streams.benches(), *recurrence.benches()]
        for bench in whole:
            if bench.unit == f"hwgen_{unit}":
                bench.module = f"broken_{unit}_{number}"
                found.append(bench)
    return found
