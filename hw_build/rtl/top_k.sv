// Indices of the K greatest of N scores, the greatest first, the lowest index first among equals.
// Scores come one a beat, indices leave one a beat, while the scores of the next vector come in.
//
// K cells hold the greatest scores so far in descending order. A score enters before the first one
// that is less than it, and the rest moves down by one.
module top_k #(
    parameter integer N = 10,           // scores of a vector
    parameter integer K = 3,            // 1 to N
    parameter integer SCORE_BITS = 8,
    parameter integer SCORE_SIGNED = 1, // 1: two's complement, 0: unsigned or bipolar
    parameter integer INDEX_BITS = 4    // holds N - 1
) (
    input  wire                  clk,
    input  wire                  resetn,
    input  wire [SCORE_BITS-1:0] s_axis_tdata,
    input  wire                  s_axis_tvalid,
    output wire                  s_axis_tready,
    output wire [INDEX_BITS-1:0] m_axis_tdata,
    output wire                  m_axis_tvalid,
    input  wire                  m_axis_tready
);
  reg [INDEX_BITS-1:0] index;
  reg [K*SCORE_BITS-1:0] scores;       // cell 0, with the greatest, lowest
  reg [K*INDEX_BITS-1:0] indices;
  reg [K-1:0] filled;                  // of this vector
  wire [K*INDEX_BITS-1:0] next_indices;
  reg [K*INDEX_BITS-1:0] leaving;
  reg [K-1:0] left;                    // ones from below: how many indices still leave
  wire last = 32'(index) == N - 1;
  wire fire = s_axis_tvalid & s_axis_tready;
  wire pop = m_axis_tvalid & m_axis_tready;
  wire more_left;                      // also after this cycle
  generate
    if (K > 1) begin : several
      assign more_left = left[1] | (left[0] & ~m_axis_tready);
    end else begin : one
      assign more_left = left[0] & ~m_axis_tready;
    end
  endgenerate

  assign s_axis_tready = ~(last & more_left);
  assign m_axis_tdata = leaving[0+:INDEX_BITS];
  assign m_axis_tvalid = left[0];

  // Whether the score belongs before what cell k holds. Cells are in order, so these are too:
  // once it does, it does for all cells behind.
  wire [K-1:0] before_cell;
  genvar k;
  generate
    for (k = 0; k < K; k = k + 1) begin : cell_of
      wire [SCORE_BITS-1:0] score = scores[k*SCORE_BITS+:SCORE_BITS];
      assign before_cell[k] = ~filled[k] | (SCORE_SIGNED != 0
                                            ? $signed(s_axis_tdata) > $signed(score)
                                            : s_axis_tdata > score);
      wire [SCORE_BITS-1:0] next_score;
      if (k == 0) begin : top
        assign next_score = s_axis_tdata;
        assign next_indices[0+:INDEX_BITS] = before_cell[0] ? index : indices[0+:INDEX_BITS];
      end else begin : lower
        assign next_score = before_cell[k-1] ? scores[(k-1)*SCORE_BITS+:SCORE_BITS] : s_axis_tdata;
        assign next_indices[k*INDEX_BITS+:INDEX_BITS] =
            before_cell[k-1] ? indices[(k-1)*INDEX_BITS+:INDEX_BITS]
            : before_cell[k] ? index : indices[k*INDEX_BITS+:INDEX_BITS];
      end
      always_ff @(posedge clk)
        if (fire & before_cell[k]) scores[k*SCORE_BITS+:SCORE_BITS] <= next_score;
    end
  endgenerate

  always_ff @(posedge clk) if (fire) indices <= next_indices;
  always_ff @(posedge clk) begin
    if (fire & last) leaving <= next_indices;
    else if (pop) leaving <= leaving >> INDEX_BITS;
  end
  always_ff @(posedge clk) begin
    if (!resetn) begin
      index <= '0;
      filled <= '0;
      left <= '0;
    end else begin
      if (fire) begin
        index <= last ? '0 : index + 1'b1;
        filled <= last ? '0 : (filled << 1) | K'(1);
      end
      if (fire & last) left <= '1;
      else if (pop) left <= left >> 1;
    end
  end
endmodule
