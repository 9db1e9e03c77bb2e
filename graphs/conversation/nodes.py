"""The steps of one turn. Each reads the state, makes one service call and returns what it changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from uuid import uuid4

import structlog
from pydantic import BaseModel

from graphs.conversation.chat import chat_of
from graphs.conversation.state import ConversationState, ReplyDraft
from recado.agent.models import Answer, Models, ToolCall
from recado.agent.reply_form import CustomerReply
from recado.clock import Clock
from recado.db.engine import Database
from recado.documents.knowledge import Knowledge
from recado.errors import InvalidInput, ModelError
from recado.intents import Progress
from recado.media.pictures import Pictures
from recado.notifications.schemas import Pending
from recado.notifications.tools import CUSTOMER_TOOLS, STAFF_TOOLS, ToolContext, ToolResult, Tools
from recado.notifications.types import other_data_of, read_prefixed
from recado.prompts import render
from recado.text import clean_text, shorten
from recado.turns.apology import apology
from recado.turns.context import (
    ASKED_FOR,
    TAPPED,
    Given,
    heard_language,
    is_silent,
    load_context,
    load_documents,
    open_by_phone,
)

log = structlog.get_logger(__name__)

BAD_REQUEST = 400
MAX_FAILURES = 3
"""The first try and two more."""
MAX_TOOL_ROUNDS = 6
MAX_CHOICES = 10
"""The rows of a list on WhatsApp, and how much of a question each of them shows."""
LONGEST_DESCRIPTION = 72
NOTHING_SAID = "You said nothing and called no tool. Answer the person, or call a tool."


@dataclass(frozen=True, slots=True)
class ConversationNodes:
    """The services that the steps call. `history_window`: how many messages a turn sees."""

    database: Database
    clock: Clock
    models: Models
    knowledge: Knowledge
    tools: Tools
    history_window: int
    pictures: Pictures

    async def load(self, state: ConversationState) -> dict[str, Any]:
        """Who is there, what was said, what is known."""
        # More than the model sees, so that nothing falls out of the window before it is summarised.
        window = 2 * self.history_window
        run_key = state.get("run_key")
        if "turn_id" in state:
            async with self.database.read() as session:
                given = Given(state["merchant_id"], state["conversation_id"], state["turn_id"])
                loaded = await load_context(session, self.clock, given, window)
        else:
            if not {"sub_domain", "phone", "text"} <= state.keys():
                raise InvalidInput('give {"sub_domain": "bodega-sol", "phone": "+51987654321", "text": "…"}')
            run_key = f"studio:{uuid4().hex}"  # each text is a turn of its own, also in one thread
            async with self.database.transaction() as session:
                ids = await open_by_phone(session, self.clock, state["sub_domain"], state["phone"])
                given = Given(*ids, text=state["text"])
                loaded = await load_context(session, self.clock, given, window)
        loaded["documents"] = await load_documents(self.knowledge, loaded)
        fresh: dict[str, Any] = {"exchange": [], "prompt": None, "failures": 0, "acted": False, "progress": []}
        fresh |= {"kept": [], "replies": [], "gave_up": False}
        # What a tool is told goes before it.
        heard = heard_language(loaded["incoming"])
        news = {"new_language": heard, "new_summary": None, "new_summarised_through": None}
        return {**loaded, **fresh, **news, "run_key": run_key}

    async def customer_agent(self, state: ConversationState) -> dict[str, Any]:
        """The model answers a customer, or calls a tool."""
        prompt = render(
            "customer",
            merchant=state["merchant"],
            language=state["language"],
            person_name=state["person_name"],
            documents=state["documents"],
            summary=state["summary"],
            intent=state["current_intent"],
            step=state["current_step"],
            order=state["order"],
        )
        answer = await self._ask("customer", prompt.text, state, CUSTOMER_TOOLS, CustomerReply)
        return _said(state, answer, prompt.id) | _moved(state, _named(state, answer))

    async def staff_agent(self, state: ConversationState) -> dict[str, Any]:
        """The model talks to a member of the staff, or calls a tool."""
        prompt = render(
            "staff",
            merchant=state["merchant"],
            language=state["language"],
            person_name=state["person_name"],
            pending=state["pending"],
            target=state["target"],
            summary=state["summary"],
        )
        answer = await self._ask("staff", prompt.text, state, STAFF_TOOLS)
        return _said(state, answer, prompt.id)

    async def _ask(
        self,
        task: str,
        prompt: str,
        state: ConversationState,
        tools: Sequence[type[BaseModel]],
        form: type[CustomerReply] | None = None,
    ) -> Answer:
        """The model's answer. It sees the pictures of this turn, unless it, or one of them, is such that it cannot."""
        # Read for each call: the state holds their ids only, and so do its checkpoints.
        ids = [media_id for message in state["incoming"] for media_id in message.get("images", ())]
        shown = await self.pictures.data_urls(state["merchant_id"], ids)
        try:
            return await self.models.chat(task, chat_of(prompt, state, self.history_window, shown), tools, form)
        except ModelError as error:
            if not shown or getattr(error.__cause__, "status_code", None) != BAD_REQUEST:
                raise
        log.warning("the model takes no pictures, or not these", conversation_id=state["conversation_id"])
        return await self.models.chat(task, chat_of(prompt, state, self.history_window, {}), tools, form)

    async def run_tools(self, state: ConversationState) -> dict[str, Any]:
        """Carry out what the model called. Serves both branches: who may do what, the verified sender decides."""
        said = state["exchange"][-1]
        results: list[tuple[ToolCall, ToolResult]] = []
        for call in cast(list[ToolCall], said.get("tool_calls", [])):
            context = ToolContext(
                merchant_id=state["merchant_id"],
                conversation_id=state["conversation_id"],
                merchant_user_id=state["merchant_user_id"],
                # A step is known by its place in the turn, so that doing it again after a crash is harmless.
                key=f"{state['run_key']}:{len(state['exchange'])}:{len(results)}",
                answerable=state["answerable"],
            )
            results.append((call, await self.tools.run(call, context)))
        heard = [{"role": "tool", "tool_call_id": call["id"], "content": result.content} for call, result in results]
        failed = any(result.failed for _, result in results)
        update: dict[str, Any] = {
            "exchange": [*state["exchange"], *heard],
            "failures": state["failures"] + failed,
            "acted": state["acted"] or any(result.acted for _, result in results),
        }
        update |= _moved(state, [result.progress for _, result in results if result.progress])
        languages = [result.language for _, result in results if result.language]
        if languages:
            update["new_language"] = languages[-1]
        replies = [
            ReplyDraft(text=clean_text(result.reply), prompt=state["prompt"], other_data=result.other_data)
            for _, result in results
            if result.reply
        ]
        if failed:
            # What did work will not be called again: it is said together with what comes of the rest.
            update["kept"] = [*state["kept"], *replies]
        elif replies:
            update["replies"] = [*state["kept"], *replies]
        return update

    async def finish(self, state: ConversationState) -> dict[str, Any]:
        """What will be said: a tool's message, the model's last words, or the honest truth that it failed."""
        if state["replies"]:
            return {}
        last = state["exchange"][-1] if state["exchange"] else {}
        text = clean_text(str(last.get("content") or "")) if last.get("role") == "assistant" else ""
        if not text:
            sorry = ReplyDraft(text=apology(state["language"]), prompt=None, other_data={})
            return {"replies": [*state["kept"], sorry], "gave_up": True}
        remember = _to_remember(state)
        reply = ReplyDraft(text=text, prompt=state["prompt"], other_data=remember)
        if remember.get("asked_which"):
            reply["buttons"] = _choices(state["pending"])
        return {"replies": [*state["kept"], reply]}

    async def summarise(self, state: ConversationState) -> dict[str, Any]:
        """All but the newer half of the window becomes part of the summary."""
        older = state["history"][: max(1, len(state["history"]) - self.history_window // 2)]
        prompt = render(
            "summarise",
            person_name=state["person_name"],
            summary=state["summary"],
            messages=[{"role": line["role"], "text": line["text"]} for line in older],
        )
        try:
            answer = await self.models.chat("summarise", [{"role": "system", "content": prompt.text}])
        except ModelError:
            return {}  # the next turn tries again; the window bounds what a turn reads all the same
        if not answer["content"]:
            return {}
        return {
            "new_summary": clean_text(answer["content"])[:2_000],
            "new_summarised_through": older[-1]["id"],
        }

    # Routers

    def who(self, state: ConversationState) -> Literal["customer_agent", "staff_agent", "silent"]:
        """Nobody answers a reaction, or the tap that shows an answer."""
        if all(is_silent(message) for message in state["incoming"]):
            return "silent"
        return "staff_agent" if state["role"] == "staff" else "customer_agent"

    def after_agent(self, state: ConversationState) -> Literal["tools", "again", "finish"]:
        """Tools if it called any, once more if it said nothing usable, else the end."""
        said = state["exchange"][-1]
        if said.get("tool_calls"):
            return "tools" if len(state["exchange"]) < 2 * MAX_TOOL_ROUNDS else "finish"
        if said["role"] == "assistant" or state["failures"] >= MAX_FAILURES:
            return "finish"
        return "again"

    def after_tools(self, state: ConversationState) -> Literal["again", "finish"]:
        """The end when there is something to say or nothing worked, else the model reads what the tools said."""
        return "finish" if state["replies"] or state["failures"] >= MAX_FAILURES else "again"

    def after_finish(self, state: ConversationState) -> Literal["summarise", "end"]:
        """A window that is full is summarised."""
        lines = len(state["history"]) + len(state["incoming"])
        return "summarise" if state["history"] and lines >= self.history_window else "end"


def _to_remember(state: ConversationState) -> dict[str, Any]:
    """What a member of the staff has been asked, so that their next message is understood."""
    target = state["target"]
    if target is not None and target["because"] in {TAPPED, ASKED_FOR} and not state["acted"]:
        [number] = read_prefixed(target["notification_id"])
        return {"asked_for": target["notification_id"], **other_data_of(number)}
    return {"asked_which": True} if state["answerable"] == [] and state["pending"] and target is None else {}


def _choices(pending: Sequence[Pending]) -> list[dict[str, str]]:
    """A button or row for each open notification: a tap says its name. Without room for all there are none."""
    if len(pending) > MAX_CHOICES:
        return []
    return [
        {
            "id": found["notification_id"],
            "title": found["notification_id"],
            "description": shorten(" ".join(found["question"].split()), LONGEST_DESCRIPTION),
        }
        for found in pending
    ]


def _named(state: ConversationState, answer: Answer) -> list[Progress]:
    """Where the customer stands by the model's own words. With a tool call the tool decides, once it has worked."""
    if "intent" not in answer or not answer["content"] or answer["tool_calls"]:
        return []
    intent, step = answer["intent"], answer["step"]
    if step is None and intent == state["current_intent"]:
        step = state["current_step"]
    return [Progress(intent=intent, step=step)]


def _moved(state: ConversationState, told: list[Progress]) -> dict[str, Any]:
    if not told:
        return {}
    progress = list(state["progress"])
    for stands in told:
        if progress[-1:] != [stands]:
            progress.append(stands)
    return {"progress": progress, "current_intent": told[-1]["intent"], "current_step": told[-1]["step"]}


def _said(state: ConversationState, answer: Answer, prompt_id: str) -> dict[str, Any]:
    if not answer["content"] and not answer["tool_calls"]:
        nudge = {"role": "system", "content": NOTHING_SAID}
        return {
            "exchange": [*state["exchange"], nudge],
            "failures": state["failures"] + 1,
            "prompt": prompt_id,
        }
    said: dict[str, Any] = {"role": "assistant", "content": answer["content"]}
    if answer["tool_calls"]:
        said["tool_calls"] = answer["tool_calls"]
    return {"exchange": [*state["exchange"], said], "prompt": prompt_id}
