"""Plants faults in an accelerator, one at a time, and asks whether the gates see them.

Usage: python -m benchmarks.fault_injection [RUN] [--inputs N] [--memory-faults N] [--seed S]
                                            [--json FILE]

RUN is an exported run directory of an MLP or a CNN. Its test set, or the first N inputs of it, runs
through every faulty accelerator, which is the one that the flow made there, if it did. Without RUN
a ternary network for the digits is trained first (in runs/fault_injection) and folded so that every
module that chains need is instantiated. Faults are single bits of the memories (weights, start
values, thresholds) and changes of the RTL's text. A fault that changes what any stream carries has
to make the gate fail; one that doesn't is listed as silent, with the reason where it is known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.table import Table

from benchmarks.faults import MUTANTS, Bench, Verdict, escaped, silent_reasons
from benchmarks.memory_faults import sample_memory_faults
from benchmarks.record import print_header
from hw_build.blocks import Block
from hw_build.fifo_sizing import size_fifos
from hw_build.fifos import with_fifos
from hw_build.folded import load_blocks
from hw_build.folding import Folding, legal_foldings
from hw_build.folding_search import choose_folding
from hw_build.graph import Graph, MatVec
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.pipeline.folders import FOLDING
from hw_build.progress import progress
from hw_build.vectors import exported_vectors
from training.config import load_config
from training.export import export_run
from training.train import train_run

CONFIG = Path(__file__).parent.parent / "training" / "configs" / "digits_w2a2.toml"
MEMORY_FAULTS = 500
INTERVAL = 64
"""Cycles a frame of a run's accelerator: what the benchmarks of the trained networks use."""


def trained_digits(run: Path) -> Path:
    """`run`, in which a ternary network for the digits was trained and exported, now or before."""
    train_run(load_config(CONFIG), run)
    export_run(run)
    return run


def uneven_folding(graph: Graph) -> dict[str, Folding]:
    """A folding of the digits' network (64-64-64-64-10) in which every module of the RTL occurs.

    The first and third layer put all rows out at once, the others replay their input; converters
    split and join, with padding and without; the last layer's weights lie in block memory and its
    rows are padded. Scores are compared as they come, four at once.
    """
    folds = (Folding(64, 7), Folding(24, 16), Folding(64, 16), Folding(4, 1))
    names = (layer.name for layer in graph if isinstance(layer, MatVec))
    return {**dict(zip(names, folds, strict=True)), graph.output.name: Folding(4, 1)}


def small_folding(graph: Graph) -> dict[str, Folding]:
    """Few lanes a layer, for the body that is synthesised: it simulates gate by gate."""
    return {
        name: Folding(_at_most(2, legal.pe.values), _at_most(12, legal.simd.values))
        for name, legal in legal_foldings(graph).items()
    }


def _at_most(most: int, values: Sequence[int]) -> int:
    """The greatest of the ascending `values` up to `most`, or else the least."""
    return max((value for value in values if value <= most), default=values[0])


def sized(graph: Graph, folding: dict[str, Folding]) -> tuple[Block, ...]:
    """The accelerator of a folding, with the FIFOs that its branches need."""
    blocks = lower(graph, folding)
    return with_fifos(blocks, size_fifos(blocks))


def blocks_of(run: Path, graph: Graph) -> tuple[Block, ...]:
    """The accelerator that the flow made in `run`; without one, folded for `INTERVAL` cycles."""
    made = run / FOLDING
    return (
        load_blocks(made, graph, 64)
        if made.exists()
        else sized(graph, choose_folding(graph, INTERVAL))
    )


