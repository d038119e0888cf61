"""What every table of a config is: frozen, strict, without unknown keys; its mistakes in words."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.errors import UserError


class ConfigTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def explain(error: ValidationError, root: type[ConfigTable], where: str) -> UserError:
    """One thing wrong in words, and how many more there are.

    `root` is the table that was validated, `where` names the config's source.
    """
    problems = error.errors()
    # An unknown key first: where one is misspelt, the right one is missing.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    table, key, path = _place_of(first["loc"], root)
    where = f"{where}: {path}"
    field = table.model_fields.get(key) if table else None
    meaning = field.description or "" if field else ""
    match first["type"]:
        case "extra_forbidden":
            names = list(table.model_fields) if table else []
            close = difflib.get_close_matches(key, names, n=1)
            return UserError(
                f"unknown key in the config{rest}",
                where=where,
                found=key,
                expected="one of " + ", ".join(names),
                fix=f"did you mean {close[0]!r}?" if close else "",
            )
        case "missing":
            return UserError(
                f"a key is missing from the config{rest}", where=where, expected=meaning
            )
        case "union_tag_not_found" | "union_tag_invalid":
            return _explain_kind(first, where, rest)
    return UserError(
        f"a value in the config is wrong{rest}",
        where=where,
        found=repr(first["input"]),
        expected=first["msg"] + (f" ({meaning})" if meaning else ""),
    )


def _explain_kind(problem: dict[str, Any], where: str, rest: str) -> UserError:
    """The key that says what a table is, is missing or none of those that exist."""
    context = problem["ctx"]
    key = context["discriminator"].strip("'").removesuffix("()").removesuffix("_of")
    known = context.get("expected_tags", "")
    return UserError(
        f"a value in the config is wrong{rest}",
        where=f"{where}.{key}",
        found=repr(context["tag"]) if "tag" in context else f"no key {key!r}",
        expected=f"one of {known}" if known else f"the key {key!r}, as in the shipped configs",
    )


def _place_of(
    location: tuple[int | str, ...], root: type[ConfigTable]
) -> tuple[type[BaseModel] | None, str, str]:
    """The table that a location lies in, its key there, and its path as the user writes it.

    A location also names the kind of each table that may be of several; a path does not.
    """
    tables: list[type[BaseModel]] = [root]
    path, table, key = [], None, ""
    for part in location:
        of_kind = [t for t in tables if len(tables) > 1 and part in _kinds_of(t)]
        if of_kind:
            tables = of_kind
            continue
        path.append(str(part))
        if isinstance(part, int):
            continue
        table, key = (tables[0] if len(tables) == 1 else None), part
        field = table.model_fields.get(part) if table else None
        tables = tables_in((field.annotation, *field.metadata)) if field else []
    return table, key, ".".join(path)


def _kinds_of(table: type[BaseModel]) -> tuple[Any, ...]:
    """The value of the key that says what a table is."""
    field = table.model_fields.get("kind") or table.model_fields.get("type")
    return get_args(field.annotation) if field else ()


def tables_in(annotation: Any) -> list[type[BaseModel]]:
    """The tables that a field of this annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    parts = annotation if isinstance(annotation, tuple) else get_args(annotation)
    return [table for part in parts for table in tables_in(part)]
