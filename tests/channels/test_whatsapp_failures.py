"""What each failure of WhatsApp's Cloud API means, and which client calls it."""

import asyncio
import gc
import logging
from dataclasses import replace
from typing import Any

import pytest

from recado.channels.base import OutboundMessage
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.channels.whatsapp.client import CLIENTS, WhatsAppClients, calling
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    Permanent,
    Retryable,
    SendError,
    TemplateRefused,
    WindowClosed,
)
from tests.builders import SetClock
from tests.channels.party_whatsapp import account
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import ACCESS_TOKEN, ANA, ANA_ID, PHONE_NUMBER_ID, new_wamid
from tests.fakes.recorder import JsonObject
from tests.fakes.server import running
from tests.support import free_port

ACCOUNT = account()
HELLO = OutboundMessage(7, ANA_ID, "hola", phone=f"+{ANA}")


FAULTS: list[tuple[JsonObject, type[SendError], str | None, bool]] = [
    ({"code": 130429}, Retryable, "130429", False),
    ({"code": 131056}, Retryable, "131056", False),
    ({"code": 4}, Retryable, "4", False),
    ({"status": 429}, Retryable, "80007", False),
    ({"status": 429, "html": True}, Retryable, "429", False),
    ({"status": 500}, Retryable, "131000", True),
    ({"status": 503}, Retryable, "131016", True),
    ({"status": 502, "html": True}, Retryable, "502", True),
    ({"status": 503, "code": 99999999}, Retryable, "99999999", True),
    ({"code": 131047}, WindowClosed, "131047", False),
    ({"code": 131050}, MarketingStopped, "131050", False),
    ({"code": 131026}, Permanent, "131026", False),
    ({"code": 131049}, TemplateRefused, "131049", False),
    ({"code": 132001}, TemplateRefused, "132001", False),
    ({"code": 100, "subcode": 2388299}, TemplateRefused, "100", False),
    ({"code": 190}, AccountRefused, "190", False),
    ({"code": 131042}, AccountRefused, "131042", False),
    ({"code": 368}, AccountRefused, "368", False),
    ({"code": 99999998, "status": 400}, Permanent, "99999998", False),
    ({"status": 404, "html": True}, Permanent, "404", False),
    ({"cut": True}, Retryable, None, True),
    ({"cut": "after"}, Retryable, None, True),
    ({"status": 200, "html": True}, Retryable, None, True),
]


@pytest.mark.parametrize(("fault", "kind", "code", "ambiguous"), FAULTS, ids=str)
async def test_each_failure_has_its_meaning(
    graph: MetaFake, cloud: WhatsAppChannel, fault: JsonObject, kind: type[SendError], code: str, ambiguous: bool
) -> None:
    graph.apply_script({"faults": [{"fault": fault}]})
    with pytest.raises(SendError) as failed:
        await cloud.send(ACCOUNT, HELLO)
    assert type(failed.value) is kind
    assert (failed.value.code, getattr(failed.value, "ambiguous", False)) == (code, ambiguous)


@pytest.mark.parametrize("hang", [True, "after"])
async def test_a_provider_that_never_answers_may_have_taken_it(
    graph: MetaFake, hasty: WhatsAppChannel, hang: Any
) -> None:
    graph.apply_script({"faults": [{"fault": {"hang": hang}}]})
    with pytest.raises(Retryable) as failed:
        await hasty.send(ACCOUNT, HELLO)
    assert failed.value.ambiguous
    assert len(graph.messages) == (hang == "after")


@pytest.mark.parametrize(
    ("given", "expected"), [(7, 7.0), (0.5, 0.5), ("soon", None), (-1, None), ("nan", None), ("1e9", 3_600.0)]
)
async def test_when_to_come_again(graph: MetaFake, cloud: WhatsAppChannel, given: Any, expected: float | None) -> None:
    graph.apply_script({"faults": [{"fault": {"status": 429, "retry_after": given}}]})
    with pytest.raises(Retryable) as failed:
        await cloud.send(ACCOUNT, HELLO)
    assert failed.value.retry_after == expected


