"""Routing by many processes at once, with an API that is slow for some, and over HTTP: in order, each message once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from recado.bootstrap import Services, connect, make_services, open_worker
from recado.db.engine import Database
from recado.db.models import ChannelAccount, InboxEvent
from recado.settings import Settings
from recado.turns.ingest import Ingest
from recado.turns.intake import Intake
from recado.turns.repository import Sender, routing_events, senders_to_route
from recado.turns.routing import Routing
from tests.builders import ANA, BETO, together
from tests.fakes.conversation_api import ConversationApiFake
from tests.turns.shared_desk import NUMBER, SharedDesk, shared_desk

NAMES = ("uno", "dos", "tres")
PEOPLE = [f"+5191111110{number}" for number in range(10)]
DEADLINE = 20.0


@pytest.fixture
async def desk(database: Database) -> SharedDesk:
    return await shared_desk(database, *NAMES)


def of(person: str) -> str:
    return NAMES[PEOPLE.index(person) % 3]


async def check_order(desk: SharedDesk, each: int) -> None:
    """Everyone's merchant, and nobody else, heard all that they said, in order and once."""
    for name in NAMES:
        heard = await desk.heard(name)
        theirs = [person for person in PEOPLE if of(person) == name]
        assert len(heard) == each * len(theirs)
        for person in theirs:
            assert [said for said in heard if person in said] == [f"{person} {number}" for number in range(each)]


@pytest.mark.parametrize("processes", [1, 3])
async def test_fifty_messages_of_ten_people_to_three_merchants(desk: SharedDesk, processes: int) -> None:
    desk.api.knows = {person: of(person) for person in PEOPLE}
    desk.api.slow = set(PEOPLE[::2])
    others = [Process(desk) for _ in range(processes)]

    async def arrive() -> None:
        for number in range(5):
            for person in PEOPLE:
                await desk.intake.accept([desk.message(f"{person} {number}", person)])
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as running:
        arriving = running.create_task(arrive())
        while not arriving.done():
            await asyncio.gather(*(process.once() for process in others))
    await desk.work(*(process.routing for process in others))
    await check_order(desk, 5)
    assert len(desk.api.asked) <= len(PEOPLE) * processes, "each process asks once for each phone"
    assert desk.alerts.sent == []


class Process:
    """What shares nothing with the others but the database."""

    def __init__(self, desk: SharedDesk) -> None:
        database = Database(desk.database.url.render_as_string(hide_password=False))
        self.database, self._desk = database, desk
        self.ingest = Ingest(database, desk.clock, desk.channels, desk.nudges)
        self.routing: Routing = desk.new_routing(database=database)

    async def once(self) -> None:
        """One look of a worker."""
        await asyncio.gather(self.ingest.run(), *(self.routing.run(found) for found in await self._desk.found()))


async def test_processes_that_route_the_same_person_at_once(desk: SharedDesk) -> None:
    """One of them was told otherwise: whoever is first decides, for all that waits, and nothing comes twice."""
    desk.api.knows[ANA] = "dos"
    told = [Process(desk).routing for _ in range(2)]
    await told[0]._tenants.sub_domain_of(ANA)  # type: ignore[union-attr]
    desk.api.knows[ANA] = "tres"
    for _ in range(3):
        await desk.intake.accept([desk.message(f"n{number}") for number in range(5)])
        await desk.ingest.run()
        assert await together(*(process.run(found) for found in (1, 3) for process in told)) == [None] * 4
    await desk.ingest.run()
    heard = await desk.heard("dos") + await desk.heard("tres")
    assert sorted(heard) == sorted(f"n{number}" for number in range(5) for _ in range(3))
    assert set(await desk.states()) == {"done"}


async def test_a_slow_lookup_holds_nobody_else_up(desk: SharedDesk) -> None:
    desk.api.knows |= {ANA: "uno", BETO: "dos"}
    desk.api.gate = asyncio.Event()
    await desk.intake.accept([desk.message("a")])
    await desk.ingest.run()
    stuck = asyncio.create_task(desk.routing.run(1))
    while not desk.api.asked:  # noqa: ASYNC110 - it is under way when it has asked
        await asyncio.sleep(0.01)
    desk.api.gate, gate = None, desk.api.gate
    await desk.intake.accept([desk.message("b", BETO), desk.message("c")])
    await desk.ingest.run()
    await asyncio.wait_for(desk.routing.run(2), DEADLINE)
    await asyncio.wait_for(desk.ingest.run(), DEADLINE)
    assert await desk.heard("dos") == ["b"]
    gate.set()
    await asyncio.wait_for(stuck, DEADLINE)
    await desk.ingest.run()
    assert await desk.heard("uno") == ["a", "c"]


