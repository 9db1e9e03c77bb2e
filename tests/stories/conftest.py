"""Shops whose messages have stories, on each database."""

import pytest

from recado.db.engine import Database
from tests.stories.house import House, make_house


@pytest.fixture
async def house(database: Database) -> House:
    return await make_house(database)
