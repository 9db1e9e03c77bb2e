"""How many new people a portfolio may write to within 24 hours, outside their windows."""

from datetime import timedelta

from sqlalchemy import func, select

from recado.db.models import NewRecipient
from tests.builders import ANA, BETO, NOON, TEMPLATE
from tests.conversations.post import Post

DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)


async def ask(post: Post, *people: str) -> list[int]:
    """A template for each of these, who may never have written; their conversations."""
    conversations = [await post.shop.open(person) for person in people]
    for conversation_id in conversations:
        await post.shop.say(conversation_id, "¿Está?", TEMPLATE)
        await post.deliver(conversation_id)
    return conversations


def people(count: int) -> list[str]:
    return [f"+5199{number:07}" for number in range(count)]


async def states(post: Post, conversations: list[int]) -> list[str]:
    return [(await post.shop.deliveries(conversation_id))[0].state for conversation_id in conversations]


async def test_at_the_cap_it_waits_until_the_oldest_is_a_day_ago(post: Post) -> None:
    await post.be("twilio", daily_limit=2, portfolio="shop")
    first, second, third, fourth = people(4)
    await ask(post, first)
    post.shop.clock.forward(hours=1)
    await ask(post, second)
    post.shop.clock.forward(hours=1)
    waiting = await ask(post, third, fourth)
    found = [(await post.shop.deliveries(conversation_id))[0] for conversation_id in waiting]
    assert [d.state for d in found] == ["pending"] * 2
    assert [d.due_at for d in found] == [NOON + DAY, NOON + DAY + HOUR], "each when one of the others leaves"
    assert {d.provider_code for d in found} == {"daily_cap"}
    assert "daily limit" in str(found[0].error)
    assert "2026-05-02 12:00" in str(found[0].error)
    post.shop.clock.time = NOON + DAY
    await post.deliver(waiting[1])
    await post.deliver(waiting[0])
    assert await states(post, waiting) == ["sent", "pending"]
    post.shop.clock.time += HOUR
    await post.deliver(waiting[1])
    assert await states(post, waiting) == ["sent", "sent"]
    sent = (await post.shop.deliveries(waiting[0]))[0]
    assert (sent.error, sent.provider_code) == (None, None)


async def test_who_was_written_to_today_counts_once(post: Post) -> None:
    await post.be("twilio", daily_limit=1, portfolio="shop")
    for _ in range(3):
        assert await states(post, await ask(post, ANA)) == ["sent"]
        post.shop.clock.forward(hours=20)
    assert await states(post, await ask(post, BETO)) == ["pending"], "she was written to within a day"
    post.shop.clock.forward(hours=4)
    assert await states(post, await ask(post, people(1)[0])) == ["pending"], "it is his turn first"


async def test_replies_within_the_window_do_not_count(post: Post) -> None:
    await post.be("twilio", daily_limit=1, portfolio="shop")
    for person in people(3):
        conversation_id = await post.shop.hear("hola", person)
        await post.shop.say(conversation_id, "uno", TEMPLATE)
        await post.shop.say(conversation_id, None, TEMPLATE)
        await post.deliver(conversation_id)
    assert len(post.line.texts) == 6
    assert await states(post, await ask(post, ANA)) == ["sent"]


async def test_who_writes_while_it_waits_gets_it_at_once_and_in_order(post: Post) -> None:
    await post.be("twilio", daily_limit=1, portfolio="shop")
    await ask(post, BETO)
    (waiting,) = await ask(post, ANA)
    assert await states(post, [waiting]) == ["pending"]
    await post.shop.hear("hola", ANA)
    await post.shop.say(waiting, "dos")
    await post.deliver(waiting)
    assert post.line.texts == [TEMPLATE.name, "¿Está?", "dos"]


async def test_an_operator_hears_at_80_percent_and_at_100_once_a_day(post: Post) -> None:
    await post.be("twilio", daily_limit=5, portfolio="shop")
    heard = []
    for person in people(8):
        await ask(post, person)
        heard.append(await post.alerts.told(post.shop.clock))
        post.shop.clock.forward(minutes=1)
    assert heard[2] == []
    assert heard[3] == ["daily_limit_near"]
    assert heard[4] == ["daily_limit_near", "daily_limit_reached"]
    assert heard[7] == heard[4]
    for _, reason, context in post.alerts.sent:
        assert "5 new people" in reason
        assert "daily_limit" in reason
        assert context["merchant_id"] == post.shop.merchant_id
    post.shop.clock.forward(hours=24)
    await ask(post, *(f"+5188{number:07}" for number in range(5)))
    assert (await post.alerts.told(post.shop.clock))[2:] == ["daily_limit_near", "daily_limit_reached"]


async def test_nought_is_no_cap_and_nothing_is_the_channels(post: Post) -> None:
    await post.be("twilio", daily_limit=0, per_second=1_000)
    assert set(await states(post, await ask(post, *people(12)))) == {"sent"}
    async with post.shop.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(NewRecipient)) == 0
    await post.be("twilio", daily_limit=None, portfolio=None)
    await ask(post, ANA)
    async with post.shop.database.read() as session:
        assert (await session.scalars(select(NewRecipient.portfolio))).all() == ["twilio:+15550100"]


async def test_who_counts_no_longer_is_removed(post: Post) -> None:
    await post.be("twilio", daily_limit=10, portfolio="shop")
    await ask(post, *people(5))
    post.shop.clock.forward(hours=24, seconds=1)
    await ask(post, ANA)
    async with post.shop.database.read() as session:
        assert (await session.scalars(select(NewRecipient.channel_user_id))).all() == [ANA]
