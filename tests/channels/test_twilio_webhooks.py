"""What Twilio posts: how it is read, and what its signature covers."""

import contextlib
from datetime import UTC, datetime
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from recado.channels.base import Attachment, InboundMessage, StatusUpdate
from recado.channels.twilio.channel import TwilioChannel
from recado.channels.twilio.forms import own_address, raw_event, read_form, verify
from recado.errors import MalformedEvent, Permanent
from tests.builders import ANA
from tests.fakes.twilio_inbound import AUTH_TOKEN, inbound_form, sign, status_form

SHOP = "+14155238886"
URL = "https://recado.example/webhooks/twilio"


def parse(form: dict[str, str]) -> InboundMessage | StatusUpdate:
    return TwilioChannel("", "", 1.0).parse(urlencode(form).encode())


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [("image/jpeg", "image"), ("audio/ogg", "audio"), ("video/mp4", "video"), ("application/pdf", "document")],
)
def test_media_without_text(content_type: str, kind: str) -> None:
    form = inbound_form(from_=ANA, to=SHOP, media=[("https://m/1", content_type), ("https://m/2", "image/png")])
    message = parse(form)
    assert isinstance(message, InboundMessage)
    assert (message.kind, message.text) == (kind, "")
    assert message.attachments == (
        Attachment(kind, "https://m/1", content_type, voice=content_type == "audio/ogg"),
        Attachment("image", "https://m/2", "image/png"),
    )


@pytest.mark.parametrize("count", ["-1", "x", "", "²", "9" * 5_000, "1e3"])
def test_a_nonsensical_number_of_media(count: str) -> None:
    message = parse(inbound_form(from_=ANA, to=SHOP, body="hola", extra={"NumMedia": count}))
    assert isinstance(message, InboundMessage)
    assert len(message.attachments) <= 10
    assert message.text == "hola"


def test_a_place_and_a_person_who_hides_their_number() -> None:
    message = parse(inbound_form(from_="PE.abc123", to=SHOP, location=(-12.0, -77.0), message_sid="SM1"))
    place = {"latitude": -12.0, "longitude": -77.0}
    assert message == InboundMessage("SM1", "PE.abc123", None, "Ana", "location", "", data=place)


@pytest.mark.parametrize(
    ("latitude", "longitude"), [("", "1"), ("91", "1"), ("1", "181"), ("nan", "1"), ("1e9", "1"), ("²", "1"), ("1", "")]
)
def test_a_place_that_is_none(latitude: str, longitude: str) -> None:
    extra = {"Latitude": latitude, "Longitude": longitude, "MessageType": "location"}
    message = parse(inbound_form(from_=ANA, to=SHOP, extra=extra))
    assert isinstance(message, InboundMessage)
    assert (message.kind, message.data) == ("location", {})


@pytest.mark.parametrize(
    ("fields", "user_id", "phone"),
    [
        ({}, ANA, ANA),
        ({"ExternalUserId": "whatsapp:PE.abc"}, "PE.abc", ANA),
        ({"ExternalUserId": "whatsapp:"}, ANA, ANA),
        ({"ExternalUserId": "whatsapp:a b"}, ANA, ANA),
        ({"ExternalUserId": "x" * 141}, ANA, ANA),
        ({"From": "whatsapp:PE.abc", "WaId": "51911111111"}, "PE.abc", ANA),
        ({"From": "whatsapp:PE.abc", "WaId": "x"}, "PE.abc", None),
        ({"From": "whatsapp:+"}, "+", ANA),
    ],
)
def test_who_has_written(fields: dict[str, str], user_id: str, phone: str | None) -> None:
    message = parse(inbound_form(from_=ANA, to=SHOP, body="hola", extra=fields))
    assert isinstance(message, InboundMessage)
    assert (message.channel_user_id, message.phone) == (user_id, phone)


@pytest.mark.parametrize("sender", ["", "whatsapp:", "whatsapp:+51 911", "whatsapp:\x00", "whatsapp:ñ", "x" * 141])
def test_a_sender_that_cannot_be_is_malformed(sender: str) -> None:
    with pytest.raises(MalformedEvent):
        parse(inbound_form(from_=ANA, to=SHOP, body="hola", extra={"From": sender}))


