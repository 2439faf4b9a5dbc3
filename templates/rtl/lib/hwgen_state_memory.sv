// SPDX-License-Identifier: Apache-2.0
//
// The state of the recurrence.  h in two copies: a step reads one, any Simd codes at once, and
// writes the other, Units codes at a time.  c once: it is read (a cycle after its group is named)
// and written group by group.
module hwgen_state_memory #(
  parameter int Units = 1,
  parameter int Groups = 20,
  parameter int Simd = 4,
  parameter int HiddenBits = 8,
  parameter int CellBits = 8,
  parameter int Block = 0,  // c in block RAM
  localparam int ColumnTiles = Units * Groups / Simd,
  localparam int ColumnBits = ColumnTiles > 1 ? $clog2(ColumnTiles) : 1,
  localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic                        clk_i,
  input  logic                        hidden_write_i,
  input  logic                        hidden_write_copy_i,
  input  logic [GroupBits-1:0]        hidden_write_group_i,
  input  logic [Units*HiddenBits-1:0] hidden_i,
  input  logic                        hidden_read_copy_i,
  input  logic [ColumnBits-1:0]       hidden_read_column_i,
  output logic [Simd*HiddenBits-1:0]  hidden_o,
  input  logic                        cell_write_i,
  input  logic [GroupBits-1:0]        cell_write_group_i,
  input  logic [Units*CellBits-1:0]   cell_i,
  input  logic [GroupBits-1:0]        cell_read_group_i,
  output logic [Units*CellBits-1:0]   cell_o
);
  logic [Units*Groups*HiddenBits-1:0] copy0_q, copy1_q, copy;

  for (genvar group = 0; group < Groups; group++) begin : gen_group
    always_ff @(posedge clk_i) begin
      if (hidden_write_i && hidden_write_group_i == GroupBits'(group)) begin
        if (hidden_write_copy_i) copy1_q[group*Units*HiddenBits +: Units*HiddenBits] <= hidden_i;
        else copy0_q[group*Units*HiddenBits +: Units*HiddenBits] <= hidden_i;
      end
    end
  end

  assign copy = hidden_read_copy_i ? copy1_q : copy0_q;
  if (ColumnTiles == 1) begin : gen_whole
    logic unused_column;
    assign unused_column = hidden_read_column_i[0];
    assign hidden_o = copy;
  end else begin : gen_part
    assign hidden_o = copy[hidden_read_column_i*Simd*HiddenBits +: Simd*HiddenBits];
  end

  (* ram_style = Block != 0 ? "block" : Groups > 1 ? "distributed" : "registers" *)
  logic [Units*CellBits-1:0] cells [0:Groups-1];
  always_ff @(posedge clk_i) begin
    if (cell_write_i) cells[cell_write_group_i] <= cell_i;
    cell_o <= cells[cell_read_group_i];
  end

`ifndef SYNTHESIS
  initial begin
    if (Block != 0 && Block != 1) $fatal(1, "Block must be 0 or 1, not %0d", Block);
    if (Units * Groups % Simd != 0) begin
      $fatal(1, "%0d hidden units are not a multiple of Simd %0d", Units * Groups, Simd);
    end
  end
`endif
endmodule
