"""The OpenAI fake, called by the real clients: what langchain-openai makes of each answer and each fault."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ValidationError

from tests.fakes.openai_api import OpenAIFake, schema_name, tools_offered
from tests.fakes.recorder import JsonObject
from tests.fakes.server import running


class Verdict(BaseModel):
    """What the classifier says."""

    kind: str
    score: int | None = None


@tool
def ask_staff(question: str) -> str:
    """Asks the staff."""
    return question


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: OpenAIFake) -> OpenAIFake:
    server.reset()
    return server


Chat = Callable[..., ChatOpenAI]


@pytest.fixture
async def chat(fake: OpenAIFake) -> AsyncIterator[Chat]:
    """Makes models of this test's own event loop; their shared default client would outlive it."""

    def make(**options: Any) -> ChatOpenAI:
        given = {"model": "gpt-4.1", "api_key": "sk-test", "timeout": 5, "max_retries": 0, **options}
        return ChatOpenAI(base_url=fake.base_url, http_async_client=client, temperature=0, **given)

    async with httpx2.AsyncClient() as client:
        yield make


async def collected(model: Runnable[Any, AIMessage], text: str) -> list[Any]:
    return [chunk async for chunk in model.astream(text)]


async def test_an_unscripted_question_is_echoed_and_recorded_whole(fake: OpenAIFake, chat: Chat) -> None:
    answer = await chat().ainvoke([SystemMessage("Sé amable"), HumanMessage("¿Hay pan? 🥖")])

    assert answer.content == "echo: ¿Hay pan? 🥖"
    assert answer.response_metadata["model_name"] == "gpt-4.1-2025-04-14"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] > 0
    (entry,) = fake.chats()
    assert entry["headers"]["authorization"] == "Bearer sk-test"
    assert entry["body"]["messages"][0] == {"content": "Sé amable", "role": "system"}
    assert entry["body"]["temperature"] == 0.0
    assert fake.calls() == fake.calls("gpt-4.1") == 1


async def test_rules_match_in_order_and_are_used_up(fake: OpenAIFake, chat: Chat) -> None:
    fake.apply_script(
        [
            {"when": {"last_user": "hola"}, "reply": {"content": "first"}, "times": 1},
            {"when": {"contains": ["hola", "amable"]}, "reply": {"content": "second to {last_user}"}},
            {"when": {"model": "gpt-4.1-mini"}, "reply": {"content": "mini {call}"}},
        ]
    )
    messages = [SystemMessage("Sé amable"), HumanMessage("hola")]

    assert (await chat().ainvoke(messages)).content == "first"
    assert (await chat().ainvoke(messages)).content == "second to hola"
    assert (await chat(model="gpt-4.1-mini").ainvoke("x")).content == "mini 3"


async def test_tools_round_trip(fake: OpenAIFake, chat: Chat) -> None:
    call = {"name": "ask_staff", "arguments": {"question": "{last_user}"}}
    fake.apply_script(
        [
            {"when": {"tool": "ask_staff", "last_role": "user"}, "reply": {"tool_calls": [call]}},
            {"when": {"last_role": "tool"}, "reply": {"content": "They say: {last_tool}"}},
        ]
    )
    model = chat().bind_tools([ask_staff], strict=True)
    asked = await model.ainvoke("¿Hay pan?")
    assert [(made["name"], made["args"]) for made in asked.tool_calls] == [("ask_staff", {"question": "¿Hay pan?"})]
    assert asked.response_metadata["finish_reason"] == "tool_calls"

    result = ToolMessage("sí", tool_call_id=asked.tool_calls[0]["id"])
    assert (await model.ainvoke([HumanMessage("¿Hay pan?"), asked, result])).content == "They say: sí"
    assert tools_offered(fake.chats()[0]) == ["ask_staff"]


async def test_a_history_cut_between_call_and_result_is_refused(fake: OpenAIFake, chat: Chat) -> None:
    asked = AIMessage("", tool_calls=[{"name": "ask_staff", "args": {}, "id": "call_1"}])
    with pytest.raises(openai.BadRequestError, match="preceeding message"):
        await chat().ainvoke([HumanMessage("x"), ToolMessage("y", tool_call_id="call_1")])
    with pytest.raises(openai.BadRequestError, match="did not have response messages: call_1"):
        await chat().ainvoke([HumanMessage("x"), asked, HumanMessage("z")])


