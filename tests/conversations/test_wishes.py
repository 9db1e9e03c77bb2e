"""What people want no more is not sent, however it came to be said."""

import pytest

from recado.campaigns import templates
from recado.channels.base import Template
from recado.conversations.claiming import ANSWERS
from recado.errors import Retryable
from tests.builders import TEMPLATE
from tests.conversations.post import LONG, Post

REQUEST = templates.fill(
    templates.QUESTION_REQUEST, "es", {"notification_id": "NOTIF_1", "lead_phone": "+51", "question": "¿Hay?"}
)
READY = templates.fill(templates.ANSWER_READY, "es", {"lead_name": "Ana"})


async def codes(post: Post, conversation_id: int) -> list[tuple[str, str | None]]:
    return [(d.state, d.provider_code) for d in await post.deliver(conversation_id)]


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("template", [None, TEMPLATE, REQUEST, READY])
async def test_who_wants_nothing_gets_nothing(post: Post, is_open: bool, template: Template | None) -> None:
    conversation_id = await (post.shop.hear("hola") if is_open else post.shop.open())
    await post.shop.say(conversation_id, LONG, template)
    await post.wish("all")
    found = await codes(post, conversation_id)
    assert set(found) <= {("failed", "opted_out"), ("skipped", None)}
    assert ("failed", "opted_out") in found
    assert post.line.tries == []
    assert post.alerts.sent == []
    assert "START" in str((await post.shop.deliveries(conversation_id))[-1].error)


async def test_but_the_confirmation_of_that(post: Post) -> None:
    conversation_id = await post.shop.hear("STOP")
    await post.wish("all")
    await post.shop.say(conversation_id, "No más.", other_data={"opt_out": "confirmation"})
    await post.shop.say(conversation_id, "Una cosa más:", other_data={"opt_out": "other"})
    assert await codes(post, conversation_id) == [("sent", None), ("failed", "opted_out")]
    assert post.line.texts == ["No más."]


async def test_who_comes_back_gets_what_is_said_from_then_on(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "antes")
    await post.wish("all")
    await post.deliver(conversation_id)
    await post.wish(None)
    await post.shop.say(conversation_id, "después")
    await post.deliver(conversation_id)
    assert post.line.texts == ["después"]


@pytest.mark.parametrize("is_open", [True, False])
async def test_who_wants_no_marketing_gets_replies_and_answers_only(post: Post, is_open: bool) -> None:
    conversation_id = await (post.shop.hear("hola") if is_open else post.shop.open())
    await post.wish("marketing")
    await post.shop.say(conversation_id, "una consulta", REQUEST, other_data={"campaign_id": 1})
    await post.shop.say(conversation_id, "Sí, hay.", TEMPLATE, other_data={"campaign_id": 2})
    await post.shop.say(conversation_id, "largo", READY)
    if is_open:
        await post.shop.say(conversation_id, "de nada")
    found = await codes(post, conversation_id)
    assert found[0] == ("failed", "opted_out")
    assert post.line.texts == (["Sí, hay.", "largo", "de nada"] if is_open else [TEMPLATE.name, READY.name])
    assert post.alerts.sent == []


def test_the_templates_of_answers_are_those_that_a_person_asked_for() -> None:
    assert {templates.QUESTION_ANSWER, templates.SUPPORT_RESPONSE, templates.ANSWER_READY} == ANSWERS


async def test_what_may_have_been_sent_is_looked_up_all_the_same(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.shop.say(conversation_id, "dos")
    post.line.plan = [(Retryable("timeout", ambiguous=True), True)]
    await post.deliver(conversation_id)
    await post.wish("all")
    post.shop.clock.forward(seconds=1)
    assert await codes(post, conversation_id) == [("sent", None), ("failed", "opted_out")]
