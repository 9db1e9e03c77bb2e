"""OpenAI's chat/completions wire format: answers, chunks, errors, and the requests that it refuses.

Sources: platform.openai.com/docs/api-reference/chat and .../guides/error-codes; the wording of the refusals
is quoted in many public bug reports. The spelling "preceeding" is OpenAI's own.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tests.fakes.openai_rules import schema_of, text_of
from tests.fakes.recorder import JsonObject

_SNAPSHOTS = {"gpt-4.1": "gpt-4.1-2025-04-14", "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14"}
_INVALID = "invalid_request_error"

# name: (HTTP status, type, code, message)
ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "model_not_found": (
        404,
        _INVALID,
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "model_deprecated": (
        404,
        _INVALID,
        "model_not_found",
        "The model `{model}` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
    ),
    "rate_limit_exceeded": (
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} in organization org-fake on requests per min (RPM): Limit 500, "
        "Used 500, Requested 1. Please try again in 120ms. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
    ),
    "insufficient_quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    ),
    "server_error": (
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "overloaded": (503, "server_error", None, "The engine is currently overloaded, please try again later"),
    "invalid_api_key": (
        401,
        _INVALID,
        "invalid_api_key",
        "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "context_length_exceeded": (
        400,
        _INVALID,
        "context_length_exceeded",
        "This model's maximum context length is 1047576 tokens. Please reduce the length of the messages.",
    ),
}


def error_answer(error: JsonObject | str, model: str) -> tuple[int, JsonObject, dict[str, str]]:
    """(status, body, headers) of a name from ERRORS, or {name?, status?, message?, type?, param?, code?,
    retry_after? (seconds), headers?}."""
    given: JsonObject = {"name": error} if isinstance(error, str) else error
    name = given.get("name") or next((key for key, row in ERRORS.items() if row[0] == given.get("status")), None)
    status, kind, code, message = ERRORS[name] if name else (500, "server_error", None, "An error occurred.")
    body = {
        "message": given.get("message", message.replace("{model}", model)),
        "type": given.get("type", kind),
        "param": given.get("param"),
        "code": given.get("code", code),
    }
    headers = dict(given.get("headers", {}))
    if "retry_after" in given:
        headers["retry-after"] = str(given["retry_after"])
    return given.get("status", status), {"error": body}, headers


def snapshot(model: str) -> str:
    """An alias is answered with the dated model that served it."""
    return _SNAPSHOTS.get(model, model)


def tool_calls(reply: JsonObject) -> list[JsonObject]:
    return [
        {
            "id": call.get("id") or f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call["name"], "arguments": as_text(call.get("arguments", {}))},
        }
        for call in reply.get("tool_calls", [])
    ]


def as_text(value: Any) -> str:
    """Strings as they are, which is how malformed JSON gets out; anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _content(reply: JsonObject) -> str | None:
    return as_text(reply["content"]) if reply.get("content") is not None else None


def _finish_reason(reply: JsonObject) -> str:
    return str(reply.get("finish_reason") or ("tool_calls" if reply.get("tool_calls") else "stop"))


def _usage(request: JsonObject, reply: JsonObject) -> JsonObject:
    # about four characters a token; only the arithmetic has to hold
    asked = sum(len(text_of(message)) for message in request.get("messages", [])) // 4 + 1
    said = (len(_content(reply) or "") + sum(len(as_text(call)) for call in reply.get("tool_calls", []))) // 4 + 1
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        **reply.get("usage", {}),
    }


def _envelope(request: JsonObject, kind: str) -> JsonObject:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "object": kind,
        "created": int(time.time()),
        "model": snapshot(str(request.get("model", ""))),
        "service_tier": "default",
        "system_fingerprint": "fp_fake000000",
    }


def completion(request: JsonObject, reply: JsonObject) -> JsonObject:
    """The whole answer, as sent without `stream`."""
    message: JsonObject = {
        "role": "assistant",
        "content": _content(reply),
        "refusal": reply.get("refusal"),
        "annotations": [],
    }
    calls = tool_calls(reply)
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
    choices = [] if reply.get("empty_choices") else [choice]
    return {**_envelope(request, "chat.completion"), "choices": choices, "usage": _usage(request, reply)}


