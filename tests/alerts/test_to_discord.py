"""From an error of a turn to the alert in Discord, with all that helps to understand it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from recado.alerts.channels import make_channels, wishes_of
from recado.alerts.counting import Counting
from recado.alerts.jobs import AlertJobs
from recado.alerts.linear import Linear
from recado.alerts.links import Links
from recado.alerts.raising import Alarm, raise_within
from recado.alerts.routing import make_route
from recado.alerts.telling import Telling
from recado.db.engine import Database
from recado.telemetry.context import about
from tests.alerts.notices import settings
from tests.alerts.watch import QUIET
from tests.builders import ANA, Shop, make_shop
from tests.fakes.discord_api import DiscordFake
from tests.fakes.linear_api import PERSONAL_KEY, TEAM, LinearFake
from tests.fakes.server import running

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def discord() -> Iterator[DiscordFake]:
    with running(DiscordFake(limit=(5, 0.2))) as fake:
        yield fake


@pytest.fixture
def linear() -> Iterator[LinearFake]:
    with running(LinearFake()) as fake:
        yield fake


def jobs(shop: Shop, discord: DiscordFake, linear: LinearFake) -> AlertJobs:
    given = settings(discord_webhook_url=discord.webhook_url)
    links = Links(given)
    channels = make_channels(given, shop.clock)
    route = make_route(wishes_of(given, channels))
    issues = Linear(linear.api_url, PERSONAL_KEY, TEAM, shop.database, shop.clock, links)
    telling = Telling(shop.database, shop.clock, channels, links, issues)
    return AlertJobs(shop.database, shop.clock, Counting(shop.database, shop.clock, route, QUIET), telling)


async def happen(shop: Shop, alarm: Alarm, **ids: Any) -> None:
    with about(merchant_id=shop.merchant_id, **ids):
        async with shop.database.transaction() as session:
            raise_within(session, [alarm], shop.clock.now())


async def test_an_error_of_a_turn(database: Database, discord: DiscordFake, linear: LinearFake) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.hear("Hola")
    failed = Alarm("turn_failed", "ValueError in the node 'reply'", {"turn_id": 5})

    await happen(shop, failed, conversation_id=conversation_id, trace_id=TRACE)
    await jobs(shop, discord, linear).run()

    (embed,) = discord.messages[0]["embeds"]
    fields = {field["name"]: re.sub(r"\\(.)", r"\1", field["value"]) for field in embed["fields"]}
    conversation = f"https://app.example.com/whatsapp/messages?conversationId={conversation_id}"
    assert (embed["title"], embed["url"]) == ("🚨 Turn failed for good", conversation)
    assert (fields["Customer"], fields["Phone"], fields["Ids"]) == ("Ana", ANA, "turn_id 5")
    assert fields["Trace"] == f"[Open](https://langfuse.example.com/traces/{TRACE})"
    assert "start=2026-05-01T11%3A59%3A30" in fields["Logs"]
    assert fields["Linear"] == "[OPS-1](https://linear.app/recado/issue/OPS-1/an-issue)"


async def test_an_error_that_lasts_is_told_three_times(
    database: Database, discord: DiscordFake, linear: LinearFake
) -> None:
    shop = await make_shop(database)
    work = jobs(shop, discord, linear)
    for _ in range(57):
        await happen(shop, Alarm("turn_failed", "The model is away"))
        await work.run()
        shop.clock.forward(minutes=2)
    shop.clock.forward(hours=1)
    await work.run()

    titles = [message["embeds"][0]["title"] for message in discord.messages]
    assert titles == ["🚨 Turn failed for good", "🚨 Still happening: Turn failed for good",
                      "🚨 Over: Turn failed for good"]  # fmt: skip
    times = [field["value"] for field in discord.messages[2]["embeds"][0]["fields"] if field["name"] == "Times"]
    assert times == ["over: 57 times between 14:00 and 15:52"]
    assert len(linear.issues) == 1


async def test_a_burst_of_different_errors_is_told_whole_and_within_the_limit(
    database: Database, discord: DiscordFake, linear: LinearFake
) -> None:
    shop = await make_shop(database)
    work = jobs(shop, discord, linear)
    for word in ("one", "two", "three", "four", "five", "six", "seven", "eight"):
        await happen(shop, Alarm("job_failed", f"job {word}"))
    await work.run()
    assert [message["embeds"][0]["description"] for message in discord.messages] == [
        f"job {word}" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")
    ]
    assert len(discord.requests.entries()) == 8
