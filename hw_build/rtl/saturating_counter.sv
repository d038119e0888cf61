// Counts the cycles in which `count` is up; stays at 2^32 - 1.
module saturating_counter #(
    parameter [31:0] FIRST = 32'd0   // the value after `clear`
) (
    input  wire       clk,
    input  wire       clear,
    input  wire       count,
    output reg [31:0] value
);
  wire [32:0] next = {1'b0, value} + {32'b0, count};
  always_ff @(posedge clk) begin
    if (clear) value <= FIRST;
    else if (~next[32]) value <= next[31:0];
  end
endmodule
