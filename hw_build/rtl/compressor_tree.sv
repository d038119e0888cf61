// A heap of bits reduced to three numbers of the same sum, modulo 2^COLUMNS: column c holds
// HEIGHTS[c] bits, each worth 2^c. Each stage replaces up to six bits of a column by their count in
// three columns; the module instantiates itself until no column holds more than three bits.
module compressor_tree #(
    parameter integer COLUMNS = 4,                 // width of the three numbers
    parameter integer ROWS = 8,                    // the tallest column
    parameter [COLUMNS*16-1:0] HEIGHTS = 0         // 16 bits a column, column 0 lowest
) (
    // Column-major. The rows above a column's height are not read.
    // verilator lint_off UNUSEDSIGNAL
    input  wire [COLUMNS*ROWS-1:0] bits,
    // verilator lint_on UNUSEDSIGNAL
    output wire [COLUMNS-1:0]      row0,
    output wire [COLUMNS-1:0]      row1,
    output wire [COLUMNS-1:0]      row2            // the sparsest
);
  function automatic integer height(input integer c);
    height = (c < 0 || c >= COLUMNS) ? 0 : 32'(HEIGHTS[c*16+:16]);
  endfunction

  // While a column holds more than six bits, only full compressors are used, which take as many
  // LUTs as they take bits away; after that, also partly filled ones for three bits and more.
  localparam integer LEAST = (ROWS > 6) ? 6 : 3;

  // Compressors of a column: full ones, and one for the rest if that has LEAST bits.
  function automatic integer compressors(input integer c);
    compressors = height(c) / 6 + ((height(c) % 6 >= LEAST) ? 1 : 0);
  endfunction
  function automatic integer taken(input integer c);  // bits that enter compressors
    taken = 6 * (height(c) / 6) + ((height(c) % 6 >= LEAST) ? height(c) % 6 : 0);
  endfunction
  function automatic integer fours(input integer c);  // compressors whose count can reach four
    fours = (taken(c) + 2) / 6;
  endfunction
  // Rows of the next stage: the counts' bits from this column and the two below, then the rest.
  function automatic integer first_carry(input integer c);
    first_carry = compressors(c);
  endfunction
  function automatic integer second_carry(input integer c);
    second_carry = compressors(c) + compressors(c - 1);
  endfunction
  function automatic integer first_rest(input integer c);
    first_rest = compressors(c) + compressors(c - 1) + fours(c - 2);
  endfunction
  function automatic [COLUMNS*16-1:0] next_heights(input integer first);
    integer c;
    begin
      next_heights = {(COLUMNS*16){1'b0}};
      for (c = first; c < COLUMNS; c = c + 1)
        next_heights[c*16+:16] = 16'(first_rest(c) + height(c) - taken(c));
    end
  endfunction
  function automatic integer tallest(input [COLUMNS*16-1:0] heights);
    integer c;
    begin
      tallest = 1;
      for (c = 0; c < COLUMNS; c = c + 1)
        if (32'(heights[c*16+:16]) > tallest) tallest = 32'(heights[c*16+:16]);
    end
  endfunction
  localparam [COLUMNS*16-1:0] NEXT_HEIGHTS = next_heights(0);
  localparam integer NEXT_ROWS = tallest(NEXT_HEIGHTS);

  genvar c, k;
  generate
    if (ROWS <= 3) begin : three_rows
      wire [3*COLUMNS-1:0] rows;
      assign {row2, row1, row0} = rows;
      for (k = 0; k < 3; k = k + 1) begin : row
        for (c = 0; c < COLUMNS; c = c + 1) begin : column
          if (height(c) > k) begin : occupied
            assign rows[k*COLUMNS+c] = bits[c*ROWS+k];
          end else begin : vacant
            assign rows[k*COLUMNS+c] = 1'b0;
          end
        end
      end
    end else begin : stage
      wire [COLUMNS*NEXT_ROWS-1:0] next_bits;
      for (c = 0; c < COLUMNS; c = c + 1) begin : column
        localparam integer COMPRESSORS = compressors(c);
        localparam integer TAKEN = taken(c);
        localparam integer REST = height(c) - TAKEN;
        localparam integer HEIGHT = first_rest(c) + REST;  // at the next stage
        // Where this column's bits go: counts of two and four, and what no compressor takes.
        localparam integer TWOS = (c + 1) * NEXT_ROWS + first_carry(c + 1);
        localparam integer FOURS = (c + 2) * NEXT_ROWS + second_carry(c + 2);
        localparam integer UNTOUCHED = c * NEXT_ROWS + first_rest(c);
        for (k = 0; k < COMPRESSORS; k = k + 1) begin : counter
          localparam integer N = (TAKEN - 6 * k < 6) ? TAKEN - 6 * k : 6;
          // Carries beyond the last column are dropped.
          // verilator lint_off UNUSEDSIGNAL
          wire [2:0] count;
          // verilator lint_on UNUSEDSIGNAL
          compressor #(.N(N)) of_column (.x(bits[c*ROWS+6*k+:N]), .count(count));
          assign next_bits[c*NEXT_ROWS+k] = count[0];
          if (c + 1 < COLUMNS) begin : twos
            assign next_bits[TWOS+k] = count[1];
          end
          if (c + 2 < COLUMNS && N > 3) begin : fours_bit
            assign next_bits[FOURS+k] = count[2];
          end
        end
        if (REST > 0) begin : rest
          assign next_bits[UNTOUCHED+:REST] = bits[c*ROWS+TAKEN+:REST];
        end
        if (HEIGHT < NEXT_ROWS) begin : unused_rows
          assign next_bits[c*NEXT_ROWS+HEIGHT+:NEXT_ROWS-HEIGHT] = '0;
        end
      end
      compressor_tree #(
          .COLUMNS(COLUMNS), .ROWS(NEXT_ROWS), .HEIGHTS(NEXT_HEIGHTS)
      ) next (.bits(next_bits), .row0(row0), .row1(row1), .row2(row2));
    end
  endgenerate
endmodule
