"""Writes an accelerator's files: the top level's wiring, memory files, and the modules it uses.

The emitter writes wiring, parameters and memory contents, nothing else; all behaviour is in the
modules of `rtl/`, copied beside the top level so that the folder is complete.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .blocks import Block, Stream

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
    "ring_memory",
    "window",
    "window_parallel",
    "pad",
    "upsample",
    "max_pool",
    "transfer_end",
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
    first, last = blocks[0].source, blocks[-1].sink
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
    for block in blocks:
        lines += [f"  // {_describe(block.sink)}", *_wires(block.sink)]
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
    padding = stream.lanes * stream.beats - stream.n
    note = f", the last {padding} lanes of a vector padding" if padding else ""
    return f"{stream.n} x {stream.type}: {stream.beats} beats of {stream.lanes} lanes{note}"


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
    source, sink = block.source.name, block.sink.name
    data = f"{source}_tdata"
    if block.source is port:
        data += f"[{port.width - 1}:0]"
    return [
        f"  {block.module} #(",
        *_wrapped(values),
        f"  ) {block.name}_{block.module} (",
        "      .clk(clk), .resetn(resetn),",
        f"      .s_axis_tdata({data}),",
        f"      .s_axis_tvalid({source}_tvalid), .s_axis_tready({source}_tready),",
        f"      .m_axis_tdata({sink}_tdata),",
        f"      .m_axis_tvalid({sink}_tvalid), .m_axis_tready({sink}_tready)",
        "  );",
    ]


def _wrapped(values: list[str], most: int = 88) -> list[str]:
    lines, line = [], "     "
    for i, value in enumerate(values):
        item = f" {value}" + ("," if i + 1 < len(values) else "")
        if len(line) + len(item) > most:
            lines.append(line)
            line = "     "
        line += item
    return [*lines, line]
