// SPDX-License-Identifier: Apache-2.0
//
// Input product and bias of one time step after the other, tile by tile: tile = fold *
// ColumnTiles + column.  The codes of a step arrive with its first fold and are kept for the
// others.  It runs ahead of the recurrence by Steps time steps at most, for which the buffer
// behind it has room.  The weights of tile_o come from outside, WeightStages cycles after it.
//
// Their rows may be in the order of someone else: of each group of Gates rows, row k is row
// Order[k] of the memory.  Where a tile has whole groups its lanes change places, where it has one
// row the tiles do.
//
// With several Sets of weights and biases, one behind the other, time steps take them in turns; with
// two of layers that are Stacked these turns are those of hwgen_turns.
module hwgen_tile_product #(
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
  parameter int BiasBlock = 0,
  parameter int WeightStages = 1,
  parameter int ProductStages = 1,
  parameter int TreeStages = 0,
  parameter int Steps = 2,
  parameter int Sets = 1,
  parameter int Stacked = 0,
  parameter int Gates = 1,
  parameter logic [Gates*32-1:0] Order = '0,  // row 0 in the low bits
  parameter BiasFile = "",
  localparam int Tiles = Sets * (Rows / Pe) * (Columns / Simd),
  localparam int TileBits = Tiles > 1 ? $clog2(Tiles) : 1
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     valid_i,
  output logic                     ready_o,
  input  logic [Simd*CodeBits-1:0] codes_i,
  input  logic                     last_i,
  input  logic                     free_i,
  output logic [TileBits-1:0]      tile_o,
  input  logic [Pe*Simd*WeightBits-1:0] weights_i,
  output logic                     valid_o,
  output logic [Pe*SumBits-1:0]    sums_o,
  output logic                     done_o,
  output logic                     last_o
);
  localparam int Folds = Rows / Pe;
  localparam int ColumnTiles = Columns / Simd;
  localparam int FoldBits = Folds > 1 ? $clog2(Folds) : 1;
  localparam int ColumnBits = ColumnTiles > 1 ? $clog2(ColumnTiles) : 1;
  localparam int RoomBits = $clog2(Steps + 1);
  // From a tile to its sums.
  localparam int Latency = WeightStages + ProductStages + TreeStages + 1;

  logic [FoldBits-1:0] fold_q;
  logic [ColumnBits-1:0] column_q;
  logic [TileBits-1:0] tile_q;
  logic [RoomBits-1:0] room_q;
  logic first_fold, last_fold, first_column, last_column, begins, issue, final_tile, last_set, set;

  assign first_fold = fold_q == '0;
  assign last_fold = fold_q == FoldBits'(Folds - 1);
  assign first_column = column_q == '0;
  assign last_column = column_q == ColumnBits'(ColumnTiles - 1);
  assign ready_o = rst_ni && first_fold && (!first_column || room_q != '0);
  assign issue = first_fold ? valid_i & ready_o : rst_ni;
  assign begins = issue & first_fold & first_column;
  assign final_tile = issue & last_fold & last_column;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      fold_q <= '0;
      column_q <= '0;
      tile_q <= '0;
      room_q <= RoomBits'(Steps);
    end else begin
      if (issue) begin
        column_q <= last_column ? '0 : column_q + 1'b1;
        tile_q <= final_tile && last_set ? '0 : tile_q + 1'b1;
        if (last_column) fold_q <= last_fold ? '0 : fold_q + 1'b1;
      end
      if (begins && !free_i) room_q <= room_q - 1'b1;
      else if (!begins && free_i) room_q <= room_q + 1'b1;
    end
  end

  // The codes of the tile: from outside in the first fold, from the copy kept then in the others.
  logic [Simd*CodeBits-1:0] codes, codes_q, operands;
  logic last;
  if (Folds == 1) begin : gen_once
    assign codes = codes_i;
    assign last = last_i;
  end else begin : gen_kept
    logic [Simd*CodeBits-1:0] kept [0:ColumnTiles-1];
    logic last_q;
    always_ff @(posedge clk_i) begin
      if (issue && first_fold) begin
        kept[column_q] <= codes_i;
        last_q <= last_i;
      end
    end
    assign codes = first_fold ? codes_i : kept[column_q];
    assign last = last_q;
  end
  always_ff @(posedge clk_i) codes_q <= codes;
  hwgen_delay #(.Width(Simd * CodeBits), .Stages(WeightStages - 1)) u_operands (
    .clk_i, .data_i(codes_q), .data_o(operands)
  );

  // The tile of the memory, and its lanes in the order of the rows.
  localparam int Lane = Simd * WeightBits;
  logic [Pe*Lane-1:0] weights;
  if (Gates > 1 && Pe == 1) begin : gen_ordered_tiles
    // Of each row, how far behind the tiles of the same number its weights are.
    logic [Gates*TileBits-1:0] offsets;
    logic [TileBits-1:0] offset;
    logic [$clog2(Gates)-1:0] gate_q;
    for (genvar k = 0; k < Gates; k++) begin : gen_offset
      assign offsets[k*TileBits +: TileBits] =
          TileBits'((int'(Order[k*32 +: 32]) - k) * ColumnTiles);
    end
    hwgen_select #(.Width(TileBits), .Count(Gates)) u_offset (
      .words_i(offsets), .index_i(gate_q), .word_o(offset)
    );
    always_ff @(posedge clk_i) begin
      if (!rst_ni) gate_q <= '0;
      else if (issue && last_column) gate_q <= int'(gate_q) == Gates - 1 ? '0 : gate_q + 1'b1;
    end
    assign tile_o = tile_q + offset;
    assign weights = weights_i;
    logic unused_set;
    assign unused_set = set;
  end else begin : gen_ordered_lanes
    assign tile_o = set ? tile_q + TileBits'(Tiles / 2) : tile_q;
    for (genvar pe = 0; pe < Pe; pe++) begin : gen_lane
      localparam int From = pe - pe % Gates + int'(Order[pe%Gates*32 +: 32]);
      assign weights[pe*Lane +: Lane] = weights_i[From*Lane +: Lane];
    end
  end

  logic valid, first, end_of_row;
  hwgen_flag_delay #(.Stages(WeightStages)) u_valid (
    .clk_i, .rst_ni, .flag_i(issue), .flag_o(valid)
  );
  hwgen_delay #(.Width(2), .Stages(WeightStages)) u_flags (
    .clk_i, .data_i({first_column, last_column}), .data_o({first, end_of_row})
  );

  // The bias of a fold reaches the accumulator with the first products of its rows.
  localparam int Biases = Sets * Folds;
  localparam int BiasBits = Biases > 1 ? $clog2(Biases) : 1;
  logic [BiasBits-1:0] fold_of_all, bias_fold;
  logic [Pe*SumBits-1:0] bias;
  if (Sets == 1) begin : gen_one_set
    assign set = 1'b0;
    assign last_set = 1'b1;
    assign fold_of_all = fold_q;
  end else if (Stacked != 0) begin : gen_stack
    hwgen_turns #(.Stacked(1)) u_turns (
      .clk_i, .rst_ni, .step_i(final_tile), .last_i(last), .turn_o(set)
    );
    assign last_set = 1'b1;
    assign fold_of_all = BiasBits'(fold_q) + (set ? BiasBits'(Folds) : '0);
  end else begin : gen_sets
    logic [BiasBits-1:0] fold_of_all_q;
    assign set = 1'b0;  // tiles are counted on from those of the set before
    assign last_set = fold_of_all_q == BiasBits'(Biases - 1);
    assign fold_of_all = fold_of_all_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) fold_of_all_q <= '0;
      else if (issue && last_column) fold_of_all_q <= last_set ? '0 : fold_of_all_q + 1'b1;
    end
  end
  hwgen_delay #(.Width(BiasBits), .Stages(Latency - 2)) u_bias_fold (
    .clk_i, .data_i(fold_of_all), .data_o(bias_fold)
  );
  hwgen_rom #(
    .Width(Pe * SumBits),
    .Depth(Biases),
    .Stages(1),
    .Block(BiasBlock),
    .File(BiasFile)
  ) u_bias (
    .clk_i,
    .address_i(bias_fold),
    .word_o(bias)
  );

  hwgen_matvec #(
    .Pe(Pe),
    .Simd(Simd),
    .CodeBits(CodeBits),
    .WeightBits(WeightBits),
    .Bipolar(Bipolar),
    .Dsp(Dsp),
    .Pack(Pack),
    .FieldBits(FieldBits),
    .SumBits(SumBits),
    .ProductStages(ProductStages),
    .TreeStages(TreeStages)
  ) u_matvec (
    .clk_i,
    .rst_ni,
    .valid_i(valid),
    .first_i(first),
    .last_i(end_of_row),
    .codes_i(operands),
    .weights_i(weights),
    .starts_i(bias),
    .valid_o,
    .sums_o
  );
  hwgen_flag_delay #(.Stages(Latency)) u_done (
    .clk_i, .rst_ni, .flag_i(final_tile), .flag_o(done_o)
  );
  hwgen_delay #(.Width(1), .Stages(Latency)) u_last (
    .clk_i, .data_i(last), .data_o(last_o)
  );

