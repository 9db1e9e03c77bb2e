"""Customers who are not reached by phone, staff who linked where they write from, and who wants no messages."""

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from recado.channels.base import InboundMessage
from recado.db.engine import Database
from recado.db.models import (
    Campaign,
    ChannelAccount,
    Contact,
    Conversation,
    Delivery,
    MerchantUser,
    Message,
    StaffLink,
)
from recado.merchants.account import Account
from recado.merchants.repository import find_account
from recado.notifications.recipients import NOWHERE, OPTED_OUT
from tests.builders import EVA, LUIS, ROSA
from tests.notifications.answer_desk import AnswerDesk, make_answer_desk
from tests.notifications.desk import QUESTION, counted, selects

IG, WA = "17841400000000001", "+15550100"
INSTAGRAM = {
    "kind": "instagram",
    "instagram_id": IG,
    "access_token": "access-token",
    "app_secret": "s" * 32,
    "verify_token": "v" * 16,
}
SIMULATOR = {"kind": "simulator", "address": WA}
PERSON, ROSAS = "6543210000000001", "6543210000000002"


@dataclass
class Scene:
    """A shop on Instagram, where Ana wrote, and perhaps on the simulator. Rosa is admin, Luis support, Eva sales."""

    desk: AnswerDesk
    instagram: Account
    heard: int = 0

    async def hears(self, person: str, text: str = "hola", account: Account | None = None) -> int:
        """Somebody writes on Instagram, or to another account; the id of their conversation."""
        self.heard += 1
        shop = self.desk.shop
        message = InboundMessage(f"mid.{self.heard}", person, None, None, "text", text)
        async with shop.conversations() as service:
            received = await service.receive(account or self.instagram, message, shop.clock.now())
        if received.released:
            await self.desk.post.deliver(received.conversation.id)
        return int(received.conversation.id)

    async def link(self, phone: str, channel: str, person: str) -> None:
        member = (await self.desk.staff_ids())[phone]
        await self.add(
            StaffLink(
                merchant_id=self.desk.shop.merchant_id,
                merchant_user_id=member,
                channel=channel,
                channel_user_id=person,
                linked_at=self.desk.shop.clock.now(),
            )
        )

    async def add(self, row: Any) -> None:
        async with self.desk.database.transaction() as session:
            session.add(row)

    async def change(self, person: str, **values: Any) -> None:
        async with self.desk.database.transaction() as session:
            contact = (await session.scalars(select(Contact).where(Contact.channel_user_id == person))).one()
            for name, value in values.items():
                setattr(contact, name, value)

    async def asked(self, question: str = "¿Venden hielo?") -> list[tuple[str, str]]:
        """(channel, user id) of who is asked what Ana wants to know, in the order of their ids."""
        await self.desk.ask(QUESTION, question, self.desk.conversation_id)
        query = (
            select(Contact.channel, Contact.channel_user_id)
            .join(Conversation, Conversation.contact_id == Contact.id)
            .join(Message, Message.conversation_id == Conversation.id)
            .where(Message.role == "response", Message.text.contains(question))
            .order_by(Contact.id)
        )
        async with self.desk.database.read() as session:
            return [(row[0], row[1]) for row in await session.execute(query)]

    async def ids(self) -> dict[str, int]:
        async with self.desk.database.read() as session:
            return {row.channel_user_id: row.id for row in await session.scalars(select(Contact))}


@pytest.fixture
async def scene(database: Database) -> Scene:
    desk = await make_answer_desk(database, channels=[SIMULATOR, INSTAGRAM])
    async with database.read() as session:
        instagram = await find_account(session, "instagram", IG)
    assert instagram is not None
    scene = Scene(desk, instagram)
    desk.conversation_id = await scene.hears(PERSON)
    return scene


async def deactivate(scene: Scene) -> None:
    """The shop has Instagram only."""
    async with scene.desk.database.transaction() as session:
        for account in await session.scalars(select(ChannelAccount).where(ChannelAccount.channel == "simulator")):
            account.active = False


STAFF = [("simulator", phone) for phone in (ROSA, LUIS, EVA)]


async def test_the_staff_is_asked_by_phone_whatever_the_customers_channel(scene: Scene) -> None:
    assert await scene.asked() == STAFF
    async with scene.desk.database.read() as session:
        conversations = (
            await session.scalars(select(Conversation).join(Contact).where(Contact.phone.in_([ROSA])))
        ).all()
    assert {row.channel_account_id for row in conversations} == {scene.desk.shop.account.id}


async def test_it_costs_no_more_queries(scene: Scene) -> None:
    await scene.asked("¿Abren?")
    scene.desk.models.answers |= {"same_question": {"notification_id": None}}
    notification_id = await scene.desk.request(QUESTION, "¿Venden pan?", scene.desk.conversation_id)
    with counted(scene.desk.database) as statements:
        await scene.desk.run(notification_id)
    assert len(selects(statements)) - 1 <= 5


async def test_who_cannot_be_reached_by_phone_is_asked_where_they_linked(scene: Scene) -> None:
    await deactivate(scene)
    await scene.hears(ROSAS)
    await scene.link(ROSA, "instagram", ROSAS)
    assert await scene.asked() == [("instagram", ROSAS)]
    async with scene.desk.database.read() as session:
        theirs = (
            await session.scalars(select(Conversation).join(Contact).where(Contact.channel_user_id == ROSAS))
        ).one()
    assert theirs.channel_account_id == scene.instagram.id


async def test_without_an_account_for_phones_and_without_links_the_operator_hears_of_it(scene: Scene) -> None:
    await deactivate(scene)
    assert await scene.asked() == []
    ((title, problem, _),) = scene.desk.alerts.sent
    assert (title, problem) == ("nobody_to_ask", NOWHERE)


