"""The importer against an executor of QONNX that shares no code with it, and its refusals."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx_refused import REFUSED
from qonnx_writer import Writer, random_integers
from qonnx_zoo import ZOO, brevitas

from deploy.errors import UserError
from hw_build.golden import execute
from hw_build.graph import BIPOLAR, ArgMax, MatVec, Threshold
from hw_build.graph_file import Imported
from hw_build.importer import import_qonnx
from hw_build.oracle import Oracle

CLASSES = ("ends_in_argmax", "ends_in_topk")
FLOAT32_EXACT = [n for n in ZOO if n not in CLASSES and ZOO[n]().float32_exact]


def imported(
    model: onnx.ModelProto, folder: Path, output: str = "auto", *types: str | None
) -> Imported:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return import_qonnx(path, output, *types)


def mismatches(network: Imported, model: onnx.ModelProto, x: np.ndarray) -> dict[str, int]:
    """How many integers of every layer with a meaning differ from the oracle's."""
    got = execute(network.graph, network.quantiser(x))
    meanings = network.graph.meanings
    reals = Oracle(model).run(x, [meaning.tensor for meaning in meanings.values()])
    counts = {}
    for name, meaning in meanings.items():
        real = reals[meaning.tensor].reshape(len(x), -1)
        exact = (real - meaning.offset) / meaning.scale
        integers = np.rint(exact)
        assert np.abs(exact - integers).max() < 2**-20
        counts[name] = int((integers != got[name]).sum())
    return counts


@pytest.mark.parametrize("name", ZOO)
def test_every_layer_equals_the_oracle(name: str, tmp_path: Path) -> None:
    specimen = ZOO[name]()
    network = imported(specimen.model, tmp_path, "scores")
    layers = network.graph.infer()
    quantised = [layer.name for layer in network.graph if isinstance(layer, Threshold)]
    assert {"input", *quantised, network.graph.output.name} == set(network.graph.meanings)
    assert network.input_shape == specimen.shape
    own = network.quantiser.random_inputs(300, seed=3)
    for x in (specimen.inputs(300, seed=2), own):
        assert not any(mismatches(network, specimen.model, x).values())
    values = execute(network.graph, network.quantiser(own))
    for layer, info in layers.items():
        assert (values[layer] >= info.lo).all()
        assert (values[layer] <= info.hi).all()
    assert len(np.unique(values[network.graph.output.name], axis=0)) > 1


@pytest.mark.parametrize("name", FLOAT32_EXACT)
def test_scores_equal_qonnx_where_float32_is_exact(name: str, tmp_path: Path) -> None:
    specimen = ZOO[name]()
    network = imported(specimen.model, tmp_path)
    meaning = network.graph.meanings[network.graph.output.name]
    model = ModelWrapper(specimen.model).transform(InferShapes())
    for frame in specimen.inputs(5, seed=4):
        got = execute(network.graph, network.quantiser(frame[None]))
        expected = execute_onnx(model, {"inp": frame[None]})[model.graph.output[0].name]
        assert (meaning.to_real(got[network.graph.output.name]) == expected).all()


@pytest.mark.parametrize("name", [*CLASSES, "qkeras_6bit"])
def test_the_class_leaves_where_it_is_exact(name: str, tmp_path: Path) -> None:
    specimen = ZOO[name]()
    if name == "qkeras_6bit":  # a bias per channel: no arg max on accumulators
        with pytest.raises(UserError, match=r"cannot be taken exactly[\s\S]*per channel[\s\S]*sco"):
            imported(specimen.model, tmp_path, "class")
        assert imported(specimen.model, tmp_path).host_tail == ("Softmax",)
        return
    network = imported(specimen.model, tmp_path)
    assert isinstance(network.graph.output, ArgMax)
    assert network.host_tail == ()
    x = specimen.inputs(500)
    classes = execute(network.graph, network.quantiser(x))["class"]
    name = specimen.model.graph.output[0].name
    assert (Oracle(specimen.model).run(x)[name] == classes).all()
    scores = imported(specimen.model, tmp_path, "scores")
    assert isinstance(scores.graph.output, MatVec)
    assert scores.host_tail in (("ArgMax",), ("TopK",))


