// Vectors of two streams, one behind the other: A_BEATS beats of s0, then B_BEATS beats of s1. No
// register in the data path: a sender's ready depends on the sink's ready and on whose turn it is.
module stream_concat #(
    parameter integer BEAT_BITS = 8,
    parameter integer A_BEATS = 2,   // of a vector, 1 or more
    parameter integer B_BEATS = 2
) (
    input  wire                 clk,
    input  wire                 resetn,
    input  wire [BEAT_BITS-1:0] s0_axis_tdata,
    input  wire                 s0_axis_tvalid,
    output wire                 s0_axis_tready,
    input  wire [BEAT_BITS-1:0] s1_axis_tdata,
    input  wire                 s1_axis_tvalid,
    output wire                 s1_axis_tready,
    output wire [BEAT_BITS-1:0] m_axis_tdata,
    output wire                 m_axis_tvalid,
    input  wire                 m_axis_tready
);
  localparam integer MOST = (A_BEATS > B_BEATS) ? A_BEATS : B_BEATS;
  localparam integer COUNT_BITS = (MOST > 1) ? $clog2(MOST) : 1;
  reg second;  // it is the turn of s1
  reg [COUNT_BITS-1:0] beat;
  wire last = 32'(beat) == (second ? B_BEATS - 1 : A_BEATS - 1);

  assign m_axis_tdata = second ? s1_axis_tdata : s0_axis_tdata;
  assign m_axis_tvalid = second ? s1_axis_tvalid : s0_axis_tvalid;
  assign s0_axis_tready = ~second & m_axis_tready;
  assign s1_axis_tready = second & m_axis_tready;

  always_ff @(posedge clk) begin
    if (!resetn) begin
      second <= 1'b0;
      beat <= '0;
    end else if (m_axis_tvalid & m_axis_tready) begin
      beat <= last ? '0 : beat + 1'b1;
      if (last) second <= ~second;
    end
  end
endmodule
