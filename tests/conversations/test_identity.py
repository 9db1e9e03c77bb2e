"""One person is one contact, whatever ids the channel tells of them, and nobody else is."""

import pytest
from sqlalchemy import event, select

from recado.campaigns import templates
from recado.channels.base import IdentityChanged
from recado.conversations.repository import ConversationRepository
from recado.db.engine import Database
from recado.db.models import StaffLink
from tests.builders import ANA, BETO, ROSA, make_shop
from tests.conversations.post import Post
from tests.turns.inbox import Inbox

ID, NEW_ID = "PE.13491208655302741918", "PE.99999999999999999999"


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(await make_shop(database))


async def people(inbox: Inbox) -> list[tuple[str, str | None, int | None]]:
    return [(one.channel_user_id, one.phone, one.superseded_by_id) for one in await inbox.contacts()]


async def test_who_was_known_by_their_number_keeps_their_conversation(inbox: Inbox) -> None:
    first = await inbox.write("hola")
    second = await inbox.write("otra vez", ID, ANA)
    third = await inbox.write("y otra", ID, None)
    assert {row.conversation_id for row in (first, second, third)} == {first.conversation_id}
    assert await people(inbox) == [(ID, ANA, None)]


async def test_what_is_told_of_a_person_is_kept(inbox: Inbox) -> None:
    await inbox.write("hola", ID, None, name=None)
    await inbox.write("hola", ID, ANA, name="Ana María")
    await inbox.write("hola", ID, None, name=None)
    (contact,) = await inbox.contacts()
    assert (contact.phone, contact.name) == (ANA, "Ana María")
    await inbox.write("hola", ID, BETO)
    assert await people(inbox) == [(ID, BETO, None)]


async def test_an_event_without_the_id_is_the_same_persons(inbox: Inbox) -> None:
    first = await inbox.write("hola", ID, ANA)
    assert (await inbox.write("otra", ANA, ANA)).conversation_id == first.conversation_id
    assert await people(inbox) == [(ID, ANA, None)]


async def test_who_was_here_twice_is_one_from_now_on(inbox: Inbox) -> None:
    numbered, hidden = await inbox.write("hola"), await inbox.write("hola", ID, None)
    assert len(await inbox.contacts()) == 2
    both = await inbox.write("soy la misma", ID, ANA)
    assert both.conversation_id == hidden.conversation_id
    old, new = await inbox.contacts()
    assert await people(inbox) == [(ANA, ANA, new.id), (ID, ANA, None)]
    assert (await inbox.write("sin id", ANA, ANA)).conversation_id == hidden.conversation_id
    await inbox.tell(IdentityChanged(ID, NEW_ID))
    assert await people(inbox) == [(ANA, ANA, new.id), (NEW_ID, None, None)]
    assert old.id < new.id
    assert numbered.conversation_id != hidden.conversation_id


async def test_a_quote_of_what_was_said_in_the_old_conversation_is_understood(inbox: Inbox) -> None:
    old = (await inbox.write("hola")).conversation_id
    await inbox.shop.say(old, "Consulta NOTIF_7")
    await Post(inbox.shop).deliver(old)
    new = (await inbox.write("hola", ID, None)).conversation_id
    stranger = (await inbox.write("hola", BETO)).conversation_id

    async def quoted(conversation_id: int) -> list[str]:
        async with inbox.shop.database.read() as session:
            repository = ConversationRepository(session, inbox.shop.merchant_id)
            return [message.text for message in (await repository.quoted(conversation_id, ["p1"])).values()]

    assert await quoted(new) == []
    await inbox.write("soy la misma", ID, ANA)
    assert await quoted(new) == await quoted(old) == ["Consulta NOTIF_7"]
    assert await quoted(stranger) == []


@pytest.mark.parametrize("phone", [ANA, None])
async def test_what_is_held_in_the_old_conversation_goes_when_the_person_writes(
    inbox: Inbox, phone: str | None
) -> None:
    """With their number in the message, and once they hide it too."""
    old = (await inbox.write("hola")).conversation_id
    await inbox.write("hola", ID, None)
    await inbox.write("soy la misma", ID, ANA)
    inbox.shop.clock.forward(hours=30)
    ready = templates.fill(templates.ANSWER_READY, "es", {"lead_name": "Ana"})
    await inbox.shop.say(old, "La respuesta entera.", ready)
    post = Post(inbox.shop)
    await post.deliver(old)
    await inbox.write("¿Hola?", ID, phone)
    assert await inbox.nudged("deliver", old)
    await post.deliver(old)
    assert post.line.texts == [templates.ANSWER_READY, "La respuesta entera."]