def head(
    end: Callable[[Writer, str], str], scale: float = 0.5, n: int = 6, writer: Writer | None = None
) -> onnx.ModelProto:
    """One ternary layer with what `end` writes behind it."""
    w = writer or Writer(50)
    x = w.quant("inp", scale, 3)
    weights = w.quant(w.const(random_integers(w, 2, (n, 4))), 1.0, 2, narrow=True)
    x = end(w, w.add("MatMul", x, weights))
    return w.model((1, n), [x], [(1, 4)])


@pytest.mark.parametrize(
    ("end", "exact"),
    [
        (lambda w, x: w.add("Softmax", x, axis=1), True),
        (lambda w, x: w.add("Sigmoid", x), True),
        (lambda w, x: w.add("Add", x, w.const([2.5])), True),
        (lambda w, x: w.add("Mul", x, w.const([-1.0])), False),
        (lambda w, x: w.add("Relu", x), False),
        (lambda w, x: w.add("Mul", x, w.const([1.0, 1.0, 1.0, 1.5])), False),
        (lambda w, x: w.add("Add", x, w.const([0.0, 0.0, 0.0, 0.5])), False),
    ],
)
def test_exactness_of_the_class(end: Callable, exact: bool, tmp_path: Path) -> None:
    model = head(end)
    if not exact:
        with pytest.raises(UserError, match="cannot be taken exactly"):
            imported(model, tmp_path, "class")
        return
    network = imported(model, tmp_path, "class")
    x = network.quantiser.random_inputs(200)
    scores = Oracle(model).run(x)[model.graph.output[0].name]
    got = execute(network.graph, network.quantiser(x))["class"]
    assert (scores.argmax(axis=1)[:, None] == got).all()


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "dead"])
def test_refusals_name_the_cause(name: str, tmp_path: Path) -> None:
    refused = REFUSED[name]()
    with pytest.raises(UserError) as caught:
        imported(refused.model, tmp_path)
    for word in refused.words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("float_weights", "node MatMul_1 (MatMul); inputs Quant_0_out (N, 8), const_3 (8, 4)"),
        ("unquantised_activation", "inputs Sigmoid_3_out (N, 8), Quant_4_out (8, 4)"),
        ("unsupported_sin", "node Sin_3 (Sin); inputs MatMul_2_out (N, 4)"),
    ],
)
def test_refusals_name_the_inputs_of_the_node(name: str, inputs: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        imported(REFUSED[name]().model, tmp_path)
    assert inputs in str(caught.value)


def test_the_host_may_send_16_bits_and_no_more(tmp_path: Path) -> None:
    def model(bits: int, hidden: int = 8, weight: float = 1.0, n: int = 4) -> onnx.ModelProto:
        w = Writer(49)
        x = w.quant("inp", 2.0**-10, bits)
        x = w.add("MatMul", x, w.quant(w.const(np.full((n, 2), weight)), 1.0, 8))
        x = w.quant(x, 2.0, hidden)
        x = w.add("MatMul", x, w.quant(w.const(np.eye(2)), 1.0, 2))
        return w.model((1, n), [x], [(1, 2)])

    network = imported(model(16), tmp_path)
    assert (network.graph.input.type.bits, network.quantiser.dtype) == (16, np.int16)
    x = network.quantiser.random_inputs(3000)
    assert not any(mismatches(network, model(16), x).values())
    with pytest.raises(UserError, match=r"more than 16 bits[\s\S]*Quant_0[\s\S]*at the network's"):
        imported(model(17), tmp_path)
    with pytest.raises(UserError, match=r"more than 8 bits[\s\S]*Quant_3"):
        imported(model(16, hidden=9), tmp_path)
    # 127 * 2**15 * n: 2**30 is passed with 259 inputs
    assert imported(model(16, weight=127, n=257), tmp_path).graph.infer()["fc0"].type.bits == 31
    with pytest.raises(UserError, match=r"sums have more than 31 bits[\s\S]*259 inputs of INT16"):
        imported(model(16, weight=127, n=259), tmp_path)


def open_input(w: Writer) -> onnx.ModelProto:
    """A network whose input is neither quantised nor annotated."""
    x = w.add("Add", "inp", w.const([1.0]))
    weights = w.quant(w.const(random_integers(w, 2, (6, 4))), 1.0, 2, narrow=True)
    x = w.add("MatMul", w.add("Div", x, w.const(2.0)), weights)
    return w.model((1, 6), [w.quant(x, 1.0, 3)], [(1, 4)])


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("BIPOLAR", "BIPOLAR", [-1, 1]),
        ("ternary", "INT2", [-1, 0, 1]),
        ("BINARY", "UINT1", [0, 1]),
        ("UINT8", "UINT8", range(256)),
        ("INT16", "INT16", [-32768, 0, 5, 32767]),
        ("FIXED<4,2>", "INT4", np.arange(-8, 8) / 4),
    ],
)
def test_the_user_may_declare_the_inputs(
    text: str, kind: str, values: list[float], tmp_path: Path
) -> None:
    model = open_input(Writer(48))
    with pytest.raises(UserError, match=r"without a quantiser[\s\S]*--input-type UINT8"):
        imported(model, tmp_path)
    network = imported(model, tmp_path, "auto", text)
    assert str(network.graph.input.type) == kind
    x = np.random.default_rng(0).choice(np.asarray(values, np.float32), (500, 6))
    for inputs in (x, network.quantiser.random_inputs(500)):
        assert not any(mismatches(network, model, inputs).values())
    with pytest.raises(UserError, match="is not an integer of the network's input type"):
        network.quantiser(np.full((1, 6), 0.1))


