"""The notebooks run from top to bottom, are kept without outputs, and only import and call."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
MOST_LINES = 15
"""Of a definition: a plot. Anything longer belongs to one of the packages, with tests."""

SMALL = {"epochs": 2, "train_samples": 300, "test_samples": 100}
FEW_SCHEMES = {"schemes": (("binary", "binary"), ("twn", "int2"))}
CI_SIZE: dict[str, dict[str, Any]] = {
    "01_quantisation": {**SMALL, "schemes": (("float", "float"), *FEW_SCHEMES["schemes"])},
    "02_train_and_export": SMALL,
    "03_integer_graph": SMALL,
    "04_fold_and_simulate": {**SMALL, "targets": (100_000, 1_000_000)},
    "05_virtual_board": {**SMALL, "batches": (1, 10)},
    "06_your_own_network_and_data": {"epochs": 5, "n_samples": 400},
    "07_design_space": {**SMALL, **FEW_SCHEMES, "targets": (100_000, 1_000_000)},
}
CI_SECONDS, FULL_SECONDS = 60, 180
"""Most seconds of processor time, which a busy machine does not stretch."""

MOVE_SLIDER = """
for slider in {name}.widget.kwargs_widgets:
    for value in getattr(slider, "options", ()):
        {name}(**{{slider._kwarg: value}})
"""
"""A function behind sliders, called for each of their values: `interact` itself shows what it
raises and goes on."""


def code_of(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, ast.Module]]:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell, ast.parse(cell.source)


def is_parameters(cell: nbformat.NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The values of the one cell of parameters, which holds plain assignments alone."""
    (tree,) = [tree for cell, tree in code_of(notebook) if is_parameters(cell)]
    found: dict[str, Any] = {}
    for statement in tree.body:
        assert isinstance(statement, ast.Assign)
        (target,) = statement.targets
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        value = ast.literal_eval(statement.value)
        values = value if isinstance(target, ast.Tuple) else [value]
        found |= {name.id: value for name, value in zip(names, values, strict=True)}
    return found


def long_definitions(notebook: nbformat.NotebookNode) -> list[str]:
    """Names of functions of more lines than a plot takes, and of all classes."""
    found = []
    for _, tree in code_of(notebook):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.end_lineno - node.lineno >= MOST_LINES:
                    found.append(node.name)
            elif isinstance(node, ast.ClassDef):
                found.append(node.name)
    return found


def with_sliders_moved(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with a cell after each `interact(f, ...)` that calls f for all its values."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        tree = ast.parse(cell.source if cell.cell_type == "code" else "")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "interact":
                source = MOVE_SLIDER.format(name=ast.unparse(node.args[0]))
                cells.append(nbformat.v4.new_code_cell(source))
    notebook.cells = cells
    return notebook


def run_cells(notebook: nbformat.NotebookNode) -> float:
    """Executes a notebook; processor seconds of its kernel and of all programs that it ran."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    NotebookClient(
        with_sliders_moved(notebook),
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    seconds = spent() - before
    assert seconds > 0.5  # a kernel's own start: its time was counted
    return seconds


def execute(
    name: str, runs: Path, changes: dict[str, Any], monkeypatch
) -> tuple[nbformat.NotebookNode, float]:
    """Runs a notebook with other parameters, its runs in a folder of the test's."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    values = {**changes, "runs": str(runs)}
    assert set(values) <= set(parameters_of(notebook))
    index = next(i for i, cell in enumerate(notebook.cells) if is_parameters(cell))
    lines = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(lines))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return notebook, run_cells(notebook)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all notebooks at CI size: what one has trained the next one finds."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run_at_ci_size(name: str, runs: Path, monkeypatch) -> None:
    done, seconds = execute(name, runs, CI_SIZE[name], monkeypatch)
    pictures = [
        o for c in done.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert pictures
    assert seconds < CI_SECONDS


@pytest.mark.nightly
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run_as_they_are(name: str, tmp_path: Path, monkeypatch) -> None:
    _, seconds = execute(name, tmp_path, {}, monkeypatch)
    assert seconds < FULL_SECONDS


class Broken:
    """A parameter that can't be evaluated."""

    def __repr__(self) -> str:
        return "1 / 0"


def test_a_cell_that_fails_is_a_failure(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute("03_integer_graph", tmp_path, {"epochs": Broken()}, monkeypatch)


def test_a_slider_that_fails_at_one_value_is_a_failure() -> None:
    source = """
from ipywidgets import SelectionSlider, interact
def inverse(x):
    return 1 / (x - 2)
interact(inverse, x=SelectionSlider(options=(1, 2, 3)));
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_cells(notebook)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_only_import_and_call(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    nbformat.validate(notebook)
    assert long_definitions(notebook) == []
    assert "runs" in parameters_of(notebook)
    assert notebook.cells[0].source.startswith("# ")


def test_a_long_definition_is_found() -> None:
    body = "\n".join("    x = 1" for _ in range(MOST_LINES))
    cells = [f"def plot():\n{body}", "class Helper:\n    pass", "def short():\n    return 1"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    assert long_definitions(notebook) == ["plot", "Helper"]


def strip(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "strip_notebooks.py"), *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_outputs_are_stripped() -> None:
    done = strip(FOLDER, "--check")
    assert done.returncode == 0, done.stdout
    assert len(NOTEBOOKS) == len(CI_SIZE)


def test_an_output_is_found_and_stripped(tmp_path: Path) -> None:
    text = (FOLDER / "03_integer_graph.ipynb").read_text()
    notebook = json.loads(text)
    cell = next(c for c in notebook["cells"] if c["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["x"]}]
    cell["execution_count"] = 3
    notebook["metadata"]["language_info"]["version"] = "3.11.7"
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook))
    assert strip(tmp_path, "--check").returncode == 1
    assert strip(tmp_path).returncode == 0
    assert (tmp_path / "a.ipynb").read_text() == text
