# Stand-ins for the commands of Vivado that the plans use: each knows its options, the files that
# it needs and those that it makes. An unknown command or option, a missing file or object ends the
# script, as Vivado would. Started by fake_vivado.py; `fault` names what shall go wrong.

source [file join [file dirname [info script]] fake_vivado_ips.tcl]
set fault [lindex $argv 1]
set forms [lindex $argv 2]

# command -> {options that take a value} {flags} least most: how many plain arguments
set commands {
    create_project {{-part} {-force -in_memory} 0 2}
    open_project {{} {} 1 1}
    close_project {{} {} 0 0}
    close_design {{} {} 0 0}
    add_files {{} {-norecurse} 1 1}
    get_files {{} {} 1 1}
    current_project {{} {} 0 0}
    current_fileset {{} {} 0 0}
    update_compile_order {{-fileset} {} 0 0}
    update_ip_catalog {{} {} 0 0}
    set_property {{-dict} {} 1 3}
    create_bd_design {{} {} 1 1}
    create_bd_cell {{-type -vlnv} {} 1 1}
    get_bd_cells {{} {} 1 1}
    get_cells {{-filter} {-quiet -hierarchical} 0 1}
    read_verilog {{} {-sv} 1 1}
    read_mem {{} {} 1 1}
    read_xdc {{-mode} {} 1 1}
    read_checkpoint {{-cell} {} 1 1}
    rename_ref {{-prefix_all} {} 0 0}
    get_ports {{} {} 1 1}
    create_clock {{-period} {} 1 1}
    get_bd_pins {{} {} 1 1}
    get_bd_intf_pins {{} {} 1 1}
    get_bd_addr_spaces {{} {} 1 1}
    get_bd_addr_segs {{-of_objects} {-quiet} 0 1}
    exclude_bd_addr_seg {{-target_address_space} {} 1 1}
    make_bd_intf_pins_external {{-name} {} 1 1}
    connect_bd_net {{} {} 2 2}
    connect_bd_intf_net {{} {} 2 2}
    assign_bd_address {{-offset -range -target_address_space} {} 1 1}
    validate_bd_design {{} {} 0 0}
    save_bd_design {{} {} 0 0}
    generate_target {{} {} 2 2}
    make_wrapper {{-files} {-top} 0 0}
    synth_design {{-top -part -mode} {} 0 0}
    opt_design {{} {} 0 0}
    place_design {{} {} 0 0}
    phys_opt_design {{} {} 0 0}
    route_design {{} {} 0 0}
    open_checkpoint {{} {} 1 1}
    write_checkpoint {{} {-force} 1 1}
    report_timing_summary {{-delay_type -max_paths -file} {} 0 0}
    report_utilization {{-cells -file} {} 0 0}
    report_route_status {{-file} {} 0 0}
    write_bitstream {{} {-force} 1 1}
    ipx::package_project {{-root_dir -vendor -library -taxonomy} {-import_files -force} 0 0}
    ipx::current_core {{} {} 0 0}
    ipx::get_bus_interfaces {{-of_objects} {} 1 1}
    ipx::get_bus_parameters {{-of_objects} {-quiet} 1 1}
    ipx::remove_bus_parameter {{} {} 2 2}
    ipx::get_memory_maps {{-of_objects} {-quiet} 1 1}
    ipx::add_memory_map {{} {} 2 2}
    ipx::get_address_blocks {{-of_objects} {-quiet} 0 0}
    ipx::add_address_block {{} {} 2 2}
    ipx::create_xgui_files {{} {} 1 1}
    ipx::update_checksums {{} {} 1 1}
    ipx::save_core {{} {} 1 1}
}

namespace eval ipx {}
dict for {name form} $commands {
    proc $name args "dispatch [list $name] [list $form] \$args"
}

proc dispatch {name form arguments} {
    lassign $form valued flags least most
    set options [dict create]
    set plain {}
    for {set i 0} {$i < [llength $arguments]} {incr i} {
        set argument [lindex $arguments $i]
        if {$argument in $valued} {
            if {[incr i] >= [llength $arguments]} {error "$name: $argument needs a value"}
            dict set options $argument [lindex $arguments $i]
        } elseif {$argument in $flags} {
            dict set options $argument 1
        } elseif {[string match -* $argument]} {
            error "\[Common 17-170\] Unknown option '$argument' of $name"
        } else {
            lappend plain $argument
        }
    }
    set n [llength $plain]
    if {$n < $least || $n > $most} {error "$name: $n arguments, not $least to $most"}
    return [perform $name $options $plain]
}