def test_nothing_that_a_database_cannot_hold_is_kept() -> None:
    names = ("ButtonPayload", "MediaUrl0", "ReferralBody", "Label", "Address", "OriginalRepliedMessageSid")
    extra = {**dict.fromkeys(names, "x\x00"), "Latitude": "1", "Longitude": "1", "NumMedia": "1"}
    message = parse(inbound_form(from_=ANA, to=SHOP, body="hola", extra=extra))
    assert isinstance(message, InboundMessage)
    kept = repr((message.button, message.data, message.attachments, message.quoted_provider_message_id, message.kind))
    assert "x00" not in kept
    assert "x" in kept


@pytest.mark.parametrize("told", ["Text", "poll", "x" * 31, "a b", "1"])
def test_a_kind_that_we_do_not_know(told: str) -> None:
    message = parse(inbound_form(from_=ANA, to=SHOP, extra={"MessageType": told}))
    assert isinstance(message, InboundMessage)
    assert message.kind == {"Text": "text", "poll": "poll"}.get(told, "unsupported")


@pytest.mark.parametrize(
    ("value", "sent_at"),
    [
        ("2026-11-21T10:00:00+00:00", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21T10:00:00", None),
        ("yesterday", None),
        ("", None),
        ("9999-99-99T00:00:00Z", None),
    ],
)
def test_when_it_was_sent(value: str, sent_at: datetime | None) -> None:
    message = parse(inbound_form(from_=ANA, to=SHOP, body="hola", extra={"DateSent": value}))
    assert isinstance(message, InboundMessage)
    assert message.sent_at == sent_at


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("queued", "sending"),
        ("accepted", "sending"),
        ("undelivered", "failed"),
        ("canceled", "failed"),
        ("new", "sending"),
    ],
)
def test_twilios_words_for_states(status: str, state: str) -> None:
    update = parse(status_form(message_sid="SM1", status=status, from_=SHOP, to=ANA))
    assert update == StatusUpdate("SM1", state)


@pytest.mark.parametrize("code", ["²", "", "x", "9" * 5_000])
def test_a_nonsensical_code_is_none_that_we_know(code: str) -> None:
    form = status_form(message_sid="SM1", status="undelivered", from_=SHOP, to=ANA, error_message="outside")
    update = parse({**form, "ErrorCode": code})
    assert isinstance(update, StatusUpdate)
    assert update.failure is (Permanent if code else None)


def test_a_code_without_a_failure_is_none() -> None:
    form = status_form(message_sid="SM1", status="sent", from_=SHOP, to=ANA, error_code=63016)
    assert parse(form) == StatusUpdate("SM1", "sent", None, "63016")


@pytest.mark.parametrize("delivery", ["", "x", "-1", "1.5", "²", "٣", "9" * 19, "9" * 5_000, "7 "])
def test_a_nonsensical_delivery_counts_as_none(delivery: str) -> None:
    form = status_form(message_sid="SM1", status="sent", from_=SHOP, to=ANA)
    update = parse({"delivery": delivery, **form})
    assert isinstance(update, StatusUpdate)
    assert update.delivery_id is None


def test_more_fields_than_any_form_has_are_malformed() -> None:
    with pytest.raises(MalformedEvent):
        TwilioChannel("", "", 1.0).parse(b"MessageSid=SM1&From=x&" + b"a=1&" * 1_001)


def test_a_redelivery_has_the_same_id_and_each_status_its_own() -> None:
    def event_id(form: dict[str, str]) -> str:
        body = urlencode(form).encode()
        return raw_event(read_form(body), body, "fallback").provider_event_id

    heard = inbound_form(from_=ANA, to=SHOP, body="hola", message_sid="SM1")
    sent = status_form(message_sid="SM1", status="sent", from_=SHOP, to=ANA)
    assert event_id(heard) == event_id(dict(reversed(heard.items()))) == "SM1"
    assert (event_id(sent), event_id({**sent, "MessageStatus": "read"})) == ("SM1:sent", "SM1:read")
    for odd in ("", "\x00", "x" * 5_000, "a b", "ñ"):
        assert event_id({**heard, "MessageSid": odd}) == "fallback"
        assert event_id({**sent, "MessageStatus": odd}) == "fallback"


