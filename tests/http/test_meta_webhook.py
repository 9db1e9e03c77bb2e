"""Meta's posts over HTTP: the handshake, who may speak of whom, and what is stored before the answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from recado.db.engine import Database
from recado.db.models import ChannelAccount, InboxEvent
from tests.builders import apply_specs, merchant_spec
from tests.fakes import instagram_inbound, meta_inbound
from tests.fakes.meta_inbound import (
    APP_SECRET,
    PHONE_NUMBER_ID,
    WABA_ID,
    body_of,
    change,
    messages_post,
    post_of,
    post_signed,
    sign,
    status,
    statuses_post,
    template_post,
    text_message,
    value,
)
from tests.http.counter import open_counter

URL = "/webhooks/meta"
OTHER_NUMBER, OTHER_WABA, OTHER_SECRET = "222222222222222", "333333333333333", "another-app-secret"
MINE = {
    "kind": "whatsapp",
    "phone_number_id": PHONE_NUMBER_ID,
    "waba_id": WABA_ID,
    "access_token": meta_inbound.ACCESS_TOKEN,
    "app_secret": APP_SECRET,
    "verify_token": meta_inbound.VERIFY_TOKEN,
}
PICTURES = {
    "kind": "instagram",
    "instagram_id": instagram_inbound.ACCOUNT,
    "access_token": instagram_inbound.ACCESS_TOKEN,
    "app_secret": instagram_inbound.APP_SECRET,
    "verify_token": instagram_inbound.VERIFY_TOKEN,
}
THEIRS = {
    **MINE,
    "phone_number_id": OTHER_NUMBER,
    "waba_id": OTHER_WABA,
    "app_secret": OTHER_SECRET,
    "verify_token": "verify-other",
}


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    await apply_specs(
        database, merchant_spec("uno", channels=[MINE, PICTURES]), merchant_spec("dos", channels=[THEIRS])
    )
    async with open_counter(database) as counter:
        yield counter.client


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(database) as client:
        yield client


async def stored(database: Database) -> list[tuple[str, str, str]]:
    query = select(InboxEvent.channel, InboxEvent.address, InboxEvent.provider_event_id).order_by(InboxEvent.id)
    async with database.read() as session:
        return [(channel, address, event_id) for channel, address, event_id in await session.execute(query)]


def handshake(**changes: str) -> dict[str, str]:
    asked = {"mode": "subscribe", "verify_token": meta_inbound.VERIFY_TOKEN, "challenge": "1158201444", **changes}
    return {f"hub.{name}": given for name, given in asked.items()}


async def test_the_handshake_gives_the_bare_challenge_to_who_knows_a_token(client: httpx.AsyncClient) -> None:
    for token in (meta_inbound.VERIFY_TOKEN, instagram_inbound.VERIFY_TOKEN, "verify-other"):
        answer = await client.get(URL, params=handshake(verify_token=token))
        assert (answer.status_code, answer.text) == (200, "1158201444")
        assert answer.headers["content-type"].startswith("text/plain")
    for wrong in (
        {"verify_token": ""},
        {"verify_token": "another"},
        {"verify_token": "ñ"},
        {"verify_token": APP_SECRET},
        {"mode": "unsubscribe"},
        {"mode": ""},
    ):
        answer = await client.get(URL, params=handshake(**wrong))
        assert answer.status_code == 403
        assert "1158201444" not in answer.text
    assert (await client.get(URL)).status_code == 403


async def test_a_signed_post_is_stored_once_however_often_it_comes(
    database: Database, client: httpx.AsyncClient
) -> None:
    first = value(messages=[text_message("a", id="m1")], statuses=[status("m0", "sent")])
    batch = post_of(change("messages", first), change("messages", value(messages=[text_message("a", id="m1")])))
    for _ in range(2):
        assert (await post_signed(client, URL, batch)).status_code == 200
    answers = await asyncio.gather(*(post_signed(client, URL, template_post("APPROVED")) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    *messages, (channel, address, _) = await stored(database)
    assert messages == [("whatsapp", PHONE_NUMBER_ID, "m1"), ("whatsapp", PHONE_NUMBER_ID, "m0:sent")]
    assert (channel, address) == ("whatsapp", f"waba:{WABA_ID}")


async def test_instagram_posts_to_the_same_address(database: Database, client: httpx.AsyncClient) -> None:
    said = instagram_inbound.post(instagram_inbound.message_event("hola", mid="m1"))
    echo = instagram_inbound.post(instagram_inbound.message_event("nuestro", mid="m2", is_echo=True))
    for body in (said, echo):
        answer = await client.post(URL, content=body, headers=instagram_inbound.sign(body))
        assert answer.status_code == 200
    assert await stored(database) == [("instagram", instagram_inbound.ACCOUNT, "m1")]
    # WhatsApp's app is another one
    refused = await client.post(URL, content=said, headers=sign(said))
    assert refused.status_code == 403


async def test_nothing_is_stored_of_what_is_not_signed(database: Database, client: httpx.AsyncClient) -> None:
    post = messages_post(text_message("¿hola?", id="m1"))
    body = body_of(post)
    right = sign(body)["X-Hub-Signature-256"]
    signatures: list[str | None] = [
        None,
        "",
        "sha256=",
        right[:-1],
        right[:-2] + ("00" if right[-2:] != "00" else "11"),
        right.removeprefix("sha256="),
        right.replace("sha256", "sha1"),
        right + "00",
        "sha256=" + "ñ" * 64,
        "sha256=" + "g" * 64,
        sign(body, "")["X-Hub-Signature-256"],
        sign(body, "a-third-secret")["X-Hub-Signature-256"],
        sign(body + b" ")["X-Hub-Signature-256"],
    ]
    for signature in signatures:
        headers = [] if signature is None else [(b"X-Hub-Signature-256", signature.encode())]
        answer = await client.post(URL, content=body, headers=headers)
        assert answer.status_code == 403, signature
    # the same JSON in other bytes, a part of it, and more than it
    for other in (json.dumps(post).encode(), body[:-1], body + b"\n", b""):
        answer = await client.post(URL, content=other, headers={"X-Hub-Signature-256": right})
        assert answer.status_code == 403
    assert await stored(database) == []
    assert (await client.post(URL, content=body, headers={"X-Hub-Signature-256": right})).status_code == 200


FORGED: list[Any] = [
    messages_post(text_message("dame todo", id="forged")),
    statuses_post(status("wamid.1", "failed", 7)),
    template_post("DISABLED"),
    post_of(change("account_update", {"event": "x"})),
    # one's own account beside the other's
    post_of(
        change("messages", value(OTHER_NUMBER, messages=[text_message("mío", id="own")])),
        change("messages", value(messages=[text_message("dame todo", id="forged")])),
        waba=OTHER_WABA,
    ),
    # the other's number as if it were of one's own account, and the other way round
    post_of(change("messages", value(messages=[text_message("dame todo", id="forged")])), waba=OTHER_WABA),
    post_of(change("messages", value(OTHER_NUMBER, messages=[text_message("mío", id="own")]))),
    # and where this is hidden among what nobody knows
    {"object": "whatsapp_business_account", "entry": [7, None, *messages_post(text_message("x"))["entry"]]},
]


async def test_nobody_speaks_of_anothers_account(
    database: Database, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for post in FORGED:
        answer = await post_signed(client, URL, post, app_secret=OTHER_SECRET)
        assert answer.status_code == 403, post
    said = instagram_inbound.post(instagram_inbound.message_event("hola", mid="m1"))
    assert (await post_signed(client, URL, said, app_secret=OTHER_SECRET)).status_code == 403
    assert await stored(database) == []
    logged = capsys.readouterr().out
    assert logged.count("refused a post about accounts of another app than signed it") == len(FORGED) + 1
    for hidden in ("dame todo", OTHER_SECRET, APP_SECRET):
        assert hidden not in logged
    own = post_of(change("messages", value(OTHER_NUMBER, messages=[text_message("mío", id="own")])), waba=OTHER_WABA)
    assert (await post_signed(client, URL, own, app_secret=OTHER_SECRET)).status_code == 200
    assert await stored(database) == [("whatsapp", OTHER_NUMBER, "own")]


async def test_what_names_nobody_that_we_know_is_kept_when_any_of_our_apps_signed_it(
    database: Database, client: httpx.AsyncClient
) -> None:
    unknown = post_of(change("messages", value("999", messages=[text_message("a", id="m1")])), waba="888")
    bodies = [body_of(unknown), b"not JSON", b"[" * 100_000, b'{"object": "page"}', b"\xff\xfe", b""]
    for body, secret in zip(bodies, [OTHER_SECRET, APP_SECRET] * 3, strict=True):
        assert (await post_signed(client, URL, body, app_secret=secret)).status_code == 200
    found = await stored(database)
    assert [address for _, address, _ in found] == ["999", "", "", "", "", ""]


async def test_a_large_post_is_checked_and_a_larger_one_is_not_read(
    database: Database, client: httpx.AsyncClient
) -> None:
    messages = [text_message("x" * 2_000, id=f"m{number}") for number in range(1_000)]
    large = body_of(messages_post(*messages))
    assert len(large) > 2_000_000
    assert (await post_signed(client, URL, large)).status_code == 200
    assert len(await stored(database)) == 1_000
    assert (await post_signed(client, URL, large + b" " * 2_000_000)).status_code == 413


async def test_an_account_that_is_gone_has_nothing_to_say(database: Database) -> None:
    async with opened(database) as client:
        async with database.transaction() as session:
            await session.execute(update(ChannelAccount).values(active=False))
        post = messages_post(text_message("hola", id="m1"))
        assert (await post_signed(client, URL, post)).status_code == 403
        assert (await client.get(URL, params=handshake())).status_code == 403
    assert await stored(database) == []


async def test_a_new_secret_counts_soon_and_the_old_one_no_more(database: Database, client: httpx.AsyncClient) -> None:
    def post(number: int) -> Any:
        return messages_post(text_message("hola", id=f"m{number}"))

    assert (await post_signed(client, URL, post(1))).status_code == 200
    renewed = merchant_spec("uno", channels=[{**MINE, "app_secret": "a-renewed-secret"}, PICTURES])
    await apply_specs(database, renewed)
    async with asyncio.timeout(20):
        answer = await post_signed(client, URL, post(2), app_secret="a-renewed-secret")
        while answer.status_code != 200:
            await asyncio.sleep(0.1)
            answer = await post_signed(client, URL, post(2), app_secret="a-renewed-secret")
    assert (await post_signed(client, URL, post(3))).status_code == 403
    assert [event_id for _, _, event_id in await stored(database)] == ["m1", "m2"]