def test_declared_inputs_never_contradict_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the integer type is not[\s\S]*--input-type[\s\S]*INT17"):
        imported(open_input(Writer(48)), tmp_path, "auto", "INT17")
    with pytest.raises(UserError, match=r"leaves open[\s\S]*UINT8, but node Quant_1"):
        imported(ZOO["brevitas_w2a2"]().model, tmp_path, "auto", "UINT8")
    annotated = ZOO["int4_input"]().model
    with pytest.raises(
        UserError, match=r"contradicts the file[\s\S]*UINT8, and the file says INT4"
    ):
        imported(annotated, tmp_path, "auto", "UINT8")
    assert imported(annotated, tmp_path, "auto", "INT4").graph.input.type.bits == 4


def test_inputs_seen_to_be_integers_are_the_last_resort(tmp_path: Path) -> None:
    network = imported(open_input(Writer(48)), tmp_path, "auto", None, "BIPOLAR")
    assert network.graph.input.type == BIPOLAR
    assert any("the file does not say" in note for note in network.notes)
    network = imported(ZOO["int4_input"]().model, tmp_path, "auto", None, "BIPOLAR")
    assert network.graph.input.type.bits == 4


def test_annotations_matter_only_where_no_quantiser_follows(tmp_path: Path) -> None:
    w = Writer(47)
    w.annotate("inp", "INT32")
    network = imported(head(lambda w, x: x, writer=w), tmp_path)
    assert network.graph.input.type.bits == 3
    w = Writer(47)
    w.annotate("inp", "INT32")
    with pytest.raises(UserError, match=r"not supported[\s\S]*input inp[\s\S]*INT32"):
        imported(open_input(w), tmp_path)


@pytest.mark.parametrize("batch", [1, 7, "N"])
def test_the_batch_may_be_anything(batch: object, tmp_path: Path) -> None:
    specimen = brevitas("any_batch", weight_bits=2, act_bits=2, batch=batch)
    network = imported(specimen.model, tmp_path)
    assert not any(mismatches(network, specimen.model, specimen.inputs(40)).values())


