// SPDX-License-Identifier: Apache-2.0
//
// Initial states from outside: vectors of Beats beats of Lanes values, read in groups of
// ReadLanes.  Two are kept, so one arrives while the other is in use.  take_i begins the use of
// one, release_i ends it with its last read.
module hwgen_initial_state #(
  parameter int Lanes = 1,
  parameter int Beats = 20,
  parameter int ReadLanes = 4,
  parameter int ValueBits = 8,
  localparam int Reads = Lanes * Beats / ReadLanes,
  localparam int ReadBits = Reads > 1 ? $clog2(Reads) : 1
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           valid_i,
  output logic                           ready_o,
  input  logic [Lanes*ValueBits-1:0]     values_i,
  output logic                           available_o,
  input  logic                           take_i,
  input  logic [ReadBits-1:0]            read_i,
  output logic [ReadLanes*ValueBits-1:0] values_o,
  input  logic                           release_i
);
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  localparam int Bits = Lanes * Beats * ValueBits;
  localparam logic [BeatBits-1:0] LastBeat = BeatBits'(Beats - 1);

  logic [Bits-1:0] slot0_q, slot1_q;
  logic [BeatBits-1:0] beat_q;
  logic [1:0] available_q, occupied_q;
  logic write_slot_q, read_slot_q;
  logic write, loaded;

  assign ready_o = rst_ni && !occupied_q[1];
  assign write = valid_i & ready_o;
  assign loaded = write && beat_q == LastBeat;
  assign available_o = available_q != '0;

  for (genvar beat = 0; beat < Beats; beat++) begin : gen_beat
    always_ff @(posedge clk_i) begin
      if (write && beat_q == BeatBits'(beat)) begin
        if (write_slot_q) slot1_q[beat*Lanes*ValueBits +: Lanes*ValueBits] <= values_i;
        else slot0_q[beat*Lanes*ValueBits +: Lanes*ValueBits] <= values_i;
      end
    end
  end

  // Groups of both vectors side by side: the vector is the lowest bit of the index.
  localparam int ReadWidth = ReadLanes * ValueBits;
  localparam int WordBits = $clog2(2 * Reads);
  logic [2*Bits-1:0] groups;
  logic [ReadBits:0] group;
  assign group = {read_i, read_slot_q};
  for (genvar i = 0; i < Reads; i++) begin : gen_group
    assign groups[2*i*ReadWidth +: 2*ReadWidth] = {
      slot1_q[i*ReadWidth +: ReadWidth], slot0_q[i*ReadWidth +: ReadWidth]
    };
  end
  hwgen_select #(.Width(ReadWidth), .Count(2 * Reads)) u_values (
    .words_i(groups), .index_i(group[WordBits-1:0]), .word_o(values_o)
  );
  if (Reads == 1) begin : gen_whole
    logic unused_read;
    assign unused_read = group[ReadBits];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_q <= '0;
      available_q <= '0;
      occupied_q <= '0;
      write_slot_q <= 1'b0;
      read_slot_q <= 1'b0;
    end else begin
      if (write) beat_q <= loaded ? '0 : beat_q + 1'b1;
      if (loaded) write_slot_q <= ~write_slot_q;
      if (release_i) read_slot_q <= ~read_slot_q;
      if (loaded && !take_i) available_q <= available_q + 1'b1;
      else if (!loaded && take_i) available_q <= available_q - 1'b1;
      if (loaded && !release_i) occupied_q <= occupied_q + 1'b1;
      else if (!loaded && release_i) occupied_q <= occupied_q - 1'b1;
    end
  end

`ifndef SYNTHESIS
  if (Lanes * Beats % ReadLanes != 0) begin : gen_refused_lanes
    $fatal(1, "%0d values are not a multiple of ReadLanes %0d", Lanes * Beats, ReadLanes);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && take_i && available_q == '0) begin
      $fatal(1, "an initial state of %0d beats was taken that is not there", Beats);
    end
    if (rst_ni && release_i && occupied_q == available_q) begin
      $fatal(1, "an initial state of %0d beats was released that is not in use", Beats);
    end
  end
`endif
endmodule
