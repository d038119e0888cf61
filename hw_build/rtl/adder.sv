// a + b modulo 2^WIDTH: one carry chain. A module of its own, so that synthesis doesn't merge it with
// the additions around it to a tree of counters, which takes more LUTs.
module adder #(
    parameter integer WIDTH = 8
) (
    input  wire [WIDTH-1:0] a,
    input  wire [WIDTH-1:0] b,
    output wire [WIDTH-1:0] sum
);
  assign sum = a + b;
endmodule
