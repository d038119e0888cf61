"""The accelerator's top for block designs: plain Verilog with its interfaces named for Vivado.

Vivado takes no SystemVerilog module as a block of a design, and infers interfaces best from
attributes; both are settled by a wrapper that other tools read as plain Verilog.
"""

from __future__ import annotations

from ..emit import REGISTER_PORTS, TOP

WRAPPER = "narrowgauge_accelerator"
"""Its module; the IP itself is called `accelerator`, as the driver looks for it."""

CORE = "core"
"""The accelerator's instance in the wrapper."""

BUSES = ("s_axis", "m_axis", "s_axi_lite")

_PARAMETERS = {
    "clk": f"ASSOCIATED_BUSIF {':'.join(BUSES)}, ASSOCIATED_RESET resetn",
    "resetn": "POLARITY ACTIVE_LOW",
    "s_axi_lite_awaddr": "XIL_INTERFACENAME s_axi_lite, PROTOCOL AXI4LITE",
}
_SIGNALS = {"clk": "clock:1.0 clk CLK", "resetn": "reset:1.0 resetn RST"}


def port_declarations(port_bits: int) -> tuple[str, ...]:
    """The accelerator's ports in Verilog, one a line, in order."""
    return (
        "input  wire        clk",
        "input  wire        resetn",
        f"input  wire [{port_bits - 1}:0] s_axis_tdata",
        "input  wire        s_axis_tvalid",
        "output wire        s_axis_tready",
        f"output wire [{port_bits - 1}:0] m_axis_tdata",
        "output wire        m_axis_tvalid",
        "input  wire        m_axis_tready",
        "output wire        m_axis_tlast",
        *REGISTER_PORTS,
    )


def wrapper(port_bits: int) -> str:
    """The text of the wrapper."""
    declarations = port_declarations(port_bits)
    names = [declaration.split()[-1] for declaration in declarations]
    lines = [
        "// The accelerator as a block of a Vivado design: names its interfaces, adds nothing.",
        f"module {WRAPPER} (",
    ]
    for declaration, name in zip(declarations, names, strict=True):
        comma = "" if name == names[-1] else ","
        lines += [*_attributes(name), f"    {declaration}{comma}"]
    lines += [");", f"  {TOP} {CORE} ("]
    lines += [f"      .{name}({name})," for name in names[:-1]]
    lines += [f"      .{names[-1]}({names[-1]})", "  );", "endmodule", ""]
    return "\n".join(lines)


def instantiation(port_bits: int) -> str:
    """A template: an instance of the accelerator, each port with a wire of its name."""
    names = [declaration.split()[-1] for declaration in port_declarations(port_bits)]
    lines = ["// One clock; resetn is synchronous, active low. 64-bit streams, 32-bit registers."]
    lines += [f"{TOP} {TOP}_0 (", *(f"    .{name}({name})," for name in names)]
    lines[-1] = lines[-1].removesuffix(",")
    return "\n".join([*lines, ");", ""])


def _attributes(name: str) -> list[str]:
    if name in _SIGNALS:
        kind = f"xilinx.com:signal:{_SIGNALS[name]}"
    else:
        bus, _, signal = name.rpartition("_")
        kind = f"xilinx.com:interface:{'aximm' if bus == 's_axi_lite' else 'axis'}:1.0"
        kind += f" {bus} {signal.upper()}"
    lines = [f'    (* X_INTERFACE_INFO = "{kind}" *)']
    if name in _PARAMETERS:
        lines.append(f'    (* X_INTERFACE_PARAMETER = "{_PARAMETERS[name]}" *)')
    return lines
