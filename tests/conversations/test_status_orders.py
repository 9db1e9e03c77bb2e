"""Whatever the order in which statuses arrive, and however often each: the end is the same."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from recado.channels.base import StatusUpdate
from recado.conversations.repository import ConversationRepository
from recado.conversations.statuses import apply_status
from recado.db.models import Contact, Delivery
from recado.errors import AccountRefused, OptedOut, Permanent, Retryable, SendError, TemplateRefused, WindowClosed
from tests.builders import BETO, TEMPLATE
from tests.conversations.post import LONG, Post

STEPS = ["sent", "delivered", "read", "failed"]
KINDS = ["text", "text or template", "template", "split"]
FAILURES: list[type[SendError]] = [Permanent, Retryable, AccountRefused, OptedOut, TemplateRefused, WindowClosed]
"""As what a provider reports that a message failed which it had taken."""


class Undo(Exception):
    """Ends a transaction without leaving anything."""


@pytest.fixture
async def sent(post: Post) -> dict[str, list[Delivery]]:
    """A text, a text that has a template too, a template, and a long text, each sent."""
    talk, closed = await post.shop.hear("hola"), await post.shop.open(BETO)
    said = [(talk, "uno", None), (talk, "dos", TEMPLATE), (closed, "tres", TEMPLATE), (talk, LONG, None)]
    found = {}
    for kind, (conversation_id, text, template) in zip(KINDS, said, strict=True):
        message_id = await post.shop.say(conversation_id, text, template)
        deliveries = await post.deliver(conversation_id)
        found[kind] = [delivery for delivery in deliveries if delivery.message_id == message_id]
    assert [len(deliveries) for deliveries in found.values()] == [1, 1, 1, 3]
    assert {delivery.state for deliveries in found.values() for delivery in deliveries} == {"sent"}
    return found


def failed_alone(kind: str, failure: type[SendError]) -> str:
    """Where a delivery is that failed so."""
    if issubclass(failure, Retryable) or (failure is WindowClosed and kind == "text or template"):
        return "pending"
    return "held" if failure is TemplateRefused and kind == "template" else "failed"


def expected(order: list[str], kind: str, failure: type[SendError]) -> str:
    """The highest rank decides."""
    if "read" in order or "delivered" in order:
        return "read" if "read" in order else "delivered"
    return failed_alone(kind, failure) if "failed" in order else "sent"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    failure=st.sampled_from(FAILURES),
    order=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7),
    by_id=st.booleans(),
)
async def test_the_end_is_the_same_for_every_order(
    post: Post, sent: dict[str, list[Delivery]], kind: str, failure: type[SendError], order: list[str], by_id: bool
) -> None:
    for delivery in sent[kind]:
        post.alerts.clear()
        with suppress(Undo):
            async with post.shop.database.transaction() as session:
                repository = ConversationRepository(session, post.shop.merchant_id)
                for state in order:
                    failed = {"code": "1", "failure": failure} if state == "failed" else {}
                    known = delivery.id if by_id else None
                    update = StatusUpdate(str(delivery.provider_message_id), state, known, **failed)
                    assert await apply_status(repository, update, post.shop.clock.now())
                    await session.flush()
                now = await session.get_one(Delivery, delivery.id)
                assert (now.state, now.provider_message_id) == (
                    expected(order, kind, failure),
                    delivery.provider_message_id,
                )
                if now.state in ("sent", "delivered", "read"):
                    assert (now.error, now.provider_code) == (None, None)
                wishes = {contact.opt_out for contact in await session.scalars(select(Contact))}
                assert ("all" in wishes) == (failure is OptedOut and "failed" in order)
                raise Undo
        assert len(post.alerts.sent) <= 1


async def test_what_was_sent_again_arrives_by_either_send(post: Post) -> None:
    """A status of the first send that comes after the second one."""
    for order in (["p1 delivered", "p2 failed"], ["p2 failed", "p1 delivered"], ["p2 sent", "p1 delivered", "p1 sent"]):
        fresh = Post(post.shop)
        conversation_id = await post.shop.hear("hola")
        await post.shop.say(conversation_id, "uno")
        delivery = (await fresh.deliver(conversation_id))[-1]
        await fresh.status("failed", "p1", delivery.id, code="131000", failure=Retryable)
        post.shop.clock.forward(minutes=5)
        delivery = (await fresh.deliver(conversation_id))[-1]
        assert (delivery.state, delivery.provider_message_id) == ("sent", "p2")
        for provider_id, state in (step.split() for step in order):
            await fresh.status(state, provider_id, delivery.id, code="1", failure=Permanent)
        delivery = (await fresh.deliver(conversation_id))[-1]
        assert (delivery.state, delivery.provider_message_id) == ("delivered", "p2")
        assert len(fresh.line.tries) == 2


@pytest.mark.parametrize("state", ["sent", "delivered", "read"])
async def test_a_status_settles_what_waits_to_be_looked_up(post: Post, state: str) -> None:
    """As with Meta, which has no lookup: the status is the only thing that tells."""
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("timeout", ambiguous=True), True)]
    post.line.find_plan = [Retryable("only time will tell", retry_after=60)]
    (delivery,) = await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=1)
    due_at = await post.outbox.deliver(conversation_id, post.shop.merchant_id)
    assert due_at is not None
    assert (due_at - post.shop.clock.now()).total_seconds() == 60
    assert await post.status(state, "wamid.unknown", delivery.id)
    post.shop.clock.forward(minutes=10)
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.provider_message_id) == (state, "wamid.unknown")
    assert (len(post.line.tries), post.line.finds) == (1, 1)


async def test_a_wait_for_a_status_is_one_attempt_and_then_it_is_sent_again(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("timeout", ambiguous=True), False)]
    post.line.find_plan = [Retryable("only time will tell", retry_after=60)]
    await post.deliver(conversation_id)
    for seconds in (1, 60):
        post.shop.clock.forward(seconds=seconds)
        (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.attempts, post.line.texts) == ("sent", 3, ["uno"])
