"""The outbox: in order, each once, by the 24-hour rule, and never silently lost."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from recado.channels.base import StatusUpdate
from recado.conversations.outbox import CLAIM, MAX_ATTEMPTS, Outbox, apply_status
from recado.conversations.repository import ConversationRepository, conversations_with_due_deliveries
from recado.db.engine import Database
from recado.db.models import Delivery
from recado.errors import OptedOut, Permanent, Retryable, WindowClosed
from tests.builders import TEMPLATE, AlertLog, Line, Shop, make_shop, together

LONG = "Una frase entera que no es corta. " * 300


class Post:
    """A shop with its outbox."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.line, self.alerts = shop, Line(), AlertLog()
        self.outbox = self.new_outbox("first")

    def new_outbox(self, process_id: str, *, alone: bool = False) -> Outbox:
        shop = self.shop
        channels = {"simulator": self.line}
        return Outbox(shop.database, shop.clock, channels, self.alerts, process_id, alone=alone)

    async def deliver(self, conversation_id: int, outbox: Outbox | None = None) -> list[Delivery]:
        await (outbox or self.outbox).deliver(conversation_id, self.shop.merchant_id)
        return await self.shop.deliveries(conversation_id)

    async def set(self, **values: object) -> None:
        async with self.shop.database.transaction() as session:
            await session.execute(update(Delivery).values(**values))

    async def status(self, state: str, provider_id: str = "p1", delivery_id: int | None = None, **more: object) -> bool:
        async with self.shop.database.transaction() as session:
            repository = ConversationRepository(session, self.shop.merchant_id)
            return await apply_status(repository, self.alerts, StatusUpdate(provider_id, state, delivery_id, **more))

    async def due(self) -> list[tuple[int, int]]:
        """What the sweep finds to send."""
        async with self.shop.database.read() as session:
            return await conversations_with_due_deliveries(session, self.shop.clock.now(), 10)


@pytest.fixture
async def post(database: Database) -> Post:
    return Post(await make_shop(database))


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
    assert post.alerts.titles == ["delivery given up"]
    assert post.alerts.sent[0][2]["delivery_id"] == first.id
    assert second.state == "sent", "what follows must still go"


async def test_what_cannot_work_fails_at_once(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    for number, error in enumerate((Permanent("no such number", "21211"), OptedOut("stop", "21610")), 1):
        await post.shop.say(conversation_id, "uno", TEMPLATE)
        post.line.plan = [(error, False)]
        delivery = (await post.deliver(conversation_id))[-1]
        assert (delivery.state, delivery.provider_code, delivery.error) == ("failed", error.code, str(error))
        assert post.alerts.titles == ["delivery given up"] * number
        assert len(post.line.tries) == number


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
    assert post.alerts.titles == ["delivery given up"]
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
    assert post.alerts.titles == ["delivery given up"]


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
    assert post.alerts.titles == ["delivery given up"] * 2, "half an answer arrived, and nobody would know"


@pytest.mark.parametrize("alone", [True, False])
async def test_what_was_under_way_in_a_dead_process_and_arrived_is_not_sent_again(post: Post, alone: bool) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(ConnectionResetError("the process dies here"), True)]
    with pytest.raises(ConnectionResetError):
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
    post.line.plan = [(ConnectionResetError("the process dies here"), False)]
    with pytest.raises(ConnectionResetError):
        await post.deliver(conversation_id)
    post.shop.clock.forward(seconds=CLAIM.total_seconds())
    (delivery,) = await post.deliver(conversation_id, post.new_outbox("second", alone=alone))
    assert (delivery.state, post.line.finds, post.line.texts) == ("sent", 1, ["uno"])


async def test_another_processs_claim_is_respected_until_it_is_stale(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno")
    post.line.plan = [(ConnectionResetError("the process dies here"), False)]
    with pytest.raises(ConnectionResetError):
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
    post.line.plan = [(ConnectionResetError("the process dies here"), False)]
    with pytest.raises(ConnectionResetError):
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
    for state in ("failed", "failed", "delivered"):
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
    assert await post.status("failed", code="63016", window_closed=True)
    assert await post.due() == [(conversation_id, post.shop.merchant_id)]
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.provider_message_id, post.line.texts) == ("sent", "p2", ["uno", TEMPLATE.name])
    assert await post.status("failed", "p2", code="63016", window_closed=True)
    assert (await post.shop.deliveries(conversation_id))[0].state == "failed"
    assert post.alerts.titles == ["delivery failed at the provider"]


async def test_closed_by_a_status_that_overtakes_the_send_the_template_goes_all_the_same(post: Post) -> None:
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "uno", TEMPLATE)
    (delivery,) = await post.shop.deliveries(conversation_id)
    gate = post.line.gate = asyncio.Event()
    sending = asyncio.create_task(post.deliver(conversation_id))
    await post.line.started.wait()
    await post.status("failed", "p1", delivery.id, code="63016", window_closed=True)
    post.line.gate = None
    gate.set()
    await sending
    (delivery,) = await post.deliver(conversation_id)
    assert (delivery.state, delivery.sent_as, post.line.texts) == ("sent", "template", ["uno", TEMPLATE.name])


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
