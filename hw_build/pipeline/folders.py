"""Names of the stages' folders in a run directory; the flow itself starts at 03."""

TRAINING = "01_train"
GRAPH, GOLDEN, FOLDING, RTL = "03_graph", "04_golden", "05_folding", "06_rtl"
HARDWARE = "hardware"
"""In a graph's folder: the graph that the hardware was built from, where that is another one."""
SIMULATION, SYNTHESIS, FINN = "07_simulation", "08_synthesis", "09_finn"
BITSTREAM, FINN_BUILD = "09_bitstream", "09_finn_build"
BUNDLE, BOARD, REPORT = "10_bundle", "11_board", "12_report"
