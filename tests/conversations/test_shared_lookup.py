"""Merchants that share a number: what the provider lists for one of them may be another's."""

from recado.db.engine import Database
from recado.errors import Retryable
from recado.merchants.repository import accounts_at
from tests.builders import make_shop
from tests.conversations.post import Post

NUMBER = "+15550100"


async def test_another_merchants_message_is_not_taken_for_ours(database: Database) -> None:
    shared = [{"kind": "simulator", "address": NUMBER, "shared": True}]
    one = Post(await make_shop(database, "one", channels=shared))
    two_shop = await make_shop(database, "two", channels=shared, staff=[])
    async with database.read() as session:
        (two_shop.account,) = (
            account
            for account in await accounts_at(session, "simulator", NUMBER)
            if account.merchant_id == two_shop.merchant_id
        )
    two = Post(two_shop)
    two.line = one.line
    two.outbox = two.new_outbox("two")
    ours, theirs = await one.shop.hear("hola"), await two.shop.hear("hola")
    await two.shop.say(theirs, "ok")
    await two.deliver(theirs)
    await one.shop.say(ours, "ok")
    one.line.plan = [(Retryable("timeout", ambiguous=True), False)]
    await one.deliver(ours)
    one.shop.clock.forward(seconds=1)
    (delivery,) = await one.deliver(ours)
    assert (delivery.state, delivery.provider_message_id) == ("sent", "p2")
    assert one.line.texts == ["ok", "ok"]
