// SPDX-License-Identifier: Apache-2.0
//
// One stream to several readers.  Each of them takes a beat when it can, and is remembered; the
// beat moves at the input when the last of them takes it.  No cycle is added.
module hwgen_stream_fork #(
  parameter int Width = 8,
  parameter int Outputs = 2
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               valid_i,
  output logic               ready_o,
  input  logic [Width-1:0]   data_i,
  input  logic               last_i,
  output logic [Outputs-1:0] valid_o,
  input  logic [Outputs-1:0] ready_i,
  output logic [Width-1:0]   data_o,
  output logic               last_o
);
  // Who has taken the beat that stands at the input.
  logic [Outputs-1:0] taken_q, taken;
  assign taken = taken_q | ready_i;

  assign valid_o = {Outputs{rst_ni & valid_i}} & ~taken_q;
  assign ready_o = rst_ni & (&taken);
  assign data_o = data_i;
  assign last_o = last_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) taken_q <= '0;
    else if (valid_i) taken_q <= ready_o ? '0 : taken;
  end

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Outputs < 1) begin : gen_refused_outputs
    $fatal(1, "Outputs must be at least 1, not %0d", Outputs);
  end
`endif
endmodule
