"""What holds for any graph state and any document of the conversation API."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recado.intents import INTENTS
from recado.sync.mapping import order_facts, to_api_state, to_graph_state
from tests.sync.test_documents import JSON

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRAPH_KEYS = [
    "current_intent",
    "current_step",
    "order_stage",
    "workflow",
    "current_workflow",
    "cart",
    "delivery_address",
    "payment_method",
    "customer_name",
    "customer_email",
    "messages",
    "order_id",
    "order_history",
    "language",
    "platform",
    "api_context",
    "api_metadata",
]
CONTEXT_KEYS = [
    "selectedItems",
    "orderTotal",
    "deliveryAddress",
    "paymentMethod",
    "customerName",
    "customerEmail",
    "previousMessages",
    "lastUserMessage",
    "retryCount",
    "currentOrderId",
    "orderHistory",
]
ITEMS = st.lists(st.dictionaries(st.sampled_from(["id", "name", "quantity", "price", "notes", "x"]), JSON), max_size=3)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "bot", "tool"]) | JSON, "content": JSON}, optional={"timestamp": JSON}
    ),
    max_size=30,
)
VALUES = JSON | ITEMS | MESSAGES | st.fixed_dictionaries({"items": ITEMS | JSON, "total": JSON})


@given(st.dictionaries(st.sampled_from(GRAPH_KEYS), VALUES, max_size=8))
def test_any_state_is_valid_for_the_api(state: dict[str, Any]) -> None:
    found = to_api_state(state, NOW)

    assert found.intent in INTENTS
    assert found.step is None or isinstance(found.step, str)
    assert len(found.context.get("previousMessages", [])) <= 20
    assert all(said["role"] in ("user", "bot") for said in found.context.get("previousMessages", []))
    for item in found.context.get("selectedItems", []):
        assert not any(isinstance(item.get(name), str | bool | list | dict) for name in ("quantity", "price"))
    json.dumps([found.context, found.metadata], allow_nan=False)


@given(
    st.fixed_dictionaries(
        {"context": st.dictionaries(st.sampled_from(CONTEXT_KEYS) | st.text(max_size=5), VALUES, max_size=6) | JSON},
        optional={"metadata": st.dictionaries(st.text(max_size=5), JSON) | JSON, "currentIntent": JSON},
    )
)
def test_any_document_is_a_state(document: dict[str, Any]) -> None:
    state = to_graph_state(document)
    to_api_state(state, NOW)
    if isinstance(document["context"], dict):
        facts = order_facts(document["context"])
        assert len(json.dumps(facts)) < 40_000


@given(st.dictionaries(st.text(min_size=1, max_size=6), st.text() | st.integers(-9, 9) | st.booleans(), max_size=4))
def test_what_the_graph_does_not_know_comes_back_to_the_api(unknown: dict[str, Any]) -> None:
    unknown = {f"x{name}": value for name, value in unknown.items()}
    context = {
        **unknown,
        "deliveryAddress": {"street": "Av. Sol 1", **unknown},
        "selectedItems": [{"id": "7", "quantity": 1, **unknown}],
    }

    back = to_api_state(to_graph_state({"context": context, "metadata": unknown}), NOW)

    assert back.context == context
    assert {name: back.metadata[name] for name in unknown} == unknown
