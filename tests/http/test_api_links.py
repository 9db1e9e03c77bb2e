"""Link codes and linked accounts of the staff over the REST API."""

from sqlalchemy import select

from recado.clock import Clock
from recado.db.models import Contact, LinkCode, StaffLink
from recado.merchants.linking import StaffLinks, find_code
from tests.builders import LUIS, ROSA, Shop
from tests.http.counter import USERS, Counter
from tests.http.test_api_merchants import user_id

ID = "17841400000000001"


async def redeem(counter: Counter, shop: Shop, code: str) -> str | None:
    written = find_code(code)
    assert written is not None
    contact = Contact(channel="instagram", channel_user_id=ID)
    async with counter.services.database.transaction() as session:
        member = await StaffLinks(session, shop.merchant_id, Clock()).redeem(written.code, contact)
    return member.name if member else None


async def test_a_code_is_shown_once_and_makes_a_link(counter: Counter) -> None:
    luis = f"{USERS}/{await user_id(counter, LUIS)}"
    response = await counter.call("POST", f"{luis}/link-code")
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.json()) == {"code", "expires_at"}
    older = response.json()["code"]
    code = (await counter.ok("POST", f"{luis}/link-code", 201))["code"]
    assert await counter.count(LinkCode) == 1
    assert await redeem(counter, counter.mine, older) is None, "a new code voids the older ones"
    assert await redeem(counter, counter.theirs, code) is None
    assert await redeem(counter, counter.mine, code) == "Luis"
    page = await counter.ok("GET", f"{luis}/links")
    (link,) = page["items"]
    assert (link["channel"], link["channel_user_id"]) == ("instagram", ID)
    assert page["total"] == 1
    assert (await counter.ok("GET", f"{USERS}/{await user_id(counter, ROSA)}/links"))["items"] == []


async def test_a_link_is_removed_by_its_own_merchant_only(counter: Counter) -> None:
    me = await user_id(counter, LUIS)
    code = (await counter.ok("POST", f"{USERS}/{me}/link-code", 201))["code"]
    await redeem(counter, counter.mine, code)
    async with counter.services.database.read() as session:
        link_id = await session.scalar(select(StaffLink.id))
    theirs = await counter.make_key(counter.theirs)
    link = f"{USERS}/{me}/links/{link_id}"
    for path in (link, f"{USERS}/{await user_id(counter, LUIS, counter.theirs.merchant_id)}/links/{link_id}"):
        await counter.refused(404, "DELETE", path, key=theirs)
    await counter.refused(404, "DELETE", f"{USERS}/{await user_id(counter, ROSA)}/links/{link_id}")
    await counter.refused(404, "GET", f"{USERS}/{me}/links", key=theirs)
    await counter.refused(404, "POST", f"{USERS}/{me}/link-code", key=theirs)
    assert await counter.count(StaffLink) == 1
    await counter.ok("DELETE", link, 204)
    await counter.refused(404, "DELETE", link)


async def test_who_is_not_active_gets_no_code(counter: Counter) -> None:
    luis = f"{USERS}/{await user_id(counter, LUIS)}"
    await counter.ok("DELETE", luis, 204)
    await counter.refused(422, "POST", f"{luis}/link-code", "is not active")
