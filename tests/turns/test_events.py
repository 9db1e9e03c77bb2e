"""What ingest does with events that are no messages."""

from typing import Any

import pytest
from sqlalchemy import select, update

from recado.channels.base import IdentityChanged, Ignored, PreferenceChanged, StatusUpdate, TemplateChanged
from recado.conversations import notices
from recado.db.engine import Database
from recado.db.models import ChannelAccount, Contact, InboxEvent
from recado.errors import MalformedEvent
from tests.builders import ANA, ROSA, make_shop
from tests.turns.inbox import Inbox
from tests.turns.shared_desk import NUMBER, shared_desk


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(await make_shop(database))


async def test_what_needs_nothing_is_done(inbox: Inbox) -> None:
    assert await inbox.tell(Ignored("echo")) == ["done"]
    assert await inbox.tell(Ignored("account_update"), address="") == ["done", "done"]
    assert (inbox.alerts.sent, await inbox.contacts()) == ([], [])


async def test_what_names_no_address_is_dead_and_told(inbox: Inbox) -> None:
    assert await inbox.tell(inbox.message("hola"), StatusUpdate("x", "read"), address="") == ["dead", "dead"]
    assert inbox.alerts.conditions == ["event_dead"] * 2


async def test_what_names_no_address_and_cannot_be_read_says_why(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(payload: bytes) -> Any:
        raise MalformedEvent("an object of an unknown kind")

    inbox.channel.parse = refuse  # type: ignore[method-assign]
    assert await inbox.tell(Ignored(""), address="") == ["dead"]
    assert inbox.alerts.sent[0][1] == "an object of an unknown kind"


async def test_a_bad_event_holds_no_other_back(inbox: Inbox) -> None:
    await inbox.write("hola")
    bad: Any = {"an": "object"}
    events = [IdentityChanged(ANA, bad), PreferenceChanged(bad, None, "stop"), TemplateChanged(bad, "es", "approved")]
    states = await inbox.tell(*events, inbox.message("otra"))
    assert states == ["done", "dead", "dead", "dead", "done"]
    assert [m.text for m in await inbox.shop.messages(await inbox.shop.open(), "user")] == ["hola", "otra"]


async def approvals(inbox: Inbox) -> Any:
    async with inbox.shop.database.read() as session:
        return await session.scalar(select(ChannelAccount.approvals))


NAME = "merchant_user_question_answer"


async def test_a_decision_about_a_template_is_kept_with_all_numbers_of_the_account(inbox: Inbox) -> None:
    async with inbox.shop.database.transaction() as session:
        await session.execute(update(ChannelAccount).values(waba_id="77"))
    approved = TemplateChanged(NAME, "es", "approved", "t1", category="UTILITY")
    assert await inbox.tell(approved, address="waba:77") == ["done"]
    kept = {"status": "approved", "id": "t1", "reason": None, "category": "UTILITY"}
    assert await approvals(inbox) == {NAME: {"es": kept}}
    assert inbox.alerts.sent == []
    other = TemplateChanged(NAME, "en", "rejected", "t2", "INVALID_FORMAT")
    await inbox.tell(other, other, address="waba:77")
    assert inbox.alerts.conditions == ["template_withdrawn"], "told once"
    assert "recado templates create" in inbox.alerts.sent[0][1]
    assert "INVALID_FORMAT" in inbox.alerts.sent[0][1]
    assert (await approvals(inbox))[NAME] == {
        "es": kept,
        "en": {"status": "rejected", "id": "t2", "reason": "INVALID_FORMAT", "category": None},
    }


@pytest.mark.parametrize("status", ["paused", "disabled", "deleted"])
async def test_a_template_that_is_withdrawn_is_told_of_with_the_remedy(inbox: Inbox, status: str) -> None:
    await inbox.tell(TemplateChanged(NAME, "es", "approved"), TemplateChanged(NAME, "es", status))
    assert inbox.alerts.conditions == ["template_withdrawn"]
    assert f"is {status}" in inbox.alerts.sent[0][1]
    assert "recado templates create" in inbox.alerts.sent[0][1]
    await inbox.tell(TemplateChanged("another_app's", "es", status))
    assert len(inbox.alerts.sent) == 1, "it is none of ours"


async def test_a_template_that_became_marketing_is_told_of_once(inbox: Inbox) -> None:
    await inbox.tell(TemplateChanged(NAME, "es", "approved", category="UTILITY"))
    changed = TemplateChanged(NAME, "es", "approved", category="MARKETING")
    await inbox.tell(changed, TemplateChanged(NAME, "es", "approved"), changed)
    assert inbox.alerts.conditions == ["template_recategorised"]


async def test_news_of_an_account_that_nobody_has_are_kept(inbox: Inbox) -> None:
    assert await inbox.tell(TemplateChanged(NAME, "es", "approved"), address="waba:1") == ["unrouted"]


async def test_a_wish_about_marketing_is_kept_and_confirmed_once(inbox: Inbox) -> None:
    await inbox.write("¿Qué horario tienen ustedes?")
    stop = PreferenceChanged(ANA, ANA, "stop")
    await inbox.tell(stop, stop)
    (contact,) = await inbox.contacts()
    assert contact.opt_out == "marketing"
    assert await inbox.said() == [notices.TEXTS[notices.MARKETING_STOPPED]["es"]]
    (said,) = await inbox.shop.messages((await inbox.conversation()).id, "response")
    assert said.other_data == {"opt_out": "confirmation"}
    assert await inbox.nudged("deliver", said.conversation_id)
    await inbox.tell(PreferenceChanged(ANA, ANA, "resume"))
    assert (await inbox.contacts())[0].opt_out is None


async def test_a_wish_about_marketing_in_a_closed_window_is_kept_in_silence(inbox: Inbox) -> None:
    assert await inbox.tell(PreferenceChanged("PE.1", None, "stop")) == ["done"]
    (contact,) = await inbox.contacts()
    assert (contact.channel_user_id, contact.opt_out) == ("PE.1", "marketing")
    assert await inbox.said("PE.1") == []


async def test_a_wish_about_marketing_says_less_than_stop(inbox: Inbox) -> None:
    await inbox.write("STOP")
    await inbox.tell(PreferenceChanged(ANA, ANA, "stop"), PreferenceChanged(ANA, ANA, "resume"))
    assert (await inbox.contacts())[0].opt_out == "all"


async def test_staff_who_stop_marketing_are_told_of(inbox: Inbox) -> None:
    await inbox.write("hola", ROSA)
    await inbox.tell(PreferenceChanged(ROSA, ROSA, "stop"))
    assert inbox.alerts.conditions == ["staff_opted_out"]


async def test_news_at_a_shared_address_are_for_all_who_know_the_person(database: Database) -> None:
    desk = await shared_desk(database, "uno", "dos")
    for shop in desk.shops.values():
        inbox = Inbox(shop)
        await shop.hear("hola")
    await inbox.tell(PreferenceChanged(ANA, ANA, "stop"), PreferenceChanged("PE.9", None, "stop"), address=NUMBER)
    await inbox.tell(IdentityChanged(ANA, "PE.5"), address=NUMBER)
    async with database.read() as session:
        found = (await session.execute(select(Contact.channel_user_id, Contact.opt_out))).all()
        merchants = list(await session.scalars(select(InboxEvent.merchant_id)))
    assert [tuple(row) for row in found] == [("PE.5", "marketing")] * 2
    assert merchants == [None] * 3
