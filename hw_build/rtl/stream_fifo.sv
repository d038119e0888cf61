// FIFO between two AXI4-Streams. Its ready and valid come from registers alone, so it also cuts
// the combinational ready chain between its neighbours. One beat a cycle, one cycle of latency.
module stream_fifo #(
    parameter integer WIDTH = 8,   // bits of a beat, 1 or more
    parameter integer DEPTH = 2    // beats, a power of two, 2 or more
) (
    input  wire             clk,
    input  wire             resetn,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);
  localparam integer A = $clog2(DEPTH);
  (* ram_style = "distributed" *) reg [WIDTH-1:0] memory[0:DEPTH-1];
  reg [A:0] write_pointer;  // one bit more than the address: full and empty differ
  reg [A:0] read_pointer;
  wire push = s_axis_tvalid & s_axis_tready;
  wire pop = m_axis_tvalid & m_axis_tready;

  assign s_axis_tready = (write_pointer ^ read_pointer) != (A + 1)'(DEPTH);
  assign m_axis_tvalid = write_pointer != read_pointer;
  assign m_axis_tdata = memory[read_pointer[A-1:0]];

  always_ff @(posedge clk) if (push) memory[write_pointer[A-1:0]] <= s_axis_tdata;
  always_ff @(posedge clk) begin
    if (!resetn) begin
      write_pointer <= '0;
      read_pointer <= '0;
    end else begin
      if (push) write_pointer <= write_pointer + 1'b1;
      if (pop) read_pointer <= read_pointer + 1'b1;
    end
  end
endmodule
