// Slides a kernel over an image: takes its pixels row by row, CHANNEL_BEATS beats each, and gives,
// for each position of the kernel that lies wholly on the image, row by row, the beats under it.
//
//   CHANNEL_OUTER  order of a window's beats
//   0              kernel row, kernel column, channel beat
//   1              channel beat, kernel row, kernel column
//
// Pixels go round in a ring. Two numbers tell what may be done: `ahead`, the words that have come
// after the next one to read, and `room`, the words that may come until one is overwritten that is
// still needed, the oldest of which is the first of the window. Every read moves on by one of six
// constants, depending on which loops end with it. What no window covers is skipped.
//
// The ring holds NEEDED words, so that a beat leaves every cycle as long as pixels come. A window
// takes LAST + 1. While the last window of a row is held, words that the first window of the next
// row lacks have to be there as well: JUMP more, less the SPARE words that can still come between
// the first read of that window and the last. FRAME_AHEAD = 1 makes the same sure for the first
// window of the next frame; otherwise about LAST + 1 words are waited for between frames.
module window #(
    parameter integer HEIGHT = 8,        // rows and columns of the image
    parameter integer WIDTH = 8,
    parameter integer CHANNEL_BEATS = 1, // beats of a pixel
    parameter integer BEAT_BITS = 8,
    parameter integer KERNEL_H = 3,
    parameter integer KERNEL_W = 3,
    parameter integer STRIDE_H = 1,
    parameter integer STRIDE_W = 1,
    parameter integer DILATION_H = 1,    // rows from one kernel row to the next
    parameter integer DILATION_W = 1,
    parameter integer CHANNEL_OUTER = 0,
    parameter integer FRAME_AHEAD = 1,   // 1: room for the next frame's first window as well
    parameter integer BLOCK_MEMORY = 0   // 1: pixels in block RAM, 0: in LUTs
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
  localparam integer OUT_H = (HEIGHT - (KERNEL_H - 1) * DILATION_H - 1) / STRIDE_H + 1;
  localparam integer OUT_W = (WIDTH - (KERNEL_W - 1) * DILATION_W - 1) / STRIDE_W + 1;
  localparam integer F = CHANNEL_BEATS;
  localparam integer POSITIONS = KERNEL_H * KERNEL_W;

  // Words from the window's first to its last, and from window to window: to the right, to the
  // next row from the last one of this row, to the next frame from the last one of this frame.
  localparam integer LAST =
      ((KERNEL_H - 1) * DILATION_H * WIDTH + (KERNEL_W - 1) * DILATION_W) * F + F - 1;
  localparam integer RIGHT = STRIDE_W * F;
  localparam integer DOWN = (STRIDE_H * WIDTH - (OUT_W - 1) * STRIDE_W) * F;
  localparam integer NEXT_FRAME =
      ((HEIGHT - (OUT_H - 1) * STRIDE_H) * WIDTH - (OUT_W - 1) * STRIDE_W) * F;

  // The loops of a window, the innermost one first: steps, and words from one to the next.
  localparam integer N0 = (CHANNEL_OUTER != 0) ? KERNEL_W : F;
  localparam integer N1 = (CHANNEL_OUTER != 0) ? KERNEL_H : KERNEL_W;
  localparam integer N2 = (CHANNEL_OUTER != 0) ? F : KERNEL_H;
  localparam integer COLUMN = DILATION_W * F;
  localparam integer ROW = DILATION_H * WIDTH * F;
  localparam integer STEP0 = (CHANNEL_OUTER != 0) ? COLUMN : 1;
  localparam integer STEP1 = ((CHANNEL_OUTER != 0) ? ROW : COLUMN) - (N0 - 1) * STEP0;
  localparam integer STEP2 = ((CHANNEL_OUTER != 0) ? 1 - (KERNEL_H - 1) * ROW
                                                   : ROW - (KERNEL_W - 1) * COLUMN)
                             - (N0 - 1) * STEP0;

  // The depth, see above. Where reading takes less time than writing, by row and by frame, the writer
  // doesn't come further ahead than it gets while a row is read.
  function automatic integer least(input integer a, input integer b);
    least = (a < b) ? a : b;
  endfunction
  function automatic integer most(input integer a, input integer b);
    most = (a < b) ? b : a;
  endfunction
  localparam integer AHEAD_ROWS = (FRAME_AHEAD != 0)
      ? most(STRIDE_H, HEIGHT - (OUT_H - 1) * STRIDE_H) : STRIDE_H;
  localparam integer ROW_READS = OUT_W * POSITIONS;
  localparam integer AHEAD =
      (ROW_READS < STRIDE_H * WIDTH && OUT_H * ROW_READS < HEIGHT * WIDTH) ? ROW_READS
                                                                           : AHEAD_ROWS * WIDTH;
  localparam integer JUMP =
      most(least(RIGHT, POSITIONS * F), (AHEAD - (OUT_W - 1) * STRIDE_W) * F);
  localparam integer SPARE = (CHANNEL_OUTER != 0) ? F - 1 + POSITIONS - 1 : F * POSITIONS - 1;
  localparam integer NEEDED = most(LAST + 1, LAST + 1 + JUMP - SPARE);
  // Memories come in such pieces.
  localparam integer PIECE = (BLOCK_MEMORY != 0) ? 512 : (NEEDED <= 32) ? 32 : 64;
  localparam integer DEPTH = (NEEDED + PIECE - 1) / PIECE * PIECE;

  localparam integer A = $clog2(DEPTH);
  localparam integer COUNT_BITS =
      $clog2(DEPTH + most(ROW, most(RIGHT, most(DOWN, NEXT_FRAME))) + 2) + 1;
  localparam integer BITS0 = (N0 > 1) ? $clog2(N0) : 1;
  localparam integer BITS1 = (N1 > 1) ? $clog2(N1) : 1;
  localparam integer BITS2 = (N2 > 1) ? $clog2(N2) : 1;
  localparam integer BITS_X = (OUT_W > 1) ? $clog2(OUT_W) : 1;
  localparam integer BITS_Y = (OUT_H > 1) ? $clog2(OUT_H) : 1;
  reg [BITS0-1:0] loop0;
  reg [BITS1-1:0] loop1;
  reg [BITS2-1:0] loop2;
  reg [BITS_X-1:0] x;
  reg [BITS_Y-1:0] y;
  wire end0 = 32'(loop0) == N0 - 1;
  wire end1 = 32'(loop1) == N1 - 1;
  wire end2 = 32'(loop2) == N2 - 1;
  wire end_x = 32'(x) == OUT_W - 1;
  wire end_y = 32'(y) == OUT_H - 1;

  reg [COUNT_BITS-1:0] ahead;  // two's complement, negative: the word has not come yet
  reg [COUNT_BITS-1:0] room;   // less one, so that the sign tells whether there is any
  reg valid;
  wire write = s_axis_tvalid & s_axis_tready;
  wire read = ~ahead[COUNT_BITS-1] & (~valid | m_axis_tready);

  function automatic integer place(input integer words);
    place = (words % DEPTH + DEPTH) % DEPTH;
  endfunction
  // Words that a read moves on by, that the window's start moves on by, and places in the ring.
  reg [COUNT_BITS-1:0] step;
  reg [COUNT_BITS-1:0] freed;
  reg [A-1:0] advance;
  always_comb begin
    step = '0;
    freed = '0;
    advance = 'x;
    if (read) begin
      step = COUNT_BITS'(STEP0);
      advance = A'(place(STEP0));
      if (end0) begin
        step = COUNT_BITS'(STEP1);
        advance = A'(place(STEP1));
        if (end1) begin
          step = COUNT_BITS'(STEP2);
          advance = A'(place(STEP2));
          if (end2) begin
            step = COUNT_BITS'(end_x ? (end_y ? NEXT_FRAME - LAST : DOWN - LAST) : RIGHT - LAST);
            freed = COUNT_BITS'(end_x ? (end_y ? NEXT_FRAME : DOWN) : RIGHT);
            advance = A'(end_x ? (end_y ? place(NEXT_FRAME - LAST) : place(DOWN - LAST))
                               : place(RIGHT - LAST));
          end
        end
      end
    end
  end
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
      loop0 <= '0;
      loop1 <= '0;
      loop2 <= '0;
      x <= '0;
      y <= '0;
      ahead <= '1;
      room <= COUNT_BITS'(DEPTH - 1);
      valid <= 1'b0;
    end else begin
      if (read) begin
        loop0 <= end0 ? '0 : loop0 + 1'b1;
        if (end0) begin
          loop1 <= end1 ? '0 : loop1 + 1'b1;
          if (end1) begin
            loop2 <= end2 ? '0 : loop2 + 1'b1;
            if (end2) begin
              x <= end_x ? '0 : x + 1'b1;
              if (end_x) y <= end_y ? '0 : y + 1'b1;
            end
          end
        end
      end
      ahead <= ahead - step + COUNT_BITS'(write);
      room <= room + freed - COUNT_BITS'(write);
      valid <= read | (valid & ~m_axis_tready);
    end
  end
endmodule
