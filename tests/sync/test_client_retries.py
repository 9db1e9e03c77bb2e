"""What the client of the conversation API repeats, and what it must not."""

import asyncio
import time

import pytest

from recado.errors import SyncUnavailable
from recado.sync.circuit import Circuit
from tests.builders import SetClock
from tests.fakes.conversation_api import ConversationApiFake
from tests.support import free_port
from tests.sync.calls import ANA, KEY, Api, Do, attempts, client, failure, look_up, order, post, sync
from tests.sync.raw_server import CUT, DONE, answer, raw_server

NEWS = answer('{"type": "1", "message": "ok", "data": {"sessionId": "s1", "context": {}}}')


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("do", [sync, look_up, lambda service: service.end_conversation("s1")])
@pytest.mark.parametrize(
    "reply",
    [
        CUT,
        answer("", status="429 Too Many Requests"),
        answer("", status="502 Bad Gateway"),
        answer("", status="503 Service Unavailable"),
        answer("", status="504 Gateway Timeout"),
        answer('{"type": "3", "message": "no database"}', status="500 Internal Server Error"),
    ],
)
async def test_passing_failures_are_repeated(do: Do, reply: bytes) -> None:
    async with raw_server(reply, reply, DONE) as raw, client(raw.url, retries=2) as service:
        await do(service)
    assert len(raw.requests) == 3


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "reply",
    [
        answer("", status="401 Unauthorized"),
        answer("", status="302 Found"),
        answer("", status="404 Not Found"),
        answer("x", status="400 Bad Request"),
        answer('{"type": "3", "message": "validation failed"}', status="500 Internal Server Error"),
        answer("", status="429 Too Many Requests", more="Retry-After: 60\r\n"),
    ],
)
async def test_lasting_failures_are_not(reply: bytes) -> None:
    async with raw_server(reply, DONE) as raw, client(raw.url, retries=2) as service:
        await failure(sync(service))
    assert len(raw.requests) == 1


async def test_a_wait_that_the_api_asks_for_is_kept() -> None:
    reply = answer("", status="429 Too Many Requests", more="Retry-After: 1\r\n")
    began = time.monotonic()
    async with raw_server(reply, DONE) as raw, client(raw.url, retries=1) as service:
        await sync(service)
    assert 1.0 <= time.monotonic() - began < 3


@pytest.mark.usefixtures("at_once")
async def test_a_connection_that_comes_back(api: ConversationApiFake) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    api.fail(cut="before", times=1, operations=["sync"])
    api.fail(status=503, times=1, operations=["sync"])
    async with Api(api.url, KEY, prefix=api.prefix, timeout=5, retries=2) as service:
        told = await service.sync_conversation_from_agent(session_id, "menu")
    assert told.current_intent == "menu"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("there", [True, False])
async def test_a_message_is_looked_for_before_it_is_sent_again(there: bool) -> None:
    messages = '[{"role": "user", "content": "hola"}]' if there else '[{"role": "bot", "content": "hola"}]'
    read = answer(f'{{"type": "1", "data": {{"context": {{"previousMessages": {messages}}}}}}}')
    async with raw_server(CUT, read, NEWS) as raw, client(raw.url, retries=2) as service:
        await post(service)
    methods = [line.split()[0] for _, line in raw.requests]
    assert methods == (["POST", "GET"] if there else ["POST", "GET", "POST"])


@pytest.mark.usefixtures("at_once")
async def test_a_message_that_cannot_be_looked_for_is_not_sent_again() -> None:
    nowhere = answer("", status="404 Not Found")
    async with raw_server(CUT, nowhere, nowhere, DONE) as raw, client(raw.url, retries=1) as service:
        error = await failure(post(service))
    assert error.reason == "cut"
    assert len(raw.requests) == 3


@pytest.mark.usefixtures("at_once")
async def test_a_message_is_told_once_although_its_answer_was_lost(api: ConversationApiFake) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    api.fail(cut="after", times=1, operations=["message"])
    async with Api(api.url, KEY, prefix=api.prefix, timeout=5, retries=2) as service:
        await service.add_message_from_agent(session_id, "user", "hola")
    assert api.posted(session_id) == [("user", "hola")]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("reply", [CUT, answer("", status="503 No"), answer("", status="429 No"), answer("<p>")])
