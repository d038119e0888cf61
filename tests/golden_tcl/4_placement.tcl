# Written by the bitstream plan. Not yet run on Vivado by this project.
open_checkpoint synthesised.dcp
opt_design
place_design
phys_opt_design
write_checkpoint -force placed.dcp
close_design
