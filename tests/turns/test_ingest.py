"""From stored events to messages: in order, each once, and no event holds the others back."""

import json
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from recado.campaigns import templates
from recado.channels.base import InboundMessage, RawEvent, StatusUpdate
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.db.engine import Database
from recado.db.models import InboxEvent, Message
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.turns.ingest import BATCH, Ingest
from recado.turns.intake import Intake
from tests.alert_log import AlertLog
from tests.builders import ANA, BETO, Shop, apply_specs, make_shop, merchant_spec, together
from tests.conversations.post import Post


class Desk:
    """A shop with its inbox."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.alerts, self.nudges = shop, AlertLog(shop.database), Nudges(make_queue("memory://"))
        self.intake = Intake(shop.database, shop.clock, self.nudges)
        self.channels: dict[str, Any] = {"simulator": SimulatorChannel(SimulatorNetwork(shop.database, shop.clock))}
        self.ingest = self.new_ingest()
        self.count = 0

    def new_ingest(self) -> Ingest:
        return Ingest(self.shop.database, self.shop.clock, self.channels, self.nudges)

    def message(self, said: Any, phone: Any = ANA, address: str = "+15550100", **changes: Any) -> RawEvent:
        self.count += 1
        key = f"m{self.count}"
        payload = {"id": key, "phone": phone, "name": "Ana", "text": said, "kind": "text", "reply_to": None, **changes}
        return RawEvent("simulator", address, key, json.dumps(payload).encode())

    async def take(self, *events: RawEvent) -> list[str]:
        """Accept and ingest; the states of all events."""
        for event in events:
            await self.intake.accept([event])
        await self.ingest.run()
        return [event.state for event in await self.events()]

    async def events(self) -> list[InboxEvent]:
        async with self.shop.database.read() as session:
            return list(await session.scalars(select(InboxEvent).order_by(InboxEvent.id)))

    async def heard(self, phone: str = ANA) -> list[str]:
        return [message.text for message in await self.shop.messages(await self.shop.open(phone))]


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(await make_shop(database))


async def test_messages_keep_their_order(desk: Desk) -> None:
    for number in range(25):
        await desk.intake.accept([desk.message(f"a{number}"), desk.message(f"b{number}", BETO)])
    assert await desk.take() == ["done"] * 50
    assert await desk.heard(ANA) == [f"a{number}" for number in range(25)]
    assert await desk.heard(BETO) == [f"b{number}" for number in range(25)]
    assert await desk.nudges.queue.count("queued") == 3  # ingest, and a turn for each


async def test_more_than_a_batch(desk: Desk) -> None:
    await desk.intake.accept([desk.message(f"n{number}") for number in range(2 * BATCH + 1)])
    assert set(await desk.take()) == {"done"}
    assert await desk.heard() == [f"n{number}" for number in range(2 * BATCH + 1)]


async def test_two_processes_take_each_event_once_and_in_order(desk: Desk) -> None:
    await desk.intake.accept([desk.message(f"n{number}") for number in range(150)])
    assert await together(*(desk.new_ingest().run() for _ in range(4))) == [None] * 4
    assert await desk.heard() == [f"n{number}" for number in range(150)]
    assert desk.alerts.sent == []


async def test_what_nobody_has_configured_is_kept_and_alerted(desk: Desk) -> None:
    assert await desk.take(desk.message("hola", address="+19990000"), desk.message("sí")) == ["unrouted", "done"]
    unrouted = (await desk.events())[0]
    assert "recado apply" in str(unrouted.error)
    assert desk.alerts.conditions == ["event_unrouted"]
    assert "+19990000" not in str(desk.alerts.sent)
    assert await desk.heard() == ["sí"]


async def test_what_came_before_its_account_is_taken_in_when_that_is_applied(desk: Desk) -> None:
    early = [desk.message(text, address="+19990000") for text in ("uno", "dos")]
    assert await desk.take(*early, desk.message("hola")) == ["unrouted", "unrouted", "done"]
    lines = await apply_specs(desk.shop.database, merchant_spec("late", "+19990000"))
    assert "channel simulator +19990000: 2 stored events taken in again" in lines
    assert await apply_specs(desk.shop.database, merchant_spec("late", "+19990000")) == []
    await desk.ingest.run()
    assert {event.state for event in await desk.events()} == {"done"}
    async with desk.shop.database.read() as session:
        query = select(Message.text).where(Message.merchant_id != desk.shop.merchant_id).order_by(Message.id)
        assert list(await session.scalars(query)) == ["uno", "dos"]


async def test_what_cannot_be_read_is_kept_as_dead_and_alerted(desk: Desk) -> None:
    payloads = [b"", b"{", b"[]", b"5", b'{"id": "x"}', b"\xff\xfe", b'{"status": "sent"}']
    broken = [RawEvent("simulator", "+15550100", f"broken {n}", payload) for n, payload in enumerate(payloads)]
    states = await desk.take(desk.message("uno"), *broken, desk.message("dos"))
    assert states == ["done", *["dead"] * len(broken), "done"]
    dead = (await desk.events())[1:-1]
    assert [event.payload for event in dead] == payloads
    assert all(event.error for event in dead)
    assert desk.alerts.conditions == ["event_dead"] * len(broken)
    assert await desk.heard() == ["uno", "dos"]


class Poisonous:
    """A channel whose parser lets through what the database, or the code behind, cannot take."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        said = json.loads(payload)["text"]
        if said == "huge":
            return StatusUpdate("x", "delivered", delivery_id=10**30)
        if said == "key":
            raise KeyError("an error of ours")
        message: InboundMessage = self._inner.parse(payload)
        return message


