# Written by the bitstream plan. Not yet run on Vivado by this project.
open_checkpoint placed.dcp
route_design
report_timing_summary -delay_type min_max -max_paths 1 -file timing.rpt
report_utilization -file utilisation.rpt
report_utilization -cells [get_cells system_i/accelerator_0] -file utilisation_accelerator.rpt
report_route_status -file routes.rpt
write_checkpoint -force routed.dcp
close_design
