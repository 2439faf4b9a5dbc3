// SPDX-License-Identifier: Apache-2.0
//
// First in, first out, in a memory with a registered read: a word is read in the cycle after it
// was written at the earliest, and stands at the output a cycle later.  Its place is free again
// for the writer in the cycle after its read.
module hwgen_stream_buffer #(
  parameter int Width = 8,
  parameter int Depth = 16,
  parameter int Block = 0  // block RAM, otherwise LUTs
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             last_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o,
  output logic             last_o
);
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam int LevelBits = $clog2(Depth + 1);
  localparam logic [AddressBits-1:0] LastAddress = AddressBits'(Depth - 1);

  (* ram_style = Block != 0 ? "block" : "distributed" *)
  logic [Width:0] memory [0:Depth-1];
  logic [Width:0] word_q;
  logic [AddressBits-1:0] write_q, read_q;
  // Words that were written and not yet read.
  logic [LevelBits-1:0] level_q;
  logic valid_q, write, read, advance;

  assign ready_o = rst_ni && level_q != LevelBits'(Depth);
  assign write = valid_i & ready_o;
  // The word register keeps what the other side did not take yet.
  assign advance = !valid_q || ready_i;
  assign read = level_q != '0 && advance;

  always_ff @(posedge clk_i) begin
    if (write) memory[write_q] <= {last_i, data_i};
    if (read) word_q <= memory[read_q];
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      read_q <= '0;
      level_q <= '0;
      valid_q <= 1'b0;
    end else begin
      if (write) write_q <= write_q == LastAddress ? '0 : write_q + 1'b1;
      if (read) read_q <= read_q == LastAddress ? '0 : read_q + 1'b1;
      if (write && !read) level_q <= level_q + 1'b1;
      else if (!write && read) level_q <= level_q - 1'b1;
      if (advance) valid_q <= read;
    end
  end

  assign valid_o = valid_q;
  assign {last_o, data_o} = word_q;

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Depth < 1) begin : gen_refused_depth
    $fatal(1, "Depth must be at least 1, not %0d", Depth);
  end
  if (Block != 0 && Block != 1) begin : gen_refused_block
    $fatal(1, "Block must be 0 or 1, not %0d", Block);
  end
`endif
endmodule
