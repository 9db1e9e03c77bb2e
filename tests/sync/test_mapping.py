"""Between a graph's state and the conversation API's document."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from recado.intents import INTENTS
from recado.sync.mapping import order_facts, to_api_state, to_graph_state, to_intent
from tests.sync.test_documents import WHOLE

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT_NOON = "2026-05-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        *[(intent, intent) for intent in INTENTS],
        ("CHECKOUT", "order"),
        ("greeting", "idle"),
        ("FAQ", "info"),
        ("Question", "info"),
        ("shipping", "delivery"),
        ("envío", "delivery"),
        ("processing-payment", "payment"),
        (" Complaint ", "support"),
        ("xyzzy", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_what_an_intent_is_called(text: Any, intent: str | None) -> None:
    assert to_intent(text) == intent


@pytest.mark.parametrize(
    ("state", "intent", "step"),
    [
        ({}, "idle", None),
        ({"current_intent": "Order", "order_stage": "payment"}, "order", "payment"),
        ({"current_intent": "xyzzy", "order_stage": "payment"}, "payment", "payment"),
        ({"order_stage": "selecting"}, "order", "selecting"),
        ({"order_stage": "payment_pending", "current_step": "waiting"}, "payment", "waiting"),
        ({"order_stage": "delivery_address"}, "delivery", "delivery_address"),
        ({"order_stage": "confirmed"}, "order", "confirmed"),
        ({"workflow": "support_flow"}, "support", None),
        ({"current_workflow": "menu"}, "menu", None),
        ({"workflow": "xyzzy", "cart": {"items": [{"name": "Pizza"}]}}, "order", None),
        ({"cart": {"items": []}}, "idle", None),
    ],
)
def test_where_a_person_stands(state: dict[str, Any], intent: str, step: str | None) -> None:
    found = to_api_state(state, NOW)
    assert (found.intent, found.step) == (intent, step)


def test_a_whole_state() -> None:
    state = {
        "current_intent": "order",
        "order_stage": "cart",
        "cart": {
            "items": [{"id": 7, "name": "Pizza", "quantity": "2", "price": Decimal("15.00"), "notes": "", "sku": "P"}],
            "total": "30.00",
        },
        "delivery_address": {"address": "Av. Sol 1", "city": "Lima", "zip": 15001, "reference": "azul", "lat": -12.1},
        "payment_method": "Efectivo",
        "customer_name": " Ana ",
        "customer_email": "ana@example.com",
        "order_id": 12,
        "order_history": ["10", 11, {"orderId": "9"}],
        "messages": [HumanMessage("hola"), AIMessage("¿qué desea?")],
        "language": "es",
        "platform": "whatsapp",
        "remaining_steps": 25,
        "response": "private to the graph",
    }

    found = to_api_state(state, NOW)

    assert found.context == {
        "selectedItems": [{"sku": "P", "id": "7", "name": "Pizza", "quantity": 2, "price": 15.0}],
        "orderTotal": 30,
        "deliveryAddress": {
            "street": "Av. Sol 1",
            "city": "Lima",
            "postalCode": "15001",
            "notes": "azul",
            "lat": -12.1,
        },
        "paymentMethod": "cash",
        "customerName": "Ana",
        "customerEmail": "ana@example.com",
        "previousMessages": [
            {"role": "user", "content": "hola", "timestamp": AT_NOON},
            {"role": "bot", "content": "¿qué desea?", "timestamp": AT_NOON},
        ],
        "lastUserMessage": "hola",
        "currentOrderId": "12",
        "orderHistory": ["10", "11", {"orderId": "9"}],
    }
    metadata = dict(found.metadata)
    assert metadata.pop("agentVersion")
    assert metadata == {"agentProcessedAt": AT_NOON, "language": "es", "platform": "whatsapp"}


@pytest.mark.parametrize(
    ("role", "known"),
    [
        ("user", "user"),
        ("human", "user"),
        ("bot", "bot"),
        ("assistant", "bot"),
        ("ai", "bot"),
        ("response", "bot"),
        ("admin", "bot"),
        ("tool", None),
        ("system", None),
        (None, None),
    ],
)
def test_who_speaks(role: Any, known: str | None) -> None:
    context = to_api_state({"messages": [{"role": role, "content": "x"}]}, NOW).context
    assert [said["role"] for said in context.get("previousMessages", [])] == ([known] if known else [])


def test_of_langchain_messages_only_what_was_said_counts() -> None:
    call = {"name": "search", "args": {}, "id": "1"}
    messages = [
        SystemMessage("be kind"),
        HumanMessage([{"type": "text", "text": "¿Hay "}, {"type": "image_url", "image_url": "x"}, "pan?"]),
        AIMessage("", tool_calls=[call]),
        ToolMessage("yes", tool_call_id="1"),
        AIMessage("Sí", additional_kwargs={"timestamp": "2026-01-01T10:00:00-05:00"}),
    ]
    assert to_api_state({"messages": messages}, NOW).context["previousMessages"] == [
        {"role": "user", "content": "¿Hay pan?", "timestamp": AT_NOON},
        {"role": "bot", "content": "Sí", "timestamp": "2026-01-01T15:00:00.000Z"},
    ]


def test_the_last_twenty_messages_go() -> None:
    messages = [HumanMessage(str(number)) for number in range(50)]
    context = to_api_state({"messages": messages}, NOW).context
    assert [said["content"] for said in context["previousMessages"]] == [str(number) for number in range(30, 50)]
    assert context["lastUserMessage"] == "49"


@pytest.mark.parametrize(
    ("method", "known"),
    [("TARJETA", "card"), ("Yape", "yape"), ("MercadoPago", "mercado_pago"), ("bitcoin", "bitcoin"), (5, None)],
)
def test_payment_methods(method: Any, known: str | None) -> None:
    assert to_api_state({"payment_method": method}, NOW).context.get("paymentMethod") == known


def test_an_address_may_be_a_text() -> None:
    assert to_api_state({"delivery_address": "Av. Sol 1"}, NOW).context == {"deliveryAddress": {"street": "Av. Sol 1"}}


def test_an_empty_cart_empties_the_one_of_the_api() -> None:
    assert to_api_state({"cart": {"items": []}}, NOW).context == {"selectedItems": []}


def test_values_of_python_become_json() -> None:
    unknown = {
        "when": NOW,
        "day": date(2026, 5, 1),
        "sum": Decimal("1.5"),
        "set": {1},
        "nan": float("nan"),
        "big": 10**400,
    }
    context = to_api_state({"api_context": unknown}, NOW).context
    assert context == {"when": AT_NOON, "day": "2026-05-01", "sum": 1.5, "set": [1], "nan": None, "big": None}
    loop: dict[str, Any] = {}
    loop["self"] = loop
    json.dumps(to_api_state({"api_context": loop}, NOW).context)


def test_a_document_as_a_state() -> None:
    context = {
        "selectedItems": [{"id": "7", "name": "Pizza", "quantity": 1, "price": 15, "sku": "P"}],
        "orderTotal": 15,
        "deliveryAddress": {"street": "Av. Sol 1", "lat": -12.1},
        "paymentMethod": "yape",
        "previousMessages": [
            {"role": "user", "content": "hola", "timestamp": AT_NOON},
            {"role": "bot", "content": "¿sí?", "timestamp": AT_NOON},
        ],
        "currentOrderId": "12",
        "orderHistory": ["12"],
        "retryCount": 2,
        "loyalty": {"points": 3},
    }
    metadata = {"agentVersion": "0", "language": "es", "experiment": "b"}

    assert to_graph_state({**WHOLE, "context": context, "metadata": metadata}) == {
        "current_intent": "payment",
        "current_step": "processing_payment",
        "cart": {"items": context["selectedItems"], "total": 15},
        "delivery_address": context["deliveryAddress"],
        "payment_method": "yape",
        "messages": [
            {"role": "user", "content": "hola", "timestamp": AT_NOON},
            {"role": "assistant", "content": "¿sí?", "timestamp": AT_NOON},
        ],
        "order_id": "12",
        "order_history": ["12"],
        "language": "es",
        "api_context": {"retryCount": 2, "loyalty": {"points": 3}},
        "api_metadata": {"experiment": "b"},
    }

    back = to_api_state(to_graph_state({**WHOLE, "context": context, "metadata": metadata}), NOW)
    assert back.context == {**context, "lastUserMessage": "hola"}
    assert (back.intent, back.step, back.metadata["experiment"]) == ("payment", "processing_payment", "b")


def test_an_empty_document_is_an_empty_state() -> None:
    assert to_graph_state({}) == {}


def test_the_facts_of_an_order() -> None:
    context = {
        "selectedItems": [{"id": "7", "name": "Pizza", "quantity": 1, "price": 15, "sku": "P"}],
        "orderTotal": 15,
        "deliveryAddress": {"street": "Av. Sol 1", "city": "Lima", "lat": -12.1},
        "paymentMethod": "yape",
        "currentOrderId": "12",
        "orderHistory": [*range(18), {"orderId": "18", "long": "x" * 9000}, {"long": "x"}, "y" * 900],
        "loyalty": 3,
    }
    assert order_facts(context) == {
        "cart": {"items": [{"name": "Pizza", "quantity": 1, "price": 15}], "total": 15},
        "delivery_address": "Av. Sol 1, Lima",
        "payment_method": "yape",
        "current_order": "12",
        "order_history": ["15", "16", "17", "18", "y" * 199 + "…"],
    }
    assert order_facts({}) == {}
