# What the IPs of our designs have, for the fake: pins (name direction), interfaces (name protocol
# mode, and the setting that has to be 1 or more for it to be there), address spaces, segments, and
# the names of settings. Written down from the vendor's product guides, by hand; * stands for digits.

set ips {
    xilinx.com:ip:processing_system7 {
        pins {FCLK_CLK0 O FCLK_RESET0_N O M_AXI_GP0_ACLK I M_AXI_GP1_ACLK I S_AXI_HP0_ACLK I}
        interfaces {
            M_AXI_GP0 {aximm master PCW_USE_M_AXI_GP0} M_AXI_GP1 {aximm master PCW_USE_M_AXI_GP1}
            S_AXI_HP0 {aximm slave PCW_USE_S_AXI_HP0} S_AXI_HP1 {aximm slave PCW_USE_S_AXI_HP1}
            DDR {ddrx master} FIXED_IO {display master}
        }
        spaces {Data}
        segments {S_AXI_HP0/HP0_DDR_LOWOCM}
        settings {
            PCW_CRYSTAL_PERIPHERAL_FREQMHZ PCW_USE_M_AXI_GP0 PCW_USE_M_AXI_GP1 PCW_USE_S_AXI_HP0
            PCW_USE_S_AXI_HP1 PCW_S_AXI_HP0_DATA_WIDTH PCW_EN_CLK0_PORT PCW_EN_RST0_PORT
            PCW_FPGA0_PERIPHERAL_FREQMHZ
        }
    }
    xilinx.com:ip:zynq_ultra_ps_e {
        pins {pl_clk0 O pl_resetn0 O maxihpm0_fpd_aclk I maxihpm1_fpd_aclk I saxihp0_fpd_aclk I}
        interfaces {
            M_AXI_HPM0_FPD {aximm master PSU__USE__M_AXI_GP0}
            M_AXI_HPM1_FPD {aximm master PSU__USE__M_AXI_GP1}
            M_AXI_HPM0_LPD {aximm master PSU__USE__M_AXI_GP2}
            S_AXI_HP0_FPD {aximm slave PSU__USE__S_AXI_GP2}
            S_AXI_HP1_FPD {aximm slave PSU__USE__S_AXI_GP3}
        }
        spaces {Data}
        segments {
            SAXIGP2/HP0_DDR_LOW SAXIGP2/HP0_DDR_HIGH SAXIGP2/HP0_LPS_OCM SAXIGP2/HP0_QSPI
        }
        settings {
            PSU__USE__M_AXI_GP0 PSU__USE__M_AXI_GP1 PSU__USE__M_AXI_GP2 PSU__USE__S_AXI_GP2
            PSU__USE__S_AXI_GP3 PSU__SAXIGP2__DATA_WIDTH PSU__FPGA_PL0_ENABLE PSU__USE__FABRIC__RST
            PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ
        }
    }
    xilinx.com:ip:axi_dma {
        pins {
            s_axi_lite_aclk I m_axi_sg_aclk I m_axi_mm2s_aclk I m_axi_s2mm_aclk I axi_resetn I
            mm2s_prmry_reset_out_n O s2mm_prmry_reset_out_n O mm2s_introut O s2mm_introut O
        }
        interfaces {
            S_AXI_LITE {aximm slave} M_AXI_SG {aximm master c_include_sg}
            M_AXI_MM2S {aximm master c_include_mm2s} M_AXI_S2MM {aximm master c_include_s2mm}
            M_AXIS_MM2S {axis master c_include_mm2s} S_AXIS_S2MM {axis slave c_include_s2mm}
        }
        spaces {Data_MM2S Data_S2MM}
        segments {S_AXI_LITE/Reg}
        settings {
            c_include_mm2s c_include_s2mm c_include_sg c_micro_dma c_sg_length_width
            c_m_axi_mm2s_data_width c_m_axi_s2mm_data_width c_include_mm2s_dre c_include_s2mm_dre
            c_sg_include_stscntrl_strm c_m_axis_mm2s_tdata_width c_s_axis_s2mm_tdata_width
            c_addr_width c_mm2s_burst_size c_s2mm_burst_size c_multi_channel
        }
    }
    xilinx.com:ip:proc_sys_reset {
        pins {
            slowest_sync_clk I ext_reset_in I aux_reset_in I mb_debug_sys_rst I dcm_locked I
            mb_reset O bus_struct_reset O peripheral_reset O interconnect_aresetn O
            peripheral_aresetn O
        }
        interfaces {} spaces {} segments {}
        settings {C_EXT_RESET_HIGH C_AUX_RESET_HIGH C_EXT_RST_WIDTH C_NUM_PERP_ARESETN}
    }
    xilinx.com:ip:smartconnect {
        pins {aclk I aresetn I}
        interfaces {S*_AXI {aximm slave NUM_SI} M*_AXI {aximm master NUM_MI}}
        spaces {} segments {}
        settings {NUM_SI NUM_MI NUM_CLKS HAS_ARESETN}
    }
    narrowgauge:rtl:accelerator {
        pins {clk I resetn I}
        interfaces {s_axis {axis slave} m_axis {axis master} s_axi_lite {aximm slave}}
        spaces {} segments {s_axi_lite/reg0} settings {}
    }
}

