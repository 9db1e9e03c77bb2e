"""The merchant and its staff over the REST API."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from recado.db.models import MerchantUser
from recado.merchants.repository import MerchantRepository
from recado.merchants.staff import Staff
from tests.builders import EVA, LUIS, ROSA
from tests.http.counter import PLATFORM_KEY, USERS, Counter

NEW = {"name": "Eva", "phone": EVA, "types": ["sales"]}


async def user_id(counter: Counter, phone: str, merchant_id: int | None = None) -> int:
    async with counter.services.database.read() as session:
        query = select(MerchantUser.id).where(
            MerchantUser.phone == phone, MerchantUser.merchant_id == (merchant_id or counter.mine.merchant_id)
        )
        return (await session.execute(query)).scalar_one()


async def test_the_merchant_shows_no_credentials(counter: Counter) -> None:
    me = await counter.ok("GET", "/merchant/me")
    assert (me["name"], me["sub_domain"], me["timezone"]) == ("Shop", "shop", "America/Lima")
    assert (me["reminder_minutes"], me["escalation_minutes"]) == (15, 60)
    assert "credentials" not in str(me)
    page = await counter.ok("GET", "/merchant/merchants", key=PLATFORM_KEY, params={"page_size": 1, "page": 2})
    assert ([item["name"] for item in page["items"]], page["total"]) == (["Other"], 2)
    async with counter.queries() as run:
        await counter.ok("GET", "/merchant/merchants", key=PLATFORM_KEY)
    assert len(run) == 2


async def test_the_staff_is_added_to_and_asked(counter: Counter) -> None:
    response = await counter.call("POST", USERS, json={**NEW, "phone": "+51 900-000-003"})
    assert response.status_code == 201
    made = response.json()
    assert made == {"id": made["id"], **NEW, "active": True}
    assert response.headers["Location"] == f"/api/v1{USERS}/{made['id']}"
    page = await counter.ok("GET", USERS)
    assert ([item["phone"] for item in page["items"]], page["total"]) == ([ROSA, LUIS, EVA], 3)
    async with counter.services.database.read() as session:
        staff = await MerchantRepository(session, counter.mine.merchant_id).staff()
    assert EVA in [person.phone for person in staff]


async def test_a_phone_number_is_one_persons(counter: Counter) -> None:
    await counter.refused(409, "POST", USERS, "has this phone number", json={**NEW, "phone": ROSA})
    luis = f"{USERS}/{await user_id(counter, LUIS)}"
    await counter.refused(409, "PATCH", luis, "has this phone number", json={"phone": ROSA})
    assert (await counter.ok("PATCH", luis, json={"phone": LUIS}))["phone"] == LUIS
    theirs = await counter.make_key(counter.theirs)
    await counter.ok("POST", USERS, 201, json=NEW, key=theirs)
    await counter.ok("POST", USERS, 201, json=NEW)  # of another merchant she may be as well


async def test_a_phone_number_that_another_request_is_taking_is_refused(counter: Counter) -> None:
    async with counter.services.database.transaction() as session:
        await Staff(session, counter.mine.merchant_id).add("Eva", EVA, ["sales"])
        request = asyncio.create_task(counter.refused(409, "POST", USERS, json={**NEW, "name": "Another"}))
        await counter.until_it_waits_for_a_lock()
    assert (await request)["title"] == "Already there"
    page = await counter.ok("GET", USERS)
    assert [item["name"] for item in page["items"]] == ["Rosa", "Luis", "Eva"]


async def test_who_is_deactivated_is_not_asked_and_may_come_back(counter: Counter) -> None:
    rosa = f"{USERS}/{await user_id(counter, ROSA)}"
    assert await counter.ok("DELETE", rosa, 204) is None
    await counter.ok("DELETE", rosa, 204)
    async with counter.services.database.read() as session:
        staff = await MerchantRepository(session, counter.mine.merchant_id).staff()
    assert [person.phone for person in staff] == [LUIS]

    async def phones(active: str) -> list[str]:
        page = await counter.ok("GET", USERS, params={"active": active})
        assert page["total"] == len(page["items"])
        return [item["phone"] for item in page["items"]]

    assert (await phones("true"), await phones("false")) == ([LUIS], [ROSA])
    back = await counter.ok("POST", USERS, 201, json={"name": "Rosa M.", "phone": ROSA, "types": ["support"]})
    assert (f"{USERS}/{back['id']}", back["name"], back["active"]) == (rosa, "Rosa M.", True)
    await counter.ok("DELETE", rosa, 204)
    assert (await counter.ok("PATCH", rosa, json={"active": True}))["active"] is True


async def test_only_what_is_given_changes(counter: Counter) -> None:
    luis = f"{USERS}/{await user_id(counter, LUIS)}"
    before = await counter.ok("PATCH", luis, json={})
    assert await counter.ok("PATCH", luis, json={"types": ["admin", "sales"]}) == {
        **before,
        "types": ["admin", "sales"],
    }
    assert (await counter.ok("PATCH", luis, json={"name": " José "}))["name"] == "José"


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone": "900000003"},
        {"phone": "+0"},
        {"phone": "+" + "1" * 5_000},
        {"phone": 51900000003},
        {"phone": None},
        {"name": ""},
        {"name": " \n"},
        {"name": "E\x00va"},
        {"name": "x" * 201},
        {"types": []},
        {"types": ["Admin"]},
        {"types": ["admin\n"]},
        {"types": "admin"},
        {"types": ["a"] * 21},
        {"active": None},
        {"merchant_id": 2},
        {"id": 7},
    ],
)
async def test_what_is_no_member_of_staff_is_refused(counter: Counter, wrong: dict[str, Any]) -> None:
    (field,) = wrong
    problem = await counter.refused(422, "POST", USERS, json={**NEW, **wrong})
    assert problem["errors"][0]["field"].split(".")[0] == field
    await counter.refused(422, "PATCH", f"{USERS}/{await user_id(counter, LUIS)}", json=wrong)
    assert await counter.count(MerchantUser) == 4


async def test_another_merchants_staff_does_not_exist(counter: Counter) -> None:
    theirs = await user_id(counter, ROSA, counter.theirs.merchant_id)
    await counter.refused(404, "PATCH", f"{USERS}/{theirs}", json={"name": "Mallory"})
    await counter.refused(404, "DELETE", f"{USERS}/{theirs}")
    async with counter.services.database.read() as session:
        row = await session.get_one(MerchantUser, theirs)
    assert (row.name, row.active) == ("Rosa", True)