async def test_nothing_is_asked_within_a_transaction(desk: SharedDesk) -> None:
    """While the API thinks, others write."""
    desk.api.gate = asyncio.Event()
    await desk.intake.accept([desk.message("a")])
    await desk.ingest.run()
    asking = asyncio.create_task(desk.routing.run(1))
    while not desk.api.asked:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)
    other = Database(desk.database.url.render_as_string(hide_password=False))
    async with asyncio.timeout(DEADLINE), other.transaction() as session:
        await session.execute(update(InboxEvent).values(provider_event_id="x"))
        await session.execute(update(ChannelAccount).values(templates={}))
    await other.close()
    desk.api.gate.set()
    await asking


async def test_a_lookup_that_breaks_shows_and_is_tried_again(desk: SharedDesk) -> None:
    async def breaks(phone: str) -> str | None:
        raise KeyError("an error of ours")

    ask, desk.api.ask = desk.api.ask, breaks  # type: ignore[method-assign]
    desk.routing = desk.new_routing()
    assert await desk.take(desk.message("hola")) == ["unrouted"]
    assert "KeyError" in str((await desk.errors())[0])
    assert desk.alerts.conditions == ["event_unrouted"]
    desk.api.ask, desk.api.knows[ANA] = ask, "dos"  # type: ignore[method-assign]
    desk.routing = desk.new_routing()
    desk.clock.forward(minutes=1)
    await desk.work()
    assert await desk.heard("dos") == ["hola"]


async def test_the_sweep_finds_each_person_once(desk: SharedDesk) -> None:
    for number in range(3):
        await desk.intake.accept([desk.message(f"a{number}"), desk.message(f"b{number}", BETO)])
    await desk.ingest.run()
    assert await desk.found() == [1, 2]
    await desk.routing.run(1)
    assert await desk.found() == [2], "who is nobody's waits for a minute"


@pytest.mark.usefixtures("new_tables")
async def test_the_sweep_reads_what_waits_and_not_the_whole_inbox(desk: SharedDesk) -> None:
    queries: list[tuple[str, Any]] = []
    engine = desk.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: queries.append((given[2], given[3])))
    async with desk.database.read() as session:
        await senders_to_route(session, desk.clock.now(), 10)
        await routing_events(session, Sender("simulator", NUMBER, ANA))
        asked = [(query, values) for query, values in queries if query.startswith("SELECT")]
        connection = await session.connection()
        if not desk.database.is_sqlite:
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN " if desk.database.is_sqlite else "EXPLAIN "
        plans = [str((await connection.exec_driver_sql(explain + query, values)).all()) for query, values in asked]
    assert ["ix_inbox_events_due_at" in plans[0], "ix_inbox_events_routing" in plans[1]] == [True, True], plans


def worker_services(database: Database, api: ConversationApiFake, folder: Path, **settings: Any) -> Services:
    """As `recado worker` has them, on this database, with the demo model."""
    given = {
        "database_url": database.url.render_as_string(hide_password=False),
        "checkpoint_url": f"sqlite:///{folder}/checkpoints.db",
        "cartaai_api_base_url": api.url,
        "conversation_api_prefix": api.prefix,
        "use_cartaai_api": True,
        "turn_quiet_seconds": 0.0,
    }
    return make_services(Settings(_env_file=None, **{**given, **settings}))


async def test_over_http_with_a_worker(database: Database, tmp_path: Path) -> None:
    """The API has a hiccup, which must send nobody to the default merchant."""
    desk = await shared_desk(database, *NAMES, "default")
    with ConversationApiFake("observed") as api:
        for person in PEOPLE:
            api.seed(person, of(person))
        api.fail(operations=["lookup_tenant"], times=1, status=503)
        services = worker_services(database, api, tmp_path, cartaai_subdomain="default")
        intake = Intake(database, services.clock, services.nudges)
        async with connect(services), open_worker(services) as worker:
            working = asyncio.create_task(worker.start())
            for number in range(3):
                await intake.accept([desk.message(f"{person} {number}", person) for person in PEOPLE])
            async with asyncio.timeout(DEADLINE):
                while await unfinished(database):  # noqa: ASYNC110 - rows have no event
                    await asyncio.sleep(0.05)
            await worker.stop()
            working.cancel()
        lookups = api.requests.entries("lookup_tenant")
    await check_order(desk, 3)
    assert len(lookups) == len(PEOPLE) + 1, "one failed and was repeated"


async def unfinished(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(InboxEvent.state).where(InboxEvent.state != "done")))
