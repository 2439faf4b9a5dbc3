// SPDX-License-Identifier: Apache-2.0
//
// Products of Pe x Simd weights with Simd codes, of which Pack rows share a multiplier: their
// weights stand FieldBits apart in its wide operand, w of row k times 2 ** (k * FieldBits), and
// the code of the lane is the other one.  A product fits FieldBits.  Latency is Stages.
//
// No borrow is computed in LUTs: the sign bits of the weights, which weigh negative, are taken away
// from all the others in front of the multiplier, and behind it a constant adds
// 2 ** (FieldBits - 1) to each product.  A DSP has an adder at each of these places.
module hwgen_packed_products #(
  parameter int Pe = 4,
  parameter int Simd = 4,
  parameter int CodeBits = 4,
  parameter int WeightBits = 4,
  parameter int Pack = 2,
  parameter int FieldBits = 8,
  parameter int Dsp = 0,  // a row that is left alone multiplies in a DSP as well
  parameter int Stages = 1
) (
  input  logic                          clk_i,
  input  logic [Simd*CodeBits-1:0]      codes_i,
  input  logic [Pe*Simd*WeightBits-1:0] weights_i,
  output logic [Pe*Simd*FieldBits-1:0]  products_o
);
  // What a multiplier takes, with a sign.
  localparam int WideBits = 25;
  localparam int Groups = (Pe + Pack - 1) / Pack;

  for (genvar group = 0; group < Groups; group++) begin : gen_group
    localparam int Rows = Pe - group * Pack < Pack ? Pe - group * Pack : Pack;
    for (genvar lane = 0; lane < Simd; lane++) begin : gen_lane
      logic signed [CodeBits-1:0] code;
      assign code = codes_i[lane*CodeBits +: CodeBits];
      if (Rows == 1) begin : gen_alone
        logic signed [CodeBits+WeightBits-1:0] product;
        hwgen_multiply #(.LeftBits(CodeBits), .RightBits(WeightBits), .Dsp(Dsp)) u_product (
          .left_i(code),
          .right_i(weights_i[((Pe-1)*Simd+lane)*WeightBits +: WeightBits]),
          .product_o(product)
        );
        if (FieldBits < CodeBits + WeightBits) begin : gen_sign
          logic unused_sign;
          assign unused_sign = |product[CodeBits+WeightBits-1:FieldBits];
        end
        hwgen_delay #(.Width(FieldBits), .Stages(Stages)) u_delay (
          .clk_i,
          .data_i(FieldBits'(product)),
          .data_o(products_o[((Pe-1)*Simd+lane)*FieldBits +: FieldBits])
        );
      end else begin : gen_packed
        localparam int Bits = Rows * FieldBits;
        localparam int Wide = Bits < WideBits ? Bits : WideBits;
        logic [Wide-1:0] bits, signs;
        logic [Bits-1:0] middles, biased, biased_q;
        logic signed [Wide-1:0] wide;
        logic signed [Bits-1:0] product;
        always_comb begin
          bits = '0;
          signs = '0;
          middles = '0;
          for (int k = 0; k < Rows; k++) begin
            bits[k*FieldBits +: WeightBits-1] =
                weights_i[((group*Pack+k)*Simd+lane)*WeightBits +: WeightBits-1];
            signs[k*FieldBits+WeightBits-1] =
                weights_i[((group*Pack+k)*Simd+lane)*WeightBits+WeightBits-1];
            middles[(k+1)*FieldBits-1] = 1'b1;
          end
        end
        assign wide = bits - signs;
        assign product = Bits'(wide) * Bits'(code);
        assign biased = product + middles;
        hwgen_delay #(.Width(Bits), .Stages(Stages)) u_biased (
          .clk_i, .data_i(biased), .data_o(biased_q)
        );
        for (genvar k = 0; k < Rows; k++) begin : gen_field
          assign products_o[((group*Pack+k)*Simd+lane)*FieldBits +: FieldBits] =
              biased_q[k*FieldBits +: FieldBits] ^ (FieldBits'(1) << (FieldBits - 1));
        end
      end
    end
  end

`ifndef SYNTHESIS
  if (Pack < 2) begin : gen_refused_pack
    $fatal(1, "Pack must be at least 2, not %0d", Pack);
  end
  if (WeightBits < 2) begin : gen_refused_weight_bits
    $fatal(1, "WeightBits must be at least 2, not %0d", WeightBits);
  end
  if (FieldBits < WeightBits) begin : gen_refused_field
    $fatal(1, "FieldBits %0d do not hold a weight of %0d bits", FieldBits, WeightBits);
  end
  if ((Pack - 1) * FieldBits + WeightBits > WideBits) begin : gen_refused_width
    $fatal(1, "%0d weights of %0d bits, %0d apart, need more than the %0d bits of a multiplier",
           Pack, WeightBits, FieldBits, WideBits);
  end
`endif
endmodule
