"""Folding: the search against brute force, and folding files against what people write in them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import ACT_TYPES, WEIGHT_KINDS, LayerKind, random_graph

from deploy.errors import UserError
from hw_build.blocks import ports
from hw_build.estimate import block_resources, depthwise_resources, mvu_resources
from hw_build.folding import (
    Folding,
    converter_cycles,
    legal_foldings,
    load_folding,
    port_lanes,
    save_folding,
)
from hw_build.folding_search import choose_folding
from hw_build.graph import (
    Depthwise,
    Flatten,
    Graph,
    Input,
    IntType,
    MatVec,
    MaxPool,
    Threshold,
    Window,
)
from hw_build.lowering import lower
from hw_build.resources import weights_in_block_memory


def network(seed: int, sizes: list[int], output: str = "scores") -> Graph:
    kinds = [
        LayerKind(WEIGHT_KINDS[(seed + i) % 10], ACT_TYPES[(3 * seed + i) % 16])
        for i in range(len(sizes) - 1)
    ]
    return random_graph(np.random.default_rng(seed), sizes, kinds, output)


def cost_of(graph: Graph, folding: dict[str, Folding]) -> float:
    """What `choose_folding` says it minimises, added up here anew."""
    infos = graph.infer()
    thresholds = {layer.source: layer for layer in graph if isinstance(layer, Threshold)}
    blocks = lower(graph, folding)
    cost = 0.0
    for block in blocks:
        if block.module == "mvu":
            layer = graph[block.name]
            assert isinstance(layer, MatVec)
            fold = folding[layer.name]
            threshold = thresholds.get(layer.name)
            used = mvu_resources(layer, threshold, infos[layer.source], fold)
        else:
            used = block_resources(block)
        cost += used.lut + 0.1 * used.ff + 200 * used.bram36
    return cost


def all_foldings(graph: Graph) -> list[dict[str, Folding]]:
    """Of the port that carries what fits."""
    legal = {name: of for name, of in legal_foldings(graph).items() if name != graph.input.name}
    choices = [
        [Folding(pe, simd) for pe in of.pe.values for simd in of.simd.values]
        for of in legal.values()
    ]
    names = list(legal)
    return [dict(zip(names, folds, strict=True)) for folds in itertools.product(*choices)]


@pytest.mark.parametrize(
    ("seed", "output"),
    [*((seed, "scores") for seed in range(8)), *((s, "class") for s in (1, 2, 3))],
)
def test_the_choice_is_the_cheapest_that_meets_the_interval(seed: int, output: str) -> None:
    rng = np.random.default_rng(seed)
    graph = network(seed, rng.integers(2, 6, 3).tolist(), output)
    cycles, costs = [], []
    for folding in all_foldings(graph):
        blocks = lower(graph, folding)
        cycles.append(max(block.cycles for block in blocks))
        costs.append(cost_of(graph, folding))
    for interval in (1, 2, 3, 5, 8, 13, 21, 34):
        chosen = choose_folding(graph, interval)
        taken = max(block.cycles for block in lower(graph, chosen))
        reached = max(interval, min(cycles))  # the output port may take longer
        assert taken <= reached
        cheapest = min(c for c, n in zip(costs, cycles, strict=True) if n <= reached)
        assert cost_of(graph, chosen) == pytest.approx(cheapest)


@pytest.mark.parametrize(("interval", "lanes"), [(100, 1), (10, 10), (7, 15), (1, 100)])
def test_many_classes_are_compared_as_fast_as_the_rest(interval: int, lanes: int) -> None:
    graph = random_graph(
        np.random.default_rng(0), [8, 100], [LayerKind("binary", ACT_TYPES[0])], "class"
    )
    chosen = choose_folding(graph, interval)
    assert chosen["class"].pe == lanes
    assert max(block.cycles for block in lower(graph, chosen)) <= interval


def test_a_port_too_narrow_for_the_target_costs_no_more_than_it_must() -> None:
    """40 integers of 8 bits need 5 beats of a 64-bit port: no unit is made faster than that."""
    graph = network(8, [40, 6])
    assert graph.input.type.bits == 8
    chosen = choose_folding(graph, 2)
    (layer,) = (layer for layer in graph if isinstance(layer, MatVec))
    fold = chosen[layer.name]
    assert -(-40 // fold.simd) * -(-6 // fold.pe) == 5
    assert port_lanes((40,), 8, 64) == 8


@pytest.mark.parametrize("interval", [0, -3])
def test_an_impossible_target_is_refused(interval: int) -> None:
    with pytest.raises(UserError, match=r"above one frame a clock cycle(.|\n)*--target-fps"):
        choose_folding(network(0, [3, 3]), interval)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_converters_take_a_cycle_for_each_beat_between_their_halves(
    n: int, source: int, sink: int
) -> None:
    """Against lanes dealt out one group at a time."""
    source, sink = min(source, n), min(sink, n)
    middle = np.gcd(source, sink)
    groups = [list(range(n))[i : i + middle] for i in range(0, n, middle)]
    if source == sink:
        expected = -(-n // sink)
    elif middle == sink:
        expected = len(groups)
    else:
        per_beat = sink // middle
        expected = len(groups) + -len(groups) % per_beat
    assert converter_cycles(n, source, sink) == expected


def test_files_round_trip(tmp_path: Path) -> None:
    graph = network(3, [12, 9, 4], "class")
    folding = choose_folding(graph, 3)
    assert folding["class"].pe > 1
    path = tmp_path / "folding.json"
    path.write_text(save_folding(folding))
    assert load_folding(path, graph) == folding
    del folding["class"]  # a score a beat
    path.write_text(save_folding(folding))
    assert load_folding(path, graph) == folding


GOOD = {"fc0": {"pe": 3, "simd": 4}, "fc1": {"pe": 1, "simd": 3}}
WRONG_FILES = {
    "a class of scores": (
        json.dumps({**GOOD, "class": {"pe": 3, "simd": 1}}),
        r"impossible folding(.|\n)*class\.pe(.|\n)*3(.|\n)*1 to 2: it has 2 scores",
    ),
    "not JSON": ("{", r"not a folding file(.|\n)*JSONDecodeError"),
    "a list": ("[1, 2]", r"not a folding file(.|\n)*\"fc0\": \{\"pe\": 16"),
    "no simd": (json.dumps({**GOOD, "fc1": {"pe": 1}}), r"not a folding file(.|\n)*simd"),
    "text": (json.dumps({**GOOD, "fc1": {"pe": "all", "simd": 1}}), r"not a folding file"),
    "a fraction": (
        json.dumps({**GOOD, "fc1": {"pe": 1.5, "simd": 1}}),
        r"not a folding file(.|\n)*fc1(.|\n)*1\.5",
    ),
    "a truth value": (
        json.dumps({**GOOD, "fc1": {"pe": True, "simd": 1}}),
        r"not a folding file(.|\n)*fc1(.|\n)*True",
    ),
    "a layer missing": (
        json.dumps({"fc0": GOOD["fc0"]}),
        r"doesn't name the network's layers(.|\n)*found: +fc0\n(.|\n)*fc0, fc1",
    ),
    "another layer": (
        json.dumps({**GOOD, "fc7": {"pe": 1, "simd": 1}}),
        r"doesn't name the network's layers(.|\n)*fc7",
    ),
    "PE zero": (
        json.dumps({**GOOD, "fc1": {"pe": 0, "simd": 1}}),
        r"impossible folding(.|\n)*fc1\.pe(.|\n)*0(.|\n)*1 to 2: the layer has 2 outputs",
    ),
    "SIMD too large": (
        json.dumps({**GOOD, "fc0": {"pe": 1, "simd": 5}}),
        r"impossible folding(.|\n)*fc0\.simd(.|\n)*5(.|\n)*1 to 4",
    ),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    content, text = WRONG_FILES[name]
    path = tmp_path / "folding.json"
    path.write_text(content)
    with pytest.raises(UserError, match=text) as caught:
        load_folding(path, network(0, [4, 3, 2], "class"))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't be read(.|\n)*gone\.json"):
        load_folding(tmp_path / "gone.json", network(0, [4, 3, 2]))


def test_a_port_of_fewer_lanes_that_divide_the_input_is_weighed_and_named() -> None:
    """784 single bits: 16 beats of 49 need no padding, where 13 beats of 64 do."""
    graph = random_graph(
        np.random.default_rng(1), [784, 64, 10], [LayerKind("binary", ACT_TYPES[0])] * 2
    )
    assert graph.input.type.bits == 1
    chosen = choose_folding(graph, 16)
    assert 784 % chosen["input"].pe == 0
    blocks = lower(graph, chosen)
    assert max(block.cycles for block in blocks) <= 16
    without = {name: fold for name, fold in chosen.items() if name != "input"}
    assert ports(blocks)[0].lanes == chosen["input"].pe
    assert ports(lower(graph, without))[0].lanes == 64


def images() -> Graph:
    """A convolution, a pool, a depthwise convolution of equal weights, and scores."""
    rng = np.random.default_rng(0)
    return Graph(
        (
            Input("input", (8, 8, 6), IntType(2, signed=False)),
            Window("window0", "input", (3, 3)),
            MatVec("conv0", "window0", rng.integers(-2, 3, (8, 54))),
            Threshold("relu0", "conv0", np.tile([0, 3, 9], (8, 1)), 0, 1, IntType(2, signed=False)),
            Window("window1", "relu0", (2, 2), (2, 2)),
            MaxPool("pool0", "window1", 4),
            Window("window2", "pool0", (3, 3)),
            Depthwise("mean0", "window2", np.ones((8, 9), np.int64)),
            Flatten("flat", "mean0"),
            MatVec("fc0", "flat", rng.integers(-2, 3, (3, 8))),
        )
    )


GOOD_IMAGES = {
    "conv0": {"pe": 4, "simd": 3},
    "pool0": {"pe": 2, "simd": 1},
    "mean0": {"pe": 1, "simd": 1},
    "fc0": {"pe": 1, "simd": 1},
}
WRONG_IMAGE_FILES = {
    "PE of a convolution": ("conv0", {"pe": 3}, r"conv0\.pe(.|\n)*1, 2, 4, 8: a divisor of its 8"),
    "SIMD over a pixel": (
        "conv0",
        {"simd": 4},
        r"conv0\.simd(.|\n)*1, 2, 3, 6, 9, 18, 27, 54: a divisor of the 6 channels of a pixel, "
        r"or a greater one of the 54 of a window",
    ),
    "lanes of a pool": ("pool0", {"pe": 3}, r"pool0\.pe(.|\n)*1, 2, 4, 8: a divisor of 8 channels"),
    "SIMD of a depthwise": ("mean0", {"simd": 3}, r"mean0\.simd(.|\n)*channel by channel"),
    "PE of a depthwise": ("mean0", {"pe": 6}, r"mean0\.pe(.|\n)*a divisor of its 8 channels"),
    "memory": ("conv0", {"memory": "uram"}, r"conv0\.memory(.|\n)*uram(.|\n)*auto or lut or block"),
    "logic, folded": (
        "conv0",
        {"memory": "logic"},
        r"conv0\.memory(.|\n)*or block, or logic with a PE of 8 and a SIMD of 54",
    ),
    "RAM for constants": (
        "conv0",
        {"pe": 8, "simd": 54, "memory": "block"},
        r"conv0\.memory(.|\n)*block(.|\n)*auto or lut or logic",
    ),
    "no weights": ("pool0", {"memory": "lut"}, r"without weights(.|\n)*pool0\.memory(.|\n)*auto"),
    "misspelt": ("conv0", {"memroy": "lut"}, r"not a folding file(.|\n)*conv0 has no memroy"),
}


@pytest.mark.parametrize("name", WRONG_IMAGE_FILES)
def test_a_wrong_file_for_images_says_what_is_legal(name: str, tmp_path: Path) -> None:
    layer, change, text = WRONG_IMAGE_FILES[name]
    path = tmp_path / "folding.json"
    path.write_text(json.dumps({**GOOD_IMAGES, layer: {**GOOD_IMAGES[layer], **change}}))
    with pytest.raises(UserError, match=text) as caught:
        load_folding(path, images())
    assert str(path) in str(caught.value)


def test_a_file_without_memories_leaves_them_to_cost(tmp_path: Path) -> None:
    path = tmp_path / "folding.json"
    path.write_text(json.dumps(GOOD_IMAGES))
    folding = load_folding(path, images())
    assert {fold.memory for fold in folding.values()} == {"auto"}
    for fold in (replace(folding["conv0"], memory="block"), Folding(8, 54, "logic")):
        folding["conv0"] = fold
        path.write_text(save_folding(folding))
        assert load_folding(path, images()) == folding


def block_memory(folding: dict[str, Folding], name: str) -> int | str:
    (block,) = (block for block in lower(images(), folding) if block.name == name)
    return block.parameters["BLOCK_MEMORY"]


def test_memories_are_chosen_by_cost_or_by_the_file() -> None:
    folding = {name: Folding(**entry) for name, entry in GOOD_IMAGES.items()}
    # 36 words of 36 bits are 36 LUTs or half a block RAM, 432 words of 3 bits 30 LUTs or so
    assert block_memory(folding, "conv0") == 0
    assert block_memory({**folding, "conv0": Folding(4, 3, "block")}, "conv0") == 1
    assert block_memory({**folding, "conv0": Folding(1, 1)}, "conv0") == 0
    wide, narrow = weights_in_block_memory(512, 36), weights_in_block_memory(512, 3)
    assert (wide, narrow) == (True, False)


@pytest.mark.parametrize("memory", ["auto", "lut", "block"])
def test_equal_weights_take_no_memory(memory: str) -> None:
    folding = {name: Folding(**entry) for name, entry in GOOD_IMAGES.items()}
    folding["mean0"] = Folding(1, 1, memory)
    assert block_memory(folding, "mean0") == 0
    graph = images()
    used = depthwise_resources(graph["mean0"], None, graph.infer()["window2"], folding["mean0"])
    assert used.bram36 == 0
