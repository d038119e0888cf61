"""The documentation's worked examples run as they stand, and its commands are those there are."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = sorted(path.stem for path in (DOCS / "adding").glob("*.md"))
QUICK = ("a_board", "a_quantiser", "an_operator")
FENCE = re.compile(r"^```(python|toml|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A page's blocks, in order, in a folder laid out like the root.

    Python goes into one script, that each block may use what earlier ones made. A TOML block
    whose first line is a comment with a name is that file. Bash comes last.
    """
    for room in ("training", "hw_build", "deploy"):
        (folder / room).symlink_to(ROOT / room)
    blocks = FENCE.findall(text)
    for kind, block in blocks:
        if kind == "toml":
            (folder / block.splitlines()[0].removeprefix("# ")).write_text(block)
    script = "\n".join(block for kind, block in blocks if kind == "python")
    commands = "\n".join(block for kind, block in blocks if kind == "bash")
    (folder / "page.py").write_text(script)
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
    }
    whole = f"python page.py\n{commands}"
    return subprocess.run(
        ["bash", "-e", "-c", whole],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.nightly) for n in EXAMPLES]
)
def test_worked_examples(name: str, tmp_path: Path) -> None:
    done = run_page((DOCS / "adding" / f"{name}.md").read_text(), tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_numbers_are_made_as_the_page_says(tmp_path: Path) -> None:
    done = run_page((DOCS / "numbers.md").read_text(), tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_an_example_that_is_wrong_fails(tmp_path: Path) -> None:
    text = (DOCS / "adding" / "a_quantiser.md").read_text()
    assert text.count("clamp(-3.0, 3.0)") == 1
    done = run_page(text.replace("clamp(-3.0, 3.0)", "clamp(-3.0, 2.0)"), tmp_path)
    assert done.returncode != 0
    assert "AssertionError" in done.stderr


def commands_of(text: str) -> tuple[set[str], set[str]]:
    """Targets of make, and modules run by `python -m`, that a page names in code."""
    code = "\n".join(
        re.findall(r"```.*?```|`[^`\n]+`|^    [^\n]+$", text, re.MULTILINE | re.DOTALL)
    )
    targets = re.findall(r"(?:^ *|`)make ([a-z][a-z-]*)", code, re.MULTILINE)
    return set(targets), set(re.findall(r"python -m ([\w.]+)", code))


@pytest.mark.parametrize("page", sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")))
def test_commands_exist(page: str) -> None:
    targets, modules = commands_of((DOCS / page).read_text())
    makefile = (ROOT / "Makefile").read_text()
    unknown = {
        target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)
    }
    unknown |= {module for module in modules if importlib.util.find_spec(module) is None}
    assert unknown == set()


def test_commands_are_found() -> None:
    text = "Say make haste, `make all` and\n\n    python -m no.such thing\n```bash\nmake b\n```\n"
    assert commands_of(text) == ({"all", "b"}, {"no.such"})


def build_site(folder: Path) -> subprocess.CompletedProcess[str]:
    """The site of the folder's mkdocs.yml, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="no mkdocs: make .venv/.docs"
)
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = build_site(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "report.html").is_file()
    with (tmp_path / "docs" / "report.md").open("a") as page:
        page.write("\n[planted](no_such_page.md)\n")
    done = build_site(tmp_path)
    assert done.returncode != 0
    assert "no_such_page.md" in done.stderr


def test_every_page_is_in_the_site() -> None:
    listed = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_the_table_of_the_rtl_has_every_module() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (DOCS / "rtl.md").read_text(), re.MULTILINE)
    listed = [name.strip("`") for row in rows for name in row.split(", ")]
    modules = {path.stem for path in (ROOT / "hw_build" / "rtl").glob("*.sv")}
    assert modules <= set(listed)
    assert len(listed) == len(set(listed)), "each once"
