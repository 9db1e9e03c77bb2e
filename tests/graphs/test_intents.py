"""Where the customer stands: in the graph's state, in the rows and in the prompt, at no further call or query."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import graphs.conversation.graph as conversation_graph
from graphs.conversation.nodes import ConversationNodes
from recado.agent.checkpoints import SqliteCheckpoints, open_checkpoints
from recado.agent.graph import GraphAgent
from recado.bootstrap import Services, connect, make_handlers, make_services
from recado.channels.base import RawEvent
from recado.db.models import Conversation, Message, SyncEntry
from recado.jobs.worker import Handler
from recado.settings import Settings
from recado.turns.apology import APOLOGY
from recado.turns.repository import TurnRepository
from tests.builders import ANA, NOON, ROSA, ProcessDies
from tests.e2e.world import ask, says, tool, when
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.support import BODEGA, prepare_database

SHOP = "+15550100"
HELP = tool("request_support", reason="Llegó roto", language="es", message_to_customer="Aviso al equipo.")
BROKEN = tool("request_support", reason="", language="es", message_to_customer="Aviso.")


def stands(intent: str, step: str | None) -> dict[str, str | None]:
    return {"intent": intent, "step": step}


class Product:
    """The product's services and jobs, without a worker, on a scripted model."""

    def __init__(self, services: Services, checkpoints: SqliteCheckpoints, openai: OpenAIFake) -> None:
        self.services, self.checkpoints, self.openai = services, checkpoints, openai
        self.handlers: dict[str, Handler] = make_handlers(services, checkpoints)

    async def hear(self, text: str, phone: str = ANA, kind: str = "text") -> Message:
        number = len(await self.rows(Message))
        sent = {"id": f"in-{number}", "phone": phone, "name": "Ana", "text": text, "kind": kind, "reply_to": None}
        await self.services.intake.accept([RawEvent("simulator", SHOP, f"in-{number}", json.dumps(sent).encode())])
        await self.handlers["ingest"]()
        message: Message = (await self.rows(Message))[-1]
        return message

    async def turn(self, text: str, phone: str = ANA, kind: str = "text") -> tuple[str | None, str | None]:
        """A person writes and is answered; where they stand by then."""
        message = await self.hear(text, phone, kind)
        await self.handlers["turn"](conversation_id=message.conversation_id, merchant_id=1)
        [row] = [row for row in await self.rows(Conversation) if row.id == message.conversation_id]
        return row.intent, row.step

    async def rows(self, model: Any) -> list[Any]:
        async with self.services.database.read() as session:
            return list(await session.scalars(select(model).order_by(model.id)))

    async def said(self) -> list[str]:
        return [row.text for row in await self.rows(Message) if row.role == "response"]

    async def states(self) -> list[dict[str, str | None]]:
        """What the conversation API will be told of where the customer stands."""
        return [row.payload for row in await self.rows(SyncEntry) if row.kind == "state"]

    def section(self, place: int = -1) -> dict[str, Any]:
        """Where the customer stands, as the prompt of a request has it."""
        system = self.openai.chats()[place]["body"]["messages"][0]["content"]
        found: dict[str, Any] = json.loads(system.split("## Where this customer stands\n")[1].split("\n")[0])
        return found

    async def run(self, text: str, nodes: type[ConversationNodes] = ConversationNodes) -> tuple[GraphAgent, Any]:
        """The graph as a turn runs it, with these steps; and what it is run with."""
        given = self.services.conversation_nodes()
        made = nodes(**{name: getattr(given, name) for name in ConversationNodes.__slots__})
        conversation_id = (await self.hear(text)).conversation_id
        async with self.services.database.transaction() as session:
            turns = TurnRepository(session, 1)
            turn = turns.start(conversation_id, "test", NOON, NOON)
            await session.flush()
            await turns.attach_pending(turn)
            turn.state = "done"  # so that the next one may begin
        agent = GraphAgent(conversation_graph.build(made).compile(checkpointer=self.checkpoints))
        run = {"conversation_id": conversation_id, "merchant_id": 1, "turn_id": turn.id}
        return agent, (conversation_id, f"run:{text}", run)


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


