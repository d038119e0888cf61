"""The oracle's operators on images against ONNX's and QONNX's own, where no arithmetic rounds."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator
from qonnx.custom_op.general.trunc import trunc_v1, trunc_v2
from qonnx_images import IMAGE_ZOO, ImageWriter

from deploy.errors import UserError
from hw_build.oracle import Oracle
from hw_build.oracle import executor as oracle_module


def one_node(op, shape, constants=(), opset=13, domain="", **attributes):
    """A model of one node of real numbers, all but its first input constant; None left out."""
    names = ["x", *(f"c{i}" if c is not None else "" for i, c in enumerate(constants))]
    made = helper.make_node(op, names, ["y"], name="the_node", domain=domain, **attributes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [made],
        "one",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, None)],
        [from_array(c, f"c{i}") for i, c in enumerate(constants) if c is not None],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def both(model, x):
    """The oracle's output and that of ONNX's reference, frame by frame where it is one."""
    reference = ReferenceEvaluator(model)
    expected = np.concatenate([reference.run(None, {"x": frame[None]})[0] for frame in x])
    return Oracle(model).run(x)["y"], expected


def grid(rng, shape):
    """Multiples of 1/8, of which sums in float32 are exact."""
    return (rng.integers(-16, 17, shape) / 8).astype(np.float32)


@st.composite
def sliding(draw):
    """An image's shape, and the attributes of a kernel that fits on it."""
    rank = draw(st.sampled_from([1, 2]))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sides = [draw(st.integers(r, r + 4)) for r in reach]
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    return sides, attributes, draw(st.integers(0, 2**31))


@settings(max_examples=60)
@given(sliding(), st.sampled_from([(1, 3, 4), (3, 1, 2), (2, 2, 1)]), st.booleans())
def test_convolutions(case, channels, bias):
    sides, attributes, seed = case
    rng = np.random.default_rng(seed)
    groups, n_inputs, n_outputs = channels
    shape = (groups * n_outputs, n_inputs, *attributes["kernel_shape"])
    constants = [grid(rng, shape)] + ([grid(rng, shape[0])] if bias else [])
    model = one_node("Conv", (1, groups * n_inputs, *sides), constants, group=groups, **attributes)
    got, expected = both(model, grid(rng, (3, groups * n_inputs, *sides)))
    assert got.shape == expected.shape
    assert (got == expected).all()


@settings(max_examples=40)
@given(sliding())
def test_max_pools(case):
    sides, attributes, seed = case
    x = grid(np.random.default_rng(seed), (2, 3, *sides))
    session = onnxruntime.InferenceSession(
        one_node("MaxPool", (1, 3, *sides), **attributes).SerializeToString()
    )
    expected = np.concatenate([session.run(None, {"x": frame[None]})[0] for frame in x])
    got = Oracle(one_node("MaxPool", (1, 3, *sides), **attributes)).run(x)["y"]
    assert (got == expected).all()


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(mode):
    rng = np.random.default_rng(1)
    weights = grid(rng, (4, 2, 3, 2))
    attributes = {"auto_pad": mode, "strides": [2, 1]}
    model = one_node("Conv", (1, 2, 7, 6), [weights], **attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = grid(rng, (1, 2, 7, 6))
    assert (Oracle(model).run(x)["y"] == session.run(None, {"x": x})[0]).all()


@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 1]])
def test_average_pools(count_include_pad, pads):
    attributes = {
        "kernel_shape": [2, 2],
        "pads": pads,
        "strides": [2, 1],
        "count_include_pad": count_include_pad,
    }
    model = one_node("AveragePool", (1, 3, 5, 4), **attributes)
    got, expected = both(model, grid(np.random.default_rng(2), (4, 3, 5, 4)))
    assert (got == expected).all()