async def test_a_link_on_the_channel_itself_comes_before_the_number(scene: Scene) -> None:
    shop = scene.desk.shop
    await shop.hear("hola", ROSA)
    await scene.hears("PE.abc", account=shop.account)
    await scene.link(ROSA, "simulator", "PE.abc")
    assert await scene.asked() == [("simulator", "PE.abc"), *STAFF[1:]]


async def test_a_link_elsewhere_does_not_keep_from_being_asked_by_phone(scene: Scene) -> None:
    await scene.hears(ROSAS)
    await scene.link(ROSA, "instagram", ROSAS)
    assert await scene.asked() == STAFF


async def test_a_link_of_who_is_on_the_staff_no_more_counts_for_nothing(scene: Scene) -> None:
    await deactivate(scene)
    await scene.hears(ROSAS)
    await scene.link(ROSA, "instagram", ROSAS)
    async with scene.desk.database.transaction() as session:
        for member in await session.scalars(select(MerchantUser).where(MerchantUser.phone == ROSA)):
            member.active = False
    assert await scene.asked() == []


async def test_who_was_there_twice_is_asked_once_as_who_they_are_now(scene: Scene) -> None:
    shop = scene.desk.shop
    await shop.hear("hola", ROSA)
    await scene.hears("PE.abc", account=shop.account)
    await scene.change(ROSA, superseded_by_id=(await scene.ids())["PE.abc"])
    assert await scene.asked() == [("simulator", "PE.abc"), *STAFF[1:]]


@pytest.mark.parametrize("wish", ["all", "marketing"])
async def test_who_has_opted_out_is_not_asked_and_the_others_are(scene: Scene, wish: str) -> None:
    assert await scene.asked("¿Abren?") == STAFF
    await scene.change(LUIS, opt_out=wish)
    assert await scene.asked() == [STAFF[0], STAFF[2]]


async def test_where_all_of_a_type_have_opted_out_the_admins_are_asked(scene: Scene) -> None:
    await scene.asked("¿Abren?")
    await scene.change(EVA, opt_out="all")
    await scene.desk.run(
        await scene.desk.request(QUESTION, "¿Y hielo?", scene.desk.conversation_id, target_merchant_users=["sales"])
    )
    ids = await scene.ids()
    async with scene.desk.database.read() as session:
        said = (await session.scalars(select(Message).where(Message.text.contains("¿Y hielo?")))).all()
        asked = {row.conversation_id for row in said if row.role == "response"}
        conversations = (await session.scalars(select(Conversation).where(Conversation.id.in_(asked)))).all()
    assert [row.contact_id for row in conversations] == [ids[ROSA]]


async def test_where_everybody_has_opted_out_the_operator_hears_the_remedy(scene: Scene) -> None:
    await scene.asked("¿Abren?")
    for phone in (ROSA, LUIS, EVA):
        await scene.change(phone, opt_out="all")
    assert await scene.asked() == []
    ((title, problem, _),) = scene.desk.alerts.sent
    assert (title, problem) == ("nobody_to_ask", OPTED_OUT)
    assert "START" in OPTED_OUT


async def test_who_has_opted_out_is_not_told_that_it_is_closed(scene: Scene) -> None:
    await scene.asked()
    for phone in (ROSA, LUIS, EVA):
        await scene.hears(phone, account=scene.desk.shop.account)
    await scene.change(LUIS, opt_out="all")
    staff = await scene.desk.staff_ids()
    await scene.desk.take_back(*await scene.desk.answer(1, "Sí.", by=staff[ROSA]))
    async with scene.desk.database.read() as session:
        told = await session.scalars(select(Message).where(Message.key.contains(":closed:")))
        keys = [message.key for message in told]
    assert keys == [f"notification:1:closed:{(await scene.ids())[EVA]}"]


async def theirs(scene: Scene) -> list[Delivery]:
    """The deliveries to Ana of the answer."""
    return [row for row in await scene.desk.deliveries() if row.by_human]


@pytest.mark.parametrize(("hours", "sent_as"), [(1, "text"), (30, "human"), (167, "human")])
async def test_the_answer_goes_to_instagram_for_seven_days_as_what_a_human_wrote(
    scene: Scene, hours: int, sent_as: str
) -> None:
    await scene.asked()
    scene.desk.shop.clock.forward(hours=hours)
    await scene.desk.take_back(*await scene.desk.answer(1, "Sí hay."))
    await scene.desk.delivered()
    found = await theirs(scene)
    assert found
    assert [(row.state, row.sent_as, row.template) for row in found] == [("sent", sent_as, None)] * len(found)
    assert all(message.by_human == (sent_as == "human") for message in scene.desk.post.line.taken.values())


async def test_later_it_waits_until_they_write_and_says_why(scene: Scene) -> None:
    await scene.asked()
    scene.desk.shop.clock.forward(days=8)
    await scene.desk.take_back(*await scene.desk.answer(1, "Sí hay."))
    assert await scene.desk.delivered() == []
    (held,) = await theirs(scene)
    assert (held.state, held.template) == ("held", None)
    assert "7 days" in (held.error or "")
    await scene.hears(PERSON, "¿y?")
    (sent,) = await theirs(scene)
    assert (sent.state, sent.sent_as) == ("sent", "text")


async def test_a_disabled_campaign_does_not_keep_the_answer_from_being_a_humans(scene: Scene) -> None:
    await scene.asked()
    async with scene.desk.database.transaction() as session:
        for campaign in await session.scalars(select(Campaign)):
            campaign.enabled = False
    scene.desk.shop.clock.forward(hours=30)
    await scene.desk.take_back(*await scene.desk.answer(1, "Sí hay."))
    await scene.desk.delivered()
    assert [(row.state, row.sent_as) for row in await theirs(scene)] == [("sent", "human")]