@pytest.fixture
async def product(tmp_path: Path, openai: OpenAIFake) -> AsyncIterator[Product]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=f"sqlite+aiosqlite:///{tmp_path}/recado.db",
        checkpoint_url=f"sqlite:///{tmp_path}/checkpoints.db",
        openai_api_key="sk-test",
        openai_base_url=openai.base_url,
        model_retries=0,
        turn_quiet_seconds=0.0,
        enable_conversation_sync=True,
        cartaai_api_base_url="http://127.0.0.1:9",
    )
    await prepare_database(settings.database_url, BODEGA)
    services = make_services(settings)
    async with connect(services), open_checkpoints(settings.checkpoint_url) as checkpoints:
        yield Product(services, checkpoints, openai)


async def test_the_model_names_it_in_its_reply_and_reads_it_the_next_time(product: Product) -> None:
    product.openai.apply_script(
        [when("carta", says("Mira la carta.", "menu", "looking")), when("pizza", says("¿Grande?", "order", "choosing"))]
    )
    assert await product.turn("La carta, por favor") == ("menu", "looking")
    assert await product.turn("Una pizza") == ("order", "choosing")
    assert await product.said() == ["Mira la carta.", "¿Grande?"]
    assert [product.section(place) for place in (0, 1)] == [
        {"intent": None, "step": None, "order": {}},
        {"intent": "menu", "step": "looking", "order": {}},
    ]
    assert await product.states() == [stands("menu", "looking"), stands("order", "choosing")]
    assert product.openai.calls() == 2


async def test_the_model_reads_what_the_api_knows_of_the_order(product: Product) -> None:
    message = await product.hear("hola")
    async with product.services.database.transaction() as session:
        row = await session.get_one(Conversation, message.conversation_id)
        row.api_context = {"paymentMethod": "yape", "currentOrderId": "A-7"}
    await product.turn("¿Y mi pedido?")
    assert product.section()["order"] == {"payment_method": "yape", "current_order": "A-7"}


@pytest.mark.parametrize(
    ("reply", "text", "expected"),
    [
        ({"content": "Sí."}, "Sí.", ("menu", "looking")),
        ({"content": '{"message": "Sí.", "intent": "party", "step": "dancing"}'}, "Sí.", ("menu", "looking")),
        (says("Sí.", "menu", "x" * 41), "Sí.", ("menu", "looking")),
        (says("Sí.", "payment", "…"), "Sí.", ("payment", None)),
        (says("Sí.", "payment", "Choosing How"), "Sí.", ("payment", "choosing_how")),
    ],
)
async def test_what_the_model_does_not_name_stays(
    product: Product, reply: dict[str, Any], text: str, expected: tuple[str, str | None]
) -> None:
    product.openai.apply_script([{"reply": says("Mira.", "menu", "looking"), "times": 1}, {"reply": reply}])
    await product.turn("La carta")
    assert await product.turn("¿Y bien?") == expected
    assert await product.said() == ["Mira.", text]
    assert (await product.states())[-1] == stands(*expected)
    assert product.openai.calls() == 2


@pytest.mark.parametrize(("call", "intent"), [(ask("¿Venden hielo?"), "info"), (HELP, "support")])
async def test_who_asks_the_team_waits_for_it(product: Product, call: dict[str, Any], intent: str) -> None:
    product.openai.apply_script([{"reply": {**call, **says("Un momento.", "menu", "looking")}}])
    assert await product.turn("Necesito algo") == (intent, "waiting_for_team")
    assert await product.states() == [stands(intent, "waiting_for_team")]
    assert product.openai.calls() == 1


