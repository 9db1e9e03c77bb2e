"""The Twilio fake, called by Twilio's own client and posting to a real server of ours."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from tests.fakes.server import Fake, pairs, running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN

SHOP, ANA = "whatsapp:+14155238886", "whatsapp:+51900000001"


class Product(Fake):
    """Where callbacks go: records the forms, and whether their signature is right for the URL called."""

    def routes(self) -> list[Route]:
        return [Route("/status", self._status, methods=["POST"])]

    async def _status(self, request: Request) -> Response:
        form = pairs((await request.body()).decode())
        signature = request.headers.get("x-twilio-signature", "")
        valid = RequestValidator(AUTH_TOKEN).validate(str(request.url), form, signature)
        self.record(request, "status", form, "valid" if valid else "invalid")
        return Response(status_code=204)

    def not_found(self, request: Request) -> Response:
        return Response(status_code=404)


@pytest.fixture(scope="module")
def server() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: TwilioFake) -> TwilioFake:
    server.reset()
    return server


@pytest.fixture
def product() -> Iterator[Product]:
    with running(Product()) as running_product:
        yield running_product


@pytest.fixture
async def client(fake: TwilioFake) -> AsyncIterator[Client]:
    async with AsyncTwilioHttpClient() as http:
        yield client_for(fake, http)


def client_for(fake: TwilioFake, http: AsyncTwilioHttpClient, token: str = AUTH_TOKEN) -> Client:
    client = Client(ACCOUNT_SID, token, http_client=http)
    client.api.base_url = client.messaging.base_url = fake.url
    return client


async def send(client: Client, body: str = "hola", **fields: Any) -> Any:
    return await client.messages.create_async(**{"to": ANA, "from_": SHOP, "body": body, **fields})


def statuses(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["body"]["MessageStatus"] for entry in entries]


async def test_a_send_is_answered_with_the_whole_resource(fake: TwilioFake, client: Client) -> None:
    sent = await send(client, "hola ñ 👍", status_callback="http://127.0.0.1:9/status")

    assert re.fullmatch(r"SM[0-9a-f]{32}", sent.sid)
    assert (sent.status, sent.direction, sent.error_code) == ("queued", "outbound-api", None)
    assert sent.date_created.tzinfo is UTC
    assert fake.sends()[0]["body"] == {
        "To": ANA,
        "From": SHOP,
        "Body": "hola ñ 👍",
        "StatusCallback": "http://127.0.0.1:9/status",
    }
    assert (await client.messages(sent.sid).fetch_async()).body == "hola ñ 👍"


async def test_templates_and_media(fake: TwilioFake, client: Client) -> None:
    fake.apply_script({"contents": {"HX1": "Hola {{1}}"}})
    filled = await client.messages.create_async(to=ANA, from_=SHOP, content_sid="HX1", content_variables='{"1": "Ana"}')
    pictures = await send(client, media_url=["https://example.com/a.png", "https://example.com/b.png"])
    assert filled.body == "Hola Ana"
    assert (pictures.sid[:2], pictures.num_media) == ("MM", "2")


async def test_a_crashed_product_can_ask_what_was_sent(fake: TwilioFake, client: Client) -> None:
    for number in range(5):
        await send(client, f"n{number}")
    await send(client, "to another", to="whatsapp:+51900000002")
    since = datetime.now(UTC) - timedelta(minutes=5)

    found = await client.messages.list_async(to=ANA, from_=SHOP, date_sent_after=since, page_size=2)
    assert [message.body for message in found] == ["n4", "n3", "n2", "n1", "n0"]
    assert len(fake.requests.entries("list")) == 3
    assert await client.messages.list_async(to=ANA, date_sent_after=since + timedelta(hours=1)) == []
    assert len(await client.messages.list_async(to=ANA, date_sent=datetime.now(UTC).date())) == 5


async def test_typing_and_unknown_messages(fake: TwilioFake, client: Client) -> None:
    shown = await client.messaging.v2.typing_indicator.create_async(channel="whatsapp", message_id="SM" + "0" * 32)
    assert shown.success is True
    assert fake.requests.entries("typing")[0]["body"]["channel"] == "whatsapp"
    with pytest.raises(TwilioRestException) as unknown:
        await client.messages("SM" + "0" * 32).fetch_async()
    assert (unknown.value.status, unknown.value.code) == (404, 20404)


async def test_wrong_credentials(fake: TwilioFake) -> None:
    async with AsyncTwilioHttpClient() as http:
        with pytest.raises(TwilioRestException) as refused:
            await send(client_for(fake, http, token="wrong"))
    assert (refused.value.status, refused.value.code) == (401, 20003)
    assert fake.sends()[0]["outcome"] == "error 20003"
    assert fake.messages == {}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"body": ""}, 21602),
        ({"body": "x" * 1601}, 21617),
        ({"to": "whatsapp:nobody"}, 21211),
        ({"to": "+51900000001"}, 21910),
        ({"content_sid": "HX1", "content_variables": "{"}, 21656),
    ],
)
async def test_sends_that_twilio_never_takes(client: Client, fields: dict[str, str], code: int) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await send(client, **fields)
    assert (refused.value.status, refused.value.code) == (400, code)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"code": 63016}, 400, 63016),
        ({"code": 21610}, 400, 21610),
        ({"code": 20429, "retry_after": 1}, 429, 20429),
        ({"code": 63018}, 429, 63018),
        ({"status": 500}, 500, 20500),
        ({"status": 503}, 503, 20503),
        ({"status": 503, "html": True}, 503, 503),
    ],
)
async def test_scripted_refusals(
    fake: TwilioFake, client: Client, fault: dict[str, Any], status: int, code: int
) -> None:
    fake.apply_script({"faults": [{"when": {"to": ANA}, "fault": fault, "times": 1}]})
    with pytest.raises(TwilioRestException) as refused:
        await send(client)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert fake.messages == {}
    assert (await send(client)).status == "queued"


async def test_a_list_that_fails_raises_the_bare_exception(fake: TwilioFake, client: Client) -> None:
    fake.apply_script({"faults": [{"when": {"op": "list"}, "fault": {"status": 500}}]})
    with pytest.raises(TwilioException) as failed:
        await client.messages.list_async(to=ANA)
    assert not isinstance(failed.value, TwilioRestException)


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
async def test_cut_and_hung_sends_are_ambiguous(fake: TwilioFake, client: Client, when: str, accepted: int) -> None:
    fake.apply_script({"faults": [{"fault": {"cut": when}}]})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send(client)
    assert len(fake.messages) == accepted

    fake.apply_script({"faults": [{"fault": {"hang": when}}]})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(send(client), 0.2)
    assert len(fake.messages) == 2 * accepted
    assert len(fake.sends()) == 2


@pytest.mark.parametrize(("after", "accepted"), [(False, 0), (True, 1)])
async def test_a_held_send_goes_on_when_released(fake: TwilioFake, client: Client, after: bool, accepted: int) -> None:
    fake.apply_script({"faults": [{"fault": {"hold": "door", "after": after}}]})
    sending = asyncio.create_task(send(client))
    await fake.requests.until(1, "send")
    assert len(fake.messages) == accepted
    fake.gates.release("door")
    assert (await sending).status == "queued"
    assert len(fake.messages) == 1


async def test_callbacks_are_signed_and_in_order(fake: TwilioFake, client: Client, product: Product) -> None:
    fake.apply_script({"statuses": [{"sequence": ["sent", "delivered", "read"]}]})
    sent = await send(client, status_callback=f"{product.url}/status?account=1#rc=2&rp=all")

    got = await product.requests.until(3, "status")
    assert [entry["outcome"] for entry in got] == ["valid"] * 3
    assert statuses(got) == ["sent", "delivered", "read"]
    assert got[1]["body"] | {"MessageSid": sent.sid, "EventType": "DELIVERED", "To": ANA} == got[1]["body"]
    await fake.callbacks.until(3)
    assert (await client.messages(sent.sid).fetch_async()).status == "read"
    assert [entry["answer"] for entry in fake.callbacks.entries()] == [204, 204, 204]


async def test_callbacks_out_of_order_doubled_and_failed(fake: TwilioFake, client: Client, product: Product) -> None:
    callback = f"{product.url}/status"
    late = {"status": "undelivered", "error_code": 63016}
    fake.apply_script(
        {
            "statuses": [
                {"when": {"contains": "late"}, "sequence": [late]},
                {"sequence": ["sent", "delivered"], "reverse": True, "copies": 2, "early": True},
            ]
        }
    )
    sent = await send(client, status_callback=callback)
    # early: the callbacks came before the answer to the send did
    assert statuses(product.requests.entries()) == ["delivered", "delivered", "sent", "sent"]
    assert (await client.messages(sent.sid).fetch_async()).status == "delivered"

    failed = await send(client, "late", status_callback=callback)
    got = (await product.requests.until(5))[4]["body"]
    assert (got["MessageStatus"], got["ErrorCode"], got["MessageSid"]) == ("undelivered", "63016", failed.sid)


async def test_a_status_can_be_posted_by_hand(fake: TwilioFake, client: Client, product: Product) -> None:
    fake.apply_script({"statuses": [{"sequence": []}]})
    sent = await send(client, status_callback=f"{product.url}/status")
    assert await fake.post_status(sent.sid, "sent") == 204
    assert statuses(product.requests.entries()) == ["sent"]
