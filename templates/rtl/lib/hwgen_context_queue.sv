// SPDX-License-Identifier: Apache-2.0
//
// The contexts of the time steps that have entered and not begun yet, in order: Steps of them at
// most.  A step is Beats beats of a stream; all of them name the same context.
module hwgen_context_queue #(
  parameter int Contexts = 4,
  parameter int Beats = 5,
  parameter int Steps = 2,
  localparam int ContextBits = Contexts > 1 ? $clog2(Contexts) : 1
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   beat_i,
  input  logic [ContextBits-1:0] context_i,
  input  logic                   take_i,
  output logic [ContextBits-1:0] context_o
);
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  logic [BeatBits-1:0] beat_q;
  logic last_beat, there;
  assign last_beat = beat_q == BeatBits'(Beats - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_q <= '0;
    else if (beat_i) beat_q <= last_beat ? '0 : beat_q + 1'b1;
  end

  hwgen_stream_fifo #(.Width(ContextBits), .Depth(Steps)) u_fifo (
    .clk_i,
    .rst_ni,
    .valid_i(beat_i & last_beat),
    .data_i(context_i),
    .valid_o(there),
    .ready_i(take_i),
    .data_o(context_o)
  );

`ifndef SYNTHESIS
  if (Beats < 1) begin : gen_refused_beats
    $fatal(1, "Beats must be at least 1, not %0d", Beats);
  end
  logic [ContextBits-1:0] first_q;
  always_ff @(posedge clk_i) begin
    if (beat_i && beat_q == '0) first_q <= context_i;
    if (rst_ni && beat_i && 32'(context_i) >= Contexts) begin
      $fatal(1, "a beat of context %0d, there are %0d", context_i, Contexts);
    end
    if (rst_ni && beat_i && beat_q != '0 && context_i != first_q) begin
      $fatal(1, "context %0d within a step of context %0d", context_i, first_q);
    end
    if (rst_ni && take_i && !there) begin
      $fatal(1, "a step was taken that has not entered, of Steps %0d", Steps);
    end
  end
`else
  logic unused_there;
  assign unused_there = there;
`endif
endmodule