`ifndef SYNTHESIS
  if (Rows % Pe != 0) begin : gen_refused_rows
    $fatal(1, "Rows %0d is not a multiple of Pe %0d", Rows, Pe);
  end
  if (Columns % Simd != 0) begin : gen_refused_columns
    $fatal(1, "Columns %0d is not a multiple of Simd %0d", Columns, Simd);
  end
  if (Gates > 1 && Pe > 1 && Pe % Gates != 0) begin : gen_refused_order
    $fatal(1, "rows change places within %0d: Pe must be 1 or a multiple, not %0d", Gates, Pe);
  end
  for (genvar k = 0; k < Gates; k++) begin : gen_places
    if (Order[k*32 +: 32] >= 32'(Gates)) begin : gen_refused_place
      $fatal(1, "Order has row %0d, of %0d", Order[k*32 +: 32], Gates);
    end
  end
  if (Sets > 1 && Gates > 1) begin : gen_refused_sets
    $fatal(1, "rows change places in one set of weights only, Sets is %0d", Sets);
  end
  if (Stacked != 0 && Sets != 2) begin : gen_refused_stack
    $fatal(1, "a stack is of two layers, Sets is %0d", Sets);
  end
  if (Sets < 1) begin : gen_refused_no_set
    $fatal(1, "Sets must be at least 1, not %0d", Sets);
  end
  if (WeightStages < 1) begin : gen_refused_weight_stages
    $fatal(1, "WeightStages must be at least 1, not %0d", WeightStages);
  end
  if (Steps < 1) begin : gen_refused_steps
    $fatal(1, "Steps must be at least 1, not %0d", Steps);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && free_i && !begins && room_q == RoomBits'(Steps)) begin
      $fatal(1, "a time step was freed beyond the Steps %0d there are", Steps);
    end
  end
`endif
endmodule