def inject(
    run: Path, n_memory_faults: int, seed: int, *, n_inputs: int | None = None, uneven: bool = False
) -> list[Verdict]:
    """Tries `n_memory_faults` bits and every mutant that applies on the network of `run`.

    With `uneven`, the network is the digits' one, folded by `uneven_folding`. Inputs are the first
    `n_inputs` of the run's test set, or all.
    """
    imported = import_qonnx(run / "model.onnx", "class")
    graph = imported.graph
    inputs = imported.quantiser(exported_vectors(run / "vectors.npz").inputs)[:n_inputs]
    blocks = lower(graph, uneven_folding(graph)) if uneven else blocks_of(run, graph)
    small = sized(graph, small_folding(graph))
    with tempfile.TemporaryDirectory() as scratch, progress("faults") as show:
        whole, gates = Path(scratch, "whole"), Path(scratch, "gates")
        whole.mkdir()
        gates.mkdir()
        bench = Bench(graph, blocks, inputs, whole)
        compressed = Bench(graph, small, inputs, gates, compress=True)
        return try_all(bench, compressed, n_memory_faults, seed, show)


def try_all(
    bench: Bench,
    compressed: Bench,
    n_memory_faults: int,
    seed: int,
    show: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> list[Verdict]:
    """Verdicts on `n_memory_faults` bits of `bench`, and on all mutants that apply to either."""
    faults = sample_memory_faults(bench.blocks, n_memory_faults, seed)
    trials = [
        *((bench.try_memory_fault, fault) for fault in faults),
        *((bench.try_mutant, mutant) for mutant in bench.applicable(MUTANTS)),
        *((compressed.try_mutant, mutant) for mutant in compressed.applicable(MUTANTS)),
    ]
    verdicts: list[Verdict] = []
    for done, (attempt, fault) in enumerate(trials, 1):
        verdicts.append(attempt(fault))
        show(done, len(trials))
    return verdicts


def table_of(verdicts: list[Verdict]) -> Table:
    """Counts by kind of fault."""
    sizes = sorted(verdicts[0].caught)
    table = Table(
        "kind of fault",
        "planted",
        "silent",
        "show",
        *(f"caught at {n:,}" for n in sizes),
        "seen in results",
    )
    kinds = list(dict.fromkeys(v.kind for v in verdicts))
    for kind in [*kinds, "all"]:
        of_kind = [v for v in verdicts if kind in (v.kind, "all")]
        shown = [v for v in of_kind if v.shows]
        caught = [_share(sum(v.caught[n] for v in shown), len(shown)) for n in sizes]
        seen = sum(v.output_changed or bool(v.stopped) for v in shown)
        counts = (len(of_kind), len(of_kind) - len(shown), len(shown))
        table.add_row(kind, *map(str, counts), *caught, _share(seen, len(shown)))
    return table


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "-"


def main() -> int:
    """Exit code 1 if a fault that shows escaped the gate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--inputs", type=int, help="the first so many; all by default")
    parser.add_argument("--memory-faults", type=int, default=MEMORY_FAULTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where every verdict goes as well")
    options = parser.parse_args()
    print_header("simulated")
    run = options.run or trained_digits(Path("runs/fault_injection"))
    verdicts = inject(
        run,
        options.memory_faults,
        options.seed,
        n_inputs=options.inputs,
        uneven=options.run is None,
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(v) for v in verdicts], indent=1))

    n_mutants = sum(v.name.partition(":")[0].endswith(".sv") for v in verdicts)
    print(
        f"network  {run}, {max(verdicts[0].caught):,} inputs; {len(verdicts)} faults, "
        f"{n_mutants} of them changes of the RTL"
    )
    Console(width=110).print(table_of(verdicts))
    print("Silent: no stream carries another beat over all inputs, with and without stalls.")
    for (kind, reason), n in sorted(silent_reasons(verdicts).items()):
        print(f"  {n:4} {kind}: {reason}")
    for verdict in verdicts:
        if not verdict.shows and not verdict.kind.endswith(" bit"):
            print(f"       {verdict.name}")
    missed = escaped(verdicts)
    print(f"Escaped the gate on all inputs: {len(missed)}")
    for verdict in missed:
        print(f"  {verdict.kind}: {verdict.name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
