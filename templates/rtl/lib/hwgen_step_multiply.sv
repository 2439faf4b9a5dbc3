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
  parameter int OutputStages = 1
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
    logic signed [LimbBits:0] low;
    logic signed [HighBits-1:0] high;
    logic signed [TotalBits-1:0] low_product, high_product, low_q, high_q;
    assign low = {1'b0, multiplier[LimbBits-1:0]};
    assign high = multiplier[MultiplierBits-1:LimbBits];
    assign low_product = TotalBits'(value) * TotalBits'(low);
    assign high_product = TotalBits'(value) * TotalBits'(high);
    hwgen_delay #(.Width(2 * TotalBits), .Stages(ProductStages)) u_products (
      .clk_i, .data_i({high_product, low_product}), .data_o({high_q, low_q})
    );
    assign sum = (high_q <<< LimbBits) + low_q + TotalBits'(offset);
  end else begin : gen_product
    logic signed [TotalBits-1:0] product, product_q;
    assign product = TotalBits'(value) * TotalBits'(multiplier);
    hwgen_delay #(.Width(TotalBits), .Stages(ProductStages)) u_product (
      .clk_i, .data_i(product), .data_o(product_q)
    );
    assign sum = product_q + TotalBits'(offset);
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
