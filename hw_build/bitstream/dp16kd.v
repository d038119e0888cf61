// A block RAM of the ECP5 for simulation, in the ways in which Yosys uses it here: no output
// registers, no reset. 1024 words of 18 bits. A port of 36 bits takes two words, the even one in
// its lower half; a narrow one takes a part of a word. Addresses count bits, 16 in a word.
`define INITIAL(n) parameter [319:0] INITVAL_``n = 320'd0
`define INITIALS(n) \
    `INITIAL(n``0), `INITIAL(n``1), `INITIAL(n``2), `INITIAL(n``3), \
    `INITIAL(n``4), `INITIAL(n``5), `INITIAL(n``6), `INITIAL(n``7), \
    `INITIAL(n``8), `INITIAL(n``9), `INITIAL(n``A), `INITIAL(n``B), \
    `INITIAL(n``C), `INITIAL(n``D), `INITIAL(n``E), `INITIAL(n``F)
`define WORDS(n) \
    INITVAL_``n``F, INITVAL_``n``E, INITVAL_``n``D, INITVAL_``n``C, \
    INITVAL_``n``B, INITVAL_``n``A, INITVAL_``n``9, INITVAL_``n``8, \
    INITVAL_``n``7, INITVAL_``n``6, INITVAL_``n``5, INITVAL_``n``4, \
    INITVAL_``n``3, INITVAL_``n``2, INITVAL_``n``1, INITVAL_``n``0
`define BITS_14(n) n``13, n``12, n``11, n``10, n``9, n``8, n``7, n``6, n``5, n``4, n``3, n``2, n``1, n``0
`define BITS_18(n) n``17, n``16, n``15, n``14, `BITS_14(n)

module DP16KD #(
    parameter integer DATA_WIDTH_A = 18,
    parameter integer DATA_WIDTH_B = 18,
    parameter WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL",
    parameter REGMODE_A = "NOREG",
    parameter REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC",
    parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CSDECODE_A = "0b000",
    parameter CSDECODE_B = "0b000",
    parameter CLKAMUX = "CLKA",
    parameter CLKBMUX = "CLKB",
    parameter GSR = "AUTO",
    `INITIALS(0), `INITIALS(1), `INITIALS(2), `INITIALS(3)
) (
    input CLKA, CEA, OCEA, WEA, RSTA, CSA2, CSA1, CSA0,
    input CLKB, CEB, OCEB, WEB, RSTB, CSB2, CSB1, CSB0,
    input `BITS_14(ADA), `BITS_14(ADB), `BITS_18(DIA), `BITS_18(DIB),
    output `BITS_18(DOA), `BITS_18(DOB)
);
  localparam [64*320-1:0] CONTENT = {`WORDS(3), `WORDS(2), `WORDS(1), `WORDS(0)};
  reg [17:0] memory[0:1023];
  integer i;
  initial for (i = 0; i < 1024; i = i + 1) memory[i] = CONTENT[20*i+:18];

  // Where a part of a word begins.
  function [4:0] offset(input integer width, input [3:0] address);
    case (width)
      9: offset = address[3] ? 5'd9 : 5'd0;
      // the ninth bit of a byte is left out
      4: offset = {1'b0, address[3:2], 2'd0} + {4'd0, address[3]};
      2: offset = {1'b0, address[3:1], 1'd0} + {4'd0, address[3]};
      1: offset = {1'b0, address} + {4'd0, address[3]};
      default: offset = 5'd0;
    endcase
  endfunction
  function [17:0] mask(input integer width, input [3:0] address);
    case (width)
      9: mask = 18'h1ff;
      4: mask = 18'hf;
      2: mask = 18'h3;
      1: mask = 18'h1;
      default: mask = {{9{address[1]}}, {9{address[0]}}};  // a bit for each byte that is written
    endcase
  endfunction

  wire [13:0] address_a = {`BITS_14(ADA)};
  wire [13:0] address_b = {`BITS_14(ADB)};
  wire [35:0] data = {`BITS_18(DIB), `BITS_18(DIA)};
  wire [9:0] word_a = (DATA_WIDTH_A == 36) ? {address_a[13:5], 1'b0} : address_a[13:4];
  wire [9:0] word_b = (DATA_WIDTH_B == 36) ? {address_b[13:5], 1'b0} : address_b[13:4];
  wire [4:0] offset_a = offset(DATA_WIDTH_A, address_a[3:0]);
  wire [4:0] offset_b = offset(DATA_WIDTH_B, address_b[3:0]);
  wire [17:0] mask_a = mask(DATA_WIDTH_A, address_a[3:0]);
  wire [17:0] mask_b = mask(DATA_WIDTH_B, address_b[3:0]);
  reg [17:0] out_a, out_b, upper;
  always @(posedge CLKA) begin
    if (CEA & WEA)
      memory[word_a] <= (memory[word_a] & ~(mask_a << offset_a))
                      | ((data[17:0] & mask_a) << offset_a);
    if (CEA & WEA & DATA_WIDTH_A == 36)
      memory[word_a | 10'd1] <= (memory[word_a | 10'd1] & ~mask(18, address_a[3:2]))
                              | (data[35:18] & mask(18, address_a[3:2]));
    if (CEA & ~WEA) out_a <= memory[word_a] >> offset_a;
  end
  always @(posedge CLKB) begin
    if (CEB & WEB)
      memory[word_b] <= (memory[word_b] & ~(mask_b << offset_b))
                      | ((data[35:18] & mask_b) << offset_b);
    if (CEB & ~WEB) out_b <= memory[word_b] >> offset_b;
    if (CEB & ~WEB) upper <= memory[word_b | 10'd1];
  end
  assign {`BITS_18(DOA)} = (DATA_WIDTH_B == 36) ? out_b : out_a;
  assign {`BITS_18(DOB)} = (DATA_WIDTH_B == 36) ? upper : out_b;
endmodule
