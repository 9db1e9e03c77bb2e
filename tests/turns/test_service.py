"""A turn: a burst answered once, a failure made good or apologised for, nobody left in silence."""

import asyncio
from typing import Any

import pytest

from recado.agent.protocol import AgentReply
from recado.db.models import Conversation
from recado.errors import ModelError, Retryable
from recado.turns.apology import APOLOGY, apology
from recado.turns.service import MAX_DRAFTS, MAX_FAILURES
from tests.builders import Line
from tests.turns.talk import Talk, writes


async def test_a_burst_is_answered_once(talk: Talk) -> None:
    for text in ("hola", "una pregunta", "¿hacen envíos?"):
        conversation_id = await talk.shop.hear(text)
    await talk.run(conversation_id)
    await talk.run(conversation_id)
    (turn,) = await talk.rows()
    assert await talk.said(conversation_id) == ["answer 1"]
    assert (turn.state, turn.claimed_by, turn.draft) == ("done", None, 1)
    assert turn.finished_at is not None
    assert await talk.answered_by(conversation_id) == [turn.id] * 3
    given = {"turn_id": turn.id, "conversation_id": conversation_id, "merchant_id": talk.shop.merchant_id}
    assert talk.agent.runs == [(conversation_id, f"turn:{turn.id}:1", given)]
    (message,) = await talk.shop.messages(conversation_id, "response")
    assert (message.prompt, message.turn_id) == ("customer@0123456789ab", turn.id)
    assert await talk.nudges.queue.job(talk.nudges.queue.job_id(f"deliver:{conversation_id}")) is not None
    assert await talk.work() == []


async def test_the_newest_message_is_acknowledged_once(talk: Talk) -> None:
    await talk.shop.hear("hola")
    conversation_id = await talk.shop.hear("¿están?")
    await talk.run(conversation_id)
    assert talk.line.acknowledged == [f"wamid.{talk.shop.merchant_id}.2"]


async def test_an_acknowledgement_that_fails_does_not_stop_the_answer(talk: Talk) -> None:
    class Deaf(Line):
        async def acknowledge(self, account: Any, message: Any) -> None:
            raise Retryable("typing is down")

    talk.line = Deaf()
    conversation_id = await talk.shop.hear("hola")
    await talk.run(conversation_id, talk.new_service("other"))
    assert await talk.said(conversation_id) == ["answer 1"]


