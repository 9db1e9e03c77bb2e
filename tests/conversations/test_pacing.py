"""How fast one may send: by the clock of the test, on both databases, whoever asks at the same time."""

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.channels.rules import RULES
from recado.conversations.limit_repository import LimitRepository
from recado.conversations.pacing import Bucket, Pacing, Slot, account_bucket
from recado.db.engine import Database
from recado.merchants.account import Account
from tests.builders import ANA, BETO, NOON
from tests.conversations.post import Post

SECOND = timedelta(seconds=1)


def account(address: str, channel: str = "twilio", **more: float) -> Account:
    return Account(1, 1, channel, address, {}, {}, portfolio=address, **more)  # type: ignore[arg-type]


async def slots(
    database: Database, account: Account, people: list[str], now: datetime = NOON, within: int = 500
) -> list[Slot]:
    """What is asked for one after the other, at one moment."""
    found = []
    for start in range(0, len(people), within):
        async with database.transaction() as session:
            pacing = Pacing(LimitRepository(session), account, now)
            found += [await pacing.slot(person) for person in people[start : start + within]]
    return found


def most_within(moments: list[datetime], span: timedelta) -> int:
    """How many of these (sorted) are within one span of this length."""
    first = most = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= span:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_a_burst_of_one_merchant_delays_no_other(database: Database) -> None:
    people = [f"+5199{number:07}" for number in range(2_000)]
    busy = [slot.at for slot in await slots(database, account("+15550100"), people)]
    calm = [slot.at for slot in await slots(database, account("+15550200"), people[:10])]
    assert calm == [NOON] * 10
    assert busy == sorted(busy)
    assert busy.count(NOON) == 80, "a burst of one second"
    for seconds in (1, 5, 20):
        assert most_within(busy, seconds * SECOND) <= 80 * (seconds + 1)
    assert busy[-1] - NOON == pytest.approx((2_000 - 80) / 80 * SECOND, abs=SECOND / 1_000)


@pytest.mark.parametrize(("given", "rate"), [(None, 80), (5, 5), (0.5, 0.5)])
def test_an_account_may_say_otherwise_than_its_channel(given: float | None, rate: float) -> None:
    bucket = account_bucket(account("+1", per_second=given) if given else account("+1"), RULES["twilio"])
    assert bucket is not None
    assert (1 / bucket.every.total_seconds(), bucket.burst) == (pytest.approx(rate), max(1, int(rate)))
    assert account_bucket(account("+1", "simulator"), RULES["simulator"]) is None


@given(
    waits=st.lists(st.floats(0, 3), min_size=1, max_size=60),
    rate=st.integers(1, 20),
    burst=st.integers(1, 20),
)
def test_no_pattern_of_asking_gets_more_than_its_share(waits: list[float], rate: int, burst: int) -> None:
    bucket, now, until, given = Bucket("k", SECOND / rate, burst), NOON, NOON, []
    for wait in waits:
        now += wait * SECOND
        slot = bucket.slot(until, now)
        until = bucket.after(until, slot)
        assert slot >= now
        given.append(slot)
    assert given == sorted(given)
    for index, first in enumerate(given):
        for count, last in enumerate(given[index:], 1):
            assert count <= burst + (last - first) / bucket.every + 1.001


async def test_one_person_gets_one_in_six_seconds_after_45(database: Database) -> None:
    meta = account("123", "whatsapp")
    found = await slots(database, meta, [ANA] * 46 + [BETO])
    assert [slot.at for slot in found[:45]] == [NOON] * 45
    assert found[45] == Slot(NOON + 6 * SECOND, reserved=False), "nothing is reserved: it asks again then"
    assert found[46] == Slot(NOON, reserved=True), "another person does not wait"
    now = NOON
    for _ in range(3):
        now += 6 * SECOND
        again = await slots(database, meta, [ANA, ANA], now)
        assert [slot.reserved for slot in again] == [True, False]


async def test_who_waits_for_a_person_takes_nothing_from_the_account(database: Database) -> None:
    meta = account("123", "whatsapp", per_second=50)
    found = await slots(database, meta, [ANA] * 200 + [BETO] * 5)
    assert {slot.at for slot in found[200:]} == {NOON}


