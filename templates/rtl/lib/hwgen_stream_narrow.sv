// SPDX-License-Identifier: Apache-2.0
//
// Beats of Factor words to beats of one, the low word first.  No cycle is added; a beat moves at
// the input with the last of its words.
module hwgen_stream_narrow #(
  parameter int Width = 8,
  parameter int Factor = 2
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    valid_i,
  output logic                    ready_o,
  input  logic [Factor*Width-1:0] data_i,
  input  logic                    last_i,
  output logic                    valid_o,
  input  logic                    ready_i,
  output logic [Width-1:0]        data_o,
  output logic                    last_o
);
  localparam int PartBits = Factor > 1 ? $clog2(Factor) : 1;

  logic [PartBits-1:0] part_q;
  logic last_part;
  assign last_part = part_q == PartBits'(Factor - 1);
  hwgen_select #(.Width(Width), .Count(Factor)) u_part (
    .words_i(data_i), .index_i(part_q), .word_o(data_o)
  );

  assign valid_o = rst_ni & valid_i;
  assign ready_o = rst_ni & ready_i & last_part;
  assign last_o = last_i & last_part;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) part_q <= '0;
    else if (valid_i & ready_i) part_q <= last_part ? '0 : part_q + 1'b1;
  end

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Factor < 1) begin : gen_refused_factor
    $fatal(1, "Factor must be at least 1, not %0d", Factor);
  end
`endif
endmodule