def chunks(request: JsonObject, reply: JsonObject) -> Iterator[JsonObject]:
    """The same answer in pieces: role, words, tool calls with their arguments in two halves, the end."""
    envelope = _envelope(request, "chat.completion.chunk")
    with_usage = bool((request.get("stream_options") or {}).get("include_usage"))

    def chunk(delta: JsonObject, finish: str | None = None) -> JsonObject:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**envelope, "choices": [choice], **({"usage": None} if with_usage else {})}

    if not reply.get("empty_choices"):
        yield chunk({"role": "assistant", "content": "" if _content(reply) is not None else None, "refusal": None})
        yield from map(chunk, _deltas(reply))
        yield chunk({}, _finish_reason(reply))
    if with_usage:
        yield {**envelope, "choices": [], "usage": _usage(request, reply)}


def _deltas(reply: JsonObject) -> Iterator[JsonObject]:
    for field in ("refusal", "content"):
        text = as_text(reply[field]) if reply.get(field) is not None else ""
        yield from ({field: piece} for piece in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text))
    for index, call in enumerate(tool_calls(reply)):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        head = {"index": index, **call, "function": {"name": name, "arguments": ""}}
        yield {"tool_calls": [head]}
        middle = len(arguments) // 2
        for piece in filter(None, (arguments[:middle], arguments[middle:])):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def refusal_of(request: JsonObject) -> JsonObject | None:
    """Why OpenAI would answer 400 to this request: `error` fields for `error_answer`, or None."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return _bad("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not request.get("model"):
        return _bad("you must provide a model parameter")
    return _unpaired_tools(messages) or _bad_tool_names(request) or _loose_schema(request)


def _bad(message: str, param: str | None = None, code: str | None = None) -> JsonObject:
    return {"status": 400, "type": _INVALID, "message": message, "param": param, "code": code}


def _unpaired_tools(messages: list[JsonObject]) -> JsonObject | None:
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                return _bad(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    f"messages.[{index}].role",
                )
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return _unanswered(waiting, f"messages.[{index}].role")
        else:
            waiting = [call["id"] for call in message.get("tool_calls") or []]
    return _unanswered(waiting, "messages") if waiting else None


def _unanswered(waiting: list[str], param: str) -> JsonObject:
    return _bad(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}",
        param,
    )


def _bad_tool_names(request: JsonObject) -> JsonObject | None:
    for index, tool in enumerate(request.get("tools") or []):
        name = tool.get("function", {}).get("name", "")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            return _bad(
                f"Invalid 'tools[{index}].function.name': string does not match pattern. Expected a string "
                "that matches the pattern '^[a-zA-Z0-9_-]+$'.",
                f"tools[{index}].function.name",
                "invalid_value",
            )
    return None


def _loose_schema(request: JsonObject) -> JsonObject | None:
    wanted = schema_of(request)
    if wanted is not None and wanted.get("strict"):
        problem = _loose(wanted.get("schema", {}), ())
        if problem:
            text = f"Invalid schema for response_format '{wanted.get('name')}': {problem}"
            return _bad(text, "response_format")
    for index, tool in enumerate(request.get("tools") or []):
        function = tool.get("function", {})
        problem = _loose(function.get("parameters", {}), ()) if function.get("strict") else None
        if problem:
            text = f"Invalid schema for function '{function.get('name')}': {problem}"
            return _bad(text, f"tools[{index}].function.parameters", "invalid_function_parameters")
    return None


def _loose(schema: Any, context: tuple[str, ...]) -> str | None:
    """The two rules of strict schemas that OpenAI is known to enforce, on every object in the schema."""
    if isinstance(schema, list):
        return next(filter(None, (_loose(item, (*context, str(i))) for i, item in enumerate(schema))), None)
    if not isinstance(schema, dict):
        return None
    where = f"In context={context}, "
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return where + "'additionalProperties' is required to be supplied and to be false."
        missing = [name for name in schema.get("properties", {}) if name not in schema.get("required", [])]
        if missing:
            return (
                where + "'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{missing[0]}'."
            )
    return next(filter(None, (_loose(value, (*context, key)) for key, value in schema.items())), None)
