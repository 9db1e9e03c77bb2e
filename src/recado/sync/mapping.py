"""Between a graph's state, a plain dict, and the conversation API's document.

A graph has `current_intent`, `current_step`, `order_stage`, `workflow` (or `current_workflow`), `cart` ({items: [{id,
name, quantity, price, notes}], total}), `delivery_address` (a text or an object), `payment_method`, `customer_name`,
`customer_email`, `messages` (LangChain's, or {role, content}), `order_id`, `order_history`, `language` and `platform`;
each may be missing or wrong. What else it has is its own and stays there. What the API has that a graph does not know
comes as `api_context` and `api_metadata`, and goes back as it came.

The API refuses a whole state for one value of the wrong type, so such a value is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recado.intents import Intent
from recado.sync.connection import VERSION
from recado.sync.documents import PREVIOUS_MESSAGES, ConversationDocument
from recado.sync.values import as_moment, as_number, as_plain, as_text, as_timestamp, present
from recado.sync.vocabulary import intent_of_stage, to_intent, to_payment_method, to_role
from recado.text import shorten

__all__ = ["ApiState", "metadata_of", "order_facts", "order_id", "to_api_state", "to_graph_state", "to_intent"]

FACT_CHARACTERS = 200
FACT_ITEMS = 20
FACT_ORDERS = 5

_KNOWN_CONTEXT = frozenset(
    [
        "selectedItems",
        "orderTotal",
        "deliveryAddress",
        "paymentMethod",
        "customerName",
        "customerEmail",
        "previousMessages",
        "lastUserMessage",
        "currentOrderId",
        "orderHistory",
    ]
)
_OWN_METADATA = frozenset({"agentProcessedAt", "agentVersion", "language", "platform"})
_ADDRESS_KEYS = {
    "address": "street",
    "line1": "street",
    "postal_code": "postalCode",
    "zip": "postalCode",
    "reference": "notes",
}
_ADDRESS = ("street", "city", "postalCode", "notes")

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApiState:
    """What one sync tells the API."""

    intent: Intent
    step: str | None
    context: JsonObject
    metadata: JsonObject


def to_api_state(graph_state: Mapping[str, Any], now: datetime | None = None) -> ApiState:
    """A graph's state for the API. `now`: when the agent has made it, this very moment unless given."""
    now = now or datetime.now(UTC)
    cart = _cart(graph_state.get("cart"))
    return ApiState(
        intent=_intent(graph_state, cart),
        step=as_text(graph_state.get("current_step")) or as_text(graph_state.get("order_stage")),
        context=_context(graph_state, cart, now),
        metadata={
            **_unknown(graph_state.get("api_metadata"), _OWN_METADATA),
            **metadata_of(graph_state.get("language"), graph_state.get("platform"), now),
        },
    )


def metadata_of(language: Any, platform: Any, now: datetime) -> JsonObject:
    """The metadata of a sync: when, by what, and, where known, in which language and on which channel."""
    own = {"agentProcessedAt": as_moment(now), "agentVersion": VERSION}
    return present({**own, "language": as_text(language), "platform": as_text(platform)})


def to_graph_state(document: ConversationDocument | Mapping[str, Any]) -> JsonObject:
    """The API's document for a graph: only the keys that it has something for."""
    if not isinstance(document, ConversationDocument):
        document = ConversationDocument.model_validate(dict(document))
    context, metadata = document.context, document.metadata
    items = context.get("selectedItems")
    cart = {"items": items if isinstance(items, list) else None, "total": as_number(context.get("orderTotal"))}
    history = context.get("orderHistory")
    messages = [{**said, "role": "assistant" if said["role"] == "bot" else "user"} for said in document.messages]
    state = {
        "current_intent": to_intent(document.current_intent),
        "current_step": document.current_step,
        "cart": {"items": [], **present(cart)} if present(cart) else None,
        "delivery_address": _object_or_text(context.get("deliveryAddress")),
        "payment_method": as_text(context.get("paymentMethod")),
        "customer_name": as_text(context.get("customerName")),
        "customer_email": as_text(context.get("customerEmail")),
        "messages": messages or None,
        "order_id": as_text(context.get("currentOrderId")),
        "order_history": history if isinstance(history, list) else None,
        "language": as_text(metadata.get("language")),
        "platform": as_text(metadata.get("platform")),
        "api_context": _unknown(context, _KNOWN_CONTEXT) or None,
        "api_metadata": _unknown(metadata, _OWN_METADATA) or None,
    }
    return present(state)


def order_facts(context: Mapping[str, Any]) -> JsonObject:
    """What an API's context says of a person's order, short enough for a prompt; only what is there.

    cart {items [{name, quantity, price, notes}], total}, delivery_address (a text), payment_method, current_order,
    order_history (the last ones).
    """
    items = [_fact(item) for item in _items(context.get("selectedItems")) or []][:FACT_ITEMS]
    cart = present({"items": items or None, "total": as_number(context.get("orderTotal"))})
    address = _address(context.get("deliveryAddress")) or {}
    orders = [order_id(order) for order in _identifiers(context.get("orderHistory")) or []]
    history = [order for order in orders if order]
    facts = {
        "cart": cart or None,
        "delivery_address": ", ".join(str(address[key]) for key in _ADDRESS if address.get(key)),
        "payment_method": as_text(context.get("paymentMethod")),
        "current_order": as_text(context.get("currentOrderId")),
        "order_history": [_short(order) for order in history[-FACT_ORDERS:]] or None,
    }
    return {name: _short(value) for name, value in facts.items() if value}


