"""What a board's image says of itself, in the places where pynq's images say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.board_image import board_name, image_version, require_board
from deploy.errors import UserError


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_pynqs_own_revision_comes_before_petalinuxs(tmp_path: Path) -> None:
    assert image_version(tmp_path) == "unknown"
    write(tmp_path, "etc/xilinx-release", "2022.1\n")
    assert image_version(tmp_path) == "2022.1"
    write(tmp_path, "boot/REVISION", "Release 3.0.1\n")
    assert image_version(tmp_path) == "Release 3.0.1"
    write(tmp_path, "home/xilinx/REVISION", "Release 2023_01_01 abc\nBoard 2 def\n")
    assert image_version(tmp_path) == "Release 2023_01_01 abc, Board 2 def"


def test_the_boards_name_is_found_in_the_environment_or_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BOARD", raising=False)
    assert board_name(tmp_path) == ""
    write(tmp_path, "proc/device-tree/chosen/pynq_board", "Ultra96\0")
    assert board_name(tmp_path) == "Ultra96"
    write(tmp_path, "etc/profile.d/boardname.sh", "export BOARD='Pynq-Z2'\n")
    assert board_name(tmp_path) == "Pynq-Z2"
    monkeypatch.setenv("BOARD", "ZCU104")
    assert board_name(tmp_path) == "ZCU104"
    monkeypatch.setenv("BOARD", "Unknown")
    assert board_name(tmp_path) == ""


def test_a_bundle_for_another_board_is_refused() -> None:
    require_board("Pynq-Z2", "pynq_z2")
    require_board("", "pynq_z2")
    with pytest.raises(UserError, match=r"for another board[\s\S]*Pynq-Z1[\s\S]*pynq_z2"):
        require_board("Pynq-Z1", "pynq_z2")
