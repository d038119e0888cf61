"""Resources of the programmable logic, and what memories take of them.

Formulas follow the counting rules of `netlist`: what Yosys makes of each for a 7-series device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, expm1


@dataclass(frozen=True)
class Resources:
    """Cells of a 7-series device; `bram36` counts 36-kbit blocks, halves allowed."""

    lut: float = 0.0
    ff: float = 0.0
    bram36: float = 0.0
    dsp: float = 0.0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.lut + other.lut,
            self.ff + other.ff,
            self.bram36 + other.bram36,
            self.dsp + other.dsp,
        )


@dataclass(frozen=True)
class Prices:
    """What a block RAM of 36 kbit and a register count, in LUTs, where resources are weighed.

    A Zynq-7020 has 380 LUTs for each block RAM and two registers for each LUT. Registers are seldom
    what runs out: their price decides between foldings of nearly as many LUTs.
    """

    bram36: float = 200.0
    ff: float = 0.1

    def cost(self, used: Resources) -> float:
        """LUTs that `used` is worth."""
        return used.lut + self.ff * used.ff + self.bram36 * used.bram36


PRICES = Prices()


def weights_in_block_memory(
    words: int,
    width: int,
    memory: str = "auto",
    prices: Prices = PRICES,
    *,
    writable: bool = False,
) -> bool:
    """Whether weights are put in block RAM; a single word never is.

    `memory` is a folding's: "auto" takes the cheaper of both by `prices`. In LUTs they are a ROM of
    random bits, or where they are `writable` a RAM.
    """
    if words == 1 or memory != "auto":
        return words > 1 and memory == "block"
    if writable:
        in_luts = Resources(lut=lut_ram_luts(words, width), ff=width)
    else:
        in_luts = Resources(lut=rom_luts(words, width), ff=rom_columns(words, width))
    return prices.cost(block_memory(words, width, written=writable)) < prices.cost(in_luts)


def ram_in_block_memory(words: int, width: int) -> bool:
    """Whether a RAM with one write and one read port is cheaper in block RAM."""
    in_luts, in_block = (ram_resources(words, width, block=block) for block in (False, True))
    return PRICES.cost(in_block) < PRICES.cost(in_luts)


def rom_columns(words: int, width: int) -> float:
    """Columns of a ROM that differ, expected of random bits: few do if it is shallow.

    Columns that are constant, or that are a bit of the address, take neither LUT nor register.
    """
    if words <= 1:
        return 0.0
    kinds = 2.0 ** min(words, 60)
    free = 2 + 2 * (words - 1).bit_length()
    return max(0.0, (kinds - free) * -expm1(-width / kinds))


def rom_luts(words: int, width: int) -> float:
    """LUTs of a ROM in logic: one for each 64 words of a column, and multiplexers behind them.

    A rest of few words has few different columns, and one of a single word joins the multiplexers.
    """
    columns = rom_columns(words, width)
    if words <= 64:
        return columns
    pieces, rest = divmod(words, 64)
    return columns * (pieces + multiplexer_luts(pieces + (rest > 1))) + rom_columns(rest, width)


def multiplexer_luts(inputs: int) -> int:
    """LUTs of a multiplexer of so many inputs, one bit: each takes four, and two bits that choose.

    Inputs left over, one or at times two, find room in the LUT that chooses among the others.
    """
    if inputs <= 4:
        return int(inputs > 1)
    fours, rest = divmod(inputs, 4)
    rest_luts = int(rest == 3 or (rest == 2 and fours > 1))
    return fours + rest_luts + multiplexer_luts(fours + (rest > 0))


@dataclass(frozen=True)
class BlockShape:
    """How a memory lies in block RAM: blocks of 36 kbit, and pieces of its depth, one behind the
    other, between which a multiplexer chooses."""

    bram36: float
    pieces: int


@lru_cache(maxsize=4096)
def block_shape(words: int, width: int, *, written: bool) -> BlockShape:
    """The shape that Yosys chooses for a memory with one read port, and a write port if `written`.

    Blocks are of 18 or of 36 kbit, from 1 bit a word to 36 or 72. A piece's bits are laid side by
    side with the next one's, bit by bit; bytes by bytes of 9 if words are written. The cheapest
    shape is taken: blocks cost 129 or 257, a multiplexer's bit 1/2, and so does a write enable.
    """
    found = []
    for bram36, cost, depth, widths in ((0.5, 129, 1 << 14, 6), (1.0, 257, 1 << 15, 7)):
        for shift, bits in enumerate(BLOCK_WIDTHS[:widths]):
            pieces = ceil(words / (depth >> shift))
            byte = min(9, bits) if written else 1
            blocks = ceil(pieces * ceil(width / byte) * byte / bits)
            price = cost * blocks + (pieces - 1) * width / 2
            price += pieces / 2 if written and pieces > 1 else 0
            found.append((price, bram36 * blocks, pieces))
    _, bram36, pieces = min(found, key=lambda shape: shape[0])
    return BlockShape(bram36, pieces)


BLOCK_WIDTHS = (1, 2, 4, 9, 18, 36, 72)
"""Bits of a word of a block RAM, each half as deep as the one before; 72 of 36 kbit alone."""


def block_memory(words: int, width: int, *, written: bool) -> Resources:
    """A memory in block RAM: with the multiplexer behind its pieces, and their write enables."""
    shape = block_shape(words, width, written=written)
    lut = width * multiplexer_luts(shape.pieces)
    if written and shape.pieces > 1:
        lut += shape.pieces
    return Resources(lut=lut, ff=counter_bits(shape.pieces), bram36=shape.bram36)


def lut_ram_luts(depth: int, width: int) -> float:
    """LUTs of a RAM in logic with one write and one read port: RAM32M, RAM64M, RAM128X1D.

    More than one piece of 64 words takes multiplexers of four inputs behind them, and a LUT each to
    choose which one is written.
    """
    if depth <= 32:
        return 4 * ceil(width / 6)
    pieces = ceil(depth / 64)
    if width == 1 and depth == 128:
        return 4
    multiplexers = width * multiplexer_luts(pieces)
    return 4 * ceil(width / 3) * pieces + multiplexers + (pieces if pieces > 1 else 0)


@lru_cache(maxsize=4096)
def lanes_ram_luts(words: int, lanes: int, bits: int) -> float:
    """LUTs of a RAM in logic with `bits` a lane, each of which is read at an address of its own.

    Four LUTs hold 6 bits a word for one address, or 2 for three; half as many of more than 32
    words. Yosys chooses before it leaves out what no lane reads, and counts the latter as cheaper.
    """
    if lanes == 1:
        return lut_ram_luts(words, bits)
    depth = 32 if words <= 32 else 64
    pieces, width = ceil(words / depth), lanes * bits

    def price(shape: tuple[int, int, int]) -> float:
        cost, addresses, held = shape
        return cost * ceil(lanes / addresses) * width / held

    _, addresses, held = min(((7, 3, 64 // depth), (8, 1, 192 // depth)), key=price)
    cells = 0
    for first in range(0, lanes, addresses):
        low, high = first * bits, min(first + addresses, lanes) * bits - 1
        cells += high // held - low // held + 1
    multiplexers = width * multiplexer_luts(pieces)
    return 4 * cells * pieces + multiplexers + (pieces if pieces > 1 else 0)


def ram_resources(words: int, width: int, *, block: bool) -> Resources:
    """A RAM with one write and one read port, in block RAM or in LUTs."""
    if block:
        return block_memory(words, width, written=True)
    return Resources(lut=lut_ram_luts(words, width))


def counter_bits(n: int) -> int:
    """Bits of a counter of n values."""
    return (n - 1).bit_length()