set kinds [dict create]   ;# cell -> its IP
set values [dict create]  ;# cell -> its settings

proc make_cell {cell vlnv} {
    global ips kinds values
    set kind [join [lrange [split $vlnv :] 0 2] :]
    if {![dict exists $ips $kind]} {error "\[BD 5-390\] IP definition not found for VLNV: $vlnv"}
    dict set kinds $cell $kind
    dict set values $cell {}
}

# What the cell's IP has of a sort: pins, interfaces, spaces, segments or settings.
proc of_cell {cell sort} {
    global ips kinds
    if {![dict exists $kinds $cell]} {error "\[BD 5-106\] no cell '$cell' in the design"}
    return [dict get $ips [dict get $kinds $cell] $sort]
}

proc set_values {cell list} {
    global values
    foreach {name value} $list {
        set name [string range $name [string length CONFIG.] end]
        if {$name ni [of_cell $cell settings]} {
            error "\[BD 41-1031\] '$cell' has no parameter '$name'"
        }
        dict set values $cell $name $value
    }
}

proc pin_direction {pin} {
    lassign [split $pin /] cell name
    set pins [of_cell $cell pins]
    if {![dict exists $pins $name]} {error "\[BD 5-232\] no pin '$name' of '$cell'"}
    return [dict get $pins $name]
}

# Protocol and mode of an interface that is there with the cell's settings.
proc interface_of {pin} {
    global values
    lassign [split $pin /] cell name
    foreach {pattern facts} [of_cell $cell interfaces] {
        lassign $facts protocol mode setting
        set at 0
        if {[string match {*\**} $pattern]} {
            set expression ^[string map {* (\\d\\d)} $pattern]\$
            if {![regexp $expression $name -> digits]} continue
            scan $digits %d at
        } elseif {$pattern ne $name} continue
        if {$setting ne ""} {
            set known [dict get $values $cell]
            set value [expr {[dict exists $known $setting] ? [dict get $known $setting] : 0}]
            if {$at >= $value} {error "\[BD 5-232\] '$pin' needs $setting above $at"}
        }
        return [list $protocol $mode]
    }
    error "\[BD 5-232\] no interface '$name' of '$cell'"
}

proc check_segment {path} {
    set cell [lindex [split $path /] 0]
    set name [join [lrange [split $path /] 1 end] /]
    if {$name ni [of_cell $cell segments]} {error "\[BD 5-230\] no segment '$name' of '$cell'"}
    return $path
}

proc check_space {path} {
    lassign [split $path /] cell name
    if {$name ni [of_cell $cell spaces]} {error "\[BD 5-229\] no space '$name' of '$cell'"}
    return $path
}

proc check_net {from to} {
    if {[pin_direction $from] ne "O"} {error "\[BD 41-758\] '$from' drives nothing"}
    if {[pin_direction $to] ne "I"} {error "\[BD 41-759\] '$to' is an output"}
}

proc check_interface_net {a b} {
    lassign [interface_of $a] protocol mode
    lassign [interface_of $b] other_protocol other_mode
    if {$protocol ne $other_protocol} {error "\[BD 41-171\] '$a' is $protocol, '$b' $other_protocol"}
    if {$mode eq $other_mode} {error "\[BD 41-172\] '$a' and '$b' are both $mode"}
}

# Every input of clocks and resets, and every interface that is there, has to be connected.
proc check_connections {connected} {
    global kinds
    foreach cell [dict keys $kinds] {
        foreach {name direction} [of_cell $cell pins] {
            if {$direction ne "I" || "$cell/$name" in $connected} continue
            if {![regexp {(^clk|aclk|aresetn|resetn|_clk|ext_reset_in)$} $name]} continue
            if {$name eq "m_axi_sg_aclk" || [regexp {(GP1_ACLK|hpm1_fpd_aclk)} $name]} continue
            error "\[BD 41-758\] the input '$cell/$name' is not connected"
        }
    }
}
