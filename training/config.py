"""The config of a training run: frozen, validated, every key explained; an unknown key is an error.

`load_config` reads it from a TOML file of three tables: `[data]`, `[network]` and `[training]`.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.errors import UserError

# Written out, not imported: reading a config must not wait for torch and brevitas.
QuantiserName = Literal["float", "binary", "int2", "int3", "int4", "int5", "int6", "int7", "int8"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataConfig(_Table):
    """Which data set to learn."""

    name: Literal["digits", "mnist", "fashion_mnist"] = Field(
        description="Data set: digits (8x8, embedded), mnist or fashion_mnist (28x28)."
    )


class NetworkConfig(_Table):
    """A fully connected network: quantised input, hidden layers, one score per class."""

    hidden: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        min_length=1, description="Neurons of each hidden layer, from the input on."
    )
    input_quantiser: QuantiserName = Field(
        description="Quantiser of the input, after it was taken from [0, 1] to [-1, 1]."
    )
    weight_quantiser: QuantiserName = Field(description="Quantiser of all weights.")
    activation_quantiser: QuantiserName = Field(
        description="Quantiser of every hidden layer's output; float is a ReLU."
    )
    dropout: float = Field(
        0.2,
        ge=0.0,
        lt=1.0,
        description="Share of the input and of every hidden output set to 0 in training.",
    )


class TrainingConfig(_Table):
    """How to learn it."""

    epochs: int = Field(ge=1, description="Passes over the training set.")
    batch_size: int = Field(1000, ge=2, description="Samples per step of the optimiser.")
    learning_rate: float = Field(
        gt=0.0, le=10.0, description="Adam's rate at the start; it falls to 0 along a half cosine."
    )
    loss: Literal["cross_entropy", "squared_hinge"] = Field(
        "squared_hinge", description="Loss on the scores; the hinge is one against all, margin 1."
    )
    seed: int = Field(
        1, ge=0, lt=2**31, description="Seed of weights, batches and dropout: same seed, same net."
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="CPU threads of PyTorch. More pay for wide networks only, and round otherwise.",
    )


class Config(_Table):
    """A whole training run."""

    data: DataConfig
    network: NetworkConfig
    training: TrainingConfig


def load_config(
    path: Path, *, data: str | None = None, epochs: int | None = None, seed: int | None = None
) -> Config:
    """Reads and validates a TOML config.

    Where given, `data` replaces the file's data.name, `epochs` and `seed` those of its training.

    Raises:
        UserError: the file can't be read, is no TOML, or a key is unknown, missing or wrong.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            "the config can't be read",
            where=str(path),
            found=error.strerror or str(error),
            expected="a TOML file such as training/configs/digits_w1a1.toml",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError("the config is not UTF-8 text", where=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            "the config is not valid TOML", where=str(path), found=str(error)
        ) from error
    for key, option in (("data.name", data), ("training.epochs", epochs), ("training.seed", seed)):
        table_name, key_name = key.split(".")
        if option is not None and isinstance(table.get(table_name), dict):
            table[table_name][key_name] = option
    return parse_config(table, where=str(path))


def parse_config(table: dict[str, Any], *, where: str) -> Config:
    """A `Config` from plain tables; `where` names their source in messages."""
    try:
        return Config.model_validate(_tuples(table))
    except ValidationError as error:
        raise _explain(error, where) from error


def _tuples(value: Any) -> Any:
    """TOML's and JSON's lists as tuples, which is what a frozen field holds."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _explain(error: ValidationError, where: str) -> UserError:
    """One thing wrong, in words; how many more there are."""
    problems = error.errors()
    # An unknown key first: where one is misspelt, the right one is missing.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    path = ".".join(str(part) for part in first["loc"])
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    table, key = _table_of(first["loc"])
    if first["type"] == "extra_forbidden":
        names = list(table.model_fields) if table else []
        close = difflib.get_close_matches(key, names, n=1)
        fix = f"did you mean {close[0]!r}?" if close else ""
        return UserError(
            f"unknown key in the config{rest}",
            where=f"{where}: {path}",
            found=key,
            expected="one of " + ", ".join(names),
            fix=fix,
        )
    meaning = table.model_fields[key].description if table and key in table.model_fields else ""
    if first["type"] == "missing":
        return UserError(
            f"a key is missing from the config{rest}", where=f"{where}: {path}", expected=meaning
        )
    return UserError(
        f"a value in the config is wrong{rest}",
        where=f"{where}: {path}",
        found=repr(first["input"]),
        expected=first["msg"] + (f" ({meaning})" if meaning else ""),
    )


def _table_of(location: tuple[int | str, ...]) -> tuple[type[BaseModel] | None, str]:
    """The table that a location lies in, and the key within it."""
    model: type[BaseModel] = Config
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return model, str(part)
        model = annotation
    return model, str(location[-1])