proc need {path} {
    if {![file exists $path]} {error "\[Common 17-55\] file '$path' does not exist"}
}

proc touch {path {text ""}} {
    file mkdir [file dirname $path]
    set file [open $path w]
    puts -nonewline $file $text
    close $file
}

proc form {name} {
    global forms
    set file [open [file join $forms $name]]
    set text [read $file]
    close $file
    set instance [expr {[info exists ::env(FAKE_VIVADO_INSTANCE)] ? $::env(FAKE_VIVADO_INSTANCE) : "x"}]
    return [string map [list @INSTANCE@ $instance] $text]
}

set connected {}
set read {}

# Cells whose module is nothing but ports in what is synthesised, as instance and module.
set blackboxes {}

proc text_of {path} {
    need $path
    set file [open $path]
    set text [read $file]
    close $file
    return $text
}

proc synthesise {top} {
    global read blackboxes
    if {$read eq {}} {
        # the project: of its accelerator, what was packaged
        if {[file exists rtl/layer_stubs.v]} {
            set stubs [text_of rtl/layer_stubs.v]
            foreach {- module} [regexp -all -inline {black_box \*\) module (\w+)} $stubs] {
                set uses "\\m$module (\\w+) \\("
                foreach {- instance} [regexp -all -inline $uses [text_of rtl/accelerator.sv]] {
                    lappend blackboxes system_i/accelerator_0/inst/core/$instance $module
                }
            }
        }
    } elseif {![regexp "\\nmodule $top \\(" "\n[join [lmap path $read {text_of $path}] \n]"]} {
        error "\[Synth 8-439\] module '$top' not found"
    }
}

proc find_cells {filter} {
    global blackboxes
    set found {}
    foreach {cell module} $blackboxes {
        if {$filter in [list IS_BLACKBOX "REF_NAME == $module"]} {lappend found $cell}
    }
    return $found
}

