"""What WhatsApp's Cloud API delivers, as the channels' events.

Facts of the wire are Meta's: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference, its
changelog of 11 August 2026 (ids that change), and pywa's types for edits and deletions. A person is known by the
business-scoped user id where Meta gives it, else by their number: both shapes arrive.
"""

import json
import re
from collections.abc import Callable, Mapping

from recado.channels.base import (
    Event,
    IdentityChanged,
    Ignored,
    InboundMessage,
    PreferenceChanged,
    StatusUpdate,
    TemplateChanged,
)
from recado.channels.management import own_language, own_name
from recado.channels.meta.codes import meaning
from recado.channels.meta.values import (
    LONGEST_VALUE,
    USER_ID,
    Json,
    id_of,
    moment_of,
    object_of,
    objects_of,
    phone_of,
    quoted_id,
    text_of,
    word_of,
)
from recado.channels.whatsapp.contents import CONTENTS, around, content_of_unknown
from recado.channels.whatsapp.management import STATUSES
from recado.errors import MalformedEvent

PROVIDER = "WhatsApp"
OPAQUE = "recado:"
"""Before the delivery's id in what we give Meta to hand back with each status."""
STATES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
_OPAQUE = re.compile(re.escape(OPAQUE) + r"([0-9]{1,18})")


def parse_payload(payload: bytes) -> Event:
    """Read what `meta_events` has stored. Raises MalformedEvent, and nothing else whatever the payload is."""
    try:
        stored = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"not JSON: {type(error).__name__}") from None
    kind = stored.get("kind") if isinstance(stored, dict) else None
    read = READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise MalformedEvent("nothing of a shape that WhatsApp is known to deliver")
    return read(stored)


def _message(stored: Json) -> Event:
    message, contact = object_of(stored, "message"), object_of(stored, "contact")
    if message.get("group_id"):
        return Ignored("a message to a group")
    kind = message.get("type")
    if not isinstance(kind, str) or not kind:
        raise MalformedEvent("the message has no type")
    if kind == "system":
        return _system(message)
    given = CONTENTS.get(kind, content_of_unknown)(message)
    user_id, phone = _person(message, contact, ("from_user_id",), ("from",))
    context = object_of(message, "context")
    return InboundMessage(
        provider_message_id=id_of(message.get("id")),
        channel_user_id=user_id,
        phone=phone,
        name=text_of(object_of(contact, "profile").get("name"))[:LONGEST_VALUE] or None,
        quoted_provider_message_id=quoted_id(context.get("id")),
        data={**given.pop("data", {}), **around(message, context)},
        sent_at=moment_of(message.get("timestamp")),
        **given,
    )


def _person(item: Json, contact: Json, ids: tuple[str, ...], numbers: tuple[str, ...]) -> tuple[str, str | None]:
    """Who it is: the user id, and the number where it is told."""
    named = [item.get(name) for name in ids] + [contact.get("user_id")]
    user_id = next((value for value in named if isinstance(value, str) and USER_ID.fullmatch(value)), None)
    told = [contact.get("wa_id")] + [item.get(name) for name in numbers]
    phone = next((number for number in map(phone_of, told) if number), None)
    if user_id is None and phone is None:
        raise MalformedEvent("nothing tells who the person is")
    return user_id or str(phone), phone


def _system(message: Json) -> Event:
    """A number, and with it the id, has changed. An id may change alone, or stay away where it is not given yet."""
    system = object_of(message, "system")
    what = system.get("type")
    if what not in ("user_changed_number", "user_changed_user_id", "customer_changed_number"):
        return Ignored(f"system: {word_of(what)}")
    old, _ = _person({**system, **message}, {}, ("previous_user_id", "from_user_id"), ("from", "customer"))
    new, phone = _person(system, {}, ("user_id",), ("wa_id", "new_wa_id"))
    return IdentityChanged(old, new, phone)


def _status(stored: Json) -> Event:
    status = object_of(stored, "status")
    state = STATES.get(str(status.get("status")))
    if state is None:
        return Ignored(f"status: {word_of(status.get('status'))}")
    opaque = _OPAQUE.fullmatch(text_of(status.get("biz_opaque_callback_data")))
    message_id, delivery_id = id_of(status.get("id")), int(opaque[1]) if opaque else None
    error = next(iter(objects_of(status.get("errors"))), None)
    if state != "failed" or error is None:
        return StatusUpdate(message_id, state, delivery_id)
    code = error.get("code")
    number = code if isinstance(code, int) and not isinstance(code, bool) else None
    said = text_of(object_of(error, "error_data").get("details") or error.get("message") or error.get("title"))
    meant = meaning(number)
    shown = "?" if number is None else str(number)
    text = meant.text(PROVIDER, shown, said[:LONGEST_VALUE])
    return StatusUpdate(message_id, state, delivery_id, shown, text, meant.error, meant.remedy)


def _preference(stored: Json) -> Event:
    preference = object_of(stored, "preference")
    value, category = preference.get("value"), preference.get("category")
    if category != "marketing_messages" or value not in ("stop", "resume", "signup"):
        return Ignored(f"preference: {word_of(category)}")
    user_id, phone = _person(preference, object_of(stored, "contact"), ("user_id",), ("wa_id",))
    return PreferenceChanged(user_id, phone, "stop" if value == "stop" else "resume")


def _template(stored: Json) -> Event:
    template = object_of(stored, "template")
    status = STATUSES.get(str(template.get("event")).upper())
    if status is None:
        return Ignored(f"template: {word_of(template.get('event'))}")
    name, code = (text_of(template.get(f"message_template_{part}"))[:LONGEST_VALUE] for part in ("name", "language"))
    if not name or not code:
        raise MalformedEvent("the decision names no template")
    reasons = [template.get("reason"), object_of(template, "other_info").get("description")]
    reasons.append(object_of(template, "rejection_info").get("reason"))
    said = " ".join(dict.fromkeys(word for word in map(text_of, reasons) if word and word != "NONE"))
    category = text_of(template.get("message_template_category"))[:LONGEST_VALUE]
    # Its id is what a send names, which is the name with Meta.
    return TemplateChanged(own_name(name), own_language(code), status, name, said or None, category or None)


def _change(stored: Json) -> Event:
    return Ignored(word_of(stored.get("field")))


READERS: Mapping[str, Callable[[Json], Event]] = {
    "message": _message,
    "status": _status,
    "preference": _preference,
    "template": _template,
    "change": _change,
}
"""By the `kind` of what is stored."""
