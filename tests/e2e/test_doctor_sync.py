"""What `recado doctor` says of the conversation API: whether it can be reached, speaks as it should, and is in step."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from recado.db.engine import Database
from recado.db.models import SyncEntry, SyncSession
from recado.entrypoints.doctor_sync import examine_sync
from recado.entrypoints.finding import Finding
from recado.settings import Settings
from tests.builders import SetClock, make_shop
from tests.databases import bring_up_to_date
from tests.fakes.conversation_api import ConversationApiFake
from tests.processes import run_forked
from tests.support import copy_database, free_port
from tests.sync.raw_server import answer, raw_server

KEY = "key-of-the-conversation-api-9f27"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database that writes the outbox."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/test.db", syncs=True)
    await bring_up_to_date(database)
    yield database
    await database.close()


@pytest.fixture(scope="module")
def api() -> Iterator[ConversationApiFake]:
    with ConversationApiFake("guide", api_key=KEY) as api:
        yield api


@pytest.fixture(scope="module")
def observed() -> Iterator[ConversationApiFake]:
    with ConversationApiFake("observed") as api:
        yield api


async def examined(database: Database, url: str = "", **changes: Any) -> list[Finding]:
    """The findings about the sync, with it on unless told otherwise. Never with the key in them."""
    values: dict[str, Any] = {
        "enable_conversation_sync": True,
        "cartaai_api_base_url": url,
        "cartaai_api_key": KEY,
        **changes,
    }
    findings = await examine_sync(Settings(_env_file=None, **values | changes), database, 5.0)
    assert KEY not in str(findings)
    assert {finding.part for finding in findings} == {"conversation sync"}
    return findings


async def test_switched_off_it_says_how_to_switch_it_on(database: Database) -> None:
    [off] = await examined(database, enable_conversation_sync=False)
    assert off.ok
    assert off.text.startswith("Conversation sync disabled: set ENABLE_CONVERSATION_SYNC=true")


async def test_an_api_that_answers_and_an_outbox_that_is_empty(database: Database, api: ConversationApiFake) -> None:
    for prefix in (api.prefix, f"{api.prefix}/", api.prefix.strip("/")):
        findings = await examined(database, api.url, conversation_api_prefix=prefix)
        assert [finding.ok for finding in findings] == [True, True]
        assert findings[0].text.endswith(" answers")
        assert findings[1].text == "in step"
    [asked] = await examined(database, api.url, enable_conversation_sync=False, use_cartaai_api=True)
    assert asked.ok


async def test_the_right_prefix_is_found_out(
    database: Database, api: ConversationApiFake, observed: ConversationApiFake
) -> None:
    for server, wrong in ((api, observed.prefix), (observed, api.prefix), (observed, "/api/v3")):
        [reached, _] = await examined(database, server.url, conversation_api_prefix=wrong)
        assert not reached.ok
        assert reached.text.endswith(f"{wrong} is the wrong path: set CONVERSATION_API_PREFIX={server.prefix}")


async def test_a_prefix_that_nobody_knows_is_asked_for(database: Database) -> None:
    with ConversationApiFake("guide", prefix="/theirs") as unlike:
        [reached, _] = await examined(database, unlike.url)
        assert not reached.ok
        assert "has no route /api/v1/whatsapp/lookup/tenant/:phone" in reached.text
        assert "check CONVERSATION_API_PREFIX" in reached.text
        [reached, _] = await examined(database, unlike.url, conversation_api_prefix="/theirs")
        assert reached.ok


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        ({"status": 401}, "CARTAAI_API_KEY"),
        ({"status": 403}, "CARTAAI_API_KEY"),
        ({"redirect": True}, "CARTAAI_API_BASE_URL"),
        ({"status": 502}, "HTTP 502"),
        ({"status": 429}, "fewer requests"),
        ({"garbage": True}, "CARTAAI_API_BASE_URL"),
        ({"hang": True}, "did not answer within 0.2 s"),
        ({"cut": "before"}, "cut the connection"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named_with_its_remedy(
    database: Database, api: ConversationApiFake, fault: dict[str, Any], remedy: str
) -> None:
    api.seed("+51900000000", "somebody")  # so that there is an answer to be garbled
    api.fail(**fault)
    try:
        [reached, in_step] = await examined(database, api.url, conversation_api_timeout=0.2)
    finally:
        api.reset()
    assert (reached.ok, in_step.ok) == (False, True)
    assert remedy in reached.text
    assert reached.text.startswith(f"{api.url}/api/v1/whatsapp: ")


async def test_a_wrong_key_is_told_from_a_wrong_path(database: Database, api: ConversationApiFake) -> None:
    [reached, _] = await examined(database, api.url, cartaai_api_key="wrong-key-of-somebody")
    assert "does not accept the key (HTTP 401): check CARTAAI_API_KEY" in reached.text
    assert "wrong-key-of-somebody" not in reached.text


async def test_a_web_site_is_no_api(database: Database) -> None:
    async with raw_server(answer("<html>Welcome</html>", "text/html; charset=utf-8")) as site:
        [reached, _] = await examined(database, site.url)
    assert not reached.ok
    assert "not its JSON but text/html: check CARTAAI_API_BASE_URL" in reached.text


async def test_a_port_that_refuses_connections(database: Database) -> None:
    [reached, _] = await examined(database, f"http://127.0.0.1:{free_port()}")
    assert not reached.ok
    assert "connection refused to API at 127.0.0.1" in reached.text


async def test_an_address_that_is_none(database: Database) -> None:
    [reached, _] = await examined(database, "ssgg.api.cartaai.pe")
    assert not reached.ok
    assert "CARTAAI_API_BASE_URL is no address" in reached.text


async def test_what_waits_and_what_was_refused(database: Database, api: ConversationApiFake) -> None:
    shop = await make_shop(database)
    shop.clock = SetClock(datetime.now(UTC) - timedelta(seconds=600))
    await shop.hear("hola")
    await shop.hear("¿hay alguien?")
    [_, waits] = await examined(database, api.url)
    assert waits.ok
    assert waits.text.startswith("2 entries wait, the oldest for 60")
    async with database.transaction() as session:
        await session.execute(update(SyncSession).values(error="why it waits", attempts=3))
    [_, waits] = await examined(database, api.url)
    assert waits.text.endswith(" s: why it waits")
    async with database.transaction() as session:
        await session.execute(update(SyncEntry).where(SyncEntry.id == 1).values(state="refused", error="why not"))
    [reached, refused] = await examined(database, api.url)
    assert (reached.ok, refused.ok) == (True, False)
    assert refused.text.startswith("the API refused 1 entries: ")
    assert "sync_entries" in refused.text


async def test_a_database_without_the_outbox(tmp_path: Path, api: ConversationApiFake) -> None:
    empty = Database(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
    [reached, unread] = await examined(empty, api.url)
    await empty.close()
    assert reached.ok
    assert not unread.ok
    assert "cannot be read" in unread.text


def test_the_command_shows_it_and_fails(tmp_path: Path, prepared_shops: Path, api: ConversationApiFake) -> None:
    copy_database(prepared_shops, tmp_path)
    done = run_forked(
        "doctor",
        folder=tmp_path,
        environment={
            "PATH": "",
            "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/recado.db",
            "ENABLE_CONVERSATION_SYNC": "true",
            "CARTAAI_API_BASE_URL": api.url,
            "CARTAAI_API_KEY": "wrong-key-of-somebody",
        },
    )
    failing = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1
    assert len(failing) == 1, done.stdout
    assert "conversation sync" in failing[0]
    assert "check CARTAAI_API_KEY" in failing[0]
    assert "wrong-key-of-somebody" not in done.stdout + done.stderr
