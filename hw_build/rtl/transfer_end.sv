// Marks the last beat of a whole transfer of `frames` frames: an AXI DMA in simple mode ends its
// write at the first tlast. `frames` may change only while no frame is under way; 0 marks none.
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
  reg [31:0] frame;  // the number of the frame under way, from 1
  wire last_beat = 32'(beat) == BEATS - 1;
  wire pass = tvalid & tready;
  assign tlast = last_beat & (frame == frames);
  always_ff @(posedge clk) begin
    if (!resetn) beat <= '0;
    else if (pass) beat <= last_beat ? '0 : beat + 1'b1;
  end
  // Written so that a register's own reset takes the counter back, without logic before its data.
  always_ff @(posedge clk) begin
    if (!resetn | (pass & tlast)) frame <= 32'd1;
    else if (pass & last_beat) frame <= frame + 1'b1;
  end
endmodule
