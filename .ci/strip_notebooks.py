"""Keeps notebooks so that they diff well: no outputs, no counts, no traces of who ran them.

`python .ci/strip_notebooks.py FOLDER` rewrites the notebooks of a folder that are not so;
with --check it names them and ends with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """A notebook's text as it is kept: cells numbered in order, their tags all their metadata."""
    cells = []
    for number, cell in enumerate(json.loads(text)["cells"]):
        source = "".join(cell["source"])
        tags = cell["metadata"].get("tags")
        kept = {
            "cell_type": cell["cell_type"],
            "id": f"cell-{number:02d}",
            "metadata": {"tags": tags} if tags else {},
            "source": source.splitlines(keepends=True),
        }
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        cells.append(kept)
    notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    found = 0
    for path in sorted(options.folder.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        kept = stripped(text)
        if kept == text:
            continue
        found += 1
        print(f"{path}: {'to be stripped: make strip' if options.check else 'stripped'}")
        if not options.check:
            path.write_text(kept, encoding="utf-8")
    return int(options.check and found > 0)


if __name__ == "__main__":
    sys.exit(main())
