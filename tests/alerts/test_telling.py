"""An alert is told to each channel once, in order, and again where it was not taken."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from recado.alerts.linear import Issue
from recado.alerts.raising import Alarm
from recado.db.engine import Database
from recado.db.models import Alert, Conversation
from tests.alerts.watch import Watch, later, never
from tests.builders import ANA, ProcessDies, Shop, make_shop

FAILED = Alarm("turn_failed", "ModelError: no answer")


@pytest.fixture
async def shop(database: Database) -> Shop:
    return await make_shop(database)


@pytest.fixture
def watch(shop: Shop) -> Watch:
    return Watch(shop.database)


async def test_a_channel_that_fails_is_told_again_and_holds_up_no_other(watch: Watch) -> None:
    watch.one.plan = [later(), RuntimeError("a fault of ours"), later(), None]
    await watch.happen(FAILED)
    await watch.work()
    assert (watch.one.kinds, watch.two.kinds) == ([], [("first", 1)])
    for _ in range(3):
        await watch.work(seconds=20)
    assert (watch.one.kinds, watch.one.tries) == ([("first", 1)], 4)
    await watch.work(minutes=30)
    assert (watch.one.tries, watch.two.tries) == (4, 1)
    assert {post.state for post in await watch.posts()} == {"sent"}


async def test_what_a_channel_asks_to_wait_is_waited(watch: Watch) -> None:
    watch.one.plan = [later(120.0)]
    await watch.happen(FAILED)
    await watch.work()
    await watch.work(seconds=119)
    assert watch.one.heard == []
    await watch.work(seconds=2)
    assert watch.one.kinds == [("first", 1)]


async def test_a_later_alert_does_not_overtake_one_that_waits(watch: Watch) -> None:
    watch.one.plan = [later()]
    await watch.happen(FAILED, Alarm("sla_breached", "NOTIF_1 has waited"))
    await watch.work()
    assert watch.one.tries == 1
    await watch.work(seconds=5)
    await watch.work()
    assert [notice.condition for notice in watch.one.heard] == ["turn_failed", "sla_breached"]


async def test_a_channel_that_is_gone_is_not_asked_again_for_this_one(watch: Watch) -> None:
    watch.one.plan = [never()]
    await watch.happen(FAILED)
    await watch.work()
    await watch.work(hours=1)
    assert (watch.one.tries, [post.state for post in await watch.posts()]) == (1, ["failed", "sent"])


async def test_after_a_day_it_is_left_to_the_log(watch: Watch) -> None:
    watch.one.plan = [later()] * 500
    await watch.happen(FAILED)
    for _ in range(24 * 4 + 2):
        await watch.work(minutes=15)
    assert [post.state for post in await watch.posts()] == ["failed", "sent"]
    assert 90 < watch.one.tries < 110
    assert not await watch.jobs.is_due()


async def test_a_process_that_dies_while_it_tells_leaves_it_to_the_next(watch: Watch) -> None:
    watch.one.plan = [ProcessDies()]
    await watch.happen(FAILED)
    with pytest.raises(ProcessDies):
        await watch.work()
    watch.jobs = watch.new_jobs()
    await watch.work()
    assert watch.one.kinds == [("first", 1)]


async def test_it_says_who_waits_for_what_and_where_to_look(watch: Watch, shop: Shop) -> None:
    conversation_id = await shop.hear("hola", ANA)
    async with shop.database.transaction() as session:
        await session.execute(update(Conversation).values(api_context={"orderHistory": ["o1", "o2"]}))
    ids = {"merchant_id": shop.merchant_id, "conversation_id": conversation_id, "turn_id": 5, "trace_id": "ab" * 16}
    await watch.happen(Alarm("delivery_given_up", f"63016: no; {ANA} is not there", ids))
    await watch.work()
    [notice] = watch.one.heard
    assert (notice.store_name, notice.conversation_id) == ("Shop", conversation_id)
    assert (notice.customer.phone, notice.customer.orders_count) == (ANA, 2)
    assert ANA not in notice.description
    assert notice.ids == {"turn_id": 5}
    assert notice.conversation_url == f"https://app.example.com/whatsapp/messages?conversationId={conversation_id}"
    assert notice.trace_url == f"https://langfuse.example.com/traces/{'ab' * 16}"
    assert notice.logs_url is not None
    start, end = (watch.clock.now() + timedelta(seconds=by) for by in (-30, 30))
    assert f"{start:%H%%3A%M%%3A%S}" in notice.logs_url
    assert f"{end:%H%%3A%M%%3A%S}" in notice.logs_url


async def test_another_merchants_conversation_shows_nobody(watch: Watch, shop: Shop) -> None:
    conversation_id = await shop.hear("hola", ANA)
    await watch.happen(Alarm("turn_failed", "no", {"conversation_id": conversation_id}))
    await watch.work()
    [notice] = watch.one.heard
    assert (notice.store_name, notice.customer.phone) == (None, None)


async def test_a_sum_says_how_far_it_spread(watch: Watch) -> None:
    for number in range(7):
        await watch.happen(Alarm("turn_failed", "no", {"conversation_id": number % 3 + 1}))
    await watch.work()
    [notice] = watch.one.heard
    assert (notice.count, notice.spread) == (7, (3, 0))


class Tracker:
    """Issues in memory."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def issue_of(self, alert: Alert, store_name: str | None) -> Issue | None:
        self.asked.append(alert.condition)
        return Issue("ENG-1", "https://linear.app/x/issue/ENG-1")


async def test_errors_get_an_issue_and_warnings_do_not(watch: Watch) -> None:
    tracker = Tracker()
    watch.jobs = watch.new_jobs(tracker)
    await watch.happen(FAILED, Alarm("sla_breached", "NOTIF_1 has waited"))
    await watch.work()
    assert tracker.asked == ["turn_failed"]
    assert [notice.linear_identifier for notice in watch.one.heard] == ["ENG-1", None]
