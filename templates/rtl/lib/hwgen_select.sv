// SPDX-License-Identifier: Apache-2.0
//
// Word index_i of Count words, the first of them in the low bits: a tree of multiplexers.  An
// indexed part select says the same, but its index is multiplied by the width, by some tools in
// hardware.
module hwgen_select #(
  parameter int Width = 8,
  parameter int Count = 4,
  localparam int IndexBits = Count > 1 ? $clog2(Count) : 1
) (
  input  logic [Count*Width-1:0] words_i,
  input  logic [IndexBits-1:0]   index_i,
  output logic [Width-1:0]       word_o
);
  localparam int Levels = $clog2(Count);

  // Level l chooses by bit l - 1 among neighbours; a last one without neighbour passes.
  for (genvar l = 0; l <= Levels; l++) begin : gen_level
    localparam int Nodes = (Count + 2 ** l - 1) / 2 ** l;
    logic [Nodes*Width-1:0] words;
    if (l == 0) begin : gen_words
      assign words = words_i;
    end else begin : gen_choice
      localparam int Before = (Count + 2 ** (l - 1) - 1) / 2 ** (l - 1);
      for (genvar i = 0; i < Nodes; i++) begin : gen_node
        if (2 * i + 1 < Before) begin : gen_pair
          assign words[i*Width +: Width] = index_i[l-1] ?
              gen_level[l-1].words[(2*i+1)*Width +: Width] :
              gen_level[l-1].words[2*i*Width +: Width];
        end else begin : gen_single
          assign words[i*Width +: Width] = gen_level[l-1].words[2*i*Width +: Width];
        end
      end
    end
  end
  assign word_o = gen_level[Levels].words;
  if (Count == 1) begin : gen_only
    logic unused_index;
    assign unused_index = index_i[0];
  end

`ifndef SYNTHESIS
  if (Count < 1) begin : gen_refused_count
    $fatal(1, "Count must be at least 1, not %0d", Count);
  end
`endif
endmodule
