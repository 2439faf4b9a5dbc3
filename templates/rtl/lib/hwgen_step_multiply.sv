// SPDX-License-Identifier: Apache-2.0
//
// Step function: clamp((value * multiplier + offset) >> Shift).  The constants come with the
// value: literals, or one of a channel.  Latency is the sum of the four numbers of stages; a
// multiplier absorbs InputStages and ProductStages.
module hwgen_step_multiply #(
  parameter int ValueBits = 16,
  parameter int MultiplierBits = 16,
  parameter int OffsetBits = 16,
  parameter int TotalBits = 32,
  parameter int CodeBits = 8,
  parameter int Shift = 16,
  parameter int Lo = -128,
  parameter int Hi = 127,
  parameter int InputStages = 0,
  parameter int ProductStages = 1,
  parameter int SumStages = 0,
  parameter int OutputStages = 1,
  parameter int LowBits = 18,  // of the low limb with its sign: fewer for some constants
  parameter int Dsp = 1,  // multiply in DSPs: the multiplier, or its low limb
  parameter int HighDsp = 1  // and its high limb
) (
  input  logic                             clk_i,
  input  logic signed [ValueBits-1:0]      value_i,
  input  logic signed [MultiplierBits-1:0] multiplier_i,
  input  logic signed [OffsetBits-1:0]     offset_i,
  output logic signed [CodeBits-1:0]       code_o
);
  localparam int QuotientBits = TotalBits - Shift;
  localparam int LimbBits = 17;

  logic signed [ValueBits-1:0] value;
  logic signed [MultiplierBits-1:0] multiplier;
  logic signed [OffsetBits-1:0] offset;
  logic signed [TotalBits-1:0] sum, sum_q;
  logic signed [QuotientBits-1:0] quotient;
  logic signed [CodeBits-1:0] code;

  hwgen_delay #(.Width(ValueBits), .Stages(InputStages)) u_value (
    .clk_i, .data_i(value_i), .data_o(value)
  );
  hwgen_delay #(.Width(MultiplierBits), .Stages(InputStages)) u_multiplier (
    .clk_i, .data_i(multiplier_i), .data_o(multiplier)
  );
  hwgen_delay #(.Width(OffsetBits), .Stages(InputStages + ProductStages)) u_offset (
    .clk_i, .data_i(offset_i), .data_o(offset)
  );

  // A multiplier wider than those of an FPGA is taken in two limbs, whose products are registered
  // before they are added.
  if (MultiplierBits > LimbBits + 1) begin : gen_limbs
    localparam int HighBits = MultiplierBits - LimbBits;
    // Products are registered in the width they have: of a register behind an extension, Yosys
    // 0.70 may lose the driver as it packs DSPs.
    localparam int LowProductBits = ValueBits + LowBits;
    localparam int HighProductBits = ValueBits + HighBits;
    logic signed [LowProductBits-1:0] low_product, low_q;
    logic signed [HighProductBits-1:0] high_product, high_q;
    logic [LimbBits:0] low;
    assign low = {1'b0, multiplier[LimbBits-1:0]};
    if (LowBits <= LimbBits) begin : gen_short
      logic unused_low;
      assign unused_low = |low[LimbBits:LowBits];
    end
    hwgen_multiply #(.LeftBits(ValueBits), .RightBits(LowBits), .Dsp(Dsp)) u_low (
      .left_i(value), .right_i(low[LowBits-1:0]), .product_o(low_product)
    );
    hwgen_multiply #(.LeftBits(ValueBits), .RightBits(HighBits), .Dsp(HighDsp)) u_high (
      .left_i(value),
      .right_i(multiplier[MultiplierBits-1:LimbBits]),
      .product_o(high_product)
    );
    hwgen_delay #(.Width(LowProductBits), .Stages(ProductStages)) u_low_product (
      .clk_i, .data_i(low_product), .data_o(low_q)
    );
    hwgen_delay #(.Width(HighProductBits), .Stages(ProductStages)) u_high_product (
      .clk_i, .data_i(high_product), .data_o(high_q)
    );
    assign sum = (TotalBits'(high_q) <<< LimbBits) + TotalBits'(low_q) + TotalBits'(offset);
    if (LowProductBits > TotalBits) begin : gen_sign
      logic unused_sign;
      assign unused_sign = |low_q[LowProductBits-1:TotalBits];
    end
  end else begin : gen_product
    localparam int ProductBits = ValueBits + MultiplierBits;
    logic signed [ProductBits-1:0] product, product_q;
    hwgen_multiply #(.LeftBits(ValueBits), .RightBits(MultiplierBits), .Dsp(Dsp)) u_multiply (
      .left_i(value), .right_i(multiplier), .product_o(product)
    );
    hwgen_delay #(.Width(ProductBits), .Stages(ProductStages)) u_product (
      .clk_i, .data_i(product), .data_o(product_q)
    );
    assign sum = TotalBits'(product_q) + TotalBits'(offset);
    if (ProductBits > TotalBits) begin : gen_sign
      logic unused_sign;
      assign unused_sign = |product_q[ProductBits-1:TotalBits];
    end
  end
  hwgen_delay #(.Width(TotalBits), .Stages(SumStages)) u_sum (
    .clk_i, .data_i(sum), .data_o(sum_q)
  );

  if (Shift > 0) begin : gen_cut
    logic [Shift-1:0] unused_fraction;
    assign {quotient, unused_fraction} = sum_q;
  end else begin : gen_whole
    assign quotient = sum_q;
  end
  hwgen_clamp #(.ValueBits(QuotientBits), .CodeBits(CodeBits), .Lo(Lo), .Hi(Hi)) u_clamp (
    .value_i(quotient), .code_o(code)
  );
  hwgen_delay #(.Width(CodeBits), .Stages(OutputStages)) u_code (
    .clk_i, .data_i(code), .data_o(code_o)
  );

`ifndef SYNTHESIS
  if (Shift < 0 || Shift >= TotalBits) begin : gen_refused_shift
    $fatal(1, "Shift %0d is not within TotalBits %0d", Shift, TotalBits);
  end
  if (TotalBits < OffsetBits) begin : gen_refused_offset
    $fatal(1, "TotalBits %0d are fewer than OffsetBits %0d", TotalBits, OffsetBits);
  end
`endif
endmodule
