# Written by the bitstream plan. Not yet run on Vivado by this project.
create_project -in_memory -part xc7z020clg400-1
set sources [list \
    rtl/mvu.sv \
    rtl/layer_fc0.v \
]
read_verilog -sv $sources
set memories [list \
    rtl/fc0_weight.mem \
]
foreach memory $memories {read_mem $memory}
read_xdc -mode out_of_context clock.xdc
synth_design -top layer_fc0 -part xc7z020clg400-1 -mode out_of_context
rename_ref -prefix_all layer_fc0_
write_checkpoint -force layer.dcp
close_project
