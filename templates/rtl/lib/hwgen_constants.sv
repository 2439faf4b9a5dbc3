// SPDX-License-Identifier: Apache-2.0
//
// A few constants, one of them at a time: entry Offset + index * Stride of Values, a cycle after
// its index.  Units that work side by side take every Stride-th channel, each from an Offset of
// its own.
module hwgen_constants #(
  parameter int Width = 8,
  parameter int Depth = 1,
  parameter int Stride = 1,
  parameter int Offset = 0,
  parameter logic [Depth*Stride*Width-1:0] Values = '0,
  localparam int IndexBits = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                 clk_i,
  input  logic [IndexBits-1:0] index_i,
  output logic [Width-1:0]     value_o
);
  if (Depth == 1) begin : gen_constant
    logic unused_inputs;
    assign unused_inputs = clk_i & index_i[0];
    assign value_o = Values[Offset*Width +: Width];
  end else begin : gen_memory
    (* rom_style = "logic" *)
    logic [Width-1:0] memory [0:Depth-1];
    initial begin
      for (int i = 0; i < Depth; i++) memory[i] = Values[(i*Stride+Offset)*Width +: Width];
    end
    always_ff @(posedge clk_i) value_o <= memory[index_i];
  end

`ifndef SYNTHESIS
  if (Depth < 1) begin : gen_refused_depth
    $fatal(1, "Depth must be at least 1, not %0d", Depth);
  end
  if (Offset < 0 || Offset >= Stride) begin : gen_refused_offset
    $fatal(1, "Offset %0d is not below Stride %0d", Offset, Stride);
  end
`endif
endmodule
