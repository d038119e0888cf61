// Slides a kernel over an image and gives each window as one beat: takes a pixel a beat, row by
// row, and gives a beat for each position of the kernel that lies wholly on the image. The kernel's
// first row and column are in the lowest bits, then the first row's second column.
//
// The rows above are kept column by column: what lies above a pixel is one word, which is read when
// the pixel comes and written back without its oldest row and with the pixel. Behind that, a shift
// register for each kernel row holds the columns to the left; it is the output at the same time, so
// that it stands still while a window waits to be taken.
module window_parallel #(
    parameter integer HEIGHT = 8,        // rows and columns of the image
    parameter integer WIDTH = 8,
    parameter integer BEAT_BITS = 8,     // of a pixel, all its channels
    parameter integer KERNEL_H = 3,
    parameter integer KERNEL_W = 3,
    parameter integer STRIDE_H = 1,
    parameter integer STRIDE_W = 1,
    parameter integer DILATION_H = 1,    // rows from one kernel row to the next
    parameter integer DILATION_W = 1,
    parameter integer BLOCK_MEMORY = 0   // 1: rows in block RAM, 0: in LUTs
) (
    input  wire                                   clk,
    input  wire                                   resetn,
    input  wire [BEAT_BITS-1:0]                   s_axis_tdata,
    input  wire                                   s_axis_tvalid,
    output wire                                   s_axis_tready,
    output wire [KERNEL_H*KERNEL_W*BEAT_BITS-1:0] m_axis_tdata,
    output wire                                   m_axis_tvalid,
    input  wire                                   m_axis_tready
);
  localparam integer REACH_H = (KERNEL_H - 1) * DILATION_H + 1;
  localparam integer REACH_W = (KERNEL_W - 1) * DILATION_W + 1;
  localparam integer COLUMN_BITS = (WIDTH > 1) ? $clog2(WIDTH) : 1;
  localparam integer ROW_BITS = (HEIGHT > 1) ? $clog2(HEIGHT) : 1;
  localparam integer MOST_X = (REACH_W > STRIDE_W) ? REACH_W : STRIDE_W;
  localparam integer MOST_Y = (REACH_H > STRIDE_H) ? REACH_H : STRIDE_H;
  localparam integer X_BITS = (MOST_X > 1) ? $clog2(MOST_X) : 1;
  localparam integer Y_BITS = (MOST_Y > 1) ? $clog2(MOST_Y) : 1;
  reg [COLUMN_BITS-1:0] column;
  reg [ROW_BITS-1:0] row;
  reg [X_BITS-1:0] until_x;  // columns and rows until a window ends; 0: in this one
  reg [Y_BITS-1:0] until_y;
  reg valid;
  wire end_of_row = 32'(column) == WIDTH - 1;
  wire end_of_frame = end_of_row & (32'(row) == HEIGHT - 1);
  wire take = s_axis_tvalid & s_axis_tready;
  wire [COLUMN_BITS-1:0] next_column = end_of_row ? '0 : column + 1'b1;

  assign s_axis_tready = ~valid | m_axis_tready;
  assign m_axis_tvalid = valid;

  // The pixels of this column, the oldest row lowest, this pixel on top.
  wire [REACH_H*BEAT_BITS-1:0] pixels;
  generate
    if (REACH_H == 1) begin : one_row
      assign pixels = s_axis_tdata;
    end else if (BLOCK_MEMORY != 0 && WIDTH > 1) begin : block
      // Read a pixel ahead, as the memory gives its words a cycle later.
      (* ram_style = "block" *) reg [(REACH_H-1)*BEAT_BITS-1:0] memory[0:WIDTH-1];
      reg [(REACH_H-1)*BEAT_BITS-1:0] above;
      assign pixels = {s_axis_tdata, above};
      always_ff @(posedge clk) if (take) memory[column] <= pixels[REACH_H*BEAT_BITS-1:BEAT_BITS];
      always_ff @(posedge clk) if (take) above <= memory[next_column];
    end else begin : distributed
      (* ram_style = "distributed" *) reg [(REACH_H-1)*BEAT_BITS-1:0] memory[0:WIDTH-1];
      assign pixels = {s_axis_tdata, memory[column]};
      always_ff @(posedge clk) if (take) memory[column] <= pixels[REACH_H*BEAT_BITS-1:BEAT_BITS];
    end
  endgenerate

  genvar i, j;
  generate
    for (i = 0; i < KERNEL_H; i = i + 1) begin : kernel_row
      reg [REACH_W*BEAT_BITS-1:0] columns;  // the oldest lowest
      always_ff @(posedge clk) if (take)
        columns <= (REACH_W*BEAT_BITS)'(
            {pixels[i*DILATION_H*BEAT_BITS+:BEAT_BITS], columns} >> BEAT_BITS);
      for (j = 0; j < KERNEL_W; j = j + 1) begin : kernel_column
        assign m_axis_tdata[(i*KERNEL_W+j)*BEAT_BITS+:BEAT_BITS] =
            columns[j*DILATION_W*BEAT_BITS+:BEAT_BITS];
      end
    end
  endgenerate

  always_ff @(posedge clk) begin
    if (!resetn) begin
      column <= '0;
      row <= '0;
      until_x <= X_BITS'(REACH_W - 1);
      until_y <= Y_BITS'(REACH_H - 1);
      valid <= 1'b0;
    end else begin
      if (take) begin
        column <= next_column;
        until_x <= end_of_row ? X_BITS'(REACH_W - 1)
                 : (until_x == '0) ? X_BITS'(STRIDE_W - 1) : until_x - 1'b1;
      end
      if (take & end_of_row) begin
        row <= end_of_frame ? '0 : row + 1'b1;
        until_y <= end_of_frame ? Y_BITS'(REACH_H - 1)
                 : (until_y == '0) ? Y_BITS'(STRIDE_H - 1) : until_y - 1'b1;
      end
      if (s_axis_tready) valid <= s_axis_tvalid & (until_x == '0) & (until_y == '0);
    end
  end
endmodule
