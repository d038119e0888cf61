// Wide beats to narrow ones: each beat of RATIO * LANES lanes leaves as RATIO beats, lowest lanes
// first. A vector has VECTOR beats at the output; what its last input beat holds beyond them is
// padding and is dropped. No register in the data path: the input beat is held by its sender.
module lane_splitter #(
    parameter integer LANE_BITS = 1,
    parameter integer LANES = 8,     // at the output
    parameter integer RATIO = 2,     // 2 or more
    parameter integer VECTOR = 4     // beats of a vector at the output
) (
    input  wire                             clk,
    input  wire                             resetn,
    input  wire [RATIO*LANES*LANE_BITS-1:0] s_axis_tdata,
    input  wire                             s_axis_tvalid,
    output wire                             s_axis_tready,
    output wire [LANES*LANE_BITS-1:0]       m_axis_tdata,
    output wire                             m_axis_tvalid,
    input  wire                             m_axis_tready
);
  localparam integer WIDTH = LANES * LANE_BITS;
  localparam integer PART_BITS = $clog2(RATIO);
  localparam integer COUNT_BITS = (VECTOR > 1) ? $clog2(VECTOR) : 1;
  reg [PART_BITS-1:0] part;
  wire end_of_vector;
  wire end_of_beat = (32'(part) == RATIO - 1) | end_of_vector;

  assign m_axis_tdata = s_axis_tdata[32'(part)*WIDTH+:WIDTH];
  assign m_axis_tvalid = s_axis_tvalid;
  assign s_axis_tready = m_axis_tready & end_of_beat;

  generate
    if (VECTOR % RATIO == 0) begin : whole
      assign end_of_vector = 1'b0;
    end else begin : padded
      reg [COUNT_BITS-1:0] count;
      assign end_of_vector = 32'(count) == VECTOR - 1;
      always_ff @(posedge clk) begin
        if (!resetn) count <= '0;
        else if (m_axis_tvalid & m_axis_tready) count <= end_of_vector ? '0 : count + 1'b1;
      end
    end
  endgenerate
  always_ff @(posedge clk) begin
    if (!resetn) part <= '0;
    else if (m_axis_tvalid & m_axis_tready) part <= end_of_beat ? '0 : part + 1'b1;
  end
endmodule
