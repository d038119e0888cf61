// One plane of partial products: for each of N lanes the bit that weight x activation adds to the
// column PLANE of the dot product. A product is negated by inverting its bits; the +1s and the
// columns of negative weight leave a constant per output, which the accumulator starts with.
//
//   WEIGHT_KIND  weights            planes of w (plane-major, N bits each)
//   0 binary     {-1, +1}           positive
//   1 ternary    {-1, 0, +1}        nonzero, negative
//   2 quinary    {-2 .. +2}         one, two, negative
//   3 integer    two's complement   WEIGHT_BITS planes, least significant first
//
// ACT_KIND 0: unsigned, 1: two's complement, 2: bipolar (1 bit, 1 for +1). A bipolar activation
// counts twice its bit: the caller shifts, and the constant carries the rest.
module partial_products #(
    parameter integer N = 8,            // lanes, 1 or more
    parameter integer WEIGHT_KIND = 0,  // 0 to 3
    parameter integer WEIGHT_BITS = 1,  // planes of w, 1 to 8
    parameter integer ACT_KIND = 2,     // 0 to 2
    parameter integer ACT_BITS = 1,     // planes of a, 1 to 8
    parameter integer PLANE = 0         // which plane of products
) (
    // All planes, of which a plane of products reads its own.
    // verilator lint_off UNUSEDSIGNAL
    input  wire [N*ACT_BITS-1:0]    a,
    input  wire [N*WEIGHT_BITS-1:0] w,
    // verilator lint_on UNUSEDSIGNAL
    output wire [N-1:0]             products
);
  generate
    if (WEIGHT_KIND == 0) begin : binary
      localparam integer NEGATIVE_COLUMN = (ACT_KIND == 1 && PLANE == ACT_BITS - 1) ? 1 : 0;
      if (NEGATIVE_COLUMN != 0) begin : top
        assign products = a[PLANE*N+:N] ^ w;
      end else begin : plain
        assign products = ~(a[PLANE*N+:N] ^ w);
      end
    end else if (WEIGHT_KIND == 1) begin : ternary
      localparam integer NEGATIVE_COLUMN = (ACT_KIND == 1 && PLANE == ACT_BITS - 1) ? 1 : 0;
      wire [N-1:0] nonzero = w[0+:N];
      wire [N-1:0] negative = w[N+:N];
      if (NEGATIVE_COLUMN != 0) begin : top
        assign products = nonzero & ~(a[PLANE*N+:N] ^ negative);
      end else begin : plain
        assign products = nonzero & (a[PLANE*N+:N] ^ negative);
      end
    end else if (WEIGHT_KIND == 2) begin : quinary
      wire [N-1:0] one = w[0+:N];
      wire [N-1:0] two = w[N+:N];
      wire [N-1:0] negative = w[2*N+:N];
      if (ACT_KIND == 2) begin : bipolar
        wire [N-1:0] agree = a ^ negative;
        if (PLANE == 0) begin : ones
          assign products = one & agree;
        end else begin : twos
          assign products = two & agree;
        end
      end else begin : binary_shift
        // |w| * a has ACT_BITS + 1 bits: bit PLANE comes from a as it is, or from a shifted by one
        wire [N-1:0] straight;
        wire [N-1:0] shifted;
        if (PLANE < ACT_BITS) begin : in_range
          assign straight = a[PLANE*N+:N];
        end else if (ACT_KIND == 1) begin : sign_extended
          assign straight = a[(ACT_BITS-1)*N+:N];
        end else begin : zero_extended
          assign straight = {N{1'b0}};
        end
        if (PLANE > 0) begin : upper
          assign shifted = a[(PLANE-1)*N+:N];
        end else begin : lowest
          assign shifted = {N{1'b0}};
        end
        wire [N-1:0] magnitude = (one & straight) | (two & shifted);
        if (ACT_KIND == 1 && PLANE == ACT_BITS) begin : top
          assign products = ~(magnitude ^ negative);
        end else begin : plain
          assign products = magnitude ^ negative;
        end
      end
    end else begin : integers
      localparam integer K = PLANE / ACT_BITS;  // bit of the weight
      localparam integer J = PLANE % ACT_BITS;  // bit of the activation
      localparam integer WEIGHT_TOP = (K == WEIGHT_BITS - 1) ? 1 : 0;
      localparam integer ACT_TOP = (ACT_KIND == 1 && J == ACT_BITS - 1) ? 1 : 0;
      if (WEIGHT_TOP != ACT_TOP) begin : top
        assign products = ~(w[K*N+:N] & a[J*N+:N]);
      end else begin : plain
        assign products = w[K*N+:N] & a[J*N+:N];
      end
    end
  endgenerate
endmodule
