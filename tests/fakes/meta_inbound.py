"""Webhooks of WhatsApp's Cloud API as Meta sends them: messages, statuses, preferences, templates; and their signature.

Shapes are Meta's: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference. Somebody who
hides their number has no `from` and no `wa_id`, and those from before business-scoped ids have no `user_id`.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import httpx

from tests.fakes.recorder import JsonObject

PHONE_NUMBER_ID, WABA_ID = "106540352242922", "102290129340398"
DISPLAY_NUMBER = "15550783881"
APP_SECRET, VERIFY_TOKEN, ACCESS_TOKEN = "app-secret-of-whatsapp", "verify-whatsapp", "EAAG-token"
ANA = "51900000001"
ANA_ID = "PE.13491208655302741918"
SENT_AT = 1_777_636_800
"""2026-05-01 12:00 UTC."""
_ids = count(1)


def new_wamid() -> str:
    """An id of a message as Meta makes them."""
    return f"wamid.HBgLNTE5MDAwMDAwMDEVAgASGBQzQTdC{next(_ids):08d}AA=="


def message(kind: str = "text", content: Any = None, **more: Any) -> JsonObject:
    """One message of Ana's. `content` is what stands under the name of its type; `more` overrides or adds fields, and
    None takes one away.
    """
    fields = {
        "from": ANA,
        "from_user_id": ANA_ID,
        "id": new_wamid(),
        "timestamp": str(SENT_AT),
        "type": kind,
        kind: content,
        **more,
    }
    return {name: value for name, value in fields.items() if value is not None}


def text_message(said: str, **more: Any) -> JsonObject:
    """Ana writes a text."""
    return message("text", {"body": said}, **more)


def contact(name: str = "Ana", wa_id: str | None = ANA, user_id: str | None = ANA_ID) -> JsonObject:
    """Who a message is from."""
    found: JsonObject = {"profile": {"name": name}}
    return found | ({"wa_id": wa_id} if wa_id else {}) | ({"user_id": user_id} if user_id else {})


def status(wamid: str, state: str, delivery_id: int | None = None, code: int | None = None, **more: Any) -> JsonObject:
    """How far one of our messages has come."""
    found: JsonObject = {"id": wamid, "status": state, "timestamp": str(SENT_AT), "recipient_id": ANA}
    if delivery_id is not None:
        found["biz_opaque_callback_data"] = f"recado:{delivery_id}"
    if code is not None:
        found["errors"] = [failure(code)]
    return found | more


def failure(code: int) -> JsonObject:
    """An error as a status holds it."""
    title = f"Error {code}"
    return {"code": code, "title": title, "message": title, "error_data": {"details": f"Details of {code}"}}


def value(number: str = PHONE_NUMBER_ID, **parts: Any) -> JsonObject:
    """What a change of one number holds."""
    metadata = {"display_phone_number": DISPLAY_NUMBER, "phone_number_id": number}
    return {"messaging_product": "whatsapp", "metadata": metadata, **parts}


def change(field: str, held: Any) -> JsonObject:
    """One change of an account."""
    return {"field": field, "value": held}


def post_of(*changes: JsonObject, waba: str = WABA_ID) -> JsonObject:
    """A whole post."""
    return {"object": "whatsapp_business_account", "entry": [{"id": waba, "time": SENT_AT, "changes": list(changes)}]}


def messages_post(
    *messages: JsonObject, contacts: Sequence[JsonObject] | None = None, number: str = PHONE_NUMBER_ID
) -> JsonObject:
    """A post with these messages."""
    people = [contact()] if contacts is None else list(contacts)
    parts = {"contacts": people} if people else {}
    return post_of(change("messages", value(number, **parts, messages=list(messages))))


def statuses_post(*statuses: JsonObject, number: str = PHONE_NUMBER_ID) -> JsonObject:
    """A post with these statuses."""
    return post_of(change("messages", value(number, statuses=list(statuses))))


def template_post(
    event: str, name: str = "customer_answer_ready", language: str = "es", waba: str = WABA_ID, **more: Any
) -> JsonObject:
    """A decision about a template."""
    held = {
        "event": event,
        "message_template_id": 594425479261596,
        "message_template_name": name,
        "message_template_language": language,
        "reason": "NONE",
        "message_template_category": "UTILITY",
        **more,
    }
    return post_of(change("message_template_status_update", held), waba=waba)


def body_of(post: JsonObject) -> bytes:
    """A post's bytes. Meta escapes what is not ASCII, and slashes too."""
    return json.dumps(post, separators=(",", ":")).replace("/", "\\/").encode()


def sign(body: bytes, app_secret: str = APP_SECRET) -> dict[str, str]:
    """The header that proves who posted it."""
    digest = hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


async def post_signed(
    client: httpx.AsyncClient, url: str, post: Mapping[str, Any] | bytes, *, app_secret: str = APP_SECRET
) -> httpx.Response:
    """Posts as Meta does. For a redelivery post the same twice."""
    body = post if isinstance(post, bytes) else body_of(dict(post))
    headers = {**sign(body, app_secret), "Content-Type": "application/json", "User-Agent": "facebookexternalua"}
    return await client.post(url, content=body, headers=headers)
