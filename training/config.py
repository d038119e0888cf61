"""The config of a training run: frozen, validated, every key explained; an unknown key is an error.

`load_config` reads it from a TOML file of three tables: `[data]`, `[network]` and `[training]`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from deploy.errors import UserError
from training.config_table import ConfigTable, explain
from training.network_config import NetworkConfig

Side = Annotated[int, Field(ge=1, le=4096)]


class DataConfig(ConfigTable):
    """Which data set to learn."""

    name: Literal[
        "digits", "mnist", "fashion_mnist", "cifar10", "cifar10_jpeg", "unsw_nb15", "own"
    ] = Field(
        description="Data set: digits (8x8, embedded), mnist or fashion_mnist (28x28), cifar10 "
        "(32x32x3) or its copy cifar10_jpeg, unsw_nb15 (rows of a table), own (see path)."
    )
    path: str | None = Field(
        None,
        min_length=1,
        description="Of the user's own data: an .npz or .csv file, or a folder with one of images "
        "per class; from the config's folder on.",
    )
    test_share: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="Of own data that are not parted yet: the share of each class for testing.",
    )
    label_column: str = Field(
        "label", min_length=1, description="Of own data in a .csv: the column of the classes."
    )
    image_size: tuple[Side, Side] | None = Field(
        None,
        description="Of own data in a folder: height and width that images are scaled to; "
        "if not given, all have to be of one size.",
    )
    train_samples: int | None = Field(
        None, ge=2, description="Only the first so many training samples; all if not given."
    )
    test_samples: int | None = Field(
        None, ge=1, description="Only the first so many test samples; all if not given."
    )

    validation_samples: int = Field(
        0,
        ge=0,
        description="The last so many training samples are not trained on but measured after "
        "every epoch; the weights of the best epoch are kept.",
    )
    augmentation: Literal["none", "shift", "crop_flip"] = Field(
        "none",
        description="Change of training images: shift moves each by up to 1 pixel, crop_flip by up "
        "to 4 and mirrors half of them.",
    )


class TrainingConfig(ConfigTable):
    """How to learn it."""

    epochs: int = Field(ge=1, description="Passes over the training set.")
    batch_size: int = Field(1000, ge=2, description="Samples per step of the optimiser.")
    learning_rate: float = Field(
        gt=0.0, le=10.0, description="The optimiser's rate at the start; see schedule."
    )
    optimiser: Literal["adam", "sgd", "shift_adamax"] = Field(
        "adam", description="Adam, SGD with momentum, or BNN's AdaMax whose factors are shifts."
    )
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Of SGD.")
    schedule: Literal["cosine", "exponential"] = Field(
        "cosine", description="The rate falls to 0 along a half cosine, or to 1/10,000 by a factor."
    )
    glorot_scaled_rates: bool = Field(
        False,
        description="BNN's rates: quantised weights step 1 / sqrt(1.5 / (fan in + fan out)) as far "
        "as all other parameters.",
    )
    loss: Literal["cross_entropy", "squared_hinge"] = Field(
        "squared_hinge", description="Loss on the scores; the hinge is one against all, margin 1."
    )
    seed: int = Field(
        1, ge=0, lt=2**31, description="Seed of weights, batches and dropout: same seed, same net."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Training ends after so many epochs without a better validation accuracy.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the network is trained.")
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="CPU threads of PyTorch. More pay for wide networks only, and round otherwise.",
    )
    matmul_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="What training rounds the factors of matrix products to; sums stay float32. "
        "bfloat16 is faster on processors that have it (AMX), exact for levels without a scale.",
    )


class Config(ConfigTable):
    """A whole training run."""

    data: DataConfig
    network: NetworkConfig
    training: TrainingConfig


def load_config(
    path: Path,
    *,
    data: str | None = None,
    train_samples: int | None = None,
    test_samples: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
) -> Config:
    """Reads and validates a config in TOML, or in JSON as a trained run's `config.json` holds it.

    Where given, `data` replaces the file's data.name, `train_samples` and `test_samples` those of
    its data, `epochs` and `seed` those of its training.

    Raises:
        UserError: the file can't be read, is no TOML, or a key is unknown, missing or wrong.
    """
    table = read_toml(path) if path.suffix != ".json" else _read_json(path)
    options = {
        ("data", "name"): data,
        ("data", "train_samples"): train_samples,
        ("data", "test_samples"): test_samples,
        ("training", "epochs"): epochs,
        ("training", "seed"): seed,
    }
    for (table_name, key_name), option in options.items():
        if option is not None and isinstance(table.get(table_name), dict):
            table[table_name][key_name] = option
    return parse_config(table, where=str(path), folder=path.parent)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: the file can't be read, or is no TOML.
    """
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            "the config is not valid TOML", where=str(path), found=str(error)
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            "the config is not valid JSON", where=str(path), found=str(error)
        ) from error
    if not isinstance(table, dict):
        raise UserError("the config holds no tables", where=str(path), found=str(table)[:40])
    return table


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            "the config can't be read",
            where=str(path),
            found=error.strerror or str(error),
            expected="a TOML file such as training/configs/digits_w1a1.toml",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError("the config is not UTF-8 text", where=str(path)) from error


