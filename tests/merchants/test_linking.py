"""A member of the staff links an account of theirs with a one-time code, and nobody else becomes one."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from recado.channels.base import InboundMessage
from recado.conversations import notices
from recado.db.engine import Database
from recado.db.models import LinkCode, MerchantUser, Message, SendLimit, StaffLink
from recado.errors import InvalidInput, MerchantUserNotFound, NotFound
from recado.merchants.linking import ALPHABET, MASK, StaffLinks, find_code
from tests.builders import ANA, LUIS, ROSA, apply_specs, make_shop
from tests.turns.inbox import Inbox
from tests.turns.shared_desk import SharedDesk, shared_desk, sharing

ID = "17841400000000001"
WRONG = notices.TEXTS[notices.NOT_LINKED]["es"]


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(await make_shop(database))


async def rows(inbox: Inbox, model: Any) -> list[Any]:
    async with inbox.shop.database.read() as session:
        return list(await session.scalars(select(model)))


def a_wrong(code: str, number: int = 0) -> str:
    other = ALPHABET[(ALPHABET.index(code[-1]) + 1 + number) % len(ALPHABET)]
    return code[:-1] + other


def test_a_code_is_found_however_a_phone_makes_it_look() -> None:
    looks = ["LINK-7KQ2-M9XD", "link 7kq2 m9xd", "Hola, mi código es link-7KQ2-m9xd. ¡Gracias!", "LINK7KQ2M9XD"]
    looks += [
        "LINK\u20147KQ2\u2014M9XD",
        "*LINK-7KQ2-M9XD*",
        "_LINK-7KQ2-M9XD_",
        "LINK - 7KQ2 - M9XD",
        "\nlink:7kq2.m9xd\n",
    ]
    for text in looks:
        written = find_code(text)
        assert written is not None, text
        assert (written.code, written.certain) == ("7KQ2M9XD", True)
        assert MASK in written.masked
        assert not re.search("7kq2|m9xd", written.masked, re.IGNORECASE)
    found = find_code("LINK-OIL0-1234 y LINK-AAAA-BBBB")
    assert found is not None
    assert (found.code, found.masked) == ("01101234", f"{MASK} y {MASK}")


def test_what_is_no_code_is_none() -> None:
    for text in ("", "link", "mándame el link", "LINK-7KQ2", "BLINK-7KQ2-M9XD", "LINK-7KQ2-M9XDE", "LINK-7KQU-M9XD"):
        assert find_code(text) is None, text
    ordinary = find_code("¿Me das el link para este producto?")
    assert ordinary is not None
    assert not ordinary.certain


async def test_who_writes_a_good_code_is_that_member_from_now_on(inbox: Inbox) -> None:
    await inbox.write("hola", ID, None)
    assert await inbox.staff_name(ID) is None
    code, expires_at = await inbox.code(LUIS)
    assert re.fullmatch(r"LINK-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", code)
    assert expires_at == inbox.shop.clock.now() + timedelta(minutes=15)
    row = await inbox.write(f"Hola, soy Luis: {code.lower()} gracias", ID, None)
    assert (row.text, row.other_data) == (f"Hola, soy Luis: {MASK} gracias", {"handled": "link"})
    assert await inbox.staff_name(ID) == "Luis"
    assert await inbox.said(ID) == [notices.text_of(notices.LINKED, "es", {"name": "Luis"})]
    assert await inbox.nudged("deliver", row.conversation_id)
    assert inbox.alerts.sent == []


async def test_a_code_is_kept_nowhere(inbox: Inbox) -> None:
    code, _ = await inbox.code(LUIS)
    (kept,) = await rows(inbox, LinkCode)
    bare = code.replace("-", "").removeprefix("LINK")
    assert len(kept.code_hash) == 64
    assert bare not in kept.code_hash
    await inbox.write("hola", ID, message_id="m1")
    await inbox.write(a_wrong(code), ID)
    await inbox.write(code, ID, kind="edit", about_provider_message_id="m1")
    await inbox.write(code, ID)
    for message in await rows(inbox, Message):
        assert bare[:4] not in f"{message.text} {message.other_data}"
    assert (await inbox.row("m1")).text == "hola", "a code is no correction"
    assert await inbox.staff_name(ID) == "Luis"


async def wrong_in_this_way(inbox: Inbox, how: str) -> str:
    code, _ = await inbox.code(LUIS)
    if how == "used":
        await inbox.write(code, "somebody")
    elif how == "expired":
        inbox.shop.clock.forward(minutes=15, seconds=1)
    elif how == "replaced":
        await inbox.code(LUIS)
    elif how == "another merchant's":
        code, _ = await Inbox(await make_shop(inbox.shop.database, "other", "+15550200")).code(LUIS)
    elif how == "of a member who left":
        async with inbox.shop.database.transaction() as session:
            await session.execute(update(MerchantUser).values(active=False))
    return a_wrong(code) if how == "mistyped" else code


HOW = ["mistyped", "used", "expired", "replaced", "another merchant's", "of a member who left"]


@pytest.mark.parametrize("how", HOW)
async def test_a_code_that_is_not_good_makes_nobody_a_member_and_does_not_say_why(inbox: Inbox, how: str) -> None:
    code = await wrong_in_this_way(inbox, how)
    row = await inbox.write(code, ID)
    assert row.other_data == {"handled": "link"}
    assert await inbox.said(ID) == [WRONG]
    assert await inbox.staff_name(ID) is None


async def test_who_guesses_is_not_answered_any_more_and_the_team_hears_of_it_once(inbox: Inbox) -> None:
    code, _ = await inbox.code(LUIS)
    for number in range(5):
        await inbox.write(a_wrong(code, number), ID)
    assert await inbox.said(ID) == [WRONG] * 5
    assert inbox.alerts.sent == []
    for text in (a_wrong(code, 5), code, code):
        assert (await inbox.write(text, ID)).other_data == {"handled": "link"}
    assert await inbox.staff_name(ID) is None
    assert len(await inbox.said(ID)) == 5
    assert await inbox.alerts.told(inbox.shop.clock) == ["security_wrong_codes"]
    _, reason, context = inbox.alerts.sent[0]
    assert ID not in reason + str(context)
    assert (await inbox.write(code, "another")).other_data == {"handled": "link"}
    assert await inbox.staff_name("another") == "Luis", "nobody else is to blame"
    inbox.shop.clock.forward(minutes=15)
    await inbox.write((await inbox.code(ROSA))[0], ID)
    assert await inbox.staff_name(ID) == "Rosa"


async def test_wrong_tries_are_counted_over_the_last_quarter_of_an_hour(inbox: Inbox) -> None:
    code, _ = await inbox.code(LUIS)
    for number in range(5):
        await inbox.write(a_wrong(code, number), ID)
        inbox.shop.clock.forward(minutes=3)
    for number in range(2):  # one is old enough to count no more
        await inbox.write(a_wrong(code, 5 + number), ID)
    assert len(await inbox.said(ID)) == 6
    assert len(inbox.alerts.sent) == 1
    assert len(await rows(inbox, SendLimit)) == 5


async def test_what_only_looks_like_a_code_is_a_message(inbox: Inbox) -> None:
    row = await inbox.write("¿Me das el link para este producto?", ID)
    assert (row.text, row.other_data) == ("¿Me das el link para este producto?", {})
    assert await rows(inbox, SendLimit) == []


async def test_a_code_of_letters_is_one_with_spaces_too(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recado.merchants.linking.secrets.choice", lambda _: "A")
    assert (await inbox.code(LUIS))[0] == "LINK-AAAA-AAAA"
    assert (await inbox.write("link aaaa aaaa", ID)).text == MASK
    assert await inbox.staff_name(ID) == "Luis"


async def test_an_account_may_be_linked_again_to_another_and_unlinked(inbox: Inbox) -> None:
    for phone in (LUIS, ROSA):
        await inbox.write((await inbox.code(phone))[0], ID)
    (link,) = await rows(inbox, StaffLink)
    assert (await inbox.staff_name(ID), link.merchant_user_id) == ("Rosa", await inbox.member(ROSA))
    async with inbox.shop.database.transaction() as session:
        links = StaffLinks(session, inbox.shop.merchant_id, inbox.shop.clock)
        assert [(row.id, user.name) for row, user in await links.links()] == [(link.id, "Rosa")]
        with pytest.raises(NotFound):
            await links.unlink(link.id, await inbox.member(LUIS))
        with pytest.raises(NotFound):
            await StaffLinks(session, inbox.shop.merchant_id + 1, inbox.shop.clock).unlink(link.id)
        await links.unlink(link.id)
    assert await inbox.staff_name(ID) is None


async def test_a_link_says_more_than_a_number_and_ends_with_the_membership(inbox: Inbox) -> None:
    await inbox.write((await inbox.code(LUIS))[0], ROSA)
    assert await inbox.staff_name(ROSA) == "Luis"
    async with inbox.shop.database.transaction() as session:
        await session.execute(update(MerchantUser).where(MerchantUser.phone == LUIS).values(active=False))
    assert await inbox.staff_name(ROSA) == "Rosa"
    async with inbox.shop.database.transaction() as session:
        await session.execute(update(MerchantUser).values(active=False))
    assert await inbox.staff_name(ROSA) is None


async def test_an_account_is_linked_to_its_own_merchant_only(database: Database, inbox: Inbox) -> None:
    other = Inbox(await make_shop(database, "other", "+15550200"))
    await inbox.write((await inbox.code(LUIS))[0], ID)
    await other.write("hola", ID)
    assert await other.staff_name(ID) is None


async def test_codes_are_for_active_members_of_this_merchant(database: Database, inbox: Inbox) -> None:
    other = Inbox(await make_shop(database, "other", "+15550200"))
    theirs = await other.member(LUIS)
    async with database.transaction() as session:
        await session.execute(update(MerchantUser).where(MerchantUser.phone == ROSA).values(active=False))
    async with database.transaction() as session:
        links = StaffLinks(session, inbox.shop.merchant_id, inbox.shop.clock)
        with pytest.raises(MerchantUserNotFound):
            await links.new_code(theirs)
        mine = await session.scalar(
            select(MerchantUser.id).where(
                MerchantUser.merchant_id == inbox.shop.merchant_id, MerchantUser.phone == ROSA
            )
        )
        assert mine is not None
        with pytest.raises(InvalidInput):
            await links.new_code(mine)


async def test_who_wants_no_messages_is_linked_in_silence(inbox: Inbox) -> None:
    await inbox.write("STOP", ID)
    await inbox.write((await inbox.code(LUIS))[0], ID)
    assert await inbox.staff_name(ID) == "Luis"
    assert len(await inbox.said(ID)) == 1


class Hidden:
    """A channel on which this person hides their number."""

    def __init__(self, inner: Any, user: str) -> None:
        self._inner, self._user = inner, user

    def parse(self, payload: bytes) -> Any:
        found = self._inner.parse(payload)
        return InboundMessage(found.provider_message_id, self._user, None, found.name, found.kind, found.text)


@pytest.fixture
async def desk(database: Database) -> SharedDesk:
    desk = await shared_desk(database, "uno", "dos", "tres")
    staff = {"staff": [{"name": "Luis", "phone": LUIS, "types": ["support"]}]}
    await apply_specs(database, sharing("dos", **staff), sharing("tres"))
    desk.channels["simulator"] = Hidden(desk.channels["simulator"], "PE.1")
    return desk


async def test_at_a_shared_number_a_code_and_a_link_lead_to_the_merchant(desk: SharedDesk) -> None:
    await desk.take(desk.message("hola", ANA))
    assert await desk.heard("uno") == ["hola"], "the oldest account, as for anybody without a number"
    dos = Inbox(desk.shops["dos"])
    code, _ = await dos.code(LUIS)
    await desk.take(desk.message(f"hola {code}", ANA))
    assert await desk.heard("dos") == [f"hola {MASK}"]
    await desk.take(desk.message("NOTIF_1: sí", ANA))
    assert await desk.heard("dos") == [f"hola {MASK}", "NOTIF_1: sí"]
    assert await desk.heard("uno") == ["hola"]
