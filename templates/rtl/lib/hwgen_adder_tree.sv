// SPDX-License-Identifier: Apache-2.0
//
// Sum of Count signed terms.  Stages registers are spread over the levels, one more addition
// following behind the tree (an accumulator).  Latency is Stages.
module hwgen_adder_tree #(
  parameter int Count = 4,
  parameter int TermBits = 16,
  parameter int Stages = 0,
  parameter int Apart = 0,  // an adder for each pair, whatever synthesis would make of several
  localparam int Levels = $clog2(Count),
  localparam int SumBits = TermBits + Levels
) (
  input  logic                      clk_i,
  input  logic [Count*TermBits-1:0] terms_i,
  output logic signed [SumBits-1:0] sum_o
);
  // Sums of level l, a bit wider at each level.  A last one without neighbour passes, and is
  // registered in the width it has: extended in front of a register, Yosys 0.70 loses its driver
  // when a DSP takes the register.
  for (genvar l = 0; l <= Levels; l++) begin : gen_level
    localparam int Nodes = (Count + 2 ** l - 1) / 2 ** l;
    localparam int Bits = TermBits + l;
    logic [Nodes*Bits-1:0] sums;
    if (l == 0) begin : gen_terms
      assign sums = terms_i;
    end else begin : gen_sums
      // Also for the addition that follows: Levels + 1 in all, Stages + 1 registers.
      localparam int Until = l * (Stages + 1) / (Levels + 1);
      localparam int Before = (l - 1) * (Stages + 1) / (Levels + 1);
      localparam int Here = Until > Before ? 1 : 0;
      localparam int Term = Bits - 1;
      for (genvar i = 0; i < Nodes; i++) begin : gen_node
        // Terms below this node.
        localparam int Terms = Count - i * 2 ** l < 2 ** l ? Count - i * 2 ** l : 2 ** l;
        localparam int Own = TermBits + $clog2(Terms);
        logic signed [Own-1:0] added, sum;
        if (Terms > 2 ** (l - 1)) begin : gen_pair
          logic signed [Term-1:0] left, right;
          assign left = gen_level[l-1].sums[2*i*Term +: Term];
          assign right = gen_level[l-1].sums[(2*i+1)*Term +: Term];
          if (Apart != 0) begin : gen_apart
            // Kept: otherwise Yosys 0.70 makes carry-save adders of levels without a register
            // between them, which take more LUTs.
            (* keep *)
            logic signed [Own-1:0] kept;
            assign kept = Own'(left) + Own'(right);
            assign added = kept;
          end else begin : gen_free
            assign added = Own'(left) + Own'(right);
          end
        end else begin : gen_single
          assign added = gen_level[l-1].sums[2*i*Term +: Own];
          if (Own < Term) begin : gen_sign
            logic unused_sign;
            assign unused_sign = |gen_level[l-1].sums[2*i*Term+Own +: Term-Own];
          end
        end
        hwgen_delay #(.Width(Own), .Stages(Here)) u_sum (
          .clk_i, .data_i(added), .data_o(sum)
        );
        assign sums[i*Bits +: Bits] = Bits'(sum);
      end
    end
  end
  assign sum_o = gen_level[Levels].sums;
  if (Levels == 0) begin : gen_no_clock
    logic unused_clk;
    assign unused_clk = clk_i;
  end

`ifndef SYNTHESIS
  if (Count < 1) begin : gen_refused_count
    $fatal(1, "Count must be at least 1, not %0d", Count);
  end
  if (TermBits < 1) begin : gen_refused_term_bits
    $fatal(1, "TermBits must be at least 1, not %0d", TermBits);
  end
  if (Stages < 0 || Stages > Levels) begin : gen_refused_stages
    $fatal(1, "%0d stages for %0d levels of adders", Stages, Levels);
  end
`endif
endmodule
