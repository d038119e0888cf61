"""The two bodies of rtl/dot_product.sv are proven equal: COMPRESS = 0 simulates, 1 is synthesised.

Small widths by SAT, all at once. Any width in two parts: each leaf (compressor, product_counter)
by SAT over all its inputs, and the wiring between leaves by linear algebra over the netlist, in
which a leaf is nothing but the equation that SAT has proven of it.
"""

from __future__ import annotations

import json
import shutil
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from benchmarks.untrained import untrained
from deploy.errors import MachineError
from hw_build.emit import RTL_FOLDER
from hw_build.folding_target import folding_for_rate
from hw_build.importer import import_qonnx
from hw_build.lone_block import LEAVES, copies_of
from hw_build.lowering import lower
from hw_build.yosys import run_yosys
from training.qonnx_export import to_qonnx

FILES = (
    *("partial_products", "product_counter", "compressor", "compressor_tree"),
    *("compressed_dot_product", "dot_product"),
)
SOURCES = " ".join(f"{name}.sv" for name in FILES)
NAMES = ("WEIGHT_KIND", "WEIGHT_BITS", "ACT_KIND", "ACT_BITS", "SHIFT", "SIMD", "SUM_BITS")

BINARY, TERNARY, QUINARY, INTEGER = range(4)
UNSIGNED, SIGNED, BIPOLAR = range(3)

# kind and bits of the weights, kind and bits of the inputs, shift, SIMD, sum bits
SMALL = [
    (BINARY, 1, BIPOLAR, 1, 0, 10, 6),
    (BINARY, 1, BIPOLAR, 1, 1, 7, 5),
    (BINARY, 1, UNSIGNED, 2, 0, 4, 6),
    (BINARY, 1, SIGNED, 2, 0, 5, 5),
    (TERNARY, 2, BIPOLAR, 1, 0, 5, 5),
    (TERNARY, 2, SIGNED, 2, 0, 3, 6),
    (QUINARY, 3, BIPOLAR, 1, 1, 4, 6),
    (QUINARY, 3, SIGNED, 2, 0, 3, 7),
    (QUINARY, 3, UNSIGNED, 2, 0, 3, 4),  # columns beyond the sum are dropped
    (INTEGER, 3, SIGNED, 2, 0, 3, 8),
    (INTEGER, 2, UNSIGNED, 3, 0, 1, 6),
    (INTEGER, 4, BIPOLAR, 1, 1, 3, 7),
    # fewer lanes than planes: the behaviour adds lane by lane
    (BINARY, 1, UNSIGNED, 4, 0, 3, 6),
    (BINARY, 1, SIGNED, 4, 1, 2, 8),
    (TERNARY, 2, UNSIGNED, 3, 1, 2, 7),
    (TERNARY, 2, SIGNED, 4, 0, 3, 4),
]
# the foldings of the networks that ship (784-64-64-64-10 and 64-64-64-10), and others
SHIPPED = [
    (BINARY, 1, BIPOLAR, 1, 0, 112, 11),
    (BINARY, 1, BIPOLAR, 1, 0, 64, 8),
    (BINARY, 1, BIPOLAR, 1, 1, 16, 8),
    (BINARY, 1, BIPOLAR, 1, 1, 11, 7),
    (BINARY, 1, SIGNED, 2, 0, 112, 12),
    (TERNARY, 2, SIGNED, 2, 0, 64, 9),
    (TERNARY, 2, SIGNED, 2, 0, 98, 12),
    (BINARY, 1, UNSIGNED, 8, 0, 49, 19),
    (QUINARY, 3, SIGNED, 3, 0, 25, 10),
    (INTEGER, 4, UNSIGNED, 4, 0, 20, 13),
]
WIDE = [
    (BINARY, 1, BIPOLAR, 1, 0, 784, 11),
    (TERNARY, 2, UNSIGNED, 2, 0, 784, 13),
    (QUINARY, 3, UNSIGNED, 8, 0, 196, 19),
    (INTEGER, 8, SIGNED, 8, 0, 64, 23),
    (INTEGER, 5, BIPOLAR, 1, 1, 256, 15),
]
# convolutional networks that ship: the widths that they have at 30,000 cycles a frame
FOLDED = ("cnv_w1a1", "cnv_w2a2", "depthwise_w2a2", "depthwise_w4a4")

