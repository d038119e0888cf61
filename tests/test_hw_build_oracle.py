"""The oracle against QONNX's own definitions, exact fractions, hand-computed values, and itself."""

from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.custom_op.general.quant import quant as qonnx_quant
from qonnx.transformation.infer_shapes import InferShapes
from qonnx_refused import REFUSED
from qonnx_writer import Writer
from qonnx_zoo import ZOO

from deploy.errors import UserError
from hw_build.oracle import Oracle
from hw_build.oracle import executor as oracle_module
from hw_build.oracle.product import exact_product, integer_form

EXACT = [name for name, build in ZOO.items() if build().float32_exact]


def run(model, inputs):
    """The first output."""
    oracle = Oracle(model)
    return oracle.run(inputs)[oracle.output_names[0]]


def node_model(op, shapes, opset=20, domain="", types=None, **attributes):
    """A model of one node, all but its first input constants given as arrays; input `x`."""
    first, *constants = shapes
    names = ["x", *(f"c{i}" if c is not None else "" for i, c in enumerate(constants))]
    node = helper.make_node(op, names, ["y"], name="the_node", domain=domain, **attributes)
    value = helper.make_tensor_value_info
    inits = [from_array(c, f"c{i}") for i, c in enumerate(constants) if c is not None]
    graph = helper.make_graph(
        [node],
        "one",
        [value("x", TensorProto.DOUBLE, first)],
        [value("y", types or TensorProto.DOUBLE, None)],
        inits,
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


# --- whole networks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
def test_equals_qonnx_execution_where_float32_is_exact(name):
    specimen = ZOO[name]()
    inputs = specimen.inputs(6)
    model = ModelWrapper(specimen.model).transform(InferShapes())
    out = model.graph.output[0].name
    expected = [execute_onnx(model, {"inp": frame[None]})[out] for frame in inputs]
    np.testing.assert_array_equal(run(specimen.model, inputs), np.concatenate(expected))


def test_what_is_given_is_read_in_place_of_what_was_computed(monkeypatch):
    w = Writer()
    doubled = w.add("Mul", "inp", w.const(2.0))
    model = w.specimen("sums", w.add("Add", doubled, "inp"), 0, 1, 1, shape=[3], n_out=3).model
    inputs = np.arange(15.0).reshape(5, 3)
    monkeypatch.setattr(oracle_module, "FRAMES_AT_ONCE", 2)
    result = Oracle(model).run(inputs, [doubled, "inp"], {doubled: inputs + 100})
    np.testing.assert_array_equal(result[doubled], 2 * inputs)
    np.testing.assert_array_equal(result["inp"], inputs)
    np.testing.assert_array_equal(result[model.graph.output[0].name], 2 * inputs + 100)


def test_enough_of_the_zoo_is_compared_with_qonnx():
    assert len(EXACT) >= 25


@pytest.mark.parametrize("name", ZOO)
def test_every_frame_is_computed_alone(name, monkeypatch):
    specimen = ZOO[name]()
    inputs = specimen.inputs(5)
    whole = run(specimen.model, inputs)
    assert len(whole) == 5
    monkeypatch.setattr(oracle_module, "FRAMES_AT_ONCE", 2)
    np.testing.assert_array_equal(run(specimen.model, inputs), whole)
    assert (run(specimen.model, specimen.inputs(200, seed=1)) != whole[0]).any()


@pytest.mark.parametrize("name", ["brevitas_w2a2", "old_brevitas_w1a2", "brevitas_dynamo_w1a1"])
def test_networks_with_arbitrary_scales_have_exact_products(name):
    oracle = Oracle(ZOO[name]().model)
    oracle.run(ZOO[name]().inputs(64))
    assert oracle.inexact == set()


def test_products_of_unquantised_operands_are_named():
    w = Writer(5)
    x = w.add("Div", "inp", w.const([3.0, 7.0, 255.0]))
    out = w.add("MatMul", x, w.const(np.ones((3, 2))))
    oracle = Oracle(w.model((1, 3), [out], [(1, 2)]))
    oracle.run(np.arange(12).reshape(4, 3))
    assert oracle.inexact == {"MatMul_1"}


@pytest.mark.parametrize("moved", [False, True])
def test_arithmetic_before_a_product_is_that_of_real_numbers(moved):
    """(2 (x / 255) - 1 less 0.25) / 3, summed and rounded once; elementwise it stays float64."""
    rng = np.random.default_rng(2)
    w = Writer()
    x = w.add("Sub", w.add("Mul", w.const(2.0), w.add("Div", "inp", w.const(255.0))), w.const(1.0))
    if moved:
        x = w.add("Reshape", w.add("Neg", x), w.const([1, 6], np.int64))
    x = w.add("Div", w.add("Sub", w.const([0.25] * 6), x), w.const(3.0))
    weights = rng.integers(-3, 4, (6, 4)) * np.float64(np.float32(0.3))
    out = w.add("MatMul", x, w.const(weights))
    model = w.model((1, 2, 3) if moved else (1, 6), [out], [(1, 4)])
    pixels = rng.integers(0, 256, (50, 2, 3) if moved else (50, 6))
    oracle = Oracle(model)
    result = oracle.run(pixels, [x])
    sign = 1 if moved else -1
    real = [
        [(Fraction(1, 4) + sign * (Fraction(2 * int(p), 255) - 1)) / 3 for p in row]
        for row in pixels.reshape(50, 6).tolist()
    ]
    columns = [[Fraction(v) for v in column] for column in weights.T.tolist()]
    expected = [
        [float(sum(a * b for a, b in zip(row, column, strict=True))) for column in columns]
        for row in real
    ]
    np.testing.assert_array_equal(result[out], expected)
    assert oracle.inexact == set()
    stepwise = pixels.reshape(50, 6) / 255.0 * 2.0 - 1.0
    np.testing.assert_array_equal(result[x], (0.25 + sign * stepwise) / 3.0)


def test_a_network_by_hand():
    w = Writer()
    x = w.quant("inp", 0.5, 3)  # levels -4..3
    x = w.add("MatMul", x, w.const([[1.0, -1.0], [2.0, 0.0]]))
    x = w.add("Add", x, w.const([0.25, 0.0]))
    out = w.quant(w.add("Relu", x), 1.0, 2, signed=False)
    model = w.model((1, 2), [out], [(1, 2)])
    inputs = np.array([[0.75, 0.25], [0.7, 9.0], [-9.0, -0.25]])
    # quantised, half to even, to [1, 0], [0.5, 1.5], [-2, 0]
    acc = Oracle(model).run(inputs, [x])[x]
    np.testing.assert_array_equal(acc, [[1.25, -1.0], [3.75, -0.5], [-1.75, 2.0]])
    np.testing.assert_array_equal(run(model, inputs), [[1, 0], [3, 0], [0, 2]])


def test_wanted_tensors_and_constants():
    specimen = ZOO["brevitas_w2a2"]()
    weights = next(n.output[0] for n in specimen.model.graph.node if n.op_type == "Transpose")
    result = Oracle(specimen.model).run(specimen.inputs(3), ["inp", weights])
    np.testing.assert_array_equal(result["inp"], specimen.inputs(3))
    assert result[weights].shape == (16, 12)
    assert all(array.dtype == np.float64 for array in result.values())


# --- exact products -----------------------------------------------------------------------------


def fraction_product(a, b):
    rows = [[Fraction(v) for v in row] for row in a.tolist()]
    columns = [[Fraction(v) for v in column] for column in b.T.tolist()]
    return np.array(
        [[float(sum(x * y for x, y in zip(r, c, strict=True))) for c in columns] for r in rows]
    )


def quantised(rng, bits, scale, shape):
    levels = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
    return levels * np.asarray(scale, np.float32).astype(np.float64)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_products_are_exact_sums_rounded_once(seed, a_bits, b_bits, per_channel):
    rng = np.random.default_rng(seed)
    a = quantised(rng, a_bits, rng.uniform(1e-4, 3), (3, 40))
    b = quantised(rng, b_bits, rng.uniform(1e-4, 3, 5 if per_channel else ()), (40, 5))
    np.testing.assert_array_equal(exact_product(a, b), fraction_product(a, b))


def test_plain_float64_would_miss_ties_that_the_exact_product_keeps():
    rng = np.random.default_rng(0)
    a = quantised(rng, 4, 0.1234567, (400, 64))
    b = quantised(rng, 4, 0.0612345, (64, 32))
    levels = np.rint(a / np.float32(0.1234567)) @ np.rint(b / np.float32(0.0612345))
    tied = levels == 0
    assert (exact_product(a, b)[tied] == 0).all()
    assert ((a @ b)[tied] < 0).any()  # the sign, and so a bipolar activation, would be wrong


def test_a_unit_finer_than_the_sampled_rows_show_is_found():
    a = np.full((200, 3), 0.75)
    a[-1, -1] = 0.125
    form = integer_form(a, per_column=False)
    assert form.units == 0.125
    np.testing.assert_array_equal(form.integers * form.units, a)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1 / 3, 0.1, np.pi]]),
        np.array([[1.0, 2.0**-70]]),
        np.array([[np.inf, 1.0]]),
    ],
)
def test_operands_without_a_common_unit_have_no_exact_product(values):
    weights = quantised(np.random.default_rng(0), 4, 0.3, (values.shape[1], 2))
    assert exact_product(values, weights) is None


