"""Writes an accelerator's files: the top level's wiring, memory files, and the modules it uses.

The emitter writes wiring, parameters and memory contents, nothing else; all behaviour is in the
modules of `rtl/`, copied beside the top level so that the folder is complete.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .blocks import Block, Stream, inner_streams, ports

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


def emit(blocks: tuple[Block, ...], folder: Path, port_bits: int = 64) -> None:
    """Writes `accelerator.sv`, `files.f`, the modules and all memory files into `folder`."""
    for module in MODULES:
        shutil.copyfile(RTL_FOLDER / f"{module}.sv", folder / f"{module}.sv")
    (folder / f"{TOP}.sv").write_text(top_level(blocks, port_bits))
    (folder / "files.f").write_text("".join(f"{m}.sv\n" for m in (*MODULES, TOP)))
    for block in blocks:
        for memory in block.memories:
            (folder / memory.file).write_text(memory.text)


def top_level(blocks: tuple[Block, ...], port_bits: int) -> str:
    """The text of the top level: one instance after another, joined by their streams."""
    first, last = ports(blocks)
    lines = [
        f"// {len(blocks)} blocks, {first.n} x {first.type} in, {last.n} x {last.type} out.",
        "// Written by the emitter: wiring and parameters only.",
        f"module {TOP} #(",
        "    parameter integer COMPRESS = 1   // see dot_product",
        ") (",
        "    input  wire        clk,",
        "    input  wire        resetn,",
        "    input  wire [31:0] frames,        // of a transfer; tlast marks its last beat",
        f"    input  wire [{port_bits - 1}:0] s_axis_tdata,",
        "    input  wire        s_axis_tvalid,",
        "    output wire        s_axis_tready,",
        f"    output wire [{port_bits - 1}:0] m_axis_tdata,",
        "    output wire        m_axis_tvalid,",
        "    input  wire        m_axis_tready,",
        "    output wire        m_axis_tlast",
        ");",
    ]
    for stream in inner_streams(blocks):
        lines += [f"  // {_describe(stream)}", *_wires(stream)]
    for block in blocks:
        lines += ["", *_instance(block, first)]
    lines += [
        "",
        f"  assign m_axis_tdata = {port_bits}'({last.name}_tdata);",
        f"  assign m_axis_tvalid = {last.name}_tvalid;",
        f"  assign {last.name}_tready = m_axis_tready;",
        f"  transfer_end #(.BEATS({last.beats})) transfer (",
        "      .clk(clk), .resetn(resetn), .frames(frames),",
        "      .tvalid(m_axis_tvalid), .tready(m_axis_tready), .tlast(m_axis_tlast)",
        "  );",
        "endmodule",
        "",
    ]
    return "\n".join(lines)


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


def _instance(block: Block, port: Stream) -> list[str]:
    parameters = dict(block.parameters)
    values = [f'.{k}("{v}")' if isinstance(v, str) else f".{k}({v})" for k, v in parameters.items()]
    if block.module == "mvu":
        values.append(".COMPRESS(COMPRESS)")
    ends = [*named_ports("s", block.sources), *named_ports("m", block.sinks)]
    connections = []
    for name, stream in ends:
        whole = f"[{port.width - 1}:0]" if stream.name == port.name else ""
        connections += [
            f"      .{name}_tdata({stream.name}_tdata{whole}),",
            f"      .{name}_tvalid({stream.name}_tvalid), .{name}_tready({stream.name}_tready),",
        ]
    connections[-1] = connections[-1].removesuffix(",")
    return [
        f"  {block.module} #(",
        *_wrapped(values),
        f"  ) {block.name}_{block.module} (",
        "      .clk(clk), .resetn(resetn),",
        *connections,
        "  );",
    ]


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
