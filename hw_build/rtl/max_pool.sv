// The greatest of POSITIONS beats, lane by lane: windows come channel beat by channel beat.
module max_pool #(
    parameter integer N_POSITIONS = 4,  // beats that become one
    parameter integer LANES = 8,
    parameter integer LANE_BITS = 1,
    parameter integer SIGNED = 0        // 1: two's complement, 0: unsigned or bipolar
) (
    input  wire                       clk,
    input  wire                       resetn,
    input  wire [LANES*LANE_BITS-1:0] s_axis_tdata,
    input  wire                       s_axis_tvalid,
    output wire                       s_axis_tready,
    output wire [LANES*LANE_BITS-1:0] m_axis_tdata,
    output wire                       m_axis_tvalid,
    input  wire                       m_axis_tready
);
  localparam integer POSITION_BITS = (N_POSITIONS > 1) ? $clog2(N_POSITIONS) : 1;
  reg [POSITION_BITS-1:0] position;
  reg [LANES*LANE_BITS-1:0] best;
  reg valid;
  wire last = 32'(position) == N_POSITIONS - 1;
  wire fire = s_axis_tvalid & s_axis_tready;

  assign s_axis_tready = ~valid | m_axis_tready;
  assign m_axis_tdata = best;
  assign m_axis_tvalid = valid;
  genvar i;
  generate
    if (LANE_BITS == 1) begin : bits
      // Of single bits the greatest is their OR, where a sign counts less than none their AND.
      wire first = position == '0;
      always_ff @(posedge clk) if (fire) begin
        if (SIGNED != 0) best <= s_axis_tdata & (best | {LANES{first}});
        else best <= s_axis_tdata | (best & ~{LANES{first}});
      end
    end else begin : numbers
      for (i = 0; i < LANES; i = i + 1) begin : lane
        wire [LANE_BITS-1:0] given = s_axis_tdata[i*LANE_BITS+:LANE_BITS];
        wire [LANE_BITS-1:0] greatest = best[i*LANE_BITS+:LANE_BITS];
        wire greater;
        if (SIGNED != 0) begin : two_s_complement
          assign greater = $signed(given) > $signed(greatest);
        end else begin : plain
          assign greater = given > greatest;
        end
        always_ff @(posedge clk) begin
          if (fire & (position == '0 | greater)) best[i*LANE_BITS+:LANE_BITS] <= given;
        end
      end
    end
  endgenerate
  always_ff @(posedge clk) begin
    if (!resetn) begin
      position <= '0;
      valid <= 1'b0;
    end else begin
      if (fire) position <= last ? '0 : position + 1'b1;
      if (s_axis_tready) valid <= fire & last;
    end
  end
endmodule
