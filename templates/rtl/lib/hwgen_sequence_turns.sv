// SPDX-License-Identifier: Apache-2.0
//
// The time steps of each sequence in both directions, which take turns: the first, the last, the
// second, the last but one ...  Beats beats a step, their order within it kept.  A sequence is
// stored whole before its first step leaves; another one is stored meanwhile.  One longer than
// Length steps is cut into pieces.  last_o is on the last beat of each direction.
module hwgen_sequence_turns #(
  parameter int Width = 8,
  parameter int Beats = 1,
  parameter int Length = 512,
  parameter int Block = 0
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
  localparam int StepBits = Length > 1 ? $clog2(Length) : 1;
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  localparam int Depth = 2 * Length * Beats;
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam logic [BeatBits-1:0] LastBeat = BeatBits'(Beats - 1);
  localparam logic [AddressBits-1:0] HalfBase = AddressBits'(Length * Beats);

  (* ram_style = Block != 0 ? "block" : "distributed" *)
  logic [Width-1:0] memory [0:Depth-1];
  logic [Width-1:0] word_q;

  // Writer: fills one half while the reader empties the other.
  logic [StepBits-1:0] write_step_q;
  logic [BeatBits-1:0] write_beat_q;
  logic [AddressBits-1:0] write_q;
  logic write_half_q, write, stored;
  // Of the sequence in each half: its steps less one, and where its last step begins.
  logic [StepBits-1:0] steps0_q, steps1_q;
  logic [AddressBits-1:0] final0_q, final1_q, final_step;
  logic [1:0] level_q;
  assign ready_o = rst_ni && !level_q[1];
  assign write = valid_i & ready_o;
  assign stored = write && write_beat_q == LastBeat &&
                  (last_i || write_step_q == StepBits'(Length - 1));
  assign final_step = write_q - AddressBits'(Beats - 1);

  // Reader: a step from the front, one from the back; a word register keeps what the other side
  // did not take yet.  other_q is where the next step of the direction that waits begins.
  logic [StepBits-1:0] left_q;
  logic [BeatBits-1:0] read_beat_q;
  logic [AddressBits-1:0] read_q, other_q;
  logic read_half_q, active_q, backward_q, valid_q, last_q;
  logic advance, read, end_of_step, ends;
  assign advance = !valid_q || ready_i;
  assign read = active_q & advance;
  assign end_of_step = read_beat_q == LastBeat;
  assign ends = read && end_of_step && left_q == '0;

  always_ff @(posedge clk_i) begin
    if (write) memory[write_q] <= data_i;
    if (read) word_q <= memory[read_q];
    if (stored && write_half_q) begin
      steps1_q <= write_step_q;
      final1_q <= final_step;
    end
    if (stored && !write_half_q) begin
      steps0_q <= write_step_q;
      final0_q <= final_step;
    end
  end

  logic emptied;
  assign emptied = ends & backward_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_step_q <= '0;
      write_beat_q <= '0;
      write_q <= '0;
      write_half_q <= 1'b0;
      level_q <= '0;
      left_q <= '0;
      read_beat_q <= '0;
      read_q <= '0;
      other_q <= '0;
      read_half_q <= 1'b0;
      active_q <= 1'b0;
      backward_q <= 1'b0;
      valid_q <= 1'b0;
      last_q <= 1'b0;
    end else begin
      if (write) begin
        write_beat_q <= write_beat_q == LastBeat ? '0 : write_beat_q + 1'b1;
        write_q <= write_q + 1'b1;
        if (write_beat_q == LastBeat) write_step_q <= write_step_q + 1'b1;
      end
      if (stored) begin
        write_step_q <= '0;
        write_q <= write_half_q ? '0 : HalfBase;
        write_half_q <= ~write_half_q;
      end
      if (stored && !emptied) level_q <= level_q + 1'b1;
      else if (!stored && emptied) level_q <= level_q - 1'b1;

      if (!active_q && level_q != '0) begin
        active_q <= 1'b1;
        backward_q <= 1'b0;
        left_q <= read_half_q ? steps1_q : steps0_q;
        read_q <= read_half_q ? HalfBase : '0;
        other_q <= read_half_q ? final1_q : final0_q;
      end
      if (read) begin
        read_beat_q <= end_of_step ? '0 : read_beat_q + 1'b1;
        read_q <= read_q + 1'b1;
        if (end_of_step) begin
          // The other direction's turn; its step was the number left_q from the end.
          backward_q <= ~backward_q;
          read_q <= other_q;
          other_q <= backward_q ? read_q - AddressBits'(2 * Beats - 1) : read_q + 1'b1;
          if (backward_q) left_q <= left_q - 1'b1;
        end
      end
      if (emptied) begin
        active_q <= 1'b0;
        read_half_q <= ~read_half_q;
      end
      if (advance) begin
        valid_q <= active_q;
        last_q <= ends;
      end
    end
  end

  assign valid_o = valid_q;
  assign data_o = word_q;
  assign last_o = last_q;

`ifndef SYNTHESIS
  if (Block != 0 && Block != 1) begin : gen_refused_block
    $fatal(1, "Block must be 0 or 1, not %0d", Block);
  end
  if (Length < 1) begin : gen_refused_length
    $fatal(1, "Length must be at least 1, not %0d", Length);
  end
  if (Beats < 1) begin : gen_refused_beats
    $fatal(1, "Beats must be at least 1, not %0d", Beats);
  end
`endif
endmodule
