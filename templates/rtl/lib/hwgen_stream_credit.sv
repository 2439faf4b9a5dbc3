// SPDX-License-Identifier: Apache-2.0
//
// Room in the FIFO behind a pipeline that cannot stall: a beat enters while there is room for it at
// the end, Depth of them at most.  The room of a beat that leaves is there in the next cycle.
module hwgen_stream_credit #(
  parameter int Depth = 4
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic enter_i,
  input  logic leave_i,
  output logic room_o
);
  localparam int RoomBits = $clog2(Depth + 1);

  logic [RoomBits-1:0] room_q;
  assign room_o = rst_ni && room_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) room_q <= RoomBits'(Depth);
    else if (enter_i && !leave_i) room_q <= room_q - 1'b1;
    else if (!enter_i && leave_i) room_q <= room_q + 1'b1;
  end

`ifndef SYNTHESIS
  if (Depth < 1) begin : gen_refused_depth
    $fatal(1, "Depth must be at least 1, not %0d", Depth);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && enter_i && room_q == '0) begin
      $fatal(1, "a beat entered without room for it among %0d", Depth);
    end
    if (rst_ni && leave_i && room_q == RoomBits'(Depth)) begin
      $fatal(1, "a beat left that had not entered, there is room for %0d", Depth);
    end
  end
`endif
endmodule
