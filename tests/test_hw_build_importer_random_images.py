"""Random small convolutional networks: every layer of the importer's graph equals the oracle."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx_images import ImageWriter

from hw_build.gates import decode
from hw_build.golden import execute
from hw_build.importer import import_qonnx
from hw_build.oracle import Oracle


@st.composite
def kernels(draw, sides: list[int], padded: bool = True) -> dict:
    """Attributes of a kernel that fits on an image."""
    made: dict[str, list[int]] = {"kernel_shape": [], "strides": [], "dilations": []}
    before, after = [], []
    for side in sides:
        kernel = draw(st.integers(1, min(3, side)))
        dilation = draw(st.integers(1, 2)) if 2 * (kernel - 1) < side else 1
        made["kernel_shape"].append(kernel)
        made["dilations"].append(dilation)
        made["strides"].append(draw(st.integers(1, 2)))
        before.append(draw(st.integers(0, kernel - 1)) if padded else 0)
        after.append(draw(st.integers(0, kernel - 1)) if padded else 0)
    return made | {"pads": before + after}


def after(sides: list[int], kernel: dict) -> list[int]:
    rank = len(sides)
    return [
        (n + kernel["pads"][i] + kernel["pads"][i + rank] - (k - 1) * d - 1) // s + 1
        for i, (n, k, d, s) in enumerate(
            zip(
                sides,
                kernel["kernel_shape"],
                kernel["dilations"],
                kernel["strides"],
                strict=True,
            )
        )
    ]


@st.composite
def networks(draw) -> tuple[onnx.ModelProto, int]:
    """One to three blocks (a convolution, perhaps a pool, a branch or an upsampling), an end."""
    seed = draw(st.integers(0, 2**31))
    w = ImageWriter(seed)
    rank = draw(st.sampled_from([1, 2, 2]))
    sides = [draw(st.integers(4, 7)) for _ in range(rank)]
    n = draw(st.integers(1, 3))
    shape = (1, n, *sides)
    x = w.quant("inp", 2.0**-5, 6)
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(kernels(sides))
        groups = draw(st.sampled_from([1, 1, n]))
        m = groups * draw(st.integers(1, 3))
        bits = draw(st.sampled_from([1, 2, 4]))
        how = {**kernel, "group": groups}
        y = w.conv(x, n, m, how.pop("kernel_shape"), bits, draw(st.booleans()), **how)
        n, sides = m, after(sides, kernel)
        if draw(st.booleans()):
            y = w.turning(y, n, 0.5)
        act_bits, early = draw(st.integers(1, 4)), draw(st.booleans())
        pool = draw(kernels(sides)) if draw(st.booleans()) else None
        if pool and early:
            y = w.add("MaxPool", y, **pool)
        y = w.act(y, act_bits, draw(st.sampled_from([0.25, 0.31])))
        if pool and not early:
            y = w.add("MaxPool", y, **pool)
        sides = after(sides, pool) if pool else sides
        kind = draw(st.sampled_from(["", "", "add", "concat", "up", "mean"]))
        if kind in ("add", "concat"):
            one = [1] * rank
            other = w.quant(w.conv(y, n, n, one), np.float32(0.31), 3)
            again = w.quant(w.conv(y, n, n, one, 4), np.float32(0.31), 3)
            y = (
                w.add("Add", other, again)
                if kind == "add"
                else w.add("Concat", other, again, axis=1)
            )
            n *= 1 + (kind == "concat")
            y = w.quant(w.turning(y, n, 0.5), 0.25, 3)
        elif kind == "up":
            mode = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            y = w.add("Resize", y, "", w.const([1.0, 1.0, *[2.0] * rank]), mode="nearest", **mode)
            sides = [2 * side for side in sides]
        elif kind == "mean":
            y = w.quant(w.turning(w.add("GlobalAveragePool", y), n, 0.3), 0.125, 4)
            sides = [1] * rank
        x = y
    end = draw(st.sampled_from(["dense", "conv", "mean"]))
    if end == "dense":
        x = w.linear(w.add("Flatten", x, axis=1), n * int(np.prod(sides)), 3)
    elif end == "conv":
        x = w.conv(x, n, 3, [1] * rank)
    else:
        x = w.add("GlobalAveragePool", x)
    return w.model(shape, [x], [(1, None)]), seed


def check(model: onnx.ModelProto, seed: int, folder: Path) -> None:
    onnx.save(model, folder / "model.onnx")
    network = import_qonnx(folder / "model.onnx")
    x = network.quantiser.random_inputs(24, seed)
    got = execute(network.graph, network.quantiser(x))
    meanings = network.graph.meanings
    reals = Oracle(model).run(x, [meaning.tensor for meaning in meanings.values()])
    infos = network.graph.infer()
    for name, meaning in meanings.items():
        real = meaning.arrange(reals[meaning.tensor], infos[name].shape)
        assert (decode(real, meaning, name) == got[name]).all(), name
    for name, info in infos.items():
        assert (got[name] >= info.lo).all()
        assert (got[name] <= info.hi).all()


@settings(max_examples=40, deadline=None)
@given(case=networks())
def test_random_networks(case: tuple, tmp_path_factory: pytest.TempPathFactory) -> None:
    check(*case, tmp_path_factory.mktemp("random"))


@pytest.mark.nightly
@settings(max_examples=1000, deadline=None)
@given(case=networks())
def test_many_random_networks(case: tuple, tmp_path_factory: pytest.TempPathFactory) -> None:
    check(*case, tmp_path_factory.mktemp("random"))
