"""Scripted behaviour of the OpenAI fake: which rule answers a request, and what it says.

A rule is `{"when": {...}, "reply": {...}, "times": n}`; rules are tried in order, and a rule with `times` is
used up after n answers. All that stands in `when` must hold:

    model         the requested model, exactly
    contains      substring (or list: all of them) anywhere in the messages' text
    last_user     substring of the last user message
    system        substring of the system messages
    tool          a tool of that name is offered
    schema        name of the requested json_schema
    last_role     role of the last message: user, tool, ...
    stream        true or false

A reply holds `content` (a string; or JSON, sent as its text), or `message`, `intent` and `step` (see `in_form`),
`tool_calls` (of {name, arguments}: an object, or a string that is sent as it is), `refusal`,
`finish_reason`, `usage` (what differs from what is counted), `error` (a name from `openai_wire.ERRORS`, or
its fields), and misbehaviour: `latency` seconds, `hold` (a name, see /_release), `hang`, `cut` (true: no byte
of an answer; "middle": after half of it), `empty_choices`, `raw` (the whole body). With `stream`, `content`
and `error` together break off with an error in mid-stream. Strings may use {last_user} {last_tool} {system}
{model} {call}.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.recorder import JsonObject

Brain = Callable[[JsonObject], JsonObject]

WHEN = {"model", "contains", "last_user", "system", "tool", "schema", "last_role", "stream"}
FORM = ("message", "intent", "step")
REPLY = {
    "content",
    *FORM,
    "tool_calls",
    "refusal",
    "finish_reason",
    "usage",
    "error",
    "latency",
    "hold",
    "hang",
    "cut",
    "empty_choices",
    "raw",
    "times",
}


def text_of(message: JsonObject) -> str:
    """A message's text, whether its content is a string, content parts or null."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content or ""


def last_text(request: JsonObject, role: str) -> str:
    messages = [message for message in request.get("messages", []) if message.get("role") == role]
    return text_of(messages[-1]) if messages else ""


def system_text(request: JsonObject) -> str:
    messages = request.get("messages", [])
    return "\n".join(text_of(message) for message in messages if message.get("role") in ("system", "developer"))


def tool_names(request: JsonObject) -> list[str]:
    return [tool["function"]["name"] for tool in request.get("tools") or [] if tool.get("type") == "function"]


def schema_of(request: JsonObject) -> JsonObject | None:
    """The json_schema part of `response_format` ({name, strict, schema}), if one is asked for."""
    wanted = request.get("response_format") or {}
    schema: JsonObject | None = wanted.get("json_schema") if wanted.get("type") == "json_schema" else None
    return schema


def _contains(request: JsonObject, wanted: str | list[str]) -> bool:
    text = "\n".join(text_of(message) for message in request.get("messages", []))
    return all(part in text for part in ([wanted] if isinstance(wanted, str) else wanted))


_CONDITIONS: dict[str, Callable[[JsonObject, Any], bool]] = {
    "model": lambda request, wanted: request.get("model") == wanted,
    "contains": _contains,
    "last_user": lambda request, wanted: wanted in last_text(request, "user"),
    "system": lambda request, wanted: wanted in system_text(request),
    "tool": lambda request, wanted: wanted in tool_names(request),
    "schema": lambda request, wanted: (schema_of(request) or {}).get("name") == wanted,
    "last_role": lambda request, wanted: request["messages"][-1].get("role") == wanted,
    "stream": lambda request, wanted: bool(request.get("stream")) == wanted,
}


@dataclass(slots=True)
class Rule:
    when: JsonObject
    reply: JsonObject
    left: int | None

    @classmethod
    def parse(cls, raw: JsonObject) -> "Rule":
        """Raises ValueError on an unknown word: a rule with a typo would never match, or always."""
        when, reply = raw.get("when", {}), raw["reply"]
        unknown = (set(raw) - {"when", "reply", "times"}) | (set(when) - WHEN) | (set(reply) - REPLY)
        if unknown:
            raise ValueError(f"unknown words in rule: {sorted(unknown)}")
        return cls(when, reply, raw.get("times", reply.get("times")))

    def matches(self, request: JsonObject) -> bool:
        return self.left != 0 and all(_CONDITIONS[key](request, value) for key, value in self.when.items())


class ScriptedBrain:
    """The default brain: the first rule that matches, else a harmless answer in the shape asked for."""

    def __init__(self, rules: list[JsonObject] | None = None) -> None:
        self.rules = [Rule.parse(rule) for rule in rules or []]
        self.calls = 0

    def __call__(self, request: JsonObject) -> JsonObject:
        self.calls += 1
        for rule in self.rules:
            if rule.matches(request):
                if rule.left is not None:
                    rule.left -= 1
                filled: JsonObject = _fill(rule.reply, _placeholders(request, self.calls))
                return filled
        return default_reply(request)


def _placeholders(request: JsonObject, call: int) -> dict[str, str]:
    return {
        "{last_user}": last_text(request, "user"),
        "{last_tool}": last_text(request, "tool"),
        "{system}": system_text(request),
        "{model}": str(request.get("model", "")),
        "{call}": str(call),
    }


def _fill(value: Any, placeholders: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in placeholders.items():
            value = value.replace(name, text)
        return value
    if isinstance(value, dict):
        return {key: _fill(item, placeholders) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, placeholders) for item in value]
    return value


def in_form(request: JsonObject, reply: JsonObject) -> JsonObject:
    """A reply of `message`, `intent` and `step` as a model gives it: as JSON where the request demands a schema, else
    the message alone. A reply with `content` is sent as it is, whatever was demanded: not every server obeys."""
    said = {name: reply[name] for name in FORM if name in reply}
    if not said:
        return reply
    rest = {name: value for name, value in reply.items() if name not in FORM}
    return {"content": said if schema_of(request) else said.get("message"), **rest}


def default_reply(request: JsonObject) -> JsonObject:
    """Echo; with a schema or a forced tool, the smallest valid instance, since a model would give one too."""
    echo = f"echo: {last_text(request, 'user')}"
    schema = schema_of(request)
    if schema is not None:
        said = sample(schema.get("schema", {}))
        return {"content": json.dumps(said | ({"message": echo} if "message" in said else {}), ensure_ascii=False)}
    forced = _forced_tool(request)
    if forced is not None:
        arguments = sample(forced["function"].get("parameters", {}))
        return {"tool_calls": [{"name": forced["function"]["name"], "arguments": arguments}]}
    return {"content": echo}


def _forced_tool(request: JsonObject) -> JsonObject | None:
    choice, tools = request.get("tool_choice"), request.get("tools") or []
    if choice in (None, "auto", "none") or not tools:
        return None
    name = choice["function"]["name"] if isinstance(choice, dict) else tools[0]["function"]["name"]
    return next((tool for tool in tools if tool["function"]["name"] == name), None)


_EMPTY: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "null": None,
}


def sample(schema: JsonObject, root: JsonObject | None = None) -> Any:
    """A small instance of a JSON schema: nulls, zeros and empty lists wherever they are allowed."""
    root = schema if root is None else root
    if "$ref" in schema:
        return sample(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return None if {"type": "null"} in options else sample(options[0], root)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = "null" if "null" in kind else kind[0]
    if kind == "object":
        return {name: sample(part, root) for name, part in schema.get("properties", {}).items()}
    return _EMPTY[kind]
