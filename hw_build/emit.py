"""Writes an accelerator's files: the top level's wiring, memory files, and the modules it uses.

The emitter writes wiring, parameters and memory contents, nothing else; all behaviour is in the
modules of `rtl/`, copied beside the top level so that the folder is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.durable import digest_of, sha256_of
from deploy.registers import identity_words
from deploy.sealed import MANIFEST

from .blocks import Block, Stream, inner_streams, ports, writable_memories

RTL_FOLDER = Path(__file__).parent / "rtl"
MODULES = (
    "partial_products",
    "product_counter",
    "compressor",
    "adder",
    "compressor_tree",
    "compressed_dot_product",
    "dot_product",
    "threshold_search",
    "memory_writer",
    "stream_fifo",
    "replay_buffer",
    "lane_splitter",
    "lane_joiner",
    "mvu",
    "arg_max",
    "top_k",
    "deep_fifo",
    "stream_fork",
    "scaled",
    "stream_add",
    "stream_concat",
    "ring_memory",
    "window",
    "window_parallel",
    "pad",
    "upsample",
    "max_pool",
    "transfer_end",
    "saturating_counter",
    "transfer_counters",
    "axi_lite_registers",
)
"""The files of `rtl/` in an order in which each module follows those that it uses."""

TOP = "accelerator"

IDENTITY = "identity.mem"
"""The file that the identity registers read: the first 128 bits of the build's sha256."""

REGISTER_PORTS = (
    "input  wire [11:0] s_axi_lite_awaddr",
    "input  wire [2:0]  s_axi_lite_awprot",
    "input  wire        s_axi_lite_awvalid",
    "output wire        s_axi_lite_awready",
    "input  wire [31:0] s_axi_lite_wdata",
    "input  wire [3:0]  s_axi_lite_wstrb",
    "input  wire        s_axi_lite_wvalid",
    "output wire        s_axi_lite_wready",
    "output wire [1:0]  s_axi_lite_bresp",
    "output wire        s_axi_lite_bvalid",
    "input  wire        s_axi_lite_bready",
    "input  wire [11:0] s_axi_lite_araddr",
    "input  wire [2:0]  s_axi_lite_arprot",
    "input  wire        s_axi_lite_arvalid",
    "output wire        s_axi_lite_arready",
    "output wire [31:0] s_axi_lite_rdata",
    "output wire [1:0]  s_axi_lite_rresp",
    "output wire        s_axi_lite_rvalid",
    "input  wire        s_axi_lite_rready",
)


def emit(blocks: tuple[Block, ...], folder: Path, port_bits: int = 64) -> None:
    """Writes `accelerator.sv`, `files.f`, the modules and all memory files into `folder`."""
    for module in MODULES:
        shutil.copyfile(RTL_FOLDER / f"{module}.sv", folder / f"{module}.sv")
    (folder / f"{TOP}.sv").write_text(top_level(blocks, port_bits))
    (folder / "files.f").write_text("".join(f"{m}.sv\n" for m in (*MODULES, TOP)))
    for block in blocks:
        for memory in block.memories:
            (folder / memory.file).write_text(memory.text)
    words = identity_words(identity_of(folder))
    (folder / IDENTITY).write_text("".join(f"{word:08x}\n" for word in words))


def identity_of(folder: Path) -> str:
    """The sha256 that names a build: over the emitted RTL and its memory files.

    All but the file that holds the identity itself, and the manifest that a stage has in the end:
    the registers read what was there when the RTL was written.
    """
    files = sorted(path for path in folder.iterdir() if path.name not in (IDENTITY, MANIFEST))
    return digest_of("".join(f"{path.name} {sha256_of(path)}\n" for path in files))


def _port_name(declaration: str) -> str:
    return declaration.split()[-1]


