// Folded matrix-vector unit with fused thresholds: SIMD columns and PE rows of the matrix a cycle.
// A vector of FOLD_IN beats (SIMD lanes each) becomes FOLD_OUT beats of PE lanes.
//
// Accumulators start at a constant per channel that holds everything constant: minus the (middle)
// threshold, and what the coding of weights and activations leaves over. One threshold is then
// the accumulator's sign and costs nothing; more are found by binary search after it.
//
// Weight word number group * FOLD_IN + beat holds PE rows; a row is plane-major, SIMD bits a plane.
//
// DEPTHWISE = 1 (with SIMD = 1): row p multiplies lane p / MULTIPLIER of the beat, not all of it. A
// beat has PE / MULTIPLIER lanes, and is used once: all FOLD_IN positions of the first lanes come
// before those of the next lanes, FOLD_OUT times.
module mvu #(
    parameter integer FOLD_IN = 4,       // beats of an input vector (the synapse fold)
    parameter integer FOLD_OUT = 2,      // beats of an output vector (the neuron fold)
    parameter integer SIMD = 8,
    parameter integer PE = 4,
    parameter integer DEPTHWISE = 0,     // 1: every row has a lane of its own
    parameter integer MULTIPLIER = 1,    // of DEPTHWISE: rows that share a lane; divides PE
    parameter integer WEIGHT_KIND = 0,   // 0 binary, 1 ternary, 2 quinary, 3 integer
    parameter integer WEIGHT_BITS = 1,   // 1 to 8
    parameter integer ACT_KIND = 2,      // 0 unsigned, 1 two's complement, 2 bipolar
    parameter integer ACT_BITS = 1,      // 1 to 8; of DEPTHWISE 1 to 24
    parameter integer SHIFT = 0,         // 1: products count twice (bipolar scores)
    parameter integer SUM_BITS = 8,      // accumulator, two's complement, 2 or more
    parameter integer LEVEL_BITS = 1,    // 0: accumulators leave; else bits of the level number
    parameter integer OUT_BITS = 1,      // bits of an output lane
    parameter integer OUT_BASE = 0,      // the integer that level 0 stands for
    parameter integer BLOCK_MEMORY = 0,  // 1: weights in block RAM, 0: in LUTs; one word: in logic
    parameter integer WRITABLE = 0,      // 1: the host may write the memories, see memory_writer
    parameter integer FIRST_MEMORY = 0,  // of WRITABLE: thresholds by stage, starts, weights
    parameter integer COMPRESS = 1,      // see dot_product
    parameter WEIGHT_FILE = "w.mem",
    parameter START_FILE = "s.mem",      // what accumulators start with, PE a word
    parameter THRESHOLD_FILE = "t"
) (
    input  wire                   clk,
    input  wire                   resetn,
    // Nobody listens where weights are fixed.
    // verilator lint_off UNUSEDSIGNAL
    input  wire [49:0]            memory_bus,
    // verilator lint_on UNUSEDSIGNAL
    input  wire [((DEPTHWISE!=0)?PE/MULTIPLIER:SIMD)*ACT_BITS-1:0] s_axis_tdata,
    input  wire                   s_axis_tvalid,
    output wire                   s_axis_tready,
    output wire [PE*OUT_BITS-1:0] m_axis_tdata,
    output wire                   m_axis_tvalid,
    input  wire                   m_axis_tready
);
  localparam integer LANES = (DEPTHWISE != 0) ? PE / MULTIPLIER : SIMD;
  localparam integer WORDS = FOLD_IN * FOLD_OUT;
  localparam integer ROW_BITS = SIMD * WEIGHT_BITS;
  localparam integer ADDRESS_BITS = (WORDS > 1) ? $clog2(WORDS) : 1;
  localparam integer BEAT_BITS = (FOLD_IN > 1) ? $clog2(FOLD_IN) : 1;
  localparam integer GROUP_BITS = (FOLD_OUT > 1) ? $clog2(FOLD_OUT) : 1;
  localparam integer LEVEL_WIDTH = (LEVEL_BITS > 0) ? LEVEL_BITS : SUM_BITS;
  localparam integer STAGES = (LEVEL_BITS > 1) ? LEVEL_BITS - 1 : 0;

  // What the host writes: a word, where, and to which of the memories.
  localparam integer WORD_LANES =
      (PE * ROW_BITS > PE * SUM_BITS) ? (PE * ROW_BITS + 31) / 32 : (PE * SUM_BITS + 31) / 32;
  localparam integer WEIGHT_BASE = 32 * (WORD_LANES - (PE * ROW_BITS + 31) / 32);
  localparam integer SUM_BASE = 32 * (WORD_LANES - (PE * SUM_BITS + 31) / 32);
  // verilator lint_off UNUSEDSIGNAL
  wire [WORD_LANES*32-1:0] new_word;
  wire [31:0] new_address;
  wire [STAGES+1:0] write_memory;
  wire [PE*ROW_BITS-1:0] new_weights = new_word[WEIGHT_BASE+:PE*ROW_BITS];
  wire [PE*SUM_BITS-1:0] new_sums = new_word[SUM_BASE+:PE*SUM_BITS];
  // verilator lint_on UNUSEDSIGNAL
  generate
    if (WRITABLE != 0) begin : writable
      memory_writer #(
          .FIRST(FIRST_MEMORY), .MEMORIES(STAGES + 2), .LANES(WORD_LANES)
      ) writer (
          .clk(clk), .bus(memory_bus), .word(new_word), .write(write_memory),
          .address(new_address)
      );
    end else begin : fixed
      assign new_word = '0;
      assign new_address = '0;
      assign write_memory = '0;
    end
  endgenerate

  // The vector is taken once and replayed for every group of rows, but for DEPTHWISE.
  wire [LANES*ACT_BITS-1:0] act;
  wire act_valid, act_ready;
  generate
    if (FOLD_OUT > 1 && DEPTHWISE == 0) begin : replayed
      replay_buffer #(
          .WIDTH(LANES * ACT_BITS), .BEATS(FOLD_IN), .REPEATS(FOLD_OUT)
      ) buffer (
          .clk(clk), .resetn(resetn), .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
          .m_axis_tdata(act), .m_axis_tvalid(act_valid), .m_axis_tready(act_ready)
      );
    end else begin : direct
      stream_fifo #(.WIDTH(LANES * ACT_BITS), .DEPTH(2)) fifo (
          .clk(clk), .resetn(resetn), .s_axis_tdata(s_axis_tdata),
          .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
          .m_axis_tdata(act), .m_axis_tvalid(act_valid), .m_axis_tready(act_ready)
      );
    end
  endgenerate

  // The pipeline stands still only when a result would overwrite one that still waits.
  wire enable;
  wire fire = act_valid & enable;
  assign act_ready = enable;

  reg [BEAT_BITS-1:0] beat;
  reg [GROUP_BITS-1:0] group;
  // Constants have no address.
  // verilator lint_off UNUSEDSIGNAL
  reg [ADDRESS_BITS-1:0] address;
  // verilator lint_on UNUSEDSIGNAL
  wire last_beat = 32'(beat) == FOLD_IN - 1;
  wire last_group = 32'(group) == FOLD_OUT - 1;
  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= '0;
      group <= '0;
      address <= '0;
    end else if (fire) begin
      beat <= last_beat ? '0 : beat + 1'b1;
      if (last_beat) group <= last_group ? '0 : group + 1'b1;
      address <= (last_beat & last_group) ? '0 : address + 1'b1;
    end
  end

  // Stage 1: the beat and its weight word. Lanes are turned into planes, which is only wiring.
  reg [LANES*ACT_BITS-1:0] act1;
  wire [LANES*ACT_BITS-1:0] planes1;
  wire [PE*ROW_BITS-1:0] weights1;
  reg valid1, first1, last1;
  reg [GROUP_BITS-1:0] group1;
  genvar i, j, p;
  generate
    for (i = 0; i < LANES; i = i + 1) begin : lane
      for (j = 0; j < ACT_BITS; j = j + 1) begin : plane
        assign planes1[(DEPTHWISE!=0)?i*ACT_BITS+j:j*SIMD+i] = act1[i*ACT_BITS+j];
      end
    end
    if (WORDS == 1) begin : one_word
      (* rom_style = "distributed", ram_style = "distributed" *)
      reg [PE*ROW_BITS-1:0] memory[0:0];
      initial $readmemh(WEIGHT_FILE, memory);
      if (WRITABLE != 0) begin : writable
        always_ff @(posedge clk) if (write_memory[STAGES+1]) memory[0] <= new_weights;
      end
      assign weights1 = memory[0];
    end else if (BLOCK_MEMORY != 0) begin : block
      (* rom_style = "block", ram_style = "block" *) reg [PE*ROW_BITS-1:0] memory[0:WORDS-1];
      reg [PE*ROW_BITS-1:0] word;
      initial $readmemh(WEIGHT_FILE, memory);
      if (WRITABLE != 0) begin : writable
        always_ff @(posedge clk)
          if (write_memory[STAGES+1]) memory[new_address[ADDRESS_BITS-1:0]] <= new_weights;
      end
      always_ff @(posedge clk) if (fire) word <= memory[address];
      assign weights1 = word;
    end else begin : distributed
      (* rom_style = "distributed", ram_style = "distributed" *)
      reg [PE*ROW_BITS-1:0] memory[0:WORDS-1];
      reg [PE*ROW_BITS-1:0] word;
      initial $readmemh(WEIGHT_FILE, memory);
      if (WRITABLE != 0) begin : writable
        always_ff @(posedge clk)
          if (write_memory[STAGES+1]) memory[new_address[ADDRESS_BITS-1:0]] <= new_weights;
      end
      always_ff @(posedge clk) if (fire) word <= memory[address];
      assign weights1 = word;
    end
  endgenerate
  always_ff @(posedge clk) if (fire) begin
    act1 <= act;
    first1 <= beat == '0;
    last1 <= last_beat;
    group1 <= group;
  end
  always_ff @(posedge clk) begin
    if (!resetn) valid1 <= 1'b0;
    else if (enable) valid1 <= fire;
  end

  // Stage 2: dot products, as three numbers each. Stage 3: accumulation; a result is whole after
  // the last beat of the vector.
  // `first2` is read where vectors are folded, `sums` and `negative` by what follows.
  // verilator lint_off UNUSEDSIGNAL
  reg first2;
  wire [PE*SUM_BITS-1:0] sums;
  wire [PE-1:0] negative;
  // verilator lint_on UNUSEDSIGNAL
  reg valid2, last2;
  reg [GROUP_BITS-1:0] group2;
  always_ff @(posedge clk) if (enable & valid1) begin
    first2 <= first1;
    last2 <= last1;
    group2 <= group1;
  end
  always_ff @(posedge clk) begin
    if (!resetn) valid2 <= 1'b0;
    else if (enable) valid2 <= valid1;
  end
  wire result = valid2 & last2;  // sums hold a result
  (* rom_style = "distributed", ram_style = "distributed" *)
  reg [PE*SUM_BITS-1:0] starts[0:FOLD_OUT-1];
  initial $readmemh(START_FILE, starts);
  generate
    if (WRITABLE != 0) begin : writable_starts
      always_ff @(posedge clk)
        if (write_memory[STAGES]) starts[new_address[GROUP_BITS-1:0]] <= new_sums;
    end
  endgenerate
  wire [PE*SUM_BITS-1:0] start = starts[group2];
  generate
    for (p = 0; p < PE; p = p + 1) begin : row
      localparam integer OWN_LANE = (DEPTHWISE != 0) ? p / MULTIPLIER : 0;
      wire [SUM_BITS-1:0] row0;
      // Zero where one number is the whole product.
      // verilator lint_off UNUSEDSIGNAL
      wire [SUM_BITS-1:0] row1, row2;
      // verilator lint_on UNUSEDSIGNAL
      dot_product #(
          .SIMD(SIMD), .WEIGHT_KIND(WEIGHT_KIND), .WEIGHT_BITS(WEIGHT_BITS),
          .ACT_KIND(ACT_KIND), .ACT_BITS(ACT_BITS), .SHIFT(SHIFT), .SUM_BITS(SUM_BITS),
          .COMPRESS(COMPRESS)
      ) dot (
          .a(planes1[OWN_LANE*ACT_BITS+:SIMD*ACT_BITS]), .w(weights1[p*ROW_BITS+:ROW_BITS]),
          .row0(row0), .row1(row1), .row2(row2)
      );
      reg [SUM_BITS-1:0] row0_2;
      always_ff @(posedge clk) if (enable & valid1) row0_2 <= row0;
      wire [SUM_BITS-1:0] sum, addend;
      assign sums[p*SUM_BITS+:SUM_BITS] = sum;
      assign negative[p] = sum[SUM_BITS-1];
      if (FOLD_IN > 1) begin : folded
        reg [SUM_BITS-1:0] accumulator;
        always_ff @(posedge clk) if (enable & valid2) accumulator <= sum;
        assign addend = first2 ? start[p*SUM_BITS+:SUM_BITS] : accumulator;
      end else begin : whole
        assign addend = start[p*SUM_BITS+:SUM_BITS];
      end
      wire [SUM_BITS-1:0] products, more;
      if (COMPRESS == 0 || (DEPTHWISE != 0 && WEIGHT_KIND <= 2)) begin : one_number
        // A product that is no sum has but one number, and so has a sum that is simulated.
        assign products = row0_2;
        assign more = addend;
      end else begin : three_numbers
        reg [SUM_BITS-1:0] row1_2, row2_2;
        always_ff @(posedge clk) if (enable & valid1) begin
          row1_2 <= row1;
          row2_2 <= row2;
        end
        adder #(.WIDTH(SUM_BITS)) first_two (.a(row0_2), .b(row1_2), .sum(products));
        adder #(.WIDTH(SUM_BITS)) with_third (.a(row2_2), .b(addend), .sum(more));
      end
      adder #(.WIDTH(SUM_BITS)) total (.a(products), .b(more), .sum(sum));
    end
  endgenerate

  wire [PE*LEVEL_WIDTH-1:0] levels;
  reg [STAGES:0] valids;         // the result and the stages of the search
  wire entering_last;            // a result is about to enter the last stage
  assign m_axis_tvalid = valids[STAGES];
  assign enable = ~(m_axis_tvalid & ~m_axis_tready & entering_last);
  generate
    if (LEVEL_BITS == 1) begin : one_threshold
      reg [PE-1:0] reached;
      always_ff @(posedge clk) if (enable & result) reached <= ~negative;
      assign levels = reached;
      assign entering_last = result;
    end else if (LEVEL_BITS == 0) begin : scores
      reg [PE*SUM_BITS-1:0] values;
      always_ff @(posedge clk) if (enable & result) values <= sums;
      assign levels = values;
      assign entering_last = result;
    end else begin : many_thresholds
      reg [PE*SUM_BITS-1:0] values;
      reg [GROUP_BITS-1:0] group3;
      always_ff @(posedge clk) if (enable & result) begin
        values <= sums;
        group3 <= group2;
      end
      // The last stage keeps its level while it waits, so nothing moves when it would be lost.
      threshold_search #(
          .PE(PE), .GROUPS(FOLD_OUT), .VALUE_BITS(SUM_BITS), .LEVEL_BITS(LEVEL_BITS),
          .WRITABLE(WRITABLE), .THRESHOLD_FILE(THRESHOLD_FILE)
      ) search (
          .write(write_memory[STAGES-1:0]), .new_address(new_address), .new_word(new_sums),
          .clk(clk), .enable(enable), .valid(valids[STAGES-1:0]), .value(values),
          .group(group3), .level(levels)
      );
      assign entering_last = valids[STAGES-1];
    end
    if (STAGES == 0) begin : short
      always_ff @(posedge clk) begin
        if (!resetn) valids <= '0;
        else valids[0] <= (enable & result) | (m_axis_tvalid & ~m_axis_tready);
      end
    end else begin : long
      always_ff @(posedge clk) begin
        if (!resetn) valids <= '0;
        else begin
          if (enable) valids[STAGES-1:0] <= STAGES'({valids[STAGES-1:0], result});
          valids[STAGES] <= (enable & valids[STAGES-1]) | (m_axis_tvalid & ~m_axis_tready);
        end
      end
    end
    for (p = 0; p < PE; p = p + 1) begin : out_lane
      assign m_axis_tdata[p*OUT_BITS+:OUT_BITS] =
          OUT_BITS'(levels[p*LEVEL_WIDTH+:LEVEL_WIDTH]) + OUT_BITS'(OUT_BASE);
    end
  endgenerate
endmodule
