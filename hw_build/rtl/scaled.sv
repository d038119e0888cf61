// y = MULTIPLIER * x modulo 2^OUT_BITS, for a constant: additions of shifted copies of x.
module scaled #(
    parameter integer BITS = 4,
    parameter integer KIND = 1,        // 0 unsigned, 1 two's complement, 2 bipolar (1 bit)
    parameter integer MULTIPLIER = 1,  // 1 or more
    parameter integer OUT_BITS = 5
) (
    input  wire [BITS-1:0]     x,
    output wire [OUT_BITS-1:0] y
);
  generate
    if (KIND == 2) begin : bipolar
      assign y = x[0] ? OUT_BITS'(MULTIPLIER) : OUT_BITS'(-MULTIPLIER);
    end else if (KIND == 1) begin : signed_integer
      assign y = OUT_BITS'(MULTIPLIER) * OUT_BITS'($signed(x));
    end else begin : unsigned_integer
      assign y = OUT_BITS'(MULTIPLIER) * OUT_BITS'(x);
    end
  endgenerate
endmodule
