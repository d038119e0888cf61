// Index of the greatest of N scores, the lowest index among equals. Scores come LANES a beat.
module arg_max #(
    parameter integer N = 10,           // scores of a vector, 2 or more
    parameter integer LANES = 1,        // 1 to N
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

  // Numbers that are compared as unsigned ones: of two's complement with the sign inverted.
  localparam [SCORE_BITS-1:0] SIGN = (SCORE_SIGNED != 0) ? SCORE_BITS'(1) << (SCORE_BITS - 1) : '0;
  localparam integer LAST_LANES = N - (BEATS - 1) * LANES;  // that carry a score of the last beat

  // The greatest lane of this beat, found by rounds of pairs and put into the lower one's place.
  reg [LANES*SCORE_BITS-1:0] scores;
  reg [LANES*INDEX_BITS-1:0] lanes;
  integer lane;
  integer step;
  always_comb begin
    scores = s_axis_tdata ^ {LANES{SIGN}};
    for (lane = 0; lane < LANES; lane = lane + 1)
      lanes[lane*INDEX_BITS+:INDEX_BITS] = INDEX_BITS'(lane);
    for (step = 1; step < LANES; step = step * 2)
      for (lane = 0; lane + step < LANES; lane = lane + 2 * step)
        if ((~last || lane + step < LAST_LANES)
            && scores[(lane+step)*SCORE_BITS+:SCORE_BITS] > scores[lane*SCORE_BITS+:SCORE_BITS])
        begin
          scores[lane*SCORE_BITS+:SCORE_BITS] = scores[(lane+step)*SCORE_BITS+:SCORE_BITS];
          lanes[lane*INDEX_BITS+:INDEX_BITS] = lanes[(lane+step)*INDEX_BITS+:INDEX_BITS];
        end
  end

  // The candidate after this beat; the first one of a vector is taken as it is.
  wire [SCORE_BITS-1:0] score = scores[0+:SCORE_BITS];
  wire [INDEX_BITS-1:0] score_index = INDEX_BITS'(32'(beat) * LANES) + lanes[0+:INDEX_BITS];
  wire greater = beat == '0 || score > best;
  wire [INDEX_BITS-1:0] candidate_index = greater ? score_index : best_index;

  assign s_axis_tready = ~(last & valid & ~m_axis_tready);
  assign m_axis_tdata = index;
  assign m_axis_tvalid = valid;
  always_ff @(posedge clk) if (fire) begin
    if (greater) best <= score;
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
