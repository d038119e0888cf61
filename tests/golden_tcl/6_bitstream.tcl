# Written by the bitstream plan. Not yet run on Vivado by this project.
open_checkpoint routed.dcp
write_bitstream -force accelerator.bit
close_design
