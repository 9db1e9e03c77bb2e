"""The graph that asks the staff: what it costs, and that no step harms when it runs again or late."""

from typing import Any

import pytest
from sqlalchemy import event, func, select

from recado.db.engine import Database
from recado.db.models import CampaignLead, Contact, Conversation, Delivery, Document, Message, Notification
from recado.notifications.base import RECIPIENTS
from tests.notifications.desk import QUESTION, SUPPORT, Desk, counted, make_desk, selects

TO_RETURNS = {"target_user_type": "returns", "support_request_type": "Devolución"}
MOST_SELECTS = 5


def staff(number: int) -> list[dict[str, Any]]:
    return [{"name": f"P{n}", "phone": f"+5190000{n:04}", "types": ["returns", "admin"]} for n in range(number)]


async def crowded(database: Database, people: int) -> Desk:
    """A shop with an open question, so that a question is compared, and this many people to ask."""
    address = f"+1555{people:04}"
    desk = await make_desk(database, sub_domain=f"shop{people}", address=address, staff=staff(people))
    desk.models.answers |= {"classify": TO_RETURNS, "same_question": {"notification_id": None}}
    await desk.request(QUESTION, "¿Abren el domingo?")
    return desk


@pytest.mark.parametrize("kind", [QUESTION, SUPPORT])
async def test_a_request_costs_the_same_however_many_staff_there_are(database: Database, kind: str) -> None:
    costs = {}
    for people in (1, 10):
        desk = await crowded(database, people)
        for time in ("first", "later"):  # the first time contacts have to be made
            desk.models.calls.clear()
            with counted(database) as statements:  # with writing it down, which the customer's turn does
                notification_id = await desk.request(kind, f"¿Venden hielo? {people} {time}")
                await desk.jobs.request(notification_id, desk.shop.merchant_id)
            found = selects(statements)
            costs[people, time] = len(found)
            assert len(found) <= MOST_SELECTS, found
            assert len(desk.models.calls) == 1
            assert len(await desk.asked(notification_id)) == people
    assert len(set(costs.values())) == 1, costs


async def test_a_reason_that_is_known_costs_no_call(database: Database) -> None:
    desk = await crowded(database, 3)
    await desk.ask(SUPPORT, "Llegó roto")
    desk.models.calls.clear()
    notification_id = await desk.request(SUPPORT, "Llegó roto")
    with counted(database) as statements:
        await desk.run(notification_id)
    assert desk.models.calls == []
    assert len(selects(statements)) - 1 <= MOST_SELECTS


async def test_joining_costs_no_more(database: Database) -> None:
    desk = await crowded(database, 3)
    first = await desk.ask(QUESTION, "¿Venden hielo?")
    second = await desk.request(QUESTION, "¿Hay hielo?")

    async def same() -> dict[str, str]:
        return {"notification_id": f"NOTIF_{first.id}"}

    desk.models.answers["same_question"] = same
    desk.models.calls.clear()
    with counted(database) as statements:
        assert (await desk.run(second)).joined_to_id == first.id
    assert len(selects(statements)) - 1 <= MOST_SELECTS
    assert len(desk.models.calls) == 1


async def rows(database: Database) -> dict[str, int]:
    tables = (Message, Delivery, CampaignLead, Contact, Conversation, Document, Notification)
    async with database.read() as session:
        return {
            table.__tablename__: await session.scalar(select(func.count()).select_from(table)) or 0 for table in tables
        }


STEPS = {
    QUESTION: ["find_same", "create_document", "complete_record", "write_instruction", "send_campaign"],
    SUPPORT: ["classify", "complete_record", "write_instruction", "send_campaign"],
}


