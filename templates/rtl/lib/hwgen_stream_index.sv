// SPDX-License-Identifier: Apache-2.0
//
// Which of Count beats of a vector stands at a stream in the next cycle: what constants of beats are
// looked up with, for they are there a cycle later.
module hwgen_stream_index #(
  parameter int Count = 4,
  localparam int IndexBits = Count > 1 ? $clog2(Count) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 move_i,
  output logic [IndexBits-1:0] index_o
);
  logic [IndexBits-1:0] index_q, moved;
  assign moved = index_q == IndexBits'(Count - 1) ? '0 : index_q + 1'b1;
  // One cycle of reset is enough to look up the first.
  assign index_o = !rst_ni ? '0 : move_i ? moved : index_q;

  always_ff @(posedge clk_i) index_q <= index_o;

`ifndef SYNTHESIS
  if (Count < 1) begin : gen_refused_count
    $fatal(1, "Count must be at least 1, not %0d", Count);
  end
`endif
endmodule
