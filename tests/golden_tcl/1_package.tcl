# Written by the bitstream plan. Not yet run on Vivado by this project.
set sources [list \
    rtl/a.sv \
    rtl/b.v \
]
set memories [list \
    {rtl/a weight.mem} \
]
foreach path [concat $sources $memories] {
    if {![file exists $path]} {error "missing file: $path"}
}
create_project -force -part xc7z020clg400-1 project_ip project_ip
add_files -norecurse $sources
add_files -norecurse $memories
set_property top narrowgauge_accelerator [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir ip -vendor narrowgauge -library rtl \
    -taxonomy /UserIP -import_files -force
set_property -dict [list \
    vendor narrowgauge \
    library rtl \
    name accelerator \
    version 1.0 \
    display_name {Narrowgauge accelerator} \
    description {a neural network} \
    core_revision 1 \
] [ipx::current_core]
set_property supported_families {zynq Production zynquplus Production} [ipx::current_core]
foreach bus {s_axis m_axis s_axi_lite clk} {
    set interface [ipx::get_bus_interfaces $bus -of_objects [ipx::current_core]]
    if {[llength $interface] != 1} {error "interface $bus was not inferred"}
    # The frequency is the design's; a fixed one would be refused at any other clock.
    if {[llength [ipx::get_bus_parameters -quiet FREQ_HZ -of_objects $interface]]} {
        ipx::remove_bus_parameter FREQ_HZ $interface
    }
}
if {![llength [ipx::get_memory_maps -quiet s_axi_lite -of_objects [ipx::current_core]]]} {
    ipx::add_memory_map s_axi_lite [ipx::current_core]
    set_property slave_memory_map_ref s_axi_lite \
        [ipx::get_bus_interfaces s_axi_lite -of_objects [ipx::current_core]]
}
set map [ipx::get_memory_maps s_axi_lite -of_objects [ipx::current_core]]
if {![llength [ipx::get_address_blocks -quiet -of_objects $map]]} {
    ipx::add_address_block reg0 $map
}
set_property -dict [list \
    range 4096 \
    width 32 \
    usage register \
] [lindex [ipx::get_address_blocks -of_objects $map] 0]
ipx::create_xgui_files [ipx::current_core]
ipx::update_checksums [ipx::current_core]
ipx::save_core [ipx::current_core]
close_project