async def test_nobody_is_the_same_for_two_merchants_or_on_two_channels(database: Database, inbox: Inbox) -> None:
    other = Inbox(await make_shop(database, "other", "+15550200"))
    await other.write("hola")
    await inbox.write("hola", ID, ANA)
    assert await people(other) == [(ANA, ANA, None)]
    await inbox.tell(IdentityChanged(ID, NEW_ID))
    assert await people(other) == [(ANA, ANA, None)]
    async with inbox.shop.conversations() as service:
        assert await service.identities.find("instagram", NEW_ID, ANA) is None


async def test_a_number_that_has_gone_to_somebody_else_makes_them_nobody_else(inbox: Inbox) -> None:
    """It was Ana's before she had an id; then she had an id and the number, and now another id comes with it."""
    await inbox.write("hola")
    await inbox.write("hola", ID, None)
    await inbox.write("hola", ID, ANA)
    theirs = await inbox.write("hola, tengo un número nuevo", NEW_ID, ANA)
    assert [one.channel_user_id for one in await inbox.contacts()] == [ANA, ID, NEW_ID]
    assert theirs.conversation_id == (await inbox.conversation(NEW_ID)).id


async def test_another_number_is_the_same_person(inbox: Inbox) -> None:
    first = await inbox.write("hola")
    moved = IdentityChanged(ANA, BETO, BETO)
    assert (await inbox.tell(moved, moved))[-2:] == ["done", "done"]
    assert await people(inbox) == [(BETO, BETO, None)]
    assert (await inbox.write("hola", BETO)).conversation_id == first.conversation_id
    assert inbox.alerts.sent == []


async def test_an_id_that_is_there_already_is_used(inbox: Inbox) -> None:
    await inbox.write("hola")
    await inbox.write("hola", BETO)
    await inbox.write("STOP")
    await inbox.tell(IdentityChanged(ANA, BETO, BETO))
    old, new = await inbox.contacts()
    assert (old.superseded_by_id, new.superseded_by_id, new.phone, new.opt_out) == (new.id, None, BETO, "all")


async def test_an_id_that_nobody_knows_changes_nothing(inbox: Inbox) -> None:
    assert await inbox.tell(IdentityChanged(ID, NEW_ID, ANA)) == ["done"]
    assert await inbox.contacts() == []


async def test_a_linked_member_of_the_staff_stays_one_under_another_id(inbox: Inbox) -> None:
    await inbox.write((await inbox.code(ROSA))[0], ID)
    await inbox.tell(IdentityChanged(ID, NEW_ID))
    assert await inbox.staff_name(NEW_ID) == "Rosa"
    await inbox.write("hola", "PE.7")
    async with inbox.shop.database.read() as session:
        assert list(await session.scalars(select(StaffLink.channel_user_id))) == [NEW_ID]
    assert inbox.alerts.sent == []


async def test_the_number_of_a_member_that_changed_is_alerted_with_the_remedy(inbox: Inbox) -> None:
    await inbox.write("hola", ROSA)
    assert await inbox.staff_name(ROSA) == "Rosa"
    await inbox.tell(IdentityChanged(ROSA, BETO, BETO))
    assert await inbox.staff_name(BETO) is None
    ((title, reason, context),) = inbox.alerts.sent
    assert title.startswith("security")
    assert "recado apply" in reason
    assert ROSA not in reason + str(context)
    assert BETO not in reason + str(context)


async def test_an_id_without_a_number_leaves_no_number_to_be_known_by(inbox: Inbox) -> None:
    await inbox.write("hola", ID, ROSA)
    assert await inbox.staff_name(ID) == "Rosa"
    await inbox.tell(IdentityChanged(ID, NEW_ID))
    assert await people(inbox) == [(NEW_ID, None, None)]
    assert await inbox.staff_name(NEW_ID) is None
    assert inbox.alerts.conditions == ["security_staff_number_changed"]


async def test_a_known_person_costs_no_query_more(inbox: Inbox) -> None:
    await inbox.write("hola", ID, ANA)
    queries: list[str] = []
    engine = inbox.shop.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    await inbox.write("otra", ID, ANA)
    about = [query for query in queries if query.startswith("SELECT") and "FROM contacts" in query]
    assert len(about) == 1
    assert not [query for query in queries if "staff_links" in query or "send_limits" in query]
