"""Each kind of post that Twilio makes, and what is read from it.

The files hold one form each, with the fields of public dumps of real posts (their ids and numbers are made up). Of a
list's row and an order no dump was found: their fields are those of Twilio's documentation.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recado.channels.base import Attachment, InboundMessage, StatusUpdate
from recado.channels.twilio.channel import TwilioChannel
from recado.channels.twilio.codes import CODES
from recado.channels.twilio.forms import own_address, raw_event, read_form
from recado.errors import OptedOut, Permanent, TemplateRefused, WindowClosed

GOLDEN = Path(__file__).parents[1] / "golden" / "twilio"
ANA = "+51911111111"
HIDDEN = "PE.4566546130240823"
OURS = "MM5cc44eecf7dab0d48d4529d0fa4af44d"
MEDIA = "https://api.twilio.com/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages"


def message(number: int, kind: str = "text", text: str = "", **more: Any) -> InboundMessage:
    """What Ana has sent. `number` is that of the file's SID."""
    base = InboundMessage(f"SM{number:032x}", ANA, ANA, "Ana Pérez", kind, text)
    return replace(base, **more)


def file(number: int, kind: str, content_type: str, text: str = "", **more: Any) -> InboundMessage:
    """The same with one attachment."""
    voice = more.pop("voice", False)
    attachment = Attachment(
        more.pop("attached", kind), f"{MEDIA}/MM{number:02x}/Media/ME{number:02x}", content_type, voice=voice
    )
    sid = f"MM{number:032x}"
    return message(number, kind, text, provider_message_id=sid, attachments=(attachment,), **more)


def status(number: int, state: str, code: int | None = None, said: str = "", **more: Any) -> StatusUpdate:
    """How far delivery `number` has come."""
    update = StatusUpdate(f"SM{number:032x}", state, number)
    if code is None:
        return replace(update, **more)
    meaning = CODES[code]
    why = f"{meaning.why} ({said})" if said else meaning.why
    return replace(update, code=str(code), error=why, failure=meaning.error, remedy=meaning.remedy, **more)


PLACE = {"latitude": -12.1211, "longitude": -77.0297, "name": "Parque Kennedy", "address": "Av. Larco 400, Miraflores"}
AD = {"source_url": "https://fb.me/3xample", "headline": "Bodega Sol", "body": "Panetón artesanal, S/ 35"}

MESSAGES: dict[str, InboundMessage] = {
    "text": message(1, text="¿Hacen envíos a Miraflores? 🛵\nGracias"),
    "reply": message(2, text="Sí", quoted_provider_message_id=OURS),
    "forwarded": message(3, text="Miren esto", data={"forwarded": True}),
    "image": file(4, "image", "image/jpeg", "¿Tienen este?"),
    "voice": file(5, "audio", "audio/ogg", voice=True),
    "audio": file(6, "audio", "audio/mpeg"),
    "video": file(7, "video", "video/mp4"),
    "document": file(8, "document", "application/pdf", "factura.pdf"),
    "sticker": file(9, "sticker", "image/webp"),
    "location": message(10, "location", data=PLACE),
    "location_live": message(11, "location", data={"latitude": 25.018766403198, "longitude": -77.395950317383}),
    "contacts": file(12, "contacts", "text/vcard", attached="document", data={"contacts": []}),
    "button": message(13, "button", "Responder", button="NOTIF_12", quoted_provider_message_id=OURS),
    "template_button": message(14, "button", "Ver respuesta", quoted_provider_message_id=OURS),
    "list": message(15, "button", "NOTIF_3", button="NOTIF_3"),
    "referral": message(16, text="Quiero más información", data={"referral": AD}),
    "both_ids": message(17, text="hola", channel_user_id=HIDDEN),
    "hidden_number": message(18, text="hola", channel_user_id=HIDDEN, phone=None),
    "stop": message(19, text="STOP", opt_out="stop"),
    "start": message(20, text="Start", opt_out="start"),
    "help": message(21, text="HELP"),
    "unsupported": message(22, "unsupported"),
    "order": message(23, "order"),
}

STATUSES: dict[str, StatusUpdate] = {
    "accepted": status(40, "sending"),
    "scheduled": status(41, "sending"),
    "queued": status(42, "sending"),
    "sending": status(43, "sending"),
    "sent": status(44, "sent"),
    "delivered": status(45, "delivered"),
    "read": status(46, "read"),
    "failed": status(47, "failed", 63016, "Failed to send freeform message"),
    "undelivered": status(48, "failed", 63024, "131026: Message Undeliverable to +51…11"),
    "canceled": status(49, "failed"),
    "partially_delivered": status(50, "sent"),
    "receiving": status(51, "sending"),
    "opted_out": status(60, "failed", 21610, "Attempt to send to unsubscribed recipient"),
    "withheld": status(61, "failed", 63049, "131049"),
    "new_code": StatusUpdate(
        f"SM{62:032x}",
        "failed",
        62,
        "63999",
        "the provider refused it with a code that we do not know (Something new)",
        Permanent,
        "look the code up there",
    ),
    "by_service": status(63, "delivered"),
}


def payload(name: str) -> bytes:
    return (GOLDEN / f"{name}.form").read_bytes().strip()


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message(name: str) -> None:
    assert TwilioChannel("", "", 1.0).parse(payload(name)) == MESSAGES[name]


@pytest.mark.parametrize("name", STATUSES)
def test_a_status(name: str) -> None:
    assert TwilioChannel("", "", 1.0).parse(payload(f"status_{name}")) == STATUSES[name]


def test_each_file_is_read_by_a_test() -> None:
    expected = {*MESSAGES, *(f"status_{name}" for name in STATUSES)}
    assert {path.stem for path in GOLDEN.iterdir()} == expected


@pytest.mark.parametrize("name", ["text", "image", "status_sent", "status_failed"])
def test_each_is_stored_under_our_number_and_its_own_id(name: str) -> None:
    body = payload(name)
    event = raw_event(read_form(body), body, "fallback")
    assert event.address == own_address(read_form(body)) == "+14155238886"
    kind = name.removeprefix("status_")
    sid = (MESSAGES | STATUSES)[kind].provider_message_id if name != kind else MESSAGES[name].provider_message_id
    assert event.provider_event_id == (f"{sid}:{kind}" if name != kind else sid)


def test_what_a_failure_means() -> None:
    kinds = {name: STATUSES[name].failure for name in ("failed", "opted_out", "withheld", "canceled")}
    assert kinds == {"failed": WindowClosed, "opted_out": OptedOut, "withheld": TemplateRefused, "canceled": None}
