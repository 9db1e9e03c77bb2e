"""The conversations of a shop."""

import pytest

from recado.db.engine import Database
from tests.builders import make_shop
from tests.turns.talk import Talk


@pytest.fixture
async def talk(database: Database) -> Talk:
    return Talk(await make_shop(database))
