// SPDX-License-Identifier: Apache-2.0
//
// Read-only memory from a file of hexadecimal words.  Stages = 0 reads at once, 1 is a registered
// read (block RAM), more add registers behind it (the output register of a block RAM).
module hwgen_rom #(
  parameter int Width = 8,
  parameter int Depth = 1,
  parameter int Stages = 1,
  parameter int Block = 0,  // block RAM, otherwise LUTs
  parameter File = "",
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                   clk_i,
  input  logic [AddressBits-1:0] address_i,
  output logic [Width-1:0]       word_o
);
  (* rom_style = Block != 0 ? "block" : "logic" *)
  logic [Width-1:0] memory [0:Depth-1];
  if (File != "") begin : gen_contents
    initial $readmemh(File, memory);
  end

  if (Stages == 0) begin : gen_asynchronous
    logic unused_clk;
    assign unused_clk = clk_i;
    assign word_o = memory[address_i];
  end else begin : gen_synchronous
    logic [Width-1:0] word_q;
    always_ff @(posedge clk_i) word_q <= memory[address_i];
    hwgen_delay #(
      .Width(Width),
      .Stages(Stages - 1)
    ) u_output (
      .clk_i,
      .data_i(word_q),
      .data_o(word_o)
    );
  end

`ifndef SYNTHESIS
  if (Depth < 1) begin : gen_refused_depth
    $fatal(1, "Depth must be at least 1, not %0d", Depth);
  end
  if (Stages < 0) begin : gen_refused_stages
    $fatal(1, "Stages must be at least 0, not %0d", Stages);
  end
  if (Block != 0 && Stages == 0) begin : gen_refused_block
    $fatal(1, "block RAM is read with 1 stage or more, not %0d", Stages);
  end
`endif
endmodule
