"""The host's input quantiser: QONNX's definition, its file form, and its random inputs."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.custom_op.general.intquant import int_quant
from qonnx_zoo import ZOO

from deploy.errors import UserError
from hw_build.graph import BIPOLAR, IntType
from hw_build.importer import import_qonnx
from hw_build.input_quantiser import InputQuantiser
from hw_build.scalar import Step

SCALED = [
    Step("mul", {"by": np.float64(2)}, "Mul_0", "Mul", "scaled"),
    Step("sub", {"less": np.array([1.0, 0.5])}, "Sub_1", "Sub", "shifted"),
]


def quantiser(bits: int, scale: float, zero_point: float = 0.0, shape: tuple = (2,)):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    parameters = {
        "scale": np.float64(np.float32(scale)),
        "zero_point": np.float64(zero_point),
        "low": np.float64(low),
        "high": np.float64(high),
        "rounding": "ROUND",
    }
    steps = (*SCALED, Step("quant", parameters, "Quant_2", "Quant", "integers"))
    return InputQuantiser(shape, IntType(bits, signed=True), low, high, steps)


@pytest.mark.parametrize(("bits", "scale", "zero"), [(2, 0.5, 0), (4, 0.1, 3), (8, 1 / 64, -7)])
def test_levels_are_those_of_qonnx(bits: int, scale: float, zero: float) -> None:
    host = quantiser(bits, scale, zero)
    x = host.random_inputs(500, seed=1)
    real = 2.0 * x.astype(np.float64) - [1.0, 0.5]
    step = np.float64(np.float32(scale))
    expected = int_quant(real, step, zero, np.float64(bits), True, False, "ROUND") / step + zero
    got = host(x)
    assert got.dtype == np.int8
    assert (got == np.rint(expected)).all()


@pytest.mark.parametrize("name", ZOO)
def test_random_inputs_reach_every_level(name: str, tmp_path: Path) -> None:
    onnx.save(ZOO[name]().model, tmp_path / "model.onnx")
    host = import_qonnx(tmp_path / "model.onnx").quantiser
    x = host.random_inputs(400, seed=5)
    assert x.dtype == np.float32
    assert x.shape == (400, *host.shape)
    assert (x == host.random_inputs(400, seed=5)).all()
    levels = np.unique(host(x))
    every = np.arange(host.lo, host.hi + 1, 2 if host.type.bipolar else 1)
    if host.n_values > 1:
        assert len(levels) == len(every) or (host.type.bits > 8 and len(levels) > 4000)
    assert (levels[0], levels[-1]) == (every[0], every[-1])


def test_reads_back_from_json() -> None:
    host = quantiser(4, 0.3)
    text = json.dumps(host.to_json(), allow_nan=False)
    again = InputQuantiser.from_json(json.loads(text))
    x = host.random_inputs(300)
    assert (again(x) == host(x)).all()
    assert again.to_json() == host.to_json()


def test_flat_and_shaped_inputs_are_the_same() -> None:
    host = InputQuantiser((1, 2, 3), IntType(4, signed=False), 0, 15)
    x = np.arange(12).reshape(2, 1, 2, 3)
    assert (host(x) == host(x.reshape(2, 6))).all()
    assert host(x).dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (IntType(3, signed=True), 4, "INT3: integers from -4 to 3"),
        (IntType(3, signed=True), 0.5, "INT3: integers from -4 to 3"),
        (BIPOLAR, 0, "BIPOLAR: -1 or .1"),
        (IntType(3, signed=True), np.nan, "INT3"),
    ],
)
def test_integer_inputs_are_checked(kind: IntType, value: float, text: str) -> None:
    host = InputQuantiser((3,), kind, kind.lo, kind.hi)
    x = np.ones((600, 3))
    x[599, 2] = value
    with pytest.raises(UserError, match=rf"frame 599, value 2[\s\S]*{text}"):
        host(x)


def test_what_is_no_batch_of_numbers() -> None:
    host = quantiser(4, 0.5)
    with pytest.raises(UserError, match=r"wrong shape[\s\S]*\(3, 5\)[\s\S]*\(N, 2\)"):
        host(np.zeros((3, 5)))
    with pytest.raises(UserError, match="not numbers"):
        host(np.array([["a", "b"]]))
    with pytest.raises(UserError, match=r"not a number[\s\S]*frame 0, value 1"):
        host(np.array([[0.0, np.nan]]))
    with pytest.raises(UserError, match=r"not a number[\s\S]*frame 1, value 0"):
        host(np.array([[0.0, 1.0], [np.inf, 0.0]]))


def test_fixed_point_inputs_are_integers_times_a_power_of_two() -> None:
    host = InputQuantiser((2,), IntType(6, signed=True), -32, 31, scale=0.25)
    x = host.random_inputs(500, seed=1)
    assert (host(x) * 0.25 == x).all()
    assert host(x).dtype == np.int8
    again = InputQuantiser.from_json(json.loads(json.dumps(host.to_json())))
    assert (again(x) == host(x)).all()
    with pytest.raises(UserError, match=r"value 1[\s\S]*0\.1[\s\S]*-32 to 31, times 0\.25"):
        host(np.array([[0.25, 0.1]]))
