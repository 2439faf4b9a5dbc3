// SPDX-License-Identifier: Apache-2.0
//
// left * right, signed, without a register.  Dsp asks for a multiplier of the FPGA, which absorbs
// the registers around it; otherwise each bit of right adds a shifted left, in LUTs.  A right beyond
// the operand of one multiplier is taken in two limbs: where Yosys 0.70 spreads a product over DSPs
// itself, in front of a register, it may lose the driver.
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
  localparam int DspBits = 25;
  localparam int LimbBits = 17;

  if (Dsp != 0 && RightBits > DspBits) begin : gen_limbs
    localparam int LowBits = LeftBits + LimbBits + 1;
    localparam int HighBits = Bits - LimbBits;
    logic signed [LimbBits:0] low;
    logic signed [RightBits-LimbBits-1:0] high;
    logic signed [LowBits-1:0] low_product;
    logic signed [HighBits-1:0] high_product;
    assign low = $signed({1'b0, right_i[LimbBits-1:0]});
    assign high = $signed(right_i[RightBits-1:LimbBits]);
    assign low_product = LowBits'(left_i) * LowBits'(low);
    assign high_product = HighBits'(left_i) * HighBits'(high);
    assign product_o = (Bits'(high_product) <<< LimbBits) + Bits'(low_product);
  end else if (Dsp != 0) begin : gen_dsp
    assign product_o = Bits'(left_i) * Bits'(right_i);
  end else if (RightBits == 2) begin : gen_digit
    // -2, -1, 0 or 1 times left: chosen, and negated with the carry of one adder.
    logic signed [Bits-1:0] left, magnitude;
    assign left = Bits'(left_i);
    assign magnitude = right_i[0] ? left : right_i[1] ? left <<< 1 : '0;
    assign product_o = (right_i[1] ? ~magnitude : magnitude) + Bits'(right_i[1]);
  end else begin : gen_lut
    localparam int Top = RightBits - 1;
    logic signed [Bits-1:0] left, sum;
    assign left = Bits'(left_i);
    always_comb begin
      sum = '0;
      for (int i = 0; i < Top; i++) sum = sum + (right_i[i] ? left <<< i : '0);
    end
    // The highest bit of a two's complement number weighs negative.
    assign product_o = sum - (right_i[Top] ? left <<< Top : '0);
  end

`ifndef SYNTHESIS
  if (LeftBits < 1 || RightBits < 1) begin : gen_refused_bits
    $fatal(1, "LeftBits %0d and RightBits %0d must be at least 1", LeftBits, RightBits);
  end
`endif
endmodule
