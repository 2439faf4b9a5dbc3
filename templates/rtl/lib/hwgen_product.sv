// SPDX-License-Identifier: Apache-2.0
//
// (left - LeftZero) * (right - RightZero): the product of two codes.  Latency is Stages.
module hwgen_product #(
  parameter int LeftBits = 9,
  parameter int RightBits = 8,
  parameter int LeftZero = 0,
  parameter int RightZero = 0,
  parameter int ProductBits = 17,
  parameter int Dsp = 1,
  parameter int Stages = 1
) (
  input  logic                          clk_i,
  input  logic signed [LeftBits-1:0]    left_i,
  input  logic signed [RightBits-1:0]   right_i,
  output logic signed [ProductBits-1:0] product_o
);
  // A zero point costs a bit.
  localparam int LeftWidth = LeftZero == 0 ? LeftBits : LeftBits + 1;
  localparam int RightWidth = RightZero == 0 ? RightBits : RightBits + 1;

  logic signed [LeftWidth-1:0] left;
  logic signed [RightWidth-1:0] right;
  logic signed [LeftWidth+RightWidth-1:0] product;
  assign left = LeftWidth'(left_i) - LeftWidth'(LeftZero);
  assign right = RightWidth'(right_i) - RightWidth'(RightZero);
  hwgen_multiply #(.LeftBits(LeftWidth), .RightBits(RightWidth), .Dsp(Dsp)) u_multiply (
    .left_i(left), .right_i(right), .product_o(product)
  );
  hwgen_delay #(.Width(ProductBits), .Stages(Stages)) u_product (
    .clk_i, .data_i(ProductBits'(product)), .data_o(product_o)
  );

`ifndef SYNTHESIS
  if (ProductBits < LeftWidth + RightWidth) begin : gen_refused_width
    $fatal(1, "ProductBits %0d do not hold a product of %0d bits",
           ProductBits, LeftWidth + RightWidth);
  end
`endif
endmodule
