"""Calls that are given up leave no connection behind that nobody can use."""

import asyncio
import random

from recado.errors import SyncUnavailable
from recado.sync.client import ConversationStateService
from tests.fakes.conversation_api import ConversationApiFake

PEOPLE, ROUNDS = 30, 25


async def test_after_hundreds_of_calls_that_were_given_up_at_any_moment_it_still_gets_through() -> None:
    at = random.Random(7)
    with ConversationApiFake("guide") as api:
        sessions = [api.seed(f"+519111111{number:02}", "shop") for number in range(PEOPLE)]
        async with ConversationStateService(api.url, "key", prefix=api.prefix, timeout=5, retries=0) as service:
            api.fail(latency=0.01)
            given_up = 0
            for _ in range(ROUNDS):

                async def call(session_id: str) -> bool:
                    try:
                        async with asyncio.timeout(at.uniform(0.005, 0.1)):
                            await service.add_message_from_agent(session_id, "user", "Hola")
                    except TimeoutError:
                        return True
                    return False

                given_up += sum(await asyncio.gather(*map(call, sessions)))
            assert given_up > 100
            api.clear_faults()
            for session_id in sessions:
                await service.add_message_from_agent(session_id, "user", "¿Sigue ahí?")
            # What was given up may still be on its way: it comes when it comes.
            assert all(("user", "¿Sigue ahí?") in api.posted(session_id) for session_id in sessions)


async def test_so_do_calls_that_time_out() -> None:
    with ConversationApiFake("guide") as api:
        session_id = api.seed("+51911111111", "shop")
        async with ConversationStateService(api.url, "key", prefix=api.prefix, timeout=0.03, retries=0) as service:
            api.fail(hang=True)
            for _ in range(10):
                calls = (service.add_message_from_agent(session_id, "user", "Hola") for _ in range(10))
                answers = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(answer, SyncUnavailable) and answer.reason == "timeout" for answer in answers)
            api.clear_faults()
            async with asyncio.timeout(10):
                while True:
                    try:
                        await service.add_message_from_agent(session_id, "bot", "Sí")
                        break
                    except SyncUnavailable:
                        continue
            assert api.posted(session_id)[-1] == ("bot", "Sí")
