"""Liveness, readiness and metrics, with the conversation sync off, in step, behind, and with an API that is down."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from recado.db.engine import Database
from recado.sync.circuit import THRESHOLD
from recado.sync.outbox import SyncOutbox, SyncSettings
from tests.alert_log import AlertLog
from tests.builders import ANA, SetClock
from tests.fakes.conversation_api import ConversationApiFake
from tests.http.counter import Counter, open_counter


@pytest.fixture
def database(synced_database: Database) -> Database:
    return synced_database


@pytest.fixture
def api() -> Iterator[ConversationApiFake]:
    with ConversationApiFake("guide", api_key="right") as api:
        yield api


class Probed:
    """The app with the conversation sync on, and its outbox."""

    def __init__(self, counter: Counter) -> None:
        self.counter, services = counter, counter.services
        assert services.conversation_api is not None
        counter.mine.clock = SetClock(datetime.now(UTC))
        self.outbox = SyncOutbox(
            services.database,
            services.clock,
            services.conversation_api,
            services.circuit,
            AlertLog(services.database).report,
            SyncSettings("probed", True, ""),
        )

    async def readiness(self) -> str:
        """What `/readyz` says of the sync; the process is ready whatever that is."""
        response = await self.counter.client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (200, "ready")
        return str(response.json()["parts"]["conversation_sync"])

    async def metrics(self) -> dict[tuple[str, str], float]:
        """The values of `/metrics` about the sync, by name and labels."""
        response = await self.counter.client.get("/metrics")
        assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE_LATEST)
        return {
            (sample.name, ",".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
            if sample.name.startswith("recado_sync_")
        }

    def later(self, **duration: float) -> None:
        """The clock of the services moves on."""
        clock = self.counter.services.clock
        clock.advance_to(clock.offset + timedelta(**duration))


@pytest.fixture
async def probed(database: Database, api: ConversationApiFake) -> AsyncIterator[Probed]:
    async with open_counter(
        database,
        enable_conversation_sync=True,
        cartaai_api_base_url=api.url,
        cartaai_api_key="right",
        conversation_api_prefix=api.prefix,
    ) as counter:
        yield Probed(counter)
        assert counter.services.conversation_api is not None
        await counter.services.conversation_api.aclose()


async def test_without_the_sync_it_is_off(counter: Counter) -> None:
    assert (await counter.client.get("/healthz")).json() == {"status": "ok"}
    response = await counter.client.get("/readyz")
    parts: dict[str, Any] = response.json()["parts"]
    assert parts == {"database": "ok", "queue": "ok", "model": "demo", "conversation_sync": "off"}
    assert response.status_code == 200


async def test_what_waits_shows_until_it_is_told(probed: Probed) -> None:
    assert await probed.readiness() == "in step"
    await probed.counter.mine.hear("hola")
    probed.later(seconds=90)
    waits = await probed.readiness()
    assert waits in ("1 entries wait, the oldest for 90 s", "1 entries wait, the oldest for 91 s")
    metrics = await probed.metrics()
    assert metrics["recado_sync_backlog", ""] == 1
    assert 90 <= metrics["recado_sync_backlog_age_seconds", ""] < 95
    await probed.outbox.drain()
    assert await probed.readiness() == "in step"
    probed.later(seconds=1)
    metrics = await probed.metrics()
    assert (metrics["recado_sync_backlog", ""], metrics["recado_sync_backlog_age_seconds", ""]) == (0, 0)


async def test_calls_and_failures_are_counted_by_what_they_were(probed: Probed, api: ConversationApiFake) -> None:
    before = await probed.metrics()
    api.seed(ANA, "shop")
    conversation_id = await probed.counter.mine.hear("hola")
    await probed.counter.mine.say(conversation_id, "¡Hola!")
    api.fail(status=500, operations=("message",), times=1)
    api.fail(too_large=True, operations=("message",), times=1)
    await probed.outbox.drain()
    probed.later(minutes=1)
    await probed.outbox.drain()
    assert await probed.readiness() == "in step"
    after = await probed.metrics()
    grown = {key: after[key] - before.get(key, 0) for key in after if not key[0].endswith(("_created", "_bucket"))}
    counts = {key: value for key, value in grown.items() if value and not key[0].endswith("_sum")}
    # Reading takes two calls the first time, to find out which of two routes the server has. The 500 may have done its
    # work, so the message is looked for before it is repeated; that is then too large.
    assert counts == {
        ("recado_sync_attempts_total", "lookup_tenant"): 1,
        ("recado_sync_attempts_total", "get_conversation"): 3,
        ("recado_sync_attempts_total", "add_message"): 3,
        ("recado_sync_attempts_total", "sync"): 1,
        ("recado_sync_failures_total", "add_message,http_5xx"): 1,
        ("recado_sync_failures_total", "add_message,http_413"): 1,
        ("recado_sync_seconds_count", "lookup_tenant"): 1,
        ("recado_sync_seconds_count", "get_conversation"): 3,
        ("recado_sync_seconds_count", "add_message"): 3,
        ("recado_sync_seconds_count", "sync"): 1,
    }
    assert after["recado_sync_seconds_sum", "add_message"] > before.get(("recado_sync_seconds_sum", "add_message"), 0)


async def test_an_api_that_does_not_answer_is_named_and_nobody_is_unready(
    probed: Probed, api: ConversationApiFake
) -> None:
    await probed.counter.mine.hear("hola")
    api.stop()
    for failures in range(1, THRESHOLD + 1):
        await probed.outbox.drain()
        is_open = failures == THRESHOLD
        readiness = await probed.readiness()
        assert readiness.startswith("the API does not answer; 1 entries wait") == is_open
        assert "SyncUnavailable: connection refused to API at 127.0.0.1" in readiness
        assert (await probed.metrics())["recado_sync_circuit_open", ""] == is_open
        probed.later(minutes=0 if is_open else 1)
    api.start()
    probed.later(minutes=1)
    await probed.outbox.drain()
    assert await probed.readiness() == "in step"
    assert (await probed.metrics())["recado_sync_circuit_open", ""] == 0


async def test_what_another_process_met_is_named_here(probed: Probed, api: ConversationApiFake) -> None:
    """With workers of their own this process never calls the API: the rows say what is wrong."""
    await probed.counter.mine.hear("hola")
    api.fail(status=401)
    await probed.outbox.drain()
    probed.counter.services.circuit.succeeded()
    assert "does not accept the key (HTTP 401): check CARTAAI_API_KEY" in await probed.readiness()


async def test_without_its_tables_the_sync_is_unknown_and_the_database_says_why(
    probed: Probed, database: Database
) -> None:
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("ALTER TABLE sync_entries RENAME TO sync_entries_away")
    response = await probed.counter.client.get("/readyz")
    assert response.json()["parts"]["conversation_sync"].startswith("unknown: ")
    assert (await probed.counter.client.get("/metrics")).status_code == 200
