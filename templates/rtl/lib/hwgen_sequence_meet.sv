// SPDX-License-Identifier: Apache-2.0
//
// Adds two streams of sums step by step: one has the steps of a sequence from the first to the
// last, the other one from the last to the first, Beats beats a step.  Their steps are taken in
// turns, the forward one first.  Whatever comes first of a step is stored, the other one is added
// to it; once all are there they leave in the order of time.  Then the next sequence comes in.
//
// How many steps there are, a third stream tells before, CountBeats beats a step: that of what both
// were computed from.  The steps of Sequences sequences are known at most.  A sequence longer than
// Length steps is cut into pieces.
module hwgen_sequence_meet #(
  parameter int Lanes = 1,
  parameter int ForwardBits = 8,
  parameter int BackwardBits = 8,
  parameter int SumBits = 9,
  parameter int Beats = 1,
  parameter int CountBeats = 1,
  parameter int CountWidth = 8,
  parameter int Length = 512,
  parameter int Sequences = 4,
  parameter int Block = 0
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          count_valid_i,
  output logic                          count_ready_o,
  input  logic [CountWidth-1:0]         count_data_i,
  input  logic                          count_last_i,
  input  logic                          forward_valid_i,
  output logic                          forward_ready_o,
  input  logic [Lanes*ForwardBits-1:0]  forward_data_i,
  input  logic                          forward_last_i,
  input  logic                          backward_valid_i,
  output logic                          backward_ready_o,
  input  logic [Lanes*BackwardBits-1:0] backward_data_i,
  input  logic                          backward_last_i,
  output logic                          valid_o,
  input  logic                          ready_i,
  output logic [Lanes*SumBits-1:0]      data_o,
  output logic                          last_o
);
  localparam int Depth = Length * Beats;
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  localparam int CountBits = CountBeats > 1 ? $clog2(CountBeats) : 1;
  localparam logic [BeatBits-1:0] LastBeat = BeatBits'(Beats - 1);
  localparam logic [CountBits-1:0] LastCount = CountBits'(CountBeats - 1);
  localparam logic [AddressBits-1:0] Step = AddressBits'(Beats);

  // The steps that come: where the sums of each begin, of the last one kept.
  logic [CountBits-1:0] count_beat_q;
  logic [AddressBits-1:0] count_q, final_step;
  logic count, counted, known, left;
  assign count = count_valid_i && count_ready_o && count_beat_q == LastCount;
  assign counted = count && (count_last_i || count_q == AddressBits'((Length - 1) * Beats));
  hwgen_stream_credit #(.Depth(Sequences)) u_credit (
    .clk_i, .rst_ni, .enter_i(counted), .leave_i(left), .room_o(count_ready_o)
  );
  hwgen_stream_fifo #(.Width(AddressBits), .Depth(Sequences)) u_final_step (
    .clk_i,
    .rst_ni,
    .valid_i(counted),
    .data_i(count_q),
    .valid_o(known),
    .ready_i(left),
    .data_o(final_step)
  );
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      count_beat_q <= '0;
      count_q <= '0;
    end else begin
      if (count_valid_i && count_ready_o) count_beat_q <= count ? '0 : count_beat_q + 1'b1;
      if (counted) count_q <= '0;
      else if (count) count_q <= count_q + Step;
    end
  end

  // A step of each side in turns, and a cycle between them: its last sum is then written.
  logic turn_q, pause_q, leaving_q, all_read_q;
  logic [BeatBits-1:0] beat_q;
  logic [AddressBits-1:0] step_q, opposite, address;
  logic open, take, last_beat, final_beat, second, advance, read;
  assign open = known && !leaving_q && !pause_q;
  assign forward_ready_o = open && !turn_q;
  assign backward_ready_o = open && turn_q;
  assign take = open && (turn_q ? backward_valid_i : forward_valid_i);
  assign last_beat = beat_q == LastBeat;
  assign final_beat = last_beat && step_q == final_step;
  // The backward side is at the step that is as far from the end as the forward one from the begin.
  assign opposite = final_step - step_q;
  assign second = turn_q ? opposite <= step_q : opposite < step_q;
  assign address = (turn_q ? opposite : step_q) + AddressBits'(beat_q);

  // The word register keeps what the other side did not take yet.
  logic valid_q, last_q;
  assign advance = !valid_q || ready_i;
  assign read = leaving_q && !pause_q && !all_read_q && advance;
  assign left = all_read_q && valid_q && ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      turn_q <= 1'b0;
      pause_q <= 1'b0;
      leaving_q <= 1'b0;
      all_read_q <= 1'b0;
      beat_q <= '0;
      step_q <= '0;
      valid_q <= 1'b0;
      last_q <= 1'b0;
    end else begin
      pause_q <= take && last_beat;
      if (take || read) begin
        beat_q <= last_beat ? '0 : beat_q + 1'b1;
        if (last_beat && (turn_q || leaving_q)) begin
          step_q <= final_beat ? '0 : step_q + Step;
        end
      end
      if (take && last_beat) turn_q <= !turn_q;
      if (take && final_beat && turn_q) leaving_q <= 1'b1;
      if (read && final_beat) all_read_q <= 1'b1;
      if (left) begin
        leaving_q <= 1'b0;
        all_read_q <= 1'b0;
      end
      if (advance) begin
        valid_q <= read;
        last_q <= read && final_beat;
      end
    end
  end

  // A sum is written in the cycle after it came.
  (* ram_style = Block != 0 ? "block" : "distributed" *)
  logic [Lanes*SumBits-1:0] memory [0:Depth-1];
  logic [Lanes*SumBits-1:0] word_q, value, value_q, sums;
  logic [AddressBits-1:0] write_address_q;
  logic write_q, second_q;
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic signed [SumBits-1:0] forward, backward, stored;
    assign forward = SumBits'($signed(forward_data_i[lane*ForwardBits +: ForwardBits]));
    assign backward = SumBits'($signed(backward_data_i[lane*BackwardBits +: BackwardBits]));
    assign value[lane*SumBits +: SumBits] = turn_q ? backward : forward;
    assign stored = second_q ? word_q[lane*SumBits +: SumBits] : '0;
    assign sums[lane*SumBits +: SumBits] = value_q[lane*SumBits +: SumBits] + stored;
  end
  always_ff @(posedge clk_i) begin
    write_q <= take & rst_ni;
    second_q <= second;
    write_address_q <= address;
    value_q <= value;
    if (write_q) memory[write_address_q] <= sums;
    if (take || read) word_q <= memory[address];
  end

  assign valid_o = valid_q;
  assign data_o = word_q;
  assign last_o = last_q;

  // Where sequences end is known from the steps, of which nothing else is.
  logic unused_inputs;
  assign unused_inputs = ^count_data_i ^ forward_last_i ^ backward_last_i;

`ifndef SYNTHESIS
  if (Length < 1) begin : gen_refused_length
    $fatal(1, "Length must be at least 1, not %0d", Length);
  end
  if (Beats < 1) begin : gen_refused_beats
    $fatal(1, "Beats must be at least 1, not %0d", Beats);
  end
  if (CountBeats < 1) begin : gen_refused_count_beats
    $fatal(1, "CountBeats must be at least 1, not %0d", CountBeats);
  end
  if (SumBits < ForwardBits || SumBits < BackwardBits) begin : gen_refused_sum
    $fatal(1, "SumBits %0d do not hold sums of %0d and %0d bits",
           SumBits, ForwardBits, BackwardBits);
  end
  if (Block != 0 && Block != 1) begin : gen_refused_block
    $fatal(1, "Block must be 0 or 1, not %0d", Block);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && take && last_beat && step_q != AddressBits'((Length - 1) * Beats) &&
        (turn_q ? backward_last_i : forward_last_i) != (step_q == final_step)) begin
      $fatal(1, "a sequence of %0d steps ends after another number of them",
             (32'(final_step) + 32'(Beats)) / Beats);
    end
  end
`endif
endmodule
