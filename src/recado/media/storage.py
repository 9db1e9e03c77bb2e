"""Where files are kept: under MEDIA_DIR, by merchant and month, with names of our own.

Everything here blocks: call it in a thread. Only this user of the system may read the files.
"""

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

INCOMING = "incoming"
ABANDONED_SECONDS = 3_600
"""A file that is still being fetched after so long is of a process that died."""


class MediaStore:
    """The files under one folder. Their paths in the database are relative to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @staticmethod
    def new_path(merchant_id: int, now: datetime) -> str:
        """Where a merchant's next file will be."""
        return f"{merchant_id}/{now:%Y}/{now:%m}/{secrets.token_hex(16)}"

    @contextmanager
    def incoming(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A file to write to, and where it is. What was not kept is gone afterwards."""
        handle, name = tempfile.mkstemp(dir=self._made(self._folder / INCOMING))
        path = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, file: BinaryIO, incoming: Path, path: str) -> None:
        """Put a file that is complete at its path, at once, and on the disk for good."""
        file.flush()
        os.fsync(file.fileno())
        final = self.locate(path)
        self._made(final.parent)
        incoming.replace(final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def locate(self, path: str) -> Path:
        """Where a kept file is. Raises ValueError for a path that leads out of the folder."""
        found = (self._folder / path).resolve()
        if not found.is_relative_to(self._folder.resolve()):
            raise ValueError("a path leads out of MEDIA_DIR")
        return found

    def read(self, path: str) -> bytes:
        """All of a kept file. Raises OSError when it is gone."""
        return self.locate(path).read_bytes()

    def remove(self, path: str) -> None:
        """Let a file go, if it is there."""
        self.locate(path).unlink(missing_ok=True)

    def clean(self) -> int:
        """Remove what processes that died have left half fetched. How many there were."""
        oldest, removed = time.time() - ABANDONED_SECONDS, 0
        for path in (self._folder / INCOMING).glob("*"):
            with suppress(FileNotFoundError):  # another process was quicker
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        return removed

    def _made(self, folder: Path) -> Path:
        for each in (*reversed(folder.relative_to(self._folder).parents), folder.relative_to(self._folder)):
            (self._folder / each).mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def digest(path: Path) -> tuple[str, int]:
    """The SHA-256 of a file in hex, and its size in bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
