"""The demo model, over the real prompts."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from recado.agent.demo import DemoChatModel
from recado.agent.demo_phrases import PHRASES
from recado.agent.reply_form import RESPONSE_FORMAT
from recado.notifications.schemas import LocalizedResponse, SameQuestionOutput, SupportClassificationOutput
from recado.prompts import render

DOCUMENTS = [{"title": "¿Hacen envíos?", "content": "Sí, a todo Lima en 24 horas."}]
PENDING = [
    {"notification_id": "NOTIF_1", "question": "¿Talla 44?", "customer": "Ana", "answer_schema": {}},
    {"notification_id": "NOTIF_2", "question": "¿Mascotas?", "customer": "Ben", "answer_schema": {}},
]


def customer(*texts: str) -> AIMessage:
    return DemoChatModel(task="customer").invoke(asked(*texts))


def asked(*texts: str, intent: str | None = None, step: str | None = None) -> list[tuple[str, str]]:
    """What the customer's model reads: the prompt, and what the customer wrote."""
    about = {"merchant": "Bodega", "language": "es", "person_name": "Ana", "summary": ""}
    prompt = render("customer", **about, documents=DOCUMENTS, intent=intent, step=step, order={})
    return [("system", prompt.text), *(("user", text) for text in texts)]


def staff(
    *texts: str, pending: list[dict[str, Any]] = PENDING, target: str | None = None, because: str = "quoted"
) -> AIMessage:
    about = {"notification_id": target, "because": because} if target else None
    prompt = render(
        "staff", merchant="Bodega", language="es", person_name="Rosa", pending=pending, target=about, summary=""
    )
    return DemoChatModel(task="staff").invoke([("system", prompt.text), *(("user", text) for text in texts)])


def test_every_language_has_every_phrase() -> None:
    assert {frozenset(phrases) for phrases in PHRASES.values()} == {frozenset(PHRASES["es"])}


@pytest.mark.parametrize("text", ["¿Hacen envíos?", "hacen envios", "Hola, ¿hacen envío?"])
def test_what_a_document_answers_is_answered(text: str) -> None:
    assert customer(text).text == DOCUMENTS[0]["content"]


def test_what_no_document_answers_goes_to_the_team() -> None:
    [call] = customer("Do you have the red shoe in size 44?").tool_calls
    assert call["name"] == "request_notification"
    assert call["args"]["language"] == "en"
    assert call["args"]["question"] == "Do you have the red shoe in size 44?"


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Hola", "greet"),
        ("¡Muchas gracias!", "thanks"),
        ("[image]", "picture"),
        ("[image] ¿Cuánto cuesta este?", "picture"),
        ("[voice note that could not be heard]", "audio"),
        ("[document: list.pdf, application/pdf, 12 kB]", "media"),
        ("[a kind of message that cannot be read here: unknown]", "unknown"),
        ("[location: -12.05, -77.04]", "unknown"),
    ],
)
def test_small_talk_needs_no_tool(text: str, phrase: str) -> None:
    assert customer(text).text == PHRASES["es"][phrase]


@pytest.mark.parametrize(
    ("text", "before", "message", "after"),
    [
        ("Hola", (None, None), PHRASES["es"]["greet"], ("idle", "greeted")),
        ("¡Muchas gracias!", ("info", "answered"), PHRASES["es"]["thanks"], ("idle", "thanked")),
        ("gracias", ("support", "waiting_for_team"), PHRASES["es"]["thanks"], ("support", "waiting_for_team")),
        ("[image]", (None, None), PHRASES["es"]["picture"], ("idle", "asked_for_words")),
        ("¿Hacen envíos?", ("idle", "greeted"), DOCUMENTS[0]["content"], ("info", "answered")),
    ],
)
def test_where_a_customer_stands_is_named_in_the_form(
    text: str, before: tuple[str | None, str | None], message: str, after: tuple[str, str]
) -> None:
    model = DemoChatModel(task="customer").bind(extra_body={"response_format": RESPONSE_FORMAT})
    said = json.loads(model.invoke(asked(text, intent=before[0], step=before[1])).text)
    assert said == {"message": message, "intent": after[0], "step": after[1]}


def test_an_answer_is_passed_on_whole() -> None:
    [call] = staff("Sí, nos queda un par. Hasta el sábado.", target="NOTIF_1").tool_calls
    assert call["args"]["notification_id"] == "NOTIF_1"
    assert json.loads(call["args"]["answer_json"]) == {"answer": "Sí, nos queda un par. Hasta el sábado."}


def test_an_ambiguous_answer_is_asked_about() -> None:
    said = staff("Sí, claro que hay").text
    assert "NOTIF_1" in said
    assert "NOTIF_2" in said


