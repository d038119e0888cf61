"""ROM in logic of more than 32 words: a LUT of six inputs for each 64 words of a column.

Yosys would unroll such a memory to a tree of multiplexers for ABC to map, which takes minutes of
thousands of bits, and more LUTs. Shallower memories are left to it: what is known of their few
words makes the logic behind them smaller.
"""

from __future__ import annotations

from pathlib import Path

from .blocks import Block

MOST_UNROLLED = 32
"""Words up to which a memory is left to ABC."""

LIBRARY_FILE, MAP_FILE = "lut_rom.txt", "lut_rom.v"

LIBRARY = """\
ram distributed $__LUT_ROM_ {
  abits 6;
  width 1;
  cost 1;
  init any;
  port ar "R" { }
}
"""
"""For `memory_libmap`."""

MAP = """\
module $__LUT_ROM_ (input [5:0] PORT_R_ADDR, output PORT_R_RD_DATA);
  parameter [63:0] INIT = 64'bx;
  generate
    if ((|INIT) !== 1'b1) assign PORT_R_RD_DATA = 1'b0;
    else if ((&INIT) !== 1'b0) assign PORT_R_RD_DATA = 1'b1;
    else begin
      LUT6 #(.INIT(INIT)) _TECHMAP_REPLACE_ (
          .I0(PORT_R_ADDR[0]), .I1(PORT_R_ADDR[1]), .I2(PORT_R_ADDR[2]), .I3(PORT_R_ADDR[3]),
          .I4(PORT_R_ADDR[4]), .I5(PORT_R_ADDR[5]), .O(PORT_R_RD_DATA)
      );
    end
  endgenerate
endmodule
"""
"""For `techmap`. Columns without a one, or without a zero, stay known to what reads them."""

COMMANDS = f"""\
select -assert-count {{n}} {{memories}}
select -set deep {{memories}}
setattr -set rom_style "distributed" @deep
memory_libmap -lib {LIBRARY_FILE} @deep
techmap -map {MAP_FILE}
"""


def map_deep_roms(block: Block) -> str:
    """Yosys commands for a block's deep ROMs in logic; empty if it has none.

    They come after `proc`, and read the files that `write_lut_rom` writes.
    """
    if block.module != "mvu" or block.parameters.get("WRITABLE"):
        return ""
    stages = range(len(block.memories) - 2)
    names = [*(f"*stage?{s}?.memory" for s in stages), "*starts", "*distributed.memory"]
    if block.parameters.get("BLOCK_MEMORY"):
        names.pop()
    memories = zip(names, block.memories, strict=False)
    deep = [f"*/m:{name}" for name, memory in memories if len(memory.words) > MOST_UNROLLED]
    return COMMANDS.format(memories=" ".join(deep), n=len(deep)) if deep else ""


def write_lut_rom(work: Path) -> None:
    """Writes what the commands read into Yosys' folder."""
    (work / LIBRARY_FILE).write_text(LIBRARY)
    (work / MAP_FILE).write_text(MAP)
