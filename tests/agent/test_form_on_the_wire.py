"""The form of a reply, asked for beside the tools in one call, from servers that obey, ignore or refuse it."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from recado.agent.models import Answer, Models
from recado.agent.reply_form import CustomerReply
from recado.errors import ModelError
from recado.intents import INTENTS
from recado.notifications.tools import CUSTOMER_TOOLS
from tests.agent.test_models import ASK, models
from tests.fakes.openai_api import OpenAIFake, schema_name, tools_offered
from tests.fakes.server import running

SAID = {"message": "Sí, a todo Lima.", "intent": "delivery", "step": "asked_where"}
REFUSALS = [
    {
        "status": 400,
        "param": "response_format",
        "message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    },
    {"status": 400, "message": "json mode cannot be combined with tool/function calling"},
    {"status": 400, "message": "Function calling with a response mime type: 'application/json' is unsupported"},
    {"status": 422, "message": "Unprocessable: extra field body.response_format"},
]


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


async def ask(asked: Models) -> Answer:
    return await asked.chat("customer", ASK, CUSTOMER_TOOLS, CustomerReply)


async def test_form_and_tools_go_together_and_the_tools_stay_as_they_were(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": SAID}])
    asked = models(openai)
    assert await ask(asked) == {
        "content": "Sí, a todo Lima.",
        "tool_calls": [],
        "intent": "delivery",
        "step": "asked_where",
    }
    await asked.chat("customer", ASK, CUSTOMER_TOOLS)
    formed, plain = (entry["body"] for entry in openai.chats())
    wanted = formed.pop("response_format")
    assert formed == plain
    assert (wanted["type"], wanted["json_schema"]["name"], wanted["json_schema"]["strict"]) == (
        "json_schema",
        "CustomerReply",
        True,
    )
    schema = wanted["json_schema"]["schema"]
    assert list(schema["properties"]) == schema["required"] == ["message", "intent", "step"]
    assert (schema["additionalProperties"], schema["properties"]["intent"]["enum"]) == (False, list(INTENTS))
    assert tools_offered(openai.chats()[0]) == ["request_notification", "request_support"]


async def test_a_tool_is_called_as_ever(openai: OpenAIFake) -> None:
    call = {"name": "request_support", "arguments": {"reason": "Roto"}}
    openai.apply_script([{"when": {"schema": "CustomerReply"}, "reply": {"tool_calls": [call], **SAID}}])
    answer = await ask(models(openai))
    assert [(found["name"], found["args"]) for found in answer["tool_calls"]] == [
        ("request_support", {"reason": "Roto"})
    ]
    assert (answer["content"], answer["intent"]) == ("Sí, a todo Lima.", "delivery")
    openai.apply_script([{"reply": {"tool_calls": [call]}}])
    assert (await ask(models(openai))).keys() == {"content", "tool_calls"}
    assert openai.calls() == 2


@pytest.mark.parametrize(
    ("reply", "content", "intent"),
    [
        ({"content": "Sí."}, "Sí.", None),
        ({"content": '{"message": "Sí.", "intent": "party", "step": "x"}'}, "Sí.", None),
        ({"content": '```json\n{"message": " Sí. ", "intent": "menu", "step": "x"}\n```'}, "Sí.", "menu"),
        ({"content": '{"message": "Sí'}, "", None),
        ({"content": None, "refusal": "No puedo ayudarte con eso."}, "No puedo ayudarte con eso.", None),
    ],
)
async def test_a_server_that_does_not_obey_is_read_all_the_same(
    openai: OpenAIFake, reply: dict[str, Any], content: str, intent: str | None
) -> None:
    openai.apply_script([{"reply": reply}])
    answer = await ask(models(openai))
    assert (answer["content"], answer.get("intent")) == (content, intent)
    assert openai.calls() == 1


async def test_without_the_form_json_is_nobodys_business(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"content": '{"message": "Sí."}'}}])
    assert (await models(openai).chat("staff", ASK))["content"] == '{"message": "Sí."}'


@pytest.mark.parametrize("error", REFUSALS, ids=["openai", "groq", "google", "422"])
async def test_a_server_that_refuses_the_form_is_asked_again_without_it_and_then_never_with_it(
    openai: OpenAIFake, error: dict[str, Any]
) -> None:
    refuse = {"when": {"schema": "CustomerReply"}, "reply": {"error": {"type": "invalid_request_error", **error}}}
    openai.apply_script([refuse, {"reply": SAID}])
    asked = models(openai)
    with capture_logs() as logs:
        for _ in range(2):
            assert await ask(asked) == {"content": "Sí, a todo Lima.", "tool_calls": []}
    assert [schema_name(entry) for entry in openai.chats()] == ["CustomerReply", None, None]
    assert all(tools_offered(entry) for entry in openai.chats())
    assert [(line["log_level"], line["model"]) for line in logs] == [("warning", "gpt-4.1")]


async def test_each_model_is_known_by_itself(openai: OpenAIFake) -> None:
    refuse = {"when": {"schema": "CustomerReply", "model": "gpt-4.1"}, "reply": {"error": REFUSALS[0]}}
    openai.apply_script([refuse, {"reply": SAID}])
    asked = models(openai, chat_model="gpt-4.1, gpt-5.1")
    await ask(asked)
    openai.apply_script({"withdrawn": ["gpt-4.1"]})
    assert (await ask(asked))["intent"] == "delivery"


@pytest.mark.parametrize("error", ["context_length_exceeded", {"status": 400, "message": "Invalid 'messages[2]'."}])
async def test_another_refusal_is_not_blamed_on_the_form(openai: OpenAIFake, error: Any) -> None:
    openai.apply_script([{"reply": {"error": error}, "times": 1}, {"reply": SAID}])
    asked = models(openai)
    with pytest.raises(ModelError):
        await ask(asked)
    assert openai.calls() == 1
    assert (await ask(asked))["intent"] == "delivery"


async def test_a_structured_task_that_is_refused_is_not_asked_again(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"error": REFUSALS[0]}}])
    with pytest.raises(ModelError):
        await models(openai).structured("classify", ASK, CustomerReply)
    assert openai.calls() == 1
