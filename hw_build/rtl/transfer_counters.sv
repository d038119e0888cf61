// Watches an accelerator's two ports and counts. A transfer is under way from the first input beat
// that is taken while none is, to the output beat with tlast; both cycles count.
module transfer_counters #(
    parameter integer OUTPUT_BEATS = 1  // beats of a frame at the output
) (
    input  wire        clk,
    input  wire        resetn,
    input  wire        clear,          // the counters, not what is under way
    input  wire        s_axis_tvalid,
    input  wire        s_axis_tready,
    input  wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    input  wire        m_axis_tlast,
    output wire [31:0] cycles,         // with a transfer under way
    output wire [31:0] frames_done,
    output wire [31:0] input_stalls,   // cycles in which an input beat waits
    output wire [31:0] output_stalls,  // cycles in which an output beat waits
    output reg  [31:0] latency,        // of the latest transfer's first frame: from the first input
                                       // beat taken to the frame's end, both cycles counted
    output reg  [31:0] interval        // between the ends of its last two frames; 0 if it has one
);
  localparam integer BEAT_BITS = (OUTPUT_BEATS > 1) ? $clog2(OUTPUT_BEATS) : 1;
  reg [BEAT_BITS-1:0] beat;
  reg running;
  reg later_frame;  // a frame of this transfer is done
  wire taken = s_axis_tvalid & s_axis_tready;
  wire leaves = m_axis_tvalid & m_axis_tready;
  wire end_of_frame = leaves & (32'(beat) == OUTPUT_BEATS - 1);
  wire end_of_transfer = leaves & m_axis_tlast;
  wire under_way = running | taken;
  wire clear_all = clear | ~resetn;
  wire [31:0] span;  // from the transfer's beginning or the last frame's end, this cycle included

  always_ff @(posedge clk) begin
    if (!resetn) begin
      beat <= '0;
      running <= 1'b0;
      later_frame <= 1'b0;
    end else begin
      if (leaves) beat <= end_of_frame ? '0 : beat + 1'b1;
      running <= under_way & ~end_of_transfer;
      later_frame <= (later_frame | end_of_frame) & ~end_of_transfer;
    end
  end
  always_ff @(posedge clk) begin
    if (clear_all) latency <= '0;
    else if (end_of_frame & ~later_frame) latency <= span;
    if (clear_all | (end_of_frame & ~later_frame)) interval <= '0;
    else if (end_of_frame) interval <= span;
  end
  saturating_counter of_cycles (
      .clk(clk), .clear(clear_all), .count(under_way), .value(cycles)
  );
  saturating_counter of_frames (
      .clk(clk), .clear(clear_all), .count(end_of_frame), .value(frames_done)
  );
  saturating_counter of_input_stalls (
      .clk(clk), .clear(clear_all), .count(s_axis_tvalid & ~s_axis_tready), .value(input_stalls)
  );
  saturating_counter of_output_stalls (
      .clk(clk), .clear(clear_all), .count(m_axis_tvalid & ~m_axis_tready), .value(output_stalls)
  );
  saturating_counter #(.FIRST(32'd1)) of_span (
      .clk(clk), .clear(clear_all | end_of_frame), .count(under_way), .value(span)
  );
endmodule
