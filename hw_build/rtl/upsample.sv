// Repeats every pixel FACTOR_W times to the right and FACTOR_H times downwards. A row is kept and
// read FACTOR_H times; while it is read for the last time, the next one takes its place.
module upsample #(
    parameter integer WIDTH = 4,          // columns of the image that comes in
    parameter integer CHANNEL_BEATS = 1,  // beats of a pixel
    parameter integer BEAT_BITS = 8,
    parameter integer FACTOR_H = 2,
    parameter integer FACTOR_W = 2,
    parameter integer BLOCK_MEMORY = 0    // 1: the row in block RAM, 0: in LUTs
) (
    input  wire                 clk,
    input  wire                 resetn,
    input  wire [BEAT_BITS-1:0] s_axis_tdata,
    input  wire                 s_axis_tvalid,
    output wire                 s_axis_tready,
    output wire [BEAT_BITS-1:0] m_axis_tdata,
    output wire                 m_axis_tvalid,
    input  wire                 m_axis_tready
);
  localparam integer F = CHANNEL_BEATS;
  // What is read again: a row, or a pixel where rows aren't repeated. Two words at the least, so
  // that one can be read while the next is written.
  localparam integer KEPT = (FACTOR_H > 1) ? WIDTH * F : F;
  localparam integer NEEDED = (KEPT > 2) ? KEPT : 2;
  // Memories come in such pieces.
  localparam integer PIECE = (BLOCK_MEMORY != 0) ? 512 : (NEEDED <= 32) ? 32 : 64;
  localparam integer DEPTH = (NEEDED + PIECE - 1) / PIECE * PIECE;

  localparam integer A = $clog2(DEPTH);
  localparam integer COUNT_BITS = $clog2(DEPTH + 1) + 1;
  localparam integer BEAT_COUNT_BITS = (F > 1) ? $clog2(F) : 1;
  localparam integer X_BITS = (FACTOR_W > 1) ? $clog2(FACTOR_W) : 1;
  localparam integer COLUMN_BITS = (WIDTH > 1) ? $clog2(WIDTH) : 1;
  localparam integer Y_BITS = (FACTOR_H > 1) ? $clog2(FACTOR_H) : 1;
  reg [BEAT_COUNT_BITS-1:0] beat;
  reg [X_BITS-1:0] repeat_x;
  reg [COLUMN_BITS-1:0] column;
  reg [Y_BITS-1:0] repeat_y;
  wire last_x = 32'(repeat_x) == FACTOR_W - 1;
  wire last_y = 32'(repeat_y) == FACTOR_H - 1;
  wire end_of_pixel = 32'(beat) == F - 1;
  wire end_of_column = end_of_pixel & last_x;
  wire end_of_row = end_of_column & (32'(column) == WIDTH - 1);

  reg [COUNT_BITS-1:0] ahead;  // words after the next one to read; negative: it has not come yet
  reg [COUNT_BITS-1:0] room;   // words that may come, less one; negative: none
  reg valid;
  wire write = s_axis_tvalid & s_axis_tready;
  wire read = ~ahead[COUNT_BITS-1] & (~valid | m_axis_tready);
  wire freed = read & last_x & last_y;
  wire row_again = end_of_row & ~last_y;
  wire pixel_again = end_of_pixel & ~last_x;
  wire [COUNT_BITS-1:0] step = COUNT_BITS'(row_again ? 1 - KEPT : pixel_again ? 1 - F : 1);
  wire [A-1:0] advance = A'(row_again ? (DEPTH + 1 - KEPT) % DEPTH
                              : pixel_again ? (DEPTH + 1 - F) % DEPTH : 1);
  ring_memory #(
      .WIDTH(BEAT_BITS), .DEPTH(DEPTH), .BLOCK_MEMORY(BLOCK_MEMORY)
  ) ring (
      .clk(clk), .resetn(resetn), .write(write), .data(s_axis_tdata),
      .read(read), .advance(advance), .word(m_axis_tdata)
  );
  assign s_axis_tready = ~room[COUNT_BITS-1];
  assign m_axis_tvalid = valid;

  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= '0;
      repeat_x <= '0;
      column <= '0;
      repeat_y <= '0;
      ahead <= '1;
      room <= COUNT_BITS'(DEPTH - 1);
      valid <= 1'b0;
    end else begin
      if (read) beat <= end_of_pixel ? '0 : beat + 1'b1;
      if (read & end_of_pixel) repeat_x <= last_x ? '0 : repeat_x + 1'b1;
      if (read & end_of_column) column <= end_of_row ? '0 : column + 1'b1;
      if (read & end_of_row) repeat_y <= last_y ? '0 : repeat_y + 1'b1;
      ahead <= ahead - (read ? step : '0) + COUNT_BITS'(write);
      room <= room + COUNT_BITS'(freed) - COUNT_BITS'(write);
      valid <= read | (valid & ~m_axis_tready);
    end
  end
endmodule
