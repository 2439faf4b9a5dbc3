// SPDX-License-Identifier: Apache-2.0
//
// The vectors of two layers of a stack as they take turns: FirstBeats beats that come in for the
// first layer, SecondBeats that come back for the second one.  The shorter vectors end with beats
// of zeros.  No other cycle is added.
module hwgen_stack_join #(
  parameter int Width = 8,
  parameter int FirstBeats = 2,
  parameter int SecondBeats = 2
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic [1:0]         valid_i,
  output logic [1:0]         ready_o,
  input  logic [2*Width-1:0] data_i,
  input  logic [1:0]         last_i,
  output logic               valid_o,
  input  logic               ready_i,
  output logic [Width-1:0]   data_o,
  output logic               last_o
);
  localparam int Beats = FirstBeats > SecondBeats ? FirstBeats : SecondBeats;
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;

  logic [BeatBits-1:0] beat_q;
  logic turn, fill, filled_last, given_last, last_beat, move;
  hwgen_turns #(.Stacked(1)) u_turns (
    .clk_i, .rst_ni, .step_i(move & last_beat), .last_i(last_o), .turn_o(turn)
  );

  assign last_beat = beat_q == BeatBits'(Beats - 1);
  assign given_last = last_i[turn];
  if (FirstBeats == SecondBeats) begin : gen_alike
    assign fill = 1'b0;
    assign filled_last = 1'b0;
  end else begin : gen_fill
    localparam int Shorter = FirstBeats < SecondBeats ? 0 : 1;
    localparam int Given = FirstBeats < SecondBeats ? FirstBeats : SecondBeats;
    logic last_q;
    assign fill = turn == Shorter[0] && beat_q >= BeatBits'(Given);
    assign filled_last = last_q;
    always_ff @(posedge clk_i) begin
      if (move && !fill) last_q <= given_last;
    end
  end

  assign valid_o = rst_ni & (fill | valid_i[turn]);
  assign ready_o = {turn, ~turn} & {2{rst_ni & ready_i & ~fill}};
  assign data_o = fill ? '0 : turn ? data_i[Width +: Width] : data_i[0 +: Width];
  assign last_o = last_beat & (fill ? filled_last : given_last);
  assign move = valid_o & ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_q <= '0;
    else if (move) beat_q <= last_beat ? '0 : beat_q + 1'b1;
  end

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (FirstBeats < 1 || SecondBeats < 1) begin : gen_refused_beats
    $fatal(1, "vectors must have a beat at least, not %0d and %0d", FirstBeats, SecondBeats);
  end
`endif
endmodule