async def test_structured_output_is_strict_and_parsed(fake: OpenAIFake, chat: Chat) -> None:
    fake.apply_script(
        [{"when": {"schema": "Verdict"}, "reply": {"content": {"kind": "support", "score": 3}}, "times": 1}]
    )
    model = chat().with_structured_output(Verdict)

    assert await model.ainvoke("x") == Verdict(kind="support", score=3)
    assert await model.ainvoke("x") == Verdict(kind="", score=None)  # unscripted: the smallest instance
    assert schema_name(fake.chats()[0]) == "Verdict"
    assert fake.chats()[0]["body"]["response_format"]["json_schema"]["strict"] is True


async def test_a_reply_in_a_form_is_json_where_a_schema_is_demanded(fake: OpenAIFake, chat: Chat) -> None:
    said = {"message": "Sí, {last_user}", "intent": "menu", "step": "x"}
    fake.apply_script(
        [{"when": {"last_user": "a"}, "reply": said}, {"when": {"last_user": "b"}, "reply": {"content": "no"}}]
    )
    properties = {name: {"type": "string"} for name in said}
    schema = {"type": "object", "properties": properties, "required": list(said), "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "Form", "strict": True, "schema": schema}}
    formed = chat().bind_tools([ask_staff]).bind(extra_body={"response_format": wanted})
    given = [json.loads(str((await formed.ainvoke(text)).content)) for text in ("a", "x")]
    assert given == [{**said, "message": "Sí, a"}, {"message": "echo: x", "intent": "", "step": ""}]
    assert (await formed.ainvoke("b")).content == "no"
    assert (await chat().ainvoke("a")).content == "Sí, a"
    assert (schema_name(fake.chats()[0]), tools_offered(fake.chats()[0])) == ("Form", ["ask_staff"])


async def test_a_schema_that_strict_mode_does_not_take_is_refused(fake: OpenAIFake, chat: Chat) -> None:
    class Loose(BaseModel):
        answers: dict[str, str]

    with pytest.raises(openai.BadRequestError, match="'additionalProperties' is required to be supplied"):
        await chat().with_structured_output(Loose).ainvoke("x")


async def test_structured_output_can_fail_in_many_ways(fake: OpenAIFake, chat: Chat) -> None:
    model = chat().with_structured_output(Verdict)
    failures: list[tuple[JsonObject, type[Exception]]] = [
        ({"content": {"kind": 7}}, ValidationError),
        ({"content": "not json"}, ValidationError),
        ({"content": ""}, ValueError),
        ({"content": "{", "finish_reason": "length"}, openai.LengthFinishReasonError),
        ({"content": "", "finish_reason": "content_filter"}, openai.ContentFilterFinishReasonError),
        ({"empty_choices": True}, IndexError),
        ({"raw": "<html>"}, ValueError),
    ]
    for reply, expected in failures:
        fake.apply_script([{"reply": reply}])
        with pytest.raises(expected):
            await model.ainvoke("x")
    fake.apply_script([{"reply": {"refusal": "I can't help with that"}}])
    with pytest.raises(Exception, match="can't help") as refused:
        await model.ainvoke("x")
    assert type(refused.value).__name__ == "OpenAIRefusalError"


async def test_malformed_tool_arguments_arrive_as_invalid_calls(fake: OpenAIFake, chat: Chat) -> None:
    fake.apply_script([{"reply": {"tool_calls": [{"name": "ask_staff", "arguments": '{"question": "x'}]}}])
    answer = await chat().bind_tools([ask_staff]).ainvoke("x")
    assert answer.tool_calls == []
    assert [call["args"] for call in answer.invalid_tool_calls] == ['{"question": "x']


async def test_tool_arguments_that_are_no_object_raise(fake: OpenAIFake, chat: Chat) -> None:
    fake.apply_script([{"reply": {"tool_calls": [{"name": "ask_staff", "arguments": '["x"]'}]}}])
    with pytest.raises(ValidationError):
        await chat().bind_tools([ask_staff]).ainvoke("x")


async def test_streams_add_up_to_the_same_answer(fake: OpenAIFake, chat: Chat) -> None:
    call = {"name": "ask_staff", "arguments": {"question": "¿pan?"}}
    fake.apply_script([{"reply": {"content": "Un  momento, por favor.\n", "tool_calls": [call]}}])
    pieces = await collected(chat(stream_usage=True).bind_tools([ask_staff]), "x")

    assert len(pieces) > 4
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.content == "Un  momento, por favor.\n"
    assert whole.tool_calls[0]["args"] == {"question": "¿pan?"}
    assert whole.usage_metadata["total_tokens"] > 0
    assert fake.chats()[0]["body"]["stream_options"] == {"include_usage": True}


async def test_streams_break(fake: OpenAIFake, chat: Chat) -> None:
    fake.apply_script([{"reply": {"content": "uno dos tres cuatro", "cut": "middle"}}])
    with pytest.raises(openai.APIConnectionError):
        await collected(chat(), "x")
    fake.apply_script([{"reply": {"content": "uno dos tres cuatro", "error": "server_error"}}])
    with pytest.raises(openai.APIError, match="had an error"):
        await collected(chat(), "x")


@pytest.mark.parametrize(
    ("name", "expected", "status"),
    [
        ("model_not_found", openai.NotFoundError, 404),
        ("rate_limit_exceeded", openai.RateLimitError, 429),
        ("insufficient_quota", openai.RateLimitError, 429),
        ("server_error", openai.InternalServerError, 500),
        ("overloaded", openai.InternalServerError, 503),
        ("invalid_api_key", openai.AuthenticationError, 401),
        ("context_length_exceeded", openai.BadRequestError, 400),
    ],
)
async def test_errors_have_openais_shape(
    fake: OpenAIFake, chat: Chat, name: str, expected: type[openai.APIStatusError], status: int
) -> None:
    fake.apply_script([{"reply": {"error": name}}])
    with pytest.raises(expected) as caught:
        await chat().ainvoke("x")
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


async def test_withdrawn_models_and_wrong_keys(fake: OpenAIFake, chat: Chat) -> None:
    fake.apply_script({"withdrawn": ["gpt-4.1"], "api_keys": ["sk-test"]})
    with pytest.raises(openai.NotFoundError) as gone:
        await chat().ainvoke("x")
    assert gone.value.code == "model_not_found"
    assert (await chat(model="gpt-5.1").ainvoke("x")).content == "echo: x"
    with pytest.raises(openai.AuthenticationError):
        await chat(api_key="sk-other").ainvoke("x")

    async with openai.AsyncOpenAI(base_url=fake.base_url, api_key="sk-test") as client:
        listed = await client.models.list()
    assert "gpt-4.1" not in [model.id for model in listed.data]


async def test_the_client_retries_what_may_pass(fake: OpenAIFake, chat: Chat) -> None:
    limited = {"name": "rate_limit_exceeded", "headers": {"retry-after-ms": "1"}}
    fake.apply_script([{"reply": {"error": limited}, "times": 2}])
    assert (await chat(max_retries=2).ainvoke("x")).content == "echo: x"
    assert [entry["headers"]["x-stainless-retry-count"] for entry in fake.chats()] == ["0", "1", "2"]
    assert fake.chats()[0]["outcome"] == "error rate_limit_exceeded"


async def test_connections_are_cut_and_answers_do_not_come(fake: OpenAIFake, chat: Chat) -> None:
    for reply in ({"cut": True}, {"content": "a long answer", "cut": "middle"}):
        fake.apply_script([{"reply": reply}])
        with pytest.raises(openai.APIConnectionError):
            await chat().ainvoke("x")
    fake.apply_script([{"reply": {"hang": True}}])
    with pytest.raises(openai.APITimeoutError):
        await chat(timeout=0.1).ainvoke("x")
    assert fake.calls() == 3


async def test_a_brain_may_be_a_function() -> None:
    def brain(request: JsonObject) -> JsonObject:
        return {"content": f"{len(request['messages'])} messages"}

    with running(OpenAIFake(brain)) as fake:
        async with openai.AsyncOpenAI(base_url=fake.base_url, api_key="sk-test") as client:
            messages: Any = [{"role": "user", "content": "x"}]
            answer = await client.chat.completions.create(model="gpt-5.1", messages=messages)
    assert answer.choices[0].message.content == "1 messages"


async def test_unknown_addresses_answer_in_openais_shape(fake: OpenAIFake) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{fake.url}/v1/responses", json={})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Invalid URL (POST /v1/responses)"
    assert fake.requests.entries("unknown")[0]["path"] == "/v1/responses"
