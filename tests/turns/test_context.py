"""What the agent is told: who is there, what was said, and which question an answer is meant for."""

import pytest
from sqlalchemy import event, select

from recado.db.engine import Database
from recado.db.models import Conversation, Message
from recado.errors import ConversationNotFound
from recado.notifications.service import NotificationService
from recado.turns.context import (
    Given,
    Incoming,
    Loaded,
    heard_language,
    is_silent,
    load_context,
)
from recado.turns.repository import TurnRepository
from tests.builders import ANA, NOON, ROSA, Shop, make_shop


def target(number: int, because: str) -> tuple[dict[str, str], list[str]]:
    return {"notification_id": f"NOTIF_{number}", "because": because}, [f"NOTIF_{number}"]


async def load(shop: Shop, conversation_id: int, turn_id: int | None = None, window: int = 30) -> Loaded:
    async with shop.database.read() as session:
        return await load_context(session, shop.clock, Given(shop.merchant_id, conversation_id, turn_id), window)


async def begin(shop: Shop, conversation_id: int) -> int:
    async with shop.database.transaction() as session:
        turns = TurnRepository(session, shop.merchant_id)
        turn = turns.start(conversation_id, "p", NOON, NOON)
        await session.flush()
        await turns.attach_pending(turn)
        return turn.id


async def end(shop: Shop, turn_id: int) -> None:
    async with shop.database.transaction() as session:
        (await TurnRepository(session, shop.merchant_id).get(turn_id)).state = "done"


async def request(shop: Shop, conversation_id: int, question: str, key: str) -> int:
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        row = await service.request("user_question_request", conversation_id, {"question": question}, key)
        return row.id


async def test_history_is_what_was_before_and_nothing_of_what_comes_later(database: Database) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.hear("antes")
    first = await begin(shop, conversation_id)
    await shop.say(conversation_id, "respuesta", turn_id=first)
    await end(shop, first)
    async with shop.conversations() as service:
        await service.instruct(conversation_id, "i", "solo para el agente", {})
    await shop.hear("ahora")
    await shop.hear("y ahora")
    second = await begin(shop, conversation_id)
    await shop.hear("más tarde")

    loaded = await load(shop, conversation_id, second)
    assert [(line["role"], line["text"]) for line in loaded["history"]] == [
        ("user", "antes"),
        ("assistant", "respuesta"),
        ("system", "solo para el agente"),
    ]
    assert [message["text"] for message in loaded["incoming"]] == ["ahora", "y ahora"]
    assert (loaded["role"], loaded["language"], loaded["merchant_user_id"]) == ("customer", "es", None)
    assert (loaded["pending"], loaded["target"], loaded["answerable"]) == ([], None, None)


async def test_what_the_summary_covers_is_not_repeated(database: Database) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.open()
    ids = [await shop.say(conversation_id, f"n{number}") for number in range(6)]
    async with database.transaction() as session:
        row = await session.get_one(Conversation, conversation_id)
        row.summary, row.summarised_through = "Antes.", ids[2]
    loaded = await load(shop, conversation_id)
    assert ([line["text"] for line in loaded["history"]], loaded["summary"]) == (["n3", "n4", "n5"], "Antes.")
    assert [line["text"] for line in (await load(shop, conversation_id, window=2))["history"]] == ["n4", "n5"]


async def test_staff_see_what_is_open_and_what_they_quote(database: Database) -> None:
    shop = await make_shop(database)
    customer = await shop.hear("¿venden hielo?")
    one, two = [await request(shop, customer, question, question) for question in ("¿hielo?", "¿agua?")]
    staff = await shop.open(ROSA, "Rosa")
    other_data = {"notification_id": two, "notification_id_prefixed": f"NOTIF_{two}"}
    await shop.hear("hola", ROSA)
    await shop.say(staff, "Consulta", other_data=other_data)
    async with database.transaction() as session:
        for delivery in await shop.deliveries(staff):
            (await session.merge(delivery)).provider_message_id = "p-two"
    await shop.hear("sí hay", ROSA, quoting="p-two")
    turn_id = await begin(shop, staff)

    loaded = await load(shop, staff, turn_id)
    assert (loaded["role"], loaded["person_name"]) == ("staff", "Rosa")
    assert [p["notification_id"] for p in loaded["pending"]] == [f"NOTIF_{one}", f"NOTIF_{two}"]
    assert loaded["target"] == {"notification_id": f"NOTIF_{two}", "because": "quoted"}
    assert loaded["documents"] == []


async def test_a_quote_of_another_conversations_message_counts_for_nothing(database: Database) -> None:
    shop = await make_shop(database)
    customer = await shop.hear("hola")
    other_data = {"notification_id": 1, "notification_id_prefixed": "NOTIF_1"}
    await shop.say(customer, "Consulta", other_data=other_data)
    async with database.transaction() as session:
        for delivery in await shop.deliveries(customer):
            (await session.merge(delivery)).provider_message_id = "p-one"
    staff = await shop.hear("sí", ROSA, quoting="p-one")
    loaded = await load(shop, staff, await begin(shop, staff))
    assert [message["quoted"] for message in loaded["incoming"]] == [None]
    assert loaded["answerable"] == []


async def test_after_being_asked_which_any_open_one_may_be_answered(database: Database) -> None:
    shop = await make_shop(database)
    customer = await shop.hear("hola")
    for question in ("uno", "dos"):
        await request(shop, customer, question, question)
    staff = await shop.hear("sí", ROSA)
    first = await begin(shop, staff)
    assert (await load(shop, staff, first))["answerable"] == []
    await shop.say(staff, "¿a cuál?", other_data={"asked_which": True})
    await end(shop, first)
    await shop.hear("a la primera", ROSA)
    second = await begin(shop, staff)
    assert (await load(shop, staff, second))["answerable"] is None


