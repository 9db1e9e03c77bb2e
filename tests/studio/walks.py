"""A running `langgraph dev`, and walks through the graphs, node by node, with its SDK.

Every step of the development server waits for its queue for up to a second, so all walks are made at once.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from recado.channels.base import InboundMessage
from recado.clock import Clock
from recado.conversations.service import ConversationService
from recado.db.engine import Database
from recado.merchants.repository import find_account
from recado.notifications.service import NotificationService
from tests.support import BODEGA, ROOT, START_SECONDS, free_port, prepare_database

NEW, ANA, BEN, CAT = "+51987654321", "+51911111111", "+51922222222", "+51933333333"
ROSA, LUIS = "+51900000001", "+51900000002"
QUESTION, ANSWER = "¿Venden gift cards?", "Sí, desde S/ 50"
ASKED = {"ana": "¿Venden hielo?", "ben": "¿Reparan relojes?", "cat": "¿Abren en feriado?", "open": "¿Aceptan cripto?"}
"""Each is another question: the same would be joined."""
BROKEN = "Mi pedido llegó roto"
LONGEST_WALK = 12

NO_OUTSIDE = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "LANGSMITH_TRACING": "false",
}
"""All that `langgraph dev` calls home to when nobody gave it a key: usage statistics, the newest version, traces."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run stands: the node that comes next, None at the end, and the state as Studio shows it."""

    next: str | None
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Walks:
    """All that was walked through."""

    question: list[Step]
    another_question: list[Step]
    other_person: list[Step]
    document: list[Step]
    staff: list[Step]
    request: list[Step]
    in_window: list[Step]
    outside_window: list[Step]
    support: list[Step]
    joined: list[Step]
    bad: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Seed:
    """Rows that the walks start from. `cats_notification` is a question that nobody has answered, `waiting` one that
    nobody will."""

    ana: int
    ben: int
    cats_notification: int
    waiting: int


async def prepare(url: str) -> Seed:
    """The demo merchant, and three customers: Ana has just written, Ben never has, Cat has asked something."""
    await prepare_database(url, BODEGA)
    database, clock = Database(url), Clock()
    async with database.transaction() as session:
        account = await find_account(session, "simulator", "+15550100")
        assert account is not None
        conversations = ConversationService(session, account.merchant_id, clock)
        hello = InboundMessage("in-1", ANA, ANA, "Ana", "text", QUESTION)
        ana = (await conversations.receive(account, hello, clock.now())).conversation
        _, ben = await conversations.open(account, BEN, BEN, "Ben")
        _, cat = await conversations.open(account, CAT, CAT, "Cat")
        notifications = NotificationService(session, account.merchant_id, clock)
        asked, waiting = [
            await notifications.request("user_question_request", cat.id, {"question": ASKED[name]}, name)
            for name in ("cat", "open")
        ]
        seed = Seed(ana.id, ben.id, asked.id, waiting.id)
    await database.close()
    return seed


@contextmanager
def langgraph_dev(folder: Path, database_url: str) -> Iterator[str]:
    """A running `langgraph dev` on the project's own `langgraph.json`, in a folder of its own so that no `.env` is
    near and its `.langgraph_api` leaves nothing behind. Gives its URL.
    """
    shutil.copy(ROOT / "langgraph.json", folder)
    (folder / ".env").touch()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log_path = folder / "langgraph.log"
    kept = {
        name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH"}
    }
    settings = {"DATABASE_URL": database_url, "MODEL_PROVIDER": "demo"}
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--n-jobs-per-worker", "10"],
            cwd=folder,
            env=kept | settings | NO_OUTSIDE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(url):
            assert process.poll() is None, f"langgraph dev ended:\n{log_path.read_text()}"
            assert time.monotonic() < deadline, f"langgraph dev was not ready in time:\n{log_path.read_text()}"
            time.sleep(0.1)
        yield url
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ok", timeout=1.0).is_success
    except httpx.TransportError:
        return False


