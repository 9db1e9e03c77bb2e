"""Deliveries whose outcome is unknown, and processes that want the same one: nothing is sent twice."""

import asyncio
from datetime import timedelta

import pytest

from recado.conversations.claiming import CLAIM
from recado.conversations.failing import MAX_ATTEMPTS
from recado.conversations.repository import ConversationRepository
from recado.errors import Retryable
from tests.builders import TEMPLATE, ProcessDies, together
from tests.conversations.post import Post


@pytest.mark.parametrize("alone", [True, False])
async def test_what_was_under_way_in_a_dead_process_and_arrived_is_not_sent_again(post: Post, alone: bool) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(ProcessDies(), True)]
    with pytest.raises(ProcessDies):
        await post.deliver(conversation_id)
    assert (await post.shop.deliveries(conversation_id))[0].state == "sending"

    post.shop.clock.forward(seconds=CLAIM.total_seconds())
    (delivery,) = await post.deliver(conversation_id, post.new_outbox("second", alone=alone))
    assert (delivery.state, delivery.provider_message_id) == ("sent", "p1")
    assert (post.line.finds, len(post.line.tries), post.line.texts) == (1, 1, ["uno"])


@pytest.mark.parametrize("alone", [True, False])
async def test_what_was_under_way_and_did_not_arrive_is_sent_once(post: Post, alone: bool) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(ProcessDies(), False)]
    with pytest.raises(ProcessDies):
        await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=CLAIM.total_seconds())
    (delivery,) = await post.deliver(conversation_id, post.new_outbox("second", alone=alone))
    assert (delivery.state, post.line.finds, post.line.texts) == ("sent", 1, ["uno"])


async def test_another_processs_claim_is_respected_until_it_is_stale(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(ProcessDies(), False)]
    with pytest.raises(ProcessDies):
        await post.deliver(conversation_id)
    other = post.new_outbox("second")
    post.shop.clock.forward(seconds=CLAIM.total_seconds() - 1)
    await post.deliver(conversation_id, other)
    assert (post.line.finds, len(post.line.tries)) == (0, 1)
    post.shop.clock.forward(seconds=1)
    await post.deliver(conversation_id, other)
    assert post.line.texts == ["uno"]


async def test_an_older_message_of_the_same_words_is_not_taken_for_it(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "ok")
    await post.deliver(conversation_id)
    await post.shop.say(conversation_id, "ok")
    post.line.plan = [(ProcessDies(), False)]
    with pytest.raises(ProcessDies):
        await post.deliver(conversation_id)
    deliveries = await post.deliver(conversation_id, post.new_outbox("second", alone=True))
    assert [d.provider_message_id for d in deliveries] == ["p1", "p2"]
    assert post.line.texts == ["ok", "ok"]


@pytest.mark.parametrize("taken", [True, False])
async def test_an_ambiguous_failure_is_looked_up_before_it_is_sent_again(post: Post, taken: bool) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("timeout", ambiguous=True), taken)]
    (delivery,) = await post.deliver(conversation_id)
    assert delivery.state == "sending"
    post.shop.clock.forward(seconds=1)
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, post.line.texts, post.line.finds) == ("sent", ["uno"], 1)


async def test_any_worker_may_go_on_with_an_ambiguous_failure_as_soon_as_it_is_due(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("timeout", ambiguous=True), True)]
    await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=1)
    (delivery,) = await post.deliver(conversation_id, post.new_outbox("second"))
    assert (delivery.state, post.line.texts) == ("sent", ["uno"]), "nobody has it, so nobody need be waited for"


@pytest.mark.parametrize("ambiguous", [True, False])
async def test_a_lookup_that_fails_does_not_lead_to_a_second_send(post: Post, ambiguous: bool) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("timeout", ambiguous=True), True)]
    post.line.find_plan = [Retryable("busy", "20429", ambiguous=ambiguous)] * 3
    for _ in range(5):
        (delivery,) = await post.deliver(conversation_id)
        post.shop.clock.forward(minutes=5)
    assert (delivery.state, delivery.provider_message_id) == ("sent", "p1")
    assert (len(post.line.tries), post.line.texts, post.line.finds) == (1, ["uno"], 4)


async def test_lookups_do_not_use_up_the_attempts(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("timeout", ambiguous=True), False)] * (MAX_ATTEMPTS - 1)
    for _ in range(MAX_ATTEMPTS):
        (delivery,) = await post.deliver(conversation_id)
        post.shop.clock.forward(minutes=10)
    assert (delivery.state, len(post.line.tries)) == ("sent", MAX_ATTEMPTS)


async def test_an_uncertain_text_is_looked_up_as_text_though_the_window_closed_meanwhile(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    post.line.plan = [(Retryable("timeout", ambiguous=True), True)]
    await post.deliver(conversation_id)
    post.shop.clock.forward(hours=25)
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.sent_as, post.line.texts) == ("sent", "text", ["uno"])


async def test_an_uncertain_text_that_did_not_arrive_goes_as_template_once_the_window_is_closed(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    post.line.plan = [(Retryable("timeout", ambiguous=True), False)]
    await post.deliver(conversation_id)
    post.shop.clock.forward(hours=25)
    await post.deliver(conversation_id)
    assert post.line.texts == [TEMPLATE.name]


async def test_two_workers_never_send_twice(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    for number in range(10):
        await post.shop.say(conversation_id, f"n{number}")
    outboxes = [post.new_outbox(f"process {number}") for number in range(4)]
    for _ in range(10):
        problems = await together(*(outbox.deliver(conversation_id, post.shop.merchant_id) for outbox in outboxes))
        assert problems == [None] * 4
    assert post.line.texts == [f"n{number}" for number in range(10)]
    assert {d.attempts for d in await post.shop.deliveries(conversation_id)} == {1}


async def test_a_worker_waits_while_another_one_decides(post: Post) -> None:
    """The claim itself: the second transaction must see what the first one does, not what was there before."""
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    shop = post.shop
    second = post.new_outbox("second")
    async with asyncio.TaskGroup() as group, shop.database.transaction() as session:
        found = await ConversationRepository(session, shop.merchant_id).next_delivery(conversation_id)
        assert found is not None
        racing = group.create_task(second.deliver(conversation_id, shop.merchant_id))
        await asyncio.wait({racing}, timeout=0.2)
        found.delivery.state, found.delivery.claimed_by, found.delivery.attempts = "sending", "first", 1
    assert post.line.tries == []
    assert (await shop.deliveries(conversation_id))[0].claimed_by == "first"


async def test_conversations_do_not_wait_for_each_other(post: Post) -> None:
    stuck, free = await post.shop.hear("hola", "+51933333333"), await post.shop.hear("hola", "+51944444444")
    await post.shop.say(stuck, "uno")
    await post.shop.say(free, "dos")
    post.line.gate = asyncio.Event()
    sending = asyncio.create_task(post.deliver(stuck))
    await post.line.started.wait()
    gate, post.line.gate = post.line.gate, None
    await post.deliver(free)
    assert post.line.texts == ["dos"]
    gate.set()
    await sending
    assert post.line.texts == ["dos", "uno"]


async def test_the_due_time_is_found_by_the_sweep_after_a_crash(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.set(state="sending", claimed_by="dead", sending_at=post.shop.clock.now() - timedelta(hours=1))
    assert await post.due() == [(conversation_id, post.shop.merchant_id)]
