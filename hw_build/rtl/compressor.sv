// Number of ones among up to six bits. Three functions of the same inputs, one LUT6 each: written
// in gates, since an addition would be mapped to carry chains.
module compressor #(
    parameter integer N = 6       // 3 to 6
) (
    input  wire [N-1:0] x,
    output wire [2:0]   count
);
  wire [5:0] b = 6'(x);
  wire low0 = b[0] ^ b[1] ^ b[2];
  wire high0 = (b[0] & b[1]) | (b[0] & b[2]) | (b[1] & b[2]);
  wire low1 = b[3] ^ b[4] ^ b[5];
  wire high1 = (b[3] & b[4]) | (b[3] & b[5]) | (b[4] & b[5]);
  wire carry = low0 & low1;
  assign count[0] = low0 ^ low1;
  assign count[1] = high0 ^ high1 ^ carry;
  assign count[2] = (high0 & high1) | (high0 & carry) | (high1 & carry);
endmodule
