"""The demo model: small, deterministic, and with no key. It shows the product, it does not understand language.

It reads the same prompts as a real model (the JSON under their headings) and answers in the same form: text,
tool calls, structured output.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from recado.agent.demo_phrases import PHRASES
from recado.agent.demo_words import WORD, ask_the_same, content_words, needs_help, said_in, unable_to, user_type_for
from recado.intents import ANSWERED, WAITING_FOR_TEAM, Intent
from recado.language import detect_language
from recado.text import fold, shorten

_USER_TYPE = re.compile(r"^User type: (.+)\nType description: (.*)$", re.MULTILINE)
_NOTIFICATION = re.compile(r"\bNOTIF[_\s-]?(\d{1,9})\b", re.IGNORECASE)
_GREETINGS = frozenset(
    [
        "hola",
        "hello",
        "hi",
        "hey",
        "buenas",
        "buenos",
        "bonjour",
        "salut",
        "ola",
        "oi",
        "bom",
        "dia",
        "tardes",
        "noches",
    ]
)
_THANKS = frozenset(
    [
        "gracias",
        "thanks",
        "thank",
        "obrigado",
        "obrigada",
        "merci",
        "perfecto",
        "ok",
        "vale",
        "genial",
        "super",
        "great",
        "listo",
    ]
)


class DemoChatModel(BaseChatModel):
    """Answers for one task by simple rules."""

    task: str

    @property
    def _llm_type(self) -> str:
        return "recado-demo"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The demo knows the product's tools, so there is nothing to bind."""
        return self

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Structured output: the JSON that the task's rule writes, read into `schema`."""

        def read(message: AIMessage) -> dict[str, Any] | BaseModel:
            data = json.loads(message.text)
            return schema.model_validate(data) if isinstance(schema, type) and issubclass(schema, BaseModel) else data

        return self | RunnableLambda(read)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        in_form = "response_format" in kwargs.get("extra_body", {})
        return ChatResult(generations=[ChatGeneration(message=_RULES[self.task](_Chat(messages, in_form)))])


class _Chat:
    """What a rule needs of the messages. `in_form`: a `CustomerReply` is asked for."""

    def __init__(self, messages: Sequence[BaseMessage], in_form: bool = False) -> None:
        self.in_form = in_form
        self.prompt = str(messages[0].text)
        self.people = [str(message.text) for message in messages if message.type == "human"]
        written = self.people[-1] if self.people else ""
        self.last, self.unable = said_in(written), unable_to(written)
        self.tool_problem = next((str(m.text) for m in messages[-1:] if m.type == "tool"), "")
        stated = re.search(r"`([a-z]{2})`", self.prompt)
        self.language = detect_language(self.last) or (stated[1] if stated else "es")

    def section(self, heading: str) -> Any:
        found = re.search(rf"^## {heading}\n(.+)$", self.prompt, re.MULTILINE)
        return json.loads(found[1]) if found else None

    def phrase(self, name: str, **values: str) -> AIMessage:
        phrases = PHRASES.get(self.language, PHRASES["en"])
        return AIMessage(phrases[name].format(**values))

    def reply(self, message: str, intent: Intent, step: str) -> AIMessage:
        """What the customer reads, and where they stand then."""
        return _json(message=message, intent=intent, step=step) if self.in_form else AIMessage(message)

    def small_talk(self, name: str, step: str) -> AIMessage:
        """A phrase that is about nothing; who waits for the team still does."""
        stands = self.section("Where this customer stands") or {}
        if stands.get("step") == WAITING_FOR_TEAM:
            return self.reply(str(self.phrase(name).text), stands["intent"], WAITING_FOR_TEAM)
        return self.reply(str(self.phrase(name).text), "idle", step)


def _best_document(question: str, documents: list[dict[str, str]]) -> dict[str, str] | None:
    asked = content_words(question)
    best, best_share = None, 0.0
    for document in documents:
        known = content_words(document["title"])
        share = len(asked & known) / max(len(asked), len(known), 1)
        if share > best_share:
            best, best_share = document, share
    return best if best_share >= 0.5 else None


def _call(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"demo-{name}", "type": "tool_call"}])


def _json(**values: Any) -> AIMessage:
    return AIMessage(json.dumps(values, ensure_ascii=False))


