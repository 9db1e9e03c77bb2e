"""A database with the demo merchant, which commands find by their settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recado.settings import get_settings
from tests.support import copy_database


@pytest.fixture
def url(tmp_path: Path, prepared_bodega: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    copy_database(prepared_bodega, tmp_path)
    url = f"sqlite+aiosqlite:///{tmp_path}/recado.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url)
    get_settings.cache_clear()
    yield url
    get_settings.cache_clear()
