// Three numbers whose sum is 2^SHIFT * (partial products of SIMD lanes, each at its column), modulo
// 2^SUM_BITS. Carry chains add them up faster, and in fewer LUTs, than more compressors would.
//
// The one leaf with two bodies. COMPRESS = 0 counts ones plane by plane, or adds lane by lane where
// that is less, which simulates fast, and leaves all but the first number zero; COMPRESS = 1 is the
// structure for synthesis, `compressed_dot_product`. Their sums are proven equal.
module dot_product #(
    parameter integer SIMD = 8,         // lanes, 1 or more
    parameter integer WEIGHT_KIND = 0,  // see partial_products
    parameter integer WEIGHT_BITS = 1,
    parameter integer ACT_KIND = 2,
    parameter integer ACT_BITS = 1,
    parameter integer SHIFT = 0,        // 0 or 1
    parameter integer SUM_BITS = 8,     // 2 or more
    parameter integer COMPRESS = 1      // 0: behaviour, 1: structure
) (
    input  wire [SIMD*ACT_BITS-1:0]    a,  // plane-major
    input  wire [SIMD*WEIGHT_BITS-1:0] w,  // plane-major
    output wire [SUM_BITS-1:0]         row0,
    output wire [SUM_BITS-1:0]         row1,
    output wire [SUM_BITS-1:0]         row2
);
  generate
    if (COMPRESS != 0) begin : structure
      compressed_dot_product #(
          .SIMD(SIMD), .WEIGHT_KIND(WEIGHT_KIND), .WEIGHT_BITS(WEIGHT_BITS),
          .ACT_KIND(ACT_KIND), .ACT_BITS(ACT_BITS), .SHIFT(SHIFT), .SUM_BITS(SUM_BITS)
      ) body (.a(a), .w(w), .row0(row0), .row1(row1), .row2(row2));
    end else if (WEIGHT_KIND <= 1 && SIMD < ACT_BITS) begin : lanes
      // Few lanes of many bits are fewer numbers than planes.
      localparam [ACT_BITS-1:0] TOP = (ACT_KIND == 1) ? ACT_BITS'(1) << (ACT_BITS - 1) : '0;
      wire [SIMD*ACT_BITS-1:0] values;
      for (genvar i = 0; i < SIMD; i = i + 1) begin : lane
        for (genvar j = 0; j < ACT_BITS; j = j + 1) begin : plane
          assign values[i*ACT_BITS+j] = a[j*SIMD+i];
        end
      end
      reg [SUM_BITS-1:0] total;
      reg [ACT_BITS-1:0] product;
      integer n;
      always_comb begin
        total = '0;
        for (n = 0; n < SIMD; n = n + 1) begin
          product = values[n*ACT_BITS+:ACT_BITS] ^ TOP;
          if (WEIGHT_KIND == 0) product = w[n] ? product : ~product;
          else product = (w[SIMD*(WEIGHT_BITS-1)+n] ? ~product : product) & {ACT_BITS{w[n]}};
          total = total + (SUM_BITS'(product) << SHIFT);
        end
      end
      assign row0 = total;
      assign row1 = '0;
      assign row2 = '0;
    end else begin : behaviour
      localparam integer PLANES = (WEIGHT_KIND <= 1) ? ACT_BITS
                                : (WEIGHT_KIND == 2) ? ACT_BITS + 1
                                : WEIGHT_BITS * ACT_BITS;
      wire [PLANES*SIMD-1:0] products;
      for (genvar p = 0; p < PLANES; p = p + 1) begin : plane
        partial_products #(
            .N(SIMD), .WEIGHT_KIND(WEIGHT_KIND), .WEIGHT_BITS(WEIGHT_BITS),
            .ACT_KIND(ACT_KIND), .ACT_BITS(ACT_BITS), .PLANE(p)
        ) lanes (.a(a), .w(w), .products(products[p*SIMD+:SIMD]));
      end
      reg [SUM_BITS-1:0] total;
      integer n;
      always_comb begin
        total = '0;
        for (n = 0; n < PLANES; n = n + 1)
          total = total + (SUM_BITS'($countones(products[n*SIMD+:SIMD])) << (SHIFT
                  + ((WEIGHT_KIND == 3) ? n / ACT_BITS + n % ACT_BITS : n)));
      end
      assign row0 = total;
      assign row1 = '0;
      assign row2 = '0;
    end
  endgenerate
endmodule
