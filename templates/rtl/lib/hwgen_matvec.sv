// SPDX-License-Identifier: Apache-2.0
//
// Folded matrix-vector product: Pe rows times Simd columns a cycle.  A row begins with first_i
// and ends with last_i; its sum, start included, is there ProductStages + TreeStages + 1 cycles
// after its last codes, for one cycle.
//
// The starts of rows are taken as the accumulator takes their first products: a cycle before the
// sum would be there if the row had one tile.  Nothing stalls; cycles without valid_i are
// skipped.
//
// Pack rows whose products fit FieldBits share a DSP; with Pack 0 products are sums of digits in
// LUTs.
module hwgen_matvec #(
  parameter int Pe = 4,
  parameter int Simd = 4,
  parameter int CodeBits = 8,
  parameter int WeightBits = 8,
  parameter int Bipolar = 0,  // weights are one bit: 1 is +1, 0 is -1
  parameter int Dsp = 1,  // multiply in DSPs
  parameter int Pack = 1,
  parameter int FieldBits = CodeBits + WeightBits,
  parameter int SumBits = 20,
  parameter int ProductStages = 1,
  parameter int TreeStages = 0
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          valid_i,
  input  logic                          first_i,
  input  logic                          last_i,
  input  logic [Simd*CodeBits-1:0]      codes_i,
  input  logic [Pe*Simd*WeightBits-1:0] weights_i,
  input  logic [Pe*SumBits-1:0]         starts_i,
  output logic                          valid_o,
  output logic [Pe*SumBits-1:0]         sums_o
);
  localparam int ProductBits = Bipolar != 0 ? CodeBits + 1 : CodeBits + WeightBits;
  // Terms of a row, and registers of the tree that are in front of it: more than it has levels.
  localparam int Chain = 2;
  localparam int Terms = Pack == 0 ? (Simd + Chain - 1) / Chain : Simd;
  localparam int TermBits =
      Pack == 0 ? ProductBits + $clog2(Chain) : Pack > 1 ? FieldBits : ProductBits;
  localparam int Levels = $clog2(Terms);
  localparam int TreeBits = TermBits + Levels;
  localparam int EarlyStages = Pack == 0 && TreeStages > Levels ? TreeStages - Levels : 0;

  // Flags at the input of the accumulator.
  logic valid, first, last, last_q;
  hwgen_flag_delay #(.Stages(ProductStages + TreeStages)) u_valid (
    .clk_i, .rst_ni, .flag_i(valid_i), .flag_o(valid)
  );
  hwgen_delay #(.Width(2), .Stages(ProductStages + TreeStages)) u_flags (
    .clk_i, .data_i({first_i, last_i}), .data_o({first, last})
  );
  always_ff @(posedge clk_i) last_q <= rst_ni & valid & last;
  assign valid_o = last_q;

  // What is added up, by row: where rows share what makes their products, and where not.
  localparam int RowBits = Terms * TermBits;
  logic [Pe*RowBits-1:0] terms;
  if (Pack > 1) begin : gen_packed
    hwgen_packed_products #(
      .Pe(Pe),
      .Simd(Simd),
      .CodeBits(CodeBits),
      .WeightBits(WeightBits),
      .Pack(Pack),
      .FieldBits(FieldBits),
      .Dsp(Dsp),
      .Stages(ProductStages)
    ) u_products (
      .clk_i, .codes_i, .weights_i, .products_o(terms)
    );
  end else if (Pack == 0) begin : gen_digits
    hwgen_digit_products #(
      .Pe(Pe),
      .Simd(Simd),
      .CodeBits(CodeBits),
      .WeightBits(WeightBits),
      .Chain(Chain),
      .Stages(ProductStages),
      .LateStages(EarlyStages)
    ) u_products (
      .clk_i, .codes_i, .weights_i, .terms_o(terms)
    );
  end

  for (genvar pe = 0; pe < Pe; pe++) begin : gen_pe
    logic signed [TreeBits-1:0] sum;
    logic signed [SumBits-1:0] start;
    // Kept: Yosys 0.70 moves an adder in front of a register into the DSP behind it even where the
    // register is read elsewhere as well, and leaves that reader without a driver.
    (* keep *)
    logic signed [SumBits-1:0] total_q;

    if (Pack == 1) begin : gen_own
      logic [Simd*ProductBits-1:0] products;
      for (genvar lane = 0; lane < Simd; lane++) begin : gen_lane
        if (Bipolar != 0) begin : gen_sign
          logic signed [ProductBits-1:0] code;
          assign code = ProductBits'($signed(codes_i[lane*CodeBits +: CodeBits]));
          logic weight;
          assign weight = weights_i[pe*Simd+lane];
          assign products[lane*ProductBits +: ProductBits] =
              (weight ? code : ~code) + ProductBits'(!weight);
        end else begin : gen_product
          hwgen_multiply #(.LeftBits(CodeBits), .RightBits(WeightBits), .Dsp(Dsp)) u_product (
            .left_i(codes_i[lane*CodeBits +: CodeBits]),
            .right_i(weights_i[(pe*Simd+lane)*WeightBits +: WeightBits]),
            .product_o(products[lane*ProductBits +: ProductBits])
          );
        end
      end
      hwgen_delay #(.Width(Simd * ProductBits), .Stages(ProductStages)) u_products (
        .clk_i, .data_i(products), .data_o(terms[pe*RowBits +: RowBits])
      );
    end
    hwgen_adder_tree #(
      .Count(Terms),
      .TermBits(TermBits),
      .Stages(TreeStages - EarlyStages),
      .Apart(Pack != 1 ? 1 : 0)
    ) u_tree (
      .clk_i, .terms_i(terms[pe*RowBits +: RowBits]), .sum_o(sum)
    );

    // Partial sums may wrap around: the whole sum fits.
    if (TreeBits > SumBits) begin : gen_wrap
      logic unused_sum;
      assign unused_sum = |sum[TreeBits-1:SumBits];
    end
    assign start = first ? starts_i[pe*SumBits +: SumBits] : total_q;
    always_ff @(posedge clk_i) if (valid) total_q <= start + SumBits'(sum);
    assign sums_o[pe*SumBits +: SumBits] = total_q;
  end

`ifndef SYNTHESIS
  if (Pe < 1) begin : gen_refused_pe
    $fatal(1, "Pe must be at least 1, not %0d", Pe);
  end
  if (Simd < 1) begin : gen_refused_simd
    $fatal(1, "Simd must be at least 1, not %0d", Simd);
  end
  if (Bipolar != 0 && WeightBits != 1) begin : gen_refused_weight_bits
    $fatal(1, "Bipolar %0d needs weights of 1 bit, not %0d", Bipolar, WeightBits);
  end
  if (Pack < 0 || (Bipolar != 0 && Pack != 1)) begin : gen_refused_pack
    $fatal(1, "Pack must be at least 0, and 1 with Bipolar %0d, not %0d", Bipolar, Pack);
  end
  if (ProductStages < 0) begin : gen_refused_product_stages
    $fatal(1, "ProductStages must be at least 0, not %0d", ProductStages);
  end
  logic within_row_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) within_row_q <= 1'b0;
    else if (valid_i) within_row_q <= !last_i;
    if (rst_ni && valid_i && first_i == within_row_q) begin
      $fatal(1, "first_i is %0d, within a row: %0d", first_i, within_row_q);
    end
  end
`endif
endmodule
