// SPDX-License-Identifier: Apache-2.0
//
// Step function: First + number of thresholds <= value, by binary search, one level for each bit
// of the result.  Level l holds 2^l thresholds of a complete tree (of the row of the channel
// where each has its own), in File_lNN.hex.
//
// Stages registers are spread over the levels; OutputRegister says whether one of them stands
// behind the last level.
module hwgen_step_search #(
  parameter int ValueBits = 16,
  parameter int ThresholdBits = 16,
  parameter int CodeBits = 8,
  parameter int First = 0,
  parameter int Count = 255,
  parameter int Rows = 1,
  parameter int Stages = 1,
  parameter int OutputRegister = 1,
  parameter File = "",
  localparam int RowBits = Rows > 1 ? $clog2(Rows) : 1
) (
  input  logic                        clk_i,
  input  logic signed [ValueBits-1:0] value_i,
  input  logic [RowBits-1:0]          row_i,
  output logic signed [CodeBits-1:0]  code_o
);
  localparam int Levels = $clog2(Count + 1);
  localparam int Parts = Stages + 1 - OutputRegister;

  for (genvar l = 1; l <= Levels; l++) begin : gen_level
    // Registers in front of this level, and behind it.
    localparam int Before = l > 1 && (l - 1) * Parts / Levels > (l - 2) * Parts / Levels ? 1 : 0;
    localparam int After = l * Parts / Levels > (l - 1) * Parts / Levels ? 1 : 0;
    localparam int Here = l == Levels && OutputRegister == 0 ? 0 : After;
    localparam int AddressBits = Rows > 1 ? RowBits + l - 1 : l > 1 ? l - 1 : 1;
    // The level as two decimal digits.
    localparam logic [15:0] Digits = {8'(48 + (l - 1) / 10), 8'(48 + (l - 1) % 10)};
    logic signed [ValueBits-1:0] value;
    logic [AddressBits-1:0] address;
    logic signed [ThresholdBits-1:0] threshold;
    logic [l-1:0] found, place;
    logic reached;

    if (l == 1) begin : gen_first
      assign value = value_i;
      assign found = reached;
    end else begin : gen_next
      hwgen_delay #(.Width(ValueBits), .Stages(Before)) u_value (
        .clk_i, .data_i(gen_level[l-1].value), .data_o(value)
      );
      assign found = {gen_level[l-1].place, reached};
    end
    if (Rows > 1) begin : gen_rows
      logic [RowBits-1:0] row;
      if (l == 1) begin : gen_first
        assign row = row_i;
        assign address = row;
      end else begin : gen_next
        hwgen_delay #(.Width(RowBits), .Stages(Before)) u_row (
          .clk_i, .data_i(gen_level[l-1].gen_rows.row), .data_o(row)
        );
        assign address = {row, gen_level[l-1].place};
      end
    end else if (l == 1) begin : gen_root
      logic unused_row;
      assign unused_row = |row_i;
      assign address = 1'b0;
    end else begin : gen_place
      assign address = gen_level[l-1].place;
    end

    hwgen_rom #(
      .Width(ThresholdBits),
      .Depth(Rows * 2 ** (l - 1)),
      .Stages(0),
      .File({File, "_l", Digits, ".hex"})
    ) u_thresholds (
      .clk_i,
      .address_i(address),
      .word_o(threshold)
    );
    assign reached = ThresholdBits'(value) >= threshold;
    hwgen_delay #(.Width(l), .Stages(Here)) u_place (
      .clk_i, .data_i(found), .data_o(place)
    );
  end

  // Places beyond the last threshold stand for the last code.
  localparam int Bits = CodeBits > Levels + 1 ? CodeBits + 1 : Levels + 2;
  logic [Bits-1:0] place, count, code;
  logic unused_code;
  assign place = Bits'(gen_level[Levels].place);
  assign count = place < Bits'(Count) ? place : Bits'(Count);
  assign code = count + Bits'(First);
  assign code_o = code[CodeBits-1:0];
  assign unused_code = |code[Bits-1:CodeBits];

`ifndef SYNTHESIS
  if (Count < 1) begin : gen_refused_count
    $fatal(1, "a search needs a threshold, Count is %0d", Count);
  end
  if (OutputRegister != 0 && OutputRegister != 1) begin : gen_refused_output
    $fatal(1, "OutputRegister must be 0 or 1, not %0d", OutputRegister);
  end
  if (Stages < 0 || Parts > Levels) begin : gen_refused_stages
    $fatal(1, "%0d stages for %0d levels, OutputRegister %0d", Stages, Levels, OutputRegister);
  end
  if (ThresholdBits < ValueBits) begin : gen_refused_thresholds
    $fatal(1, "ThresholdBits %0d are fewer than ValueBits %0d", ThresholdBits, ValueBits);
  end
`endif
endmodule
