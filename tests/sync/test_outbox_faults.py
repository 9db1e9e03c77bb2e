"""The API fails in every way that it can: nothing is lost, nothing is out of order, nothing is said twice."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from recado.db.models import SyncSession
from recado.sync.circuit import THRESHOLD
from tests.builders import ANA, BETO
from tests.sync.desk import SyncDesk

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503},
    "429": {"status": 429},
    "html_404": {"html": True},
    "cut_before": {"cut": "before"},
    "cut_after": {"cut": "after"},
    "garbage": {"garbage": True},
    "redirect": {"redirect": True},
    "type_3": {"envelope_error": True},
    "hang": {"hang": True},
}
TOLD = [("user", "uno"), ("bot", "dos"), ("user", "tres"), ("bot", "cuatro")]


@pytest.mark.parametrize("operation", ["message", "sync", "lookup_tenant"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_fails_is_told_later_in_order_and_once(desk: SyncDesk, fault: str, operation: str) -> None:
    session_id = desk.knows()
    outbox = desk.new_outbox("quick", timeout=1.0 if fault == "hang" else 5.0)
    desk.api.fail(**FAULTS[fault], operations=(operation,), times=2)
    await desk.turn(("uno",), ("dos",))
    await outbox.drain()
    assert await desk.waiting() > 0
    [session] = await desk.sessions()
    assert session.error
    await desk.turn(("tres",), ("cuatro",), step="done")
    await desk.drain_until_empty(outbox)
    assert desk.history(session_id) == TOLD
    if desk.api.behaviour == "guide":
        assert desk.api.posted(session_id) == TOLD
    else:  # a server that does not store what is posted cannot tell that it was: once more is what is left
        assert list(dict.fromkeys(desk.api.posted(session_id))) == TOLD
    document = desk.api.document(session_id)
    assert document is not None
    assert document["currentStep"] == "done"
    assert await desk.count("sent") == 6
    [session] = await desk.sessions()
    assert (session.error, session.uncertain, session.claimed_by) == (None, False, None)


async def test_who_refuses_connections_is_left_alone_after_a_while_and_the_team_hears_once(desk: SyncDesk) -> None:
    sessions = {phone: desk.knows(phone) for phone in (f"+5191100{number:04}" for number in range(THRESHOLD + 3))}
    for phone in sessions:
        await desk.turn(phone=phone)
    desk.api.stop()
    for _ in range(30):
        await desk.outbox.drain()
        desk.shop.clock.forward(seconds=20)
    assert desk.circuit.state != "closed"
    assert desk.alerts.conditions == ["sync_circuit_open"]
    assert not await desk.outbox.is_due() or desk.circuit.state == "half_open"
    desk.api.start()
    await desk.drain_until_empty()
    assert desk.circuit.state == "closed"
    for session_id in sessions.values():
        assert desk.history(session_id) == [("user", "Hola"), ("bot", "¡Hola!")]
        assert desk.api.posted(session_id) == [("user", "Hola"), ("bot", "¡Hola!")]
    assert desk.alerts.conditions == ["sync_circuit_open"]


async def test_the_team_hears_also_when_a_first_turn_finds_it_out(desk: SyncDesk) -> None:
    desk.api.stop()
    for number in range(THRESHOLD):
        conversation_id = await desk.shop.hear("Hola", f"+5191100{number:04}")
        await desk.outbox.restore(conversation_id, desk.shop.merchant_id)
    assert not await desk.outbox.is_due()
    assert not await desk.outbox.is_due()
    assert desk.alerts.conditions == ["sync_circuit_open"]


async def test_one_conversation_that_fails_holds_up_no_other(desk: SyncDesk) -> None:
    ana, beto = desk.knows(ANA), desk.knows(BETO)
    await desk.turn(phone=ANA)
    await desk.turn(phone=BETO)
    desk.api.fail(status=500, operations=("lookup_tenant",), times=1)
    await desk.outbox.drain()
    assert sorted([len(desk.api.posted(ana)), len(desk.api.posted(beto))]) == [0, 2]
    await desk.drain_until_empty()
    assert len(desk.api.posted(ana)) == len(desk.api.posted(beto)) == 2


async def test_what_the_api_will_not_have_is_reported_and_holds_up_nothing(desk: SyncDesk) -> None:
    session_id = desk.knows()
    await desk.turn(("uno",), ("dos",))
    desk.api.fail(too_large=True, operations=("message",), times=1)
    await desk.outbox.drain()
    assert await desk.waiting() == 0
    assert await desk.count("refused") == 1
    assert desk.alerts.conditions == ["sync_refused"]
    assert desk.api.posted(session_id) == [("bot", "dos")]
    document = desk.api.document(session_id)
    assert document is not None
    assert document["currentStep"] == "answered"


async def test_a_context_that_is_too_large_is_cut_and_arrives(desk: SyncDesk) -> None:
    session_id = desk.knows()
    texts = [f"{number} " + "ñandú " * 2_000 for number in range(10)]
    await desk.turn(texts, ("Gracias.",))
    await desk.drain_until_empty()
    assert await desk.count("refused") == 0
    document = desk.api.document(session_id)
    assert document is not None
    assert document["currentStep"] == "answered"
    assert desk.api.posted(session_id) == [*(("user", text.strip()) for text in texts), ("bot", "Gracias.")]


@pytest.mark.parametrize("told", range(4))
async def test_who_takes_over_a_claim_repeats_nothing_that_was_told(desk: SyncDesk, told: int) -> None:
    """A process told so many entries and died before it wrote that down."""
    session_id = desk.knows()
    await desk.turn(("cero",), ("¡Hola!",))
    await desk.outbox.drain()
    await desk.turn(("uno",), ("dos",))
    await desk.turn(("tres",), ("cuatro",))
    async with desk.shop.database.transaction() as session:
        until = desk.shop.clock.now()
        await session.execute(update(SyncSession).values(claimed_by="dead", claimed_until=until))
    dead = desk.new_outbox("dead")
    async with dead._service as service:  # what the dead one had told
        for role, content in TOLD[:told]:
            await service.add_message_from_agent(session_id, role, content)
    await desk.outbox.drain()
    assert await desk.waiting() == 0
    expected = [("user", "cero"), ("bot", "¡Hola!"), *TOLD]
    assert desk.history(session_id) == expected
    posted = desk.api.posted(session_id)
    if desk.api.behaviour == "guide":
        assert posted == expected
    else:
        assert [pair for pair in expected if pair in posted] == expected


async def test_a_claim_is_respected_until_it_ends(desk: SyncDesk) -> None:
    desk.knows()
    await desk.turn()
    async with desk.shop.database.transaction() as session:
        until = desk.shop.clock.now() + timedelta(seconds=1)
        await session.execute(update(SyncSession).values(claimed_by="another", claimed_until=until))
    await desk.outbox.drain()
    assert await desk.waiting() == 3
    alone = desk.new_outbox("alone", alone=True)
    await alone.drain()  # no other process lives: it is from before a crash
    assert await desk.waiting() == 0


async def test_two_hundred_turns_over_twenty_sessions_lose_nothing(desk: SyncDesk) -> None:
    """Two processes drain while the turns happen, into a server that loses concurrent writes."""
    phones = [f"+5191100{number:04}" for number in range(20)]
    sessions = {phone: desk.knows(phone) for phone in phones}
    other = desk.new_outbox("second")
    over = asyncio.Event()

    async def drains(outbox: Any) -> None:
        while not over.is_set():
            await outbox.drain()
            await asyncio.sleep(0)

    async def talks(phone: str) -> None:
        for number in range(10):
            await desk.turn((f"pregunta {number}",), (f"respuesta {number}",), phone=phone, step=f"step_{number}")

    draining = [asyncio.create_task(drains(outbox)) for outbox in (desk.outbox, other)]
    await asyncio.gather(*(talks(phone) for phone in phones))
    over.set()
    await asyncio.gather(*draining)
    await desk.drain_until_empty()

    whole = [(role, f"{what} {n}") for n in range(10) for role, what in (("user", "pregunta"), ("bot", "respuesta"))]
    for session_id in sessions.values():
        assert desk.api.posted(session_id) == whole
        assert desk.history(session_id) == whole
        document = desk.api.document(session_id)
        assert document is not None
        assert document["currentStep"] == "step_9"
    assert desk.api.overlaps == 0
    async with desk.shop.database.read() as session:
        claimed = select(func.count()).where(SyncSession.claimed_by.is_not(None))
        assert (await session.execute(claimed)).scalar_one() == 0