async def _walk(client: LangGraphClient, graph: str, given: dict[str, Any], thread_id: str | None = None) -> list[Step]:
    """Step through a run, stopping before every node."""
    thread_id = thread_id or (await client.threads.create())["thread_id"]
    to_give: dict[str, Any] | None = given
    steps = []
    for _ in range(LONGEST_WALK):
        await client.runs.wait(thread_id, graph, input=to_give, interrupt_before="*")
        to_give = None
        state = await client.threads.get_state(thread_id)
        assert isinstance(state["values"], dict)
        steps.append(Step(next(iter(state["next"]), None), state["values"]))
        if not state["next"]:
            return steps
    raise AssertionError(f"{graph} goes round in circles: {[step.next for step in steps]}")


async def _error(client: LangGraphClient, graph: str, given: dict[str, Any]) -> dict[str, str]:
    """What Studio shows when a run fails: {error, message}."""
    thread_id = (await client.threads.create())["thread_id"]
    result = await client.runs.wait(thread_id, graph, input=given, raise_error=False)
    assert isinstance(result, dict)
    error: dict[str, str] = result["__error__"]
    return error


def _question(conversation_id: int, question: str) -> dict[str, Any]:
    return {
        "notification_type": "user_question_request",
        "conversation_id": conversation_id,
        "context": {"question": question},
    }


def _support(conversation_id: int, reason: str) -> dict[str, Any]:
    return {
        "notification_type": "user_support_request",
        "conversation_id": conversation_id,
        "context": {"support_request_reason": reason},
    }


async def _ask_and_answer(
    client: LangGraphClient, conversation_id: int, question: str
) -> tuple[list[Step], list[Step]]:
    request = await _walk(client, "request_notification", _question(conversation_id, question))
    notification_id = request[-1].values["notification_id"]
    answered = {"notification_id": notification_id, "answer": {"answer": ANSWER}}
    return request, await _walk(client, "answer_notification", answered)


async def _three_in_one_thread(client: LangGraphClient) -> tuple[list[Step], list[Step], list[Step]]:
    thread_id = (await client.threads.create())["thread_id"]
    person = {"sub_domain": "bodega-sol", "phone": NEW}
    first = await _walk(client, "conversation", {**person, "text": QUESTION}, thread_id)
    second = await _walk(client, "conversation", {**person, "text": "¿Aceptan mascotas?"}, thread_id)
    rosa = {"sub_domain": "bodega-sol", "phone": LUIS, "text": "Hola"}
    return first, second, await _walk(client, "conversation", rosa, thread_id)


async def _bad(client: LangGraphClient) -> dict[str, dict[str, str]]:
    person = {"phone": NEW, "text": QUESTION}
    inputs: dict[str, tuple[str, dict[str, Any]]] = {
        "conversation {}": ("conversation", {}),
        "request {}": ("request_notification", {}),
        "answer {}": ("answer_notification", {}),
        "no such merchant": ("conversation", {**person, "sub_domain": "nobody"}),
        "no such type": (
            "request_notification",
            {"notification_type": "party", "conversation_id": 1, "context": {"question": QUESTION}},
        ),
        "no such notification": ("answer_notification", {"notification_id": 9_999, "answer": {"answer": ANSWER}}),
    }
    errors = await asyncio.gather(*(_error(client, graph, given) for graph, given in inputs.values()))
    return dict(zip(inputs, errors, strict=True))


async def all_walks(url: str, seed: Seed) -> Walks:
    """Walk through everything, all at once."""
    client = get_client(url=url, api_key=None)
    person = {"sub_domain": "bodega-sol", "phone": CAT, "text": "¿Hacen envíos?"}
    rosa = {"sub_domain": "bodega-sol", "phone": ROSA, "text": f"NOTIF_{seed.cats_notification}: {ANSWER}"}
    talk, document, staff, ana, ben, support, joined, bad = await asyncio.gather(
        _three_in_one_thread(client),
        _walk(client, "conversation", person),
        _walk(client, "conversation", rosa),
        _ask_and_answer(client, seed.ana, ASKED["ana"]),
        _ask_and_answer(client, seed.ben, ASKED["ben"]),
        _walk(client, "request_notification", _support(seed.ana, BROKEN)),
        _walk(client, "request_notification", _question(seed.ben, ASKED["open"].upper())),
        _bad(client),
    )
    await client.aclose()
    return Walks(*talk, document, staff, ana[0], ana[1], ben[1], support, joined, bad)
