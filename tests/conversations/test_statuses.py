"""Statuses arrive late, doubled and out of order; a delivery only moves forward."""

import asyncio

from recado.errors import Retryable, WindowClosed
from tests.builders import TEMPLATE, make_shop
from tests.conversations.post import Post

STEPS = ["sent", "delivered", "read"]


ORDERS = [
    STEPS,
    STEPS[::-1],
    ["delivered", "sent", "read", "delivered"],
    ["read"] * 3 + ["sent"],
    ["delivered", "read", "failed", "sent"],
    ["sending", "read", "unheard-of"],
]


async def test_statuses_only_move_forward(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    for number, order in enumerate(ORDERS, 1):
        await post.shop.say(conversation_id, f"n{number}")
        await post.deliver(conversation_id)
        for state in order:
            assert await post.status(state, f"p{number}")
        assert (await post.shop.deliveries(conversation_id))[-1].state == "read", order
    assert post.alerts.sent == []


async def test_a_failure_at_the_provider_is_kept_and_alerted_once(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.deliver(conversation_id)
    for state in ("failed", "failed", "sent"):
        assert await post.status(state, code="63024", error="Invalid recipient")
    (delivery,) = await post.shop.deliveries(conversation_id)
    assert (delivery.state, delivery.provider_code, delivery.error) == ("failed", "63024", "Invalid recipient")
    assert len(post.alerts.sent) == 1


async def test_a_status_of_another_merchants_delivery_changes_nothing(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    (delivery,) = await post.deliver(conversation_id)
    other = Post(await make_shop(post.shop.database, "other", "+15550200"))
    assert not await other.status("read", "p1")
    assert not await other.status("read", "p1", delivery.id)
    assert not await post.status("read", "unknown")
    assert (await post.shop.deliveries(conversation_id))[0].state == "sent"


async def test_a_status_may_overtake_the_sends_own_commit(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    for number, state in enumerate(STEPS, 1):
        await post.shop.say(conversation_id, f"n{number}")
        delivery = (await post.shop.deliveries(conversation_id))[-1]
        post.line.gate = asyncio.Event()
        post.line.started.clear()
        sending = asyncio.create_task(post.deliver(conversation_id))
        await post.line.started.wait()
        assert await post.status(state, f"p{number}", delivery.id)
        post.line.gate.set()
        delivery = (await sending)[-1]
        assert (delivery.state, delivery.provider_message_id) == (state, f"p{number}")
        assert delivery.sent_at is not None
    await post.deliver(conversation_id)
    assert post.line.texts == ["n1", "n2", "n3"]


async def test_a_status_that_comes_before_a_timeout_settles_it(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    (delivery,) = await post.shop.deliveries(conversation_id)
    post.line.gate, post.line.plan = asyncio.Event(), [(Retryable("timeout", ambiguous=True), True)]
    sending = asyncio.create_task(post.deliver(conversation_id))
    await post.line.started.wait()
    await post.status("delivered", "p1", delivery.id)
    post.line.gate.set()
    await sending
    post.shop.clock.forward(minutes=10)
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, len(post.line.tries), post.line.finds) == ("delivered", 1, 0)


async def test_closed_by_a_late_status_the_template_goes(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    await post.deliver(conversation_id)
    assert await post.status("failed", code="63016", failure=WindowClosed)
    assert await post.due() == [(conversation_id, post.shop.merchant_id)]
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.provider_message_id, post.line.texts) == ("sent", "p2", ["uno", TEMPLATE.name])
    assert await post.status("failed", "p2", code="63016", failure=WindowClosed)
    assert (await post.shop.deliveries(conversation_id))[0].state == "failed"
    assert post.alerts.conditions == ["delivery_failed"]


async def test_closed_by_a_status_that_overtakes_the_send_the_template_goes_all_the_same(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    (delivery,) = await post.shop.deliveries(conversation_id)
    gate = post.line.gate = asyncio.Event()
    sending = asyncio.create_task(post.deliver(conversation_id))
    await post.line.started.wait()
    await post.status("failed", "p1", delivery.id, code="63016", failure=WindowClosed)
    post.line.gate = None
    gate.set()
    await sending
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.sent_as, post.line.texts) == ("sent", "template", ["uno", TEMPLATE.name])
