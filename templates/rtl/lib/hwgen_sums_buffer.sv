// SPDX-License-Identifier: Apache-2.0
//
// Projected sums of Steps time steps: written WritePe rows at a time, read ReadPe rows at a time.
// The rows are spread over banks of Common rows, the greatest common divisor, so that both widths
// touch each bank at most once a cycle.  A step is offered when all of its sums are there; take_i
// begins it, each read_i gives the next ReadPe sums ReadStages cycles later, and the last of them
// frees the room.
module hwgen_sums_buffer #(
  parameter int Rows = 80,
  parameter int WritePe = 4,
  parameter int ReadPe = 4,
  parameter int Common = 4,
  parameter int SumBits = 20,
  parameter int Steps = 2,
  parameter int ReadStages = 1,
  parameter int Block = 0  // block RAM, otherwise RAM of LUTs
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       valid_i,
  input  logic [WritePe*SumBits-1:0] sums_i,
  input  logic                       done_i,
  input  logic                       last_i,
  output logic                       ready_o,
  output logic                       last_o,
  input  logic                       take_i,
  input  logic                       read_i,
  output logic [ReadPe*SumBits-1:0]  sums_o,
  output logic                       free_o
);
  localparam int WriteBanks = WritePe / Common;
  localparam int ReadBanks = ReadPe / Common;
  localparam int Banks = WriteBanks * ReadBanks;
  localparam int Lines = Rows / (Banks * Common);
  localparam int Depth = Steps * Lines;
  localparam int BankBits = Common * SumBits;
  localparam int LineBits = Lines > 1 ? $clog2(Lines) : 1;
  localparam int StepBits = Steps > 1 ? $clog2(Steps) : 1;
  localparam int LevelBits = $clog2(Steps + 1);
  localparam int AddressBits = Depth > 1 ? $clog2(Depth) : 1;
  // A line takes ReadBanks writes and WriteBanks reads.
  localparam int WritePartBits = ReadBanks > 1 ? $clog2(ReadBanks) : 1;
  localparam int ReadPartBits = WriteBanks > 1 ? $clog2(WriteBanks) : 1;

  logic [AddressBits-1:0] write_q, read_q;
  logic [WritePartBits-1:0] write_part_q;
  logic [ReadPartBits-1:0] read_part_q, shown_part_q;
  logic [LineBits-1:0] read_line_q;
  logic [LevelBits-1:0] level_q;
  logic [StepBits-1:0] done_step_q, take_step_q;
  logic [Steps-1:0] last_q;
  logic end_of_write, end_of_read;

  assign end_of_write = valid_i && write_part_q == WritePartBits'(ReadBanks - 1);
  assign end_of_read = read_i && read_part_q == ReadPartBits'(WriteBanks - 1);
  assign free_o = end_of_read && read_line_q == LineBits'(Lines - 1);
  assign ready_o = level_q != '0;
  assign last_o = last_q[take_step_q];

  logic [Banks*BankBits-1:0] line;
  for (genvar bank = 0; bank < Banks; bank++) begin : gen_bank
    (* ram_style = Block != 0 ? "block" : "distributed" *)
    logic [BankBits-1:0] memory [0:Depth-1];
    logic [BankBits-1:0] word_q;
    always_ff @(posedge clk_i) begin
      if (valid_i && write_part_q == WritePartBits'(bank / WriteBanks)) begin
        memory[write_q] <= sums_i[(bank % WriteBanks)*BankBits +: BankBits];
      end
      if (read_i) word_q <= memory[read_q];
    end
    assign line[bank*BankBits +: BankBits] = word_q;
  end
  logic [ReadPe*SumBits-1:0] shown;
  hwgen_select #(.Width(ReadPe * SumBits), .Count(WriteBanks)) u_shown (
    .words_i(line), .index_i(shown_part_q), .word_o(shown)
  );
  hwgen_delay #(.Width(ReadPe * SumBits), .Stages(ReadStages - 1)) u_sums (
    .clk_i, .data_i(shown), .data_o(sums_o)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      write_part_q <= '0;
      read_q <= '0;
      read_part_q <= '0;
      shown_part_q <= '0;
      read_line_q <= '0;
      level_q <= '0;
      done_step_q <= '0;
      take_step_q <= '0;
      last_q <= '0;
    end else begin
      if (valid_i) write_part_q <= end_of_write ? '0 : write_part_q + 1'b1;
      if (end_of_write) write_q <= write_q == AddressBits'(Depth - 1) ? '0 : write_q + 1'b1;
      if (read_i) begin
        read_part_q <= end_of_read ? '0 : read_part_q + 1'b1;
        shown_part_q <= read_part_q;
      end
      if (end_of_read) begin
        read_q <= read_q == AddressBits'(Depth - 1) ? '0 : read_q + 1'b1;
        read_line_q <= free_o ? '0 : read_line_q + 1'b1;
      end
      if (done_i) begin
        last_q[done_step_q] <= last_i;
        done_step_q <= done_step_q == StepBits'(Steps - 1) ? '0 : done_step_q + 1'b1;
      end
      if (take_i) take_step_q <= take_step_q == StepBits'(Steps - 1) ? '0 : take_step_q + 1'b1;
      if (done_i && !take_i) level_q <= level_q + 1'b1;
      else if (!done_i && take_i) level_q <= level_q - 1'b1;
    end
  end

`ifndef SYNTHESIS
  if (Block != 0 && Block != 1) begin : gen_refused_block
    $fatal(1, "Block must be 0 or 1, not %0d", Block);
  end
  if (ReadStages < 1) begin : gen_refused_read_stages
    $fatal(1, "ReadStages must be at least 1, not %0d", ReadStages);
  end
  if (Steps < 1) begin : gen_refused_steps
    $fatal(1, "Steps must be at least 1, not %0d", Steps);
  end
  if (WritePe % Common != 0) begin : gen_refused_write
    $fatal(1, "WritePe %0d is not a multiple of Common %0d", WritePe, Common);
  end
  if (ReadPe % Common != 0) begin : gen_refused_read
    $fatal(1, "ReadPe %0d is not a multiple of Common %0d", ReadPe, Common);
  end
  if (Rows % (Banks * Common) != 0) begin : gen_refused_rows
    $fatal(1, "Rows %0d is not a multiple of a line, %0d", Rows, Banks * Common);
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni && done_i && !take_i && level_q == LevelBits'(Steps)) begin
      $fatal(1, "more than Steps %0d time steps in the buffer", Steps);
    end
    if (rst_ni && take_i && level_q == '0) begin
      $fatal(1, "a time step was taken that is not there, of Steps %0d", Steps);
    end
  end
  // Sums of the step that is written, and sums of taken steps that were not read yet.
  int written_q, unread_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      written_q <= 0;
      unread_q <= 0;
    end else begin
      if (valid_i) written_q <= written_q + WritePe == Rows ? 0 : written_q + WritePe;
      unread_q <= unread_q + (take_i ? Rows : 0) - (read_i ? ReadPe : 0);
      if (done_i && !(valid_i && written_q + WritePe == Rows)) begin
        $fatal(1, "a time step was done with %0d of its %0d sums", written_q, Rows);
      end
      if (read_i && unread_q == 0) begin
        $fatal(1, "%0d sums were read that were not taken", ReadPe);
      end
    end
  end
`endif
endmodule
