"""Configs: every shipped one is valid; every mistake has one message that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from deploy.errors import UserError
from training import config, network_config, quantisers
from training.config import load_config
from training.config_table import ConfigTable, tables_in

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
VALID = """
[data]
name = "digits"
[network]
hidden = [8]
input_quantiser = "binary"
weight_quantiser = "binary"
activation_quantiser = "int2"
[training]
epochs = 3
learning_rate = 0.01
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text)
    return path


LADDER = {"digits": (64,) * 3, "tfc": (64,) * 3, "sfc": (256,) * 3, "lfc": (1024,) * 3}
FULLY_CONNECTED = {
    **LADDER,
    "lenet300": (300, 100),
    "bnn2048": (2048,) * 3,
    "bnn4096": (4096,) * 3,
    "wide_table": (2048,) * 3,
    "multiplication_free": (),
}
WITH_BYTES = ("bnn2048", "bnn4096", "wide_table")
PRECISIONS = {
    "w1a1": ("binary", "binary", "binary"),
    "w1a2": ("int2", "binary", "int2"),
    "w2a2": ("int2", "int2", "int2"),
    "w4a4": ("int4", "int4", "int4"),
    "quinary": ("int3", "quinary", "quinary"),
    "float": ("float", "float", "float"),
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_config_is_what_its_name_says(path: Path) -> None:
    loaded = load_config(path)
    name, _, bits = path.stem.rpartition("_")
    inputs, weights, activations = PRECISIONS[bits]
    found = loaded.network
    assert (found.weight_quantiser, found.activation_quantiser) == (weights, activations)
    if found.kind == "fully_connected":
        is_of_bytes = name in WITH_BYTES and bits != "float"
        assert found.input_quantiser == ("int8" if is_of_bytes else inputs)
        assert found.hidden == FULLY_CONNECTED[name]
    assert loaded.data.name == "digits" or "digits" not in name


def test_all_precisions_of_the_fully_connected_networks_are_shipped() -> None:
    names = {path.stem for path in CONFIGS.glob("*.toml")}
    kinds = ("w1a1", "w1a2", "w2a2", "float")
    assert {f"{network}_{kind}" for network in LADDER for kind in kinds} <= names


def test_a_config_knows_exactly_the_quantisers_that_exist() -> None:
    assert get_args(network_config.QuantiserName) == quantisers.NAMES
    assert get_args(network_config.ActivationQuantiserName) == quantisers.ACTIVATION_NAMES
    assert get_args(network_config.WeightQuantiserName) == quantisers.WEIGHT_NAMES


def tables_of(table: type[ConfigTable]) -> Iterator[type[ConfigTable]]:
    yield table
    for field in table.model_fields.values():
        for inner in tables_in((field.annotation, *field.metadata)):
            yield from tables_of(inner)


def test_every_key_is_explained() -> None:
    tables = set(tables_of(config.Config))
    assert network_config.Fire in tables
    for table in tables - {config.Config}:
        assert table.__doc__
        for key, field in table.model_fields.items():
            assert field.description, key


def test_options_replace_what_the_file_says(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, VALID), data="mnist", epochs=7, seed=9)
    assert (loaded.data.name, loaded.training.epochs, loaded.training.seed) == ("mnist", 7, 9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 3", "epoch = 3", r"unknown key.*training\.epoch.*did you mean 'epochs'"),
        ("[data]", "[date]", r"unknown key.*date.*did you mean 'data'"),
        ("epochs = 3", "epochs = 0", r"value in the config is wrong.*training\.epochs.*found.*0"),
        ("epochs = 3", "epochs = '3'", r"training\.epochs.*'3'.*integer.*Passes over"),
        ("epochs = 3", "", r"key is missing.*training\.epochs.*Passes over"),
        ("hidden = [8]", "hidden = [8, 0]", r"network\.hidden\.1.*found: +0"),
        ('weight_quantiser = "binary"', 'weight_quantiser = "bin"', r"'bin'.*'binary'"),
        ("learning_rate = 0.01", "learning_rate = nan", r"training\.learning_rate.*nan"),
        ('name = "digits"', 'name = "cifar"', r"data\.name.*'cifar'.*'digits'"),
        ("hidden = [8]", 'kind = "conv"', r"found: +'conv'.*'convolutional'"),
        ("[data]", "data = 3\n[dat]", r"(?s)my\.toml"),
        ("epochs = 3", "epochs = = 3", r"not valid TOML.*line 10"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path, VALID.replace(old, new))
    with pytest.raises(UserError, match=f"(?s){message}") as error:
        load_config(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("", r"network\.layers\n.*found: +\(\)"),
        ("{ kernel = 3 }", r"network\.layers\.0\.type\n.*no key 'type'"),
        ("{ type = 'conv' }", r"network\.layers\.0\.type\n.*'conv'.*'convolution'"),
        ("{ type = 'dense', neuron = 3 }", r"network\.layers\.0\.neuron\n.*'neurons'\?"),
        ("{ type = 'dense', neurons = 0 }", r"network\.layers\.0\.neurons\n.*Outputs"),
        ("{ type = 'fire', squeeze = 1 }", r"missing.*\.0\.expand1\n.*kernel 1"),
    ],
)
def test_a_mistake_in_a_layer_is_named(tmp_path: Path, layer: str, message: str) -> None:
    network = f"kind = 'convolutional'\nlayers = [{layer}]"
    with pytest.raises(UserError, match=f"(?s){message}"):
        load_config(write(tmp_path, VALID.replace("hidden = [8]", network)))


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)training\.epochs.*-1"):
        load_config(write(tmp_path, VALID), epochs=-1)


def test_unreadable_configs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)can't be read.*No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(UserError, match=r"(?s)can't be read.*directory"):
        load_config(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_config(tmp_path / "binary.toml")
