"""What was missed is fetched once, in order, and what fails at one address holds up no other."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from recado.channels.base import Channel, RawEvent
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import ChannelAccount, InboxEvent
from recado.errors import AccountRefused, Retryable
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.merchants.account import Account
from recado.turns.catch_up import OVERLAP, CatchUp
from recado.turns.intake import Intake
from tests.alert_log import AlertLog
from tests.builders import make_shop

ONE, TWO = "+15550201", "+15550202"
LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)


class Provider(SimulatorChannel):
    """A channel whose provider keeps what people sent, by address; an exception in place of that is raised."""

    kind = "twilio"

    def __init__(self, network: SimulatorNetwork) -> None:
        super().__init__(network)
        self.kept: dict[str, list[RawEvent] | Exception] = {}
        self.asked: list[tuple[str, datetime]] = []

    async def missed(self, account: Account, since: datetime) -> list[RawEvent]:
        self.asked.append((account.address, since))
        kept = self.kept.get(account.address, [])
        if isinstance(kept, Exception):
            raise kept
        return kept


class Desk:
    """Numbers at the provider, and what looks for the messages that they missed."""

    def __init__(self, database: Database, merchants: list[int]) -> None:
        self.database, self.merchants = database, merchants
        self.clock = Clock()
        self.alerts = AlertLog(database, self.clock)
        self.nudges = Nudges(make_queue("memory://"))
        self.intake = Intake(database, self.clock, self.nudges)
        network = SimulatorNetwork(database, self.clock)
        self.provider = Provider(network)
        channels: Mapping[str, Channel] = {"twilio": self.provider, "simulator": SimulatorChannel(network)}
        self.catch_up = CatchUp(database, self.clock, channels, self.intake, self.alerts, timedelta(minutes=5))

    async def number(
        self, address: str, caught_up_to: datetime | None = LONG_AGO, merchant: int = 0, *, active: bool = True
    ) -> None:
        """A merchant has this number at the provider."""
        async with self.database.transaction() as session:
            session.add(
                ChannelAccount(
                    merchant_id=self.merchants[merchant],
                    channel="twilio",
                    address=address,
                    credentials={},
                    templates={},
                    shared=True,
                    active=active,
                    caught_up_to=caught_up_to,
                )
            )

    async def stored(self) -> list[tuple[str, str]]:
        async with self.database.read() as session:
            rows = await session.scalars(select(InboxEvent).order_by(InboxEvent.id))
            return [(row.address, row.provider_event_id) for row in rows]

    async def caught_up_to(self) -> list[datetime | None]:
        async with self.database.read() as session:
            query = select(ChannelAccount).where(ChannelAccount.channel == "twilio").order_by(ChannelAccount.id)
            return [row.caught_up_to for row in await session.scalars(query)]


@pytest.fixture
async def desk(database: Database) -> Desk:
    shops = [await make_shop(database, f"shop-{number}", f"+1555010{number}") for number in range(2)]
    return Desk(database, [shop.merchant_id for shop in shops])


def event(number: int, address: str = ONE) -> RawEvent:
    return RawEvent("twilio", address, f"SM{number}", f"MessageSid=SM{number}".encode())


async def test_what_was_missed_is_taken_in_once_and_in_order(desk: Desk) -> None:
    await desk.number(ONE)
    desk.provider.kept[ONE] = [event(number) for number in range(450)]
    before = datetime.now(UTC)
    await desk.intake.accept([event(7), event(300)])  # these two arrived
    with capture_logs() as logs:
        await desk.catch_up.run()
    assert logs[-1]["recovered"] == 448
    known = [(ONE, "SM7"), (ONE, "SM300")]
    assert await desk.stored() == [*known, *((ONE, f"SM{n}") for n in range(450) if n not in (7, 300))]
    assert desk.provider.asked == [(ONE, LONG_AGO - OVERLAP)]
    [moved] = await desk.caught_up_to()
    assert moved is not None
    assert before <= moved <= datetime.now(UTC)
    await desk.catch_up.run()
    assert len(await desk.stored()) == 450
    assert desk.provider.asked[1:] == [(ONE, moved - OVERLAP)]


async def test_what_comes_while_the_list_is_read_is_in_the_next_look(desk: Desk) -> None:
    await desk.number(ONE)
    arrived: list[datetime] = []

    async def missed(account: Account, since: datetime) -> list[RawEvent]:
        arrived.append(datetime.now(UTC))
        return []

    desk.provider.missed = missed  # type: ignore[method-assign]
    await desk.catch_up.run()
    [moved] = await desk.caught_up_to()
    assert moved is not None
    assert moved <= arrived[0]


async def test_a_number_that_was_never_looked_at_starts_from_now(desk: Desk) -> None:
    await desk.number(ONE, None)
    desk.provider.kept[ONE] = [event(1)]
    await desk.catch_up.run()
    assert (await desk.stored(), desk.provider.asked) == ([], [])
    assert (await desk.caught_up_to())[0] is not None
    await desk.catch_up.run()
    assert await desk.stored() == [(ONE, "SM1")]


async def test_merchants_that_share_a_number_are_one_look(desk: Desk) -> None:
    await desk.number(ONE, LONG_AGO + timedelta(days=1))
    await desk.number(ONE, LONG_AGO, merchant=1)
    await desk.number(TWO, None, merchant=1)
    await desk.catch_up.run()
    assert desk.provider.asked == [(ONE, LONG_AGO - OVERLAP)]
    moved = await desk.caught_up_to()
    assert moved[0] == moved[1]
    assert None not in moved


async def test_inactive_numbers_and_channels_that_cannot_tell_are_left_alone(desk: Desk) -> None:
    await desk.number(ONE, active=False)
    await desk.catch_up.run()
    assert desk.provider.asked == []
    assert await desk.caught_up_to() == [LONG_AGO]


@pytest.mark.parametrize(
    ("error", "description"),
    [
        (AccountRefused("Twilio 20003: no", "20003", remedy="mend the token"), "Twilio 20003: no; mend the token"),
        (Retryable("cannot connect"), "cannot connect"),
        (KeyError("auth_token"), "KeyError"),
    ],
)
async def test_a_number_that_fails_holds_up_no_other_and_is_told_once_an_hour(
    desk: Desk, error: Exception, description: str
) -> None:
    await desk.number(ONE)
    await desk.number(TWO, merchant=1)
    desk.provider.kept = {ONE: error, TWO: [event(1, TWO)]}
    for _ in range(3):
        await desk.catch_up.run()
    assert await desk.stored() == [(TWO, "SM1")]
    assert (await desk.caught_up_to())[0] == LONG_AGO
    assert await desk.alerts.told(desk.clock) == ["catch_up_failed"]
    _, said, context = desk.alerts.sent[0]
    assert said == description
    assert context["merchant_id"] == desk.merchants[0]
    desk.clock.advance_to(timedelta(minutes=61))
    await desk.catch_up.run()
    assert await desk.alerts.told(desk.clock) == ["catch_up_failed"] * 2
    desk.provider.kept[ONE] = [event(2)]
    await desk.catch_up.run()
    assert await desk.stored() == [(TWO, "SM1"), (ONE, "SM2")]


async def test_the_provider_is_asked_by_real_time_whatever_the_simulators_clock_says(desk: Desk) -> None:
    await desk.number(ONE)
    desk.clock.advance_to(timedelta(days=2))
    await desk.catch_up.run()
    [moved] = await desk.caught_up_to()
    assert moved is not None
    assert moved <= datetime.now(UTC)


async def test_it_is_due_at_once_and_then_now_and_again(desk: Desk) -> None:
    assert [desk.catch_up.is_due() for _ in range(3)] == [True, False, False]
    desk.clock.advance_to(timedelta(minutes=5))
    assert [desk.catch_up.is_due() for _ in range(2)] == [True, False]
