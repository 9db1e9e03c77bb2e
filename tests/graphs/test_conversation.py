"""The compiled conversation graph on real services: bounded memory, one checkpoint a thread, no answer to reactions."""

import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from recado.agent.checkpoints import open_checkpoints
from recado.bootstrap import Services, connect, make_handlers, make_services
from recado.channels.base import RawEvent
from recado.db.models import Contact, Conversation, Delivery, Message, Notification
from recado.jobs.worker import Handler
from recado.settings import Settings
from tests.support import BODEGA, prepare_database

SHOP, ANA = "+15550100", "+51911111111"
WINDOW = 6


@dataclass
class Product:
    """The product's services and job handlers, without a worker: a test takes each step itself."""

    services: Services
    handlers: dict[str, Handler]
    folder: Path

    async def turn(self, *texts: str, kind: str = "text", **more: Any) -> None:
        """A person writes, and is answered."""
        for text in texts:
            number = len(await self.rows(Message))
            sent: dict[str, Any] = {"id": f"in-{number}", "phone": ANA, "name": "Ana", "text": text}
            payload = json.dumps({**sent, "kind": kind, "reply_to": None, **more}).encode()
            await self.services.intake.accept([RawEvent("simulator", SHOP, f"in-{number}", payload)])
            await self.handlers["ingest"]()
        [last] = (await self.rows(Message))[-1:]
        await self.handlers["turn"](conversation_id=last.conversation_id, merchant_id=1)

    async def phone_of(self, conversation_id: int) -> str:
        """Whose conversation it is."""
        async with self.services.database.read() as session:
            conversation = await session.get_one(Conversation, conversation_id)
            return (await session.get_one(Contact, conversation.contact_id)).channel_user_id

    async def rows(self, model: Any) -> list[Any]:
        async with self.services.database.read() as session:
            return list(await session.scalars(select(model).order_by(model.id)))

    def checkpoints(self) -> int:
        with sqlite3.connect(self.folder / "checkpoints.db") as connection:
            return int(connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0])


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Product]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=f"sqlite+aiosqlite:///{tmp_path}/recado.db",
        checkpoint_url=f"sqlite:///{tmp_path}/checkpoints.db",
        model_provider="demo",
        turn_quiet_seconds=0.0,
        history_window=WINDOW,
    )
    await prepare_database(settings.database_url, BODEGA)
    services = make_services(settings)
    async with connect(services), open_checkpoints(settings.checkpoint_url) as checkpoints:
        yield Product(services, make_handlers(services, checkpoints), tmp_path)


async def test_nobody_answers_the_tap_that_shows_an_answer(product: Product) -> None:
    await product.turn("Ver respuesta", kind="button", button="show_answer")
    assert await product.rows(Delivery) == []
    [message] = await product.rows(Message)
    assert message.turn_id is not None


async def test_a_language_that_is_clear_is_kept_and_one_that_is_not_changes_nothing(product: Product) -> None:
    kept = []
    for text in ("hola", "Do you deliver to this place?", "ok", "¿Hacen envíos a Lima?"):
        await product.turn(text)
        [conversation] = [row for row in await product.rows(Conversation) if row.id == 1]
        kept.append(conversation.language)
    assert kept == [None, "en", "en", "es"]


async def test_what_a_tool_says_of_the_language_is_kept_also_where_the_text_alone_is_not_clear(
    product: Product,
) -> None:
    await product.turn("Do you deliver to this place?")
    await product.turn("¿Panetón?")
    [conversation, *_] = await product.rows(Conversation)
    assert conversation.language == "es"


async def test_a_tap_on_answer_asks_for_exactly_that_one_and_takes_what_follows(product: Product) -> None:
    for question in ("¿Venden cuerdas de guitarra?", "¿Aceptan mascotas?"):
        await product.turn(question)
    one, two = await product.rows(Notification)
    for notification in (one, two):
        await product.handlers["request_notification_job"](notification_id=notification.id, merchant_id=1)
    asked = next(
        row
        for row in await product.rows(Message)
        if row.role == "response" and row.other_data.get("notification_id") == one.id and row.conversation_id != 1
    )
    await product.handlers["deliver"](conversation_id=asked.conversation_id, merchant_id=1)
    [sent] = [row for row in await product.rows(Delivery) if row.message_id == asked.id]
    staff = await product.phone_of(asked.conversation_id)

    await product.turn("Responder", kind="button", button="answer", phone=staff, reply_to=sent.provider_message_id)
    said = (await product.rows(Message))[-1]
    assert f"NOTIF_{one.id}" in said.text
    assert said.other_data["asked_for"] == f"NOTIF_{one.id}"
    await product.turn("Sí, de nailon y de acero.", phone=staff)
    answered, waiting = await product.rows(Notification)
    assert (answered.status, answered.context["answer"]) == ("answered", "Sí, de nailon y de acero.")
    assert waiting.status == "requested"


async def test_who_is_asked_which_one_they_mean_can_tap_it(product: Product) -> None:
    for question in ("¿Venden cuerdas de guitarra?", "¿Aceptan mascotas?"):
        await product.turn(question)
    one, two = await product.rows(Notification)
    for notification in (one, two):
        await product.handlers["request_notification_job"](notification_id=notification.id, merchant_id=1)
    staff = next(row.channel_user_id for row in await product.rows(Contact) if row.channel_user_id != ANA)

    await product.turn("Sí, de nailon y de acero.", phone=staff)
    said = (await product.rows(Message))[-1]
    assert said.other_data == {"asked_which": True}
    [asking] = [row for row in await product.rows(Delivery) if row.message_id == said.id]
    choices = {row.id: {button["id"]: button for button in asking.buttons}[f"NOTIF_{row.id}"] for row in (one, two)}
    assert choices[one.id]["title"] == f"NOTIF_{one.id}"
    assert choices[one.id]["description"] == "¿Venden cuerdas de guitarra?"

    tapped = choices[one.id]
    await product.turn(tapped["title"], kind="button", button=tapped["id"], phone=staff)
    assert [row.status for row in await product.rows(Notification)] == ["answered", "requested"]


@pytest.mark.parametrize("burst", [1, 3])
async def test_every_line_is_in_the_summary_or_in_the_window(product: Product, burst: int) -> None:
    for number in range(8):
        await product.turn(*(f"hola {number}.{part}" for part in range(burst)))
        [conversation] = await product.rows(Conversation)
        after = [row for row in await product.rows(Message) if row.id > conversation.summarised_through]
        # What the summary does not cover fits into what the next turn reads.
        assert len(after) <= 2 * WINDOW
    assert conversation.summary
    assert conversation.summarised_through > 0


async def test_a_thread_keeps_one_checkpoint_between_turns(product: Product) -> None:
    for _ in range(3):
        await product.turn("¿Hacen envíos?")
        assert product.checkpoints() == 1


async def test_nobody_answers_a_reaction(product: Product) -> None:
    await product.turn("👍", kind="reaction")
    assert await product.rows(Delivery) == []
    [message] = await product.rows(Message)
    assert message.turn_id is not None


async def test_every_answer_names_the_prompt_that_made_it(product: Product) -> None:
    await product.turn("¿Hacen envíos?")
    answer = (await product.rows(Message))[-1]
    assert answer.role == "response"
    task, _, digest = answer.prompt.partition("@")
    assert task == "customer"
    assert len(digest) == 12
