"""Having contents made at Twilio and approved there, and reading what there is."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recado.campaigns.wanted import wanted_templates
from recado.channels.management import Expected, NewTemplate
from recado.channels.twilio.management import TwilioManagement
from recado.errors import Permanent, Retryable
from recado.merchants.account import Account
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN

ACCOUNT = Account(1, 1, "twilio", "+15550200123", {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}, {})
[QUESTION, *_], READY = (
    wanted_templates(None, ["es"]),
    next(template for template in wanted_templates(None, ["pt"]) if template.buttons),
)


@pytest.fixture(scope="module")
def server() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: TwilioFake) -> TwilioFake:
    server.reset()
    return server


@pytest.fixture
async def twilio(fake: TwilioFake) -> AsyncIterator[TwilioManagement]:
    made = TwilioManagement(fake.url, 5.0)
    yield made
    await made.close()


class Parrot(TwilioFake):
    """Answers everything with the same JSON."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer

    def routes(self) -> list[Route]:
        return [Route("/{path:path}", self._say, methods=["GET"])]

    async def _say(self, request: Request) -> Response:
        self.record(request, "any", None, "ok")
        return Response(self.answer, media_type="application/json")


def answering(answer: str) -> AbstractContextManager[Parrot]:
    return running(Parrot(answer))


async def test_a_content_is_made_and_handed_in(fake: TwilioFake, twilio: TwilioManagement) -> None:
    made = await twilio.create_template(ACCOUNT, QUESTION, {})
    assert (made.status, made.submitted, made.category) == ("pending", True, "UTILITY")
    content = fake.content.made[made.id]
    assert content["friendly_name"] == "merchant_user_question_request_es"
    assert content["language"] == "es"
    assert content["types"] == {
        "twilio/text": {
            "body": "Consulta {{1}} de un cliente ({{2}}): «{{3}}». "
            "Responde citando este mensaje y le llevaremos tu respuesta."
        }
    }
    assert list(content["variables"]) == ["1", "2", "3"]
    asked = content["approval_requests"]
    assert (asked["name"], asked["category"]) == ("merchant_user_question_request_es", "UTILITY")


async def test_buttons_are_quick_replies(fake: TwilioFake, twilio: TwilioManagement) -> None:
    made = await twilio.create_template(ACCOUNT, READY, {})
    content = fake.content.made[made.id]
    assert content["language"] == "pt_BR"
    [action] = content["types"]["twilio/quick-reply"]["actions"]
    assert (action["id"], action["title"]) == ("show_answer", "Ver resposta")


async def test_the_answer_button_needs_no_approval(fake: TwilioFake, twilio: TwilioManagement) -> None:
    button = wanted_templates(None, ["es"], contents=True)[-1]
    made = await twilio.create_template(ACCOUNT, button, {})
    assert (made.status, fake.requests.entries("approval")) == ("approved", [])
    listing = await twilio.approvals(ACCOUNT)
    assert listing["answer_button_es"]["es"].usable
    assert await twilio.create_template(ACCOUNT, button, listing) == listing["answer_button_es"]["es"]
    assert len(fake.content.made) == 1


async def test_what_is_there_is_not_made_again(fake: TwilioFake, twilio: TwilioManagement) -> None:
    made = await twilio.create_template(ACCOUNT, QUESTION, {})
    listing = await twilio.approvals(ACCOUNT)
    assert (await twilio.create_template(ACCOUNT, QUESTION, listing)).id == made.id
    assert (len(fake.content.made), len(fake.requests.entries("approval"))) == (1, 1)


async def test_a_crash_before_the_approval_was_asked_for(fake: TwilioFake, twilio: TwilioManagement) -> None:
    fake.apply_script({"faults": [{"when": {"op": "approval"}, "fault": {"status": 500}, "times": 1}]})
    with pytest.raises(Retryable):
        await twilio.create_template(ACCOUNT, QUESTION, {})
    listing = await twilio.approvals(ACCOUNT)
    assert not listing["merchant_user_question_request_es"]["es"].submitted
    made = await twilio.create_template(ACCOUNT, QUESTION, listing)
    assert (len(fake.content.made), made.submitted, made.status) == (1, True, "pending")


async def test_other_words_get_another_name(fake: TwilioFake, twilio: TwilioManagement) -> None:
    await twilio.create_template(ACCOUNT, QUESTION, {})
    other = replace(QUESTION, text=QUESTION.text.replace("Consulta", "Pregunta"))
    made = await twilio.create_template(ACCOUNT, other, await twilio.approvals(ACCOUNT))
    assert made.name == "merchant_user_question_request_es_v2"
    assert len(await twilio.approvals(ACCOUNT)) == 2


async def test_two_contents_of_one_name_are_both_seen(fake: TwilioFake, twilio: TwilioManagement) -> None:
    await twilio.create_template(ACCOUNT, QUESTION, {})
    await twilio.create_template(ACCOUNT, replace(QUESTION, text="Otra {{notification_id}} cosa."), {})
    ids = {approval.id for languages in (await twilio.approvals(ACCOUNT)).values() for approval in languages.values()}
    assert ids == set(fake.content.made)


async def test_all_pages_are_read_at_twilio_alone(fake: TwilioFake, twilio: TwilioManagement) -> None:
    for number in range(501):
        sid = f"HX{number:032x}"
        types = {"twilio/text": {"body": "hola"}}
        fake.content.made[sid] = {"sid": sid, "friendly_name": f"t{number}", "language": "es", "types": types}
    assert len(await twilio.approvals(ACCOUNT)) == 501
    assert len(fake.requests.entries("contents")) == 2
    foreign = {
        "contents": [],
        "meta": {"next_page_url": "https://content.twilio.com.evil.example/v2/ContentAndApprovals"},
    }
    for meta in (foreign, {"meta": {"next_page_url": 7}}, {"contents": "none"}, {"contents": [1, None]}):
        with answering(json.dumps(meta)) as server:
            elsewhere = TwilioManagement(server.url, 5.0)
            assert await elsewhere.approvals(ACCOUNT) == {}
            assert len(server.requests.entries("any")) == 1
            await elsewhere.close()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("received", "pending"),
        ("approved", "approved"),
        ("paused", "paused"),
        ("disabled", "disabled"),
        ("odd", "pending"),
    ],
)
async def test_what_whatsapp_decides(fake: TwilioFake, twilio: TwilioManagement, theirs: str, ours: str) -> None:
    made = await twilio.create_template(ACCOUNT, QUESTION, {})
    fake.content.approve(made.id, theirs, category="MARKETING")
    [found] = (await twilio.approvals(ACCOUNT))["merchant_user_question_request_es"].values()
    assert (found.status, found.category) == (ours, "MARKETING")


async def test_a_rejection_says_why(fake: TwilioFake, twilio: TwilioManagement) -> None:
    made = await twilio.create_template(ACCOUNT, QUESTION, {})
    fake.content.approve(made.id, "rejected", rejection_reason="The template is too vague.")
    expected = Expected("https://recado.example", {QUESTION.name: {"es": made.id}})
    said = [check.text for check in await twilio.examine(ACCOUNT, expected)]
    assert said[-1] == f"template {QUESTION.name} (es) is rejected: The template is too vague."


async def test_a_name_that_twilio_does_not_take(fake: TwilioFake, twilio: TwilioManagement) -> None:
    bad: NewTemplate = replace(QUESTION, name="Not A Name")
    with pytest.raises(Permanent, match="Invalid template name"):
        await twilio.create_template(ACCOUNT, bad, {})
