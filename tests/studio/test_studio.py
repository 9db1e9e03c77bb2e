"""The graphs as LangGraph Studio runs them: in a running `langgraph dev`, stepped through node by node with its SDK."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.studio.walks import (
    ANA,
    ANSWER,
    ASKED,
    BROKEN,
    QUESTION,
    Seed,
    Step,
    Walks,
    all_walks,
    langgraph_dev,
    prepare,
)

GRAPHS = ("conversation", "request_notification", "answer_notification")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Seed]:
    folder = tmp_path_factory.mktemp("studio")
    url = f"sqlite+aiosqlite:///{folder}/recado.db"
    return folder, url, asyncio.run(prepare(url))


@pytest.fixture(scope="module")
def studio(seeded: tuple[Path, str, Seed]) -> Iterator[str]:
    folder, database_url, _ = seeded
    with langgraph_dev(folder, database_url) as url:
        yield url


@pytest.fixture(scope="module")
def walks(studio: str, seeded: tuple[Path, str, Seed]) -> Walks:
    return asyncio.run(all_walks(studio, seeded[2]))


def _nodes(steps: list[Step]) -> list[str | None]:
    return [step.next for step in steps]


def _after(steps: list[Step], node: str) -> dict[str, Any]:
    """The state once `node` has run."""
    return steps[_nodes(steps).index(node) + 1].values


async def test_all_graphs_are_there_and_describe_their_input_and_state(studio: str) -> None:
    client = get_client(url=studio, api_key=None)
    assistants = {found["graph_id"]: found["assistant_id"] for found in await client.assistants.search()}
    assert set(assistants) == set(GRAPHS)
    schemas = {graph: await client.assistants.get_schemas(assistants[graph]) for graph in GRAPHS}
    await client.aclose()
    for graph, expected in {
        "conversation": {"sub_domain", "phone", "text"},
        "request_notification": {"notification_type", "conversation_id", "context"},
        "answer_notification": {"notification_id", "answer"},
    }.items():
        for kind in ("input_schema", "output_schema", "state_schema"):
            assert schemas[graph][kind], f"{graph} has no {kind}"  # type: ignore[literal-required]
        assert expected <= set(schemas[graph]["input_schema"]["properties"])
    state = schemas["conversation"]["state_schema"]
    assert state is not None
    assert {"current_intent", "current_step", "progress"} <= set(state["properties"])


def test_a_question_that_nobody_can_answer_goes_to_the_team(walks: Walks) -> None:
    steps = walks.question
    assert _nodes(steps) == ["load", "customer_agent", "customer_tools", "finish", None]
    loaded = _after(steps, "load")
    assert (loaded["role"], loaded["merchant"], loaded["language"]) == ("customer", "Bodega Sol", "es")
    assert loaded["incoming"] == [{"kind": "text", "text": QUESTION, "quoted": None}]
    assert {found["title"] for found in loaded["documents"]} == {
        "¿Hacen envíos?",
        "¿Cuál es el horario de atención?",
    }
    assert loaded["exchange"] == loaded["replies"] == loaded["progress"] == []
    assert (loaded["current_intent"], loaded["current_step"], loaded["order"]) == (None, None, {})
    (said,) = _after(steps, "customer_agent")["exchange"]
    assert _after(steps, "customer_agent")["current_intent"] is None
    assert said["tool_calls"][0]["name"] == "request_notification"
    assert said["tool_calls"][0]["args"]["question"] == QUESTION
    acted = _after(steps, "customer_tools")
    assert acted["exchange"][-1]["role"] == "tool"
    assert "NOTIF_" in acted["exchange"][-1]["content"]
    assert acted["acted"] is True
    assert (acted["current_intent"], acted["current_step"]) == ("info", "waiting_for_team")
    assert acted["progress"] == [{"intent": "info", "step": "waiting_for_team"}]
    (reply,) = _after(steps, "finish")["replies"]
    assert reply["text"] == "¡Buena pregunta! Se la paso al equipo y te aviso en cuanto respondan."
    assert reply["prompt"].startswith("customer@")


def test_a_second_question_in_the_same_thread_is_a_second_notification(walks: Walks) -> None:
    told = [_after(steps, "customer_tools")["exchange"][-1] for steps in (walks.question, walks.another_question)]
    assert told[0]["content"] != told[1]["content"]


def test_a_thread_can_go_on_with_another_phone(walks: Walks) -> None:
    loaded = _after(walks.other_person, "load")
    assert (loaded["role"], loaded["person_name"]) == ("staff", "Luis")


def test_a_question_that_a_document_answers(walks: Walks) -> None:
    steps = walks.document
    assert _nodes(steps) == ["load", "customer_agent", "finish", None]
    loaded = _after(steps, "load")
    assert loaded["person_name"] == "Cat"
    assert loaded["documents"][0]["title"] == "¿Hacen envíos?"
    assert _after(steps, "customer_agent")["exchange"] == [
        {"role": "assistant", "content": "Sí, a todo Lima en 24 horas."}
    ]
    assert _after(steps, "customer_agent")["current_intent"] == "info"
    finished = _after(steps, "finish")
    assert (finished["current_intent"], finished["current_step"]) == ("info", "answered")
    assert finished["progress"] == [{"intent": "info", "step": "answered"}]
    assert [reply["text"] for reply in finished["replies"]] == ["Sí, a todo Lima en 24 horas."]
    assert finished["acted"] is False


def test_a_member_of_the_staff_answers(walks: Walks, seeded: tuple[Path, str, Seed]) -> None:
    steps, name = walks.staff, f"NOTIF_{seeded[2].cats_notification}"
    assert _nodes(steps) == ["load", "staff_agent", "staff_tools", "finish", None]
    loaded = _after(steps, "load")
    assert (loaded["role"], loaded["person_name"]) == ("staff", "Rosa")
    assert name in [pending["notification_id"] for pending in loaded["pending"]]
    assert loaded["target"] == {"notification_id": name, "because": "named"}
    assert loaded["documents"] == []
    finished = _after(steps, "finish")
    assert (finished["current_intent"], finished["current_step"], finished["progress"]) == (None, None, [])
    (said,) = _after(steps, "staff_agent")["exchange"]
    assert said["tool_calls"][0]["name"] == "answer_notification"
    assert name in _after(steps, "staff_tools")["exchange"][-1]["content"]
    (reply,) = _after(steps, "finish")["replies"]
    assert reply["text"] == "Gracias, ya se lo llevo al cliente."
    assert reply["other_data"]["notification_id_prefixed"] == name


def test_asking_the_staff_step_by_step(walks: Walks, seeded: tuple[Path, str, Seed]) -> None:
    steps = walks.request
    assert _nodes(steps) == [
        "validate",
        "find_same",
        "create_document",
        "complete_record",
        "write_instruction",
        "send_campaign",
        "persist_recipients",
        None,
    ]
    validated = _after(steps, "validate")
    assert validated["notification_id"] > 0
    assert validated["conversation_id"] == seeded[2].ana
    assert validated["answer_schema"]["required"] == ["answer"]
    assert _after(steps, "find_same")["same_as"] is None
    assert _after(steps, "create_document")["document_id"] > 0
    context = _after(steps, "complete_record")["context"]
    assert (context["question"], context["lead_phone"], context["lead_name"]) == (ASKED["ana"], ANA, "Ana")
    instruction = _after(steps, "write_instruction")["instruction"]
    assert f"NOTIF_{validated['notification_id']}" in instruction
    assert ASKED["ana"] in instruction
    asked = _after(steps, "send_campaign")
    assert len(asked["contact_ids"]) == len(asked["asked_conversation_ids"]) == 2
    assert _after(steps, "persist_recipients") == asked


def test_a_support_request_is_classified_and_routed(walks: Walks) -> None:
    steps = walks.support
    assert _nodes(steps) == [
        "validate",
        "classify",
        "complete_record",
        "write_instruction",
        "send_campaign",
        "persist_recipients",
        None,
    ]
    assert _after(steps, "validate")["answer_schema"]["required"] == ["agent_response_to_customer"]
    classification = {"support_request_type": "Returns", "target_merchant_users": ["returns"]}
    assert _after(steps, "classify")["classification"] == classification
    assert classification.items() <= _after(steps, "complete_record")["context"].items()
    assert BROKEN in _after(steps, "write_instruction")["instruction"]
    assert len(_after(steps, "send_campaign")["contact_ids"]) == 1


def test_a_question_that_waits_already_is_joined(walks: Walks, seeded: tuple[Path, str, Seed]) -> None:
    steps = walks.joined
    assert _nodes(steps) == ["validate", "find_same", "join", None]
    assert _after(steps, "find_same")["same_as"] == seeded[2].waiting
    assert _after(steps, "join")["joined_to_id"] == seeded[2].waiting


@pytest.mark.parametrize(("path", "node"), [("in_window", "write_reply"), ("outside_window", "localise")])
def test_taking_the_answer_back_step_by_step(walks: Walks, path: str, node: str) -> None:
    steps: list[Step] = getattr(walks, path)
    first, last = ["validate", "load", "update_document", "check_window"], ["send_answer", "notify_others"]
    assert _nodes(steps) == [*first, node, *last, "mark_answered", None]
    assert _after(steps, "validate")["merchant_id"] > 0
    context = _after(steps, "load")["context"]
    assert (context["asked"], context["answer"], context["language"]) == (
        ASKED["ana" if path == "in_window" else "ben"],
        ANSWER,
        "es",
    )
    assert _after(steps, "check_window")["window_open"] is (path == "in_window")
    written = _after(steps, node)
    if path == "in_window":
        assert (written["text"], written["fragment"]) == (f"El equipo me confirma: {ANSWER}", None)
        assert written["prompt"].startswith("reply@")
    else:
        assert (written["text"], written["fragment"]) == (ANSWER, ANSWER[0].lower() + ANSWER[1:])
        assert written["prompt"].startswith("localise@")
    assert _after(steps, "send_answer") == written
    assert len(_after(steps, "notify_others")["closed_conversation_ids"]) == 2
    assert _after(steps, "mark_answered") == _after(steps, "notify_others")


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("conversation {}", "InvalidInput", "sub_domain"),
        ("request {}", "InvalidInput", "notification_type"),
        ("answer {}", "InvalidInput", "notification_id"),
        ("no such merchant", "NotFound", "nobody"),
        ("no such type", "UnknownNotificationType", "user_question_request"),
        ("no such notification", "NotificationNotFound", "9999"),
    ],
)
def test_a_bad_input_says_what_is_wrong(walks: Walks, given: str, error: str, said: str) -> None:
    assert walks.bad[given]["error"] == error
    assert said in walks.bad[given]["message"]


def test_states_are_plain_data(walks: Walks) -> None:
    def serialised_objects(value: Any) -> list[Any]:
        if isinstance(value, dict):
            here = [value] if "lc" in value or value.get("type") == "constructor" else []
            return here + [found for inner in value.values() for found in serialised_objects(inner)]
        return [found for inner in value for found in serialised_objects(inner)] if isinstance(value, list) else []

    asking = (walks.request, walks.support, walks.joined)
    for steps in (walks.question, walks.document, walks.staff, *asking, walks.in_window, walks.outside_window):
        assert serialised_objects([step.values for step in steps]) == []
