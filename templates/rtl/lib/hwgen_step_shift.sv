// SPDX-License-Identifier: Apache-2.0
//
// Step function: clamp(round((value + offset) / 2^Shift)); a Shift below 1 multiplies: (value <<
// -Shift) + offset. Rounding: 0 half to even, 1 up, 2 down, 3 away from zero, 4 to zero, 5 half
// away from zero, 6 half to zero. TotalBits hold every sum and what rounding adds to it, 2^Shift -
// 1 at most. Latency is SumStages + OutputStages.
module hwgen_step_shift #(
  parameter int ValueBits = 16,
  parameter int OffsetBits = 16,
  parameter int TotalBits = 18,
  parameter int CodeBits = 8,
  parameter int Shift = 4,
  parameter int Rounding = 0,
  parameter int Lo = -128,
  parameter int Hi = 127,
  parameter int SumStages = 0,
  parameter int OutputStages = 1
) (
  input  logic                         clk_i,
  input  logic signed [ValueBits-1:0]  value_i,
  input  logic signed [OffsetBits-1:0] offset_i,
  output logic signed [CodeBits-1:0]   code_o
);
  localparam int Cut = Shift > 0 ? Shift : 0;
  localparam int Gain = Shift < 0 ? -Shift : 0;
  localparam int QuotientBits = TotalBits - Cut;

  logic signed [TotalBits-1:0] sum, sum_q;
  logic signed [QuotientBits-1:0] quotient;
  logic signed [CodeBits-1:0] code;

  assign sum = (TotalBits'(value_i) <<< Gain) + TotalBits'(offset_i);
  hwgen_delay #(.Width(TotalBits), .Stages(SumStages)) u_sum (
    .clk_i, .data_i(sum), .data_o(sum_q)
  );

  if (Cut == 0) begin : gen_whole
    assign quotient = sum_q;
  end else begin : gen_cut
    localparam logic signed [TotalBits-1:0] Half = TotalBits'(1) <<< (Cut - 1);
    localparam logic signed [TotalBits-1:0] Last = (TotalBits'(1) <<< Cut) - TotalBits'(1);
    logic signed [TotalBits-1:0] increment, rounded;
    logic negative;
    logic [Cut-1:0] unused_fraction;
    assign negative = sum_q[TotalBits-1];
    // The bit above the cut sends halves to the even neighbour.
    if (Rounding == 0) begin : gen_even
      assign increment = Half - TotalBits'(1) + {{(TotalBits-1){1'b0}}, sum_q[Cut]};
    end else if (Rounding == 1) begin : gen_up
      assign increment = Last;
    end else if (Rounding == 2) begin : gen_down
      assign increment = '0;
    end else if (Rounding == 3) begin : gen_away
      assign increment = negative ? '0 : Last;
    end else if (Rounding == 4) begin : gen_to_zero
      assign increment = negative ? Last : '0;
    end else if (Rounding == 5) begin : gen_half_away
      assign increment = negative ? Half - TotalBits'(1) : Half;
    end else begin : gen_half_to_zero
      assign increment = negative ? Half : Half - TotalBits'(1);
    end
    assign rounded = sum_q + increment;
    assign {quotient, unused_fraction} = rounded;
    logic unused_negative;
    assign unused_negative = negative;
  end

  hwgen_clamp #(.ValueBits(QuotientBits), .CodeBits(CodeBits), .Lo(Lo), .Hi(Hi)) u_clamp (
    .value_i(quotient), .code_o(code)
  );
  hwgen_delay #(.Width(CodeBits), .Stages(OutputStages)) u_code (
    .clk_i, .data_i(code), .data_o(code_o)
  );

`ifndef SYNTHESIS
  if (Cut >= TotalBits) begin : gen_refused_shift
    $fatal(1, "Shift %0d cuts all of TotalBits %0d", Shift, TotalBits);
  end
  if (TotalBits < OffsetBits) begin : gen_refused_offset
    $fatal(1, "TotalBits %0d are fewer than OffsetBits %0d", TotalBits, OffsetBits);
  end
  if (Rounding < 0 || Rounding > 6) begin : gen_refused_rounding
    $fatal(1, "Rounding must be from 0 to 6, not %0d", Rounding);
  end
`endif
endmodule
