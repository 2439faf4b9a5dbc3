// SPDX-License-Identifier: Apache-2.0
//
// The vectors of one stream to two in turns, which are those of hwgen_turns: Beats beats to output
// 0, as many to output 1 and so on.  No cycle is added.
module hwgen_stream_split #(
  parameter int Width = 8,
  parameter int Beats = 1,
  parameter int Stacked = 0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             last_i,
  output logic [1:0]       valid_o,
  input  logic [1:0]       ready_i,
  output logic [Width-1:0] data_o,  // of both outputs
  output logic             last_o
);
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  logic [BeatBits-1:0] beat_q;
  logic turn, last_beat, move;
  hwgen_turns #(.Stacked(Stacked)) u_turns (
    .clk_i, .rst_ni, .step_i(move & last_beat), .last_i, .turn_o(turn)
  );

  assign valid_o = {turn & valid_i & rst_ni, ~turn & valid_i & rst_ni};
  assign ready_o = rst_ni & ready_i[turn];
  assign move = valid_i & ready_o;
  assign last_beat = beat_q == BeatBits'(Beats - 1);
  assign data_o = data_i;
  assign last_o = last_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_q <= '0;
    else if (move) beat_q <= last_beat ? '0 : beat_q + 1'b1;
  end

`ifndef SYNTHESIS
  if (Beats < 1) begin : gen_refused_beats
    $fatal(1, "Beats must be at least 1, not %0d", Beats);
  end
`endif
endmodule