async def test_what_has_been_sent_counts_after_a_restart_and_in_another_process(database: Database) -> None:
    slow = account("+1", per_second=1)
    assert [slot.at - NOON for slot in await slots(database, slow, [ANA, BETO])] == [0 * SECOND, SECOND]
    other = Database(database.url.render_as_string(hide_password=False))
    try:
        assert (await slots(other, slow, [ANA]))[0].at - NOON == 2 * SECOND
    finally:
        await other.close()


async def test_all_who_ask_at_once_get_different_times(database: Database) -> None:
    """New buckets and old ones, people and accounts mixed, many times: nobody is in a deadlock with anybody."""
    accounts = [account("1", "whatsapp", per_second=1), account("2", "whatsapp", per_second=1)]

    async def ask(number: int) -> tuple[str, datetime]:
        mine = accounts[number % 2]
        async with database.transaction() as session:
            pacing = Pacing(LimitRepository(session), mine, NOON)
            return mine.address, (await pacing.slot([ANA, BETO][number // 2 % 2])).at

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(ask(number) for number in range(40)))
    assert sorted(found) == [(address, NOON + n * SECOND) for address in "12" for n in range(20)]


async def test_an_account_does_not_wait_for_anothers_transaction(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    await slots(database, account("1"), [ANA])
    async with asyncio.timeout(20), database.transaction() as session:
        await Pacing(LimitRepository(session), account("1"), NOON).slot(ANA)
        same = asyncio.create_task(slots(database, account("1"), [ANA]))
        assert (await slots(database, account("2"), [ANA]))[0].at == NOON
        assert not same.done()
    await same


async def test_what_may_not_go_now_waits_for_its_own_time(post: Post) -> None:
    await post.be("twilio", per_second=2)
    people = [f"+5199{number:07}" for number in range(6)]
    conversations = [await post.shop.hear("hola", person) for person in people]
    for conversation_id in conversations:
        await post.shop.say(conversation_id, f"n{conversation_id}")
    deliver = post.outbox.deliver
    due = [await deliver(conversation_id, post.shop.merchant_id) for conversation_id in conversations]
    assert due == [None, None, *(NOON + n * SECOND / 2 for n in range(1, 5))]
    assert len(post.line.tries) == 2
    assert await deliver(conversations[2], post.shop.merchant_id) == due[2], "it is not asked for a second time"
    post.shop.clock.time = NOON + SECOND
    assert len(await post.due()) == 2, "the others are not even looked at"
    for conversation_id in conversations:
        await deliver(conversation_id, post.shop.merchant_id)
    assert len(post.line.tries) == 4
    post.shop.clock.time = NOON + 2 * SECOND
    for conversation_id in conversations:
        assert await deliver(conversation_id, post.shop.merchant_id) is None
    assert sorted(map(str, post.line.texts)) == sorted(f"n{conversation_id}" for conversation_id in conversations)


async def test_times_that_have_passed_long_ago_are_no_burst(post: Post) -> None:
    await post.be("twilio", per_second=1)
    conversations = [await post.shop.hear("hola", f"+5199{number:07}") for number in range(10)]
    for conversation_id in conversations:
        await post.shop.say(conversation_id, "hola")
        await post.deliver(conversation_id)
    post.shop.clock.forward(minutes=10)  # as after a restart
    due = [await post.outbox.deliver(conversation_id, post.shop.merchant_id) for conversation_id in conversations]
    assert due.count(None) == 2, "the one that was sent, and one more"
    assert len(post.line.tries) == 2


async def test_a_second_attempt_counts_like_a_first(post: Post) -> None:
    await post.be("twilio", per_second=1)
    ana, beto = [await post.shop.hear("hola", person) for person in (ANA, BETO)]
    await post.shop.say(ana, "uno")
    await post.shop.say(beto, "dos")
    await post.deliver(ana)
    assert await post.outbox.deliver(beto, post.shop.merchant_id) == NOON + SECOND
    await post.set(state="pending", slot_at=None, due_at=NOON)
    assert await post.outbox.deliver(ana, post.shop.merchant_id) == NOON + 2 * SECOND


async def test_a_shared_address_has_one_limit(database: Database) -> None:
    one, other = account("+1", per_second=1), Account(2, 2, "twilio", "+1", {}, {}, per_second=1)
    assert [(await slots(database, each, [ANA]))[0].at for each in (one, other)] == [NOON, NOON + SECOND]
