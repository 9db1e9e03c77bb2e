"""All that WhatsApp delivers, as Meta sends it (`tests/golden/whatsapp`), and as the rest of the code sees it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recado.channels.base import (
    Attachment,
    Event,
    IdentityChanged,
    Ignored,
    InboundMessage,
    PreferenceChanged,
    StatusUpdate,
    TemplateChanged,
)
from recado.channels.meta.codes import CODES
from recado.channels.meta.events import MetaPost
from recado.channels.whatsapp.payloads import parse_payload
from recado.errors import MalformedEvent, Permanent, TemplateRefused, WindowClosed
from tests.fakes.meta_inbound import (
    PHONE_NUMBER_ID,
    WABA_ID,
    body_of,
    change,
    contact,
    message,
    messages_post,
    post_of,
    status,
    statuses_post,
    template_post,
    text_message,
    value,
)
from tests.fakes.recorder import JsonObject

GOLDEN = Path(__file__).parents[1] / "golden" / "whatsapp"
PERSON, PHONE = "PE.13491208655302741918", "+51900000001"
NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def heard(kind: str, text: str = "", **more: Any) -> InboundMessage:
    """What Ana sent; its id is the golden file's name."""
    return replace(InboundMessage("", PERSON, PHONE, "Ana Quispe", kind, text, sent_at=NOON), **more)


def filed(kind: str, number: int, content_type: str, text: str = "", **more: Any) -> InboundMessage:
    return heard(kind, text, attachments=(Attachment(kind, f"10033834213872{number}", content_type, **more),))


def failed(code: int, said: str) -> StatusUpdate:
    meant = CODES[code]
    why = f"WhatsApp {code}: {meant.why} ({said})"
    return StatusUpdate("wamid.ours", "failed", 7, str(code), why, meant.error, meant.remedy)


def decided(status: str, reason: str | None = None) -> TemplateChanged:
    return TemplateChanged("customer_answer_ready", "pt", status, "customer_answer_ready_v2", reason, "UTILITY")