POISONS: list[dict[str, Any]] = [
    {"said": "key"},
    {"said": 5},
    {"said": "x", "name": ["a"]},
    {"said": "x", "phone": None},
    {"said": "x", "reply_to": {"a": 1}},
    {"said": "x", "id": "m1"},
    {"said": "huge"},
]


async def test_poisonous_events_do_not_hold_the_others_back(desk: Desk) -> None:
    desk.channels["simulator"] = Poisonous(desk.channels["simulator"])
    events = [desk.message("0")]
    for number, poison in enumerate(POISONS, 1):
        events += [desk.message(**poison), desk.message(str(number))]
    states = await desk.take(*events)
    assert states[::2] == ["done"] * (len(POISONS) + 1)
    assert states[1:-2:2] == ["dead"] * (len(POISONS) - 1)
    assert states[-2] in {"dead", "done"}, "PostgreSQL knows that there is no such delivery, SQLite cannot even ask"
    assert await desk.heard() == [str(number) for number in range(len(POISONS) + 1)]
    assert len(desk.alerts.sent) == states.count("dead")


async def test_texts_that_no_database_takes_are_cleaned_not_lost(desk: Desk) -> None:
    event = RawEvent(
        "simulator",
        "+15550100",
        "odd",
        rb'{"id": "odd", "phone": "+51911111111", "name": "A\u0000\ud800na", "text": "a\u0000b\ud83dc",'
        rb' "kind": "text", "reply_to": null}',
    )
    assert await desk.take(event) == ["done"]
    assert await desk.heard() == ["abc"]


class Away:
    """Behind it the database goes away for a while: it does so at the second event."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.failures = 1

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        if json.loads(payload)["text"] == "dos" and self.failures:
            self.failures -= 1
            raise OperationalError("SELECT", None, Exception("server closed the connection"))
        message: InboundMessage = self._inner.parse(payload)
        return message


async def test_a_database_that_is_away_makes_no_event_dead(desk: Desk) -> None:
    desk.channels["simulator"] = Away(desk.channels["simulator"])
    await desk.intake.accept([desk.message("uno"), desk.message("dos")])
    with pytest.raises(OperationalError):
        await desk.ingest.run()
    assert [event.state for event in await desk.events()] == ["received", "received"]
    assert desk.alerts.sent == []
    assert await desk.take() == ["done", "done"]
    assert await desk.heard() == ["uno", "dos"]


async def test_a_status_moves_its_delivery(desk: Desk) -> None:
    conversation_id = await desk.shop.hear("hola")
    await desk.shop.say(conversation_id, "uno")
    (delivery,) = await desk.shop.deliveries(conversation_id)
    payload = json.dumps({"status": "read", "id": "sim-out-1", "delivery_id": delivery.id}).encode()
    unknown = json.dumps({"status": "read", "id": "nobody", "delivery_id": 999_999}).encode()
    states = await desk.take(
        RawEvent("simulator", "+15550100", "s1", payload), RawEvent("simulator", "+15550100", "s2", unknown)
    )
    assert states == ["done", "done"]
    assert (await desk.shop.deliveries(conversation_id))[0].state == "read"
    assert desk.alerts.sent == []


async def test_a_message_goes_to_the_merchant_of_its_address_only(desk: Desk) -> None:
    other = await make_shop(desk.shop.database, "other", "+15550200")
    await desk.take(desk.message("a los otros", address="+15550200"))
    assert await desk.heard() == []
    assert [m.text for m in await other.messages(await other.open())] == ["a los otros"]


async def test_a_tap_lets_what_was_held_go_at_once(desk: Desk) -> None:
    """With the message, in its transaction; and the outbox is nudged without waiting for the sweep."""
    conversation_id = await desk.shop.open()
    ready = templates.fill(templates.ANSWER_READY, "es", {"lead_name": "Ana"})
    await desk.shop.say(conversation_id, "La respuesta entera.", ready)
    post = Post(desk.shop)
    await post.deliver(conversation_id)
    nudged = desk.nudges.queue.job_id(f"deliver:{conversation_id}")
    await desk.take(desk.message("👍", kind="reaction"))
    assert await desk.nudges.queue.job(nudged) is None
    await desk.take(desk.message("Ver respuesta", kind="button", button="show_answer"))
    assert await desk.nudges.queue.job(nudged) is not None
    await post.deliver(conversation_id)
    assert post.line.texts == [templates.ANSWER_READY, "La respuesta entera."]


async def test_a_message_in_an_open_window_nudges_no_outbox(desk: Desk) -> None:
    await desk.take(desk.message("uno"))
    await desk.take(desk.message("dos"))
    conversation_id = await desk.shop.open()
    assert await desk.nudges.queue.job(desk.nudges.queue.job_id(f"deliver:{conversation_id}")) is None