def test_wide_quantisers_of_accumulators_change_nothing(tmp_path: Path) -> None:
    """Exporters requantise accumulators to 32 bits, with the float32 nearest to their scale."""

    def requantised(w: Writer, x: str) -> str:
        x = w.quant(w.add("Add", x, w.const(np.float32([0.3, -0.3, 0.6, 0.0]))), 0.1, 32)
        return w.quant(x, 0.7, 3)

    model = head(requantised, scale=0.1)
    network = imported(model, tmp_path)
    assert any("maps every accumulator to itself" in note for note in network.notes)
    assert not any(mismatches(network, model, network.quantiser.random_inputs(500)).values())


def test_repeated_quantisers_and_relu_behind_one(tmp_path: Path) -> None:
    def repeated(w: Writer, x: str) -> str:
        x = w.add("Relu", w.quant(w.quant(x, 0.5, 4), 0.5, 16))
        weights = w.quant(w.const(random_integers(w, 2, (4, 4))), 1.0, 2, narrow=True)
        return w.add("MatMul", x, weights)

    model = head(repeated)
    network = imported(model, tmp_path)
    assert any("changes no value" in note for note in network.notes)
    assert network.graph.infer()["fc0_act"].lo.min() == 0
    assert not any(mismatches(network, model, network.quantiser.random_inputs(500)).values())


def test_nested_quantisers_are_one_staircase(tmp_path: Path) -> None:
    def nested(w: Writer, x: str) -> str:
        x = w.quant(w.add("Mul", x, w.const(0.3)), 0.25, 5)
        return w.quant(w.add("Add", x, w.const([0.1, -0.2, 0.3, 0.0])), 0.6, 2)

    model = head(nested)
    network = imported(model, tmp_path)
    assert [layer.name for layer in network.graph] == ["input", "fc0", "fc0_act"]
    assert not any(mismatches(network, model, network.quantiser.random_inputs(500)).values())


def test_integer_ratios_of_activation_scales_go_into_the_weights(tmp_path: Path) -> None:
    w = Writer(51)
    x = w.quant("inp", [[0.1 * 2, 0.1 * 4, 0.1 * 6, 0.1 * 2]], 4, zero_point=1.0)
    weights = w.quant(w.const(random_integers(w, 3, (4, 3))), 0.5, 3, narrow=True)
    x = w.quant(w.add("MatMul", x, weights), 0.4, 4)
    model = w.model((1, 4), [x], [(1, 3)])
    # float32's 0.6 is not 3 times its 0.2: a refusal, and exact once the scales are powers of 2.
    with pytest.raises(UserError, match="a scale per channel"):
        imported(model, tmp_path)
    scale = next(t for t in model.graph.initializer if t.name == "const_0")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.float32([[0.25, 0.5, 0.75, 0.25]]), "const_0"))
    network = imported(model, tmp_path)
    assert not any(mismatches(network, model, network.quantiser.random_inputs(500)).values())


def scaled_inputs(steps: list[tuple[str, object]], n: int = 12) -> onnx.ModelProto:
    """uint8 inputs, arithmetic, a bipolar layer with a sign behind it."""
    w = Writer(52)
    w.annotate("inp", "UINT8")
    x = "inp"
    for op, value in steps:
        x = w.add(op, x, w.const(value))
    x = w.bipolar(w.add("MatMul", x, w.bipolar(w.const(random_integers(w, 1, (n, 6))))))
    return w.model((1, n), [x], [(1, 6)])


