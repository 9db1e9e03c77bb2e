"""The files on the simulated network, as a provider would keep them."""

import hashlib
import re
import tempfile
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")


class SimulatorFiles:
    """Files under one folder, each by the SHA-256 of what is in it: sending one again keeps no second. All of it
    blocks: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes) -> str:
        """Keep a file. Its name."""
        name = hashlib.sha256(data).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(data)
        Path(file.name).replace(self._folder / name)
        return name

    def read(self, name: str) -> bytes | None:
        """What is in a file; None where there is none of this name."""
        if not _NAME.fullmatch(name):
            return None
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
