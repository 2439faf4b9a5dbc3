// SPDX-License-Identifier: Apache-2.0
//
// One time step of each sequence, Beats beats.  Back = 0: step Index from the first passes, the
// others are swallowed.  Back = 1: step Index from the last; the last Index + 1 steps are kept in a
// ring, and the oldest of them leaves when the sequence has ended, during which nothing enters.
module hwgen_step_select #(
  parameter int Width = 8,
  parameter int Beats = 1,
  parameter int Index = 0,
  parameter int Back = 1
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
  // A beat moves at the input; it is the last one of its step; of its sequence.
  logic move, last_beat, ended;
  assign last_beat = beat_q == BeatBits'(Beats - 1);
  assign move = valid_i & ready_o;
  assign ended = move & last_beat & last_i;

  if (Back == 0) begin : gen_from_first
    localparam int StepBits = $clog2(Index + 2);
    // Stays behind Index until the sequence ends.
    logic [StepBits-1:0] step_q;
    logic chosen;
    assign chosen = step_q == StepBits'(Index);
    assign valid_o = rst_ni & valid_i & chosen;
    assign ready_o = rst_ni & (ready_i | ~chosen);
    assign data_o = data_i;
    assign last_o = last_beat;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        beat_q <= '0;
        step_q <= '0;
      end else if (move) begin
        beat_q <= last_beat ? '0 : beat_q + 1'b1;
        if (ended) step_q <= '0;
        else if (last_beat && step_q != StepBits'(Index + 1)) step_q <= step_q + 1'b1;
      end
    end
  end else begin : gen_from_last
    localparam int Depth = (Index + 1) * Beats;
    localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1;
    (* ram_style = Index > 0 || Beats > 1 ? "distributed" : "registers" *)
    logic [Width-1:0] ring [0:Depth-1];
    // Behind the last beat of a sequence stands the first one of the oldest step.
    logic [AddressBits-1:0] address_q;
    logic sending_q, sent;
    assign valid_o = sending_q;
    assign ready_o = rst_ni & ~sending_q;
    assign data_o = ring[address_q];
    assign last_o = last_beat;
    assign sent = sending_q & ready_i;

    always_ff @(posedge clk_i) if (move) ring[address_q] <= data_i;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        beat_q <= '0;
        address_q <= '0;
        sending_q <= 1'b0;
      end else begin
        if (move | sent) begin
          beat_q <= last_beat ? '0 : beat_q + 1'b1;
          address_q <= address_q == AddressBits'(Depth - 1) ? '0 : address_q + 1'b1;
        end
        if (ended) sending_q <= 1'b1;
        else if (sent && last_beat) sending_q <= 1'b0;
      end
    end
  end

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Beats < 1) begin : gen_refused_beats
    $fatal(1, "Beats must be at least 1, not %0d", Beats);
  end
  if (Index < 0) begin : gen_refused_index
    $fatal(1, "Index must be at least 0, not %0d", Index);
  end
  if (Back != 0 && Back != 1) begin : gen_refused_back
    $fatal(1, "Back must be 0 or 1, not %0d", Back);
  end
  int steps_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || ended) steps_q <= 0;
    else if (move && last_beat) steps_q <= steps_q + 1;
    if (rst_ni && ended && steps_q < Index) begin
      $fatal(1, "a sequence of %0d steps ended, step %0d was wanted", steps_q + 1, Index);
    end
  end
`endif
endmodule
