"""Runs of graphs in Langfuse, with the prompts and answers of models. Imported only where its keys are set.

What people write goes there, and what models answer; phone numbers are masked, pictures are left out. A Langfuse that
is down costs a run nothing: spans wait in a bounded queue for a thread, which drops what is not taken.
(https://langfuse.com/docs, langfuse 5.0: the handler is `langfuse.langchain`, its spans go to `/api/public/otel`.)
"""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import structlog
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langfuse import Langfuse
from langfuse.langchain import CallbackHandler
from langfuse.types import MaskOtelSpansParams, MaskOtelSpansResult, OtelSpanPatch, TraceContext
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from recado.settings import Settings
from recado.telemetry.flushing import flush
from recado.text import mask_phones

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 5
FAILURE_SECONDS = 60.0
"""For so long a Langfuse that did not name its project is not asked again."""
SECOND = re.compile(r"seq:step:(?!1$)")
"""How LangChain tags what stands behind something else: here the routers, and what reads an answer into a shape. Each
would be told with the whole state, and tells nothing."""


class RunHandler(CallbackHandler):
    """Langfuse's handler for one run, which knows what the run is about.

    It makes each of its spans the current one, and writes what it knows of the run on the one that is current when that
    begins, which would be ours. So all it does, it does in a context of its own.
    """

    run_inline = True
    """Else each of its twenty calls waits for a thread, and what the first says of the run is lost to the others."""

    def __init__(self, public_key: str, trace_id: str | None, about: dict[str, Any]) -> None:
        super().__init__(
            public_key=public_key, trace_context=TraceContext(trace_id=trace_id) if trace_id is not None else None
        )
        self._about = about
        self._own = Context()

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The first one is the run. Said here and not in its config, which LangGraph writes into each checkpoint."""
        if tags and SECOND.match(tags[0]):
            return None
        about = {**(metadata or {}), **({} if parent_run_id else self._about)}
        known = partial(super().on_chain_start, parent_run_id=parent_run_id, tags=tags, metadata=about, **kwargs)
        return self._own.run(known, serialized, inputs)

    def on_chain_end(self, outputs: dict[str, Any], **kwargs: Any) -> Any:
        """A step is over, or the run."""
        return self._own.run(partial(super().on_chain_end, outputs, **kwargs))

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        """It failed."""
        self._own.run(partial(super().on_chain_error, _masked_error(error), **kwargs))

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Without the pictures: else Langfuse's client uploads them. Its name for the model is LangChain's, which some
        models do not give."""
        about = metadata or {}
        about = {"ls_model_name": about.get("model"), **about}
        shown = [[_without_files(message) for message in several] for several in messages]
        return self._own.run(partial(super().on_chat_model_start, serialized, shown, metadata=about, **kwargs))

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> Any:
        """A call of a model is over."""
        return self._own.run(partial(super().on_llm_end, response, **kwargs))

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> Any:
        """It failed."""
        return self._own.run(partial(super().on_llm_error, _masked_error(error), **kwargs))


class LangfuseTraces:
    """The process's client of Langfuse."""

    def __init__(self, settings: Settings) -> None:
        self._base_url = settings.langfuse_base_url.rstrip("/")
        self._keys = (settings.langfuse_public_key, settings.langfuse_secret_key)
        self._project_id: str | None = None
        self._failed_at: float | None = None
        self._client = Langfuse(
            public_key=self._keys[0],
            secret_key=self._keys[1],
            base_url=self._base_url,
            timeout=TIMEOUT_SECONDS,
            environment=settings.environment,
            # Its own, so that neither our spans come here nor its go to our collector. It samples by no OTEL_* setting.
            tracer_provider=TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False),
            mask_otel_spans=_mask,
        )

    def callbacks(
        self, trace_id: str | None, session: str | None, user: str | None, tags: Sequence[str] = ()
    ) -> RunHandler:
        """What tells Langfuse of one run, in the trace of that id. `session`, `user`: ids, no names or numbers."""
        about = {"langfuse_session_id": session, "langfuse_user_id": user, "langfuse_tags": list(tags)}
        return RunHandler(self._keys[0], trace_id, {name: value for name, value in about.items() if value})

    async def find_trace(self, trace_id: str) -> str | None:
        """Where a person looks at it. None: Langfuse does not say now of which project the keys are."""
        if self._project_id is None and not self._failed_lately():
            self._project_id = await self._ask_project()
            self._failed_at = time.monotonic() if self._project_id is None else None
        if self._project_id is None:
            return None
        return f"{self._base_url}/project/{self._project_id}/traces/{trace_id}"

    async def stop(self) -> None:
        """Hand over what is left, within a few seconds."""
        if not await flush(self._client.shutdown):
            log.warning("Langfuse did not take the last runs in time")

    def _failed_lately(self) -> bool:
        return self._failed_at is not None and time.monotonic() - self._failed_at < FAILURE_SECONDS

    async def _ask_project(self) -> str | None:
        """The id of the project that the keys are of (https://api.reference.langfuse.com, GET /api/public/projects)."""
        try:
            # The client's own timeout is for each read: the other one is for all of it.
            client = httpx.AsyncClient(auth=self._keys, timeout=TIMEOUT_SECONDS)
            async with asyncio.timeout(TIMEOUT_SECONDS), client:
                answer = await client.get(f"{self._base_url}/api/public/projects")
            return str(answer.raise_for_status().json()["data"][0]["id"])
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, LookupError, TypeError) as error:
            # Not the error's text: it may hold the answer.
            log.warning("Langfuse does not name its project: alerts have no link", error=type(error).__name__)
            return None


def _without_files(message: BaseMessage) -> BaseMessage:
    if isinstance(message.content, str):
        return message
    parts = [
        part
        if isinstance(part, str) or part.get("type") == "text"
        else {"type": "text", "text": f"[{part.get('type')}]"}
        for part in message.content
    ]
    return message.model_copy(update={"content": parts})


def _masked_error(error: BaseException) -> Exception:
    """Its words become the status of a span, which `_mask` is not given."""
    return RuntimeError(f"{type(error).__name__}: {mask_phones(str(error))}")


def _mask(*, params: MaskOtelSpansParams) -> MaskOtelSpansResult:
    """The attributes of a batch of spans, with their phone numbers masked. Runs in the thread that sends them."""
    patches = {}
    for identifier, span in params.spans.items():
        masked = {name: _masked(value) for name, value in span.attributes.items()}
        patches[identifier] = OtelSpanPatch(
            set_attributes={name: value for name, value in masked.items() if value != span.attributes[name]}
        )
    return MaskOtelSpansResult(span_patches=patches)


def _masked(value: Any) -> Any:
    """Attributes are texts, of which most are JSON, or lists of texts."""
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if not isinstance(value, str):
        return value
    if not value.startswith(("{", "[")):
        return mask_phones(value)
    try:
        return json.dumps(_walked(json.loads(value)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return mask_phones(value)


def _walked(data: Any) -> Any:
    if isinstance(data, str):
        return mask_phones(data)
    if isinstance(data, list):
        return [_walked(item) for item in data]
    if isinstance(data, dict):
        return {mask_phones(name): _walked(value) for name, value in data.items()}
    return data
