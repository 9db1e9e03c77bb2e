"""Who may call the REST API, and that merchants are walls: over every route that the app has."""

import hashlib
import logging
import re
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from recado.db.engine import Database
from recado.db.models import ApiKey
from tests.http.counter import API, KEYS, NOTIFICATIONS, PLATFORM_KEY, USERS, Counter, is_problem, open_counter

PLATFORM_ROUTES = {("GET", "/merchant/merchants")}


def routes_of(counter: Counter) -> list[tuple[str, str]]:
    """Every route of the REST API, with 1 where an id goes."""
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "1", path.removeprefix(API)))
        for path, operations in counter.app.openapi()["paths"].items()
        if path.startswith(API)
        for method in operations
    ]
    assert len(found) >= 28
    assert set(found) >= PLATFORM_ROUTES
    return found


def merchant_routes(counter: Counter) -> list[tuple[str, str]]:
    return [route for route in routes_of(counter) if route not in PLATFORM_ROUTES]


async def test_without_a_known_key_nothing_is_answered(counter: Counter) -> None:
    revoked = await counter.make_key(counter.mine)
    async with counter.services.database.transaction() as session:
        key_hash = hashlib.sha256(revoked.encode()).hexdigest()
        await session.execute(
            update(ApiKey).where(ApiKey.key_hash == key_hash).values(revoked_at=counter.mine.clock.now())
        )
    wrong: list[dict[str, Any]] = [
        {"key": None},
        {"key": revoked},
        {"key": counter.key[:-1]},
        {"key": counter.key + "x"},
        {"key": PLATFORM_KEY[:-1]},
        {"key": "rcd_"},
        {"headers": {"Authorization": f"Basic {counter.key}"}},
        {"headers": {"Authorization": counter.key}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": "Bearer ñ".encode()}},
        {"key": None, "headers": {"X-API-Key": revoked}},
        {"key": None, "headers": {"X-API-Key": ""}},
        {"key": None, "params": {"api_key": counter.key}},
    ]
    for more in wrong:
        response = await counter.call("GET", "/merchant/me", **more)
        assert is_problem(response, 401)["title"] == "Unauthenticated", more
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="recado"'
    for method, path in [*routes_of(counter), ("GET", "/nothing"), ("TRACE", "/merchant/me")]:
        # Whatever the body is: nobody reads it.
        is_problem(
            await counter.call(method, path, key=None, content=b"{", headers={"Content-Type": "application/json"}), 401
        )


async def test_both_headers_are_taken(counter: Counter) -> None:
    await counter.ok("GET", "/merchant/me")
    await counter.ok("GET", "/merchant/me", headers={"Authorization": f"bearer  {counter.key}"})
    await counter.ok("GET", "/merchant/me", key=None, headers={"X-API-Key": counter.key})
    basic = {"Authorization": "Basic eDp5", "X-API-Key": counter.key}  # a proxy's own
    await counter.ok("GET", "/merchant/me", headers=basic)


async def test_a_merchants_key_opens_that_merchant_only(counter: Counter) -> None:
    theirs = counter.theirs.merchant_id
    assert (await counter.ok("GET", "/merchant/me"))["sub_domain"] == "shop"
    same = {"merchant_id": counter.mine.merchant_id, "sub_domain": "shop"}
    assert (await counter.ok("GET", "/merchant/me", params=same))["sub_domain"] == "shop"
    for params in ({"merchant_id": theirs}, {"sub_domain": "other"}, {"merchant_id": 999}, {"sub_domain": "nobody"}):
        for method, path in merchant_routes(counter):
            await counter.refused(404, method, path, params=params, json={"enabled": True})
    for method, path in PLATFORM_ROUTES:
        await counter.refused(403, method, path, "platform key")


async def test_the_platform_names_the_merchant(counter: Counter) -> None:
    mine = counter.mine.merchant_id
    both = await counter.ok("GET", "/merchant/merchants", key=PLATFORM_KEY)
    assert [(item["sub_domain"], item["id"]) for item in both["items"]] == [
        ("shop", mine),
        ("other", counter.theirs.merchant_id),
    ]
    for named in ({"merchant_id": mine}, {"sub_domain": "shop"}, {"merchant_id": mine, "sub_domain": "shop"}):
        assert (await counter.ok("GET", "/merchant/me", key=PLATFORM_KEY, params=named))["id"] == mine
    for method, path in merchant_routes(counter):
        await counter.refused(422, method, path, "merchant_id or sub_domain", key=PLATFORM_KEY, json={"enabled": True})
    for unknown in ({"merchant_id": 999}, {"sub_domain": "nobody"}, {"merchant_id": mine, "sub_domain": "other"}):
        await counter.refused(404, "GET", "/merchant/me", key=PLATFORM_KEY, params=unknown)
    for nonsense in ({"merchant_id": 2**63}, {"merchant_id": "x"}, {"sub_domain": "a\x00"}, {"sub_domain": ""}):
        await counter.refused(422, "GET", "/merchant/me", key=PLATFORM_KEY, params=nonsense)


async def test_without_a_platform_key_there_is_no_platform(database: Database) -> None:
    async with open_counter(database, api_key="") as counter:
        for key in (None, "", PLATFORM_KEY):
            headers = {} if key is None else {"Authorization": f"Bearer {key}", "X-API-Key": key}
            is_problem(await counter.call("GET", "/merchant/merchants", key=None, headers=headers), 401)
        await counter.ok("GET", "/merchant/me")


async def test_keys_are_made_shown_once_and_revoked(counter: Counter) -> None:
    response = await counter.call("POST", KEYS, json={"name": " dashboard "})
    assert (response.status_code, response.headers["Cache-Control"]) == (201, "no-store")
    made = response.json()
    key = made.pop("key")
    assert re.fullmatch(r"rcd_[A-Za-z0-9_-]{43}", key)
    assert (made["name"], key.startswith(made["hint"]), len(made["hint"])) == ("dashboard", True, 10)
    async with counter.services.database.read() as session:
        row = await session.get_one(ApiKey, made["id"])
    assert row.key_hash == hashlib.sha256(key.encode()).hexdigest()
    assert key not in str({column.name: getattr(row, column.name) for column in ApiKey.__table__.columns})
    listed = await counter.ok("GET", KEYS, key=key)
    assert [item["name"] for item in listed["items"]] == ["dashboard", "test"]
    assert (listed["items"][0], listed["total"]) == ({**made, "revoked_at": None}, 2)
    assert await counter.ok("DELETE", f"{KEYS}/{made['id']}", 204) is None
    await counter.refused(401, "GET", KEYS, key=key)
    first = (await counter.ok("GET", KEYS))["items"][0]["revoked_at"]
    await counter.ok("DELETE", f"{KEYS}/{made['id']}", 204)
    assert (await counter.ok("GET", KEYS))["items"][0]["revoked_at"] == first
    for name in ("", "  ", "a\x00", "x" * 201, None, 5):
        await counter.refused(422, "POST", KEYS, json={"name": name})


async def test_another_merchants_key_is_not_listed_nor_revoked(counter: Counter) -> None:
    theirs = await counter.make_key(counter.theirs, "theirs")
    async with counter.services.database.read() as session:
        key_id = await session.scalar(select(ApiKey.id).where(ApiKey.name == "theirs"))
    assert [item["name"] for item in (await counter.ok("GET", KEYS))["items"]] == ["test"]
    await counter.refused(404, "DELETE", f"{KEYS}/{key_id}")
    await counter.ok("GET", KEYS, key=theirs)


async def test_no_key_comes_into_a_log_or_an_error(counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = [counter.key, PLATFORM_KEY, "rcd_" + "wrong" * 9, "somebody elses secret"]
    with capture_logs() as logs:
        for key in keys:
            for path in ("/merchant/me", NOTIFICATIONS, "/nothing"):
                response = await counter.call("GET", path, key=key)
                assert key not in response.text
            response = await counter.call("POST", USERS, key=key, content=b"{")
            assert key not in response.text
    written = str(logs) + caplog.text
    assert "refused an API request" in written
    for key in keys:
        assert key not in written


async def test_strangers_with_nonsense_do_not_reach_the_database(counter: Counter) -> None:
    async with counter.queries() as run:
        for key in (None, "nonsense", PLATFORM_KEY + "x"):
            await counter.refused(401, "GET", "/merchant/me", key=key)
    assert run == []
