// Number of thresholds that a value reaches, found by binary search: one comparison a cycle and
// stage, LEVEL_BITS - 1 stages. The first comparison is the sign of the value, which comes in
// relative to its middle threshold; the thresholds in the memories are relative to it as well.
//
// Stage s chooses among 2^(s+1) thresholds a channel, by the level bits found so far, the prefix.
// Word number group * 2^(s+1) + prefix of its memory holds a threshold for each lane; every lane
// reads the word of its own prefix.
module threshold_search #(
    parameter integer PE = 4,           // channels side by side
    parameter integer GROUPS = 2,       // groups of PE channels
    parameter integer VALUE_BITS = 8,   // two's complement
    parameter integer LEVEL_BITS = 2,   // 2 to 8: up to 2^LEVEL_BITS - 1 thresholds
    parameter integer WRITABLE = 0,     // 1: a stage's memory is written from new_word
    parameter THRESHOLD_FILE = "t"      // THRESHOLD_FILE0.mem for the first stage, and so on
) (
    input  wire                                       clk,
    input  wire                                       enable,
    input  wire [LEVEL_BITS-2:0]                      valid,  // of each stage's input
    input  wire [PE*VALUE_BITS-1:0]                   value,
    input  wire [((GROUPS>1)?$clog2(GROUPS):1)-1:0]   group,
    // As many bits of an address as the stage has, and nothing where the thresholds are fixed.
    // verilator lint_off UNUSEDSIGNAL
    input  wire [LEVEL_BITS-2:0]                      write,  // of each stage's memory
    input  wire [31:0]                                new_address,
    input  wire [PE*VALUE_BITS-1:0]                   new_word,
    // verilator lint_on UNUSEDSIGNAL
    output wire [PE*LEVEL_BITS-1:0]                   level
);
  localparam integer STAGES = LEVEL_BITS - 1;
  localparam integer GROUP_BITS = (GROUPS > 1) ? $clog2(GROUPS) : 1;
  // What travels from stage to stage: the values, the bits found so far, the group.
  wire [STAGES*PE*VALUE_BITS-1:0] values;
  wire [(STAGES+1)*PE*LEVEL_BITS-1:0] levels;
  wire [STAGES*GROUP_BITS-1:0] groups;
  genvar s, p;
  generate
    assign values[0+:PE*VALUE_BITS] = value;
    assign groups[0+:GROUP_BITS] = group;
    for (p = 0; p < PE; p = p + 1) begin : sign
      assign levels[p*LEVEL_BITS+:LEVEL_BITS] =
          {~value[p*VALUE_BITS+VALUE_BITS-1], {(LEVEL_BITS-1){1'b0}}};
    end
    for (s = 0; s < STAGES; s = s + 1) begin : stage
      localparam integer WORDS = 1 << (s + 1);  // thresholds per channel at this stage
      localparam integer BIT = LEVEL_BITS - 2 - s;
      wire [PE*VALUE_BITS-1:0] value_here = values[s*PE*VALUE_BITS+:PE*VALUE_BITS];
      wire [PE*LEVEL_BITS-1:0] level_here = levels[s*PE*LEVEL_BITS+:PE*LEVEL_BITS];
      wire [GROUP_BITS-1:0] group_here = groups[s*GROUP_BITS+:GROUP_BITS];
      reg [PE*LEVEL_BITS-1:0] level_next;
      localparam integer ADDRESS_BITS = $clog2(GROUPS * WORDS);
      (* rom_style = "distributed", ram_style = "distributed" *)
      reg [PE*VALUE_BITS-1:0] memory[0:GROUPS*WORDS-1];
      initial $readmemh({THRESHOLD_FILE, 8'(48 + s), ".mem"}, memory);
      if (WRITABLE != 0) begin : writable
        always_ff @(posedge clk) if (write[s]) memory[new_address[ADDRESS_BITS-1:0]] <= new_word;
      end
      for (p = 0; p < PE; p = p + 1) begin : lane
        wire [s:0] prefix = level_here[p*LEVEL_BITS+BIT+1+:s+1];
        // The word holds all lanes' thresholds; a lane reads its own.
        // verilator lint_off UNUSEDSIGNAL
        wire [PE*VALUE_BITS-1:0] word = memory[ADDRESS_BITS'({group_here, prefix})];
        // verilator lint_on UNUSEDSIGNAL
        wire reached = $signed(value_here[p*VALUE_BITS+:VALUE_BITS])
                       >= $signed(word[p*VALUE_BITS+:VALUE_BITS]);
        always_ff @(posedge clk) if (enable & valid[s]) begin
          level_next[p*LEVEL_BITS+:LEVEL_BITS] <=
              level_here[p*LEVEL_BITS+:LEVEL_BITS] | (LEVEL_BITS'(reached) << BIT);
        end
      end
      if (s + 1 < STAGES) begin : next
        reg [PE*VALUE_BITS-1:0] value_next;
        reg [GROUP_BITS-1:0] group_next;
        always_ff @(posedge clk) if (enable & valid[s]) begin
          value_next <= value_here;
          group_next <= group_here;
        end
        assign values[(s+1)*PE*VALUE_BITS+:PE*VALUE_BITS] = value_next;
        assign groups[(s+1)*GROUP_BITS+:GROUP_BITS] = group_next;
      end
      assign levels[(s+1)*PE*LEVEL_BITS+:PE*LEVEL_BITS] = level_next;
    end
  endgenerate
  assign level = levels[STAGES*PE*LEVEL_BITS+:PE*LEVEL_BITS];
endmodule
