// The structure for synthesis behind `dot_product`: products merged with their first counters, and
// a heap of compressors.
module compressed_dot_product #(
    parameter integer SIMD = 8,
    parameter integer WEIGHT_KIND = 0,
    parameter integer WEIGHT_BITS = 1,
    parameter integer ACT_KIND = 2,
    parameter integer ACT_BITS = 1,
    parameter integer SHIFT = 0,
    parameter integer SUM_BITS = 8
) (
    input  wire [SIMD*ACT_BITS-1:0]    a,
    input  wire [SIMD*WEIGHT_BITS-1:0] w,
    output wire [SUM_BITS-1:0]         row0,
    output wire [SUM_BITS-1:0]         row1,
    output wire [SUM_BITS-1:0]         row2
);
  localparam integer PLANES = (WEIGHT_KIND <= 1) ? ACT_BITS
                            : (WEIGHT_KIND == 2) ? ACT_BITS + 1
                            : WEIGHT_BITS * ACT_BITS;
  // Lanes that one counter takes: as many as make a function of six inputs.
  localparam integer GROUP = (WEIGHT_KIND == 0 || WEIGHT_KIND == 3) ? 3
                           : (WEIGHT_KIND == 1 || ACT_KIND == 2) ? 2 : 1;
  localparam integer GROUPS = (SIMD + GROUP - 1) / GROUP;
  localparam integer LAST = SIMD - (GROUPS - 1) * GROUP;  // lanes of the last group
  localparam integer HIGHS = (LAST == 1) ? GROUPS - 1 : GROUPS;  // groups that can count two

  // Planes come in runs of RUN, one for each weight bit of integers: plane k * RUN + j is worth
  // 2^(k+j), and its column is k + j + SHIFT. No loops: tools are slow at constant functions.
  localparam integer RUN = (WEIGHT_KIND == 3) ? ACT_BITS : PLANES;
  localparam integer RUNS = PLANES / RUN;
  function automatic integer first_run(input integer c);  // the first that reaches column c
    first_run = (c - SHIFT >= RUN) ? c - SHIFT - RUN + 1 : 0;
  endfunction
  function automatic integer last_run(input integer c);
    last_run = (c - SHIFT < RUNS) ? c - SHIFT : RUNS - 1;
  endfunction
  function automatic integer planes_at(input integer c);
    planes_at = (last_run(c) < first_run(c)) ? 0 : last_run(c) - first_run(c) + 1;
  endfunction
  // Rows of a column: low count bits of its planes, and high ones of the column below.
  function automatic integer rows_at(input integer c);
    rows_at = GROUPS * planes_at(c) + ((GROUP == 1) ? 0 : HIGHS * planes_at(c - 1));
  endfunction
  function automatic [SUM_BITS*16-1:0] all_heights(input integer first);
    integer c;
    begin
      all_heights = {(SUM_BITS*16){1'b0}};
      for (c = first; c < SUM_BITS; c = c + 1) all_heights[c*16+:16] = 16'(rows_at(c));
    end
  endfunction
  function automatic integer tallest(input integer first);
    integer c;
    begin
      tallest = 1;
      for (c = first; c < SUM_BITS; c = c + 1) if (rows_at(c) > tallest) tallest = rows_at(c);
    end
  endfunction
  localparam integer ROWS = tallest(0);
  wire [SUM_BITS*ROWS-1:0] bits;

  genvar p, g, i, j;
  generate
    for (p = 0; p < PLANES; p = p + 1) begin : plane
      localparam integer C = SHIFT + p / RUN + p % RUN;
      localparam integer INDEX = p / RUN - first_run(C);  // among the planes of its column
      // Rows at which the plane's counts begin: low bits in its column, high bits in the next.
      localparam integer LOW_ROW = INDEX * GROUPS;
      localparam integer HIGH_ROW = GROUPS * planes_at(C + 1) + INDEX * HIGHS;
      for (g = 0; g < GROUPS; g = g + 1) begin : group
        localparam integer N = (g == GROUPS - 1) ? LAST : GROUP;
        wire [N*ACT_BITS-1:0] group_a;
        wire [N*WEIGHT_BITS-1:0] group_w;
        // Carries beyond the last column are dropped, and one product has none.
        // verilator lint_off UNUSEDSIGNAL
        wire [1:0] count;
        // verilator lint_on UNUSEDSIGNAL
        for (j = 0; j < ACT_BITS; j = j + 1) begin : act_plane
          assign group_a[j*N+:N] = a[j*SIMD+g*GROUP+:N];
        end
        for (j = 0; j < WEIGHT_BITS; j = j + 1) begin : weight_plane
          assign group_w[j*N+:N] = w[j*SIMD+g*GROUP+:N];
        end
        product_counter #(
            .N(N), .WEIGHT_KIND(WEIGHT_KIND), .WEIGHT_BITS(WEIGHT_BITS),
            .ACT_KIND(ACT_KIND), .ACT_BITS(ACT_BITS), .PLANE(p)
        ) counter (.a(group_a), .w(group_w), .count(count));
        if (C < SUM_BITS) begin : low
          assign bits[C*ROWS+LOW_ROW+g] = count[0];
        end
        if (C + 1 < SUM_BITS && GROUP > 1 && g < HIGHS) begin : high
          assign bits[(C+1)*ROWS+HIGH_ROW+g] = count[1];
        end
      end
    end
    for (i = 0; i < SUM_BITS; i = i + 1) begin : unused_rows_of
      localparam integer USED = rows_at(i);
      if (USED < ROWS) begin : unused_rows
        assign bits[i*ROWS+USED+:ROWS-USED] = '0;
      end
    end
  endgenerate
  compressor_tree #(
      .COLUMNS(SUM_BITS), .ROWS(ROWS), .HEIGHTS(all_heights(0))
  ) tree (.bits(bits), .row0(row0), .row1(row1), .row2(row2));
endmodule
