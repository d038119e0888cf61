"""The Tcl of a build, a script a step. All paths are relative to the build's folder.

Each step is a Vivado process of its own that reads what earlier ones wrote, so that a build which
was killed goes on from its last whole step, and a failure belongs to the step it happened in.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.boards import facts_of
from deploy.handoff import ACCELERATOR, DMA, Block, blocks_of
from deploy.registers import ADDRESS_RANGE

from ..boards import Board
from . import CAVEAT
from .ip_wrapper import BUSES, WRAPPER
from .systems import PS, System, system_of
from .tcl import properties, word, word_list

RTL, IP = "rtl", "ip"
PROJECT, DESIGN = "project", "system"
PROJECT_FILE = f"{PROJECT}/{PROJECT}.xpr"
DESIGN_TOP = f"{DESIGN}_wrapper"
LAYER_CLOCK, LAYER_CHECKPOINT = "clock.xdc", "layer.dcp"
DESIGN_FILE = f"{PROJECT}/{PROJECT}.srcs/sources_1/bd/{DESIGN}/{DESIGN}.bd"
HEAD = f"# Written by the bitstream plan. {CAVEAT}."


def package_ip(part: str, sources: list[str], memories: list[str]) -> str:
    """RTL and memory files -> a packaged IP in `ip/`.

    A missing memory file would leave its memory empty without an error, so each is looked for.
    """
    vendor, library, name, version = _blocks("pynq_z2")[1].vlnv.split(":")
    identity = {"vendor": vendor, "library": library, "name": name, "version": version}
    shown = {"display_name": "Narrowgauge accelerator", "description": "a neural network"}
    core = "[ipx::current_core]"
    return _script(
        *word_list("sources", [f"{RTL}/{source}" for source in sources]),
        *word_list("memories", [f"{RTL}/{memory}" for memory in memories]),
        "foreach path [concat $sources $memories] {",
        '    if {![file exists $path]} {error "missing file: $path"}',
        "}",
        f"create_project -force -part {word(part)} {PROJECT}_{IP} {PROJECT}_{IP}",
        "add_files -norecurse $sources",
        "add_files -norecurse $memories",
        f"set_property top {WRAPPER} [current_fileset]",
        "update_compile_order -fileset sources_1",
        f"ipx::package_project -root_dir {IP} -vendor {vendor} -library {library} \\",
        "    -taxonomy /UserIP -import_files -force",
        *properties({**identity, **shown, "core_revision": "1"}, core),
        "set_property supported_families {zynq Production zynquplus Production} " + core,
        f"foreach bus {{{' '.join(BUSES)} clk}} {{",
        f"    set interface [ipx::get_bus_interfaces $bus -of_objects {core}]",
        '    if {[llength $interface] != 1} {error "interface $bus was not inferred"}',
        "    # The frequency is the design's; a fixed one would be refused at any other clock.",
        "    if {[llength [ipx::get_bus_parameters -quiet FREQ_HZ -of_objects $interface]]} {",
        "        ipx::remove_bus_parameter FREQ_HZ $interface",
        "    }",
        "}",
        f"if {{![llength [ipx::get_memory_maps -quiet s_axi_lite -of_objects {core}]]}} {{",
        f"    ipx::add_memory_map s_axi_lite {core}",
        "    set_property slave_memory_map_ref s_axi_lite \\",
        f"        [ipx::get_bus_interfaces s_axi_lite -of_objects {core}]",
        "}",
        f"set map [ipx::get_memory_maps s_axi_lite -of_objects {core}]",
        "if {![llength [ipx::get_address_blocks -quiet -of_objects $map]]} {",
        "    ipx::add_address_block reg0 $map",
        "}",
        *properties(
            {"range": str(ADDRESS_RANGE), "width": "32", "usage": "register"},
            "[lindex [ipx::get_address_blocks -of_objects $map] 0]",
        ),
        f"ipx::create_xgui_files {core}",
        f"ipx::update_checksums {core}",
        f"ipx::save_core {core}",
        "close_project",
    )


def block_design(board: Board, clock_mhz: float) -> str:
    """The packaged IP, processing system, DMA, clock and reset -> a project and its .hwh."""
    system = system_of(board)
    dma, own = _blocks(board.name)
    pins = {
        "clock": f"{PS}/{system.clock}",
        "clocked": [
            *(f"{PS}/{pin}" for pin in system.clock_inputs),
            "reset/slowest_sync_clk",
            *("control/aclk", "memory/aclk"),
            *(f"{DMA}/{p}" for p in ("s_axi_lite_aclk", "m_axi_mm2s_aclk", "m_axi_s2mm_aclk")),
            f"{ACCELERATOR}/clk",
        ],
        "resets": [
            *("control/aresetn", "memory/aresetn", f"{DMA}/axi_resetn"),
            f"{ACCELERATOR}/resetn",
        ],
    }
    settings = {**system.settings, system.clock_setting: f"{clock_mhz:g}"}
    dma_settings = {f"CONFIG.{name}": value for name, value in dma.parameters.items()}
    dma_settings |= {
        "CONFIG.c_sg_include_stscntrl_strm": "0",
        "CONFIG.c_m_axis_mm2s_tdata_width": str(board.dma_bits),
        "CONFIG.c_addr_width": "32",
    }
    return _script(
        f"create_project -force -part {word(board.part)} {PROJECT} {PROJECT}",
        f"set_property ip_repo_paths [file normalize {IP}] [current_project]",
        "update_ip_catalog",
        f"create_bd_design {DESIGN}",
        _cell(PS, system.vlnv),
        *properties(settings, f"[get_bd_cells {PS}]"),
        _cell("reset", "xilinx.com:ip:proc_sys_reset"),
        _cell(DMA, dma.vlnv.rpartition(":")[0]),
        *properties(dma_settings, f"[get_bd_cells {DMA}]"),
        _cell(ACCELERATOR, own.vlnv),
        _cell("control", "xilinx.com:ip:smartconnect"),
        *properties({"CONFIG.NUM_SI": "1", "CONFIG.NUM_MI": "2"}, "[get_bd_cells control]"),
        _cell("memory", "xilinx.com:ip:smartconnect"),
        *properties({"CONFIG.NUM_SI": "2", "CONFIG.NUM_MI": "1"}, "[get_bd_cells memory]"),
        *(
            f"make_bd_intf_pins_external -name {name} [get_bd_intf_pins {PS}/{name}]"
            for name in system.external
        ),
        *(
            f"connect_bd_intf_net [get_bd_intf_pins {a}] [get_bd_intf_pins {b}]"
            for a, b in (
                (f"{PS}/{system.control}", "control/S00_AXI"),
                ("control/M00_AXI", f"{DMA}/S_AXI_LITE"),
                ("control/M01_AXI", f"{ACCELERATOR}/s_axi_lite"),
                (f"{DMA}/M_AXI_MM2S", "memory/S00_AXI"),
                (f"{DMA}/M_AXI_S2MM", "memory/S01_AXI"),
                ("memory/M00_AXI", f"{PS}/{system.memory}"),
                (f"{DMA}/M_AXIS_MM2S", f"{ACCELERATOR}/s_axis"),
                (f"{ACCELERATOR}/m_axis", f"{DMA}/S_AXIS_S2MM"),
            )
        ),
        *word_list("clocked", pins["clocked"]),
        "foreach pin $clocked {",
        f"    connect_bd_net [get_bd_pins {pins['clock']}] [get_bd_pins $pin]",
        "}",
        f"connect_bd_net [get_bd_pins {PS}/{system.reset}] [get_bd_pins reset/ext_reset_in]",
        *word_list("resets", pins["resets"]),
        "foreach pin $resets {",
        "    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]",
        "}",
        *(
            f"assign_bd_address -offset {block.base:#010x} -range {block.size:#x} \\\n"
            f"    -target_address_space [get_bd_addr_spaces {PS}/{system.space}] \\\n"
            f"    [get_bd_addr_segs -of_objects [get_bd_intf_pins {block.name}/{bus}]]"
            for block, bus in ((dma, "S_AXI_LITE"), (own, "s_axi_lite"))
        ),
        *(
            f"assign_bd_address -target_address_space [get_bd_addr_spaces {DMA}/{space}] \\\n"
            f"    [get_bd_addr_segs {PS}/{system.segment}]"
            for space in ("Data_MM2S", "Data_S2MM")
        ),
        *_exclusions(system),
        "validate_bd_design",
        "save_bd_design",
        "# Everything is synthesised at once, in the next step: one log, and one checkpoint.",
        f"set_property synth_checkpoint_mode None [get_files {DESIGN_FILE}]",
        f"generate_target all [get_files {DESIGN_FILE}]",
        f"add_files -norecurse [make_wrapper -files [get_files {DESIGN_FILE}] -top]",
        f"set_property top {DESIGN_TOP} [current_fileset]",
        "update_compile_order -fileset sources_1",
        "# Versions differ in where they put the hand-off.",
        "set handoff [concat \\",
        *(
            f"    [glob -nocomplain {PROJECT}/{PROJECT}.{place}/sources_1/bd/{DESIGN}"
            f"/hw_handoff/{DESIGN}.hwh] \\"
            for place in ("gen", "srcs")
        ),
        "]",
        'if {[llength $handoff] == 0} {error "no .hwh file was made"}',
        "file copy -force [lindex $handoff 0] accelerator.hwh",
        "close_project",
    )


def layer_synthesis(part: str, sources: list[str], memories: list[str], top: str) -> str:
    """A layer's RTL and memory files -> layer.dcp, synthesised out of context.

    Its modules get a name of their own: other layers have modules of the same name in other sizes.
    """
    return _script(
        f"create_project -in_memory -part {word(part)}",
        *word_list("sources", [f"{RTL}/{source}" for source in sources]),
        "read_verilog -sv $sources",
        *word_list("memories", [f"{RTL}/{memory}" for memory in memories]),
        "foreach memory $memories {read_mem $memory}",
        f"read_xdc -mode out_of_context {LAYER_CLOCK}",
        f"synth_design -top {word(top)} -part {word(part)} -mode out_of_context",
        f"rename_ref -prefix_all {word(top)}_",
        f"write_checkpoint -force {LAYER_CHECKPOINT}",
        "close_project",
    )


def layer_clock(clock_mhz: float) -> str:
    """The clock that a layer is synthesised for by itself."""
    return f"create_clock -period {1000 / clock_mhz:.3f} [get_ports clk]\n"


def synthesis(part: str, layers: Mapping[str, str] | None = None) -> str:
    """The project -> synthesised.dcp.

    `layers` are checkpoints by module: each takes the place of the one instance of its module,
    of which the project has the ports alone.
    """
    fill = []
    if layers:
        fill = [
            "foreach {module checkpoint} [list \\",
            *(f"    {word(module)} {word(path)} \\" for module, path in layers.items()),
            "] {",
            '    set cell [get_cells -quiet -hierarchical -filter "REF_NAME == $module"]',
            '    if {[llength $cell] != 1} {error "[llength $cell] instances of $module, not 1"}',
            "    read_checkpoint -cell $cell $checkpoint",
            "}",
            "set empty [get_cells -quiet -hierarchical -filter {IS_BLACKBOX}]",
            'if {[llength $empty]} {error "no netlist for $empty"}',
        ]
    return _script(
        f"open_project {PROJECT_FILE}",
        f"synth_design -top {DESIGN_TOP} -part {word(part)}",
        *fill,
        "write_checkpoint -force synthesised.dcp",
        "close_project",
    )


def placement() -> str:
    """synthesised.dcp -> placed.dcp."""
    return _script(
        "open_checkpoint synthesised.dcp",
        *("opt_design", "place_design", "phys_opt_design"),
        "write_checkpoint -force placed.dcp",
        "close_design",
    )


def routing() -> str:
    """placed.dcp -> routed.dcp and the reports, written before anything is judged."""
    cells = f"{DESIGN}_i/{ACCELERATOR}"
    return _script(
        "open_checkpoint placed.dcp",
        "route_design",
        "report_timing_summary -delay_type min_max -max_paths 1 -file timing.rpt",
        "report_utilization -file utilisation.rpt",
        f"report_utilization -cells [get_cells {cells}] -file utilisation_accelerator.rpt",
        "report_route_status -file routes.rpt",
        "write_checkpoint -force routed.dcp",
        "close_design",
    )


def bitstream() -> str:
    """routed.dcp -> accelerator.bit."""
    return _script(
        "open_checkpoint routed.dcp", "write_bitstream -force accelerator.bit", "close_design"
    )


def _script(*lines: str) -> str:
    return "\n".join([HEAD, *lines, ""])


def _cell(name: str, vlnv: str) -> str:
    return f"create_bd_cell -type ip -vlnv {word(vlnv)} {name}"


def _exclusions(system: System) -> list[str]:
    """What the DMA could reach and must not: left open, each would be a critical warning."""
    if not system.unused:
        return []
    spaces = [f"[get_bd_addr_spaces {DMA}/{space}]" for space in ("Data_MM2S", "Data_S2MM")]
    return [
        *word_list("unused", [f"{PS}/{segment}" for segment in system.unused]),
        "foreach segment [get_bd_addr_segs -quiet $unused] {",
        *(f"    exclude_bd_addr_seg -target_address_space {space} $segment" for space in spaces),
        "}",
    ]


def _blocks(board: str) -> tuple[Block, Block]:
    """The DMA and the accelerator as the virtual board has them: addresses, types, parameters."""
    dma, own = blocks_of("axi_dma", facts_of(board))
    return dma, own
