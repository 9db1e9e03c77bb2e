"""What the agent is told: who is there, what was said, and which question an answer is meant for."""

import itertools
from typing import Any

import pytest
from sqlalchemy import event

from recado.db.engine import Database
from recado.db.models import Conversation, Message
from recado.errors import ConversationNotFound
from recado.notifications.schemas import Pending
from recado.notifications.service import NotificationService
from recado.turns.context import (
    Given,
    Incoming,
    Loaded,
    heard_language,
    is_silent,
    load_context,
    which_notification,
)
from recado.turns.repository import TurnRepository
from tests.builders import ANA, NOON, ROSA, Shop, make_shop


def incoming(*messages: tuple[str, str | None]) -> list[Incoming]:
    return [Incoming(kind="text", text=text, quoted=quoted) for text, quoted in messages]


def pending(*numbers: int) -> list[Pending]:
    return [Pending(notification_id=f"NOTIF_{n}", question=f"q{n}", customer="Ana", answer_schema={}) for n in numbers]


def target(number: int, because: str) -> tuple[dict[str, str], list[str]]:
    return {"notification_id": f"NOTIF_{number}", "because": because}, [f"NOTIF_{number}"]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("said", "is_open", "expected"),
    [
        # a quoted message decides, whatever else is named or open
        ([("sí", "NOTIF_2")], (1, 2, 3), target(2, "quoted")),
        ([("para NOTIF_1: sí", "NOTIF_2")], (1, 2), target(2, "quoted")),
        ([("sí", "NOTIF_2"), ("y gracias", None)], (1, 2), target(2, "quoted")),
        ([("sí", "NOTIF_2"), ("ah, y otra cosa", "NOTIF_2")], (1, 2), target(2, "quoted")),
        ([("sí", "NOTIF_9")], (1, 2), target(9, "quoted")),
        ([("sí", "NOTIF_1"), ("no", "NOTIF_2")], (1, 2, 3), (None, ["NOTIF_1", "NOTIF_2"])),
        # else a named one
        ([("NOTIF_2: sí", None)], (1, 2), target(2, "named")),
        ([("notif 2 sí", None)], (1, 2), target(2, "named")),
        ([("Notif-2 sí", None)], (1,), target(2, "named")),
        ([("notif2 sí", None)], (), target(2, "named")),
        ([("NOTIF_2", None), ("NOTIF_2: sí", None)], (1, 2), target(2, "named")),
        ([("NOTIF_1 sí, NOTIF_2 no", None)], (1, 2, 3), (None, ["NOTIF_1", "NOTIF_2"])),
        ([("NOTIF_1", None), ("y NOTIF_2", None)], (1, 2), (None, ["NOTIF_1", "NOTIF_2"])),
        # else the only open one
        ([("sí", None)], (7,), target(7, "only one open")),
        ([("XNOTIF_2 sí", None)], (7,), target(7, "only one open")),
    ],
)
def test_which_notification_is_meant(said: list[Any], is_open: tuple[int, ...], expected: Any, asked: bool) -> None:
    assert which_notification(incoming(*said), pending(*is_open), asked) == expected


@pytest.mark.parametrize(("asked", "answerable"), [(False, []), (True, None)])
@pytest.mark.parametrize("is_open", [(), (1, 2), (1, 2, 3)])
def test_when_nothing_tells_they_are_asked_first(
    is_open: tuple[int, ...], asked: bool, answerable: list[str] | None
) -> None:
    assert which_notification(incoming(("sí", None)), pending(*is_open), asked) == (None, answerable)


def tap(quoted: str | None) -> Incoming:
    return Incoming(kind="button", text="Responder", quoted=quoted, button="answer")


TAPPED = [
    ([tap("NOTIF_2")], (1, 2), ("NOTIF_2", "tapped"), []),
    ([tap(None)], (1,), ("NOTIF_1", "tapped"), []),
    ([tap("NOTIF_9")], (1, 2), ("NOTIF_9", "tapped, but it is closed"), []),
    ([tap(None)], (1, 2), None, []),
    ([tap("NOTIF_1"), tap("NOTIF_2")], (1, 2), None, []),
    # with what they say, a tap is a quote
    ([tap("NOTIF_2"), *incoming(("sí hay", None))], (1, 2), ("NOTIF_2", "quoted"), ["NOTIF_2"]),
]


@pytest.mark.parametrize(("said", "is_open", "meant", "answerable"), TAPPED)
def test_a_tap_says_which_and_answers_nothing_yet(
    said: list[Incoming], is_open: tuple[int, ...], meant: tuple[str, str] | None, answerable: list[str]
) -> None:
    about = meant and {"notification_id": meant[0], "because": meant[1]}
    for asked_which in (False, True):
        assert which_notification(said, pending(*is_open), asked_which) == (about, answerable)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("sí hay", None), target(2, "asked for")),
        (("sí hay", "NOTIF_1"), target(1, "quoted")),
        (("NOTIF_1: sí hay", None), target(1, "named")),
    ],
)
@pytest.mark.parametrize("is_open", [(1, 2), (1,)])
def test_what_follows_a_tap_is_the_answer_unless_it_says_otherwise(
    said: tuple[str, str | None], expected: Any, is_open: tuple[int, ...]
) -> None:
    """Also when it was closed meanwhile: the only other one that is open must not get this answer."""
    assert which_notification(incoming(said), pending(*is_open), False, "NOTIF_2") == expected


def test_never_may_an_answer_go_to_one_that_was_not_pointed_at() -> None:
    texts = ["sí", "NOTIF_1", "NOTIF_1 NOTIF_2", ""]
    quotes = [None, "NOTIF_1", "NOTIF_3"]
    for one, two in itertools.product(itertools.product(texts, quotes), repeat=2):
        for numbers in ((), (1,), (1, 2), (1, 2, 3)):
            meant, answerable = which_notification(incoming(one, two), pending(*numbers), False)
            assert answerable is not None
            if meant:
                assert answerable == [meant["notification_id"]]
            pointed = {quote for _, quote in (one, two) if quote} or {
                word for text, _ in (one, two) for word in text.split() if word.startswith("NOTIF")
            }
            assert set(answerable) <= (pointed or {p["notification_id"] for p in pending(*numbers)})
            assert pointed or len(answerable) <= 1


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
    noted = Incoming(kind="image", text="[what is this for you]", quoted=None)
    assert heard_language([silent, tapped, noted]) is None
    assert [is_silent(message) for message in (silent, tapped, noted)] == [True, False, False]


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
