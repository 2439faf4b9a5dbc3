// SPDX-License-Identifier: Apache-2.0
//
// Users of units that break a contract: +violation=NAME says which, after reset.  With none of them
// the simulation ends quietly.
module violations;
  logic clk = 1'b0;
  logic rst_n = 1'b0;
  always #5 clk = ~clk;

  string violation = "none";
  int cycle = 0;
  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst_n <= cycle >= 3;
    if (cycle == 40) $finish;
  end
  initial if (!$value$plusargs("violation=%s", violation)) violation = "none";

  // Cycles after reset, in which the inputs below change.
  int t;
  assign t = cycle - 10;

  logic fifo_write;
  assign fifo_write = violation == "fifo_overflow" ? t >= 0 && t < 4 : t >= 0 && t < 3;
  hwgen_stream_fifo #(.Width(8), .Depth(3)) u_fifo (
    .clk_i(clk), .rst_ni(rst_n), .valid_i(fifo_write), .data_i(8'd1), .valid_o(), .ready_i(1'b0), .data_o()
  );

  // Vectors of two beats: reserved, then sent.
  logic reserve, beat;
  assign reserve = t == 0 || t == 1 || (violation == "no_room" && t == 2);
  assign beat = (t >= 5 && t < 9) || (violation == "not_reserved" && t == 9);
  hwgen_axis_output #(.Beats(2), .Vectors(2)) u_output (
    .clk_i(clk), .rst_ni(rst_n), .reserve_i(reserve), .room_o(), .valid_i(beat), .values_i(8'd1), .last_i(1'b0),
    .tvalid_o(), .tready_i(t > 6), .tdata_o(), .tlast_o()
  );

  // Two beats enter and leave.
  logic enter, leave;
  assign enter = t == 0 || t == 1 || (violation == "no_credit" && t == 2);
  assign leave = t == 4 || t == 5 || (violation == "nothing_left" && t == 6);
  hwgen_stream_credit #(.Depth(2)) u_credit (
    .clk_i(clk), .rst_ni(rst_n), .enter_i(enter), .leave_i(leave), .room_o()
  );

  // A sequence of three steps, or of two, where the third is wanted.
  logic step_last;
  assign step_last = violation == "no_such_step" ? t == 1 : t == 2;
  hwgen_step_select #(.Index(2)) u_select (
    .clk_i(clk), .rst_ni(rst_n), .valid_i(t >= 0 && t < 3), .ready_o(), .data_i(8'd1), .last_i(step_last),
    .valid_o(), .ready_i(1'b1), .data_o(), .last_o()
  );

  // Two steps are counted, and come from both sides.
  logic forward_ready, forward_last, forward_ended;
  hwgen_sequence_meet u_meet (
    .clk_i(clk), .rst_ni(rst_n), .count_valid_i(t == 0 || t == 1), .count_ready_o(), .count_data_i(8'd1),
    .count_last_i(t == 1), .forward_valid_i(t > 1), .forward_ready_o(forward_ready), .forward_data_i(8'd1),
    .forward_last_i(forward_last), .backward_valid_i(t > 1), .backward_ready_o(), .backward_data_i(8'd1),
    .backward_last_i(t > 6), .valid_o(), .ready_i(1'b1), .data_o(), .last_o()
  );
  always @(posedge clk) forward_ended <= rst_n && (forward_ended || (forward_ready && t > 1));
  assign forward_last = forward_ended || violation == "another_end";

  // One vector of two beats arrives, is taken and released.
  logic loading, take_initial, release_initial;
  assign loading = t == 0 || t == 1;
  assign take_initial = t == 4 || (violation == "initial_not_there" && t == 1);
  assign release_initial = t == 6 || (violation == "initial_not_in_use" && t == 3);
  hwgen_initial_state #(.Lanes(2), .Beats(2), .ReadLanes(4)) u_initial (
    .clk_i(clk), .rst_ni(rst_n), .valid_i(loading), .ready_o(), .values_i(16'd1), .available_o(),
    .take_i(take_initial), .read_i(1'b0), .values_o(), .release_i(release_initial)
  );

  // A step of two beats, freed once.
  logic step_freed;
  assign step_freed = t == 10 || (violation == "freed_twice" && t == 12);
  hwgen_input_product #(
    .Rows(4), .Columns(4), .Pe(4), .Simd(2), .WeightFile("weights.hex"), .BiasFile("bias.hex")
  ) u_input_product (
    .clk_i(clk), .rst_ni(rst_n), .valid_i(loading), .ready_o(), .codes_i(16'd1), .last_i(1'b0),
    .free_i(step_freed), .valid_o(), .sums_o(), .done_o(), .last_o()
  );

  // Rows of two tiles.
  logic tile, row_begins, row_ends;
  assign tile = t >= 0 && t < 4;
  assign row_begins = t == 0 || t == 2 || (violation == "row_in_row" && t == 1);
  assign row_ends = t == 1 || t == 3;
  hwgen_matvec #(.Pe(1), .Simd(1)) u_matvec (
    .clk_i(clk), .rst_ni(rst_n), .valid_i(tile), .first_i(row_begins && violation != "no_begin"), .last_i(row_ends),
    .codes_i(8'd1), .weights_i(8'd1), .starts_i(20'd1), .valid_o(), .sums_o()
  );

  // A step of four writes and two reads.
  logic sums_write, sums_done, sums_take, sums_read;
  assign sums_write = (t >= 0 && t < 4) || (violation == "too_many_steps" && t >= 4 && t < 12);
  assign sums_done = t == 3 || (violation == "too_many_steps" && (t == 7 || t == 11)) ||
                     (violation == "done_early" && t == 2);
  assign sums_take = violation == "too_many_steps" ? 1'b0
                   : t == 6 || (violation == "step_not_there" && t == 1);
  assign sums_read = (violation != "too_many_steps" && (t == 7 || t == 8)) || (violation == "not_taken" && t == 5);
  hwgen_sums_buffer #(.Rows(16), .WritePe(4), .ReadPe(8), .Common(4)) u_sums (
    .clk_i(clk), .rst_ni(rst_n), .valid_i(sums_write), .sums_i(80'd1), .done_i(sums_done), .last_i(1'b0),
    .ready_o(), .last_o(), .take_i(sums_take), .read_i(sums_read), .sums_o(), .free_o()
  );

  // Three groups: there is no fourth.
  logic [1:0] hidden_group, cell_group;
  assign hidden_group = violation == "no_such_hidden_group" ? 2'd3 : 2'd2;
  assign cell_group = violation == "no_such_cell_group" ? 2'd3 : 2'd2;
  hwgen_state_memory #(.Units(1), .Groups(3), .Simd(3)) u_state (
    .clk_i(clk), .hidden_write_i(t == 2), .hidden_write_copy_i(1'b0), .hidden_write_group_i(hidden_group),
    .hidden_i(8'd1), .hidden_read_copy_i(1'b0), .hidden_read_column_i(1'b0), .hidden_o(),
    .cell_write_i(t == 3), .cell_write_group_i(cell_group), .cell_i(8'd1), .cell_read_group_i(2'd0), .cell_o()
  );

  // Five groups: there is no eighth.
  logic [2:0] group;
  assign group = violation == "no_such_group" ? 3'd7 : 3'd4;
  hwgen_hidden_memory #(.Units(1), .Groups(5), .Simd(5)) u_hidden (
    .clk_i(clk), .hidden_write_i(t == 2), .hidden_write_copy_i(1'b0), .hidden_write_group_i(group), .hidden_i(8'd1),
    .hidden_read_copy_i(1'b0), .hidden_read_column_i(1'b0), .hidden_o()
  );

  // A sequencer that does not wait between its steps of four tiles: one that does cannot be made to break its promise.
  logic never_waits;
  assign never_waits = violation == "step_within_step" && t >= 0;
  broken_recurrence_control #(.ColumnTiles(2), .Parts(1), .Groups(2), .Period(4)) u_control (
    .clk_i(clk), .rst_ni(rst_n), .sums_ready_i(never_waits), .sums_last_i(1'b0), .room_i(1'b1),
    .initial_ready_i(1'b1), .start_o(), .start_initial_o(), .valid_o(), .tile_o(), .column_o(), .part_o(), .group_o(),
    .first_column_o(), .last_column_o(), .initial_o(), .final_o(), .copy_o()
  );

  // The same of the one that three sequences share: there is no fourth context.
  logic shared_never_waits;
  logic [1:0] shared_context;
  assign shared_never_waits = (violation == "interleaved_within_step" && t >= 0) || (violation == "no_such_context" && t == 1);
  assign shared_context = violation == "no_such_context" ? 2'd3 : {1'b0, t[0]};
  broken_interleave_control #(.Contexts(3), .ColumnTiles(2), .Parts(1), .Groups(2), .Period(4)) u_interleave (
    .clk_i(clk), .rst_ni(rst_n), .sums_ready_i(shared_never_waits), .sums_last_i(1'b0), .sums_context_i(shared_context),
    .room_i(1'b1), .initial_ready_i(1'b1), .start_o(), .start_initial_o(), .valid_o(), .tile_o(), .column_o(), .part_o(),
    .group_o(), .first_column_o(), .last_column_o(), .initial_o(), .final_o(), .copy_o(), .context_o()
  );
  logic [1:0] queued;
  assign queued = violation == "no_context_to_queue" ? 2'd3 : violation == "mixed_contexts" && t == 3 ? 2'd2 : 2'd1;
  hwgen_context_queue #(.Contexts(3), .Beats(2), .Steps(2)) u_contexts (
    .clk_i(clk), .rst_ni(rst_n), .beat_i(t == 2 || t == 3), .context_i(queued),
    .take_i(violation == "context_not_there" && t == 1), .context_o()
  );
  logic [1:0] shared_hidden_group, shared_cell_group;
  assign shared_hidden_group = violation == "no_such_shared_hidden_group" ? 2'd3 : 2'd2;
  assign shared_cell_group = violation == "no_such_shared_cell_group" ? 2'd3 : 2'd2;
  hwgen_context_memory #(.Contexts(2), .Units(1), .Groups(3), .Simd(3)) u_shared_state (
    .clk_i(clk), .hidden_write_i(t == 2), .hidden_write_copy_i(1'b0), .hidden_write_context_i(1'b0),
    .hidden_write_group_i(shared_hidden_group), .hidden_i(8'd1), .hidden_read_copy_i(1'b0), .hidden_read_context_i(1'b0),
    .hidden_read_column_i(1'b0), .hidden_o(), .cell_write_i(t == 3), .cell_write_context_i(1'b0),
    .cell_write_group_i(shared_cell_group), .cell_i(8'd1), .cell_read_context_i(1'b0), .cell_read_group_i(2'd0), .cell_o()
  );
endmodule
