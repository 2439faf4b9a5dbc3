// SPDX-License-Identifier: Apache-2.0
//
// Step function: entry value - Lo of a table, of the row of the channel where each has its own.
// Rows are padded to a power of two.  Latency is Stages.
module hwgen_step_table #(
  parameter int ValueBits = 8,
  parameter int CodeBits = 8,
  parameter int Lo = -128,
  parameter int Size = 256,
  parameter int Rows = 1,
  parameter int Stages = 1,
  parameter int Block = 0,
  parameter File = "",
  localparam int RowBits = Rows > 1 ? $clog2(Rows) : 1
) (
  input  logic                        clk_i,
  input  logic signed [ValueBits-1:0] value_i,
  input  logic [RowBits-1:0]          row_i,
  output logic signed [CodeBits-1:0]  code_o
);
  localparam int PlaceBits = Size > 1 ? $clog2(Size) : 1;
  localparam int Bits = ValueBits > PlaceBits ? ValueBits + 1 : PlaceBits + 1;
  localparam int AddressBits = Rows > 1 ? RowBits + PlaceBits : PlaceBits;

  logic [Bits-1:0] distance;
  logic [AddressBits-1:0] address;
  logic unused_distance;
  assign distance = Bits'(value_i) - Bits'(Lo);
  assign unused_distance = |distance[Bits-1:PlaceBits];
  if (Rows > 1) begin : gen_rows
    assign address = {row_i, distance[PlaceBits-1:0]};
  end else begin : gen_row
    logic unused_row;
    assign unused_row = |row_i;
    assign address = distance[PlaceBits-1:0];
  end

  hwgen_rom #(
    .Width(CodeBits),
    .Depth(Rows * 2 ** PlaceBits),
    .Stages(Stages),
    .Block(Block),
    .File(File)
  ) u_rom (
    .clk_i,
    .address_i(address),
    .word_o(code_o)
  );

`ifndef SYNTHESIS
  if (Size < 1) begin : gen_refused_size
    $fatal(1, "Size must be at least 1, not %0d", Size);
  end
  if (Rows < 1) begin : gen_refused_rows
    $fatal(1, "Rows must be at least 1, not %0d", Rows);
  end
  if (Stages < 0) begin : gen_refused_stages
    $fatal(1, "Stages must be at least 0, not %0d", Stages);
  end
`endif
endmodule
