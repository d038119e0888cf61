// MULTIPLIER_A * a + MULTIPLIER_B * b, lane by lane. A beat of each stream is taken when both are
// there and the last sum has left or leaves; the sum is offered in the next cycle.
module stream_add #(
    parameter integer LANES = 4,
    parameter integer A_BITS = 4,
    parameter integer A_KIND = 1,        // 0 unsigned, 1 two's complement, 2 bipolar (1 bit)
    parameter integer MULTIPLIER_A = 1,  // any integer, not 0
    parameter integer B_BITS = 4,
    parameter integer B_KIND = 1,
    parameter integer MULTIPLIER_B = 1,
    parameter integer OUT_BITS = 5       // the sum modulo 2^OUT_BITS
) (
    input  wire                      clk,
    input  wire                      resetn,
    input  wire [LANES*A_BITS-1:0]   s0_axis_tdata,
    input  wire                      s0_axis_tvalid,
    output wire                      s0_axis_tready,
    input  wire [LANES*B_BITS-1:0]   s1_axis_tdata,
    input  wire                      s1_axis_tvalid,
    output wire                      s1_axis_tready,
    output wire [LANES*OUT_BITS-1:0] m_axis_tdata,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready
);
  reg [LANES*OUT_BITS-1:0] sums;
  reg valid;
  wire room = ~valid | m_axis_tready;
  wire take = s0_axis_tvalid & s1_axis_tvalid & room;

  assign s0_axis_tready = s1_axis_tvalid & room;
  assign s1_axis_tready = s0_axis_tvalid & room;
  assign m_axis_tdata = sums;
  assign m_axis_tvalid = valid;

  // A negative multiplier is a subtraction.
  localparam integer MAGNITUDE_A = (MULTIPLIER_A < 0) ? -MULTIPLIER_A : MULTIPLIER_A;
  localparam integer MAGNITUDE_B = (MULTIPLIER_B < 0) ? -MULTIPLIER_B : MULTIPLIER_B;
  genvar i;
  generate
    for (i = 0; i < LANES; i = i + 1) begin : lane
      wire [OUT_BITS-1:0] a, b;
      scaled #(
          .BITS(A_BITS), .KIND(A_KIND), .MULTIPLIER(MAGNITUDE_A), .OUT_BITS(OUT_BITS)
      ) of_a (.x(s0_axis_tdata[i*A_BITS+:A_BITS]), .y(a));
      scaled #(
          .BITS(B_BITS), .KIND(B_KIND), .MULTIPLIER(MAGNITUDE_B), .OUT_BITS(OUT_BITS)
      ) of_b (.x(s1_axis_tdata[i*B_BITS+:B_BITS]), .y(b));
      wire [OUT_BITS-1:0] sum;
      if (MULTIPLIER_B > 0) begin : plus
        assign sum = (MULTIPLIER_A < 0) ? b - a : a + b;
      end else begin : minus
        assign sum = (MULTIPLIER_A < 0) ? -a - b : a - b;
      end
      always_ff @(posedge clk) if (take) sums[i*OUT_BITS+:OUT_BITS] <= sum;
    end
  endgenerate
  always_ff @(posedge clk) begin
    if (!resetn) valid <= 1'b0;
    else if (room) valid <= take;
  end
endmodule