# total = row0 + row1 + row2, so that bodies that share the sum differently can be compared
TOTAL = """
module total #(
    parameter integer WEIGHT_KIND = 0, parameter integer WEIGHT_BITS = 1,
    parameter integer ACT_KIND = 2, parameter integer ACT_BITS = 1, parameter integer SHIFT = 0,
    parameter integer SIMD = 8, parameter integer SUM_BITS = 8, parameter integer COMPRESS = 1
) (
    input  wire [SIMD*ACT_BITS-1:0]    a,
    input  wire [SIMD*WEIGHT_BITS-1:0] w,
    output wire [SUM_BITS-1:0]         sum
);
  wire [SUM_BITS-1:0] row0, row1, row2;
  dot_product #(
      .WEIGHT_KIND(WEIGHT_KIND), .WEIGHT_BITS(WEIGHT_BITS), .ACT_KIND(ACT_KIND),
      .ACT_BITS(ACT_BITS), .SHIFT(SHIFT), .SIMD(SIMD), .SUM_BITS(SUM_BITS), .COMPRESS(COMPRESS)
  ) dot (.a(a), .w(w), .row0(row0), .row1(row1), .row2(row2));
  assign sum = row0 + row1 + row2;
endmodule
"""

# The two front ends check each other: what simulates is read by slang, what is synthesised by the
# reader that synthesis uses.
EQUAL = """
read_verilog -sv -defer {sources} total.sv
chparam {chparam} -set COMPRESS 1 total
hierarchy -check -top total
proc
flatten
rename -top gate
design -stash gate
read_slang --threads 1 --top total {slang} -GCOMPRESS=0 {sources} total.sv
proc
flatten
rename total gold
design -copy-from gate gate
miter -equiv -flatten gold gate miter
hierarchy -top miter
opt -full
sat -verify -prove trigger 0 miter
"""

NETLIST = """
read_verilog -sv -defer {sources}
chparam {chparam} dot_product
hierarchy -check -top dot_product
setattr -mod -set keep_hierarchy 1 {leaves}
proc
flatten
opt_clean
write_json heap.json
"""


def copy_sources(folder: Path) -> None:
    for name in FILES:
        shutil.copyfile(RTL_FOLDER / f"{name}.sv", folder / f"{name}.sv")
    (folder / "total.sv").write_text(TOTAL)


def prove_bodies(folder: Path, values: tuple[int, ...]) -> None:
    run_yosys(
        EQUAL.format(
            slang=" ".join(f"-G{n}={v}" for n, v in zip(NAMES, values, strict=True)),
            chparam=" ".join(f"-set {n} {v}" for n, v in zip(NAMES, values, strict=True)),
            sources=SOURCES,
        ),
        folder,
    )


def heap_of(folder: Path, values: tuple[int, ...]) -> dict:
    """Yosys' JSON of the compressed body, flat but for its leaves."""
    chparam = " ".join(f"-set {n} {v}" for n, v in zip(NAMES, values, strict=True))
    run_yosys(NETLIST.format(sources=SOURCES, chparam=chparam, leaves=copies_of(LEAVES)), folder)
    return json.loads((folder / "heap.json").read_text())["modules"]


def leaf_of(module: str) -> str:
    return next(leaf for leaf in LEAVES if leaf in module.split("\\"))


