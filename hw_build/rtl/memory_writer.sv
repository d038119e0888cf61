// The write side of a block's memories: the host shifts a word in, 32 bits at a time, the lowest
// first, and then names the address that it is written to. A word of L times 32 bits is then in the
// upper L times 32 bits of `word`.
//
// `bus` is that of axi_lite_registers: {write, shift, number of the memory, data or address}.
module memory_writer #(
    parameter integer FIRST = 0,     // number of the block's first memory
    parameter integer MEMORIES = 1,  // which are numbered one after another
    parameter integer LANES = 1      // 32 bits each, of the widest word
) (
    input  wire                clk,
    input  wire [49:0]         bus,
    output wire [LANES*32-1:0] word,
    output wire [MEMORIES-1:0] write,
    output wire [31:0]         address
);
  reg [LANES*32-1:0] held;
  assign word = held;
  assign address = bus[31:0];
  genvar i;
  generate
    if (LANES == 1) begin : one_lane
      always_ff @(posedge clk) if (bus[48]) held <= bus[31:0];
    end else begin : lanes
      always_ff @(posedge clk) if (bus[48]) held <= {bus[31:0], held[LANES*32-1:32]};
    end
    for (i = 0; i < MEMORIES; i = i + 1) begin : memory
      assign write[i] = bus[49] & (bus[47:32] == 16'(FIRST + i));
    end
  endgenerate
endmodule
