"""What comes hours after it was sent is not answered as if it were new."""

from datetime import timedelta
from typing import Any

import pytest

from recado.conversations import notices
from recado.db.engine import Database
from recado.db.models import Message
from recado.turns.context import SHOW_ANSWER
from tests.builders import ANA, BETO, ROSA, make_shop
from tests.turns.inbox import Inbox

SORRY = notices.TEXTS[notices.LATE]["es"]


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(await make_shop(database))


async def late(inbox: Inbox, text: str, hours: float, user: str = ANA, **more: Any) -> Message:
    return await inbox.write(text, user, sent_at=inbox.shop.clock.now() - timedelta(hours=hours), **more)


@pytest.mark.parametrize(("hours", "word"), [(0, None), (11.9, None), (12.1, "late"), (23.9, "late"), (400, "late")])
async def test_how_old_it_is_decides(inbox: Inbox, hours: float, word: str | None) -> None:
    assert (await late(inbox, "¿Están abiertos?", hours)).other_data.get("handled") == word
    assert await inbox.said() == ([SORRY] if word and hours < 24 else [])


async def test_a_clock_that_is_ahead_makes_nothing_late(inbox: Inbox) -> None:
    assert "handled" not in (await late(inbox, "hola", -30)).other_data


async def test_we_are_sorry_once_in_an_hour(inbox: Inbox) -> None:
    now = inbox.shop.clock.now()
    batch = [inbox.message(f"n{hours}", sent_at=now - timedelta(hours=hours)) for hours in (15, 14, 13)]
    await inbox.tell(*batch)
    assert await inbox.said() == [SORRY]
    assert [row.other_data["handled"] for row in await inbox.shop.messages(1, "user")] == ["late"] * 3
    assert await inbox.nudged("deliver", (await inbox.conversation()).id)
    inbox.shop.clock.forward(minutes=59)
    await late(inbox, "otra", 14)
    assert await inbox.said() == [SORRY]
    await late(inbox, "otra persona", 14, BETO)
    assert await inbox.said(BETO) == [SORRY]
    inbox.shop.clock.forward(minutes=2)
    await late(inbox, "y otra", 14)
    assert await inbox.said() == [SORRY] * 2


async def test_it_counts_when_the_message_is_taken_in_not_when_it_was_stored(inbox: Inbox) -> None:
    """As after a night without a worker."""
    message = inbox.message("¿Están abiertos?", sent_at=inbox.shop.clock.now())
    await inbox.intake.accept([inbox.raw(message)])
    inbox.shop.clock.forward(hours=13)
    await inbox.ingest.run()
    assert (await inbox.row(message.provider_message_id)).other_data["handled"] == "late"


async def test_a_members_answer_is_one_whenever_it_comes(inbox: Inbox) -> None:
    assert "handled" not in (await late(inbox, "NOTIF_1: sí", 20, ROSA)).other_data
    await inbox.write((await inbox.code(ROSA))[0], "PE.1", None)
    assert "handled" not in (await late(inbox, "NOTIF_2: no", 20, "PE.1")).other_data
    assert SORRY not in await inbox.said("PE.1")


async def test_what_is_no_message_is_not_late(inbox: Inbox) -> None:
    assert "handled" not in (await late(inbox, "👍", 20, kind="reaction")).other_data
    tap = await late(inbox, "Ver respuesta", 20, kind="button", button=SHOW_ANSWER)
    assert "handled" not in tap.other_data
    assert await inbox.said() == []


async def test_who_wants_no_messages_is_told_nothing(inbox: Inbox) -> None:
    await inbox.write("hola", opt_out="stop")
    assert (await late(inbox, "hola", 14)).other_data["handled"] == "opted_out"
    assert await inbox.said() == []