@pytest.mark.parametrize(
    "steps",
    [
        [("Div", 255.0), ("Mul", 2.0), ("Sub", 1.0)],
        [("Mul", 2.0), ("Div", 255.0), ("Add", [-1.0])],
        [("Sub", 127.5), ("Div", 127.5)],
        [("Div", 255.0), ("Div", 3.0)],
        [("Div", 256.0), ("Mul", 2.0), ("Sub", 1.0)],
    ],
)
def test_scaled_inputs_are_sums_of_real_numbers(steps: list, tmp_path: Path) -> None:
    """Pixels / 255 are rounded, their sums are not: a sum on a tie is decided as real numbers."""
    model = scaled_inputs(steps)
    network = imported(model, tmp_path)
    rng = np.random.default_rng(1)
    # Few levels and mirrored halves: many sums are on the tie.
    x = rng.choice([0, 51, 85, 102, 127, 128, 153, 170, 204, 255], (4000, 12))
    x[:2000, 6:] = 255 - x[:2000, :6]
    assert not any(mismatches(network, model, x).values())
    weights, level = network.graph["fc0"].weights, network.graph["fc0_act"]
    scale, shift = Fraction(1), Fraction(0)
    for op, value in steps:
        number = Fraction(float(np.float32(np.ravel(value)[0])))
        if op in ("Mul", "Div"):
            factor = number if op == "Mul" else 1 / number
            scale, shift = scale * factor, shift * factor
        else:
            shift += number if op == "Add" else -number
    for c, row in enumerate(weights.tolist()):
        zero = -shift * sum(row) / scale  # the accumulator that stands for 0
        assert level.thresholds[c, 0] == np.ceil(zero)
    sums = network.quantiser(x).astype(int) @ weights.T
    assert (sums == level.thresholds[:, 0]).sum() > 50


def test_per_input_scales_are_not_one_number(tmp_path: Path) -> None:
    model = scaled_inputs([("Div", np.linspace(1, 2, 12, dtype=np.float32))])
    with pytest.raises(UserError, match="a scale per channel"):
        imported(model, tmp_path)


def test_ties_that_the_inputs_rounding_decides_are_refused(tmp_path: Path) -> None:
    """Factors of so many digits that no single rounding makes the product."""
    steps = [("Sub", 127.5), ("Mul", 0.1), ("Mul", 0.3), ("Mul", 0.7)]
    with pytest.raises(UserError, match=r"rounding tie that only float rounding decides[\s\S]*fc0"):
        imported(scaled_inputs(steps), tmp_path)


def test_weights_without_their_quantiser(tmp_path: Path) -> None:
    """Floats are quantised where they are exactly small integers times one float32 number."""

    def model(values: np.ndarray) -> onnx.ModelProto:
        w = Writer(55)
        x = w.add("MatMul", w.quant("inp", 0.25, 3), w.const(values))
        return w.model((1, values.shape[0]), [x], [(1, values.shape[1])])

    rng = np.random.default_rng(3)
    integers = rng.integers(-9, 10, (8, 5))
    integers[:, 4] = 0
    for scale in (1.0, 0.375, np.float32(0.3), 2.0 ** -rng.integers(0, 5, 5)):
        short = np.float32(np.float16(scale))
        network = imported(model(integers * short), tmp_path)
        meaning = network.graph.meanings["fc0"]
        assert (network.graph["fc0"].weights.T * meaning.scale == integers * short * 0.25).all()
    for values in (rng.normal(size=(8, 5)), integers * np.float32(0.3) + 1e-7):
        with pytest.raises(UserError, match="fc weights are float"):
            imported(model(np.float32(values)), tmp_path)


def test_scores_leave_where_the_class_would_not_be_exact(tmp_path: Path) -> None:
    def biased(w: Writer, x: str) -> str:
        x = w.add("Add", x, w.const([0.1, 0.2, 0.3, 0.4]))
        w.add("TopK", x, w.const([1], np.int64), axis=1, outputs=2)
        return f"{w.nodes[-1].name}_out1"

    model = head(biased)
    network = imported(model, tmp_path)
    assert network.host_tail == ("TopK",)
    assert any("the host takes the arg max: a to per channel" in n for n in network.notes)
    with pytest.raises(UserError, match="cannot be taken exactly"):
        imported(model, tmp_path, "class")