async def test_a_burst_waits_for_quiet(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("uno")
    running = asyncio.create_task(talk.run(conversation_id, talk.new_service("patient", quiet=0.15)))
    await asyncio.wait({running}, timeout=0.05)
    assert talk.agent.runs == []
    await talk.shop.hear("dos")
    talk.shop.clock.forward(seconds=1)
    await running
    assert await talk.said(conversation_id) == ["answer 1"]
    assert len(set(await talk.answered_by(conversation_id))) == 1


async def test_a_draft_is_dropped_when_a_message_comes_meanwhile(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("uno")
    talk.agent.during = [writes(talk, "dos")]
    await talk.run(conversation_id)
    (turn,) = await talk.rows()
    assert talk.agent.run_keys == [f"turn:{turn.id}:1", f"turn:{turn.id}:2"]
    assert await talk.said(conversation_id) == ["answer 2"]
    assert await talk.answered_by(conversation_id) == [turn.id] * 2


async def test_a_draft_in_which_a_tool_acted_stands_and_the_newer_message_gets_its_own_turn(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("uno")
    talk.agent.acted = True
    talk.agent.during = [writes(talk, "dos")]
    await talk.run(conversation_id)
    first, second = await talk.rows()
    assert await talk.said(conversation_id) == ["answer 1", "answer 2"]
    assert await talk.answered_by(conversation_id) == [first.id, second.id]


async def test_drafts_are_dropped_only_so_often(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("0")
    talk.agent.during = [writes(talk, str(number)) for number in range(1, MAX_DRAFTS + 1)]
    await talk.run(conversation_id)
    turns = await talk.rows()
    assert [turn.draft for turn in turns] == [MAX_DRAFTS, 1]
    assert await talk.said(conversation_id) == [f"answer {MAX_DRAFTS}", f"answer {MAX_DRAFTS + 1}"]
    assert await talk.answered_by(conversation_id) == [turns[0].id] * MAX_DRAFTS + [turns[1].id]


async def test_what_the_agent_learned_is_kept(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hello")
    talk.agent.result = {"language": "en", "summary": "They said hello.", "summarised_through": 1}
    await talk.run(conversation_id)
    await talk.shop.hear("again")
    talk.agent.result = {}
    await talk.run(conversation_id)
    async with talk.shop.database.read() as session:
        row = await session.get_one(Conversation, conversation_id)
    assert (row.language, row.summary, row.summarised_through) == ("en", "They said hello.", 1)


async def test_several_replies_and_none(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hola")
    talk.agent.result = {"replies": [AgentReply("a", None, {"asked_which": True}), AgentReply("b", None)]}
    await talk.run(conversation_id)
    talk.agent.result = {"replies": []}
    await talk.shop.hear("👍", kind="reaction")
    await talk.run(conversation_id)
    messages = await talk.shop.messages(conversation_id, "response")
    assert [(m.text, m.other_data) for m in messages] == [("a", {"asked_which": True}), ("b", {})]
    assert [turn.state for turn in await talk.rows()] == ["done", "done"]


async def test_a_failing_agent_is_tried_again_and_then_answers(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hola")
    talk.agent.failures = [ModelError("down"), ModelError("down")]
    waits = []
    for _ in range(2):
        await talk.run(conversation_id)
        (turn,) = await talk.rows()
        assert (turn.state, turn.claimed_by, turn.error) == ("running", None, "ModelError: down")
        await talk.run(conversation_id)
        await talk.run(conversation_id, talk.new_service("second"))
        await talk.run(conversation_id, talk.new_service("alone", alone=True))
        waits.append((turn.claimed_until - talk.shop.clock.now()).total_seconds())
        assert await talk.work() == [(conversation_id, talk.shop.merchant_id)]
        talk.shop.clock.time = turn.claimed_until
    assert len(talk.agent.runs) == 2, "tried before it was due"
    assert waits == [2.0, 4.0]
    await talk.run(conversation_id, talk.new_service("second"))
    assert await talk.said(conversation_id) == ["answer 3"]
    assert set(talk.agent.run_keys) == {f"turn:{turn.id}:1"}, "the same draft goes on from its checkpoint"
    assert talk.alerts.sent == []


@pytest.mark.parametrize("error", [ModelError("down"), KeyError("a bug of ours"), TimeoutError()])
async def test_a_turn_that_fails_for_good_is_apologised_for_once(talk: Talk, error: Exception) -> None:
    conversation_id = await talk.shop.hear("hola")
    talk.agent.failures = [error] * MAX_FAILURES
    for _ in range(MAX_FAILURES + 2):
        await talk.run(conversation_id)
        talk.shop.clock.forward(minutes=1)
    (turn,) = await talk.rows()
    assert (turn.state, turn.failures) == ("failed", MAX_FAILURES)
    assert await talk.said(conversation_id) == [APOLOGY["es"]]
    assert len(await talk.shop.deliveries(conversation_id)) == 1
    assert talk.alerts.conditions == ["turn_failed"]
    assert await talk.work() == []

    await talk.shop.hear("¿hola?")
    await talk.run(conversation_id)
    assert await talk.said(conversation_id) == [APOLOGY["es"], f"answer {MAX_FAILURES + 1}"]


async def test_messages_that_come_while_it_fails_are_not_lost(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("uno")
    talk.agent.failures = [ModelError("down")]
    await talk.run(conversation_id)
    await talk.shop.hear("dos")
    talk.shop.clock.forward(minutes=1)
    await talk.run(conversation_id)
    assert None not in await talk.answered_by(conversation_id)
    assert await talk.work() == []


@pytest.mark.parametrize(("language", "expected"), [("fr", "fr"), ("pt", "pt"), ("de", "en"), (None, "en"), ("", "en")])
def test_the_apology_is_in_the_persons_language(language: str | None, expected: str) -> None:
    assert apology(language) == APOLOGY[expected]


async def test_what_fails_after_the_reply_is_written_does_not_take_it_back(talk: Talk) -> None:
    conversation_id = await talk.shop.hear("hola")
    talk.agent.failures = [ModelError("down")] * (MAX_FAILURES - 1)
    talk.agent.prunes = [OSError("disk full")]
    for _ in range(MAX_FAILURES + 1):
        await talk.run(conversation_id)
        talk.shop.clock.forward(minutes=1)
    (turn,) = await talk.rows()
    assert turn.state == "done"
    assert await talk.said(conversation_id) == [f"answer {MAX_FAILURES}"]
    assert talk.alerts.sent == []
