// FIFO of exactly DEPTH beats between two AXI4-Streams, one beat a cycle. Ready and valid come from
// registers alone. A beat is offered one cycle after it was taken, from block RAM two cycles.
//
// Block RAM is read ahead into its own output register, which is one of the DEPTH places. While
// that is empty, the memory holds at most one beat: so a full memory has a full register behind it,
// and no word is read in the cycle that writes it.
module deep_fifo #(
    parameter integer WIDTH = 8,        // bits of a beat
    parameter integer DEPTH = 5,        // 2 or more, of block RAM 3 or more
    parameter integer BLOCK_MEMORY = 0  // 1: block RAM, 0: LUT RAM
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
  localparam integer WORDS = (BLOCK_MEMORY != 0) ? DEPTH - 1 : DEPTH;
  localparam integer ADDRESS_BITS = $clog2(WORDS);
  localparam integer COUNT_BITS = $clog2(WORDS + 1);
  reg [ADDRESS_BITS-1:0] write_address;
  reg [ADDRESS_BITS-1:0] read_address;
  reg [COUNT_BITS-1:0] stored;  // beats in the memory
  wire push = s_axis_tvalid & s_axis_tready;
  wire pop;                     // a beat leaves the memory
  assign s_axis_tready = 32'(stored) != WORDS;

  generate
    if (BLOCK_MEMORY != 0) begin : block
      (* ram_style = "block" *) reg [WIDTH-1:0] memory[0:WORDS-1];
      reg [WIDTH-1:0] head;
      reg head_valid;
      assign pop = (stored != '0) & (~head_valid | m_axis_tready);
      assign m_axis_tdata = head;
      assign m_axis_tvalid = head_valid;
      always_ff @(posedge clk) begin
        if (push) memory[write_address] <= s_axis_tdata;
        if (pop) head <= memory[read_address];
      end
      always_ff @(posedge clk) begin
        if (!resetn) head_valid <= 1'b0;
        else head_valid <= pop | (head_valid & ~m_axis_tready);
      end
    end else begin : distributed
      (* ram_style = "distributed" *) reg [WIDTH-1:0] memory[0:WORDS-1];
      assign pop = m_axis_tvalid & m_axis_tready;
      assign m_axis_tdata = memory[read_address];
      assign m_axis_tvalid = stored != '0;
      always_ff @(posedge clk) if (push) memory[write_address] <= s_axis_tdata;
    end
  endgenerate

  always_ff @(posedge clk) begin
    if (!resetn) begin
      write_address <= '0;
      read_address <= '0;
      stored <= '0;
    end else begin
      if (push) write_address <= (32'(write_address) == WORDS - 1) ? '0 : write_address + 1'b1;
      if (pop) read_address <= (32'(read_address) == WORDS - 1) ? '0 : read_address + 1'b1;
      if (push != pop) stored <= push ? stored + 1'b1 : stored - 1'b1;
    end
  end
endmodule
