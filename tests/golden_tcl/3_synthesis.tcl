# Written by the bitstream plan. Not yet run on Vivado by this project.
open_project project/project.xpr
synth_design -top system_wrapper -part xc7z020clg400-1
write_checkpoint -force synthesised.dcp
close_project