def _customer(chat: _Chat) -> AIMessage:
    words = {word for word in WORD.findall(fold(chat.last))}
    document = _best_document(chat.last, chat.section("Documents") or [])
    if document is not None:
        return chat.reply(document["content"], "info", ANSWERED)
    if chat.unable:
        return chat.small_talk(chat.unable, "asked_for_words")
    if not words:
        return chat.small_talk("greet", "greeted")
    if words <= _THANKS | {"muchas", "muito", "beaucoup", "very", "much", "you"}:
        return chat.small_talk("thanks", "thanked")
    if words & _GREETINGS and "?" not in chat.last and len(words) < 5:
        return chat.small_talk("greet", "greeted")
    said = shorten(chat.last.strip(), 2_000)
    if needs_help(chat.last):
        message = str(chat.phrase("help").text)
        return _call("request_support", reason=said, language=chat.language, message_to_customer=message)
    message = str(chat.phrase("ask").text)
    return _call("request_notification", question=said, language=chat.language, message_to_customer=message)


def _classify(chat: _Chat) -> AIMessage:
    chosen = user_type_for(str(chat.section("Support request")), _USER_TYPE.findall(chat.prompt))
    return _json(target_user_type=chosen, support_request_type=chosen and chosen.replace("_", " ").capitalize())


def _same_question(chat: _Chat) -> AIMessage:
    asked = str(chat.section("Question"))
    opened = chat.section("Open questions") or []
    same = [found["notification_id"] for found in opened if ask_the_same(asked, found["question"])]
    return _json(notification_id=same[0] if same else None)


def _staff(chat: _Chat) -> AIMessage:
    pending = chat.section("Open notifications") or []
    about = chat.section("Which one this message is about") or {}
    target = about.get("notification_id")
    if "answered already" in chat.tool_problem or "closed" in about.get("because", ""):
        return chat.phrase("closed")
    if target is None and not pending:
        return chat.phrase("none")
    items = " · ".join(f"{found['notification_id']}: {found['question']}" for found in pending)
    if chat.unable and not chat.last:
        return chat.phrase(chat.unable)
    said = chat.last
    answer = _NOTIFICATION.sub("", said).lstrip(" :,.-\n").rstrip()
    if WORD.findall(fold(said)) in (["pendientes"], ["pendente"], ["open"], ["list"], ["lista"]):
        return chat.phrase("open", items=items)
    if target is None or chat.tool_problem:
        return chat.phrase("which", items=items)
    meant: dict[str, Any] = next((found for found in pending if found["notification_id"] == target), {})
    if about["because"].startswith("tapped"):
        return chat.phrase("give", item=f"{target} («{meant.get('question', '')}»)")
    if not answer and len(chat.people) > 1:  # only an id: the answer is what was said before we asked which
        answer = said_in(chat.people[-2])
    if not answer or set(WORD.findall(fold(answer))) <= _THANKS | _GREETINGS:
        return chat.phrase("wait")
    confirmation = str(chat.phrase("done").text)
    [field, *_] = meant.get("answer_schema", {}).get("required") or ["answer"]
    return _call(
        "answer_notification",
        notification_id=target,
        answer_json=json.dumps({field: answer}, ensure_ascii=False),
        message_to_staff=confirmation,
    )


def _stated_language(chat: _Chat) -> str:
    found = re.search(r"`([a-z]{2})`", chat.prompt)
    return found[1] if found else "es"


def _reply(chat: _Chat) -> AIMessage:
    chat.language = _stated_language(chat)
    return chat.phrase("answer", answer=chat.section("The team's answer"))


def _localise(chat: _Chat) -> AIMessage:
    chat.language = _stated_language(chat)
    answer = str(chat.section("The team's answer")).strip()
    fragment = answer[:1].lower() + answer[1:].rstrip(".")
    if chat.section("Request") is not None:  # after "has reviewed your request and"
        fragment = str(chat.phrase("says", answer=fragment).text)
    return _json(continuation_fragment=fragment, full_sentence=answer)


def _summarise(chat: _Chat) -> AIMessage:
    said = chat.section("Messages since") or []
    return AIMessage(shorten(" / ".join(f"{line['role']}: {shorten(line['text'], 60)}" for line in said), 600))


_RULES: Mapping[str, Callable[[_Chat], AIMessage]] = {
    "customer": _customer,
    "staff": _staff,
    "classify": _classify,
    "same_question": _same_question,
    "reply": _reply,
    "localise": _localise,
    "summarise": _summarise,
}
