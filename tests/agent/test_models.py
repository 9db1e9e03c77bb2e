"""The models over OpenAI's wire, against a local server that speaks it."""

from collections.abc import Iterator
from typing import Any

import pytest

from recado.agent.models import INVALID_ARGUMENTS, Models
from recado.errors import ModelError
from recado.notifications.schemas import LocalizedResponse, SameQuestionOutput, SupportClassificationOutput
from recado.notifications.tools import CUSTOMER_TOOLS
from recado.settings import Settings
from tests.fakes.openai_api import OpenAIFake, schema_name, tools_offered
from tests.fakes.server import running

ASK = [{"role": "system", "content": "You help."}, {"role": "user", "content": "¿Hacen envíos?"}]


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


class Withdrawn:
    """Collects what the team would be told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def __call__(self, reason: str) -> None:
        self.reasons.append(reason)


def models(openai: OpenAIFake, told: Withdrawn | None = None, **settings: Any) -> Models:
    values = {"model_retries": 0, "model_timeout_seconds": 5.0, "openai_api_key": "sk-test", **settings}
    return Models(Settings(_env_file=None, openai_base_url=openai.base_url, **values), told or Withdrawn())  # type: ignore[call-arg]


async def test_an_answer_is_plain_data(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"content": " Sí. "}}])
    assert await models(openai).chat("customer", ASK) == {"content": "Sí.", "tool_calls": []}


async def test_tools_are_offered_by_name_and_called_with_arguments(openai: OpenAIFake) -> None:
    call = {"name": "request_notification", "arguments": {"question": "¿?", "language": "es"}}
    openai.apply_script([{"when": {"tool": "request_notification"}, "reply": {"tool_calls": [call]}}])
    answer = await models(openai).chat("customer", ASK, CUSTOMER_TOOLS)
    assert tools_offered(openai.chats()[0]) == ["request_notification", "request_support"]
    assert answer["tool_calls"][0]["name"] == "request_notification"
    assert answer["tool_calls"][0]["args"] == {"question": "¿?", "language": "es"}


async def test_broken_arguments_are_kept_for_the_tool_to_refuse(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"tool_calls": [{"name": "request_notification", "arguments": '{"question": "'}]}}])
    answer = await models(openai).chat("customer", ASK, CUSTOMER_TOOLS)
    assert INVALID_ARGUMENTS in answer["tool_calls"][0]["args"]


async def test_structured_output_is_asked_for_strictly(openai: OpenAIFake) -> None:
    wanted = {"continuation_fragment": "queda un par", "full_sentence": "Queda un par."}
    openai.apply_script([{"when": {"schema": "LocalizedResponse"}, "reply": {"content": wanted}}])
    answer = await models(openai).structured("localise", ASK, LocalizedResponse)
    assert answer == LocalizedResponse(**wanted)
    assert schema_name(openai.chats()[0]) == "LocalizedResponse"
    assert openai.chats()[0]["body"]["model"] == "gpt-4.1-mini"


CLASSIFICATION = {"target_user_type": "returns", "support_request_type": "Devolución"}


async def test_a_classification_is_asked_for_strictly_in_at_most_100_tokens(openai: OpenAIFake) -> None:
    openai.apply_script([{"when": {"schema": "SupportClassificationOutput"}, "reply": {"content": CLASSIFICATION}}])
    answer = await models(openai).structured("classify", ASK, SupportClassificationOutput)
    assert answer == SupportClassificationOutput(**CLASSIFICATION)
    (sent,) = openai.chats()
    assert (sent["body"]["max_completion_tokens"], sent["body"]["model"]) == (100, "gpt-4.1")
    wanted = sent["body"]["response_format"]["json_schema"]
    assert wanted["strict"] is True
    assert set(wanted["schema"]["properties"]) == set(wanted["schema"]["required"]) == set(CLASSIFICATION)


async def test_same_questions_are_compared_by_the_classifier_in_at_most_100_tokens(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"content": {"notification_id": "NOTIF_3"}}}])
    answer = await models(openai, classifier_model="gpt-5.1").structured("same_question", ASK, SameQuestionOutput)
    assert answer.notification_id == "NOTIF_3"
    (sent,) = openai.chats()
    assert (sent["body"]["max_completion_tokens"], sent["body"]["model"]) == (100, "gpt-5.1")


async def test_other_tasks_may_be_as_long_as_they_need(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"content": "Sí."}}])
    await models(openai).chat("customer", ASK)
    assert not {"max_tokens", "max_completion_tokens"} & openai.chats()[0]["body"].keys()


async def test_an_answer_that_was_cut_off_at_its_most_tokens_is_a_model_error(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"content": '{"target_user_type": "ret', "finish_reason": "length"}}])
    with pytest.raises(ModelError):
        await models(openai).structured("classify", ASK, SupportClassificationOutput)


async def test_a_withdrawn_model_falls_through_to_the_next_and_the_team_hears_once(openai: OpenAIFake) -> None:
    told = Withdrawn()
    openai.apply_script({"withdrawn": ["gpt-4.1"], "rules": [{"reply": {"content": "ok"}}]})
    asked = models(openai, told, chat_model="gpt-4.1, gpt-6-luna")
    for _ in range(2):
        assert (await asked.chat("customer", ASK))["content"] == "ok"
    assert [chat["body"]["model"] for chat in openai.chats()] == ["gpt-4.1", "gpt-6-luna", "gpt-6-luna"]
    assert len(told.reasons) == 1
    assert "gpt-4.1" in told.reasons[0]


async def test_no_model_left_names_the_remedy(openai: OpenAIFake) -> None:
    openai.apply_script({"withdrawn": ["gpt-4.1"], "rules": []})
    with pytest.raises(ModelError, match="in the settings"):
        await models(openai).chat("customer", ASK)


async def test_a_passing_failure_is_tried_again(openai: OpenAIFake) -> None:
    failing = {"reply": {"error": "server_error"}, "times": 1}
    openai.apply_script([failing, {"reply": {"content": "ok"}}])
    assert (await models(openai, model_retries=1).chat("customer", ASK))["content"] == "ok"
    assert openai.calls() == 2


@pytest.mark.parametrize(
    "reply",
    [
        {"error": "server_error"},
        {"error": "rate_limit_exceeded"},
        {"error": "invalid_api_key"},
        {"cut": True},
        {"cut": "middle"},
        {"empty_choices": True},
        {"raw": "<html>bad gateway</html>"},
        {"raw": "null"},
        {"raw": "{}"},
    ],
)
async def test_every_fault_is_a_model_error(openai: OpenAIFake, reply: dict[str, Any]) -> None:
    openai.apply_script([{"reply": reply}])
    with pytest.raises(ModelError):
        await models(openai).chat("customer", ASK)


@pytest.mark.parametrize("reply", [{"content": "no JSON"}, {"refusal": "no"}, {"content": ""}, {"content": {"x": 1}}])
async def test_structured_nonsense_is_a_model_error(openai: OpenAIFake, reply: dict[str, Any]) -> None:
    openai.apply_script([{"reply": reply}])
    with pytest.raises(ModelError):
        await models(openai).structured("localise", ASK, LocalizedResponse)


async def test_a_model_that_hangs_is_given_up(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"hang": True}}])
    with pytest.raises(ModelError):
        await models(openai, model_timeout_seconds=0.3).chat("customer", ASK)
