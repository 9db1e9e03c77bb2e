"""Processes that die, sleep or race: a turn is run by one at a time, and goes on where it was left."""

import asyncio

import pytest
from sqlalchemy import select

from recado.db.models import Delivery, Turn
from recado.errors import ModelError
from recado.turns.service import CLAIM
from tests.builders import ANA, BETO, make_shop, together
from tests.turns.talk import Talk


@pytest.mark.parametrize("alone", [True, False])
async def test_a_turn_that_a_dead_process_left_goes_on_under_its_own_key(talk: Talk, alone: bool) -> None:
    conversation_id = await talk.shop.hear("hola")
    never = asyncio.Event()
    started = asyncio.Event()

    async def dies() -> None:
        started.set()
        await never.wait()

    talk.agent.during = [dies]
    dying = asyncio.create_task(talk.run(conversation_id))
    await started.wait()
    dying.cancel()
    assert (await together(dying))[0].__class__ is asyncio.CancelledError
    assert [turn.state for turn in await talk.rows()] == ["running"]
    assert await talk.work() == [(conversation_id, talk.shop.merchant_id)]

    second = talk.new_service("second", alone=alone)
    if not alone:
        talk.shop.clock.forward(seconds=CLAIM.total_seconds() - 1)
        await talk.run(conversation_id, second)
        assert len(talk.agent.runs) == 1, "another process's claim was not respected"
        talk.shop.clock.forward(seconds=1)
    await talk.run(conversation_id, second)
    assert talk.agent.run_keys == ["turn:1:1", "turn:1:1"]
    assert await talk.said(conversation_id) == ["answer 2"]


async def test_a_process_that_was_too_slow_does_not_answer_a_second_time(talk: Talk) -> None:
    """The claim ran out while its model was thinking (the machine slept), and another process answered."""
    conversation_id = await talk.shop.hear("hola")
    slow = asyncio.Event()
    started = asyncio.Event()

    async def thinks() -> None:
        started.set()
        await slow.wait()

    talk.agent.during = [thinks]
    running = asyncio.create_task(talk.run(conversation_id))
    await started.wait()
    talk.shop.clock.forward(seconds=CLAIM.total_seconds() + 1)
    await talk.run(conversation_id, talk.new_service("second"))
    slow.set()
    await running
    assert len(await talk.said(conversation_id)) == 1
    assert [turn.state for turn in await talk.rows()] == ["done"]


async def test_what_comes_while_such_a_process_thinks_is_answered_too(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hola")
    slow, started = asyncio.Event(), asyncio.Event()

    async def thinks() -> None:
        started.set()
        await slow.wait()

    talk.agent.during = [thinks]
    running = asyncio.create_task(talk.run(conversation_id))
    await started.wait()
    talk.shop.clock.forward(seconds=CLAIM.total_seconds() + 1)
    second = talk.new_service("second")
    await talk.run(conversation_id, second)
    await talk.shop.hear("¿y los sábados?")
    slow.set()
    await running
    await talk.run(conversation_id, second)
    turns = await talk.rows()
    assert await talk.answered_by(conversation_id) == [turn.id for turn in turns]
    assert len(turns) == len(await talk.said(conversation_id)) == 2


async def test_processes_never_run_the_same_turn_at_once(talk: Talk) -> None:
    services = [talk.new_service(f"process {number}") for number in range(4)]
    for round_ in range(1, 6):
        conversation_id = await talk.shop.hear(f"n{round_}")
        talk.agent.during = [lambda: asyncio.sleep(0.02)]
        assert await together(*(talk.run(conversation_id, service) for service in services)) == [None] * 4
        assert len(await talk.said(conversation_id)) == round_
    assert talk.agent.most_active == 1
    assert len(talk.agent.runs) == 5
    assert talk.alerts.sent == []


async def test_processes_never_resume_the_same_turn_at_once(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hola")
    talk.agent.failures = [ModelError("down")]
    await talk.run(conversation_id)
    talk.shop.clock.forward(minutes=1)
    talk.agent.during = [lambda: asyncio.sleep(0.05)]
    services = [talk.new_service(f"process {number}") for number in range(4)]
    assert await together(*(talk.run(conversation_id, service) for service in services)) == [None] * 4
    assert (talk.agent.most_active, len(talk.agent.runs)) == (1, 2)
    assert await talk.said(conversation_id) == ["answer 2"]


async def test_a_process_waits_while_another_one_claims_the_turn(talk: Talk) -> None:
    """The claim itself: the second transaction must see what the first one does, not what was there before."""
    conversation_id = await talk.shop.hear("hola")
    talk.agent.failures = [ModelError("down")]
    await talk.run(conversation_id)
    talk.shop.clock.forward(minutes=1)
    async with asyncio.TaskGroup() as racing, talk.shop.database.transaction() as session:
        turn = (await session.scalars(select(Turn).with_for_update())).one()
        task = racing.create_task(talk.run(conversation_id, talk.new_service("second")))
        await asyncio.wait({task}, timeout=0.2)
        turn.claimed_by, turn.claimed_until = "third", talk.shop.clock.now() + CLAIM
    assert len(talk.agent.runs) == 1


async def test_conversations_run_side_by_side(talk: Talk) -> None:
    one, two = await talk.shop.hear("hola", ANA), await talk.shop.hear("hola", BETO)
    both = asyncio.Barrier(2)
    talk.agent.during = [both.wait, both.wait]
    await asyncio.wait_for(asyncio.gather(talk.run(one), talk.run(two)), 10)
    assert talk.agent.most_active == 2


async def test_merchants_are_walls(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hola")
    other = await make_shop(talk.shop.database, "other", "+15550200")
    await talk.turns.run(conversation_id, other.merchant_id)
    assert talk.agent.runs == []
    async with talk.shop.database.read() as session:
        assert list(await session.scalars(select(Delivery))) == []
