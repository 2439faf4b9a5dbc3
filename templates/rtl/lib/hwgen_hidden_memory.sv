// SPDX-License-Identifier: Apache-2.0
//
// The state of a recurrence that has h alone, in two copies: a step reads one, any Simd codes at
// once, and writes the other, Units codes at a time.
module hwgen_hidden_memory #(
  parameter int Units = 1,
  parameter int Groups = 20,
  parameter int Simd = 4,
  parameter int HiddenBits = 8,
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
  output logic [Simd*HiddenBits-1:0]  hidden_o
);
  localparam int ColumnWidth = Simd * HiddenBits;
  logic [Units*Groups*HiddenBits-1:0] copy0_q, copy1_q;

  for (genvar group = 0; group < Groups; group++) begin : gen_group
    always_ff @(posedge clk_i) begin
      if (hidden_write_i && hidden_write_group_i == GroupBits'(group)) begin
        if (hidden_write_copy_i) copy1_q[group*Units*HiddenBits +: Units*HiddenBits] <= hidden_i;
        else copy0_q[group*Units*HiddenBits +: Units*HiddenBits] <= hidden_i;
      end
    end
  end

  // Columns of both copies side by side: the copy is the lowest bit of the index.
  localparam int WordBits = $clog2(2 * ColumnTiles);
  logic [2*ColumnTiles*ColumnWidth-1:0] columns;
  logic [ColumnBits:0] column;
  assign column = {hidden_read_column_i, hidden_read_copy_i};
  for (genvar i = 0; i < ColumnTiles; i++) begin : gen_column
    assign columns[2*i*ColumnWidth +: 2*ColumnWidth] = {
      copy1_q[i*ColumnWidth +: ColumnWidth], copy0_q[i*ColumnWidth +: ColumnWidth]
    };
  end
  hwgen_select #(.Width(ColumnWidth), .Count(2 * ColumnTiles)) u_hidden (
    .words_i(columns), .index_i(column[WordBits-1:0]), .word_o(hidden_o)
  );
  if (ColumnTiles == 1) begin : gen_whole
    logic unused_column;
    assign unused_column = column[ColumnBits];
  end

`ifndef SYNTHESIS
  if (Units * Groups % Simd != 0) begin : gen_refused_simd
    $fatal(1, "%0d hidden units are not a multiple of Simd %0d", Units * Groups, Simd);
  end
  always_ff @(posedge clk_i) begin
    if (hidden_write_i && 32'(hidden_write_group_i) >= Groups) begin
      $fatal(1, "h of group %0d is written, there are %0d", hidden_write_group_i, Groups);
    end
  end
`endif
endmodule
