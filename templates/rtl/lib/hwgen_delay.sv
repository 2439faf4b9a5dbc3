// SPDX-License-Identifier: Apache-2.0
//
// Stages registers in a row, without reset: data whose valid flag travels beside it.
module hwgen_delay #(
  parameter int Width = 1,
  parameter int Stages = 1
) (
  input  logic             clk_i,
  input  logic [Width-1:0] data_i,
  output logic [Width-1:0] data_o
);
  if (Stages == 0) begin : gen_wire
    logic unused_clk;
    assign unused_clk = clk_i;
    assign data_o = data_i;
  end else if (Stages == 1) begin : gen_register
    logic [Width-1:0] data_q;
    always_ff @(posedge clk_i) data_q <= data_i;
    assign data_o = data_q;
  end else begin : gen_registers
    logic [Stages*Width-1:0] data_q;
    always_ff @(posedge clk_i) data_q <= {data_q[(Stages-1)*Width-1:0], data_i};
    assign data_o = data_q[(Stages-1)*Width +: Width];
  end

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Stages < 0) begin : gen_refused_stages
    $fatal(1, "Stages must be at least 0, not %0d", Stages);
  end
`endif
endmodule