def test_falling_channels_negate_their_rows(tmp_path: Path) -> None:
    def falling(low: int) -> onnx.ModelProto:
        w = Writer(53)
        x = w.quant("inp", 0.25, 3)
        latent = np.array([[low, 5], [3, low], [-7, 1]])
        x = w.add("MatMul", x, w.quant(w.const(latent), 1.0, 8))
        x = w.quant(w.add("Mul", x, w.const([-0.01, 0.01])), 0.25, 3)
        return w.model((1, 3), [x], [(1, 2)])

    network = imported(falling(-127), tmp_path)
    assert network.graph["fc0"].weights.tolist() == [[127, -3, 7], [5, -127, 1]]
    assert any("1 of them falling (negated in the weights)" in note for note in network.notes)
    x = network.quantiser.random_inputs(500)
    assert not any(mismatches(network, falling(-127), x).values())
    with pytest.raises(UserError, match=r"-128 has no negative[\s\S]*output 0[\s\S]*narrow range"):
        imported(falling(-128), tmp_path)


def test_quantised_weights_as_integers_with_an_annotation(tmp_path: Path) -> None:
    w = Writer(54)
    weights = w.const(random_integers(w, 2, (5, 3)))
    w.annotate(weights, "TERNARY")
    x = w.add("MatMul", w.quant("inp", 0.25, 3), weights)
    model = w.model((1, 5), [x], [(1, 3)])
    network = imported(model, tmp_path)
    assert network.graph["fc0"].weight_kind == "ternary"
    assert not any(mismatches(network, model, network.quantiser.random_inputs(50)).values())


def test_constant_channels_are_kept_and_counted(tmp_path: Path) -> None:
    network = imported(ZOO["brevitas_zero_gamma_w2a2"]().model, tmp_path)
    assert any("of them constant" in note for note in network.notes)
    assert network.graph["fc0_act"].thresholds.shape[0] == 12


# --- files and their damage ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12\x00", b"\x00" * 64])
def test_files_that_are_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not an ONNX model[\s\S]*broken\.onnx"):
        import_qonnx(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UserError, match="cannot read the model"):
            import_qonnx(path)


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = ZOO["brevitas_w1a1"]().model
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert import_qonnx(path).graph.output.name == "fc2"
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match=r"external data is missing[\s\S]*weights\.bin"):
        import_qonnx(path)


def test_malformed_nodes_are_named(tmp_path: Path) -> None:
    model = head(lambda w, x: w.add("BatchNormalization", x, *(w.const([1.0]) for _ in range(3))))
    with pytest.raises(UserError, match=r"variance is missing[\s\S]*BatchNormalization_3"):
        imported(model, tmp_path)
    model.graph.node[-1].input[1] = "nowhere"
    with pytest.raises(UserError, match=r"nothing before it makes[\s\S]*nowhere"):
        imported(model, tmp_path)
    model = head(lambda w, x: w.add("Reshape", x, w.const([[1.5, 7]])))
    with pytest.raises(UserError, match="Reshape_3"):
        imported(model, tmp_path)


def test_several_inputs_and_no_input(tmp_path: Path) -> None:
    model = head(lambda w, x: x)
    extra = helper.make_tensor_value_info("other", TensorProto.FLOAT, (1, 2))
    model.graph.input.append(extra)
    with pytest.raises(UserError, match=r"not one input[\s\S]*2: inp, other"):
        imported(model, tmp_path)
    del model.graph.input[:]
    with pytest.raises(UserError, match=r"not one input[\s\S]*none"):
        imported(model, tmp_path)


def test_an_unknown_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such output"):
        imported(head(lambda w, x: x), tmp_path, "probabilities")


def test_damaged_bytes_never_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    for name in ("brevitas_w2a2", "old_brevitas_w1a1", "gemm_bias_quant", "ends_in_topk"):
        whole = ZOO[name]().model.SerializeToString()
        for _ in range(40):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 2):
                damaged[at] = rng.integers(256)
            path.write_bytes(bytes(damaged))
            try:
                import_qonnx(path)
            except UserError as error:
                assert error.what  # noqa: PT017 - some files survive, the others say why not
