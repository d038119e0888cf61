"""Why a stage is made again: what differs between its manifest and what is asked for now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ABSENT = "nothing"
_SHOWN = 6  # a line has to stay a line


@dataclass(frozen=True)
class Change:
    """One value that differs, by its dotted key; `_ABSENT` stands for one that is not there."""

    key: str
    before: str
    now: str


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """One line such as "config changed: pe; input model.onnx changed; tool yosys 0.69 -> 0.70".

    Args:
        before: the manifest of the stage that is there.
        now: `config`, `inputs`, `tools` and `seed` of the stage that is asked for.
    """
    changes = []
    keys = [change.key for change in _differing(before["config"], now["config"])]
    if keys:
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        changes.append(f"config changed: {', '.join(keys[:_SHOWN])}{more}")
    for name in sorted({*before["inputs"], *now["inputs"]}):
        if name not in before["inputs"]:
            changes.append(f"input {name} is new")
        elif name not in now["inputs"]:
            changes.append(f"input {name} is gone")
        elif before["inputs"][name]["sha256"] != now["inputs"][name]["sha256"]:
            changes.append(f"input {name} changed")
    for name in sorted({*before["tools"], *now["tools"]}):
        versions = [side["tools"].get(name, "none") for side in (before, now)]
        if versions[0] != versions[1]:
            changes.append(f"tool {name} {versions[0]} -> {versions[1]}")
    if before["seed"] != now["seed"]:
        changes.append(f"seed {before['seed']} -> {now['seed']}")
    return "; ".join(changes) or "its key changed"


def first_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> Change | None:
    """The first value that differs in the config, else in the seed, the inputs or the tools.

    Args:
        before: the manifest of the stage that is there.
        now: what is asked for; of these four, what it leaves off counts as the same.
    """
    for part in ("config", "seed", "inputs", "tools"):
        if part in now:
            sides = [
                _digests(side[part]) if part == "inputs" else side[part] for side in (before, now)
            ]
            changes = list(_differing(*sides, "" if part == "config" else part))
            if changes:
                # What only one version of the code knows of says less than a value that differs.
                return min(changes, key=lambda change: _ABSENT in (change.before, change.now))
    return None


def _digests(inputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in inputs.items()}


def _differing(before: Any, now: Any, path: str = "") -> Iterator[Change]:
    """The values that differ, or the place where the structure does."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            below = f"{path}.{key}" if path else key
            if key not in before or key not in now:
                yield Change(below, str(before.get(key, _ABSENT)), str(now.get(key, _ABSENT)))
            else:
                yield from _differing(before[key], now[key], below)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now)):  # noqa: B905 (equal lengths)
            yield from _differing(old, new, f"{path}.{index}" if path else str(index))
    elif before != now or type(before) is not type(now):
        yield Change(path, str(before), str(now))
