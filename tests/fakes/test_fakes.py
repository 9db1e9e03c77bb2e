"""What the fakes share, the fakes as processes, and inbound webhooks in Twilio's wire format."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from langchain_openai import ChatOpenAI
from starlette.datastructures import FormData
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running, spawned
from tests.fakes.twilio_inbound import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    inbound_form,
    new_sid,
    post_inbound,
    post_signed,
    sign,
)

SHOP, ANA = "+14155238886", "+51900000001"
PUBLIC = "https://recado.example/webhooks/twilio"


async def test_the_openai_fake_as_a_process(tmp_path: Path) -> None:
    log = tmp_path / "openai.jsonl"
    with spawned("tests.fakes.openai_api", log) as process:
        process.script([{"reply": {"content": "hola"}}])
        model = ChatOpenAI(model="gpt-4.1", base_url=f"{process.url}/v1", api_key="sk-x", max_retries=0)
        assert (await model.ainvoke("x")).content == "hola"
        # written before the answer went out, so it is there now
        (line,) = log.read_text(encoding="utf-8").splitlines()
        assert json.loads(line) == process.log()[0]
        assert process.log("chat")[0]["body"]["messages"] == [{"role": "user", "content": "x"}]

        process.reset()
        assert process.log() == []
        assert (await model.ainvoke("x")).content == "echo: x"


async def test_the_twilio_fake_as_a_process(tmp_path: Path) -> None:
    arguments = ("--account-sid", "AC" + "9" * 32, "--auth-token", "secret")
    with spawned("tests.fakes.twilio_api", tmp_path / "twilio.jsonl", *arguments) as process:
        process.script({"faults": [{"fault": {"hold": "door"}}]})
        async with AsyncTwilioHttpClient() as http:
            client = Client("AC" + "9" * 32, "secret", http_client=http)
            client.api.base_url = process.url
            sending = asyncio.create_task(
                client.messages.create_async(to=f"whatsapp:{ANA}", from_=f"whatsapp:{SHOP}", body="x")
            )
            await asyncio.to_thread(process.log, "send", count=1)
            process.release("door")
            assert (await sending).status == "queued"


async def test_a_script_with_a_typo_is_refused() -> None:
    with running(OpenAIFake()) as fake:
        async with httpx.AsyncClient() as client:
            typos: list[Any] = [
                [{"wen": {}, "reply": {}}],
                [{"reply": {"contents": "x"}}],
                {"withdrew": []},
            ]
            for script in typos:
                answer = await client.post(f"{fake.url}/_script", json=script)
                assert answer.status_code == 400
                assert "unknown words" in answer.json()["problem"]


async def test_a_held_answer_is_visible_before_it_is_given() -> None:
    with running(OpenAIFake([{"reply": {"content": "late", "hold": "model"}}])) as fake:
        model = ChatOpenAI(model="gpt-4.1", base_url=fake.base_url, api_key="sk-x", max_retries=0)
        thinking = asyncio.create_task(model.ainvoke("x"))
        assert (await fake.requests.until(1, "chat"))[0]["outcome"] == "hold"
        assert not thinking.done()
        fake.gates.release("model")
        assert (await thinking).content == "late"
        with pytest.raises(TimeoutError, match="1 of 2 chat"):
            fake.requests.wait(2, "chat", timeout=0.05)


def test_an_inbound_text_has_twilios_fields() -> None:
    form = inbound_form(from_=ANA, to=SHOP, body=" ¿Hay pan? ", reply_to_sid=new_sid())
    assert re.fullmatch(r"SM[0-9a-f]{32}", form["MessageSid"])
    assert form["MessageSid"] == form["SmsSid"] == form["SmsMessageSid"]
    assert (form["From"], form["WaId"], form["To"]) == (f"whatsapp:{ANA}", "51900000001", f"whatsapp:{SHOP}")
    assert (form["NumMedia"], form["MessageType"], form["SmsStatus"]) == ("0", "text", "received")
    assert form["OriginalRepliedMessageSender"] == f"whatsapp:{SHOP}"
    context = json.loads(form["ChannelMetadata"])["data"]["context"]
    assert context["WaId"] == "51900000001"
    assert context["Forwarded"] == "false"


def test_inbound_media_buttons_and_hidden_phones() -> None:
    voice = inbound_form(from_=ANA, to=SHOP, media=[("https://api.twilio.com/m/1", "audio/ogg")])
    assert (voice["MessageSid"][:2], voice["NumMedia"], voice["MessageType"]) == ("MM", "1", "audio")
    assert (voice["MediaUrl0"], voice["MediaContentType0"]) == ("https://api.twilio.com/m/1", "audio/ogg")

    tap = inbound_form(from_=ANA, to=SHOP, button_text="Ver", button_payload="NOTIF_7")
    assert (tap["Body"], tap["ButtonText"], tap["ButtonPayload"]) == ("Ver", "Ver", "NOTIF_7")
    assert tap["MessageType"] == "button"

    hidden = inbound_form(from_="PE.45665461", to=SHOP, body="hola")
    assert (hidden["From"], hidden["ExternalUserId"]) == ("whatsapp:PE.45665461",) * 2
    assert "WaId" not in hidden


@pytest.mark.parametrize(
    "url", [PUBLIC, f"{PUBLIC}?account=1", f"{PUBLIC}#rc=2&rp=all", "http://127.0.0.1:8000/webhooks/twilio"]
)
def test_signatures_round_trip(url: str) -> None:
    form = inbound_form(from_=ANA, to=SHOP, body=" ¿ñ? 👍\n", extra={"Label": ""})
    called = url.partition("#")[0]
    signature = sign(url, form)
    assert RequestValidator(AUTH_TOKEN).validate(called, form, signature)
    assert RequestValidator(AUTH_TOKEN).validate(called, FormData(form), signature)
    assert not RequestValidator("other").validate(called, form, signature)
    assert not RequestValidator(AUTH_TOKEN).validate(called, form | {"Body": "?"}, signature)
    assert not RequestValidator(AUTH_TOKEN).validate(called + "/", form, signature)


async def test_posted_webhooks_carry_a_form_that_validates() -> None:
    seen: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    form = inbound_form(from_=ANA, to=SHOP, body="hola & adiós + más")
    async with httpx.AsyncClient(transport=httpx.MockTransport(receive)) as client:
        local = "http://127.0.0.1:8000/webhooks/twilio"
        for _ in range(2):
            await post_signed(client, local, form, public_url=PUBLIC)
        await post_inbound(client, local, public_url=PUBLIC, from_=ANA, to=SHOP, body="otra")

    received = [dict(parse_qsl(request.content.decode(), keep_blank_values=True)) for request in seen]
    for request, fields in zip(seen, received, strict=True):
        signature = request.headers["X-Twilio-Signature"]
        assert RequestValidator(AUTH_TOKEN).validate(PUBLIC, fields, signature)
    assert received[0] == received[1] == form
    assert received[2]["AccountSid"] == ACCOUNT_SID
