"""The file of a sweep: configs, changes to them, and seeds; every combination is a point."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from deploy.errors import UserError
from training.config import Config, as_tuples, parse_config, read_toml
from training.config_table import ConfigTable, explain


class SweepConfig(ConfigTable):
    """What to train: `configs` x every combination of `overrides` x `seeds`."""

    configs: tuple[str, ...] = Field(
        min_length=1, description="Config files, from the folder of the sweep's file on."
    )
    seeds: tuple[int, ...] = Field(
        (1,), min_length=1, description="Each takes the place of training.seed."
    )
    overrides: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description='Lists of values by key, as "network.weight_quantiser" = ["binary", "twn"].',
    )
    retries: int = Field(
        1, ge=0, le=10, description="How often a point that fails is tried again, from its epoch."
    )


@dataclass(frozen=True)
class Point:
    """One run of a sweep; `name` is that of its run directory."""

    name: str
    config: Config


def load_sweep(path: Path) -> tuple[SweepConfig, list[Point]]:
    """Reads a sweep and every config in it, and makes its points, of which no two are the same.

    A point is named after its config's file, the values of the overrides that vary, and its seed.

    Raises:
        UserError: the sweep, or the config of any point, is wrong; two points have one name.
    """
    try:
        sweep = SweepConfig.model_validate(as_tuples(read_toml(path)))
    except ValidationError as error:
        raise explain(error, SweepConfig, str(path)) from error
    points: dict[str, Point] = {}
    for config_name in sweep.configs:
        config_path = path.parent / config_name
        table = read_toml(config_path)
        for values in itertools.product(*sweep.overrides.values()):
            overrides = dict(zip(sweep.overrides, values, strict=True))
            for seed in sweep.seeds:
                changed = _with(table, {**overrides, "training.seed": seed}, str(path))
                config = parse_config(
                    changed, where=f"{config_path}, as {path} changes it", folder=config_path.parent
                )
                name = _name_of(config_path.stem, overrides, sweep, seed)
                if name in points:
                    raise UserError(
                        "two points of the sweep have the same name", where=str(path), found=name
                    )
                points[name] = Point(name, config)
    return sweep, list(points.values())


def _with(table: dict[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a config's tables with some keys changed, each written as table.key."""
    table = json.loads(json.dumps(table))
    for key, value in changes.items():
        table_name, dot, key_name = key.partition(".")
        if not dot or not isinstance(table.get(table_name), dict):
            raise UserError(
                "an override names no key of a config",
                where=f"{where}: overrides",
                found=key,
                expected="a table and a key, as training.epochs",
            )
        table[table_name][key_name] = value
    return table


def _name_of(stem: str, overrides: Mapping[str, Any], sweep: SweepConfig, seed: int) -> str:
    varied = [value for key, value in overrides.items() if len(sweep.overrides[key]) > 1]
    parts = [stem, *(re.sub(r"[^\w.+-]+", "-", str(value)).strip("-") for value in varied)]
    return "_".join([*parts, f"s{seed}"])