def prove_leaves(folder: Path, leaves: list[tuple[str, dict[str, int]]]) -> None:
    """By SAT: each leaf's count is the number of ones of its inputs, or of its products."""
    ports, body = [], []
    for i, (leaf, parameters) in enumerate(leaves):
        values = ", ".join(f".{name}({value})" for name, value in parameters.items())
        n = parameters["N"]
        if leaf == "compressor":
            ports.append(f"input [{n - 1}:0] x{i}")
            body.append(f"wire [2:0] count{i}; wire [{n - 1}:0] ones{i} = x{i};")
            body.append(f"compressor #({values}) leaf{i} (.x(x{i}), .count(count{i}));")
        else:
            ports.append(f"input [{n * parameters['ACT_BITS'] - 1}:0] a{i}")
            ports.append(f"input [{n * parameters['WEIGHT_BITS'] - 1}:0] w{i}")
            given = f".a(a{i}), .w(w{i})"
            body.append(f"wire [1:0] count{i}; wire [{n - 1}:0] ones{i};")
            body.append(f"product_counter #({values}) leaf{i} ({given}, .count(count{i}));")
            body.append(f"partial_products #({values}) products{i} ({given}, .products(ones{i}));")
        body.append(f"assign ok[{i}] = {{1'b0, count{i}}} == $countones(ones{i});")
    (folder / "leaves.sv").write_text(
        f"module leaves({', '.join(ports)}, output [{len(leaves) - 1}:0] ok);\n"
        + "\n".join(body)
        + "\nendmodule\n"
    )
    every = "1" * len(leaves)
    run_yosys(
        f"read_verilog -sv {SOURCES} leaves.sv\nhierarchy -check -top leaves\nproc\nflatten\n"
        f"opt -full\nsat -verify -prove ok {len(leaves)}'b{every} leaves\n",
        folder,
    )


def check_wiring(modules: dict, values: tuple[int, ...]) -> list[tuple[str, dict[str, int]]]:
    """Follows the sum of the rows back through the netlist, modulo 2^SUM_BITS, as weights of bits.

    A leaf may stand in the way only if its count's bits weigh k, 2k, 4k: it is then k times the
    number of its ones. Ends at the products, which must be those of the behaviour's definition:
    lane by lane, each at its column. Returns the leaves that were met, with their parameters.
    """
    p = dict(zip(NAMES, values, strict=True))
    modulus = 1 << p["SUM_BITS"]
    top = modules["dot_product"]
    cells = [c for c in top["cells"].values() if c["type"] != "$scopeinfo"]
    driver = {net: i for i, cell in enumerate(cells) for net in cell["connections"]["count"]}
    order = TopologicalSorter()
    for i, cell in enumerate(cells):
        order.add(i, *(driver[net] for net in cell["connections"].get("x", ()) if net in driver))
    weight: dict[object, int] = {}
    for row in ("row0", "row1", "row2"):
        for column, net in enumerate(top["ports"][row]["bits"]):
            weight[net] = (weight.get(net, 0) + (1 << column)) % modulus
    assert weight.pop("1", 0) == 0
    weight.pop("0", None)
    lane_of = {net: i for i, net in enumerate(top["ports"]["a"]["bits"])}
    weight_lane_of = {net: i for i, net in enumerate(top["ports"]["w"]["bits"])}
    products: dict[tuple[int, int], int] = {}
    met = {}
    for i in reversed(list(order.static_order())):
        cell = cells[i]
        parameters = {
            name: int(bits, 2)
            for name, bits in modules[cell["type"]]["parameter_default_values"].items()
        }
        met[cell["type"]] = (leaf_of(cell["type"]), parameters)
        count = cell["connections"]["count"]
        most = parameters["N"].bit_length()  # bits of the count that can be one
        found = [weight.pop(bit, 0) for bit in count][:most]
        k = found[0]
        assert found == [(k << i) % modulus for i in range(most)], "a count lands in wrong columns"
        if met[cell["type"]][0] == "compressor":
            for net in cell["connections"]["x"]:
                weight[net] = (weight.get(net, 0) + k) % modulus
            continue
        n, plane = parameters["N"], parameters["PLANE"]
        lanes = [lane_of[net] for net in cell["connections"]["a"]]
        first = lanes[0]
        assert lanes == [j * p["SIMD"] + first + i for j in range(p["ACT_BITS"]) for i in range(n)]
        assert [weight_lane_of[net] for net in cell["connections"]["w"]] == [
            j * p["SIMD"] + first + i for j in range(p["WEIGHT_BITS"]) for i in range(n)
        ]
        for lane in range(first, first + n):
            assert (lane, plane) not in products
            products[lane, plane] = k
    for lane in range(p["SIMD"]):
        for plane in range(n_planes(p)):
            column = plane // p["ACT_BITS"] + plane % p["ACT_BITS"]
            at = p["SHIFT"] + (column if p["WEIGHT_KIND"] == INTEGER else plane)
            assert products.pop((lane, plane), 0) == (1 << at) % modulus, "a product in no column"
    assert not products
    assert not any(weight.values())
    return list(met.values())


