// A heap of bits reduced to two numbers of the same sum, modulo 2^COLUMNS: column c holds
// HEIGHTS[c] bits, each worth 2^c. Each stage replaces six bits of a column by their count in three
// columns; the module instantiates itself until no column holds more than two bits.
module compressor_tree #(
    parameter integer COLUMNS = 4,                 // width of the two numbers
    parameter integer ROWS = 8,                    // the tallest column
    parameter [COLUMNS*16-1:0] HEIGHTS = 0         // 16 bits a column, column 0 lowest
) (
    input  wire [COLUMNS*ROWS-1:0] bits,           // column-major, unused rows are not read
    output wire [COLUMNS-1:0]      row0,
    output wire [COLUMNS-1:0]      row1
);
  function automatic integer height(input integer c);
    height = (c < 0 || c >= COLUMNS) ? 0 : 32'(HEIGHTS[c*16+:16]);
  endfunction

  // While a column holds six bits or more, only full compressors are used; after that, one
  // partly filled compressor for each column that still holds more than two.
  localparam integer FULL = (ROWS >= 6) ? 1 : 0;

  function automatic integer compressors(input integer c);
    if (FULL != 0) compressors = height(c) / 6;
    else compressors = (height(c) > 2) ? 1 : 0;
  endfunction
  function automatic integer taken(input integer c);  // bits that enter compressors
    if (FULL != 0) taken = 6 * (height(c) / 6);
    else taken = (height(c) > 2) ? height(c) : 0;
  endfunction
  function automatic integer fours(input integer c);  // compressors whose count can reach four
    if (FULL != 0) fours = height(c) / 6;
    else fours = (height(c) > 3) ? 1 : 0;
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
    if (ROWS <= 2) begin : two_rows
      for (c = 0; c < COLUMNS; c = c + 1) begin : column
        if (height(c) > 0) begin : has0
          assign row0[c] = bits[c*ROWS];
        end else begin : no0
          assign row0[c] = 1'b0;
        end
        if (height(c) > 1) begin : has1
          assign row1[c] = bits[c*ROWS+1];
        end else begin : no1
          assign row1[c] = 1'b0;
        end
      end
    end else begin : stage
      wire [COLUMNS*NEXT_ROWS-1:0] next_bits;
      for (c = 0; c < COLUMNS; c = c + 1) begin : column
        for (k = 0; k < compressors(c); k = k + 1) begin : counter
          localparam integer TAKE = (FULL != 0) ? 6 : taken(c);
          wire [2:0] count;
          compressor #(.N(TAKE)) six (.x(bits[c*ROWS+6*k+:TAKE]), .count(count));
          assign next_bits[c*NEXT_ROWS+k] = count[0];
          if (c + 1 < COLUMNS) begin : twos
            assign next_bits[(c+1)*NEXT_ROWS+first_carry(c+1)+k] = count[1];
          end
          if (c + 2 < COLUMNS && fours(c) != 0) begin : fours_bit
            assign next_bits[(c+2)*NEXT_ROWS+second_carry(c+2)+k] = count[2];
          end
        end
        for (k = 0; k < height(c) - taken(c); k = k + 1) begin : rest
          assign next_bits[c*NEXT_ROWS+first_rest(c)+k] = bits[c*ROWS+taken(c)+k];
        end
        for (k = 32'(NEXT_HEIGHTS[c*16+:16]); k < NEXT_ROWS; k = k + 1) begin : unused_rows
          assign next_bits[c*NEXT_ROWS+k] = 1'b0;
        end
      end
      compressor_tree #(
          .COLUMNS(COLUMNS), .ROWS(NEXT_ROWS), .HEIGHTS(NEXT_HEIGHTS)
      ) next (.bits(next_bits), .row0(row0), .row1(row1));
    end
  endgenerate
endmodule
