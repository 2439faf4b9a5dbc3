// SPDX-License-Identifier: Apache-2.0
//
// What a signal was Cycles cycles ago: the memory of a property, apart from the units it is about.
module past #(
  parameter int Width = 1,
  parameter int Cycles = 1
) (
  input  logic             clk,
  input  logic [Width-1:0] now,
  output logic [Width-1:0] before
);
  if (Cycles == 0) begin : gen_now
    assign before = now;
  end else begin : gen_past
    logic [Width-1:0] kept [1:Cycles];
    for (genvar n = 1; n <= Cycles; n++) begin : gen_cycle
      if (n == 1) begin : gen_first
        always_ff @(posedge clk) kept[n] <= now;
      end else begin : gen_next
        always_ff @(posedge clk) kept[n] <= kept[n-1];
      end
    end
    assign before = kept[Cycles];
  end
endmodule