def test_sums_beyond_53_bits_are_not_called_exact():
    a = np.array([[2.0**26 + 1, 1.0]])
    assert exact_product(a, 2 * a.T) == 2 * ((2**26 + 1) ** 2 + 1)
    a = np.array([[2.0**26 + 1, 3.0]])
    assert exact_product(a, np.array([[2.0**27 + 1], [1.0]])) is None


def test_units_beyond_53_bits_are_not_called_exact():
    a, b = np.array([[127.0, 254.0]]), np.full((2, 1), 1 - 2.0**-52)  # units of 7 and 52 bits
    assert integer_form(b).unit_bits == 52
    assert exact_product(a, b) is None
    assert exact_product(a / 127, b) == 3 * (1 - 2.0**-52)


def test_zero_operands_are_exact():
    assert (exact_product(np.zeros((2, 3)), np.zeros((3, 4))) == 0).all()


# --- operators ----------------------------------------------------------------------------------

MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(MODES),
    st.integers(1, 8),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 3.0, -2.0]),
    st.integers(0, 2**32 - 1),
)
def test_quant_is_the_function_that_qonnx_defines(mode, bits, signed, narrow, zero_point, seed):
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.25, np.float32(rng.uniform(0.01, 2))], 6).astype(np.float32)
    x = rng.integers(-300, 300, (9, 6)) / 2 * scale.astype(np.float64)  # ties, mostly
    constants = [scale, np.float32(zero_point), np.float32(bits)]
    attributes = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
    model = node_model(
        "Quant",
        [("N", 6), *map(np.asarray, constants)],
        domain="qonnx.custom_op.general",
        **attributes,
    )
    wide = [np.asarray(c, np.float64) for c in constants]
    np.testing.assert_array_equal(run(model, x), qonnx_quant(x, *wide, signed, narrow, mode))


