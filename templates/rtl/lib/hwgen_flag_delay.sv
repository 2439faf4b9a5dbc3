// SPDX-License-Identifier: Apache-2.0
//
// Stages registers in a row, cleared by reset: the flags that say where in a pipeline data is.
module hwgen_flag_delay #(
  parameter int Stages = 1
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic flag_i,
  output logic flag_o
);
  if (Stages == 0) begin : gen_wire
    logic unused_clk;
    assign unused_clk = clk_i & rst_ni;
    assign flag_o = flag_i;
  end else if (Stages == 1) begin : gen_register
    logic flag_q;
    always_ff @(posedge clk_i) flag_q <= rst_ni & flag_i;
    assign flag_o = flag_q;
  end else begin : gen_registers
    logic [Stages-1:0] flag_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) flag_q <= '0;
      else flag_q <= {flag_q[Stages-2:0], flag_i};
    end
    assign flag_o = flag_q[Stages-1];
  end

`ifndef SYNTHESIS
  if (Stages < 0) begin : gen_refused_stages
    $fatal(1, "Stages must be at least 0, not %0d", Stages);
  end
`endif
endmodule
