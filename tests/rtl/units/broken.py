# SPDX-License-Identifier: Apache-2.0
"""Units with an error each: what a bench must notice.  Only the unit is broken, the units inside it are whole."""

from __future__ import annotations

from units import arithmetic, recurrence, stacks, steps, streams, wiring
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
    ("adder_tree", "added = Own'(left) + Own'(right)", "added = Own'(left) - Own'(right)"),
    ("adder_tree", "kept = Own'(left) + Own'(right)", "kept = Own'(left) - Own'(right)"),
    ("axis_input", "ValueBits'($signed(code))", "ValueBits'(code)"),
    ("packed_products", "bits - signs", "bits + signs"),
    ("packed_products", "product + middles", "product"),
    ("digit_products", "code + (code <<< 1)", "code + code"),
    ("digit_products", ": negative[Lane*PartBits +: PartBits] << 1)", ": negative[Lane*PartBits +: PartBits])"),
    ("matvec", "assign start = first ?", "assign start = last ?"),
    ("matvec", "last_q <= rst_ni & valid & last", "last_q <= rst_ni & last"),
    ("step_shift", "sum_q[Cut]}", "1'b1}"),
    ("step_multiply", ".Stages(InputStages + ProductStages)", ".Stages(ProductStages)"),
    ("step_multiply", "<<< LimbBits)", "<<< (LimbBits - 1))"),
    ("step_search", ">= threshold", "> threshold"),
    ("step_search", "place < Bits'(Count) ? place : Bits'(Count)", "place"),
    ("step_table", "- Bits'(Lo)", "- Bits'(Lo + 1)"),
    ("rom", ".Stages(Stages - 1)", ".Stages(Stages)"),
    ("shared_rom", "memory[second_address_i]", "memory[first_address_i]"),
    ("shared_rom", ".data_i(first_q), .data_o(first_word_o)", ".data_i(second_q), .data_o(first_word_o)"),
    ("constants", "(i*Stride+Offset)", "(i+Offset)"),
    ("stream_fifo", "write_q == LastAddress ? '0 : write_q + 1'b1", "write_q + 1'b1"),
    ("stream_fifo", "if (valid_i && !read) level_q", "if (valid_i) level_q"),
    ("axis_output", "last && beat_q == LastBeat", "last"),
    ("axis_output", "if (reserve_i && !done) room_q", "if (reserve_i) room_q"),
    ("axis_output", "LaneBits'($signed(values", "LaneBits'($unsigned(values"),
    ("sequence_reverse", "(last_i || write_step_q == StepBits'(Length - 1))", "last_i"),
    ("sequence_reverse", "if (advance) begin", "begin"),
    ("sequence_reverse", "!level_q[1]", "1'b1"),
    ("sequence_turns", "(last_i || write_step_q == StepBits'(Length - 1))", "last_i"),
    ("sequence_turns", "read_half_q ? HalfBase : '0", "'0"),
    ("sequence_turns", "- AddressBits'(2 * Beats - 1)", "- AddressBits'(2 * Beats)"),
    ("sequence_turns", "emptied = ends & backward_q", "emptied = ends"),
    ("stream_split", "beat_q <= last_beat ? '0 : beat_q + 1'b1", "beat_q <= beat_q + 1'b1"),
    ("stream_split", "ready_i[turn]", "ready_i[0]"),
    ("stream_split", ".Stacked(Stacked)", ".Stacked(0)"),
    ("sequence_meet", "opposite <= step_q", "opposite < step_q"),
    ("sequence_meet", ": opposite < step_q", ": opposite <= step_q"),
    ("sequence_meet", "(count_last_i || count_q == AddressBits'((Length - 1) * Beats))", "count_last_i"),
    ("sequence_meet", "pause_q <= take && last_beat", "pause_q <= 1'b0"),
    ("sequence_meet", "if (advance) begin", "begin"),
    ("sequence_meet", "known && !leaving_q", "!leaving_q"),
    ("sequence_meet", "all_read_q && valid_q && ready_i", "all_read_q && valid_q"),
    ("stream_keep", "(ready_i | ~keep)", "ready_i"),
    ("stream_keep", "turn == 1'(Turn)", "turn"),
    ("stream_keep", ".Stacked(Stacked)", ".Stacked(1)"),
    ("turns", "turn_q <= begun_q | last_i", "turn_q <= begun_q"),
    ("turns", "turn_q <= ended_q & ~last_i", "turn_q <= 1'b0"),
    ("turns", "if (step_i) turn_q <= ~turn_q", "turn_q <= ~turn_q"),
    ("stack_join", "last_beat & (fill ?", "(fill ?"),
    ("stack_join", "if (move && !fill) last_q", "if (move) last_q"),
    ("stack_join", "fill ? '0 : turn ?", "turn ?"),
    ("tile_product", "set ? BiasBits'(Folds) : '0", "'0"),
    ("tile_product", "set ? tile_q + TileBits'(Tiles / 2) : tile_q", "tile_q"),
    ("initial_state", "rst_ni && !occupied_q[1]", "rst_ni"),
    ("initial_state", "if (loaded && !take_i) available_q", "if (loaded) available_q"),
    ("initial_state", "if (release_i) read_slot_q", "if (take_i) read_slot_q"),
    ("input_product", ".address_i(tile)", ".address_i('0)"),
    ("tile_product", "codes = first_fold ? codes_i : kept[column_q]", "codes = codes_i"),
    ("tile_product", "(!first_column || room_q != '0)", "1'b1"),
    ("tile_product", ".Stages(Latency - 2)", ".Stages(Latency - 1)"),
    ("tile_product", "final_tile && last_set ? '0", "final_tile ? '0"),
    ("tile_product", "fold_of_all_q <= last_set ? '0 : fold_of_all_q + 1'b1", "fold_of_all_q <= '0"),
    ("tile_product", "- k) * ColumnTiles", "- k)"),
    ("tile_product", "Gates - 1 ? '0 : gate_q", "Gates ? '0 : gate_q"),
    ("tile_product", "weights_i[From*Lane +: Lane]", "weights_i[pe*Lane +: Lane]"),
    ("sums_buffer", "shown_part_q <= read_part_q", "shown_part_q <= '0"),
    ("sums_buffer", "last_q[take_step_q];", "last_q[done_step_q];"),
    ("sums_buffer", "if (done_i && !take_i) level_q", "if (done_i) level_q"),
    ("recurrence_control", "WaitBits'(Tiles - 1) :", "WaitBits'(Period - 1) :"),
    ("recurrence_control", "copy_q <= ~copy_q", "copy_q <= 1'b1"),
    ("recurrence_control", "(!next_initial_q || initial_ready_i)", "1'b1"),
    ("interleave_control", "wait_q <= ends ? '0 : WaitBits'(Period - 1)", "wait_q <= WaitBits'(Tiles - 1)"),
    ("interleave_control", "next_copy_q[i] <= ~next_copy_q[i]", "next_copy_q[i] <= 1'b1"),
    ("interleave_control", "begins[i] = start_o && sums_context_i == ContextBits'(i)", "begins[i] = start_o"),
    ("context_queue", "beat_q <= last_beat ? '0 : beat_q + 1'b1", "beat_q <= beat_q + 1'b1"),
    ("context_hidden", "write_address = {hidden_write_context_i,", "write_address = {hidden_read_context_i,"),
    (
        "context_hidden",
        "read_address = {hidden_read_context_i, hidden_read_copy_i}",
        "read_address = {hidden_read_context_i, 1'b0}",
    ),
    ("context_memory", ".hidden_write_context_i,", ".hidden_write_context_i(hidden_read_context_i),"),
    ("context_memory", "cell_read = {cell_read_context_i,", "cell_read = {cell_write_context_i,"),
    ("hidden_memory", "if (hidden_write_copy_i)", "if (hidden_read_copy_i)"),
    ("hidden_memory", "columns[2*i*ColumnWidth +:", "columns[2*(ColumnTiles-1-i)*ColumnWidth +:"),
    (
        "state_memory",
        "column = {hidden_read_column_i, hidden_read_copy_i}",
        "column = {hidden_read_column_i, ~hidden_read_copy_i}",
    ),
    ("state_memory", "cells[cell_read_group_i]", "cells[cell_write_group_i]"),
    ("stream_fork", "& ~taken_q", "& {Outputs{1'b1}}"),
    ("stream_fork", "ready_o ? '0 : taken", "taken"),
    ("stream_narrow", "rst_ni & ready_i & last_part", "rst_ni & ready_i"),
    ("stream_narrow", "last_i & last_part", "last_i"),
    ("stream_widen", "{data_i, kept_q}", "{kept_q, data_i}"),
    ("stream_widen", "(ready_i | ~last_part)", "ready_i"),
    ("stream_buffer", "rst_ni && level_q != LevelBits'(Depth)", "rst_ni"),
    ("stream_buffer", "ready_o = rst_ni && level_q", "ready_o = level_q"),
    ("stream_buffer", "read_q == LastAddress ? '0 : read_q + 1'b1", "read_q + 1'b1"),
    ("stream_buffer", "if (advance) valid_q", "valid_q"),
    ("stream_concat", "last_i[Parts-1] & ends[Parts-1]", "last_i[Parts-1]"),
    ("stream_concat", "|ends ? '0 : beat_q + 1'b1", "beat_q + 1'b1"),
    ("step_select", "step_q != StepBits'(Index + 1)", "1'b1"),
    ("step_select", "rst_ni & ~sending_q", "rst_ni"),
    ("step_select", "if (move | sent) begin", "if (move) begin"),
    ("argmax", "first || key > greatest_q", "first || key >= greatest_q"),
    ("argmax", "key = {data_i, rank}", "key = {data_i, ~rank}"),
    ("argmax", "(!final_value || !valid_q || ready_i)", "1'b1"),
    ("stream_index", "!rst_ni ? '0 : move_i ?", "!rst_ni ? '0 : index_q == '0 ?"),
    ("stream_credit", "if (enter_i && !leave_i) room_q", "if (enter_i) room_q"),
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
        whole = [*arithmetic.benches(), *steps.benches(), *streams.benches(), *recurrence.benches(), *wiring.benches()]
        whole += stacks.benches()
        for bench in whole:
            if bench.unit == f"hwgen_{unit}":
                bench.module = f"broken_{unit}_{number}"
                found.append(bench)
    return found
