"""Layers as modules without parameters, for a synthesis of each by itself.

The top level then instantiates `layer_NAME`, of which Vivado gets the ports alone with the whole
design, and everything in a run of its own.
"""

from __future__ import annotations

from ..blocks import Block
from ..emit import named_ports, parametrised

_UNIT = "unit"


def layers_of(blocks: tuple[Block, ...]) -> dict[str, Block]:
    """The blocks that are worth a synthesis of their own, by name: those with weights."""
    return {block.name: block for block in blocks if block.module == "mvu"}


def module_of(name: str) -> str:
    """The module that is the layer `name`."""
    return f"layer_{name}"


def stub(block: Block) -> str:
    """The layer's ports, for a design in which its netlist is put in place later."""
    return _module(block, "(* black_box *) ", [])


def whole(block: Block) -> str:
    """The layer: its block with its parameters."""
    names = [declaration.split()[-1] for declaration in _ports(block)]
    connections = ", ".join(f".{name}({name})" for name in names)
    return _module(block, "", [*parametrised(block, "1", _UNIT), f"      {connections}", "  );"])


def _module(block: Block, attributes: str, body: list[str]) -> str:
    ports = _ports(block)
    lines = [f"{attributes}module {module_of(block.name)} ("]
    lines += [f"    {port}," for port in ports[:-1]]
    return "\n".join([*lines, f"    {ports[-1]}", ");", *body, "endmodule", ""])


def _ports(block: Block) -> list[str]:
    ports = ["input  wire clk", "input  wire resetn", "input  wire [49:0] memory_bus"]
    for side, streams, into, out in (
        ("s", block.sources, "input  wire", "output wire"),
        ("m", block.sinks, "output wire", "input  wire"),
    ):
        for name, stream in named_ports(side, streams):
            ports += [
                f"{into} [{stream.width - 1}:0] {name}_tdata",
                f"{into} {name}_tvalid",
                f"{out} {name}_tready",
            ]
    return ports
