// SPDX-License-Identifier: Apache-2.0
//
// Input product and bias of one time step after the other, tile by tile: tile = fold *
// ColumnTiles + column.  The codes of a step arrive with its first fold and are kept for the
// others.  It runs ahead of the recurrence by Steps time steps at most, for which the buffer
// behind it has room.  With a memory for its weights, and for those of all Sets that time steps
// take in turns, if they are Stacked those of hwgen_turns.
module hwgen_input_product #(
  parameter int Rows = 80,
  parameter int Columns = 10,
  parameter int Pe = 4,
  parameter int Simd = 2,
  parameter int CodeBits = 8,
  parameter int WeightBits = 8,
  parameter int Bipolar = 0,
  parameter int Dsp = 1,
  parameter int Pack = 1,
  parameter int FieldBits = CodeBits + WeightBits,
  parameter int SumBits = 20,
  parameter int WeightBlock = 0,
  parameter int BiasBlock = 0,
  parameter int WeightStages = 1,
  parameter int ProductStages = 1,
  parameter int TreeStages = 0,
  parameter int Steps = 2,
  parameter int Sets = 1,
  parameter int Stacked = 0,
  parameter WeightFile = "",
  parameter BiasFile = ""
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  output logic                     ready_o,
  input  logic [Simd*CodeBits-1:0] codes_i,
  input  logic                     last_i,
  input  logic                     free_i,
  output logic                     valid_o,
  output logic [Pe*SumBits-1:0]    sums_o,
  output logic                     done_o,
  output logic                     last_o
);
  localparam int Tiles = Sets * (Rows / Pe) * (Columns / Simd);
  localparam int TileBits = Tiles > 1 ? $clog2(Tiles) : 1;

  logic [TileBits-1:0] tile;
  logic [Pe*Simd*WeightBits-1:0] weights;
  hwgen_rom #(
    .Width(Pe * Simd * WeightBits),
    .Depth(Tiles),
    .Stages(WeightStages),
    .Block(WeightBlock),
    .File(WeightFile)
  ) u_weights (
    .clk_i,
    .address_i(tile),
    .word_o(weights)
  );
  hwgen_tile_product #(
    .Rows(Rows),
    .Columns(Columns),
    .Pe(Pe),
    .Simd(Simd),
    .CodeBits(CodeBits),
    .WeightBits(WeightBits),
    .Bipolar(Bipolar),
    .Dsp(Dsp),
    .Pack(Pack),
    .FieldBits(FieldBits),
    .SumBits(SumBits),
    .BiasBlock(BiasBlock),
    .WeightStages(WeightStages),
    .ProductStages(ProductStages),
    .TreeStages(TreeStages),
    .Steps(Steps),
    .Sets(Sets),
    .Stacked(Stacked),
    .BiasFile(BiasFile)
  ) u_product (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .codes_i,
    .last_i,
    .free_i,
    .tile_o(tile),
    .weights_i(weights),
    .valid_o,
    .sums_o,
    .done_o,
    .last_o
  );
endmodule
