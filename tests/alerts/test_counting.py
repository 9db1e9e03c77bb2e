"""The same error is one alert: told at once, again while it lasts, in sum when it is over. Nothing is lost of the
count."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from recado.alerts.conditions import CONDITIONS
from recado.alerts.counting import KEPT_FOR
from recado.alerts.raising import Alarm, raise_within
from recado.db.engine import Database
from recado.db.models import AlertOccurrence
from tests.alerts.watch import QUIET, Watch

GIVEN_UP = Alarm("delivery_given_up", "63016: no", {"conversation_id": 7})
FAILED = Alarm("turn_failed", "ModelError: no answer")


@pytest.fixture
def watch(database: Database) -> Watch:
    return Watch(database)


async def test_one_error_is_told_at_once_and_not_again(watch: Watch) -> None:
    await watch.happen(GIVEN_UP)
    await watch.work()
    await watch.work(minutes=11)
    await watch.work(hours=5)
    assert watch.one.kinds == watch.two.kinds == [("first", 1)]
    [alert] = await watch.alerts()
    assert (alert.count, alert.told_count) == (1, 1)
    assert alert.ended_at is not None
    assert not await watch.jobs.is_due()


async def test_many_are_told_once_and_summed_up_when_it_is_over(watch: Watch) -> None:
    await watch.happen(GIVEN_UP)
    await watch.work()
    for _ in range(5):
        await watch.happen(GIVEN_UP, times=200)
        await watch.work(seconds=10)
    await watch.work(seconds=QUIET.total_seconds() - 11)
    assert watch.one.kinds == [("first", 1)]
    await watch.work(seconds=1)
    assert watch.one.kinds == watch.two.kinds == [("first", 1), ("summary", 1_001)]
    summary = watch.one.heard[-1]
    assert summary.last_at - summary.at == timedelta(seconds=40)


async def test_what_goes_on_is_told_once_an_hour(watch: Watch) -> None:
    for _ in range(5 * 12):
        await watch.happen(FAILED, times=3)
        await watch.work(minutes=5)
    kinds = [kind for kind, _ in watch.one.kinds]
    assert kinds == ["first", *["ongoing"] * 4]
    await watch.happen(FAILED)
    await watch.work(minutes=20)
    assert watch.one.kinds[-1] == ("summary", 181)


async def test_after_it_was_quiet_it_is_another_alert(watch: Watch) -> None:
    for _ in range(3):
        await watch.happen(FAILED)
        await watch.work()
        watch.clock.forward(minutes=11)
    assert watch.one.kinds == [("first", 1)] * 3
    assert len(await watch.alerts()) == 3


async def test_a_sweep_that_comes_late_still_tells_two_alerts_apart(watch: Watch) -> None:
    await watch.happen(FAILED, times=2)
    watch.clock.forward(hours=1)
    await watch.happen(FAILED)
    await watch.work()
    assert [alert.count for alert in await watch.alerts()] == [2, 1]
    assert watch.one.kinds == [("first", 2), ("first", 1)]


async def test_what_was_over_before_anybody_looked_is_told_all_the_same(watch: Watch) -> None:
    await watch.happen(FAILED, times=2)
    await watch.work(hours=1)
    assert watch.one.kinds == [("first", 2)]
    assert not await watch.jobs.is_due()


async def test_a_condition_of_another_version_is_told_by_its_name(watch: Watch) -> None:
    await watch.happen(FAILED)
    async with watch.database.transaction() as session:
        await session.execute(update(AlertOccurrence).values(condition="of_tomorrow"))
    await watch.work()
    [notice] = watch.one.heard
    assert (notice.title, notice.severity) == ("of_tomorrow", "error")


async def test_numbers_and_quotations_do_not_make_it_another_error(watch: Watch) -> None:
    for number in range(3):
        await watch.happen(Alarm("turn_failed", f"ModelError: request {number} of 'x{number}' failed after {number} s"))
    await watch.happen(Alarm("turn_failed", "ModelError: refused"))
    await watch.work()
    assert [alert.count for alert in await watch.alerts()] == [3, 1]


@pytest.mark.parametrize(("condition", "alerts"), [("delivery_given_up", 2), ("turn_failed", 1)])
async def test_merchants_have_problems_of_their_own_but_not_the_systems(
    watch: Watch, condition: str, alerts: int
) -> None:
    alarms = [Alarm(condition, "no", {"merchant_id": merchant_id}) for merchant_id in (1, 2)]
    assert len({alarm.occurrence(watch.clock.now())["fingerprint"] for alarm in alarms}) == alerts


async def test_what_strangers_can_cause_is_told_only_when_it_is_much(watch: Watch) -> None:
    alarm, after = Alarm("security_unknown_key", "see the log"), CONDITIONS["security_unknown_key"].after
    await watch.happen(alarm, times=after - 1)
    await watch.work()
    assert watch.one.heard == []
    await watch.happen(alarm)
    await watch.work()
    assert watch.one.kinds == [("first", after)]


async def test_what_stayed_below_that_is_never_told(watch: Watch) -> None:
    await watch.happen(Alarm("security_unknown_key", "see the log"), times=3)
    await watch.work()
    await watch.work(hours=1)
    assert (await watch.posts(), (await watch.alerts())[0].ended_at is not None) == ([], True)


async def test_a_transaction_that_is_undone_raises_nothing(watch: Watch) -> None:
    async with watch.database.transaction() as session:
        raise_within(session, [FAILED], watch.clock.now())
        await session.rollback()
    await watch.work()
    assert (watch.one.heard, await watch.alerts()) == ([], [])


async def test_severities_go_where_they_are_wanted(watch: Watch) -> None:
    await watch.happen(Alarm("sla_breached", "NOTIF_1 has waited 60 minutes"), FAILED)
    await watch.work()
    assert [notice.condition for notice in watch.one.heard] == ["sla_breached", "turn_failed"]
    assert [notice.condition for notice in watch.two.heard] == ["turn_failed"]


async def test_what_is_long_over_is_forgotten(watch: Watch) -> None:
    await watch.happen(FAILED, times=2)
    await watch.work()
    await watch.work(minutes=11)
    watch.clock.forward(days=KEPT_FOR.days + 1)
    await watch.happen(GIVEN_UP)
    await watch.work()
    assert [alert.condition for alert in await watch.alerts()] == ["delivery_given_up"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 1_500)), max_size=25))
async def test_no_occurrence_is_lost_or_counted_twice(watch: Watch, story: list[tuple[int, int, int]]) -> None:
    before = sum(alert.count for alert in await watch.alerts())
    for which, times, seconds in story:
        await watch.happen(Alarm("job_failed", "abcd"[which]), times=times)
        await watch.work(seconds=seconds)
    await watch.work(hours=2)
    alerts = await watch.alerts()
    assert sum(alert.count for alert in alerts) - before == sum(times for _, times, _ in story)
    assert all(alert.told_count == alert.count and alert.ended_at for alert in alerts)
