"""What the model passes is input: whatever it is, it does no harm and the model hears what was wrong."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from recado.agent.models import INVALID_ARGUMENTS, ToolCall
from recado.db.engine import Database
from recado.db.models import Notification
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.merchants.repository import MerchantRepository
from recado.notifications.service import NotificationService
from recado.notifications.tools import ToolContext, ToolResult, Tools
from recado.telemetry.steps import recording
from tests.alert_log import AlertLog
from tests.builders import Shop, make_shop

ASK = {"question": "¿Venden hielo?", "language": "es", "message_to_customer": "Pregunto al equipo."}


class Bench:
    """The tools on a shop with one customer and its staff."""

    def __init__(self, shop: Shop, conversation_id: int, staff_id: int) -> None:
        self.shop, self.conversation_id, self.staff_id = shop, conversation_id, staff_id
        self.nudges = Nudges(make_queue("memory://"))
        self.alerts = AlertLog(shop.database)
        self.tools = Tools(shop.database, shop.clock, self.nudges, self.alerts)
        self.keys = 0

    async def customer(self, name: str, args: dict[str, Any], key: str = "") -> ToolResult:
        return await self._run(name, args, None, None, key)

    async def staff(
        self, args: dict[str, Any], answerable: list[str] | None = None, name: str = "answer_notification"
    ) -> ToolResult:
        return await self._run(name, args, self.staff_id, answerable, "")

    async def _run(
        self, name: str, args: dict[str, Any], staff_id: int | None, answerable: list[str] | None, key: str
    ) -> ToolResult:
        self.keys += 1
        context = ToolContext(
            self.shop.merchant_id, self.conversation_id, staff_id, key or f"call:{self.keys}", answerable
        )
        return await self.tools.run(ToolCall(id="c", name=name, args=args), context)

    async def open(self) -> int:
        """A notification that waits for its answer."""
        self.keys += 1
        async with self.shop.database.transaction() as session:
            service = NotificationService(session, self.shop.merchant_id, self.shop.clock)
            context = {"question": "¿Venden hielo?"}
            return (
                await service.request("user_question_request", self.conversation_id, context, f"open:{self.keys}")
            ).id

    async def row(self, notification_id: int) -> Notification:
        async with self.shop.database.read() as session:
            return await session.get_one(Notification, notification_id)

    async def count(self) -> int:
        async with self.shop.database.read() as session:
            return await session.scalar(select(func.count()).select_from(Notification)) or 0


@pytest.fixture
async def bench(database: Database) -> Bench:
    shop = await make_shop(database)
    conversation_id = await shop.hear("hola")
    async with database.read() as session:
        staff = await MerchantRepository(session, shop.merchant_id).staff()
    return Bench(shop, conversation_id, staff[0].id)


def answer(notification_id: int | str, said: Any = "Sí", **changes: Any) -> dict[str, Any]:
    written = said if isinstance(said, str) and said.startswith(("{", "[", "!")) else json.dumps({"answer": said})
    named = f"NOTIF_{notification_id}" if isinstance(notification_id, int) else notification_id
    return {"notification_id": named, "answer_json": written, "message_to_staff": "Gracias.", **changes}


async def test_a_customer_asks_the_team_once(bench: Bench) -> None:
    first = await bench.customer("request_notification", ASK, "turn:1:1")
    again = await bench.customer("request_notification", ASK, "turn:1:1")
    assert first == again
    assert (first.reply, first.acted, first.failed, first.language) == ("Pregunto al equipo.", True, False, "es")
    assert first.progress == {"intent": "info", "step": "waiting_for_team"}
    assert await bench.count() == 1
    notification_id = int(first.content.split(":")[0].removeprefix("NOTIF_"))
    assert await bench.nudges.queue.job(bench.nudges.queue.job_id(f"request:{notification_id}")) is not None


HELP = {"reason": "Llegó roto", "language": "es", "message_to_customer": "Aviso al equipo."}


async def test_a_customer_has_the_team_take_care_of_something_once(bench: Bench) -> None:
    first = await bench.customer("request_support", HELP, "turn:1:1")
    assert first == await bench.customer("request_support", HELP, "turn:1:1")
    assert (first.reply, first.acted, first.failed, first.language) == ("Aviso al equipo.", True, False, "es")
    assert first.progress == {"intent": "support", "step": "waiting_for_team"}
    assert await bench.count() == 1
    row = await bench.row(int(first.content.split(":")[0].removeprefix("NOTIF_")))
    assert (row.notification_type, row.context) == ("user_support_request", {"support_request_reason": "Llegó roto"})
    assert await bench.nudges.queue.job(bench.nudges.queue.job_id(f"request:{row.id}")) is not None


async def test_a_support_request_of_nonsense_does_nothing(bench: Bench) -> None:
    changes: list[dict[str, Any]] = [{"reason": ""}, {"reason": "\x00 "}, {"reason": "x" * 4_001}, {"language": "tlh"}]
    for args in [{}, ASK, {**HELP, "question": "x"}, *({**HELP, **change} for change in changes)]:
        result = await bench.customer("request_support", args)
        assert (result.failed, result.acted, result.reply) == (True, False, None), args
    assert (await bench.staff(HELP, name="request_support")).failed
    assert await bench.count() == 0


NONSENSE: list[dict[str, Any]] = [
    {},
    {INVALID_ARGUMENTS: "{not json"},
    {**ASK, "question": ""},
    {**ASK, "question": "   "},
    {**ASK, "question": "\x00\ud800"},
    {**ASK, "question": None},
    {**ASK, "question": ["a"]},
    {**ASK, "question": "x" * 4_001},
    {**ASK, "language": "tlh"},
    {**ASK, "message_to_customer": " \n "},
    {**ASK, "merchant_id": 2},
    {**ASK, "conversation_id": 1},
]


async def test_a_request_of_nonsense_does_nothing(bench: Bench) -> None:
    for args in NONSENSE:
        result = await bench.customer("request_notification", args)
        assert (result.failed, result.acted, result.reply, result.progress) == (True, False, None, None), args
        assert result.content.startswith(("Wrong arguments:", "Not done:")), args
    assert await bench.count() == 0


async def test_a_customer_has_no_staff_tools(bench: Bench) -> None:
    notification_id = await bench.open()
    for name in ("answer_notification", "list_notifications", "drop_tables", ""):
        result = await bench.customer(name, answer(notification_id))
        assert (result.failed, result.acted, result.reply) == (True, False, None), name
        assert "there is no tool" in result.content
    assert (await bench.row(notification_id)).status == "requested"


async def test_calls_are_steps_and_what_the_model_made_up_is_not_told(bench: Bench) -> None:
    with recording() as steps:
        await bench.customer("request_notification", ASK)
        await bench.customer("request_notification", {})
        await bench.customer("call_ana_at_+51911111111", {})
    assert [(step.kind, step.name, step.failed) for step in steps] == [
        ("tool", "request_notification", False),
        ("tool", "request_notification", True),
        ("tool", "no such tool", True),
    ]


async def test_the_staff_has_no_customer_tools(bench: Bench) -> None:
    for name in ("request_notification", "drop_tables"):
        assert (await bench.staff(ASK, name=name)).failed, name
    assert await bench.count() == 0


async def test_the_staff_answers(bench: Bench) -> None:
    notification_id = await bench.open()
    result = await bench.staff(answer(notification_id))
    assert (result.reply, result.acted, result.failed, result.progress) == ("Gracias.", True, False, None)
    assert result.other_data["notification_id_prefixed"] == f"NOTIF_{notification_id}"
    row = await bench.row(notification_id)
    assert (row.status, row.context["answer"], row.answered_by) == ("answered", "Sí", bench.staff_id)
    assert await bench.nudges.queue.job(bench.nudges.queue.job_id(f"answer:{notification_id}")) is not None


async def test_ids_as_people_write_them(bench: Bench) -> None:
    for written in ("NOTIF_{}", "notif {}", "Notif-{}", "{}", "la NOTIF_{} por favor"):
        notification_id = await bench.open()
        assert not (await bench.staff(answer(written.format(notification_id)))).failed, written


NAMES_OF_NOTHING = [
    "NOTIF_999",
    "NOTIF_",
    "",
    "hielo",
    "-1",
    "0",
    "9" * 9,
    "9" * 30,
    "NOTIF_1 NOTIF_2",
    "1.5",
    "x" * 41,
]


async def test_ids_that_name_nothing(bench: Bench) -> None:
    await bench.open()
    await bench.open()
    for named in [*NAMES_OF_NOTHING, "٣", "\x00", "\ud800"]:
        result = await bench.staff(answer(named))
        assert (result.failed, result.acted, result.reply) == (True, False, None), named
    assert {(await bench.row(n)).status for n in (1, 2)} == {"requested"}


NO_ANSWERS = [
    "!",
    "{",
    "[]",
    '["Sí"]',
    "{}",
    '{"answer": 5}',
    '{"answer": ""}',
    '{"answer": "  "}',
    '{"answer": "\\u0000"}',
    '{"Answer": "Sí"}',
    "[" * 40_000,
    "[" * 40_001,
    '{"answer": ' + "[" * 500 + "]" * 500 + "}",
    '{"answer": NaN}',
]
OTHER_NONSENSE: list[dict[str, Any]] = [
    {"message_to_staff": ""},
    {"message_to_staff": " "},
    {"answer_json": {"answer": "Sí"}},
    {"answered_by": 7},
]


async def test_an_answer_of_nonsense_closes_nothing(bench: Bench) -> None:
    notification_id = await bench.open()
    nonsense = [answer(notification_id, said) for said in NO_ANSWERS]
    for args in [*nonsense, *(answer(notification_id, **changes) for changes in OTHER_NONSENSE)]:
        result = await bench.staff(args)
        assert (result.failed, result.acted, result.reply) == (True, False, None), str(args)[:200]
    assert (await bench.row(notification_id)).status == "requested"


async def test_only_what_the_message_is_about_may_be_answered(bench: Bench) -> None:
    one, two = await bench.open(), await bench.open()
    wrong = await bench.staff(answer(two), answerable=[f"NOTIF_{one}"])
    assert (wrong.failed, f"about NOTIF_{one}, not NOTIF_{two}" in wrong.content) == (True, True)
    unclear = await bench.staff(answer(one), answerable=[])
    assert (unclear.failed, "ask which" in unclear.content) == (True, True)
    assert {(await bench.row(n)).status for n in (one, two)} == {"requested"}
    assert not (await bench.staff(answer(two), answerable=None)).failed


async def test_who_comes_second_is_told_so(bench: Bench) -> None:
    notification_id = await bench.open()
    await bench.staff(answer(notification_id))
    late = await bench.staff(answer(notification_id, "No"))
    assert (late.failed, late.reply) == (False, None)
    assert "answered already" in late.content
    assert (await bench.row(notification_id)).context["answer"] == "Sí"


async def test_another_merchants_notification_does_not_exist(bench: Bench) -> None:
    other = await make_shop(bench.shop.database, "other", "+15550200")
    theirs = await Bench(other, await other.hear("hola"), 0).open()
    result = await bench.staff(answer(theirs))
    assert (result.failed, f"Notification {theirs} not found" in result.content) == (True, True)
    assert (await bench.row(theirs)).status == "requested"
    assert bench.alerts.conditions == ["security_foreign_notification"]
    assert bench.alerts.sent[0][2] == {
        "merchant_id": bench.shop.merchant_id,
        "conversation_id": bench.conversation_id,
        "merchant_user_id": bench.staff_id,
    }


async def test_an_id_that_nobody_has_is_no_security_event(bench: Bench) -> None:
    assert (await bench.staff(answer(9_999))).failed
    assert bench.alerts.sent == []


async def test_an_answer_for_several_nudges_the_job_of_each(bench: Bench) -> None:
    root, joined = await bench.open(), await bench.open()
    async with bench.shop.database.transaction() as session:
        (await session.get_one(Notification, joined)).joined_to_id = root
    assert not (await bench.staff(answer(root))).failed
    for notification_id in (root, joined):
        assert await bench.nudges.queue.job(bench.nudges.queue.job_id(f"answer:{notification_id}")) is not None


async def test_the_list(bench: Bench) -> None:
    assert (await bench.staff({}, name="list_notifications")).content == "Nothing is open."
    one, two = await bench.open(), await bench.open()
    await bench.staff(answer(one))
    result = await bench.staff({}, name="list_notifications")
    assert [found["notification_id"] for found in json.loads(result.content)] == [f"NOTIF_{two}"]
    assert (result.acted, result.reply) == (False, None)
