// SPDX-License-Identifier: Apache-2.0
//
// The sequencer of the recurrent loop.  A time step begins when its projected sums are all there,
// its outputs have room, and the state it needs is on its way: Period cycles after the step
// before, so that every h stands in its register in the cycle in which it is read.  The first
// step of a sequence does not need the step before: it follows as soon as the tiles are through.
// From then on nothing stalls.
//
// Tiles are issued from the cycle after start_o: part of the gates of a group of units, columns
// innermost.
module hwgen_recurrence_control #(
  parameter int ColumnTiles = 5,
  parameter int Parts = 1,
  parameter int Groups = 20,
  parameter int Period = 110,
  parameter int Streaming = 0,  // keep the state after the last step of a sequence
  localparam int Tiles = ColumnTiles * Parts * Groups,
  localparam int TileBits = Tiles > 1 ? $clog2(Tiles) : 1,
  localparam int ColumnBits = ColumnTiles > 1 ? $clog2(ColumnTiles) : 1,
  localparam int PartBits = Parts > 1 ? $clog2(Parts) : 1,
  localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  sums_ready_i,
  input  logic                  sums_last_i,
  input  logic                  room_i,
  input  logic                  initial_ready_i,
  output logic                  start_o,
  output logic                  start_initial_o,
  output logic                  valid_o,
  output logic [TileBits-1:0]   tile_o,
  output logic [ColumnBits-1:0] column_o,
  output logic [PartBits-1:0]   part_o,
  output logic [GroupBits-1:0]  group_o,
  output logic                  first_column_o,
  output logic                  last_column_o,
  output logic                  initial_o,
  output logic                  final_o,
  output logic                  copy_o
);
  localparam int WaitBits = Period > 1 ? $clog2(Period) : 1;

  logic [WaitBits-1:0] wait_q;
  logic [TileBits-1:0] tile_q;
  logic [ColumnBits-1:0] column_q;
  logic [PartBits-1:0] part_q;
  logic [GroupBits-1:0] group_q;
  logic active_q, next_initial_q, initial_q, final_q, copy_q;
  logic last_column, last_part, last_tile;

  assign start_o = rst_ni && sums_ready_i && room_i && wait_q == '0 &&
                   (!next_initial_q || initial_ready_i);
  assign start_initial_o = start_o & next_initial_q;
  assign last_column = column_q == ColumnBits'(ColumnTiles - 1);
  assign last_part = part_q == PartBits'(Parts - 1);
  assign last_tile = tile_q == TileBits'(Tiles - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      wait_q <= '0;
      tile_q <= '0;
      column_q <= '0;
      part_q <= '0;
      group_q <= '0;
      active_q <= 1'b0;
      next_initial_q <= 1'b1;
      initial_q <= 1'b0;
      final_q <= 1'b0;
      copy_q <= 1'b0;
    end else begin
      if (start_o) begin
        wait_q <= sums_last_i && Streaming == 0 ? WaitBits'(Tiles - 1) : WaitBits'(Period - 1);
        next_initial_q <= sums_last_i && Streaming == 0;
        initial_q <= next_initial_q;
        final_q <= sums_last_i;
        copy_q <= ~copy_q;
      end else if (wait_q != '0) begin
        wait_q <= wait_q - 1'b1;
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

`ifndef SYNTHESIS
  if (Period < Tiles) begin : gen_refused_period
    $fatal(1, "Period %0d is below the %0d tiles of a step", Period, Tiles);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && start_o && active_q && !last_tile) $fatal(1, "a step began within another");
  end
`endif
endmodule
