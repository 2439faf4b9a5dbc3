// SPDX-License-Identifier: Apache-2.0
//
// Flow of a product that takes a whole vector in one cycle: a vector is taken while there is room
// for its sums in the buffer of Steps vectors behind it, and its flags leave Latency cycles later,
// with the sums.
module hwgen_vector_control #(
  parameter int Steps = 2,
  parameter int Latency = 3
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic valid_i,
  output logic ready_o,
  input  logic last_i,
  input  logic free_i,
  output logic valid_o,
  output logic last_o
);
  localparam int RoomBits = $clog2(Steps + 1);

  logic [RoomBits-1:0] room_q;
  logic taken;
  assign ready_o = rst_ni && room_q != '0;
  assign taken = valid_i & ready_o;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) room_q <= RoomBits'(Steps);
    else if (taken && !free_i) room_q <= room_q - 1'b1;
    else if (!taken && free_i) room_q <= room_q + 1'b1;
  end

  hwgen_flag_delay #(.Stages(Latency)) u_valid (
    .clk_i, .rst_ni, .flag_i(taken), .flag_o(valid_o)
  );
  hwgen_delay #(.Width(1), .Stages(Latency)) u_last (
    .clk_i, .data_i(last_i), .data_o(last_o)
  );

`ifndef SYNTHESIS
  if (Steps < 1) begin : gen_refused_steps
    $fatal(1, "Steps must be at least 1, not %0d", Steps);
  end
  if (Latency < 1) begin : gen_refused_latency
    $fatal(1, "Latency must be at least 1, not %0d", Latency);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && free_i && !taken && room_q == RoomBits'(Steps)) begin
      $fatal(1, "a vector was freed beyond the Steps %0d there are", Steps);
    end
  end
`endif
endmodule
