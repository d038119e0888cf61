// 6:3 compressor: the number of ones among six bits. Three functions of six inputs are three LUTs.
module compressor (
    input  wire [5:0] x,
    output wire [2:0] count
);
  assign count = {2'b00, x[0]} + {2'b00, x[1]} + {2'b00, x[2]}
               + {2'b00, x[3]} + {2'b00, x[4]} + {2'b00, x[5]};
endmodule