def n_planes(p: dict[str, int]) -> int:
    if p["WEIGHT_KIND"] == INTEGER:
        return p["WEIGHT_BITS"] * p["ACT_BITS"]
    return p["ACT_BITS"] + (p["WEIGHT_KIND"] == QUINARY)


def prove_any_width(folder: Path, values: tuple[int, ...]) -> None:
    prove_leaves(folder, check_wiring(heap_of(folder, values), values))


def widths_of(name: str, folder: Path) -> set[tuple[int, ...]]:
    """Of all dot products of a shipped network, untrained, at 30,000 cycles a frame."""
    path = folder / "model.onnx"
    path.write_bytes(to_qonnx(untrained(name, 50)[0]).SerializeToString())
    graph = import_qonnx(path).graph
    blocks = lower(graph, folding_for_rate(graph, 30_000, 64), 64)
    units = [block.parameters for block in blocks if block.module == "mvu"]
    assert len({parameters["SIMD"] for parameters in units}) > 3
    return {tuple(int(parameters[key]) for key in NAMES) for parameters in units}


@pytest.mark.parametrize("values", SMALL, ids=str)
def test_bodies_are_equal_by_sat(tmp_path, values):
    copy_sources(tmp_path)
    prove_bodies(tmp_path, values)


@pytest.mark.parametrize("values", SHIPPED, ids=str)
def test_bodies_are_equal_leaf_by_leaf(tmp_path, values):
    copy_sources(tmp_path)
    prove_any_width(tmp_path, values)


@pytest.mark.nightly
@pytest.mark.parametrize("values", WIDE, ids=str)
def test_wide_bodies_are_equal_leaf_by_leaf(tmp_path, values):
    copy_sources(tmp_path)
    prove_any_width(tmp_path, values)


@pytest.mark.nightly
@pytest.mark.parametrize("name", FOLDED)
def test_bodies_of_a_folded_network_are_equal_leaf_by_leaf(tmp_path, name):
    for i, values in enumerate(sorted(widths_of(name, tmp_path))):
        folder = tmp_path / str(i)
        folder.mkdir()
        copy_sources(folder)
        prove_any_width(folder, values)


FAULTS = [
    ("compressor", "low0 & low1", "low0 | low1"),
    ("compressor", "high1 ^ carry", "high1"),
    ("product_counter", "^padded", "|padded"),
    ("compressor_tree", "[TWOS+k] = count[1]", "[TWOS+k] = count[0]"),
    ("compressor_tree", "bits[c*ROWS+TAKEN+:REST]", "bits[c*ROWS+:REST]"),
    ("compressed_dot_product", "a[j*SIMD+g*GROUP+:N]", "a[j*SIMD+(GROUPS-1-g)*GROUP+:N]"),
]


@pytest.mark.parametrize(("module", "old", "new"), FAULTS, ids=lambda text: text[:20])
def test_a_planted_fault_fails_both_proofs(tmp_path, module, old, new):
    copy_sources(tmp_path)
    source = tmp_path / f"{module}.sv"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    values = (INTEGER, 3, UNSIGNED, 3, 0, 4, 8)
    with pytest.raises(MachineError, match="proof did fail"):
        prove_bodies(tmp_path, values)
    with pytest.raises((AssertionError, MachineError, KeyError)):
        prove_any_width(tmp_path, (BINARY, 1, BIPOLAR, 1, 0, 40, 8))