def parse_config(table: dict[str, Any], *, where: str, folder: Path | None = None) -> Config:
    """A `Config` from plain tables; `where` names their source in messages.

    `folder` is what a relative `data.path` starts from, the working directory if not given.
    """
    try:
        config = Config.model_validate(as_tuples(table))
    except ValidationError as error:
        raise explain(error, Config, where) from error
    if config.training.patience and not config.data.validation_samples:
        raise UserError(
            "training can't end early without validation samples",
            where=f"{where}: training.patience",
            found="data.validation_samples = 0",
            fix="set data.validation_samples, or leave training.patience off",
        )
    network = config.network
    if network.activation_quantiser.endswith("_learned"):
        _refuse_branches(network, where)
    if network.gradient_quantiser != "dorefa" and network.gradient_bits is None:
        raise UserError(
            "a quantiser of gradients needs its bits",
            where=f"{where}: network.gradient_quantiser",
            found=f"{network.gradient_quantiser}, and no network.gradient_bits",
            fix="set network.gradient_bits, as 6",
        )
    if network.normalisation == "none" and not (
        network.weight_quantiser == network.activation_quantiser == "float"
    ):
        raise UserError(
            "only networks in floating point do without normalisation",
            where=f"{where}: network.normalisation",
            found=f"weights {network.weight_quantiser}, activations {network.activation_quantiser}",
            expected='"batch" or "shift"',
        )
    return _with_absolute_path(config, folder, where)


def _refuse_branches(network: NetworkConfig, where: str) -> None:
    for index, layer in enumerate(getattr(network, "layers", ())):
        if layer.type in ("residual", "fire"):
            raise UserError(
                "what is added or joined has one scale, and learned scales are each their own",
                where=f"{where}: network.layers.{index}, {layer.type}",
                found=f"network.activation_quantiser = {network.activation_quantiser}",
                fix=f'take "{network.activation_quantiser.removesuffix("_learned")}"',
            )


def _with_absolute_path(config: Config, folder: Path | None, where: str) -> Config:
    """`data.path` as it is found from anywhere; it is there for the user's own data alone."""
    data = config.data
    if (data.name == "own") != (data.path is not None):
        raise UserError(
            "the user's own data have a path, other data sets have none",
            where=f"{where}: data.path",
            found=f"{data.path!r}, and data.name {data.name!r}",
            fix='set data.name = "own" and data.path to an .npz file, a .csv file or a folder',
        )
    if data.path is None:
        return config
    path = str(((folder or Path()) / data.path).absolute())
    return config.model_copy(update={"data": data.model_copy(update={"path": path})})


def as_tuples(value: Any) -> Any:
    """TOML's and JSON's lists as tuples, which is what a frozen field holds."""
    if isinstance(value, dict):
        return {key: as_tuples(item) for key, item in value.items()}
    return tuple(as_tuples(item) for item in value) if isinstance(value, list) else value
