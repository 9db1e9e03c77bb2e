"""What people put right or take back: in time it is as if it had been so, later a correction, and gone is gone."""

from typing import Any

import pytest
from sqlalchemy import select, update

from recado.channels.base import Attachment
from recado.db.engine import Database
from recado.db.models import MediaFile, Message
from tests.builders import BETO, make_shop
from tests.turns.inbox import Inbox
from tests.turns.talk import Talk


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(await make_shop(database))


async def edit(inbox: Inbox, text: str, about: str = "m1", **more: Any) -> Message:
    return await inbox.write(text, kind="edit", about_provider_message_id=about, **more)


async def delete(inbox: Inbox, about: str = "m1", **more: Any) -> Message:
    return await inbox.write("", kind="deletion", about_provider_message_id=about, **more)


async def answer(inbox: Inbox) -> None:
    """A turn takes what is there."""
    await Talk(inbox.shop).run((await inbox.conversation()).id)


async def test_an_edit_in_time_takes_the_place_of_what_was_written(inbox: Inbox) -> None:
    await inbox.write("Quiero dos", message_id="m1")
    assert (await edit(inbox, "Quiero tres")).other_data["handled"] == "edit"
    await edit(inbox, "Quiero cuatro")
    row = await inbox.row("m1")
    assert (row.text, row.other_data, row.turn_id) == ("Quiero cuatro", {"edited_from": "Quiero dos"}, None)


async def test_an_edit_of_what_is_answered_already_is_a_correction_to_be_answered(inbox: Inbox) -> None:
    await inbox.write("Quiero dos", message_id="m1")
    await answer(inbox)
    late = await edit(inbox, "Quiero tres")
    assert (late.other_data, late.text) == ({"about": "m1"}, "Quiero tres")
    assert (await inbox.row("m1")).text == "Quiero dos"
    assert await inbox.nudged("turn", late.conversation_id)


async def test_an_edit_of_what_never_came_is_a_message(inbox: Inbox) -> None:
    assert "handled" not in (await edit(inbox, "Quiero tres", "unknown")).other_data
    assert "handled" not in (await inbox.write("¿?", kind="edit")).other_data


async def test_what_is_taken_back_is_gone(inbox: Inbox) -> None:
    file = Attachment("image", "media-1", "image/jpeg")
    await inbox.write("Mi clave es 1234", message_id="m1", attachments=(file,), data={"referral": {"body": "x"}})
    await edit(inbox, "Mi clave es 5678")
    assert (await delete(inbox)).other_data["handled"] == "deletion"
    async with inbox.shop.database.read() as session:
        files = list(await session.scalars(select(MediaFile.state)))
        everything = [str((row.text, row.other_data)) for row in await session.scalars(select(Message))]
    assert files == ["removed"]
    assert "clave" not in str(everything)
    row = await inbox.row("m1")
    assert (row.text, row.other_data) == ("", {"deleted": True, "handled": "deletion"}), "nobody answers it"
    assert (await delete(inbox)).other_data["handled"] == "deletion"
    assert (await inbox.row("m1")).other_data == row.other_data
    assert (await edit(inbox, "Mi clave es 9")).other_data["handled"] == "edit"
    assert (await inbox.row("m1")).text == ""


async def test_what_is_answered_already_is_gone_too(inbox: Inbox) -> None:
    await inbox.write("Mi clave es 1234", message_id="m1")
    await answer(inbox)
    await edit(inbox, "Mi clave es 5678", message_id="m2")
    await answer(inbox)
    await delete(inbox)
    assert [(await inbox.row(key)).text for key in ("m1", "m2")] == ["", ""]
    assert (await inbox.row("m1")).other_data == {"deleted": True}


async def test_a_deletion_of_what_never_came_is_nothing(inbox: Inbox) -> None:
    await inbox.write("hola", message_id="m1")
    assert (await delete(inbox, "unknown")).other_data["handled"] == "deletion"
    assert (await inbox.write("", kind="deletion")).other_data["handled"] == "deletion"
    assert (await inbox.row("m1")).text == "hola"
    assert inbox.alerts.sent == []


async def test_nobody_changes_what_another_wrote(database: Database, inbox: Inbox) -> None:
    other = Inbox(await make_shop(database, "other", "+15550200"))
    await other.write("de otra tienda", message_id="m2")
    await inbox.write("hola", message_id="m1")
    assert "handled" not in (await edit(inbox, "adiós", user=BETO)).other_data
    await delete(inbox, user=BETO)
    await edit(inbox, "adiós", "m2")
    await delete(inbox, "m2")
    assert (await inbox.row("m1")).text == "hola"
    assert (await other.row("m2")).text == "de otra tienda"


async def test_what_we_said_is_not_theirs_to_change(inbox: Inbox) -> None:
    conversation_id = (await inbox.write("hola")).conversation_id
    await inbox.shop.say(conversation_id, "Buenos días")
    async with inbox.shop.database.transaction() as session:
        await session.execute(update(Message).where(Message.role == "response").values(provider_message_id="p1"))
    await edit(inbox, "Buenas noches", "p1")
    await delete(inbox, "p1")
    assert await inbox.said() == ["Buenos días"]


async def test_who_wants_no_messages_may_still_take_back(inbox: Inbox) -> None:
    await inbox.write("Mi clave es 1234", message_id="m1")
    await inbox.write("STOP")
    await delete(inbox)
    assert (await inbox.row("m1")).text == ""
