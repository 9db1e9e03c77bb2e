"""Staff are staff to the sync too when they are known by an account that they linked."""

from recado.db.models import StaffLink
from tests.builders import ANA, LUIS
from tests.fakes.conversation_api import ConversationApiFake
from tests.sync.desk import SyncDesk
from tests.turns.inbox import Inbox


async def test_what_linked_staff_write_stays_here(desk: SyncDesk, api: ConversationApiFake) -> None:
    desk.knows(ANA)
    shop = desk.shop
    async with shop.database.transaction() as session:
        session.add(
            StaffLink(
                merchant_id=shop.merchant_id,
                merchant_user_id=await Inbox(shop).member(LUIS),
                channel="simulator",
                channel_user_id=ANA,
                linked_at=shop.clock.now(),
            )
        )
    await desk.turn(("NOTIF_1: sí",), ("Gracias, Luis.",))
    await desk.outbox.drain()
    assert (await desk.waiting(), api.requests.entries()) == (0, [])


async def test_what_another_writes_does_not(desk: SyncDesk, api: ConversationApiFake) -> None:
    desk.knows(ANA)
    await desk.turn()
    await desk.outbox.drain()
    assert api.requests.entries() != []