async def test_a_tap_is_remembered_until_something_else_was_said(database: Database) -> None:
    shop = await make_shop(database)
    customer = await shop.hear("hola")
    one, _ = [await request(shop, customer, question, question) for question in ("uno", "dos")]
    staff = await shop.hear("Responder", ROSA, kind="button", button="answer")
    first = await begin(shop, staff)
    loaded = await load(shop, staff, first)
    assert loaded["incoming"] == [{"kind": "button", "text": "Responder", "quoted": None, "button": "answer"}]
    await shop.say(staff, "Dime la respuesta", other_data={"asked_for": f"NOTIF_{one}"})
    await end(shop, first)
    await shop.hear("sí hay", ROSA)
    second = await begin(shop, staff)
    loaded = await load(shop, staff, second)
    assert (loaded["target"], loaded["answerable"]) == target(one, "asked for")
    await shop.say(staff, "Consulta NOTIF_2", other_data={"notification_id_prefixed": "NOTIF_2"})
    assert (await load(shop, staff, second))["answerable"] == [], "the one that came since may be meant as well"


@pytest.mark.parametrize(
    ("said", "language"),
    [
        (["Do you have this in size 44?"], "en"),
        (["Bonjour, je voudrais changer", "ma commande"], "fr"),
        (["ok"], "pt"),
        (["João"], "pt"),
        (["👍"], "pt"),
    ],
)
async def test_a_person_who_clearly_writes_in_another_language_is_answered_in_it(
    database: Database, said: list[str], language: str
) -> None:
    shop = await make_shop(database)
    for text in said:
        conversation_id = await shop.hear(text)
    async with database.transaction() as session:
        (await session.get_one(Conversation, conversation_id)).language = "pt"
    loaded = await load(shop, conversation_id, await begin(shop, conversation_id))
    assert loaded["language"] == language
    assert (heard_language(loaded["incoming"]) or "pt") == language


def test_taps_reactions_and_notes_tell_no_language() -> None:
    silent = Incoming(kind="reaction", text="what is this for you", quoted=None)
    tapped = Incoming(kind="button", text="what is this for you", quoted=None, button="x")
    noted = Incoming(kind="image", text="[what is this for you]", quoted=None, words="")
    assert heard_language([silent, tapped, noted]) is None
    assert [is_silent(message) for message in (silent, tapped, noted)] == [True, False, False]


@pytest.mark.parametrize(
    ("kind", "handled", "silent"),
    [("edit", None, False), ("edit", "edit", True), ("deletion", None, True), ("text", "opt_out", True)],
)
async def test_what_was_handled_is_not_answered_and_an_edit_is(
    database: Database, kind: str, handled: str | None, silent: bool
) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.hear("stop", kind=kind)
    async with database.transaction() as session:
        [message] = await session.scalars(select(Message))
        message.other_data = {"handled": handled} if handled else {}
    loaded = await load(shop, conversation_id, await begin(shop, conversation_id))
    assert [is_silent(message) for message in loaded["incoming"]] == [silent]


async def test_where_a_customer_stands_is_told_and_staff_stand_nowhere(database: Database) -> None:
    shop = await make_shop(database)
    conversations = [await shop.hear("hola"), await shop.hear("hola", ROSA)]
    loaded = [await load(shop, conversation_id) for conversation_id in conversations]
    assert [(one["current_intent"], one["current_step"], one["order"]) for one in loaded] == [(None, None, {})] * 2
    async with database.transaction() as session:
        for conversation_id in conversations:
            row = await session.get_one(Conversation, conversation_id)
            row.intent, row.step = "payment", "choosing"
            row.api_context = {"paymentMethod": "yape", "orderTotal": 50}
    customer, staff = [await load(shop, conversation_id) for conversation_id in conversations]
    assert (customer["current_intent"], customer["current_step"]) == ("payment", "choosing")
    assert customer["order"] == {"cart": {"total": 50}, "payment_method": "yape"}
    assert (staff["current_intent"], staff["current_step"], staff["order"]) == (None, None, {})


async def test_media_and_empty_messages_are_noted(database: Database) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.hear("", kind="location")
    await shop.hear("")
    loaded = await load(shop, conversation_id, await begin(shop, conversation_id))
    assert [message["text"] for message in loaded["incoming"]] == ["[location]", "[empty message]"]


async def test_another_merchants_conversation_is_not_found(database: Database) -> None:
    shop = await make_shop(database)
    other = await make_shop(database, "other", "+15550200")
    conversation_id = await shop.hear("hola")
    with pytest.raises(ConversationNotFound):
        await load(other, conversation_id)


@pytest.mark.parametrize("phone", [ANA, ROSA])
async def test_a_long_thread_costs_what_a_short_one_does(database: Database, phone: str) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.hear("hola", phone)
    async with database.transaction() as session:
        session.add_all(
            Message(
                merchant_id=shop.merchant_id,
                conversation_id=conversation_id,
                role="response",
                text=f"n{number}",
                key=f"k{number}",
                attachments=[],
                other_data={},
                created_at=NOON,
            )
            for number in range(1_000)
        )
    turn_id = await begin(shop, conversation_id)
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    loaded = await load(shop, conversation_id, turn_id)
    selects = [statement for statement in statements if statement.lstrip().upper().startswith("SELECT")]
    assert len(selects) <= 6
    assert len(loaded["history"]) == 30
    assert loaded["history"][-1]["text"] == "n999"
