"""What the client of the conversation API raises when something fails, and what it never says."""

import asyncio
import contextlib
import logging
import time

import pytest

from recado.errors import ConversationGone, SyncError, SyncRejected, SyncUnavailable, WrongPrefix
from tests.fakes.conversation_api import ConversationApiFake
from tests.support import free_port
from tests.sync.calls import KEY, Api, Do, client, failure, look_up, order, post, sync
from tests.sync.raw_server import CUT, DONE, answer, raw_server


@pytest.mark.parametrize("do", [sync, look_up, post, order])
async def test_a_refused_connection(do: Do) -> None:
    async with client(f"http://127.0.0.1:{free_port()}") as service:
        error = await failure(do(service))
    assert isinstance(error, SyncUnavailable)
    assert (error.reason, error.ambiguous) == ("refused", False)
    assert str(error).startswith("connection refused to API at 127.0.0.1")


@pytest.mark.parametrize("do", [sync, look_up, post, order])
async def test_a_timeout(api: ConversationApiFake, do: Do) -> None:
    api.fail(hang=True)
    async with Api(api.url, KEY, prefix=api.prefix, timeout=0.2, retries=0) as service:
        began = time.monotonic()
        missing = do is order and api.behaviour == "guide"
        error = await failure(do(service))
    assert isinstance(error, SyncUnavailable)
    if not missing:
        assert (error.reason, error.ambiguous) == ("timeout", True)
        assert time.monotonic() - began < 1.5


async def test_the_timeout_is_for_the_whole_answer() -> None:
    async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.3) as service:
        assert (await failure(look_up(service))).reason == "timeout"
    server.close()


@pytest.mark.parametrize(
    ("reply", "kind", "reason", "says"),
    [
        (answer("<h1>Cannot GET /</h1>", "text/html", "404 Not Found"), WrongPrefix, "wrong_prefix", "API_PREFIX"),
        (
            answer('{"message": "Not Found"}', status="404 Not Found"),
            WrongPrefix,
            "wrong_prefix",
            "/api/v1/whatsapp/",
        ),
        (
            answer('{"error": "No token"}', status="401 Unauthorized"),
            SyncUnavailable,
            "unauthorised",
            "CARTAAI_API_KEY",
        ),
        (answer("", status="403 Forbidden"), SyncUnavailable, "unauthorised", "CARTAAI_API_KEY"),
        (
            answer("", status="302 Found", more=f"Location: https://x.example/login?key={KEY}\r\n"),
            SyncUnavailable,
            "redirect",
            "https://x.example/login",
        ),
        (
            answer("", status="301 Moved", more=f"Location: /new/%2B51999999999/{KEY}\r\n"),
            SyncUnavailable,
            "redirect",
            "CARTAAI_API_BASE_URL",
        ),
        (answer("", status="308 Permanent Redirect"), SyncUnavailable, "redirect", "nowhere"),
        (answer("<html>Welcome</html>", "text/html"), SyncUnavailable, "not_json", "text/html"),
        (answer('{"type": "1", "data": {'), SyncUnavailable, "not_json", "CARTAAI_API_BASE_URL"),
        (answer("[" * 100_000), SyncUnavailable, "not_json", ""),
        (answer('["type"]'), SyncUnavailable, "not_json", ""),
        (answer('{"ok": true}'), SyncUnavailable, "not_json", ""),
        (answer(""), SyncUnavailable, "not_json", ""),
        (answer("\x1f\x8b", more="Content-Encoding: gzip\r\n"), SyncUnavailable, "not_json", "garbled"),
        (answer("{}", status="500 Internal Server Error"), SyncUnavailable, "http_5xx", "HTTP 500"),
        (answer("<h1>Bad Gateway</h1>", "text/html", "502 Bad Gateway"), SyncUnavailable, "http_5xx", "HTTP 502"),
        (
            answer('{"type": "3", "message": "no database"}', status="500 No"),
            SyncUnavailable,
            "http_5xx",
            "no database",
        ),
        (
            answer('{"type": "3", "message": "X Validation Failed: y"}', status="500 No"),
            SyncRejected,
            "validation",
            "y",
        ),
        (answer('{"type": "3", "message": "cast to Number"}', status="500 No"), SyncRejected, "validation", "Number"),
        (answer('{"type": "3", "message": "no role"}', status="400 Bad Request"), SyncRejected, "http_400", "no role"),
        (answer('{"type": 3, "message": "no"}'), SyncUnavailable, "http_5xx", "no"),
        (answer("Unexpected token", "text/plain", "400 Bad Request"), SyncRejected, "http_400", "HTTP 400"),
        (answer("too large", "text/plain", "413 Too Large"), SyncRejected, "http_413", "HTTP 413"),
        (answer('{"type": "3", "message": "no such"}', status="404 Not Found"), ConversationGone, "gone", "no such"),
        (answer("", status="429 Too Many", more="Retry-After: 7\r\n"), SyncUnavailable, "rate_limited", "fewer"),
        (CUT, SyncUnavailable, "cut", "127.0.0.1"),
    ],
)
async def test_what_an_answer_means(reply: bytes, kind: type[SyncError], reason: str, says: str) -> None:
    async with raw_server(reply) as raw, client(raw.url) as service:
        error = await failure(sync(service))
    assert (type(error), error.reason) == (kind, reason)
    assert says in str(error)
    assert len(raw.requests) == 1


