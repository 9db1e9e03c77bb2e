"""What comes with messages is made ready before each draft, and never costs the person their answer."""

from typing import Any

from recado.turns.service import TurnService, TurnSettings, nothing_to_restore
from tests.turns.talk import Talk, writes


def preparing(talk: Talk, prepare: Any) -> TurnService:
    shop, channels = talk.shop, {"simulator": talk.line}
    settings, nothing = TurnSettings("first", 0.0, False), nothing_to_restore
    parts = (shop.database, shop.clock, channels, talk.agent, talk.nudges, settings, nothing, prepare)
    return TurnService(*parts)


async def test_each_draft_is_prepared_before_it_is_written(talk: Talk) -> None:
    prepared: list[tuple[int, int, int]] = []

    async def prepare(turn_id: int, merchant_id: int) -> None:
        prepared.append((turn_id, merchant_id, len(talk.agent.runs)))

    conversation_id = await talk.shop.hear("uno")
    talk.agent.during = [writes(talk, "dos")]
    await talk.run(conversation_id, preparing(talk, prepare))
    [turn] = await talk.rows()
    assert prepared == [(turn.id, talk.shop.merchant_id, 0), (turn.id, talk.shop.merchant_id, 1)]


async def test_what_cannot_be_prepared_is_answered_all_the_same(talk: Talk) -> None:
    async def prepare(turn_id: int, merchant_id: int) -> None:
        raise NotImplementedError

    conversation_id = await talk.shop.hear("uno")
    await talk.run(conversation_id, preparing(talk, prepare))
    assert await talk.said(conversation_id) == ["answer 1"]
    assert [turn.failures for turn in await talk.rows()] == [0]
