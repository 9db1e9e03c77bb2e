"""The shop whose people send files."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import stamina

from recado.db.engine import Database
from tests.builders import make_shop
from tests.fakes.server import running
from tests.media.desk import MediaDesk
from tests.media.host import FileHost


@pytest.fixture(scope="module")
def server() -> Iterator[FileHost]:
    with running(FileHost()) as fake:
        yield fake


@pytest.fixture
def host(server: FileHost) -> FileHost:
    server.reset()
    return server


@pytest.fixture
def no_pauses() -> Iterator[None]:
    """Tries follow one another at once; there are as many."""
    stamina.set_testing(True, attempts=10, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
async def desk(migrated_file: Path, host: FileHost, tmp_path: Path, no_pauses: None) -> AsyncIterator[MediaDesk]:
    """On SQLite: what the database does with it is tried on both by `desk_on_both`."""
    shutil.copy(migrated_file, tmp_path / "test.db")
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    yield MediaDesk(await make_shop(database), host, tmp_path / "media")
    await database.close()


@pytest.fixture
async def desk_on_both(database: Database, host: FileHost, tmp_path: Path, no_pauses: None) -> MediaDesk:
    return MediaDesk(await make_shop(database), host, tmp_path / "media")
