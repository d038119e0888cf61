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
  reg [31:0] frame;
  wire last_beat = 32'(beat) == BEATS - 1;
  assign tlast = last_beat & (frame + 1 == frames);
  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= '0;
      frame <= '0;
    end else if (tvalid & tready) begin
      beat <= last_beat ? '0 : beat + 1'b1;
      if (last_beat) frame <= tlast ? '0 : frame + 1'b1;
    end
  end
endmodule
