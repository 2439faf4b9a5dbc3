// SPDX-License-Identifier: Apache-2.0
//
// The vectors of several streams one behind the other: Beats of part 0, then those of part 1 and so
// on.  No cycle is added.  A sequence ends where that of the last part ends.
module hwgen_stream_concat #(
  parameter int Width = 8,
  parameter int Parts = 2,
  parameter logic [Parts*32-1:0] Beats = {(Parts > 1 ? Parts : 1){32'd1}}  // part 0 in the low bits
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [Parts-1:0]       valid_i,
  output logic [Parts-1:0]       ready_o,
  input  logic [Parts*Width-1:0] data_i,
  input  logic [Parts-1:0]       last_i,
  output logic                   valid_o,
  input  logic                   ready_i,
  output logic [Width-1:0]       data_o,
  output logic                   last_o
);
  function automatic int longest();
    longest = 1;
    for (int i = 0; i < Parts; i++) begin
      if (int'(Beats[i*32 +: 32]) > longest) longest = int'(Beats[i*32 +: 32]);
    end
  endfunction
  localparam int Longest = longest();
  localparam int PartBits = Parts > 1 ? $clog2(Parts) : 1;
  localparam int BeatBits = Longest > 1 ? $clog2(Longest) : 1;

  logic [PartBits-1:0] part_q;
  logic [BeatBits-1:0] beat_q;
  logic last_part, valid;
  // Of each part: it is its turn, and the beat is the last of its vector.
  logic [Parts-1:0] turn, ends;

  for (genvar part = 0; part < Parts; part++) begin : gen_part
    assign turn[part] = part_q == PartBits'(part);
    assign ends[part] = turn[part] && beat_q == BeatBits'(Beats[part*32 +: 32] - 1);
  end
  assign last_part = turn[Parts-1];
  hwgen_select #(.Width(Width), .Count(Parts)) u_data (
    .words_i(data_i), .index_i(part_q), .word_o(data_o)
  );

  assign valid = |(valid_i & turn);
  assign valid_o = rst_ni & valid;
  assign ready_o = {Parts{rst_ni & ready_i}} & turn;
  assign last_o = last_i[Parts-1] & ends[Parts-1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      part_q <= '0;
      beat_q <= '0;
    end else if (valid & ready_i) begin
      beat_q <= |ends ? '0 : beat_q + 1'b1;
      if (|ends) part_q <= last_part ? '0 : part_q + 1'b1;
    end
  end

  logic unused_last;
  assign unused_last = |last_i;

`ifndef SYNTHESIS
  if (Width < 1) begin : gen_refused_width
    $fatal(1, "Width must be at least 1, not %0d", Width);
  end
  if (Parts < 1) begin : gen_refused_parts
    $fatal(1, "Parts must be at least 1, not %0d", Parts);
  end
  for (genvar part = 0; part < Parts; part++) begin : gen_check
    if (int'(Beats[part*32 +: 32]) < 1) begin : gen_refused_beats
      $fatal(1, "Beats of part %0d must be at least 1, not %0d", part, int'(Beats[part*32 +: 32]));
    end
  end
`endif
endmodule