def order_id(order: Any) -> str | None:
    """The id of an entry of a history, which is an id or an object. None: it has none."""
    if not isinstance(order, Mapping):
        return as_text(order)
    return next((found for name in ("orderId", "id", "_id") if (found := as_text(order.get(name)))), None)


def _intent(state: Mapping[str, Any], cart: JsonObject) -> Intent:
    found = (
        to_intent(state.get("current_intent"))
        or intent_of_stage(state.get("order_stage"))
        or intent_of_stage(state.get("workflow"))
        or intent_of_stage(state.get("current_workflow"))
    )
    return found or ("order" if cart.get("selectedItems") else "idle")


def _context(state: Mapping[str, Any], cart: JsonObject, now: datetime) -> JsonObject:
    messages = _messages(state.get("messages"), now)
    written = [said["content"] for said in messages if said["role"] == "user"]
    known = {
        **cart,
        "deliveryAddress": _address(state.get("delivery_address")),
        "paymentMethod": to_payment_method(state.get("payment_method")),
        "customerName": as_text(state.get("customer_name")),
        "customerEmail": as_text(state.get("customer_email")),
        "previousMessages": messages or None,
        "lastUserMessage": written[-1] if written else None,
        "currentOrderId": as_text(state.get("order_id")),
        "orderHistory": _identifiers(state.get("order_history")),
    }
    return {**_unknown(state.get("api_context"), _KNOWN_CONTEXT), **present(known)}


def _cart(cart: Any) -> JsonObject:
    if not isinstance(cart, Mapping):
        return {}
    return present({"selectedItems": _items(cart.get("items")), "orderTotal": as_number(cart.get("total"))})


def _items(items: Any) -> list[JsonObject] | None:
    """The items of a cart; None: there is no cart. An empty list empties the API's."""
    if not isinstance(items, list | tuple):
        return None
    return [_item(item) for item in items if isinstance(item, Mapping)]


def _item(item: Mapping[str, Any]) -> JsonObject:
    known = {
        "id": as_text(item.get("id")),
        "name": as_text(item.get("name")),
        "quantity": as_number(item.get("quantity")),
        "price": as_number(item.get("price")),
        "notes": as_text(item.get("notes")),
    }
    return {**_unknown(item, frozenset(known)), **present(known)}


def _address(address: Any) -> JsonObject | None:
    if isinstance(address, str):
        street = as_text(address)
        return {"street": street} if street else None
    if not isinstance(address, Mapping):
        return None
    given = {_ADDRESS_KEYS.get(str(name), str(name)): value for name, value in address.items()}
    given.update({name: address[name] for name in _ADDRESS if name in address})
    known = {name: as_text(given.get(name)) for name in _ADDRESS}
    return {**_unknown(given, frozenset(_ADDRESS)), **present(known)} or None


def _messages(messages: Any, now: datetime) -> list[JsonObject]:
    """The last ones, from LangChain's messages or from {role, content}."""
    if not isinstance(messages, list | tuple):
        return []
    found: list[JsonObject] = []
    for message in reversed(messages):
        if len(found) == PREVIOUS_MESSAGES:
            break
        said = _said(message, now)
        if said is not None:
            found.append(said)
    return found[::-1]


def _said(message: Any, now: datetime) -> JsonObject | None:
    if isinstance(message, Mapping):
        role, content, at = message.get("role", message.get("type")), message.get("content"), message.get("timestamp")
    else:
        role, content = getattr(message, "type", None), getattr(message, "content", None)
        more = getattr(message, "additional_kwargs", None)
        at = more.get("timestamp") if isinstance(more, Mapping) else None
    known, text = to_role(role), _spoken(content)
    if known is None or not text:
        return None
    return {"role": known, "content": text, "timestamp": as_timestamp(at) or as_moment(now)}


def _spoken(content: Any) -> str:
    """The text of a message, which a model may give in blocks."""
    if isinstance(content, list | tuple):
        blocks = [block.get("text") if isinstance(block, Mapping) else block for block in content]
        content = "".join(block for block in blocks if isinstance(block, str))
    return content.strip() if isinstance(content, str) else ""


def _identifiers(values: Any) -> list[Any] | None:
    """The orders of a history, each by its id, or as the object that the API holds."""
    if not isinstance(values, list | tuple):
        return None
    found = [as_plain(value) if isinstance(value, Mapping) else as_text(value) for value in values]
    return [value for value in found if value]


def _object_or_text(value: Any) -> JsonObject | str | None:
    return value if isinstance(value, dict) and value else as_text(value)


def _unknown(values: Any, known: frozenset[str]) -> JsonObject:
    """What is not `known`, as plain JSON."""
    if not isinstance(values, Mapping):
        return {}
    return {str(name): as_plain(value) for name, value in values.items() if str(name) not in known}


def _fact(item: Mapping[str, Any]) -> JsonObject:
    return {name: _short(item[name]) for name in ("name", "quantity", "price", "notes") if name in item}


def _short(value: Any) -> Any:
    return shorten(value, FACT_CHARACTERS) if isinstance(value, str) else value
