"""The outbox of a shop."""

import pytest

from recado.db.engine import Database
from tests.builders import make_shop
from tests.conversations.post import Post


@pytest.fixture
async def post(database: Database) -> Post:
    return Post(await make_shop(database))