async def test_a_500_that_hides_the_key_and_the_person() -> None:
    said = (
        f'Bearer {KEY} for +51999999999: Cast to Number failed for value \\"mi secreto\\" (type string) at path \\"x\\"'
    )
    reply = answer(f'{{"type": "3", "message": "{said}"}}', status="500 No")
    async with raw_server(reply) as raw, client(raw.url) as service:
        error = await failure(sync(service))
    assert "secreto" not in str(error)
    assert 'at path "x"' in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("soon", None),
        ("9" * 400, 3600.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("-1", None),
    ],
)
async def test_how_long_to_wait_is_told(value: str, seconds: float | None) -> None:
    reply = answer("", status="429 Too Many Requests", more=f"Retry-After: {value}\r\n")
    async with raw_server(reply) as raw, client(raw.url) as service:
        error = await failure(sync(service))
    assert isinstance(error, SyncUnavailable)
    assert error.retry_after == seconds


@pytest.mark.parametrize("data", ["null", "[]", '"text"', "{}", '{"sessionId": 5, "context": [], "isActive": "x"}'])
async def test_success_with_strange_data(data: str) -> None:
    reply = answer(f'{{"type": "1", "message": "ok", "data": {data}}}')
    async with raw_server(reply, reply, reply, reply) as raw, client(raw.url) as service:
        assert (await sync(service)).context == {}
        assert (await service.get_conversation("s1")).session_id is None
        found = await look_up(service)
        assert found is None or found.session_id is None
        assert isinstance(await order(service), dict)


async def test_texts_that_no_database_takes_are_mended() -> None:
    reply = answer(r'{"type": "1", "data": {"sessionId": "s\u00001", "context": {"a": ["\ud83d\ude00", "\ud83d"]}}}')
    bytewise = answer('{"type": "1", "data": {"sessionId": "s=="}}').replace(b"s==", b"\xed\xa0\xbd")
    async with raw_server(reply, bytewise) as raw, client(raw.url) as service:
        found = await service.get_conversation("s1")
        assert (await service.get_conversation("s1")).session_id == "?"
    assert (found.session_id, found.context) == ("s1", {"a": ["😀", "?"]})


@pytest.mark.parametrize(
    "url", ["", "ssgg.service.cartaai.pe", "ftp://host", "http://", "http://host:port", "https://host/?x=1"]
)
async def test_an_address_that_is_none(url: str) -> None:
    async with client(url) as service:
        error = await failure(look_up(service))
    assert error.reason == "misconfigured"
    assert "CARTAAI_API_BASE_URL" in str(error)


@pytest.mark.parametrize("key", ["clave secreta ñ", "two\nlines"])
async def test_a_key_that_no_header_can_hold(key: str) -> None:
    async with Api("http://127.0.0.1:9", key) as service:
        error = await failure(look_up(service))
    assert "CARTAAI_API_KEY" in str(error)
    assert key not in str(error)


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object()])
async def test_what_is_no_json_is_not_sent(value: object) -> None:
    async with client("http://127.0.0.1:9") as service:
        assert (await failure(service.get_conversation("x" * 70_000))).reason == "gone"
        error = await failure(service.sync_conversation_from_agent("s1", "idle", context={"orderTotal": value}))
    assert isinstance(error, SyncRejected)


async def test_the_key_is_in_no_log_and_no_repr(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, at_once: None
) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [answer(f'{{"type": "3", "message": "{KEY}"}}', status="500 No"), CUT, answer(KEY, "text/html"), DONE]
    async with raw_server(*replies) as raw, client(raw.url, retries=2) as service:
        await failure(sync(service))
        await sync(service)
        assert "must-ever-see" not in repr(service) + str(vars(service))
    async with client(f"http://127.0.0.1:{free_port()}", retries=1) as service:
        await failure(look_up(service))
    captured = capfd.readouterr()
    assert "retry_scheduled" in captured.out + caplog.text
    assert "must-ever-see" not in captured.out + captured.err + caplog.text
