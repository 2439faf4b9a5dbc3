// SPDX-License-Identifier: Apache-2.0
//
// The states of a recurrence that Contexts sequences share.  h in two copies for each: a step
// reads one, any Simd codes at once, and writes the other, Units codes at a time.  c once: it is
// read (a cycle after its group is named) and written group by group.
module hwgen_context_memory #(
  parameter int Contexts = 4,
  parameter int Units = 1,
  parameter int Groups = 20,
  parameter int Simd = 4,
  parameter int HiddenBits = 8,
  parameter int CellBits = 8,
  parameter int Block = 0,  // c in block RAM
  localparam int ColumnTiles = Units * Groups / Simd,
  localparam int ContextBits = Contexts > 1 ? $clog2(Contexts) : 1,
  localparam int ColumnBits = ColumnTiles > 1 ? $clog2(ColumnTiles) : 1,
  localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic                        clk_i,
  input  logic                        hidden_write_i,
  input  logic                        hidden_write_copy_i,
  input  logic [ContextBits-1:0]      hidden_write_context_i,
  input  logic [GroupBits-1:0]        hidden_write_group_i,
  input  logic [Units*HiddenBits-1:0] hidden_i,
  input  logic                        hidden_read_copy_i,
  input  logic [ContextBits-1:0]      hidden_read_context_i,
  input  logic [ColumnBits-1:0]       hidden_read_column_i,
  output logic [Simd*HiddenBits-1:0]  hidden_o,
  input  logic                        cell_write_i,
  input  logic [ContextBits-1:0]      cell_write_context_i,
  input  logic [GroupBits-1:0]        cell_write_group_i,
  input  logic [Units*CellBits-1:0]   cell_i,
  input  logic [ContextBits-1:0]      cell_read_context_i,
  input  logic [GroupBits-1:0]        cell_read_group_i,
  output logic [Units*CellBits-1:0]   cell_o
);
  hwgen_context_hidden #(
    .Contexts(Contexts),
    .Units(Units),
    .Groups(Groups),
    .Simd(Simd),
    .HiddenBits(HiddenBits)
  ) u_hidden (
    .clk_i,
    .hidden_write_i,
    .hidden_write_copy_i,
    .hidden_write_context_i,
    .hidden_write_group_i,
    .hidden_i,
    .hidden_read_copy_i,
    .hidden_read_context_i,
    .hidden_read_column_i,
    .hidden_o
  );

  // A context is a power of two of groups, so that addresses are bits side by side.
  localparam int CellWords = Groups > 1 ? 2**(ContextBits+GroupBits) : 2**ContextBits;
  localparam int CellAddressBits = $clog2(CellWords);
  logic [CellAddressBits-1:0] cell_write, cell_read;
  if (Groups > 1) begin : gen_groups
    assign cell_write = {cell_write_context_i, cell_write_group_i};
    assign cell_read = {cell_read_context_i, cell_read_group_i};
  end else begin : gen_one
    logic unused_group;
    assign unused_group = cell_write_group_i ^ cell_read_group_i;
    assign cell_write = cell_write_context_i;
    assign cell_read = cell_read_context_i;
  end
  (* ram_style = Block != 0 ? "block" : "distributed" *)
  logic [Units*CellBits-1:0] cells [0:CellWords-1];
  always_ff @(posedge clk_i) begin
    if (cell_write_i) cells[cell_write] <= cell_i;
    cell_o <= cells[cell_read];
  end

`ifndef SYNTHESIS
  if (Block != 0 && Block != 1) begin : gen_refused_block
    $fatal(1, "Block must be 0 or 1, not %0d", Block);
  end
  always_ff @(posedge clk_i) begin
    if (cell_write_i && 32'(cell_write_group_i) >= Groups) begin
      $fatal(1, "c of group %0d is written, there are %0d", cell_write_group_i, Groups);
    end
  end
`endif
endmodule