REPLY: JsonObject = {"quoted_provider_message_id": "wamid.ours"}
AD = {"source_url": "https://fb.me/3cr4Wqqkv", "headline": "Hielo a mitad de precio", "body": "Solo hoy"}
PLACE = {
    "latitude": -12.121,
    "longitude": -77.03,
    "name": "Parque Kennedy",
    "address": "Miraflores, Lima",
    "url": "https://foursquare.com/v/4b5",
}
CARDS = [{"name": "Luis Paz", "phones": ["+51 900 000 002"]}, {"name": "Rosa", "phones": []}]
ITEMS = [
    {"id": "hielo-5kg", "currency": "PEN", "quantity": 2, "price": 12.5},
    {"id": "sal", "currency": "PEN", "quantity": 1, "price": 3},
]
FLOW = {"name": "flow", "response": {"flow_token": "t1", "day": "lunes", "people": 2}}
EXPECTED: dict[str, Event] = {
    "text": heard("text", "¿Venden hielo?"),
    "text_reply": heard("text", "Sí, por favor", **REPLY),
    "text_forwarded": heard("text", "Mira esto", data={"forwarded": True}),
    "text_from_ad": heard("text", "Quiero la oferta", data={"referral": AD}),
    "text_before_user_ids": heard("text", "hola", channel_user_id=PHONE),
    "text_of_hidden_number": heard("text", "hola", phone=None),
    "image": filed("image", 56, "image/jpeg", "¿Tienen este?"),
    "video": filed("video", 57, "video/mp4"),
    "document": filed("document", 58, "application/pdf", "El pedido", filename="pedido.pdf"),
    "sticker": filed("sticker", 59, "image/webp"),
    "voice": filed("audio", 60, "audio/ogg; codecs=opus", voice=True),
    "audio": filed("audio", 61, "audio/mpeg"),
    "location": heard("location", data=PLACE),
    "contacts": heard("contacts", data={"contacts": CARDS}),
    "button_reply": heard("button", "Responder", button="answer", **REPLY),
    "list_reply": heard("button", "NOTIF_7", button="NOTIF_7", **REPLY),
    "nfm_reply": heard("nfm_reply", "Sent", data=FLOW, **REPLY),
    "button": heard("button", "Leer respuesta", button="read_answer", **REPLY),
    "reaction": heard("reaction", "👍🏽", about_provider_message_id="wamid.ours", data={"emoji": "👍🏽"}),
    "reaction_removed": heard("reaction", about_provider_message_id="wamid.ours"),
    "order": heard("order", "Para hoy, por favor", data={"items": ITEMS, "text": "Para hoy, por favor"}),
    "number_changed": IdentityChanged(PHONE, "+51900000009", "+51900000009"),
    "number_and_user_id_changed": IdentityChanged(PERSON, "PE.2222222222", "+51900000009"),
    "user_id_changed": IdentityChanged(PERSON, "PE.2222222222", None),
    "identity_changed": Ignored("system: customer_identity_changed"),
    "unsupported": heard("unsupported", data={"code": 131051, "title": "Message type unknown"}),
    "edit": heard("edit", "¿Venden hielo seco?", about_provider_message_id="wamid.text"),
    "edit_of_a_caption": heard("edit", "¿Tienen este, en azul?", about_provider_message_id="wamid.image"),
    "revoke": heard("deletion", about_provider_message_id="wamid.text"),
    "unknown": heard("hologram"),
    "group": Ignored("a message to a group"),
    "status_sent": StatusUpdate("wamid.ours", "sent", 7),
    "status_delivered": StatusUpdate("wamid.ours", "delivered", 7),
    "status_read": StatusUpdate("wamid.ours", "read", 7),
    "status_played": StatusUpdate("wamid.ours", "read", 7),
    "status_failed": failed(131026, "Message Undeliverable."),
    "status_failed_window": failed(
        131047,
        "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
    ),
    "status_failed_withheld": failed(
        131049, "In order to maintain a healthy ecosystem engagement, the message failed to be delivered."
    ),
    "preference_stop": PreferenceChanged(PERSON, PHONE, "stop"),
    "preference_resume": PreferenceChanged(PERSON, PHONE, "resume"),
    "template_approved": decided("approved"),
    "template_reinstated": decided("approved"),
    "template_rejected": decided("rejected", "INVALID_FORMAT A variable stands at the end."),
    "template_paused": decided("paused", "Recipients reported this template."),
    "template_disabled": decided("disabled"),
    "account_update": Ignored("account_update"),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_meta_sends_is_read(name: str) -> None:
    (event,) = MetaPost((GOLDEN / f"{name}.json").read_bytes()).events()
    expected = EXPECTED[name]
    found = parse_payload(event.payload)
    if isinstance(expected, InboundMessage):
        expected = replace(expected, provider_message_id=f"wamid.{name}")
        assert event.provider_event_id == f"wamid.{name}"
    assert found == expected
    json.dumps(getattr(found, "data", {}), allow_nan=False)
    of_waba = name.startswith(("template", "account"))
    assert (event.channel, event.address) == ("whatsapp", f"waba:{WABA_ID}" if of_waba else PHONE_NUMBER_ID)


def test_every_golden_payload_is_expected() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(EXPECTED)


def test_what_failures_mean_that_come_with_a_status() -> None:
    names = ("status_failed", "status_failed_window", "status_failed_withheld")
    kinds = [getattr(EXPECTED[name], "failure", None) for name in names]
    assert kinds == [Permanent, WindowClosed, TemplateRefused]


def read(post: JsonObject) -> Event:
    (event,) = MetaPost(body_of(post)).events()
    return parse_payload(event.payload)


@pytest.mark.parametrize(
    ("sender", "people", "expected"),
    [
        ({"from_user_id": None}, [contact()], (PERSON, PHONE)),
        ({}, [], (PERSON, PHONE)),
        ({"from_user_id": None}, [], (PHONE, PHONE)),
        ({"from": None}, [], (PERSON, None)),
        ({"from": None, "from_user_id": None}, [contact()], (PERSON, PHONE)),
        ({"from_user_id": None}, [contact(user_id=None)], (PHONE, PHONE)),
        ({"from_user_id": "bad id"}, [contact(user_id=None)], (PHONE, PHONE)),
        ({"from": "+51900000001", "from_user_id": None}, [], (PHONE, PHONE)),
        # others of the batch: nobody is taken for somebody else
        ({"from_user_id": None}, [contact("Luis", "51900000002", "PE.2"), contact("Eva", "519", "PE.3")], (PHONE,) * 2),
        ({"from_user_id": None}, [contact("Luis", "51900000002", "PE.2"), contact()], (PERSON, PHONE)),
    ],
)
def test_who_a_person_is(sender: JsonObject, people: list[JsonObject], expected: tuple[str, str | None]) -> None:
    found = read(messages_post(text_message("hola", **sender), contacts=people))
    assert isinstance(found, InboundMessage)
    assert (found.channel_user_id, found.phone) == expected


def test_in_a_batch_each_message_has_its_own_person() -> None:
    luis = {"from": "51900000002", "from_user_id": None}
    people = [contact(), contact("Luis", "51900000002", None)]
    post = messages_post(text_message("uno"), text_message("dos", **luis), contacts=people)
    found = [parse_payload(event.payload) for event in MetaPost(body_of(post)).events()]
    assert [(event.name, event.channel_user_id) for event in found if isinstance(event, InboundMessage)] == [
        ("Ana", PERSON),
        ("Luis", "+51900000002"),
    ]


@pytest.mark.parametrize(
    "given", ["", "recado:", "recado:x", "recado:-1", "7", "recado:7 ", "recado:" + "9" * 19, 7, {}]
)
def test_only_our_own_reference_names_a_delivery(given: Any) -> None:
    found = read(statuses_post(status("wamid.1", "sent", biz_opaque_callback_data=given)))
    assert found == StatusUpdate("wamid.1", "sent")


@pytest.mark.parametrize("state", ["deleted", "warning", "SENT", "", None, 7, ["sent"]])
def test_a_state_that_we_do_not_know_changes_nothing(state: Any) -> None:
    assert isinstance(read(statuses_post({**status("wamid.1", "sent"), "status": state})), Ignored)


@pytest.mark.parametrize("code", [99_999_999, None, "131047", True])
def test_an_unknown_failure_is_final(code: Any) -> None:
    found = read(statuses_post(status("wamid.1", "failed", 7, errors=[{"code": code, "title": "?"}])))
    assert isinstance(found, StatusUpdate)
    assert found.failure is Permanent
    assert found.code


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("FLAGGED", "approved"),
        ("PENDING", "pending"),
        ("IN_APPEAL", "rejected"),
        ("PENDING_DELETION", "deleted"),
        ("DELETED", "deleted"),
    ],
)
def test_metas_words_for_a_template(event: str, expected: str) -> None:
    found = read(template_post(event))
    assert isinstance(found, TemplateChanged)
    assert found.status == expected
    assert isinstance(read(template_post("SOMETHING_NEW")), Ignored)


