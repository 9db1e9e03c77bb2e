"""A database that cannot be written to: the team hears of it all the same, and not at every error."""

from recado.alerts.emergency import Emergency
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel
from tests.alerts.notices import settings
from tests.alerts.watch import HeardChannel, later
from tests.builders import SetClock


def emergency(clock: SetClock, *channels: HeardChannel) -> Emergency:
    by_name: dict[str, AlertChannel] = {channel.name: channel for channel in channels}
    return Emergency(clock, by_name, lambda _condition, _severity: ["one", "two", "gone"], Links(settings()))


async def test_it_is_told_at_once_and_again_after_a_while() -> None:
    clock, one = SetClock(), HeardChannel("one")
    told = emergency(clock, one)
    for _ in range(100):
        await told.tell("3 wait: OperationalError")
        clock.forward(seconds=5)
    assert [notice.condition for notice in one.heard] == ["alerts_not_stored"]
    clock.forward(minutes=10)
    await told.tell("4 wait: OperationalError")
    assert len(one.heard) == 2
    assert one.heard[0].logs_url is not None
    assert "OperationalError" in one.heard[0].description


async def test_a_channel_that_fails_costs_nobody_an_exception() -> None:
    one, two = HeardChannel("one"), HeardChannel("two")
    one.plan = [later()]
    await emergency(SetClock(), one, two).tell("x")
    assert (len(one.heard), len(two.heard)) == (0, 1)
