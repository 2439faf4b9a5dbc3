// SPDX-License-Identifier: Apache-2.0
//
// Of vectors that two directions or layers give in turns, which are those of hwgen_turns, the ones
// of one: Beats beats of each.  No cycle is added; what is not kept is taken at once.
module hwgen_stream_keep #(
  parameter int Width = 8,
  parameter int Beats = 1,
  parameter int Turn = 0,  // 0: the first of each two
  parameter int Stacked = 0
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
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  logic [BeatBits-1:0] beat_q;
  logic turn, keep, move, last_beat;
  hwgen_turns #(.Stacked(Stacked)) u_turns (
    .clk_i, .rst_ni, .step_i(move & last_beat), .last_i, .turn_o(turn)
  );

  assign keep = turn == 1'(Turn);
  assign move = valid_i & ready_o;
  assign last_beat = beat_q == BeatBits'(Beats - 1);
  assign valid_o = rst_ni & valid_i & keep;
  assign ready_o = rst_ni & (ready_i | ~keep);
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
  if (Turn != 0 && Turn != 1) begin : gen_refused_turn
    $fatal(1, "Turn must be 0 or 1, not %0d", Turn);
  end
`endif
endmodule