def test_means_over_images():
    x = grid(np.random.default_rng(3), (4, 3, 4, 2))
    for model in (
        one_node("GlobalAveragePool", (1, 3, 4, 2)),
        one_node("ReduceMean", (1, 3, 4, 2), axes=[2, 3], keepdims=1),
        one_node("ReduceMean", (1, 3, 4, 2), axes=[-1, -2], keepdims=0),
        one_node("ReduceMean", (1, 3, 4, 2), [np.array([2, 3])], opset=18, keepdims=0),
        one_node("ReduceMean", (1, 3, 4, 2), axes=[3], keepdims=0),
    ):
        got, expected = both(model, x)
        assert got.shape == expected.shape
        assert (got == expected).all()
    with pytest.raises(UserError, match="across the batch"):
        Oracle(one_node("ReduceMean", (1, 3, 4, 2), axes=[0])).run(x)


def test_padding():
    x = grid(np.random.default_rng(4), (3, 2, 3, 4))
    pads = np.array([0, 0, 1, 2, 0, 0, 0, 1])
    for constants, opset, attributes in (
        ([pads, np.float32(0.5)], 13, {}),
        ([pads], 13, {"mode": "constant"}),
        ([np.array([1, 2]), np.float32(-1), np.array([3])], 18, {}),
    ):
        got, expected = both(one_node("Pad", (1, 2, 3, 4), constants, opset, **attributes), x)
        assert (got == expected).all()


@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("where", ["asymmetric", "half_pixel", "pytorch_half_pixel"])
def test_nearest_neighbours(nearest, where):
    x = grid(np.random.default_rng(5), (2, 3, 4, 4))
    mode = {"mode": "nearest", "nearest_mode": nearest, "coordinate_transformation_mode": where}
    for constants in (
        [None, np.float32([1, 1, 2, 3])],
        [None, None, np.array([1, 3, 8, 4])],
        [None, np.float32([1, 1, 0.5, 2])],
    ):
        got, expected = both(one_node("Resize", (1, 3, 4, 4), constants, **mode), x)
        assert (got == expected).all()


@pytest.mark.parametrize("rounding", ["FLOOR", "CEIL", "ROUND"])
def test_trunc(rounding):
    domain = "qonnx.custom_op.general"
    scale, x = np.float32(0.25), np.arange(-70, 71, dtype=np.float32)[:, None] * 0.25
    zero, before, after = (np.float32(n) for n in (4, 8, 5))
    parameters = [scale, zero, before, after]
    model = one_node("Trunc", (1, 1), parameters, domain=domain, rounding_mode=rounding)
    expected = trunc_v1(x, *parameters, rounding)
    assert (Oracle(model).run(x)["y"] == expected).all()
    for signed, narrow in ((1, 0), (1, 1), (0, 0)):
        mode = {"rounding_mode": rounding, "signed": signed, "narrow": narrow}
        parameters = [scale, zero, before, np.float32(1), after]
        expected = trunc_v2(x, scale, zero, before, narrow, signed, *parameters[3:], rounding)
        model = one_node("Trunc", (1, 1), parameters, domain=domain, **mode)
        assert (Oracle(model).run(x)["y"] == expected).all()


def test_memory_bounds_change_no_result(monkeypatch):
    """Frames are run so many at a time that the largest array stays small."""
    specimen = IMAGE_ZOO["cnv_w2a2"]()
    x = specimen.inputs(20)
    whole = Oracle(specimen.model).run(x)
    monkeypatch.setattr(oracle_module, "VALUES_AT_ONCE", 20_000)
    parts = Oracle(specimen.model).run(x)
    assert all((whole[name] == parts[name]).all() for name in whole)


def test_a_sum_on_a_tie_is_rounded_once():
    """Pixels / 255 under a padded convolution: sums that are 0 as real numbers are 0."""
    w = ImageWriter(140)
    x = w.add("Sub", w.add("Div", "inp", w.const(255.0)), w.const(0.0))
    weights = np.ones((1, 2, 3, 3))
    weights[0, 1] = -1
    out = w.add("Conv", x, w.const(weights), kernel_shape=[3, 3], pads=[1] * 4)
    model = w.model((1, 2, 3, 3), [out], [(1, 1, 3, 3)])
    pixels = np.random.default_rng(0).integers(0, 256, (200, 1, 3, 3))
    mirrored = np.concatenate([pixels, pixels[:, :, ::-1, ::-1]], axis=1)
    y = Oracle(model).run(mirrored)[out]
    assert (y[:, 0, 1, 1] == 0).all()
    assert np.unique(y).size > 10
