"""Calling the language model: which one serves a task, what is plain about its answer, and how it fails."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, TypeVar, cast

import openai
import structlog
from langchain_core.exceptions import LangChainException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableBinding
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import OpenAIRefusalError
from pydantic import BaseModel, SecretStr

from recado.agent.demo import DemoChatModel
from recado.agent.reply_form import RESPONSE_FORMAT, CustomerReply, read_reply
from recado.errors import ModelError
from recado.intents import Intent
from recado.settings import Settings
from recado.text import clean_text

log = structlog.get_logger(__name__)

Message = Mapping[str, Any]
"""A chat message as plain data: {role: system|user|assistant|tool, content, tool_calls?, tool_call_id?}."""

BACKOFF_SECONDS = 20.0
"""What the client may spend between its attempts, a `Retry-After` included."""

MAX_TOKENS: Mapping[str, int] = {"classify": 100, "same_question": 100}
"""The most that a task's answer may take. What does not fit is no answer."""

Schema = TypeVar("Schema", bound=BaseModel)
Bind = Callable[[BaseChatModel, str], Any]
"""Make a model, which has this name, ready for a call."""

INVALID_ARGUMENTS = "__invalid__"
"""The key under which a tool call carries arguments that were no JSON object."""


UNUSABLE = (
    openai.OpenAIError,
    OpenAIRefusalError,
    LangChainException,
    TimeoutError,
    ValueError,
    IndexError,
    TypeError,
    AttributeError,
)
"""What the client raises for an answer that it cannot read: `ValueError` includes invalid JSON and Pydantic's errors,
the last three come of bodies that lack what every answer has."""


NO_FORM = re.compile(r"response[ _]format|json[ _](schema|mode)|structured[ _]output|response mime type", re.IGNORECASE)
"""How servers say that they take no `response_format`, or none beside tools: OpenAI's own words, Groq's, Google's."""


class ToolCall(TypedDict):
    """One call of a tool by the model."""

    id: str
    name: str
    args: dict[str, Any]


class Answer(TypedDict):
    """What the model said: text, calls of tools, or both; either may be empty.

    `intent` and `step`: where the customer stands, if it was asked for a `CustomerReply` and named an intent.
    """

    content: str
    tool_calls: list[ToolCall]
    intent: NotRequired[Intent]
    step: NotRequired[str | None]


