"""What Instagram posts: messaging events, and their signature.

Shapes: https://developers.facebook.com/documentation/instagram-platform/webhooks/examples. As there, `timestamp` is in
milliseconds, and a person is known by an id of digits that only this account sees.
"""

import hashlib
import hmac
import json
from itertools import count
from typing import Any

from tests.fakes.recorder import JsonObject

ACCOUNT, PERSON = "17841400000000001", "6543210000000001"
APP_SECRET, VERIFY_TOKEN, ACCESS_TOKEN = "app-secret-of-instagram", "verify-instagram", "IGAA-token"
SENT_AT = 1_777_636_800_000
"""2026-05-01 12:00 UTC."""
_mids = count(1)


def new_mid() -> str:
    """An id of a message as Meta makes them: opaque, with characters of base64."""
    return f"aWdfZAG1faXRlbToxOklHTWVzc2FnZAUlEOj{next(_mids):08d}ZD=="


def event(*, sender: str = PERSON, account: str = ACCOUNT, timestamp: int = SENT_AT, **part: Any) -> JsonObject:
    """One messaging event with the part that says what it is."""
    return {"sender": {"id": sender}, "recipient": {"id": account}, "timestamp": timestamp, **part}


def message_event(
    text: str = "",
    *,
    mid: str = "",
    sender: str = PERSON,
    account: str = ACCOUNT,
    timestamp: int = SENT_AT,
    quick_reply: str | None = None,
    reply_to: str | None = None,
    **more: Any,
) -> JsonObject:
    """A person writes. `quick_reply`: the payload of the one that they tapped."""
    message: JsonObject = {"mid": mid or new_mid(), **({"text": text} if text else {}), **more}
    if quick_reply is not None:
        message["quick_reply"] = {"payload": quick_reply}
    if reply_to is not None:
        message["reply_to"] = {"mid": reply_to}
    return event(sender=sender, account=account, timestamp=timestamp, message=message)


def stored(event: JsonObject) -> bytes:
    """An event as it is kept until it is read."""
    return json.dumps({"kind": "messaging", "event": event}).encode()


def post(*events: JsonObject, account: str = ACCOUNT) -> bytes:
    """The body of a webhook post with these events."""
    entry = {"id": account, "time": SENT_AT, "messaging": list(events)}
    return json.dumps({"object": "instagram", "entry": [entry]}, ensure_ascii=False).encode()


def sign(body: bytes, app_secret: str = APP_SECRET) -> dict[str, str]:
    """The header that proves who posted it."""
    digest = hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