def top_level(
    blocks: tuple[Block, ...], port_bits: int, apart: Mapping[str, str] | None = None
) -> str:
    """The text of the top level: one instance after another, joined by their streams.

    `apart` names, by block, modules that are the block with its parameters.
    """
    first, last = ports(blocks)
    lines = [
        f"// {len(blocks)} blocks, {first.n} x {first.type} in, {last.n} x {last.type} out.",
        "// Written by the emitter: wiring and parameters only.",
        f"module {TOP} #(",
        "    parameter integer COMPRESS = 1   // see dot_product",
        ") (",
        "    input  wire        clk,",
        "    input  wire        resetn,",
        *_input_data(first, port_bits),
        "    input  wire        s_axis_tvalid,",
        "    output wire        s_axis_tready,",
        f"    output wire [{port_bits - 1}:0] m_axis_tdata,",
        "    output wire        m_axis_tvalid,",
        "    input  wire        m_axis_tready,",
        "    output wire        m_axis_tlast,",
        *(f"    {port}," for port in REGISTER_PORTS[:-1]),
        f"    {REGISTER_PORTS[-1]}",
        ");",
    ]
    lines += _memory_bus(blocks)
    for stream in inner_streams(blocks):
        lines += [f"  // {_describe(stream)}", *_wires(stream)]
    for block in blocks:
        lines += ["", *_instance(block, first, (apart or {}).get(block.name))]
    lines += [
        "",
        f"  assign m_axis_tdata = {port_bits}'({last.name}_tdata);",
        f"  assign m_axis_tvalid = {last.name}_tvalid;",
        f"  assign {last.name}_tready = m_axis_tready;",
        "  wire [31:0] frames;",
        f"  transfer_end #(.BEATS({last.beats})) transfer (",
        "      .clk(clk), .resetn(resetn), .frames(frames),",
        "      .tvalid(m_axis_tvalid), .tready(m_axis_tready), .tlast(m_axis_tlast)",
        "  );",
        "  axi_lite_registers #(",
        f'      .IDENTITY_FILE("{IDENTITY}"), .OUTPUT_BEATS({last.beats}),',
        f"      .WRITABLE({int(bool(writable_memories(blocks)))})",
        "  ) registers (",
        "      .clk(clk), .resetn(resetn), .frames(frames), .memory_bus(memory_bus),",
        *(f"      .{name}({name})," for name in map(_port_name, REGISTER_PORTS)),
        "      .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),",
        "      .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),",
        "      .m_axis_tlast(m_axis_tlast)",
        "  );",
        "endmodule",
        "",
    ]
    return "\n".join(lines)


def _input_data(first: Stream, port_bits: int) -> list[str]:
    """The port's declaration; the bits above the lanes of a beat are no news to a linter."""
    declaration = f"    input  wire [{port_bits - 1}:0] s_axis_tdata,"
    if first.width == port_bits:
        return [declaration]
    return [
        f"    // The beat is the lowest {first.width} bits.",
        "    // verilator lint_off UNUSEDSIGNAL",
        declaration,
        "    // verilator lint_on UNUSEDSIGNAL",
    ]


def _memory_bus(blocks: tuple[Block, ...]) -> list[str]:
    """What the host writes, from the registers to the units; some accelerators have no unit."""
    wire = "  wire [49:0] memory_bus;"
    if any(block.module == "mvu" for block in blocks):
        return [wire]
    return ["  // verilator lint_off UNUSEDSIGNAL", wire, "  // verilator lint_on UNUSEDSIGNAL"]


def _describe(stream: Stream) -> str:
    many = f"{stream.vectors} vectors of " if stream.vectors > 1 else ""
    note = f", {stream.padding} lanes of a vector padding" if stream.padding else ""
    beats = f"{stream.vector_beats} beats of {stream.lanes} lanes"
    return f"{many}{stream.n} x {stream.type}: {beats}{note}"


def _wires(stream: Stream) -> list[str]:
    return [
        f"  wire [{stream.width - 1}:0] {stream.name}_tdata;",
        f"  wire {stream.name}_tvalid, {stream.name}_tready;",
    ]


def _instance(block: Block, port: Stream, apart: str | None) -> list[str]:
    bus = " .memory_bus(memory_bus)," if block.module == "mvu" else ""
    ends = [*named_ports("s", block.sources), *named_ports("m", block.sinks)]
    connections = []
    for name, stream in ends:
        whole = f"[{port.width - 1}:0]" if stream.name == port.name else ""
        connections += [
            f"      .{name}_tdata({stream.name}_tdata{whole}),",
            f"      .{name}_tvalid({stream.name}_tvalid), .{name}_tready({stream.name}_tready),",
        ]
    connections[-1] = connections[-1].removesuffix(",")
    name = f"{block.name}_{block.module}"
    head = [f"  {apart} {name} ("] if apart else parametrised(block, "COMPRESS", name)
    return [*head, f"      .clk(clk), .resetn(resetn),{bus}", *connections, "  );"]


def parametrised(block: Block, compress: str, instance: str) -> list[str]:
    """The head of an instance of the block's module, up to its connections."""
    values = [
        f'.{name}("{value}")' if isinstance(value, str) else f".{name}({value})"
        for name, value in block.parameters.items()
    ]
    if block.module == "mvu":
        values.append(f".COMPRESS({compress})")
    return [f"  {block.module} #(", *_wrapped(values), f"  ) {instance} ("]


def named_ports(side: str, streams: tuple[Stream, ...]) -> list[tuple[str, Stream]]:
    """`s_axis` or `m_axis` where there is one stream, `s0_axis`, `s1_axis` where there are two."""
    if len(streams) == 1:
        return [(f"{side}_axis", streams[0])]
    return [(f"{side}{i}_axis", stream) for i, stream in enumerate(streams)]


def _wrapped(values: list[str], most: int = 88) -> list[str]:
    lines, line = [], "     "
    for i, value in enumerate(values):
        item = f" {value}" + ("," if i + 1 < len(values) else "")
        if len(line) + len(item) > most:
            lines.append(line)
            line = "     "
        line += item
    return [*lines, line]
