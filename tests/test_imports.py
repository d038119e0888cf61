"""The rooms' import rules, Python 3.10 on the board, and no path of somebody's machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("training", "hw_build", "deploy")

FORBIDDEN = {
    "training": {"hw_build", "finn", "pynq", "tests"},
    "hw_build": {"training", "torch", "torchvision", "brevitas", "pynq", "tests"},
}
DEPLOY_ALLOWED = {"deploy", "numpy", *sys.stdlib_module_names}
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(work|root|home/\w+|Users/\w+|opt/pypi)\b")


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that is imported anywhere in a file, by any spelling."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value)


def allowed(room: str, path: Path, module: str) -> bool:
    top = module.split(".")[0]
    if not top:  # relative: it stays in its room
        return True
    if room == "deploy":
        return top in DEPLOY_ALLOWED or (top == "pynq" and path.name.startswith("pynq_"))
    return top not in FORBIDDEN[room]


def broken_import_rules(root: Path) -> list[str]:
    broken = []
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            # What runs on a board has to be read by its Python.
            version = (3, 10) if room == "deploy" else None
            where = path.relative_to(root)
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=version)
            except SyntaxError as error:
                broken.append(f"{where}:{error.lineno}: {error.msg}")
                continue
            for line, module in imported_modules(tree):
                if not allowed(room, path, module):
                    broken.append(f"{where}:{line}: {room} may not import {module}")
    return broken


def newer_than_3_10(folder: Path) -> str:
    """What in a folder needs a Python above 3.10: modules, members and options of the library."""
    vermin = [str(Path(sys.executable).with_name("vermin")), "--target=3.10-", "--violations"]
    done = subprocess.run(
        [*vermin, "--no-tips", str(folder)], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode else ""


def machine_paths(root: Path, names: list[str]) -> list[str]:
    found = []
    for name in names:
        path = root / name
        if not path.is_file():
            continue  # deleted, not yet committed
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    return found


def test_the_rooms_keep_to_their_imports() -> None:
    assert list((ROOT / "deploy").glob("*.py"))
    assert broken_import_rules(ROOT) == []


def test_what_runs_on_a_board_needs_no_newer_library_than_its_pythons() -> None:
    assert newer_than_3_10(ROOT / "deploy") == ""


@pytest.mark.parametrize(
    "code",
    [
        "import tomllib",
        "from datetime import UTC",
        "import hashlib\nhashlib.file_digest(f, 'sha256')",
        "import contextlib\ncontextlib.chdir('x')",
    ],
)
def test_a_planted_newer_library_is_found(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.py").write_text(code)
    assert "requires !2, 3.11" in newer_than_3_10(tmp_path)


def test_no_tracked_file_contains_a_machines_path() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git clone: no list of tracked files")
    names = [n for n in listing.stdout.split("\0") if n and n != "tests/test_imports.py"]
    assert machine_paths(ROOT, names) == []


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("training/loop.py", "import hw_build.graph", "training may not import hw_build.graph"),
        (
            "training/a.py",
            "def f():\n    from finn.core import x",
            ":2: training may not import finn",
        ),
        ("hw_build/rtl/a.py", "import numpy, torch.nn", "hw_build may not import torch.nn"),
        (
            "hw_build/a.py",
            "import importlib\nimportlib.import_module('brevitas')",
            "import brevitas",
        ),
        (
            "hw_build/a.py",
            "if 0:\n    from training import train",
            "hw_build may not import training",
        ),
        ("deploy/a.py", "import pydantic", "deploy may not import pydantic"),
        ("deploy/board.py", "import pynq", "deploy may not import pynq"),
        ("deploy/pynq_board.py", "from hw_build import graph", "deploy may not import hw_build"),
        (
            "deploy/a.py",
            "try:\n    f()\nexcept* OSError:\n    pass",
            "only supported in Python 3.11",
        ),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, name: str, code: str, complaint: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(code)
    (broken,) = broken_import_rules(tmp_path)
    assert broken.startswith(name)
    assert complaint in broken


def test_what_is_allowed_is_not_complained_about(tmp_path: Path) -> None:
    files = {
        "training/a.py": "import torch, brevitas, deploy.errors",
        "hw_build/a.py": "import finn, qonnx, numpy\nfrom deploy import errors\nfrom . import b",
        "deploy/a.py": "import json, numpy.linalg\nfrom deploy.errors import UserError",
        "deploy/pynq_board.py": "from pynq import Overlay",
    }
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    assert broken_import_rules(tmp_path) == []


def test_a_planted_machine_path_is_found(tmp_path: Path) -> None:
    lines = [
        "see /" + "work/main/x",
        "cd /" + "home/jane/y",
        "framework/a, ./work/b, ~/work, /works",
    ]
    (tmp_path / "notes.md").write_text("\n".join(lines))
    (tmp_path / "image.bin").write_bytes(b"\0/" + b"work/main")
    found = machine_paths(tmp_path, ["notes.md", "image.bin", "deleted.md"])
    assert [line.split(":")[1] for line in found] == ["1", "2"]
