"""Where the files of a data set lie: the user's own folder, or a cache that is downloaded once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.durable import locked
from deploy.errors import UserError
from training.download import fetch


@dataclass(frozen=True)
class DataFolder:
    """The folder of one data set.

    `name` is the data set's; `own` the folder that the user gave, None for the cache; `say` takes
    one line on each download.
    """

    name: str
    own: Path | None
    say: Callable[[str], None] = print

    @classmethod
    def find(
        cls, name: str, data_dir: Path | None, say: Callable[[str], None], holds: str
    ) -> DataFolder:
        """`data_dir`/NAME where given, else $NARROWGAUGE_DATA/NAME where it exists, else the cache.

        `holds` says what the folder should hold, for the message.

        Raises:
            UserError: `data_dir` holds no such folder.
        """
        if data_dir is not None:
            own = data_dir / name
            if not own.is_dir():
                raise UserError(
                    f"the data folder does not hold the data set {name}",
                    where=str(own),
                    found="no such folder",
                    expected=f"a folder with {holds}",
                    fix="correct --data-dir, or leave it off to download the data set",
                )
            return cls(name, own, say)
        root = os.environ.get("NARROWGAUGE_DATA")
        own = Path(root) / name if root else None
        return cls(name, own if own and own.is_dir() else None, say)

    def checked(self, file_name: str, homes: Sequence[str], sha256: str) -> tuple[Path, bytes]:
        """A file's path and bytes, downloaded from one of its homes where there is no folder.

        Raises:
            UserError: the file can't be read, or its checksum is another.
            MachineError: the download failed.
        """
        path = (self.own or _cache_folder() / self.name) / file_name
        if self.own is None and not path.exists():
            with locked(_cache_folder() / ".lock", wait=True):
                if not path.exists():  # Another process may have fetched it meanwhile.
                    fetch([home + file_name for home in homes], path, sha256=sha256, say=self.say)
        data = read_bytes(path)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise UserError(
                "a data file is corrupted",
                where=str(path),
                found=f"sha256 {found}, {len(data)} bytes",
                expected=f"sha256 {sha256}",
                fix="delete the file and get it again",
            )
        return path.resolve(), data

    def unchecked(self, file_name: str) -> Path:
        """A file of a data set that has no public home.

        Raises:
            UserError: there is no such file.
        """
        path = (self.own or Path(self.name)) / file_name
        if self.own is None or not path.is_file():
            raise UserError(
                f"the data set {self.name} is not here",
                where=str(path),
                found="no such file",
                fix=f"give the folder that holds {self.name}/ by --data-dir, or in the environment "
                "as NARROWGAUGE_DATA; it has no public home to download it from",
            )
        return path.resolve()


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            "a data file can't be read",
            where=str(path),
            found=error.strerror or str(error),
            fix="complete the folder, or leave off --data-dir to download the data set",
        ) from error


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "narrowgauge" / "data"
