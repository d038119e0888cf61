// Narrow beats to wide ones: RATIO beats of LANES lanes leave as one, the first in the lowest
// lanes. A vector of VECTOR input beats that doesn't fill its last output beat is padded with
// zeros, one cycle for each beat that is missing.
module lane_joiner #(
    parameter integer LANE_BITS = 1,
    parameter integer LANES = 4,     // at the input
    parameter integer RATIO = 2,     // 2 or more
    parameter integer VECTOR = 4     // beats of a vector at the input
) (
    input  wire                             clk,
    input  wire                             resetn,
    input  wire [LANES*LANE_BITS-1:0]       s_axis_tdata,
    input  wire                             s_axis_tvalid,
    output wire                             s_axis_tready,
    output wire [RATIO*LANES*LANE_BITS-1:0] m_axis_tdata,
    output wire                             m_axis_tvalid,
    input  wire                             m_axis_tready
);
  localparam integer WIDTH = LANES * LANE_BITS;
  localparam integer PART_BITS = $clog2(RATIO);
  localparam integer COUNT_BITS = $clog2(VECTOR + 1);
  reg [RATIO*WIDTH-1:0] gathered;
  reg [PART_BITS-1:0] part;
  reg full;
  wire padding;
  wire room = ~full | m_axis_tready;
  wire take = room & (padding | s_axis_tvalid);
  wire last_part = 32'(part) == RATIO - 1;

  assign m_axis_tdata = gathered;
  assign m_axis_tvalid = full;
  assign s_axis_tready = room & ~padding;

  generate
    if (VECTOR % RATIO == 0) begin : whole
      assign padding = 1'b0;
    end else begin : padded
      reg [COUNT_BITS-1:0] count;  // beats of the vector taken so far
      assign padding = 32'(count) == VECTOR;
      always_ff @(posedge clk) begin
        if (!resetn) count <= '0;
        else if (take) count <= padding ? (last_part ? '0 : count) : count + 1'b1;
      end
    end
  endgenerate
  // The newest beat enters at the top and moves down, so that no lane needs an enable of its own.
  always_ff @(posedge clk) begin
    if (take) gathered <= {padding ? {WIDTH{1'b0}} : s_axis_tdata, gathered[RATIO*WIDTH-1:WIDTH]};
  end
  always_ff @(posedge clk) begin
    if (!resetn) begin
      part <= '0;
      full <= 1'b0;
    end else begin
      if (take) part <= last_part ? '0 : part + 1'b1;
      if (room) full <= take & last_part;
    end
  end
endmodule
