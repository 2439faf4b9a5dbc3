// SPDX-License-Identifier: Apache-2.0
//
// Read-only memory from a file of hexadecimal words that two readers share: a block RAM with two
// ports, each with an address of its own.  Stages = 1 is a registered read, more add registers
// behind it (the output register of a block RAM).
module hwgen_shared_rom #(
  parameter int Width = 8,
  parameter int Depth = 1,
  parameter int Stages = 1,
  parameter File = "",
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                   clk_i,
  input  logic [AddressBits-1:0] first_address_i,
  output logic [Width-1:0]       first_word_o,
  input  logic [AddressBits-1:0] second_address_i,
  output logic [Width-1:0]       second_word_o
);
  (* rom_style = "block" *)
  logic [Width-1:0] memory [0:Depth-1];
  if (File != "") begin : gen_contents
    initial $readmemh(File, memory);
  end

  logic [Width-1:0] first_q, second_q;
  always_ff @(posedge clk_i) first_q <= memory[first_address_i];
  always_ff @(posedge clk_i) second_q <= memory[second_address_i];
  hwgen_delay #(.Width(Width), .Stages(Stages - 1)) u_first (
    .clk_i, .data_i(first_q), .data_o(first_word_o)
  );
  hwgen_delay #(.Width(Width), .Stages(Stages - 1)) u_second (
    .clk_i, .data_i(second_q), .data_o(second_word_o)
  );

`ifndef SYNTHESIS
  if (Depth < 1) begin : gen_refused_depth
    $fatal(1, "Depth must be at least 1, not %0d", Depth);
  end
  if (Stages < 1) begin : gen_refused_stages
    $fatal(1, "block RAM is read with 1 stage or more, not %0d", Stages);
  end
`endif
endmodule
