// SPDX-License-Identifier: Apache-2.0
//
// left * right, signed, without a register.  Dsp asks for a multiplier of the FPGA, which absorbs
// the registers around it; otherwise each bit of right adds a shifted left, in LUTs.
module hwgen_multiply #(
  parameter int LeftBits = 8,
  parameter int RightBits = 8,
  parameter int Dsp = 1
) (
  input  logic signed [LeftBits-1:0]           left_i,
  input  logic signed [RightBits-1:0]          right_i,
  output logic signed [LeftBits+RightBits-1:0] product_o
);
  localparam int Bits = LeftBits + RightBits;

  if (Dsp != 0) begin : gen_dsp
    assign product_o = Bits'(left_i) * Bits'(right_i);
  end else begin : gen_lut
    logic signed [Bits-1:0] left, sum;
    assign left = Bits'(left_i);
    // The highest bit of a two's complement number weighs negative.
    always_comb begin
      sum = right_i[RightBits-1] ? -(left <<< (RightBits - 1)) : '0;
      for (int i = 0; i < RightBits - 1; i++) sum = sum + (right_i[i] ? left <<< i : '0);
    end
    assign product_o = sum;
  end
endmodule
