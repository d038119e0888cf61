// A stand-in for an accelerator: each beat comes back COPIES times, the copy's number added to it.
// Beats are taken at random cycles; the registers are the real ones.
module accelerator #(
    parameter integer COPIES = 3
) (
    input  wire        clk,
    input  wire        resetn,
    input  wire [63:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    output wire [63:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,
    input  wire [11:0] s_axi_lite_awaddr,
    input  wire [2:0]  s_axi_lite_awprot,
    input  wire        s_axi_lite_awvalid,
    output wire        s_axi_lite_awready,
    input  wire [31:0] s_axi_lite_wdata,
    input  wire [3:0]  s_axi_lite_wstrb,
    input  wire        s_axi_lite_wvalid,
    output wire        s_axi_lite_wready,
    output wire [1:0]  s_axi_lite_bresp,
    output wire        s_axi_lite_bvalid,
    input  wire        s_axi_lite_bready,
    input  wire [11:0] s_axi_lite_araddr,
    input  wire [2:0]  s_axi_lite_arprot,
    input  wire        s_axi_lite_arvalid,
    output wire        s_axi_lite_arready,
    output wire [31:0] s_axi_lite_rdata,
    output wire [1:0]  s_axi_lite_rresp,
    output wire        s_axi_lite_rvalid,
    input  wire        s_axi_lite_rready
);
  reg [15:0] random;
  reg [7:0] copy;
  reg [63:0] beat;
  reg full;
  wire leaves = m_axis_tvalid & m_axis_tready;
  assign s_axis_tready = ~full & (random[2:0] == 3'd0);
  assign m_axis_tvalid = full;
  assign m_axis_tdata = beat + 64'(copy);
  wire [31:0] frames;
  transfer_end #(.BEATS(COPIES)) transfer (
      .clk(clk), .resetn(resetn), .frames(frames),
      .tvalid(m_axis_tvalid), .tready(m_axis_tready), .tlast(m_axis_tlast)
  );
  always_ff @(posedge clk) begin
    random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
    if (s_axis_tvalid & s_axis_tready) begin
      beat <= s_axis_tdata;
      copy <= 8'd0;
      full <= 1'b1;
    end
    if (leaves) begin
      copy <= copy + 8'd1;
      full <= 32'(copy) != COPIES - 1;
    end
    if (!resetn) begin
      full <= 1'b0;
      random <= 16'd1;
    end
  end
  // verilator lint_off UNUSEDSIGNAL
  wire [49:0] memory_bus;
  // verilator lint_on UNUSEDSIGNAL
  axi_lite_registers #(
      .IDENTITY_FILE("identity.mem"), .OUTPUT_BEATS(COPIES)
  ) registers (
      .clk(clk), .resetn(resetn), .frames(frames), .memory_bus(memory_bus),
      .s_axi_lite_awaddr(s_axi_lite_awaddr), .s_axi_lite_awprot(s_axi_lite_awprot),
      .s_axi_lite_awvalid(s_axi_lite_awvalid), .s_axi_lite_awready(s_axi_lite_awready),
      .s_axi_lite_wdata(s_axi_lite_wdata), .s_axi_lite_wstrb(s_axi_lite_wstrb),
      .s_axi_lite_wvalid(s_axi_lite_wvalid), .s_axi_lite_wready(s_axi_lite_wready),
      .s_axi_lite_bresp(s_axi_lite_bresp), .s_axi_lite_bvalid(s_axi_lite_bvalid),
      .s_axi_lite_bready(s_axi_lite_bready), .s_axi_lite_araddr(s_axi_lite_araddr),
      .s_axi_lite_arprot(s_axi_lite_arprot), .s_axi_lite_arvalid(s_axi_lite_arvalid),
      .s_axi_lite_arready(s_axi_lite_arready), .s_axi_lite_rdata(s_axi_lite_rdata),
      .s_axi_lite_rresp(s_axi_lite_rresp), .s_axi_lite_rvalid(s_axi_lite_rvalid),
      .s_axi_lite_rready(s_axi_lite_rready),
      .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
      .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_axis_tlast)
  );
endmodule
