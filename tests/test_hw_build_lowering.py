"""What lowering refuses, and the lanes of what stands between layers."""

from __future__ import annotations

import numpy as np
import pytest

from hw_build.blocks import Stream
from hw_build.folding import Folding, legal_foldings
from hw_build.graph import BIPOLAR, Add, Concat, Graph, Input, IntType, MatVec, Pad, Window
from hw_build.lower_images import concat_block, pad_block
from hw_build.lower_streams import add_block
from hw_build.lowering import lower

IMAGE = Graph((Input("input", (3, 3, 5), BIPOLAR),)).infer()["input"]


def stream(name: str, lanes: int, kind: IntType = BIPOLAR) -> Stream:
    return Stream(name, 5, kind, lanes, name, vectors=9)


@pytest.mark.parametrize("padded", [0, 1])
def test_sums_of_padding_lanes_are_refused(padded: int) -> None:
    """A bipolar padding lane's zero bit stands for -1: its sum would not be zero."""
    layer = Add("add", "a", "b")
    both = [stream("a", 1), stream("b", 1)]
    assert not add_block(layer, IMAGE, *both).sink.padding
    both[padded] = stream("wide", 2)
    with pytest.raises(ValueError, match="add: 2 lanes of 5 channels of wide"):
        add_block(layer, IMAGE, *both)


def test_padding_lanes_are_not_padded_nor_joined() -> None:
    with pytest.raises(ValueError, match="pad: 4 lanes of 5 channels"):
        pad_block(Pad("pad", "x", 1, 1, 1, 1, 1), IMAGE, stream("x", 4))
    with pytest.raises(ValueError, match="both: 2 lanes of 5 channels of b"):
        concat_block([], Concat("both", ("a", "b")), [stream("a", 5), stream("b", 2)])


def test_every_legal_folding_of_sums_divides_its_channels() -> None:
    graph = Graph((Input("a", (2, 2, 6), BIPOLAR), Add("add", "a", "a")))
    assert legal_foldings(graph)["add"].pe.values == (1, 2, 3, 6)
    for pe in legal_foldings(graph)["add"].pe.values:
        (add,) = (b for b in lower(graph, {"add": Folding(pe, 1)}) if b.module == "stream_add")
        assert not any(s.padding for s in (*add.sources, *add.sinks))


@pytest.mark.parametrize("simd", [1, 3, 9, 27])
def test_a_pad_has_no_more_lanes_than_a_pixel(simd: int) -> None:
    """Behind it, a window may be put out whole."""
    graph = Graph(
        (
            Input("input", (4, 4, 3), IntType(2, signed=False)),
            Pad("pad", "input", 1, 1, 1, 1, 0),
            Window("window", "pad", (3, 3)),
            MatVec("conv", "window", np.ones((2, 27), np.int64)),
        )
    )
    blocks = {block.name: block for block in lower(graph, {"conv": Folding(1, simd)})}
    assert blocks["pad"].sink.lanes == min(simd, 3)
    assert blocks["window"].module == ("window_parallel" if simd > 3 else "window")
    assert blocks["conv"].source.lanes == simd