def test_round_to_zero_is_brevitas_name_of_down():
    w = Writer()
    out = w.quant("inp", 1.0, 4, rounding="round_to_zero")
    model = w.model((1, 3), [out], [(1, 3)])
    np.testing.assert_array_equal(run(model, np.array([[-1.9, 1.9, -0.5]])), [[-1, 1, 0]])


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "onnx.brevitas"])
def test_bipolar_quant_sends_zero_to_plus_one(domain):
    model = node_model("BipolarQuant", [("N", 3), np.array(0.3, np.float32)], domain=domain)
    scale = np.float64(np.float32(0.3))
    np.testing.assert_array_equal(
        run(model, np.array([[0.0, -1e-30, 4.0]])), [[scale, -scale, scale]]
    )


def test_multi_threshold_counts_channels_on_axis_1_or_last():
    thresholds = np.array([[0.0, 1.0], [5.0, 6.0]], np.float32)
    x = np.array([[[1.0, 5.0]], [[-1.0, 9.0]]])  # 2 frames, 1 position, 2 channels
    attributes = {"out_scale": 2.0, "out_bias": -1.0, "out_dtype": "INT3"}
    domain = "qonnx.custom_op.general"
    last = node_model(
        "MultiThreshold", [("N", 1, 2), thresholds], domain=domain, data_layout="NWC", **attributes
    )
    expected = np.array([[[3.0, 1.0]], [[-1.0, 3.0]]])
    np.testing.assert_array_equal(run(last, x), expected)
    first = node_model("MultiThreshold", [("N", 2, 1), thresholds], domain=domain, **attributes)
    np.testing.assert_array_equal(run(first, x.swapaxes(1, 2)), expected.swapaxes(1, 2))


