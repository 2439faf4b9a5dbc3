// SPDX-License-Identifier: Apache-2.0
//
// Products of Pe x Simd weights with Simd codes in LUTs, added up by Chain lanes: a term for each
// of Pe rows and Simd / Chain groups.  A weight is taken by digits of two bits, 0 to 3, the highest
// from -2 to 1.  What a digit can make of a code is there once for all rows: the code, three times
// it, and it with the other sign.  So a digit of a lane is one adder, whose LUTs choose as well.
// Latency is Stages + LateStages: those behind the sums of digits, and behind the terms.
module hwgen_digit_products #(
  parameter int Pe = 4,
  parameter int Simd = 4,
  parameter int CodeBits = 4,
  parameter int WeightBits = 4,
  parameter int Chain = 2,
  parameter int Stages = 1,
  parameter int LateStages = 0,
  localparam int Terms = (Simd + Chain - 1) / Chain,
  localparam int TermBits = CodeBits + WeightBits + $clog2(Chain)
) (
  input  logic                          clk_i,
  input  logic [Simd*CodeBits-1:0]      codes_i,
  input  logic [Pe*Simd*WeightBits-1:0] weights_i,
  output logic [Pe*Terms*TermBits-1:0]  terms_o
);
  localparam int Digits = (WeightBits + 1) / 2;
  // A code times a digit, and a sum of Chain of them.
  localparam int PartBits = CodeBits + 2;
  localparam int SumBits = PartBits + $clog2(Chain);

  logic [Simd*PartBits-1:0] codes, threefold, negative;
  for (genvar lane = 0; lane < Simd; lane++) begin : gen_multiples
    logic signed [PartBits-1:0] code;
    assign code = PartBits'($signed(codes_i[lane*CodeBits +: CodeBits]));
    assign codes[lane*PartBits +: PartBits] = code;
    assign threefold[lane*PartBits +: PartBits] = code + (code <<< 1);
    assign negative[lane*PartBits +: PartBits] = -code;
  end
  if (Digits == 1) begin : gen_no_lower
    logic unused_threefold;
    assign unused_threefold = |threefold;
  end

  for (genvar pe = 0; pe < Pe; pe++) begin : gen_pe
    for (genvar term = 0; term < Terms; term++) begin : gen_term
      localparam int Lanes = Simd - term * Chain < Chain ? Simd - term * Chain : Chain;
      logic [Digits*SumBits-1:0] sums, sums_q;
      for (genvar digit = 0; digit < Digits; digit++) begin : gen_digit
        for (genvar k = 0; k < Lanes; k++) begin : gen_lane
          localparam int Lane = term * Chain + k;
          localparam int Weight = (pe * Simd + Lane) * WeightBits;
          logic low, high;
          logic [PartBits-1:0] code, part;
          logic signed [SumBits-1:0] sum;
          assign low = weights_i[Weight+2*digit];
          assign code = codes[Lane*PartBits +: PartBits];
          if (digit == Digits - 1) begin : gen_highest
            // Of an odd number of bits the last is its own sign.
            assign high = weights_i[Weight+WeightBits-1];
            assign part = high ? (low ? negative[Lane*PartBits +: PartBits]
                                      : negative[Lane*PartBits +: PartBits] << 1)
                               : (low ? code : '0);
          end else begin : gen_lower
            assign high = weights_i[Weight+2*digit+1];
            assign part = high ? (low ? threefold[Lane*PartBits +: PartBits] : code << 1)
                               : (low ? code : '0);
          end
          if (k == 0) begin : gen_first
            assign sum = SumBits'($signed(part));
          end else begin : gen_next
            // Kept: otherwise Yosys 0.70 makes carry-save adders of a chain, which take more LUTs.
            (* keep *)
            logic signed [SumBits-1:0] kept;
            assign kept = gen_lane[k-1].sum + SumBits'($signed(part));
            assign sum = kept;
          end
        end
        assign sums[digit*SumBits +: SumBits] = gen_lane[Lanes-1].sum;
      end
      hwgen_delay #(.Width(Digits * SumBits), .Stages(Stages)) u_sums (
        .clk_i, .data_i(sums), .data_o(sums_q)
      );

      // The digits of all lanes of the term together, the highest first.
      logic [TermBits-1:0] total;
      for (genvar digit = Digits - 1; digit >= 0; digit--) begin : gen_weigh
        localparam int Above = Digits - 1 - digit;
        localparam int Bits = SumBits + 2 * Above < TermBits ? SumBits + 2 * Above : TermBits;
        logic signed [Bits-1:0] weighed;
        if (Above == 0) begin : gen_highest
          assign weighed = Bits'($signed(sums_q[digit*SumBits +: SumBits]));
        end else begin : gen_lower
          (* keep *)
          logic signed [Bits-1:0] kept;
          assign kept = Bits'($signed({gen_weigh[digit+1].weighed, 2'b00})) +
              Bits'($signed(sums_q[digit*SumBits +: SumBits]));
          assign weighed = kept;
        end
      end
      assign total = gen_weigh[0].weighed;
      hwgen_delay #(.Width(TermBits), .Stages(LateStages)) u_total (
        .clk_i, .data_i(total), .data_o(terms_o[(pe*Terms+term)*TermBits +: TermBits])
      );
    end
  end

`ifndef SYNTHESIS
  if (WeightBits < 2) begin : gen_refused_weight_bits
    $fatal(1, "WeightBits must be at least 2, not %0d", WeightBits);
  end
  if (Chain < 1) begin : gen_refused_chain
    $fatal(1, "Chain must be at least 1, not %0d", Chain);
  end
`endif
endmodule
