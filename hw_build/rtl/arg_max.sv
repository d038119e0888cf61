// Index of the greatest of N scores, the lowest index among equals. Scores come LANES a beat.
module arg_max #(
    parameter integer N = 10,           // scores of a vector, 2 or more
    parameter integer LANES = 1,
    parameter integer SCORE_BITS = 8,
    parameter integer SCORE_SIGNED = 1, // 1: two's complement, 0: unsigned or bipolar
    parameter integer INDEX_BITS = 4    // holds N - 1
) (
    input  wire                        clk,
    input  wire                        resetn,
    input  wire [LANES*SCORE_BITS-1:0] s_axis_tdata,
    input  wire                        s_axis_tvalid,
    output wire                        s_axis_tready,
    output wire [INDEX_BITS-1:0]       m_axis_tdata,
    output wire                        m_axis_tvalid,
    input  wire                        m_axis_tready
);
  localparam integer BEATS = (N + LANES - 1) / LANES;
  localparam integer BEAT_BITS = (BEATS > 1) ? $clog2(BEATS) : 1;
  reg [BEAT_BITS-1:0] beat;
  reg [SCORE_BITS-1:0] best;
  reg [INDEX_BITS-1:0] best_index;
  reg [INDEX_BITS-1:0] index;
  reg valid;
  wire last = 32'(beat) == BEATS - 1;
  wire fire = s_axis_tvalid & s_axis_tready;

  // The candidate after this beat; the first lane of a vector is taken as it is.
  reg [SCORE_BITS-1:0] candidate;
  reg [INDEX_BITS-1:0] candidate_index;
  integer lane;
  always_comb begin
    candidate = best;
    candidate_index = best_index;
    for (lane = 0; lane < LANES; lane = lane + 1) begin
      if (32'(beat) * LANES + lane < N
          && ((beat == '0 && lane == 0)
              || (SCORE_SIGNED != 0
                  ? $signed(s_axis_tdata[lane*SCORE_BITS+:SCORE_BITS]) > $signed(candidate)
                  : s_axis_tdata[lane*SCORE_BITS+:SCORE_BITS] > candidate))) begin
        candidate = s_axis_tdata[lane*SCORE_BITS+:SCORE_BITS];
        candidate_index = INDEX_BITS'(32'(beat) * LANES + lane);
      end
    end
  end

  assign s_axis_tready = ~(last & valid & ~m_axis_tready);
  assign m_axis_tdata = index;
  assign m_axis_tvalid = valid;
  always_ff @(posedge clk) if (fire) begin
    best <= candidate;
    best_index <= candidate_index;
    if (last) index <= candidate_index;
  end
  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= '0;
      valid <= 1'b0;
    end else begin
      if (fire) beat <= last ? '0 : beat + 1'b1;
      valid <= (fire & last) | (valid & ~m_axis_tready);
    end
  end
endmodule
