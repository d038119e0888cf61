// Gives every beat to two sinks, each of which may take it first: the beat leaves its sender when
// both have it. No register in the data path. Ready depends on both sinks' ready, valid on none.
module stream_fork #(
    parameter integer WIDTH = 8
) (
    input  wire             clk,
    input  wire             resetn,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m0_axis_tdata,
    output wire             m0_axis_tvalid,
    input  wire             m0_axis_tready,
    output wire [WIDTH-1:0] m1_axis_tdata,
    output wire             m1_axis_tvalid,
    input  wire             m1_axis_tready
);
  reg done0, done1;  // that sink has the beat which still waits for the other
  wire has0 = done0 | m0_axis_tready;
  wire has1 = done1 | m1_axis_tready;

  assign m0_axis_tdata = s_axis_tdata;
  assign m1_axis_tdata = s_axis_tdata;
  assign m0_axis_tvalid = s_axis_tvalid & ~done0;
  assign m1_axis_tvalid = s_axis_tvalid & ~done1;
  assign s_axis_tready = has0 & has1;

  always_ff @(posedge clk) begin
    if (!resetn) begin
      done0 <= 1'b0;
      done1 <= 1'b0;
    end else if (s_axis_tvalid) begin
      done0 <= has0 & ~has1;
      done1 <= has1 & ~has0;
    end
  end
endmodule
