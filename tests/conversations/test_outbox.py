"""The outbox: in order, by the 24-hour rule, and never silently lost."""

import asyncio

import pytest

from recado.conversations.failing import MAX_ATTEMPTS
from recado.errors import Permanent, Retryable, WindowClosed
from tests.builders import TEMPLATE
from tests.conversations.post import LONG, Post


async def test_in_order_and_each_once(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    for number in range(20):
        await post.shop.say(conversation_id, f"n{number}")
    deliveries = await post.deliver(conversation_id)
    await post.deliver(conversation_id)
    assert post.line.texts == [f"n{number}" for number in range(20)]
    assert [d.state for d in deliveries] == ["sent"] * 20
    assert [d.provider_message_id for d in deliveries] == [f"p{n}" for n in range(1, 21)]
    assert {d.sent_as for d in deliveries} == {"text"}


async def test_saying_the_same_again_is_harmless(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    first = await post.shop.say(conversation_id, "uno", key="k")
    assert await post.shop.say(conversation_id, "dos", key="k") == first
    await post.deliver(conversation_id)
    assert post.line.texts == ["uno"]


async def test_a_failing_send_holds_back_what_follows_and_is_tried_again(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.shop.say(conversation_id, "dos")
    post.line.plan = [(Retryable("busy", "20429"), False)]

    first, second = await post.deliver(conversation_id)
    assert (first.state, first.provider_code, first.claimed_by, second.state) == ("pending", "20429", None, "pending")
    assert post.line.texts == []
    await post.deliver(conversation_id)
    assert len(post.line.tries) == 1, "tried before it was due"

    post.shop.clock.forward(seconds=1)
    await post.deliver(conversation_id)
    assert post.line.texts == ["uno", "dos"]
    assert post.alerts.sent == []


async def test_the_backoff_grows_and_it_gives_up_with_an_alert(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.shop.say(conversation_id, "dos")
    post.line.plan = [(Retryable("down", "503"), False)] * MAX_ATTEMPTS
    waits = []
    for _ in range(MAX_ATTEMPTS - 1):
        first = (await post.deliver(conversation_id))[0]
        assert first.state == "pending"
        waits.append((first.due_at - post.shop.clock.now()).total_seconds())
        post.shop.clock.time = first.due_at
    assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(waits))

    first, second = await post.deliver(conversation_id)
    assert (first.state, first.attempts) == ("failed", MAX_ATTEMPTS)
    assert f"gave up after {MAX_ATTEMPTS} attempts" in str(first.error)
    assert post.alerts.conditions == ["delivery_given_up"]
    assert post.alerts.sent[0][2]["delivery_id"] == first.id
    assert second.state == "sent", "what follows must still go"


async def test_what_cannot_work_fails_at_once(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    error = Permanent("no such number", "21211", remedy="correct the number")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    post.line.plan = [(error, False)]
    delivery = (await post.deliver(conversation_id))[-1]
    assert (delivery.state, delivery.provider_code, delivery.error) == ("failed", error.code, str(error))
    ((title, reason, _),) = post.alerts.sent
    assert (title, reason) == ("delivery_given_up", "no such number; correct the number")
    assert len(post.line.tries) == 1


async def test_text_while_the_window_is_open_and_the_template_after(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    post.shop.clock.forward(hours=24)
    await post.shop.say(conversation_id, "en hora", TEMPLATE, buttons=[{"id": "a", "title": "A"}])
    await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=1)
    await post.shop.say(conversation_id, "tarde", TEMPLATE, buttons=[{"id": "a", "title": "A"}])
    await post.deliver(conversation_id)
    on_time, late = post.line.taken.values()
    assert (on_time.text, on_time.template, len(on_time.buttons)) == ("en hora", None, 1)
    assert (late.text, late.template, late.buttons) == (None, TEMPLATE, ())


async def test_the_window_is_checked_when_it_is_sent_not_when_it_is_said(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    post.shop.clock.forward(hours=24, seconds=1)
    await post.deliver(conversation_id)
    assert post.line.texts == [TEMPLATE.name]


async def test_a_closed_window_without_a_template_fails_and_says_why(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "nunca escribió")
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.provider_code) == ("failed", "window_closed")
    assert "24-hour window" in str(delivery.error)
    assert post.alerts.conditions == ["delivery_given_up"]
    assert "24-hour window" in post.alerts.sent[0][1]
    assert post.line.tries == []


async def test_a_template_alone_goes_as_the_template_inside_the_window_too(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, None, TEMPLATE)
    await post.deliver(conversation_id)
    assert post.line.texts == [TEMPLATE.name]


async def test_when_the_provider_says_closed_the_template_goes(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    post.line.plan = [(WindowClosed("closed", "63016"), False)]
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.sent_as) == ("sent", "template")
    assert post.line.texts == [TEMPLATE.name]
    assert post.alerts.sent == []


@pytest.mark.parametrize("template", [None, TEMPLATE])
async def test_when_it_says_so_of_a_template_it_fails(post: Post, template: object) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE if template else None)
    post.line.plan = [(WindowClosed("closed", "63016"), False)] * 2
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.provider_code) == ("failed", "63016")
    assert post.alerts.conditions == ["delivery_given_up"]


async def test_a_long_text_goes_in_parts_in_order_and_buttons_come_last(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG, TEMPLATE, buttons=[{"id": "a", "title": "A"}])
    deliveries = await post.deliver(conversation_id)
    assert len(deliveries) == 3
    assert [d.part for d in deliveries] == [0, 1, 2]
    assert all(len(text or "") <= 4_096 for text in post.line.texts)
    assert " ".join(text or "" for text in post.line.texts).split() == LONG.split()
    assert [len(m.buttons) for m in post.line.taken.values()] == [0, 0, 1]


async def test_one_template_stands_for_all_parts(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, LONG, TEMPLATE)
    deliveries = await post.deliver(conversation_id)
    assert post.line.texts == [TEMPLATE.name]
    assert [d.state for d in deliveries] == ["sent", "failed", "failed"]
    assert post.alerts.sent == [], "the person got it all: nobody need be woken"


async def test_one_template_stands_for_all_parts_when_the_provider_says_closed(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG, TEMPLATE)
    post.line.plan = [(WindowClosed("closed", "63016"), False)]
    deliveries = await post.deliver(conversation_id)
    assert post.line.texts == [TEMPLATE.name], "after the template no part may follow"
    assert [d.state for d in deliveries] == ["sent", "failed", "failed"]
    assert post.alerts.sent == []


async def test_a_rest_that_the_window_cut_off_raises_an_alert(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG, TEMPLATE)
    post.line.gate = asyncio.Event()
    sending = asyncio.create_task(post.deliver(conversation_id))
    await post.line.started.wait()
    post.shop.clock.forward(hours=25)
    post.line.gate.set()
    deliveries = await sending
    assert [(d.state, d.sent_as) for d in deliveries] == [("sent", "text"), ("failed", None), ("failed", None)]
    assert post.alerts.conditions == ["delivery_given_up"] * 2, "half an answer arrived, and nobody would know"


async def test_what_an_adapter_should_not_raise_is_looked_up_and_sent_once(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(KeyError("sid"), True)]
    [delivery] = await post.deliver(conversation_id)
    assert delivery.state == "sending"
    assert "KeyError" in (delivery.error or "")
    post.shop.clock.forward(seconds=60)
    [delivery] = await post.deliver(conversation_id)
    assert (delivery.state, len(post.line.tries), post.line.finds) == ("sent", 1, 1)
