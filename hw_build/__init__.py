"""From QONNX to a streaming accelerator: the integer graph, folding, RTL, simulation, synthesis."""
