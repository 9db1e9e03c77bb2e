"""Several processes on one PostgreSQL database: `recado serve`, and two workers on a queue that they share."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from sqlalchemy import make_url

from tests.databases import POSTGRES_URL, connect_postgres
from tests.e2e.workers import workers
from tests.e2e.world import ALL_SHOPS, Phone, until
from tests.fakes.conversation_api import ConversationApiFake
from tests.processes import INHERITED
from tests.support import RecadoServer

REDIS_URL = os.environ.get("RECADO_TEST_REDIS_URL", "redis://127.0.0.1:6379") + "/9"
CROWD = 15
TALKS, EACH = 10, 3


@pytest.fixture
def empty_redis() -> Iterator[str]:
    """A Redis database of its own."""
    client = redis.Redis.from_url(REDIS_URL)
    try:
        client.flushdb()
    except redis.ConnectionError as error:
        pytest.skip(f"no Redis at RECADO_TEST_REDIS_URL: {error}")
    yield REDIS_URL
    client.flushdb()
    client.close()


@pytest.fixture
def api() -> Iterator[ConversationApiFake]:
    """The conversation API, which takes its time, and loses writes to one conversation that come meanwhile."""
    with ConversationApiFake("observed", write_delay=0.05) as api:
        yield api


@pytest.mark.parametrize("queue", ["postgresql", "redis"])
def test_two_workers_share_the_work_without_doubles(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    schema: str,
    merchants_file: Path,
    api: ConversationApiFake,
    queue: str,
) -> None:
    url = make_url(POSTGRES_URL).update_query_dict({"options": f"-csearch_path={schema}"})
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "QUEUE_URL": plain if queue == "postgresql" else request.getfixturevalue("empty_redis"),
        "ENABLE_CONVERSATION_SYNC": "true",
        "CARTAAI_API_BASE_URL": api.url,
        "CONVERSATION_API_PREFIX": api.prefix,
    }
    server = RecadoServer(tmp_path, settings)
    server.prepare(merchants_file)
    common = {
        "MODEL_PROVIDER": "demo",
        "CHECKPOINT_URL": f"sqlite:///{tmp_path}/checkpoints.db",
        "TURN_QUIET_SECONDS": "0.2",
    }
    with workers(server, INHERITED | settings | common, 2) as wait:
        server.start()
        try:
            wait()
            round_trip(server)
            crowd(server)
            assert_no_doubles(schema)
            talks(server, api)
        finally:
            server.stop()


def round_trip(server: RecadoServer) -> None:
    shop = ALL_SHOPS[0]
    ana, rosa = Phone(server, shop.customer(1), shop.simulator, "Ana"), Phone(server, shop.rosa, shop.simulator)
    ana.says("¿Tienen panetón sin gluten?")
    request = rosa.hears("NOTIF_1", "panetón", timeout=40)
    ana.hears("equipo")
    rosa.says("Llega el viernes.", reply_to=request["id"])
    ana.hears("Llega el viernes.", count=2, timeout=40)
    Phone(server, shop.luis, shop.simulator).hears("cerrada", count=2)
    assert len(ana.heard()) == 2


def crowd(server: RecadoServer) -> None:
    shop = ALL_SHOPS[1]
    people = [Phone(server, shop.customer(number), shop.simulator) for number in range(CROWD)]
    say: Callable[[Phone], str] = lambda person: person.says("¿Hacen envíos?", id=f"once-{person.number}")  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(say, [*people, *people]))  # each is delivered twice
    for person in people:
        person.hears("Sí, a todo Lima en 24 horas.", timeout=40)
    assert [len(person.heard()) for person in people] == [1] * CROWD


def talks(server: RecadoServer, api: ConversationApiFake) -> None:
    """Ten customers say one thing after the other, and the conversation API hears all of it in its order."""
    shop = ALL_SHOPS[2]
    people = [Phone(server, shop.customer(number), shop.simulator) for number in range(TALKS)]
    sessions = {person.number: api.inbound(person.number, "bodega-2") for person in people}

    whole: dict[str, list[tuple[str, str]]] = {session: [] for session in sessions.values()}
    for count in range(1, EACH + 1):
        question = f"¿Hacen envíos? {count}"
        with ThreadPoolExecutor(TALKS) as pool:
            list(pool.map(lambda person, question=question: person.says(question), people))
        for person in people:
            heard = person.hears(count=count, timeout=40)["text"]
            whole[sessions[person.number]] += [("user", question), ("bot", heard)]
    for session, said in whole.items():
        until(lambda session=session, said=said: history(api, session) == said, api.documents, 40)
    assert {session: api.posted(session) for session in whole} == whole
    assert api.overlaps == 0


def history(api: ConversationApiFake, session: str) -> list[tuple[str, str]]:
    document = api.document(session) or {}
    shown = document["context"].get("previousMessages", [])
    return [(message["role"], message["content"]) for message in shown]


def assert_no_doubles(schema: str) -> None:
    with connect_postgres() as connection:
        connection.execute(f"SET search_path TO {schema}")
        doubles = connection.execute(
            "SELECT conversation_id, text, count(*) FROM messages WHERE role = 'response'"
            " GROUP BY conversation_id, text HAVING count(*) > 1"
        )
        assert doubles.fetchall() == []
        states = connection.execute("SELECT DISTINCT state FROM turns").fetchall()
        assert states == [("done",)]
