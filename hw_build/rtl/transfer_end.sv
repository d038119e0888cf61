// Marks the last beat of a whole transfer of `frames` frames: an AXI DMA in simple mode ends its
// write at the first tlast. `frames` is taken while no transfer is under way, and has to stand a
// cycle before the first beat leaves.
module transfer_end #(
    parameter integer BEATS = 2   // beats of a frame
) (
    input  wire        clk,
    input  wire        resetn,
    input  wire [31:0] frames,
    input  wire        tvalid,
    input  wire        tready,
    output wire        tlast
);
  localparam integer BEAT_BITS = (BEATS > 1) ? $clog2(BEATS) : 1;
  reg [BEAT_BITS-1:0] beat;
  reg [31:0] left;  // frames of the transfer, this one included
  reg running;
  wire fire = tvalid & tready;
  wire end_of_frame = fire & (32'(beat) == BEATS - 1);
  wire end_of_transfer = end_of_frame & (left == 32'd1);
  // Counting and loading in one addition, of minus one or nothing: one LUT a bit.
  wire next_frame = end_of_frame & ~end_of_transfer;
  wire load = ~next_frame & (end_of_transfer | ~running);
  assign tlast = (32'(beat) == BEATS - 1) & (left == 32'd1);
  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= '0;
      left <= '0;
      running <= 1'b0;
    end else begin
      if (fire) beat <= end_of_frame ? '0 : beat + 1'b1;
      left <= {32{next_frame}} + (load ? frames : left);
      if (fire) running <= ~end_of_transfer;
    end
  end
endmodule
