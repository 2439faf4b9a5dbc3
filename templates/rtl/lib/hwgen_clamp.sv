// SPDX-License-Identifier: Apache-2.0
//
// A value limited to Lo..Hi, as a code.
module hwgen_clamp #(
  parameter int ValueBits = 9,
  parameter int CodeBits = 8,
  parameter int Lo = -128,
  parameter int Hi = 127
) (
  input  logic signed [ValueBits-1:0] value_i,
  output logic signed [CodeBits-1:0]  code_o
);
  // Wide enough for the value, both limits and the code.
  localparam int LimitBits = Lo < -Hi ? $clog2(-Lo) + 1 : $clog2(Hi + 1) + 1;
  localparam int Wider = ValueBits > LimitBits ? ValueBits : LimitBits;
  localparam int Bits = Wider > CodeBits ? Wider : CodeBits;

  logic signed [Bits-1:0] value, limited;
  assign value = Bits'(value_i);
  always_comb begin
    limited = value;
    if (value < Bits'(Lo)) limited = Bits'(Lo);
    else if (value > Bits'(Hi)) limited = Bits'(Hi);
  end
  assign code_o = limited[CodeBits-1:0];
  if (Bits > CodeBits) begin : gen_sign
    logic unused_sign;
    assign unused_sign = |limited[Bits-1:CodeBits];
  end

`ifndef SYNTHESIS
  if (Lo > Hi) begin : gen_refused_limits
    $fatal(1, "Lo %0d is above Hi %0d", Lo, Hi);
  end
  if (CodeBits < LimitBits) begin : gen_refused_code
    $fatal(1, "CodeBits %0d do not hold %0d to %0d", CodeBits, Lo, Hi);
  end
`endif
endmodule
