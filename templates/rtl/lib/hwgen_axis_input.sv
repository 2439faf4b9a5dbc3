// SPDX-License-Identifier: Apache-2.0
//
// Codes of an AXI4-Stream beat, each lane padded to bytes, as signed numbers.  Wires only.
module hwgen_axis_input #(
  parameter int Lanes = 1,
  parameter int LaneBits = 8,
  parameter int CodeBits = 8,
  parameter int Signed = 1,
  parameter int ValueBits = 8
) (
  input  logic [Lanes*LaneBits-1:0]  tdata_i,
  output logic [Lanes*ValueBits-1:0] values_o
);
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic [CodeBits-1:0] code;
    assign code = tdata_i[lane*LaneBits +: CodeBits];
    if (Signed != 0) begin : gen_signed
      assign values_o[lane*ValueBits +: ValueBits] = ValueBits'($signed(code));
    end else begin : gen_unsigned
      assign values_o[lane*ValueBits +: ValueBits] = ValueBits'(code);
    end
    if (LaneBits > CodeBits) begin : gen_padding
      logic unused_padding;
      assign unused_padding = |tdata_i[lane*LaneBits+CodeBits +: LaneBits-CodeBits];
    end
  end

`ifndef SYNTHESIS
  if (CodeBits > LaneBits) begin : gen_refused_code
    $fatal(1, "CodeBits %0d do not fit a lane of LaneBits %0d", CodeBits, LaneBits);
  end
  if (ValueBits < CodeBits + (Signed == 0 ? 1 : 0)) begin : gen_refused_value
    $fatal(1, "ValueBits %0d do not hold %0d-bit codes, Signed %0d", ValueBits, CodeBits, Signed);
  end
`endif
endmodule
