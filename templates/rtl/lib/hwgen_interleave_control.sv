// SPDX-License-Identifier: Apache-2.0
//
// The sequencer of a recurrent loop that Contexts sequences share.  Time steps begin in the order
// in which they came, one every Tiles cycles at most: a step waits Period cycles for the one
// before of its own sequence, and while it does, steps of other sequences behind it wait too.
// Sequences that take turns fill the depth of the loop; what each of them is given, and in which
// order, is up to the source.
//
// Tiles are issued from the cycle after start_o: part of the gates of a group of units, columns
// innermost.  With them go the context, and which of its copies of h the step writes.
module hwgen_interleave_control #(
  parameter int Contexts = 4,
  parameter int ColumnTiles = 5,
  parameter int Parts = 1,
  parameter int Groups = 20,
  parameter int Period = 110,
  parameter int Streaming = 0,  // keep the state after the last step of a sequence
  localparam int Tiles = ColumnTiles * Parts * Groups,
  localparam int ContextBits = Contexts > 1 ? $clog2(Contexts) : 1,
  localparam int TileBits = Tiles > 1 ? $clog2(Tiles) : 1,
  localparam int ColumnBits = ColumnTiles > 1 ? $clog2(ColumnTiles) : 1,
  localparam int PartBits = Parts > 1 ? $clog2(Parts) : 1,
  localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   sums_ready_i,
  input  logic                   sums_last_i,
  input  logic [ContextBits-1:0] sums_context_i,
  input  logic                   room_i,
  input  logic                   initial_ready_i,
  output logic                   start_o,
  output logic                   start_initial_o,
  output logic                   valid_o,
  output logic [TileBits-1:0]    tile_o,
  output logic [ColumnBits-1:0]  column_o,
  output logic [PartBits-1:0]    part_o,
  output logic [GroupBits-1:0]   group_o,
  output logic                   first_column_o,
  output logic                   last_column_o,
  output logic                   initial_o,
  output logic                   final_o,
  output logic                   copy_o,
  output logic [ContextBits-1:0] context_o
);
  localparam int WaitBits = Period > 1 ? $clog2(Period) : 1;

  // What each context is waiting for: its state, and whether the next step begins a sequence.
  logic [Contexts-1:0] waiting, next_initial_q, next_copy_q, ready, begins;
  logic [TileBits-1:0] busy_q, tile_q;
  logic [ColumnBits-1:0] column_q;
  logic [PartBits-1:0] part_q;
  logic [GroupBits-1:0] group_q;
  logic [ContextBits-1:0] context_q;
  logic active_q, initial_q, final_q, copy_q;
  logic ends, last_column, last_part, last_tile;

  assign ends = sums_last_i && Streaming == 0;
  assign ready = ~waiting & (~next_initial_q | {Contexts{initial_ready_i}});
  assign start_o = rst_ni && sums_ready_i && room_i && busy_q == '0 && ready[sums_context_i];
  assign start_initial_o = start_o & next_initial_q[sums_context_i];
  assign last_column = column_q == ColumnBits'(ColumnTiles - 1);
  assign last_part = part_q == PartBits'(Parts - 1);
  assign last_tile = tile_q == TileBits'(Tiles - 1);

  for (genvar i = 0; i < Contexts; i++) begin : gen_context
    logic [WaitBits-1:0] wait_q;
    assign waiting[i] = wait_q != '0;
    assign begins[i] = start_o && sums_context_i == ContextBits'(i);
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        wait_q <= '0;
        next_initial_q[i] <= 1'b1;
        next_copy_q[i] <= 1'b0;
      end else if (begins[i]) begin
        wait_q <= ends ? '0 : WaitBits'(Period - 1);
        next_initial_q[i] <= ends;
        next_copy_q[i] <= ~next_copy_q[i];
      end else if (waiting[i]) begin
        wait_q <= wait_q - 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= '0;
      tile_q <= '0;
      column_q <= '0;
      part_q <= '0;
      group_q <= '0;
      context_q <= '0;
      active_q <= 1'b0;
      initial_q <= 1'b0;
      final_q <= 1'b0;
      copy_q <= 1'b0;
    end else begin
      if (start_o) begin
        busy_q <= TileBits'(Tiles - 1);
        context_q <= sums_context_i;
        initial_q <= next_initial_q[sums_context_i];
        final_q <= sums_last_i;
        copy_q <= next_copy_q[sums_context_i];
      end else if (busy_q != '0) begin
        busy_q <= busy_q - 1'b1;
      end
      if (start_o) active_q <= 1'b1;
      else if (last_tile) active_q <= 1'b0;
      if (active_q) begin
        tile_q <= last_tile ? '0 : tile_q + 1'b1;
        column_q <= last_column ? '0 : column_q + 1'b1;
        if (last_column) part_q <= last_part ? '0 : part_q + 1'b1;
        if (last_column && last_part) group_q <= last_tile ? '0 : group_q + 1'b1;
      end
    end
  end

  assign valid_o = active_q;
  assign tile_o = tile_q;
  assign column_o = column_q;
  assign part_o = part_q;
  assign group_o = group_q;
  assign first_column_o = column_q == '0;
  assign last_column_o = last_column;
  assign initial_o = initial_q;
  assign final_o = final_q;
  assign copy_o = copy_q;
  assign context_o = context_q;

`ifndef SYNTHESIS
  if (Contexts < 2) begin : gen_refused_contexts
    $fatal(1, "Contexts must be at least 2, not %0d", Contexts);
  end
  if (Period < Tiles) begin : gen_refused_period
    $fatal(1, "Period %0d is below the %0d tiles of a step", Period, Tiles);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && start_o && active_q && !last_tile) $fatal(1, "a step began within another");
    if (rst_ni && sums_ready_i && 32'(sums_context_i) >= Contexts) begin
      $fatal(1, "a step of context %0d, there are %0d", sums_context_i, Contexts);
    end
  end
`endif
endmodule
