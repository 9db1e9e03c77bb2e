"""`kill -9` while the outbox is drained: the conversation API misses nothing, and is told nothing twice.

The seed is printed; set RECADO_CRASH_SEED to run one again (the moments are the same, the machine's timing is not).
"""

import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from tests.crash.server import MortalServer, until
from tests.fakes.conversation_api import ConversationApiFake
from tests.support import WEB, copy_database

KILLS = 20
PHONES = tuple(f"+5191100000{number}" for number in range(4))
SHOP = "+15550100"
PATIENCE = 40.0
READS = ("get", "legacy_get")
Said = tuple[str, str]


@pytest.fixture(params=["guide", "observed"])
def api(request: pytest.FixtureRequest) -> Iterator[ConversationApiFake]:
    behaviour: Literal["guide", "observed"] = request.param
    with ConversationApiFake(behaviour) as api:
        api.fail(latency=0.02)
        yield api


@pytest.fixture
def server(tmp_path: Path, prepared_bodega: Path, api: ConversationApiFake) -> Iterator[MortalServer]:
    settings = {
        "TURN_QUIET_SECONDS": "0.02",
        "ENABLE_CONVERSATION_SYNC": "true",
        "CARTAAI_API_BASE_URL": api.url,
        "CONVERSATION_API_PREFIX": api.prefix,
    }
    server = MortalServer(tmp_path, settings)
    copy_database(prepared_bodega, tmp_path)
    yield server
    server.kill()


def says(server: MortalServer, phone: str, text: str) -> None:
    body = {"from": phone, "to": SHOP, "text": text}
    assert WEB.post(f"{server.url}/simulator/messages", json=body).status_code == 202


def rows(server: MortalServer, sql: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"file:{server.folder}/recado.db?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(sql).fetchall()


def said_with(server: MortalServer) -> dict[str, list[Said]]:
    """What was said with each phone, as our own rows have it."""
    found: dict[str, list[Said]] = {phone: [] for phone in PHONES}
    query = (
        "SELECT p.phone, m.role, m.text FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " JOIN contacts p ON p.id = c.contact_id WHERE m.role IN ('user', 'response') ORDER BY m.id"
    )
    for phone, role, text in rows(server, query):
        if phone in found:  # the staff's conversations stay here
            found[phone].append(("user" if role == "user" else "bot", text))
    return found


def is_quiet(server: MortalServer, count: int) -> bool:
    [(waiting,)] = rows(
        server,
        "SELECT (SELECT count(*) FROM sync_entries WHERE state = 'pending')"
        " + (SELECT count(*) FROM messages WHERE role = 'user' AND turn_id IS NULL)"
        " + (SELECT count(*) FROM turns WHERE state = 'running')",
    )
    [(heard,)] = rows(server, "SELECT count(*) FROM messages WHERE role = 'user'")
    return waiting == 0 and int(heard) >= count


def test_twenty_kills_lose_and_double_nothing(server: MortalServer, api: ConversationApiFake) -> None:
    seed = int(os.environ.get("RECADO_CRASH_SEED") or random.SystemRandom().randrange(10_000))
    sys.stdout.write(f"RECADO_CRASH_SEED={seed}\n")
    chance = random.Random(seed)
    sessions = {phone: api.seed(phone, "bodega-sol") for phone in PHONES}
    sent = 0
    for _ in range(KILLS):
        server.launch()
        server.wait_ready()
        for phone in chance.sample(PHONES, 2):
            says(server, phone, f"Hola {sent}")
            sent += 1
        told = api.requests.entries("message")
        api.requests.wait(len(told) + chance.randint(1, 3), "message", timeout=PATIENCE)
        time.sleep(chance.uniform(0.0, 0.04))  # anywhere within a request, or between two
        server.cut_down()
    server.launch()
    server.wait_ready()
    until(lambda: is_quiet(server, sent), "everything is told", PATIENCE)

    said = said_with(server)
    assert sum(role == "user" for talk in said.values() for role, _ in talk) == sent
    for phone, session_id in sessions.items():
        document = api.document(session_id)
        assert document is not None
        history = [(message["role"], message["content"]) for message in document["context"]["previousMessages"]]
        assert history == said[phone][-20:]
        posted = api.posted(session_id)
        if api.behaviour == "guide":
            assert posted == said[phone]
        else:  # it shows nobody what it was told, so that once more is what is left; no two of a person's are alike
            heard = [message for message in posted if message[0] == "user"]
            assert list(dict.fromkeys(heard)) == [message for message in said[phone] if message[0] == "user"]
            assert len(posted) >= len(said[phone])
    assert any(api.requests.entries(kind) for kind in READS)
    assert api.overlaps == 0
