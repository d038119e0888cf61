// An accelerator on a board that has nothing but a clock and a UART. A break on the line resets all
// of it but the receiver.
module uart_accelerator #(
    parameter integer DIVIDER = 25  // cycles of a bit on the line, 4 or more
) (
    input  wire clk,
    input  wire rx,
    output wire tx
);
  wire powered, line_break;
  reg resetn;
  power_on_reset power (.clk(clk), .resetn(powered));
  always_ff @(posedge clk) resetn <= powered & ~line_break;

  wire [7:0] rx_data, tx_tdata;
  wire rx_valid, tx_tvalid, tx_tready;
  uart_rx #(
      .DIVIDER(DIVIDER)
  ) receiver (
      .clk(clk), .resetn(powered), .rx(rx),
      .data(rx_data), .valid(rx_valid), .line_break(line_break)
  );
  uart_tx #(
      .DIVIDER(DIVIDER)
  ) sender (
      .clk(clk), .resetn(resetn),
      .s_axis_tdata(tx_tdata), .s_axis_tvalid(tx_tvalid), .s_axis_tready(tx_tready), .tx(tx)
  );

  wire [63:0] input_tdata, output_tdata;
  wire input_tvalid, input_tready, output_tvalid, output_tready;
  wire [11:0] awaddr, araddr;
  wire [31:0] wdata, rdata;
  wire awvalid, awready, wvalid, wready, bvalid, bready, arvalid, arready, rvalid, rready;
  // The host counts the beats; all accesses answer OKAY.
  // verilator lint_off UNUSEDSIGNAL
  wire output_tlast;
  wire [1:0] bresp, rresp;
  // verilator lint_on UNUSEDSIGNAL
  uart_bridge bridge (
      .clk(clk), .resetn(resetn),
      .rx_data(rx_data), .rx_valid(rx_valid),
      .tx_tdata(tx_tdata), .tx_tvalid(tx_tvalid), .tx_tready(tx_tready),
      .m_axis_tdata(input_tdata), .m_axis_tvalid(input_tvalid), .m_axis_tready(input_tready),
      .s_axis_tdata(output_tdata), .s_axis_tvalid(output_tvalid), .s_axis_tready(output_tready),
      .m_axi_lite_awaddr(awaddr), .m_axi_lite_awvalid(awvalid), .m_axi_lite_awready(awready),
      .m_axi_lite_wdata(wdata), .m_axi_lite_wvalid(wvalid), .m_axi_lite_wready(wready),
      .m_axi_lite_bvalid(bvalid), .m_axi_lite_bready(bready),
      .m_axi_lite_araddr(araddr), .m_axi_lite_arvalid(arvalid), .m_axi_lite_arready(arready),
      .m_axi_lite_rdata(rdata), .m_axi_lite_rvalid(rvalid), .m_axi_lite_rready(rready)
  );
  accelerator core (
      .clk(clk), .resetn(resetn),
      .s_axis_tdata(input_tdata), .s_axis_tvalid(input_tvalid), .s_axis_tready(input_tready),
      .m_axis_tdata(output_tdata), .m_axis_tvalid(output_tvalid), .m_axis_tready(output_tready),
      .m_axis_tlast(output_tlast),
      .s_axi_lite_awaddr(awaddr), .s_axi_lite_awprot(3'd0), .s_axi_lite_awvalid(awvalid),
      .s_axi_lite_awready(awready), .s_axi_lite_wdata(wdata), .s_axi_lite_wstrb(4'hf),
      .s_axi_lite_wvalid(wvalid), .s_axi_lite_wready(wready), .s_axi_lite_bresp(bresp),
      .s_axi_lite_bvalid(bvalid), .s_axi_lite_bready(bready),
      .s_axi_lite_araddr(araddr), .s_axi_lite_arprot(3'd0), .s_axi_lite_arvalid(arvalid),
      .s_axi_lite_arready(arready), .s_axi_lite_rdata(rdata), .s_axi_lite_rresp(rresp),
      .s_axi_lite_rvalid(rvalid), .s_axi_lite_rready(rready)
  );
endmodule
