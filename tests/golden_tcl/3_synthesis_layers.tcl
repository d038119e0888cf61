# Written by the bitstream plan. Not yet run on Vivado by this project.
open_project project/project.xpr
synth_design -top system_wrapper -part xc7z020clg400-1
foreach {module checkpoint} [list \
    layer_fc0 layers/fc0.dcp \
    layer_fc1 layers/fc1.dcp \
] {
    set cell [get_cells -quiet -hierarchical -filter "REF_NAME == $module"]
    if {[llength $cell] != 1} {error "[llength $cell] instances of $module, not 1"}
    read_checkpoint -cell $cell $checkpoint
}
set empty [get_cells -quiet -hierarchical -filter {IS_BLACKBOX}]
if {[llength $empty]} {error "no netlist for $empty"}
write_checkpoint -force synthesised.dcp
close_project