async def test_a_wrong_token_is_the_accounts_and_no_word_of_it_gets_out(
    graph: MetaFake, cloud: WhatsAppChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "EAAGsecrettoken123"
    message = f"Malformed access token {secret} of +51900000001"
    graph.apply_script(
        {"tokens": [secret], "faults": [{"fault": {"code": 190, "message": message, "details": "x" * 5_000}}]}
    )
    with pytest.raises(AccountRefused) as failed:
        await cloud.send(account(credentials={"access_token": secret}), replace(HELLO, text="muy secreto"))
    said = f"{failed.value!r} {failed.value.__cause__!r} {caplog.text}"
    assert failed.value.__suppress_context__
    for hidden in (secret, "51900000001", "muy secreto"):
        assert hidden not in said
    assert "Malformed access token" in said
    assert len(str(failed.value)) < 600
    assert failed.value.remedy


async def test_where_nobody_listens_nothing_was_taken() -> None:
    cloud = WhatsAppChannel(f"http://127.0.0.1:{free_port()}", "24.0", 10.0, 60.0, SetClock())
    with pytest.raises(Retryable, match="cannot connect") as failed:
        await cloud.send(ACCOUNT, HELLO)
    assert not failed.value.ambiguous
    await cloud.close()


ODD_ANSWERS = ["null", "[]", "{}", '{"messages": []}', '{"messages": [{"id": 7}]}', '{"messages": [{"id": ""}]}', "x"]
ODD_ERRORS = ['{"error": "x"}', '{"error": []}', '{"error": {"code": "x"}}', '{"error": {}}', "[]", "null"]


class Odd(MetaFake):
    """Answers every send with `answer`."""

    status, content = 200, ""

    def app(self) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": self.content.encode()})

        return answer


async def test_an_answer_that_cannot_be_read_may_be_any() -> None:
    with running(Odd()) as odd:
        cloud = WhatsAppChannel(odd.url, "24.0", 10.0, 60.0, SetClock())
        answers = [(200, content) for content in ODD_ANSWERS] + [(500, content) for content in ODD_ERRORS]
        for odd.status, odd.content in answers:
            with pytest.raises(Retryable) as failed:
                await cloud.send(ACCOUNT, HELLO)
            assert failed.value.ambiguous, odd.content
        await cloud.close()


async def test_a_number_has_one_client_until_its_token_changes(graph: MetaFake) -> None:
    clients = WhatsAppClients(graph.url, "24.0", 10.0)
    first = clients.of(ACCOUNT)
    assert clients.of(account()) is first
    renewed = account(credentials={"access_token": "another"})
    assert clients.of(renewed) is not first
    assert clients.of(ACCOUNT) is not first  # a token that was replaced is not kept
    other = replace(ACCOUNT, address="222")
    assert clients.of(other) is not clients.of(ACCOUNT)
    await clients.close()


async def test_a_call_under_way_survives_a_new_token(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    graph.apply_script({"tokens": [ACCESS_TOKEN, "another"], "faults": [{"fault": {"hold": "token"}, "times": 1}]})
    sending = asyncio.create_task(cloud.send(ACCOUNT, HELLO))
    await graph.requests.until(1, "send")
    await cloud.send(account(credentials={"access_token": "another"}), HELLO)
    gc.collect()
    graph.gates.release("token")
    assert await sending in graph.messages


async def test_only_so_many_clients_are_kept(graph: MetaFake) -> None:
    clients = WhatsAppClients(graph.url, "24.0", 10.0)
    first = clients.of(ACCOUNT)
    for number in range(CLIENTS):
        clients.of(replace(ACCOUNT, address=str(number)))
    assert clients.of(ACCOUNT) is not first
    async with calling():
        await clients.of(ACCOUNT).api.set_indicator(PHONE_NUMBER_ID, new_wamid(), "text")
    await clients.close()
    await clients.close()