@pytest.mark.parametrize(
    "odd",
    [
        message("image", {"mime_type": "image/jpeg"}),
        message("image", {"id": "../../me", "mime_type": "image/jpeg"}),
        message("image", {"id": 7}),
        message("image", "x"),
    ],
)
def test_a_file_without_an_id_that_can_be_is_none(odd: JsonObject) -> None:
    found = read(messages_post(odd))
    assert isinstance(found, InboundMessage)
    assert (found.kind, found.attachments) == ("image", ())


@pytest.mark.parametrize("context", [{"id": 7}, {"id": ""}, {"id": "x" * 600}, {"from": "1"}, "x", []])
def test_a_quote_of_nothing_costs_no_message(context: Any) -> None:
    found = read(messages_post(text_message("hola", context=context)))
    assert isinstance(found, InboundMessage)
    assert (found.text, found.quoted_provider_message_id) == ("hola", None)


def test_what_no_database_takes_is_taken_out() -> None:
    flow = {"type": "nfm_reply", "nfm_reply": {"response_json": '{"a": "x\\u0000\\ud800y", "b": NaN, "c": [1e999]}'}}
    found = read(messages_post(message("interactive", flow), contacts=[contact("A\x00\ud800na")]))
    assert isinstance(found, InboundMessage)
    assert found.name == "Ana"
    assert found.data == {"response": {"a": "xy", "b": None, "c": [None]}}
    deep = {"type": "nfm_reply", "nfm_reply": {"response_json": "[" * 5_000}}
    assert read(messages_post(message("interactive", deep)))


@pytest.mark.parametrize(
    "odd",
    [
        text_message("hola", id=None),
        text_message("hola", id="x" * 600),
        text_message("hola", id="a b"),
        text_message("hola", type=None),
        message("reaction", {"emoji": "👍"}),
        message("revoke", {}),
        message("system", {"type": "user_changed_number"}),
    ],
)
def test_what_cannot_be_told_is_malformed(odd: JsonObject) -> None:
    with pytest.raises(MalformedEvent):
        read(messages_post(odd, contacts=[contact(wa_id="519")]))


def test_marketing_is_all_that_a_preference_is_about() -> None:
    preference = {"wa_id": "51900000001", "category": "other", "value": "stop"}
    assert isinstance(read(post_of(change("user_preferences", value(user_preferences=[preference])))), Ignored)
