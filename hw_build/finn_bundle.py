"""Makes a bundle of an accelerator that stock FINN built, so that our driver runs it.

What FINN's own driver knows of the streams is read from its folder: `settings.json` as finn-plus
writes it, or the `io_shape_dict` in the `driver.py` of FINN. Cycles are FINN's estimates.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bitstream import part_of, require_part
from deploy.boards import facts_of
from deploy.bundle import BITSTREAM, HANDOFF, INPUTS, LABELS, OUTPUTS
from deploy.errors import UserError
from deploy.manifest import Manifest
from deploy.packing import Packing

from .boards import board_named
from .bundle import driver_files, members_of, npy_bytes, write_members

_HARDWARE = ("deploy/bitfile/finn-accel", "bitfile/finn-accel")
_SETTINGS = ("deploy/driver/settings.json", "driver/settings.json")
_DRIVER = ("deploy/driver/driver.py", "driver/driver.py")
_ESTIMATES = "report/estimate_network_performance.json"
_TYPE = re.compile(r"(?:DataType\[['\"])?(BINARY|BIPOLAR|TERNARY|U?INT(\d{1,2}))(?:['\"]\])?")


def write_finn_bundle(
    path: Path,
    build: Path,
    *,
    board: str,
    inputs: np.ndarray,
    outputs: np.ndarray,
    labels: np.ndarray | None = None,
    clock_mhz: float | None = None,
) -> Manifest:
    """Writes the bundle of a FINN build and returns its manifest.

    Args:
        build: the output folder of FINN's builder, with bitfile, driver and report.
        board: which board it was built for.
        inputs: golden inputs, integers (N, ...) as the accelerator takes them.
        outputs: what FINN's execution gives for them, integers (N, ...).
        labels: classes of the first inputs, or None.
        clock_mhz: what it was built for, where FINN's settings don't say so.

    Raises:
        UserError: a file is missing, or the accelerator has more than one input or output, weights
            that a driver has to load, or a type that is no integer.
    """
    settings, where = _settings(build)
    shapes = settings["io_shape_dict"]
    _require_simple(settings, where)
    sent, received = (_packing(shapes, end, where) for end in "io")
    stem = _found(build, [f"{name}.bit" for name in _HARDWARE], "bitstream").with_suffix("")
    for suffix in (".bit", ".hwh"):
        if not stem.with_suffix(suffix).is_file():
            raise UserError("a FINN build lacks a file", where=str(stem.with_suffix(suffix)))
    require_part(part_of(stem.with_suffix(".bit")), facts_of(board).part, f"{stem}.bit")
    estimates = _estimates(build)
    clock = clock_mhz or settings.get("fclk_mhz")
    if not clock:
        raise UserError("FINN's driver names no clock", where=where, fix="say --clock-mhz MHZ")
    files = {
        INPUTS: npy_bytes(_rows(inputs, sent, "--inputs")),
        OUTPUTS: npy_bytes(_rows(outputs, received, "--outputs")),
        BITSTREAM: stem.with_suffix(".bit").read_bytes(),
        HANDOFF: stem.with_suffix(".hwh").read_bytes(),
        **driver_files(),
    }
    if labels is not None:
        files[LABELS] = npy_bytes(labels.astype(np.int64))
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in (BITSTREAM, HANDOFF)}
    is_class = received.n == 1
    manifest = Manifest(
        identity=hashlib.sha256("".join(hashes.values()).encode()).hexdigest(),
        board=board,
        part=board_named(board).part,
        clock_mhz=float(clock),
        mover="finn_iodma",
        input=sent,
        output=received,
        quantiser={
            "shape": [int(n) for n in shapes["ishape_normal"][0][1:]],
            "type": "BIPOLAR" if sent.bipolar else "INT",
            "lo": sent.lo,
            "hi": sent.hi,
            "steps": [],
            "scale": 1.0,
        },
        output_meaning={
            "kind": "class" if is_class else "scores",
            "scale": 1.0,
            "offset": 0.0,
            "class_names": None,
            "n_pixels": math.prod(shapes["oshape_normal"][0][1:-1]),
        },
        interval_cycles=float(estimates["max_cycles"]),
        latency_cycles=int(estimates["critical_path_cycles"]),
        accuracy=None,
        hashes=hashes,
        versions={"built by": "FINN", "cycles": "FINN's estimate"},
        members=members_of(files),
    )
    write_members(path, manifest, files)
    return manifest


def _found(build: Path, names: list[str] | tuple[str, ...], what: str) -> Path:
    for name in names:
        if (build / name).is_file():
            return build / name
    raise UserError(
        f"a FINN build lacks its {what}",
        where=str(build),
        expected=" or ".join(names),
        fix="give the output folder of FINN's builder, deployment package included",
    )


def _settings(build: Path) -> tuple[dict[str, Any], str]:
    """What FINN's driver knows, and the file that says it."""
    path = _found(build, (*_SETTINGS, *_DRIVER), "driver's settings")
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".json":
            settings = json.loads(text)["driver_information"]
        else:
            settings = {"io_shape_dict": _shapes_in(text)}
        if not isinstance(settings["io_shape_dict"], dict):
            raise ValueError("io_shape_dict is no mapping")
    except (ValueError, KeyError, TypeError, SyntaxError) as error:
        raise UserError(
            "FINN's driver settings can't be read",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected="io_shape_dict, as FINN's MakePYNQDriver writes it",
        ) from error
    return settings, str(path)


