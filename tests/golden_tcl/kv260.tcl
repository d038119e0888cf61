# Written by the bitstream plan. Not yet run on Vivado by this project.
create_project -force -part xck26-sfvc784-2LV-c project project
set_property ip_repo_paths [file normalize ip] [current_project]
update_ip_catalog
create_bd_design system
create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps
set_property -dict [list \
    CONFIG.PSU__USE__M_AXI_GP0 1 \
    CONFIG.PSU__USE__M_AXI_GP1 0 \
    CONFIG.PSU__USE__M_AXI_GP2 0 \
    CONFIG.PSU__USE__S_AXI_GP2 1 \
    CONFIG.PSU__SAXIGP2__DATA_WIDTH 128 \
    CONFIG.PSU__FPGA_PL0_ENABLE 1 \
    CONFIG.PSU__USE__FABRIC__RST 1 \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 200 \
] [get_bd_cells ps]
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma axi_dma_0
set_property -dict [list \
    CONFIG.c_include_mm2s 1 \
    CONFIG.c_include_s2mm 1 \
    CONFIG.c_include_sg 0 \
    CONFIG.c_micro_dma 0 \
    CONFIG.c_sg_length_width 26 \
    CONFIG.c_m_axi_mm2s_data_width 64 \
    CONFIG.c_m_axi_s2mm_data_width 64 \
    CONFIG.c_include_mm2s_dre 0 \
    CONFIG.c_include_s2mm_dre 0 \
    CONFIG.c_sg_include_stscntrl_strm 0 \
    CONFIG.c_m_axis_mm2s_tdata_width 64 \
    CONFIG.c_addr_width 32 \
] [get_bd_cells axi_dma_0]
create_bd_cell -type ip -vlnv narrowgauge:rtl:accelerator:1.0 accelerator_0
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect control
set_property -dict [list \
    CONFIG.NUM_SI 1 \
    CONFIG.NUM_MI 2 \
] [get_bd_cells control]
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect memory
set_property -dict [list \
    CONFIG.NUM_SI 2 \
    CONFIG.NUM_MI 1 \
] [get_bd_cells memory]
connect_bd_intf_net [get_bd_intf_pins ps/M_AXI_HPM0_FPD] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_pins axi_dma_0/S_AXI_LITE]
connect_bd_intf_net [get_bd_intf_pins control/M01_AXI] [get_bd_intf_pins accelerator_0/s_axi_lite]
connect_bd_intf_net [get_bd_intf_pins axi_dma_0/M_AXI_MM2S] [get_bd_intf_pins memory/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins axi_dma_0/M_AXI_S2MM] [get_bd_intf_pins memory/S01_AXI]
connect_bd_intf_net [get_bd_intf_pins memory/M00_AXI] [get_bd_intf_pins ps/S_AXI_HP0_FPD]
connect_bd_intf_net [get_bd_intf_pins axi_dma_0/M_AXIS_MM2S] [get_bd_intf_pins accelerator_0/s_axis]
connect_bd_intf_net [get_bd_intf_pins accelerator_0/m_axis] [get_bd_intf_pins axi_dma_0/S_AXIS_S2MM]
set clocked [list \
    ps/maxihpm0_fpd_aclk \
    ps/saxihp0_fpd_aclk \
    reset/slowest_sync_clk \
    control/aclk \
    memory/aclk \
    axi_dma_0/s_axi_lite_aclk \
    axi_dma_0/m_axi_mm2s_aclk \
    axi_dma_0/m_axi_s2mm_aclk \
    accelerator_0/clk \
]
foreach pin $clocked {
    connect_bd_net [get_bd_pins ps/pl_clk0] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins ps/pl_resetn0] [get_bd_pins reset/ext_reset_in]
set resets [list \
    control/aresetn \
    memory/aresetn \
    axi_dma_0/axi_resetn \
    accelerator_0/resetn \
]
foreach pin $resets {
    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]
}
assign_bd_address -offset 0xa0000000 -range 0x10000 \
    -target_address_space [get_bd_addr_spaces ps/Data] \
    [get_bd_addr_segs -of_objects [get_bd_intf_pins axi_dma_0/S_AXI_LITE]]
assign_bd_address -offset 0xa0010000 -range 0x1000 \
    -target_address_space [get_bd_addr_spaces ps/Data] \
    [get_bd_addr_segs -of_objects [get_bd_intf_pins accelerator_0/s_axi_lite]]
assign_bd_address -target_address_space [get_bd_addr_spaces axi_dma_0/Data_MM2S] \
    [get_bd_addr_segs ps/SAXIGP2/HP0_DDR_LOW]
assign_bd_address -target_address_space [get_bd_addr_spaces axi_dma_0/Data_S2MM] \
    [get_bd_addr_segs ps/SAXIGP2/HP0_DDR_LOW]
set unused [list \
    ps/SAXIGP2/HP0_DDR_HIGH \
    ps/SAXIGP2/HP0_LPS_OCM \
    ps/SAXIGP2/HP0_QSPI \
]
foreach segment [get_bd_addr_segs -quiet $unused] {
    exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces axi_dma_0/Data_MM2S] $segment
    exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces axi_dma_0/Data_S2MM] $segment
}
validate_bd_design
save_bd_design
# Everything is synthesised at once, in the next step: one log, and one checkpoint.
set_property synth_checkpoint_mode None [get_files project/project.srcs/sources_1/bd/system/system.bd]
generate_target all [get_files project/project.srcs/sources_1/bd/system/system.bd]
add_files -norecurse [make_wrapper -files [get_files project/project.srcs/sources_1/bd/system/system.bd] -top]
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1
# Versions differ in where they put the hand-off.
set handoff [concat \
    [glob -nocomplain project/project.gen/sources_1/bd/system/hw_handoff/system.hwh] \
    [glob -nocomplain project/project.srcs/sources_1/bd/system/hw_handoff/system.hwh] \
]
if {[llength $handoff] == 0} {error "no .hwh file was made"}
file copy -force [lindex $handoff 0] accelerator.hwh
close_project
