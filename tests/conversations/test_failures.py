"""What providers do not take, by the class of the error: at once, and by a later status."""

from datetime import timedelta

import pytest

from recado.conversations.failing import FIRST_BACKOFF, LONGEST_WAIT, MAX_ATTEMPTS
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    OptedOut,
    Permanent,
    Retryable,
    SendError,
    TemplateRefused,
    WindowClosed,
)
from tests.builders import BETO, NOON, TEMPLATE
from tests.conversations.post import LONG, Post

TOKEN = AccountRefused("Meta 190: the token has expired", "190", remedy="make a new token")


@pytest.mark.parametrize("asked", [0.0, -5.0, 0.01])
async def test_a_provider_in_a_hurry_does_not_use_up_the_attempts(post: Post, asked: float) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("busy", "429", retry_after=asked), False)]
    due_at = await post.outbox.deliver(conversation_id, post.shop.merchant_id)
    assert due_at is not None
    assert due_at >= NOON + FIRST_BACKOFF / 2


@pytest.mark.parametrize(("asked", "waited"), [(30.0, 30.0), (1e9, LONGEST_WAIT.total_seconds())])
async def test_when_the_provider_says_when_to_come_again_we_do(post: Post, asked: float, waited: float) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(Retryable("busy", "429", retry_after=asked), False)]
    assert await post.outbox.deliver(conversation_id, post.shop.merchant_id) == NOON + timedelta(seconds=waited)
    post.shop.clock.forward(seconds=waited)
    await post.deliver(conversation_id)
    assert post.line.texts == ["uno"]


async def test_what_an_account_is_refused_for_waits_with_one_alert(post: Post) -> None:
    conversations = [await post.shop.hear("hola"), await post.shop.hear("hola", BETO)]
    for conversation_id in conversations:
        await post.shop.say(conversation_id, "uno")
    post.line.plan = [(TOKEN, False)] * 200
    waits = []
    for _ in range(20):
        for conversation_id in conversations:
            (delivery,) = await post.deliver(conversation_id)
            assert (delivery.state, delivery.provider_code) == ("pending", "190")
        waits.append(delivery.due_at - post.shop.clock.now())
        due = [delivery.due_at for each in conversations for delivery in await post.shop.deliveries(each)]
        post.shop.clock.time = max(due)
    assert post.shop.clock.now() - NOON < timedelta(hours=1)
    assert await post.alerts.told(post.shop.clock) == ["account_refused"]
    _, reason, context = post.alerts.sent[0]
    assert "make a new token" in reason
    assert context["channel_account_id"] == post.shop.account.id
    assert max(waits) <= timedelta(minutes=5)
    assert sum(waits[-3:], timedelta()) > timedelta(minutes=5), "it is tried ever more rarely"
    post.line.plan = [(Retryable("a hiccup"), False)]
    await post.deliver(conversations[0])
    post.shop.clock.forward(minutes=5)
    for conversation_id in conversations:
        (delivery,) = await post.deliver(conversation_id)
        assert delivery.state == "sent", "attempts that were refused are not counted"