def _shapes_in(source: str) -> dict[str, Any]:
    """The `io_shape_dict` of a driver.py, whose DataType['X'] become text; nothing is executed."""
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", ())
        if any(isinstance(t, ast.Name) and t.id == "io_shape_dict" for t in targets):
            return ast.literal_eval(_TypesAsText().visit(node.value))
    raise ValueError("no io_shape_dict")


class _TypesAsText(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node.slice if getattr(node.value, "id", "") == "DataType" else node


def _require_simple(settings: Mapping[str, Any], where: str) -> None:
    shapes = settings["io_shape_dict"]
    names = {
        end: list(shapes.get(f"{end}dma_names") or shapes.get(f"{word}_dma_name") or [])
        for end, word in (("i", "input"), ("o", "output"))
    }
    reasons = [
        (any(len(found) > 1 for found in names.values()), ", ".join(names["i"] + names["o"])),
        (bool(shapes.get("number_of_external_weights")), "weights in external memory"),
        (bool(settings.get("runtime_weights")), "weights that are written at run time"),
        (bool(shapes.get("mlo_weight_config")), "weights in the board's memory"),
        (settings.get("platform", "zynq-iodma") != "zynq-iodma", str(settings.get("platform"))),
    ]
    for refused, found in reasons:
        if refused:
            raise UserError(
                "this driver can't run such an accelerator of FINN's",
                where=where,
                found=found,
                expected="one idma and one odma block on a Zynq, all weights in the logic",
                fix="use FINN's own driver for it",
            )


def _packing(shapes: Mapping[str, Any], end: str, where: str) -> Packing:
    """The stream of one end, "i" or "o"."""
    try:
        text = str(shapes[f"{end}dt"][0])
        normal, folded, packed = (
            [int(n) for n in shapes[f"{end}shape_{kind}"][0]]
            for kind in ("normal", "folded", "packed")
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            "FINN's driver settings lack a shape", where=where, found=f"{end}: {error!r}"
        ) from error
    kind = _TYPE.fullmatch(text)
    if kind is None:
        raise UserError("no type of integers", where=where, found=text, expected="INT3, UINT8, ...")
    name = kind.group(1)
    bits = int(kind.group(2)) if kind.group(2) else {"TERNARY": 2}.get(name, 1)
    signed = not name.startswith(("U", "BINARY"))
    packing = Packing(
        n=int(np.prod(normal[1:])),
        bits=bits,
        signed=signed,
        bipolar=name == "BIPOLAR",
        beat_bits=8 * packed[-1],
        lanes=folded[-1],
    )
    if packing.beats_per_frame != int(np.prod(packed[1:-1])):
        raise UserError(
            "the shapes of FINN's driver don't fit each other",
            where=where,
            found=f"normal {normal}, folded {folded}, packed {packed}",
        )
    return packing


def _estimates(build: Path) -> dict[str, Any]:
    text = _found(build, (_ESTIMATES,), "estimates").read_text(encoding="utf-8", errors="replace")
    try:
        estimates = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            "FINN's estimates are no JSON", where=str(build / _ESTIMATES), found=str(error)
        ) from error
    missing = {"max_cycles", "critical_path_cycles"} - set(estimates)
    if missing:
        raise UserError(
            "FINN's estimates lack a figure",
            where=str(build / _ESTIMATES),
            found=f"no {', '.join(sorted(missing))}",
        )
    return estimates


def _rows(vectors: np.ndarray, packing: Packing, where: str) -> np.ndarray:
    """Golden vectors a frame a row, checked to be what the stream holds."""
    rows = vectors.reshape(len(vectors), -1) if vectors.ndim else vectors
    integers = np.rint(rows).astype(np.int64) if rows.dtype.kind == "f" else rows
    if not np.array_equal(integers, rows):
        raise UserError("golden vectors are integers", where=where, found=str(rows.dtype))
    packing.pack(integers)
    return integers.astype(packing.dtype)
