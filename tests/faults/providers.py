"""The two providers of WhatsApp as the fault run sees them: what goes wrong, what was asked, what was taken."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from recado.channels.base import Channel, RawEvent
from recado.channels.meta.events import MetaPost
from recado.channels.twilio.channel import TwilioChannel
from recado.channels.twilio.forms import raw_event
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.clock import Clock
from tests.fakes import meta_inbound, twilio_inbound
from tests.fakes.meta_api import MetaFake
from tests.fakes.twilio_api import TwilioFake

TIMEOUT_SECONDS = 3.0
RECONCILE_SECONDS = 8.0
"""Longer than a status takes to be applied, also on a busy machine: what comes later finds the message sent again."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request to send, or one message that was taken. `at`: seconds by the provider's clock."""

    account: str
    to: str
    text: str
    at: float = 0.0
    id: str = ""
    delivery_id: int = 0


class Twilio:
    """`faults`: kinds of trouble, each with how often it comes, of a thousand messages."""

    kind = "twilio"
    faults: tuple[tuple[dict[str, Any], int], ...] = (
        ({"code": 20429, "retry_after": 1}, 60),
        ({"code": 63018}, 20),
        ({"code": 20500}, 50),
        ({"code": 20500, "after": True}, 40),
        ({"status": 503, "html": True, "after": True}, 20),
        ({"cut": True}, 20),
        ({"cut": "after"}, 20),
        ({"hang": True}, 4),
        ({"hang": "after"}, 4),
    )

    def __init__(self) -> None:
        self.fake = TwilioFake()

    def spec(self, number: int) -> dict[str, Any]:
        """A merchant's account."""
        credentials = {"account_sid": twilio_inbound.ACCOUNT_SID, "auth_token": twilio_inbound.AUTH_TOKEN}
        return {"kind": "twilio", "address": f"+1555010{number}", **credentials}

    def channel(self) -> Channel:
        return TwilioChannel("http://127.0.0.1:9", self.fake.url, TIMEOUT_SECONDS)

    def prepare(self, faults: Sequence[dict[str, Any]]) -> None:
        # Statuses come from the test: the fake's own need a server that is called.
        self.fake.apply_script({"faults": list(faults), "statuses": [{"sequence": []}]})

    def asked(self) -> list[Sent]:
        return [self._sent(entry["body"], at=entry["at"]) for entry in self.fake.sends()]

    def taken(self, after: int = 0) -> list[Sent]:
        return [self._sent(message.form, id=message.sid) for message in list(self.fake.messages.values())[after:]]

    def _sent(self, form: dict[str, Any], **more: Any) -> Sent:
        given = dict(parse_qsl(urlsplit(form["StatusCallback"]).query))
        places = (form["From"].removeprefix("whatsapp:"), form["To"].removeprefix("whatsapp:"))
        return Sent(*places, form["Body"], delivery_id=int(given["delivery"]), **more)

    def status(self, sent: Sent, state: str) -> list[RawEvent]:
        form = twilio_inbound.status_form(message_sid=sent.id, status=state, from_=sent.account, to=sent.to)
        body = urlencode({"delivery": sent.delivery_id, **form})
        fields = {name: [value] for name, value in form.items()}
        return [raw_event(fields, body.encode(), "")]


class Meta:
    """The same for WhatsApp's Cloud API, which has no lookup: only statuses tell of what it took."""

    kind = "whatsapp"
    faults: tuple[tuple[dict[str, Any], int], ...] = (
        ({"code": 130429, "status": 429, "retry_after": 1}, 60),
        ({"code": 131056}, 20),
        ({"code": 131000, "status": 500}, 10),
        ({"code": 131000, "status": 500, "after": True}, 60),
        ({"status": 502, "html": True, "after": True}, 20),
        ({"cut": True}, 8),
        ({"cut": True, "after": True}, 30),
        ({"hang": True}, 2),
        ({"hang": True, "after": True}, 4),
    )

    def __init__(self) -> None:
        self.fake = MetaFake()

    def spec(self, number: int) -> dict[str, Any]:
        """A merchant's account."""
        secrets = {"access_token": meta_inbound.ACCESS_TOKEN, "app_secret": meta_inbound.APP_SECRET}
        return {"kind": "whatsapp", "phone_number_id": f"10000{number}", "verify_token": "a word of ours", **secrets}

    def channel(self) -> Channel:
        return WhatsAppChannel(self.fake.url, "24.0", TIMEOUT_SECONDS, RECONCILE_SECONDS, Clock())

    def prepare(self, faults: Sequence[dict[str, Any]]) -> None:
        self.fake.apply_script({"faults": list(faults), "statuses": [{"sequence": []}]})

    def asked(self) -> list[Sent]:
        found = []
        for entry in self.fake.requests.entries("send"):
            body = entry["body"] if isinstance(entry["body"], dict) else json.loads(entry["body"])
            found.append(self._sent(entry["path"].split("/")[-2], body, at=entry["at"]))
        return found

    def taken(self, after: int = 0) -> list[Sent]:
        sends = list(self.fake.messages.values())[after:]
        return [self._sent(sent.number, sent.body, id=sent.wamid) for sent in sends]

    def _sent(self, number: str, body: dict[str, Any], **more: Any) -> Sent:
        delivery_id = int(body["biz_opaque_callback_data"].rpartition(":")[2])
        to = str(body.get("to") or body.get("recipient"))
        return Sent(number, to, body["text"]["body"], delivery_id=delivery_id, **more)

    def status(self, sent: Sent, state: str) -> list[RawEvent]:
        told = meta_inbound.status(sent.id, state, sent.delivery_id)
        return MetaPost(meta_inbound.body_of(meta_inbound.statuses_post(told, number=sent.account))).events()