@pytest.mark.parametrize("do", [order, lambda service: service.create_conversation(ANA, "bodega-sol")])
async def test_what_would_be_made_twice_is_not_repeated(do: Do, reply: bytes) -> None:
    async with raw_server(reply, DONE) as raw, client(raw.url, retries=2) as service:
        await failure(do(service))
    assert len(raw.requests) == 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("do", "operation"), [(order, "create_order"), (post, "add_message"), (sync, "sync")])
async def test_what_never_left_is_sent_again(do: Do, operation: str) -> None:
    before = attempts(operation)
    async with client(f"http://127.0.0.1:{free_port()}", retries=2) as service:
        await failure(do(service))
    assert attempts(operation) - before == 3


async def test_a_request_that_was_torn_did_not_arrive() -> None:
    items = [{"productId": str(number), "note": "x" * 1000} for number in range(20_000)]
    async with raw_server(read_limit=5000) as raw, client(raw.url) as service:
        error = await failure(service.create_order("s1", {"items": items}))
    assert isinstance(error, SyncUnavailable)
    assert (error.reason, error.ambiguous) == ("cut", False)


# Connections that the server has let go of


@pytest.mark.parametrize("do", [sync, look_up, lambda service: service.end_conversation("s1")])
async def test_a_stale_connection_is_replaced_and_not_reported(do: Do) -> None:
    circuit = Circuit(SetClock())
    async with raw_server(DONE, CUT, DONE) as raw, client(raw.url, circuit=circuit) as service:
        await do(service)
        await do(service)
    assert [connection for connection, _ in raw.requests] == [1, 1, 2]


@pytest.mark.parametrize("do", [post, order])
async def test_what_must_not_be_done_twice_is_not_repeated_on_it(do: Do) -> None:
    async with raw_server(DONE, CUT, DONE) as raw, client(raw.url) as service:
        await do(service)
        error = await failure(do(service))
    assert isinstance(error, SyncUnavailable)
    assert (error.reason, error.ambiguous) == ("cut", True)
    assert len(raw.requests) == 2


async def test_a_server_that_cuts_every_connection_is_reported() -> None:
    async with raw_server(DONE, CUT, CUT, CUT, CUT) as raw, client(raw.url) as service:
        await sync(service)
        assert (await failure(sync(service))).reason == "cut"
    assert len(raw.requests) == 3


@pytest.mark.parametrize("do", [sync, post, look_up])
async def test_connections_that_idled_too_long(do: Do) -> None:
    with ConversationApiFake("guide", keep_alive=0.1) as fake:
        fake.seed(ANA, "bodega-sol", session_id="s1")
        async with client(fake.url) as service:
            for _ in range(2):
                await do(service)
                await asyncio.sleep(0.25)  # the server cuts meanwhile


async def test_a_server_that_starts_anew() -> None:
    with ConversationApiFake("guide") as fake:
        fake.seed(ANA, "bodega-sol", session_id="s1")
        async with client(fake.url) as service:
            await asyncio.gather(*(look_up(service) for _ in range(12)))
            fake.stop()
            assert (await failure(sync(service))).reason in {"refused", "cut"}
            fake.start()
            await asyncio.gather(*(look_up(service) for _ in range(12)))
            await post(service)


async def test_a_cancelled_call_leaves_the_client_usable(api: ConversationApiFake) -> None:
    api.seed(ANA, "bodega-sol")
    api.fail(hang=True)
    async with Api(api.url, KEY, prefix=api.prefix, timeout=10, retries=0) as service:
        calls = (asyncio.wait_for(look_up(service), 0.3) for _ in range(10))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, TimeoutError) for result in results)
        api.clear_faults()  # also for a call that comes late, on a busy machine
        found = await asyncio.gather(*(look_up(service) for _ in range(20)))
        assert all(found)
