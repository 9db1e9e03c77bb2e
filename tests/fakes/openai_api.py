"""A local OpenAI: `POST /v1/chat/completions`, `/v1/embeddings` and `/v1/audio/transcriptions`, `GET /v1/models`.

In a test: `with running(OpenAIFake([rule, ...])) as fake`, then `ChatOpenAI(base_url=fake.base_url,
api_key="x", http_async_client=httpx2.AsyncClient())`. The own client matters: without one langchain-openai
1.7 shares a client per base URL over the whole process, and its connections fail in the next test, which
has another event loop.
As a process: `python -m tests.fakes.openai_api --port N --log FILE [--script FILE]`.

`POST /_script` takes a list of rules (see `openai_rules`), or an object with any of: `rules`, `append` (true:
keep the earlier rules), `withdrawn` (models that answer 404), `api_keys` (others answer 401; without: any key
will do), `topics` (lists of words: texts with words of the same list are near to each other), `embedding` (how
requests for embeddings misbehave: what a rule's reply may hold of `error`, `latency`, `hold`, `hang`, `cut`, `raw`; and
`refuses`: texts that hold this are answered 400), `transcription` (the same for what is to be written down, and `text`:
what is said).
"""

import argparse
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.fakes.openai_audio import MODELS as AUDIO_MODELS
from tests.fakes.openai_audio import parse_form, recorded, transcription_refusal
from tests.fakes.openai_embeddings import MODELS as EMBEDDING_MODELS
from tests.fakes.openai_embeddings import embeddings, embeddings_refusal
from tests.fakes.openai_rules import Brain, ScriptedBrain, in_form, schema_of, tool_names
from tests.fakes.openai_wire import chunks, completion, error_answer, refusal_of
from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse, Fake, argument_parser, cut, serve_forever

CHAT_MODELS = ("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-5.1", "gpt-6-luna")
MODELS = (*CHAT_MODELS, *EMBEDDING_MODELS, *AUDIO_MODELS)


