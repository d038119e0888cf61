// Puts pixels of one value around an image. No beat is kept: what is taken leaves in the same cycle.
// Padding is given without waiting for the input, but for what comes before an image's first beat:
// that waits until the beat is offered, so that nothing moves between transfers.
module pad #(
    parameter integer HEIGHT = 8,         // rows and columns of the image that comes in
    parameter integer WIDTH = 8,
    parameter integer CHANNEL_BEATS = 1,  // beats of a pixel
    parameter integer LANES = 8,          // of a beat
    parameter integer LANE_BITS = 2,      // of a lane that comes in
    parameter integer OUT_LANE_BITS = 2,  // of a lane that leaves: LANE_BITS, or 2 if BIPOLAR
    parameter integer TOP = 1,            // rows and columns that are put around
    parameter integer LEFT = 1,
    parameter integer BOTTOM = 1,
    parameter integer RIGHT = 1,
    parameter integer VALUE = 0,          // its low OUT_LANE_BITS bits are each lane's
    parameter integer BIPOLAR = 0         // 1: bipolar comes in, two's complement leaves
) (
    input  wire                           clk,
    input  wire                           resetn,
    input  wire [LANES*LANE_BITS-1:0]     s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,
    output wire [LANES*OUT_LANE_BITS-1:0] m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);
  localparam integer ROW = (LEFT + WIDTH + RIGHT) * CHANNEL_BEATS;
  localparam integer ROWS = TOP + HEIGHT + BOTTOM;
  // Beats and rows are counted from the image's first on, so that one comparison each tells whether
  // they are the image's; what is put on the left and on top has the highest numbers.
  localparam integer BEAT_BITS = (ROW > 1) ? $clog2(ROW) : 1;
  localparam integer ROW_BITS = (ROWS > 1) ? $clog2(ROWS) : 1;
  localparam integer FIRST_BEAT = (LEFT == 0) ? 0 : ROW - LEFT * CHANNEL_BEATS;
  localparam integer FIRST_ROW = (TOP == 0) ? 0 : ROWS - TOP;
  reg [BEAT_BITS-1:0] beat;
  reg [ROW_BITS-1:0] row;
  wire end_of_row = 32'(beat) == ((LEFT == 0) ? ROW : FIRST_BEAT) - 1;
  wire on_rows, on_columns;
  wire on_image = on_rows & on_columns;
  wire above, beside;  // before the first beat of the image
  wire leading = above | beside;
  wire fire = m_axis_tvalid & m_axis_tready;

  assign s_axis_tready = on_image & m_axis_tready;
  assign m_axis_tvalid = s_axis_tvalid | ~(on_image | leading);
  genvar i;
  generate
    if (TOP + BOTTOM == 0) begin : every_row
      assign on_rows = 1'b1;
    end else begin : some_rows
      assign on_rows = 32'(row) < HEIGHT;
    end
    if (LEFT + RIGHT == 0) begin : every_column
      assign on_columns = 1'b1;
    end else begin : some_columns
      assign on_columns = 32'(beat) < WIDTH * CHANNEL_BEATS;
    end
    if (TOP == 0) begin : from_the_first_row
      assign above = 1'b0;
    end else begin : rows_above
      assign above = 32'(row) >= FIRST_ROW;
    end
    if (LEFT == 0) begin : from_the_first_column
      assign beside = 1'b0;
    end else begin : columns_beside
      assign beside = (row == '0) & (32'(beat) >= FIRST_BEAT);
    end
    for (i = 0; i < LANES; i = i + 1) begin : lane
      wire [OUT_LANE_BITS-1:0] passed;
      if (BIPOLAR != 0) begin : bipolar
        assign passed = {~s_axis_tdata[i], 1'b1};
      end else begin : same
        assign passed = s_axis_tdata[i*LANE_BITS+:LANE_BITS];
      end
      assign m_axis_tdata[i*OUT_LANE_BITS+:OUT_LANE_BITS] =
          on_image ? passed : OUT_LANE_BITS'(VALUE);
    end
  endgenerate

  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= BEAT_BITS'(FIRST_BEAT);
      row <= ROW_BITS'(FIRST_ROW);
    end else if (fire) begin
      beat <= (32'(beat) == ROW - 1) ? '0 : beat + 1'b1;
      if (end_of_row) row <= (32'(row) == ROWS - 1) ? '0 : row + 1'b1;
    end
  end
endmodule
