"""A template that the provider has not approved: somebody hears of it, and nothing is lost."""

import asyncio

import pytest

from recado.campaigns import templates
from recado.channels.base import Template
from recado.errors import OptedOut, Permanent, TemplateRefused
from tests.builders import TEMPLATE
from tests.conversations.post import LONG, Post

READY = templates.fill(templates.ANSWER_READY, "es", {"lead_name": "Ana"})


async def states(post: Post, conversation_id: int) -> list[str]:
    return [delivery.state for delivery in await post.shop.deliveries(conversation_id)]


REFUSALS = [TemplateRefused("Twilio 63040: Template rejected", "63040"), TemplateRefused("no Content SID")]


@pytest.mark.parametrize("error", REFUSALS)
async def test_an_announcement_that_is_not_approved_fails_and_the_text_waits_all_the_same(
    post: Post, error: TemplateRefused
) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "largo", READY)
    post.line.plan = [(error, False)]
    await post.deliver(conversation_id)
    assert await states(post, conversation_id) == ["failed", "held"]
    check_alert(post, READY)
    await post.shop.hear("hola")
    await post.deliver(conversation_id)
    assert post.line.texts == ["largo"]


@pytest.mark.parametrize("text", ["Sí, hay.", LONG])
@pytest.mark.parametrize("error", REFUSALS)
async def test_a_template_that_is_not_approved_leaves_its_text_until_the_person_writes(
    post: Post, error: TemplateRefused, text: str
) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, text, TEMPLATE)
    post.line.plan = [(error, False)]
    (first, *others) = await post.deliver(conversation_id)
    assert (first.state, first.provider_code) == ("held", error.code)
    assert {other.state for other in others} <= {"held"}
    check_alert(post, TEMPLATE)
    await post.shop.hear("hola")
    await post.deliver(conversation_id)
    assert " ".join(str(text) for text in post.line.texts).split() == text.split()
    assert set(await states(post, conversation_id)) == {"sent"}


def check_alert(post: Post, template: Template) -> None:
    ((title, reason, context),) = post.alerts.sent
    assert title == "delivery_given_up"
    assert f"template {template.name} (es)" in reason
    assert "`templates` of the channel" in reason
    assert "recado apply" in reason
    assert context["conversation_id"]


@pytest.mark.parametrize("how", ["at once", "by a status"])
async def test_who_writes_while_the_template_is_refused_gets_the_text_at_once(post: Post, how: str) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "Sí, hay.", TEMPLATE)
    if how == "at once":
        post.line.plan = [(REFUSALS[0], False)]
        gate = post.line.gate = asyncio.Event()
        sending = asyncio.create_task(post.deliver(conversation_id))
        await post.line.started.wait()
        await post.shop.hear("hola")
        gate.set()
        await sending
    else:
        (delivery,) = await post.deliver(conversation_id)
        await post.shop.hear("hola")
        await post.status("failed", "p1", delivery.id, code="63041", failure=TemplateRefused)
        await post.deliver(conversation_id)
    assert post.line.texts[-1] == "Sí, hay."
    assert await states(post, conversation_id) == ["sent"]


async def test_a_template_alone_that_is_not_approved_fails(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, None, TEMPLATE)
    post.line.plan = [(REFUSALS[0], False)]
    (delivery,) = await post.deliver(conversation_id)
    assert delivery.state == "failed"
    check_alert(post, TEMPLATE)


async def test_a_refusal_that_comes_later_by_a_status_is_alerted_and_leaves_the_text(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "Sí, hay.", TEMPLATE)
    (delivery,) = await post.deliver(conversation_id)
    await post.status("failed", "p1", delivery.id, code="63041", error="paused", failure=TemplateRefused)
    ((_, reason, _),) = post.alerts.sent
    assert f"template {TEMPLATE.name} (es): 63041: paused" in reason
    await post.shop.hear("hola")
    await post.deliver(conversation_id)
    assert post.line.texts == [TEMPLATE.name, "Sí, hay."]


@pytest.mark.parametrize("error", [Permanent("no such number", "21211"), OptedOut("stop", "21610")])
async def test_any_other_refusal_of_a_template_leaves_nothing_behind(post: Post, error: Permanent) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, LONG, TEMPLATE)
    post.line.plan = [(error, False)]
    await post.deliver(conversation_id)
    await post.shop.hear("hola")
    await post.deliver(conversation_id)
    assert post.line.texts == []
    assert set(await states(post, conversation_id)) == {"failed"}
