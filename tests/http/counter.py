"""Two merchants and the whole app, called over ASGI: what the tests of the REST API share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import event, func, select, text

from recado.bootstrap import Services, make_services
from recado.clock import Clock
from recado.db.engine import Database
from recado.http.app import create_app
from recado.merchants.keys import ApiKeys
from recado.settings import Settings
from tests.builders import Shop, make_shop

PLATFORM_KEY = "the-platforms-own-key-of-32-characters"
API = "/api/v1"
NOTIFICATIONS = "/notification/notifications"
DOCUMENTS = "/document/documents"
CONVERSATIONS = "/conversation/conversations"
CAMPAIGNS = "/campaign/campaigns"
USERS = "/merchant/users"
KEYS = "/merchant/keys"


class Counter:
    """The app with two merchants: `mine`, whose key requests carry unless told otherwise, and `theirs`."""

    def __init__(self, services: Services, app: FastAPI, client: httpx.AsyncClient, mine: Shop, theirs: Shop) -> None:
        self.services, self.app, self.client, self.mine, self.theirs = services, app, client, mine, theirs
        self.key = ""

    async def make_key(self, shop: Shop, name: str = "test") -> str:
        async with self.services.database.transaction() as session:
            return (await ApiKeys(session, shop.merchant_id, Clock()).create(name))[1]

    async def call(self, method: str, path: str, *, key: str | None = "", **more: Any) -> httpx.Response:
        """A request; `key` None goes without one."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key or self.key}")
        return await self.client.request(method, f"{API}{path}", headers=headers, **more)

    async def ok(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """The body of a request that must succeed."""
        response = await self.call(method, path, **more)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def refused(self, status: int, method: str, path: str, *fragments: str, **more: Any) -> dict[str, Any]:
        """The problem details of a request that must be refused, with these words in its detail."""
        problem = is_problem(await self.call(method, path, **more), status)
        for fragment in fragments:
            assert fragment in problem["detail"]
        return problem

    async def count(self, model: type) -> int:
        async with self.services.database.read() as session:
            return await session.scalar(select(func.count()).select_from(model)) or 0

    async def until_it_waits_for_a_lock(self) -> None:
        """Until a request waits for a transaction that is open: on SQLite it does so before its first statement."""
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND application_name = current_setting('application_name')"
        )
        async with asyncio.timeout(10):
            while not self.services.database.is_sqlite:
                async with self.services.database.read() as session:
                    if await session.scalar(waiting):
                        return
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def queries(self) -> AsyncIterator[list[str]]:
        """The SQL that is run meanwhile."""
        run: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
                run.append(statement)

        engine = self.services.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield run
        finally:
            event.remove(engine, "before_cursor_execute", note)


def is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The body, once it is certain that it is RFC 9457 problem details."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {"type": "about:blank", "status": status}.items() <= body.items()
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "errors"}
    for error in body.get("errors", []):
        assert set(error) == {"field", "message"}
    return dict(body)


@asynccontextmanager
async def open_counter(database: Database, **settings: Any) -> AsyncIterator[Counter]:
    """The app on this database, with two merchants that look alike."""
    url = database.url.render_as_string(hide_password=False)
    values = {"database_url": url, "model_provider": "demo", "api_key": PLATFORM_KEY, **settings}
    services = make_services(Settings(_env_file=None, **values))
    app = create_app(services)
    mine = await make_shop(database)
    theirs = await make_shop(database, "other", "+15550200")
    # An error of ours must be answered as one, not raised into the test.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://recado") as client:
        counter = Counter(services, app, client, mine, theirs)
        counter.key = await counter.make_key(mine)
        yield counter
    await services.database.close()
