// SPDX-License-Identifier: Apache-2.0
//
// First in, first out: what is written stands at the output a cycle later.  The writer counts
// credits instead of looking at a full flag: it must not write more than Depth words that were
// not read.
module hwgen_stream_fifo #(
  parameter int Width = 8,
  parameter int Depth = 4
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam int LevelBits = $clog2(Depth + 1);
  localparam logic [AddressBits-1:0] LastAddress = AddressBits'(Depth - 1);

  logic [Width-1:0] memory [0:Depth-1];
  logic [AddressBits-1:0] write_q, read_q;
  logic [LevelBits-1:0] level_q;
  logic read;

  assign valid_o = level_q != '0;
  assign data_o = memory[read_q];
  assign read = valid_o & ready_i;

  always_ff @(posedge clk_i) if (valid_i) memory[write_q] <= data_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      read_q <= '0;
      level_q <= '0;
    end else begin
      if (valid_i) write_q <= write_q == LastAddress ? '0 : write_q + 1'b1;
      if (read) read_q <= read_q == LastAddress ? '0 : read_q + 1'b1;
      if (valid_i && !read) level_q <= level_q + 1'b1;
      else if (!valid_i && read) level_q <= level_q - 1'b1;
    end
  end

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Depth < 1) begin : gen_refused_depth
    $fatal(1, "Depth must be at least 1, not %0d", Depth);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && valid_i && !read && level_q == LevelBits'(Depth)) begin
      $fatal(1, "a word was written to a full FIFO of Depth %0d", Depth);
    end
  end
`endif
endmodule