async def test_it_hears_again_after_an_hour_and_gives_up_after_a_day(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    post.line.plan = [(TOKEN, False)] * 100
    heard = []
    for minutes in (0, 55, 60, 65, 115, 120, 23 * 60 + 59):
        post.shop.clock.time = NOON + timedelta(minutes=minutes)
        (delivery,) = await post.deliver(conversation_id)
        assert delivery.state == "pending"
        heard.append(len(await post.alerts.told(post.shop.clock)))
    assert heard == [1, 1, 2, 2, 2, 3, 4]
    post.shop.clock.time = NOON + timedelta(hours=24, minutes=5)
    (delivery,) = await post.deliver(conversation_id)
    assert delivery.state == "failed"
    assert "after 24 hours" in str(delivery.error)
    assert (await post.alerts.told(post.shop.clock))[4:] == ["delivery_given_up"]
    assert "make a new token" in post.alerts.sent[-1][1]


async def test_another_code_of_the_same_account_is_told_of(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(TOKEN, False), (AccountRefused("payment", "131042"), False)]
    await post.deliver(conversation_id)
    post.shop.clock.forward(minutes=1)
    await post.deliver(conversation_id)
    assert await post.alerts.told(post.shop.clock) == ["account_refused"] * 2


@pytest.mark.parametrize(
    ("error", "wish"), [(OptedOut("STOP", "21610"), "all"), (MarketingStopped("stop", "131050"), "marketing")]
)
@pytest.mark.parametrize("how", ["at once", "by a status"])
async def test_who_wants_no_messages_is_left_alone(post: Post, error: OptedOut, wish: str, how: str) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    if how == "at once":
        post.line.plan = [(error, False)]
    (delivery,) = await post.deliver(conversation_id)
    if how == "by a status":
        await post.status("failed", code=error.code, error="said", failure=type(error))
        (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.provider_code) == ("failed", error.code)
    contact = await post.contact()
    assert (contact.opt_out, contact.opt_out_at) == (wish, post.shop.clock.now())
    assert post.alerts.sent == [], "it is their own choice"
    assert len(post.line.tries) == 1


async def test_a_later_word_of_the_person_is_stronger(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=1)
    await post.wish(None)  # START
    post.shop.clock.forward(seconds=1)
    await post.status("failed", code="21610", failure=OptedOut)
    assert (await post.contact()).opt_out is None
    await post.wish("all")
    post.shop.clock.forward(seconds=1)
    await post.set(sending_at=post.shop.clock.now(), state="sent")
    await post.status("failed", code="131050", failure=MarketingStopped)
    assert (await post.contact()).opt_out == "all", "that is more"


async def test_a_status_that_may_pass_sends_again_and_gives_up_in_the_end(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        (delivery,) = await post.deliver(conversation_id)
        assert (delivery.state, delivery.attempts, delivery.provider_message_id) == ("sent", attempt, f"p{attempt}")
        for _ in range(2):  # doubled
            await post.status("failed", f"p{attempt}", delivery.id, code="131000", error="later", failure=Retryable)
        (delivery,) = await post.shop.deliveries(conversation_id)
        post.shop.clock.time = delivery.due_at
    assert delivery.state == "failed"
    assert f"after {MAX_ATTEMPTS} attempts" in str(delivery.error)
    assert post.alerts.conditions == ["delivery_failed"]


async def test_a_status_of_a_refused_account_waits_with_one_alert(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    for attempt in range(1, 12):
        (delivery,) = await post.deliver(conversation_id)
        said = {"code": "131042", "error": "payment", "failure": AccountRefused, "remedy": "pay"}
        await post.status("failed", f"p{attempt}", delivery.id, **said)
        (delivery,) = await post.shop.deliveries(conversation_id)
        assert delivery.state == "pending"
        post.shop.clock.time = delivery.due_at
    assert await post.alerts.told(post.shop.clock) == ["account_refused"]
    assert post.alerts.sent[0][1].endswith("pay")
    await post.deliver(conversation_id)
    await post.status("delivered", "p12", delivery.id)
    assert (await post.shop.deliveries(conversation_id))[0].state == "delivered"


@pytest.mark.parametrize("failure", [None, Permanent])
async def test_a_code_that_nobody_knows_says_so(post: Post, failure: type[SendError] | None) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    await post.deliver(conversation_id)
    await post.status("failed", code="99999", failure=failure)
    (delivery,) = await post.shop.deliveries(conversation_id)
    assert (delivery.state, delivery.provider_code) == ("failed", "99999")
    assert "no reason" in str(delivery.error)


async def test_an_error_with_a_remedy_tells_it(post: Post) -> None:
    conversation_id = await post.shop.open()
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    withheld = TemplateRefused("Meta 131049: withheld", "131049", remedy="wait a day")
    post.line.plan = [(withheld, False)]
    (delivery,) = await post.deliver(conversation_id)
    assert delivery.state == "held"
    assert post.alerts.sent[0][1].endswith("131049: withheld; wait a day")


async def test_where_there_are_no_templates_a_text_is_held_with_one_alert(post: Post) -> None:
    await post.be("instagram")
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, LONG)
    post.shop.clock.forward(hours=25)
    deliveries = await post.deliver(conversation_id)
    assert {d.state for d in deliveries} == {"held"}
    assert post.line.tries == []
    ((title, reason, _),) = post.alerts.sent
    assert title == "delivery_held"
    assert "2026-05-01 12:00" in reason
    assert "7 days" in reason
    await post.shop.hear("hola")
    await post.deliver(conversation_id)
    assert " ".join(str(text) for text in post.line.texts).split() == LONG.split()


@pytest.mark.parametrize(("days", "ways"), [(1, ["text"]), (2, ["human"]), (8, [None])])
async def test_what_a_human_wrote_goes_for_seven_days(post: Post, days: int, ways: list[str | None]) -> None:
    await post.be("instagram")
    conversation_id = await post.shop.hear("hola")
    post.shop.clock.forward(days=days)
    await post.shop.say(conversation_id, "uno", by_human=True)
    deliveries = await post.deliver(conversation_id)
    assert [d.sent_as for d in deliveries] == ways
    assert [m.by_human for m in post.line.tries] == [way == "human" for way in ways if way]
    assert deliveries[0].state == ("sent" if days < 7 else "held")


@pytest.mark.parametrize("how", ["at once", "by a status"])
async def test_when_instagram_says_closed_a_humans_words_go_as_such(post: Post, how: str) -> None:
    await post.be("instagram")
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", by_human=True)
    await post.shop.say(conversation_id, "dos")
    if how == "at once":
        post.line.plan = [(WindowClosed("outside", "10"), False)]
        await post.deliver(conversation_id)
    else:
        await post.set(due_at=NOON + timedelta(minutes=1))
        first, _ = await post.shop.deliveries(conversation_id)
        async with post.shop.database.transaction() as session:
            (await session.merge(first)).due_at = NOON
        await post.deliver(conversation_id)
        await post.status("failed", "p1", code="10", failure=WindowClosed)
        post.shop.clock.forward(minutes=1)
        await post.deliver(conversation_id)
    human, machine = await post.shop.deliveries(conversation_id)
    assert [(d.state, d.sent_as) for d in (human, machine)] == [("sent", "human"), ("held", None)]
    assert post.alerts.conditions == ["delivery_held"]


async def test_a_humans_words_that_are_refused_too_are_held(post: Post) -> None:
    await post.be("instagram")
    conversation_id = await post.shop.hear("hola")
    post.shop.clock.forward(days=2)
    await post.shop.say(conversation_id, "uno", by_human=True)
    post.line.plan = [(WindowClosed("outside", "10"), False)]
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, len(post.line.tries)) == ("held", 1)
    assert post.alerts.conditions == ["delivery_held"]
