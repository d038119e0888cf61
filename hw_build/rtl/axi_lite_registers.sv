// The accelerator's registers on an AXI4-Lite bus. All accesses answer OKAY; what isn't listed
// reads 0, and writing it does nothing.
//
//   0x00 MAGIC      read        0x4E475747
//   0x04 VERSION    read        2, of this map
//   0x08 IDENTITY   read        four words, of a file that names the build
//   0x18 FRAMES     read/write  of a transfer; 0 after reset
//   0x1C CONTROL    write       bit 0 clears the counters below
//   0x20 CYCLES     read        see transfer_counters
//   0x24 FRAMES_DONE            read
//   0x28 INPUT_STALLS           read
//   0x2C OUTPUT_STALLS          read
//   0x30 LATENCY                read
//   0x34 INTERVAL               read
//
// And where WRITABLE is 1, to replace what is in the memories of matrix-vector units:
//
//   0x38 WEIGHTS    read/write  what the host says is in them; 0 after reset
//   0x3C MEMORY     write       the number of the memory that is written
//   0x40 DATA       write       32 bits of a word, the lowest first
//   0x44 WORD       write       the address that the word is written to
//
// These four take whole words alone. `memory_bus` is {write, shift, number of the memory, data or
// address}, for memory_writer.
//
// Every ready and valid comes from a register. Write address and write data come in any order.
module axi_lite_registers #(
    parameter IDENTITY_FILE = "identity.mem",
    parameter integer OUTPUT_BEATS = 1,   // beats of a frame at the output
    parameter integer WRITABLE = 0        // 1: the host can write memories
) (
    input  wire        clk,
    input  wire        resetn,
    // Words have addresses of four bytes each, and anyone may access them.
    // verilator lint_off UNUSEDSIGNAL
    input  wire [11:0] s_axi_lite_awaddr,
    input  wire [2:0]  s_axi_lite_awprot,
    // verilator lint_on UNUSEDSIGNAL
    input  wire        s_axi_lite_awvalid,
    output wire        s_axi_lite_awready,
    input  wire [31:0] s_axi_lite_wdata,
    input  wire [3:0]  s_axi_lite_wstrb,
    input  wire        s_axi_lite_wvalid,
    output wire        s_axi_lite_wready,
    output wire [1:0]  s_axi_lite_bresp,
    output wire        s_axi_lite_bvalid,
    input  wire        s_axi_lite_bready,
    // As for writes.
    // verilator lint_off UNUSEDSIGNAL
    input  wire [11:0] s_axi_lite_araddr,
    input  wire [2:0]  s_axi_lite_arprot,
    // verilator lint_on UNUSEDSIGNAL
    input  wire        s_axi_lite_arvalid,
    output wire        s_axi_lite_arready,
    output wire [31:0] s_axi_lite_rdata,
    output wire [1:0]  s_axi_lite_rresp,
    output wire        s_axi_lite_rvalid,
    input  wire        s_axi_lite_rready,
    // The accelerator's ports, which are only watched.
    input  wire        s_axis_tvalid,
    input  wire        s_axis_tready,
    input  wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    input  wire        m_axis_tlast,
    output wire [31:0] frames,
    output wire [49:0] memory_bus
);
  localparam [31:0] MAGIC = 32'h4E475747;
  localparam [31:0] VERSION = 32'd2;
  (* rom_style = "distributed" *) reg [31:0] identity[0:3];
  initial $readmemh(IDENTITY_FILE, identity);

  // Writes: address and data are held until both are there and the last response is taken.
  reg address_held, data_held, answer;
  reg to_frames, to_control;  // what the held address means
  reg [31:0] data;
  reg [3:0] strobes;
  reg [31:0] frames_now;
  wire write = address_held & data_held & ~answer;
  wire clear = write & to_control & strobes[0] & data[0];
  assign s_axi_lite_awready = ~address_held;
  assign s_axi_lite_wready = ~data_held;
  assign s_axi_lite_bvalid = answer;
  assign s_axi_lite_bresp = 2'b00;
  assign frames = frames_now;
  integer i;
  always_ff @(posedge clk) begin
    if (!resetn) begin
      address_held <= 1'b0;
      data_held <= 1'b0;
      answer <= 1'b0;
      frames_now <= '0;
    end else begin
      address_held <= ~write & (address_held | s_axi_lite_awvalid);
      data_held <= ~write & (data_held | s_axi_lite_wvalid);
      answer <= write | (answer & ~s_axi_lite_bready);
      for (i = 0; i < 4; i = i + 1)
        if (write & to_frames & strobes[i]) frames_now[i*8+:8] <= data[i*8+:8];
    end
  end
  always_ff @(posedge clk) begin
    if (~address_held) begin
      to_frames <= s_axi_lite_awaddr[11:2] == 10'h06;
      to_control <= s_axi_lite_awaddr[11:2] == 10'h07;
    end
    if (~data_held) begin
      data <= s_axi_lite_wdata;
      strobes <= s_axi_lite_wstrb;
    end
  end

  wire [31:0] weights;
  generate
    if (WRITABLE != 0) begin : memories
      reg to_weights, to_memory, to_data, to_word;
      reg [31:0] weights_now, bus_data;
      reg [15:0] number;
      reg bus_shift, bus_write;
      wire whole = write & (&strobes);
      assign weights = weights_now;
      assign memory_bus = {bus_write, bus_shift, number, bus_data};
      always_ff @(posedge clk) begin
        if (~address_held) begin
          to_weights <= s_axi_lite_awaddr[11:2] == 10'h0e;
          to_memory <= s_axi_lite_awaddr[11:2] == 10'h0f;
          to_data <= s_axi_lite_awaddr[11:2] == 10'h10;
          to_word <= s_axi_lite_awaddr[11:2] == 10'h11;
        end
        bus_data <= data;
        if (whole & to_memory) number <= data[15:0];
      end
      always_ff @(posedge clk) begin
        if (!resetn) begin
          weights_now <= '0;
          bus_shift <= 1'b0;
          bus_write <= 1'b0;
        end else begin
          if (whole & to_weights) weights_now <= data;
          bus_shift <= whole & to_data;
          bus_write <= whole & to_word;
        end
      end
    end else begin : no_memories
      assign weights = '0;
      assign memory_bus = '0;
    end
  endgenerate

  // Reads: one at a time.
  wire [31:0] cycles, frames_done, input_stalls, output_stalls, latency, interval;
  reg [31:0] found;
  reg [31:0] read_data;
  reg read_valid;
  assign s_axi_lite_arready = ~read_valid;
  assign s_axi_lite_rdata = read_data;
  assign s_axi_lite_rvalid = read_valid;
  assign s_axi_lite_rresp = 2'b00;
  always_comb begin
    case (s_axi_lite_araddr[11:2])
      10'h00: found = MAGIC;
      10'h01: found = VERSION;
      10'h02: found = identity[0];
      10'h03: found = identity[1];
      10'h04: found = identity[2];
      10'h05: found = identity[3];
      10'h06: found = frames_now;
      10'h08: found = cycles;
      10'h09: found = frames_done;
      10'h0a: found = input_stalls;
      10'h0b: found = output_stalls;
      10'h0c: found = latency;
      10'h0d: found = interval;
      10'h0e: found = weights;
      default: found = 32'h0;
    endcase
  end
  always_ff @(posedge clk) if (~read_valid) read_data <= found;
  always_ff @(posedge clk) begin
    if (!resetn) read_valid <= 1'b0;
    else read_valid <= read_valid ? ~s_axi_lite_rready : s_axi_lite_arvalid;
  end

  transfer_counters #(.OUTPUT_BEATS(OUTPUT_BEATS)) counters (
      .clk(clk), .resetn(resetn), .clear(clear),
      .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
      .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_axis_tlast),
      .cycles(cycles), .frames_done(frames_done), .input_stalls(input_stalls),
      .output_stalls(output_stalls), .latency(latency), .interval(interval)
  );
endmodule
