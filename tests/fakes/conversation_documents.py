"""What the conversation API's documents hold, and what its rules do to them; see `conversation_api`.

A document is what the API stores, as JSON, with `context` and `metadata` always there; `shown` leaves out what the
observed server leaves out. Functions change the document that they are given, or raise Refused and change nothing.
"""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tests.fakes.recorder import JsonObject

Behaviour = Literal["guide", "observed"]

INTENTS = ("menu", "order", "support", "info", "payment", "delivery", "idle")
PAYMENT_METHODS = ("cash", "card", "transfer", "yape", "plin", "mercado_pago", "bank_transfer")
BOTS: dict[Behaviour, str] = {"guide": "bot123", "observed": "67890abcdef0123456789abc"}
LIFETIME = timedelta(hours=24)
KEPT_MESSAGES = 20
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_ITEM = ("productId", "quantity", "unitPrice", "totalPrice")


class Refused(Exception):
    """The API answers `status` in its envelope, of type "3", and has saved nothing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def stamp(moment: datetime) -> str:
    """As JavaScript writes it: 2025-12-29T10:06:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_document(
    phone: str,
    sub_domain: str,
    now: datetime,
    *,
    bot_id: str,
    local_id: str | None = None,
    session_id: str | None = None,
    expires_in: timedelta = LIFETIME,
) -> JsonObject:
    digits = "".join(filter(str.isdigit, phone))
    document: JsonObject = {
        "_id": secrets.token_hex(12),
        "sessionId": session_id or f"{bot_id}_{digits}_{int(now.timestamp())}_{secrets.token_hex(4)}",
        "botId": bot_id,
        "subDomain": sub_domain,
        "userPhone": phone,
        "currentIntent": "idle",
        "context": {},
        "metadata": {},
        "isActive": True,
        "lastActivity": stamp(now),
        "expiresAt": stamp(now + expires_in),
        "createdAt": stamp(now),
        "updatedAt": stamp(now),
        "__v": 0,
    }
    if local_id is not None:
        document["localId"] = local_id
    return document


def shown(document: JsonObject, behaviour: Behaviour) -> JsonObject:
    """The whole document as the API answers it: the observed one leaves out `context` and `metadata` while empty."""
    if behaviour == "guide":
        return dict(document)
    return {key: value for key, value in document.items() if value or key not in ("context", "metadata")}


def expired(document: JsonObject, now: datetime) -> bool:
    return bool(document["expiresAt"] <= stamp(now))


def touch(document: JsonObject, now: datetime) -> None:
    document["lastActivity"] = document["updatedAt"] = stamp(now)


def apply_state(document: JsonObject, body: JsonObject, now: datetime, behaviour: Behaviour) -> None:
    """`{intent, step, context, metadata, isActive}`; whatever else the body has is ignored."""
    _check_state(body, behaviour)
    apply_intent(document, body, now, behaviour)
    for part in ("context", "metadata"):
        given = body.get(part) or {}
        document[part] |= _without_empty(given) if behaviour == "observed" else given
    if body.get("isActive") is not None:
        document["isActive"] = bool(body["isActive"])
    elif behaviour == "observed":
        document["isActive"] = True


def apply_intent(document: JsonObject, body: JsonObject, now: datetime, behaviour: Behaviour) -> None:
    """`{intent, step}`, either of which may be missing."""
    _check_intent(body.get("intent"), behaviour)
    for field in ("Intent", "Step"):
        given = body.get(field.lower())
        before = document.get(f"current{field}")
        if given is not None and given != before:
            if before is not None:
                document[f"previous{field}"] = before
            document[f"current{field}"] = given
    touch(document, now)


def apply_context(document: JsonObject, body: JsonObject, now: datetime) -> None:
    """`{context}`, merged key by key."""
    if not isinstance(body.get("context"), dict):
        raise Refused(400, "context must be an object")
    document["context"] |= body["context"]
    touch(document, now)


def add_message(document: JsonObject, body: JsonObject, now: datetime) -> None:
    """`{role, content}`: appended to `previousMessages`, of which the last 20 stay."""
    check_message(body)
    context = document["context"]
    message = {"role": body["role"], "content": body["content"], "timestamp": stamp(now)}
    context["previousMessages"] = [*context.get("previousMessages", []), message][-KEPT_MESSAGES:]
    if body["role"] == "user":
        context["lastUserMessage"] = body["content"]
    touch(document, now)


def check_message(body: JsonObject) -> None:
    if body.get("role") not in ("user", "bot"):
        raise Refused(400, "role must be either 'user' or 'bot'")
    if not isinstance(body.get("content"), str) or not body["content"]:
        raise Refused(400, "content is required")


def check_bot_id(bot_id: str) -> None:
    if not _OBJECT_ID.fullmatch(bot_id):
        raise Refused(500, f'Cast to ObjectId failed for value "{bot_id}" (type string) at path "botId"')


def new_order(session_id: str, body: JsonObject, now: datetime) -> JsonObject:
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise Refused(500, "Order validation failed: items: Path `items` is required.")
    for position, item in enumerate(items):
        missing = [key for key in _ITEM if not isinstance(item, dict) or item.get(key) is None]
        if missing:
            path = f"items.{position}.{missing[0]}"
            raise Refused(500, f"Order validation failed: {path}: Path `{missing[0]}` is required.")
    return {
        **body,
        "orderId": f"ORD-{secrets.token_hex(4)}",
        "sessionId": session_id,
        "status": "pending",
        "createdAt": stamp(now),
    }


def _check_state(body: JsonObject, behaviour: Behaviour) -> None:
    _check_intent(body.get("intent"), behaviour)
    for part in ("context", "metadata"):
        given = body.get(part)
        if given is None or isinstance(given, dict):
            continue
        if behaviour == "guide":
            raise Refused(400, f"{part} must be an object")
        raise Refused(500, f"WhatsappConversation validation failed: {part}: Cast to Object failed at path `{part}`")
    method = (body.get("context") or {}).get("paymentMethod")
    if behaviour == "observed" and method is not None:
        _check_member(method, PAYMENT_METHODS, "context.paymentMethod")


def _check_intent(intent: Any, behaviour: Behaviour) -> None:
    if intent is None:
        return
    if behaviour == "observed":
        _check_member(intent, INTENTS, "currentIntent")
    elif not isinstance(intent, str) or not intent:
        raise Refused(400, "intent must be a string")


def _check_member(value: Any, allowed: tuple[str, ...], path: str) -> None:
    if value not in allowed:
        problem = f"`{value}` is not a valid enum value for path `{path}`."
        raise Refused(500, f"WhatsappConversation validation failed: {path}: {problem}")


def _without_empty(given: JsonObject) -> JsonObject:
    """The server's own way: an empty object, also one that only holds empty objects, is not stored at all."""
    kept: JsonObject = {}
    for key, value in given.items():
        cleaned = _without_empty(value) if isinstance(value, dict) else value
        if cleaned != {}:
            kept[key] = cleaned
    return kept
