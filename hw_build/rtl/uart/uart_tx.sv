// Sender of a UART: eight data bits, lowest first, no parity, one stop bit.
module uart_tx #(
    parameter integer DIVIDER = 25  // cycles of a bit, 2 or more
) (
    input  wire       clk,
    input  wire       resetn,
    input  wire [7:0] s_axis_tdata,
    input  wire       s_axis_tvalid,
    output wire       s_axis_tready,
    output wire       tx
);
  localparam integer COUNT_BITS = $clog2(DIVIDER);
  reg [8:0] line;                // this bit and the next ones, stop bits behind them
  reg [3:0] bits_left;           // this one included
  reg [COUNT_BITS-1:0] to_wait;  // cycles to the next bit
  wire next = to_wait == '0;
  assign s_axis_tready = bits_left == 4'd0;
  assign tx = line[0];
  always_ff @(posedge clk) begin
    if (!resetn) begin
      line <= '1;
      bits_left <= 4'd0;
    end else if (s_axis_tready) begin
      if (s_axis_tvalid) begin
        line <= {s_axis_tdata, 1'b0};
        bits_left <= 4'd10;
      end
    end else if (next) begin
      line <= {1'b1, line[8:1]};
      bits_left <= bits_left - 4'd1;
    end
  end
  always_ff @(posedge clk) begin
    to_wait <= (s_axis_tready | next) ? COUNT_BITS'(DIVIDER - 1) : to_wait - 1'b1;
  end
endmodule
