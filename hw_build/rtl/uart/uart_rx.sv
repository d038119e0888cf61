// Receiver of a UART: eight data bits, lowest first, no parity, one stop bit. `valid` is up for one
// cycle with each byte. Where the stop bit is low there was no byte: `line_break` is up until the
// line is high again, and resets what lies behind.
module uart_rx #(
    parameter integer DIVIDER = 25  // cycles of a bit, 4 or more
) (
    input  wire       clk,
    input  wire       resetn,
    input  wire       rx,           // of another clock
    output reg  [7:0] data,
    output reg        valid,
    output reg        line_break
);
  localparam integer COUNT_BITS = $clog2(DIVIDER);
  localparam [3:0] STOP = 4'd9;
  reg [1:0] synchronised;
  wire level = synchronised[1];
  always_ff @(posedge clk) synchronised <= {synchronised[0], rx};

  reg busy;
  reg [3:0] place;               // in the frame: 0 the start bit, 1 to 8 data, 9 the stop bit
  reg [COUNT_BITS-1:0] to_wait;  // cycles to the middle of this bit
  wire sample = busy & (to_wait == '0);
  always_ff @(posedge clk) begin
    if (!resetn) begin
      busy <= 1'b0;
      valid <= 1'b0;
      line_break <= 1'b0;
    end else begin
      valid <= sample & (place == STOP) & level;
      line_break <= ~level & (line_break | (sample & (place == STOP)));
      // A start bit that is over before its middle was none.
      if (busy) busy <= ~sample | ((place != STOP) & (place != 4'd0 | ~level));
      else busy <= ~level & ~line_break;
    end
  end
  always_ff @(posedge clk) begin
    if (~busy) to_wait <= COUNT_BITS'(DIVIDER / 2 - 1);
    else to_wait <= sample ? COUNT_BITS'(DIVIDER - 1) : to_wait - 1'b1;
    if (~busy) place <= 4'd0;
    else if (sample) place <= place + 4'd1;
    if (sample & (place != STOP)) data <= {level, data[7:1]};
  end
endmodule
