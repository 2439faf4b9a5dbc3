// SPDX-License-Identifier: Apache-2.0
//
// Beats of one word to beats of Factor, the first word in the low bits.  All but the last are
// kept; the last one passes, so a beat moves at the output with the last of its words.
module hwgen_stream_widen #(
  parameter int Width = 8,
  parameter int Factor = 2
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    valid_i,
  output logic                    ready_o,
  input  logic [Width-1:0]        data_i,
  input  logic                    last_i,
  output logic                    valid_o,
  input  logic                    ready_i,
  output logic [Factor*Width-1:0] data_o,
  output logic                    last_o
);
  localparam int PartBits = Factor > 1 ? $clog2(Factor) : 1;

  logic [PartBits-1:0] part_q;
  logic last_part, move;
  assign last_part = part_q == PartBits'(Factor - 1);
  assign move = valid_i & ready_o;

  assign valid_o = rst_ni & valid_i & last_part;
  assign ready_o = rst_ni & (ready_i | ~last_part);
  assign last_o = last_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) part_q <= '0;
    else if (move) part_q <= last_part ? '0 : part_q + 1'b1;
  end

  // The kept words move down, so that the first of them is the lowest when the last one is there.
  if (Factor == 1) begin : gen_whole
    assign data_o = data_i;
  end else begin : gen_kept
    logic [(Factor-1)*Width-1:0] kept_q;
    assign data_o = {data_i, kept_q};
    always_ff @(posedge clk_i) if (move && !last_part) kept_q <= data_o[Factor*Width-1:Width];
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