def test_our_own_number_in_messages_and_statuses() -> None:
    for form in (
        inbound_form(from_=ANA, to=SHOP, body="hola"),
        status_form(message_sid="SM1", status="sent", from_=SHOP, to=ANA),
    ):
        assert own_address(read_form(urlencode(form).encode())) == SHOP
    assert own_address(read_form(b"")) == ""
    odd = own_address(read_form(b"To=whatsapp:%00%ED%A0%80" + b"9" * 5_000))
    odd.encode()
    assert len(odd) < 200
    assert "\x00" not in odd


def signed(body: bytes, url: str = URL, token: str = AUTH_TOKEN) -> str:
    """Twilio's signature of a body, by its own rule: the URL, then each name with each of its values."""
    form = read_form(body)

    class Repeated(dict[str, list[str]]):
        def getlist(self, name: str) -> list[str]:
            return self[name]

    return str(RequestValidator(token).compute_signature(url, Repeated(form)))


BODIES = [
    urlencode(inbound_form(from_=ANA, to=SHOP, body="¿hola? 👩‍👩‍👧 a+b & c=d%")).encode(),
    b"",
    b"Body=&From=&To=",
    b"Body=hola&Empty=&Flag",
    b"MediaUrl=b&MediaUrl=a&Body=x",
    b"Body=" + quote_from_bytes(b"caf\xe9 \xff\xfe").encode(),
    b"Body=caf\xe9",
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "url", [URL, f"{URL}?delivery=7", f"{URL}?a=&b=%C3%B1&a=2", "http://127.0.0.1:8000/webhooks/twilio"]
)
def test_the_right_signature_is_right_and_any_other_wrong(body: bytes, url: str) -> None:
    form, signature = read_form(body), signed(body, url)
    assert verify(url, form, signature, AUTH_TOKEN)
    assert not verify(url, form, signature, "another token")
    assert not verify(f"{url}x", form, signature, AUTH_TOKEN)
    assert not verify(url, read_form(body + b"&Injected=1"), signature, AUTH_TOKEN)
    for wrong in ("", "x", signature[:-1], signature.swapcase(), "ñ" * len(signature), signature + " "):
        assert not verify(url, form, wrong, AUTH_TOKEN)


def test_the_fake_signs_as_we_check() -> None:
    form = inbound_form(from_=ANA, to=SHOP, body="hola", extra={"Blank": ""})
    body = urlencode(form).encode()
    assert sign(URL, form) == signed(body)
    without_blanks = b"&".join(part for part in body.split(b"&") if not part.endswith(b"="))
    assert not verify(URL, read_form(without_blanks), signed(body), AUTH_TOKEN)


def test_a_known_signature() -> None:
    """From Twilio's documentation of its webhooks' security."""
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    url = "https://example.com/myapp.php?foo=1&bar=2"
    body = urlencode(form).encode()
    assert verify(url, read_form(body), "L/OH5YylLD5NRKLltdqwSvS0BnU=", "12345")


NAMES = st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
FORMS = st.dictionaries(
    NAMES, st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), min_size=1), max_size=6
)


@given(FORMS, st.binary(min_size=1, max_size=6))
def test_any_form_is_read_back_and_verified(form: dict[str, list[str]], token: bytes) -> None:
    body = urlencode(form, doseq=True).encode()
    assert read_form(body) == form
    signature = signed(body, token=token.hex())
    assert verify(URL, read_form(body), signature, token.hex())
    assert not verify(URL, {**form, "added": ["1"]} if "added" not in form else {}, signature, token.hex())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    form = read_form(body)
    event = raw_event(form, body, "fallback")
    event.provider_event_id.encode()
    event.address.encode()
    assert verify(URL, form, signed(body), AUTH_TOKEN)
    with contextlib.suppress(MalformedEvent):
        TwilioChannel("", "", 1.0).parse(body)
