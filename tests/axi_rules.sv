// Rules of AXI4-Stream and AXI4-Lite that the accelerator has to keep as the side that answers:
// a valid stays, with what it says, until it is taken; a response comes after what it answers, one
// for each. Looked at in every cycle out of reset. Bench below: random traffic on all channels.
module axi_rules #(
    parameter integer BITS = 64
) (
    input wire            clk,
    input wire            resetn,
    input wire [BITS-1:0] m_axis_tdata,
    input wire            m_axis_tvalid,
    input wire            m_axis_tready,
    input wire            m_axis_tlast,
    input wire            awvalid, awready, wvalid, wready, bvalid, bready,
    input wire            arvalid, arready, rvalid, rready,
    input wire [1:0]      bresp, rresp,
    input wire [31:0]     rdata
);
  integer addresses, datas, answers, reads, data_back;
  always @(posedge clk) begin
    if (!resetn) begin
      {addresses, datas, answers, reads, data_back} <= '0;
    end else begin
      addresses <= addresses + 32'(awvalid & awready);
      datas <= datas + 32'(wvalid & wready);
      answers <= answers + 32'(bvalid & bready);
      reads <= reads + 32'(arvalid & arready);
      data_back <= data_back + 32'(rvalid & rready);
    end
  end
  stream_stays: assert property (@(posedge clk) disable iff (!resetn)
      m_axis_tvalid & ~m_axis_tready |=>
      m_axis_tvalid & $stable(m_axis_tdata) & $stable(m_axis_tlast));
  write_answer_stays: assert property (@(posedge clk) disable iff (!resetn)
      bvalid & ~bready |=> bvalid & $stable(bresp));
  read_data_stays: assert property (@(posedge clk) disable iff (!resetn)
      rvalid & ~rready |=> rvalid & $stable(rresp) & $stable(rdata));
  write_answer_has_cause: assert property (@(posedge clk) disable iff (!resetn)
      bvalid |-> answers < addresses && answers < datas);
  read_data_has_cause: assert property (@(posedge clk) disable iff (!resetn)
      rvalid |-> data_back < reads);
  answers_say_okay: assert property (@(posedge clk) disable iff (!resetn)
      (~bvalid | bresp == 0) & (~rvalid | rresp == 0));
endmodule

// Random streams and random accesses to the accelerator at once, for CYCLES cycles; then both rest,
// and every access has its answer. FRAMES is set before the first beat and written again and again.
module axi_bench;
  localparam integer BITS = 64, CYCLES = 20000;
  reg clk = 0, resetn = 0;
  always #1 clk = ~clk;
  reg [BITS-1:0] s_axis_tdata = 0;
  reg s_axis_tvalid = 0, m_axis_tready = 0;
  wire s_axis_tready, m_axis_tvalid, m_axis_tlast;
  wire [BITS-1:0] m_axis_tdata;
  reg [11:0] awaddr = 0, araddr = 0;
  reg [31:0] wdata = 0;
  reg awvalid = 0, wvalid = 0, bready = 0, arvalid = 0, rready = 0;
  wire awready, wready, bvalid, arready, rvalid;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata;

  accelerator dut (
      .clk(clk), .resetn(resetn),
      .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
      .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
      .m_axis_tlast(m_axis_tlast),
      .s_axi_lite_awaddr(awaddr), .s_axi_lite_awprot(3'd0), .s_axi_lite_awvalid(awvalid),
      .s_axi_lite_awready(awready), .s_axi_lite_wdata(wdata), .s_axi_lite_wstrb(4'hf),
      .s_axi_lite_wvalid(wvalid), .s_axi_lite_wready(wready), .s_axi_lite_bresp(bresp),
      .s_axi_lite_bvalid(bvalid), .s_axi_lite_bready(bready), .s_axi_lite_araddr(araddr),
      .s_axi_lite_arprot(3'd0), .s_axi_lite_arvalid(arvalid), .s_axi_lite_arready(arready),
      .s_axi_lite_rdata(rdata), .s_axi_lite_rresp(rresp), .s_axi_lite_rvalid(rvalid),
      .s_axi_lite_rready(rready)
  );
  axi_rules #(.BITS(BITS)) rules (.*);

  integer frames = 0, beats = 0, i;
  always @(posedge clk) if (resetn) begin
    beats <= beats + 32'(m_axis_tvalid & m_axis_tready);
    frames <= frames + 32'(m_axis_tvalid & m_axis_tready & m_axis_tlast);
  end

  // Driven on the falling edge, so that no order of processes matters: what the last rising edge took.
  reg s_taken = 0, aw_taken = 0, w_taken = 0, ar_taken = 0;
  always @(posedge clk) begin
    s_taken <= s_axis_tvalid & s_axis_tready;
    aw_taken <= awvalid & awready;
    w_taken <= wvalid & wready;
    ar_taken <= arvalid & arready;
  end

  // What a channel's side does next: keeps a valid that was not taken, else draws anew.
  task automatic drive(input logic active);
    if (~s_axis_tvalid | s_taken) begin
      s_axis_tvalid <= active & ($urandom_range(3) != 0);
      s_axis_tdata <= {$urandom, $urandom};
    end
    m_axis_tready <= ~active | ($urandom_range(1) != 0);
    if (~awvalid | aw_taken) begin
      awvalid <= active & ($urandom_range(7) == 0) & (rules.addresses <= rules.datas);
      awaddr <= $urandom_range(1) != 0 ? 12'h018 : 12'h01c;
    end
    if (~wvalid | w_taken) begin
      wvalid <= active & ($urandom_range(7) == 0) & (rules.datas <= rules.addresses);
      wdata <= 32'd1;
    end
    if (~arvalid | ar_taken) begin
      arvalid <= active & ($urandom_range(3) == 0);
      araddr <= 12'($urandom_range(15)) << 2;
    end
    bready <= ~active | ($urandom_range(3) == 0);
    rready <= ~active | ($urandom_range(3) == 0);
  endtask

  initial begin
    repeat (4) @(negedge clk);
    resetn <= 1;
    for (i = 0; i < CYCLES; i = i + 1) @(negedge clk) drive(1);
    // an address or its data alone waits for the other
    for (i = 0; i < CYCLES / 4; i = i + 1) @(negedge clk) begin
      drive(0);
      if (rules.addresses < rules.datas && (~awvalid | aw_taken)) awvalid <= 1;
      if (rules.datas < rules.addresses && (~wvalid | w_taken)) wvalid <= 1;
    end
    $display("beats %0d frames %0d writes %0d reads %0d unanswered %0d", beats, frames,
             rules.answers, rules.data_back,
             (rules.addresses - rules.answers) + (rules.reads - rules.data_back));
    $finish;
  end
endmodule
