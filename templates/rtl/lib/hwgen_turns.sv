// SPDX-License-Identifier: Apache-2.0
//
// Whose time step is next where two take turns: one step each, or, Stacked, as the second of two
// layers follows a step behind the first.  The first layer then takes two steps of a sequence
// before both take turns, and after its last one the second layer takes what is left.
module hwgen_turns #(
  parameter int Stacked = 0
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic step_i,  // the one whose turn it is takes a step
  input  logic last_i,  // the last of its sequence
  output logic turn_o
);
  logic turn_q;
  assign turn_o = turn_q;

  if (Stacked == 0) begin : gen_alternate
    always_ff @(posedge clk_i) begin
      if (!rst_ni) turn_q <= 1'b0;
      else if (step_i) turn_q <= ~turn_q;
    end
    logic unused_last;
    assign unused_last = last_i;
  end else begin : gen_behind
    logic begun_q, ended_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        turn_q <= 1'b0;
        begun_q <= 1'b0;
        ended_q <= 1'b0;
      end else if (step_i && turn_q) begin
        turn_q <= ended_q & ~last_i;
        if (last_i) begin
          begun_q <= 1'b0;
          ended_q <= 1'b0;
        end
      end else if (step_i) begin
        turn_q <= begun_q | last_i;
        begun_q <= 1'b1;
        ended_q <= last_i;
      end
    end
  end

`ifndef SYNTHESIS
  if (Stacked < 0 || Stacked > 1) begin : gen_refused_stacked
    $fatal(1, "Stacked must be 0 or 1, not %0d", Stacked);
  end
`endif
endmodule
