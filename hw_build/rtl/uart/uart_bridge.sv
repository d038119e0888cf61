// Bytes of a UART to an accelerator's streams and registers, and back. A UART can't be held back:
// so the host sends one request at a time, none larger than what fits here, and awaits its reply.
//
//   request                                   reply
//   "W", offset, four bytes of data           "w"                      once it is written
//   "R", offset                               "r", four bytes of data
//   "D", N, N beats of eight bytes            "d"                      once all are taken
//   anything else, or N not from 1 to 16      "?"
//
// Whenever the accelerator has an output beat, "o" and its eight bytes are sent, between replies.
// Offsets are the registers', in bytes; numbers go lowest byte first. Bytes that come before the
// reply was sent are lost.
module uart_bridge (
    input  wire        clk,
    input  wire        resetn,
    input  wire [7:0]  rx_data,
    input  wire        rx_valid,
    output wire [7:0]  tx_tdata,
    output wire        tx_tvalid,
    input  wire        tx_tready,
    output wire [63:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    input  wire [63:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    output wire [11:0] m_axi_lite_awaddr,
    output reg         m_axi_lite_awvalid,
    input  wire        m_axi_lite_awready,
    output wire [31:0] m_axi_lite_wdata,
    output reg         m_axi_lite_wvalid,
    input  wire        m_axi_lite_wready,
    input  wire        m_axi_lite_bvalid,
    output wire        m_axi_lite_bready,
    output wire [11:0] m_axi_lite_araddr,
    output reg         m_axi_lite_arvalid,
    input  wire        m_axi_lite_arready,
    input  wire [31:0] m_axi_lite_rdata,
    input  wire        m_axi_lite_rvalid,
    output wire        m_axi_lite_rready
);
  localparam integer BEATS = 16;  // of a request
  localparam [7:0] WRITE = "W", READ = "R", DATA = "D";
  localparam [2:0] REQUEST = 3'd0, ARGUMENT = 3'd1, BYTES = 3'd2, WORK = 3'd3, REPLY = 3'd4;

  reg [2:0] state;
  reg [7:0] request;
  reg [7:0] argument;    // offset or number of beats
  reg [7:0] bytes_left;  // of the request
  reg [31:0] word;       // written or read
  reg understood;
  wire last_byte = rx_valid & (bytes_left == 8'd1);
  wire all_taken;
  wire reply_leaves;
  wire known = (rx_data == WRITE) | (rx_data == READ) | (rx_data == DATA);
  wire fits = (rx_data != 8'd0) & (rx_data <= 8'(BEATS));
  wire refused = (request == DATA) & ~fits;
  wire done = (request == WRITE) ? m_axi_lite_bvalid :
              (request == READ) ? m_axi_lite_rvalid : all_taken;
  always_ff @(posedge clk) begin
    if (!resetn) state <= REQUEST;
    else
      case (state)
        REQUEST: if (rx_valid) state <= known ? ARGUMENT : REPLY;
        ARGUMENT:
        if (rx_valid) state <= refused ? REPLY : (request == READ) ? WORK : BYTES;
        BYTES: if (last_byte) state <= WORK;
        WORK: if (done) state <= REPLY;
        default: if (reply_leaves) state <= REQUEST;
      endcase
  end
  always_ff @(posedge clk) begin
    if (rx_valid & (state == REQUEST)) begin
      request <= rx_data;
      understood <= known;
    end
    if (rx_valid & (state == ARGUMENT)) begin
      argument <= rx_data;
      understood <= ~refused;
      bytes_left <= (request == DATA) ? {rx_data[4:0], 3'd0} : 8'd4;
    end
    if (rx_valid & (state == BYTES)) begin
      bytes_left <= bytes_left - 8'd1;
      word <= {rx_data, word[31:8]};
    end
    if (m_axi_lite_rvalid) word <= m_axi_lite_rdata;
  end

  // Registers: the request is issued as its last byte comes in.
  wire write = (state == BYTES) & last_byte & (request == WRITE);
  wire read = (state == ARGUMENT) & rx_valid & (request == READ);
  always_ff @(posedge clk) begin
    if (!resetn) begin
      m_axi_lite_awvalid <= 1'b0;
      m_axi_lite_wvalid <= 1'b0;
      m_axi_lite_arvalid <= 1'b0;
    end else begin
      m_axi_lite_awvalid <= write | (m_axi_lite_awvalid & ~m_axi_lite_awready);
      m_axi_lite_wvalid <= write | (m_axi_lite_wvalid & ~m_axi_lite_wready);
      m_axi_lite_arvalid <= read | (m_axi_lite_arvalid & ~m_axi_lite_arready);
    end
  end
  assign m_axi_lite_awaddr = {4'd0, argument};
  assign m_axi_lite_araddr = {4'd0, argument};
  assign m_axi_lite_wdata = word;
  assign m_axi_lite_bready = 1'b1;
  assign m_axi_lite_rready = 1'b1;

  // Input: the request's beats wait here until the accelerator takes them. There is room for all.
  wire [63:0] joined_tdata;
  wire joined_tvalid, joined_tready;
  // verilator lint_off UNUSEDSIGNAL
  wire byte_tready;
  // verilator lint_on UNUSEDSIGNAL
  lane_joiner #(
      .LANE_BITS(8), .LANES(1), .RATIO(8), .VECTOR(8)
  ) joiner (
      .clk(clk), .resetn(resetn),
      .s_axis_tdata(rx_data), .s_axis_tvalid(rx_valid & (state == BYTES) & (request == DATA)),
      .s_axis_tready(byte_tready),
      .m_axis_tdata(joined_tdata), .m_axis_tvalid(joined_tvalid), .m_axis_tready(joined_tready)
  );
  stream_fifo #(
      .WIDTH(64), .DEPTH(BEATS)
  ) waiting (
      .clk(clk), .resetn(resetn),
      .s_axis_tdata(joined_tdata), .s_axis_tvalid(joined_tvalid), .s_axis_tready(joined_tready),
      .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
  );
  assign all_taken = ~joined_tvalid & ~m_axis_tvalid;

  // Output: one message at a time, a reply before an output beat.
  reg [71:0] message;
  reg [3:0] message_left;  // bytes
  wire free = message_left == 4'd0;
  assign reply_leaves = free & (state == REPLY);
  assign s_axis_tready = free & (state != REPLY);
  assign tx_tdata = message[7:0];
  assign tx_tvalid = ~free;
  wire beat_leaves = s_axis_tvalid & s_axis_tready;
  always_ff @(posedge clk) begin
    if (reply_leaves) message <= {32'd0, word, understood ? (request | 8'h20) : "?"};
    else if (beat_leaves) message <= {s_axis_tdata, "o"};
    else if (tx_tready) message <= {8'd0, message[71:8]};
  end
  always_ff @(posedge clk) begin
    if (!resetn) message_left <= 4'd0;
    else if (reply_leaves) message_left <= (understood & (request == READ)) ? 4'd5 : 4'd1;
    else if (beat_leaves) message_left <= 4'd9;
    else if (tx_tvalid & tx_tready) message_left <= message_left - 4'd1;
  end
endmodule
