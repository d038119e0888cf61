// Takes each vector of BEATS beats once and gives it REPEATS times. While one vector is replayed
// the next is taken in, and the first replay follows the writes beat by beat.
module replay_buffer #(
    parameter integer WIDTH = 8,    // bits of a beat
    parameter integer BEATS = 4,    // beats of a vector, 1 or more
    parameter integer REPEATS = 2   // 2 or more
) (
    input  wire             clk,
    input  wire             resetn,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);
  localparam integer A = $clog2(2 * BEATS);  // room for two vectors
  localparam integer BEAT_BITS = (BEATS > 1) ? $clog2(BEATS) : 1;
  localparam integer REPEAT_BITS = $clog2(REPEATS);
  (* ram_style = "distributed" *) reg [WIDTH-1:0] memory[0:(1<<A)-1];
  reg [A:0] write_pointer;
  reg [A:0] read_pointer;
  reg [A:0] vector_start;  // what lies before it may be overwritten
  reg [BEAT_BITS-1:0] beat;
  reg [REPEAT_BITS-1:0] replay;
  wire push = s_axis_tvalid & s_axis_tready;
  wire pop = m_axis_tvalid & m_axis_tready;
  wire last_beat = 32'(beat) == BEATS - 1;
  wire last_replay = 32'(replay) == REPEATS - 1;

  assign s_axis_tready = (write_pointer ^ vector_start) != {1'b1, {A{1'b0}}};
  assign m_axis_tvalid = write_pointer != read_pointer;
  assign m_axis_tdata = memory[read_pointer[A-1:0]];

  always_ff @(posedge clk) if (push) memory[write_pointer[A-1:0]] <= s_axis_tdata;
  always_ff @(posedge clk) begin
    if (!resetn) begin
      write_pointer <= '0;
      read_pointer <= '0;
      vector_start <= '0;
      beat <= '0;
      replay <= '0;
    end else begin
      if (push) write_pointer <= write_pointer + 1'b1;
      if (pop) begin
        beat <= last_beat ? '0 : beat + 1'b1;
        read_pointer <= (last_beat & ~last_replay) ? vector_start : read_pointer + 1'b1;
        if (last_beat) begin
          replay <= last_replay ? '0 : replay + 1'b1;
          if (last_replay) vector_start <= read_pointer + 1'b1;
        end
      end
    end
  end
endmodule