V4 = np.array([0.7, -1.3, 0.0, 2.1])
ONE_NODE = {
    "add": ("Add", [V4], {}),
    "sub_rank_2": ("Sub", [V4[None]], {}),
    "mul": ("Mul", [V4], {}),
    "div": ("Div", [V4 + 3], {}),
    "batch_norm": ("BatchNormalization", [V4, V4 * 2, V4 + 1, V4**2 + 0.1], {"epsilon": 1e-3}),
    "relu": ("Relu", [], {}),
    "leaky_relu": ("LeakyRelu", [], {"alpha": 0.25}),
    "clip": ("Clip", [np.array(-0.4), np.array(0.9)], {}),
    "clip_low_only": ("Clip", [np.array(-0.4)], {}),
    "clip_high_only": ("Clip", [None, np.array(0.4)], {}),
    "sigmoid": ("Sigmoid", [], {}),
    "tanh": ("Tanh", [], {}),
    "hard_sigmoid": ("HardSigmoid", [], {"alpha": 0.25, "beta": 0.375}),
    "softmax": ("Softmax", [], {"axis": 1}),
    "softmax_last": ("Softmax", [], {}),
    "neg": ("Neg", [], {}),
    "abs": ("Abs", [], {}),
    "pow": ("Pow", [np.array(2.0)], {}),
    "matmul": ("MatMul", [np.arange(12.0).reshape(4, 3)], {}),
    "gemm": ("Gemm", [np.arange(12.0).reshape(4, 3)], {"alpha": 0.5}),
    "gemm_bias": ("Gemm", [np.arange(12.0).reshape(3, 4), V4[:3]], {"transB": 1, "beta": 2.0}),
    "flatten": ("Flatten", [], {}),
    "flatten_negative": ("Flatten", [], {"axis": -1}),
    "transpose": ("Transpose", [], {"perm": [0, 1]}),
    "unsqueeze": ("Unsqueeze", [np.array([1, -1])], {}),
    "slice": ("Slice", [np.array([3]), np.array([-9]), np.array([1]), np.array([-2])], {}),
    "slice_all_frames": (
        "Slice",
        [np.array([0, 1]), np.array([2**31 - 1, 3]), np.array([0, 1])],
        {},
    ),
    "gather": ("Gather", [np.array([2, 0])], {"axis": 1}),
    "reshape": ("Reshape", [np.array([0, 2, -1])], {}),
    "reshape_free": ("Reshape", [np.array([-1, 2, 2])], {}),
    "arg_max": ("ArgMax", [], {"axis": 1, "keepdims": 0}),
    "arg_max_negative": ("ArgMax", [], {"axis": -1}),
    "identity": ("Identity", [], {}),
    "dropout": ("Dropout", [np.array(0.5)], {}),
    "cast": ("Cast", [], {"to": TensorProto.INT32}),
}


@pytest.mark.parametrize("case", ONE_NODE)
def test_operators_do_what_the_onnx_reference_does(case):
    op, constants, attributes = ONE_NODE[case]
    x = np.random.default_rng(0).normal(0, 2, (7, 4))
    x[0] = [1.0, 3.0, 3.0, 0.0]
    integer = {"ArgMax": TensorProto.INT64, "Cast": TensorProto.INT32}.get(op)
    model = node_model(op, [("N", 4), *constants], types=integer, **attributes)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    got = run(model, x)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-15)


def test_float_attributes_are_float32():
    model = node_model("LeakyRelu", [("N", 1)], alpha=0.1)
    default = node_model("LeakyRelu", [("N", 1)])
    assert run(model, -np.ones((1, 1))) == -np.float64(np.float32(0.1))
    assert run(default, -np.ones((1, 1))) == -np.float64(np.float32(0.01))
    one, zero = np.ones(1), np.zeros(1)
    norm = node_model("BatchNormalization", [("N", 1), one, zero, zero, zero])
    assert run(norm, np.ones((1, 1))) == 1 / np.sqrt(np.float64(np.float32(1e-5)))


def test_sigmoid_of_large_numbers():
    model = node_model("Sigmoid", [("N", 3)])
    np.testing.assert_array_equal(run(model, np.array([[-1e5, 0.0, 1e5]])), [[0.0, 0.5, 1.0]])


def test_older_opsets_keep_arguments_in_attributes():
    x = np.random.default_rng(0).normal(0, 2, (5, 1, 4))
    clip = node_model("Clip", [("N", 1, 4)], opset=6, min=-0.5, max=0.5)
    np.testing.assert_array_equal(run(clip, x), np.clip(x, -0.5, 0.5))
    squeeze = node_model("Squeeze", [("N", 1, 4)], opset=11, axes=[1])
    np.testing.assert_array_equal(run(squeeze, x), x[:, 0])
    cut = node_model("Slice", [("N", 1, 4)], opset=9, starts=[1], ends=[3], axes=[2])
    np.testing.assert_array_equal(run(cut, x), x[:, :, 1:3])
    soft = node_model("Softmax", [("N", 1, 4)], opset=11, axis=1)  # over all axes from 1 on
    np.testing.assert_allclose(run(soft, x).sum(axis=(1, 2)), np.ones(5))