@pytest.mark.parametrize("kind", [QUESTION, SUPPORT])
@pytest.mark.parametrize("people", [0, 3])
async def test_every_step_may_run_again(database: Database, kind: str, people: int) -> None:
    """A step that was done but whose checkpoint was lost with the process is done once more."""
    desk = await crowded(database, people)
    notification_id = await desk.request(kind, "¿Venden hielo?")
    state: Any = {"notification_id": notification_id, "merchant_id": desk.shop.merchant_id}
    end = ["persist_recipients"] if people else ["tell_customer", "persist_recipients"]
    for step in ["validate", *STEPS[kind], *end]:
        first = await getattr(desk.nodes, step)(dict(state))
        kept = await rows(database)
        again = await getattr(desk.nodes, step)(dict(state))
        assert (again, await rows(database)) == (first, kept), step
        state |= first
    row = await desk.row(notification_id)
    assert row.announced_at is not None
    assert len(row.context[RECIPIENTS]) == people
    assert all(len(texts) == 1 for texts in (await desk.asked(notification_id)).values())


ANSWERS = {QUESTION: {"answer": "Sí"}, SUPPORT: {"agent_response_to_customer": "Sí", "resolution_notes": "nota"}}


@pytest.mark.parametrize(("kind", "after"), [(kind, step) for kind in STEPS for step in ["validate", *STEPS[kind]]])
async def test_an_answer_that_comes_between_two_steps_is_kept(database: Database, kind: str, after: str) -> None:
    desk = await crowded(database, 2)
    notification_id = await desk.request(kind, "¿Venden hielo?")
    async for update in desk.graph.astream(_given(desk, notification_id), stream_mode="updates"):
        if after in update:
            await desk.accept(notification_id, ANSWERS[kind])
    row = await desk.row(notification_id)
    assert row.status == "answered"
    assert ANSWERS[kind].items() <= row.context.items()
    assert {"lead_phone", "lead_name", RECIPIENTS} <= row.context.keys()
    assert ("document_id" in row.context) == (kind == QUESTION)
    assert row.announced_at is not None
    # Nobody is asked for what is answered; who was asked before that hears of its closing.
    asked = 2 if after == "send_campaign" else 0
    assert len(row.context[RECIPIENTS]) == len(await desk.asked(notification_id)) == asked
    assert desk.alerts.sent == []


def _given(desk: Desk, notification_id: int) -> Any:
    return {"notification_id": notification_id, "merchant_id": desk.shop.merchant_id}


async def test_sending_again_after_the_answer_forgets_nobody_who_was_asked(database: Database) -> None:
    desk = await crowded(database, 2)
    state: Any = _given(desk, await desk.request(QUESTION, "¿Venden hielo?"))
    for step in ["validate", *STEPS[QUESTION]]:
        state |= (made := await getattr(desk.nodes, step)(dict(state)))
    await desk.accept(state["notification_id"], ANSWERS[QUESTION])
    again = await desk.nodes.send_campaign(state)
    assert again["contact_ids"] == made["contact_ids"]
    await desk.nodes.persist_recipients({**state, **again})
    assert (await desk.row(state["notification_id"])).context[RECIPIENTS] == made["contact_ids"]


async def test_a_job_that_is_nudged_again_does_nothing(database: Database) -> None:
    desk = await crowded(database, 2)
    row = await desk.ask(QUESTION, "¿Venden hielo?")
    kept, calls = await rows(database), len(desk.models.calls)
    await desk.run(row.id)
    assert (await rows(database), len(desk.models.calls)) == (kept, calls)


async def test_a_model_call_holds_no_transaction(database: Database) -> None:
    """Else every other writer would wait for the model."""
    desk = await crowded(database, 2)
    open_now: list[int] = []

    def begun(_connection: Any) -> None:
        open_now.append(1)

    def ended(_connection: Any) -> None:
        open_now.pop()

    async def thinking() -> dict[str, None]:
        assert open_now == []
        return {"target_user_type": None, "support_request_type": None, "notification_id": None}

    engine = desk.database.engine.sync_engine
    for name, listener in (("begin", begun), ("commit", ended), ("rollback", ended)):
        event.listen(engine, name, listener)
    try:
        desk.models.answers |= {"classify": thinking, "same_question": thinking}
        for kind in (QUESTION, SUPPORT):
            assert (await desk.ask(kind, "¿Venden hielo?")).announced_at is not None
    finally:
        for name, listener in (("begin", begun), ("commit", ended), ("rollback", ended)):
            event.remove(engine, name, listener)
    assert len(desk.models.calls) == 2