async def test_every_step_in_between_is_told_once(product: Product) -> None:
    calls = [*ask("¿Venden hielo?")["tool_calls"], *HELP["tool_calls"], *HELP["tool_calls"], *BROKEN["tool_calls"]]
    rules = [{"reply": {"tool_calls": calls}, "times": 1}, {"reply": says("¿Algo más?", "order", "choosing")}]
    product.openai.apply_script(rules)
    assert await product.turn("Hielo, y llegó roto") == ("order", "choosing")
    assert await product.states() == [
        stands("info", "waiting_for_team"),
        stands("support", "waiting_for_team"),
        stands("order", "choosing"),
    ]


@pytest.mark.parametrize("useless", [{"content": ""}, says("", "support", "x"), {**BROKEN, **says("", "support", "x")}])
async def test_an_apology_changes_nothing(product: Product, useless: dict[str, Any]) -> None:
    product.openai.apply_script([{"reply": says("Mira.", "menu", "looking"), "times": 1}, {"reply": useless}])
    await product.turn("La carta")
    assert await product.turn("¿Y bien?") == ("menu", "looking")
    assert (await product.said())[-1] == APOLOGY["es"]
    assert product.openai.calls() == 4


async def test_a_tool_that_worked_before_the_model_gave_up_still_counts(product: Product) -> None:
    both = {"tool_calls": [*HELP["tool_calls"], *BROKEN["tool_calls"]]}
    product.openai.apply_script([{"reply": both, "times": 1}, {"reply": {**BROKEN, **says("…", "menu", "x")}}])
    assert await product.turn("Llegó roto") == ("support", "waiting_for_team")
    assert (await product.said())[-1] == APOLOGY["es"]


async def test_a_reaction_changes_nothing(product: Product) -> None:
    product.openai.apply_script([{"reply": says("Mira.", "menu", "looking")}])
    await product.turn("La carta")
    assert await product.turn("👍", kind="reaction") == ("menu", "looking")
    assert product.openai.calls() == 1


async def test_staff_have_no_intents_and_are_asked_for_no_form(product: Product) -> None:
    product.openai.apply_script([{"reply": {"content": '{"message": "Hola", "intent": "menu", "step": "x"}'}}])
    assert await product.turn("Hola", phone=ROSA) == (None, None)
    [request] = product.openai.chats()
    assert "response_format" not in request["body"]
    assert "Where this customer stands" not in str(request["body"]["messages"])


class DiesOnce(ConversationNodes):
    """The process dies within these steps, once in each, before what they did is written down."""

    died: list[str] = []  # noqa: RUF012 - the instances are frozen

    async def finish(self, state: Any) -> dict[str, Any]:
        return await self._die("finish", state)

    async def run_tools(self, state: Any) -> dict[str, Any]:
        return await self._die("run_tools", state)

    async def _die(self, step: str, state: Any) -> dict[str, Any]:
        done: dict[str, Any] = await getattr(ConversationNodes, step)(self, state)
        if step not in self.died:
            self.died.append(step)
            raise ProcessDies
        return done


async def test_a_crash_gives_the_same_progress(product: Product) -> None:
    calls = [*ask("¿Venden hielo?")["tool_calls"], *BROKEN["tool_calls"]]
    again = {"reply": says("¿Algo más?", "order", "choosing"), "when": {"last_role": "tool"}}
    product.openai.apply_script([again, {"reply": {"tool_calls": calls}}])
    agent, run = await product.run("todo va bien")
    smooth = (await agent.run(*run)).progress
    assert smooth == [stands("info", "waiting_for_team"), stands("order", "choosing")]
    assert product.openai.calls() == 2

    DiesOnce.died.clear()
    agent, run = await product.run("todo va mal", DiesOnce)
    for _ in range(2):
        with pytest.raises(ProcessDies):
            await agent.run(*run)
    for _ in range(2):
        assert (await agent.run(*run)).progress == smooth
    assert product.openai.calls() == 4, "no call is made twice"
    assert DiesOnce.died == ["run_tools", "finish"]
