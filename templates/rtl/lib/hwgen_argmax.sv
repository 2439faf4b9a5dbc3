// SPDX-License-Identifier: Apache-2.0
//
// Index of the greatest of Count signed values, one a beat.  Of equal values the one with the
// greater rank wins, of equal ranks the first.  The result stands in a register while the values
// of the next vector enter, all but the last.
module hwgen_argmax #(
  parameter int ValueBits = 8,
  parameter int Count = 10,
  parameter int RankBits = 1,
  parameter logic [Count*RankBits-1:0] Ranks = '0,  // unsigned, that of index 0 in the low bits
  localparam int IndexBits = Count > 1 ? $clog2(Count) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 valid_i,
  output logic                 ready_o,
  input  logic [ValueBits-1:0] data_i,
  input  logic                 last_i,
  output logic                 valid_o,
  input  logic                 ready_i,
  output logic [IndexBits-1:0] data_o,
  output logic                 last_o
);
  localparam int KeyBits = ValueBits + RankBits;

  logic [RankBits-1:0] rank;
  logic signed [KeyBits-1:0] key, greatest_q;
  logic [IndexBits-1:0] index_q, best_q, best, result_q;
  logic first, final_value, greater, move, valid_q, last_q;

  hwgen_select #(.Width(RankBits), .Count(Count)) u_rank (
    .words_i(Ranks), .index_i(index_q), .word_o(rank)
  );
  assign key = {data_i, rank};
  assign first = index_q == '0;
  assign final_value = index_q == IndexBits'(Count - 1);
  assign greater = first || key > greatest_q;
  assign best = greater ? index_q : best_q;

  assign ready_o = rst_ni && (!final_value || !valid_q || ready_i);
  assign move = valid_i & ready_o;

  always_ff @(posedge clk_i) begin
    if (move && greater) begin
      greatest_q <= key;
      best_q <= index_q;
    end
    if (move && final_value) begin
      result_q <= best;
      last_q <= last_i;
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      index_q <= '0;
      valid_q <= 1'b0;
    end else begin
      if (move) index_q <= final_value ? '0 : index_q + 1'b1;
      if (move && final_value) valid_q <= 1'b1;
      else if (ready_i) valid_q <= 1'b0;
    end
  end

  assign valid_o = valid_q;
  assign data_o = result_q;
  assign last_o = last_q;

`ifndef SYNTHESIS
  if (ValueBits < 1) begin : gen_refused_value
    $fatal(1, "ValueBits must be at least 1, not %0d", ValueBits);
  end
  if (Count < 1) begin : gen_refused_count
    $fatal(1, "Count must be at least 1, not %0d", Count);
  end
  if (RankBits < 1) begin : gen_refused_rank
    $fatal(1, "RankBits must be at least 1, not %0d", RankBits);
  end
`endif
endmodule
