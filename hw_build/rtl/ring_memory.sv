// A memory written in order round and round, and read at jumping places: after each read the place
// moves on by `advance`, modulo DEPTH. `word` is what was read last. Who uses it knows which words
// are there and which may be overwritten; a word is there in the cycle after it was written.
module ring_memory #(
    parameter integer WIDTH = 8,         // bits of a word
    parameter integer DEPTH = 64,        // words, 2 or more
    parameter integer BLOCK_MEMORY = 0   // 1: block RAM, 0: LUTs
) (
    input  wire                     clk,
    input  wire                     resetn,
    input  wire                     write,
    input  wire [WIDTH-1:0]         data,
    input  wire                     read,
    input  wire [$clog2(DEPTH)-1:0] advance,  // less than DEPTH
    output wire [WIDTH-1:0]         word
);
  localparam integer A = $clog2(DEPTH);
  reg [A-1:0] write_place;
  reg [A-1:0] read_place;
  wire [A-1:0] next_write_place;
  wire [A-1:0] next_read_place;
  generate
    if (DEPTH == 1 << A) begin : wraps_by_itself
      assign next_write_place = write_place + 1'b1;
      assign next_read_place = read_place + advance;
    end else begin : wraps_by_comparison
      wire [A:0] onward = {1'b0, read_place} + {1'b0, advance};
      assign next_write_place = (32'(write_place) == DEPTH - 1) ? '0 : write_place + 1'b1;
      assign next_read_place =
          A'((onward >= (A + 1)'(DEPTH)) ? onward - (A + 1)'(DEPTH) : onward);
    end
    if (BLOCK_MEMORY != 0) begin : block
      (* ram_style = "block" *) reg [WIDTH-1:0] memory[0:DEPTH-1];
      reg [WIDTH-1:0] last_word;
      always_ff @(posedge clk) if (write) memory[write_place] <= data;
      always_ff @(posedge clk) if (read) last_word <= memory[read_place];
      assign word = last_word;
    end else begin : distributed
      (* ram_style = "distributed" *) reg [WIDTH-1:0] memory[0:DEPTH-1];
      reg [WIDTH-1:0] last_word;
      always_ff @(posedge clk) if (write) memory[write_place] <= data;
      always_ff @(posedge clk) if (read) last_word <= memory[read_place];
      assign word = last_word;
    end
  endgenerate
  always_ff @(posedge clk) begin
    if (!resetn) begin
      write_place <= '0;
      read_place <= '0;
    end else begin
      if (write) write_place <= next_write_place;
      if (read) read_place <= next_read_place;
    end
  end
endmodule