proc perform {name options plain} {
    global fault connected read blackboxes
    switch -glob -- $name {
        create_project {
            if {[dict exists $options -in_memory]} return
            lassign $plain project folder
            touch $folder/$project.xpr
        }
        open_project - open_checkpoint { need [lindex $plain 0] }
        add_files { foreach path [lindex $plain 0] { need $path } }
        set_property {
            if {[dict exists $options -dict]} {
                if {[llength [dict get $options -dict]] % 2} {error "set_property: odd list"}
                if {[llength $plain] != 1} {error "set_property -dict: one object"}
                set list [dict get $options -dict]
                if {[string match CONFIG.* [lindex $list 0]]} {set_values [lindex $plain 0] $list}
            } elseif {[llength $plain] != 3} {error "set_property: name, value, object"}
        }
        create_bd_cell {
            if {[llength [split [dict get $options -vlnv] :]] ni {3 4}} {error "bad VLNV"}
            make_cell [lindex $plain 0] [dict get $options -vlnv]
        }
        create_bd_design {
            touch project/project.srcs/sources_1/bd/[lindex $plain 0]/[lindex $plain 0].bd
        }
        get_bd_cells {
            of_cell [lindex $plain 0] pins
            return [lindex $plain 0]
        }
        get_bd_pins {
            pin_direction [lindex $plain 0]
            return [lindex $plain 0]
        }
        get_bd_intf_pins {
            interface_of [lindex $plain 0]
            return [lindex $plain 0]
        }
        get_bd_addr_spaces { return [check_space [lindex $plain 0]] }
        get_bd_addr_segs {
            if {[dict exists $options -of_objects]} {return [dict get $options -of_objects]/Reg}
            # quietly: all that are there, here but for memory that this processor is not set up for
            if {![dict exists $options -quiet]} {return [check_segment [lindex $plain 0]]}
            return [lmap s [lindex $plain 0] {
                if {[string match *HIGH [check_segment $s]]} continue
                set s
            }]
        }
        connect_bd_net - connect_bd_intf_net {
            lassign $plain from to
            [expr {$name eq "connect_bd_net" ? "check_net" : "check_interface_net"}] $from $to
            if {$to in $connected} {error "\[BD 41-1306\] '$to' has a driver already"}
            lappend connected $to
        }
        validate_bd_design {
            check_connections $connected
            puts "connected: [llength $connected]"
        }
        generate_target {
            need [lindex $plain 1]
            set folder project/project.gen/sources_1/bd/system
            touch $folder/hw_handoff/system.hwh [form system.hwh]
        }
        make_wrapper {
            need [dict get $options -files]
            touch project/wrapper.v
            return project/wrapper.v
        }
        get_files - get_ports { return [lindex $plain 0] }
        get_cells {
            if {[dict exists $options -filter]} {return [find_cells [dict get $options -filter]]}
            return [lindex $plain 0]
        }
        read_verilog {
            foreach path [lindex $plain 0] { need $path }
            set read [lindex $plain 0]
        }
        read_mem { need [lindex $plain 0] }
        read_xdc { source [lindex $plain 0] }
        read_checkpoint {
            need [lindex $plain 0]
            set at [lsearch $blackboxes [dict get $options -cell]]
            if {$at < 0} {error "\[Project 1-1\] cell is not a black box"}
            set blackboxes [lreplace $blackboxes $at $at+1]
        }
        current_project - current_fileset - ipx::current_core { return $name }
        synth_design {
            synthesise [dict get $options -top]
            misbehave synthesis
        }
        place_design { misbehave placement }
        route_design { misbehave routing }
        write_checkpoint { touch [lindex $plain 0] }
        report_timing_summary {
            touch [dict get $options -file] \
                [form [expr {$fault eq "timing" ? "timing_violated.rpt" : "timing_met.rpt"}]]
        }
        report_utilization { touch [dict get $options -file] [form utilisation.rpt] }
        report_route_status {
            touch [dict get $options -file] \
                [form [expr {$fault eq "unroutable" ? "routes_failed.rpt" : "routes_met.rpt"}]]
        }
        write_bitstream { touch [lindex $plain 0] [form accelerator.bit] }
        ipx::package_project { touch [dict get $options -root_dir]/component.xml }
        ipx::get_bus_interfaces - ipx::get_memory_maps { return [lindex $plain 0] }
        ipx::get_bus_parameters - ipx::get_address_blocks { return {} }
    }
}

proc misbehave {step} {
    global fault
    switch -- $step-$fault {
        synthesis-licence {
            error "\[Common 17-345\] A valid license was not found for feature 'Synthesis'\
                and/or device 'xc7z020'. Please run the Vivado License Manager for assistance"
        }
        synthesis-memory {
            puts "terminate called after throwing an instance of 'std::bad_alloc'"
            flush stdout
            exit 134
        }
        synthesis-crash {
            puts "realloc(): invalid pointer"
            puts "Abnormal program termination (6)"
            flush stdout
            exit 134
        }
        synthesis-readmem {
            puts "CRITICAL WARNING: \[Synth 8-4445\] could not open \$readmem data file\
                'identity.mem'; please make sure the file is added to project and has read\
                permission, ignoring"
        }
        synthesis-critical {
            puts "CRITICAL WARNING: \[Common 17-1000\] something to look at"
            puts "CRITICAL WARNING: \[PSU-1\] PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0 is negative"
        }
        placement-fit {
            error "\[Place 30-640\] Place Check : This design requires more Slice LUTs cells than\
                are available in the target device. This design requires 60000 of such cell types\
                but only 53200 compatible sites are available in the target device."
        }
        placement-killed {
            flush stdout
            exec kill -9 [pid]
        }
        placement-hangs {
            touch hangs.pid [pid]
            exec sleep 300
        }
        placement-unknown { error "\[Place 99-9\] nobody has seen this one" }
        routing-congestion {
            puts "CRITICAL WARNING: \[Route 35-162\] 12 signals failed to route due to routing\
                congestion. Please run report_route_status to get a full summary"
        }
    }
}

set script [lindex $argv 0]
if {[catch {source $script} message]} {
    puts "ERROR: $message"
    exit 1
}
