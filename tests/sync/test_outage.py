"""Ten minutes of an API that is down, slow or flapping, while five hundred messages are handled."""

import asyncio
from collections.abc import Callable

import pytest

from recado.sync.circuit import Circuit
from tests.sync.desk import SyncDesk
from tests.turns.talk import Talk

PEOPLE, EACH, TICKS = 25, 20, 40
TICK_SECONDS = 15.0
TIMEOUT = 0.15


def down(desk: SyncDesk, tick: int) -> None:
    if tick == 0:
        desk.api.stop()


def slow(desk: SyncDesk, tick: int) -> None:
    if tick == 0:
        desk.api.fail(hang=True, share=0.1, seed=1)  # given up by the client
        desk.api.fail(latency=TIMEOUT / 3)


def flapping(desk: SyncDesk, tick: int) -> None:
    desk.api.clear_faults()
    if tick % 4 == 0:
        desk.api.stop()
    elif tick % 4 == 2:
        desk.api.start()
    else:
        desk.api.fail(cut="after", share=0.5, seed=tick)


OUTAGES: dict[str, Callable[[SyncDesk, int], None]] = {"down": down, "slow": slow, "flapping": flapping}


@pytest.mark.parametrize(
    ("running_api", "outage"),
    [("guide", "down"), ("observed", "slow"), ("guide", "flapping")],
    indirect=["running_api"],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_every_message_is_answered_meanwhile_and_arrives_afterwards(desk: SyncDesk, outage: str) -> None:
    phones = [f"+5191100{number:04}" for number in range(PEOPLE)]
    sessions = {phone: desk.knows(phone) for phone in phones}
    outbox = desk.new_outbox("outage", circuit=Circuit(desk.shop.clock), timeout=TIMEOUT if outage == "slow" else 5.0)
    talk = Talk(desk.shop)
    turns = talk.new_service("turns", restore=outbox.restore)
    pairs = [(phone, number) for number in range(EACH) for phone in phones]
    per_tick = len(pairs) // TICKS + 1

    async def handled(phone: str, number: int) -> None:
        conversation_id = await desk.shop.hear(f"pregunta {number}", phone)
        await turns.run(conversation_id, desk.shop.merchant_id)

    for tick in range(TICKS):
        OUTAGES[outage](desk, tick)
        now, pairs = pairs[:per_tick], pairs[per_tick:]
        await asyncio.gather(outbox.drain(), *(handled(*pair) for pair in now))
        desk.shop.clock.forward(seconds=TICK_SECONDS)
    assert not pairs
    assert len(talk.agent.runs) == PEOPLE * EACH

    desk.api.clear_faults()
    desk.api.start()
    await desk.drain_until_empty(outbox)
    for phone, session_id in sessions.items():
        assert_is_in_step(desk, session_id, await conversation_with(desk, phone))


async def conversation_with(desk: SyncDesk, phone: str) -> list[tuple[str, str]]:
    """What was said with this person, as our own rows have it."""
    conversation_id = await desk.shop.open(phone)
    roles = {"user": "user", "response": "bot"}
    return [(roles[message.role], message.text) for message in await desk.shop.messages(conversation_id, *roles)]


def assert_is_in_step(desk: SyncDesk, session_id: str, said: list[tuple[str, str]]) -> None:
    assert len(said) == 2 * EACH
    assert desk.history(session_id) == said[-20:]
    posted = desk.api.posted(session_id)
    if desk.api.behaviour == "guide":
        assert posted == said
    else:
        assert list(dict.fromkeys(posted)) == said
    document = desk.api.document(session_id)
    assert document is not None
    assert document["context"]["lastUserMessage"] == said[-2][1]
