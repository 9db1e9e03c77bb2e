"""The WhatsApp fake, called by pywa's own client and posting to a server of ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pywa_async.client import WhatsApp
from pywa_async.errors import WhatsAppError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import (
    ACCESS_TOKEN,
    ANA,
    ANA_ID,
    APP_SECRET,
    PHONE_NUMBER_ID,
    WABA_ID,
    messages_post,
    sign,
    text_message,
)
from tests.fakes.recorder import JsonObject
from tests.fakes.server import Fake, running, spawned

TEXT = {"body": "hola"}
REFUSED: list[tuple[str, JsonObject, int]] = [
    ("text", {"body": ""}, 100),
    ("text", {"body": "x" * 4_097}, 100),
    ("audio", {"link": "https://x/a.mp3", "caption": "no"}, 100),
    ("image", {}, 100),
    ("hologram", {"id": "1"}, 131009),
    ("interactive", {"type": "button", "body": {"text": "x" * 1_025}, "action": {"buttons": []}}, 131009),
    ("template", {"name": "none", "language": {"code": "es"}}, 132001),
    ("template", {"name": "t", "language": {"code": "en"}}, 132001),
    ("template", {"name": "waiting", "language": {"code": "es"}}, 132001),
    ("template", {"name": "t", "language": {"code": "es"}}, 132000),
]
TEMPLATES = [
    {"name": "t", "language": "es", "body": "Hola, {{name}}."},
    {"name": "waiting", "language": "es", "body": "Hola.", "status": "PENDING"},
]


class Product(Fake):
    """Where webhooks go: records the posts, and whether their signature is right for the bytes."""

    def routes(self) -> list[Route]:
        return [Route("/webhooks/meta", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        valid = request.headers.get("x-hub-signature-256") == sign(body)["X-Hub-Signature-256"]
        self.record(request, "post", await request.json(), "valid" if valid else "invalid")
        return Response(status_code=200)

    def not_found(self, request: Request) -> Response:
        return Response(status_code=404)


@pytest.fixture(scope="module")
def server() -> Iterator[MetaFake]:
    with running(MetaFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: MetaFake) -> MetaFake:
    server.reset()
    server.apply_script({"templates": TEMPLATES})
    return server


def client_of(url: str, token: str = ACCESS_TOKEN) -> WhatsApp:
    session = httpx.AsyncClient(trust_env=False, timeout=10)
    made = WhatsApp(phone_id=PHONE_NUMBER_ID, token=token, session=session, waba_id=WABA_ID)
    session.base_url = httpx.URL(f"{url}/v24.0")
    return made


@pytest.fixture
async def client(fake: MetaFake) -> AsyncIterator[WhatsApp]:
    made = client_of(fake.url)
    yield made
    await made.api._session.aclose()


async def send(client: WhatsApp, kind: str = "text", content: Any = TEXT, to: str | None = ANA, **more: Any) -> str:
    values = {"recipient": None, "recipient_type": "individual", **more}
    answer = await client.api.send_message(sender=PHONE_NUMBER_ID, to=to, typ=kind, msg=content, **values)
    return str(answer["messages"][0]["id"])


async def test_a_message_is_taken_as_metas_client_sends_it(fake: MetaFake, client: WhatsApp) -> None:
    sent = await client.send_message(ANA, "hola")
    assert fake.messages[sent.id].shown == "hola"
    named = {"type": "text", "parameter_name": "name", "text": "Ana"}
    content = {"name": "t", "language": {"code": "es"}, "components": [{"type": "body", "parameters": [named]}]}
    wamid = await send(client, "template", content, None, recipient=ANA_ID)
    assert (fake.messages[wamid].shown, fake.messages[wamid].to) == ("Hola, Ana.", ANA_ID)


@pytest.mark.parametrize(("kind", "content", "code"), REFUSED)
async def test_what_meta_refuses(fake: MetaFake, client: WhatsApp, kind: str, content: Any, code: int) -> None:
    with pytest.raises(WhatsAppError) as refused:
        await send(client, kind, content)
    assert refused.value.code == code
    assert fake.messages == {}


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ({"type": "text", "text": "Ana"}, 132012),
        ({"type": "text", "parameter_name": "other", "text": "Ana"}, 132012),
        ({"type": "text", "parameter_name": "name", "text": "a\nb"}, 132018),
        ({"type": "text", "parameter_name": "name", "text": " "}, 132018),
    ],
)
async def test_a_templates_values_are_checked(client: WhatsApp, parameter: JsonObject, code: int) -> None:
    content = {"name": "t", "language": {"code": "es"}, "components": [{"type": "body", "parameters": [parameter]}]}
    with pytest.raises(WhatsAppError) as refused:
        await send(client, "template", content)
    assert refused.value.code == code


async def test_a_closed_window_and_a_wrong_token(fake: MetaFake, client: WhatsApp) -> None:
    fake.apply_script({"closed": [ANA]})
    with pytest.raises(WhatsAppError) as closed:
        await send(client)
    stranger = client_of(fake.url, "another")
    with pytest.raises(WhatsAppError) as wrong:
        await send(stranger)
    await stranger.api._session.aclose()
    assert (closed.value.code, wrong.value.code) == (131047, 190)
    assert await send(client, to="51900000002")


async def test_faults_come_as_scripted(fake: MetaFake, client: WhatsApp) -> None:
    limit = {"code": 130429, "status": 429, "retry_after": 7}
    faults = [{"when": {"contains": "hola"}, "fault": limit, "times": 1}, {"fault": {"cut": "after"}, "times": 1}]
    fake.apply_script({"faults": faults})
    with pytest.raises(WhatsAppError) as limited:
        await send(client)
    assert limited.value.raw_response is not None
    assert limited.value.raw_response.headers["retry-after"] == "7"
    with pytest.raises(httpx.RemoteProtocolError):
        await send(client)
    assert len(fake.messages) == 1
    assert await send(client) in fake.messages
    wrongs: list[JsonObject] = [
        {"fault": {}},
        {"faults": [{"fault": {"colour": 1}}]},
        {"faults": [{"when": {"x": 1}, "fault": {}}]},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="unknown words"):
            fake.apply_script(wrong)


async def test_what_is_held_is_answered_once_it_is_released(fake: MetaFake, client: WhatsApp) -> None:
    fake.apply_script({"faults": [{"fault": {"hold": "later"}, "times": 1}]})
    sending = asyncio.create_task(send(client))
    await fake.requests.until(1, "send")
    assert fake.messages == {}
    fake.gates.release("later")
    assert await sending in fake.messages


async def test_statuses_are_posted_signed_and_name_the_delivery(fake: MetaFake, client: WhatsApp) -> None:
    with running(Product()) as product:
        fake.apply_script({"webhook": {"url": f"{product.url}/webhooks/meta"}})
        wamid = await send(client, biz_opaque_callback_data="recado:7")
        plan = {"sequence": ["delivered", "sent", {"status": "failed", "code": 131026}], "copies": 2, "early": True}
        fake.apply_script({"statuses": [plan]})
        await product.requests.until(2, "post")
        await send(client)
        posts = await product.requests.until(8, "post")
        assert {entry["outcome"] for entry in posts} == {"valid"}
        found = [entry["body"]["entry"][0]["changes"][0]["value"]["statuses"][0] for entry in posts]
        assert [status["status"] for status in found] == [
            *("sent", "delivered"),
            *("delivered", "delivered", "sent", "sent", "failed", "failed"),
        ]
        assert (found[0]["id"], found[0]["biz_opaque_callback_data"]) == (wamid, "recado:7")
        assert found[-1]["errors"][0]["code"] == 131026
        assert await fake.webhooks.post(messages_post(text_message("hola"))) == 200
        fake.webhooks.app_secret = "another"
        await fake.webhooks.post(messages_post(text_message("hola")))
        assert [entry["outcome"] for entry in product.requests.entries("post")][-2:] == ["valid", "invalid"]


async def test_an_operators_calls(fake: MetaFake, client: WhatsApp) -> None:
    body: JsonObject = {
        "name": "new",
        "category": "UTILITY",
        "language": "es",
        "parameter_format": "NAMED",
        "components": [{"type": "BODY", "text": "Hola, {{name}}: listo."}],
    }
    made = await client.api.create_template(WABA_ID, body)
    assert (made["status"], made["category"]) == ("PENDING", "UTILITY")
    for wrong, subcode in (
        (body, 2388024),
        ({**body, "name": "w", "components": [{"type": "BODY", "text": "{{a}}"}]}, 2388299),
    ):
        with pytest.raises(WhatsAppError) as refused:
            await client.api.create_template(WABA_ID, wrong)
        assert refused.value.subcode == subcode
    listed = await client.api.send_raw_request("GET", f"/{WABA_ID}/message_templates", params={"limit": 2})
    assert [template["name"] for template in listed["data"]] == ["t", "waiting"]
    after = {"limit": 2, "after": listed["paging"]["cursors"]["after"]}
    rest = await client.api.send_raw_request("GET", f"/{WABA_ID}/message_templates", params=after)
    assert [template["name"] for template in rest["data"]] == ["new"]
    assert "next" not in rest["paging"]
    fake.apply_script({"numbers": {PHONE_NUMBER_ID: {"quality_rating": "RED"}}, "debug": {"is_valid": False}})
    number = await client.api.send_raw_request("GET", f"/{PHONE_NUMBER_ID}")
    assert (number["status"], number["quality_rating"]) == ("CONNECTED", "RED")
    said = await client.api.send_raw_request("GET", "/debug_token", params={"input_token": "x"})
    assert said["data"]["is_valid"] is False
    assert (await client.api.get_waba_subscribed_apps(WABA_ID))["data"]


async def test_a_process_of_its_own(tmp_path: Path) -> None:
    """It is what a test with a `kill -9` calls."""
    log = tmp_path / "log"
    with running(Product()) as product:
        hook = ("--webhook-url", f"{product.url}/webhooks/meta", "--app-secret", APP_SECRET)
        with spawned("tests.fakes.meta_api", log, *hook) as process:
            client = client_of(process.url)
            wamid = await send(client)
            await product.requests.until(2, "post")
            assert [entry["outcome"] for entry in process.log("send", 1)] == [wamid]
            await client.api._session.aclose()
