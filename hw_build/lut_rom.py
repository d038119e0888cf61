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

LIBRARY_FILE, CONSTANTS_FILE, MODEL_FILE = "lut_rom.txt", "constants.v", "lut_rom.v"

WORDS_A_LUT = 64
CELL = "LUT_ROM"

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

CONSTANTS = """\
module $__LUT_ROM_ (input [5:0] PORT_R_ADDR, output PORT_R_RD_DATA);
  parameter [63:0] INIT = 64'bx;
  assign PORT_R_RD_DATA = (|INIT) === 1'b1;
endmodule
"""
"""For `techmap`: columns without a one, or without a zero, stay known to what reads them."""

MODEL = f"""\
module {CELL} (input [5:0] PORT_R_ADDR, output PORT_R_RD_DATA);
  parameter [63:0] INIT = 64'bx;
  assign PORT_R_RD_DATA = INIT[PORT_R_ADDR];
endmodule
"""
"""A LUT of six inputs. As the device's own LUT6 each different column would cost a module."""

COMMANDS = f"""\
select -assert-count {{n}} {{memories}}
select -set deep {{memories}}
setattr -set rom_style "distributed" @deep
memory_libmap -lib {LIBRARY_FILE} @deep
techmap -map {CONSTANTS_FILE} {{constants}}
read_verilog -lib {MODEL_FILE}
chtype -set {CELL} t:$__LUT_ROM_
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
    words = [len(memory.words) for memory in block.memories]
    deep = {name: n for name, n in zip(names, words, strict=False) if n > MOST_UNROLLED}
    if not deep:
        return ""
    used = {min(n, WORDS_A_LUT) for n in deep.values()} | {n % WORDS_A_LUT for n in deep.values()}
    constants = [
        f"r:INIT=64'b{bit * n:x>{WORDS_A_LUT}}" for n in sorted(used - {0}) for bit in "01"
    ]
    return COMMANDS.format(
        n=len(deep),
        memories=" ".join(f"*/m:{name}" for name in deep),
        constants=" ".join(constants),
    )


def write_lut_rom(work: Path) -> None:
    """Writes what the commands read into Yosys' folder."""
    (work / LIBRARY_FILE).write_text(LIBRARY)
    (work / CONSTANTS_FILE).write_text(CONSTANTS)
    (work / MODEL_FILE).write_text(MODEL)
