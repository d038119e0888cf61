"""Which of our foldings FINN can build, and the frame rate of one that it can't."""

from __future__ import annotations

from hw_build.graph import Graph, MatVec

MAX_STREAM_BITS = 8191  # FINN's MAX_ALLOWED_AP_INT_W, the widest word of Vitis HLS
MAX_INPUTS_PER_LANE = 1024  # FINN's HLS matrix-vector unit wants SIMD >= inputs / 1024

Folding = dict[str, tuple[int, int]]
"""By layer name, PE and SIMD: of every MatVec, and of other layers where they have one."""


def folding_refusal(graph: Graph, folding: Folding | None) -> str | None:
    """Why FINN can't build `folding` of `graph`, in a sentence; None if it can."""
    if folding is None:
        return "no folding was given"
    infos = graph.infer()
    for layer in graph:
        if not isinstance(layer, MatVec):
            continue
        if layer.name not in folding:
            return f"{layer.name} has no PE and SIMD"
        (pe, simd), (n_outputs, n_inputs) = folding[layer.name], layer.weights.shape
        if min(pe, simd) < 1 or n_outputs % pe or n_inputs % simd:
            return f"PE {pe}, SIMD {simd} do not divide {layer.name}, {n_outputs} x {n_inputs}"
        if simd * MAX_INPUTS_PER_LANE < n_inputs:
            return f"SIMD {simd} of {layer.name} is less than its {n_inputs} inputs / 1024"
        # FINN keeps +-1 weights in one bit on bipolar vectors only, and in two on all others.
        weight_bits = max(layer.weight_bits, 1 if infos[layer.source].type.bipolar else 2)
        stream_bits = pe * simd * weight_bits
        if stream_bits > MAX_STREAM_BITS:
            return f"{layer.name} reads {stream_bits} weight bits a cycle, FINN's HLS takes 8191"
    return None


def cycles_per_frame(graph: Graph, folding: Folding) -> int:
    """The slowest MatVec's cycles, partly filled folds counted whole."""
    infos = graph.infer()
    cycles = [1]
    for layer in graph:
        if isinstance(layer, MatVec) and layer.name in folding:
            n_outputs, n_inputs = layer.weights.shape
            pe, simd = folding[layer.name]
            folds = -(-n_outputs // max(pe, 1)) * -(-n_inputs // max(simd, 1))
            cycles.append(folds * infos[layer.name].n_pixels)
    return max(cycles)
