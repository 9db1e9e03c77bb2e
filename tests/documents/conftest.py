"""The documents of a shop."""

import pytest

from recado.db.engine import Database
from tests.builders import make_shop
from tests.documents.library import Library


@pytest.fixture
async def library(database: Database) -> Library:
    return Library(await make_shop(database))