class Models:
    """The models of each task. A setting names several, separated by commas: the first that still exists serves."""

    def __init__(self, settings: Settings, on_withdrawn: Callable[[str], Awaitable[None]]) -> None:
        self._settings = settings
        self._on_withdrawn = on_withdrawn
        self._longest_seconds = settings.model_timeout_seconds * (settings.model_retries + 1) + BACKOFF_SECONDS
        self._made: dict[tuple[str, str], BaseChatModel] = {}
        self._withdrawn: set[str] = set()
        self._without_form: set[str] = set()

    async def chat(
        self,
        task: str,
        messages: Sequence[Message],
        tools: Sequence[type[BaseModel]] = (),
        form: type[CustomerReply] | None = None,
    ) -> Answer:
        """One answer to a conversation; with `form`, in that form where the model can. Raises ModelError when the model
        cannot be reached.
        """

        def bind(model: BaseChatModel, name: str) -> Any:
            bound: Any = model.bind_tools(list(tools)) if tools else model
            if form is None or name in self._without_form:
                return bound
            # In the body, past the client: as an argument of its own the client demands strict tools with it.
            return bound.bind(extra_body={"response_format": RESPONSE_FORMAT})

        message = cast(AIMessage, await self._call(task, messages, bind))
        return _plain(message) if form is None else _in_form(message)

    async def structured(self, task: str, messages: Sequence[Message], schema: type[Schema]) -> Schema:
        """An answer in the shape of `schema`. Raises ModelError, also when the answer has another shape."""
        answer = await self._call(task, messages, lambda model, _: model.with_structured_output(schema))
        if not isinstance(answer, schema):
            raise ModelError(f"the model gave no {schema.__name__}")
        return answer

    async def _call(self, task: str, messages: Sequence[Message], bind: Bind) -> Any:
        missing: dict[str, openai.NotFoundError] = {}
        for name in self._names(task):
            try:
                # The client's own timeout is for each attempt and each read: this one is for all of it.
                async with asyncio.timeout(self._longest_seconds):
                    answer = await self._ask(task, name, [dict(message) for message in messages], bind)
            except openai.NotFoundError as error:
                if error.code != "model_not_found":
                    raise ModelError(f"wrong address, check OPENAI_BASE_URL: {error}") from error
                missing[name] = error
            except UNUSABLE as error:
                raise ModelError(f"{name}: {type(error).__name__}: {error}") from error
            else:
                await self._withdraw(missing, task, name)
                return answer
        # None of them is written off: rather the key or the address is wrong for a while.
        raise ModelError(f"no model is left for {task}: name one that the provider offers in the settings")

    async def _ask(self, task: str, name: str, messages: list[dict[str, Any]], bind: Bind) -> Any:
        """One call of one model; a second one without the form where it refuses that, and from then on without."""
        bound = bind(self._model(task, name), name)
        try:
            return await bound.ainvoke(messages)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            asked = isinstance(bound, RunnableBinding) and "extra_body" in bound.kwargs
            if not asked or not NO_FORM.search(str(error)):
                raise
            if name not in self._without_form:
                self._without_form.add(name)
                log.warning("the model takes no response format: it names no intents", model=name, error=str(error))
        return await bind(self._model(task, name), name).ainvoke(messages)

    async def _withdraw(self, missing: Mapping[str, openai.NotFoundError], task: str, serving: str) -> None:
        for name, error in missing.items():
            if name not in self._withdrawn:
                self._withdrawn.add(name)
                await self._on_withdrawn(f"{name} is not offered any more, {serving} serves {task}: {error}")

    def _names(self, task: str) -> list[str]:
        settings = self._settings
        if settings.model_provider == "demo":
            return ["demo"]
        chosen = {
            "localise": settings.localizer_model,
            "summarise": settings.localizer_model,
            "classify": settings.classifier_model,
            "same_question": settings.classifier_model,
        }.get(task, settings.chat_model)
        names = [name.strip() for name in chosen.split(",") if name.strip()]
        return [name for name in names if name not in self._withdrawn]

    def _model(self, task: str, name: str) -> BaseChatModel:
        if (task, name) not in self._made:
            self._made[task, name] = self._make(task, name)
        return self._made[task, name]

    def _make(self, task: str, name: str) -> BaseChatModel:
        # Every run of the model carries it, and `recado.agent.recording` reads it there.
        metadata = {"task": task, "model": name}
        if name == "demo":
            return DemoChatModel(task=task, metadata=metadata)
        settings = self._settings
        return ChatOpenAI(
            model=name,
            temperature=0.2,
            api_key=SecretStr(settings.openai_api_key),
            base_url=settings.openai_base_url or None,
            timeout=settings.model_timeout_seconds,
            max_retries=settings.model_retries,
            max_completion_tokens=MAX_TOKENS.get(task),
            metadata=metadata,
        )


def _plain(message: AIMessage) -> Answer:
    calls = [
        ToolCall(id=call["id"] or f"call-{number}", name=call["name"], args=dict(call["args"]))
        for number, call in enumerate(message.tool_calls)
    ]
    for number, broken in enumerate(message.invalid_tool_calls):
        args = {INVALID_ARGUMENTS: str(broken["args"])}
        calls.append(ToolCall(id=broken["id"] or f"broken-{number}", name=broken["name"] or "?", args=args))
    return Answer(content=clean_text(str(message.text)).strip(), tool_calls=calls)


def _in_form(message: AIMessage) -> Answer:
    # Asked for a form, OpenAI's models put what they decline to do beside the content, in plain words.
    said = read_reply(str(message.text) or str(message.additional_kwargs.get("refusal") or ""))
    answer = _plain(message)
    answer["content"] = clean_text(said.message).strip()
    if said.intent is not None:
        answer["intent"], answer["step"] = said.intent, said.step
    return answer