class OpenAIFake(Fake):
    """`brain` decides: scripted rules (a list) or any callable from the request body to a reply."""

    def __init__(self, brain: Brain | list[JsonObject] | None = None, log: Path | None = None) -> None:
        super().__init__(log)
        self.brain: Brain = brain if callable(brain) else ScriptedBrain(brain)
        self.withdrawn: set[str] = set()
        self.api_keys: set[str] = set()
        self.topics: list[list[str]] = []
        self.embedding: JsonObject = {}
        self.transcription: JsonObject = {}

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def calls(self, model: str | None = None) -> int:
        """Completions asked for so far; retries count, each is a request."""
        return len([entry for entry in self.chats() if model in (None, entry["body"].get("model"))])

    def chats(self) -> list[JsonObject]:
        """The recorded requests for completions, oldest first; the request body is in `body`."""
        return self.requests.entries("chat")

    def embedded(self) -> list[list[str]]:
        """The texts of each request for embeddings, oldest first."""
        return [entry["body"]["input"] for entry in self.requests.entries("embeddings")]

    def apply_script(self, script: Any) -> None:
        given: JsonObject = {"rules": script} if isinstance(script, list) else script
        unknown = set(given) - {"rules", "append", "withdrawn", "api_keys", "topics", "embedding", "transcription"}
        if unknown:
            raise ValueError(f"unknown words in script: {sorted(unknown)}")
        if "rules" in given:
            fresh = ScriptedBrain(given["rules"])
            if given.get("append") and isinstance(self.brain, ScriptedBrain):
                self.brain.rules.extend(fresh.rules)
            else:
                self.brain = fresh
        self.withdrawn = set(given.get("withdrawn", self.withdrawn))
        self.api_keys = set(given.get("api_keys", self.api_keys))
        self.topics = given.get("topics", self.topics)
        self.embedding = given.get("embedding", self.embedding)
        self.transcription = given.get("transcription", self.transcription)

    def reset(self) -> None:
        super().reset()
        self.brain, self.withdrawn, self.api_keys = ScriptedBrain(), set(), set()
        self.topics, self.embedding, self.transcription = [], {}, {}

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self._completions, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/audio/transcriptions", self._transcriptions, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{model}", self._model, methods=["GET"]),
        ]

    def not_found(self, request: Request) -> Response:
        message = f"Invalid URL ({request.method} {request.url.path})"
        return _failure({"status": 404, "message": message, "type": "invalid_request_error", "code": None}, "")

    async def _completions(self, request: Request) -> Response:
        raw = await request.body()
        try:
            body = json.loads(raw)
        except ValueError:
            self.record(request, "chat", {"raw": raw.decode("utf-8", "replace")}, "400")
            return _failure({"status": 400, "type": "invalid_request_error", "message": "Invalid JSON body"}, "")
        reply = self._decide(request, body)
        self.record(request, "chat", body, _summary(reply))
        if not await self.pause(reply):
            return CutResponse()
        return _answer(body, reply)

    async def _embeddings(self, request: Request) -> Response:
        body = await request.json()
        reply = self.embedding
        if not self._authorised(request):
            reply = {"error": "invalid_api_key"}
        elif body.get("model") in self.withdrawn:
            reply = {"error": "model_deprecated"}
        elif refused := embeddings_refusal(body, reply.get("refuses", "")):
            reply = {"error": refused}
        self.record(request, "embeddings", body, _summary(reply))
        if not await self.pause(reply):
            return CutResponse()
        if reply.get("error") or "raw" in reply or reply.get("cut"):
            return _answer(body, reply)
        return JSONResponse(embeddings(body, self.topics), headers=_headers())

    async def _transcriptions(self, request: Request) -> Response:
        form = parse_form(request.headers.get("content-type", ""), await request.body())
        reply = self.transcription
        if not self._authorised(request):
            reply = {"error": "invalid_api_key"}
        elif form.get("model") in self.withdrawn:
            reply = {"error": "model_deprecated"}
        elif refused := transcription_refusal(form):
            reply = {"error": refused}
        self.record(request, "transcription", recorded(form), _summary(reply))
        if not await self.pause(reply):
            return CutResponse()
        if reply.get("error") or "raw" in reply or reply.get("cut"):
            return _answer(form, reply)
        return JSONResponse({"text": reply.get("text", "")}, headers=_headers())

    def _decide(self, request: Request, body: JsonObject) -> JsonObject:
        """Key, model and shape are checked before the brain is asked."""
        model = str(body.get("model", ""))
        if not self._authorised(request):
            return {"error": "invalid_api_key"}
        if model in self.withdrawn:
            return {"error": "model_deprecated"}
        refused = refusal_of(body)
        return {"error": refused} if refused else in_form(body, self.brain(body))

    def _authorised(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and bool(key) and (not self.api_keys or key in self.api_keys)

    async def _models(self, request: Request) -> Response:
        allowed = self._authorised(request)
        self.record(request, "models", None, "200" if allowed else "401")
        if not allowed:
            return _failure("invalid_api_key", "")
        offered = [_model_card(name) for name in MODELS if name not in self.withdrawn]
        return JSONResponse({"object": "list", "data": offered})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["model"]
        problem = None if self._authorised(request) else "invalid_api_key"
        if problem is None and (name not in MODELS or name in self.withdrawn):
            problem = "model_not_found"
        self.record(request, "model", None, problem or "200")
        return _failure(problem, name) if problem else JSONResponse(_model_card(name))


def _model_card(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 1744316542, "owned_by": "system"}


def _summary(reply: JsonObject) -> str:
    """One word or two for the log: what the request was met with."""
    if reply.get("error"):
        error = reply["error"]
        return f"error {error if isinstance(error, str) else error.get('name') or error.get('status', 500)}"
    for word in ("cut", "hang", "hold", "empty_choices", "raw", "refusal"):
        if reply.get(word):
            return word
    return "tool_calls" if reply.get("tool_calls") else "content"


def _failure(error: JsonObject | str, model: str) -> Response:
    status, body, headers = error_answer(error, model)
    return JSONResponse(body, status_code=status, headers=_headers() | headers)


def _headers() -> dict[str, str]:
    return {"x-request-id": "req_fake", "openai-version": "2020-10-01", "openai-processing-ms": "1"}


def _answer(body: JsonObject, reply: JsonObject) -> Response:
    if reply.get("error") and not (body.get("stream") and reply.get("content")):
        return _failure(reply["error"], str(body.get("model", "")))
    if "raw" in reply:
        return Response(reply["raw"], media_type="application/json", headers=_headers())
    if reply.get("cut") and reply["cut"] != "middle":
        return CutResponse()
    if body.get("stream"):
        return _EventStream(body, reply)
    whole = json.dumps(completion(body, reply), ensure_ascii=False).encode()
    if reply.get("cut"):
        return CutResponse(whole[: len(whole) // 2])
    return Response(whole, media_type="application/json", headers=_headers())


class _EventStream(StreamingResponse):
    """Server-sent events. With `cut` or `error` the stream breaks off after half of its chunks."""

    def __init__(self, body: JsonObject, reply: JsonObject) -> None:
        self.breaks = bool(reply.get("cut"))
        pieces = list(chunks(body, reply))
        if self.breaks or reply.get("error"):
            pieces = pieces[: max(1, len(pieces) // 2)]
        if reply.get("error"):
            pieces.append(error_answer(reply["error"], str(body.get("model", "")))[1])
        super().__init__(self._events(pieces), media_type="text/event-stream", headers=_headers())

    async def _events(self, pieces: list[JsonObject]) -> AsyncIterator[str]:
        for piece in pieces:
            yield f"data: {json.dumps(piece, ensure_ascii=False)}\n\n"
        if not self.breaks:
            yield "data: [DONE]\n\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.breaks:
            await super().__call__(scope, receive, send)
            return
        head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(head)
        async for event in self.body_iterator:
            await send({"type": "http.response.body", "body": str(event).encode(), "more_body": True})
        await cut(scope, receive)


def tools_offered(entry: JsonObject) -> list[str]:
    """Names of the tools in a recorded request."""
    return tool_names(entry["body"])


def schema_name(entry: JsonObject) -> str | None:
    """Name of the json_schema that a recorded request asked for."""
    return (schema_of(entry["body"]) or {}).get("name")


def _from_arguments(args: argparse.Namespace) -> OpenAIFake:
    return OpenAIFake(log=args.log)


if __name__ == "__main__":
    serve_forever(_from_arguments, argument_parser("A local OpenAI"))
