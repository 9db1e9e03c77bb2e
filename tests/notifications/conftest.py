"""A customer's question."""

import pytest

from recado.db.engine import Database
from tests.builders import make_shop
from tests.notifications.staffroom import Staffroom


@pytest.fixture
async def room(database: Database) -> Staffroom:
    shop = await make_shop(database)
    return Staffroom(shop, await shop.hear("¿Venden hielo?"))