def test_top_k_puts_the_lowest_index_first_among_equals():
    w = Writer()
    values = w.add("TopK", "inp", w.const([2], np.int64), axis=1, outputs=2)
    model = w.model((1, 4), [values, f"{values}1"], [(1, 2), (1, 2)])
    got = Oracle(model).run(np.array([[1.0, 5.0, 5.0, 5.0]]))
    np.testing.assert_array_equal(got[values], [[5, 5]])
    np.testing.assert_array_equal(got[f"{values}1"], [[1, 2]])


# --- the batch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [[3, 8], [3, -1], [0, 8], [-1, 8], [3, 2, 4]])
def test_a_baked_in_batch_size_stands_for_the_frames(target):
    x = np.arange(5 * 8.0).reshape(5, 2, 4)
    model = node_model("Reshape", [(3, 2, 4), np.array(target)])
    np.testing.assert_array_equal(run(model, x), x.reshape(5, *target[1:]))


ACROSS = {
    "transpose": ("Transpose", [], {}),
    "softmax": ("Softmax", [], {"axis": 0}),
    "arg_max": ("ArgMax", [], {}),
    "flatten": ("Flatten", [], {"axis": 0}),
    "unsqueeze": ("Unsqueeze", [np.array([0])], {}),
    "squeeze": ("Squeeze", [np.array([0])], {}),
    "slice": ("Slice", [np.array([0]), np.array([1])], {}),
    "gather": ("Gather", [np.array([0])], {}),
    "reshape": ("Reshape", [np.array([-1])], {}),
    "add_matrix": ("Add", [np.ones((4, 4))], {}),
    "add_higher_rank": ("Add", [np.ones((1, 4, 4))], {}),
    "gemm_trans_a": ("Gemm", [np.ones((4, 4))], {"transA": 1}),
    "gemm_matrix_bias": ("Gemm", [np.ones((4, 4)), np.ones((4, 4))], {}),
    "matmul_stack": ("MatMul", [np.ones((4, 4, 4))], {}),
}


@pytest.mark.parametrize("case", ACROSS)
def test_operators_that_mix_frames_are_refused(case):
    op, constants, attributes = ACROSS[case]
    with pytest.raises(
        UserError, match=rf"batch axis(.|\n)*'the_node' \({op} of domain 'ai.onnx'\)"
    ):
        run(node_model(op, [("N", 4), *constants], **attributes), np.ones((4, 4)))


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_unsound_models_are_refused_by_name_and_others_run(name):
    refused = REFUSED[name]()
    inputs = np.random.default_rng(0).uniform(-1, 1, (6, 8))
    if refused.runs:
        Oracle(refused.model).run(inputs)
        return
    with pytest.raises(UserError) as caught:
        Oracle(refused.model).run(inputs)
    assert all(word in str(caught.value) for word in refused.words)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (np.ones((3, 15)), r"shape \(3, 15\)(.|\n)*shape \(N, 16\), N at least 1"),
        (np.ones(16), r"shape \(16,\)"),
        (np.ones((0, 16)), "N at least 1"),
        (np.full((2, 16), np.nan), "no finite numbers"),
        (np.full((2, 16), "a"), "no finite numbers"),
    ],
)
def test_inputs_that_do_not_fit(inputs, text):
    with pytest.raises(UserError, match=text):
        Oracle(ZOO["qkeras_8bit"]().model).run(inputs)


def test_unknown_tensor():
    specimen = ZOO["qkeras_8bit"]()
    with pytest.raises(UserError, match=r"no such tensor(.|\n)*nonsense"):
        Oracle(specimen.model).run(specimen.inputs(1), ["nonsense"])


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(UserError, match=r"can't read the model(.|\n)*absent\.onnx"):
        Oracle(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("this is not a model")
    with pytest.raises(UserError, match=r"can't read the model(.|\n)*text\.onnx"):
        Oracle(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(UserError, match="exactly one input"):
        Oracle(tmp_path / "empty.onnx")


def test_a_file_on_disk_runs(tmp_path):
    specimen = ZOO["gemm_bias_quant"]()
    onnx.save(specimen.model, tmp_path / "model.onnx")
    got = run(tmp_path / "model.onnx", specimen.inputs(3))
    np.testing.assert_array_equal(got, run(specimen.model, specimen.inputs(3)))


def test_results_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="not finite"):
        run(node_model("Div", [("N", 2), np.zeros(2)]), np.ones((3, 2)))
    w = Writer()
    out = w.bipolar(w.add("Sub", *[w.add("Div", "inp", w.const(0.0))] * 2))
    with pytest.raises(UserError, match=r"not a number(.|\n)*BipolarQuant_2"):
        run(w.model((1, 2), [out], [(1, 2)]), np.ones((3, 2)))