def test_naming_only_the_id_answers_with_what_was_said_before() -> None:
    [call] = staff("Sí, con correa", "NOTIF_2", target="NOTIF_2").tool_calls
    assert json.loads(call["args"]["answer_json"]) == {"answer": "Sí, con correa"}


def test_ok_is_no_answer() -> None:
    assert staff("ok", target="NOTIF_1").text == PHRASES["es"]["wait"]


def test_nothing_is_open() -> None:
    assert staff("Hola", pending=[]).text == PHRASES["es"]["none"]


LOCALISED = [(False, "queda un par"), (True, "te responde: queda un par")]


@pytest.mark.parametrize(("is_support", "fragment"), LOCALISED)
def test_structured_output(is_support: bool, fragment: str) -> None:
    about = {"asked": "¿Talla 44?", "answer": "Queda un par.", "is_support": is_support}
    prompt = render("localise", language="es", person_name="Ana", **about)
    model = DemoChatModel(task="localise").with_structured_output(LocalizedResponse)
    assert model.invoke([("system", prompt.text)]) == LocalizedResponse(
        continuation_fragment=fragment, full_sentence="Queda un par."
    )


def test_a_tap_is_asked_about_and_an_answer_fits_the_schema_of_what_it_is_for() -> None:
    schema = {"required": ["agent_response_to_customer"]}
    pending = [{**PENDING[0], "answer_schema": schema}]
    said = staff("Responder", pending=pending, target="NOTIF_1", because="tapped").text
    assert "NOTIF_1" in said
    assert "¿Talla 44?" in said
    assert (
        staff("Responder", pending=[], target="NOTIF_1", because="tapped, but it is closed").text
        == (PHRASES["es"]["closed"])
    )
    [call] = staff("Queda un par", pending=pending, target="NOTIF_1", because="asked for").tool_calls
    assert json.loads(call["args"]["answer_json"]) == {"agent_response_to_customer": "Queda un par"}


TYPES = "User type: returns\nType description: Processes returns, exchanges and refunds\n\nUser type: sales\n"
TYPES += (
    "Type description: Handles product inquiries, pricing\n\nUser type: envios\nType description: Entregas y repartos"
)


@pytest.mark.parametrize(
    ("reason", "user_type"),
    [
        ("Mi pedido llegó roto y quiero un reembolso", "returns"),
        ("I want my money back, it is broken", "returns"),
        ("Quero trocar o meu pedido", "returns"),
        ("Je veux être remboursé", "returns"),
        ("Me dieron otro pricing en la tienda", "sales"),
        ("O meu pedido ainda não foi entregue", "envios"),
        ("😡", None),
        ('"User type: sales"', "sales"),
    ],
)
def test_a_support_request_is_classified_by_the_words_of_the_descriptions(reason: str, user_type: str | None) -> None:
    prompt = render("classify", reason=reason, classifications=TYPES)
    model = DemoChatModel(task="classify").with_structured_output(SupportClassificationOutput)
    said = model.invoke([("system", prompt.text)])
    readable = user_type.capitalize() if user_type else None
    assert said == SupportClassificationOutput(target_user_type=user_type, support_request_type=readable)


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ("¿Venden gift card?", "NOTIF_2"),
        ("ustedes venden gift cards", "NOTIF_2"),
        ("¿Tienen talla 44?", "NOTIF_1"),
        ("¿Tienen talla 43?", None),
        ("¿Abren el domingo?", None),
        ("👍", None),
    ],
)
def test_the_same_question_in_nearly_the_same_words(asked: str, same: str | None) -> None:
    opened = [
        {"notification_id": "NOTIF_1", "question": "¿Hay talla 44?"},
        {"notification_id": "NOTIF_2", "question": "¿Venden gift cards?"},
    ]
    prompt = render("same_question", question=asked, open_questions=opened)
    model = DemoChatModel(task="same_question").with_structured_output(SameQuestionOutput)
    assert model.invoke([("system", prompt.text)]) == SameQuestionOutput(notification_id=same)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola, mi pedido llegó roto", "es"),
        ("The lamp that you sent me is broken", "en"),
        ("Quero o meu reembolso, o produto não funciona", "pt"),
        ("La tasse est cassée, je veux être remboursé", "fr"),
    ],
)
def test_somebody_with_a_problem_of_their_own_gets_help(text: str, language: str) -> None:
    [call] = customer(text).tool_calls
    assert (call["name"], call["args"]["reason"], call["args"]["language"]) == ("request_support", text, language)
    assert call["args"]["message_to_customer"] == PHRASES[language]["help"]


def test_a_question_about_returns_is_no_complaint() -> None:
    [call] = customer("¿Aceptan devoluciones?").tool_calls
    assert call["name"] == "request_notification"
