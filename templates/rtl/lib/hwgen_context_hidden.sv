// SPDX-License-Identifier: Apache-2.0
//
// The hidden states of a recurrence that Contexts sequences share, in two copies for each: a step
// reads one, any Simd codes at once, and writes the other, Units codes at a time.
//
// They are RAM of LUTs, a memory for each group of units: the copies of all contexts lie on top of
// each other, so that choosing a column costs no more than it does for one sequence.
module hwgen_context_hidden #(
  parameter int Contexts = 4,
  parameter int Units = 1,
  parameter int Groups = 20,
  parameter int Simd = 4,
  parameter int HiddenBits = 8,
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
  output logic [Simd*HiddenBits-1:0]  hidden_o
);
  localparam int GroupWidth = Units * HiddenBits;
  logic [ContextBits:0] write_address, read_address;
  assign write_address = {hidden_write_context_i, hidden_write_copy_i};
  assign read_address = {hidden_read_context_i, hidden_read_copy_i};

  logic [Groups*GroupWidth-1:0] hidden;
  for (genvar group = 0; group < Groups; group++) begin : gen_group
    (* ram_style = "distributed" *)
    logic [GroupWidth-1:0] memory [0:2**(ContextBits+1)-1];
    always_ff @(posedge clk_i) begin
      if (hidden_write_i && hidden_write_group_i == GroupBits'(group)) begin
        memory[write_address] <= hidden_i;
      end
    end
    assign hidden[group*GroupWidth +: GroupWidth] = memory[read_address];
  end
  hwgen_select #(.Width(Simd * HiddenBits), .Count(ColumnTiles)) u_hidden (
    .words_i(hidden), .index_i(hidden_read_column_i), .word_o(hidden_o)
  );

`ifndef SYNTHESIS
  if (Contexts < 2) begin : gen_refused_contexts
    $fatal(1, "Contexts must be at least 2, not %0d", Contexts);
  end
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
