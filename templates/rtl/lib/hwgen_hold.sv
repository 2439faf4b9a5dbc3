// SPDX-License-Identifier: Apache-2.0
//
// Keeps a value that is there Delay cycles after valid_i until the next one: it stands from the
// cycle after on.
module hwgen_hold #(
  parameter int Width = 8,
  parameter int Delay = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  input  logic [Width-1:0] data_i,
  output logic [Width-1:0] data_o
);
  logic capture;
  // Kept out of DSPs: with an adder in front of it and two products behind it, Yosys 0.70 loses its
  // driver as it packs them.
  (* keep *) logic [Width-1:0] data_q;
  hwgen_flag_delay #(.Stages(Delay)) u_capture (
    .clk_i, .rst_ni, .flag_i(valid_i), .flag_o(capture)
  );
  always_ff @(posedge clk_i) if (capture) data_q <= data_i;
  assign data_o = data_q;

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Delay < 0) begin : gen_refused_delay
    $fatal(1, "Delay must be at least 0, not %0d", Delay);
  end
`endif
endmodule
