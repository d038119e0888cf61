// Partial products of up to three lanes, counted at once: a function of at most six inputs for
// binary and integer planes (three lanes) and for ternary planes (two lanes), so that forming the
// products costs no logic of its own.
module product_counter #(
    parameter integer N = 3,            // lanes, 1 to 3
    parameter integer WEIGHT_KIND = 0,
    parameter integer WEIGHT_BITS = 1,
    parameter integer ACT_KIND = 2,
    parameter integer ACT_BITS = 1,
    parameter integer PLANE = 0
) (
    input  wire [N*ACT_BITS-1:0]    a,
    input  wire [N*WEIGHT_BITS-1:0] w,
    output wire [1:0]               count
);
  wire [N-1:0] products;
  wire [2:0] padded;
  partial_products #(
      .N(N), .WEIGHT_KIND(WEIGHT_KIND), .WEIGHT_BITS(WEIGHT_BITS),
      .ACT_KIND(ACT_KIND), .ACT_BITS(ACT_BITS), .PLANE(PLANE)
  ) plane (.a(a), .w(w), .products(products));
  assign padded = 3'(products);
  assign count[0] = ^padded;
  assign count[1] = (padded[0] & padded[1]) | (padded[0] & padded[2]) | (padded[1] & padded[2]);
endmodule
