// SPDX-License-Identifier: Apache-2.0
//
// An AXI4-Stream of vectors of Beats beats: Lanes signed values a beat, each padded to bytes.
// Room for a vector is reserved before the first of its beats is computed, so the pipeline in
// front never has to stall: Vectors of them are buffered.
module hwgen_axis_output #(
  parameter int Lanes = 1,
  parameter int ValueBits = 8,
  parameter int LaneBits = 8,
  parameter int Beats = 1,
  parameter int Vectors = 2
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       reserve_i,
  output logic                       room_o,
  input  logic                       valid_i,
  input  logic [Lanes*ValueBits-1:0] values_i,
  input  logic                       last_i,
  output logic                       tvalid_o,
  input  logic                       tready_i,
  output logic [Lanes*LaneBits-1:0]  tdata_o,
  output logic                       tlast_o
);
  localparam int RoomBits = $clog2(Vectors + 1);
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  localparam logic [BeatBits-1:0] LastBeat = BeatBits'(Beats - 1);

  logic [Lanes*ValueBits-1:0] values;
  logic [RoomBits-1:0] room_q;
  logic [BeatBits-1:0] beat_q;
  logic last, sent, done;

  hwgen_stream_fifo #(
    .Width(Lanes * ValueBits + 1),
    .Depth(Beats * Vectors)
  ) u_fifo (
    .clk_i,
    .rst_ni,
    .valid_i,
    .data_i({last_i, values_i}),
    .valid_o(tvalid_o),
    .ready_i(tready_i),
    .data_o({last, values})
  );

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    assign tdata_o[lane*LaneBits +: LaneBits] =
        LaneBits'($signed(values[lane*ValueBits +: ValueBits]));
  end
  assign tlast_o = last && beat_q == LastBeat;
  assign sent = tvalid_o & tready_i;
  assign done = sent && beat_q == LastBeat;
  assign room_o = room_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_q <= '0;
      room_q <= RoomBits'(Vectors);
    end else begin
      if (sent) beat_q <= done ? '0 : beat_q + 1'b1;
      if (reserve_i && !done) room_q <= room_q - 1'b1;
      else if (!reserve_i && done) room_q <= room_q + 1'b1;
    end
  end

`ifndef SYNTHESIS
  if (Beats < 1) begin : gen_refused_beats
    $fatal(1, "Beats must be at least 1, not %0d", Beats);
  end
  if (Vectors < 1) begin : gen_refused_vectors
    $fatal(1, "Vectors must be at least 1, not %0d", Vectors);
  end
  // Beats that were reserved and did not come yet.
  int owed_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) owed_q <= 0;
    else owed_q <= owed_q + (reserve_i ? Beats : 0) - (valid_i ? 1 : 0);
    if (rst_ni && reserve_i && room_q == '0) begin
      $fatal(1, "a vector was begun without room for it among %0d", Vectors);
    end
    if (rst_ni && valid_i && owed_q == 0 && !reserve_i) begin
      $fatal(1, "a beat came that was not reserved, vectors are of %0d", Beats);
    end
  end
`endif
endmodule
