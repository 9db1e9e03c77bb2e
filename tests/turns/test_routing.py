"""One number, many merchants: each message goes to the merchant whose customer, or whose staff, wrote it."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from recado.db.engine import Database
from recado.errors import SyncRejected
from recado.merchants.repository import accounts_at
from recado.turns.routing import AGAIN_AFTER
from tests.builders import ANA, BETO, ROSA, apply_specs, make_shop
from tests.turns.shared_desk import NUMBER, SharedDesk, shared_desk, sharing


@pytest.fixture
async def desk(database: Database) -> SharedDesk:
    return await shared_desk(database, "uno", "dos", "tres")


async def test_the_conversation_api_decides(desk: SharedDesk) -> None:
    desk.api.knows |= {ANA: "dos", BETO: "tres"}
    assert await desk.take(desk.message("a"), desk.message("b", BETO), desk.message("c")) == ["done"] * 3
    assert [await desk.heard(name) for name in ("uno", "dos", "tres")] == [[], ["a", "c"], ["b"]]
    assert desk.api.asked == [ANA, BETO]
    assert desk.alerts.sent == []
    assert {(row.error, row.due_at) for row in await desk.events()} == {(None, None)}


async def test_what_is_known_is_not_asked_again(desk: SharedDesk) -> None:
    desk.api.knows[ANA] = "dos"
    for number in range(3):
        await desk.take(desk.message(str(number)))
    assert desk.api.asked == [ANA]
    assert await desk.heard("dos") == ["0", "1", "2"]


async def test_a_number_of_one_merchant_is_not_looked_up(database: Database, desk: SharedDesk) -> None:
    """Nor does it cost a query more, whatever else is shared."""
    other = await make_shop(database, "solo", "+15550200")
    await desk.take(desk.message("hola", address="+15550200"))
    queries: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    assert await desk.take(desk.message("otra", address="+15550200")) == ["done", "done"]
    about = [query for query in queries if "channel_accounts" in query and "inbox" not in query]
    assert len([query for query in about if "SELECT" in query]) == 1, "only ingest looks for the account, once"
    assert desk.api.asked == []
    assert [m.text for m in await other.messages(await other.open())] == ["hola", "otra"]


async def test_who_is_unknown_goes_to_the_default_merchant(desk: SharedDesk) -> None:
    desk.routing = desk.new_routing(default="tres")
    assert await desk.take(desk.message("hola")) == ["done"]
    assert await desk.heard("tres") == ["hola"]


@pytest.mark.parametrize("default", ["", "nobody"])
async def test_without_a_default_merchant_it_waits_and_an_alert_says_so_once(desk: SharedDesk, default: str) -> None:
    desk.routing = desk.new_routing(default=default)
    assert await desk.take(desk.message("hola")) == ["unrouted"]
    (error,) = await desk.errors()
    assert "no tenant found for phone" in str(error)
    assert ("CARTAAI_SUBDOMAIN is empty" if not default else "CARTAAI_SUBDOMAIN names nobody") in str(error)
    for _ in range(3):
        desk.clock.forward(minutes=1)
        await desk.work()
    assert desk.api.asked == [ANA] * 4
    assert [(title, context["events"]) for title, _, context in desk.alerts.sent] == [("event_unrouted", 1)]
    assert ANA not in str(desk.alerts.sent)


async def test_it_is_tried_again_once_a_minute_and_goes_through_in_order(desk: SharedDesk) -> None:
    await desk.take(desk.message("uno"), desk.message("dos"))
    desk.clock.forward(seconds=30)
    assert await desk.take(desk.message("tres")) == ["unrouted"] * 3
    assert desk.api.asked == [ANA], "a miss holds for a minute"
    desk.api.knows[ANA] = "dos"
    desk.clock.forward(seconds=AGAIN_AFTER.total_seconds() - 1)
    await desk.work()
    assert await desk.heard("dos") == []
    desk.clock.forward(seconds=1)
    await desk.work()
    assert await desk.heard("dos") == ["uno", "dos", "tres"]
    assert desk.api.asked == [ANA, ANA]
    assert await desk.states() == ["done"] * 3
    assert await desk.errors() == [None] * 3


async def test_after_a_day_it_is_given_up_until_somebody_applies(database: Database, desk: SharedDesk) -> None:
    await desk.take(desk.message("hola"))
    desk.clock.forward(hours=23, minutes=59)
    await desk.work()
    assert len(desk.api.asked) == 2
    desk.api.knows[ANA] = "dos"
    for _ in range(2):
        desk.clock.forward(minutes=2)
        await desk.work()
    assert await desk.heard("dos") == ["hola"], "that was its last time"

    await desk.take(desk.message("y yo", BETO))
    desk.clock.forward(hours=24)
    await desk.work()
    desk.api.knows[BETO] = "dos"
    desk.clock.forward(minutes=2)
    await desk.work()
    assert (await desk.states())[-1] == "unrouted"
    lines = await apply_specs(database, *(sharing(name) for name in ("uno", "dos", "tres")))
    assert lines == [f"channel simulator {NUMBER}: 1 stored events taken in again"]
    await desk.work()
    assert await desk.heard("dos") == ["hola", "y yo"]
    assert len(desk.alerts.sent) == 2


async def test_a_merchant_that_is_not_at_this_number_is_named(database: Database, desk: SharedDesk) -> None:
    await make_shop(database, "far-away", "+15550200")
    desk.routing = desk.new_routing(default="uno")
    desk.api.knows[ANA] = "far-away"
    assert await desk.take(desk.message("hola")) == ["unrouted"]
    ((title, reason, context),) = desk.alerts.sent
    assert title == "event_unrouted"
    assert "far-away" in reason
    assert await desk.errors() == [reason]
    assert context["event_id"] == (await desk.events())[0].id
    await apply_specs(database, sharing("far-away"))
    await desk.work()
    assert await desk.heard("far-away") == ["hola"]


async def test_while_the_api_is_away_the_last_merchant_has_them(desk: SharedDesk) -> None:
    desk.routing = desk.new_routing(default="uno")
    desk.api.knows |= {ANA: "dos", BETO: "dos"}
    await desk.take(desk.message("a"), desk.message("b", BETO))
    desk.clock.forward(hours=2)
    desk.api.knows[ANA] = "tres"
    await desk.take(desk.message("c"))
    desk.clock.forward(hours=2)
    desk.api.down = True
    assert await desk.take(desk.message("d"), desk.message("e", BETO), desk.message("f", ROSA)) == ["done"] * 6
    assert await desk.heard("tres") == ["c", "d"]
    assert await desk.heard("dos") == ["a", "b", "e"]
    assert await desk.heard("uno") == ["f"], "who never spoke goes to the default merchant"


async def test_what_a_merchant_wrote_counts_as_speaking_and_another_number_does_not(
    database: Database, desk: SharedDesk
) -> None:
    own = {"kind": "simulator", "address": "+15550200"}
    await apply_specs(database, sharing("uno", channels=[*sharing("uno")["channels"], own]))
    async with database.read() as session:
        elsewhere = (await accounts_at(session, "simulator", "+15550200"))[0]
    desk.api.down = True
    await desk.shops["dos"].hear("hola")
    talk = await desk.shops["tres"].open()
    await desk.shops["tres"].say(talk, "¿Qué tal su pedido?")
    instructed = await desk.shops["dos"].open()
    async with desk.shops["dos"].conversations() as service:
        await service.instruct(instructed, "i1", "only the agent reads this", {})
    await replace(desk.shops["uno"], account=elsewhere).hear("otra cosa, a su propio número")
    assert await desk.take(desk.message("bien")) == ["done"]
    assert await desk.heard("tres") == ["bien"]


async def test_the_api_comes_back_and_what_waited_arrives_in_order_once(desk: SharedDesk) -> None:
    desk.api.down = True
    messages = [desk.message(f"{who}{n}", who) for n in range(5) for who in (ANA, BETO)]
    assert set(await desk.take(*messages)) == {"unrouted"}
    assert "cannot be asked" in str((await desk.errors())[0])
    alerts = len(desk.alerts.sent)
    for _ in range(3):
        desk.clock.forward(minutes=1)
        await desk.work()
    desk.api.down = False
    desk.api.knows |= {ANA: "dos", BETO: "tres"}
    desk.clock.forward(minutes=1)
    await desk.work()
    assert await desk.heard("dos") == [f"{ANA}{n}" for n in range(5)]
    assert await desk.heard("tres") == [f"{BETO}{n}" for n in range(5)]
    assert len(desk.alerts.sent) == alerts == 2
    assert set(await desk.states()) == {"done"}


async def test_an_api_that_refuses_is_one_that_cannot_be_asked(desk: SharedDesk) -> None:
    async def refuses(phone: str) -> str | None:
        raise SyncRejected("wrong key", "unauthorised", 401)

    desk.api.ask = refuses  # type: ignore[method-assign]
    desk.routing = desk.new_routing(default="uno")
    assert await desk.take(desk.message("hola")) == ["done"]
    assert await desk.heard("uno") == ["hola"]


async def test_without_lookups_the_last_merchant_then_the_default_then_nobody(desk: SharedDesk) -> None:
    desk.api.knows |= {ANA: "uno", BETO: "uno"}
    await desk.shops["dos"].hear("hola")
    desk.routing = desk.new_routing(asks=False)
    assert await desk.take(desk.message("a"), desk.message("b", BETO)) == ["done", "unrouted"]
    assert "ENABLE_CONVERSATION_SYNC" in str((await desk.errors())[1])
    desk.routing = desk.new_routing(asks=False, default="tres")
    desk.clock.forward(minutes=1)
    await desk.work()
    assert [await desk.heard(name) for name in ("uno", "dos", "tres")] == [[], ["hola", "a"], ["b"]]
    assert desk.api.asked == []
