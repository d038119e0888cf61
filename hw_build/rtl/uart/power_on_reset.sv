// Reset for the first cycles after configuration, which leaves the register at its initial value.
module power_on_reset (
    input  wire clk,
    output wire resetn
);
  reg [4:0] cycles;
  initial cycles = 5'd0;
  assign resetn = cycles[4];
  always_ff @(posedge clk) if (~resetn) cycles <= cycles + 5'd1;
endmodule
